//! Which file is this? Names change hands at every rotation; what a file *is* does not.
//!
//! A [`FileId`] is device, inode and time of birth. The time of birth is there because ext4 gives the inode of a
//! deleted file to the next file that is created, which in a rotation is the new file under the old name. For file
//! systems that tell no time of birth, and for a file that was emptied and filled again, its content decides
//! (`fingerprint`).
//!
//! Here also: the only two ways in which this input touches a file. A path is looked at first ([`status_of`]) and
//! opened only when it leads to a regular file, because opening a FIFO or a device has effects. And the files that
//! are never followed, because we write them ourselves ([`Own`]).

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Statx, StatxFlags, StatxTimestamp};
use rustix::io::Errno;

use crate::engine::state::FileId;

use super::trust::Trust;

/// What the kernel says about a file at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Status {
    pub(super) identity: FileId,
    pub(super) size: u64,
    /// When the content changed last, in nanoseconds since the epoch.
    pub(super) modified: i128,
    /// Zero: no name leads to the file any more, only open descriptors keep it.
    pub(super) links: u64,
    pub(super) kind: FileType,
}

impl Status {
    /// Why the file cannot be followed, if it cannot.
    pub(super) fn refusal(&self) -> Option<&'static str> {
        match self.kind {
            FileType::RegularFile => None,
            FileType::Directory => Some("is a directory; only regular files are followed"),
            FileType::Fifo => Some("is a named pipe; only regular files are followed"),
            FileType::Socket => Some("is a socket; only regular files are followed"),
            _ => Some("is a device; only regular files are followed"),
        }
    }
}

/// The status of what `path` leads to, symbolic links followed.
pub(super) fn status_of(path: &Path) -> io::Result<Status> {
    match rustix::fs::statx(CWD, path, AtFlags::empty(), wanted()) {
        Ok(statx) => Ok(from_statx(&statx)),
        Err(error) if statx_is_missing(error) => Ok(from_stat(&rustix::fs::stat(path)?)),
        Err(error) => Err(error.into()),
    }
}

/// The status of an open file.
pub(super) fn status_of_open(file: impl AsFd) -> io::Result<Status> {
    match rustix::fs::statx(&file, c"", AtFlags::EMPTY_PATH, wanted()) {
        Ok(statx) => Ok(from_statx(&statx)),
        Err(error) if statx_is_missing(error) => Ok(from_stat(&rustix::fs::fstat(&file)?)),
        Err(error) => Err(error.into()),
    }
}

/// Opens `path` for reading, if it leads to the regular file `expected`. `None`: it leads to another file by now.
pub(super) fn open(path: &Path, expected: FileId, trust: &Trust) -> io::Result<Option<File>> {
    // The look before keeps us from opening pipes and devices at all; the look after from being tricked in between.
    if status_of(path)?.identity != expected {
        return Ok(None);
    }
    let file = trust.open(path)?;
    let status = status_of_open(&file)?;
    Ok((status.identity == expected && status.refusal().is_none()).then_some(file))
}

/// The files that this program writes itself. Following one would feed each line back into it for ever.
pub(super) struct Own {
    /// What standard output and standard error lead to.
    standard: Vec<FileId>,
    /// What else we write. Such a file may come, and come anew, at any time.
    paths: Vec<PathBuf>,
}

impl Own {
    pub(super) fn new(paths: Vec<PathBuf>) -> Own {
        let standard = [status_of_open(io::stdout()), status_of_open(io::stderr())];
        let files = standard.into_iter().flatten().filter(|status| status.refusal().is_none());
        Own { standard: files.map(|status| status.identity).collect(), paths }
    }

    pub(super) fn has(&self, file: FileId) -> bool {
        let leads_to_it = |path: &PathBuf| status_of(path).is_ok_and(|status| status.identity == file);
        self.standard.contains(&file) || self.paths.iter().any(leads_to_it)
    }
}

fn wanted() -> StatxFlags {
    StatxFlags::BASIC_STATS | StatxFlags::BTIME
}

/// Old kernels do not have `statx`, and the system call filters of old container runtimes deny it.
fn statx_is_missing(error: Errno) -> bool {
    matches!(error, Errno::NOSYS | Errno::PERM)
}

fn from_statx(statx: &Statx) -> Status {
    let tells_birth = statx.stx_mask & StatxFlags::BTIME.bits() != 0;
    let nanos = |time: &StatxTimestamp| i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    Status {
        identity: FileId {
            device: rustix::fs::makedev(statx.stx_dev_major, statx.stx_dev_minor),
            inode: statx.stx_ino,
            born: if tells_birth { nanos(&statx.stx_btime) } else { 0 },
        },
        size: statx.stx_size,
        modified: nanos(&statx.stx_mtime),
        links: u64::from(statx.stx_nlink),
        kind: FileType::from_raw_mode(u32::from(statx.stx_mode)),
    }
}

#[allow(clippy::useless_conversion, reason = "the widths of these fields differ between architectures")]
fn from_stat(stat: &rustix::fs::Stat) -> Status {
    Status {
        identity: FileId { device: stat.st_dev.into(), inode: stat.st_ino.into(), born: 0 },
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified: i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec),
        links: stat.st_nlink.into(),
        kind: FileType::from_raw_mode(stat.st_mode),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn identity_survives_renames_and_links_only() {
        let room = tempfile::tempdir().unwrap();
        let path = |name: &str| room.path().join(name);
        fs::write(path("a"), "1").unwrap();
        let before = status_of(&path("a")).unwrap().identity;
        fs::rename(path("a"), path("b")).unwrap();
        fs::hard_link(path("b"), path("hard")).unwrap();
        std::os::unix::fs::symlink(path("b"), path("soft")).unwrap();
        fs::write(path("a"), "1").unwrap();
        #[track_caller]
        fn check(path: &Path, before: FileId, same: bool) {
            let file = File::open(path).unwrap();
            assert_eq!(status_of(path).unwrap().identity == before, same);
            assert_eq!(status_of_open(&file).unwrap().identity == before, same);
        }
        check(&path("b"), before, true);
        check(&path("hard"), before, true);
        check(&path("soft"), before, true);
        check(&path("a"), before, false);
    }

    #[test]
    fn only_the_expected_regular_file_is_opened() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("a");
        fs::write(&path, "1").unwrap();
        let here = status_of(&path).unwrap().identity;
        let directory = status_of(room.path()).unwrap();
        let trust = Trust::new(Vec::new());
        assert!(open(&path, here, &trust).unwrap().is_some());
        assert!(open(&path, directory.identity, &trust).unwrap().is_none());
        assert!(open(room.path(), directory.identity, &trust).unwrap().is_none());
        assert!(directory.refusal().is_some());
        assert_eq!(
            open(&room.path().join("none"), here, &trust).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}

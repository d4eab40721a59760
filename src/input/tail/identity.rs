//! Which file is this? Names change hands at every rotation; what a file *is* does not.
//!
//! An [`Identity`] is device, inode and time of birth. The time of birth is there because ext4 gives the inode of a
//! deleted file to the next file that is created, which in a rotation is the new file under the old name.
//! To come, with durable positions: the inode generation, the hash of the file's head and of the bytes before our
//! offset, for file systems that tell no time of birth and for a file that was emptied and filled again.
//!
//! Here also: the only two ways in which this input touches a file. A path is looked at first ([`status_of`]) and
//! opened only when it leads to a regular file, because opening a FIFO or a device has effects.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Statx, StatxFlags};
use rustix::io::Errno;

/// What makes a file the same file under another name. Equal only while the file lives: an inode is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    /// Nanoseconds since the epoch, where the file system tells.
    born: Option<i128>,
}

/// What the kernel says about a file at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Status {
    pub(super) identity: Identity,
    pub(super) size: u64,
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
pub(super) fn open(path: &Path, expected: Identity) -> io::Result<Option<File>> {
    // The look before keeps us from opening pipes and devices at all; the look after from being tricked in between.
    // NONBLOCK and NOCTTY take the harm out of what slips through that gap.
    if status_of(path)?.identity != expected {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let status = status_of_open(&file)?;
    Ok((status.identity == expected && status.refusal().is_none()).then_some(file))
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
    let born = &statx.stx_btime;
    Status {
        identity: Identity {
            device: rustix::fs::makedev(statx.stx_dev_major, statx.stx_dev_minor),
            inode: statx.stx_ino,
            born: tells_birth.then(|| i128::from(born.tv_sec) * 1_000_000_000 + i128::from(born.tv_nsec)),
        },
        size: statx.stx_size,
        links: u64::from(statx.stx_nlink),
        kind: FileType::from_raw_mode(u32::from(statx.stx_mode)),
    }
}

#[allow(clippy::useless_conversion, reason = "the widths of these fields differ between architectures")]
fn from_stat(stat: &rustix::fs::Stat) -> Status {
    Status {
        identity: Identity { device: stat.st_dev.into(), inode: stat.st_ino.into(), born: None },
        size: u64::try_from(stat.st_size).unwrap_or(0),
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
        fn check(path: &Path, before: Identity, same: bool) {
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
        assert!(open(&path, here).unwrap().is_some());
        assert!(open(&path, directory.identity).unwrap().is_none());
        assert!(open(room.path(), directory.identity).unwrap().is_none());
        assert!(directory.refusal().is_some());
        assert_eq!(open(&room.path().join("none"), here).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}

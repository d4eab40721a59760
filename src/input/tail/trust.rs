//! Whom do we believe where a path leads? A container that may write to its log directory can plant a symbolic link
//! to `/etc/shadow` there, and we, who may read everything, would ship it.
//!
//! So a symbolic link is followed only if it belongs to root or to the user that we run as; the file must be regular;
//! and, where roots are configured, it must lie below one of them. Each link is read through a descriptor of the
//! link itself, so that nobody can show us one owner and another target. The path without links that comes of it is
//! opened in a way in which the kernel follows none: a directory that is swapped for a link meanwhile makes that fail.
//! Magic links (`/proc/self/fd/3`) are only text here and lose their power.
//! Limit: `LINKS_MAX` links in a path. Not here: which file it should be (`identity`).

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Which symbolic links are followed, and where they may lead.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    /// Empty: anywhere.
    roots: Vec<PathBuf>,
    user: u32,
}

impl Trust {
    pub(super) fn new(roots: Vec<PathBuf>) -> Trust {
        Trust { roots, user: rustix::process::geteuid().as_raw() }
    }

    /// The path without symbolic links to which `path` leads, if all links on the way can be trusted.
    pub(super) fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        let mut real = if path.is_absolute() { PathBuf::new() } else { std::env::current_dir()? };
        let mut rest: Vec<OsString> = backwards(path);
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name == ".." {
                real.pop();
                continue;
            }
            if name == "/" {
                real = PathBuf::from("/");
                continue;
            }
            real.push(&name);
            let Some(target) = self.target(&real)? else { continue };
            links += 1;
            if links > LINKS_MAX {
                return Err(Errno::LOOP.into());
            }
            real.pop();
            rest.extend(backwards(&target));
        }
        if self.roots.is_empty() || self.roots.iter().any(|root| is_below(&real, root)) {
            return Ok(real);
        }
        Err(refusal(format!("{} lies outside the allowed roots", real.display())))
    }

    /// Opens `path` for reading. What is opened may be anything; the flags keep it from doing harm.
    pub(super) fn open(&self, path: &Path) -> io::Result<File> {
        let real = self.resolve(path)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let file = match rustix::fs::openat2(CWD, &real, flags, Mode::empty(), resolve) {
            // Kernels before 5.6 do not have it, and the system call filters of old container runtimes deny it.
            Err(Errno::NOSYS | Errno::PERM) => rustix::fs::open(&real, flags, Mode::empty()),
            opened => opened,
        };
        Ok(File::from(file?))
    }

    /// Where `path` points, if it is a symbolic link.
    fn target(&self, path: &Path) -> io::Result<Option<PathBuf>> {
        let stat = rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return Ok(None);
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let link = rustix::fs::open(path, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&link)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            // Replaced this moment. The name is looked at again in the next scan.
            return Err(Errno::NOENT.into());
        }
        if stat.st_uid != 0 && stat.st_uid != self.user {
            return Err(refusal(format!(
                "the symbolic link {} belongs to user {}; only those of root and our own are followed",
                path.display(),
                stat.st_uid
            )));
        }
        let target = rustix::fs::readlinkat(&link, c"", Vec::new())?;
        Ok(Some(PathBuf::from(OsString::from_vec(target.into_bytes()))))
    }
}

/// The components, last one first.
fn backwards(path: &Path) -> Vec<OsString> {
    let wanted = path.components().rev().filter(|part| *part != Component::CurDir);
    wanted.map(|part| part.as_os_str().to_owned()).collect()
}

fn is_below(real: &Path, root: &Path) -> bool {
    // The operator names the roots, so their own links are followed, whoever made them.
    root.canonicalize().is_ok_and(|root| real.starts_with(root))
}

fn refusal(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, reason)
}

/// As in the kernel.
const LINKS_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn paths_are_resolved_as_the_kernel_does() {
        let room = tempfile::tempdir().unwrap();
        let path = |name: &str| room.path().join(name);
        fs::create_dir_all(path("a/b")).unwrap();
        fs::write(path("a/b/x"), "1").unwrap();
        symlink("b/../b", path("a/relative")).unwrap();
        symlink(path("a"), path("absolute")).unwrap();
        symlink("absolute/relative/x", path("chain")).unwrap();
        symlink("round", path("round")).unwrap();
        symlink("nowhere", path("broken")).unwrap();
        let trust = Trust::new(Vec::new());
        for name in ["a/b/x", "a/relative/x", "absolute/relative/x", "chain", "a/../chain", "./chain"] {
            let want = path(name).canonicalize().unwrap();
            assert_eq!(trust.resolve(&path(name)).unwrap(), want, "{name}");
            assert!(trust.open(&path(name)).is_ok(), "{name}");
        }
        assert_eq!(
            trust.resolve(&path("round")).unwrap_err().raw_os_error(),
            Some(Errno::LOOP.raw_os_error())
        );
        assert_eq!(trust.resolve(&path("broken")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(trust.resolve(Path::new("src")).unwrap(), Path::new("src").canonicalize().unwrap());
    }

    #[test]
    fn fault_080_links_of_others_and_ways_out_are_refused() {
        let room = tempfile::tempdir().unwrap();
        let path = |name: &str| room.path().join(name);
        fs::create_dir_all(path("logs")).unwrap();
        fs::write(path("logs/x"), "1").unwrap();
        fs::write(path("secret"), "2").unwrap();
        symlink(path("secret"), path("logs/out")).unwrap();
        symlink(path("logs/x"), path("in")).unwrap();
        #[track_caller]
        fn check(trust: &Trust, path: &Path, want: Option<&str>) {
            let refused = trust.open(path).err().map(|error| error.to_string());
            match want {
                None => assert_eq!(refused, None),
                Some(part) => {
                    assert!(refused.as_ref().is_some_and(|text| text.contains(part)), "{refused:?}")
                }
            }
        }
        let open = Trust::new(Vec::new());
        check(&open, &path("logs/out"), None);
        let narrow = Trust::new(vec![path("logs"), path("not there")]);
        check(&narrow, &path("logs/x"), None);
        check(&narrow, &path("in"), None);
        check(&narrow, &path("logs/out"), Some("outside the allowed roots"));
        check(&narrow, &path("logs/../secret"), Some("outside the allowed roots"));
        check(&narrow, &path("secret"), Some("outside the allowed roots"));
        // The links are ours, so that a trust of somebody else must refuse them, unless we are root.
        let other = Trust { user: open.user + 1, ..open.clone() };
        if open.user == 0 {
            std::os::unix::fs::lchown(path("logs/out"), Some(12_345), None).unwrap();
            check(&open, &path("logs/out"), Some("belongs to user 12345"));
            fs::create_dir(path("theirs")).unwrap();
            symlink(path("logs"), path("theirs/way")).unwrap();
            std::os::unix::fs::lchown(path("theirs/way"), Some(12_345), None).unwrap();
            check(&open, &path("theirs/way/x"), Some("belongs to user 12345"));
        } else {
            check(&other, &path("logs/out"), Some("belongs to user"));
        }
    }

    #[test]
    fn fault_080_magic_links_have_no_power() {
        let room = tempfile::tempdir().unwrap();
        let secret = room.path().join("secret");
        fs::write(&secret, "2").unwrap();
        let held = File::open(&secret).unwrap();
        fs::remove_file(&secret).unwrap();
        let magic = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held));
        assert!(File::open(&magic).is_ok(), "the kernel would");
        assert_eq!(
            Trust::new(Vec::new()).open(Path::new(&magic)).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}

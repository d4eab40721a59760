//! The state directory: its lock, its identity, and the names in it.
//!
//! The lock is a `flock` on the directory itself: a lock file could be deleted, and two processes would each hold one.
//! The kernel lets go of it when the process ends, however it ends.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::OpenError;

/// The database.
pub(super) const DATABASE: &str = "outbox.db";
/// Its write-ahead log; SQLite makes up this name, and the one of the index.
const LOG: &str = "outbox.db-wal";
const INDEX: &str = "outbox.db-shm";
/// What a salvage writes; complete when no [`DATABASE`] is beside it.
const SALVAGED: &str = "outbox.salvaged";
/// How many damaged stores are kept; one more takes the place of the last.
const KEPT_MAX: usize = 4;

/// Where state is kept when nobody says where: `/var/lib/squall` as root, else the XDG state directory. `None` for a
/// user without a home.
pub fn default_dir(uid: u32, xdg_state_home: Option<&OsStr>, home: Option<&OsStr>) -> Option<PathBuf> {
    if uid == 0 {
        return Some(PathBuf::from("/var/lib/squall"));
    }
    // The XDG specification: a path that is not absolute is to be ignored.
    let state = xdg_state_home.map(Path::new).filter(|path| path.is_absolute()).map(Path::to_path_buf);
    let home = home.map(Path::new).filter(|path| path.is_absolute());
    state.or_else(|| Some(home?.join(".local/state"))).map(|state| state.join("squall"))
}

/// The database in a state directory, and its log.
pub(super) fn files(dir: &Path) -> (PathBuf, PathBuf) {
    (dir.join(DATABASE), dir.join(LOG))
}

/// A directory that is ours as long as this lives.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    handle: File,
}

/// What tells a store from its copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    /// The machine's id; empty where the system has none.
    pub(super) machine: String,
    /// The directory's inode.
    pub(super) directory: u64,
    /// The database's inode: a backup that was put back is a copy, too.
    pub(super) file: u64,
    /// When the database's file was made, in nanoseconds since the epoch, where the file system tells: the inode of a
    /// file that was deleted is given to the next one.
    pub(super) born: i64,
}

impl Directory {
    /// Makes the directory where it is missing, and locks it.
    pub(super) fn lock(path: &Path) -> Result<Directory, OpenError> {
        let failed = |action| {
            let path = path.to_path_buf();
            move |source| OpenError::Io { action, path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("create the directory"))?;
        let handle = File::open(path).map_err(failed("open the directory"))?;
        match rustix::fs::flock(&handle, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Directory { path: path.to_path_buf(), handle }),
            Err(Errno::WOULDBLOCK) => Err(OpenError::InUse { dir: path.to_path_buf() }),
            Err(error) => Err(failed("lock the directory")(error.into())),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join(LOG)
    }

    pub(super) fn salvaged(&self) -> PathBuf {
        self.path.join(SALVAGED)
    }

    /// Makes the database's file where it is missing, readable by nobody else: log lines are in it. SQLite gives its
    /// other files the same mode.
    pub(super) fn touch(&self, path: &Path) -> io::Result<()> {
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).map(drop)
    }

    /// The identity of what lies here now.
    pub(super) fn identity(&self) -> io::Result<Identity> {
        let machine = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
        let machine = machine.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        let file = fs::metadata(self.database())?;
        let born =
            file.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        Ok(Identity {
            machine: machine.trim().to_owned(),
            directory: self.handle.metadata()?.ino(),
            file: file.ino(),
            born: i64::try_from(born.as_nanos()).unwrap_or(0),
        })
    }

    /// Renames the database and its log to the next free name that says that they are bad. Returns the new name.
    pub(super) fn set_aside(&self) -> io::Result<PathBuf> {
        let name = |number: usize| match number {
            0 => "outbox.bad".to_owned(),
            number => format!("outbox.{number}.bad"),
        };
        let taken =
            |name: &String| self.path.join(name).exists() || self.path.join(format!("{name}-wal")).exists();
        let name = (0..KEPT_MAX).map(name).find(|name| !taken(name)).unwrap_or_else(|| name(KEPT_MAX - 1));
        let kept = self.path.join(&name);
        // With this name for its log, SQLite can still read the damaged store.
        rename_if_there(&self.log(), &self.path.join(format!("{name}-wal")))?;
        rename_if_there(&self.database(), &kept)?;
        remove_if_there(&self.path.join(INDEX))?;
        self.sync()?;
        Ok(kept)
    }

    /// Puts a complete salvage into the place of the database.
    pub(super) fn put_salvaged_in_place(&self) -> io::Result<()> {
        rename_if_there(&self.salvaged(), &self.database())?;
        self.sync()
    }

    /// Ends a salvage that a crash interrupted: while the database is there, the salvage may be half, and is done again.
    pub(super) fn settle_salvage(&self) -> io::Result<()> {
        if self.database().exists() { self.clear_salvage() } else { self.put_salvaged_in_place() }
    }

    /// Removes what an earlier salvage has left.
    pub(super) fn clear_salvage(&self) -> io::Result<()> {
        for suffix in ["", "-wal", "-shm", "-journal"] {
            remove_if_there(&self.path.join(format!("{SALVAGED}{suffix}")))?;
        }
        Ok(())
    }

    /// Makes names durable that were given or taken here.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    /// Bytes that can still be written on this disk.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        let disk = rustix::fs::fstatvfs(&self.handle).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Closing it does not suffice where a child process was started just now and still has a copy of the descriptor.
        // If this fails, that is what happens.
        let _ = rustix::fs::flock(&self.handle, FlockOperation::Unlock);
    }
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Which start of the machine this is; empty where the system does not tell.
pub(super) fn boot() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    boot.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_for_state() {
        #[track_caller]
        fn check(uid: u32, xdg: Option<&str>, home: Option<&str>, want: Option<&str>) {
            let found = default_dir(uid, xdg.map(OsStr::new), home.map(OsStr::new));
            assert_eq!(found, want.map(PathBuf::from));
        }
        check(0, Some("/x"), Some("/root"), Some("/var/lib/squall"));
        check(7, Some("/x"), Some("/home/me"), Some("/x/squall"));
        check(7, Some("relative"), Some("/home/me"), Some("/home/me/.local/state/squall"));
        check(7, None, Some("/home/me"), Some("/home/me/.local/state/squall"));
        check(7, None, None, None);
        check(7, None, Some(""), None);
    }

    #[test]
    fn fault_041_one_process_at_a_time() {
        let room = tempfile::tempdir().expect("a directory");
        let dir = room.path().join("deep/state");
        let first = Directory::lock(&dir).expect("it is free");
        assert_eq!(fs::metadata(&dir).expect("it was made").mode() & 0o777, 0o700);
        assert!(matches!(Directory::lock(&dir), Err(OpenError::InUse { .. })));
        drop(first);
        Directory::lock(&dir).expect("it is free again");
    }

    #[test]
    fn bad_files_get_names_of_their_own() {
        let room = tempfile::tempdir().expect("a directory");
        let directory = Directory::lock(room.path()).expect("it is free");
        let mut names = Vec::new();
        for _ in 0..KEPT_MAX + 2 {
            fs::write(directory.database(), "x").expect("a file");
            fs::write(directory.log(), "y").expect("a file");
            let kept = directory.set_aside().expect("it can be renamed");
            assert!(room.path().join(format!("{}-wal", kept.display())).exists());
            names.push(kept.file_name().expect("a name").to_string_lossy().into_owned());
        }
        let last = "outbox.3.bad";
        assert_eq!(names, ["outbox.bad", "outbox.1.bad", "outbox.2.bad", last, last, last]);
        assert!(!directory.database().exists() && !directory.log().exists());
    }
}

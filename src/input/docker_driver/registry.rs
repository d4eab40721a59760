//! The FIFOs to re-attach: dockerd announces each of them once, whatever happens to us (`faults.md` 68).
//!
//! One file for each, written before dockerd gets its answer, and deleted when the FIFO has ended and all of it is
//! committed. Not synced: after a power loss there is no FIFO to re-attach, and a disk that takes seconds to sync would
//! hold up the supervisor and each `docker run`. A file that cannot be read is set aside, not deleted: it may say which container stands still.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::info::Described;

/// One FIFO.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where dockerd made it.
    pub file: PathBuf,
    /// Whose lines come through it.
    pub described: Described,
    /// How many were announced before it: FIFOs of one container follow each other.
    pub number: u64,
    /// dockerd writes no more to it.
    pub stopped: bool,
}

/// All that a registry holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Its entries with their names, in the order in which they were announced.
    pub entries: Vec<(String, Entry)>,
    /// Files that are none, where they were set aside.
    pub broken: Vec<PathBuf>,
}

/// A folder of entries.
#[derive(Clone, Debug)]
pub struct Registry {
    dir: PathBuf,
}

impl Registry {
    /// The one in `dir`, which is made.
    ///
    /// # Errors
    /// When it cannot be.
    pub fn open(dir: PathBuf) -> io::Result<Registry> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        Ok(Registry { dir })
    }

    /// The name under which a FIFO is known: that of its file, which dockerd makes of 64 hex digits.
    pub fn name(file: &Path) -> Option<String> {
        let name = file.file_name()?.to_str()?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        (name.len() <= 128 && name.bytes().all(is_plain)).then(|| name.to_owned())
    }

    /// Saves an entry, whole or not at all; it survives a kill.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save(&self, name: &str, entry: &Entry) -> io::Result<()> {
        let new = self.dir.join(format!("{name}.new"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(entry)?)?;
        fs::rename(&new, self.path(name))
    }

    /// Reads one entry.
    ///
    /// # Errors
    /// What the file system says, and `InvalidData` for what is no entry.
    pub fn load(&self, name: &str) -> io::Result<Entry> {
        Ok(serde_json::from_slice(&fs::read(self.path(name))?)?)
    }

    /// Forgets an entry.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    /// All entries. Files that are none are set aside.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn all(&self) -> io::Result<Known> {
        let Known { mut entries, mut broken } = Known::default();
        for file in fs::read_dir(&self.dir)? {
            let path = file?.path();
            let is_ours = path.extension().is_some_and(|kind| kind == "json");
            let Some(name) = path.file_stem().and_then(|name| name.to_str()).filter(|_| is_ours) else {
                continue;
            };
            match self.load(name) {
                Ok(entry) => entries.push((name.to_owned(), entry)),
                Err(_) => {
                    let aside = path.with_extension("bad");
                    fs::rename(&path, &aside)?;
                    broken.push(aside);
                }
            }
        }
        entries.sort_by_key(|(_, entry)| entry.number);
        Ok(Known { entries, broken })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_kept() {
        let room = tempfile::tempdir().expect("a folder");
        let registry = Registry::open(room.path().join("a/b")).expect("a folder");
        let entry = |number| Entry { file: PathBuf::from("/f"), number, ..Entry::default() };
        registry.save("y", &entry(1)).expect("there is room");
        registry.save("x", &entry(2)).expect("there is room");
        registry.save("z", &entry(3)).expect("there is room");
        registry.save("x", &Entry { stopped: true, ..entry(2) }).expect("there is room");
        registry.remove("z").expect("it is there");
        fs::write(room.path().join("a/b/w.json"), "{").expect("our own file");
        let Known { entries, broken } = registry.all().expect("a folder");
        let names: Vec<_> = entries.iter().map(|(name, entry)| (name.as_str(), entry.stopped)).collect();
        assert_eq!((names, broken), (vec![("y", false), ("x", true)], vec![room.path().join("a/b/w.bad")]));
        assert_eq!(registry.all().expect("a folder").broken, Vec::<PathBuf>::new());
        assert!(registry.load("z").is_err());
    }

    #[test]
    fn names() {
        #[track_caller]
        fn check(file: &str, want: Option<&str>) {
            assert_eq!(Registry::name(Path::new(file)).as_deref(), want, "{file}");
        }
        check("/run/docker/logging/0123abcd", Some("0123abcd"));
        check("/run/docker/logging/..", None);
        check("/run/docker/logging/a b", None);
        check("/run/docker/logging/a.json", None);
        check("", None);
    }
}

//! A log file that is written and rotated as dockerd's json-file driver does it.
//!
//! `<path>` is live, `<path>.1` the newest rotated one. What a tailer of real containers meets is kept: a file is
//! rotated when it *has* its size, so it may be larger by one entry; with a single file the live one is deleted; the
//! file made by a rotation is opened without `O_APPEND`.
//! Not here: compressing what was rotated.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::units::Bytes;

/// When to rotate, and how much to keep: Docker's options of the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A file that has this size is rotated before anything more is written to it.
    pub max_size: Bytes,
    /// Files that are kept, the live one included. 0 counts as 1.
    pub max_file: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_size: Bytes(10_000_000), max_file: 3 }
    }
}

/// A live log file and its rotated ones.
#[derive(Debug)]
pub struct RotatingLog {
    path: PathBuf,
    limits: Limits,
    file: File,
    size: Bytes,
    rotations: u64,
}

impl RotatingLog {
    /// Opens the live file, to go on at its end when it is there already.
    ///
    /// # Errors
    /// When the file cannot be opened or its size not be read.
    pub fn open(path: impl Into<PathBuf>, limits: Limits) -> anyhow::Result<RotatingLog> {
        let path = path.into();
        let file = OpenOptions::new().append(true).create(true).open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        let metadata =
            file.metadata().with_context(|| format!("cannot read the size of {}", path.display()))?;
        Ok(RotatingLog { path, limits, file, size: Bytes(metadata.len()), rotations: 0 })
    }

    /// Writes one entry, or several whole ones, which then stay together in one file.
    ///
    /// # Errors
    /// When the file cannot be rotated or written. What was written of the entries is then unknown.
    pub fn write(&mut self, entries: &[u8]) -> anyhow::Result<()> {
        if self.size >= self.limits.max_size && self.size > Bytes(0) {
            self.rotate()?;
        }
        self.file.write_all(entries).with_context(|| format!("cannot write {}", self.path.display()))?;
        self.size += Bytes(entries.len() as u64);
        Ok(())
    }

    /// How often it was rotated since it was opened. From the `max_file`th time on, each deletes a file.
    pub fn rotations(&self) -> u64 {
        self.rotations
    }

    fn rotate(&mut self) -> anyhow::Result<()> {
        let oldest = self.limits.max_file.saturating_sub(1);
        remove(&self.generation(oldest))?;
        for to in (1..=oldest).rev() {
            rename(&self.generation(to - 1), &self.generation(to))?;
        }
        let file = OpenOptions::new().write(true).truncate(true).create(true).open(&self.path);
        self.file = file.with_context(|| format!("cannot create {}", self.path.display()))?;
        self.size = Bytes(0);
        self.rotations += 1;
        Ok(())
    }

    /// The file that was rotated `age` times; 0 is the live one.
    fn generation(&self, age: u32) -> PathBuf {
        if age == 0 {
            return self.path.clone();
        }
        let mut path = OsString::from(&self.path);
        path.push(format!(".{age}"));
        path.into()
    }
}

fn remove(path: &Path) -> anyhow::Result<()> {
    absent_is_fine(fs::remove_file(path)).with_context(|| format!("cannot delete {}", path.display()))
}

fn rename(from: &Path, to: &Path) -> anyhow::Result<()> {
    absent_is_fine(fs::rename(from, to))
        .with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))
}

/// The first rotations find no old files, and somebody may have deleted one.
fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files of a directory, each with its name and content, sorted by name.
    fn files(directory: &Path) -> Vec<(String, String)> {
        let mut files: Vec<(String, String)> = fs::read_dir(directory)
            .expect("a directory")
            .map(|entry| entry.expect("an entry"))
            .map(|entry| {
                let content = fs::read_to_string(entry.path()).expect("a file");
                (entry.file_name().into_string().expect("UTF-8"), content)
            })
            .collect();
        files.sort();
        files
    }

    #[test]
    fn files_rotate_like_dockerds() {
        #[track_caller]
        fn check(max_size: u64, max_file: u32, entries: &[&str], want: &[(&str, &str)]) {
            let directory = tempfile::tempdir().expect("a directory");
            let limits = Limits { max_size: Bytes(max_size), max_file };
            let mut log = RotatingLog::open(directory.path().join("log"), limits).expect("open");
            for entry in entries {
                log.write(entry.as_bytes()).expect("write");
            }
            let want: Vec<(String, String)> =
                want.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect();
            assert_eq!(files(directory.path()), want);
        }
        check(4, 3, &[], &[("log", "")]);
        check(4, 3, &["aaa"], &[("log", "aaa")]);
        check(4, 3, &["aaa", "bbb"], &[("log", "aaabbb")]); // over its size by one entry
        check(4, 3, &["aaa", "bbb", "c"], &[("log", "c"), ("log.1", "aaabbb")]);
        check(4, 3, &["aaaa", "bbbb", "c"], &[("log", "c"), ("log.1", "bbbb"), ("log.2", "aaaa")]);
        check(4, 3, &["aaaa", "bbbb", "cccc", "d"], &[("log", "d"), ("log.1", "cccc"), ("log.2", "bbbb")]);
        check(4, 2, &["aaaa", "bbbb", "c"], &[("log", "c"), ("log.1", "bbbb")]);
        check(4, 1, &["aaaa", "b"], &[("log", "b")]);
        check(4, 0, &["aaaa", "b"], &[("log", "b")]);
        check(0, 2, &["a", "b"], &[("log", "b"), ("log.1", "a")]);
    }

    #[test]
    fn it_goes_on_where_it_was() {
        let directory = tempfile::tempdir().expect("a directory");
        let limits = Limits { max_size: Bytes(4), max_file: 2 };
        for entry in ["aaa", "bbb", "ccc"] {
            let mut log = RotatingLog::open(directory.path().join("log"), limits).expect("open");
            log.write(entry.as_bytes()).expect("write");
            assert_eq!(log.rotations(), u64::from(entry == "ccc"));
        }
        let want =
            [("log", "ccc"), ("log.1", "aaabbb")].map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(files(directory.path()), want);
    }

    #[test]
    fn a_reader_keeps_its_file_over_a_rotation() {
        use std::io::Read;
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let mut log = RotatingLog::open(&path, Limits { max_size: Bytes(4), max_file: 1 }).expect("open");
        log.write(b"aaaa").expect("write");
        let mut held = File::open(&path).expect("open");
        log.write(b"b").expect("write");
        let mut content = String::new();
        held.read_to_string(&mut content).expect("read");
        assert_eq!((content.as_str(), fs::read_to_string(&path).expect("read").as_str()), ("aaaa", "b"));
    }

    #[test]
    fn errors_name_the_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let error =
            RotatingLog::open(directory.path(), Limits::default()).expect_err("a directory is no file");
        assert!(error.to_string().contains(&directory.path().display().to_string()), "{error}");
        // What stands in the way of the oldest file cannot be deleted.
        let path = directory.path().join("log");
        fs::create_dir_all(directory.path().join("log.1/full")).expect("create");
        let mut log = RotatingLog::open(&path, Limits { max_size: Bytes(1), max_file: 2 }).expect("open");
        log.write(b"a").expect("write");
        let error = log.write(b"b").expect_err("a directory cannot be unlinked");
        assert!(error.to_string().ends_with("log.1"), "{error}");
    }
}

//! Records into a file, one JSON object a line.
//!
//! Invariant: the file ends with a newline whenever nothing is being written, so a reader never sees half a
//! record that stays. A half record that a crash left behind is cut off on open; one that a full disk left
//! behind, at once.
//! Not here: rotation and caps (`retention`).

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use super::{OutputError, Standing};
use crate::engine::record::Batch;

/// Where to write (`outputs.file`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The file; it is appended to.
    pub path: PathBuf,
}

/// An open file of records.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    file: fs::File,
    /// Where the file ends: behind the last whole record.
    end: u64,
    /// One batch of lines, kept for its memory.
    buffer: Vec<u8>,
    standing: Standing,
}

impl File {
    /// Opens the file, creates it where it is missing, and cuts it back to its last newline.
    ///
    /// # Errors
    /// When the file cannot be opened, read or cut.
    pub fn open(options: &Options) -> Result<File, OutputError> {
        let path = options.path.clone();
        let failed = |action| {
            let path = path.clone();
            move |source| OutputError::File { action, path, source }
        };
        // Not in append mode: a write goes where we say, which is what makes cutting back exact.
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed("open"))?;
        let end = last_line_end(&mut file).map_err(failed("read"))?;
        cut(&mut file, end).map_err(failed("cut the half record off"))?;
        Ok(File { path, file, end, buffer: Vec::new(), standing: Standing::default() })
    }

    pub(super) fn offer(&mut self, batch: &Batch, from: usize) -> Result<usize, OutputError> {
        self.buffer.clear();
        for (_, record) in batch.iter().skip(from) {
            self.buffer.extend_from_slice(record);
            self.buffer.push(b'\n');
        }
        if let Err(source) = self.file.write_all(&self.buffer) {
            // The first error is the one worth telling; if cutting fails too, the next open does it.
            let _ = cut(&mut self.file, self.end);
            return Err(OutputError::File { action: "write", path: self.path.clone(), source });
        }
        self.end += self.buffer.len() as u64;
        for (meta, record) in batch.iter().skip(from) {
            self.standing.confirm(meta, record);
        }
        Ok(batch.metas.len().saturating_sub(from))
    }

    pub(super) fn flush(&mut self) -> Result<(), OutputError> {
        match self.file.sync_data() {
            Ok(()) => Ok(()),
            // Pipes and terminals cannot be synced, and need not be.
            Err(source) if source.kind() == io::ErrorKind::InvalidInput => Ok(()),
            Err(source) => Err(OutputError::File { action: "sync", path: self.path.clone(), source }),
        }
    }

    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }
}

/// Ends the file at `end` and continues there. What cannot be sought (a pipe, `/dev/stdout`) has nothing to
/// cut.
pub(super) fn cut(file: &mut fs::File, end: u64) -> io::Result<()> {
    if !file.metadata()?.is_file() {
        return Ok(());
    }
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end)).map(drop)
}

/// The length of the file up to and including its last newline.
pub(super) fn last_line_end(file: &mut fs::File) -> io::Result<u64> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(0);
    }
    let mut end = metadata.len();
    let mut block = vec![0; BLOCK];
    while end > 0 {
        let start = end.saturating_sub(BLOCK as u64);
        let part = &mut block[..usize::try_from(end - start).unwrap_or(BLOCK)];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(newline) = memchr::memrchr(b'\n', part) {
            return Ok(start + newline as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// How much is read at once on the way back to the last newline: a record is rarely longer.
const BLOCK: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::testing::batch;

    fn open(path: &std::path::Path) -> Result<File, OutputError> {
        File::open(&Options { path: path.to_path_buf() })
    }

    #[test]
    fn half_records_are_cut_off() {
        #[track_caller]
        fn check(before: &str, want: &str) {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let path = dir.path().join("out.ndjson");
            fs::write(&path, before).expect("the file as a crash left it");
            let mut file = open(&path).expect("it opens");
            let records = batch(1, &[("s", r#"{"n":1}"#), ("s", r#"{"n":2}"#)]);
            assert_eq!(file.offer(&records, 0).expect("the disk takes it"), 2);
            file.flush().expect("the disk syncs");
            assert_eq!(file.standing().acked_upto, 2);
            let after = fs::read_to_string(&path).expect("the file is there");
            assert_eq!(after, format!("{want}{{\"n\":1}}\n{{\"n\":2}}\n"), "{:.20}", before);
        }
        check("", "");
        check("{}\n", "{}\n");
        check("{}\n{\"half", "{}\n");
        check("{\"half", "");
        check(&format!("{{}}\n{}", "x".repeat(3 * BLOCK)), "{}\n"); // the newline is blocks away
        check(&format!("{}\n", "x".repeat(BLOCK - 1)), &format!("{}\n", "x".repeat(BLOCK - 1)));
    }

    #[test]
    fn errors_name_the_file() {
        let error = open(std::path::Path::new("/nonexistent/out.ndjson")).expect_err("no such folder");
        assert_eq!(error.to_string(), "cannot open /nonexistent/out.ndjson");
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let mut file = open(std::path::Path::new("/dev/full")).expect("it opens");
        let error = file.offer(&batch(1, &[("s", "{}")]), 0).expect_err("nothing fits");
        assert_eq!(error.to_string(), "cannot write /dev/full");
        assert_eq!(file.standing().acked_upto, 0);
    }
}

//! Records that no destination takes: the last resort, so that they are not lost but lie in a file for somebody to
//! look at.
//!
//! One JSON object a line: when, why, the record's id, its stream, and the record as it was.
//! Invariant: what [`append`](DeadLetters::append) has accepted is on the disk, and the file ends with a newline.
//! Limit: half of `size_max`; then the file becomes `….1`, in place of the one before, and a new one begins. So the
//! newest half at least is always there.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::OutputError;
use super::file::{cut, last_line_end};
use crate::engine::record::LaneId;
use crate::engine::record::json::{self, Clockface};
use crate::units::{Bytes, Timestamp};

/// How much both files may hold.
pub const SIZE_MAX: Bytes = Bytes(64 << 20);

/// An open dead-letter file.
#[derive(Debug)]
pub struct DeadLetters {
    path: PathBuf,
    file: fs::File,
    /// Where the file ends: behind the last whole line.
    end: u64,
    half_max: u64,
}

/// A record that could not be delivered.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'a> {
    /// The lane that numbered it.
    pub lane: LaneId,
    /// Its number.
    pub seq: u64,
    /// The stream.
    pub stream: &'a str,
    /// The record, as it was refused.
    pub record: &'a [u8],
    /// Why, in the destination's words.
    pub reason: &'a str,
    /// When it was given up.
    pub at: Timestamp,
}

impl DeadLetters {
    /// Opens the file, creates it (readable by its owner alone) where it is missing, and cuts off a half line that a
    /// crash left.
    ///
    /// # Errors
    /// When the file cannot be opened, read or cut.
    pub fn open(path: &Path, size_max: Bytes) -> Result<DeadLetters, OutputError> {
        let mut file = create(path).map_err(failed("open", path))?;
        let end = last_line_end(&mut file).map_err(failed("read", path))?;
        cut(&mut file, end).map_err(failed("cut the half record off", path))?;
        Ok(DeadLetters { path: path.to_owned(), file, end, half_max: size_max.0 / 2 })
    }

    /// Writes one letter to the disk and waits until it is there. A letter of any size is written.
    ///
    /// # Errors
    /// When the disk refuses. The letter is then not in the file.
    pub fn append(&mut self, letter: &Letter<'_>) -> Result<(), OutputError> {
        let line = letter.line();
        if self.end > 0 && self.end + line.len() as u64 > self.half_max {
            self.rotate().map_err(failed("rotate", &self.path))?;
        }
        if let Err(source) = self.file.write_all(&line).and_then(|()| self.file.sync_data()) {
            // The first error is the one worth telling; if cutting fails too, the next open does it.
            let _ = cut(&mut self.file, self.end);
            return Err(failed("write", &self.path)(source));
        }
        self.end += line.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let mut older = self.path.clone().into_os_string();
        older.push(".1");
        fs::rename(&self.path, older)?;
        self.file = create(&self.path)?;
        self.end = 0;
        Ok(())
    }
}

impl Letter<'_> {
    fn line(&self) -> Vec<u8> {
        let mut line = Vec::with_capacity(self.record.len() + 256);
        line.extend_from_slice(b"{\"at\":\"");
        Clockface::default().write(&mut line, self.at);
        line.extend_from_slice(b"\",\"reason\":");
        json::string(&mut line, self.reason.as_bytes());
        line.extend_from_slice(format!(",\"id\":\"{}-{}\",\"stream\":", self.lane, self.seq).as_bytes());
        json::string(&mut line, self.stream.as_bytes());
        // As it is where it can be read as it is, so that `jq .record` gives it back.
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(self.record).is_ok();
        if is_json && std::str::from_utf8(self.record).is_ok() && !self.record.contains(&b'\n') {
            line.extend_from_slice(b",\"record\":");
            line.extend_from_slice(self.record);
        } else {
            line.extend_from_slice(b",\"record_b64\":\"");
            line.extend_from_slice(BASE64.encode(self.record).as_bytes());
            line.push(b'"');
        }
        line.extend_from_slice(b"}\n");
        line
    }
}

/// Opens or creates a file, and makes sure that its name survives too.
fn create(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    // Not in append mode: a write goes where we say, which is what makes cutting back exact.
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(file)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OutputError + use<> {
    let path = path.to_owned();
    move |source| OutputError::File { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn letter(seq: u64, record: &[u8]) -> Letter<'_> {
        let at = Timestamp(1_770_336_600 * Timestamp::SECOND);
        Letter { lane: LaneId(0xabc), seq, stream: "api", record, reason: "too \"large\"", at }
    }

    fn seqs(path: &Path) -> Vec<u64> {
        let text = fs::read_to_string(path).expect("the file is there");
        assert!(text.ends_with('\n'));
        let seq = |line: &str| {
            let json: serde_json::Value = serde_json::from_str(line).expect("JSON");
            json["id"].as_str().and_then(|id| id.rsplit_once('-')?.1.parse().ok()).expect("an id")
        };
        text.lines().map(seq).collect()
    }

    #[test]
    fn letters_say_what_they_hold() {
        #[track_caller]
        fn check(record: &[u8], want: &str) {
            let head = r#"{"at":"2026-02-06T00:10:00.000000000Z","reason":"too \"large\"","#;
            let id = r#""id":"00000000000000000000000000000abc-7","stream":"api","#;
            let line = String::from_utf8(letter(7, record).line()).expect("text");
            assert_eq!(line, format!("{head}{id}{want}}}\n"));
        }
        check(br#"{"message":"m"}"#, r#""record":{"message":"m"}"#);
        check(b"{\n}", r#""record_b64":"ewp9""#);
        check(b"{\"half", r#""record_b64":"eyJoYWxm""#);
        check(b"\xff", r#""record_b64":"/w==""#);
        check(b"", r#""record_b64":"""#);
    }

    #[test]
    fn the_newest_half_is_always_there() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (path, older) = (folder.path().join("dead.ndjson"), folder.path().join("dead.ndjson.1"));
        let line = letter(1, b"{}").line().len() as u64;
        let size_max = Bytes(line * 6);
        let mut letters = DeadLetters::open(&path, size_max).expect("it opens");
        for seq in 1..=3 {
            letters.append(&letter(seq, b"{}")).expect("the disk takes it");
        }
        assert!(!older.exists());
        letters.append(&letter(4, b"{}")).expect("the disk takes it");
        assert_eq!((seqs(&older), seqs(&path)), (vec![1, 2, 3], vec![4]));
        drop(letters);
        let mut letters = DeadLetters::open(&path, size_max).expect("it opens again");
        for seq in 5..=7 {
            letters.append(&letter(seq, b"{}")).expect("the disk takes it");
        }
        assert_eq!((seqs(&older), seqs(&path)), (vec![4, 5, 6], vec![7]));
        let huge = format!("\"{}\"", "x".repeat(1000));
        letters.append(&letter(8, huge.as_bytes())).expect("larger than the half, and yet");
        assert_eq!((seqs(&older), seqs(&path)), (vec![7], vec![8]));
        for file in [&path, &older] {
            assert_eq!(fs::metadata(file).expect("there").permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_half_letter_is_cut_off() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("dead.ndjson");
        let mut before = letter(1, b"{}").line();
        before.extend_from_slice(&letter(2, b"{}").line()[..20]);
        fs::write(&path, before).expect("the file as a crash left it");
        let mut letters = DeadLetters::open(&path, SIZE_MAX).expect("it opens");
        letters.append(&letter(3, b"{}")).expect("the disk takes it");
        assert_eq!(seqs(&path), [1, 3]);
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let mut letters = DeadLetters::open(Path::new("/dev/full"), SIZE_MAX).expect("it opens");
        let error = letters.append(&letter(1, b"{}")).expect_err("nothing fits");
        assert_eq!(error.to_string(), "cannot write /dev/full");
    }
}

//! One file of a log, plain or gzipped, read in pieces that end with a line.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::SystemTime;

use flate2::read::MultiGzDecoder;

use super::ReplayError;
use crate::engine::frame::{Format, Framer};
use crate::engine::line::Limits;
use crate::engine::line::join::Joiner;
use crate::units::{Now, Timestamp};

/// Bytes that are read at a time. Enough for the kernel, and little enough that merged files take turns often.
const PIECE: usize = 128 * 1024;

/// An open file.
pub(super) struct LogFile {
    path: PathBuf,
    reader: Box<dyn Read>,
    /// Up to `done` it is done with; then comes the piece.
    buffer: Vec<u8>,
    done: usize,
    piece: usize,
    /// Where the piece stands in the log.
    offset: u64,
    /// Bytes of the file itself, as far as they were read: of a gzipped one, its packed bytes.
    read: Rc<Cell<u64>>,
    /// The end was reached.
    ended: bool,
}

/// A reader that says how far it is.
struct Counted<R> {
    inner: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.count.set(self.count.get() + length as u64);
        Ok(length)
    }
}

/// What the system says of a file.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// When it was written last: no line of it is younger, if clocks are right.
    pub(super) modified: Timestamp,
    /// The time of its first line, if that has one.
    pub(super) begins: Option<Timestamp>,
}

impl LogFile {
    /// Opens a file; `-` is standard input.
    pub(super) fn open(path: &Path) -> Result<LogFile, ReplayError> {
        let read = Rc::new(Cell::new(0));
        let reader: Box<dyn Read> = if is_stdin(path) {
            Box::new(io::stdin())
        } else {
            let file = File::open(path).map_err(|source| ReplayError::io("open", path, source))?;
            if file.metadata().is_ok_and(|facts| facts.is_dir()) {
                return Err(ReplayError::io("read", path, io::ErrorKind::IsADirectory.into()));
            }
            Box::new(Counted { inner: file, count: Rc::clone(&read) })
        };
        let mut file = LogFile {
            path: path.to_owned(),
            reader,
            buffer: Vec::new(),
            done: 0,
            piece: 0,
            offset: 0,
            read,
            ended: false,
        };
        file.unpack()?;
        Ok(file)
    }

    /// Puts a decompressor in front of what begins like gzip, whatever its name.
    fn unpack(&mut self) -> Result<(), ReplayError> {
        while self.buffer.len() < GZIP.len() && !self.ended {
            self.fill()?;
        }
        if self.buffer.starts_with(&GZIP) {
            let head = io::Cursor::new(std::mem::take(&mut self.buffer));
            let rest = std::mem::replace(&mut self.reader, Box::new(io::empty()));
            self.reader = Box::new(MultiGzDecoder::new(head.chain(rest)));
            self.ended = false;
        }
        Ok(())
    }

    /// Moves on to the next [piece](LogFile::piece).
    pub(super) fn next(&mut self) -> Result<(), ReplayError> {
        self.pass_piece()?;
        let rest = &self.buffer[self.done..];
        self.piece = memchr::memrchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        Ok(())
    }

    /// Where the piece stands in the log, and its bytes: whole lines where a line is shorter than a piece. Empty at the
    /// end.
    pub(super) fn piece(&self) -> (u64, &[u8]) {
        (self.offset, &self.buffer[self.done..self.done + self.piece])
    }

    /// The time of the line behind the piece, if it has one. The piece is done with.
    pub(super) fn next_time(
        &mut self,
        format: Format,
        limits: &Limits,
        wall: Timestamp,
    ) -> Result<Option<Timestamp>, ReplayError> {
        self.pass_piece()?;
        let rest = &self.buffer[self.done..];
        let line = memchr::memchr(b'\n', rest).map_or(rest, |end| &rest[..=end]);
        Ok(time_of(line, format, limits, wall))
    }

    /// What the system says of the file, and when it begins.
    pub(super) fn facts(
        &mut self,
        format: Format,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<Facts, ReplayError> {
        let about = if is_stdin(&self.path) { None } else { std::fs::metadata(&self.path).ok() };
        let since = about
            .as_ref()
            .and_then(|about| about.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok());
        let modified = since.map(|since| Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)));
        let modified = modified.unwrap_or(now);
        let begins = self.next_time(format, limits, modified)?;
        Ok(Facts { modified, begins })
    }

    /// Bytes of the file itself that have been read.
    pub(super) fn read_so_far(&self) -> u64 {
        self.read.get()
    }

    /// Done with the piece. Makes sure that behind it a whole line, or as much as a piece, or the end is in the buffer.
    fn pass_piece(&mut self) -> Result<(), ReplayError> {
        self.offset += self.piece as u64;
        self.done += std::mem::take(&mut self.piece);
        if memchr::memchr(b'\n', &self.buffer[self.done..]).is_some() {
            return Ok(());
        }
        self.buffer.drain(..self.done);
        self.done = 0;
        while !self.ended && self.buffer.len() < PIECE {
            let before = self.buffer.len();
            self.fill()?;
            if memchr::memchr(b'\n', &self.buffer[before..]).is_some() {
                break;
            }
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<(), ReplayError> {
        let begin = self.buffer.len();
        self.buffer.resize(begin + PIECE, 0);
        let read = loop {
            match self.reader.read(&mut self.buffer[begin..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(begin + read.as_ref().map_or(0, |length| *length));
        // Nothing comes behind a failure; what came before it is still handed out.
        self.ended = read.as_ref().map_or(true, |length| *length == 0);
        read.map(|_| ()).map_err(|source| ReplayError::io("read", &self.path, source))
    }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The time of one line, by itself.
fn time_of(line: &[u8], format: Format, limits: &Limits, wall: Timestamp) -> Option<Timestamp> {
    let mut framer = Framer::new(format, limits.length_max);
    let mut joiner = Joiner::new(limits.clone());
    let mut found = None;
    let now = Now { wall, ..Now::default() };
    framer.push(line, 0, &mut |frame| {
        joiner.push(frame, now, &mut |line| found = Some(line.time));
    });
    // A line without a time of its own gets the wall clock's.
    found.filter(|time| *time != wall)
}

/// How gzip begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];

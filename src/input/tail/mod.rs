//! Follows files: finds them, reads them as they grow, survives rotation and truncation.
//!
//! In: globs. Out: [`Event`]s, from [`Tail::poll`], which the data thread calls when it was woken or when
//! [`Tail::next_look`] has come. No thread of ours reads, and no clock: time is an argument.
//!
//! | part | answers |
//! |---|---|
//! | `discover` | which paths do the globs name? |
//! | `rotation` | what was the file called while it was written? |
//! | `family` | which files are generations of one source? |
//! | `identity` | which file is this, whatever it is called? |
//! | `scan` | what is new to us? |
//! | `source` | is the oldest generation over? |
//! | `follow` | how far have we read one file? |
//! | `turn` | who reads next? |
//! | `watch` | did something change? (a hint) |
//! | `descriptors`, `refusals` | limits: open files; what was said about files that cannot be read |
//!
//! Invariants: a file is read by one reader, however many names lead to it. Within a source, bytes come in the order in
//! which they were written, generation after generation. A position moves only with bytes that the sink got.
//! Limits: one buffer of 256 KiB for all files; three quarters of the process's descriptors; 65,536 paths.
//! Not here: lines (`engine::frame`), durable positions, and finding a file again after a restart.

mod descriptors;
mod discover;
mod family;
mod follow;
mod identity;
mod refusals;
mod rotation;
mod scan;
mod source;
#[cfg(test)]
mod tests;
mod turn;
mod watch;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::units::{Bytes, Monotonic, Now};

pub use super::Progress;
use descriptors::Descriptors;
use discover::Globs;
use identity::Identity;
use refusals::Refusals;
use scan::Known;
use source::Source;
use watch::Watch;

/// Where reading begins in a file that has no saved position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// At the saved position; at byte 0 where there is none.
    #[default]
    Checkpoint,
    /// At byte 0.
    Start,
    /// At the size that the file has when it is first seen; files that appear later begin at 0.
    End,
}

/// What to follow, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Globs of the files to follow. `*`, `?` and `[…]` stay within a path component, `**` spans any number of them.
    pub include: Vec<String>,
    /// Globs of files to leave out, although `include` has them. One without a `/` is meant in every directory.
    pub exclude: Vec<String>,
    /// Where reading begins.
    pub from: From,
    /// Read each file up to the size it has at the start, rotated siblings included, and then be done.
    pub until_eof: bool,
}

/// One logical source: a file with all its rotated generations. Never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u32);

/// What a [`Tail`] has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A new source. Comes before anything else about it.
    Opened {
        /// Its name from now on.
        source: SourceId,
        /// The path without rotation suffix. For an elder that must be read out of order (somebody still writes to it,
        /// or it was unreadable in its turn), the elder's own path.
        path: &'a Path,
    },
    /// Bytes, in the order of the file, cut anywhere.
    Data {
        /// Whose bytes.
        source: SourceId,
        /// Where the first one stands in its file. A generation begins with 0, unless it is read from its end, or
        /// was ended too early and goes on.
        offset: u64,
        /// At least one byte, at most 256 KiB.
        bytes: &'a [u8],
    },
    /// A file was rotated away or deleted and read to its end: an unfinished last line is final.
    GenerationEnded {
        /// Whose file.
        source: SourceId,
    },
    /// The file shrank below the position in it. Reading goes on at 0.
    Truncated {
        /// Whose file.
        source: SourceId,
        /// Bytes that we saw to be there and did not read; there may have been more.
        lost: Bytes,
    },
    /// The file went away while it was not open, for want of descriptors. `GenerationEnded` follows.
    Vanished {
        /// Whose file.
        source: SourceId,
        /// Bytes that we saw to be there and did not read; there may have been more.
        lost: Bytes,
    },
    /// The source has had no file for ten minutes and is forgotten. Should its path appear again, it is a new source.
    Closed {
        /// Which source.
        source: SourceId,
    },
    /// Something cannot be read. Said when the reason changes; tried again with growing waits, up to a minute.
    Refused {
        /// What: a file, or a directory that cannot be listed.
        path: &'a Path,
        /// Why, in words.
        reason: String,
    },
}

/// How a [`Tail`] hears of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchMode {
    /// From the kernel, at once.
    Inotify,
    /// By looking at every file five times a second, at least in those directories that could not be watched.
    Poll,
}

/// Why a [`Tail`] cannot be.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// A glob cannot be read.
    #[error("bad glob {glob:?}: {reason}")]
    BadGlob {
        /// The glob.
        glob: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Follows the files that its globs name.
pub struct Tail {
    options: Options,
    globs: Globs,
    watch: Watch,
    sources: BTreeMap<SourceId, Source>,
    sources_begun: u32,
    by_key: HashMap<PathBuf, SourceId>,
    /// For hints.
    by_path: HashMap<PathBuf, SourceId>,
    known: HashMap<Identity, Known>,
    /// The round: who gets the next turn.
    ready: VecDeque<SourceId>,
    /// The first of the sources' deadlines.
    look_at: Option<Monotonic>,
    refusals: Refusals,
    descriptors: Descriptors,
    buffer: Box<[u8]>,
    scans: u64,
    scanned: Option<Monotonic>,
    /// Scan as soon as the gap allows.
    rescan: bool,
    /// When everything was looked at last because hints are missing.
    polled: Monotonic,
}

impl Tail {
    /// Prepares to follow; nothing is looked at before the first `poll`. `wake` is called, from another thread, when
    /// `poll` has something to do; it must be quick and must not call back.
    pub fn new(options: Options, wake: impl Fn() + Send + Sync + 'static) -> Result<Tail, TailError> {
        let globs = Globs::new(&options)?;
        Ok(Tail {
            options,
            globs,
            watch: Watch::new(wake),
            sources: BTreeMap::new(),
            sources_begun: 0,
            by_key: HashMap::new(),
            by_path: HashMap::new(),
            known: HashMap::new(),
            ready: VecDeque::new(),
            look_at: None,
            refusals: Refusals::default(),
            descriptors: Descriptors::new(),
            buffer: vec![0; BUFFER_SIZE].into_boxed_slice(),
            scans: 0,
            scanned: None,
            rescan: false,
            polled: Monotonic::default(),
        })
    }

    /// Looks and reads: at most `share` bytes in all, at most 256 KiB of a source before the next one has its turn.
    pub fn poll(&mut self, now: Now, share: Bytes, sink: &mut dyn FnMut(Event<'_>)) -> Progress {
        let now = now.arrival;
        self.take_hints(now);
        if self.scanned.is_none() || now >= self.next_scan() {
            self.scan(now, sink);
        }
        if self.watch.mode() == WatchMode::Poll && now >= self.polled + POLL_EVERY {
            self.polled = now;
            self.rouse_all();
        }
        self.rouse_due(now);
        let read = self.read_in_turn(now, share, sink);
        let done =
            self.options.until_eof && self.sources.values().all(|source| source.generations.is_empty());
        Progress { more: !self.ready.is_empty(), done, read }
    }

    /// When to call `poll` again although nothing wakes us and there was no more to read.
    pub fn next_look(&self) -> Monotonic {
        let poll = (self.watch.mode() == WatchMode::Poll).then(|| self.polled + POLL_EVERY);
        [Some(self.next_scan()), self.look_at, poll].into_iter().flatten().min().unwrap_or_default()
    }

    /// How changes are heard of.
    pub fn watch_mode(&self) -> WatchMode {
        self.watch.mode()
    }

    /// The bytes that are known to be there and have not been read.
    pub fn backlog(&self) -> Bytes {
        self.sources
            .values()
            .flat_map(|source| &source.generations)
            .map(|generation| generation.unread())
            .sum()
    }

    /// The files that are open now.
    pub fn files_open(&self) -> usize {
        self.descriptors.open
    }

    fn take_hints(&mut self, now: Monotonic) {
        let changes = self.watch.take();
        self.rescan |= changes.rescan;
        for path in changes.written.iter().chain(&changes.altered) {
            let Some(id) = self.by_path.get(path).copied() else { continue };
            self.rouse(id);
        }
        for path in &changes.altered {
            let source = self.by_path.get(path).and_then(|id| self.sources.get_mut(id));
            let front = source.and_then(|source| source.generations.front_mut());
            if let Some(trouble) = front.and_then(|front| front.trouble.as_mut()) {
                // Maybe somebody has just given us the permission.
                trouble.retry_at = now;
            }
        }
    }

    fn next_scan(&self) -> Monotonic {
        let Some(scanned) = self.scanned else { return Monotonic::default() };
        // The more files, the dearer a scan: hints may not make us scan more than a few per cent of the time.
        let gap = SCAN_GAP + SCAN_GAP_PER_FILE * u32::try_from(self.known.len()).unwrap_or(u32::MAX);
        scanned + if self.rescan { gap.min(SCAN_EVERY) } else { SCAN_EVERY }
    }
}

/// One buffer for all files, and the largest piece that one file gets before the next has its turn.
const BUFFER_SIZE: usize = 64 * 1024;
/// The backstop when hints are lost.
const SCAN_EVERY: Duration = Duration::from_secs(1);
const SCAN_GAP: Duration = Duration::from_millis(10);
/// A scan takes 6 to 15 µs a file (measured, 100 to 10,000 files).
const SCAN_GAP_PER_FILE: Duration = Duration::from_micros(200);
/// How often every known file is looked at where the kernel does not tell of changes.
const POLL_EVERY: Duration = Duration::from_millis(200);
/// How long a source without files is remembered, so that what comes next under its path continues it.
const SOURCE_KEPT: Duration = Duration::from_secs(600);

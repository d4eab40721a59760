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
//! | `fingerprint` | is its content still the one that we read? |
//! | `restore` | where were we before the restart? |
//! | `remote` | is what the kernel says of a file's size true, or stale? |
//! | `rest`, `archive` | where is the rest of a file that was copied and emptied, or compressed? |
//! | `trust` | may we follow this symbolic link? |
//! | `turn` | who reads next? |
//! | `watch` | did something change? (a hint) |
//! | `descriptors`, `refusals` | limits: open files; what was said about files that cannot be read |
//!
//! Invariants: a file is read by one reader, however many names lead to it. Within a source, bytes come in the order in
//! which they were written, generation after generation. A position moves only with bytes that the sink got, or was told
//! of. What cannot be read any more is told, with a lower bound.
//! Limits: one buffer of 64 KiB for all files; three quarters of the process's descriptors; 65,536 paths.
//! Not here: lines (`engine::frame`), where positions are kept (`outbox`).
//! Not promised: that a file which is emptied after being copied (`copytruncate`) is read whole, for what is written
//! between the two is lost to everybody; exactness on network file systems, whose sizes lag.

mod archive;
mod descriptors;
mod discover;
mod family;
mod fingerprint;
mod follow;
mod identity;
mod refusals;
mod remote;
mod rest;
mod restore;
pub mod rotation;
mod scan;
mod source;
#[cfg(test)]
mod tests;
mod trust;
mod turn;
mod watch;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::engine::state::FileId;
use crate::units::{Bytes, Monotonic, Now};

pub use super::Progress;
use descriptors::Descriptors;
use discover::Globs;
use identity::Own;
use refusals::Refusals;
pub use restore::Moved;
use restore::Saved;
use scan::Known;
use source::Source;
use trust::Trust;
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
    /// Directories outside of which nothing is read, wherever symbolic links lead. Empty: anywhere.
    pub roots: Vec<PathBuf>,
    /// Files that this program writes. They are refused, like what standard output and standard error lead to.
    pub own: Vec<PathBuf>,
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
        /// At least one byte, at most 64 KiB.
        bytes: &'a [u8],
    },
    /// A file was rotated away or deleted and read to its end: an unfinished last line is final.
    GenerationEnded {
        /// Whose file.
        source: SourceId,
    },
    /// Bytes were gone before they could be read. What was read of an unfinished line is final. When the file is gone
    /// with them, `GenerationEnded` follows; when it was emptied, reading goes on at 0.
    Lost {
        /// Whose bytes.
        source: SourceId,
        /// How.
        why: Loss,
        /// The last name that led to the file.
        path: &'a Path,
        /// Which file.
        file: FileId,
        /// Up to where it had been read.
        read: u64,
        /// Bytes that were seen to be there; there may have been more.
        lost: Bytes,
    },
    /// A run of NULs at the beginning of a file was passed over: a hole, left by a writer who went on at his old offset
    /// after the file had been emptied. It is no line and not in any `Data`.
    Skipped {
        /// Whose bytes.
        source: SourceId,
        /// Where the first NUL stands in its file.
        offset: u64,
        /// How many.
        nuls: Bytes,
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

/// How bytes get lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The file was emptied, or overwritten with other content, and no copy of the old one was found.
    Truncated,
    /// The file was deleted while it was not open, for want of descriptors.
    Vanished,
    /// The file is not where it was before the restart, nor beside it, nor in an archive beside it.
    NotFound,
    /// The archive into which the file was compressed is broken.
    Damaged,
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
    known: HashMap<FileId, Known>,
    /// Whose position is another one than when positions were last asked for.
    moved: HashSet<FileId>,
    /// Files that may become copies, with their sizes at the last scan.
    undecided: HashMap<FileId, u64>,
    /// Positions of before the start, until the first scan.
    saved: Saved,
    trust: Trust,
    own: Own,
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
            trust: Trust::new(options.roots.clone()),
            own: Own::new(options.own.clone()),
            options,
            globs,
            watch: Watch::new(wake),
            sources: BTreeMap::new(),
            sources_begun: 0,
            by_key: HashMap::new(),
            by_path: HashMap::new(),
            known: HashMap::new(),
            moved: HashSet::new(),
            undecided: HashMap::new(),
            saved: Saved::default(),
            ready: VecDeque::new(),
            look_at: None,
            refusals: Refusals::default(),
            descriptors: Descriptors::new(),
            buffer: vec![0; BUFFER_SIZE + fingerprint::LAST_MAX].into_boxed_slice(),
            scans: 0,
            scanned: None,
            rescan: false,
            polled: Monotonic::default(),
        })
    }

    /// Looks and reads: at most `share` bytes in all, at most 64 KiB of a source before the next one has its turn.
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

    /// The files that are followed or were, as far as they are still there.
    pub fn files_known(&self) -> usize {
        self.known.len()
    }

    /// The globs that say which files.
    pub fn include(&self) -> &[String] {
        &self.options.include
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

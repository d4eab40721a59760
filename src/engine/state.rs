//! What an epoch commits beside its records, as plain data: the engine hands it out and can be rebuilt from it.
//!
//! Small numbers stand in fields of their own, so that the outbox can put them into columns and `squall audit` can add
//! them up without the engine. All else is `detail`: bytes that only the engine that wrote them understands.
//! [`Position`] is here although the engine does not look at it: inputs make it, the outbox keeps it, and neither
//! knows the other.

use std::path::PathBuf;

use super::ledger::{Account, Noticed};
use super::storm::throttle::KeptLimit;
use super::template::mask::TemplateId;
use crate::units::{Lines, Timestamp};

/// What has changed since the last epoch, or, when it comes back, everything.
///
/// Nothing is both gone and here: what ended and began anew in the same epoch is only here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Streams with new numbers; each replaces what was known under its key.
    pub streams: Vec<StreamState>,
    /// Streams that have ended. Their account is part of `past` from now on.
    pub streams_gone: Vec<String>,
    /// Episodes with new numbers; each replaces what was known under its key.
    pub episodes: Vec<EpisodeState>,
    /// Episodes that have ended.
    pub episodes_gone: Vec<EpisodeKey>,
    /// What the rules of alerts measure and how they stand, where that has changed; each replaces what was known under
    /// its key.
    pub alerts: Vec<AlertState>,
    /// Series of rules that are over.
    pub alerts_gone: Vec<AlertKey>,
    /// What belongs to no stream.
    pub totals: Totals,
}

impl Changes {
    /// Forgets everything but keeps the memory.
    pub fn clear(&mut self) {
        self.streams.clear();
        self.streams_gone.clear();
        self.episodes.clear();
        self.episodes_gone.clear();
        self.alerts.clear();
        self.alerts_gone.clear();
    }
}

/// What survives of one stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamState {
    /// Its name: the Kafka key.
    pub key: String,
    /// Its books.
    pub account: Account,
    /// Lines that were held back in a flood and are not told yet. Those of episodes are not in it.
    pub held_back: Lines,
    /// Lines of which only pieces have come: 0 or 1. Not in `account.received`.
    pub partial: Lines,
    /// Its clock, its envelope, the pieces, the flood.
    pub detail: Vec<u8>,
}

/// Which episode: an entry has one at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EpisodeKey {
    /// The stream's name.
    pub stream: String,
    /// The template.
    pub template: TemplateId,
    /// Whether its lines' envelopes could not be understood; such lines have entries of their own.
    pub parse_error: bool,
}

/// What survives of an open episode and its window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EpisodeState {
    /// Which.
    pub key: EpisodeKey,
    /// The episode's number.
    pub episode: u64,
    /// The window's number; of the last one, where `count` is 0.
    pub window: u64,
    /// Lines in the window that is open.
    pub count: Lines,
    /// Lines since the episode began, verbatim ones included.
    pub total: Lines,
    /// When the first line of the window was written.
    pub first: Timestamp,
    /// When the last one was.
    pub last: Timestamp,
    /// Texts, extremes, rates, deadlines, values seen.
    pub detail: Vec<u8>,
}

/// Which series of which rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AlertKey {
    /// The rule's group.
    pub group: String,
    /// Its name.
    pub rule: String,
    /// The stream's name; empty where all lines are judged together.
    pub stream: String,
}

/// What survives of a rule: of all lines, or of one stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlertState {
    /// Which.
    pub key: AlertKey,
    /// Its window, how it stands, its clock.
    pub detail: Vec<u8>,
}

/// What belongs to no stream and no episode.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    /// The books of streams that have ended.
    pub past: Account,
    /// The lines that all notices stand for, by their reasons.
    pub noticed: Noticed,
    /// The lines that emergency limits have held back.
    pub limited: Lines,
    /// The emergency limit, where there is one.
    pub limit: KeptLimit,
    /// Bytes read from the inputs.
    pub bytes_in: u64,
    /// Bytes of records, encoded.
    pub bytes_out: u64,
    /// Summaries ever written.
    pub summaries: u64,
    /// Notices ever written.
    pub notices: u64,
    /// Entries ever made.
    pub templates: u64,
    /// Loops ever opened.
    pub loops: u64,
    /// Alerts that ever fired.
    pub alerts: u64,
    /// The number that the next episode gets.
    pub next_episode: u64,
    /// The number that the next window gets.
    pub next_window: u64,
    /// The number that the next record gets.
    pub next_seq: u64,
}

/// The bytes of a FIFO that an epoch has taken in and that are still in the FIFO when it is committed: whoever finds them
/// at its head has them already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The FIFO's name.
    pub fifo: String,
    /// How many bytes came before these since it was made.
    pub offset: u64,
    /// How many they are; 0 where nothing is left to be recognised.
    pub length: u64,
    /// Their xxh3-128.
    pub hash: u128,
}

/// Fills a vector anew, and the strings and bytes of its old elements with it: an epoch of ten thousand episodes would
/// else allocate as often, ten times a second.
#[derive(Debug)]
pub struct Refill<'a, T> {
    items: &'a mut Vec<T>,
    used: usize,
}

impl<'a, T: Default> Refill<'a, T> {
    /// Begins at the front.
    pub fn new(items: &'a mut Vec<T>) -> Refill<'a, T> {
        Refill { items, used: 0 }
    }

    /// The next element, with whatever was in it.
    #[expect(clippy::should_implement_trait, reason = "an iterator could not lend its items")]
    pub fn next(&mut self) -> &mut T {
        if self.used == self.items.len() {
            self.items.push(T::default());
        }
        self.used += 1;
        &mut self.items[self.used - 1]
    }

    /// Drops the elements that were not used again.
    pub fn finish(self) {
        self.items.truncate(self.used);
    }
}

/// Which file this is, whatever it is called. Equal only while the file lives: an inode is used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// The device's number; another one after some reboots.
    pub device: u64,
    /// The inode's number.
    pub inode: u64,
    /// When the file was made, in nanoseconds since the epoch; 0 where the file system does not tell.
    pub born: i128,
}

/// How far a file has been read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Position {
    /// Which file.
    pub file: FileId,
    /// The last name that led to it.
    pub path: PathBuf,
    /// The path of its source: without the suffix of a rotation.
    pub source: PathBuf,
    /// Where reading goes on: the start of the first line that was not accepted yet.
    pub resume: u64,
    /// Everything before this was read; at least `resume`.
    pub read: u64,
    /// The size when it was last looked at.
    pub size: u64,
    /// How many bytes of the file's head are hashed in `head`: as many as were read, up to 1,024.
    pub head_length: u16,
    /// Their xxh3-64.
    pub head: u64,
    /// The xxh3-64 of the (up to 256) bytes before `read`: tells a file that was emptied and filled again.
    pub marker: u64,
    /// Read to its end and no longer written to: it is not to be opened again.
    pub ended: bool,
}

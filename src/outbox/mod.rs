//! The outbox: what must survive `kill -9`: positions, open counts, and the records that nobody has confirmed yet.
//!
//! In: an [`Epoch`] every 100 ms. Out, after a start: what the last committed epoch left ([`Recovered`]), and its
//! records as they were ([`Store::unsent`]).
//! Invariant: an epoch is in the store whole or not at all (delivery.md R2), so positions, counts and records never
//! disagree. A record is either stored, acknowledged, or named by a [`Loss`]; an id is never given to two records.
//! Limit: [`Options::size_max`] bytes of disk, write-ahead log included. Files that were set aside because they were
//! damaged (`outbox.bad`, `outbox.1.bad` …, at most four) stand outside it.
//! Not here: when to commit and what to do when it is full (the daemon); sending (`output`).
//!
//! | file | what it knows |
//! |---|---|
//! | `store` | one commit, the way back, acknowledging; what an error means |
//! | `notification` | what people are to be told of alerts, and who was |
//! | `epoch` | epochs as rows: writing, deleting, reading around what is damaged |
//! | `cap` | how much of the disk each part may take |
//! | `open` | from a directory in whatever state to a store that can be trusted |
//! | `salvage` | a damaged store → a new one with every row that is whole |
//! | `schema`, `rows`, `blob` | the format: tables, rows with their checksums, an epoch's records as bytes |
//! | `directory`, `wal` | the files: lock, identity, names; what SQLite does not say about its log |
//! | `audit` | `squall audit`: does what lies there hold |

pub mod audit;
mod blob;
mod cap;
mod directory;
mod epoch;
mod lane;
mod notification;
mod open;
mod rows;
mod salvage;
mod schema;
mod store;
mod wal;

use std::io;
use std::path::PathBuf;

use crate::engine::record::notification::Notification;
use crate::engine::record::{Batch, LaneId};
use crate::engine::state::{Block, Changes, FileId, Position};
use crate::units::{Bytes, Lines};

pub use self::cap::SIZE_MIN;
pub use self::directory::default_dir;
pub use self::notification::KeptNotification;
pub use self::store::Store;

/// What a store is opened with (`outbox`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The state directory; made with mode 0700 where it is missing.
    pub dir: PathBuf,
    /// The most disk it may take, from [`SIZE_MIN`] up.
    pub size_max: Bytes,
    /// What it survives.
    pub durability: Durability,
}

/// What the outbox survives (`outbox.durability`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Power loss: each epoch is synced.
    #[default]
    Disk,
    /// `kill -9`. After a power loss the last epochs may be gone, which is noticed and told.
    Process,
}

/// What happens when the outbox is full (`outbox.when_full`). The store refuses either way; this is for whoever feeds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Reading waits.
    #[default]
    Block,
    /// Detail is lost, never the count.
    Degrade,
}

/// One commit. What is gone is taken out before what has changed is put in.
#[derive(Clone, Copy, Debug)]
pub struct Epoch<'a> {
    /// The records, numbered without a gap from the store's `next_seq`; may be empty.
    pub batch: &'a Batch,
    /// Windows, streams, books.
    pub changes: &'a Changes,
    /// Files that were read further.
    pub positions: &'a [Position],
    /// Files that need no position any more.
    pub positions_gone: &'a [FileId],
    /// FIFOs that were read further.
    pub blocks: &'a [Block],
    /// FIFOs that have ended.
    pub blocks_gone: &'a [String],
    /// Losses that a notice in `batch` names: they are not told again.
    pub told: &'a [Loss],
    /// What people are to be told of alerts in `batch`.
    pub notifications: &'a [Notification],
    /// The ack cursor: the fate of every record up to this number is known.
    pub acked: u64,
}

impl<'a> Epoch<'a> {
    /// One in which no file was read further, nothing is acknowledged, and no loss is told.
    pub fn new(batch: &'a Batch, changes: &'a Changes) -> Epoch<'a> {
        Epoch {
            batch,
            changes,
            positions: &[],
            positions_gone: &[],
            blocks: &[],
            blocks_gone: &[],
            told: &[],
            notifications: &[],
            acked: 0,
        }
    }
}

/// A receiver has settled a notification: it was told, or is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The number of the firing.
    pub episode: u64,
    /// Which turn of it ([`Notification::state`]).
    pub state: &'static str,
    /// Who.
    pub receiver: String,
}

/// What [`Store::unsent`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// An epoch's records as they were committed, replacements put in.
    Batch(Batch),
    /// Records that were committed and cannot be read any more. Name them in a notice, then go on behind them.
    Lost(Loss),
}

/// Records that were committed and are damaged or gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The first of them.
    pub first_seq: u64,
    /// The last of them.
    pub last_seq: u64,
    /// The accepted lines they stood for, at most; `None` where that is lost too.
    pub lines: Option<Lines>,
}

/// What is stored and not acknowledged, counted in whole epochs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Records.
    pub records: u64,
    /// The accepted lines they stand for.
    pub lines: Lines,
    /// Their bytes as they are stored, which is compressed.
    pub bytes: Bytes,
}

/// What a store remembers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovered {
    /// The lane that numbers new records. Stored ones may have another: theirs stands in their batch.
    pub lane: LaneId,
    /// The number of the next record; equal to `changes.totals.next_seq`.
    pub next_seq: u64,
    /// The ack cursor.
    pub acked: u64,
    /// Everything the engine needs.
    pub changes: Changes,
    /// How far each file was read.
    pub positions: Vec<Position>,
    /// What was taken last out of each FIFO.
    pub blocks: Vec<Block>,
    /// What people are still to be told, in the order in which it happened; also what fires and was told.
    pub notifications: Vec<KeptNotification>,
    /// What waits for this destination.
    pub waiting: Waiting,
    /// What waits for others.
    pub other_lanes: Vec<OtherLane>,
    /// There was no store: it was made just now.
    pub created: bool,
    /// What must be told.
    pub mishaps: Vec<Mishap>,
}

/// Records that wait for a destination that is not the one the store was opened for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherLane {
    /// Where they were to go.
    pub destination: String,
    /// What waits.
    pub waiting: Waiting,
}

/// Something that happened to the store and that a notice must tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// The store was damaged. What could be read of it lives on; records that could not are told by
    /// [`Store::unsent`], lines by [`Mishap::Uncounted`].
    Quarantined {
        /// Where the damaged file lies now.
        kept: PathBuf,
        /// What was wrong with it.
        why: String,
    },
    /// A write-ahead log without its database: history is lost.
    Leftover {
        /// Where it lies now.
        kept: PathBuf,
    },
    /// New records get a new lane id, because the old one's numbers may have been used already.
    LaneRenewed {
        /// Of which destination; several when all of them do.
        destination: String,
        /// The lane that numbers no more records.
        old: LaneId,
        /// The one that does from now on.
        new: LaneId,
        /// Why.
        why: Renewal,
    },
    /// Lines that were accepted, and whose count is in no window any more. Found by the books; told again at every
    /// start until a notice has counted them in.
    Uncounted {
        /// In which stream.
        stream: String,
        /// How many.
        lines: Lines,
    },
}

impl std::fmt::Display for Mishap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Mishap::Quarantined { kept, why } => write!(
                f,
                "the outbox was damaged ({why}); what could be read of it lives on, the rest is kept as {}",
                kept.display()
            ),
            Mishap::Leftover { kept } => write!(
                f,
                "the outbox is gone, only its log was left, which is kept as {}: history is lost",
                kept.display()
            ),
            Mishap::LaneRenewed { destination, old, new, why } => {
                write!(
                    f,
                    "records for {destination} are numbered in the new lane {new} instead of {old}: {why}"
                )
            }
            Mishap::Uncounted { stream, lines } => {
                write!(f, "{lines} lines of {stream} were accepted and their count was lost with the outbox")
            }
        }
    }
}

/// Why a lane id may not be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The directory is a copy: the original may go on under the same id.
    Cloned,
    /// The store was damaged.
    Damaged,
    /// The end of its log is missing or unreadable: committed epochs are gone, and may have been sent.
    LogCut,
    /// Power was lost and `durability` was `process`: the same.
    PowerLost,
}

impl std::fmt::Display for Renewal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Renewal::Cloned => "the state directory was copied",
            Renewal::Damaged => "the store was damaged",
            Renewal::LogCut => "the end of the store's log is missing or damaged",
            Renewal::PowerLost => "power was lost with durability: process",
        })
    }
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the state directory {dir} is in use by another squall", dir = dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// A newer squall wrote it. Nothing was touched.
    #[error(
        "{path} has format {found} and this squall knows up to {known}: use the newer one again, or another directory",
        path = path.display()
    )]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// It was found damaged in the middle of a run. Nothing was touched: opening it anew sets it aside.
    #[error("{path} is damaged ({why}); the next start sets it aside and goes on with what is whole", path = path.display())]
    Damaged {
        /// The store.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The cap is too small to work with.
    #[error("outbox.size_max is {size_max} bytes, and at least {least} are needed")]
    TooSmall {
        /// What was asked for.
        size_max: Bytes,
        /// What is possible.
        least: Bytes,
    },
    /// The file system refused.
    #[error("cannot {action} {path}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// SQLite refused, and not because of damage.
    #[error("cannot {action} {path}", path = path.display())]
    Sqlite {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        source: rusqlite::Error,
    },
}

/// Why something could not be stored or read back. Nothing has changed then, except after [`StoreError::Io`].
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The cap is reached. Try again when something was acknowledged.
    #[error("the outbox is full: {used} of {limit} bytes")]
    Full {
        /// Bytes of pages that hold something.
        used: Bytes,
        /// How many they may be for this kind of epoch.
        limit: Bytes,
    },
    /// The disk has no room. Try again later.
    #[error("no space is left on the disk of {dir}", dir = dir.display())]
    DiskFull {
        /// The state directory.
        dir: PathBuf,
    },
    /// Another program holds the store. Try again later.
    #[error("another program has locked the store")]
    Busy,
    /// It would not even fit into an empty store.
    #[error("an epoch of {size} bytes does not fit into an outbox that may hold {limit}")]
    TooLarge {
        /// Its size as stored.
        size: Bytes,
        /// The most there can be.
        limit: Bytes,
    },
    /// The epoch is not numbered on from what is stored: ids would be used twice. It never fits; nothing was changed.
    #[error(
        "an epoch that begins with record {first} and ends before {next} does not go on at record {want}"
    )]
    Numbering {
        /// The number of its first record, or of the next one where it has none.
        first: u64,
        /// The number behind its last record, as the engine counts.
        next: u64,
        /// The number of the next record in the store.
        want: u64,
    },
    /// Records could not be compressed: there is no memory.
    #[error("cannot compress records")]
    Compress {
        /// The cause.
        source: io::Error,
    },
    /// The disk failed. What was asked may have happened or not: [`Store::reopen`], and look at `next_seq`.
    #[error("cannot {action} the store")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The cause.
        source: rusqlite::Error,
    },
    /// The store is damaged, or was not opened again after a failure: [`Store::reopen`].
    #[error("the store cannot be trusted any more: {reason}")]
    Distrusted {
        /// Why.
        reason: String,
    },
}

impl StoreError {
    /// Whether [`Store::reopen`] is what helps; otherwise the same call may work later (or never, if too large).
    pub fn needs_reopen(&self) -> bool {
        matches!(self, StoreError::Io { .. } | StoreError::Distrusted { .. })
    }
}

#[cfg(test)]
mod tests;

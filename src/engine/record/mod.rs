//! Stage 7, what leaves: records, already encoded, in batches.
//!
//! A record is encoded once, where it is born, straight into the batch's buffer. Outputs never look into it: what
//! they need to route it stands beside it in [`Meta`].

pub mod identity;

use std::fmt;
use std::sync::Arc;

use crate::units::{Lines, Timestamp};

/// The identity of a lane: one destination's numbered sequence of records. 128 random bits, minted by the daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LaneId(pub u128);

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// What a record is (`squall.kind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One line, verbatim.
    Line,
    /// A window of folded lines.
    Summary,
    /// Something that happened to lines which are not here.
    Notice,
}

impl Kind {
    /// The word used on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Line => "line",
            Kind::Summary => "summary",
            Kind::Notice => "notice",
        }
    }
}

/// What an output must know of a record without looking into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Where the record ends in [`Batch::bytes`]; it begins where the one before ends.
    pub end: usize,
    /// Its number in the lane: 1, 2, 3 … without gaps.
    pub seq: u64,
    /// What it is.
    pub kind: Kind,
    /// How many accepted lines it stands for: 1 for a line, the count of a summary or notice.
    pub lines: Lines,
    /// Index into [`Batch::keys`]: the stream, which is the Kafka key.
    pub key: u32,
    /// The record's own time (`@timestamp`).
    pub time: Timestamp,
}

/// Records in the order in which they must leave, encoded as JSON without newlines between them.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The lane that numbered these records. A record's id is `<lane>-<seq>`.
    pub lane: LaneId,
    /// The encoded records, end to end.
    pub bytes: Vec<u8>,
    /// One for each record.
    pub metas: Vec<Meta>,
    /// The streams that occur in this batch.
    pub keys: Vec<Arc<str>>,
}

impl Batch {
    /// The record at `index` and its encoded bytes.
    pub fn get(&self, index: usize) -> Option<(&Meta, &[u8])> {
        let meta = self.metas.get(index)?;
        let start = if index == 0 { 0 } else { self.metas[index - 1].end };
        Some((meta, &self.bytes[start..meta.end]))
    }

    /// All records with their encoded bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&Meta, &[u8])> {
        (0..self.metas.len()).filter_map(|index| self.get(index))
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.metas.is_empty()
    }

    /// Forgets the records but keeps the memory for the next ones.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.metas.clear();
        self.keys.clear();
    }
}

//! Stage 7, what leaves: records, already encoded, in batches.
//!
//! A record is encoded once, where it is born, straight into the batch's buffer. Outputs never look into it: what
//! they need to route it stands beside it in [`Meta`].

mod alert;
mod cycle;
pub mod encode;
pub mod envelope;
pub mod identity;
pub mod json;
pub mod notification;
pub mod shrink;

use std::fmt;
use std::sync::Arc;

use crate::engine::storm::novelty::Family;
use crate::units::{Bytes, Lines, Timestamp};

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
    /// Templates that come in turn, again and again. It stands for no lines.
    Loop,
    /// A rule of the config begins to be true, or has ceased to be. It stands for no lines.
    Alert,
}

impl Kind {
    /// The word used on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Line => "line",
            Kind::Summary => "summary",
            Kind::Notice => "notice",
            Kind::Loop => "loop",
            Kind::Alert => "alert",
        }
    }
}

/// Which messages go the same way: those of one stream, to one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// The stream, which is the Kafka key.
    pub stream: Arc<str>,
    /// The Kafka topic, where it is not the one of the config. Other outputs do not look at it.
    pub topic: Option<Arc<str>>,
}

impl Key {
    /// What one stream sends to the topic of the config.
    pub fn of(stream: &str) -> Key {
        Key { stream: Arc::from(stream), topic: None }
    }

    /// Whether this is the very same, told by its places in memory.
    fn is(&self, stream: &Arc<str>, topic: Option<&Arc<str>>) -> bool {
        let same_topic = match (&self.topic, topic) {
            (None, None) => true,
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            _ => false,
        };
        Arc::ptr_eq(&self.stream, stream) && same_topic
    }
}

/// What an output must know of a message without looking into it. A message is one record, or, in a batch with an
/// [`Encoding`], several records of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Where the message ends in [`Batch::bytes`]; it begins where the one before ends.
    pub end: usize,
    /// The number of its (first) record in the lane: 1, 2, 3 … without gaps.
    pub seq: u64,
    /// How many records it holds.
    pub records: u32,
    /// What its (first) record is.
    pub kind: Kind,
    /// How many accepted lines it stands for: 1 for a line, the count of a summary or notice.
    pub lines: Lines,
    /// Index into [`Batch::keys`]: the stream and the topic.
    pub key: u32,
    /// The (first) record's own time (`@timestamp`).
    pub time: Timestamp,
}

/// How the messages of a batch are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Each is one record: a JSON object without a newline.
    #[default]
    Record,
    /// Each is several records, a line each, gzipped.
    GzipNdjson,
    /// The same with Zstandard.
    ZstdNdjson,
}

/// Messages in the order in which they must leave, without anything between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The lane that numbered these records. A record's id is `<lane>-<seq>`.
    pub lane: LaneId,
    /// How the messages are made.
    pub encoding: Encoding,
    /// The messages, end to end.
    pub bytes: Vec<u8>,
    /// One for each message.
    pub metas: Vec<Meta>,
    /// The streams that occur in this batch, each once for every topic.
    pub keys: Vec<Key>,
    /// The numbers of the records in each message, message after message, ascending within each. Empty where each
    /// message is one record.
    pub members: Vec<u64>,
}

impl Batch {
    /// The message at `index` and its bytes.
    pub fn get(&self, index: usize) -> Option<(&Meta, &[u8])> {
        let meta = self.metas.get(index)?;
        let start = if index == 0 { 0 } else { self.metas[index - 1].end };
        Some((meta, &self.bytes[start..meta.end]))
    }

    /// All messages with their bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&Meta, &[u8])> {
        (0..self.metas.len()).filter_map(|index| self.get(index))
    }

    /// All messages with their bytes and the numbers of their records: ascending, never empty. What a batch does not say
    /// of a message (the engine and the outbox always do) is made up rather than left out: each message must be sent.
    pub fn messages(&self) -> impl Iterator<Item = (&Meta, &[u8], &[u64])> {
        let mut members = &self.members[..];
        self.iter().map(move |(meta, bytes)| {
            let itself = std::slice::from_ref(&meta.seq);
            let own = match self.encoding {
                Encoding::Record => itself,
                Encoding::GzipNdjson | Encoding::ZstdNdjson => {
                    members.split_off(..meta.records.max(1) as usize).unwrap_or(itself)
                }
            };
            (meta, bytes, own)
        })
    }

    /// The number of the last record.
    pub fn last_seq(&self) -> Option<u64> {
        match self.encoding {
            Encoding::Record => self.metas.last().map(|meta| meta.seq),
            Encoding::GzipNdjson | Encoding::ZstdNdjson => self.members.iter().max().copied(),
        }
    }

    /// A batch of nothing but the message that holds the record with this number.
    pub fn only(&self, seq: u64) -> Option<Batch> {
        let (meta, bytes, members) = self.messages().find(|(_, _, members)| members.contains(&seq))?;
        let key = self.keys.get(meta.key as usize).cloned().unwrap_or_default();
        Some(Batch {
            lane: self.lane,
            encoding: self.encoding,
            bytes: bytes.to_vec(),
            metas: vec![Meta { end: bytes.len(), key: 0, ..*meta }],
            keys: vec![key],
            members: if self.encoding == Encoding::Record { Vec::new() } else { members.to_vec() },
        })
    }

    /// The index in `keys` of a stream that sends to this topic; they are added when they are not there yet.
    fn key(&mut self, stream: &Arc<str>, topic: Option<&Arc<str>>) -> u32 {
        // Lines come in runs of one stream, so the newest key is nearly always the right one.
        let found = self.keys.iter().rposition(|key| key.is(stream, topic));
        let index = found.unwrap_or_else(|| {
            self.keys.push(Key { stream: Arc::clone(stream), topic: topic.cloned() });
            self.keys.len() - 1
        });
        index as u32 // one key a stream: far below 2^32
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
        self.members.clear();
        self.encoding = Encoding::Record;
    }
}

/// Why accepted or expected lines are not delivered as themselves (`squall.reason`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// More new templates a second than `novelty_per_second`: the rest was folded by family.
    NoveltyFlood,
    /// A file shrank below the position up to which it had been read.
    Truncated,
    /// A file was deleted before it had been read.
    Vanished,
    /// The outbox was nearly full, so lines of known templates were only counted.
    Shed,
    /// The destination refused records for good; they are in the dead-letter file.
    DeadLetter,
    /// A part of the outbox could not be read any more.
    StoreDamaged,
    /// The outbox is a new one: what an earlier one knew is lost.
    StoreNew,
    /// The outbox was cloned or moved, so new records have a new lane.
    LaneNew,
    /// Bytes of a Docker FIFO were no part of any frame, and were skipped.
    Desync,
    /// The outbox took nothing for a while, so what was read meanwhile would not have survived a `kill -9`.
    DurabilityLost,
    /// A topic that a container has for itself cannot be used, so its records go to the topic of all.
    TopicUnusable,
    /// An emergency limit was set, or is over.
    Limit,
}

impl Reason {
    /// The word used on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::NoveltyFlood => "novelty_flood",
            Reason::Truncated => "truncated",
            Reason::Vanished => "vanished",
            Reason::Shed => "shed",
            Reason::DeadLetter => "dead_letter",
            Reason::StoreDamaged => "store_damaged",
            Reason::StoreNew => "store_new",
            Reason::LaneNew => "lane_new",
            Reason::Desync => "desync",
            Reason::DurabilityLost => "durability_lost",
            Reason::TopicUnusable => "topic_unusable",
            Reason::Limit => "limit",
        }
    }
}

/// What was lost, where that is known: exactly or at least. It stands outside the identity of the books, because such
/// lines were never accepted or have been counted already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Bytes.
    pub bytes: Option<Bytes>,
    /// Lines.
    pub lines: Option<Lines>,
    /// Records.
    pub records: Option<u64>,
}

/// Something that happened to lines which are not here.
#[derive(Clone, Debug)]
pub struct Notice<'a> {
    /// Why.
    pub reason: Reason,
    /// One sentence for people.
    pub message: String,
    /// The notice's time: the last line it speaks of, or when it happened.
    pub time: Timestamp,
    /// Where in the file it happened.
    pub offset: u64,
    /// Accepted lines that this notice stands for.
    pub count: Lines,
    /// What was lost around that.
    pub lost: Lost,
    /// Of what kinds the lines were.
    pub families: &'a [Family],
    /// Some of the lines.
    pub examples: &'a [Box<[u8]>],
}

impl Notice<'_> {
    /// A notice that stands for no accepted lines.
    pub fn of_loss(reason: Reason, message: String, lost: Lost, time: Timestamp) -> Notice<'static> {
        Notice { reason, message, time, offset: 0, count: Lines(0), lost, families: &[], examples: &[] }
    }
}

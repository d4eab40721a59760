//! Where records go.
//!
//! In: batches of encoded records in the order of their numbers. Out: a [`Standing`] that says which of them
//! arrived.
//! Invariant: `Standing::acked_upto` only moves over records whose fate is known: confirmed, or refused and
//! [settled](Output::settle) by the caller.
//! Limit: an output takes only what its window holds and leaves the rest with the caller; nothing here grows.
//! Not here: what survives a crash (`outbox`); what is done about refused records (the daemon).

mod back_off;
mod bell;
pub mod blackhole;
pub mod console;
pub mod dead_letter;
pub mod file;
pub mod kafka;
pub mod notify;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use self::bell::Bell;
use crate::engine::record::{Batch, Meta};
use crate::units::{Bytes, Lines, Monotonic, Now};

/// One destination. A closed set: a new output is one file and one variant, and the compiler lists the rest.
#[derive(Debug)]
pub enum Output {
    /// Apache Kafka.
    Kafka(kafka::Kafka),
    /// Standard output, for people or as JSON lines.
    Console(console::Console),
    /// A file of JSON lines.
    File(file::File),
    /// Nowhere: for measuring everything but the output.
    Blackhole(blackhole::Blackhole),
}

impl Output {
    /// Turns a batch of records, before it is committed, into the messages that will leave: packed ones where the
    /// output packs. What is committed is then what is sent, however often.
    ///
    /// # Errors
    /// [`OutputError::Compress`]; the batch is then as it was.
    pub fn pack(&mut self, batch: &mut Batch) -> Result<(), OutputError> {
        match self {
            Output::Kafka(kafka) => kafka.pack(batch),
            Output::Console(_) | Output::File(_) | Output::Blackhole(_) => Ok(()),
        }
    }

    /// Takes messages from `batch[from..]` and returns how many. Fewer than there are means full now:
    /// [`wait`](Self::wait), then offer the rest again. Of packed messages that hold each other's neighbours it takes
    /// all or none.
    ///
    /// Records up to the newest that was ever taken are passed over, so a batch may be offered from its beginning
    /// when only a part of it is not confirmed; packed batches must be. Numbers that are never offered count as
    /// settled. Another lane's records are taken once all of the last lane's are settled.
    ///
    /// # Errors
    /// Only what waiting does not cure: a closed standard output, a disk that refuses,
    /// [`OutputError::Broken`] until [`reopen`](Self::reopen).
    pub fn offer(&mut self, batch: &Batch, from: usize, now: Now) -> Result<usize, OutputError> {
        match self {
            Output::Kafka(kafka) => kafka.offer(batch, from, now),
            Output::Console(console) => console.offer(batch, from),
            Output::File(file) => file.offer(batch, from),
            Output::Blackhole(blackhole) => Ok(blackhole.offer(batch, from)),
        }
    }

    /// Tells the time, which back-offs and watchdogs go by. Wanted a few times a second while something is in
    /// flight or wrong, [`offer`](Self::offer) counts as it.
    pub fn tend(&mut self, now: Now) {
        match self {
            Output::Kafka(kafka) => kafka.tend(now),
            Output::Console(_) | Output::File(_) | Output::Blackhole(_) => {}
        }
    }

    /// Begins anew behind [`Standing::acked_upto`], after [`OutputError::Broken`] or when
    /// [`credentials_changed`](Self::credentials_changed). What is above must be offered again: records that were
    /// in flight may arrive twice, with the same ids and bytes. A record that was settled out of order is refused
    /// again.
    ///
    /// # Errors
    /// As opening it. The output is then as it was; trying again may help.
    pub fn reopen(&mut self) -> Result<(), OutputError> {
        match self {
            Output::Kafka(kafka) => kafka.reopen(),
            Output::Console(_) | Output::File(_) | Output::Blackhole(_) => Ok(()),
        }
    }

    /// Whether a file with secrets or certificates has changed since it was read. Cheap; worth asking once a second
    /// while there is trouble.
    pub fn credentials_changed(&self) -> bool {
        match self {
            Output::Kafka(kafka) => kafka.credentials_changed(),
            Output::Console(_) | Output::File(_) | Output::Blackhole(_) => false,
        }
    }

    /// Messages that the destination does not take, each told once. Each holds the prefix up until it is answered
    /// with [`resend`](Self::resend) or [`settle`](Self::settle).
    pub fn take_refusals(&mut self) -> Vec<Refusal> {
        match self {
            Output::Kafka(kafka) => kafka.take_refusals(),
            Output::Console(_) | Output::File(_) | Output::Blackhole(_) => Vec::new(),
        }
    }

    /// Topics that cannot be used although streams have them for themselves, each told once. What is for them goes to the
    /// topic of all, and finds its own again when it can be used.
    pub fn take_detours(&mut self) -> Vec<Detour> {
        match self {
            Output::Kafka(kafka) => kafka.take_detours(),
            Output::Console(_) | Output::File(_) | Output::Blackhole(_) => Vec::new(),
        }
    }

    /// Sends these messages in place of the refused ones whose records they hold. Messages of which no record is
    /// open are passed over. They go out in the order of their numbers, which may be behind later ones.
    pub fn resend(&mut self, batch: &Batch, stamp: Stamp, now: Now) {
        match self {
            Output::Kafka(kafka) => kafka.resend(batch, stamp, now),
            Output::Console(_) | Output::File(_) | Output::Blackhole(_) => {}
        }
    }

    /// Says that a refused message ([`Refusal::seq`]) has found its end elsewhere: the prefix may pass it.
    pub fn settle(&mut self, seq: u64) {
        match self {
            Output::Kafka(kafka) => kafka.settle(seq),
            Output::Console(_) | Output::File(_) | Output::Blackhole(_) => {}
        }
    }

    /// What ends a [`wait`](Self::wait), for whoever has something better to do; none where nothing is ever waited for.
    pub fn bell(&self) -> Option<Bell> {
        match self {
            Output::Kafka(kafka) => Some(kafka.bell()),
            Output::Console(_) | Output::File(_) | Output::Blackhole(_) => None,
        }
    }

    /// Sleeps until there may be room or progress, never longer than `at_most`. May return early without a
    /// reason.
    pub fn wait(&mut self, at_most: Duration) {
        match self {
            Output::Kafka(kafka) => kafka.wait(at_most),
            // Nothing of theirs is ever on its way, so it is time that is waited for: until the outbox is tried again, say.
            Output::Console(_) | Output::File(_) | Output::Blackhole(_) => std::thread::sleep(at_most),
        }
    }

    /// Makes sure that what was written is on its disk. Does not wait for confirmations.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn flush(&mut self) -> Result<(), OutputError> {
        match self {
            Output::File(file) => file.flush(),
            // librdkafka sends by itself.
            Output::Kafka(_) | Output::Console(_) | Output::Blackhole(_) => Ok(()),
        }
    }

    /// How far the output has come: a cheap snapshot.
    pub fn standing(&self) -> Standing {
        match self {
            Output::Kafka(kafka) => kafka.standing(),
            Output::Console(console) => console.standing().clone(),
            Output::File(file) => file.standing().clone(),
            Output::Blackhole(blackhole) => blackhole.standing().clone(),
        }
    }
}

/// How far an output has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The fate of every record up to this number is known, in the lane whose records were taken last. 0 before the
    /// first.
    pub acked_upto: u64,
    /// Records that are confirmed.
    pub acked_records: u64,
    /// Records that were taken and are neither confirmed nor refused.
    pub in_flight_records: u64,
    /// The size of their messages.
    pub in_flight_bytes: Bytes,
    /// The accepted lines that they stand for.
    pub in_flight_lines: Lines,
    /// Records that the destination did not take and that were [settled](Output::settle) without it.
    pub refused: Refused,
    /// The size of the confirmed messages before Kafka's own compression.
    pub bytes_out: Bytes,
    /// What went over the network, protocol included, TLS not; `None` while unknown or where there is no
    /// network.
    pub bytes_wire: Option<Bytes>,
    /// What is wrong now, as one plain sentence.
    pub trouble: Option<String>,
    /// Since when the circuit is not closed: nothing new is sent. Not reset by [`Output::reopen`].
    pub trouble_since: Option<Monotonic>,
    /// Nothing more will be confirmed before [`Output::reopen`].
    pub needs_reopening: bool,
}

impl Standing {
    /// Counts a record that is confirmed the moment it is taken.
    fn confirm(&mut self, meta: &Meta, record: &[u8]) {
        self.acked_upto = meta.seq;
        self.acked_records += 1;
        self.bytes_out += Bytes(record.len() as u64);
    }
}

/// Records that the destination did not take, counted so that a notice can name them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// How many records.
    pub records: u64,
    /// The accepted lines that they stood for.
    pub lines: Lines,
    /// Why the first of them was refused.
    pub reason: Option<String>,
}

/// A topic that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detour {
    /// The topic.
    pub topic: Arc<str>,
    /// What the brokers have against it.
    pub reason: String,
}

impl fmt::Display for Detour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Detour { topic, reason } = self;
        write!(f, "the topic {topic} cannot be used ({reason}): ")?;
        f.write_str("what is for it goes to the topic of all until it can be")
    }
}

/// A message that the destination does not take as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The number of its first record that is not settled.
    pub seq: u64,
    /// What it has against it.
    pub cause: RefusalCause,
    /// It was a replacement already ([`Output::resend`]) of this process.
    pub again: bool,
    /// What the destination says.
    pub reason: String,
}

/// Why a message is refused, which says what may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCause {
    /// It is too large: shrink it (`engine::record::shrink`), or [unpack](kafka::unpack) and pack it again.
    TooLarge {
        /// How large its record may be; a guess where nobody tells, and then half of what was refused.
        limit: Bytes,
    },
    /// Its time is too far from the broker's: resend it with [`Stamp::Now`].
    Timestamp,
    /// It is refused for something else. Of several records in one batch that were refused for their times Kafka's
    /// client knows no more than this, so [`Stamp::Now`] may help once.
    Invalid,
}

/// Which time a message gets that is sent in place of a refused one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// Its record's own, as at first.
    Own,
    /// The present.
    Now,
}

/// What ends an output. Outages are not here: they are waited out and shown as [`Standing::trouble`].
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// A file could not be used.
    #[error("cannot {action} {path}", path = path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Standard output is gone, usually because its reader ended.
    #[error("cannot write to standard output")]
    Console {
        /// The cause.
        source: io::Error,
    },
    /// A pass-through option that could run a command or load code.
    #[error("the Kafka option {name} is not allowed: it could run a command or load code")]
    OptionForbidden {
        /// The option.
        name: String,
    },
    /// An option that librdkafka does not understand. Its value is not shown, for it could be a secret.
    #[error("cannot set the Kafka option {name}: {reason}")]
    OptionInvalid {
        /// The option.
        name: String,
        /// What librdkafka says about it.
        reason: String,
    },
    /// The producer could not be made.
    #[error("cannot create the Kafka producer: {reason}")]
    Create {
        /// What librdkafka says.
        reason: String,
    },
    /// The producer can send no more; a new one could ([`Output::reopen`]).
    #[error("a new Kafka producer is needed: {reason}")]
    Broken {
        /// What librdkafka says, or what we saw.
        reason: String,
    },
    /// A batch could not be compressed.
    #[error("cannot compress a batch of records")]
    Compress {
        /// The cause.
        source: io::Error,
    },
    /// A packed message could not be unpacked.
    #[error("cannot unpack a message")]
    Decompress {
        /// The cause.
        source: io::Error,
    },
}

#[cfg(test)]
pub(crate) mod testing {
    use crate::engine::record::{Batch, Key, Kind, LaneId, Meta};
    use crate::units::{Lines, Timestamp};

    /// A batch of `(stream, record)`, numbered from `first`, each standing for one line.
    pub(crate) fn batch(first: u64, records: &[(&str, &str)]) -> Batch {
        let mut batch = Batch { lane: LaneId(0xabc), ..Batch::default() };
        for (seq, (stream, record)) in (first..).zip(records) {
            let key = batch.keys.iter().position(|key| &*key.stream == *stream).unwrap_or_else(|| {
                batch.keys.push(Key::of(stream));
                batch.keys.len() - 1
            });
            batch.bytes.extend_from_slice(record.as_bytes());
            batch.metas.push(Meta {
                end: batch.bytes.len(),
                seq,
                records: 1,
                kind: Kind::Line,
                lines: Lines(1),
                key: u32::try_from(key).expect("few streams"),
                time: Timestamp(1_770_336_600 * Timestamp::SECOND),
            });
        }
        batch
    }
}

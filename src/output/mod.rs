//! Where records go.
//!
//! In: batches of encoded records in the order of their numbers. Out: a [`Standing`] that says which of them
//! arrived.
//! Invariant: `Standing::acked_upto` only moves over records whose fate is known: confirmed, or refused and
//! counted.
//! Limit: an output takes only what its window holds and leaves the rest with the caller; nothing here grows.
//! Not here: what survives a crash (`outbox`); what happens to refused records (the daemon
//! names them when it ends).

pub mod blackhole;
pub mod console;
pub mod file;
pub mod kafka;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

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
    /// Takes records from `batch[from..]` and returns how many. Fewer than there are means full now:
    /// [`wait`](Self::wait), then offer the rest again.
    ///
    /// # Errors
    /// Only what waiting does not cure: a closed standard output, a disk that refuses, a broken producer.
    pub fn offer(&mut self, batch: &Batch, from: usize, now: Now) -> Result<usize, OutputError> {
        match self {
            Output::Kafka(kafka) => kafka.offer(batch, from, now),
            Output::Console(console) => console.offer(batch, from),
            Output::File(file) => file.offer(batch, from),
            Output::Blackhole(blackhole) => Ok(blackhole.offer(batch, from)),
        }
    }

    /// Sleeps until there may be room or progress, never longer than `at_most`. May return early without a
    /// reason.
    pub fn wait(&mut self, at_most: Duration) {
        match self {
            Output::Kafka(kafka) => kafka.wait(at_most),
            // These never leave anything to wait for.
            Output::Console(_) | Output::File(_) | Output::Blackhole(_) => {}
        }
    }

    /// Pushes out what lingers here. Does not wait for confirmations, except that a file is synced to its
    /// disk.
    ///
    /// # Errors
    /// As [`offer`](Self::offer).
    pub fn flush(&mut self) -> Result<(), OutputError> {
        match self {
            Output::Kafka(kafka) => kafka.flush(),
            Output::File(file) => file.flush(),
            Output::Console(_) | Output::Blackhole(_) => Ok(()),
        }
    }

    /// When [`on_deadline`](Self::on_deadline) wants to be called, if at all.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        match self {
            Output::Kafka(kafka) => kafka.next_deadline(),
            Output::Console(_) | Output::File(_) | Output::Blackhole(_) => None,
        }
    }

    /// Sends what has lingered long enough.
    ///
    /// # Errors
    /// As [`offer`](Self::offer).
    pub fn on_deadline(&mut self, now: Now) -> Result<(), OutputError> {
        match self {
            Output::Kafka(kafka) => kafka.on_deadline(now),
            Output::Console(_) | Output::File(_) | Output::Blackhole(_) => Ok(()),
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
    /// The fate of every record up to this number is known. 0 before the first.
    pub acked_upto: u64,
    /// Records that are confirmed.
    pub acked_records: u64,
    /// Records that were taken and are neither confirmed nor refused.
    pub in_flight_records: u64,
    /// Their encoded size.
    pub in_flight_bytes: Bytes,
    /// The accepted lines that they stand for.
    pub in_flight_lines: Lines,
    /// Records that the destination will never take.
    pub refused: Refused,
    /// The encoded size of the confirmed records, before any compression.
    pub bytes_out: Bytes,
    /// What went over the network, protocol included, TLS not; `None` while unknown or where there is no
    /// network.
    pub bytes_wire: Option<Bytes>,
    /// What is wrong now, as one plain sentence.
    pub trouble: Option<String>,
}

impl Standing {
    /// Counts a record that is confirmed the moment it is taken.
    fn confirm(&mut self, meta: &Meta, record: &[u8]) {
        self.acked_upto = meta.seq;
        self.acked_records += 1;
        self.bytes_out += Bytes(record.len() as u64);
    }
}

/// Records that the destination will never take, counted so that a notice can name them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// How many records.
    pub records: u64,
    /// The accepted lines that they stood for.
    pub lines: Lines,
    /// Why the first of them was refused.
    pub reason: Option<String>,
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
    /// The producer can send no more; a new one could.
    #[error("the Kafka producer is broken: {reason}")]
    Broken {
        /// What librdkafka says.
        reason: String,
    },
    /// A batch could not be compressed.
    #[error("cannot compress a batch of records")]
    Compress {
        /// The cause.
        source: io::Error,
    },
}

#[cfg(test)]
pub(crate) mod testing {
    use std::sync::Arc;

    use crate::engine::record::{Batch, Kind, LaneId, Meta};
    use crate::units::{Lines, Timestamp};

    /// A batch of `(stream, record)`, numbered from `first`, each standing for one line.
    pub(crate) fn batch(first: u64, records: &[(&str, &str)]) -> Batch {
        let mut batch = Batch { lane: LaneId(0xabc), ..Batch::default() };
        for (seq, (stream, record)) in (first..).zip(records) {
            let key = batch.keys.iter().position(|key| **key == **stream).unwrap_or_else(|| {
                batch.keys.push(Arc::from(*stream));
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

//! Records to Apache Kafka through librdkafka.
//!
//! In: batches of numbered records. Out: messages, and a [`Standing`] that moves on delivery reports alone:
//! queued is not delivered.
//! Invariant: a record that was taken is settled exactly once, confirmed or refused. Outages are waited out:
//! what comes back is sent again, before anything new.
//! Limit: 50,000 records and 8 MiB in flight; `offer` takes no more and never blocks.
//! Not here: what survives a crash (`outbox`), and a new producer after a fatal error (the caller opens one).
//!
//! | file | what is there |
//! |---|---|
//! | `options` | what the user may choose, and the librdkafka settings that follow |
//! | `acks` | the window of open records (pure) |
//! | `pack` | many records in one message (pure) |
//! | `trouble` | errors as sentences (pure) |
//! | `state` | what both threads share |
//! | `context` | librdkafka's callbacks |
//! | `poll` | the polling thread: look-ups, sending again |

mod acks;
mod context;
mod options;
mod pack;
mod poll;
mod state;
#[cfg(test)]
mod tests;
mod trouble;

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseProducer;

pub use self::options::{Compression, Options, Packing, Sasl, Tls};

use self::context::{Context, Place};
use self::pack::{Codec, Packed, Packer, Record};
use self::poll::Fault;
use self::state::{Message, Shared};
use super::{OutputError, Standing};
use crate::engine::record::{Batch, LaneId};
use crate::units::{Monotonic, Now, Timestamp};

/// A producer with its polling thread.
pub struct Kafka {
    producer: Arc<BaseProducer<Context>>,
    /// Behind `producer`, so that it is dropped after it.
    shared: Goodbye,
    place: Arc<Place>,
    /// Present when records travel in packed messages.
    packer: Option<Packer>,
    /// The lane of the records in open messages.
    lane: LaneId,
    /// The wall clock as of the last call that brought one.
    wall: Timestamp,
}

impl fmt::Debug for Kafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kafka").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Kafka {
    /// Starts the producer. Does not wait for a broker: whether one is there shows in [`Standing::trouble`].
    ///
    /// # Errors
    /// When an option is not allowed or not understood, or a secret cannot be read.
    pub fn open(options: &Options) -> Result<Kafka, OutputError> {
        let shared = Arc::new(Shared::new());
        let place = Arc::new(Place {
            brokers: options.brokers.join(","),
            topic: options.topic.clone(),
            user: options.sasl.as_ref().map(|sasl| sasl.username.clone()),
        });
        let codec = match options.packing {
            Packing::Records => None,
            Packing::GzipNdjson => Some(Codec::Gzip),
            Packing::ZstdNdjson => Some(Codec::zstd().map_err(|source| OutputError::Compress { source })?),
        };
        let context = Context { shared: Arc::clone(&shared), place: Arc::clone(&place) };
        let producer: BaseProducer<Context> =
            options.client_config()?.create_with_context(context).map_err(options::creation_error)?;
        let producer = Arc::new(producer);
        let theirs = (Arc::clone(&producer), Arc::clone(&shared), Arc::clone(&place));
        thread::Builder::new()
            .name("squall-kafka".to_owned())
            .spawn(move || poll::run(theirs.0, &theirs.1, &theirs.2))
            .map_err(|error| OutputError::Create { reason: error.to_string() })?;
        let (lane, wall) = (LaneId::default(), Timestamp::default());
        Ok(Kafka { producer, shared: Goodbye(shared), place, packer: codec.map(Packer::new), lane, wall })
    }

    /// Takes what fits. See [`Output::offer`](super::Output::offer).
    pub(super) fn offer(&mut self, batch: &Batch, from: usize, now: Now) -> Result<usize, OutputError> {
        self.wall = now.wall;
        self.on_deadline(now)?;
        let room = self.reserve(batch, from)?;
        if room == 0 {
            return Ok(0);
        }
        self.lane = batch.lane;
        self.shared.rouse();
        let taken = if self.packer.is_some() {
            self.pack(batch, from, room, now)?
        } else {
            self.send(batch, from, room)
        };
        self.shared.lock().mute();
        Ok(taken)
    }

    pub(super) fn wait(&mut self, at_most: Duration) {
        self.shared.wait_for_bell(at_most);
    }

    pub(super) fn flush(&mut self) -> Result<(), OutputError> {
        self.with_packer(Packer::take_all)
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        self.packer.as_ref().and_then(Packer::deadline)
    }

    pub(super) fn on_deadline(&mut self, now: Now) -> Result<(), OutputError> {
        self.with_packer(|packer, ready| packer.take_due(now.arrival, ready))
    }

    /// See [`Output::standing`](super::Output::standing).
    pub fn standing(&self) -> Standing {
        self.shared.lock().standing()
    }

    /// Flushes, waits up to `at_most` for the last confirmations, and tears the producer down, which takes up
    /// to a second more. What was not confirmed by then may or may not arrive. Returns the last standing.
    pub fn close(mut self, at_most: Duration) -> Standing {
        // A producer that cannot pack any more has nothing better to do than to deliver the rest.
        let _ = self.flush();
        self.shared.wait_until(at_most, |state| state.acks.open().records == 0 || state.broken().is_some());
        let told = self.shared.lock().statistics;
        let standing = self.standing();
        if standing.in_flight_records == 0 && standing.acked_records > 0 {
            self.shared.lock().settling = true;
            self.shared.rouse();
            // The statistics lag: the next ones may have been gathered before the last report, those after it not.
            self.shared
                .wait_until(WIRE_KNOWN, |state| state.statistics >= told + 2 || state.broken().is_some());
        }
        let standing = self.standing();
        let shared = Arc::clone(&self.shared.0);
        // The polling thread then holds the last half of the producer and tears it down. librdkafka joins its
        // threads there; one that hangs in a name look-up is left to the end of the process.
        drop(self);
        shared.wait_until(TEAR_DOWN, |state| state.stopped);
        standing
    }

    /// Opens as many records as may be sent now and returns how many.
    fn reserve(&self, batch: &Batch, from: usize) -> Result<usize, OutputError> {
        let mut state = self.shared.lock();
        if let Some(reason) = state.broken() {
            return Err(OutputError::Broken { reason: reason.to_owned() });
        }
        if !state.accepts() {
            state.mute();
            return Ok(0);
        }
        let mut taken = 0;
        for (meta, record) in batch.iter().skip(from) {
            if !state.acks.has_room(record.len()) {
                break;
            }
            state.acks.push(meta.seq, record.len(), meta.lines);
            taken += 1;
        }
        if taken == 0 {
            state.mute();
        }
        Ok(taken)
    }

    /// Sends each record as a message of its own; returns how many librdkafka took.
    fn send(&self, batch: &Batch, from: usize, room: usize) -> usize {
        let mut id = String::with_capacity(64);
        for (index, (meta, record)) in batch.iter().skip(from).take(room).enumerate() {
            write_id(&mut id, batch.lane, meta.seq);
            let headers = OwnedHeaders::new_with_capacity(3)
                .insert(header("squall-id", &id))
                .insert(header("squall-kind", meta.kind.as_str()))
                .insert(header("content-type", "application/json"));
            let key = batch.keys.get(meta.key as usize).map_or("", |key| key);
            let message = (key.as_bytes(), record, millis(meta.time, self.wall));
            match poll::hand_over(&self.producer, &self.place, meta.seq, message, headers) {
                Ok(()) => {}
                Err((Fault::Refused, _)) => {
                    self.shared.update(|state| state.refuse(meta.seq, poll::TOO_LARGE));
                }
                Err((fault, _)) => {
                    let mut state = self.shared.lock();
                    (index..room).for_each(|_| state.acks.pop());
                    if fault == Fault::Topic {
                        state.topic_known = false;
                    }
                    return index;
                }
            }
        }
        room
    }

    /// Puts the records into open messages and sends those that are full.
    fn pack(&mut self, batch: &Batch, from: usize, room: usize, now: Now) -> Result<usize, OutputError> {
        let nobody = Arc::from("");
        self.with_packer(|packer, ready| {
            for (meta, bytes) in batch.iter().skip(from).take(room) {
                let key = batch.keys.get(meta.key as usize).unwrap_or(&nobody);
                let record = Record { key, seq: meta.seq, time: meta.time, bytes };
                packer.push(record, now.arrival, ready)?;
            }
            Ok(())
        })?;
        Ok(room)
    }

    /// Lets the packer close messages, if there is one, and sends them.
    fn with_packer(
        &mut self,
        close: impl FnOnce(&mut Packer, &mut Vec<Packed>) -> std::io::Result<()>,
    ) -> Result<(), OutputError> {
        let Some(packer) = &mut self.packer else { return Ok(()) };
        let mut ready = Vec::new();
        close(packer, &mut ready).map_err(|source| OutputError::Compress { source })?;
        let encoding = packer.encoding();
        for packed in ready {
            self.send_packed(packed, encoding);
        }
        Ok(())
    }

    /// Sends a packed message, or leaves it with what has to be sent again.
    fn send_packed(&self, packed: Packed, encoding: &str) {
        let Packed { key, seqs, time, payload } = packed;
        let (Some(&first), Some(&last)) = (seqs.first(), seqs.last()) else { return };
        let (mut first_id, mut last_id) = (String::new(), String::new());
        write_id(&mut first_id, self.lane, first);
        write_id(&mut last_id, self.lane, last);
        let headers = OwnedHeaders::new_with_capacity(6)
            .insert(header("squall-id", &first_id))
            .insert(header("squall-id-last", &last_id))
            // Its records are of several kinds. Every message has this header, so that a consumer may rely on it.
            .insert(header("squall-kind", "batch"))
            .insert(header("squall-records", &seqs.len().to_string()))
            .insert(header("content-type", "application/x-ndjson"))
            .insert(header("content-encoding", encoding));
        let message =
            Message { key: key.as_bytes().to_vec(), payload, headers, timestamp: millis(time, self.wall) };
        self.shared.lock().acks.join(&seqs);
        if let Err((fault, message)) = poll::send(&self.producer, &self.place, first, message) {
            self.shared.update(|state| poll::settle_unsent(state, first, message, fault));
        }
    }
}

/// Tells the polling thread that the offering side is gone, once its half of the producer is.
struct Goodbye(Arc<Shared>);

impl Drop for Goodbye {
    fn drop(&mut self) {
        self.0.lock().closing = true;
        self.0.rouse();
    }
}

impl std::ops::Deref for Goodbye {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// How long the bytes on the wire of a run that is over are waited for: two rounds of statistics, on a machine that is busy.
const WIRE_KNOWN: Duration = Duration::from_millis(700);

/// Purging takes up to 500 ms, a turn of the polling thread 100 ms, joining librdkafka's threads a little.
const TEAR_DOWN: Duration = Duration::from_secs(1);
/// How far a record's time may be from now to be a message's time: brokers refuse or misfile what is far off.
const TIME_OFF_MAX: Duration = Duration::from_secs(3600);

/// The milliseconds that Kafka files a message under: the record's time unless that is far from now.
fn millis(time: Timestamp, wall: Timestamp) -> i64 {
    let off = time.since(wall).max(wall.since(time));
    let time = if off > TIME_OFF_MAX { wall } else { time };
    time.0.div_euclid(1_000_000)
}

fn header<'a>(key: &'a str, value: &'a str) -> Header<'a, &'a str> {
    Header { key, value: Some(value) }
}

fn write_id(id: &mut String, lane: LaneId, seq: u64) {
    id.clear();
    // Writing to a string cannot fail.
    let _ = write!(id, "{lane}-{seq}");
}

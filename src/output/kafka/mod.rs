//! Records to Apache Kafka through librdkafka.
//!
//! In: batches of numbered records. Out: messages, and a [`Standing`] that moves on delivery reports alone:
//! queued is not delivered.
//! Invariant: a record that was taken is settled exactly once: confirmed, or, when Kafka does not want it, settled by
//! the caller. Outages are waited out: what comes back is sent again, before anything new.
//! Limit: 50,000 records and 5 MiB in flight; `offer` takes no more and never blocks. For the moment that an old
//! producer takes to end there may be twice as much.
//! Not here: what survives a crash (`outbox`); what becomes of refused records (the shipper decides).
//!
//! | file | what is there |
//! |---|---|
//! | `options` | what the user may choose, and the librdkafka settings that follow |
//! | `credentials` | whether the files with secrets have changed |
//! | `consumer` | the settings for reading a topic back |
//! | `acks` | the window of open records (pure) |
//! | `pack` | many records in one message, and back (pure) |
//! | `message` | key, headers and time of a message (pure) |
//! | `breaker` | the circuit: when to try again (pure) |
//! | `limit` | how large a batch may be; asking the topic |
//! | `topics` | topics that streams have for themselves (pure) |
//! | `trouble` | errors as sentences (pure) |
//! | `state`, `shared` | what both threads share, and its lock |
//! | `context` | librdkafka's callbacks |
//! | `poll` | the polling thread: look-ups, sending again, stalls |

mod acks;
mod breaker;
mod consumer;
mod context;
mod credentials;
mod limit;
mod message;
mod options;
mod pack;
mod poll;
mod shared;
mod state;
#[cfg(test)]
mod tests;
mod topics;
mod trouble;

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rdkafka::producer::BaseProducer;

pub use self::consumer::Listener;
pub use self::options::{Compression, HeaderSet, Options, Packing, Sasl, TOPIC_NAMES, Tls, is_topic};

use self::acks::Open;
use self::context::{Context, Place};
use self::credentials::Credentials;
use self::limit::BatchLimit;
use self::message::{Outgoing, Stamper, messages};
use self::pack::{Codec, Packer};
use self::poll::{Fault, Poller};
use self::shared::Shared;
use self::state::{Renewal, Room, State};
use self::topics::Route;
use super::{Bell, Detour, OutputError, Refusal, Stamp, Standing};
use crate::engine::record::{Batch, Encoding, Key};
use crate::units::{Bytes, Now};

/// A producer with its polling thread, and what is needed to make the next one.
pub struct Kafka {
    running: Running,
    options: Options,
    place: Arc<Place>,
    credentials: Credentials,
    /// Wakes the offering thread; all producers ring the same.
    bell: Bell,
    /// Present when records travel in packed messages.
    packer: Option<Packer>,
}

/// One producer.
struct Running {
    producer: Arc<BaseProducer<Context>>,
    /// Behind `producer`, so that it is dropped after it.
    shared: Goodbye,
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
        // Looked at before they are read: a change in between is then seen as one.
        let credentials = Credentials::of(options);
        let limit = BatchLimit::of(&options.client_config()?);
        let jitter = RandomState::new().hash_one(());
        let bell = Bell::default();
        let running = Running::start(options, &place, State::new(limit, jitter), bell.clone())?;
        let packer = codec.map(Packer::new);
        Ok(Kafka { running, options: options.clone(), place, credentials, bell, packer })
    }

    /// Makes a new producer in place of this one, with secrets and certificates as their files have them now. The
    /// window is empty behind [`Standing::acked_upto`]: what is above must be offered again, and may so arrive a
    /// second time. The old producer ends on its own thread.
    ///
    /// # Errors
    /// When a secret cannot be read, or librdkafka does not like it. The old producer then stays; try again in a
    /// second.
    pub fn reopen(&mut self) -> Result<(), OutputError> {
        let credentials = Credentials::of(&self.options);
        let next = self.running.shared.lock().next();
        self.running = Running::start(&self.options, &self.place, next, self.bell.clone())?;
        self.credentials = credentials;
        tracing::info!("kafka has a new producer");
        Ok(())
    }

    /// Whether a file with secrets or certificates is not what it was when this producer was made. Costs a `stat(2)`
    /// for each file.
    pub fn credentials_changed(&self) -> bool {
        self.credentials.have_changed()
    }

    /// Turns records into messages. See [`Output::pack`](super::Output::pack).
    pub(super) fn pack(&mut self, batch: &mut Batch) -> Result<(), OutputError> {
        let Some(packer) = &mut self.packer else { return Ok(()) };
        let raw_max = pack::RAW_MAX.min(self.running.shared.lock().batch_limit.raw_max());
        packer.pack(batch, raw_max).map_err(|source| OutputError::Compress { source })
    }

    /// Takes what fits. See [`Output::offer`](super::Output::offer).
    pub(super) fn offer(&mut self, batch: &Batch, from: usize, now: Now) -> Result<usize, OutputError> {
        let admitted = self.admit(batch, from, now)?;
        let messages = admitted.messages;
        // Even where nothing may be sent, a topic may have to be looked up.
        self.running.shared.rouse();
        if messages > 0 {
            self.send(batch, from, &admitted);
        }
        self.running.shared.lock().mute();
        Ok(messages)
    }

    /// Keeps the circuit and the watchdog in time. See [`Output::tend`](super::Output::tend).
    pub(super) fn tend(&mut self, now: Now) {
        self.running.shared.lock().tell(now);
    }

    /// See [`Output::bell`](super::Output::bell).
    pub(super) fn bell(&self) -> Bell {
        self.bell.clone()
    }

    pub(super) fn wait(&mut self, at_most: Duration) {
        self.running.shared.wait_for_bell(at_most);
    }

    /// See [`Output::take_refusals`](super::Output::take_refusals).
    pub(super) fn take_refusals(&mut self) -> Vec<Refusal> {
        self.running.shared.lock().take_refusals()
    }

    /// See [`Output::take_detours`](super::Output::take_detours).
    pub(super) fn take_detours(&mut self) -> Vec<Detour> {
        self.running.shared.lock().topics.take_detours()
    }

    /// See [`Output::settle`](super::Output::settle).
    pub(super) fn settle(&mut self, seq: u64) {
        self.running.shared.lock().settle_refused(seq);
    }

    /// See [`Output::resend`](super::Output::resend). The polling thread sends it, in the order of the numbers.
    pub(super) fn resend(&mut self, batch: &Batch, stamp: Stamp, now: Now) {
        let mut state = self.running.shared.lock();
        state.tell(now);
        if !state.turn_to(batch.lane) {
            return;
        }
        let roads = Roads::of(batch, &self.place, &mut state);
        for message in messages(batch) {
            let seqs: Vec<u64> =
                message.members.iter().copied().filter(|seq| state.acks.is_open(*seq)).collect();
            let Some(&first) = seqs.first() else { continue };
            let time = match stamp {
                Stamp::Own => message.meta.time,
                Stamp::Now => now.wall,
            };
            let millis = state.stamper().millis(time);
            state.acks.open(&seqs, message.load(millis));
            let topic = roads.topic(&message).cloned();
            state.replace(first, message.to_message(topic, millis, self.options.headers));
        }
    }

    /// See [`Output::standing`](super::Output::standing).
    pub fn standing(&self) -> Standing {
        self.running.shared.lock().standing()
    }

    /// Waits up to `at_most` for the last confirmations, and tears the producer down, which takes up
    /// to a second more. What was not confirmed by then may or may not arrive. Returns the last standing.
    pub fn close(self, at_most: Duration) -> Standing {
        let shared = Arc::clone(&self.running.shared.0);
        shared.wait_until(at_most, |state| state.acks.all_open().records == 0 || state.renewal().is_some());
        let told = shared.lock().statistics;
        let standing = self.standing();
        if standing.in_flight_records == 0 && standing.acked_records > 0 {
            shared.lock().settling = true;
            shared.rouse();
            // The statistics lag: the next ones may have been gathered before the last report, those after it not.
            shared.wait_until(WIRE_KNOWN, |state| state.statistics >= told + 2 || state.renewal().is_some());
        }
        let standing = self.standing();
        // The polling thread then holds the last half of the producer and tears it down. librdkafka joins its
        // threads there; one that hangs in a name look-up is left to the end of the process.
        drop(self);
        shared.wait_until(TEAR_DOWN, |state| state.stopped);
        standing
    }

    /// Opens as many records as may be sent now. Of packed messages that hold each other's neighbours all or none: what
    /// is passed over is told by the newest number.
    fn admit(&mut self, batch: &Batch, from: usize, now: Now) -> Result<Admitted, OutputError> {
        let mut state = self.running.shared.lock();
        state.tell(now);
        if let Some(renewal) = state.renewal() {
            return Err(OutputError::Broken { reason: renewal.to_string() });
        }
        let room = state.room_for_new();
        let nothing = Admitted { messages: 0, newest: 0, stamper: state.stamper(), roads: Roads::default() };
        if room == Room::Nothing || !state.turn_to(batch.lane) {
            return Ok(nothing);
        }
        let roads = Roads::of(batch, &self.place, &mut state);
        let newest = state.acks.newest();
        let most = if room == Room::One { 1 } else { usize::MAX };
        let outgoing = messages(batch).skip(from);
        if batch.encoding == Encoding::Record {
            let open = |one: &Outgoing<'_>| roads.is_open(one) && open_together(&mut state, &[*one], newest);
            let messages = outgoing.take(most).take_while(open).count();
            return Ok(Admitted { messages, newest, roads, ..nothing });
        }
        let outgoing: Vec<_> = outgoing.collect();
        let mut rest = &outgoing[..];
        let groups =
            std::iter::from_fn(|| rest.split_off(..together(rest)).filter(|group| !group.is_empty()));
        let open = |group: &&[Outgoing<'_>]| {
            group.iter().all(|one| roads.is_open(one)) && open_together(&mut state, group, newest)
        };
        let messages = groups.take(most).take_while(open).map(<[_]>::len).sum();
        Ok(Admitted { messages, newest, roads, ..nothing })
    }

    /// Hands messages to librdkafka. What it does not take is kept, with all that follows it.
    fn send(&self, batch: &Batch, from: usize, admitted: &Admitted) {
        let shared = &self.running.shared;
        let mut outgoing = messages(batch).skip(from).take(admitted.messages);
        for message in outgoing.by_ref() {
            let Some(&first) = message.above(admitted.newest).first() else { continue };
            let timestamp = admitted.stamper.millis(message.meta.time);
            let parts = (message.key.stream.as_bytes(), message.payload, timestamp);
            let topic = admitted.roads.topic(&message);
            let Err((fault, _)) = poll::hand_over(
                &self.running.producer,
                topic.map_or(&self.place.topic, |topic| topic),
                first,
                parts,
                message.headers(self.options.headers),
            ) else {
                continue;
            };
            let kept = message.to_message(topic.cloned(), timestamp, self.options.headers);
            shared.update(|state| poll::settle_unsent(state, first, kept, fault));
            if fault != Fault::Refused {
                break;
            }
        }
        for message in outgoing {
            let Some(&first) = message.above(admitted.newest).first() else { continue };
            let topic = admitted.roads.topic(&message).cloned();
            let timestamp = admitted.stamper.millis(message.meta.time);
            let kept = message.to_message(topic, timestamp, self.options.headers);
            shared.update(|state| state.keep(first, kept));
        }
    }
}

/// What may be sent.
struct Admitted {
    /// How many messages of the batch.
    messages: usize,
    /// The newest record that was known before. Up to this one nothing is sent: it is settled, or on its way.
    newest: u64,
    stamper: Stamper,
    roads: Roads,
}

/// Where the messages of a batch go, by their key's place in it. Empty where all go to the topic of all.
#[derive(Default)]
struct Roads(Vec<(Arc<str>, Route)>);

impl Roads {
    fn of(batch: &Batch, place: &Place, state: &mut State) -> Roads {
        if batch.keys.iter().all(|key| key.topic.is_none()) {
            return Roads::default();
        }
        let now = state.now;
        let road = |key: &Key| match &key.topic {
            Some(topic) if **topic != *place.topic => (Arc::clone(topic), state.topics.route(topic, now)),
            _ => (Arc::default(), Route::Common),
        };
        Roads(batch.keys.iter().map(road).collect())
    }

    /// The topic of this message; `None` for the topic of all.
    fn topic(&self, message: &Outgoing<'_>) -> Option<&Arc<str>> {
        let road = self.0.get(message.meta.key as usize)?;
        (road.1 == Route::Own).then_some(&road.0)
    }

    /// Whether it is known where this message goes.
    fn is_open(&self, message: &Outgoing<'_>) -> bool {
        self.0.get(message.meta.key as usize).is_none_or(|road| road.1 != Route::Wait)
    }
}

/// How many of the first messages can only leave together: no record of a later one stands before one of theirs.
fn together(messages: &[Outgoing<'_>]) -> usize {
    let mut last = 0;
    let ends = |message: &Outgoing<'_>| {
        let stands_behind = last > 0 && message.members.first() > Some(&last);
        last = message.members.last().map_or(last, |own| last.max(*own));
        stands_behind
    };
    messages.iter().position(ends).unwrap_or(messages.len())
}

/// Opens messages that may only leave together, if there is room for them; says whether there was.
fn open_together(state: &mut State, group: &[Outgoing<'_>], newest: u64) -> bool {
    let (mut wanted, mut first, mut last) = (Open::default(), u64::MAX, 0);
    for message in group {
        let seqs = message.above(newest);
        if let ([head, ..], [.., tail]) = (seqs, seqs) {
            wanted.records += seqs.len();
            wanted.bytes += Bytes(message.payload.len() as u64);
            (first, last) = (first.min(*head), last.max(*tail));
        }
    }
    if wanted.records == 0 {
        return true; // all of it is known
    }
    if !state.acks.has_room(wanted, last) {
        return false;
    }
    state.acks.reach(first, last);
    let stamper = state.stamper();
    for message in group {
        let millis = stamper.millis(message.meta.time);
        state.acks.open(message.above(newest), message.load(millis));
    }
    state.ask_with(first);
    true
}

impl Running {
    fn start(
        options: &Options,
        place: &Arc<Place>,
        state: State,
        bell: Bell,
    ) -> Result<Running, OutputError> {
        let mut config = options.client_config()?;
        state.batch_limit.set(&mut config);
        let shared = Arc::new(Shared::new(state, bell));
        let context = Context { shared: Arc::clone(&shared), place: Arc::clone(place) };
        let producer: BaseProducer<Context> =
            config.create_with_context(context).map_err(options::creation_error)?;
        let producer = Arc::new(producer);
        let poller = Poller {
            producer: Arc::clone(&producer),
            shared: Arc::clone(&shared),
            place: Arc::clone(place),
            options: options.clone(),
        };
        thread::Builder::new()
            .name("squall-kafka".to_owned())
            .spawn(move || poller.run())
            .map_err(|error| OutputError::Create { reason: error.to_string() })?;
        Ok(Running { producer, shared: Goodbye(shared) })
    }
}

/// The records of a packed message, each a message of its own: so that they can be packed smaller, or made smaller
/// themselves. What they stand for is read from them.
///
/// # Errors
/// When there is no such message, or it cannot be decompressed, or does not hold what it says.
pub fn unpack(batch: &Batch, index: usize) -> Result<Batch, OutputError> {
    pack::unpack(batch, index).map_err(|source| OutputError::Decompress { source })
}

/// The message that takes the place of a packed one, with these records.
///
/// # Errors
/// When they cannot be compressed.
pub fn repack(encoding: Encoding, records: &Batch) -> Result<Vec<u8>, OutputError> {
    pack::repack(encoding, records).map_err(|source| OutputError::Compress { source })
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

impl fmt::Display for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Renewal::Broken(reason) => f.write_str(reason),
            Renewal::SmallerBatches => f.write_str("a batch was larger than the topic takes"),
        }
    }
}

/// How long the bytes on the wire of a run that is over are waited for: two rounds of statistics, on a machine that is busy.
const WIRE_KNOWN: Duration = Duration::from_millis(700);

/// Purging takes up to 500 ms, a turn of the polling thread 100 ms, joining librdkafka's threads a little.
const TEAR_DOWN: Duration = Duration::from_secs(1);

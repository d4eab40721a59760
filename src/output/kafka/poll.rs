//! The polling thread: serves librdkafka's callbacks, looks the topic up, sends again what came back, and
//! sees stalls.
//!
//! It reads no clock: a turn of the loop lasts [`TURN`], because `poll` serves events until its time is over.
//! But `poll` also spins through the last millisecond of it, which cost 0.8 % of a core for ever; so while
//! nothing is open and nothing is wrong the thread rests instead, and only clears the queue now and then.
//! Nothing here is in the way of the offering thread, so a slow look-up costs nobody but the reports behind
//! it.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::context::{Context, Fate, Place, doubts_topic, fate};
use super::state::{Message, Shared, State};
use super::trouble::{Cause, Trouble};

/// Why librdkafka itself refuses a message: it has no other reason.
pub(super) const TOO_LARGE: &str = "it is larger than the Kafka option message.max.bytes";
/// How long one turn lasts. Events are served at once; this is only how often we look around.
const TURN: Duration = Duration::from_millis(100);
/// How long one rest lasts: two or three of librdkafka's statistics.
const REST: Duration = Duration::from_millis(250);
/// Events that are served after a rest, one for each call. Idle, there are those of statistics and hardly any
/// other.
const REST_EVENTS: usize = 16;
/// Turns before what came back is sent again: 1 s.
pub(super) const BACK_OFF: u32 = 10;
/// Turns between two look-ups of the topic while something is wrong: 1 s.
const LOOK_UP_EVERY: u32 = 10;
/// How long a look-up may take. Delivery reports wait behind it, but only while there is trouble.
const LOOK_UP: Duration = Duration::from_millis(500);
/// Look-ups without an answer, about 6 s, before that is a trouble of its own: a broker that accepts and
/// stays silent.
const SILENCE: u32 = 4;
/// Turns without progress, 5 s, before that is a trouble: 100 times the linger.
const STALL: u32 = 50;

/// The loop's own memory.
#[derive(Debug, Default)]
struct Watch {
    until_look_up: u32,
    silence: u32,
    upto: u64,
    still: u32,
}

/// Polls until the offering side has let go of its half of the producer, then tears it down.
pub(super) fn run(producer: Arc<BaseProducer<Context>>, shared: &Shared, place: &Place) {
    let mut watch = Watch::default();
    look_up(&producer, shared, place, &mut watch);
    while !shared.lock().closing {
        if shared.rest(REST) {
            (0..REST_EVENTS).for_each(|_| producer.poll(Duration::ZERO));
            continue;
        }
        producer.poll(TURN);
        if watch.wants_look_up(&shared.lock()) {
            look_up(&producer, shared, place, &mut watch);
        }
        shared.update(|state| watch.see_stall(state, place));
        send_again(&producer, shared, place);
    }
    // The last half: this purges, waits up to 500 ms, and joins librdkafka's threads.
    drop(producer);
    shared.update(|state| {
        state.stopped = true;
        state.ring();
    });
}

impl Watch {
    fn wants_look_up(&mut self, state: &State) -> bool {
        self.until_look_up = self.until_look_up.saturating_sub(1);
        let doubtful = matches!(state.cause(), Some(Cause::Reach | Cause::Secure | Cause::Topic));
        (doubtful || !state.topic_known) && state.broken().is_none() && self.until_look_up == 0
    }

    fn see_stall(&mut self, state: &mut State, place: &Place) {
        let moves = state.acks.upto() != self.upto || state.acks.open().records == 0;
        self.upto = state.acks.upto();
        self.still = if moves { 0 } else { self.still.saturating_add(1) };
        // A message that lingers here or came back is no stall; its own trouble is told.
        if self.still >= STALL && state.accepts() && state.cause().is_none() {
            let trouble = Trouble::stalled(place, state.last_failure.as_ref());
            state.report(trouble);
        }
    }
}

/// Asks the brokers for the topic, and so learns whether they can be reached at all.
fn look_up(producer: &BaseProducer<Context>, shared: &Shared, place: &Place, watch: &mut Watch) {
    watch.until_look_up = LOOK_UP_EVERY;
    let answer = producer.client().fetch_metadata(Some(&place.topic), LOOK_UP);
    let metadata = match answer {
        Ok(metadata) => metadata,
        Err(error) => {
            tracing::debug!(%error, "kafka does not answer");
            watch.silence = watch.silence.saturating_add(1);
            if watch.silence >= SILENCE {
                shared.update(|state| {
                    if state.cause().is_none() {
                        state.report(Trouble::unreachable(place, None));
                    }
                });
            }
            return;
        }
    };
    watch.silence = 0;
    let topic = metadata.topics().iter().find(|topic| topic.name() == place.topic);
    let fault = topic.and_then(|topic| topic.error()).map(Code::from);
    let exists = fault.is_none() && topic.is_some_and(|topic| !topic.partitions().is_empty());
    shared.update(|state| {
        // Whoever answers can be reached, and has accepted who we are.
        state
            .cure(|cause| matches!(cause, Cause::Reach | Cause::Secure) || (exists && cause == Cause::Topic));
        if exists {
            state.topic_known = true;
            state.ring();
            return;
        }
        state.topic_known = false;
        match fault {
            Some(code) if doubts_topic(code) => state.report(Trouble::topic_missing(place)),
            // Its leaders are being chosen; the next look-up will know.
            None | Some(Code::LeaderNotAvailable) => {}
            Some(code) => state.report(Trouble::topic(place, &code.to_string())),
        }
    });
}

/// Sends what came back, in order, once the back-off is over.
fn send_again(producer: &BaseProducer<Context>, shared: &Shared, place: &Place) {
    let returned = {
        let mut state = shared.lock();
        state.back_off = state.back_off.saturating_sub(1);
        if state.returned.is_empty() || state.back_off > 0 || !state.topic_known || state.broken().is_some() {
            return;
        }
        std::mem::take(&mut state.returned)
    };
    tracing::debug!(messages = returned.len(), "sending again");
    let mut rest = returned.into_iter();
    for (first, message) in rest.by_ref() {
        if let Err((fault, message)) = send(producer, place, first, message) {
            shared.update(|state| settle_unsent(state, first, message, fault));
            if fault != Fault::Refused {
                break;
            }
        }
    }
    shared.update(|state| {
        state.returned.extend(rest);
        if state.returned.is_empty() {
            state.ring();
        }
    });
}

/// Why librdkafka did not even take a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Its queue is full.
    Full,
    /// The topic is gone.
    Topic,
    /// The message is impossible.
    Refused,
    /// Something else, which passes or which the error callback tells.
    Other,
}

/// Puts a message that was not taken where it belongs.
pub(super) fn settle_unsent(state: &mut State, first: u64, message: Message, fault: Fault) {
    match fault {
        Fault::Refused => state.refuse(first, TOO_LARGE),
        Fault::Full => state.keep(first, message, 0),
        Fault::Topic => {
            state.topic_known = false;
            state.keep(first, message, BACK_OFF);
        }
        Fault::Other => state.keep(first, message, BACK_OFF),
    }
}

/// Hands a message to librdkafka, or gives it back.
pub(super) fn send(
    producer: &BaseProducer<Context>,
    place: &Place,
    first: u64,
    message: Message,
) -> Result<(), (Fault, Message)> {
    let Message { key, payload, headers, timestamp } = message;
    match hand_over(producer, place, first, (&key, &payload, timestamp), headers) {
        Ok(()) => Ok(()),
        Err((fault, headers)) => Err((fault, Message { key, payload, headers, timestamp })),
    }
}

/// The same for borrowed bytes, which librdkafka copies: `(key, payload, milliseconds)`.
pub(super) fn hand_over(
    producer: &BaseProducer<Context>,
    place: &Place,
    first: u64,
    (key, payload, timestamp): (&[u8], &[u8], i64),
    headers: OwnedHeaders,
) -> Result<(), (Fault, OwnedHeaders)> {
    let record = BaseRecord {
        topic: &place.topic,
        partition: None,
        payload: Some(payload),
        key: Some(key),
        timestamp: Some(timestamp),
        headers: Some(headers),
        delivery_opaque: first as usize,
    };
    producer.send(record).map_err(|(error, record)| (fault(&error), record.headers.unwrap_or_default()))
}

fn fault(error: &KafkaError) -> Fault {
    match error.rdkafka_error_code() {
        Some(Code::QueueFull) => Fault::Full,
        Some(code) if doubts_topic(code) => Fault::Topic,
        Some(code) if fate(code) == Fate::Refused => Fault::Refused,
        _ => Fault::Other,
    }
}

/// A message is reported by the number of its first record, which travels as a pointer.
const _: () = assert!(usize::BITS >= 64, "record numbers must fit into a pointer");

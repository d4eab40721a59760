//! The polling thread: serves librdkafka's callbacks, looks the topic up, sends again what came back, and
//! sees stalls.
//!
//! It reads no clock: a turn of the loop lasts [`TURN`], because `poll` serves events until its time is over.
//! But `poll` also spins through the last millisecond of it, which cost 0.8 % of a core for ever; so while
//! nothing is open and nothing is wrong the thread rests instead, and only clears the queue now and then.
//! Nothing here is in the way of the offering thread, and a slow look-up is not in the way of reports.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::OwnedHeaders;
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::context::{Context, Fate, Place, doubts_topic, fate};
use super::limit;
use super::message::Message;
use super::options::Options;
use super::shared::Shared;
use super::state::State;
use super::topics::Answer;
use super::trouble::Trouble;
use crate::output::RefusalCause;
use crate::units::Monotonic;

/// Why librdkafka itself refuses a message: it has no other reason.
const TOO_LARGE: &str = "it is larger than the Kafka option message.max.bytes";
/// What is said where librdkafka itself knows that a topic is gone.
const GONE: &str = "it does not exist any more";
/// Topics of streams that are looked up in one turn.
const OWN_TOPICS: usize = 16;
/// How long one turn lasts. Events are served at once; this is only how often we look around.
const TURN: Duration = Duration::from_millis(100);
/// How long one rest lasts: two or three of librdkafka's statistics.
const REST: Duration = Duration::from_millis(250);
/// Events that are served after a rest, one for each call. Idle, there are those of statistics and hardly any
/// other.
const REST_EVENTS: usize = 16;
/// How often the topic is looked up while it is not known and nothing is wrong: its leaders are being chosen.
const LOOK_UP_EVERY: Duration = Duration::from_secs(1);
/// How long the first look-up may take.
const LOOK_UP: Duration = Duration::from_millis(500);
/// How long a look-up may take at most. A network slower than that delivers nothing, and none is.
const LOOK_UP_MAX: Duration = Duration::from_secs(8);
/// Look-ups without an answer, about 6 s, before that is a trouble of its own: a broker that accepts and
/// stays silent.
const SILENCE: u32 = 3;
/// Time without progress before that is a trouble: 100 times the linger.
const STALL: Duration = Duration::from_secs(5);
/// Time without progress, the brokers answering all the while, before the producer is given up (delivery.md §7).
const STUCK: Duration = Duration::from_secs(60);

/// What the thread works with.
pub(super) struct Poller {
    pub(super) producer: Arc<BaseProducer<Context>>,
    pub(super) shared: Arc<Shared>,
    pub(super) place: Arc<Place>,
    pub(super) options: Options,
}

/// The loop's own memory.
#[derive(Debug, Default)]
struct Watch {
    look_up_at: Monotonic,
    silence: u32,
    /// How many look-ups went unanswered in all. Each lets the next one take twice as long: the answer may have been
    /// on its way, over a slow network. This is never taken back, for an answer that comes sooner ends its look-up.
    unanswered: u32,
    upto: u64,
    /// How long the prefix has not moved although all is sent and nothing else is known to be wrong.
    still: Duration,
    /// How long it has not moved although the brokers answer.
    answered: Duration,
}

impl Poller {
    /// Polls until the offering side has let go of its half of the producer, then tears it down.
    pub(super) fn run(self) {
        let mut watch = Watch::default();
        self.look_up(&mut watch);
        while !self.shared.lock().closing {
            if self.shared.rest(REST) {
                (0..REST_EVENTS).for_each(|_| self.producer.poll(Duration::ZERO));
                continue;
            }
            self.producer.poll(TURN);
            self.see_end();
            let asks = self.shared.update(|state| {
                state.pass(TURN);
                watch.see_stall(state, &self.place);
                if state.batch_limit.is_to_be_halved() {
                    state.lower_batches(None);
                }
                state.batch_limit.wants_to_ask()
            });
            if asks {
                limit::ask(&self.options, &self.shared);
            }
            if watch.wants_look_up(&mut self.shared.lock()) {
                self.look_up(&mut watch);
            }
            self.look_up_own_topics();
            self.send_again();
        }
        let Poller { producer, shared, .. } = self;
        // The last half: this purges, waits up to 500 ms, and joins librdkafka's threads.
        drop(producer);
        shared.update(|state| {
            state.stopped = true;
            state.ring();
        });
    }

    /// librdkafka tells the end of a producer once; here it is seen whatever became of that.
    fn see_end(&self) {
        if !self.shared.lock().breaker.is_closed()
            && let Some((_, reason)) = self.producer.client().fatal_error()
        {
            self.shared.update(|state| state.break_down(&reason));
        }
    }

    /// Asks the brokers for the topic, and so learns whether they can be reached at all.
    fn look_up(&self, watch: &mut Watch) {
        let metadata = match self.ask(&self.place.topic, watch.look_up_max()) {
            Ok(metadata) => metadata,
            Err(error) => {
                tracing::debug!(%error, "kafka does not answer");
                self.shared.update(|state| watch.hear_nothing(state, &self.place));
                return;
            }
        };
        watch.silence = 0;
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.place.topic);
        let fault = topic.and_then(|topic| topic.error()).map(Code::from);
        let exists = fault.is_none() && topic.is_some_and(|topic| !topic.partitions().is_empty());
        self.shared.update(|state| {
            watch.look_up_at = state.now + LOOK_UP_EVERY;
            state.topic_known = exists;
            if exists {
                state.brokers_answer();
                return;
            }
            watch.answered = Duration::ZERO;
            match fault {
                Some(code) if doubts_topic(code) => state.report(Trouble::topic_missing(&self.place)),
                // Its leaders are being chosen; the next look-up will know.
                None | Some(Code::LeaderNotAvailable) if state.breaker.is_closed() => {}
                None | Some(Code::LeaderNotAvailable) => state.trip(),
                Some(code) => state.report(Trouble::topic(&self.place, &code.to_string())),
            }
        });
    }

    /// Asks for topics that messages wait for, some of them.
    fn look_up_own_topics(&self) {
        for _ in 0..OWN_TOPICS {
            let state = self.shared.lock();
            let wanted =
                state.topics.wanted(state.now).filter(|_| state.breaker.is_closed() && state.topic_known);
            let Some(name) = wanted.cloned() else { return };
            drop(state);
            let answer = match self.ask(&name, LOOK_UP_MAX) {
                Ok(metadata) => answer(&metadata, &name, &self.place),
                Err(error) => {
                    tracing::debug!(%error, topic = &*name, "kafka does not answer");
                    Answer::None
                }
            };
            self.shared.update(|state| {
                state.topics.told(&name, answer, state.now);
                state.ring();
            });
        }
    }

    /// What the brokers know of a topic. An answer may take seconds; what is in flight is reported meanwhile, and
    /// where nothing is, nobody waits.
    pub(super) fn ask(&self, topic: &str, at_most: Duration) -> KafkaResult<Metadata> {
        let fetch = move || self.producer.client().fetch_metadata(Some(topic), at_most);
        if self.shared.lock().acks.all_open().records == 0 {
            return fetch();
        }
        thread::scope(|scope| {
            let beside = thread::Builder::new().name("squall-ask".to_owned()).spawn_scoped(scope, fetch);
            // Without a thread it takes a little longer.
            let Ok(asking) = beside else { return fetch() };
            while !asking.is_finished() {
                self.producer.poll(TURN);
            }
            asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Sends what came back, in order, as far as the circuit allows.
    fn send_again(&self) {
        let returned = self.shared.lock().take_returned();
        if returned.is_empty() {
            return;
        }
        tracing::debug!(messages = returned.len(), "sending again");
        let mut rest = returned.into_iter();
        for (first, message) in rest.by_ref() {
            if let Err((fault, message)) = send(&self.producer, &self.place, first, message) {
                self.shared.update(|state| settle_unsent(state, first, message, fault));
                if fault != Fault::Refused {
                    break;
                }
            }
        }
        self.shared.update(|state| state.sent_again(rest));
    }
}

/// What was said about a topic of a stream's own.
fn answer(metadata: &Metadata, name: &str, place: &Place) -> Answer {
    let topic = metadata.topics().iter().find(|topic| topic.name() == name);
    let Some(topic) = topic else { return Answer::None };
    match topic.error().map(Code::from) {
        None if !topic.partitions().is_empty() => Answer::Usable,
        None | Some(Code::LeaderNotAvailable) => Answer::None,
        Some(code) if doubts_topic(code) => {
            Answer::Unusable(format!("it does not exist on {}", place.brokers))
        }
        Some(code) => Answer::Unusable(code.to_string()),
    }
}

impl Watch {
    fn wants_look_up(&mut self, state: &mut State) -> bool {
        if state.renewal().is_some() {
            return false;
        }
        let unknown = state.breaker.is_closed() && !state.topic_known && self.look_up_at <= state.now;
        unknown || state.breaker.is_due(state.now)
    }

    /// How long the next look-up may take.
    fn look_up_max(&self) -> Duration {
        let doublings = self.unanswered.min(16);
        LOOK_UP_MAX.min(LOOK_UP * (1 << doublings))
    }

    fn hear_nothing(&mut self, state: &mut State, place: &Place) {
        self.look_up_at = state.now + LOOK_UP_EVERY;
        self.answered = Duration::ZERO;
        self.silence = self.silence.saturating_add(1);
        self.unanswered = self.unanswered.saturating_add(1);
        if self.silence >= SILENCE && state.cause().is_none() {
            state.report(Trouble::unreachable(place, None));
        } else if !state.breaker.is_closed() {
            state.trip();
        }
    }

    fn see_stall(&mut self, state: &mut State, place: &Place) {
        // What waits here, for the circuit or for an answer, is no stall: its own trouble is told.
        if state.acks.upto() != self.upto || !state.is_all_sent() {
            (self.upto, self.still, self.answered) = (state.acks.upto(), Duration::ZERO, Duration::ZERO);
            return;
        }
        // Turns are counted, not the time told: a process that was stopped, or a thread that rested, was not stuck.
        self.answered += TURN;
        // The time of another trouble was that one's: once it is over, what is on its way gets its own.
        let is_well = state.cause().is_none() && state.breaker.is_closed();
        self.still = if is_well { self.still + TURN } else { Duration::ZERO };
        if self.answered >= STUCK {
            let reason =
                format!("nothing was confirmed for {} s although the brokers answer", STUCK.as_secs());
            state.break_down(&reason);
        } else if self.still >= STALL {
            let trouble = Trouble::stalled(place, state.last_failure.as_ref());
            state.report(trouble);
        }
    }
}

/// Why librdkafka did not even take a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Its queue is full.
    Full,
    /// The topic is gone.
    Topic,
    /// The message is too large.
    Refused,
    /// Something else, which passes or which the error callback tells.
    Other,
}

/// Puts a message that was not taken where it belongs.
pub(super) fn settle_unsent(state: &mut State, first: u64, message: Message, fault: Fault) {
    match fault {
        Fault::Refused => {
            let limit = state.batch_limit.after_client(message.size());
            state.refuse(first, RefusalCause::TooLarge { limit }, TOO_LARGE);
        }
        Fault::Full => state.keep(first, message),
        Fault::Topic if message.topic.is_some() => state.detour(first, message, GONE),
        Fault::Topic => {
            state.topic_known = false;
            state.keep_for_later(first, message);
        }
        Fault::Other => state.keep_for_later(first, message),
    }
}

/// Hands a message to librdkafka, or gives it back.
pub(super) fn send(
    producer: &BaseProducer<Context>,
    place: &Place,
    first: u64,
    message: Message,
) -> Result<(), (Fault, Message)> {
    let Message { topic, key, payload, headers, timestamp } = message;
    let to = topic.as_deref().unwrap_or(&place.topic);
    match hand_over(producer, to, first, (&key, &payload, timestamp), headers) {
        Ok(()) => Ok(()),
        Err((fault, headers)) => Err((fault, Message { topic, key, payload, headers, timestamp })),
    }
}

/// The same for borrowed bytes, which librdkafka copies: `(key, payload, milliseconds)`.
pub(super) fn hand_over(
    producer: &BaseProducer<Context>,
    topic: &str,
    first: u64,
    (key, payload, timestamp): (&[u8], &[u8], i64),
    headers: Option<OwnedHeaders>,
) -> Result<(), (Fault, Option<OwnedHeaders>)> {
    let record = BaseRecord {
        topic,
        partition: None,
        payload: Some(payload),
        key: Some(key),
        timestamp: Some(timestamp),
        headers,
        delivery_opaque: first as usize,
    };
    producer.send(record).map_err(|(error, record)| (fault(&error), record.headers))
}

fn fault(error: &KafkaError) -> Fault {
    match error.rdkafka_error_code() {
        Some(Code::QueueFull) => Fault::Full,
        Some(code) if doubts_topic(code) => Fault::Topic,
        Some(code) if fate(code) == Fate::TooLarge => Fault::Refused,
        _ => Fault::Other,
    }
}

/// A message is reported by the number of its first record, which travels as a pointer.
const _: () = assert!(usize::BITS >= 64, "record numbers must fit into a pointer");

#[cfg(test)]
mod tests {
    use super::super::acks::Load;
    use super::super::limit::BatchLimit;
    use super::super::state::Renewal;
    use super::*;
    use crate::units::{Now, Timestamp};

    fn place() -> Place {
        Place { brokers: "k:9092".into(), topic: "logs".into(), user: None }
    }

    fn sending() -> State {
        let config = Options::default().client_config().expect("good options");
        let mut state = State::new(BatchLimit::of(&config), 7);
        state.topic_known = true;
        state.acks.reach(1, 2);
        state.acks.open(&[1], Load::default());
        state.acks.open(&[2], Load::default());
        state
    }

    /// `seconds` of turns, in each of which the brokers answer or not when they are asked; how long it took until a
    /// new producer was wanted.
    fn turns(watch: &mut Watch, state: &mut State, seconds: u64, answer: bool) -> Option<u64> {
        let turns_a_second = 10;
        for turn in 0..seconds * turns_a_second {
            state.pass(TURN);
            watch.see_stall(state, &place());
            if watch.wants_look_up(state) {
                if answer { state.brokers_answer() } else { watch.hear_nothing(state, &place()) }
            }
            if state.renewal().is_some() {
                return Some(turn / turns_a_second);
            }
        }
        None
    }

    #[test]
    fn fault_050_a_minute_without_progress_takes_a_new_producer() {
        let (mut watch, mut state) = (Watch::default(), sending());
        assert_eq!(turns(&mut watch, &mut state, 4, true), None);
        assert_eq!(state.standing().trouble, None);
        assert_eq!(turns(&mut watch, &mut state, 2, true), None);
        assert_eq!(state.standing().trouble.as_deref(), Some("k:9092 does not confirm what was sent"));
        state.delivered(1); // progress
        assert_eq!(state.standing().trouble, None);
        assert_eq!(turns(&mut watch, &mut state, 100, true), Some(60));
        let Some(Renewal::Broken(reason)) = state.renewal() else { panic!("{:?}", state.renewal()) };
        assert_eq!(reason, "nothing was confirmed for 60 s although the brokers answer");
    }

    #[test]
    fn fault_054_silent_brokers_get_no_new_producer() {
        let (mut watch, mut state) = (Watch::default(), sending());
        assert_eq!(turns(&mut watch, &mut state, 600, false), None);
        // They answer again, and it is theirs to confirm: another minute.
        assert!(turns(&mut watch, &mut state, 100, true).is_some_and(|seconds| seconds >= 30));
    }

    #[test]
    fn fault_054_each_silence_makes_more_patient() {
        let (mut watch, mut state) = (Watch::default(), sending());
        for want in [500, 1_000, 2_000, 4_000, 8_000, 8_000] {
            assert_eq!(watch.look_up_max(), Duration::from_millis(want));
            watch.hear_nothing(&mut state, &place());
        }
        watch.unanswered = u32::MAX;
        watch.hear_nothing(&mut state, &place());
        assert_eq!(watch.look_up_max(), LOOK_UP_MAX);
    }

    #[test]
    fn a_stopped_process_is_not_stuck() {
        let (mut watch, mut state) = (Watch::default(), sending());
        state.tell(Now { arrival: Monotonic(7_000_000_000), wall: Timestamp(0) });
        watch.see_stall(&mut state, &place());
        assert_eq!(state.standing().trouble, None); // the first look is no stall either
        state.tell(Now { arrival: Monotonic(3_600_000_000_000), wall: Timestamp(0) });
        watch.see_stall(&mut state, &place());
        assert_eq!((state.renewal(), state.standing().trouble), (None, None));
    }

    #[test]
    fn what_waits_here_is_no_stall() {
        #[track_caller]
        fn check(wait: impl FnOnce(&mut State)) {
            let (mut watch, mut state) = (Watch::default(), sending());
            wait(&mut state);
            assert_eq!(turns(&mut watch, &mut state, 100, true), None);
            assert_eq!(state.standing().trouble, None);
        }
        check(|state| {
            state.acks.settle(1);
            state.acks.settle(2);
        });
        check(|state| state.refuse(1, RefusalCause::Invalid, "no"));
        check(|state| {
            state.keep(
                1,
                Message { topic: None, key: Vec::new(), payload: Vec::new(), headers: None, timestamp: 0 },
            );
        });
    }
}

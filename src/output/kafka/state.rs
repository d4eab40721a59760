//! What the offering thread and the polling thread share: the ack window, what came back, and what is wrong.
//!
//! Invariant: a record in the window is with librdkafka, in `returned`, or refused and unanswered.
//! Limit: `returned` holds only records that stand in the ack window, so the window's limits are its limits.
//!
//! Time comes from the offering thread with every call. In between the polling thread, which reads no clock, carries
//! it on by the length of its turns, which are never longer than they say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::acks::Acks;
use super::breaker::Breaker;
use super::limit::{BatchLimit, Verdict};
use super::message::{Message, Stamper, TIME_OFF_MAX};
use super::topics::{Route, Topics};
use super::trouble::{Cause, Detail, Trouble};
use crate::engine::record::LaneId;
use crate::output::{Refusal, RefusalCause, Refused, Standing};
use crate::units::{Bytes, Monotonic, Now, Timestamp};

/// See the module.
#[derive(Debug)]
pub(super) struct State {
    /// The lane of the records in the window.
    lane: LaneId,
    pub(super) acks: Acks,
    acked_records: u64,
    bytes_out: Bytes,
    /// What went over the network before this producer.
    wire_before: Bytes,
    /// What this producer sent.
    wire: Option<Bytes>,
    /// How often librdkafka has told its statistics.
    pub(super) statistics: u64,
    refused: Refused,
    /// Refused messages for which nobody has asked yet.
    refusals: Vec<Refusal>,
    /// Refused messages that have neither been replaced nor settled, each with the reason.
    unanswered: BTreeMap<u64, String>,
    /// Replacements on their way, so that a second refusal can be told as one.
    replaced: BTreeSet<u64>,
    /// Messages that have to be sent again, by the number of their first open record. Nothing new is sent before
    /// them.
    pub(super) returned: BTreeMap<u64, Message>,
    /// Some of them were taken out to be sent, and librdkafka does not have them all yet.
    sending_again: bool,
    pub(super) breaker: Breaker,
    /// The message that asks for all while the circuit is half-open.
    probe: Option<u64>,
    /// Whether the brokers know the topic. Nothing is sent before they do: librdkafka would give up on it.
    pub(super) topic_known: bool,
    /// The topics that streams have for themselves.
    pub(super) topics: Topics,
    /// How large a batch may be.
    pub(super) batch_limit: BatchLimit,
    /// How far a message's time may be from now.
    time_off_max: Duration,
    trouble: Option<Trouble>,
    /// What the last failed connection met.
    pub(super) last_failure: Option<Detail>,
    /// Why a new producer is needed.
    renewal: Option<Renewal>,
    pub(super) now: Monotonic,
    pub(super) wall: Timestamp,
    /// Something has happened that the offering thread may wait for.
    pub(super) bell: bool,
    /// It rings when fewer records than this are open.
    pub(super) ring_below: usize,
    /// All is delivered and the last statistics are waited for, so the polling thread must not rest.
    pub(super) settling: bool,
    /// The offering side has let go of its half of the producer; the polling thread ends.
    pub(super) closing: bool,
    /// The polling thread has ended and librdkafka is torn down.
    pub(super) stopped: bool,
}

/// Why a new producer is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    /// This one can do no more.
    Broken(String),
    /// A batch was larger than the topic takes; a new producer makes smaller ones.
    SmallerBatches,
}

/// How much may be handed to librdkafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Nothing,
    /// A message that asks for all.
    One,
    /// What the window holds.
    All,
}

impl State {
    /// The state of a first producer. `seed` is for the jitter.
    pub(super) fn new(batch_limit: BatchLimit, seed: u64) -> State {
        State {
            lane: LaneId::default(),
            acks: Acks::behind(0),
            acked_records: 0,
            bytes_out: Bytes(0),
            wire_before: Bytes(0),
            wire: None,
            statistics: 0,
            refused: Refused::default(),
            refusals: Vec::new(),
            unanswered: BTreeMap::new(),
            replaced: BTreeSet::new(),
            returned: BTreeMap::new(),
            sending_again: false,
            breaker: Breaker::new(seed),
            probe: None,
            topic_known: false,
            topics: Topics::default(),
            batch_limit,
            time_off_max: TIME_OFF_MAX,
            trouble: None,
            last_failure: None,
            renewal: None,
            now: Monotonic(0),
            wall: Timestamp(0),
            bell: false,
            ring_below: 0,
            settling: false,
            closing: false,
            stopped: false,
        }
    }

    /// The state of the next producer: it sends from behind the prefix, and counts on. What was wrong is shown until
    /// something goes well. The circuit stays as it is, so that a producer that breaks at once is not made again and
    /// again; a change that somebody else made is tried at once.
    pub(super) fn next(&self) -> State {
        let mut next = State::new(self.batch_limit, 0);
        (next.lane, next.acks) = (self.lane, Acks::behind(self.acks.upto()));
        (next.acked_records, next.bytes_out) = (self.acked_records, self.bytes_out);
        (next.wire_before, next.refused) = (self.bytes_wire().unwrap_or_default(), self.refused.clone());
        (next.now, next.wall, next.time_off_max) = (self.now, self.wall, self.time_off_max);
        (next.breaker, next.trouble) = (self.breaker.clone(), self.trouble.clone());
        next.topics = self.topics.clone();
        if let Some(trouble) = &mut next.trouble
            && matches!(trouble.cause, Cause::Stalled | Cause::Write | Cause::Broken)
        {
            trouble.cause = Cause::Past;
        }
        if !matches!(self.renewal, Some(Renewal::Broken(_))) {
            next.breaker.ask_now(next.now);
        }
        next
    }

    /// Takes the time from who has a clock.
    pub(super) fn tell(&mut self, now: Now) {
        self.now = self.now.max(now.arrival);
        self.wall = now.wall;
    }

    /// Carries the time on.
    pub(super) fn pass(&mut self, turn: Duration) {
        self.now = self.now + turn;
        self.wall = self.wall + turn;
    }

    /// Turns to another lane, which is possible when nothing of the last one is open; says whether this is it.
    pub(super) fn turn_to(&mut self, lane: LaneId) -> bool {
        if self.lane != lane && self.acks.all_open().records == 0 {
            (self.lane, self.acks) = (lane, Acks::behind(0));
        }
        self.lane == lane
    }

    /// What turns records' times into messages' times.
    pub(super) fn stamper(&self) -> Stamper {
        Stamper { wall: self.wall, off_max: self.time_off_max }
    }

    /// A message arrived.
    pub(super) fn delivered(&mut self, first: u64) {
        let before = self.acks.upto();
        let settled = self.acks.settle(first);
        self.acked_records += settled.records as u64;
        self.bytes_out += settled.bytes;
        self.replaced.remove(&first);
        if self.probe == Some(first) {
            self.recover();
        }
        self.settled(before);
    }

    /// The destination does not take this message. It stays open until somebody says what becomes of it.
    pub(super) fn refuse(&mut self, first: u64, cause: RefusalCause, reason: &str) {
        if !self.acks.is_open(first) || self.unanswered.contains_key(&first) {
            return;
        }
        let again = self.replaced.remove(&first);
        if self.refused.reason.is_none() && self.unanswered.is_empty() && !again {
            tracing::warn!(reason, record = first, "kafka refuses a record");
        }
        self.unanswered.insert(first, reason.to_owned());
        self.refusals.push(Refusal { seq: first, cause, again, reason: reason.to_owned() });
        if self.probe == Some(first) {
            // Whoever judges a record takes others.
            self.recover();
        }
        self.ring();
    }

    /// A broker refuses this message for its time: others may be further off than that by half at most.
    pub(super) fn distrust_times(&mut self, message: &Message) {
        let time = Timestamp(message.timestamp.saturating_mul(1_000_000));
        let off = time.since(self.wall).max(self.wall.since(time));
        self.time_off_max = self.time_off_max.min(off / 2);
    }

    /// A broker refuses a batch for its size. A message that travelled alone is refused itself; the others come back,
    /// to be sent in smaller batches.
    pub(super) fn batch_too_large(&mut self, first: u64, message: Message, reason: &str) {
        match self.batch_limit.judge(message.size()) {
            Verdict::Message { limit } => self.refuse(first, RefusalCause::TooLarge { limit }, reason),
            Verdict::Batch => {
                self.returned.insert(first, message);
            }
        }
    }

    /// What was refused since the last call.
    pub(super) fn take_refusals(&mut self) -> Vec<Refusal> {
        std::mem::take(&mut self.refusals)
    }

    /// A refused message found its end elsewhere.
    pub(super) fn settle_refused(&mut self, first: u64) {
        let Some(reason) = self.unanswered.remove(&first) else { return };
        let before = self.acks.upto();
        let settled = self.acks.settle(first);
        self.refused.records += settled.records as u64;
        self.refused.lines += settled.lines;
        self.refused.reason.get_or_insert(reason);
        self.settled(before);
    }

    /// A refused message is answered by this one, which holds the same records or some of them.
    pub(super) fn replace(&mut self, first: u64, message: Message) {
        self.unanswered.remove(&first);
        self.replaced.insert(first);
        self.returned.insert(first, message);
    }

    /// A message came back, or was not even taken, and has to be sent again when there is room.
    pub(super) fn keep(&mut self, first: u64, message: Message) {
        self.returned.insert(first, message);
        self.probe.take_if(|probe| *probe == first);
    }

    /// The same after an outage: not before the circuit allows it.
    pub(super) fn keep_for_later(&mut self, first: u64, message: Message) {
        self.returned.insert(first, message);
        self.trip();
    }

    /// A message came back from a topic that its stream has for itself. It goes to the topic of all, for whatever is wrong
    /// with one stream's topic must not hold up the others.
    pub(super) fn detour(&mut self, first: u64, mut message: Message, says: &str) {
        if let Some(topic) = message.topic.take() {
            self.topics.refuse(&topic, says, self.now);
        }
        self.keep(first, message);
    }

    /// Opens the circuit.
    pub(super) fn trip(&mut self) {
        self.breaker.trip(self.now);
        self.probe = None;
    }

    /// What may be sent again now, in order: all of it, or one message that asks for the others. Nothing new is sent
    /// until [`sent_again`](Self::sent_again): the offering thread would overtake it.
    pub(super) fn take_returned(&mut self) -> BTreeMap<u64, Message> {
        let mut taken = match self.room() {
            Room::All => std::mem::take(&mut self.returned),
            Room::One => {
                let oldest = self.returned.pop_first();
                self.probe = oldest.as_ref().map(|(first, _)| *first);
                oldest.into_iter().collect()
            }
            Room::Nothing => BTreeMap::new(),
        };
        let now = self.now;
        for message in taken.values_mut() {
            message.topic.take_if(|topic| self.topics.route(topic, now) != Route::Own);
        }
        self.sending_again = !taken.is_empty();
        taken
    }

    /// What was taken is with librdkafka, but for what is `left`.
    pub(super) fn sent_again(&mut self, left: impl IntoIterator<Item = (u64, Message)>) {
        self.returned.extend(left);
        self.sending_again = false;
        if self.returned.is_empty() {
            self.ring();
        }
    }

    /// Whether new records may be sent. What has to be sent again goes before them.
    pub(super) fn room_for_new(&self) -> Room {
        match self.room() {
            // What is on its way will tell.
            Room::One if self.acks.all_open().records > 0 => Room::Nothing,
            room if self.returned.is_empty() && !self.sending_again => room,
            _ => Room::Nothing,
        }
    }

    /// While the circuit is half-open, this message asks for all.
    pub(super) fn ask_with(&mut self, first: u64) {
        if self.breaker.is_half_open() {
            self.probe.get_or_insert(first);
        }
    }

    fn room(&self) -> Room {
        let ready = self.topic_known && self.renewal.is_none() && !self.batch_limit.is_in_doubt();
        if ready && self.breaker.is_closed() {
            Room::All
        } else if ready && self.breaker.is_half_open() && self.probe.is_none() {
            Room::One
        } else {
            Room::Nothing
        }
    }

    /// Shows a trouble, unless a deeper one is shown already, and opens the circuit.
    pub(super) fn report(&mut self, trouble: Trouble) {
        self.trip();
        let shown = self.trouble.as_ref().map(|shown| shown.cause);
        if shown > Some(trouble.cause) {
            return;
        }
        // Once for each change: the words may differ with every broker that is tried.
        if shown != Some(trouble.cause) {
            // In the message, not a field: a field is shown in quotes, with every quote of the sentence escaped.
            if trouble.cause == Cause::Broken {
                tracing::error!("kafka needs a new producer: {}", trouble.text);
            } else {
                tracing::warn!("kafka waits: {}", trouble.text);
            }
            self.ring();
        }
        self.trouble = Some(trouble);
    }

    /// The producer can do no more.
    pub(super) fn break_down(&mut self, reason: &str) {
        if self.renewal.is_none() {
            self.renewal = Some(Renewal::Broken(reason.to_owned()));
            self.report(Trouble::broken(reason));
            self.ring();
        }
    }

    /// Makes smaller batches, which takes a new producer.
    pub(super) fn lower_batches(&mut self, topic_max: Option<usize>) {
        self.batch_limit.lower(topic_max);
        self.renewal.get_or_insert(Renewal::SmallerBatches);
        self.ring();
    }

    /// The brokers know the topic, so whoever asked has been reached, let in and heard. That ends what was wrong,
    /// unless only a record can tell.
    pub(super) fn brokers_answer(&mut self) {
        let told = matches!(self.cause(), None | Some(Cause::Reach | Cause::Secure | Cause::Topic));
        if told && self.breaker.is_half_open() && self.returned.is_empty() {
            self.recover();
        }
        self.ring();
    }

    /// All is well: the circuit is closed.
    pub(super) fn recover(&mut self) {
        if self.renewal.is_some() {
            return;
        }
        self.breaker.close();
        self.probe = None;
        if self.trouble.take().is_some() {
            tracing::info!("kafka is well again");
            self.last_failure = None;
        }
        self.ring();
    }

    /// Where the trouble lies.
    pub(super) fn cause(&self) -> Option<Cause> {
        self.trouble.as_ref().map(|trouble| trouble.cause)
    }

    /// Why a new producer is needed.
    pub(super) fn renewal(&self) -> Option<&Renewal> {
        self.renewal.as_ref()
    }

    /// Whether librdkafka alone can make the prefix move: nothing waits for the circuit or for an answer.
    pub(super) fn is_all_sent(&self) -> bool {
        self.acks.all_open().records > 0 && self.returned.is_empty() && self.unanswered.is_empty()
    }

    /// Whether no report can come, nothing is wrong, and nobody waits.
    pub(super) fn is_idle(&self) -> bool {
        let waited_for = self.settling || self.closing;
        let asks = self.topics.wanted(self.now).is_some();
        let is_well = self.topic_known && self.breaker.is_closed();
        self.acks.all_open().records == 0 && is_well && !asks && !waited_for
    }

    /// Takes what librdkafka has counted.
    pub(super) fn take_statistics(&mut self, wire: Bytes) {
        self.wire = Some(wire);
        self.statistics += 1;
        self.ring();
    }

    /// Lets the offering thread wake up.
    pub(super) fn ring(&mut self) {
        self.bell = true;
    }

    /// Waits for the next ring: when a quarter of what is open now has settled, so that one wake-up makes
    /// room worth waking for.
    pub(super) fn mute(&mut self) {
        self.bell = false;
        self.ring_below = self.acks.all_open().records.div_ceil(4) * 3;
    }

    /// See [`Standing`].
    pub(super) fn standing(&self) -> Standing {
        let open = self.acks.all_open();
        Standing {
            acked_upto: self.acks.upto(),
            acked_records: self.acked_records,
            in_flight_records: open.records as u64,
            in_flight_bytes: open.bytes,
            in_flight_lines: open.lines,
            refused: self.refused.clone(),
            bytes_out: self.bytes_out,
            bytes_wire: self.bytes_wire(),
            trouble: self.trouble.as_ref().map(|trouble| trouble.text.clone()),
            trouble_since: self.breaker.since(),
            needs_reopening: self.renewal.is_some(),
        }
    }

    fn bytes_wire(&self) -> Option<Bytes> {
        match self.wire {
            None if self.wire_before == Bytes(0) => None,
            wire => Some(self.wire_before + wire.unwrap_or_default()),
        }
    }

    /// Only a prefix that moves is progress: other partitions may do well while one is stuck. What waits to be sent
    /// again asks for itself.
    fn settled(&mut self, before: u64) {
        if self.acks.upto() != before && self.returned.is_empty() && !self.breaker.is_closed() {
            self.recover();
        }
        if self.acks.all_open().records < self.ring_below {
            self.ring_below = 0;
            self.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::acks::Load;
    use super::super::options::Options;
    use super::*;
    use crate::units::Lines;

    fn message() -> Message {
        Message { topic: None, key: Vec::new(), payload: b"{}".to_vec(), headers: None, timestamp: 0 }
    }

    /// A state with these records on their way.
    fn sending(seqs: std::ops::RangeInclusive<u64>) -> State {
        let config = Options::default().client_config().expect("good options");
        let mut state = State::new(BatchLimit::of(&config), 7);
        state.topic_known = true;
        for seq in seqs {
            state.acks.reach(seq, seq);
            state.acks.open(&[seq], Load { lines: Lines(1), bytes: 2, millis: 0 });
        }
        state
    }

    fn trouble(cause: Cause) -> Trouble {
        Trouble { cause, text: format!("{cause:?}") }
    }

    fn again(state: &mut State) -> Vec<u64> {
        let taken = state.take_returned();
        state.sent_again([]);
        taken.into_keys().collect()
    }

    /// Lets the longest back-off pass, and asks.
    fn back_off(state: &mut State) {
        state.pass(Duration::from_secs(30));
        assert!(state.breaker.is_due(state.now));
    }

    #[test]
    fn one_record_asks_for_all() {
        let mut state = sending(1..=4);
        for first in [3, 1, 2] {
            state.keep_for_later(first, message());
            state.report(trouble(Cause::Write));
        }
        assert_eq!((again(&mut state), state.room_for_new()), (vec![], Room::Nothing));
        back_off(&mut state);
        assert_eq!((again(&mut state), again(&mut state)), (vec![1], vec![])); // the oldest, once
        state.brokers_answer();
        state.delivered(4); // another partition does well
        assert_eq!(again(&mut state), Vec::<u64>::new());
        state.keep_for_later(1, message()); // it failed
        assert_eq!(again(&mut state), Vec::<u64>::new());
        back_off(&mut state);
        assert_eq!(again(&mut state), vec![1]);
        assert!(state.standing().trouble.is_some());
        state.delivered(1);
        assert_eq!((again(&mut state), state.room_for_new()), (vec![2, 3], Room::All));
        let standing = state.standing();
        assert_eq!((standing.trouble, standing.trouble_since, standing.acked_upto), (None, None, 1));
    }

    #[test]
    fn fault_057_nothing_new_overtakes_what_is_sent_again() {
        let mut state = sending(1..=3);
        // librdkafka's queue was full for these.
        state.keep(2, message());
        state.keep(3, message());
        assert_eq!(state.room_for_new(), Room::Nothing);
        let mut taken = state.take_returned();
        assert_eq!((taken.len(), state.room_for_new()), (2, Room::Nothing), "they are on their way to it");
        let last = taken.pop_last();
        state.sent_again(last);
        assert_eq!(state.room_for_new(), Room::Nothing, "it was full again");
        assert_eq!((again(&mut state), state.room_for_new()), (vec![3], Room::All));
        assert_eq!((again(&mut state), state.room_for_new()), (vec![], Room::All));
    }

    #[test]
    fn an_answer_ends_what_only_reaching_them_was() {
        #[track_caller]
        fn check(cause: Cause, room: Room) {
            let mut state = sending(1..=1);
            state.report(trouble(cause));
            state.brokers_answer(); // to a question from before
            assert_eq!(state.room_for_new(), Room::Nothing);
            back_off(&mut state);
            state.brokers_answer();
            assert_eq!(state.room_for_new(), room, "{cause:?}");
        }
        check(Cause::Reach, Room::All);
        check(Cause::Secure, Room::All);
        check(Cause::Topic, Room::All);
        check(Cause::Stalled, Room::Nothing); // the record on its way decides
        check(Cause::Past, Room::Nothing);
    }

    #[test]
    fn deeper_troubles_hide_others() {
        let mut state = sending(1..=1);
        state.tell(Now { arrival: Monotonic(5), wall: Timestamp(0) });
        for (cause, shown) in [
            (Cause::Reach, "Reach"),
            (Cause::Topic, "Topic"),
            (Cause::Write, "Topic"),
            (Cause::Secure, "Topic"),
        ] {
            state.report(trouble(cause));
            state.pass(Duration::from_secs(1));
            assert_eq!(state.standing().trouble.as_deref(), Some(shown));
            assert_eq!(state.standing().trouble_since, Some(Monotonic(5)));
        }
        state.delivered(1);
        assert_eq!(state.standing().trouble, None);
    }

    #[test]
    fn a_new_producer_goes_on_where_the_last_one_was() {
        let mut state = sending(1..=4);
        state.delivered(1);
        state.delivered(3);
        state.take_statistics(Bytes(100));
        state.break_down("it is fenced");
        let mut next = state.next();
        let standing = next.standing();
        assert_eq!((standing.acked_upto, standing.acked_records, standing.in_flight_records), (1, 2, 0));
        assert_eq!((standing.bytes_wire, standing.needs_reopening), (Some(Bytes(100)), false));
        assert_eq!(standing.trouble.as_deref(), Some("the Kafka producer is broken: it is fenced"));
        next.take_statistics(Bytes(7));
        assert_eq!(next.standing().bytes_wire, Some(Bytes(107)));
        // It has to wait, and to show that it does better.
        next.topic_known = true;
        next.brokers_answer();
        assert_eq!(next.room_for_new(), Room::Nothing);
        back_off(&mut next);
        assert_eq!(next.room_for_new(), Room::One);
        next.acks.reach(2, 2);
        next.acks.open(&[2], Load::default());
        next.ask_with(2);
        assert_eq!(next.room_for_new(), Room::Nothing);
        next.delivered(2);
        assert_eq!((next.room_for_new(), next.standing().trouble), (Room::All, None));
    }

    #[test]
    fn a_trouble_that_is_carried_over_does_not_last() {
        #[track_caller]
        fn check(cause: Cause) {
            let mut state = sending(1..=1);
            state.report(trouble(cause));
            state.lower_batches(None);
            let mut next = state.next();
            next.topic_known = true;
            assert!(next.breaker.is_due(next.now), "a new producer is tried at once");
            next.brokers_answer();
            if next.room_for_new() == Room::One {
                next.acks.reach(1, 1);
                next.acks.open(&[1], Load::default());
                next.ask_with(1);
                next.delivered(1);
            }
            assert_eq!((next.room_for_new(), next.standing().trouble), (Room::All, None), "{cause:?}");
        }
        for cause in [Cause::Past, Cause::Reach, Cause::Stalled, Cause::Secure, Cause::Write, Cause::Topic] {
            check(cause);
        }
    }

    #[test]
    fn refusals_wait_for_an_answer_and_hold_nobody_up() {
        let mut state = sending(1..=3);
        state.refuse(2, RefusalCause::Invalid, "no");
        state.refuse(2, RefusalCause::Invalid, "no"); // a late echo
        assert_eq!(state.take_refusals().len(), 1);
        assert_eq!(state.take_refusals(), []);
        assert_eq!(state.room_for_new(), Room::All);
        state.delivered(1);
        state.delivered(3);
        assert_eq!(state.acks.upto(), 1);
        assert!(!state.is_all_sent()); // so that this is no stall
        state.settle_refused(9); // nobody was refused under this number
        assert_eq!((state.acks.upto(), state.standing().refused.records), (1, 0));
        state.settle_refused(2);
        assert_eq!((state.acks.upto(), state.standing().refused.records), (3, 1));
    }
}

//! What the offering thread and the polling thread share: the ack window, what came back, and what is wrong.
//!
//! Invariant: a record in the window is with librdkafka, in an open message, or in `returned`.
//! Limit: `returned` holds only records that stand in the ack window, so the window's limits are its limits.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::message::OwnedHeaders;

use super::acks::Acks;
use super::trouble::{Cause, Detail, Trouble};
use crate::output::{Refused, Standing};
use crate::units::Bytes;

/// A message on its way, as librdkafka gives it back.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) key: Vec<u8>,
    pub(super) payload: Vec<u8>,
    pub(super) headers: OwnedHeaders,
    /// Milliseconds since the epoch.
    pub(super) timestamp: i64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct State {
    pub(super) acks: Acks,
    acked_records: u64,
    bytes_out: Bytes,
    pub(super) bytes_wire: Option<Bytes>,
    /// How often librdkafka has told its statistics.
    pub(super) statistics: u64,
    refused: Refused,
    /// Messages that have to be sent again, by the number of their first record. Nothing new is sent before
    /// them.
    pub(super) returned: BTreeMap<u64, Message>,
    /// Turns of the polling thread to wait before they are.
    pub(super) back_off: u32,
    /// Whether the brokers know the topic. Nothing is sent before they do: librdkafka would give up on it.
    pub(super) topic_known: bool,
    trouble: Option<Trouble>,
    /// What the last failed connection met.
    pub(super) last_failure: Option<Detail>,
    /// Why the producer can do no more.
    broken: Option<String>,
    /// Something has happened that the offering thread may wait for.
    bell: bool,
    /// It rings when fewer records than this are open.
    ring_below: usize,
    /// All is delivered and the last statistics are waited for, so the polling thread must not rest.
    pub(super) settling: bool,
    /// The offering side has let go of its half of the producer; the polling thread ends.
    pub(super) closing: bool,
    /// The polling thread has ended and librdkafka is torn down.
    pub(super) stopped: bool,
}

/// The state behind its lock.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Wakes the offering thread: the bell rang.
    changed: Condvar,
    /// Wakes the polling thread: there is something to poll for, or nothing ever again.
    roused: Condvar,
}

impl Shared {
    pub(super) fn new() -> Shared {
        let state = State {
            acks: Acks::new(),
            acked_records: 0,
            bytes_out: Bytes(0),
            bytes_wire: None,
            statistics: 0,
            refused: Refused::default(),
            returned: BTreeMap::new(),
            back_off: 0,
            topic_known: false,
            trouble: None,
            last_failure: None,
            broken: None,
            bell: false,
            ring_below: 0,
            settling: false,
            closing: false,
            stopped: false,
        };
        Shared { state: Mutex::new(state), changed: Condvar::new(), roused: Condvar::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere ends the process; where it does not (tests), the counts are still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes the offering thread if the bell rang.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let rang_before = state.bell;
        let result = change(&mut state);
        // One wake-up a ring: a futex call for every delivery report would cost more than the report.
        if state.bell && !rang_before {
            self.changed.notify_all();
        }
        result
    }

    /// Sleeps until the bell rings or the time is over.
    pub(super) fn wait_for_bell(&self, at_most: Duration) {
        sleep(&self.changed, self.lock(), at_most, |state| !state.bell).mute();
    }

    /// Sleeps until `done`, or the time is over; says whether it is done.
    pub(super) fn wait_until(&self, at_most: Duration, done: impl Fn(&State) -> bool) -> bool {
        let state = sleep(&self.changed, self.lock(), at_most, |state| {
            state.bell = false;
            state.ring_below = 1;
            !done(state)
        });
        done(&state)
    }

    /// Sleeps while there is nothing to poll for; says whether there was nothing.
    pub(super) fn rest(&self, at_most: Duration) -> bool {
        let state = self.lock();
        let idle = state.is_idle();
        drop(sleep(&self.roused, state, at_most, |state| state.is_idle()));
        idle
    }

    /// Ends the polling thread's rest.
    pub(super) fn rouse(&self) {
        self.roused.notify_one();
    }
}

fn sleep<'a>(
    condvar: &Condvar,
    state: MutexGuard<'a, State>,
    at_most: Duration,
    more: impl FnMut(&mut State) -> bool,
) -> MutexGuard<'a, State> {
    condvar.wait_timeout_while(state, at_most, more).unwrap_or_else(PoisonError::into_inner).0
}

impl State {
    /// A message arrived.
    pub(super) fn delivered(&mut self, first: u64) {
        let before = self.acks.upto();
        let settled = self.acks.settle(first);
        self.acked_records += settled.records as u64;
        self.bytes_out += settled.bytes;
        self.settled(before);
    }

    /// The destination will never take this message.
    pub(super) fn refuse(&mut self, first: u64, reason: &str) {
        let before = self.acks.upto();
        let settled = self.acks.settle(first);
        self.refused.records += settled.records as u64;
        self.refused.lines += settled.lines;
        if settled.records > 0 && self.refused.reason.is_none() {
            tracing::error!(reason, "kafka refuses a record for good");
            self.refused.reason = Some(reason.to_owned());
        }
        self.settled(before);
    }

    /// A message came back and has to be sent again.
    pub(super) fn keep(&mut self, first: u64, message: Message, back_off: u32) {
        self.returned.insert(first, message);
        self.back_off = self.back_off.max(back_off);
    }

    /// Shows a trouble, unless a deeper one is shown already.
    pub(super) fn report(&mut self, trouble: Trouble) {
        let hidden = self.trouble.as_ref().is_some_and(|shown| shown.cause > trouble.cause);
        if hidden || self.trouble.as_ref() == Some(&trouble) {
            return;
        }
        // In the message, not a field: a field is shown in quotes, with every quote of the sentence escaped.
        if trouble.cause == Cause::Broken {
            tracing::error!("kafka cannot go on: {}", trouble.text);
        } else {
            tracing::warn!("kafka waits: {}", trouble.text);
        }
        self.trouble = Some(trouble);
        self.ring();
    }

    /// The producer can do no more.
    pub(super) fn break_down(&mut self, reason: &str) {
        self.broken.get_or_insert_with(|| reason.to_owned());
        self.report(Trouble::broken(reason));
    }

    /// Takes back what was said about these causes, for they are cured.
    pub(super) fn cure(&mut self, is_cured: impl Fn(Cause) -> bool) {
        if self.trouble.as_ref().is_some_and(|trouble| is_cured(trouble.cause)) {
            tracing::info!("kafka is well again");
            self.trouble = None;
            self.last_failure = None;
        }
    }

    /// Where the trouble lies.
    pub(super) fn cause(&self) -> Option<Cause> {
        self.trouble.as_ref().map(|trouble| trouble.cause)
    }

    /// Why the producer can do no more.
    pub(super) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Whether new records may be sent.
    pub(super) fn accepts(&self) -> bool {
        self.topic_known && self.returned.is_empty()
    }

    /// Whether no report can come, nothing is wrong, and nobody waits.
    fn is_idle(&self) -> bool {
        let waited_for = self.settling || self.closing;
        self.acks.open().records == 0 && self.topic_known && self.trouble.is_none() && !waited_for
    }

    /// Lets the offering thread wake up.
    pub(super) fn ring(&mut self) {
        self.bell = true;
    }

    /// Waits for the next ring: when a quarter of what is open now has settled, so that one wake-up makes
    /// room worth waking for.
    pub(super) fn mute(&mut self) {
        self.bell = false;
        self.ring_below = self.acks.open().records.div_ceil(4) * 3;
    }

    /// See [`Standing`].
    pub(super) fn standing(&self) -> Standing {
        let open = self.acks.open();
        Standing {
            acked_upto: self.acks.upto(),
            acked_records: self.acked_records,
            in_flight_records: open.records as u64,
            in_flight_bytes: open.bytes,
            in_flight_lines: open.lines,
            refused: self.refused.clone(),
            bytes_out: self.bytes_out,
            bytes_wire: self.bytes_wire,
            trouble: self.trouble.as_ref().map(|trouble| trouble.text.clone()),
        }
    }

    /// Only a prefix that moves is progress: other partitions may do well while one is stuck.
    fn settled(&mut self, before: u64) {
        if self.acks.upto() != before {
            self.cure(|cause| cause < Cause::Broken);
        }
        if self.acks.open().records < self.ring_below {
            self.ring_below = 0;
            self.ring();
        }
    }
}

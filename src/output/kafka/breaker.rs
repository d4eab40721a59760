//! The circuit: when to try again after an outage.
//!
//! librdkafka reconnects by itself and keeps what it was given. The circuit adds what it does not do: while something
//! is wrong nothing new is handed over, so that it waits on the disk instead of in memory; what came back is not sent
//! whole again and again, but one record asks for all; and a fleet does not ask in step.
//!
//! Closed: all is well. An outage opens it. Open: nothing is tried until the back-off is over. Half-open: the brokers
//! are asked for the topic and one record is sent. A success closes it, a failure opens it for twice as long.
//! Time is an argument; the jitter comes from a seed.

use std::time::Duration;

use crate::output::back_off::BackOff;
use crate::units::Monotonic;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Breaker {
    phase: Phase,
    /// When it left `Closed`.
    since: Monotonic,
    back_off: BackOff,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Closed,
    Open { until: Monotonic },
    HalfOpen { ask_again: Monotonic },
}

impl Breaker {
    /// A closed circuit.
    pub(super) fn new(seed: u64) -> Breaker {
        Breaker {
            phase: Phase::Closed,
            since: Monotonic(0),
            back_off: BackOff::new(BACK_OFF, BACK_OFF_MAX, seed),
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Whether one record may ask for all.
    pub(super) fn is_half_open(&self) -> bool {
        matches!(self.phase, Phase::HalfOpen { .. })
    }

    /// Since when it is not closed.
    pub(super) fn since(&self) -> Option<Monotonic> {
        (!self.is_closed()).then_some(self.since)
    }

    /// An outage was seen, or a probe failed. While it is open this changes nothing: a window of messages that comes
    /// back is one failure.
    pub(super) fn trip(&mut self, now: Monotonic) {
        if matches!(self.phase, Phase::Open { .. }) {
            return;
        }
        if self.is_closed() {
            self.since = now;
        }
        self.phase = Phase::Open { until: now + self.back_off.failed() };
    }

    /// Something went well.
    pub(super) fn close(&mut self) {
        self.phase = Phase::Closed;
        self.back_off.worked();
    }

    /// Ends the back-off, for something has changed that may help.
    pub(super) fn ask_now(&mut self, now: Monotonic) {
        if !self.is_closed() {
            self.phase = Phase::Open { until: now };
        }
    }

    /// Whether the brokers are to be asked now. Ends the back-off; a circuit that stays half-open asks again.
    pub(super) fn is_due(&mut self, now: Monotonic) -> bool {
        let due = match self.phase {
            Phase::Closed => return false,
            Phase::Open { until } => until <= now,
            Phase::HalfOpen { ask_again } => ask_again <= now,
        };
        if due {
            self.phase = Phase::HalfOpen { ask_again: now + ASK_AGAIN };
        }
        due
    }
}

/// The first back-off.
const BACK_OFF: Duration = Duration::from_secs(1);
/// The longest one.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);
/// How often a half-open circuit asks the brokers while its record is on its way: so that it is known whether they
/// work at all.
const ASK_AGAIN: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: f64) -> Monotonic {
        Monotonic((seconds * 1e9) as u64)
    }

    /// The back-off that follows a failure at `now`.
    fn wait_after(breaker: &mut Breaker, now: Monotonic) -> Duration {
        breaker.trip(now);
        let Phase::Open { until } = breaker.phase else { panic!("{breaker:?}") };
        until.since(now)
    }

    #[test]
    fn failures_wait_longer_each_time() {
        let mut breaker = Breaker::new(7);
        assert!(breaker.is_closed() && breaker.since().is_none() && !breaker.is_due(at(0.0)));
        let mut now = at(100.0);
        for most in [1, 2, 4, 8, 16, 30, 30, 30] {
            let most = Duration::from_secs(most);
            let wait = wait_after(&mut breaker, now);
            assert!(wait >= most / 2 && wait <= most, "{wait:?} of {most:?}");
            let open = breaker.phase;
            breaker.trip(now + wait / 2); // the rest of the window comes back
            assert_eq!(breaker.phase, open);
            assert!(!breaker.is_due(now + wait / 2));
            now = now + wait;
            assert!(breaker.is_due(now) && breaker.is_half_open());
            assert!(!breaker.is_due(now)); // asked once
            assert_eq!(breaker.since(), Some(at(100.0)));
        }
        assert!(breaker.is_due(now + ASK_AGAIN)); // the record is still on its way
        breaker.close();
        assert!(breaker.is_closed() && breaker.since().is_none());
        assert!(wait_after(&mut breaker, now) <= BACK_OFF);
        assert_eq!(breaker.since(), Some(now));
    }

    #[test]
    fn a_fleet_does_not_ask_in_step() {
        let waits: Vec<_> = (0..100).map(|seed| wait_after(&mut Breaker::new(seed), at(0.0))).collect();
        let early = waits.iter().filter(|wait| **wait < BACK_OFF * 3 / 4).count();
        assert!((30..=70).contains(&early), "{early}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever happens when, it is never open for longer than 30 s without asking.
        #[test]
        fn it_always_asks_again(seed in any::<u64>(), steps in prop::collection::vec((0u64..40_000, 0u8..3), 0..50)) {
            let (mut breaker, mut now) = (Breaker::new(seed), at(0.0));
            for (ms, step) in steps {
                now = now + Duration::from_millis(ms);
                match step {
                    0 => breaker.trip(now),
                    1 => breaker.close(),
                    _ => drop(breaker.is_due(now)),
                }
                prop_assert_eq!(breaker.is_closed(), breaker.since().is_none());
                let mut later = breaker.clone();
                prop_assert!(later.is_closed() || later.is_due(now + BACK_OFF_MAX));
            }
        }
    }
}

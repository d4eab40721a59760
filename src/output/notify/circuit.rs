//! The circuit of one receiver: when to try again after a failure.
//!
//! Closed: messages go out. A failure opens it, and nothing is sent until the back-off is over; then one message asks for
//! all, and its failure opens the circuit for twice as long. So a receiver that is down costs one request at a time, ever
//! less often. Time is an argument; the jitter comes from a seed, so that a fleet does not ask in step.

use std::time::Duration;

use crate::output::back_off::BackOff;
use crate::units::Monotonic;

/// The first back-off.
const BACK_OFF: Duration = Duration::from_secs(1);
/// The longest one: an alert that is told five minutes late is better than none.
const BACK_OFF_MAX: Duration = Duration::from_secs(300);

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Circuit {
    /// Nothing is sent before this.
    open_until: Option<Monotonic>,
    back_off: BackOff,
}

impl Circuit {
    /// A closed circuit.
    pub(super) fn new(seed: u64) -> Circuit {
        Circuit { open_until: None, back_off: BackOff::new(BACK_OFF, BACK_OFF_MAX, seed) }
    }

    /// Whether something may be sent.
    pub(super) fn lets_through(&self, now: Monotonic) -> bool {
        self.open_until.is_none_or(|until| until <= now)
    }

    /// When something may be sent again; `None` where it may at any time.
    pub(super) fn open_until(&self) -> Option<Monotonic> {
        self.open_until
    }

    /// It did not work, and is not tried again for as long as the receiver asks.
    pub(super) fn failed(&mut self, now: Monotonic, asked: Option<Duration>) {
        let wait = self.back_off.failed().max(asked.unwrap_or_default().min(BACK_OFF_MAX));
        self.open_until = Some(now + wait);
    }

    /// It worked. True when it had not before.
    pub(super) fn worked(&mut self) -> bool {
        self.open_until = None;
        self.back_off.worked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic(seconds * 1_000_000_000)
    }

    #[test]
    fn failures_wait_longer_each_time() {
        let mut circuit = Circuit::new(7);
        assert!(circuit.lets_through(at(0)) && !circuit.worked());
        let mut now = at(100);
        for most in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            circuit.failed(now, None);
            let until = circuit.open_until().expect("it is open");
            let (wait, most) = (until.since(now), Duration::from_secs(most));
            assert!(wait >= most / 2 && wait <= most, "{wait:?} of {most:?}");
            assert!(!circuit.lets_through(now) && circuit.lets_through(until));
            now = until;
        }
        assert!(circuit.worked() && circuit.lets_through(now));
        circuit.failed(now, None);
        assert!(circuit.open_until() <= Some(now + BACK_OFF), "it begins anew");
    }

    #[test]
    fn the_receiver_may_ask_for_more() {
        #[track_caller]
        fn check(asked: u64, least: u64, most: u64) {
            let mut circuit = Circuit::new(1);
            circuit.failed(at(0), Some(Duration::from_secs(asked)));
            let until = circuit.open_until().expect("it is open");
            assert!(until >= at(least) && until <= at(most), "{until:?}");
        }
        check(0, 0, 1);
        check(30, 30, 30);
        check(1_000_000, 300, 300); // but not for ever
    }
}

//! Log time: the clock of one standard stream, driven by the times of its lines.
//!
//! In: a line's own time, if it has one, and the reading of our clocks. Out: a time that never runs backwards.
//! Invariant: each answer is at least the one before, and none leads the wall clock further than [`AHEAD_MAX`],
//! unless the wall clock itself was set back by more than that: then the answers wait for it at half speed.
//! Not here: the time shown on the record; that is the line's own, as found.

use std::time::Duration;

use crate::units::{Monotonic, Now, Timestamp};

/// The log time of one standard stream.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// The last answer, with the arrival time at which it was given.
    pub(super) last: Option<(Timestamp, Monotonic)>,
    /// How far the last line with a time of its own was behind the wall clock, in nanoseconds.
    pub(super) lag: i64,
}

impl Clock {
    /// The log time of a line that says `own` about itself and was read at `now`.
    ///
    /// A line without a time counts as written as long ago as the timed line before it: the stack traces in an hour
    /// of backlog belong to that hour, and must not pull the clock to the present.
    #[inline]
    pub(super) fn log_time(&mut self, own: Option<Timestamp>, now: Now) -> Timestamp {
        let claimed = own.unwrap_or(Timestamp(now.wall.0.saturating_sub(self.lag))).min(now.wall + AHEAD_MAX);
        let log_time = match self.last {
            // Standing still would squeeze all lines until the clocks agree again into one instant, which is what a
            // storm looks like. At half the speed of arrival the clock is caught up with, and rates stay plausible.
            Some((last, arrival)) if claimed < last => last + now.arrival.since(arrival) / 2,
            _ => claimed,
        };
        if own.is_some() {
            self.lag = now.wall.0.saturating_sub(log_time.0);
        }
        self.last = Some((log_time, now.arrival));
        log_time
    }
}

/// How far a line may lead the wall clock: more than clocks of machines that keep time differ, and little enough
/// that one line from the far future cannot hold the stream's clock for long.
const AHEAD_MAX: Duration = Duration::from_secs(5 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = Timestamp::SECOND;
    const START: i64 = 1_770_000_000;

    /// Our clocks, `wall` and `arrival` seconds after the start.
    fn now(wall: i64, arrival: u64) -> Now {
        Now { arrival: Monotonic(arrival * 1_000_000_000), wall: at(wall) }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp((START + seconds) * SECOND)
    }

    #[test]
    fn a_line_without_a_time_keeps_the_distance_of_the_timed_one() {
        let mut clock = Clock::default();
        assert_eq!(clock.log_time(None, now(0, 0)), at(0), "nothing is known: arrival");
        let mut backlog = Clock::default();
        assert_eq!(backlog.log_time(Some(at(-3600)), now(0, 0)), at(-3600));
        assert_eq!(backlog.log_time(None, now(0, 0)), at(-3600));
        assert_eq!(backlog.log_time(None, now(2, 2)), at(-3598));
        assert_eq!(backlog.log_time(Some(at(-3500)), now(2, 2)), at(-3500));
    }

    #[test]
    fn one_line_from_the_future_does_not_pin_the_clock() {
        let mut clock = Clock::default();
        assert_eq!(clock.log_time(Some(at(0)), now(0, 0)), at(0));
        assert_eq!(clock.log_time(Some(at(86_400 * 365)), now(0, 0)), at(300));
        assert_eq!(clock.log_time(Some(at(100)), now(100, 100)), at(350), "half speed");
        for second in 101..600 {
            let true_time = at(second);
            let log_time = clock.log_time(Some(true_time), now(second, second.unsigned_abs()));
            assert!(log_time >= true_time && log_time < true_time + AHEAD_MAX);
        }
        assert_eq!(clock.log_time(Some(at(600)), now(600, 600)), at(600), "caught up");
    }

    #[test]
    fn fault_035_wall_clock_jumps() {
        let day = 86_400;
        let mut clock = Clock::default();
        assert_eq!(clock.log_time(Some(at(0)), now(0, 0)), at(0));
        assert_eq!(clock.log_time(Some(at(day)), now(day, 1)), at(day), "forwards: followed");
        // Backwards: every second still takes time, timed or not.
        assert_eq!(clock.log_time(Some(at(2)), now(2, 2)), at(day) + Duration::from_millis(500));
        assert_eq!(clock.log_time(None, now(4, 4)), at(day) + Duration::from_millis(1500));
        assert_eq!(clock.log_time(Some(at(3 * day)), now(3 * day, 5)), at(3 * day), "and recovers");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn never_backwards_never_far_ahead(
            lines in prop::collection::vec((prop::option::of(any::<i64>()), -1_000_000i64..1_000_000, 0u64..600), 1..50)
        ) {
            let (mut clock, mut last, mut arrival) = (Clock::default(), Timestamp(i64::MIN), 0);
            for (own, wall, waited) in lines {
                arrival += waited;
                let now = now(wall, arrival);
                let log_time = clock.log_time(own.map(Timestamp), now);
                prop_assert!(log_time >= last);
                let slowed = last + Duration::from_secs(waited) / 2;
                prop_assert!(log_time <= (now.wall + AHEAD_MAX).max(slowed));
                last = log_time;
            }
        }
    }
}

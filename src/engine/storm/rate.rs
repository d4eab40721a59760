//! How often an entry speaks: lines in the last 10 s of log time, and its own long-term baseline.
//!
//! Log time comes as whole seconds. The state moves only when a second ends, so that a storm of a million lines a
//! second pays for one comparison and one addition a line.

use serde::{Deserialize, Serialize};

use super::burst::Minutes;

/// The window in which a storm is recognised, in seconds of log time (`accounting.md`).
pub const WINDOW: i64 = 10;
/// The time constant of the baseline's exponentially weighted average, in seconds: 10 minutes.
const BASELINE_TIME: f64 = 600.0;
/// A baseline is believed after this many seconds: 2 minutes.
const BASELINE_KNOWN_AFTER: i64 = 120;

/// Line counts of one entry, by the second.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rate {
    /// The second that is being counted.
    second: i64,
    /// The last [`WINDOW`] seconds; `counts[second % WINDOW]` is the current one.
    counts: [u32; WINDOW as usize],
    /// Where the current one stands.
    current: u8,
    /// Their sum.
    in_window: u32,
    /// The first second ever counted.
    since: i64,
    /// The weighted average of lines a second, over all finished seconds, not yet corrected for its start at zero.
    average: f64,
    /// What `average` would be for one line every second: the correction.
    weight: f64,
    /// The longer window, in which a burst is recognised.
    minutes: Minutes,
}

impl Rate {
    /// A rate that begins in `second`.
    pub fn new(second: i64) -> Rate {
        Rate {
            second,
            counts: [0; WINDOW as usize],
            current: place(second),
            in_window: 0,
            since: second,
            average: 0.0,
            weight: 0.0,
            minutes: Minutes::default(),
        }
    }

    /// The second that is being counted.
    #[inline]
    pub fn second(&self) -> i64 {
        self.second
    }

    /// Counts one line in the current second.
    #[inline]
    pub fn count(&mut self) {
        self.counts[usize::from(self.current)] += 1;
        self.in_window += 1;
    }

    /// Lines in the current second and the nine before it.
    #[inline]
    pub fn in_window(&self) -> u32 {
        self.in_window
    }

    /// Ends the current second and begins `second`, which is later. In a burst it is not learnt what is usual.
    pub fn advance(&mut self, second: i64, in_burst: bool) {
        debug_assert!(second > self.second, "log time is clamped, so it never runs backwards");
        let lines = self.counts[usize::from(self.current)];
        self.learn(f64::from(lines), second - self.second - 1);
        self.minutes.advance(self.second, lines, second, in_burst);
        let gap = second - self.second;
        if gap >= WINDOW {
            self.counts = [0; WINDOW as usize];
            self.in_window = 0;
        } else {
            for ended in self.second + 1..=second {
                let count = &mut self.counts[usize::from(place(ended))];
                self.in_window -= std::mem::take(count);
            }
        }
        self.second = second;
        self.current = place(second);
    }

    /// One second with `lines` lines, then `silent` seconds without any.
    fn learn(&mut self, lines: f64, silent: i64) {
        let share = 1.0 / BASELINE_TIME;
        self.average += (lines - self.average) * share;
        self.weight += (1.0 - self.weight) * share;
        if silent > 0 {
            let kept = (1.0 - share).powf(silent as f64);
            self.average *= kept;
            self.weight = 1.0 - (1.0 - self.weight) * kept;
        }
    }

    /// Whether the minute before this second is a burst: `factor` times what is usual.
    pub fn is_burst(&self, factor: u32, failing: bool) -> bool {
        self.minutes.is_burst(self.second, factor, failing)
    }

    /// Whether a burst goes on.
    pub fn is_still_burst(&self, factor: u32, failing: bool) -> bool {
        self.minutes.is_still_burst(self.second, factor, failing)
    }

    /// The entry's normal number of lines in [`WINDOW`] seconds; `None` until it has been watched for 2 minutes.
    pub fn baseline(&self) -> Option<f64> {
        let known = self.second - self.since >= BASELINE_KNOWN_AFTER;
        known.then(|| self.average / self.weight * WINDOW as f64)
    }
}

/// Where a second's count stands.
fn place(second: i64) -> u8 {
    second.rem_euclid(WINDOW) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steady(per_second: u32, seconds: i64) -> Rate {
        let mut rate = Rate::new(0);
        for second in 0..seconds {
            if second > 0 {
                rate.advance(second, false);
            }
            (0..per_second).for_each(|_| rate.count());
        }
        rate
    }

    #[test]
    fn the_window_is_ten_seconds() {
        #[track_caller]
        fn check(advance_to: i64, want: u32) {
            let mut rate = steady(3, 20);
            rate.advance(advance_to, false);
            assert_eq!(rate.in_window(), want);
        }
        assert_eq!(steady(3, 5).in_window(), 15);
        assert_eq!(steady(3, 20).in_window(), 30);
        check(20, 27);
        check(24, 15);
        check(28, 3);
        check(29, 0);
        check(1_000_000, 0);
    }

    #[test]
    fn a_baseline_is_known_after_two_minutes() {
        assert_eq!(steady(200, 100).baseline(), None);
        let known = steady(200, 130).baseline().expect("two minutes have passed");
        assert!((known - 2_000.0).abs() < 1.0, "{known}");
    }

    #[test]
    fn silence_lowers_the_baseline() {
        let mut rate = steady(200, 600);
        rate.advance(1_200, false);
        let known = rate.baseline().expect("known");
        assert!((500.0..600.0).contains(&known), "{known}");
    }
}

//! Sliding windows: what the last minute holds, in bounded memory.
//!
//! A window is sixty buckets and the one that is just leaving it. Of that oldest one as much is counted as if its lines
//! were spread evenly, so a sum is exact but for what [one sixtieth](PARTS) of the window holds. Counts are exact besides
//! while they are small: the times of the last [`EXACT_MAX`] lines are kept one by one, so `count >= 10` is true with the
//! tenth line and not before.
//! A line is in the window from its own time on, for the window's length; at that very moment it has left.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::units::Timestamp;

/// Into how many buckets a window is cut.
pub(super) const PARTS: usize = 60;
/// Lines whose times are kept one by one.
pub(super) const EXACT_MAX: usize = 128;

/// What is added up in a bucket.
pub(super) trait Bucket: Copy + Default {
    /// Takes in another bucket.
    fn absorb(&mut self, other: &Self);
}

/// Sixty buckets and the oldest one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Sliding<B> {
    /// The length of a bucket, in nanoseconds.
    grain: i64,
    /// The number of the newest bucket, counted from the epoch.
    newest: i64,
    /// Empty until the first line. Bucket `n` stands at `n` modulo its length.
    ring: Vec<B>,
    /// The newest bucket and the 59 before it.
    whole: B,
}

impl<B: Bucket> Sliding<B> {
    pub(super) fn new(window: Duration) -> Sliding<B> {
        let nanos = i64::try_from(window.as_nanos()).unwrap_or(i64::MAX);
        let grain = (nanos / PARTS as i64).max(1);
        Sliding { grain, newest: i64::MIN, ring: Vec::new(), whole: B::default() }
    }

    /// Moves the window on to `time`. It never moves back.
    pub(super) fn slide(&mut self, time: Timestamp) {
        // Mostly it is the same bucket, which a product says sooner than a quotient.
        if self.ring.is_empty() || time.0 < self.newest.saturating_add(1).saturating_mul(self.grain) {
            return;
        }
        let number = time.0.div_euclid(self.grain);
        let gone = number.saturating_sub(self.newest).min(SLOTS);
        for step in 1..=gone {
            self.ring[slot(number - gone + step)] = B::default();
        }
        self.newest = number;
        self.whole = B::default();
        // From the newest back to the one before the oldest, which stands behind the newest.
        let (upto, behind) = self.ring.split_at(slot(number) + 1);
        let oldest = usize::from(!behind.is_empty());
        for bucket in upto[1 - oldest..].iter().rev().chain(behind[oldest..].iter().rev()) {
            self.whole.absorb(bucket);
        }
    }

    /// Adds `part` at the newest time that the window was moved to, which is `time`.
    pub(super) fn add(&mut self, part: B, time: Timestamp) {
        if self.ring.is_empty() {
            self.ring = vec![B::default(); SLOTS as usize];
            self.newest = time.0.div_euclid(self.grain);
        }
        self.slide(time);
        self.ring[slot(self.newest)].absorb(&part);
        self.whole.absorb(&part);
    }

    /// The sum of the newest sixty buckets.
    pub(super) fn whole(&self) -> &B {
        &self.whole
    }

    /// The oldest bucket, and how much of it is still inside at `time`: from 0 to 1.
    pub(super) fn leaving(&self, time: Timestamp) -> (B, f64) {
        if self.ring.is_empty() {
            return (B::default(), 0.0);
        }
        let into = time.0.saturating_sub(self.newest.saturating_mul(self.grain)).clamp(0, self.grain);
        (self.ring[slot(self.newest - PARTS as i64)], 1.0 - into as f64 / self.grain as f64)
    }

    /// When the newest bucket ends.
    pub(super) fn turns_at(&self, time: Timestamp) -> Timestamp {
        Timestamp((time.0.div_euclid(self.grain) + 1).saturating_mul(self.grain))
    }

    /// The number of the newest bucket.
    pub(super) fn newest(&self) -> i64 {
        self.newest
    }

    /// Whether what was kept is of this window.
    pub(super) fn fits(&self, other: &Sliding<B>) -> bool {
        self.grain == other.grain && (self.ring.is_empty() || self.ring.len() == SLOTS as usize)
    }

    pub(super) fn size(&self) -> usize {
        self.ring.capacity() * size_of::<B>()
    }
}

/// Sixty buckets and the oldest one.
const SLOTS: i64 = PARTS as i64 + 1;

/// Where a bucket stands.
fn slot(number: i64) -> usize {
    number.rem_euclid(SLOTS) as usize
}

/// Lines, and those of them that are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) whole: u64,
    pub(super) part: u64,
}

impl Bucket for Tally {
    fn absorb(&mut self, other: &Tally) {
        self.whole += other.whole;
        self.part += other.part;
    }
}

/// How many lines the window holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Counts {
    /// In nanoseconds.
    window: i64,
    /// How many lines are known by their times.
    exact: usize,
    /// The times of the last lines, the oldest first; those that have left are dropped.
    times: VecDeque<i64>,
    buckets: Sliding<Tally>,
}

impl Counts {
    /// An empty window. `decisive` is the number that the count is held against: it is exact up to there, if that is
    /// not too many.
    pub(super) fn new(window: Duration, decisive: Option<f64>) -> Counts {
        let most = EXACT_MAX as f64;
        let exact = decisive.filter(|number| *number + 2.0 <= most).map_or(EXACT_MAX, |number| {
            number.max(0.0).ceil() as usize + 2 // at most 128
        });
        Counts {
            window: i64::try_from(window.as_nanos()).unwrap_or(i64::MAX),
            exact,
            times: VecDeque::new(),
            buckets: Sliding::new(window),
        }
    }

    pub(super) fn slide(&mut self, time: Timestamp) {
        self.buckets.slide(time);
        let left = time.0.saturating_sub(self.window);
        while self.times.front().is_some_and(|&first| first <= left) {
            self.times.pop_front();
        }
    }

    pub(super) fn add(&mut self, time: Timestamp) {
        self.buckets.add(Tally { whole: 1, part: 0 }, time);
        if self.times.len() == self.exact {
            self.times.pop_front();
        }
        self.times.push_back(time.0);
    }

    /// Lines inside at `time`, to which the window was moved.
    pub(super) fn count(&self, time: Timestamp) -> f64 {
        let known = self.times.len() as f64;
        if self.times.len() < self.exact {
            // A line leaves the list by its time alone while the list has room: then these are all.
            return known;
        }
        let (leaving, share) = self.buckets.leaving(time);
        // Cut to whole lines, which costs less than `floor` where the processor is not known.
        let leaving = (leaving.whole as f64 * share) as u64;
        ((self.buckets.whole().whole + leaving) as f64).max(known)
    }

    /// Whether no line is inside.
    pub(super) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// When the count is another one without a further line.
    pub(super) fn changes_at(&self, time: Timestamp) -> Option<Timestamp> {
        let first = *self.times.front()?;
        let leaves = Timestamp(first.saturating_add(self.window));
        let is_exact = self.times.len() < self.exact;
        Some(if is_exact { leaves } else { self.buckets.turns_at(time).min(leaves) })
    }

    /// Whether what was kept is of this window.
    pub(super) fn fits(&self, other: &Counts) -> bool {
        (self.window, self.exact) == (other.window, other.exact)
            && self.times.len() <= self.exact
            && self.buckets.fits(&other.buckets)
    }

    pub(super) fn size(&self) -> usize {
        self.times.capacity() * size_of::<i64>() + self.buckets.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = Timestamp::SECOND;

    #[test]
    fn a_small_count_is_exact_to_the_nanosecond() {
        let mut counts = Counts::new(Duration::from_secs(60), Some(3.0));
        for second in [0, 10, 20] {
            counts.slide(Timestamp(second * SECOND));
            counts.add(Timestamp(second * SECOND));
        }
        #[track_caller]
        fn check(counts: &Counts, nanos: i64, want: f64) {
            let mut counts = counts.clone();
            counts.slide(Timestamp(nanos));
            assert_eq!(counts.count(Timestamp(nanos)), want);
        }
        check(&counts, 60 * SECOND - 1, 3.0);
        check(&counts, 60 * SECOND, 2.0);
        check(&counts, 80 * SECOND - 1, 1.0);
        check(&counts, 80 * SECOND, 0.0);
        assert_eq!(counts.changes_at(Timestamp(20 * SECOND)), Some(Timestamp(60 * SECOND)));
    }

    #[test]
    fn memory_does_not_grow_with_the_lines() {
        let mut counts = Counts::new(Duration::from_secs(1), Some(10.0));
        for line in 0..100_000 {
            counts.slide(Timestamp(line));
            counts.add(Timestamp(line));
        }
        assert_eq!(counts.count(Timestamp(100_000)), 100_000.0);
        assert!(counts.size() < 2_048, "{} bytes", counts.size());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn as_if_all_times_were_kept(
            gaps in prop::collection::vec(0i64..4_000_000_000, 1..400),
            decisive in prop::option::of(0u32..200),
        ) {
            let window = 60 * SECOND;
            let mut counts = Counts::new(Duration::from_secs(60), decisive.map(f64::from));
            let (mut now, mut all) = (0, Vec::new());
            for gap in gaps {
                now += gap;
                all.push(now);
                counts.slide(Timestamp(now));
                counts.add(Timestamp(now));
                let inside = |from: i64| all.iter().filter(|time| **time > from).count() as f64;
                let (count, true_count) = (counts.count(Timestamp(now)), inside(now - window));
                let slack = window / PARTS as i64;
                prop_assert!(count <= inside(now - window - slack) && count >= inside(now - window + slack));
                if let Some(decisive) = decisive.map(f64::from).filter(|number| *number + 2.0 <= EXACT_MAX as f64) {
                    prop_assert_eq!(count >= decisive, true_count >= decisive);
                    prop_assert_eq!(count > decisive, true_count > decisive);
                }
                if true_count < 100.0 && decisive.is_none() {
                    prop_assert_eq!(count, true_count);
                }
            }
        }
    }
}

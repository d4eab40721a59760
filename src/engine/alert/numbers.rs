//! Numbers over a window: mean, smallest, largest, and percentiles from a bounded sample.
//!
//! Mean, min and max are exact over the newest sixty buckets, so the last sixtieth of the window is missing at times.
//! Percentiles are exact while no bucket holds more than [`SAMPLE`] values; beyond that each bucket keeps an even sample,
//! chosen by the number of the value, and its values weigh as much as the bucket had.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::rule::Statistic;
use super::window::{Bucket, PARTS, Sliding};
use crate::units::Timestamp;

/// Values kept of each bucket where percentiles are asked for.
const SAMPLE: usize = 8;
/// With more values than this, percentiles are looked at when a bucket ends, not with every value: they are sorted anew
/// each time.
const EAGER_MAX: u32 = 64;

/// What is known of the numbers in a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Sum {
    count: u32,
    sum: f64,
    min: f64,
    max: f64,
}

impl Default for Sum {
    fn default() -> Sum {
        Sum { count: 0, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

impl Bucket for Sum {
    fn absorb(&mut self, other: &Sum) {
        self.count = self.count.saturating_add(other.count);
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }
}

/// An even sample of the values in a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sample {
    /// The bucket.
    number: i64,
    /// Values that came.
    count: u32,
    values: [f64; SAMPLE],
}

impl Sample {
    fn add(&mut self, value: f64) {
        // The n-th value takes a place of its own, or, later, one of n places of which only the first few exist.
        let place = match self.count as usize {
            early if early < SAMPLE => early,
            late => (scatter(late as u64) % (late as u64 + 1)) as usize,
        };
        if let Some(kept) = self.values.get_mut(place) {
            *kept = value;
        }
        self.count = self.count.saturating_add(1);
    }

    fn kept(&self) -> &[f64] {
        &self.values[..(self.count as usize).min(SAMPLE)]
    }
}

/// Mixes the bits of a number: the same in every run.
fn scatter(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 3
}

/// The numbers of a window.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Numbers {
    statistic: Statistic,
    buckets: Sliding<Sum>,
    /// Of each bucket in the window that has values, the oldest first; only for percentiles.
    samples: Vec<Sample>,
    /// The last percentile, and with which bucket it was looked at.
    last: Option<(i64, f64)>,
}

impl Numbers {
    pub(super) fn new(window: Duration, statistic: Statistic) -> Numbers {
        Numbers { statistic, buckets: Sliding::new(window), samples: Vec::new(), last: None }
    }

    pub(super) fn slide(&mut self, time: Timestamp) {
        self.buckets.slide(time);
        let oldest = self.buckets.newest().saturating_sub(PARTS as i64);
        self.samples.retain(|sample| sample.number > oldest);
    }

    pub(super) fn add(&mut self, value: f64, time: Timestamp) {
        self.buckets.add(Sum { count: 1, sum: value, min: value, max: value }, time);
        if !matches!(self.statistic, Statistic::Percentile(_)) {
            return;
        }
        let number = self.buckets.newest();
        if self.samples.last().is_none_or(|newest| newest.number != number) {
            self.samples.push(Sample { number, ..Sample::default() });
        }
        if let Some(newest) = self.samples.last_mut() {
            newest.add(value);
        }
    }

    /// How many values there are.
    pub(super) fn count(&self) -> u64 {
        u64::from(self.buckets.whole().count)
    }

    /// The statistic of what is inside; `None` without a value.
    pub(super) fn value(&mut self) -> Option<f64> {
        let whole = *self.buckets.whole();
        if whole.count == 0 {
            return None;
        }
        Some(match self.statistic {
            Statistic::Mean => whole.sum / f64::from(whole.count),
            Statistic::Min => whole.min,
            Statistic::Max => whole.max,
            Statistic::Percentile(percent) => {
                let newest = self.buckets.newest();
                match self.last {
                    Some((number, value)) if number == newest && whole.count > EAGER_MAX => value,
                    _ => {
                        let value = self.percentile(f64::from(percent) / 100.0);
                        self.last = Some((newest, value));
                        value
                    }
                }
            }
        })
    }

    /// The smallest value that `share` of all are not above.
    fn percentile(&self, share: f64) -> f64 {
        let mut weighed: Vec<(f64, f64)> = Vec::with_capacity(self.samples.len() * SAMPLE);
        for sample in &self.samples {
            let weight = f64::from(sample.count) / sample.kept().len().max(1) as f64;
            weighed.extend(sample.kept().iter().map(|value| (*value, weight)));
        }
        weighed.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let wanted = share * weighed.iter().map(|(_, weight)| weight).sum::<f64>();
        let mut below = 0.0;
        for (value, weight) in &weighed {
            below += weight;
            // Weights are rounded; a hair must not decide.
            if below + 1e-9 >= wanted {
                return *value;
            }
        }
        weighed.last().map_or(0.0, |(value, _)| *value)
    }

    pub(super) fn changes_at(&self, time: Timestamp) -> Option<Timestamp> {
        (self.count() > 0).then(|| self.buckets.turns_at(time))
    }

    /// Whether what was kept is of this window.
    pub(super) fn fits(&self, other: &Numbers) -> bool {
        self.statistic == other.statistic
            && self.buckets.fits(&other.buckets)
            && self.samples.len() <= PARTS + 1
    }

    pub(super) fn size(&self) -> usize {
        self.buckets.size() + self.samples.capacity() * size_of::<Sample>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = Timestamp::SECOND;

    fn of(statistic: Statistic, values: &[f64]) -> Option<f64> {
        let mut numbers = Numbers::new(Duration::from_secs(60), statistic);
        for (index, value) in values.iter().enumerate() {
            let time = Timestamp(index as i64 * SECOND / 10);
            numbers.slide(time);
            numbers.add(*value, time);
        }
        numbers.value()
    }

    #[test]
    fn statistics() {
        #[track_caller]
        fn check(statistic: Statistic, values: &[f64], want: Option<f64>) {
            assert_eq!(of(statistic, values), want);
        }
        let hundred: Vec<f64> = (1..=50).map(f64::from).collect();
        check(Statistic::Mean, &[], None);
        check(Statistic::Mean, &[1.0, 2.0, 6.0], Some(3.0));
        check(Statistic::Min, &[3.0, -1.0, 2.0], Some(-1.0));
        check(Statistic::Max, &[3.0, -1.0, 2.0], Some(3.0));
        check(Statistic::Percentile(50), &[7.0], Some(7.0));
        check(Statistic::Percentile(50), &[1.0, 2.0, 3.0, 4.0], Some(2.0));
        check(Statistic::Percentile(95), &[1.0; 20], Some(1.0));
        check(Statistic::Percentile(99), &hundred[..8], Some(8.0));
    }

    #[test]
    fn what_is_old_leaves() {
        let mut numbers = Numbers::new(Duration::from_secs(60), Statistic::Max);
        numbers.add(9.0, Timestamp(0));
        numbers.slide(Timestamp(30 * SECOND));
        numbers.add(1.0, Timestamp(30 * SECOND));
        assert_eq!(numbers.value(), Some(9.0));
        numbers.slide(Timestamp(60 * SECOND));
        assert_eq!(numbers.value(), Some(1.0));
        numbers.slide(Timestamp(91 * SECOND));
        assert_eq!(numbers.value(), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_percentile_of_many_is_near(seed in any::<u64>()) {
            // 6,000 values from 0 to 1, evenly, in an order that the seed gives.
            let mut numbers = Numbers::new(Duration::from_secs(60), Statistic::Percentile(95));
            for index in 0..6_000u64 {
                let time = Timestamp(index as i64 * SECOND / 101);
                let value = (scatter(seed ^ index.wrapping_mul(0x9e37_79b9)) % 10_000) as f64 / 10_000.0;
                numbers.slide(time);
                numbers.add(value, time);
            }
            numbers.last = None;
            let p95 = numbers.value().expect("values");
            prop_assert!((0.90..=0.99).contains(&p95), "{}", p95);
        }
    }
}

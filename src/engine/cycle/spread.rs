//! The spread of a loop's periods: exact extremes, and quantiles from a histogram whose buckets grow.
//!
//! Sixteen buckets an octave, from microseconds up: a quantile is off by 3 % at most. Unlike a sample, it is of every
//! period of the loop, and it takes the same time for each.
//! Limit: `BUCKETS` counters; written down, only those that are not 0.

use serde::{Deserialize, Serialize};

/// Periods that are taken in at once.
const BLOCK: usize = 32;

/// 16 for each octave up to 2^36 microseconds, 19 hours.
const BUCKETS: usize = 16 * 33;

/// All periods of one loop, in seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "KeptSpread", into = "KeptSpread")]
pub struct Spread {
    counts: Box<[u32]>,
    count: u64,
    min: f64,
    max: f64,
}

/// A [`Spread`] as it is written down.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct KeptSpread {
    counts: Vec<(u16, u32)>,
    min: f64,
    max: f64,
}

impl Default for Spread {
    fn default() -> Spread {
        Spread { counts: vec![0; BUCKETS].into(), count: 0, min: f64::INFINITY, max: 0.0 }
    }
}

impl Spread {
    /// Takes in one period, in seconds.
    pub fn add(&mut self, seconds: f64) {
        self.extend(&[seconds as f32]);
        (self.min, self.max) = (self.min.min(seconds), self.max.max(seconds));
    }

    /// Takes in periods, in seconds, none of which is the shortest or the longest.
    pub fn extend(&mut self, periods: &[f32]) {
        for block in periods.chunks(BLOCK) {
            let mut buckets = [0; BLOCK];
            for (bucket, &period) in buckets.iter_mut().zip(block) {
                *bucket = bucket_of(period);
            }
            let buckets = &buckets[..block.len()];
            let alike = buckets.iter().fold(true, |alike, bucket| alike & (*bucket == buckets[0]));
            if alike {
                self.count(buckets[0], block.len() as u32); // at most BLOCK
            } else {
                buckets.iter().for_each(|bucket| self.count(*bucket, 1));
            }
        }
    }

    #[inline]
    fn count(&mut self, bucket: u32, periods: u32) {
        if let Some(count) = self.counts.get_mut(bucket as usize) {
            *count = count.saturating_add(periods);
            self.count += u64::from(periods);
        }
    }

    /// The period that a `share` of all is not longer than; 0 while there is none.
    pub fn quantile(&self, share: f64) -> f64 {
        let wanted = share * self.count as f64;
        let mut below = 0.0;
        for (index, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let here = f64::from(count);
            if below + here >= wanted {
                let (low, high) = (start(index), start(index + 1));
                let inside = low + (high - low) * ((wanted - below) / here);
                return (inside / 1e6).clamp(self.min, self.max);
            }
            below += here;
        }
        self.max
    }

    /// The shortest; 0 while there is none.
    pub fn min(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.min }
    }

    /// The longest.
    pub fn max(&self) -> f64 {
        self.max
    }
}

impl From<Spread> for KeptSpread {
    fn from(spread: Spread) -> KeptSpread {
        let counts = spread.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        KeptSpread {
            counts: counts.map(|(index, &count)| (index as u16, count)).collect(), // fewer than 2^16 buckets
            min: spread.min,
            max: spread.max,
        }
    }
}

impl From<KeptSpread> for Spread {
    fn from(kept: KeptSpread) -> Spread {
        let mut spread = Spread { min: kept.min, max: kept.max, ..Spread::default() };
        for (index, count) in kept.counts {
            if let Some(place) = spread.counts.get_mut(usize::from(index)) {
                *place = count;
                spread.count += u64::from(count);
            }
        }
        spread
    }
}

/// The bucket of so many seconds. Below 16 microseconds there is one for each; from there on it is what a float begins
/// with, exponent and four bits behind it.
#[inline]
fn bucket_of(seconds: f32) -> u32 {
    const FIRST_BITS: u32 = 16f32.to_bits() >> 19;
    let micros = seconds * 1e6;
    let bucket = (micros.to_bits() >> 19).wrapping_sub(FIRST_BITS).wrapping_add(16).min(BUCKETS as u32 - 1);
    if micros < 16.0 { micros as u32 } else { bucket }
}

/// The first microsecond of a bucket.
fn start(index: usize) -> f64 {
    match index.checked_sub(16) {
        None => index as f64,
        Some(above) => (16 + above % 16) as f64 * 2f64.powi((above / 16) as i32),
    }
}

const _: () = assert!(BUCKETS <= u16::MAX as usize, "a bucket's number is kept in 16 bits");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_and_one() {
        let mut spread = Spread::default();
        assert_eq!((spread.quantile(0.5), spread.min(), spread.max()), (0.0, 0.0, 0.0));
        spread.add(0.25);
        assert_eq!((spread.quantile(0.5), spread.min(), spread.max()), (0.25, 0.25, 0.25));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn quantiles_are_near(nanos in proptest::collection::vec(100_000i64..1_000_000_000_000, 1..200)) {
            let mut spread = Spread::default();
            let mut periods: Vec<f64> = nanos.iter().map(|&nanos| nanos as f64 * 1e-9).collect();
            periods.sort_by(f64::total_cmp);
            let (&shortest, &longest) = (periods.first().unwrap(), periods.last().unwrap());
            spread.add(shortest);
            spread.add(longest);
            let between = &periods[1..(periods.len() - 1).max(1)];
            spread.extend(&between.iter().map(|&period| period as f32).collect::<Vec<_>>());
            let spread = Spread::from(KeptSpread::from(spread));
            for share in [0.5, 0.95] {
                let at = ((share * periods.len() as f64).ceil() as usize).clamp(1, periods.len()) - 1;
                let found = spread.quantile(share);
                prop_assert!((found / periods[at] - 1.0).abs() < 0.07, "{found} for {}", periods[at]);
            }
            prop_assert_eq!((spread.min(), spread.max()), (periods[0], periods[periods.len() - 1]));
        }

        #[test]
        fn buckets_are_in_order(a in 0i64..1 << 50, b in 0i64..1 << 50) {
            let (one, other) = (bucket_of(a as f32 * 1e-9), bucket_of(b as f32 * 1e-9));
            prop_assert!(a > b || one <= other);
            let one = one as usize;
            // What lies on the border may be rounded across it.
            let (low, high) = (start(one) * (1.0 - 1e-6), start(one + 1) * (1.0 + 1e-6));
            prop_assert!(one == BUCKETS - 1 || (low..high).contains(&(a as f64 / 1e3)), "{a} in {one}");
        }
    }
}

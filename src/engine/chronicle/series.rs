//! Counts over time in bounded memory, whatever time they span.
//!
//! All series of one [`Span`] share its buckets. When time leaves the last bucket, two neighbours become one and each
//! bucket lasts twice as long; a series that did nothing meanwhile is folded when it is next touched or read.

use crate::units::Timestamp;

/// Buckets of a series: as many as a chart is wide, and an even number, so that they fold in pairs.
pub const BUCKETS: usize = 240;

/// How time is cut into buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The second in which the first bucket begins.
    start: i64,
    /// A bucket lasts 2^shift seconds.
    shift: u32,
}

impl Span {
    /// Buckets of one second, from `second` on.
    pub fn new(second: i64) -> Span {
        Span { start: second, shift: 0 }
    }

    /// The bucket of `second`; buckets grow until it has one. What lies before the first one belongs to it: streams
    /// that are read side by side may be a little behind each other.
    pub fn bucket(&mut self, second: i64) -> usize {
        let offset = second.saturating_sub(self.start).max(0).unsigned_abs();
        while offset >> self.shift >= BUCKETS as u64 {
            self.shift += 1;
        }
        (offset >> self.shift) as usize
    }

    /// When bucket `index` begins.
    pub fn begin(&self, index: usize) -> Timestamp {
        let offset = (index as i64).checked_shl(self.shift).unwrap_or(i64::MAX);
        Timestamp(self.start.saturating_add(offset).saturating_mul(Timestamp::SECOND))
    }

    /// How often buckets have doubled.
    pub(super) fn shift(&self) -> u32 {
        self.shift
    }

    /// How long a bucket lasts, in seconds.
    pub fn seconds(&self) -> u64 {
        1 << self.shift
    }
}

/// Counts of something that happens at times which never run backwards: one entry's lines.
///
/// Only buckets that are not empty take memory: 8 bytes each.
#[derive(Clone, Debug, Default)]
pub struct Series {
    shift: u32,
    counts: Vec<(u16, u32)>,
}

impl Series {
    /// Counts one in `bucket`, which `span` has just named.
    #[inline]
    pub fn count(&mut self, span: &Span, bucket: usize) {
        if self.shift != span.shift {
            self.fold(span.shift);
        }
        match self.counts.last_mut() {
            Some((last, count)) if usize::from(*last) >= bucket => *count = count.saturating_add(1),
            _ => self.counts.push((bucket as u16, 1)), // fewer than BUCKETS
        }
    }

    /// The counts of all buckets up to `buckets`.
    pub fn read(&self, span: &Span, buckets: usize) -> Vec<u64> {
        let mut folded = self.clone();
        folded.fold(span.shift);
        let mut all = vec![0; buckets];
        for (bucket, count) in folded.counts {
            if let Some(place) = all.get_mut(usize::from(bucket)) {
                *place += u64::from(count);
            }
        }
        all
    }

    fn fold(&mut self, shift: u32) {
        let by = shift - self.shift;
        self.shift = shift;
        let mut folded: Vec<(u16, u32)> = Vec::with_capacity(self.counts.len() / 2 + 1);
        for &(bucket, count) in &self.counts {
            let bucket = bucket.checked_shr(by).unwrap_or(0);
            match folded.last_mut() {
                Some((last, sum)) if *last == bucket => *sum = sum.saturating_add(count),
                _ => folded.push((bucket, count)),
            }
        }
        self.counts = folded;
    }
}

/// Counts of something that may happen in any order: lines of all streams together.
#[derive(Clone, Debug)]
pub struct Total {
    shift: u32,
    counts: Vec<u64>,
}

impl Default for Total {
    fn default() -> Self {
        Total { shift: 0, counts: vec![0; BUCKETS] }
    }
}

impl Total {
    /// Counts one in `bucket`, which `span` has just named.
    #[inline]
    pub fn count(&mut self, span: &Span, bucket: usize) {
        if self.shift != span.shift {
            self.fold(span.shift);
        }
        self.counts[bucket] += 1;
    }

    /// The counts of all buckets up to `buckets`.
    pub fn read(&self, span: &Span, buckets: usize) -> Vec<u64> {
        let mut folded = self.clone();
        folded.fold(span.shift);
        folded.counts.truncate(buckets);
        folded.counts
    }

    fn fold(&mut self, shift: u32) {
        let by = shift - self.shift;
        self.shift = shift;
        for bucket in 0..BUCKETS {
            let into = bucket.checked_shr(by).unwrap_or(0);
            if into != bucket {
                self.counts[into] += std::mem::take(&mut self.counts[bucket]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_grow_with_time() {
        #[track_caller]
        fn check(seconds: &[i64], want: usize, width: u64) {
            let mut span = Span::new(1_000);
            let last = seconds.iter().map(|second| span.bucket(*second)).last();
            assert_eq!((last, span.seconds()), (Some(want), width));
        }
        check(&[1_000], 0, 1);
        check(&[1_239], 239, 1);
        check(&[1_240], 120, 2);
        check(&[1_240, 1_000], 0, 2);
        check(&[990], 0, 1);
        check(&[1_000 + 86_400], 168, 512);
        check(&[i64::MAX], 127, 1 << 56);
        check(&[i64::MIN], 0, 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// However time runs, everything is counted once, and where it belongs.
        #[test]
        fn counts_stay_exact(steps in prop::collection::vec(0i64..2_000, 1..60)) {
            let mut span = Span::new(0);
            let (mut series, mut total) = (Series::default(), Total::default());
            let mut second = 0;
            let mut seconds = Vec::new();
            for step in steps {
                second += step;
                seconds.push(second);
                let bucket = span.bucket(second);
                series.count(&span, bucket);
                total.count(&span, bucket);
            }
            let mut want = vec![0u64; BUCKETS];
            for second in seconds {
                want[span.bucket(second)] += 1;
            }
            prop_assert_eq!(&series.read(&span, BUCKETS), &want);
            prop_assert_eq!(&total.read(&span, BUCKETS), &want);
        }
    }
}

//! Numbers that look random and are the same for the same seed, on every machine and in every version.
//!
//! Own, because a corpus must stay byte for byte what it was when a dependency changes its generator.

/// SplitMix64: G. L. Steele, D. Lea, C. H. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
/// Its outputs are a permutation of all 64-bit numbers, so one generator never gives a number twice: that is what
/// makes the ids of a corpus unique by construction.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    #[inline]
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `0..limit`; 0 when `limit` is 0. The bias of the multiplication is below 2⁻³² for every
    /// limit that a log line needs.
    #[inline]
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// A number from `low..=high`; `low` when the range is empty.
    #[inline]
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// One of `choices`, which must not be empty.
    #[inline]
    pub(super) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        let mut random = Random::new(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| random.next()).collect();
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn numbers_stay_in_their_range() {
        #[track_caller]
        fn check(low: u64, high: u64) {
            let mut random = Random::new(low ^ high);
            let drawn: Vec<u64> = (0..2_000).map(|_| random.between(low, high)).collect();
            assert!(drawn.iter().all(|number| (low..=high).contains(number)), "{low}..={high}");
            if high - low < 10 {
                assert!((low..=high).all(|number| drawn.contains(&number)), "{low}..={high}: one never came");
            }
        }
        check(0, 0);
        check(0, 1);
        check(7, 9);
        check(1, 65_535);
        check(0, u64::MAX - 1);
    }
}

//! How long to wait between attempts that fail: twice as long each time, and never in step with a fleet.
//!
//! Time is not looked at; the jitter comes from a seed.

use std::time::Duration;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct BackOff {
    /// The first wait, at most.
    first: Duration,
    /// The longest one.
    most: Duration,
    /// Failures since the last success.
    failures: u32,
    random: u64,
}

impl BackOff {
    /// Nothing has failed yet.
    pub(super) fn new(first: Duration, most: Duration, seed: u64) -> BackOff {
        BackOff { first, most, failures: 0, random: seed }
    }

    /// An attempt has failed. Gives the wait: half of it is certain, the rest chance.
    pub(super) fn failed(&mut self) -> Duration {
        let most = self.most.min(self.first * (1 << self.failures.min(16)));
        self.failures = self.failures.saturating_add(1);
        let half = most / 2;
        // 2^-64 of a bias does not matter here.
        half + Duration::from_nanos(self.random() % (half.as_nanos() as u64 + 1))
    }

    /// An attempt has worked. True when one before it had not.
    pub(super) fn worked(&mut self) -> bool {
        std::mem::take(&mut self.failures) > 0
    }

    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

//! What fails now and may work later: tried at a pace, and told once for each reason.

use std::time::Duration;

use crate::units::Monotonic;

/// The attempts at one thing.
#[derive(Debug)]
pub(super) struct Retry {
    /// The least time between two of them.
    every: Duration,
    /// No earlier than this.
    not_before: Monotonic,
    /// Why the last one failed, for people.
    trouble: Option<String>,
}

impl Retry {
    /// Nothing has failed so far.
    pub(super) fn new(every: Duration) -> Retry {
        Retry { every, not_before: Monotonic::default(), trouble: None }
    }

    /// Whether the next attempt may be made.
    pub(super) fn is_due(&self, now: Monotonic) -> bool {
        self.not_before <= now
    }

    /// An attempt failed. True when that is news: the reason is not the last one's.
    pub(super) fn failed(&mut self, reason: &str, now: Monotonic) -> bool {
        self.not_before = now + self.every;
        let is_news = self.trouble() != Some(reason);
        if is_news {
            self.trouble = Some(reason.to_owned());
        }
        is_news
    }

    /// An attempt succeeded. True when one had failed before.
    pub(super) fn succeeded(&mut self) -> bool {
        self.trouble.take().is_some()
    }

    /// Why the last attempt failed.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_tried_at_a_pace_and_told_once() {
        let second = |seconds: u64| Monotonic(seconds * 1_000_000_000);
        let mut retry = Retry::new(Duration::from_secs(1));
        assert!(retry.is_due(Monotonic(0)) && !retry.succeeded());
        assert!(retry.failed("no key", second(5)));
        for (at, due) in [(5.0, false), (5.02, false), (5.999, false), (6.0, true)] {
            assert_eq!(retry.is_due(Monotonic((at * 1e9) as u64)), due, "{at}");
        }
        assert!(!retry.failed("no key", second(6)), "told already");
        assert!(retry.failed("half a key", second(7)), "a new reason");
        assert_eq!(retry.trouble(), Some("half a key"));
        assert!(retry.succeeded() && !retry.succeeded());
        assert!(retry.failed("half a key", second(9)), "it had been well in between");
    }
}

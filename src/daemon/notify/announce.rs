//! Alerts in our own log, a bounded number of lines in a minute.

use std::time::Duration;

use crate::engine::record::notification::Notification;
use crate::units::Monotonic;

/// The most lines in a minute.
const LINES_MAX: u32 = 30;
const MINUTE: Duration = Duration::from_secs(60);

/// How much of the minute is used up.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    since: Monotonic,
    lines: u32,
    /// Alerts of which nothing was said.
    silent: u64,
}

impl Announcer {
    /// Says it, if there is room for it in this minute.
    pub(super) fn announce(&mut self, told: &Notification, now: Monotonic) {
        if !self.may_speak(now) {
            return;
        }
        let severity = told.label("severity").unwrap_or("none");
        if told.is_resolved {
            tracing::info!(
                alert = told.alert,
                severity,
                id = told.firing,
                "alert resolved: {}",
                told.summary
            );
        } else {
            tracing::warn!(alert = told.alert, severity, id = told.firing, "alert fires: {}", told.summary);
        }
    }

    fn may_speak(&mut self, now: Monotonic) -> bool {
        if self.since + MINUTE <= now || self.lines == 0 {
            if self.silent > 0 {
                tracing::warn!(
                    alerts = self.silent,
                    "more alerts fired or resolved in a minute than are said here"
                );
            }
            *self = Announcer { since: now, lines: 0, silent: 0 };
        }
        if self.lines >= LINES_MAX {
            self.silent += 1;
            return false;
        }
        self.lines += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_so_many_lines() {
        let mut announcer = Announcer::default();
        let at = |seconds: u64| Monotonic(seconds * 1_000_000_000);
        let mut spoken = |second| (0..100).filter(|_| announcer.may_speak(at(second))).count();
        assert_eq!([0, 59, 60, 61, 200].map(&mut spoken), [30, 0, 30, 0, 30]);
    }
}

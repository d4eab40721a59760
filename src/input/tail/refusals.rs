//! Says once that something cannot be read, and again only when the reason changes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::units::Monotonic;

use super::Event;

/// What has been refused, and what was said about it.
#[derive(Default)]
pub(super) struct Refusals {
    said: HashMap<PathBuf, Said>,
}

struct Said {
    reason: String,
    last: Monotonic,
}

impl Refusals {
    /// Tells the sink, unless it knows.
    pub(super) fn say(
        &mut self,
        path: &Path,
        reason: String,
        now: Monotonic,
        sink: &mut dyn FnMut(Event<'_>),
    ) {
        if let Some(said) = self.said.get_mut(path) {
            said.last = now;
            if said.reason == reason {
                return;
            }
        }
        sink(Event::Refused { path, reason: reason.clone() });
        self.said.insert(path.to_owned(), Said { reason, last: now });
    }

    /// It can be read (again): the next refusal is news.
    pub(super) fn clear(&mut self, path: &Path) {
        self.said.remove(path);
    }

    /// Forgets what nobody has complained about for a while, such as files that are gone.
    pub(super) fn prune(&mut self, now: Monotonic) {
        self.said.retain(|_, said| now.since(said.last) < KEPT);
    }
}

/// The wait before a file in trouble is tried again: doubles with each failure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trouble {
    wait: Duration,
    pub(super) retry_at: Monotonic,
}

impl Trouble {
    /// The wait after the first failure, or after one more.
    pub(super) fn after(previous: Option<Trouble>, now: Monotonic) -> Trouble {
        let wait = previous.map_or(WAIT_MIN, |previous| (previous.wait * 2).min(WAIT_MAX));
        Trouble { wait, retry_at: now + wait }
    }
}

const WAIT_MIN: Duration = Duration::from_millis(250);
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Longer than the longest wait between two tries, so that a failing file is not announced anew each time.
const KEPT: Duration = Duration::from_secs(150);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::default() + Duration::from_secs(seconds)
    }

    #[test]
    fn a_reason_is_said_once_per_change() {
        let mut refusals = Refusals::default();
        let mut told = Vec::new();
        let mut say = |refusals: &mut Refusals, reason: &str, seconds| {
            refusals.say(Path::new("x"), reason.into(), at(seconds), &mut |event| {
                if let Event::Refused { reason, .. } = event {
                    told.push(reason);
                }
            });
        };
        say(&mut refusals, "a", 0);
        say(&mut refusals, "a", 60);
        refusals.prune(at(200));
        say(&mut refusals, "a", 200);
        say(&mut refusals, "b", 201);
        refusals.clear(Path::new("x"));
        say(&mut refusals, "b", 202);
        refusals.prune(at(400));
        say(&mut refusals, "b", 401);
        assert_eq!(told, ["a", "b", "b", "b"]);
    }

    #[test]
    fn waits_double_up_to_a_minute() {
        let mut trouble = Trouble::after(None, at(0));
        assert_eq!(trouble.retry_at, at(0) + WAIT_MIN);
        for _ in 0..20 {
            trouble = Trouble::after(Some(trouble), at(0));
        }
        assert_eq!(trouble.retry_at, at(60));
    }
}

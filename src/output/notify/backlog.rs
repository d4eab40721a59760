//! What a receiver that is told each turn once is still to be told: in groups, and not too often.
//!
//! The first alert of a group waits `group_wait` for others, and messages of a group are `group_interval` apart. All groups
//! together make no more than `per_minute` messages; when more are due than that leaves, one message tells of all that
//! waits.
//! Invariant: of one firing, the end is never in the same message as the beginning, nor before it.
//! Limit: it holds what is put in, of which there is a maximum (`daemon::notify`); groups are the rules' own.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::options::Pace;
use crate::engine::record::notification::Notification;
use crate::units::Monotonic;

/// See the module.
#[derive(Debug)]
pub(super) struct Backlog {
    pace: Pace,
    groups: BTreeMap<String, Group>,
    quota: Quota,
    /// Groups do not wait any more.
    hurries: bool,
}

#[derive(Debug, Default)]
struct Group {
    waiting: VecDeque<Waiting>,
    /// When it is told.
    due: Monotonic,
    /// When it was told last.
    told: Option<Monotonic>,
}

#[derive(Clone, Debug)]
struct Waiting {
    told: Arc<Notification>,
    since: Monotonic,
}

/// What one message tells.
#[derive(Debug)]
pub(super) struct Parcel {
    /// Of which group; `None` where it is of several.
    pub(super) group: Option<String>,
    waiting: Vec<Waiting>,
}

impl Parcel {
    /// In the order in which it happened.
    pub(super) fn notifications(&self) -> impl Iterator<Item = &Arc<Notification>> {
        self.waiting.iter().map(|waiting| &waiting.told)
    }
}

impl Backlog {
    /// Nothing to tell yet.
    pub(super) fn new(pace: Pace) -> Backlog {
        Backlog { pace, groups: BTreeMap::new(), quota: Quota::new(pace.per_minute), hurries: false }
    }

    /// One more.
    pub(super) fn push(&mut self, told: Arc<Notification>, now: Monotonic) {
        let Pace { group_wait, group_interval, .. } = self.pace;
        self.groups.retain(|_, group| !group.is_over(now, group_interval));
        let group = self.groups.entry(told.group.clone()).or_default();
        if group.waiting.is_empty() {
            let next = group.told.map_or(Monotonic::default(), |told| told + group_interval);
            group.due = next.max(now + group_wait);
        }
        group.waiting.push_back(Waiting { told, since: now });
    }

    /// What waits is due at once, from now on.
    pub(super) fn hurry(&mut self) {
        self.hurries = true;
    }

    /// When the next message may go out.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        let waiting = self.groups.values().filter(|group| !group.waiting.is_empty());
        let due = waiting.map(|group| if self.hurries { Monotonic::default() } else { group.due }).min()?;
        Some(due.max(self.quota.ready_at()))
    }

    /// The next message, if one is due.
    pub(super) fn next(&mut self, now: Monotonic) -> Option<Parcel> {
        if self.deadline().is_none_or(|due| due > now) {
            return None;
        }
        let hurries = self.hurries;
        let is_due = |group: &Group| !group.waiting.is_empty() && (hurries || group.due <= now);
        let due = self.groups.values().filter(|group| is_due(group)).count();
        let one_for_all = due > self.quota.left(now);
        self.quota.take(now);
        let mut parcel = Parcel { group: None, waiting: Vec::new() };
        let mut firings = HashSet::new();
        // A message of several groups tells of those that are not due as well: they would be the next message.
        let tells = |group: &Group| !group.waiting.is_empty() && (one_for_all || is_due(group));
        for (name, group) in self.groups.iter_mut().filter(|(_, group)| tells(group)) {
            // The end of a firing goes into a message of its own, and so does what came after it.
            while let Some(waiting) = group.waiting.pop_front_if(|next| firings.insert(next.told.episode)) {
                parcel.waiting.push(waiting);
            }
            group.told = Some(now);
            group.due = now + self.pace.group_interval;
            if !one_for_all {
                parcel.group = Some(name.clone());
                break;
            }
        }
        Some(parcel)
    }

    /// What could not be told waits again, before everything else.
    pub(super) fn put_back(&mut self, parcel: Parcel) {
        for waiting in parcel.waiting.into_iter().rev() {
            let group = self.groups.entry(waiting.told.group.clone()).or_default();
            group.due = group.due.min(waiting.since);
            group.waiting.push_front(waiting);
        }
    }

    /// Takes out what has waited for too long.
    pub(super) fn take_expired(&mut self, now: Monotonic) -> Vec<Arc<Notification>> {
        let give_up_after = self.pace.give_up_after;
        let mut expired = Vec::new();
        for group in self.groups.values_mut() {
            while let Some(old) = group.waiting.pop_front_if(|oldest| oldest.since + give_up_after <= now) {
                expired.push(old.told);
            }
        }
        expired
    }
}

impl Group {
    /// Nothing waits, and the next one need not.
    fn is_over(&self, now: Monotonic, interval: Duration) -> bool {
        self.waiting.is_empty() && self.told.is_none_or(|told| told + interval <= now)
    }
}

/// No more than so many in any minute.
#[derive(Debug)]
struct Quota {
    per_minute: usize,
    /// When the last ones were taken, the oldest first.
    taken: VecDeque<Monotonic>,
}

impl Quota {
    fn new(per_minute: u32) -> Quota {
        Quota { per_minute: (per_minute as usize).max(1), taken: VecDeque::new() }
    }

    fn left(&self, now: Monotonic) -> usize {
        let counts = self.taken.iter().filter(|taken| **taken + MINUTE > now).count();
        self.per_minute.saturating_sub(counts)
    }

    /// When there is one.
    fn ready_at(&self) -> Monotonic {
        let is_used_up = self.taken.len() == self.per_minute;
        self.taken.front().filter(|_| is_used_up).map_or(Monotonic::default(), |oldest| *oldest + MINUTE)
    }

    fn take(&mut self, now: Monotonic) {
        if self.taken.len() == self.per_minute {
            self.taken.pop_front();
        }
        self.taken.push_back(now);
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::text::tests::{firing, resolved};
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic(seconds * 1_000_000_000)
    }

    fn backlog(per_minute: u32) -> Backlog {
        Backlog::new(Pace { per_minute, ..Pace::default() })
    }

    fn of(group: &str, told: Notification) -> Arc<Notification> {
        Arc::new(Notification { group: group.to_owned(), ..told })
    }

    fn ids(parcel: Option<Parcel>) -> Vec<String> {
        let parcel = parcel.expect("a message is due");
        parcel.notifications().map(|told| told.id().replace("abc-a", "")).collect()
    }

    #[test]
    fn a_group_waits_for_its_others_and_then_keeps_its_distance() {
        let mut backlog = backlog(10);
        assert_eq!(backlog.deadline(), None);
        backlog.push(of("a", firing(1)), at(100));
        backlog.push(of("a", firing(2)), at(104));
        assert_eq!(backlog.deadline(), Some(at(105)));
        assert!(backlog.next(at(104)).is_none());
        let parcel = backlog.next(at(105)).expect("due");
        assert_eq!(parcel.group.as_deref(), Some("a"));
        assert_eq!(ids(Some(parcel)), ["1-firing", "2-firing"]);
        assert_eq!(backlog.deadline(), None);
        backlog.push(of("a", resolved(1)), at(106));
        backlog.push(of("b", firing(3)), at(107)); // another group does not wait for it
        assert_eq!(backlog.deadline(), Some(at(112)));
        assert_eq!(ids(backlog.next(at(112))), ["3-firing"]);
        assert_eq!(backlog.deadline(), Some(at(165)));
        assert_eq!(ids(backlog.next(at(165))), ["1-resolved"]);
        backlog.push(of("a", firing(4)), at(1_000)); // long after
        assert_eq!(backlog.deadline(), Some(at(1_005)));
    }

    #[test]
    fn an_end_is_told_behind_its_beginning() {
        let mut backlog = backlog(10);
        for told in [firing(1), resolved(1), firing(2)] {
            backlog.push(of("a", told), at(0));
        }
        assert_eq!(ids(backlog.next(at(5))), ["1-firing"]);
        assert_eq!(ids(backlog.next(at(65))), ["1-resolved", "2-firing"]);
    }

    #[test]
    fn fault_079_a_storm_of_alerts_is_one_message() {
        let mut backlog = backlog(10);
        for episode in 0..1_000 {
            // Some come a bit later than the others.
            backlog.push(of(&format!("group {episode}"), firing(episode)), at(episode / 900));
        }
        let parcel = backlog.next(at(5)).expect("due");
        assert_eq!((parcel.group.as_deref(), parcel.notifications().count()), (None, 1_000));
        assert!(backlog.next(at(5)).is_none());
        assert_eq!(backlog.deadline(), None);
    }

    #[test]
    fn no_more_than_so_many_a_minute() {
        let mut backlog = backlog(3);
        let mut sent = Vec::new();
        for second in 0..180 {
            // A new group each second.
            backlog.push(of(&format!("group {second}"), firing(second)), at(second));
            sent.extend(backlog.next(at(second)).map(|_| second));
        }
        // The fourth tells of all that waits, and what comes then waits for company again.
        assert_eq!(sent, [5, 6, 7, 65, 71, 72, 125, 131, 132]);
    }

    #[test]
    fn what_cannot_be_told_waits_again_and_not_for_ever() {
        let mut backlog = backlog(10);
        backlog.push(of("a", firing(1)), at(0));
        backlog.push(of("a", firing(2)), at(1));
        let parcel = backlog.next(at(5)).expect("due");
        backlog.push(of("a", firing(3)), at(6));
        backlog.put_back(parcel);
        assert_eq!(backlog.deadline(), Some(at(0)));
        assert_eq!(ids(backlog.next(at(7))), ["1-firing", "2-firing", "3-firing"]);

        backlog.push(of("a", firing(4)), at(10));
        backlog.push(of("a", firing(5)), at(20));
        assert!(backlog.take_expired(at(3_609)).is_empty());
        let expired: Vec<_> = backlog.take_expired(at(3_610)).iter().map(|told| told.episode).collect();
        assert_eq!(expired, [4]);
    }

    #[test]
    fn at_the_end_nothing_waits_for_company() {
        let mut backlog = backlog(10);
        backlog.push(of("a", firing(1)), at(0));
        backlog.hurry();
        assert_eq!(ids(backlog.next(at(1))), ["1-firing"]);
        backlog.push(of("a", firing(2)), at(1));
        assert_eq!(ids(backlog.next(at(1))), ["2-firing"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever comes when, and fails how often: each turn leaves once, in order, and never faster than allowed.
        #[test]
        fn each_turn_leaves_once(
            steps in prop::collection::vec((0u64..30, 0u64..4, any::<bool>()), 1..80),
            per_minute in 1u32..8,
        ) {
            let mut backlog = backlog(per_minute);
            let (mut now, mut pushed, mut left, mut sent) = (0, Vec::new(), Vec::new(), Vec::new());
            for (episode, (wait, group, fails)) in (0u64..).zip(steps) {
                now += wait;
                for told in [firing(episode), resolved(episode)] {
                    pushed.push(told.id());
                    backlog.push(of(&format!("g{group}"), told), at(now));
                }
                if let Some(parcel) = backlog.next(at(now)) {
                    sent.push(now);
                    if fails {
                        backlog.put_back(parcel);
                    } else {
                        left.extend(parcel.notifications().map(|told| told.id()));
                    }
                }
            }
            while let Some(due) = backlog.deadline() {
                let parcel = backlog.next(due).expect("it is due");
                sent.push(due.0 / 1_000_000_000);
                left.extend(parcel.notifications().map(|told| told.id()));
            }
            for pair in pushed.chunks(2) {
                let place = |id: &String| left.iter().position(|left| left == id);
                prop_assert!(place(&pair[0]) < place(&pair[1]), "{:?}", left);
            }
            left.sort();
            pushed.sort();
            prop_assert_eq!(left, pushed);
            let per_minute = per_minute as usize;
            for window in sent.windows(per_minute + 1) {
                prop_assert!(window[per_minute] - window[0] >= 60, "{:?}", sent);
            }
        }
    }
}

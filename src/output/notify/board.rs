//! What Alertmanager is to be told: all that fires, again and again, and for a while what has resolved.
//!
//! Each alert is due at once when something about it changes and then each minute. There are no groups and no limit of
//! messages here: Alertmanager has its own, and one request tells of many.
//! Limit: it holds what is put in, of which there is a maximum (`daemon::notify`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::alertmanager::{RESEND_EVERY, RESOLVED_FOR};
use crate::engine::record::notification::Notification;
use crate::units::{Monotonic, Now};

/// The most alerts in one request.
const POST_MAX: usize = 200;
/// The least time between two requests that went well: many alerts begin in the same second.
const POST_EVERY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Board {
    /// By the number of the firing; no two of them have the same labels.
    alerts: BTreeMap<u64, Alert>,
    give_up_after: Duration,
    /// No request before this.
    not_before: Monotonic,
    /// Requests keep no distance any more.
    hurries: bool,
}

#[derive(Debug)]
struct Alert {
    told: Arc<Notification>,
    /// When it is told next.
    next: Monotonic,
    /// When this turn came.
    since: Monotonic,
    /// Until when it is told again that it has resolved.
    until: Option<Monotonic>,
    /// This turn has arrived.
    has_arrived: bool,
}

impl Board {
    /// Nothing to tell.
    pub(super) fn new(give_up_after: Duration) -> Board {
        Board { alerts: BTreeMap::new(), give_up_after, not_before: Monotonic::default(), hurries: false }
    }

    /// How an alert stands from now on. Gives back earlier firings of the same alert, which are not told any more:
    /// Alertmanager knows alerts by their labels, and would take their end for this one's.
    pub(super) fn push(&mut self, told: Arc<Notification>, now: Now) -> Vec<Arc<Notification>> {
        let is_superseded =
            |alert: &Alert| alert.told.labels == told.labels && alert.told.episode != told.episode;
        let superseded = self.alerts.extract_if(.., |_, alert| is_superseded(alert));
        let superseded = superseded.map(|(_, alert)| alert.told).collect();
        // After a restart, some of the time is over.
        let over = if told.is_resolved { now.wall.since(told.at).min(RESOLVED_FOR) } else { Duration::ZERO };
        let until = told.is_resolved.then(|| now.arrival + (RESOLVED_FOR - over));
        let alert = Alert { next: now.arrival, since: now.arrival, until, has_arrived: false, told };
        self.alerts.insert(alert.told.episode, alert);
        superseded
    }

    /// What is not told yet is due at once, from now on.
    pub(super) fn hurry(&mut self) {
        (self.hurries, self.not_before) = (true, Monotonic::default());
    }

    /// When the next request is due.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        let next = self.alerts.values().map(|alert| alert.next).min()?;
        Some(next.max(self.not_before))
    }

    /// Whether something has never arrived.
    pub(super) fn has_news(&self) -> bool {
        self.alerts.values().any(|alert| !alert.has_arrived)
    }

    /// Turns that have never arrived.
    pub(super) fn unheard(&self) -> u64 {
        self.alerts.values().filter(|alert| !alert.has_arrived).count() as u64
    }

    /// What the next request tells, if one is due.
    pub(super) fn next(&mut self, now: Monotonic) -> Option<Vec<Arc<Notification>>> {
        if self.deadline().is_none_or(|due| due > now) {
            return None;
        }
        let due = self.alerts.values().filter(|alert| alert.next <= now);
        Some(due.take(POST_MAX).map(|alert| Arc::clone(&alert.told)).collect())
    }

    /// It has arrived. Gives back what need not be told again.
    pub(super) fn arrived(&mut self, told: &[Arc<Notification>], now: Monotonic) -> Vec<Arc<Notification>> {
        let mut over = Vec::new();
        for told in told {
            let Some(alert) = self.alerts.get_mut(&told.episode).filter(|alert| alert.is(told)) else {
                continue;
            };
            alert.next = now + RESEND_EVERY;
            alert.has_arrived = true;
            if alert.until.is_some_and(|until| until < alert.next) {
                self.alerts.remove(&told.episode);
                over.push(Arc::clone(told));
            }
        }
        let is_behind = self.alerts.values().any(|alert| alert.next <= now);
        self.not_before = if is_behind || self.hurries { now } else { now + POST_EVERY };
        over
    }

    /// Gives up what has resolved and could not be told for too long.
    pub(super) fn take_expired(&mut self, now: Monotonic) -> Vec<Arc<Notification>> {
        let give_up_after = self.give_up_after;
        let is_expired = |alert: &Alert| alert.until.is_some() && alert.since + give_up_after <= now;
        let expired = self.alerts.extract_if(.., |_, alert| is_expired(alert));
        expired.map(|(_, alert)| alert.told).collect()
    }
}

impl Alert {
    /// Whether it still stands as it did then.
    fn is(&self, told: &Arc<Notification>) -> bool {
        Arc::ptr_eq(&self.told, told)
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::tests::{firing, resolved};
    use super::*;
    use crate::units::Timestamp;

    /// A firing with labels of its own.
    fn other(told: Notification) -> Arc<Notification> {
        let labels = vec![("alertname".to_owned(), told.episode.to_string())];
        Arc::new(Notification { labels, ..told })
    }

    /// So many seconds after the firing's end.
    fn at(seconds: u64) -> Now {
        let wall = resolved(1).at + Duration::from_secs(seconds);
        Now { arrival: Monotonic(seconds * 1_000_000_000), wall }
    }

    /// Sends what is due; the episodes, and those that are over.
    fn send(board: &mut Board, seconds: u64) -> (Vec<String>, Vec<u64>) {
        let now = at(seconds).arrival;
        let told = board.next(now).unwrap_or_default();
        let over = board.arrived(&told, now).iter().map(|told| told.episode).collect();
        (told.iter().map(|told| told.id().replace("abc-a", "")).collect(), over)
    }

    #[test]
    fn what_fires_is_told_each_minute_and_what_has_resolved_for_five() {
        let mut board = Board::new(Duration::from_secs(3600));
        assert_eq!(board.deadline(), None);
        board.push(Arc::new(firing(1)), at(0));
        assert_eq!(send(&mut board, 0), (vec!["1-firing".to_owned()], vec![]));
        assert_eq!(board.deadline(), Some(at(60).arrival));
        assert_eq!(send(&mut board, 60), (vec!["1-firing".to_owned()], vec![]));
        let end = Notification { at: at(70).wall, ..resolved(1) };
        board.push(Arc::new(end), at(70));
        assert_eq!(board.deadline(), Some(at(70).arrival));
        for minute in 0..5 {
            assert_eq!(send(&mut board, 70 + 60 * minute), (vec!["1-resolved".to_owned()], vec![]));
        }
        assert_eq!(send(&mut board, 370), (vec!["1-resolved".to_owned()], vec![1]));
        assert_eq!(board.deadline(), None);
    }

    #[test]
    fn after_a_restart_it_is_told_at_least_once() {
        let mut board = Board::new(Duration::from_secs(3600));
        board.push(Arc::new(resolved(1)), at(100_000));
        assert_eq!(send(&mut board, 100_000), (vec!["1-resolved".to_owned()], vec![1]));
        let mut board = Board::new(Duration::from_secs(3600));
        let ahead = Timestamp(resolved(1).at.0 - Timestamp::SECOND);
        board.push(Arc::new(resolved(1)), Now { wall: ahead, ..at(0) });
        assert_eq!(send(&mut board, 0), (vec!["1-resolved".to_owned()], vec![]));
    }

    #[test]
    fn fault_079_a_storm_of_alerts_is_a_handful_of_requests() {
        let mut board = Board::new(Duration::from_secs(3600));
        (0..1_000).for_each(|episode| drop(board.push(other(firing(episode)), at(0))));
        let sizes: Vec<_> = (0..5).map(|_| send(&mut board, 0).0.len()).collect();
        assert_eq!(sizes, [200; 5]);
        board.push(other(firing(1_000)), at(0));
        assert_eq!(board.deadline(), Some(at(1).arrival), "one request a second is enough");
    }

    #[test]
    fn what_fires_again_is_not_ended_by_its_earlier_end() {
        let mut board = Board::new(Duration::from_secs(3600));
        board.push(Arc::new(resolved(1)), at(0));
        send(&mut board, 0);
        let superseded = board.push(Arc::new(firing(2)), at(10));
        assert_eq!(superseded.iter().map(|told| told.episode).collect::<Vec<_>>(), [1]);
        assert_eq!(send(&mut board, 10).0, ["2-firing"]);
        assert_eq!(send(&mut board, 70).0, ["2-firing"]);
        assert!(board.push(Arc::new(resolved(2)), at(80)).is_empty(), "its own end is no other firing");
    }

    #[test]
    fn what_changed_while_it_was_told_is_told_again() {
        let mut board = Board::new(Duration::from_secs(3600));
        board.push(Arc::new(firing(1)), at(0));
        let told = board.next(at(0).arrival).expect("due");
        board.push(Arc::new(resolved(1)), at(1));
        assert!(board.arrived(&told, at(1).arrival).is_empty() && board.has_news());
        assert_eq!(send(&mut board, 2).0, ["1-resolved"]);
        assert!(!board.has_news());
    }

    #[test]
    fn an_end_that_nobody_takes_is_given_up_and_what_fires_is_not() {
        let mut board = Board::new(Duration::from_secs(3600));
        board.push(other(firing(1)), at(0));
        board.push(other(resolved(2)), at(0));
        assert!(board.take_expired(at(3_599).arrival).is_empty());
        let expired: Vec<_> = board.take_expired(at(3_600).arrival).iter().map(|told| told.episode).collect();
        assert_eq!(expired, [2]);
        assert_eq!(send(&mut board, 3_600).0, ["1-firing"]);
    }
}

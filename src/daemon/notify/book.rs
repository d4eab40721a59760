//! The firings that people are still to be told of, or whose end is still to come: the memory of what is in the outbox.
//!
//! Limit: [`FIRINGS_MAX`] firings with [`BYTES_MAX`] of text. What is beyond is not told, and counted: whoever has a
//! thousand alerts is not helped by more.

use std::collections::HashMap;

use crate::engine::record::notification::Notification;

/// The most firings.
const FIRINGS_MAX: usize = 1_000;
/// The most bytes of their texts, both turns of each. An outbox of the smallest size has room for it.
const BYTES_MAX: usize = 1 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Book {
    /// By their numbers.
    live: HashMap<u64, Firing>,
    bytes: usize,
    /// How many must be told.
    receivers: usize,
}

#[derive(Debug)]
struct Firing {
    /// Its name, which stays when the lane is renewed in between.
    name: String,
    bytes: usize,
    /// Receivers that have not settled its end.
    open: usize,
    has_ended: bool,
}

impl Book {
    /// Nothing yet; so many must be told.
    pub(super) fn new(receivers: usize) -> Book {
        Book { live: HashMap::new(), bytes: 0, receivers }
    }

    /// Whether people are told of it. Of an end they are if they were of the beginning, under the same name.
    pub(super) fn admit(&mut self, notification: &mut Notification) -> bool {
        let size = notification.size();
        if !notification.is_resolved {
            // An end takes as much again.
            let fits = self.live.len() < FIRINGS_MAX && self.bytes + 2 * size <= BYTES_MAX;
            if fits && self.receivers > 0 {
                self.open(notification);
            }
            return fits && self.receivers > 0;
        }
        let Some(firing) = self.live.get_mut(&notification.episode).filter(|firing| !firing.has_ended) else {
            return false;
        };
        firing.has_ended = true;
        notification.firing.clone_from(&firing.name);
        true
    }

    fn open(&mut self, notification: &Notification) {
        let bytes = 2 * notification.size();
        let firing =
            Firing { name: notification.firing.clone(), bytes, open: self.receivers, has_ended: false };
        self.bytes += bytes;
        if let Some(old) = self.live.insert(notification.episode, firing) {
            self.bytes -= old.bytes;
        }
    }

    /// Takes in what an earlier process left, of which `open` receivers have not settled this turn.
    pub(super) fn take_back(&mut self, notification: &Notification, open: usize) {
        if !self.live.contains_key(&notification.episode) {
            self.open(notification);
        }
        if let Some(firing) = self.live.get_mut(&notification.episode).filter(|_| notification.is_resolved) {
            (firing.has_ended, firing.open) = (true, open);
        }
    }

    /// One receiver has settled a notification. True when nobody is to be told of its firing any more.
    pub(super) fn settle(&mut self, notification: &Notification) -> bool {
        let Some(firing) = self.live.get_mut(&notification.episode).filter(|_| notification.is_resolved)
        else {
            return false;
        };
        firing.open = firing.open.saturating_sub(1);
        let is_over = firing.open == 0;
        if is_over {
            self.forget(notification.episode);
        }
        is_over
    }

    /// Forgets a firing.
    pub(super) fn forget(&mut self, episode: u64) {
        if let Some(firing) = self.live.remove(&episode) {
            self.bytes -= firing.bytes;
        }
    }

    /// Firings that are not over for everybody.
    pub(super) fn len(&self) -> usize {
        self.live.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn firing(episode: u64) -> Notification {
        Notification { firing: format!("lane-a{episode}"), episode, ..Notification::default() }
    }

    fn end(episode: u64) -> Notification {
        Notification { is_resolved: true, firing: format!("renewed-a{episode}"), ..firing(episode) }
    }

    #[test]
    fn a_firing_is_over_when_everybody_knows_its_end() {
        let mut book = Book::new(2);
        assert!(book.admit(&mut firing(1)));
        let mut resolved = end(1);
        assert!(book.admit(&mut resolved));
        assert_eq!(resolved.id(), "lane-a1-resolved", "it keeps the name that it began under");
        assert!(!book.admit(&mut end(1)), "it ends once");
        assert!(!book.admit(&mut end(2)), "nobody was told that it began");
        assert!(!book.settle(&firing(1)) && !book.settle(&firing(1)));
        assert!(!book.settle(&end(1)) && book.settle(&end(1)));
        assert_eq!((book.len(), book.bytes), (0, 0));
    }

    #[test]
    fn fault_079_there_is_a_most() {
        let mut book = Book::new(1);
        let admitted = (0..2_000).filter(|episode| book.admit(&mut firing(*episode))).count();
        assert_eq!(admitted, FIRINGS_MAX);
        assert!(book.admit(&mut end(5)) && book.settle(&end(5)));
        assert!(book.admit(&mut firing(9_000)), "there is room again");
        let mut book = Book::new(1);
        let long = |episode| Notification { summary: "x".repeat(10_000), ..firing(episode) };
        let admitted = (0..2_000).filter(|episode| book.admit(&mut long(*episode))).count();
        assert!((50..60).contains(&admitted), "{admitted}");
    }

    #[test]
    fn nobody_to_tell_is_nothing_to_remember() {
        let mut book = Book::new(0);
        assert!(!book.admit(&mut firing(1)) && !book.admit(&mut end(1)));
    }

    #[test]
    fn what_an_earlier_process_left_goes_on() {
        let mut book = Book::new(2);
        book.take_back(&firing(1), 1);
        book.take_back(&firing(2), 0);
        book.take_back(&end(2), 1);
        assert_eq!(book.len(), 2);
        assert!(book.settle(&end(2)), "one knew it already");
        assert!(book.admit(&mut end(1)) && !book.settle(&end(1)) && book.settle(&end(1)));
    }
}

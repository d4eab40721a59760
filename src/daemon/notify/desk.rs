//! The thread of one receiver: waits for what is to be told, and until it may be; sends; says what became of it.
//!
//! It sleeps for as long as there is nothing to tell. A request takes a few seconds at most, and holds up nobody but
//! this receiver.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};

use crate::daemon::clock;
use crate::engine::record::notification::Notification;
use crate::output::notify::{Courier, Settled, Tally};

/// What a receiver's thread is told.
#[derive(Debug)]
pub(super) enum Note {
    /// Somebody is to be told this.
    Tell(Arc<Notification>),
    /// squall ends: what waits does not wait for company any more.
    Hurry,
}

/// Where it says what became of notifications: of each once, so it holds no more than there are.
pub(super) type Sink = Arc<Mutex<Vec<(usize, Settled)>>>;

/// The thread's belongings.
pub(super) struct Desk {
    pub(super) courier: Courier,
    /// Its number among the receivers.
    pub(super) index: usize,
    pub(super) notes: Receiver<Note>,
    pub(super) sink: Sink,
    /// Where it says how all of it fares.
    pub(super) tally: Arc<Mutex<Tally>>,
    /// Held until the thread ends, so that its end can be waited for.
    pub(super) alive: SyncSender<()>,
}

impl Desk {
    /// Runs until nobody has anything to tell any more and what could be sent was.
    pub(super) fn run(mut self) {
        while self.listen() {
            self.work();
            self.report();
            self.wait();
        }
        // Nothing comes any more. What does not arrive now is told by the next start.
        self.courier.hurry();
        let is_due =
            |courier: &Courier| courier.news_deadline().is_some_and(|due| due <= clock::now().arrival);
        while is_due(&self.courier) && self.send() {}
        self.report();
        drop(self.alive);
    }

    fn report(&self) {
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner) = self.courier.tally();
    }

    /// Takes in what has come. False when nothing will come any more.
    fn listen(&mut self) -> bool {
        loop {
            match self.notes.try_recv() {
                Ok(note) => self.take(note),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn take(&mut self, note: Note) {
        match note {
            Note::Tell(notification) => {
                let settled = self.courier.push(notification, clock::now());
                self.settle(settled);
            }
            Note::Hurry => self.courier.hurry(),
        }
    }

    /// Does what is due.
    fn work(&mut self) {
        let expired = self.courier.take_expired(clock::now().arrival);
        self.settle(expired);
        if self.courier.deadline().is_some_and(|due| due <= clock::now().arrival) {
            self.send();
        }
    }

    /// Sends one message. False when it did not arrive.
    fn send(&mut self) -> bool {
        let Some(message) = self.courier.prepare(clock::now()) else { return false };
        let outcome = message.send();
        let has_arrived = outcome.has_arrived();
        let settled = self.courier.conclude(outcome, clock::now().arrival);
        self.settle(settled);
        has_arrived
    }

    fn settle(&self, settled: Vec<Settled>) {
        if !settled.is_empty() {
            let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
            sink.extend(settled.into_iter().map(|settled| (self.index, settled)));
        }
    }

    /// Sleeps until something comes or is due.
    fn wait(&mut self) {
        // Whether it was too long, or nobody is there any more, is seen by listening.
        let note = match self.courier.deadline() {
            None => self.notes.recv().ok(),
            Some(due) => self.notes.recv_timeout(due.since(clock::now().arrival)).ok(),
        };
        if let Some(note) = note {
            self.take(note);
        }
    }
}

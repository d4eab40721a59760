//! Telling people of alerts: one thread a receiver, and between them and the output thread what is still to be told.
//!
//! ```text
//!  output thread: admit → commit (record and notification in one epoch) → hand over ──► receivers' threads
//!                 outbox ◄── who was told, what is over ◄────────────────────────────── settled
//! ```
//! Invariant: a notification is handed over only when its epoch is committed, and is in the outbox until every receiver
//! has settled its firing's end. So after a `kill -9` it is told once more at most, with the same id.
//! Never back-pressure: handing over does not wait, and what there is no room for is counted.
//! Limits: `book`. Not here: when a receiver is told, and how (`output::notify`).

mod announce;
mod book;
mod desk;

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use self::announce::Announcer;
use self::book::Book;
use self::desk::{Desk, Note, Sink};
use super::epoch::Epoch;
use super::ship::Ship;
use crate::engine::record::notification::Notification;
use crate::outbox::{KeptNotification, Told};
use crate::output::notify::{Courier, Kind, Options, Settled, Tally};
use crate::status::view::ReceiverView;
use crate::units::{Monotonic, Now};

/// Notifications that wait for a receiver's thread: both turns of as many firings as there can be, so it is never full
/// unless that thread is gone.
const NOTES_MAX: usize = 4_096;

/// See the module.
pub struct Notifier {
    lines: Vec<Line>,
    book: Book,
    settled: Sink,
    announcer: Option<Announcer>,
    /// Firings of which nobody is told, because there were too many.
    dropped: u64,
    /// What is still to be stored.
    told: Vec<Told>,
    over: Vec<u64>,
    /// Disconnected when all threads have ended.
    alive: Receiver<()>,
    hurries: bool,
    /// Turns that were handed to receivers who are told once, and are not settled.
    on_the_way: usize,
}

/// The way to a receiver's thread.
struct Line {
    name: String,
    notes: SyncSender<Note>,
    /// Who is told each turn once. Alertmanager is told all that stands, also after a restart.
    is_once: bool,
    /// Turns that were handed over.
    handed: u64,
    tally: Arc<Mutex<Tally>>,
}

impl Line {
    /// Hands a turn over. False where there is no room.
    fn tell(&mut self, notification: &Arc<Notification>) -> bool {
        let is_taken = self.notes.try_send(Note::Tell(Arc::clone(notification))).is_ok();
        self.handed += u64::from(is_taken);
        is_taken
    }
}

impl Notifier {
    /// Starts the threads, with what an earlier process left. `firing` are the firings that are not over: if an end was
    /// never told because its rule is gone, it is told now.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(
        couriers: Vec<Courier>,
        options: &Options,
        kept: Vec<KeptNotification>,
        firing: &HashSet<u64>,
        now: Now,
    ) -> std::io::Result<Notifier> {
        let settled = Sink::default();
        let (alive, all_gone) = sync_channel(0);
        let mut lines = Vec::new();
        for (index, (courier, receiver)) in couriers.into_iter().zip(&options.receivers).enumerate() {
            let (notes, taken) = sync_channel(NOTES_MAX);
            let is_once = !matches!(receiver.kind, Kind::Alertmanager);
            let (name, tally) = (courier.name().to_owned(), Arc::default());
            lines.push(Line { name, notes, is_once, handed: 0, tally: Arc::clone(&tally) });
            let sink = Arc::clone(&settled);
            let desk = Desk { courier, index, notes: taken, sink, tally, alive: alive.clone() };
            // It ends by itself, or with the process: a receiver that hangs is not waited for.
            thread::Builder::new().name("squall-notify".to_owned()).spawn(move || desk.run())?;
        }
        let mut notifier = Notifier {
            book: Book::new(lines.len()),
            lines,
            settled,
            announcer: options.log.then(Announcer::default),
            dropped: 0,
            told: Vec::new(),
            over: Vec::new(),
            alive: all_gone,
            hurries: false,
            on_the_way: 0,
        };
        notifier.take_back(kept, firing, now);
        Ok(notifier)
    }

    /// Whether somebody may confirm something soon: what is confirmed and not stored is told again after a kill.
    pub fn awaits(&self) -> bool {
        self.on_the_way > 0
    }

    /// How each receiver stands, since the start of this process.
    pub fn receivers(&self) -> Vec<ReceiverView> {
        let view = |line: &Line| {
            let tally = *line.tally.lock().unwrap_or_else(PoisonError::into_inner);
            ReceiverView {
                name: line.name.clone(),
                sent: tally.told,
                failed: tally.given_up,
                superseded: tally.superseded,
                dropped: self.dropped,
                waiting: line.handed.saturating_sub(tally.settled()),
                is_open: tally.is_open,
            }
        };
        self.lines.iter().map(view).collect()
    }

    /// Goes on where an earlier process was.
    fn take_back(&mut self, mut kept: Vec<KeptNotification>, firing: &HashSet<u64>, now: Now) {
        if self.lines.is_empty() {
            self.over = kept.iter().map(|kept| kept.notification.episode).collect();
            return;
        }
        let mut ended: HashSet<u64> = kept
            .iter()
            .filter(|kept| kept.notification.is_resolved)
            .map(|kept| kept.notification.episode)
            .collect();
        let orphans: Vec<KeptNotification> = kept
            .iter()
            .filter(|kept| !ended.contains(&kept.notification.episode))
            .filter(|kept| !firing.contains(&kept.notification.episode))
            .map(|kept| Notification { is_resolved: true, at: now.wall, ..kept.notification.clone() })
            .map(|notification| KeptNotification { notification, told: Vec::new() })
            .collect();
        ended.extend(orphans.iter().map(|orphan| orphan.notification.episode));
        kept.extend(orphans);
        for KeptNotification { notification, told } in kept {
            // What stands is what counts: that something fired is not told again when it has ended.
            let is_past = !notification.is_resolved && ended.contains(&notification.episode);
            let wanting = |line: &Line| if line.is_once { !told.contains(&line.name) } else { !is_past };
            let open = self.lines.iter().filter(|line| wanting(line)).count();
            self.book.take_back(&notification, open);
            if open == 0 && notification.is_resolved {
                self.over.push(notification.episode);
                self.book.forget(notification.episode);
            }
            self.on_the_way += self.lines.iter().filter(|line| line.is_once && wanting(line)).count();
            let notification = Arc::new(notification);
            self.lines.iter_mut().filter(|line| wanting(line)).for_each(|line| {
                // There is room for as many as were admitted.
                line.tell(&notification);
            });
        }
        if self.book.len() > 0 {
            tracing::info!(
                alerts = self.book.len(),
                "alerts of the last run are still to be told, or to end"
            );
        }
    }

    /// Decides what people are told of an epoch's alerts: once, before it is committed.
    pub fn admit(&mut self, epoch: &mut Epoch, now: Monotonic) {
        let mut dropped = epoch.unheard;
        epoch.notifications.retain_mut(|notification| {
            if let Some(announcer) = &mut self.announcer {
                announcer.announce(notification, now);
            }
            let is_admitted = self.book.admit(notification);
            dropped += u64::from(!is_admitted && !notification.is_resolved);
            is_admitted
        });
        if dropped > 0 && !self.lines.is_empty() {
            self.dropped += dropped;
            tracing::error!(alerts = dropped, "so many alerts fire that nobody is told of these");
        }
    }

    /// An epoch is committed: its notifications go out.
    pub fn committed(&mut self, epoch: &mut Epoch) {
        for notification in epoch.notifications.drain(..) {
            let notification = Arc::new(notification);
            self.on_the_way += self.lines.iter().filter(|line| line.is_once).count();
            for line in &mut self.lines {
                if !line.tell(&notification) {
                    // The outbox has it: the next start tells it.
                    tracing::error!(
                        receiver = line.name,
                        id = notification.firing,
                        "not told for now: its queue is full"
                    );
                }
            }
        }
    }

    /// Stores what the receivers have settled since the last call.
    pub fn collect(&mut self, ship: &mut Ship, now: Now) {
        let settled = std::mem::take(&mut *self.settled.lock().unwrap_or_else(PoisonError::into_inner));
        for (index, Settled { notification, .. }) in settled {
            let (episode, state) = (notification.episode, notification.state());
            if let Some(line) = self.lines.get(index).filter(|line| line.is_once) {
                self.told.push(Told { episode, state, receiver: line.name.clone() });
                self.on_the_way = self.on_the_way.saturating_sub(1);
            }
            if self.book.settle(&notification) {
                self.told.retain(|told| told.episode != episode);
                self.over.push(episode);
            }
        }
        let is_idle = self.told.is_empty() && self.over.is_empty();
        if !is_idle && ship.settle_notifications(&self.told, &self.over, now) {
            self.told.clear();
            self.over.clear();
        }
    }

    /// squall is asked to end: what waits for company goes out now.
    pub fn hurry(&mut self) {
        if !std::mem::replace(&mut self.hurries, true) {
            for line in &self.lines {
                // A thread that is gone, or has its queue full, needs no hurry.
                let _ = line.notes.try_send(Note::Hurry);
            }
        }
    }

    /// Lets the threads end, and waits for them, but not longer than `at_most`. What is not told then is in the outbox.
    pub fn close(&mut self, at_most: Duration) {
        if self.lines.is_empty() {
            return;
        }
        for line in &mut self.lines {
            // The thread hears that nobody holds the other end any more.
            line.notes = sync_channel(0).0;
        }
        // Nothing is ever sent: either all have ended, or it is too late.
        let _ = self.alive.recv_timeout(at_most);
    }
}

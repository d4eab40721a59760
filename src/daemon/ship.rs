//! From epochs to the output: commit first, then offer; what the output cannot take now is read back from the outbox
//! when it can.
//!
//! Invariant (delivery.md R1): nothing reaches the output before its epoch is committed. Records are offered in the
//! order of their numbers; after a failure of the output they are offered again from the first one that is not
//! acknowledged, with the same ids and bytes.
//! Limit: one batch in memory beside what the output itself holds.
//! Without an outbox, the batch in memory is all there is: the next epoch waits until it is taken.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::bounds::Bounds;
use super::epoch::Epoch;
use super::feedback::{Feedback, Tell};
use super::mend::{Mend, Refusal};
use super::refused::{Answer, Refused};
use super::retry::Retry;
use crate::engine::record::{Batch, Encoding, Lost, Reason};
use crate::outbox::{self, Loss, Store, StoreError, Told, Unsent, Waiting};
use crate::output::{Output, OutputError, Standing};
use crate::units::{Bytes, Lines, Monotonic, Now};

/// How far the ack cursor on disk may lag when no epoch carries it (delivery.md R4).
const ACK_EVERY: Duration = Duration::from_secs(1);
/// How often the files with the credentials are looked at while there is trouble.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The least time between two attempts to make a new producer: a secret that is half written now is whole soon.
const REOPEN_EVERY: Duration = Duration::from_secs(1);
/// The least time between two attempts to read back what cannot be read.
const READ_EVERY: Duration = Duration::from_millis(100);

/// The output with what stands before it.
pub struct Ship {
    output: Output,
    /// How it stood when it was last tended.
    standing: Standing,
    /// The attempts to make a new producer.
    reopening: Retry,
    store: Option<Store>,
    /// What helps when its disk fails.
    mend: Mend,
    /// The attempts to read records back from it.
    reading: Retry,
    /// The attempts to store the ack cursor.
    acknowledging: Retry,
    /// The attempts to store who was told of alerts.
    noting: Retry,
    /// The last commit failed, and may have been made all the same: it is found out when it is tried again.
    undecided: bool,
    /// Why nothing may be committed or read any more.
    hopeless: Option<String>,
    /// Stored records that are lost, in the order of their numbers, until the notice that names them is committed.
    untold: Vec<Loss>,
    feedback: Arc<Feedback>,
    /// What the destination refuses.
    refused: Refused,
    /// The records that are being offered, and how many messages of them were taken.
    pending: Option<(Batch, usize)>,
    /// The number of the next record to offer, once `pending` is taken.
    next: u64,
    /// Every record up to this number is committed.
    committed: u64,
    /// The ack cursor with which the outbox was opened: the output knows only what it was given.
    carried: u64,
    /// The ack cursor in the outbox.
    stored: u64,
    /// When it was stored.
    stored_at: Monotonic,
    /// When the credentials were looked at. A time of its own: epochs store the ack cursor ten times a second.
    looked_at: Monotonic,
}

/// What ends delivery.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    /// The output cannot be used any more.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The outbox cannot. A new process goes on from what is committed.
    #[error("{0}")]
    Outbox(String),
}

impl Ship {
    /// Ships through `output` what is committed to `store`, beginning behind its ack cursor.
    pub fn new(
        output: Output,
        store: Option<Store>,
        dead_letters: PathBuf,
        [acked, next_seq]: [u64; 2],
        feedback: Arc<Feedback>,
    ) -> Ship {
        Ship {
            standing: output.standing(),
            output,
            reopening: Retry::new(REOPEN_EVERY),
            store,
            mend: Mend::new(),
            reading: Retry::new(READ_EVERY),
            acknowledging: Retry::new(ACK_EVERY),
            noting: Retry::new(ACK_EVERY),
            undecided: false,
            hopeless: None,
            untold: Vec::new(),
            feedback,
            refused: Refused::new(dead_letters),
            pending: None,
            next: acked + 1,
            committed: next_seq - 1,
            carried: acked,
            stored: acked,
            stored_at: Monotonic::default(),
            looked_at: Monotonic::default(),
        }
    }

    /// Whether the next epoch may come.
    pub fn takes(&self) -> bool {
        self.store.is_some() || self.pending.is_none()
    }

    /// Whether records wait to be offered.
    pub fn waits(&self) -> bool {
        self.pending.is_some() || self.next <= self.committed
    }

    /// Makes messages of the records, as they will be stored and sent. What is packed already stays as it is: an epoch
    /// that was refused once, say.
    ///
    /// # Errors
    /// When they cannot be compressed.
    pub fn pack(&mut self, epoch: &mut Epoch) -> Result<(), OutputError> {
        self.output.pack(&mut epoch.batch)
    }

    /// Commits an epoch. Its records go on to the output at once where nothing stands before them; else they are read
    /// back when their turn comes. On a refusal nothing has changed, and the epoch may be tried again.
    pub fn commit(&mut self, epoch: &mut Epoch, now: Now) -> Result<(), Refusal> {
        let acked = self.acked();
        let Some(store) = &mut self.store else {
            self.pending = (!epoch.batch.is_empty()).then(|| (std::mem::take(&mut epoch.batch), 0));
            return Ok(());
        };
        let first = self.committed + 1;
        let row = outbox::Epoch {
            batch: &epoch.batch,
            changes: &epoch.changes,
            positions: &epoch.positions,
            positions_gone: &epoch.positions_gone,
            blocks: &epoch.blocks,
            blocks_gone: &epoch.blocks_gone,
            told: &epoch.told,
            notifications: &epoch.notifications,
            acked,
        };
        let next = epoch.changes.totals.next_seq;
        match commit_in(store, &row) {
            Ok(()) => self.mend.succeeded(),
            Err(error) => {
                self.undecided = true;
                // Room for the notice may only come from what is acknowledged behind the loss. So the cursor passes it, and
                // the notice is only in memory until there is room.
                if matches!(error, StoreError::Full { .. } | StoreError::DiskFull { .. }) {
                    self.untold.clear();
                }
                self.mend.make_sure(store, &error, first..next, now.arrival)?;
            }
        }
        self.undecided = false;
        self.untold.retain(|loss| !epoch.told.contains(loss));
        (self.stored, self.stored_at) = (acked, now.arrival);
        self.committed = next - 1;
        if self.pending.is_none() && self.next == first && !epoch.batch.is_empty() {
            self.pending = Some((std::mem::take(&mut epoch.batch), 0));
            self.next = next;
        }
        Ok(())
    }

    /// Offers what waits until the output is full. True when something was taken.
    ///
    /// # Errors
    /// What ends the output and cannot be cured by a new producer, or the outbox and cannot be cured by opening it again.
    pub fn feed(&mut self, now: Now) -> Result<bool, ShipError> {
        let mut any = false;
        loop {
            let has_more = self.pending.is_some() || self.read_back(now);
            if let Some(reason) = self.hopeless.take() {
                return Err(ShipError::Outbox(reason));
            }
            if !has_more {
                return Ok(any);
            }
            let Some((batch, taken)) = &mut self.pending else { return Ok(any) };
            match self.output.offer(batch, *taken, now) {
                Ok(0) => return Ok(any),
                Ok(more) => {
                    any = true;
                    *taken += more;
                    if *taken >= batch.metas.len() {
                        self.pending = None;
                    }
                }
                // It has been told, and the next look makes a new producer.
                Err(OutputError::Broken { .. }) if self.store.is_some() => return Ok(any),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gets the next stored records. False when there are none, or they cannot be read now.
    fn read_back(&mut self, now: Now) -> bool {
        let Some(store) = &mut self.store else { return false };
        if !self.reading.is_due(now.arrival) {
            return false;
        }
        while self.next <= self.committed {
            match store.unsent(self.next) {
                Ok(Some(Unsent::Batch(batch))) => {
                    self.reading.succeeded();
                    // Packed messages are offered from the first: one of them may hold records of before and behind.
                    let from = match batch.encoding {
                        Encoding::Record => batch.metas.partition_point(|meta| meta.seq < self.next),
                        Encoding::GzipNdjson | Encoding::ZstdNdjson => 0,
                    };
                    self.next = batch.last_seq().map_or(self.next, |last| last + 1);
                    self.pending = Some((batch, from));
                    return true;
                }
                Ok(Some(Unsent::Lost(loss))) => {
                    self.next = loss.last_seq + 1;
                    // After a rewind it is met again, though it may be known otherwise how many lines it held.
                    if self.untold.last().is_some_and(|told| loss.last_seq <= told.last_seq) {
                        continue;
                    }
                    self.untold.push(loss);
                    self.feedback.tell(Tell {
                        reason: Reason::StoreDamaged,
                        message: format!(
                            "records {} to {} were damaged in the outbox before they were delivered",
                            loss.first_seq, loss.last_seq
                        ),
                        lost: Lost {
                            lines: loss.lines,
                            records: Some(loss.last_seq - loss.first_seq + 1),
                            bytes: None,
                        },
                        loss: Some(loss),
                        stream: None,
                        uncounted: Lines(0),
                    });
                }
                // Nothing is stored although it was committed: only where it was acknowledged meanwhile.
                Ok(None) => self.next = self.committed + 1,
                Err(error) => {
                    let reason = explain(&error);
                    if self.reading.failed(&reason, now.arrival) {
                        tracing::error!("cannot read the outbox: {reason}");
                    }
                    self.mend(&error, now);
                    return false;
                }
            }
        }
        false
    }

    /// Opens the outbox again where that is what helps. Nothing was being committed, so it must be as it was left.
    fn mend(&mut self, error: &StoreError, now: Now) {
        let helps = error.needs_reopen() && !self.undecided;
        let Some(store) = self.store.as_mut().filter(|_| helps) else { return };
        let next = self.committed + 1;
        // Later is soon: whoever needs the outbox then asks again.
        if let Err(Refusal::Never(reason)) = self.mend.reopen(store, error, next, now.arrival) {
            self.hopeless = Some(reason);
        }
    }

    /// A new producer, and everything that is not acknowledged once more. When none can be made (a certificate is half
    /// written, say), that is told once, and tried again in a second.
    fn rewind(&mut self, now: Now) {
        if let Err(error) = self.output.reopen() {
            let reason = explain(&error);
            if self.reopening.failed(&reason, now.arrival) {
                tracing::error!("{reason}");
            }
            return;
        }
        self.reopening.succeeded();
        self.standing = self.output.standing();
        self.pending = None;
        self.next = self.acked() + 1;
    }

    /// Answers what the destination refused: a smaller or re-stamped replacement once, then the dead-letter file.
    fn answer_refusals(&mut self, now: Now) {
        let refusals = self.output.take_refusals();
        let Some(store) = &mut self.store else {
            return refusals.iter().for_each(|refusal| self.output.settle(refusal.seq));
        };
        for refusal in refusals {
            match self.refused.answer(&refusal, store, now) {
                Answer::Resend(batch, stamp) => self.output.resend(&batch, stamp, now),
                Answer::Laid(tell) => {
                    self.feedback.tell(tell);
                    self.output.settle(refusal.seq);
                }
            }
        }
    }

    /// Says which streams do not get the topic that they were given.
    fn tell_detours(&mut self) {
        for detour in self.output.take_detours() {
            tracing::warn!("{detour}");
            self.feedback.tell(Tell::about_us(Reason::TopicUnusable, detour.to_string(), Lost::default()));
        }
    }

    /// Keeps the output's time, looks how it stands, answers what it refuses, and stores the ack cursor now and then.
    pub fn tend(&mut self, now: Now) {
        self.output.tend(now);
        self.standing = self.output.standing();
        if self.standing.needs_reopening && self.store.is_some() && self.reopening.is_due(now.arrival) {
            self.rewind(now);
        }
        self.answer_refusals(now);
        self.tell_detours();
        if now.arrival >= self.stored_at + ACK_EVERY {
            self.store_acks(now);
        }
        if now.arrival >= self.looked_at + LOOK_EVERY {
            self.looked_at = now.arrival;
            self.renew_credentials(now);
        }
    }

    /// A secret that was corrected is the cure of what nothing else cures.
    fn renew_credentials(&mut self, now: Now) {
        let has_changed = self.standing.trouble.is_some() && self.output.credentials_changed();
        if has_changed && self.reopening.is_due(now.arrival) {
            if self.reopening.trouble().is_none() {
                tracing::info!("the files with the credentials have changed and are read again");
            }
            self.rewind(now);
        }
    }

    /// Stores the ack cursor if it moved. A failure is told and costs nothing but records that are sent again.
    fn store_acks(&mut self, now: Now) {
        let acked = self.acked();
        let Some(store) = &mut self.store else { return };
        if acked == self.stored {
            return;
        }
        self.stored_at = now.arrival;
        match store.acknowledge(acked) {
            Ok(()) => {
                self.stored = acked;
                self.acknowledging.succeeded();
            }
            Err(error) => {
                let reason = explain(&error);
                if self.acknowledging.failed(&reason, now.arrival) {
                    tracing::warn!("cannot store what was delivered: {reason}");
                }
                self.mend(&error, now);
            }
        }
    }

    /// Stores which receivers have settled which notifications, and which firings are over. False where it must be tried
    /// again; a failure is told and costs nothing but messages that come twice.
    pub fn settle_notifications(&mut self, told: &[Told], over: &[u64], now: Now) -> bool {
        let Some(store) = &mut self.store else { return true };
        if !self.noting.is_due(now.arrival) {
            return false;
        }
        let Err(error) = store.settle_notifications(told, over) else {
            self.noting.succeeded();
            return true;
        };
        let reason = explain(&error);
        if self.noting.failed(&reason, now.arrival) {
            tracing::warn!("cannot store who was told of alerts: {reason}");
        }
        self.mend(&error, now);
        false
    }

    /// The fate of every record up to this number is known, as of the last look.
    fn acked(&self) -> u64 {
        self.bounds().settled(self.standing.acked_upto)
    }

    /// Between what the ack cursor is.
    pub fn bounds(&self) -> Bounds {
        let told = self.untold.first().map_or(u64::MAX, |loss| loss.first_seq - 1);
        Bounds { carried: self.carried, told }
    }

    /// Whether nothing is under way: nothing waits, no report can come, nothing is wrong, and the outbox knows it all.
    pub fn is_quiet(&self) -> bool {
        let Standing { in_flight_records, trouble, needs_reopening, .. } = &self.standing;
        let is_known = self.store.is_none() || self.acked() == self.stored;
        !self.waits() && *in_flight_records == 0 && trouble.is_none() && !needs_reopening && is_known
    }

    /// Every record up to this number is committed.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    /// Whether there is an outbox.
    pub fn has_store(&self) -> bool {
        self.store.is_some()
    }

    /// How the output stood when it was last [tended](Self::tend).
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// The share of the outbox that is in use; `None` where there is none.
    pub fn fill(&mut self) -> Option<f64> {
        let (used, most, _) = self.outbox()?;
        Some(used.0 as f64 / most.0.max(1) as f64)
    }

    /// What the outbox holds: bytes in use, bytes at which it is full, and what waits; `None` where there is none.
    pub fn outbox(&mut self) -> Option<(Bytes, Bytes, Waiting)> {
        let store = self.store.as_mut()?;
        Some((store.used().ok()?, store.payload_max(), store.waiting()))
    }

    /// Pushes out what lingers in the output.
    ///
    /// # Errors
    /// As [`feed`](Self::feed).
    pub fn flush(&mut self) -> Result<(), OutputError> {
        self.output.flush()
    }

    /// Waits for room or progress in the output.
    pub fn wait(&mut self, at_most: Duration) {
        self.output.wait(at_most);
    }

    /// The lines that wait in the outbox behind this number. Reads one epoch.
    ///
    /// # Errors
    /// When the outbox cannot be read.
    pub fn lines_behind(store: &mut Store, acked: u64) -> Result<Lines, StoreError> {
        let waiting = store.waiting().lines;
        let Some(Unsent::Batch(batch)) = store.unsent(acked + 1)? else { return Ok(waiting) };
        // A packed message arrives whole or not at all, so its lines are counted by its last record.
        let arrived: Lines = batch
            .messages()
            .filter(|(_, _, members)| members.iter().all(|seq| *seq <= acked))
            .map(|(meta, _, _)| meta.lines)
            .sum();
        Ok(Lines(waiting.0.saturating_sub(arrived.0)))
    }

    /// Ends it all: the records that nobody took, for who has no outbox; the output; the outbox.
    pub fn into_parts(self) -> (Option<(Batch, usize)>, Output, Option<Store>) {
        (self.pending, self.output, self.store)
    }
}

/// Commits an epoch. Where there is no room for it, its notifications are left out: then they are told all the same, but
/// not remembered, for nobody's logs wait for them.
fn commit_in(store: &mut Store, row: &outbox::Epoch<'_>) -> Result<(), StoreError> {
    let committed = store.commit(row);
    use StoreError::{DiskFull, Full, TooLarge};
    let is_full = matches!(committed, Err(Full { .. } | DiskFull { .. } | TooLarge { .. }));
    if !is_full || row.notifications.is_empty() {
        return committed;
    }
    store.commit(&outbox::Epoch { notifications: &[], ..*row })?;
    tracing::warn!(notifications = row.notifications.len(), "told, but not remembered: the outbox is full");
    Ok(())
}

/// An error with its causes, in one line.
pub fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::wake::Wake;
    use crate::engine::record::LaneId;
    use crate::engine::record::notification::Notification;
    use crate::output::blackhole::Blackhole;
    use crate::output::kafka::{Kafka, Options, Sasl};
    use crate::units::Timestamp;

    fn at(millis: u64) -> Now {
        Now { arrival: Monotonic(millis * 1_000_000), wall: Timestamp(0) }
    }

    /// A password that is gone for a while is asked for once a second, not with each look.
    #[test]
    fn fault_052_a_producer_that_cannot_be_made_is_tried_at_a_pace() {
        let folder = tempfile::tempdir().expect("a folder");
        let password_file = folder.path().join("password");
        std::fs::write(&password_file, "wrong\n").expect("a secret");
        let sasl = Sasl {
            mechanism: "PLAIN".into(),
            username: "squall".into(),
            password_file: password_file.clone(),
        };
        // Nobody listens there.
        let brokers = vec!["127.0.0.1:1".to_owned()];
        let options = Options { brokers, topic: "logs".into(), sasl: Some(sasl), ..Options::default() };
        let output = Output::Kafka(Kafka::open(&options).expect("a producer"));
        let feedback = Arc::new(Feedback::new(Arc::new(Wake::default())));
        let mut ship = Ship::new(output, None, folder.path().join("letters"), [0, 1], feedback);
        let is_troubled = |ship: &mut Ship| {
            ship.wait(Duration::from_millis(100));
            ship.tend(at(0));
            ship.standing().trouble.is_some()
        };
        assert!((0..300).any(|_| is_troubled(&mut ship)), "nobody answers");
        assert!(!ship.is_quiet());

        std::fs::remove_file(&password_file).expect("our own file");
        let fails = |ship: &mut Ship, millis: u64| {
            ship.tend(at(millis));
            ship.reopening.trouble().is_some()
        };
        assert!(!fails(&mut ship, 999), "the files are looked at once a second");
        assert!(fails(&mut ship, 1_000));
        ship.rewind(at(1_300)); // it failed now
        std::fs::write(&password_file, "right\n").expect("a secret");
        assert!(fails(&mut ship, 2_299), "not tried again so soon");
        assert!(!fails(&mut ship, 3_299), "the password is there");
    }

    /// Nobody's lines wait for what people are told: where there is no room for it, it is not remembered.
    #[test]
    fn fault_079_notifications_hold_up_no_epoch() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = outbox::Options {
            dir: folder.path().to_owned(),
            size_max: outbox::SIZE_MIN,
            durability: outbox::Durability::Process,
        };
        let (store, _) = Store::open(&options, "blackhole", &mut || LaneId(7)).expect("a store");
        let feedback = Arc::new(Feedback::new(Arc::new(Wake::default())));
        let output = Output::Blackhole(Blackhole::default());
        let mut ship = Ship::new(output, Some(store), folder.path().join("letters"), [0, 1], feedback);
        for episode in 0..400 {
            let summary = "x".repeat(30_000);
            let notifications = vec![Notification { episode, summary, ..Notification::default() }];
            let mut epoch = Epoch { notifications, ..Epoch::default() };
            epoch.changes.totals.next_seq = 1;
            assert!(ship.commit(&mut epoch, at(0)).is_ok(), "{episode}");
            assert_eq!(epoch.notifications.len(), 1, "it is told all the same");
        }
        drop(ship);
        let (_, recovered) = Store::open(&options, "blackhole", &mut || LaneId(8)).expect("a store");
        assert!((50..399).contains(&recovered.notifications.len()), "{}", recovered.notifications.len());
    }
}

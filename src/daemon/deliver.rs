//! The output thread: takes epochs, commits them, ships their records, waits for the proof that they arrived.
//!
//! It is the only one that touches the outbox and the output. While the outbox has room it never makes the data thread
//! wait for the network.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::clock;
use super::epoch::Epoch;
use super::feedback::Feedback;
use super::handoff::{Taken, Taker};
use super::mend::Refusal;
use super::notify::Notifier;
use super::publish;
use super::retry::Retry;
use super::ship::{Ship, ShipError, explain};
use super::stop::Stop;
use crate::engine::record::Batch;
use crate::engine::storm::Pressure;
use crate::output::notify::SEND_MAX;
use crate::output::{Output, Standing};
use crate::status::board::Board;
use crate::status::view::DeliveryView;
use crate::units::{Lines, Monotonic};

/// How often an output is looked after while no epoch comes.
const IDLE_LOOK: Duration = Duration::from_millis(100);
/// The same where nothing is under way either. An epoch wakes the thread; a trouble that comes up meanwhile has nothing
/// to hold up.
const QUIET_LOOK: Duration = Duration::from_secs(1);
/// The least time between two attempts to commit what the outbox refused.
const RETRY_EVERY: Duration = Duration::from_millis(100);

/// How often the board is told how delivery stands: asking how full the outbox is costs a little.
const PIN_EVERY: Duration = Duration::from_millis(500);
/// People are told of alerts at the end for at least so long, though the time be over: within what a stop may take beyond
/// its time.
const NOTIFY_LEAST: Duration = Duration::from_millis(500);

/// What became of the records.
#[derive(Clone, Debug, Default)]
pub struct DeliverEnd {
    /// How the output stood at the end.
    pub standing: Standing,
    /// The ack cursor in the outbox: every record up to this number was delivered or refused, by this process or one
    /// before it. `None` without an outbox.
    pub acked: Option<u64>,
    /// Records that were never even taken by the output, and are in no outbox.
    pub untaken_records: u64,
    /// The lines that they stand for.
    pub untaken_lines: Lines,
    /// An epoch was not committed at the end. What it had read is read again by the next start, where it can be.
    pub uncommitted: bool,
    /// That was only because the outbox is as large as it may be.
    pub full: bool,
    /// What waits in the outbox for the next start.
    pub kept: Option<Kept>,
    /// The output broke and cannot be used any more.
    pub error: Option<String>,
}

/// What waits in the outbox.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Records.
    pub records: u64,
    /// The lines that they stand for.
    pub lines: Lines,
    /// Where.
    pub dir: PathBuf,
}

impl DeliverEnd {
    /// Records whose arrival is not proved.
    pub fn undelivered_records(&self) -> u64 {
        let on_the_way = match &self.kept {
            Some(kept) => kept.records,
            None => self.standing.in_flight_records,
        };
        on_the_way + self.untaken_records + self.standing.refused.records
    }

    /// Records whose arrival is proved, of all those that the ledger counts.
    pub fn delivered_records(&self) -> u64 {
        match self.acked {
            Some(acked) => acked.saturating_sub(self.standing.refused.records),
            None => self.standing.acked_records,
        }
    }

    /// The lines that they stand for.
    pub fn undelivered_lines(&self) -> Lines {
        let on_the_way = match &self.kept {
            Some(kept) => kept.lines,
            None => self.standing.in_flight_lines,
        };
        on_the_way + self.untaken_lines + self.standing.refused.lines
    }
}

/// The output thread's belongings.
pub struct DeliverThread {
    /// Where epochs go.
    pub ship: Ship,
    /// Where they come from.
    pub taker: Taker,
    /// The way back.
    pub feedback: Arc<Feedback>,
    /// Detail is given up before the outbox is full.
    pub degrades: bool,
    /// The state directory, where there is one.
    pub dir: Option<PathBuf>,
    /// Tells people of alerts.
    pub notifier: Notifier,
    /// Says until when to try.
    pub stop: Arc<Stop>,
    /// How the output stands, for everybody.
    pub published: Arc<Mutex<Standing>>,
    /// The same and more, for who asks from outside; and this thread's sign of life.
    pub board: Arc<Board>,
}

/// The thread's own memory.
struct Work {
    /// What the outbox has refused.
    refused: Option<Box<Epoch>>,
    /// The attempts to commit it all the same.
    committing: Retry,
    patience: Patience,
    /// Nothing moved for the stop's time while somebody waited for the end.
    given_up: bool,
    /// The data thread has ended.
    ended: bool,
    flushed: bool,
    /// When the board was told last.
    pinned_at: Monotonic,
    end: DeliverEnd,
}

impl DeliverThread {
    /// Runs until the data thread has ended and everything is delivered, or until it is too late.
    pub fn run(mut self) -> DeliverEnd {
        let now = clock::now().arrival;
        let mut work = Work {
            refused: None,
            committing: Retry::new(RETRY_EVERY),
            patience: Patience::new(0, now, self.stop.timeout()),
            given_up: false,
            ended: false,
            flushed: false,
            pinned_at: Monotonic::default(),
            end: DeliverEnd::default(),
        };
        loop {
            match self.turn(&mut work) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    work.end.error = Some(explain(&error));
                    // The data thread may be waiting for a line that never comes.
                    self.stop_at_once();
                    break;
                }
            }
        }
        self.finish(work)
    }

    /// One look at everything. False when all is done, or it is too late.
    fn turn(&mut self, work: &mut Work) -> Result<bool, ShipError> {
        self.take_epoch(work)?;
        let now = clock::now();
        self.board.output.beat(now.arrival);
        if let Some(epoch) = work.refused.take_if(|_| work.committing.is_due(now.arrival)) {
            self.commit(epoch, work);
        }
        if work.end.error.is_some() {
            return Ok(false);
        }
        let moved = self.ship.feed(now)?;
        self.ship.tend(now);
        self.notifier.collect(&mut self.ship, now);
        if self.stop.is_requested() {
            self.notifier.hurry();
        }
        self.relieve();
        self.publish(work, now.arrival);
        let waits = self.ship.waits() || work.refused.is_some();
        let &Standing { acked_records, in_flight_records, .. } = self.ship.standing();
        if !waits && !work.ended {
            work.patience = Patience::new(acked_records, now.arrival, self.stop.timeout());
            return Ok(true);
        }
        if !waits {
            if !std::mem::replace(&mut work.flushed, true) {
                self.ship.flush()?;
            }
            if in_flight_records == 0 {
                return Ok(false);
            }
        }
        if work.given_up || self.stop.deadline().is_some_and(|deadline| deadline <= now.arrival) {
            return Ok(false);
        }
        if self.stop.is_awaited() && work.patience.is_over(acked_records, now.arrival) {
            work.given_up = true;
            self.stop.request(now.arrival);
        }
        if !moved {
            self.board.output.rest();
            self.ship.wait(IDLE_LOOK);
        }
        Ok(true)
    }

    /// Takes the next epoch, if one may come.
    fn take_epoch(&mut self, work: &mut Work) -> Result<(), ShipError> {
        if work.ended || work.refused.is_some() || !self.ship.takes() {
            return Ok(());
        }
        self.board.output.rest();
        let taken = match self.pause() {
            Some(pause) => self.taker.take(pause),
            None => self.taker.try_take(),
        };
        match taken {
            Taken::Epoch(mut epoch) => {
                self.board.output.beat(clock::now().arrival);
                self.ship.pack(&mut epoch)?;
                self.notifier.admit(&mut epoch, clock::now().arrival);
                self.commit(epoch, work);
            }
            Taken::Nothing => {}
            Taken::End => work.ended = true,
        }
        Ok(())
    }

    /// How long the next epoch may be waited for; not at all while records wait for the output, which is waited for then.
    fn pause(&self) -> Option<Duration> {
        match self.ship.waits() {
            true => None,
            false if self.ship.is_quiet() && !self.notifier.awaits() => Some(QUIET_LOOK),
            false => Some(IDLE_LOOK),
        }
    }

    /// Commits an epoch, or keeps it to try again.
    fn commit(&mut self, mut epoch: Box<Epoch>, work: &mut Work) {
        let now = clock::now();
        let trouble = match self.ship.commit(&mut epoch, now) {
            Ok(()) => {
                self.feedback.committed();
                self.notifier.committed(&mut epoch);
                if work.committing.succeeded() {
                    tracing::info!("the outbox takes records again");
                }
                return self.taker.give_back(epoch);
            }
            Err(Refusal::Full(reason) | Refusal::Later(reason)) => {
                format!("{reason}: reading waits until it can be written")
            }
            Err(Refusal::Never(reason)) => {
                tracing::error!("{reason}");
                work.end.error = Some(reason);
                work.end.uncommitted = true;
                count_untaken(&epoch.batch, 0, &mut work.end);
                return self.stop_at_once();
            }
        };
        if work.committing.failed(&trouble, now.arrival) {
            tracing::warn!("{trouble}");
        }
        work.refused = Some(epoch);
    }

    /// Lets the data thread end: nobody takes its epochs any more.
    fn stop_at_once(&self) {
        self.stop.request(clock::now().arrival);
    }

    /// Gives up detail as the outbox fills, and takes it back later than it was given up.
    fn relieve(&mut self) {
        if !self.degrades {
            return;
        }
        let Some(fill) = self.ship.fill() else { return };
        let (before, now) = (self.feedback.pressure(), pressure(self.feedback.pressure(), fill));
        if now == before {
            return;
        }
        self.feedback.set_pressure(now);
        let percent = (fill * 100.0) as u32;
        if now > before {
            tracing::warn!("the outbox is {percent} % full: {}", consequence(now));
        } else {
            tracing::info!("the outbox is {percent} % full: {}", consequence(now));
        }
    }

    fn publish(&mut self, work: &mut Work, now: Monotonic) {
        let mut standing = self.ship.standing().clone();
        standing.trouble = standing.trouble.or_else(|| work.committing.trouble().map(str::to_owned));
        if work.pinned_at + PIN_EVERY <= now {
            work.pinned_at = now;
            let receivers = self.notifier.receivers();
            self.board.publish_delivery(publish::delivery(&mut self.ship, &standing, receivers));
        }
        *self.published.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    /// Commits what is still handed over, and says what became of everything.
    fn finish(mut self, mut work: Work) -> DeliverEnd {
        if let Some(epoch) = work.refused.take() {
            self.commit_last(epoch, &mut work.end);
        }
        while !work.ended {
            match self.taker.take(IDLE_LOOK) {
                Taken::Epoch(mut epoch) => {
                    self.notifier.admit(&mut epoch, clock::now().arrival);
                    self.commit_last(epoch, &mut work.end);
                }
                Taken::Nothing => {}
                Taken::End => work.ended = true,
            }
        }
        self.notifier.close(self.time_to_notify(clock::now().arrival));
        self.notifier.collect(&mut self.ship, clock::now());
        let mut end = work.end;
        let committed = self.ship.committed();
        let bounds = self.ship.bounds();
        let (pending, output, store) = self.ship.into_parts();
        end.standing = match output {
            // What is left to wait for was waited for above.
            Output::Kafka(kafka) => kafka.close(Duration::ZERO),
            other => other.standing(),
        };
        let outbox = self.board.delivery().outbox;
        let receivers = self.notifier.receivers();
        self.board.publish_delivery(DeliveryView { outbox, ..publish::delivered(&end.standing, receivers) });
        self.board.output.rest();
        match store {
            Some(mut store) => {
                let acked = bounds.settled(end.standing.acked_upto);
                if let Err(error) = store.acknowledge(acked) {
                    tracing::warn!("cannot store what was delivered: {}", explain(&error));
                }
                let lines = Ship::lines_behind(&mut store, acked).unwrap_or(store.waiting().lines);
                end.acked = Some(acked);
                end.kept =
                    Some(Kept { records: committed - acked, lines, dir: self.dir.unwrap_or_default() });
                if let Err(error) = store.close() {
                    tracing::warn!("the outbox is checked at the next start: {}", explain(&error));
                }
            }
            None => {
                if let Some((batch, taken)) = pending {
                    count_untaken(&batch, taken, &mut end);
                }
            }
        }
        end
    }

    /// How long people may still be told of alerts at the end.
    fn time_to_notify(&self, now: Monotonic) -> Duration {
        let left = self.stop.deadline().map_or(SEND_MAX, |deadline| deadline.since(now));
        left.clamp(NOTIFY_LEAST, SEND_MAX)
    }

    /// Commits an epoch without offering it. What is not committed is counted: without an outbox it is lost, with one it is
    /// read again by the next start, where it can be. Behind an epoch that was not committed none may be.
    fn commit_last(&mut self, mut epoch: Box<Epoch>, end: &mut DeliverEnd) {
        let tries = self.ship.has_store() && !end.uncommitted && self.ship.pack(&mut epoch).is_ok();
        match tries.then(|| self.ship.commit(&mut epoch, clock::now())) {
            Some(Ok(())) => self.notifier.committed(&mut epoch),
            refused => {
                end.full |= matches!(refused, Some(Err(Refusal::Full(_))));
                end.uncommitted = true;
                count_untaken(&epoch.batch, 0, end);
            }
        }
    }
}

/// How much detail to give up when this share of the outbox is in use.
fn pressure(now: Pressure, fill: f64) -> Pressure {
    const ENTER: [(f64, Pressure); 3] =
        [(0.92, Pressure::Shed), (0.84, Pressure::Count), (0.70, Pressure::Few)];
    // A tenth of the outbox lies between giving detail up and taking it back.
    let level =
        |fill: f64| ENTER.iter().find(|(from, _)| fill >= *from).map_or(Pressure::None, |(_, level)| *level);
    level(fill).max(now.min(level(fill + 0.10)))
}

/// What pressure means for the lines, in words.
fn consequence(pressure: Pressure) -> &'static str {
    match pressure {
        Pressure::None => "lines are shipped in full detail again",
        Pressure::Few => "fewer lines are sent word for word before they are folded",
        Pressure::Count => "lines of known templates are only counted",
        Pressure::Shed => "lines of known templates are only counted, all of a stream together",
    }
}

/// Waits as long as something moves.
struct Patience {
    acked: u64,
    until: Monotonic,
    wait: Duration,
}

impl Patience {
    fn new(acked: u64, now: Monotonic, wait: Duration) -> Patience {
        Patience { acked, until: now + wait, wait }
    }

    /// Whether nothing more was acknowledged for too long.
    fn is_over(&mut self, acked: u64, now: Monotonic) -> bool {
        if acked > self.acked {
            *self = Patience::new(acked, now, self.wait);
        }
        self.until <= now
    }
}

fn count_untaken(batch: &Batch, from: usize, end: &mut DeliverEnd) {
    let untaken = &batch.metas[from..];
    end.untaken_records += untaken.iter().map(|meta| u64::from(meta.records)).sum::<u64>();
    end.untaken_lines += untaken.iter().map(|meta| meta.lines).sum();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detail_is_given_up_in_steps_and_taken_back_later() {
        #[track_caller]
        fn check(now: Pressure, fill: f64, want: Pressure) {
            assert_eq!(pressure(now, fill), want, "{now:?} at {fill}");
        }
        check(Pressure::None, 0.69, Pressure::None);
        check(Pressure::None, 0.70, Pressure::Few);
        check(Pressure::None, 0.95, Pressure::Shed);
        check(Pressure::Shed, 0.85, Pressure::Shed);
        check(Pressure::Shed, 0.81, Pressure::Count);
        check(Pressure::Count, 0.61, Pressure::Few);
        check(Pressure::Few, 0.59, Pressure::None);
    }
}

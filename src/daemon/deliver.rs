//! The output thread: takes batches, offers their records to the output, waits for the proof that they arrived.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::clock;
use super::handoff::{Taken, Taker};
use super::stop::Stop;
use crate::engine::record::Batch;
use crate::output::{Output, OutputError, Standing};
use crate::units::{Lines, Monotonic};

/// How often an idle output is looked after.
const IDLE_LOOK: Duration = Duration::from_millis(100);

/// What became of the records.
#[derive(Clone, Debug, Default)]
pub struct DeliverEnd {
    /// How the output stood at the end.
    pub standing: Standing,
    /// Records that were never even taken by the output.
    pub untaken_records: u64,
    /// The lines that they stand for.
    pub untaken_lines: Lines,
    /// The output broke and cannot be used any more.
    pub error: Option<String>,
}

impl DeliverEnd {
    /// Records whose arrival is not proved.
    pub fn undelivered_records(&self) -> u64 {
        self.untaken_records + self.standing.in_flight_records + self.standing.refused.records
    }

    /// The lines that they stand for.
    pub fn undelivered_lines(&self) -> Lines {
        self.untaken_lines + self.standing.in_flight_lines + self.standing.refused.lines
    }
}

/// The output thread's belongings.
pub struct DeliverThread {
    /// Where records go.
    pub output: Output,
    /// Where they come from.
    pub taker: Taker,
    /// Says until when to try.
    pub stop: Arc<Stop>,
    /// How the output stands, for everybody.
    pub published: Arc<Mutex<Standing>>,
    /// Nothing moved for the stop's time while somebody waited for the end.
    pub given_up: bool,
}

impl DeliverThread {
    /// Runs until the data thread has ended and everything is delivered, or until it is too late.
    pub fn run(mut self) -> DeliverEnd {
        let mut end = DeliverEnd::default();
        loop {
            match self.taker.take(IDLE_LOOK) {
                Taken::Batch(batch) => {
                    let sent = self.send(&batch, &mut end);
                    self.taker.give_back(batch);
                    if sent.is_err() {
                        break;
                    }
                }
                Taken::Nothing => {}
                Taken::End => break,
            }
            if let Err(error) = self.tend() {
                end.error = Some(explain(&error));
                break;
            }
            self.publish();
        }
        if end.error.is_none()
            && let Err(error) = self.settle()
        {
            end.error = Some(explain(&error));
        }
        if end.error.is_some() {
            // The data thread may be waiting for a line that never comes.
            self.stop.request(clock::now().arrival);
        }
        self.drain(&mut end);
        end.standing = match self.output {
            // What is left to wait for was waited for above.
            Output::Kafka(kafka) => kafka.close(Duration::ZERO),
            other => other.standing(),
        };
        end
    }

    /// After a failure the data thread is still handing over; what it made is counted, not sent.
    fn drain(&self, end: &mut DeliverEnd) {
        loop {
            match self.taker.take(IDLE_LOOK) {
                Taken::Batch(batch) => count_untaken(&batch, 0, end),
                Taken::Nothing => {}
                Taken::End => return,
            }
        }
    }

    /// Offers a batch until it is taken. An error is one that ends the output.
    fn send(&mut self, batch: &Batch, end: &mut DeliverEnd) -> Result<(), ()> {
        let mut taken = 0;
        let mut patience = Patience::new(&self.output.standing(), clock::now().arrival, self.stop.timeout());
        while taken < batch.metas.len() {
            let now = clock::now();
            match self.output.offer(batch, taken, now) {
                Ok(0) if self.is_too_late(now.arrival) => {
                    count_untaken(batch, taken, end);
                    return Ok(());
                }
                Ok(0) => {
                    self.output.wait(IDLE_LOOK);
                    self.publish();
                    if self.stop.is_awaited() && patience.is_over(&self.output.standing(), now.arrival) {
                        self.stop.request(now.arrival);
                        self.given_up = true;
                    }
                }
                Ok(more) => taken += more,
                Err(error) => {
                    end.error = Some(explain(&error));
                    count_untaken(batch, taken, end);
                    return Err(());
                }
            }
        }
        Ok(())
    }

    /// Waits for the proof that everything arrived: until the stop's deadline, or, when nobody asked to stop, for as
    /// long as there is progress.
    fn settle(&mut self) -> Result<(), OutputError> {
        self.output.flush()?;
        let mut standing = self.output.standing();
        let mut patience = Patience::new(&standing, clock::now().arrival, self.stop.timeout());
        while standing.in_flight_records > 0 {
            let now = clock::now().arrival;
            if self.is_too_late(now) || patience.is_over(&standing, now) {
                return Ok(());
            }
            self.output.wait(IDLE_LOOK);
            standing = self.output.standing();
            self.publish();
        }
        Ok(())
    }

    /// Sends what has lingered long enough.
    fn tend(&mut self) -> Result<(), OutputError> {
        let now = clock::now();
        match self.output.next_deadline() {
            Some(deadline) if deadline <= now.arrival => self.output.on_deadline(now),
            _ => Ok(()),
        }
    }

    fn is_too_late(&self, now: Monotonic) -> bool {
        self.given_up || self.stop.deadline().is_some_and(|deadline| deadline <= now)
    }

    fn publish(&self) {
        *self.published.lock().unwrap_or_else(PoisonError::into_inner) = self.output.standing();
    }
}

/// Waits as long as something moves.
struct Patience {
    acked: u64,
    until: Monotonic,
    wait: Duration,
}

impl Patience {
    fn new(standing: &Standing, now: Monotonic, wait: Duration) -> Patience {
        Patience { acked: standing.acked_records, until: now + wait, wait }
    }

    fn is_over(&mut self, standing: &Standing, now: Monotonic) -> bool {
        if standing.acked_records > self.acked {
            *self = Patience::new(standing, now, self.wait);
        }
        self.until <= now
    }
}

fn count_untaken(batch: &Batch, from: usize, end: &mut DeliverEnd) {
    let untaken = &batch.metas[from..];
    end.untaken_records += untaken.len() as u64;
    end.untaken_lines += untaken.iter().map(|meta| meta.lines).sum();
}

fn explain(error: &OutputError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

//! The data thread: wait → read → engine → hand over. All CPU work of the pipeline, no network.
//!
//! One wake takes a bounded share from each input, so that a noisy one starves no other. Wake-ups are coalesced to
//! `LOOK_EVERY`, because reading a few lines at a time costs more in system calls than in lines.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::clock;
use super::handoff::{BATCH_BYTES, Giver};
use super::reader::Reader;
use super::stop::Stop;
use super::wake::Wake;
use crate::engine::chunk::{Chunk, OriginId};
use crate::engine::ledger::Ledger;
use crate::engine::record::Reason;
use crate::engine::storm::window::ClosedBy;
use crate::engine::{Engine, Source};
use crate::units::{Bytes, Monotonic, Now};

/// The shortest time between two looks at the inputs.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// What one look takes from one input at most.
const SHARE: Bytes = Bytes(1 << 20);
/// Pieces in which the engine gets its bytes: small enough that even empty lines, which turn one byte into a record
/// of 400, make no more than 3.3 MB of records before the batch is looked at.
const PIECE: usize = 8 * 1024;
/// How often the books are balanced and published.
const BALANCE_EVERY: Duration = Duration::from_secs(1);

/// What the data thread leaves behind.
#[derive(Clone, Debug, Default)]
pub struct DataEnd {
    /// The books.
    pub ledger: Ledger,
    /// Sources that were ever opened.
    pub sources: usize,
    /// Inputs that could not be read to their end, each with the reason.
    pub broken_inputs: Vec<String>,
}

/// The data thread's belongings.
pub struct DataThread {
    /// Where bytes go and batches come from.
    pub intake: Intake,
    /// The inputs.
    pub readers: Vec<Reader>,
    /// Raised when an input may have something.
    pub wake: Arc<Wake>,
    /// Says when to end.
    pub stop: Arc<Stop>,
    /// The books of the last balance, for everybody.
    pub published: Arc<Mutex<Ledger>>,
    /// How much was read, for everybody.
    pub read: BytesRead,
}

/// How many bytes have been read, as of the last look.
#[derive(Clone, Debug, Default)]
pub struct BytesRead(Arc<AtomicU64>);

impl BytesRead {
    /// The number.
    pub fn get(&self) -> Bytes {
        Bytes(self.0.load(Ordering::Acquire))
    }

    fn set(&self, read: Bytes) {
        self.0.store(read.0, Ordering::Release);
    }
}

impl DataThread {
    /// Runs until the inputs end, a stop is asked for, or the output is gone.
    pub fn run(mut self) -> DataEnd {
        let mut next_balance = clock::now().arrival + BALANCE_EVERY;
        let closed_by = loop {
            if self.stop.is_requested() || self.intake.is_gone() {
                break ClosedBy::Shutdown;
            }
            let now = clock::now();
            let looked = self.look(now);
            self.read.set(self.intake.engine.bytes_in());
            self.intake.on_time(now);
            self.intake.hand_over(1);
            if looked.done {
                break ClosedBy::End;
            }
            if next_balance <= now.arrival {
                next_balance = now.arrival + BALANCE_EVERY;
                self.balance();
            }
            if !looked.more {
                self.sleep(now, looked.next, next_balance);
            }
        };
        self.end(closed_by)
    }

    /// One share from each input.
    fn look(&mut self, now: Now) -> Looked {
        let mut looked = Looked { more: false, done: true, next: None };
        for reader in &mut self.readers {
            let progress = reader.poll(now, SHARE, &mut self.intake);
            looked.more |= progress.more;
            looked.done &= progress.done;
            looked.next = looked.next.into_iter().chain(progress.next_look).min();
        }
        looked
    }

    /// Sleeps until something is due or an input wakes us, but not shorter than the coalescing time.
    fn sleep(&self, looked_at: Now, next_look: Option<Monotonic>, next_balance: Monotonic) {
        let deadlines = next_look.into_iter().chain(self.intake.engine.deadline());
        let until = deadlines.fold(next_balance, Monotonic::min);
        let woken = self.wake.wait(until.since(clock::now().arrival));
        if woken && !self.stop.is_requested() {
            let passed = clock::now().arrival.since(looked_at.arrival);
            std::thread::sleep(LOOK_EVERY.saturating_sub(passed));
        }
    }

    fn balance(&self) {
        let ledger = self.intake.engine.ledger();
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        if ledger.conservation_error != 0 && published.conservation_error != ledger.conservation_error {
            tracing::error!(
                lines = ledger.conservation_error,
                "the ledger does not balance: this is a bug in squall"
            );
        }
        *published = ledger;
    }

    fn end(mut self, closed_by: ClosedBy) -> DataEnd {
        self.stop.await_end();
        while !self.intake.engine.finish_some(closed_by, clock::now()) {
            self.intake.hand_over(BATCH_BYTES);
        }
        self.intake.hand_over(1);
        self.balance();
        let sources = self.readers.iter().map(Reader::sources).sum();
        let broken_inputs = self.readers.iter().filter_map(Reader::broken).map(str::to_owned).collect();
        DataEnd { ledger: self.intake.engine.ledger(), sources, broken_inputs }
    }
}

struct Looked {
    more: bool,
    done: bool,
    next: Option<Monotonic>,
}

/// The engine and the way out of it.
pub struct Intake {
    engine: Engine,
    giver: Giver,
    gone: bool,
}

impl Intake {
    /// What comes into `engine` leaves through `giver`.
    pub fn new(engine: Engine, giver: Giver) -> Intake {
        Intake { engine, giver, gone: false }
    }

    /// Takes in a new source.
    pub fn open(&mut self, source: Source) -> OriginId {
        self.engine.open(source)
    }

    /// Takes in bytes; batches leave as they fill. Waits while the output is behind.
    pub fn data(&mut self, chunk: Chunk<'_>, now: Now) {
        let mut offset = chunk.offset;
        for piece in chunk.bytes.chunks(PIECE) {
            self.engine.push(Chunk { bytes: piece, offset, ..chunk }, now);
            offset += piece.len() as u64;
            self.hand_over(BATCH_BYTES);
        }
    }

    /// The source's present file has come to its end.
    pub fn end_generation(&mut self, origin: OriginId, now: Now) {
        self.engine.end_generation(origin, now);
        self.hand_over(BATCH_BYTES);
    }

    /// Bytes of the source were gone before they could be read.
    pub fn lost(&mut self, origin: OriginId, reason: Reason, lost: Bytes, now: Now) {
        self.engine.lost(origin, reason, lost, now);
        self.hand_over(BATCH_BYTES);
    }

    /// The source will never say anything again.
    pub fn close(&mut self, origin: OriginId, now: Now) {
        self.engine.close(origin, now);
        self.hand_over(BATCH_BYTES);
    }

    fn on_time(&mut self, now: Now) {
        while !self.gone && self.engine.deadline().is_some_and(|deadline| deadline <= now.arrival) {
            self.engine.on_deadline(now);
            self.hand_over(BATCH_BYTES);
        }
    }

    /// Hands the batch over when it has at least `from` bytes.
    fn hand_over(&mut self, from: usize) {
        if self.engine.batch().bytes.len() < from || self.gone {
            return;
        }
        let full = self.engine.take_batch(self.giver.empty());
        self.gone = self.giver.give(full).is_err();
    }

    fn is_gone(&self) -> bool {
        self.gone
    }
}

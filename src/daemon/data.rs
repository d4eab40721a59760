//! The data thread: wait → read → engine → cut an epoch → hand over. All CPU work of the pipeline, no network.
//!
//! One look takes a bounded share from each input, so that a noisy one starves no other. Wake-ups are coalesced to
//! `LOOK_EVERY`, because reading a few lines at a time costs more in system calls than in lines.
//! Epochs are cut between looks and never inside of one: only then do inputs and engine agree on how far was read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::clock;
use super::containers::{self, Containers};
use super::feedback::{Feedback, Tell};
use super::handoff::Giver;
use super::publish;
use super::reader::Reader;
use super::stop::Stop;
use super::wake::Wake;
use crate::engine::alert::container::Used;
use crate::engine::chunk::{Chunk, OriginId};
use crate::engine::ledger::Ledger;
use crate::engine::record::{Lost, Reason};
use crate::engine::storm::Pressure;
use crate::engine::storm::window::ClosedBy;
use crate::engine::{Engine, Source};
use crate::input::docker_driver::follow::{Follow, Mode};
use crate::outbox::Loss;
use crate::status::board::{Board, Stage};
use crate::status::view::EngineView;
use crate::units::{Bytes, Lines, Monotonic, Now};

/// The shortest time between two looks at the inputs.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// What one look takes from one input at most: so little that even empty lines, which may turn one byte into a record
/// of 400, make no more than 26 MB of records before an epoch is cut.
const SHARE: Bytes = Bytes(64 << 10);
/// The longest time that something is kept from the outbox (delivery.md R3).
const EPOCH_EVERY: Duration = Duration::from_millis(100);
/// How long FIFOs wait for a commit (`faults.md` 67).
const COMMIT_WAIT: Duration = Duration::from_millis(250);
/// How many epochs' worth of records are kept in memory while none can be committed.
const MEMORY_EPOCHS: usize = 8;
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
    /// What was read and not committed is read again by the next start: it is in files.
    pub rereads: bool,
}

/// The data thread's belongings.
pub struct DataThread {
    /// Where bytes go and records come from.
    pub intake: Intake,
    /// The inputs.
    pub readers: Vec<Reader>,
    /// Takes epochs.
    pub giver: Giver,
    /// An epoch is cut from this many bytes of records on.
    pub epoch_bytes: usize,
    /// There is an outbox: epochs hold everything that must survive, and wait for their time.
    pub keeps: bool,
    /// What the output thread has to say.
    pub feedback: Arc<Feedback>,
    /// Raised when an input may have something.
    pub wake: Arc<Wake>,
    /// Says when to end.
    pub stop: Arc<Stop>,
    /// The books of the last balance, for everybody.
    pub published: Arc<Mutex<Ledger>>,
    /// The same and more, for who asks from outside; and this thread's sign of life.
    pub board: Arc<Board>,
    /// How much was read, for everybody.
    pub read: BytesRead,
    /// What is read is taken out of its FIFO only when it is committed: one epoch at a time, and as soon as it may be.
    pub strict: bool,
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

/// When the next epoch is cut.
#[derive(Debug)]
struct Cut {
    /// No earlier than this, unless it is full.
    not_before: Monotonic,
    /// Something has happened since the last one.
    wanted: bool,
    /// The output thread takes no more.
    gone: bool,
    /// Losses that are told in this one.
    told: Vec<Loss>,
    /// How many were handed over, and when the last one was.
    given: u64,
    given_at: Monotonic,
    /// What happens to what FIFOs give.
    mode: Mode,
}

impl Cut {
    fn new(now: Monotonic, wanted: bool) -> Cut {
        Cut {
            not_before: now,
            wanted,
            gone: false,
            told: Vec::new(),
            given: 0,
            given_at: now,
            mode: Mode::Exact,
        }
    }
}

impl DataThread {
    /// Runs until the inputs end, a stop is asked for, or the output is gone.
    pub fn run(mut self) -> DataEnd {
        let now = clock::now();
        let mut next_balance = now.arrival + BALANCE_EVERY;
        let mut cut = Cut::new(now.arrival, self.keeps);
        // What an earlier process left is on the board before anybody can believe that there is nothing.
        self.publish(now);
        self.board.reach(Stage::Running);
        let closed_by = loop {
            if self.stop.is_requested() || cut.gone {
                self.read_on(&mut cut);
                break ClosedBy::Shutdown;
            }
            let now = clock::now();
            self.board.data.beat(now.arrival);
            self.listen(&mut cut, now);
            self.settle(&mut cut, now);
            let looked = self.look(now, &mut cut);
            self.read.set(self.intake.engine.bytes_in());
            self.on_time(now, &mut cut);
            if self.is_due(&cut, now, looked.more) {
                self.cut(&mut cut, now);
            }
            if looked.done {
                break ClosedBy::End;
            }
            if next_balance <= now.arrival {
                next_balance = now.arrival + BALANCE_EVERY;
                self.balance(now);
            } else if self.board.has_ask() {
                self.publish(now);
            }
            if !looked.more {
                let until = if cut.wanted { next_balance.min(cut.not_before) } else { next_balance };
                self.sleep(&cut, now, looked.next, until);
            }
        };
        self.end(closed_by, cut)
    }

    /// Reads what has been written by now. An instance that goes for good has no other time for it, and the last lines
    /// of a program say why it ended. Not for longer than a quarter of the stop, so that who writes on does not hold it up; not
    /// where somebody goes on from here; and what is in a FIFO waits there.
    fn read_on(&mut self, cut: &mut Cut) {
        let Some(deadline) = self.stop.deadline().filter(|_| !self.strict && !self.stop.is_suspended())
        else {
            return;
        };
        self.readers.iter_mut().for_each(Reader::rouse);
        let mut now = clock::now();
        while !cut.gone && deadline.since(now.arrival) > self.stop.timeout() * 3 / 4 {
            self.board.data.beat(now.arrival);
            let looked = self.look(now, cut);
            self.read.set(self.intake.engine.bytes_in());
            if !looked.more {
                return;
            }
            now = clock::now();
        }
    }

    /// Does what the output thread asks for.
    fn listen(&mut self, cut: &mut Cut, now: Now) {
        self.intake.engine.set_pressure(self.feedback.pressure());
        for tell in self.feedback.take() {
            cut.told.extend(tell.loss);
            self.intake.tell(&tell, now);
        }
        self.intake.judge_resources();
    }

    /// One share from each input.
    fn look(&mut self, now: Now, cut: &mut Cut) -> Looked {
        let mut looked = Looked { more: false, done: true, next: None };
        for index in 0..self.readers.len() {
            let progress = self.readers[index].poll(now, SHARE, cut.mode, &mut self.intake);
            looked.more |= progress.more;
            looked.done &= progress.done;
            looked.next = looked.next.into_iter().chain(progress.next_look).min();
            cut.wanted |= std::mem::take(&mut self.intake.touched);
            self.cut_if_full(cut, now);
        }
        looked
    }

    /// Closes what is over by the clock.
    fn on_time(&mut self, now: Now, cut: &mut Cut) {
        // Where nothing can be handed over, windows stay open rather than become records that nobody takes.
        let is_full = self.is_outstanding(cut) && self.intake.engine.batch().bytes.len() >= self.epoch_bytes;
        while !cut.gone
            && !is_full
            && self.intake.engine.deadline().is_some_and(|deadline| deadline <= now.arrival)
        {
            self.intake.engine.on_deadline(now);
            cut.wanted = true;
            self.cut_if_full(cut, now);
        }
    }

    fn is_due(&mut self, cut: &Cut, now: Now, more: bool) -> bool {
        let records = !self.intake.engine.batch().is_empty();
        if self.strict {
            let mut fifos = self.readers.iter_mut().filter_map(Reader::as_fifos);
            return fifos.any(|fifos| fifos.has_news())
                || (cut.wanted || records) && cut.not_before <= now.arrival;
        }
        if self.keeps {
            return (cut.wanted || records) && cut.not_before <= now.arrival;
        }
        // Nothing survives anyway, so records leave when there is nothing better to do, or enough of them.
        records && (!more || self.intake.engine.batch().bytes.len() >= self.epoch_bytes / 4)
    }

    fn cut_if_full(&mut self, cut: &mut Cut, now: Now) {
        if self.intake.engine.batch().bytes.len() >= self.epoch_bytes {
            self.cut(cut, now);
        }
    }

    /// Cuts an epoch and hands it over; waits while the output thread is behind.
    fn cut(&mut self, cut: &mut Cut, now: Now) {
        if cut.gone || self.is_outstanding(cut) {
            return;
        }
        let mut epoch = self.giver.empty();
        epoch.batch = self.intake.engine.take_batch(std::mem::take(&mut epoch.batch));
        epoch.told.append(&mut cut.told);
        epoch.unheard = self.intake.engine.take_notifications(&mut epoch.notifications);
        if self.keeps {
            self.intake.engine.checkpoint(now, &mut epoch.changes);
            for reader in &mut self.readers {
                reader.positions(&self.intake, &mut epoch);
            }
        }
        (cut.wanted, cut.not_before) = (false, now.arrival + EPOCH_EVERY);
        if !epoch.is_empty() {
            // Waiting for the output thread is no work of ours; it has a pulse of its own.
            self.board.data.rest();
            cut.gone = self.giver.give(epoch).is_err();
            self.board.data.beat(clock::now().arrival);
            (cut.given, cut.given_at) = (cut.given + 1, now.arrival);
        }
    }

    /// Whether an epoch is being committed behind which none may come.
    fn is_outstanding(&self, cut: &Cut) -> bool {
        self.strict && self.feedback.commits() < cut.given
    }

    /// Takes out of the FIFOs what is committed. What cannot be committed for too long is taken out all the same: an unread
    /// FIFO stops the container, and then even `docker stop` hangs.
    fn settle(&mut self, cut: &mut Cut, now: Now) {
        if !self.strict {
            return;
        }
        let is_late = cut.given_at + COMMIT_WAIT <= now.arrival;
        let fifos = self.readers.iter_mut().filter_map(Reader::as_fifos);
        if self.feedback.commits() >= cut.given {
            fifos.for_each(Follow::settle);
            if std::mem::replace(&mut cut.mode, Mode::Exact) != Mode::Exact {
                tracing::info!("what is read survives a kill again");
            }
        } else if is_late && cut.mode == Mode::Exact {
            fifos.for_each(Follow::release);
            cut.mode = Mode::Memory;
            let message = "nothing was committed for 250 ms; what is read from now on is lost if squall is killed before it says more";
            tracing::warn!("{message}");
            self.intake
                .tell(&Tell::about_us(Reason::DurabilityLost, message.to_owned(), Lost::default()), now);
        }
        if cut.mode == Mode::Memory
            && self.intake.engine.batch().bytes.len() >= MEMORY_EPOCHS * self.epoch_bytes
        {
            cut.mode = Mode::Count;
            tracing::error!("there is no memory for more: lines are read and only counted");
        }
        if cut.mode != Mode::Exact {
            self.intake.engine.set_pressure(Pressure::Shed);
        }
    }

    /// Sleeps until something is due or an input wakes us, but not shorter than the coalescing time.
    fn sleep(&self, cut: &Cut, looked_at: Now, next_look: Option<Monotonic>, at_latest: Monotonic) {
        let deadlines = next_look.into_iter().chain(self.intake.engine.deadline());
        let mut until = deadlines.fold(at_latest, Monotonic::min);
        if self.is_outstanding(cut) {
            // What is due waits for the commit, which wakes us, but FIFOs do not wait for ever.
            let is_late = cut.given_at + COMMIT_WAIT <= looked_at.arrival;
            until = if is_late { looked_at.arrival + LOOK_EVERY } else { cut.given_at + COMMIT_WAIT };
        }
        self.board.data.rest();
        let woken = self.wake.wait(until.since(clock::now().arrival));
        if woken && !self.strict && !self.stop.is_requested() {
            let passed = clock::now().arrival.since(looked_at.arrival);
            std::thread::sleep(LOOK_EVERY.saturating_sub(passed));
        }
    }

    fn balance(&mut self, now: Now) {
        let ledger = self.publish(now);
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        if ledger.conservation_error != 0 && published.conservation_error != ledger.conservation_error {
            tracing::error!(
                lines = ledger.conservation_error,
                "the ledger does not balance: this is a bug in squall"
            );
        }
        *published = ledger;
    }

    /// Pins the books to the board, and the lists where somebody has asked for them. Does before what somebody has ordered.
    fn publish(&mut self, now: Now) -> Ledger {
        let (number, order) = self.board.take_order();
        if let Some(order) = order {
            publish::carry_out(order, &mut self.intake.engine, now);
            self.intake.touched = true;
        }
        let engine = &self.intake.engine;
        let ledger = engine.ledger();
        let details = match self.board.take_ask() {
            true => Arc::new(publish::details(engine, now)),
            false => Arc::clone(&self.board.engine().details),
        };
        let view = publish::engine(engine, &ledger, details, now);
        self.board.publish_engine(EngineView { orders: number, ..view });
        ledger
    }

    fn end(mut self, closed_by: ClosedBy, mut cut: Cut) -> DataEnd {
        self.stop.await_end();
        self.board.reach(Stage::Stopping);
        self.listen(&mut cut, clock::now());
        // The last epoch goes behind the one that is on its way, and nothing is read any more.
        self.strict = false;
        // Whoever goes on finds the windows as they are.
        while !self.stop.is_suspended() && !self.intake.engine.finish_some(closed_by, clock::now()) {
            self.board.data.beat(clock::now().arrival);
            self.cut_if_full(&mut cut, clock::now());
        }
        self.cut(&mut cut, clock::now());
        self.balance(clock::now());
        self.board.data.rest();
        let sources = self.readers.iter().map(Reader::sources).sum();
        let broken_inputs = self.readers.iter().filter_map(Reader::broken).map(str::to_owned).collect();
        let rereads = self.readers.iter().all(Reader::rereads);
        DataEnd { ledger: self.intake.engine.ledger(), sources, broken_inputs, rereads }
    }
}

struct Looked {
    more: bool,
    done: bool,
    next: Option<Monotonic>,
}

/// The engine as inputs see it.
pub struct Intake {
    engine: Engine,
    /// Where the bytes end that each source has pushed of its present file, by the source's number.
    ends: Vec<u64>,
    /// An input had something to say since the last look.
    touched: bool,
    /// Whose they are.
    pub(super) containers: Containers,
}

impl Intake {
    /// What comes in goes into `engine`.
    pub fn new(engine: Engine) -> Intake {
        Intake { engine, ends: Vec::new(), touched: false, containers: Containers::default() }
    }

    /// Takes in a new source.
    pub fn open(&mut self, source: Source) -> OriginId {
        let container = containers::told_by(&source);
        let origin = self.engine.open(source);
        self.containers.open(origin, container);
        self.ends.resize(self.ends.len().max(origin.0 as usize + 1), 0);
        origin
    }

    /// Takes in bytes.
    pub fn data(&mut self, chunk: Chunk<'_>, now: Now) {
        self.touched = true;
        self.ends[chunk.origin.0 as usize] = chunk.offset + chunk.bytes.len() as u64;
        self.engine.push(chunk, now);
    }

    /// The source's present file has come to its end.
    pub fn end_generation(&mut self, origin: OriginId, now: Now) {
        self.touched = true;
        self.engine.end_generation(origin, now);
    }

    /// Bytes of the source were gone before they could be read.
    pub fn lost(&mut self, origin: OriginId, reason: Reason, lost: Bytes, now: Now) {
        self.touched = true;
        self.engine.lost(origin, reason, lost, now);
    }

    /// The source will never say anything again.
    pub fn close(&mut self, origin: OriginId, now: Now) {
        self.touched = true;
        self.containers.close(origin);
        self.engine.close(origin, now);
    }

    /// Where the first line begins in the source's present file of which only a part was read, if there is one.
    pub fn unfinished(&self, origin: OriginId) -> Option<u64> {
        let Bytes(unfinished) = self.engine.unfinished(origin);
        (unfinished > 0).then(|| self.ends[origin.0 as usize].saturating_sub(unfinished))
    }

    /// Shows the rules what containers use, where there is something new.
    fn judge_resources(&mut self) {
        let Some(look) = self.containers.take() else { return };
        let all: Vec<Used> = look.samples.into_iter().map(|sample| sample.used).collect();
        self.engine.on_resources(&all, look.at);
        self.touched = true;
    }

    /// Tells something about ourselves.
    pub fn tell(&mut self, tell: &Tell, now: Now) {
        self.touched = true;
        let message = tell.message.clone();
        match &tell.stream {
            Some(stream) if tell.uncounted > Lines(0) => {
                self.engine.uncounted(stream, message, tell.uncounted, now);
            }
            about => self.engine.notice(about.as_deref(), tell.reason, message, tell.lost, now),
        }
    }
}

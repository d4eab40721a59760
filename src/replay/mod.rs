//! Replay: old files through the same engine, with the log's own time as the clock.
//!
//! In: files, plain or gzipped, of one log or of many. Out: the records that the live program would have made, and the
//! [`Story`] of what happened.
//! Files of one rotated set follow each other; different logs are merged by the time of their lines, a piece at a time.
//! Limit: constant memory, whatever the size: two buffers for each log that is open, and the engine's tables.
//! Invariant: every byte of every file is read once, or an error names the file.
//!
//! The newest log time stands for the time of arrival ([`Clock::Log`]), so windows, episodes and loops end as they did.

mod file;
mod set;

use std::io;
use std::path::{Path, PathBuf};

use self::set::Set;
use crate::engine::chronicle::story::Story;
use crate::engine::chunk::Chunk;
use crate::engine::cycle;
use crate::engine::ledger::Ledger;
use crate::engine::record::Batch;
use crate::engine::storm::window::ClosedBy;
use crate::engine::{Clock, Engine, Options, Source};
use crate::units::{Now, Timestamp};

/// What cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A file cannot be opened or read.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file was named twice. Its lines would be counted twice.
    #[error("{} and {} are the same file", first.display(), second.display())]
    Twice {
        /// The first name.
        first: PathBuf,
        /// The second one.
        second: PathBuf,
    },
    /// The records cannot be written.
    #[error("cannot write records")]
    Sink(#[source] io::Error),
}

impl ReplayError {
    fn io(action: &'static str, path: &Path, source: io::Error) -> ReplayError {
        ReplayError::Io { action, path: path.to_owned(), source }
    }
}

/// Files on their way through an engine.
pub struct Replay {
    engine: Engine,
    sets: Vec<Set>,
    spare: Batch,
    size: u64,
}

impl Replay {
    /// Opens the files. `source_of` says what is known of a log by its path (`-` is standard input); `now` is the real
    /// time: for standard input, and for files whose own time makes no sense.
    ///
    /// # Errors
    /// When a file cannot be read, or was named twice.
    pub fn open(
        paths: &[PathBuf],
        source_of: impl Fn(&Path) -> Source,
        options: Options,
        now: Timestamp,
    ) -> Result<Replay, ReplayError> {
        let loops = cycle::Limits { closed_max: LOOPS_KEPT, ..options.loops };
        let mut engine = Engine::new(Options { chronicle: true, clock: Clock::Log, loops, ..options });
        let mut sets = Set::of(paths, source_of, now)?;
        for set in &mut sets {
            set.origin = engine.open(set.source.clone());
        }
        let size = paths.iter().filter_map(|path| Some(std::fs::metadata(path).ok()?.len())).sum();
        Ok(Replay { engine, sets, spare: Batch::default(), size })
    }

    /// Bytes of all files on disk; 0 where that is not known.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of them that have been read.
    pub fn read_so_far(&self) -> u64 {
        self.sets.iter().map(Set::read_so_far).sum()
    }

    /// Reads on a little. False when all has been read. `sink` gets the records.
    ///
    /// # Errors
    /// When a file cannot be read on, or the sink fails. Whoever goes on after the former gets what was read before it,
    /// and the other files.
    pub fn step(&mut self, sink: &mut impl FnMut(&Batch) -> io::Result<()>) -> Result<bool, ReplayError> {
        let Some(index) = self.earliest()? else { return Ok(false) };
        let set = &mut self.sets[index];
        let (origin, wall) = (set.origin, set.wall);
        let Some(file) = set.current()? else { return Ok(true) };
        file.next()?;
        let (mut offset, piece) = file.piece();
        for bytes in piece.chunks(CHUNK) {
            // The clock is read anew each time, so that what is over closes where it would have.
            let now = Now { arrival: self.engine.log_clock(), wall };
            self.engine.push(Chunk { origin, offset, bytes }, now);
            offset += bytes.len() as u64;
            hand_out(&mut self.engine, &mut self.spare, sink)?;
        }
        if piece.is_empty() {
            set.close_current();
            let now = Now { arrival: self.engine.log_clock(), wall };
            self.engine.end_generation(origin, now);
        }
        self.settle(sink)?;
        Ok(true)
    }

    /// Ends what is still open. `sink` gets the last records.
    ///
    /// # Errors
    /// When the sink fails.
    pub fn finish(&mut self, sink: &mut impl FnMut(&Batch) -> io::Result<()>) -> Result<(), ReplayError> {
        loop {
            let now = self.now();
            let ended = self.engine.finish_some(ClosedBy::End, now);
            hand_out(&mut self.engine, &mut self.spare, sink)?;
            if ended {
                return Ok(());
            }
        }
    }

    /// The books.
    pub fn ledger(&self) -> Ledger {
        self.engine.ledger()
    }

    /// What happened.
    pub fn story(&self) -> Story {
        self.engine.story()
    }

    /// The log whose next line is the oldest one. `None` when all are read.
    fn earliest(&mut self) -> Result<Option<usize>, ReplayError> {
        if let [set] = self.sets.as_mut_slice() {
            return Ok(set.current()?.map(|_| 0));
        }
        let mut earliest: Option<(Timestamp, usize)> = None;
        for (index, set) in self.sets.iter_mut().enumerate() {
            // A line without a time goes with the one before it: at once.
            let Some(time) = set.next_time()? else { continue };
            let time = time.unwrap_or(Timestamp(i64::MIN));
            if earliest.is_none_or(|(known, _)| time < known) {
                earliest = Some((time, index));
            }
        }
        Ok(earliest.map(|(_, index)| index))
    }

    fn now(&self) -> Now {
        let wall = self.sets.iter().map(|set| set.wall).max().unwrap_or_default();
        Now { arrival: self.engine.log_clock(), wall }
    }

    /// Closes what is over, and hands the records out.
    fn settle(&mut self, sink: &mut impl FnMut(&Batch) -> io::Result<()>) -> Result<(), ReplayError> {
        let now = self.now();
        hand_out(&mut self.engine, &mut self.spare, sink)?;
        while self.engine.deadline().is_some_and(|deadline| deadline <= now.arrival) {
            self.engine.on_deadline(now);
            if self.engine.batch().is_empty() {
                break;
            }
            hand_out(&mut self.engine, &mut self.spare, sink)?;
        }
        Ok(())
    }
}

/// Gives the records made so far to `sink`; `spare` takes turns with the engine's batch.
fn hand_out(
    engine: &mut Engine,
    spare: &mut Batch,
    sink: &mut impl FnMut(&Batch) -> io::Result<()>,
) -> Result<(), ReplayError> {
    if engine.batch().is_empty() {
        return Ok(());
    }
    let batch = engine.take_batch(std::mem::take(spare));
    let sunk = sink(&batch).map_err(ReplayError::Sink);
    *spare = batch;
    sunk
}

/// Loops that are told of after they have ended; the oldest is forgotten first.
const LOOPS_KEPT: usize = 256;
/// What the engine gets at once. A chunk of empty lines makes 400 bytes of record from each of its bytes.
const CHUNK: usize = 16 * 1024;

#[cfg(test)]
mod tests;

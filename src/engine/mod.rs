//! The engine: chunks + now → records. Pure: no I/O, no clock, no threads, so that a test runs the whole of it with
//! a made-up clock.
//!
//! A line is born, judged and counted here, on one thread, in warm cache:
//! chunk → [`frame`] → [`mod@line`] → [`template`] → [`storm`] → [`record`], with the [`ledger`] beside it.
//! Invariant: every accepted line is in exactly one record or in a window that is still open.
//! Limits: `templates_max` entries; `memory_max` bytes, above which windows close early.
//! Only this module calls the stages; a stage uses nothing of another but the type of its output.

pub mod chunk;
pub mod core;
pub mod frame;
pub mod ledger;
pub mod line;
pub mod record;
pub mod state;
pub mod storm;
pub mod template;

use self::chunk::{Chunk, OriginId};
pub use self::core::Options;
use self::core::{Core, StreamId};
use self::frame::{Format, Framer, IoStream};
use self::ledger::Ledger;
use self::line::Line;
use self::line::join::Joiner;
use self::record::envelope::Place;
use self::record::{Batch, Reason};
use self::storm::Collapse;
use self::storm::window::ClosedBy;
use crate::units::{Bytes, Lines, Monotonic, Now};

/// What is known of one source of bytes.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The name that its streams begin with; unique among the open sources.
    pub name: String,
    /// What its records say of where they come from.
    pub place: Place,
    /// How its bytes are wrapped.
    pub format: Format,
    /// How far its lines may be folded.
    pub collapse: Collapse,
    /// The limits of its lines.
    pub line: line::Limits,
    /// Its bytes stay where they are and can be read again: those of a file can, those of a pipe cannot.
    pub stays: bool,
}

/// The pipeline.
pub struct Engine {
    /// `None` where a source was closed.
    origins: Vec<Option<Box<Origin>>>,
    core: Core,
    bytes_in: Bytes,
    until_memory_check: u64,
}

/// One source on its way through the first two stages.
struct Origin {
    source: Source,
    framer: Framer,
    joiner: Joiner,
    /// Made when the first line of each arrives: unknown, stdout, stderr.
    streams: [Option<StreamId>; 3],
}

impl Origin {
    fn size(&self) -> usize {
        let path = self.source.place.path.as_ref().map_or(0, String::len);
        let held = self.framer.held() + self.joiner.held_bytes().0 as usize;
        size_of::<Origin>() + self.source.name.len() + path + held
    }
}

impl Engine {
    /// An engine without sources.
    pub fn new(options: Options) -> Engine {
        Engine { origins: Vec::new(), core: Core::new(options), bytes_in: Bytes(0), until_memory_check: 0 }
    }

    /// Takes in a new source.
    pub fn open(&mut self, source: Source) -> OriginId {
        self.origins.push(Some(Box::new(Origin {
            framer: Framer::new(source.format, source.line.length_max),
            joiner: Joiner::new(source.line.clone()),
            source,
            streams: [None; 3],
        })));
        OriginId((self.origins.len() - 1) as u32) // sources are files and pipes: far below 2^32
    }

    /// Takes in bytes. Their records are in [`Engine::batch`] afterwards; at worst about 400 bytes of record for
    /// each byte of a chunk of empty lines, so cut chunks small (16 KiB) where memory matters.
    pub fn push(&mut self, chunk: Chunk<'_>, now: Now) {
        if self.deadline().is_some_and(|deadline| deadline <= now.arrival) {
            self.on_deadline(now);
        }
        self.bytes_in += Bytes(chunk.bytes.len() as u64);
        let core = &mut self.core;
        let Some(Origin { source, framer, joiner, streams }) = at(&mut self.origins, chunk.origin) else {
            debug_assert!(false, "bytes of a source that was closed");
            return;
        };
        framer.push(chunk.bytes, chunk.offset, &mut |frame| {
            joiner.push(frame, now, &mut |line| accept(core, source, streams, &line, now));
        });
        self.check_memory(chunk.bytes.len() as u64);
    }

    /// The source's file was rotated away, truncated or read to its final end: what it left unfinished is a line.
    /// Partial lines of the container runtime stay, for their end comes in the next file.
    pub fn end_generation(&mut self, origin: OriginId, now: Now) {
        let core = &mut self.core;
        let Some(Origin { source, framer, joiner, streams }) = at(&mut self.origins, origin) else { return };
        framer.end_of_file(&mut |frame| {
            joiner.push(frame, now, &mut |line| accept_rarely(core, source, streams, &line, now));
        });
    }

    /// `lost` bytes of the source were gone before they could be read; at least that many.
    pub fn lost(&mut self, origin: OriginId, reason: Reason, lost: Bytes, now: Now) {
        self.end_generation(origin, now);
        let core = &mut self.core;
        let Some(Origin { source, streams, .. }) = at(&mut self.origins, origin) else { return };
        let known = streams.iter().flatten().next().copied();
        let stream = known.unwrap_or_else(|| stream_of(core, source, streams, IoStream::Unknown));
        core.lost(stream, reason, lost, now);
    }

    /// The source will never say anything again: what it left unfinished leaves, its windows close, its memory is
    /// free. Its number is not used again.
    pub fn close(&mut self, origin: OriginId, now: Now) {
        self.end_generation(origin, now);
        let core = &mut self.core;
        let Some(mut gone) = self.origins.get_mut(origin.0 as usize).and_then(Option::take) else { return };
        let Origin { source, joiner, streams, .. } = &mut *gone;
        joiner.flush(now, &mut |line| accept_rarely(core, source, streams, &line, now));
        for stream in streams.iter().flatten() {
            core.close_stream(*stream);
        }
    }

    /// Bytes taken in so far.
    pub fn bytes_in(&self) -> Bytes {
        self.bytes_in
    }

    /// When [`Engine::on_deadline`] wants to be called if nothing else happens.
    pub fn deadline(&self) -> Option<Monotonic> {
        self.core.deadline()
    }

    /// Closes what is over by the arrival clock, or a share of it: then [`Engine::deadline`] is still over, and this is
    /// to be called again once the batch has left.
    pub fn on_deadline(&mut self, now: Now) {
        self.core.on_deadline(now);
    }

    /// Ends everything: windows close, and unfinished lines leave as they are, for nobody will finish them.
    /// But where we are stopped in the middle of something that stays, the half of a line is no line: it is
    /// held to the end, and read whole next time (`faults.md` 25). All of it goes into one batch.
    pub fn finish(&mut self, closed_by: ClosedBy, now: Now) {
        while !self.finish_some(closed_by, now) {}
    }

    /// Ends a share of everything, as much as fits into a batch. True when all has ended.
    pub fn finish_some(&mut self, closed_by: ClosedBy, now: Now) -> bool {
        for index in 0..self.origins.len() as u32 {
            let stays = at(&mut self.origins, OriginId(index)).is_some_and(|origin| origin.source.stays);
            if closed_by == ClosedBy::Shutdown && stays {
                continue;
            }
            self.end_generation(OriginId(index), now);
            let core = &mut self.core;
            let Some(Origin { source, joiner, streams, .. }) = at(&mut self.origins, OriginId(index)) else {
                continue;
            };
            joiner.flush(now, &mut |line| accept_rarely(core, source, streams, &line, now));
        }
        self.core.finish_some(closed_by)
    }

    /// The records that were made since the last [`Engine::take_batch`].
    pub fn batch(&self) -> &Batch {
        self.core.batch()
    }

    /// Takes the filled batch and leaves `empty`, whose memory is used again.
    pub fn take_batch(&mut self, empty: Batch) -> Batch {
        self.core.take_batch(empty)
    }

    /// The books, balanced now.
    pub fn ledger(&self) -> Ledger {
        let held =
            |origin: &Origin| origin.joiner.held_lines() + Lines(u64::from(origin.framer.holds_line()));
        let partial: Lines = self.origins.iter().flatten().map(|origin| held(origin)).sum();
        let mut ledger = self.core.ledger();
        ledger.lines_in += partial;
        ledger.lines_partial = partial;
        ledger.bytes_in = self.bytes_in;
        ledger
    }

    /// Bytes of memory in the engine's tables and buffers, batches not counted.
    pub fn size(&self) -> Bytes {
        let origins: usize = self.origins.iter().flatten().map(|origin| origin.size()).sum();
        Bytes(
            (self.core.size() + origins + self.origins.capacity() * size_of::<Option<Box<Origin>>>()) as u64,
        )
    }

    /// Adding up all windows costs too much to do for each chunk.
    fn check_memory(&mut self, read: u64) {
        const EVERY: u64 = 1 << 20;
        self.until_memory_check += read;
        if self.until_memory_check >= EVERY {
            self.until_memory_check = 0;
            self.core.relieve();
        }
    }
}

/// The source with this number, unless it was closed.
fn at(origins: &mut [Option<Box<Origin>>], id: OriginId) -> Option<&mut Origin> {
    origins.get_mut(id.0 as usize)?.as_deref_mut()
}

/// [`accept`] where it is not worth a copy of the whole second half of the pipeline.
#[cold]
#[inline(never)]
fn accept_rarely(
    core: &mut Core,
    source: &Source,
    streams: &mut [Option<StreamId>; 3],
    line: &Line<'_>,
    now: Now,
) {
    accept(core, source, streams, line, now);
}

/// One line arrives at its stream, which is made with its first line.
#[inline(always)]
fn accept(core: &mut Core, source: &Source, streams: &mut [Option<StreamId>; 3], line: &Line<'_>, now: Now) {
    let stream = match streams[line.stream as usize] {
        Some(stream) => stream,
        None => stream_of(core, source, streams, line.stream),
    };
    core.on_line(stream, line, now);
}

#[cold]
fn stream_of(
    core: &mut Core,
    source: &Source,
    streams: &mut [Option<StreamId>; 3],
    iostream: IoStream,
) -> StreamId {
    let key = match iostream {
        IoStream::Unknown => source.name.clone(),
        IoStream::Stdout => format!("{}/stdout", source.name),
        IoStream::Stderr => format!("{}/stderr", source.name),
    };
    let stream = core.open_stream(&key, iostream, &source.place, source.collapse);
    streams[iostream as usize] = Some(stream);
    stream
}

#[cfg(test)]
mod tests;

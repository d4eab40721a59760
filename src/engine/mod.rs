//! The engine: chunks + now → records. Pure: no I/O, no clock, no threads, so that a test runs the whole of it with
//! a made-up clock.
//!
//! A line is born, judged and counted here, on one thread, in warm cache:
//! chunk → [`frame`] → [`mod@line`] → [`template`] → [`storm`] → [`cycle`] → [`record`], with the [`ledger`] beside it and
//! every line shown to [`alert`] before anything is folded.
//! Invariant: every accepted line is in exactly one record or in a window that is still open.
//! What must survive a `kill -9` is handed out as plain data ([`state`]), and an engine can be rebuilt from it.
//! Limits: `templates_max` entries; `memory_max` bytes, above which windows close early.
//! Only this module calls the stages; a stage uses nothing of another but the type of its output.

pub mod alert;
pub mod chronicle;
pub mod chunk;
pub mod core;
pub mod cycle;
pub mod frame;
pub mod ledger;
pub mod line;
mod origin;
pub mod record;
pub mod state;
pub mod storm;
pub mod template;

use std::collections::HashSet;

use self::alert::Episode;
use self::alert::container::Used;
use self::chronicle::story::Story;
use self::chunk::{Chunk, OriginId};
use self::core::Core;
pub use self::core::limit::LimitView;
pub use self::core::overview::{Activity, StormView};
pub use self::core::{Clock, Options};
use self::cycle::{FromStart, LoopView};
use self::frame::{Format, Framer, IoStream};
use self::ledger::Ledger;
use self::line::Line;
use self::line::join::Joiner;
use self::line::multiline::Traces;
pub use self::origin::Source;
use self::origin::{
    Origin, accept, accept_rarely, push_entries, push_joining, stream_key, stream_of, tell_skipped,
};
use self::record::notification::Notification;
use self::record::{Batch, Lost, Notice, Reason};
use self::state::{Changes, Refill};
use self::storm::Pressure;
use self::storm::throttle::LimitOrder;
use self::storm::window::ClosedBy;
use crate::units::{Bytes, Lines, Monotonic, Now};

/// The pipeline.
pub struct Engine {
    /// `None` where a source was closed.
    origins: Vec<Option<Box<Origin>>>,
    /// The names of those that are open.
    names: HashSet<String>,
    core: Core,
    bytes_in: Bytes,
    until_memory_check: u64,
    /// No held trace must leave before this.
    next_trace: Option<Monotonic>,
}

impl Engine {
    /// An engine without sources.
    pub fn new(options: Options) -> Engine {
        Engine::with(Core::new(options))
    }

    fn with(core: Core) -> Engine {
        Engine {
            origins: Vec::new(),
            names: HashSet::new(),
            core,
            bytes_in: Bytes(0),
            until_memory_check: 0,
            next_trace: None,
        }
    }

    /// An engine that goes on where another one was when it handed out `changes`: all of them, those of each later
    /// [`Engine::checkpoint`] over those before. Sources are opened anew and read from where their first unfinished
    /// line began; streams go on with the source of their name.
    ///
    /// Also gives a sentence for each thing that could not be understood. Even then all lines stay in the books: what is
    /// known of them is told, and is in [`Engine::batch`] already.
    pub fn restore(options: Options, changes: Changes, now: Now) -> (Engine, Vec<String>) {
        let mut complaints = Vec::new();
        let bytes_in = Bytes(changes.totals.bytes_in.min(u64::MAX / 2)); // more is damage, and must not overflow
        let core = Core::restore(options, changes, now, &mut complaints);
        (Engine { bytes_in, ..Engine::with(core) }, complaints)
    }

    /// Fills `changes` with what has changed since the last call. It belongs to the records made until now: take
    /// [`Engine::take_batch`] in the same breath, and commit both or neither.
    ///
    /// A stream that did nothing costs a comparison, and so does an episode.
    pub fn checkpoint(&mut self, now: Now, changes: &mut Changes) {
        let core = &mut self.core;
        let mut streams = Refill::new(&mut changes.streams);
        let mut unfinished = 0;
        for origin in self.origins.iter_mut().flatten() {
            origin.checkpoint(core, now, &mut streams);
            // What will be read again will be counted then.
            unfinished += if origin.source.stays { origin.framer.unfinished() } else { 0 };
        }
        core.hand_out_unclaimed(now, &mut streams);
        streams.finish();
        core.checkpoint(now, changes);
        changes.totals.bytes_in = self.bytes_in.0.saturating_sub(unfinished);
    }

    /// How many of the bytes that were pushed last for this source belong to a line of its file that has not ended yet.
    /// After a restart they must be pushed again. Pieces of a line that the container runtime cut are not among them.
    pub fn unfinished(&self, origin: OriginId) -> Bytes {
        let origin = self.origins.get(origin.0 as usize).and_then(Option::as_ref);
        Bytes(origin.map_or(0, |origin| origin.framer.unfinished()))
    }

    /// Takes in a new source. Streams of its name that came back from a restart are its own.
    pub fn open(&mut self, mut source: Source) -> OriginId {
        source.name = self.unique(source.name);
        let mut joiner = Joiner::new(source.line.clone());
        let length_max = source.line.length_max;
        let mut traces =
            source.line.multiline.clone().map(|options| Box::new(Traces::new(options, length_max)));
        let mut streams = [None; 3];
        let mut inherited = [false; 3];
        let mut format = source.format;
        if self.core.has_unclaimed() {
            for iostream in IoStream::ALL {
                let key = stream_key(&source, iostream);
                let claimed = self.core.claim(&key, iostream, &source.place, source.folding);
                let Some(claimed) = claimed else { continue };
                streams[iostream as usize] = Some(claimed.stream);
                inherited[iostream as usize] = claimed.held.is_some();
                joiner.take_over(iostream, claimed.clock, claimed.held, claimed.since);
                match (claimed.trace, &mut traces) {
                    (Some(trace), Some(traces)) => traces.take_over(iostream, trace, claimed.since.arrival),
                    // It is not joined any more.
                    (Some(trace), None) => {
                        let core = &mut self.core;
                        trace.flush(iostream, |line| core.on_line(claimed.stream, line, claimed.since));
                    }
                    (None, _) => {}
                }
                // Somewhere in the middle of a file its first line cannot be asked any more.
                format = if format == Format::Auto { claimed.format } else { format };
            }
        }
        let mut framer = Framer::new(format, length_max);
        let holding = IoStream::ALL.into_iter().filter(|iostream| inherited[*iostream as usize]);
        holding.for_each(|iostream| framer.inherit(iostream));
        self.next_trace =
            traces.as_ref().and_then(|traces| traces.deadline()).into_iter().chain(self.next_trace).min();
        let origin = Origin { framer, joiner, traces, source, begins_at: None, streams };
        self.origins.push(Some(Box::new(origin)));
        OriginId((self.origins.len() - 1) as u32) // sources are files and pipes: far below 2^32
    }

    /// `name`, or one like it that no open source has.
    fn unique(&mut self, name: String) -> String {
        let others = (2u32..).map(|number| format!("{name}#{number}"));
        let free = std::iter::once(name.clone()).chain(others).find(|name| !self.names.contains(name));
        let name = free.unwrap_or(name); // more names than there can be sources
        self.names.insert(name.clone());
        name
    }

    /// Takes in bytes. Their records are in [`Engine::batch`] afterwards; at worst about 400 bytes of record for
    /// each byte of a chunk of empty lines, so cut chunks small (16 KiB) where memory matters.
    pub fn push(&mut self, chunk: Chunk<'_>, now: Now) {
        if self.deadline().is_some_and(|deadline| deadline <= now.arrival) {
            // However long we did not read: what these bytes go on with is not over.
            self.close_due(Some(chunk.origin), now);
        }
        self.bytes_in += Bytes(chunk.bytes.len() as u64);
        let core = &mut self.core;
        let Some(origin) = at(&mut self.origins, chunk.origin) else {
            debug_assert!(false, "bytes of a source that was closed");
            return;
        };
        let is_whole = *origin.begins_at.get_or_insert(chunk.offset) == 0;
        core.from_start = if is_whole { FromStart::Yes } else { FromStart::No };
        if origin.traces.is_some() {
            let next = push_joining(origin, core, chunk, now);
            self.next_trace = self.next_trace.into_iter().chain(next).min();
        } else if origin.framer.may_skip() {
            push_entries(origin, core, chunk, now);
        } else {
            let Origin { source, framer, joiner, streams, .. } = origin;
            framer.push(chunk.bytes, chunk.offset, &mut |frame| {
                joiner.push(frame, now, &mut |line| accept(core, source, streams, &line, now));
            });
        }
        self.check_memory(chunk.bytes.len() as u64);
    }

    /// The source's file was rotated away, truncated or read to its final end: what it left unfinished is a line.
    /// Partial lines of the container runtime stay, for their end comes in the next file, and so do traces.
    pub fn end_generation(&mut self, origin: OriginId, now: Now) {
        let core = &mut self.core;
        let Some(ended) = at(&mut self.origins, origin) else { return };
        let Origin { source, framer, joiner, traces, streams, .. } = &mut *ended;
        framer.end_of_file(&mut |frame| {
            joiner.push(frame, now, &mut |line| {
                let mut accept = |line: &Line<'_>| accept_rarely(core, source, streams, line, now);
                match traces {
                    Some(traces) => traces.push(&line, now, &mut accept),
                    None => accept(&line),
                }
            });
        });
        let next = traces.as_ref().and_then(|traces| traces.deadline());
        tell_skipped(ended, core, now);
        self.next_trace = self.next_trace.into_iter().chain(next).min();
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
        gone.flush_traces(core, now);
        let Origin { source, joiner, streams, .. } = &mut *gone;
        self.names.remove(&source.name);
        joiner.flush(now, &mut |line| accept_rarely(core, source, streams, &line, now));
        for stream in streams.iter().flatten() {
            core.close_stream(*stream);
        }
    }

    /// Says something about the stream of this name, or about this instance (its stream is `<node>/squall`). Such a
    /// notice stands for no accepted lines: what it calls lost was never accepted, or is counted already.
    pub fn notice(&mut self, about: Option<&str>, reason: Reason, message: String, lost: Lost, now: Now) {
        self.core.notice(about, &Notice::of_loss(reason, message, lost, now.wall));
    }

    /// Tells `count` lines of this stream that were accepted and are counted nowhere any more: the outbox was damaged.
    /// With the notice the stream's books balance again.
    pub fn uncounted(&mut self, stream: &str, message: String, count: Lines, now: Now) {
        let notice = Notice::of_loss(Reason::StoreDamaged, message, Lost::default(), now.wall);
        self.core.notice(Some(stream), &Notice { count, ..notice });
    }

    /// Gives up detail while records find no room, or no longer. Windows that are open stay open.
    pub fn set_pressure(&mut self, pressure: Pressure) {
        self.core.set_pressure(pressure);
    }

    /// Lets no more lines pass word for word than this, from now on, for a time; what is held back is folded. Lines of new
    /// templates, with new values, and of streams that are never folded pass all the same.
    pub fn set_limit(&mut self, order: LimitOrder, now: Now) {
        self.core.set_limit(order, now);
    }

    /// Begins the return of the limit before its time; ends it at once where it returns already. False where there is none.
    pub fn lift_limit(&mut self, now: Now) -> bool {
        self.core.lift_limit(now)
    }

    /// The limit, where there is one.
    pub fn limit(&self, now: Now) -> Option<LimitView> {
        self.core.limit_view(now)
    }

    /// Shows the rules what all watched containers use. One that is missing is gone.
    pub fn on_resources(&mut self, all: &[Used], now: Now) {
        self.core.on_resources(all, now);
    }

    /// What stands for the time of arrival under [`Clock::Log`].
    pub fn log_clock(&self) -> Monotonic {
        self.core.log_clock()
    }

    /// What was remembered of all lines, put in order; an empty story where [`Options::chronicle`] is off.
    pub fn story(&self) -> Story {
        self.core.story()
    }

    /// Bytes taken in so far.
    pub fn bytes_in(&self) -> Bytes {
        self.bytes_in
    }

    /// When [`Engine::on_deadline`] wants to be called if nothing else happens.
    pub fn deadline(&self) -> Option<Monotonic> {
        self.core.deadline().into_iter().chain(self.trace_deadline()).min()
    }

    /// Closes what is over by the arrival clock, or a share of it: then [`Engine::deadline`] is still over, and this is
    /// to be called again once the batch has left.
    pub fn on_deadline(&mut self, now: Now) {
        self.close_due(None, now);
    }

    /// [`Engine::on_deadline`], but for the traces of one source.
    fn close_due(&mut self, except: Option<OriginId>, now: Now) {
        if self.trace_deadline().is_some_and(|next| next <= now.arrival) {
            self.end_traces(except, now);
        }
        self.core.on_deadline(now);
    }

    /// When a trace has waited long enough. Never where log time is the clock: the next line of an old file is there
    /// already, however much later it was written, and says whether the trace goes on.
    fn trace_deadline(&self) -> Option<Monotonic> {
        self.next_trace.filter(|_| self.core.clock() == Clock::Arrival)
    }

    /// Sends the traces that have waited long enough, but for those of one source.
    fn end_traces(&mut self, except: Option<OriginId>, now: Now) {
        let core = &mut self.core;
        self.next_trace = None;
        for (index, origin) in self.origins.iter_mut().enumerate() {
            let Some(Origin { source, traces: Some(traces), streams, .. }) = origin.as_deref_mut() else {
                continue;
            };
            if except != Some(OriginId(index as u32)) {
                traces.on_deadline(now.arrival, &mut |line| accept_rarely(core, source, streams, line, now));
            }
            self.next_trace = self.next_trace.into_iter().chain(traces.deadline()).min();
        }
    }

    /// Ends everything: windows close, and unfinished lines leave as they are, for nobody will finish them.
    /// But where we are stopped in the middle of something that stays, the half of a line is no line: it is
    /// held to the end, and read whole next time (`faults.md` 25). A trace leaves even then: all of its lines are whole,
    /// and it may be the last thing that the program said. All of it goes into one batch.
    pub fn finish(&mut self, closed_by: ClosedBy, now: Now) {
        while !self.finish_some(closed_by, now) {}
    }

    /// Ends a share of everything, as much as fits into a batch. True when all has ended.
    pub fn finish_some(&mut self, closed_by: ClosedBy, now: Now) -> bool {
        for index in 0..self.origins.len() as u32 {
            let stays = at(&mut self.origins, OriginId(index)).is_some_and(|origin| origin.source.stays);
            let is_torn = closed_by == ClosedBy::Shutdown && stays;
            if !is_torn {
                self.end_generation(OriginId(index), now);
            }
            let core = &mut self.core;
            let Some(origin) = at(&mut self.origins, OriginId(index)) else { continue };
            origin.flush_traces(core, now);
            if is_torn {
                continue;
            }
            let Origin { source, joiner, streams, .. } = origin;
            joiner.flush(now, &mut |line| accept_rarely(core, source, streams, &line, now));
        }
        if closed_by != ClosedBy::Shutdown {
            self.core.flush_unclaimed(now);
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

    /// The loops that are open, with the names of their streams.
    pub fn loops(&self) -> impl Iterator<Item = (&str, LoopView)> {
        self.core.loops()
    }

    /// The last loops that have closed, the oldest first: as many as [`cycle::Limits::closed_max`] says.
    pub fn loops_closed(&self) -> impl Iterator<Item = (&str, &LoopView)> {
        self.core.loops_closed()
    }

    /// How much of everything is going on.
    pub fn activity(&self) -> Activity {
        self.core.activity()
    }

    /// The `most` open episodes with the most lines, storms before repeats.
    pub fn storms(&self, most: usize) -> Vec<StormView> {
        self.core.storms(most)
    }

    /// The last alerts that have fired, the oldest first; while they fire, and after they have resolved.
    pub fn alerts(&self) -> impl Iterator<Item = Episode> {
        self.core.alerts()
    }

    /// The numbers of the firings that are not over.
    pub fn alerts_firing(&self) -> impl Iterator<Item = u64> {
        self.core.alerts_firing()
    }

    /// Moves what people are to be told of alerts to `into`: what belongs to the records of [`Engine::take_batch`], where
    /// [`Options::notifies`] is set. Says how many firings they are not told of because too many began at once.
    pub fn take_notifications(&mut self, into: &mut Vec<Notification>) -> u64 {
        self.core.take_notifications(into)
    }

    /// The books, balanced now.
    pub fn ledger(&self) -> Ledger {
        let partial: Lines = self.origins.iter().flatten().map(|origin| origin.lines_partial()).sum();
        let partial = partial + self.core.unclaimed_partial();
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

#[cfg(test)]
mod tests;

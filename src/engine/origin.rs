//! A source on its way through the first two stages, and how its lines come to their streams.

use super::chunk::Chunk;
use super::core::kept::Parts;
use super::core::{Core, StreamId};
use super::frame::{Format, Framer, IoStream};
use super::line::join::Joiner;
use super::line::multiline::Traces;
use super::line::{self, Line};
use super::record::envelope::Place;
use super::record::{Lost, Notice, Reason};
use super::state::{Refill, StreamState};
use super::storm::Folding;
use crate::units::{Bytes, Lines, Monotonic, Now};

/// What is known of one source of bytes.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The name that its streams begin with. Among the open sources it is unique: another one of the same name gets a
    /// `#2`, `#3` … behind it, for books that two sources write could not be kept over a restart.
    pub name: String,
    /// What its records say of where they come from.
    pub place: Place,
    /// How its bytes are wrapped.
    pub format: Format,
    /// How its lines may be folded.
    pub folding: Folding,
    /// The limits of its lines.
    pub line: line::Limits,
    /// Its bytes stay where they are and can be read again: those of a file can, those of a pipe cannot.
    pub stays: bool,
}

/// One source on its way through the first two stages.
pub(super) struct Origin {
    pub(super) source: Source,
    pub(super) framer: Framer,
    pub(super) joiner: Joiner,
    /// Where stack traces are joined.
    pub(super) traces: Option<Box<Traces>>,
    /// Where reading began.
    pub(super) begins_at: Option<u64>,
    /// Made when the first line of each arrives: unknown, stdout, stderr.
    pub(super) streams: [Option<StreamId>; 3],
}

impl Origin {
    pub(super) fn size(&self) -> usize {
        let path = self.source.place.path.as_ref().map_or(0, String::len);
        let traces = self.traces.as_ref().map_or(0, |traces| traces.size().0 as usize);
        let held = self.framer.held() + self.joiner.held_bytes().0 as usize + traces;
        // The name stands in the list of names, too.
        size_of::<Origin>() + 2 * self.source.name.len() + path + held
    }

    /// Hands out those of its streams that have changed.
    pub(super) fn checkpoint(&mut self, core: &mut Core, now: Now, states: &mut Refill<'_, StreamState>) {
        let Origin { source, framer, joiner, traces, streams, .. } = self;
        for iostream in IoStream::ALL {
            let trace_news = traces.as_mut().is_some_and(|traces| traces.has_news(iostream));
            let has_news = joiner.has_news(iostream) || trace_news;
            let stream = match streams[iostream as usize] {
                Some(stream) => stream,
                // The pieces of a first line are to be kept before it is a line.
                None if has_news => stream_of(core, source, streams, iostream),
                None => continue,
            };
            if has_news || core.has_news(stream) {
                let (clock, pieces) = joiner.kept(iostream);
                let format = framer.format();
                let trace = traces.as_ref().and_then(|traces| traces.kept(iostream));
                let parts = Parts { iostream, place: &source.place, format, clock, pieces, trace };
                core.hand_out(stream, &parts, now, states.next());
            }
        }
    }

    /// Lines that have begun and may go on. Where a trace is held, what has begun behind it may be a part of it.
    pub(super) fn lines_partial(&self) -> Lines {
        let holds_trace = |name: &IoStream| self.traces.as_ref().is_some_and(|traces| traces.holds(*name));
        let held = IoStream::ALL.iter().filter(|name| holds_trace(name) || self.joiner.holds(**name)).count();
        let traces = self.traces.as_ref().map_or(Lines(0), |traces| traces.held_lines());
        Lines(held as u64 + u64::from(self.framer.holds_line() && traces == Lines(0)))
    }

    /// Sends the traces that are held.
    pub(super) fn flush_traces(&mut self, core: &mut Core, now: Now) {
        let Origin { source, traces, streams, .. } = self;
        let Some(traces) = traces else { return };
        traces.flush(&mut |line| accept_rarely(core, source, streams, line, now));
    }
}

/// Takes in bytes of a source whose traces are joined. Gives the time at which what is held has waited long enough. Apart
/// from [`Engine::push`], so that sources without traces do not pay for it.
#[inline(never)]
pub(super) fn push_joining(
    origin: &mut Origin,
    core: &mut Core,
    chunk: Chunk<'_>,
    now: Now,
) -> Option<Monotonic> {
    let Origin { source, framer, joiner, traces, streams, .. } = &mut *origin;
    let traces = traces.as_mut()?;
    framer.push(chunk.bytes, chunk.offset, &mut |frame| {
        joiner.push(frame, now, &mut |line| {
            traces.push(&line, now, &mut |line| accept_rarely(core, source, streams, line, now));
        });
    });
    let next = traces.deadline();
    if framer.may_skip() {
        tell_skipped(origin, core, now);
    }
    next
}

/// Takes in bytes of a source whose format may skip some: that is told. Apart from [`Engine::push`], as above.
#[inline(never)]
pub(super) fn push_entries(origin: &mut Origin, core: &mut Core, chunk: Chunk<'_>, now: Now) {
    let Origin { source, framer, joiner, streams, .. } = &mut *origin;
    framer.push(chunk.bytes, chunk.offset, &mut |frame| {
        joiner.push(frame, now, &mut |line| accept_rarely(core, source, streams, &line, now));
    });
    tell_skipped(origin, core, now);
}

/// Tells how many bytes were no part of any frame, if some were.
pub(super) fn tell_skipped(origin: &mut Origin, core: &mut Core, now: Now) {
    let skipped = origin.framer.take_skipped();
    if skipped > Bytes(0) {
        let message = format!("{skipped} bytes were skipped: they are no part of any frame");
        let lost = Lost { bytes: Some(skipped), ..Lost::default() };
        let notice = Notice::of_loss(Reason::Desync, message, lost, now.wall);
        let known = origin.streams.iter().flatten().next().copied();
        let stream =
            known.unwrap_or_else(|| stream_of(core, &origin.source, &mut origin.streams, IoStream::Unknown));
        core.tell(stream, &notice);
    }
}

/// [`accept`] where it is not worth a copy of the whole second half of the pipeline.
#[cold]
#[inline(never)]
pub(super) fn accept_rarely(
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
pub(super) fn accept(
    core: &mut Core,
    source: &Source,
    streams: &mut [Option<StreamId>; 3],
    line: &Line<'_>,
    now: Now,
) {
    let stream = match streams[line.stream as usize] {
        Some(stream) => stream,
        None => stream_of(core, source, streams, line.stream),
    };
    match &source.line.redact {
        None => core.on_line(stream, line, now),
        Some(redactor) => core.on_redacted(stream, line, redactor, now),
    }
}

#[cold]
pub(super) fn stream_of(
    core: &mut Core,
    source: &Source,
    streams: &mut [Option<StreamId>; 3],
    iostream: IoStream,
) -> StreamId {
    let stream = core.open_stream(&stream_key(source, iostream), iostream, &source.place, source.folding);
    streams[iostream as usize] = Some(stream);
    stream
}

/// The name of a source's stream.
pub(super) fn stream_key(source: &Source, iostream: IoStream) -> String {
    match iostream {
        IoStream::Unknown => source.name.clone(),
        IoStream::Stdout => format!("{}/stdout", source.name),
        IoStream::Stderr => format!("{}/stderr", source.name),
    }
}

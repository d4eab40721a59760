//! Streams that came back from a restart and wait for their sources.
//!
//! Their windows close by the arrival clock as if they were read. Pieces of lines wait, for their end may come yet.
//! A trace waits for a moment only: it is whole as far as anybody knows.
//! Limit: a stream whose source does not come back is given up after [`UNCLAIMED_FOR`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Core, SHARE, StreamId};
use crate::engine::frame::{Format, IoStream};
use crate::engine::line;
use crate::engine::line::join::{Held, Joiner};
use crate::engine::line::kept::KeptClock;
use crate::engine::line::multiline::Trace;
use crate::engine::line::multiline::kept::PATIENCE;
use crate::engine::record::envelope::{Envelope, Place};
use crate::engine::storm::Folding;
use crate::units::{Lines, Monotonic, Now};

/// How long a stream waits for its source after a restart. A file system that is mounted late takes minutes.
const UNCLAIMED_FOR: Duration = Duration::from_secs(3_600);

/// Streams of an earlier process whose sources have not come back yet, by name.
#[derive(Debug, Default)]
pub(super) struct Unclaimed {
    pub(super) streams: BTreeMap<String, Left>,
    /// Whether any of them may hold a trace.
    pub(super) hold_traces: bool,
    /// When they came back.
    pub(super) since: Now,
}

/// What an earlier process left of a stream.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) stream: StreamId,
    /// `None` when it could not be read.
    pub(super) iostream: Option<IoStream>,
    pub(super) place: Place,
    pub(super) format: Format,
    pub(super) clock: KeptClock,
    pub(super) held: Option<Box<Held>>,
    pub(super) trace: Option<Box<Trace>>,
}

/// A stream that goes on with its source.
pub struct Claimed {
    /// The stream.
    pub stream: StreamId,
    /// The format that its source had; [`Format::Auto`] when nobody knew.
    pub format: Format,
    /// Its clock.
    pub clock: KeptClock,
    /// The pieces of its unfinished line.
    pub held: Option<Box<Held>>,
    /// The trace whose end is not known yet.
    pub trace: Option<Box<Trace>>,
    /// When all this came back.
    pub since: Now,
}

impl Core {
    /// The stream with this name that an earlier process left, if it waits. Its source is `place` now.
    pub fn claim(
        &mut self,
        key: &str,
        iostream: IoStream,
        place: &Place,
        folding: Folding,
    ) -> Option<Claimed> {
        let is_it = |left: &Left| left.iostream.is_none_or(|known| known == iostream);
        if !self.unclaimed.streams.get(key).is_some_and(is_it) {
            return None;
        }
        let left = self.unclaimed.streams.remove(key)?;
        let collapse = self.limit(folding.collapse);
        let stream = &mut self.streams[left.stream.0 as usize];
        stream.envelope = Envelope::new(key, iostream, place, &self.identity);
        stream.folding = Folding { collapse, ..folding };
        stream.wanted = folding.collapse;
        let Left { stream, format, clock, held, trace, .. } = left;
        Some(Claimed { stream, format, clock, held, trace, since: self.unclaimed.since })
    }

    /// Bytes of memory behind the streams that wait.
    pub(super) fn unclaimed_size(&self) -> usize {
        let held = |left: &Left| {
            let trace = left.trace.as_ref().map_or(0, |trace| trace.size());
            left.held.as_ref().map_or(0, |held| held.size()) + trace
        };
        let streams = self.unclaimed.streams.iter();
        streams.map(|(key, left)| key.len() + size_of::<Left>() + held(left)).sum()
    }

    /// Whether any stream waits for its source.
    pub fn has_unclaimed(&self) -> bool {
        !self.unclaimed.streams.is_empty()
    }

    /// Lines of which only pieces are here, of the streams that wait.
    pub fn unclaimed_partial(&self) -> Lines {
        let is_partial = |left: &&Left| left.held.is_some() || left.trace.is_some();
        Lines(self.unclaimed.streams.values().filter(is_partial).count() as u64)
    }

    /// When the streams that wait are given up, or their traces.
    pub(super) fn unclaimed_deadline(&self) -> Option<Monotonic> {
        let since = self.unclaimed.since.arrival;
        let wait = if self.unclaimed.hold_traces { PATIENCE } else { UNCLAIMED_FOR };
        self.has_unclaimed().then_some(since + wait)
    }

    /// Sends the traces of streams whose sources have not come back, and ends those streams that did not come in time: a
    /// share of them.
    pub(super) fn give_up_unclaimed(&mut self, now: Now) {
        if std::mem::take(&mut self.unclaimed.hold_traces) {
            let mut waiting = std::mem::take(&mut self.unclaimed.streams);
            waiting.values_mut().for_each(|left| self.flush_trace(left, now));
            self.unclaimed.streams = waiting;
        }
        if self.unclaimed.since.arrival + UNCLAIMED_FOR > now.arrival {
            return;
        }
        for _ in 0..SHARE {
            let Some((_, mut left)) = self.unclaimed.streams.pop_first() else { return };
            self.flush(&mut left, now);
            self.close_stream(left.stream);
        }
    }

    /// Sends the pieces that nobody will finish.
    pub fn flush_unclaimed(&mut self, now: Now) {
        let mut waiting = std::mem::take(&mut self.unclaimed.streams);
        waiting.values_mut().for_each(|left| self.flush(left, now));
        self.unclaimed.streams = waiting;
    }

    fn flush_trace(&mut self, left: &mut Left, now: Now) {
        if let Some(trace) = left.trace.take() {
            let (stream, iostream) = (left.stream, left.iostream.unwrap_or_default());
            trace.flush(iostream, |line| self.on_line(stream, line, now));
        }
    }

    fn flush(&mut self, left: &mut Left, now: Now) {
        self.flush_trace(left, now);
        if left.held.is_none() {
            return;
        }
        let iostream = left.iostream.unwrap_or_default();
        let mut joiner = Joiner::new(line::Limits::default());
        joiner.take_over(iostream, left.clock, left.held.take(), now);
        joiner.flush(now, &mut |line| self.on_line(left.stream, &line, now));
        left.clock = joiner.kept(iostream).0;
    }
}

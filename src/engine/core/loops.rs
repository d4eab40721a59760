//! Loops: which lines they are asked about, and the records of what they say.

use super::{Core, SHARE, Stream, StreamId};
use crate::engine::cycle::lexicon::Tags;
use crate::engine::cycle::{LoopView, Seen};
use crate::engine::line::Line;
use crate::engine::storm::window::ClosedBy;
use crate::engine::template::catalog::EntryId;
use crate::units::{Monotonic, Now};

impl Core {
    /// A line that may belong to a loop, or stand near one.
    pub(super) fn cycle(&mut self, id: StreamId, entry: EntryId, line: &Line<'_>, text: &[u8], now: Now) {
        self.observe(id, entry, line, text, now, false);
    }

    /// The same, where it is the first line of its entry.
    pub(super) fn cycle_first(
        &mut self,
        id: StreamId,
        entry: EntryId,
        line: &Line<'_>,
        text: &[u8],
        now: Now,
    ) {
        self.observe(id, entry, line, text, now, true);
    }

    #[inline]
    fn observe(
        &mut self,
        id: StreamId,
        entry: EntryId,
        line: &Line<'_>,
        text: &[u8],
        now: Now,
        is_first: bool,
    ) {
        let known = self.catalog.entry(entry);
        let cycle = &mut self.streams[id.0 as usize].cycle;
        if known.tags == 0 && !self.storms.is_storming(entry) {
            return cycle.overhear(text, &mut self.loops);
        }
        let seen = Seen {
            entry,
            template: known.template,
            tags: Tags(known.tags),
            text,
            time: line.log_time,
            arrival: now.arrival,
            is_failing: known.failing,
            is_first,
        };
        cycle.observe(&seen, &mut self.loops);
        if self.loops.has_news() {
            self.tell_news(id);
            self.judge_loops(now);
        }
    }

    /// Writes down what the loops of a stream have said.
    #[cold]
    fn tell_news(&mut self, id: StreamId) {
        let envelope = &self.streams[id.0 as usize].envelope;
        for view in self.loops.take_news(&envelope.key) {
            self.encoder.cycle(envelope, &view);
        }
        self.alerts.loops_changed();
    }

    /// Tells and closes what is due by the arrival clock.
    pub(super) fn tell_loops(&mut self, now: Monotonic) {
        self.loops.clear_deadline();
        for index in 0..self.streams.len() {
            self.streams[index].cycle.on_deadline(now, &mut self.loops);
            if self.loops.has_news() {
                self.tell_news(StreamId(index as u32)); // as many as there are streams, whose numbers are 32 bits
            }
        }
    }

    /// Closes the loops of a stream.
    pub(super) fn close_loops(&mut self, id: StreamId, closed_by: ClosedBy) {
        self.streams[id.0 as usize].cycle.close(closed_by, &mut self.loops);
        self.tell_news(id);
    }

    /// Closes the loops of some streams. True when none is left.
    pub(super) fn end_loops(&mut self, closed_by: ClosedBy) -> bool {
        let open = self.streams.iter().enumerate().filter(|(_, stream)| stream.cycle.has_open());
        let some: Vec<usize> = open.map(|(index, _)| index).take(SHARE).collect();
        for &index in &some {
            self.close_loops(StreamId(index as u32), closed_by); // the number of a stream
        }
        some.len() < SHARE
    }

    /// Forgets what is watched of some streams, where no loop is open.
    pub(super) fn relieve_loops(&mut self) {
        let idle = self.streams.iter_mut().filter_map(|stream| stream.cycle.relieve().then_some(()));
        idle.take(SHARE).for_each(drop);
    }

    /// The loops that are open, with the names of their streams.
    pub fn loops(&self) -> impl Iterator<Item = (&str, LoopView)> {
        self.streams.iter().flat_map(Stream::loops)
    }

    /// The last loops that have closed, with the names of their streams.
    pub fn loops_closed(&self) -> impl Iterator<Item = (&str, &LoopView)> {
        self.loops.closed()
    }
}

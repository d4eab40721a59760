//! Streams that came back from a restart and wait for their sources.
//!
//! Their windows close by the arrival clock as if they were read. Pieces of lines wait, for their end may come yet.
//! Limit: a stream whose source does not come back is given up after [`UNCLAIMED_FOR`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Core, SHARE, StreamId};
use crate::engine::frame::{Format, IoStream};
use crate::engine::line;
use crate::engine::line::join::{Held, Joiner};
use crate::engine::line::kept::KeptClock;
use crate::engine::record::envelope::{Envelope, Place};
use crate::engine::storm::Collapse;
use crate::units::{Lines, Monotonic, Now};

/// How long a stream waits for its source after a restart. A file system that is mounted late takes minutes.
const UNCLAIMED_FOR: Duration = Duration::from_secs(3_600);

/// Streams of an earlier process whose sources have not come back yet, by name.
#[derive(Debug, Default)]
pub(super) struct Unclaimed {
    pub(super) streams: BTreeMap<String, Left>,
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
        collapse: Collapse,
    ) -> Option<Claimed> {
        let is_it = |left: &Left| left.iostream.is_none_or(|known| known == iostream);
        if !self.unclaimed.streams.get(key).is_some_and(is_it) {
            return None;
        }
        let left = self.unclaimed.streams.remove(key)?;
        let collapse = self.limit(collapse);
        let stream = &mut self.streams[left.stream.0 as usize];
        stream.envelope = Envelope::new(key, iostream, place, &self.identity);
        stream.collapse = collapse;
        let Left { stream, format, clock, held, .. } = left;
        Some(Claimed { stream, format, clock, held, since: self.unclaimed.since })
    }

    /// Bytes of memory behind the streams that wait.
    pub(super) fn unclaimed_size(&self) -> usize {
        let held = |left: &Left| left.held.as_ref().map_or(0, |held| held.size());
        let streams = self.unclaimed.streams.iter();
        streams.map(|(key, left)| key.len() + size_of::<Left>() + held(left)).sum()
    }

    /// Whether any stream waits for its source.
    pub fn has_unclaimed(&self) -> bool {
        !self.unclaimed.streams.is_empty()
    }

    /// Lines of which only pieces are here, of the streams that wait.
    pub fn unclaimed_partial(&self) -> Lines {
        self.unclaimed.streams.values().map(|left| Lines(u64::from(left.held.is_some()))).sum()
    }

    /// When the streams that wait are given up.
    pub(super) fn unclaimed_deadline(&self) -> Option<Monotonic> {
        self.has_unclaimed().then_some(self.unclaimed.since.arrival + UNCLAIMED_FOR)
    }

    /// Ends the streams whose sources did not come back in time: a share of them.
    pub(super) fn give_up_unclaimed(&mut self, now: Now) {
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

    fn flush(&mut self, left: &mut Left, now: Now) {
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

//! What the chronicle is told, and the clock of old files.

use std::sync::Arc;

use super::{Clock, Core};
use crate::engine::chronicle::Newcomer;
use crate::engine::chronicle::story::{LoopStory, Story};
use crate::engine::line::Line;
use crate::engine::template::catalog::{EntryId, Found};
use crate::units::{Monotonic, Now, Timestamp};

impl Core {
    /// By which clock deadlines come.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// What stands for the time of arrival under [`Clock::Log`]: how far the newest log time is behind the first.
    pub fn log_clock(&self) -> Monotonic {
        self.log_times
            .map_or(Monotonic::default(), |[first, newest]| Monotonic::default() + newest.since(first))
    }

    pub(super) fn turn_log_clock(&mut self, log_time: Timestamp, now: Now) -> Now {
        let [_, newest] = self.log_times.get_or_insert([log_time; 2]);
        *newest = log_time.max(*newest);
        Now { arrival: self.log_clock(), ..now }
    }

    /// Remembers the line that made a new entry: with its family, if it has one already.
    pub(super) fn remember_first(&mut self, entry: EntryId, counted: EntryId, text: &[u8], line: &Line<'_>) {
        if counted == entry {
            self.chronicle_begins(entry, text, line);
        }
        if let Some(chronicle) = &mut self.chronicle {
            chronicle.line(Some(counted), line.log_time);
        }
    }

    /// Remembers a new entry, which may be a family. `line` is the first that it knows of.
    pub(super) fn chronicle_begins(&mut self, id: EntryId, text: &[u8], line: &Line<'_>) {
        let Some(chronicle) = &mut self.chronicle else { return };
        let entry = self.catalog.entry(id);
        let family = entry.as_family().map(|family| family.shown());
        chronicle.begin(Newcomer {
            entry: id,
            stream: entry.stream,
            template: entry.template,
            parse_error: entry.parse_error.is_some(),
            level: entry.level,
            failing: entry.failing,
            canonical: family.as_deref().unwrap_or_else(|| self.catalog.canonical()),
            text,
            log_time: line.log_time,
        });
    }

    /// Remembers a line of a known entry: with its family, if it has one.
    pub(super) fn remember(&mut self, found: Found, text: &[u8], line: &Line<'_>) {
        let Some(chronicle) = &mut self.chronicle else { return };
        let counted = self.catalog.counted(found.entry);
        if chronicle.line(Some(counted), line.log_time) {
            let (subject, slots) = self.catalog.slots(text, found.sighting);
            chronicle.measure(counted, text, subject, slots);
        }
    }

    /// Remembers a line that was held back before it had an entry.
    pub(super) fn remember_nameless(&mut self, line: &Line<'_>) {
        if let Some(chronicle) = &mut self.chronicle {
            chronicle.line(None, line.log_time);
        }
    }

    /// The chronicle put in order.
    pub fn story(&self) -> Story {
        let names: Vec<Arc<str>> =
            self.streams.iter().map(|stream| Arc::clone(&stream.envelope.key)).collect();
        let open = self.loops().map(|(stream, view)| LoopStory { stream: stream.into(), view });
        let closed =
            self.loops_closed().map(|(stream, view)| LoopStory { stream: stream.into(), view: view.clone() });
        let loops = open.chain(closed).collect();
        let story = self.chronicle.as_ref().map(|chronicle| chronicle.story(&names, loops));
        Story { alerts: self.alerts_story(), ..story.unwrap_or_default() }
    }
}

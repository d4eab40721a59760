//! Pressure: giving up detail while records find no room (`delivery.md` R6) or memory is short, and never a count.

use super::{Core, SHARE, StreamId};
use crate::engine::line::Line;
use crate::engine::storm::novelty::Newcomer;
use crate::engine::storm::window::ClosedBy;
use crate::engine::storm::{Collapse, Pressure};
use crate::engine::template::catalog::{Found, Sighting};
use crate::units::Now;

impl Core {
    /// Changes how much detail is given up. Nothing closes because of it: windows that are open end when they would.
    pub fn set_pressure(&mut self, pressure: Pressure) {
        if pressure == self.pressure {
            return;
        }
        self.pressure = pressure;
        self.storms.set_pressure(pressure);
        for index in 0..self.streams.len() {
            let collapse = self.limit(self.streams[index].wanted);
            self.streams[index].folding.collapse = collapse;
        }
    }

    /// How far the lines of a stream are folded now, `wanted` being what its input says.
    pub(super) fn limit(&self, wanted: Collapse) -> Collapse {
        match wanted {
            Collapse::Repeats | Collapse::Storms if self.pressure >= Pressure::Count => Collapse::Always,
            wanted => wanted,
        }
    }

    /// Whether the line is only to be counted by its stream. A line that says something new is not, nor one that was
    /// cut off, which may be a new one that only begins like an old one.
    #[inline]
    pub(super) fn sheds(&self, found: Found, line: &Line<'_>) -> bool {
        self.pressure == Pressure::Shed && found.sighting != Sighting::NewValue && line.complete
    }

    #[cold]
    pub(super) fn shed(&mut self, id: StreamId, line: &Line<'_>, text: &[u8], now: Now) {
        let stream = &mut self.streams[id.0 as usize];
        let line = Newcomer {
            text,
            time: line.time,
            log_time: line.log_time,
            offset: line.offset,
            arrival: now.arrival,
        };
        stream.shed.count(line, self.limits.summary_every);
        self.next_flood = self.next_flood.into_iter().chain(stream.shed.deadline()).min();
    }

    /// Closes windows early and forgets cold entries while the tables take more than they may.
    pub fn relieve(&mut self) {
        if self.size() as u64 <= self.memory_max.0 {
            self.catalog.may_grow();
            return;
        }
        self.catalog.stop_growing();
        self.relieve_loops();
        // A bounded share each time; the next megabyte brings the next share.
        let oldest = self.storms.oldest(SHARE);
        for &entry in &oldest {
            self.evict(entry, ClosedBy::Pressure);
        }
        for _ in oldest.len()..SHARE {
            let Some(entry) = self.catalog.coldest() else { return };
            self.evict(entry, ClosedBy::Pressure);
        }
    }
}

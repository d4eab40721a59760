//! The books, balanced, and the memory that all of it takes.

use super::{Core, Stream};
use crate::engine::ledger::Ledger;
use crate::units::Lines;

impl Core {
    /// Bytes of memory in use.
    pub fn size(&self) -> usize {
        let streams: usize = self.streams.iter().map(Stream::size).sum();
        self.catalog.size()
            + self.storms.size()
            + self.loops.size()
            + self.alerts.size()
            + streams
            + self.unclaimed_size()
    }

    /// The books of all streams, with the windows added up anew.
    pub fn ledger(&self) -> Ledger {
        let mut open = vec![Lines(0); self.streams.len()];
        for (entry, lines) in self.storms.lines_open() {
            open[self.catalog.entry(entry).stream as usize] += lines;
        }
        let mut ledger = Ledger {
            records_out: self.encoder.records_out(),
            bytes_out: self.encoder.bytes_out(),
            summaries: self.summaries,
            notices: self.notices,
            templates: self.catalog.ever(),
            loops: self.loops.ever(),
            alerts: self.alerts.ever(),
            noticed: self.noticed,
            lines_limited: self.lines_limited(),
            ..Ledger::default()
        };
        ledger.add(self.past, Lines(0));
        for (stream, folded) in self.streams.iter().zip(open) {
            ledger.add(stream.account, folded + stream.held_back());
        }
        ledger
    }
}

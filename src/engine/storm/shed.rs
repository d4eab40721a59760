//! Shedding: the last stage of [pressure](super::Pressure), where lines of known entries are only counted by stream.
//!
//! Invariant: every line that is shed is counted in the next notice of its stream.
//! Limit: one counter and 3 examples a stream.

use std::time::Duration;

use super::novelty::{Flood, Newcomer};
use crate::units::{Lines, Monotonic};

/// The lines of one stream that were shed and are not told yet.
#[derive(Debug, Default)]
pub struct Shed {
    pub(super) flood: Option<Box<Flood>>,
}

impl Shed {
    /// Counts a line; it is told after `every` at the latest.
    pub fn count(&mut self, line: Newcomer<'_>, every: Duration) {
        let deadline = line.arrival + every;
        self.flood.get_or_insert_with(|| Box::new(Flood::new(deadline))).count(line);
    }

    /// When the lines must be told.
    pub fn deadline(&self) -> Option<Monotonic> {
        self.flood.as_ref().map(|flood| flood.deadline)
    }

    /// The lines that are to be told, if it is time: `None` asks whatever the time.
    pub fn take(&mut self, now: Option<Monotonic>) -> Option<Box<Flood>> {
        self.flood.take_if(|flood| now.is_none_or(|now| flood.deadline <= now))
    }

    /// Lines that are not told yet.
    pub fn lines_open(&self) -> Lines {
        self.flood.as_ref().map_or(Lines(0), |flood| flood.count)
    }

    /// Bytes of memory behind them.
    pub fn size(&self) -> usize {
        self.flood.as_ref().map_or(0, |flood| flood.size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Timestamp;

    #[test]
    fn what_is_shed_is_told_once() {
        let mut shed = Shed::default();
        let every = Duration::from_secs(10);
        for second in 0..5 {
            let time = Timestamp(second * Timestamp::SECOND);
            let arrival = Monotonic(time.0.unsigned_abs());
            let line = Newcomer { text: b"x", time, log_time: time, offset: 7, arrival };
            shed.count(line, every);
        }
        let due = Monotonic(10_000_000_000);
        assert_eq!((shed.deadline(), shed.lines_open()), (Some(due), Lines(5)));
        assert!(shed.take(Some(Monotonic(due.0 - 1))).is_none(), "not yet");
        let flood = shed.take(Some(due)).expect("due");
        assert_eq!((flood.count, flood.examples.len(), flood.offset), (Lines(5), 3, 7));
        assert_eq!((shed.deadline(), shed.lines_open()), (None, Lines(0)));
    }
}

//! Episodes and windows: what is remembered of folded lines, and what is said when a window closes.
//!
//! Invariant: a folded line is counted in exactly one window; every window that folded a line is closed once.
//! Limit: texts are kept up to [`EXAMPLE_MAX`] bytes, `examples` of them.

use std::time::Duration;

use super::Storm;
use super::values::Values;
pub use super::values::{Numbers, SlotValues};
use crate::units::{Lines, Monotonic, Timestamp};

/// Longest example text, in bytes: log text never decides memory.
pub const EXAMPLE_MAX: usize = 512;

/// Why a window was closed (`closed_by`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClosedBy {
    /// Its interval was over; the episode goes on.
    Interval,
    /// No line, or only a calm rate, for `storm.quiet`.
    Quiet,
    /// The entry made room for another one.
    Evicted,
    /// Memory was short.
    Pressure,
    /// The program stops.
    Shutdown,
    /// The input ended.
    End,
}

impl ClosedBy {
    /// The word used on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            ClosedBy::Interval => "interval",
            ClosedBy::Quiet => "quiet",
            ClosedBy::Evicted => "evicted",
            ClosedBy::Pressure => "pressure",
            ClosedBy::Shutdown => "shutdown",
            ClosedBy::End => "end",
        }
    }
}

/// What a closed window says.
#[derive(Clone, Debug)]
pub struct Summary<'a> {
    /// The episode's number.
    pub episode: u64,
    /// The window's number. `None` where the window is empty and only the episode ends.
    pub window: Option<u64>,
    /// Lines that this summary stands for, none of them sent verbatim.
    pub count: Lines,
    /// Those of them that an emergency limit has held back.
    pub limited: Lines,
    /// All lines of the entry since the episode began, verbatim ones included.
    pub total: Lines,
    /// When the first folded line was written.
    pub first: Timestamp,
    /// When the last one was.
    pub last: Timestamp,
    /// Where the first one stands in its file.
    pub first_offset: u64,
    /// Where the last one does.
    pub last_offset: u64,
    /// Lines a second between first and last.
    pub per_second: f64,
    /// The entry's normal rate, once it is known.
    pub baseline_per_second: Option<f64>,
    /// Why the entry is storming, if it is: repeats are folded without a storm.
    pub storm: Option<Storm>,
    /// Whether the episode goes on.
    pub open: bool,
    /// Why the window was closed.
    pub closed_by: ClosedBy,
    /// The text of the first folded line.
    pub text: &'a [u8],
    /// Other texts of the window; none where it is empty.
    pub examples: &'a [Box<[u8]>],
    /// Statistics of the variables.
    pub values: Vec<SlotValues>,
}

/// A line as a window sees it.
#[derive(Clone, Copy, Debug)]
pub struct Folded<'a> {
    /// Its text.
    pub text: &'a [u8],
    /// When it was written.
    pub time: Timestamp,
    /// Its log time: `time`, clamped.
    pub log_time: Timestamp,
    /// Where it stands in its file.
    pub offset: u64,
    /// When it arrived.
    pub arrival: Monotonic,
}

/// The folding of one entry, from its first folded line until it is quiet or calm.
#[derive(Debug)]
pub struct Episode {
    /// Its number.
    pub id: u64,
    /// When its first folded line was written.
    pub began: Timestamp,
    /// All lines since it began.
    pub total: Lines,
    /// Windows closed so far: decides the next interval.
    pub(super) windows: u32,
    /// `total` and the window's count as they were last committed; `None` before that.
    pub(super) told: Option<(Lines, Lines)>,
    /// The window that is being filled; `count` is 0 between a closed window and the next folded line.
    pub window: Window,
}

/// One summary interval inside an episode.
#[derive(Debug, Default)]
pub struct Window {
    /// Its number.
    pub id: u64,
    /// Lines folded into it.
    pub count: Lines,
    /// Those of them that an emergency limit has held back.
    pub(super) limited: Lines,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) first_offset: u64,
    pub(super) last_offset: u64,
    /// When it must close, by the arrival clock.
    pub deadline: Monotonic,
    /// When it must close, by log time: a backlog that is read in a second is told by the hours it spans.
    pub(super) log_deadline: Timestamp,
    pub(super) text: Box<[u8]>,
    pub(super) examples: Vec<Box<[u8]>>,
    /// Statistics of the variables; only for storming entries.
    pub values: Option<Box<Values>>,
}

/// How long windows last and what they keep.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The first interval.
    pub every: Duration,
    /// The longest interval.
    pub every_max: Duration,
    /// Texts kept besides the first.
    pub examples: usize,
}

impl Pace {
    /// The interval of a window after `closed` others: 10 s, 30 s, 60 s, then 5 minutes, while the storm lasts.
    pub(in crate::engine) fn interval(self, closed: u32) -> Duration {
        const STEPS: [u32; 4] = [1, 3, 6, 30];
        let step = STEPS[(closed as usize).min(STEPS.len() - 1)];
        self.every.saturating_mul(step).min(self.every_max.max(self.every))
    }
}

impl Episode {
    /// An episode that has folded nothing yet.
    pub fn new(id: u64, began: Timestamp) -> Episode {
        Episode { id, began, total: Lines(0), windows: 0, told: None, window: Window::default() }
    }

    /// Whether `line` is too late for the window that is open.
    #[inline]
    pub fn is_over(&self, log_time: Timestamp) -> bool {
        self.window.count > Lines(0) && log_time >= self.window.log_deadline
    }

    /// Counts a folded line. `next_window` is the number that a new window gets.
    #[inline]
    pub fn fold(&mut self, line: Folded<'_>, pace: Pace, next_window: &mut u64) {
        let window = &mut self.window;
        if window.count == Lines(0) {
            let interval = pace.interval(self.windows);
            window.open(line, interval, next_window);
        }
        window.count += Lines(1);
        window.last = line.time;
        window.last_offset = line.offset;
        if window.count.0.is_power_of_two() {
            window.keep_example(line.text, pace.examples);
        }
    }

    /// Closes the window; what it kept is lent until the next line is folded.
    pub fn close(&mut self, closed_by: ClosedBy, baseline: Option<f64>) -> Summary<'_> {
        self.windows = self.windows.saturating_add(1);
        let window = &mut self.window;
        let count = std::mem::take(&mut window.count);
        let values = window.values.as_mut().map(|values| values.take()).unwrap_or_default();
        let span = window.last.since(window.first).as_secs_f64().max(1.0);
        Summary {
            episode: self.id,
            window: (count > Lines(0)).then_some(window.id),
            count,
            limited: std::mem::take(&mut window.limited),
            total: self.total,
            first: window.first,
            last: window.last,
            first_offset: window.first_offset,
            last_offset: window.last_offset,
            per_second: count.0 as f64 / span,
            baseline_per_second: baseline,
            storm: None,
            open: closed_by == ClosedBy::Interval,
            closed_by,
            text: &window.text,
            examples: if count > Lines(0) { &window.examples } else { &[] },
            values,
        }
    }

    /// Bytes of memory behind this episode.
    pub fn size(&self) -> usize {
        let examples: usize = self.window.examples.iter().map(|text| text.len() + 16).sum();
        let values = self.window.values.as_ref().map_or(0, |values| values.size());
        size_of::<Episode>() + self.window.text.len() + examples + values
    }
}

impl Window {
    fn open(&mut self, line: Folded<'_>, interval: Duration, next_window: &mut u64) {
        self.id = *next_window;
        *next_window += 1;
        self.first = line.time;
        self.first_offset = line.offset;
        self.deadline = line.arrival + interval;
        self.log_deadline = line.log_time + interval;
        self.text = Box::from(shortened(line.text));
        self.examples.clear();
    }

    /// Keeps the texts of the 2nd, 4th, 8th … folded line, the newest in place of the oldest: a spread over the
    /// window for a few copies in all.
    fn keep_example(&mut self, text: &[u8], most: usize) {
        let text = shortened(text);
        if most == 0 || *text == *self.text || self.examples.iter().any(|kept| **kept == *text) {
            return;
        }
        if self.examples.len() >= most {
            self.examples.remove(0);
        }
        self.examples.push(Box::from(text));
    }
}

/// The first [`EXAMPLE_MAX`] bytes of `text`, cut between characters where it is UTF-8.
pub fn shortened(text: &[u8]) -> &[u8] {
    if text.len() <= EXAMPLE_MAX {
        return text;
    }
    let boundary = (EXAMPLE_MAX - 3..=EXAMPLE_MAX).rev().find(|&at| text[at] & 0xc0 != 0x80);
    &text[..boundary.unwrap_or(EXAMPLE_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &[u8], second: i64) -> Folded<'_> {
        let time = Timestamp(second * Timestamp::SECOND);
        Folded { text, time, log_time: time, offset: 7, arrival: Monotonic(0) }
    }

    const PACE: Pace =
        Pace { every: Duration::from_secs(10), every_max: Duration::from_secs(300), examples: 2 };

    #[test]
    fn the_interval_backs_off() {
        let all: Vec<u64> = (0..6).map(|closed| PACE.interval(closed).as_secs()).collect();
        assert_eq!(all, [10, 30, 60, 300, 300, 300]);
        let short = Pace { every_max: Duration::from_secs(20), ..PACE };
        assert_eq!(short.interval(9).as_secs(), 20);
    }

    #[test]
    fn a_window_counts_and_closes() {
        let mut episode = Episode::new(1, Timestamp(0));
        let mut next = 5;
        for (second, text) in [(0, "a"), (1, "b"), (2, "c"), (3, "d"), (4, "a")] {
            assert!(!episode.is_over(Timestamp(second * Timestamp::SECOND)));
            episode.fold(line(text.as_bytes(), second), PACE, &mut next);
        }
        assert!(episode.is_over(Timestamp(10 * Timestamp::SECOND)));
        let summary = episode.close(ClosedBy::Interval, None);
        assert_eq!((summary.window, summary.count, summary.open), (Some(5), Lines(5), true));
        assert_eq!(summary.last.since(summary.first).as_secs(), 4);
        assert_eq!(summary.per_second, 1.25);
        assert_eq!(summary.text, b"a");
        assert_eq!(summary.examples, [b"b".as_slice().into(), b"d".as_slice().into()]);
        assert!(!episode.is_over(Timestamp(99 * Timestamp::SECOND)), "an empty window has no end");
        let summary = episode.close(ClosedBy::Quiet, None);
        assert_eq!((summary.window, summary.count, summary.open), (None, Lines(0), false));
        assert_eq!((summary.text, summary.examples.len()), (b"a".as_slice(), 0), "told before");
    }

    #[test]
    fn examples_are_short() {
        let long = "方".repeat(400);
        let short = shortened(long.as_bytes());
        assert!(short.len() <= EXAMPLE_MAX && std::str::from_utf8(short).is_ok());
        assert_eq!(shortened(&[0x80; 600]).len(), EXAMPLE_MAX);
    }
}

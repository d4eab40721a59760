//! The logs that go in, with what is known of them.

use std::ops::Range;

use squall::corpus::incident::{Incident, Kind};
use squall::corpus::json_file;
use squall::corpus::mixed::Mixed;
use squall::engine::frame::IoStream;
use squall::units::Timestamp;

/// Lines as a container wrote them, and as dockerd wrapped them.
#[derive(Default)]
pub(super) struct Written {
    lines: Vec<Line>,
    json: Vec<u8>,
}

/// One of them.
pub(super) struct Line {
    pub(super) text: String,
    pub(super) stream: IoStream,
    /// A calm line must arrive word for word.
    pub(super) calm: bool,
    /// Where its json-file line ends.
    end: usize,
}

impl Written {
    /// An incident of so many lines.
    pub(super) fn incident(seed: u64, lines: u64) -> Written {
        let mut incident = Incident::new(seed, lines, START);
        let (mut written, mut text) = (Written::default(), Vec::new());
        while let Some(event) = incident.next_into(&mut text) {
            written.push(&text, event.stream, event.time, event.kind == Kind::Calm);
        }
        written
    }

    /// So many lines of which no two are alike.
    pub(super) fn mixed(seed: u64, lines: u64) -> Written {
        let mut mixed = Mixed::new(seed);
        let (mut written, mut text) = (Written::default(), Vec::new());
        for _ in 0..lines {
            let time = mixed.next_into(&mut text);
            written.push(&text, IoStream::Stdout, time, true);
        }
        written
    }

    fn push(&mut self, text: &[u8], stream: IoStream, time: Timestamp, calm: bool) {
        json_file::append(&mut self.json, text, stream, time);
        let text = str::from_utf8(text).expect("a corpus is text").to_owned();
        self.lines.push(Line { text, stream, calm, end: self.json.len() });
    }

    /// The lines.
    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// All of it as a json-file.
    pub(super) fn json(&self) -> &[u8] {
        &self.json
    }

    /// Some lines as a json-file.
    pub(super) fn json_of(&self, lines: Range<usize>) -> &[u8] {
        let end = |count: usize| count.checked_sub(1).map_or(0, |last| self.lines[last].end);
        &self.json[end(lines.start)..end(lines.end)]
    }

    /// The text of the last line, which no other line has.
    pub(super) fn last_text(&self) -> &str {
        &self.lines.last().expect("lines").text
    }

    /// Only the first so many lines: all that a reader saw who stopped early.
    pub(super) fn cut(&mut self, lines: usize) {
        assert!(lines <= self.lines.len(), "{lines} lines read, {} written", self.lines.len());
        self.lines.truncate(lines);
        self.json.truncate(self.lines.last().map_or(0, |line| line.end));
    }
}

/// 2026-02-06T00:10:00Z: the night of the incident.
const START: Timestamp = Timestamp(1_770_336_600 * Timestamp::SECOND);

//! The incident of `squall::corpus` as a runtime would have written it, with what must come out of it.

use squall::corpus::incident::{Incident, Kind};
use squall::corpus::{cri, json_file};
use squall::units::Timestamp;

/// How lines are wrapped.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wrap {
    /// Text that begins with its time, so that the storm keeps its own clock.
    Plain,
    Docker,
    Cri,
}

/// An incident as a file.
pub(crate) struct Written {
    pub(crate) file: Vec<u8>,
    pub(crate) lines: u64,
    /// The lines that must come word for word.
    pub(crate) calm: Vec<String>,
}

/// The first `lines` lines' worth of an incident.
pub(crate) fn incident(lines: u64, wrap: Wrap) -> Written {
    let mut incident = Incident::new(1, lines, START);
    let mut written = Written { file: Vec::new(), lines, calm: Vec::new() };
    let mut text = Vec::new();
    while let Some(event) = incident.next_into(&mut text) {
        match wrap {
            Wrap::Plain => {
                let time = jiff::Timestamp::from_nanosecond(event.time.0.into()).expect("a year of ours");
                text.splice(..0, format!("{time:.3} ").into_bytes());
                written.file.extend_from_slice(&text);
                written.file.push(b'\n');
            }
            Wrap::Docker => json_file::append(&mut written.file, &text, event.stream, event.time),
            Wrap::Cri => cri::append(&mut written.file, &text, event.stream, event.time),
        }
        if event.kind == Kind::Calm {
            written.calm.push(String::from_utf8(text.clone()).expect("the incident is text"));
        }
    }
    written
}

/// When the incident began: 2026-02-06T00:10:00Z.
const START: Timestamp = Timestamp(1_770_336_600_000_000_000);

//! The incident of `squall::corpus` as a runtime would have written it, with what must come out of it.

use squall::corpus::incident::{Incident, Kind};
use squall::corpus::{cri, json_file};
use squall::engine::frame::IoStream;
use squall::units::Timestamp;

/// How lines are wrapped.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wrap {
    /// Text that begins with its time, so that the storm keeps its own clock.
    Plain,
    Docker,
    Cri,
}

impl Wrap {
    /// Appends a line to a file; `text` becomes what the line is without its envelope.
    pub(crate) fn append(self, file: &mut Vec<u8>, text: &mut Vec<u8>, stream: IoStream, time: Timestamp) {
        match self {
            Wrap::Plain => {
                let stamp = jiff::Timestamp::from_nanosecond(time.0.into()).expect("a year of ours");
                text.splice(..0, format!("{stamp:.3} ").into_bytes());
                file.extend_from_slice(text);
                file.push(b'\n');
            }
            Wrap::Docker => json_file::append(file, text, stream, time),
            Wrap::Cri => cri::append(file, text, stream, time),
        }
    }
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
        wrap.append(&mut written.file, &mut text, event.stream, event.time);
        if event.kind == Kind::Calm {
            written.calm.push(String::from_utf8(text.clone()).expect("the incident is text"));
        }
    }
    written
}

/// When the incident began: 2026-02-06T00:10:00Z.
const START: Timestamp = Timestamp(1_770_336_600_000_000_000);

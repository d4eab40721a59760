//! Unwraps lines of Docker's json-file driver: `{"log":"…\n","stream":"stdout","time":"…"}`.
//!
//! `scan` reads what dockerd writes, byte for byte, in one pass over the chunk that finds the text, its end and the end
//! of the line together. Whatever looks different in any way goes to `object`, a real JSON parser, which gives the same
//! frames but takes about ten times as long. What is no JSON is kept raw, except for whole objects that follow a
//! half-written one on the same line (a full disk or a crash leaves such lines).

mod attrs;
mod object;
mod scan;
mod string;

use memchr::{memchr, memmem};

use super::rfc3339::Rfc3339;
use super::{Frame, IoStream, Place, carry, emit};
use object::{Fault, Object};

/// The shape with which dockerd begins every line.
pub(super) const OBJECT_START: &[u8] = br#"{"log":""#;

/// The most that one line of dockerd's takes around its text: stream, time and the attributes of the container.
const ENVELOPE_MAX: usize = 16 << 10;

/// The longest text that dockerd puts into one line (16 KiB), when each byte of it is escaped as `\u0000`.
const ESCAPED_MAX: usize = 6 * (16 << 10);

pub(super) const TOO_LONG: &str = "line too long for its envelope";

/// The longest physical line that is unwrapped, in bytes: all that dockerd writes, even when texts are cut shorter.
pub(super) fn line_max(length_max: usize) -> usize {
    length_max.max(ESCAPED_MAX).saturating_add(ENVELOPE_MAX)
}

/// The state that unwrapping keeps: buffers that are used again for each line.
#[derive(Default)]
pub(super) struct Docker {
    times: Rfc3339,
    attrs: attrs::Cache,
    /// The text of the last line that had escapes in it.
    unescaped: Vec<u8>,
}

impl Docker {
    /// Unwraps all lines of `bytes` that end there and returns how many bytes they take. `offset` is where `bytes`
    /// begin in the file.
    #[inline]
    pub(super) fn whole_lines(
        &mut self,
        bytes: &[u8],
        offset: u64,
        length_max: usize,
        sink: &mut impl FnMut(Frame<'_>),
    ) -> usize {
        let line_max = line_max(length_max);
        let mut start = 0;
        loop {
            let rest = &bytes[start..];
            let place = Place { offset: offset + start as u64, complete: true };
            if let Some(envelope) = self.scan(rest)
                && rest.get(envelope.length) == Some(&b'\n')
                && envelope.length <= line_max
            {
                emit(self.frame(rest, &envelope, place), length_max, sink);
                start += envelope.length + 1;
                continue;
            }
            let Some(end) = memchr(b'\n', rest) else { break };
            self.odd_line(&rest[..end], place, length_max, sink);
            start += end + 1;
        }
        carry::empty_if_large(&mut self.unescaped);
        start
    }

    /// Unwraps one line, given without its newline.
    pub(super) fn line(
        &mut self,
        line: &[u8],
        place: Place,
        length_max: usize,
        sink: &mut impl FnMut(Frame<'_>),
    ) {
        match self.scan(line) {
            Some(envelope) if envelope.length == line.len() && line.len() <= line_max(length_max) => {
                emit(self.frame(line, &envelope, place), length_max, sink);
            }
            _ => self.odd_line(line, place, length_max, sink),
        }
        carry::empty_if_large(&mut self.unescaped);
    }

    #[inline]
    fn scan(&mut self, bytes: &[u8]) -> Option<scan::Envelope> {
        scan::scan(bytes, &mut self.times, &mut self.attrs, &mut self.unescaped)
    }

    #[inline]
    fn frame<'a>(&'a self, bytes: &'a [u8], envelope: &scan::Envelope, place: Place) -> Frame<'a> {
        let text = match envelope.text_end {
            Some(end) => &bytes[OBJECT_START.len()..end],
            None => &self.unescaped,
        };
        Frame {
            time: Some(envelope.time),
            stream: envelope.stream,
            partial: envelope.partial,
            extra: if envelope.attrs { self.attrs.extra() } else { &[] },
            ..Frame::plain(text, place)
        }
    }

    /// Unwraps a line that the scan did not take.
    #[cold]
    fn odd_line(&mut self, line: &[u8], place: Place, length_max: usize, sink: &mut impl FnMut(Frame<'_>)) {
        if line.len() > line_max(length_max) {
            return emit(Frame::broken(line, place, TOO_LONG), length_max, sink);
        }
        match object::parse(line, &mut self.times) {
            Ok(object) => emit(object.frame(place), length_max, sink),
            Err(Fault::NoLog) => emit(Frame::broken(line, place, Fault::NoLog.reason()), length_max, sink),
            Err(Fault::NotJson) => self.recover(line, place, length_max, sink),
        }
    }

    /// Finds the whole objects in a broken line. The line is split wherever an object of dockerd's begins (inside of a
    /// JSON string that shape cannot stand, its quotes would be escaped), each piece is parsed once, and what lies
    /// between the good pieces leaves raw.
    fn recover(&mut self, line: &[u8], place: Place, length_max: usize, sink: &mut impl FnMut(Frame<'_>)) {
        let piece_place = |start: usize, end: usize| Place {
            offset: place.offset + start as u64,
            complete: place.complete || end < line.len(),
        };
        let mut raw_start = 0;
        let starts = memmem::find_iter(line, OBJECT_START);
        let ends = memmem::find_iter(line, OBJECT_START).skip(1).chain([line.len()]);
        for (start, end) in starts.zip(ends) {
            let Ok(object) = object::parse(&line[start..end], &mut self.times) else { continue };
            if raw_start < start {
                let head = Frame::broken(
                    &line[raw_start..start],
                    piece_place(raw_start, start),
                    Fault::NotJson.reason(),
                );
                emit(head, length_max, sink);
            }
            emit(object.frame(piece_place(start, end)), length_max, sink);
            raw_start = end;
        }
        if raw_start < line.len() || line.is_empty() {
            let rest = &line[raw_start..];
            let rest = Frame::broken(rest, piece_place(raw_start, line.len()), Fault::NotJson.reason());
            emit(rest, length_max, sink);
        }
    }
}

impl Object {
    fn frame(&self, place: Place) -> Frame<'_> {
        let text = self.log.as_bytes();
        let ended = text.strip_suffix(b"\n");
        Frame {
            time: self.time,
            stream: self.stream,
            partial: ended.is_none(),
            extra: &self.extra,
            ..Frame::plain(ended.unwrap_or(text), place)
        }
    }
}

/// Whether a line (or the first `line_max` bytes of one) shows that its file is Docker's: it is a JSON object with a
/// string `log`, or begins exactly as dockerd begins a line, as a half-written or overlong one does.
pub(super) fn looks_like(line: &[u8]) -> bool {
    line.starts_with(OBJECT_START)
        || (line.trim_ascii_start().starts_with(b"{") && object::parse(line, &mut Rfc3339::default()).is_ok())
}

/// The streams' names as dockerd writes them.
fn stream(name: &str) -> IoStream {
    match name {
        "stdout" => IoStream::Stdout,
        "stderr" => IoStream::Stderr,
        _ => IoStream::Unknown,
    }
}

//! Unwraps lines of Docker's json-file driver: `{"log":"…\n","stream":"stdout","time":"…"}`.
//!
//! `scan` reads what dockerd writes, byte for byte, in one pass over the chunk that finds the text, its end and the end
//! of the line together. Whatever looks different in any way goes to `object`, a real JSON parser, which gives the same
//! frames but takes about thirty times as long. What is no JSON is kept raw, except for whole objects that follow a
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

/// All that can be wrong with a line of Docker's.
pub(super) fn errors() -> [&'static str; 3] {
    [TOO_LONG, Fault::NoLog.reason(), Fault::NotJson.reason()]
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Timestamp;
    use proptest::prelude::*;

    /// A line as dockerd writes it: keys in its order, no spaces, escaped as Go does for HTML.
    fn written(log: &str, stream: &str, attrs: Option<&[(String, String)]>, time: Timestamp) -> String {
        let escaped = |text: &str| {
            let text = serde_json::to_string(text).unwrap();
            let text = text.replace('<', r"\u003c").replace('>', r"\u003e").replace('&', r"\u0026");
            text.replace('\u{2028}', r"\u2028").replace('\u{2029}', r"\u2029").replace('\u{fffd}', r"\ufffd")
        };
        let attrs = attrs.map_or(String::new(), |attrs| {
            let members: Vec<_> =
                attrs.iter().map(|(k, v)| format!("{}:{}", escaped(k), escaped(v))).collect();
            format!(r#","attrs":{{{}}}"#, members.join(","))
        });
        let time = jiff::Timestamp::from_nanosecond(i128::from(time.0)).unwrap();
        format!(r#"{{"log":{},"stream":"{stream}"{attrs},"time":"{time}"}}"#, escaped(log))
    }

    #[test]
    fn the_scan_takes_what_dockerd_writes_and_nothing_else() {
        #[track_caller]
        fn check(line: &str, want: bool) {
            let taken = Docker::default().scan(line.as_bytes()).is_some();
            assert_eq!(taken, want, "{line}");
        }
        let time = "2026-02-06T00:10:00.123456789Z";
        check(&format!(r#"{{"log":"a\n","stream":"stderr","time":"{time}"}}"#), true);
        check(&format!(r#"{{"log":"a","stream":"stdout","time":"{time}"}}"#), true);
        check(&format!(r#"{{"log":"","stream":"stdout","time":"{time}"}}"#), true);
        check(r#"{"log":"a\n","stream":"stdout","time":"2026-02-06T00:10:00Z"}"#, true);
        check(r#"{"log":"a\n","stream":"stdout","time":"2026-02-06T00:10:00.5+02:00"}"#, true);
        check(&format!(r#"{{"log":"a\n","stream":"stdout","attrs":{{"b":"c"}},"time":"{time}"}}"#), true);
        check(&format!(r#"{{"log":"a\n","stream":"stdout","time":"{time}","attrs":{{"b":"c"}}}}"#), true);
        check(
            &format!(r#"{{"log":"a\n","stream":"stdout","attrs":{{}},"time":"{time}","attrs":{{}}}}"#),
            false,
        );
        check(&format!(r#"{{"log":"a\n","stream":"stdin","time":"{time}"}}"#), false);
        check(&format!(r#"{{"log": "a\n","stream":"stdout","time":"{time}"}}"#), false);
        check(&format!(r#"{{"log":"a\n","stream":"stdout","time":"{time}","x":1}}"#), false);
        check(r#"{"log":"a\n","stream":"stdout","time":"2026-02-06 00:10:00Z"}"#, false);
        check(r#"{"log":"a\n","stream":"stdout"}"#, false);
        check(r#"{"log":"a\n"}"#, false);
        check("", false);
    }

    #[test]
    fn a_bare_newline_ends_the_line_inside_of_a_string() {
        let bytes = b"{\"log\":\"half\nend\",\"stream\":\"stdout\",\"time\":\"2026-02-06T00:10:00Z\"}\n";
        let mut texts = Vec::new();
        let mut sink = |frame: Frame<'_>| texts.push((frame.text.to_vec(), frame.parse_error.is_some()));
        assert_eq!(Docker::default().whole_lines(bytes, 0, 100, &mut sink), bytes.len());
        assert_eq!(texts[0], (b"{\"log\":\"half".to_vec(), true));
        assert!(texts[1].1 && texts.len() == 2);
    }

    #[test]
    fn memory_of_a_large_text_is_given_back() {
        let line = written(&"\t".repeat(100 << 10), "stdout", None, Timestamp(0));
        let mut docker = Docker::default();
        docker.line(line.as_bytes(), Place { offset: 0, complete: true }, 1 << 20, &mut |frame| {
            assert_eq!(frame.text.len(), 100 << 10);
        });
        assert_eq!(docker.unescaped.capacity(), 0);
    }

    fn text() -> impl Strategy<Value = String> {
        // Ordinary texts, texts full of what must be escaped, and anything at all.
        prop_oneof![
            "[a-z 0-9:]{0,80}",
            r#"([a-z]{0,9}["\\/<>&\n\r\t\u{0}\u{1f}\u{7f}\u{2028}\u{2029}\u{fffd}é方😀]){0,20}"#,
            any::<String>(),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn scan_and_parser_agree_on_what_dockerd_writes(
            lines in proptest::collection::vec((text(), any::<bool>(), any::<bool>(), 0..i64::MAX), 1..5),
            attrs in proptest::option::of(proptest::collection::btree_map(text(), text(), 0..3)),
        ) {
            let attrs = attrs.map(|attrs| attrs.into_iter().collect::<Vec<_>>());
            let mut docker = Docker::default();
            for (text, ended, stderr, time) in lines {
                let log = if ended { format!("{text}\n") } else { text };
                let (name, stream) = [("stdout", IoStream::Stdout), ("stderr", IoStream::Stderr)][usize::from(stderr)];
                let line = written(&log, name, attrs.as_deref(), Timestamp(time));
                let place = Place { offset: 7, complete: true };

                let object = object::parse(line.as_bytes(), &mut Rfc3339::default()).unwrap();
                let envelope = docker.scan(line.as_bytes()).expect("the scan takes what dockerd writes");
                prop_assert_eq!(envelope.length, line.len());
                let scanned = docker.frame(line.as_bytes(), &envelope, place);
                prop_assert_eq!(scanned, object.frame(place), "{}", line);
                prop_assert_eq!(scanned.text, log.strip_suffix('\n').unwrap_or(&log).as_bytes());
                prop_assert_eq!((scanned.partial, scanned.stream), (!log.ends_with('\n'), stream));
                prop_assert_eq!(scanned.time, Some(Timestamp(time)));
            }
        }

        /// Whatever else the scan takes, the parser reads in the same way, if it can read it at all. (It refuses what
        /// the scan passes: control bytes, invalid UTF-8, halves of surrogate pairs.)
        #[test]
        fn the_scan_never_misreads(line in odd_line()) {
            let mut docker = Docker::default();
            let place = Place { offset: 0, complete: true };
            if let Some(envelope) = docker.scan(&line)
                && envelope.length == line.len()
                && let Ok(object) = object::parse(&line, &mut Rfc3339::default())
            {
                prop_assert_eq!(docker.frame(&line, &envelope, place), object.frame(place));
            }
        }

        /// No byte of a broken line is lost, and none is there twice.
        #[test]
        fn recovery_accounts_for_every_byte(pieces in proptest::collection::vec(odd_line(), 1..5)) {
            let line = pieces.concat();
            let mut next = 0;
            let mut parts = Vec::new();
            Docker::default().recover(&line, Place { offset: 0, complete: true }, 1 << 20, &mut |frame| {
                parts.push((frame.offset as usize, frame.parse_error.map(|_| frame.text.to_vec())));
            });
            let ends: Vec<_> = parts.iter().skip(1).map(|part| part.0).chain([line.len()]).collect();
            for ((start, raw), end) in parts.into_iter().zip(ends) {
                prop_assert_eq!(start, next);
                match raw {
                    Some(raw) => prop_assert_eq!(&raw, &line[start..end]),
                    None => prop_assert!(object::parse(&line[start..end], &mut Rfc3339::default()).is_ok()),
                }
                next = end;
            }
            prop_assert_eq!(next, line.len());
        }
    }

    /// Lines that are nearly dockerd's: made of its parts, in its order more often than not.
    fn odd_line() -> impl Strategy<Value = Vec<u8>> {
        let part = proptest::sample::select(vec![
            r#"{"log":""#,
            r#"{"log":"a\n","stream":"stdout","time":"2026-02-06T00:10:00Z"}"#,
            "text",
            r"\n",
            r"\\",
            "\\",
            r#"\""#,
            r"\u00e9",
            r"\ud83d",
            r"\ude00",
            "\"",
            "\t",
            r#"","stream":"stderr","time":""#,
            r#"","stream":"stdout""#,
            r#","attrs":{"a":"b"}"#,
            r#","attrs":{}"#,
            r#","time":""#,
            "2026-02-06T00:10:00.5Z",
            r#""}"#,
            "}",
            "{",
            " ",
        ]);
        let shuffled =
            proptest::collection::vec(part.clone(), 0..12).prop_map(|parts| parts.concat().into_bytes());
        let nearly = proptest::collection::vec(part, 0..4).prop_map(|text| {
            let text = text.concat();
            format!(r#"{{"log":"{text}","stream":"stdout","time":"2026-02-06T00:10:00.25Z"}}"#).into_bytes()
        });
        prop_oneof![shuffled, nearly]
    }
}

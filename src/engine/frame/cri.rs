//! Unwraps lines of the Kubernetes container runtime interface: `<RFC 3339> <stdout|stderr> <P|F>[:tags] text`.

use super::rfc3339::Rfc3339;
use super::{Frame, IoStream, Place};
use crate::units::Timestamp;

/// The longest envelope in bytes. Runtimes write about 40; the limit says how much must be kept of a line that is too
/// long, so that its envelope can still be taken off.
pub(super) const ENVELOPE_MAX: usize = 256;

/// What stands before the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Envelope {
    pub(super) time: Timestamp,
    pub(super) stream: IoStream,
    pub(super) partial: bool,
    /// Where the text begins.
    pub(super) length: usize,
}

/// Reads the envelope of a line, or of a line's head of more than `ENVELOPE_MAX` bytes.
#[inline]
pub(super) fn envelope(line: &[u8], times: &mut Rfc3339) -> Option<Envelope> {
    let (time, rest) = time(line, times)?;
    let (stream, rest) = match rest.split_first_chunk::<8>()? {
        (b" stdout ", rest) => (IoStream::Stdout, rest),
        (b" stderr ", rest) => (IoStream::Stderr, rest),
        _ => return None,
    };
    let (partial, rest) = match rest {
        [b'F', rest @ ..] => (false, rest),
        [b'P', rest @ ..] => (true, rest),
        _ => return None,
    };
    let text = match rest {
        [b' ', text @ ..] => text,
        // A runtime or an editor that cuts trailing spaces leaves an empty text without its space.
        [] => rest,
        [b':', tags @ ..] => after_tags(tags),
        _ => return None,
    };
    let length = line.len() - text.len();
    (length <= ENVELOPE_MAX).then_some(Envelope { time, stream, partial, length })
}

#[inline]
fn time<'a>(line: &'a [u8], times: &mut Rfc3339) -> Option<(Timestamp, &'a [u8])> {
    match times.prefix(line) {
        Some((time, length)) if line.get(length) == Some(&b' ') => Some((time, &line[length..])),
        _ => {
            let space = memchr::memchr(b' ', &line[..line.len().min(ENVELOPE_MAX)])?;
            Some((times.whole(&line[..space])?, &line[space..]))
        }
    }
}

/// The text after the tags. They are for the runtime; none is defined yet but that the first is `P` or `F`.
fn after_tags(tags: &[u8]) -> &[u8] {
    let searched = &tags[..tags.len().min(ENVELOPE_MAX)];
    match memchr::memchr(b' ', searched) {
        Some(space) => &tags[space + 1..],
        // No space at all: the line is all tags. Tags without an end make the envelope too long, which refuses it.
        None => &tags[tags.len()..],
    }
}

/// Unwraps one line.
#[inline]
pub(super) fn unwrap<'a>(line: &'a [u8], place: Place, times: &mut Rfc3339) -> Frame<'a> {
    match envelope(line, times) {
        Some(envelope) => Frame {
            time: Some(envelope.time),
            stream: envelope.stream,
            partial: envelope.partial,
            ..Frame::plain(&line[envelope.length..], place)
        },
        None => Frame::broken(line, place, BROKEN),
    }
}

pub(super) const BROKEN: &str = "not a line of the container runtime interface";

#[cfg(test)]
mod tests {
    use super::*;

    const START: Place = Place { offset: 0, complete: true };

    #[test]
    fn lines() {
        #[track_caller]
        fn check(line: &str, want: Option<(IoStream, bool, &str)>) {
            let frame = unwrap(line.as_bytes(), START, &mut Rfc3339::default());
            let Some((stream, partial, text)) = want else {
                assert_eq!(frame, Frame::broken(line.as_bytes(), START, BROKEN), "{line}");
                return;
            };
            let time = Some(Timestamp(1_770_336_600_123_456_789));
            let want = Frame { time, stream, partial, ..Frame::plain(text.as_bytes(), START) };
            assert_eq!(frame, want, "{line}");
        }
        use IoStream::{Stderr, Stdout};
        let time = "2026-02-06T00:10:00.123456789Z";
        check(&format!("{time} stdout F hello"), Some((Stdout, false, "hello")));
        check(&format!("{time} stderr P hello "), Some((Stderr, true, "hello ")));
        check(&format!("{time} stderr F  two spaces"), Some((Stderr, false, " two spaces")));
        check(&format!("{time} stdout F "), Some((Stdout, false, "")));
        check(&format!("{time} stdout F"), Some((Stdout, false, "")));
        check(&format!("{time} stdout P:a:b cut"), Some((Stdout, true, "cut")));
        check(&format!("{time} stdout F:a"), Some((Stdout, false, "")));
        check(&format!("{time} stdout F: x"), Some((Stdout, false, "x")));
        check("2026-02-06T01:10:00.123456789+01:00 stdout F x", Some((Stdout, false, "x")));
        check("2026-02-06t00:10:00.123456789z stdout F x", Some((Stdout, false, "x")));
        check("", None);
        check("hello world", None);
        check(&format!("{time} stdin F x"), None);
        check(&format!("{time} stdout X x"), None);
        check(&format!("{time} stdout Fx"), None);
        check(&format!("{time} stdout "), None);
        check(&format!("{time}  stdout F x"), None);
        check(time, None);
        check("2026-02-06 00:10:00Z stdout F x", None);
        check(&format!("{time} stdout F:{} x", "t".repeat(ENVELOPE_MAX)), None);
        check(&format!("{time} stdout F:{}", "t".repeat(ENVELOPE_MAX)), None);
    }

    #[test]
    fn an_envelope_is_found_in_a_head_as_in_the_line() {
        for tags in 0..ENVELOPE_MAX + 4 {
            let line = format!("2026-02-06T00:10:00Z stdout F:{} text and more text", "t".repeat(tags));
            let head = &line.as_bytes()[..line.len().min(ENVELOPE_MAX + 1)];
            let times = &mut Rfc3339::default();
            // A head that is all tags may only be taken for an envelope where the whole line is.
            assert_eq!(envelope(head, times), envelope(line.as_bytes(), times), "{tags} tags");
        }
    }
}

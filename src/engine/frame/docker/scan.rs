//! The fast path: one pass over a line that is exactly what dockerd writes.
//!
//! It may refuse anything (the slow path takes it then), but what it accepts it must read as the slow path would.

use memchr::memchr3;

use super::super::IoStream;
use super::super::rfc3339::Rfc3339;
use super::{OBJECT_START, attrs, string};
use crate::units::Timestamp;

/// Where things stand in a line that the scan took.
pub(super) struct Envelope {
    /// Where the text ends in the line, when it could be left there; else it is in the scratch buffer.
    pub(super) text_end: Option<usize>,
    pub(super) partial: bool,
    pub(super) stream: IoStream,
    pub(super) time: Timestamp,
    /// Whether the line had attributes; the cache holds them.
    pub(super) attrs: bool,
    /// Where the line ends, without its newline.
    pub(super) length: usize,
}

/// Reads one line at the start of `bytes`, which may go on behind it.
#[inline]
pub(super) fn scan(
    bytes: &[u8],
    times: &mut Rfc3339,
    attrs: &mut attrs::Cache,
    unescaped: &mut Vec<u8>,
) -> Option<Envelope> {
    let body = bytes.strip_prefix(OBJECT_START)?;
    // A bare newline ends the physical line inside of the string: that line is broken.
    let special = memchr3(b'"', b'\\', b'\n', body)?;
    let (text_end, partial, rest) = match &body[special..] {
        // The usual case: the only escape is the newline at the end.
        [b'\\', b'n', b'"', rest @ ..] => (Some(OBJECT_START.len() + special), false, rest),
        [b'"', rest @ ..] => (Some(OBJECT_START.len() + special), true, rest),
        [b'\\', ..] => {
            let end = string::unescape(body, special, unescaped)?;
            let ended = unescaped.pop_if(|last| *last == b'\n').is_some();
            (None, !ended, &body[end..])
        }
        _ => return None,
    };
    let (stream, before_time, rest) = stream_and_attrs(rest, attrs)?;
    let (time, time_length) = times.prefix(rest)?;
    let rest = rest[time_length..].strip_prefix(b"\"")?;
    let (after_time, rest) = match rest {
        [b'}', rest @ ..] => (false, rest),
        _ if before_time => return None,
        _ => (true, attrs.strip(rest)?.strip_prefix(b"}")?),
    };
    let length = bytes.len() - rest.len();
    Some(Envelope { text_end, partial, stream, time, attrs: before_time || after_time, length })
}

/// Reads what stands between the text and the time: the stream, then attributes if there are any.
#[inline]
fn stream_and_attrs<'a>(rest: &'a [u8], attrs: &mut attrs::Cache) -> Option<(IoStream, bool, &'a [u8])> {
    if let Some(rest) = rest.strip_prefix(br#","stream":"stderr","time":""#) {
        return Some((IoStream::Stderr, false, rest));
    }
    if let Some(rest) = rest.strip_prefix(br#","stream":"stdout","time":""#) {
        return Some((IoStream::Stdout, false, rest));
    }
    let (stream, rest) = match rest.split_first_chunk::<18>()? {
        (br#","stream":"stderr""#, rest) => (IoStream::Stderr, rest),
        (br#","stream":"stdout""#, rest) => (IoStream::Stdout, rest),
        _ => return None,
    };
    Some((stream, true, attrs.strip(rest)?.strip_prefix(br#","time":""#)?))
}

//! One frame of the logging driver's FIFO: a big-endian 32-bit length, then a protobuf `LogEntry`.
//!
//! Where a frame begins is told by its first [`SIGNATURE`] bytes alone, wherever they stand: a length that is possible,
//! then the field `source` with the value `stdout` or `stderr`. So a reader that has lost its place finds it again, and
//! two readers of the same bytes find the same frames (`docker-driver.md` 4.6).

use memchr::memmem;

use crate::engine::frame::IoStream;

/// The longest `LogEntry`, in bytes. Docker cuts lines at 16 KiB.
pub(super) const BODY_MAX: usize = 1 << 20;
/// The length that a frame begins with, in bytes.
pub(super) const HEAD: usize = 4;
/// How many bytes say that a frame begins here.
const SIGNATURE: usize = HEAD + 8;
/// The field `source` (number 1, length 6) and what its two values have in common.
const SOURCE: &[u8] = b"\x0a\x06std";

/// What Docker says of a piece of a line that it had to cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// The same for all pieces of one line.
    pub(super) id: &'a [u8],
    /// 1 for the first piece.
    pub(super) ordinal: u64,
    /// This one ends the line.
    pub(super) last: bool,
}

/// A `LogEntry`. Fields that are not known here are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) stream: IoStream,
    /// Nanoseconds since the epoch; 0 where it was not sent.
    pub(super) time: i64,
    pub(super) line: &'a [u8],
    /// It is a piece of a line.
    pub(super) partial: bool,
    /// Which one.
    pub(super) piece: Option<Piece<'a>>,
}

/// What stands at the start of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// A frame, and its length in bytes.
    Frame(Entry<'a>, usize),
    /// So many bytes (at least one) that no frame begins in.
    Garbage(usize),
    /// It may be a frame, but its end has not come yet.
    Unfinished,
}

/// What stands at the start of `bytes`. The same bytes give the same frames and the same number of bytes between them,
/// wherever they were cut.
pub(super) fn next(bytes: &[u8]) -> Next<'_> {
    if !may_begin(bytes) {
        return Next::Garbage(garbage(bytes));
    }
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else { return Next::Unfinished };
    let length = u32::from_be_bytes(*head) as usize; // at most BODY_MAX: its beginning was looked at
    match rest.get(..length) {
        Some(body) if bytes.len() >= SIGNATURE => match entry(body) {
            Some(entry) => Next::Frame(entry, HEAD + length),
            None => Next::Garbage(garbage(bytes)),
        },
        _ => Next::Unfinished,
    }
}

/// Whether a frame may begin with these bytes, as far as they go.
fn may_begin(bytes: &[u8]) -> bool {
    let length_may_be = match *bytes {
        [first, second, third, fourth, ..] => {
            let length = u32::from_be_bytes([first, second, third, fourth]) as usize;
            (SIGNATURE - HEAD..=BODY_MAX).contains(&length)
        }
        [0, second, third] => usize::from(second) << 16 | usize::from(third) << 8 <= BODY_MAX,
        [0, second] => usize::from(second) << 16 <= BODY_MAX,
        [first] => first == 0,
        [] => true,
        _ => false,
    };
    let source = bytes.get(HEAD..bytes.len().min(SIGNATURE)).unwrap_or_default();
    length_may_be && [b"\x0a\x06stdout", b"\x0a\x06stderr"].iter().any(|known| known.starts_with(source))
}

/// How many bytes at the start, at least one, no frame begins in.
pub(super) fn garbage(bytes: &[u8]) -> usize {
    // A whole signature has its mark at a known place. Only the last bytes may hold the beginning of one.
    let whole = memmem::find_iter(bytes, SOURCE)
        .filter_map(|mark| mark.checked_sub(HEAD))
        .find(|start| *start > 0 && may_begin(&bytes[*start..]));
    let tail = bytes.len().saturating_sub(SIGNATURE - 1).max(1);
    let begun = (tail..bytes.len()).find(|start| may_begin(&bytes[*start..]));
    whole.into_iter().chain(begun).min().unwrap_or(bytes.len())
}

/// Reads a `LogEntry`; `None` where it is none.
fn entry(body: &[u8]) -> Option<Entry<'_>> {
    let mut entry = Entry { stream: IoStream::Unknown, time: 0, line: &[], partial: false, piece: None };
    let mut fields = Fields(body);
    while !fields.0.is_empty() {
        match fields.next()? {
            (1, Value::Bytes(b"stdout")) => entry.stream = IoStream::Stdout,
            (1, Value::Bytes(b"stderr")) => entry.stream = IoStream::Stderr,
            (2, Value::Number(time)) => entry.time = time.cast_signed(),
            (3, Value::Bytes(line)) => entry.line = line,
            (4, Value::Number(partial)) => entry.partial = partial != 0,
            (5, Value::Bytes(piece)) => entry.piece = Some(self::piece(piece)?),
            (1..=5, _) => return None,
            _ => {}
        }
    }
    (entry.stream != IoStream::Unknown).then_some(entry)
}

/// Reads a `PartialLogEntryMetadata`.
fn piece(body: &[u8]) -> Option<Piece<'_>> {
    let mut piece = Piece { id: &[], ordinal: 0, last: false };
    let mut fields = Fields(body);
    while !fields.0.is_empty() {
        match fields.next()? {
            (1, Value::Number(last)) => piece.last = last != 0,
            (2, Value::Bytes(id)) => piece.id = id,
            (3, Value::Number(ordinal)) => piece.ordinal = ordinal,
            (1..=3, _) => return None,
            _ => {}
        }
    }
    Some(piece)
}

/// The fields of a protobuf message that are left to read.
struct Fields<'a>(&'a [u8]);

/// A field's value, as far as its wire type tells.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Eight or four bytes, which no field that is known has.
    Fixed,
}

impl<'a> Fields<'a> {
    /// The next field and its number.
    fn next(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            _ => return None,
        };
        let number = tag >> 3;
        (number > 0).then_some((number, value))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        self.0.split_off(..length)
    }

    /// Ten bytes at most, as protobuf has it; what does not fit into 64 bits falls off.
    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..70).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `stdout`, time 5, `hi`.
    const FRAME: &[u8] = b"\0\0\0\x0e\x0a\x06stdout\x10\x05\x1a\x02hi";

    #[test]
    fn frames_and_what_is_none() {
        #[track_caller]
        fn check(bytes: &[u8], want: Next<'_>) {
            assert_eq!(next(bytes), want, "{}", bytes.escape_ascii());
        }
        let hi = Entry { stream: IoStream::Stdout, time: 5, line: b"hi", partial: false, piece: None };
        check(FRAME, Next::Frame(hi, 18));
        check(&[FRAME, b"more"].concat(), Next::Frame(hi, 18));
        (0..FRAME.len()).for_each(|end| check(&FRAME[..end], Next::Unfinished));
        check(&[b"x", FRAME].concat(), Next::Garbage(1));
        check(b"\x10\0\0\0", Next::Garbage(1));
        check(b"\x10\0\x11\x11\x11", Next::Garbage(5));
        check(b"\0\x10\0\0\x0a", Next::Unfinished); // as long as it may be
        check(b"\0\x10\0\x01\x0a", Next::Garbage(2)); // one byte longer
        check(b"\0\0\0\x07\x0a\x06stdout", Next::Garbage(12)); // too short to say where it comes from
        let least = Entry { time: 0, line: b"", ..hi };
        check(b"\0\0\0\x08\x0a\x06stdout", Next::Frame(least, 12));
        let stderr = Entry { stream: IoStream::Stderr, ..least };
        check(b"\0\0\0\x08\x0a\x06stderr", Next::Frame(stderr, 12));
        check(b"\0\0\0\x08\x0a\x06stdlog", Next::Garbage(12));
        // A field that ends behind its message; groups, which nobody sends; field 0.
        check(b"\0\0\0\x0b\x0a\x06stdout\x1a\x02h", Next::Garbage(15));
        check(b"\0\0\0\x09\x0a\x06stdout\x3b", Next::Garbage(13));
        check(b"\0\0\0\x0a\x0a\x06stdout\x00\x11", Next::Garbage(14));
        // A frame that was cut off: the next one stands in its place.
        let cut = [&b"\0\0\0\x20\x0a\x06stdout\x1a\x40"[..], FRAME, FRAME].concat();
        check(&cut, Next::Garbage(14));
    }

    #[test]
    fn fields() {
        #[track_caller]
        fn check(fields: &[u8], want: Entry<'_>) {
            let body = [b"\x0a\x06stderr", fields].concat();
            let frame = [&(body.len() as u32).to_be_bytes(), body.as_slice()].concat();
            assert_eq!(next(&frame), Next::Frame(want, frame.len()), "{}", fields.escape_ascii());
        }
        let none = Entry { stream: IoStream::Stderr, time: 0, line: b"", partial: false, piece: None };
        check(b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\x7f", Entry { time: i64::MAX, ..none });
        check(b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Entry { time: -1, ..none });
        check(b"\x20\x01\x1a\x01\x00", Entry { partial: true, line: b"\0", ..none }); // in any order
        let piece = Piece { id: b"ab", ordinal: 2, last: true };
        let entry = Entry { partial: true, piece: Some(piece), ..none };
        check(b"\x20\x01\x2a\x08\x08\x01\x12\x02ab\x18\x02", entry);
        check(
            b"\x20\x01\x2a\x00",
            Entry { piece: Some(Piece { id: b"", ordinal: 0, last: false }), ..entry },
        );
        // Attributes (field 6), and fields of every kind that do not exist yet.
        check(b"\x32\x03\x0a\x01k\x1a\x01x\x48\x07\x51abcdefgh\x5d1234", Entry { line: b"x", ..none });
    }
}

//! Writing JSON into a byte buffer without an allocation: text, times, numbers.
//!
//! Records are too many for a serializer that visits each constant part again; the constant parts are encoded
//! once a stream and copied. What varies is written by these functions. A test holds them against `serde_json`.

use std::io::Write as _;

use crate::units::Timestamp;

/// Appends `number` in decimal.
pub fn number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a floating-point number as JSON has them; what JSON cannot say (NaN, infinity) becomes `null`.
pub fn float(out: &mut Vec<u8>, number: f64) {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        // Whole numbers are shown as people write them: 5, not 5.0.
        let _ = write!(out, "{}", number as i64); // writing to a Vec cannot fail
    } else if number.is_finite() {
        let _ = write!(out, "{number}");
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Appends `text` as the inside of a JSON string and says how many bytes of it were taken: all of them, unless the
/// output would have grown by more than `room` bytes. Bytes that are not UTF-8 become U+FFFD; the cut never splits
/// a character.
pub fn text(out: &mut Vec<u8>, text: &[u8], room: usize) -> usize {
    if text.len() <= room && is_plain(text) {
        out.extend_from_slice(text);
        return text.len();
    }
    // No byte takes more than six, so there is nothing to watch where that fits.
    if text.len() <= room / 6 && std::str::from_utf8(text).is_ok() {
        escape_all(out, text);
        return text.len();
    }
    text_within(out, text, room)
}

/// The careful form: character by character, up to the end of the room.
fn text_within(out: &mut Vec<u8>, text: &[u8], room: usize) -> usize {
    let limit = out.len() + room;
    let mut taken = 0;
    for chunk in text.utf8_chunks() {
        for (at, character) in chunk.valid().char_indices() {
            let before = out.len();
            match u8::try_from(character).ok().filter(u8::is_ascii) {
                Some(byte) if is_special(byte) => escape(out, byte),
                _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
            if out.len() > limit {
                out.truncate(before);
                return taken + at;
            }
        }
        taken += chunk.valid().len();
        if !chunk.invalid().is_empty() {
            if out.len() + REPLACEMENT.len() > limit {
                return taken;
            }
            out.extend_from_slice(REPLACEMENT);
            taken += chunk.invalid().len();
        }
    }
    taken
}

/// The fast form for UTF-8 with escapes in it: JSON inside of a line has a quote every few bytes, so eight bytes are
/// copied at a time and those from the first special one on are taken back.
fn escape_all(out: &mut Vec<u8>, text: &[u8]) {
    out.reserve(text.len() + text.len() / 8 + 8);
    let mut rest = text;
    while let Some((word, _)) = rest.split_first_chunk::<8>() {
        out.extend_from_slice(word);
        let marks = special_bytes(u64::from_le_bytes(*word));
        if marks == 0 {
            rest = &rest[8..];
            continue;
        }
        let clean = marks.trailing_zeros() as usize / 8;
        out.truncate(out.len() - 8 + clean);
        escape(out, rest[clean]);
        rest = &rest[clean + 1..];
    }
    for &byte in rest {
        if is_special(byte) {
            escape(out, byte);
        } else {
            out.push(byte);
        }
    }
}

/// Marks quotes, backslashes and control bytes by the top bit of their byte. (Above the lowest mark there may be false
/// ones; only the lowest is used.)
#[inline]
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & TOPS;
    let equal_to = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    below(word, 0x20) | equal_to(b'"') | equal_to(b'\\')
}

#[inline]
fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Appends a whole JSON string with its quotes.
pub fn string(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    text(out, value, usize::MAX / 2);
    out.push(b'"');
}

/// Appends the escape of a special byte.
fn escape(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        control if control < 0x20 => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(control >> 4)]);
            out.push(HEX[usize::from(control & 15)]);
        }
        quote_or_backslash => out.extend_from_slice(&[b'\\', quote_or_backslash]),
    }
}

/// Whether every byte may stand in a JSON string as it is. Written so that the compiler turns it into vector
/// instructions: no early exit inside a block of 32.
fn is_plain(text: &[u8]) -> bool {
    let odd = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\') | (byte >= 0x80);
    let (blocks, rest) = text.as_chunks::<32>();
    blocks.iter().all(|block| !block.iter().fold(false, |any, &byte| any | odd(byte)))
        && !rest.iter().fold(false, |any, &byte| any | odd(byte))
}

/// Writes RFC 3339 times in UTC with nanoseconds. Remembers the last minute, because most lines share it with the
/// line before and the calendar is the expensive part.
#[derive(Clone, Debug)]
pub struct Clockface {
    minute: i64,
    /// `2026-02-06T00:10:` of `minute`.
    shown: [u8; 17],
}

impl Default for Clockface {
    fn default() -> Self {
        let mut face = Clockface { minute: 0, shown: [0; 17] };
        face.turn_to(0);
        face
    }
}

impl Clockface {
    /// Appends `time` as `2026-02-06T00:10:00.123456789Z`.
    pub fn write(&mut self, out: &mut Vec<u8>, time: Timestamp) {
        let minute = time.0.div_euclid(60 * Timestamp::SECOND);
        if minute != self.minute {
            self.turn_to(minute);
        }
        let nanos = time.0.rem_euclid(60 * Timestamp::SECOND) as u64;
        let mut tail = *b"00.000000000Z";
        two(&mut tail, 0, nanos / Timestamp::SECOND as u64);
        // A second more makes ten digits of it, the last nine of which are the fraction with its leading zeros.
        let fraction = nanos % Timestamp::SECOND as u64 + Timestamp::SECOND as u64;
        if let Some((_, digits)) = itoa::Buffer::new().format(fraction).as_bytes().split_last_chunk::<9>() {
            tail[3..12].copy_from_slice(digits);
        }
        out.extend_from_slice(&self.shown);
        out.extend_from_slice(&tail);
    }

    fn turn_to(&mut self, minute: i64) {
        self.minute = minute;
        // An i64 of nanoseconds spans 1677 to 2262, which jiff covers, so the fallback is never seen.
        let civil = jiff::Timestamp::from_second(minute * 60)
            .map(|time| jiff::tz::TimeZone::UTC.to_datetime(time))
            .unwrap_or(jiff::civil::DateTime::ZERO);
        let mut shown = *b"0000-00-00T00:00:";
        let year = civil.year().unsigned_abs() as u64;
        two(&mut shown, 0, year / 100);
        two(&mut shown, 2, year % 100);
        two(&mut shown, 5, civil.month().unsigned_abs() as u64);
        two(&mut shown, 8, civil.day().unsigned_abs() as u64);
        two(&mut shown, 11, civil.hour().unsigned_abs() as u64);
        two(&mut shown, 14, civil.minute().unsigned_abs() as u64);
        self.shown = shown;
    }
}

fn two(out: &mut [u8], at: usize, number: u64) {
    out[at] = b'0' + (number / 10 % 10) as u8;
    out[at + 1] = b'0' + (number % 10) as u8;
}

const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();
const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(time: i64) -> String {
        let mut out = Vec::new();
        Clockface::default().write(&mut out, Timestamp(time));
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn times() {
        assert_eq!(shown(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(shown(1_770_336_600_123_456_789), "2026-02-06T00:10:00.123456789Z");
        assert_eq!(shown(-1), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(shown(i64::MIN), "1677-09-21T00:12:43.145224192Z");
        assert_eq!(shown(i64::MAX), "2262-04-11T23:47:16.854775807Z");
    }

    #[test]
    fn numbers() {
        #[track_caller]
        fn check(value: f64, want: &str) {
            let mut out = Vec::new();
            float(&mut out, value);
            assert_eq!(String::from_utf8_lossy(&out), want);
        }
        check(5.0, "5");
        check(-0.25, "-0.25");
        check(1e300, &format!("{}", 1e300));
        check(f64::NAN, "null");
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        #[track_caller]
        fn check(input: &str, room: usize, want: &str) {
            let mut out = Vec::new();
            let taken = text(&mut out, input.as_bytes(), room);
            assert_eq!(String::from_utf8_lossy(&out), want, "{input:?} in {room}");
            assert!(input.is_char_boundary(taken));
        }
        check("abc", 3, "abc");
        check("abc", 2, "ab");
        check("a\"c", 2, "a");
        check("a方c", 3, "a");
        check("", 0, "");
    }

    proptest! {
        #[test]
        fn times_are_what_jiff_writes(time in any::<i64>()) {
            let want = jiff::Timestamp::from_nanosecond(i128::from(time)).unwrap();
            prop_assert_eq!(shown(time), format!("{want:.9}"));
        }

        #[test]
        fn numbers_are_what_std_writes(value in any::<u64>()) {
            let mut out = Vec::new();
            number(&mut out, value);
            prop_assert_eq!(String::from_utf8_lossy(&out), value.to_string());
        }

        #[test]
        fn both_forms_write_the_same(input in "[a-z\"\\\\\u{1}\n方]{0,80}") {
            let (mut fast, mut careful) = (Vec::new(), Vec::new());
            escape_all(&mut fast, input.as_bytes());
            prop_assert_eq!(text_within(&mut careful, input.as_bytes(), usize::MAX / 2), input.len());
            prop_assert_eq!(fast, careful);
        }

        #[test]
        fn strings_are_what_serde_json_reads(input in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut out = Vec::new();
            string(&mut out, &input);
            let back: String = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(back, String::from_utf8_lossy(&input));
        }
    }
}

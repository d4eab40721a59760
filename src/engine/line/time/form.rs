//! The forms in which programs write times.
//!
//! In: text that begins where a time may stand. Out: what the clock face showed, or the instant.
//! Each form is read strictly and to its end, so that version numbers, addresses and counts are not taken for times.
//! Not here: where in a line to look (`time`), the calendar (`civil`).

use super::civil::Civil;
use crate::units::Timestamp;

/// A way to write a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `2026-11-21T10:30:52.123Z`, `2026-11-21 10:30:52,123`, `2026/11/21 10:30:52`: RFC 3339, ISO 8601, log4j, Go.
    YearFirst,
    /// `21/Nov/2026:10:30:52 +0000`, `21-Nov-2026 10:30:52`, `Sat, 21 Nov 2026 10:30:52 GMT`: common log, Tomcat, mail.
    DayFirst,
    /// `Nov 21 10:30:52`, `Sat Nov 21 10:30:52 2026`: syslog (RFC 3164), ctime.
    MonthFirst,
    /// `I1121 10:30:52.123456`: klog, glog.
    Klog,
    /// `1700000000`, `1700000000.123`, and in ms, µs or ns: seconds since the epoch.
    Epoch,
}

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Instant(Timestamp),
    ClockFace(Civil),
}

impl Form {
    /// All forms, the most usual first.
    pub(super) const ALL: [Form; 5] =
        [Form::YearFirst, Form::Epoch, Form::MonthFirst, Form::DayFirst, Form::Klog];

    /// Reads a time that begins at the first byte of `text`.
    #[inline]
    pub(super) fn read(self, text: &[u8]) -> Option<Reading> {
        let cursor = &mut Cursor(text);
        match self {
            Form::YearFirst => year_first(cursor).map(Reading::ClockFace),
            Form::DayFirst => day_first(cursor).map(Reading::ClockFace),
            Form::MonthFirst => month_first(cursor).map(Reading::ClockFace),
            Form::Klog => klog(cursor).map(Reading::ClockFace),
            Form::Epoch => epoch(cursor).map(Reading::Instant),
        }
    }
}

#[inline]
fn year_first(cursor: &mut Cursor<'_>) -> Option<Civil> {
    let year = Some(i32::try_from(cursor.number::<4>()?).ok()?);
    let separator = cursor.one_of(b"-/.")?;
    let month = cursor.number::<2>()?;
    cursor.one_of(&[separator])?;
    let day = cursor.number::<2>()?;
    cursor.one_of(b"T t_")?;
    let (second, nanosecond) = cursor.time_of_day()?;
    Some(Civil { year, month, day, second, nanosecond, offset: cursor.offset() })
}

fn day_first(cursor: &mut Cursor<'_>) -> Option<Civil> {
    cursor.skip_weekday();
    let day = cursor.day()?;
    let separator = cursor.one_of(b"/- ")?;
    let month = cursor.month()?;
    cursor.one_of(&[separator])?;
    let year = Some(i32::try_from(cursor.number::<4>()?).ok()?);
    cursor.one_of(b": ")?;
    let (second, nanosecond) = cursor.time_of_day()?;
    Some(Civil { year, month, day, second, nanosecond, offset: cursor.offset() })
}

fn month_first(cursor: &mut Cursor<'_>) -> Option<Civil> {
    let names_weekday = cursor.skip_weekday();
    let month = cursor.month()?;
    cursor.one_of(b" ")?;
    let day = cursor.day()?;
    cursor.one_of(b" ")?;
    let (second, nanosecond) = cursor.time_of_day()?;
    // Only ctime, which starts with the weekday, ends with the year; after a syslog time comes the host.
    let year = if names_weekday { cursor.year_behind_space() } else { None };
    Some(Civil { year, month, day, second, nanosecond, offset: None })
}

fn klog(cursor: &mut Cursor<'_>) -> Option<Civil> {
    cursor.one_of(b"IWEFD")?;
    let month = cursor.number::<2>()?;
    let day = cursor.number::<2>()?;
    cursor.one_of(b" ")?;
    let (second, nanosecond) = cursor.time_of_day()?;
    Some(Civil { year: None, month, day, second, nanosecond, offset: None })
}

/// The number of digits gives the unit: 10 digits of seconds reach from 2001 to 2286, and so do 13 of milliseconds,
/// 16 of microseconds and 19 of nanoseconds. The first digit must be one that this century's times have.
fn epoch(cursor: &mut Cursor<'_>) -> Option<Timestamp> {
    let digits = cursor.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let unit = match digits {
        10 => Timestamp::SECOND,
        13 => 1_000_000,
        16 => 1_000,
        19 => 1,
        _ => return None,
    };
    if !matches!(cursor.0[0], b'1'..=b'3') {
        return None;
    }
    let (number, rest) = cursor.0.split_at(digits);
    let count = number.iter().fold(0, |count, byte| count * 10 + i64::from(byte - b'0'));
    cursor.0 = rest;
    let fraction = if digits == 10 { cursor.fraction() } else { 0 };
    match cursor.0.first() {
        None | Some(b' ' | b'\t' | b'\r' | b']' | b')' | b'}' | b':' | b',' | b';' | b'|' | b'"') => {}
        // The fraction of a unit below the second: nobody's clock is that exact, but it ends the number as well.
        Some(b'.') if digits > 10 => {}
        Some(_) => return None,
    }
    Some(Timestamp(count * unit + i64::from(fraction))) // at most 4 * 10^18
}

/// What is left of the text.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    /// A number of exactly `WIDTH` digits, at most 9.
    #[inline]
    fn number<const WIDTH: usize>(&mut self) -> Option<u32> {
        let (digits, rest) = self.0.split_first_chunk::<WIDTH>()?;
        let mut number = 0u32;
        for byte in digits {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            number = number * 10 + u32::from(digit);
        }
        self.0 = rest;
        Some(number)
    }

    #[inline]
    fn one_of(&mut self, set: &[u8]) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        set.contains(&first).then(|| self.0 = rest)?;
        Some(first)
    }

    /// A day of the month: two digits, a digit alone, or one behind a space.
    fn day(&mut self) -> Option<u32> {
        self.number::<2>().or_else(|| {
            let _padding = self.one_of(b" "); // `Nov  1` and `Nov 1` are the same day
            self.number::<1>()
        })
    }

    /// A month's English name, cut to three letters.
    fn month(&mut self) -> Option<u32> {
        let (name, rest) = self.0.split_at_checked(3)?;
        let index = MONTHS.iter().position(|month| name.eq_ignore_ascii_case(*month))?;
        self.0 = rest;
        Some(index as u32 + 1)
    }

    /// Skips `Sat ` or `Sat, ` and says whether it was there.
    fn skip_weekday(&mut self) -> bool {
        let Some((name, rest)) = self.0.split_at_checked(3) else { return false };
        let Some(rest) = rest.strip_prefix(b" ").or_else(|| rest.strip_prefix(b", ")) else { return false };
        let names_weekday = WEEKDAYS.contains(&name);
        if names_weekday {
            self.0 = rest;
        }
        names_weekday
    }

    fn year_behind_space(&mut self) -> Option<i32> {
        let mut ahead = Cursor(self.0.strip_prefix(b" ")?);
        let year = ahead.number::<4>()?;
        if ahead.0.first().is_some_and(u8::is_ascii_alphanumeric) {
            return None;
        }
        self.0 = ahead.0;
        i32::try_from(year).ok()
    }

    /// `10:30:52`, `10:30:52.123`, `10:30:52,123` as seconds since midnight and nanoseconds.
    #[inline]
    fn time_of_day(&mut self) -> Option<(u32, u32)> {
        let hour = self.number::<2>()?;
        self.one_of(b":")?;
        let minute = self.number::<2>()?;
        self.one_of(b":")?;
        let second = self.number::<2>()?;
        let ends_here = !self.0.first().is_some_and(u8::is_ascii_digit);
        // A leap second is written as the 60th.
        if hour > 23 || minute > 59 || second > 60 || !ends_here {
            return None;
        }
        Some((hour * 3600 + minute * 60 + second, self.fraction()))
    }

    /// A fraction of a second in nanoseconds; digits beyond the ninth are skipped. Zero if there is none.
    #[inline]
    fn fraction(&mut self) -> u32 {
        let [b'.' | b',', digits @ ..] = self.0 else { return 0 };
        let width = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if width == 0 {
            return 0; // the comma or full stop of a sentence
        }
        let kept = width.min(9);
        let count = digits[..kept].iter().fold(0, |count, byte| count * 10 + u32::from(byte - b'0'));
        self.0 = &digits[width..];
        count * POWERS_OF_TEN[9 - kept]
    }

    /// The offset behind a time in seconds: `Z`, `+01:00`, `+0100`, `+01`, and behind a space ` UTC`, ` GMT`, ` +0100`.
    #[inline]
    fn offset(&mut self) -> Option<i32> {
        match self.0 {
            [b'Z' | b'z', rest @ ..] if !starts_with_word(rest) => Some(0),
            [sign @ (b'+' | b'-'), rest @ ..] => numeric_offset(*sign, rest),
            [b' ', b'U', b'T', b'C', rest @ ..] | [b' ', b'G', b'M', b'T', rest @ ..]
                if !starts_with_word(rest) && !matches!(rest, [b'+' | b'-', ..]) =>
            {
                Some(0)
            }
            // Behind a space a sign may also begin a number or a list, so all four digits are asked for.
            [b' ', sign @ (b'+' | b'-'), rest @ ..]
                if rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b':').count() >= 4 =>
            {
                numeric_offset(*sign, rest)
            }
            _ => None,
        }
    }
}

/// Real offsets reach from -12:00 to +14:00 in steps of a quarter of an hour.
#[inline]
fn numeric_offset(sign: u8, digits: &[u8]) -> Option<i32> {
    let mut cursor = Cursor(digits);
    let hours = cursor.number::<2>()?;
    let colon = cursor.one_of(b":").is_some();
    let minutes = match cursor.number::<2>() {
        Some(minutes) => minutes,
        None if colon => return None,
        None => 0,
    };
    if hours > 14 || minutes > 59 || minutes % 15 != 0 || starts_with_word(cursor.0) {
        return None;
    }
    let seconds = i32::try_from(hours * 3600 + minutes * 60).ok()?;
    Some(if sign == b'-' { -seconds } else { seconds })
}

#[inline]
fn starts_with_word(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_alphanumeric)
}

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const WEEKDAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
const POWERS_OF_TEN: [u32; 10] =
    [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

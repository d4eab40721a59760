//! Times as RFC 3339 writes them: `2026-02-06T00:10:00.123456789Z`.
//!
//! Every line of a container log carries one, so this is one of the hottest loops of the program. Neighbouring lines
//! nearly always share all but the fraction of the second; those 20 bytes are compared with the last ones seen and only
//! what comes after them is read. Nanoseconds are kept exactly.
//! Not here: other forms of time (`engine::line::time`); what is odd but still RFC 3339 is left to jiff.

use crate::units::Timestamp;

/// A parser that remembers the last date, hour, minute and second.
#[derive(Clone, Debug)]
pub struct Rfc3339 {
    /// `YYYY-MM-DDTHH:MM` of the time read last.
    minute: [u8; 16],
    /// When that minute began (as if in UTC), in seconds since the epoch.
    minute_start: i64,
    /// `YYYY-MM-DDTHH:MM:SS.` of the last time that had a fraction.
    second: [u8; 20],
    /// When that second began (as if in UTC), in nanoseconds since the epoch; all of it lies in the years that we know.
    second_start: i64,
}

impl Default for Rfc3339 {
    fn default() -> Self {
        Rfc3339 {
            minute: *b"1970-01-01T00:00",
            minute_start: 0,
            second: *b"1970-01-01T00:00:00.",
            second_start: 0,
        }
    }
}

impl Rfc3339 {
    /// Reads a time at the start of `text`: `YYYY-MM-DDTHH:MM:SS`, a fraction of 0 to 9 digits, then `Z` or `±HH:MM`.
    /// Returns it and how many bytes it takes, or `None` when there is none of this shape or it lies outside the years
    /// 1677 to 2262.
    #[inline]
    pub fn prefix(&mut self, text: &[u8]) -> Option<(Timestamp, usize)> {
        // Nine digits and `Z` is what the runtimes write nine times out of ten (they cut trailing zeros).
        if let Some((second, rest)) = text.split_first_chunk::<20>()
            && *second == self.second
            && let Some([digits @ .., b'Z']) = rest.first_chunk::<10>()
            && let Some(nanoseconds) = nine_digits(digits)
        {
            return Some((Timestamp(self.second_start + nanoseconds), 30));
        }
        self.prefix_anew(text)
    }

    /// The same for a second that is not the one remembered, and for shorter fractions.
    fn prefix_anew(&mut self, text: &[u8]) -> Option<(Timestamp, usize)> {
        let seconds = self.seconds(text.first_chunk::<19>()?)?;
        if let Some(second @ [.., b'.']) = text.first_chunk::<20>()
            && let Some(start) = timestamp(seconds, 0).filter(|start| start.0 <= i64::MAX - Timestamp::SECOND)
        {
            (self.second, self.second_start) = (*second, start.0);
        }
        let (nanoseconds, fraction_length) = fraction(&text[19..])?;
        let (zone, zone_length) = zone(&text[19 + fraction_length..])?;
        Some((timestamp(seconds - zone, nanoseconds)?, 19 + fraction_length + zone_length))
    }

    /// Reads `text`, all of it, as a time. The odd forms (lower-case letters, a space for the `T`, a leap second) are
    /// accepted here too.
    #[inline]
    pub fn whole(&mut self, text: &[u8]) -> Option<Timestamp> {
        match self.prefix(text) {
            Some((time, length)) if length == text.len() => Some(time),
            _ => odd(text),
        }
    }

    /// `YYYY-MM-DDTHH:MM:SS` as seconds since the epoch, as if in UTC.
    #[inline]
    fn seconds(&mut self, text: &[u8; 19]) -> Option<i64> {
        let [minute @ .., b':', tens, ones] = text else { return None };
        if *minute != self.minute {
            self.minute_start = minute_start(minute)?;
            self.minute = *minute;
        }
        Some(self.minute_start + number([*tens, *ones], 0, 59)?)
    }
}

#[inline]
fn timestamp(seconds: i64, nanoseconds: i64) -> Option<Timestamp> {
    seconds.checked_mul(Timestamp::SECOND)?.checked_add(nanoseconds).map(Timestamp)
}

/// `YYYY-MM-DDTHH:MM` as seconds since the epoch, as if in UTC.
#[cold]
fn minute_start(text: &[u8; 16]) -> Option<i64> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2] = text else { return None };
    let year = number([y1, y2], 0, 99)? * 100 + number([y3, y4], 0, 99)?;
    let month = number([m1, m2], 1, 12)?;
    let day = number([d1, d2], 1, days_in(year, month))?;
    let minutes = number([h1, h2], 0, 23)? * 60 + number([n1, n2], 0, 59)?;
    Some(days_since_epoch(year, month, day) * 86_400 + minutes * 60)
}

/// How many days this month of the Gregorian calendar has.
#[inline]
pub(in crate::engine) fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the proleptic Gregorian calendar between 1970-01-01 and this date. The year is taken to begin in March, so
/// that the leap day is its last and the lengths of the months follow one formula.
#[inline]
pub(in crate::engine) fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// Two decimal digits between `min` and `max`.
#[inline]
fn number([tens, ones]: [u8; 2], min: i64, max: i64) -> Option<i64> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    let value = i64::from(tens) * 10 + i64::from(ones);
    (tens <= 9 && ones <= 9 && min <= value && value <= max).then_some(value)
}

/// Nine decimal digits: the first eight side by side in one register, which saves eight dependent multiplications.
#[inline]
fn nine_digits(digits: &[u8; 9]) -> Option<i64> {
    const NIBBLES: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    let [eight @ .., last] = digits;
    let eight = u64::from_le_bytes(*eight);
    // A byte is a digit when its upper half is 3, and still 3 after 6 was added.
    let all_digits = eight & NIBBLES == ZEROS && eight.wrapping_add(0x0606_0606_0606_0606) & NIBBLES == ZEROS;
    if !all_digits || !last.is_ascii_digit() {
        return None;
    }
    let ones = eight - ZEROS;
    let pairs = (ones * 10 + (ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let quads = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    let value = (quads * 10_000 + (quads >> 32)) & 0xffff_ffff;
    Some(value as i64 * 10 + i64::from(last - b'0'))
}

/// A fraction of a second: nanoseconds and the length with its dot. No dot is no fraction; a dot needs 1 to 9 digits.
fn fraction(text: &[u8]) -> Option<(i64, usize)> {
    let Some(digits) = text.strip_prefix(b".") else { return Some((0, 0)) };
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&count) {
        return None;
    }
    let read = digits[..count].iter().fold(0, |value, byte| value * 10 + i64::from(byte - b'0'));
    Some((read * 10_i64.pow(9 - count as u32), 1 + count))
}

/// A zone: seconds east of UTC and its length.
fn zone(text: &[u8]) -> Option<(i64, usize)> {
    match text {
        [b'Z', ..] => Some((0, 1)),
        &[sign @ (b'+' | b'-'), h1, h2, b':', m1, m2, ..] => {
            let east = number([h1, h2], 0, 23)? * 3_600 + number([m1, m2], 0, 59)? * 60;
            Some((if sign == b'-' { -east } else { east }, 6))
        }
        _ => None,
    }
}

/// Longer texts are not times; without a limit jiff would be asked about whole lines.
const ODD_LENGTH_MAX: usize = 64;

#[cold]
fn odd(text: &[u8]) -> Option<Timestamp> {
    if text.len() > ODD_LENGTH_MAX {
        return None;
    }
    let time: jiff::Timestamp = std::str::from_utf8(text).ok()?.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times() {
        #[track_caller]
        fn check(text: &str, want: Option<i64>) {
            assert_eq!(Rfc3339::default().whole(text.as_bytes()), want.map(Timestamp), "{text}");
        }
        check("1970-01-01T00:00:00Z", Some(0));
        check("1970-01-01T00:00:00.000000001Z", Some(1));
        check("1970-01-01T00:00:00.1Z", Some(100_000_000));
        check("2026-02-06T00:10:00.123456789Z", Some(1_770_336_600_123_456_789));
        check("2026-02-06T02:10:00.123456789+02:00", Some(1_770_336_600_123_456_789));
        check("2026-02-05T18:40:00.12345678-05:30", Some(1_770_336_600_123_456_780));
        check("2024-02-29T23:59:59Z", Some(1_709_251_199_000_000_000));
        check("1969-12-31T23:59:59.999999999Z", Some(-1));
        // The odd forms that jiff takes.
        check("2026-02-06t00:10:00z", Some(1_770_336_600_000_000_000));
        check("2026-02-06 00:10:00Z", Some(1_770_336_600_000_000_000));
        check("2016-12-31T23:59:60Z", Some(1_483_228_799_000_000_000));
        // What is no time.
        check("", None);
        check("2026-02-06T00:10:00", None);
        check("2026-02-06T00:10:00.Z", None);
        check("2026-02-06T00:10:00.1234567890Z", None);
        check("2023-02-29T00:00:00Z", None);
        check("1900-02-29T00:00:00Z", None);
        check("2026-13-01T00:00:00Z", None);
        check("2026-00-01T00:00:00Z", None);
        check("2026-02-06T24:00:00Z", None);
        check("2026-02-06T00:60:00Z", None);
        check("2026-02-06T00:10:00+2:00", None);
        check("2026-02-06T00:10:00.12345678:Z", None);
        check("2026-02-06T00:10:00.1234/6789Z", None);
        check("9999-12-31T23:59:59Z", None);
        check("0000-01-01T00:00:00Z", None);
        check("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0:00Z", None);
    }

    #[test]
    fn prefix_says_how_much_it_read() {
        #[track_caller]
        fn check(text: &str, want: Option<usize>) {
            let read = Rfc3339::default().prefix(text.as_bytes());
            assert_eq!(read.map(|(_, length)| length), want, "{text}");
        }
        check("2026-02-06T00:10:00.123456789Z stdout", Some(30));
        check("2026-02-06T00:10:00.5Z\"}", Some(22));
        check("2026-02-06T00:10:00Z", Some(20));
        check("2026-02-06T00:10:00+01:00x", Some(25));
        check("2026-02-06T00:10:0", None);
        check("x", None);
    }

    #[test]
    fn a_bad_minute_is_not_remembered() {
        let mut times = Rfc3339::default();
        let good = times.whole(b"2026-02-06T00:10:00Z");
        assert_eq!(times.whole(b"2026-02-06T99:10:00Z"), None);
        assert_eq!(times.whole(b"2026-02-06T99:10:00Z"), None);
        assert_eq!(times.whole(b"2026-02-06T00:10:00Z"), good);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn reads_what_jiff_writes(nanoseconds in proptest::collection::vec(any::<i64>(), 1..4), digits in 0u8..=9) {
            let mut times = Rfc3339::default();
            for nanoseconds in nanoseconds {
                let unit = 10_i64.pow(9 - u32::from(digits));
                let nanoseconds = nanoseconds / unit * unit;
                let time = jiff::Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap();
                // One second at either end of the range cannot be computed in 64 bits; no log comes from there.
                prop_assume!(nanoseconds > i64::MIN + Timestamp::SECOND);
                let text = format!("{time:.*}", usize::from(digits));
                prop_assert_eq!(times.whole(text.as_bytes()), Some(Timestamp(nanoseconds)), "{}", text);
                let text = time.display_with_offset(jiff::tz::offset(-7)).to_string();
                prop_assert_eq!(times.whole(text.as_bytes()), Some(Timestamp(nanoseconds)), "{}", text);
            }
        }

        #[test]
        fn never_accepts_what_jiff_refuses(text in "[0-2][0-9]{3}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,10})?(Z|[+-][0-2][0-9]:[0-6][0-9])?") {
            let jiff = text.parse::<jiff::Timestamp>().ok().and_then(|time| i64::try_from(time.as_nanosecond()).ok());
            if let Some((time, length)) = Rfc3339::default().prefix(text.as_bytes()) {
                prop_assert_eq!(length, text.len());
                prop_assert_eq!(Some(time.0), jiff);
            }
        }

        #[test]
        fn never_panics(text in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Rfc3339::default().whole(&text);
        }
    }
}

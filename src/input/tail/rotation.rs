//! What rotation does to names: `x.log` → `x.log.1` → `x.log.2.gz`, `x.log-20260206`, `x.log.2026-02-06T10-11-12`.
//!
//! In: a file name. Out: the name that the file had while it was written, and how old the rest says it is.
//! A number counts only behind something that does not itself end in a digit: `10.0.0.1` and `10.0.0.2` are two
//! hosts, not one file and its elder. Names that rotate before the extension (`x-2026-02-06.log`) are left alone: such
//! a file keeps its source, because files are known by identity and not by name.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// How old a generation is by its name. The order is newest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Age {
    /// No suffix: the file that is being written.
    Current,
    /// `.1`, `.2` …: the higher the older.
    Numbered(u32),
    /// A date, by its digits: the higher the newer.
    Dated(std::cmp::Reverse<Vec<u8>>),
}

/// A file name, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Rotated<'a> {
    /// The name without what rotation added.
    pub base: &'a OsStr,
    /// What the suffix says.
    pub age: Age,
    /// Whether the file has been compressed since, or is being compressed.
    pub compressed: bool,
}

/// Takes a file name apart.
pub fn split(name: &OsStr) -> Rotated<'_> {
    let whole = name.as_bytes();
    if let Some(begun) = whole.strip_suffix(b".tmp") {
        // Into such a file the kubelet compresses what it has rotated.
        let rotated = split(OsStr::from_bytes(begun));
        if rotated.compressed || rotated.age != Age::Current {
            return Rotated { compressed: true, ..rotated };
        }
    }
    let plain = COMPRESSED.iter().find_map(|end| whole.strip_suffix(*end)).filter(|plain| !plain.is_empty());
    let name = plain.unwrap_or(whole);
    let (base, age) = numbered(name).or_else(|| dated(name)).unwrap_or((name, Age::Current));
    Rotated { base: OsStr::from_bytes(base), age, compressed: plain.is_some() }
}

fn numbered(name: &[u8]) -> Option<(&[u8], Age)> {
    let dot = name.iter().rposition(|byte| *byte == b'.')?;
    let (base, number) = (&name[..dot], &name[dot + 1..]);
    let is_number = (1..=NUMBER_DIGITS_MAX).contains(&number.len()) && number.iter().all(u8::is_ascii_digit);
    if !is_number || base.last().is_none_or(u8::is_ascii_digit) {
        return None;
    }
    let number = number.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    Some((base, Age::Numbered(number)))
}

fn dated(name: &[u8]) -> Option<(&[u8], Age)> {
    // The first place that holds a date up to the end wins, so that `x-20260206-1770336000` is one suffix.
    (1..name.len()).filter(|at| matches!(name[*at], b'.' | b'-')).find_map(|at| {
        let digits = date_digits(&name[at + 1..])?;
        Some((&name[..at], Age::Dated(std::cmp::Reverse(digits))))
    })
}

/// The digits of a suffix that begins with a date and holds nothing but digits and what stands between them.
fn date_digits(suffix: &[u8]) -> Option<Vec<u8>> {
    let between = |byte: &u8| matches!(byte, b'T' | b'Z' | b':' | b'.' | b'+' | b'_' | b'-');
    if !suffix.iter().all(|byte| byte.is_ascii_digit() || between(byte)) {
        return None;
    }
    let starts_like_date = match suffix {
        [first, ..] if suffix.len() >= 8 && first.is_ascii_digit() => {
            suffix[..8].iter().all(u8::is_ascii_digit)
                || (suffix.len() >= 10 && suffix[4] == b'-' && suffix[7] == b'-')
        }
        _ => false,
    };
    let digits: Vec<u8> = suffix.iter().copied().filter(u8::is_ascii_digit).collect();
    let pair = |at: usize| (digits[at] - b'0') * 10 + (digits[at + 1] - b'0');
    let is_date = starts_like_date
        && digits.len() >= 8
        && matches!(pair(0), 19..=21)
        && (1..=12).contains(&pair(4))
        && (1..=31).contains(&pair(6));
    is_date.then_some(digits)
}

/// What compressors append.
const COMPRESSED: [&[u8]; 7] = [b".gz", b".bz2", b".xz", b".zst", b".lz4", b".Z", b".zip"];
/// Longer numbers are times or ids, not counts of generations.
const NUMBER_DIGITS_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(number: u32) -> Age {
        Age::Numbered(number)
    }

    fn date(digits: &str) -> Age {
        Age::Dated(std::cmp::Reverse(digits.as_bytes().to_vec()))
    }

    #[test]
    fn names_come_apart() {
        #[track_caller]
        fn check(name: &str, base: &str, age: Age, compressed: bool) {
            assert_eq!(
                split(OsStr::new(name)),
                Rotated { base: OsStr::new(base), age, compressed },
                "{name}"
            );
        }
        check("x.log", "x.log", Age::Current, false);
        check("x.log.1", "x.log", number(1), false);
        check("x-json.log.12", "x-json.log", number(12), false);
        check("x.log.2.gz", "x.log", number(2), true);
        check("x.log.gz", "x.log", Age::Current, true);
        check("x.log-20260206", "x.log", date("20260206"), false);
        check("x.log-20260206.gz", "x.log", date("20260206"), true);
        check("x.log-20260206-1770336000", "x.log", date("202602061770336000"), false);
        check("0.log.20260206-101112", "0.log", date("20260206101112"), false);
        check("x.log.2026-02-06T10-11-12.123", "x.log", date("20260206101112123"), false);
        check("x.log.2026-02-06", "x.log", date("20260206"), false);
        check("x.log.2026-02-06.1", "x.log", date("202602061"), false);
        check("0.log.20260206-101112.tmp", "0.log", date("20260206101112"), true);
        check("0.log.20260206-101112.gz.tmp", "0.log", date("20260206101112"), true);
        // Not rotation.
        check("10.0.0.1", "10.0.0.1", Age::Current, false);
        check("app-1.2.3", "app-1.2.3", Age::Current, false);
        check("x.log-20261399", "x.log-20261399", Age::Current, false);
        check("x.log.99999999", "x.log.99999999", Age::Current, false);
        check("x-2026-02-06.log", "x-2026-02-06.log", Age::Current, false);
        check("x.log.tmp", "x.log.tmp", Age::Current, false);
        check(".1", ".1", Age::Current, false);
        check(".gz", ".gz", Age::Current, false);
        check("x.log.", "x.log.", Age::Current, false);
    }

    #[test]
    fn newest_comes_first() {
        let mut ages =
            vec![date("20260206"), number(2), date("20260207"), Age::Current, number(1), number(10)];
        ages.sort();
        let want = [Age::Current, number(1), number(2), number(10), date("20260207"), date("20260206")];
        assert_eq!(ages, want);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn any_bytes_come_apart(name in proptest::collection::vec(any::<u8>(), 1..24)) {
            let name = OsStr::from_bytes(&name);
            let rotated = split(name);
            prop_assert!(!rotated.base.is_empty());
            prop_assert!(name.as_bytes().starts_with(rotated.base.as_bytes()));
        }
    }
}

//! Numbers with their units: `10`, `1%`, `250ms`, `1m30s`, `2GB`, `20/s`.

use std::ops::RangeInclusive;
use std::time::Duration;

/// A number, in the base of its unit: seconds, bytes, a share of one, times per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Amount {
    pub(super) value: f64,
    pub(super) unit: Unit,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Nothing was written.
    Plain,
    /// `%`
    Share,
    /// `ms`, `s`, `m`, `h`, `d`
    Time,
    /// `B`, `KB`, `KiB` …
    Size,
    /// `/s`, `/m`, `/h`, `/d`
    Rate,
    /// `x`
    Times,
}

impl Unit {
    /// For messages.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Unit::Plain => "a number without unit",
            Unit::Share => "a share",
            Unit::Time => "a time",
            Unit::Size => "a size",
            Unit::Rate => "a rate",
            Unit::Times => "a multiple",
        }
    }
}

const TIMES: [(&[&str], f64); 7] = [
    (&["ns"], 1e-9),
    (&["us", "µs", "μs"], 1e-6),
    (&["ms"], 1e-3),
    (&["s", "sec", "second", "seconds"], 1.0),
    (&["m", "min", "minute", "minutes"], 60.0),
    (&["h", "hour", "hours"], 3600.0),
    (&["d", "day", "days"], 86_400.0),
];

const SIZES: [(&str, f64); 9] = [
    ("b", 1.0),
    ("kb", 1e3),
    ("mb", 1e6),
    ("gb", 1e9),
    ("tb", 1e12),
    ("kib", 1024.0),
    ("mib", 1_048_576.0),
    ("gib", 1_073_741_824.0),
    ("tib", 1_099_511_627_776.0),
];

/// Whether a word that stands behind a number with a space between is its unit: `250 ms`.
pub(super) fn is_unit(word: &str) -> bool {
    word == "x" || time_factor(word).is_some() || size_factor(word).is_some()
}

/// Reads a number with its unit.
///
/// # Errors
/// A sentence about what is wrong with it.
pub(super) fn read(text: &str) -> Result<Amount, String> {
    if let Some((number, per)) = text.split_once('/') {
        return match time_factor(per) {
            Some(factor) if factor >= 1.0 => Ok(Amount { value: plain(number)? / factor, unit: Unit::Rate }),
            _ => Err("a rate is written 20/s, 20/m or 20/h".to_owned()),
        };
    }
    let (number, unit) = parted(text);
    let value = plain(number)?;
    let of = |factor: f64, unit| finite(value * factor).map(|value| Amount { value, unit });
    match unit {
        "" => of(1.0, Unit::Plain),
        // Divided and not multiplied by 0.01, so that `7%` is the same number as `0.07`.
        "%" => Ok(Amount { value: value / 100.0, unit: Unit::Share }),
        "x" => of(1.0, Unit::Times),
        _ if unit.contains(|letter: char| letter.is_ascii_digit()) => {
            compound(text).map(|value| Amount { value, unit: Unit::Time })
        }
        _ => match (time_factor(unit), size_factor(unit)) {
            (Some(factor), _) => Ok(Amount { value: time(value, factor)?, unit: Unit::Time }),
            (_, Some(factor)) => of(factor, Unit::Size),
            _ => Err(unknown_unit(number, unit)),
        },
    }
}

/// `1m30s`: times in a row.
fn compound(text: &str) -> Result<f64, String> {
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() {
        let (number, behind) = parted(rest);
        let length = behind.find(|letter: char| letter.is_ascii_digit()).unwrap_or(behind.len());
        let unit = &behind[..length];
        let factor = time_factor(unit).ok_or_else(|| unknown_unit(number, unit))?;
        sum += time(plain(number)?, factor)?;
        rest = &behind[length..];
    }
    finite(sum)
}

/// Small units are divided out, so that `250ms` is the same number as `0.25`.
fn time(value: f64, factor: f64) -> Result<f64, String> {
    finite(if factor < 1.0 { value / (1.0 / factor).round() } else { value * factor })
}

fn parted(text: &str) -> (&str, &str) {
    let number = |letter: char| letter.is_ascii_digit() || matches!(letter, '-' | '.' | '_');
    text.split_at(text.find(|letter| !number(letter)).unwrap_or(text.len()))
}

/// Digits, a point, and `_` between digits.
fn plain(text: &str) -> Result<f64, String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let shape = digits.starts_with(|letter: char| letter.is_ascii_digit())
        && digits.ends_with(|letter: char| letter.is_ascii_digit());
    let number = text.replace('_', "").parse::<f64>().ok().filter(|_| shape);
    finite(number.ok_or("this is not a number; numbers look like 10, 0.5 or 1_000")?)
}

fn finite(number: f64) -> Result<f64, String> {
    if number.is_finite() { Ok(number) } else { Err("this number is too large".to_owned()) }
}

fn time_factor(unit: &str) -> Option<f64> {
    TIMES.iter().find(|(names, _)| names.contains(&unit)).map(|(_, factor)| *factor)
}

fn size_factor(unit: &str) -> Option<f64> {
    SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| *factor)
}

fn unknown_unit(number: &str, unit: &str) -> String {
    match unit {
        "k" | "K" | "M" | "g" | "G" | "t" | "T" => {
            let unit = unit.to_ascii_uppercase();
            format!("write {number}{unit}B (decimal) or {number}{unit}iB (binary)")
        }
        _ => "this unit is unknown; known are ms, s, m, h, d, KB, KiB, MB, MiB, GB, GiB, %, /s, /m, /h"
            .to_owned(),
    }
}

/// How long a window may be: shorter ones measure chance, longer ones a day's habits.
pub(super) const WINDOW: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);

/// A window of so many seconds, to the millisecond, where one may be so long.
pub(super) fn window(seconds: f64) -> Option<Duration> {
    let millis = (seconds * 1_000.0).round();
    // The largest window has 86,400,000 ms; the cast cannot cut anything below that.
    let time = (0.0..=1e9).contains(&millis).then(|| Duration::from_millis(millis as u64));
    time.filter(|time| WINDOW.contains(time))
}

/// `90s` → `90s`, `300s` → `5m`: the largest unit that is exact, to the millisecond.
pub(super) fn show_window(time: Duration) -> String {
    let millis = time.as_millis();
    let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    match units.iter().find(|(unit, _)| millis >= *unit && millis.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", millis / unit),
        None => format!("{millis}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        #[track_caller]
        fn check(text: &str, value: f64, unit: Unit) {
            assert_eq!(read(text), Ok(Amount { value, unit }), "{text}");
        }
        check("10", 10.0, Unit::Plain);
        check("-0.5", -0.5, Unit::Plain);
        check("1_000", 1000.0, Unit::Plain);
        check("1%", 0.01, Unit::Share);
        check("0.5%", 0.005, Unit::Share);
        check("250ms", 0.25, Unit::Time);
        check("200ms", 0.2, Unit::Time);
        check("318.20ms", 0.3182, Unit::Time);
        check("5µs", 0.000_005, Unit::Time);
        check("1m30s", 90.0, Unit::Time);
        check("1h2m3s4ms", 3723.004, Unit::Time);
        check("2minutes", 120.0, Unit::Time);
        check("10.23GiB", 10.23 * 1_073_741_824.0, Unit::Size);
        check("2GB", 2e9, Unit::Size);
        check("2kb", 2000.0, Unit::Size);
        check("7B", 7.0, Unit::Size);
        check("20/s", 20.0, Unit::Rate);
        check("60/m", 1.0, Unit::Rate);
        check("1.5x", 1.5, Unit::Times);
    }

    #[test]
    fn not_amounts() {
        #[track_caller]
        fn check(text: &str, want: &str) {
            let found = read(text).expect_err(text);
            assert!(found.contains(want), "{text}: {found}");
        }
        check("1.2.3", "not a number");
        check("5.", "not a number");
        check("1_", "not a number");
        check("2G", "write 2GB (decimal) or 2GiB (binary)");
        check("5xx", "unit is unknown");
        check("1e9", "unit is unknown");
        check("1m2", "unit is unknown");
        check("1m2GB", "unit is unknown");
        check("20/ms", "a rate is written 20/s");
        check("1%2", "unit is unknown");
        check(&"9".repeat(400), "too large");
        check(&format!("{}GB", "9".repeat(308)), "too large");
    }

    #[test]
    fn windows() {
        #[track_caller]
        fn check(seconds: f64, want: Option<&str>) {
            assert_eq!(window(seconds).map(show_window).as_deref(), want, "{seconds}");
        }
        check(1.0, Some("1s"));
        check(90.0, Some("90s"));
        check(300.0, Some("5m"));
        check(1.5, Some("1500ms"));
        check(86_400.0, Some("24h"));
        check(86_401.0, None);
        check(0.999, None);
        check(-5.0, None);
        check(f64::MAX, None);
    }
}

//! The story of a log, for people: on a terminal, as Markdown, as a page.
//!
//! In: a [`Story`], plain data. Out: text. Text from the log is escaped in each of them, as each needs it.
//! Not here: what happened (`engine::chronicle`).

mod alerts;
pub mod chart;
pub mod draft;
pub mod html;
pub mod markdown;
pub mod text;

use std::time::Duration;

use crate::engine::chronicle::story::Story;
use crate::units::grouped;
use crate::units::{Lines, Timestamp};

/// `2026-02-06 00:10:00`, in UTC.
pub fn date_time(time: Timestamp) -> String {
    civil(time).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// `00:10:00`, in UTC, and the date before it where the story spans more than a day.
pub fn short_time(time: Timestamp, story: &Story) -> String {
    let format = if story.last.since(story.first) < DAY { "%H:%M:%S" } else { "%m-%d %H:%M:%S" };
    civil(time).strftime(format).to_string()
}

fn civil(time: Timestamp) -> jiff::civil::DateTime {
    let utc = |time: jiff::Timestamp| time.to_zoned(jiff::tz::TimeZone::UTC).datetime();
    jiff::Timestamp::from_nanosecond(i128::from(time.0)).map(utc).unwrap_or_default()
}

/// A stretch of time as people say it: `0.27 s`, `42 s`, `12 min 5 s`, `3 h 12 min`, `2 d 4 h`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 if duration < Duration::from_millis(1) => format!("{} µs", duration.as_micros()),
        0 if duration < Duration::from_millis(100) => format!("{} ms", duration.as_millis()),
        0..10 => format!("{:.2} s", duration.as_secs_f64()),
        10..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min {} s", seconds / 60, seconds % 60),
        7_200..172_800 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// `99.8 %`; small shares keep a digit that is not 0.
pub fn share(part: Lines, whole: Lines) -> String {
    if whole == Lines(0) {
        return "0 %".to_owned();
    }
    let share = 100.0 * part.0 as f64 / whole.0 as f64;
    match share {
        0.0 => "0 %".to_owned(),
        ..0.01 => "< 0.01 %".to_owned(),
        ..0.1 => format!("{share:.2} %"),
        // Not all, and yet it would be rounded to all.
        99.95.. if part < whole => "> 99.9 %".to_owned(),
        _ => format!("{share:.1} %"),
    }
}

/// `1 line`, `220,314 lines`.
pub fn lines(number: Lines) -> String {
    format!("{} {}", grouped(number.0), if number == Lines(1) { "line" } else { "lines" })
}

const DAY: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        #[track_caller]
        fn check(millis: u64, want: &str) {
            assert_eq!(duration(Duration::from_millis(millis)), want);
        }
        check(0, "0 µs");
        check(35, "35 ms");
        check(270, "0.27 s");
        check(42_000, "42 s");
        check(725_000, "12 min 5 s");
        check(11_520_000, "3 h 12 min");
        check(187_200_000, "2 d 4 h");
    }

    #[test]
    fn shares_do_not_lie() {
        #[track_caller]
        fn check(part: u64, whole: u64, want: &str) {
            assert_eq!(share(Lines(part), Lines(whole)), want);
        }
        check(0, 0, "0 %");
        check(0, 5, "0 %");
        check(5, 5, "100.0 %");
        check(999_999, 1_000_000, "> 99.9 %");
        check(1, 1_000_000, "< 0.01 %");
        check(5, 10_000, "0.05 %");
        check(1, 3, "33.3 %");
    }
}

//! Times written in the text of a line.
//!
//! In: the text of a line whose envelope has no time. Out: the time that the program wrote at its head.
//! A time in the middle of a sentence is data, not the line's time: it counts only at the start, behind a header
//! (`INFO [main] `, `<34>1 `, `time="`, an address and a bracket as in access logs), or under a time key in JSON.
//! Limit: the first 128 bytes are looked at, of JSON the first 512; nothing is allocated.
//! Where the last time of this origin stood is tried first; an origin without times is only sampled.

mod civil;
mod form;

use jiff::tz::TimeZone;

use self::civil::Zone;
use self::form::{Form, Reading};
use crate::units::Timestamp;

/// Finds the times in the lines of one origin.
#[derive(Debug)]
pub struct Times {
    zone: Zone,
    /// Where the last time stood.
    hint: Option<Place>,
    /// Lines in a row in which none was found.
    misses: u32,
}

impl Times {
    /// Times without a zone are read in `timezone`.
    pub fn new(timezone: TimeZone) -> Times {
        Times { zone: Zone::new(timezone), hint: None, misses: 0 }
    }

    /// The time at the head of `text`. `now` decides the year of times that leave it out.
    #[inline]
    pub fn find(&mut self, text: &[u8], now: Timestamp) -> Option<Timestamp> {
        if let Some(reading) = self.hint.and_then(|place| place.read(text)) {
            self.misses = 0;
            return self.resolve(reading, now);
        }
        if self.misses >= MISSES_TO_REST && !self.misses.is_multiple_of(REST) {
            self.count_miss();
            return None;
        }
        self.search(text, now)
    }

    fn search(&mut self, text: &[u8], now: Timestamp) -> Option<Timestamp> {
        let found = search(text).and_then(|(place, reading)| Some((place, self.resolve(reading, now)?)));
        let Some((place, time)) = found else {
            self.count_miss();
            return None;
        };
        self.hint = Some(place);
        self.misses = 0;
        Some(time)
    }

    #[inline]
    fn count_miss(&mut self) {
        // At the end of the numbers, back to where resting starts.
        self.misses = self.misses.checked_add(1).unwrap_or(MISSES_TO_REST);
    }

    #[inline]
    fn resolve(&mut self, reading: Reading, now: Timestamp) -> Option<Timestamp> {
        match reading {
            Reading::Instant(time) => Some(time),
            Reading::ClockFace(clock_face) => clock_face.resolve(&mut self.zone, now),
        }
    }
}

/// Where in a line a time stands.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// At this offset, in this form.
    At(usize, Form),
    /// Behind the first bracket that a date follows, wherever that is: `203.0.113.9 - - [10/Oct/2026:…`.
    Bracket,
    /// Under a time key of a JSON object.
    Json,
}

impl Place {
    #[inline]
    fn read(self, text: &[u8]) -> Option<Reading> {
        match self {
            Place::At(offset, form) => {
                let (head, rest) = text.split_at_checked(offset)?;
                let reading = form.read(rest)?;
                let is_own = if opening(text) == offset {
                    !is_glued(head)
                } else {
                    form == Form::YearFirst && is_header(head)
                };
                is_own.then_some(reading)
            }
            Place::Bracket => behind_bracket(text),
            Place::Json => under_json_key(text),
        }
    }
}

/// Looks everywhere.
fn search(text: &[u8]) -> Option<(Place, Reading)> {
    let start = opening(text);
    if text[..start].contains(&b'{') {
        return under_json_key(text).map(|reading| (Place::Json, reading));
    }
    let at_start = Form::ALL.into_iter().find_map(|form| Some((form, form.read(&text[start..])?)));
    if let Some((form, reading)) = at_start {
        return (!is_glued(&text[..start])).then_some((Place::At(start, form), reading));
    }
    behind_header(text).or_else(|| behind_bracket(text).map(|reading| (Place::Bracket, reading)))
}

/// Where the text itself begins, behind what may open a line: spaces, brackets, terminal colours, a syslog priority
/// with its version.
#[inline]
fn opening(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if byte.is_ascii_alphanumeric() || !byte.is_ascii() || at >= HEADER_WITHIN {
            break;
        }
        at += match byte {
            0x1b => colour(&text[at..]),
            b'<' => priority(&text[at..]),
            _ => 1,
        };
    }
    at
}

/// Whether `head` ends with a sign that makes the digits behind it something else than a time.
fn is_glued(head: &[u8]) -> bool {
    head.last().is_some_and(|byte| b"-+./#$%@_=:".contains(byte))
}

/// The length of a colour sequence, `ESC [ digits m`, or 1.
fn colour(text: &[u8]) -> usize {
    let Some(codes) = text.strip_prefix(b"\x1b[") else { return 1 };
    let width = codes.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b';').count();
    if codes.get(width) == Some(&b'm') { 2 + width + 1 } else { 1 }
}

/// The length of `<34>` (RFC 3164) or `<34>1 ` (RFC 5424), or 1.
fn priority(text: &[u8]) -> usize {
    let width = text[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=3).contains(&width) || text.get(1 + width) != Some(&b'>') {
        return 1;
    }
    let end = 1 + width + 1;
    if text[end..].starts_with(b"1 ") { end + 2 } else { end }
}

/// Looks for a date behind a short header such as `INFO  [main] ` or `level=info ts=`.
fn behind_header(text: &[u8]) -> Option<(Place, Reading)> {
    let window = &text[..text.len().min(HEADER_WITHIN + 5)];
    memchr::memchr2_iter(b'-', b'/', window).find_map(|separator| {
        let start = separator.checked_sub(4)?;
        if !is_header(&text[..start]) {
            return None;
        }
        let reading = Form::YearFirst.read(&text[start..])?;
        Some((Place::At(start, Form::YearFirst), reading))
    })
}

/// Whether a time behind `head` is the line's own: the head ends with a field's closing mark, with a level in
/// capitals, or with a key that names times. Behind prose (`backup planned for `) it is not.
fn is_header(head: &[u8]) -> bool {
    let quoted = head.strip_suffix(b"\"").unwrap_or(head);
    if let Some(key) = quoted.strip_suffix(b"=").or_else(|| quoted.strip_suffix(b":")) {
        return is_time_key(last_word(key));
    }
    let opened = head.strip_suffix(b"[").or_else(|| head.strip_suffix(b"(")).unwrap_or(head);
    let field = opened.trim_ascii_end();
    if field.len() == head.len() && !field.is_empty() {
        return matches!(field.last(), Some(b']' | b')' | b'>' | b'|')); // nothing between: no letter, no sign
    }
    let field = field.strip_suffix(b" -").unwrap_or(field).trim_ascii_end();
    match field {
        [] | [.., b']' | b')' | b'>' | b'|'] => true,
        [label @ .., b':'] => is_capitals(last_word(label)),
        [b'A'..=b'Z', b','] => true, // Ruby's logger: `I, [2026-…`
        _ => is_capitals(last_word(field)),
    }
}

/// The first bracket with a date in it, as access logs have it behind address and user.
#[inline]
fn behind_bracket(text: &[u8]) -> Option<Reading> {
    memchr::memchr_iter(b'[', &text[..text.len().min(BRACKET_WITHIN)])
        .find_map(|bracket| Form::DayFirst.read(&text[bracket + 1..]))
}

/// The first value of a JSON object whose key names times. Nested objects are walked as if they were flat.
fn under_json_key(text: &[u8]) -> Option<Reading> {
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'"', text.get(at..JSON_WITHIN.min(text.len()))?) {
        let start = at + found + 1;
        let end = string_end(text, start)?;
        at = end + 1;
        let Some(value) = text[at..].trim_ascii_start().strip_prefix(b":") else { continue };
        at = text.len() - value.len();
        if !is_time_key(&text[start..end]) {
            continue;
        }
        let value = value.trim_ascii_start();
        let bare = value.strip_prefix(b"\"").unwrap_or(value);
        if let Some(reading) = Form::ALL.into_iter().find_map(|form| form.read(bare)) {
            return Some(reading);
        }
    }
    None
}

/// Where the JSON string ends whose first byte stands at `start`.
fn string_end(text: &[u8], start: usize) -> Option<usize> {
    let window = &text[..text.len().min(JSON_WITHIN)];
    let mut at = start;
    loop {
        let mark = at + memchr::memchr2(b'"', b'\\', window.get(at..)?)?;
        if window[mark] == b'"' {
            return Some(mark);
        }
        at = mark + 2; // whatever a backslash escapes is not the end
    }
}

/// The names under which logging libraries write the time of the line. `date` and the like are left out: they are
/// more often what the line talks about.
fn is_time_key(key: &[u8]) -> bool {
    const KEYS: [&[u8]; 8] =
        [b"time", b"ts", b"timestamp", b"@timestamp", b"t", b"datetime", b"asctime", b"$date"];
    KEYS.iter().any(|name| key.eq_ignore_ascii_case(name))
}

/// The word at the end of `text`, quotes around it not counted.
fn last_word(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\"").unwrap_or(text);
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'@' | b'$' | b'_');
    let start = text.iter().rposition(|byte| !is_word(byte)).map_or(0, |before| before + 1);
    &text[start..]
}

/// Whether this is how levels are written in capitals.
fn is_capitals(word: &[u8]) -> bool {
    word.len() >= 3 && word.iter().all(u8::is_ascii_uppercase)
}

/// How far a header may reach that stands before the time, in bytes.
const HEADER_WITHIN: usize = 48;
/// How far the bracket of an access log may stand: behind an IPv6 address and a user name.
const BRACKET_WITHIN: usize = 128;
/// How far keys of a JSON object are looked at: some libraries sort the keys and put the message before the time.
const JSON_WITHIN: usize = 512;
/// After so many lines without a time, an origin counts as one that writes none …
const MISSES_TO_REST: u32 = 64;
/// … and only each so many-th line is searched, in case that it starts to.
const REST: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::fmt::strtime;
    use proptest::prelude::*;

    /// 2026-11-21T11:00:00Z.
    const NOW: Timestamp = Timestamp(1_795_258_800 * Timestamp::SECOND);

    fn times() -> Times {
        Times::new(TimeZone::UTC)
    }

    fn nanoseconds(rfc3339: &str) -> i64 {
        let time: jiff::Timestamp = rfc3339.parse().unwrap();
        i64::try_from(time.as_nanosecond()).unwrap()
    }

    #[track_caller]
    fn check(line: &str, want: &str) {
        let mut times = times();
        let want = Some(Timestamp(nanoseconds(want)));
        assert_eq!(times.find(line.as_bytes(), NOW), want, "{line:?}");
        assert_eq!(times.find(line.as_bytes(), NOW), want, "with what was learned: {line:?}");
    }

    #[track_caller]
    fn check_none(line: &str) {
        assert_eq!(times().find(line.as_bytes(), NOW), None, "{line:?}");
    }

    #[test]
    fn year_first() {
        check("2026-11-21T10:30:52Z started", "2026-11-21T10:30:52Z");
        check("2026-11-21T10:30:52.123456789Z started", "2026-11-21T10:30:52.123456789Z");
        check("2026-11-21T10:30:52.1234567891234Z x", "2026-11-21T10:30:52.123456789Z");
        check("2026-11-21t10:30:52.5z", "2026-11-21T10:30:52.5Z");
        check("2026-11-21T10:30:52+01:00 x", "2026-11-21T09:30:52Z");
        check("2026-11-21T10:30:52.1-0330 x", "2026-11-21T14:00:52.1Z");
        check("2026-11-21 10:30:52-05 x", "2026-11-21T15:30:52Z"); // PostgreSQL
        check("2026-11-21 10:30:52.123 UTC [77] LOG:  ready", "2026-11-21T10:30:52.123Z");
        check("2026-11-21 10:30:52,123 INFO [main] x", "2026-11-21T10:30:52.123Z"); // log4j
        check("2026-11-21 10:30:52, Info  CBS  x", "2026-11-21T10:30:52Z");
        check("2026-11-21 10:30:52 -1234 items", "2026-11-21T10:30:52Z"); // a number, no zone
        check("2026-11-21 10:30:52 -0530 x", "2026-11-21T16:00:52Z");
        check("2026-11-21 10:30:52 - x", "2026-11-21T10:30:52Z");
        check("2026/11/21 10:30:52 [error] 7#7: *1 x", "2026-11-21T10:30:52Z"); // Go, nginx
        check("2026-12-31T23:59:60Z leap", "2027-01-01T00:00:00Z");
        check("2024-02-29 00:00:00 x", "2024-02-29T00:00:00Z");
        check_none("2026-02-29 00:00:00 no such day");
        check_none("2026-11-21 24:00:00 x");
        check_none("2026-11-21 10:61:00 x");
        check_none("2026-11/21 10:30:52 x");
        check_none("0001-01-01T00:00:00Z Go's zero time");
        check_none("9999-12-31T23:59:59Z for ever");
        check_none("2026-11-21 x");
        check_none("2026-11-21T10:30:5");
    }

    #[test]
    fn syslog_and_ctime() {
        check("Nov 21 10:30:52 host app[1]: x", "2026-11-21T10:30:52Z");
        check("Nov  1 10:30:52 host app[1]: x", "2026-11-01T10:30:52Z");
        check("Jan  2 00:00:01 host app[1]: x", "2027-01-02T00:00:01Z");
        check("Jul 14 00:00:01.5 2001 app: x", "2026-07-14T00:00:01.5Z"); // a host named 2001
        check("<34>Oct 11 22:14:15 mymachine su: 'su root' failed", "2026-10-11T22:14:15Z");
        check("<34>1 2026-10-11T22:14:15.003Z mymachine su - ID47 - x", "2026-10-11T22:14:15.003Z");
        check("<165>1 2026-10-11T22:14:15.000003-07:00 192.0.2.1 x", "2026-10-12T05:14:15.000003Z");
        check("[Sun Dec 04 04:47:44 2005] [notice] x", "2005-12-04T04:47:44Z"); // Apache
        check("[Sun Dec 04 04:47:44.123456 2005] [core:error] x", "2005-12-04T04:47:44.123456Z");
        check("E1121 10:30:52.123456    1234 file.go:12] x", "2026-11-21T10:30:52.123456Z"); // klog
        check_none("November 21 10:30:52");
        check_none("Nov 31 10:30:52 x");
        check_none("E1121 x");
    }

    #[test]
    fn day_first() {
        let access = "203.0.113.9 - bob [10/Oct/2026:13:55:36 +0000] \"GET / HTTP/1.1\" 200 12";
        check(access, "2026-10-10T13:55:36Z");
        check(
            "2001:db8::1 - - [10/Oct/2026:13:55:36 -0700] \"GET / HTTP/1.1\" 200 1",
            "2026-10-10T20:55:36Z",
        );
        check("192.0.2.1:42 [21/Nov/2026:10:30:52.123] fe be/s1 x", "2026-11-21T10:30:52.123Z"); // HAProxy
        check("21-Nov-2026 10:30:52.123 INFO [main] x", "2026-11-21T10:30:52.123Z"); // Tomcat
        check("[21-Nov-2026 10:30:52 UTC] PHP Warning:  x", "2026-11-21T10:30:52Z");
        check("Sat, 21 Nov 2026 10:30:52 GMT x", "2026-11-21T10:30:52Z");
        check_none(&format!("{} [10/Oct/2026:13:55:36 +0000] too far", "x".repeat(BRACKET_WITHIN)));
    }

    #[test]
    fn epochs() {
        check("1700000000 x", "2023-11-14T22:13:20Z");
        check("1700000000.123 x", "2023-11-14T22:13:20.123Z");
        check("[1700000000.123] x", "2023-11-14T22:13:20.123Z");
        check("1700000000123 x", "2023-11-14T22:13:20.123Z");
        check("1700000000123456: x", "2023-11-14T22:13:20.123456Z");
        check("1795258800999999999", "2026-11-21T11:00:00.999999999Z");
        check("- 1117838570 2005.06.03 R02-M1 x", "2005-06-03T22:42:50Z");
        check_none("170000000 nine digits");
        check_none("17000000000 eleven digits");
        check_none("9700000000 far away");
        check_none("1700000000ms is no point in time");
        check_none("1700000000.example.com");
        check_none("-1700000000 x");
        check_none("#1700000000 x");
    }

    #[test]
    fn behind_a_header() {
        check("[2026-11-21 10:30:52 +0000] [7] [INFO] x", "2026-11-21T10:30:52Z"); // gunicorn
        check("\x1b[2m2026-11-21T10:30:52.1Z\x1b[0m \x1b[32m INFO\x1b[0m x", "2026-11-21T10:30:52.1Z");
        check("time=\"2026-11-21T10:30:52Z\" level=info msg=x", "2026-11-21T10:30:52Z");
        check("ts=2026-11-21T10:30:52.1Z caller=main.go:1 level=info", "2026-11-21T10:30:52.1Z");
        check("level=info ts=2026-11-21T10:30:52.1Z caller=main.go:1", "2026-11-21T10:30:52.1Z");
        check("INFO  2026-11-21 10:30:52 x", "2026-11-21T10:30:52Z");
        check("INFO: 2026-11-21 10:30:52 x", "2026-11-21T10:30:52Z");
        check("INFO  [main] 2026-11-21 10:30:52 x", "2026-11-21T10:30:52Z");
        check("WARN - [2026-11-21 10:30:52] x", "2026-11-21T10:30:52Z");
        check("web-1  | 2026-11-21 10:30:52 x", "2026-11-21T10:30:52Z"); // docker compose
        check("I, [2026-11-21T10:30:52.1 #7]  INFO -- : x", "2026-11-21T10:30:52.1Z"); // Ruby
    }

    #[test]
    fn a_time_in_a_sentence_is_not_the_lines_time() {
        check_none("backup planned for 2026-12-01 03:00:00");
        check_none("certificate (until 2026-12-01 03:00:00) renewed");
        check_none("lease expires=2026-12-01T03:00:00Z");
        check_none("key user:2026-12-01T03:00:00Z");
        check_none("file /srv/2026/11/21 10:30:52 x");
        check_none(&format!("INFO {} 2026-12-01 03:00:00", "x".repeat(HEADER_WITHIN)));
        check_none("WebSocket connection timeout");
        check_none("");
    }

    #[test]
    fn under_a_json_key() {
        check(r#"{"time":"2026-11-21T10:30:52Z","msg":"x"}"#, "2026-11-21T10:30:52Z");
        check(
            r#"{"level":"info","msg":"a \"time\": b","ts" : "2026-11-21T10:30:52Z"}"#,
            "2026-11-21T10:30:52Z",
        );
        check(r#"{"@timestamp":"2026-11-21T10:30:52.123+01:00"}"#, "2026-11-21T09:30:52.123Z");
        check(r#"{"level":30,"time":1700000000123,"pid":1}"#, "2023-11-14T22:13:20.123Z"); // pino
        check(r#"{"level":"info","ts":1700000000.123}"#, "2023-11-14T22:13:20.123Z"); // zap
        check(r#"{"t":{"$date":"2026-11-21T10:30:52.1+00:00"},"s":"I"}"#, "2026-11-21T10:30:52.1Z"); // MongoDB
        check(r#"{"time":12,"timestamp":"2026-11-21T10:30:52Z"}"#, "2026-11-21T10:30:52Z");
        check_none(r#"{"msg":"time","date":"2026-11-21T10:30:52Z"}"#);
        check_none(r#"{"msg":"2026-11-21T10:30:52Z"}"#);
        check_none(r#"{"msg":"\"#);
        check_none(r#"{"time"#);
    }

    #[test]
    fn zoneless_times_are_read_in_the_zone_of_the_input() {
        let mut times = Times::new(TimeZone::get("America/New_York").unwrap());
        let mut at = |line: &str| times.find(line.as_bytes(), NOW).map(|time| time.0);
        assert_eq!(at("2026-11-21 10:30:52 x"), Some(nanoseconds("2026-11-21T15:30:52Z")));
        assert_eq!(at("2026-07-01 10:30:52 x"), Some(nanoseconds("2026-07-01T14:30:52Z")));
        assert_eq!(at("2026-07-01 10:30:52Z x"), Some(nanoseconds("2026-07-01T10:30:52Z")));
        assert_eq!(at("Nov 21 10:30:52 x"), Some(nanoseconds("2026-11-21T15:30:52Z")));
    }

    #[test]
    fn an_origin_without_times_is_sampled_and_recovers() {
        let mut times = times();
        for _ in 0..MISSES_TO_REST {
            assert_eq!(times.find(b"no time here", NOW), None);
        }
        let line = b"2026-11-21T10:30:52Z at last";
        let found = (0..2 * REST).filter(|_| times.find(line, NOW).is_some()).count();
        assert!(found >= REST as usize, "{found}");
        // Once a place is known, it is tried for every line, however rare the timed ones are.
        for _ in 0..10 * MISSES_TO_REST {
            assert_eq!(times.find(b"\tat com.example.Main", NOW), None);
        }
        assert!(times.find(line, NOW).is_some());
        times.misses = u32::MAX;
        assert_eq!(times.find(b"no time here", NOW), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_jiff_writes_is_read_back(
            nanosecond in 0..9_000_000_000_000_000_000i64, form in 0usize..FORMATS.len(), quarter in -48i32..=56,
        ) {
            let (format, exact) = FORMATS[form];
            let nanosecond = nanosecond - nanosecond % exact;
            let offset = if format.contains("%z") || format.contains("%:z") { quarter * 900 } else { 0 };
            let zone = TimeZone::fixed(jiff::tz::Offset::from_seconds(offset).unwrap());
            let time = jiff::Timestamp::from_nanosecond(i128::from(nanosecond)).unwrap().to_zoned(zone);
            let line = format!("{} and the text", strtime::format(format, &time).unwrap());
            // A missing year is restored by a clock that is right within half a year.
            let now = Timestamp(nanosecond);
            prop_assert_eq!(times().find(line.as_bytes(), now), Some(Timestamp(nanosecond)), "{}", line);
        }

        #[test]
        fn any_bytes_are_survived(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..20)) {
            let mut times = times();
            for line in &lines {
                times.find(line, NOW);
            }
        }

        #[test]
        fn anything_like_a_time_is_survived(
            lines in prop::collection::vec("[\\[<{\"]{0,2}(time|ts|INFO)?[=: \"]{0,2}[0-9TZ:.,/ +-]{0,24}(Nov|Sun)?[ 0-9:]{0,12}", 0..20)
        ) {
            let mut times = times();
            for line in &lines {
                times.find(line.as_bytes(), NOW);
            }
        }
    }

    /// A format, and the nanoseconds of its smallest step.
    const FORMATS: [(&str, i64); 11] = [
        ("%Y-%m-%dT%H:%M:%S.%9fZ", 1),
        ("%Y-%m-%d %H:%M:%S,%3f", 1_000_000),
        ("%Y-%m-%dT%H:%M:%S.%6f%:z", 1_000),
        ("%Y-%m-%d %H:%M:%S %z", 1_000_000_000),
        ("[%Y/%m/%d %H:%M:%S]", 1_000_000_000),
        ("%b %e %H:%M:%S", 1_000_000_000),
        ("<13>%b %d %H:%M:%S", 1_000_000_000),
        ("%a %b %e %H:%M:%S %Y", 1_000_000_000),
        ("192.0.2.1 - - [%d/%b/%Y:%H:%M:%S %z]", 1_000_000_000),
        ("W%m%d %H:%M:%S.%6f", 1_000),
        ("{\"msg\":\"x\",\"time\":\"%Y-%m-%dT%H:%M:%S.%3f%:z\"}", 1_000_000),
    ];
}

//! The level of a line and its failure words.
//!
//! In: the text of one line of a template. Out: the level it was logged at, and whether it speaks of failure.
//! Both are asked once per template and not per line, so they are patterns, written to be read. Where each line is asked for
//! its level after all (by rules, and by templates whose level varies), `quick` finds nearly always what they would find.
//! A miss is cheap (a storm is seen at 100 lines instead of 20), and so is a false alarm (it is folded earlier, and
//! still counted); so the rules take what programs usually write, and leave prose alone.
//! Limit: the level is looked for in the first 256 bytes, failure words in the first 1,024.

mod quick;

use std::sync::LazyLock;

use regex::bytes::{Captures, Regex};
use serde::{Deserialize, Serialize};

/// How serious a program says its line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    /// Steps of the program.
    Trace,
    /// For its developers.
    Debug,
    /// As intended.
    Info,
    /// As intended, and worth a look.
    Notice,
    /// Something is wrong or will be.
    Warn,
    /// Something failed.
    Error,
    /// The program, or an important part of it, cannot go on.
    Fatal,
}

impl Level {
    /// The word on the wire (`log.level` of the Elastic Common Schema).
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Notice => "notice",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Fatal => "fatal",
        }
    }

    /// Whether a storm of such lines is worth an earlier look.
    pub fn is_warn_or_worse(self) -> bool {
        self >= Level::Warn
    }

    /// The level that a word means in any of the usual logging libraries, in any case.
    pub fn from_word(word: &[u8]) -> Option<Level> {
        let mut lower = [0; LONGEST_WORD];
        let lower = lower.get_mut(..word.len())?;
        lower.copy_from_slice(word);
        lower.make_ascii_lowercase();
        let level = match &*lower {
            b"trace" | b"trc" | b"trce" | b"verbose" | b"finest" | b"finer" => Level::Trace,
            b"debug" | b"dbg" | b"dbug" | b"debg" | b"fine" => Level::Debug,
            b"info" | b"inf" | b"information" | b"informational" => Level::Info,
            b"notice" | b"note" => Level::Notice,
            b"warn" | b"warning" | b"wrn" => Level::Warn,
            b"error" | b"err" | b"eror" | b"erro" | b"fail" | b"severe" => Level::Error,
            b"fatal" | b"critical" | b"crit" | b"alert" | b"emerg" | b"emergency" | b"panic" => Level::Fatal,
            _ => return None,
        };
        Some(level)
    }

    /// The numbers of pino and bunyan.
    pub fn from_number(digits: &[u8]) -> Option<Level> {
        match digits {
            b"10" => Some(Level::Trace),
            b"20" => Some(Level::Debug),
            b"30" => Some(Level::Info),
            b"40" => Some(Level::Warn),
            b"50" => Some(Level::Error),
            b"60" => Some(Level::Fatal),
            _ => None,
        }
    }

    /// The letters of klog and glog.
    fn from_letter(letter: &[u8]) -> Option<Level> {
        match letter {
            b"D" => Some(Level::Debug),
            b"I" => Some(Level::Info),
            b"W" => Some(Level::Warn),
            b"E" => Some(Level::Error),
            b"F" => Some(Level::Fatal),
            _ => None,
        }
    }

    /// The severity in a syslog priority (RFC 5424, 6.2.1).
    pub fn from_priority(digits: &[u8]) -> Option<Level> {
        let priority =
            std::str::from_utf8(digits).ok()?.parse::<u32>().ok().filter(|number| *number <= 191)?;
        Some(match priority % 8 {
            0..=2 => Level::Fatal,
            3 => Level::Error,
            4 => Level::Warn,
            5 => Level::Notice,
            6 => Level::Info,
            _ => Level::Debug,
        })
    }
}

/// The level at which `text` was logged, where it says so.
///
/// The first thing that looks like a level is the level, except that the `level` field of a JSON object is believed
/// before any word inside its message.
pub fn detect(text: &[u8]) -> Option<Level> {
    let head = &text[..text.len().min(LEVEL_WITHIN)];
    if let Some(level) = at_the_head(head).or_else(|| in_first_field(head)) {
        return Some(level);
    }
    quick::find(head).unwrap_or_else(|quick::Unsure| by_patterns(head))
}

/// The same by the patterns, which decide what a level is.
fn by_patterns(head: &[u8]) -> Option<Level> {
    let in_json = if head.trim_ascii_start().starts_with(b"{") { find_level(&JSON, head) } else { None };
    in_json.or_else(|| find_level(&ANYWHERE, head))
}

/// The levels that are no words and stand at the very start of the text: what the patterns below would find first,
/// found without them. They are variables of their templates, so each such line is asked for its own level.
fn at_the_head(text: &[u8]) -> Option<Level> {
    match text {
        [b'<', rest @ ..] => {
            let (digits, rest) = split_digits(rest, 3);
            rest.starts_with(b">").then(|| Level::from_priority(digits))?
        }
        [letter, d1, d2, d3, d4, b' ', h1, h2, b':', m1, m2, b':', s1, s2, ..] => {
            let digits = [d1, d2, d3, d4, h1, h2, m1, m2, s1, s2];
            digits.iter().all(|byte| byte.is_ascii_digit()).then(|| Level::from_letter(&[*letter]))?
        }
        _ => None,
    }
}

/// The number of a JSON object's `level` where that is its first field: what [`JSON`] would find first.
fn in_first_field(text: &[u8]) -> Option<Level> {
    let (digits, rest) = split_digits(text.strip_prefix(br#"{"level":"#)?, 2);
    let ended = rest.first().is_some_and(|byte| matches!(byte, b',' | b'}'));
    ended.then(|| Level::from_number(digits))?
}

/// At most `most` digits, and what follows them.
fn split_digits(text: &[u8], most: usize) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count())
}

/// Whether `text` speaks of failure.
pub fn speaks_of_failure(text: &[u8]) -> bool {
    let head = &text[..text.len().min(FAILURE_WITHIN)];
    FAILURE.captures_iter(head).any(|found| found.name("failure").is_some())
}

fn find_level(pattern: &Regex, text: &[u8]) -> Option<Level> {
    pattern.captures_iter(text).find_map(|found| level_of(&found))
}

fn level_of(found: &Captures<'_>) -> Option<Level> {
    let group = |name| found.name(name).map(|part| part.as_bytes());
    let word =
        group("word").or_else(|| group("tag")).or_else(|| group("capitals")).or_else(|| group("label"));
    word.and_then(Level::from_word)
        .or_else(|| group("number").and_then(Level::from_number))
        .or_else(|| group("klog").and_then(Level::from_letter))
        .or_else(|| group("priority").and_then(Level::from_priority))
}

/// The longest word that means a level: `informational`.
const LONGEST_WORD: usize = 13;
const LEVEL_WITHIN: usize = 256;
const FAILURE_WITHIN: usize = 1024;

/// The level field of a JSON object.
static JSON: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        r#"(?i)"(?:log\.?)?(?:level|lvl|severity|loglevel|log_level|levelname|severity_?text)"\s*:\s*
           (?:"(?P<word>[a-z]+)"|(?P<number>\d+)\b)"#,
    )
});

/// The ways to write a level into text.
static ANYWHERE: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        r#"
        # syslog: `<34>`
        ^<(?P<priority>\d{1,3})>
        # klog: `E1121 10:30:52`
        | ^(?P<klog>[DIWEF])\d{4}\ \d\d:\d\d:\d\d
        # logfmt: `level=error`, `lvl=eror`; also `level: error`
        | (?i:\b(?:log_?)?(?:level|lvl|severity|levelname))(?:=|:\ ?)["']?(?P<word>[A-Za-z]+)\b
        # a tag: `[warn]`, `[core:error]`, `<error>`, `|info|`
        | [\[<(|]\ ?(?:[a-z_0-9]+:)?
          (?i:(?P<tag>trace|debug|dbg|info|inf|notice|note|warn|warning|wrn|error|err|severe|fatal
                     |critical|crit|alert|emerg|panic))
          \ ?[\])>|]
        # capitals that stand free: `ERROR`, `INFO:`, also in a terminal's colours
        | (?:^|[\s\[(<|:,"'*-]|\x1b\[[0-9;]*m)
          (?P<capitals>TRACE|TRC|VERBOSE|FINEST|FINER|DEBUG|DBG|INFO|INF|NOTICE|WARN|WARNING|WRN|ERROR|ERR|EROR
                      |SEVERE|FATAL|CRITICAL|CRIT|EMERG|PANIC)
          (?:[\s\])>|:;,"'!*-]|\x1b|$)
        # a label at the head or behind a header: `error: `, `Warning: `, `app[1]: error: `, `PHP Warning:  `
        | (?:^|[\]:>|]\ |PHP\ )
          (?P<label>(?i:trace|trce|debug|dbug|info|notice|warn|warning|error|err|fail|fatal|critical|crit|panic)):
        "#,
    )
});

/// Failure words, as whole words. What only looks like one (`no errors`, `"error":null`, `failed=0`) is matched first
/// and without a name, so that it is stepped over.
static FAILURE: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        r#"(?i)
        # nothing failed: `no errors`, `without error`, `0 failed`
        \b(?:no|zero|0|without(?:\ any)?)\ (?:errors?|failures?|exceptions?|timeouts?|retries|failed|dropped)\b
        # nothing failed, as a field: `errors=0`, `"error":null`, `failed: 0`
        | \b(?:err|errors?|failures?|failed|exceptions?|timeouts?|retries|dropped)"?\ ?[=:]\ ?"?
          (?:0+(?:\.0+)?|null|nil|none|false|<nil>|\[\]|"")(?:[\s,;})\]"]|$)
        | (?P<failure>
          # it took too long
          \b(?:time[\ -]?outs?|timed[\ -]?out|deadline\ exceeded)\b
          # the other side is not there, or hung up
          | \b(?:refused|unreachable|unavailable|not\ available|unhealthy|no\ route\ to\ host|broken\ pipe)\b
          | \b(?:reset\ by|connection(?:\ was)?\ reset|connection(?:\ was)?\ (?:lost|closed)|lost\ connection)\b
          | \b(?:disconnect(?:ed|s|ion)?|closed\ unexpectedly|unexpected(?:ly)?\ (?:eof|end|clos\w+)|bad\ gateway)\b
          | \b(?:is|are|was|were|went|goes|gone|now|marked|link|state|status)\W{1,3}down\b
          # it was not let
          | \b(?:denied|rejected|throttled|too\ many\ requests|rate\ limit(?:ed)?)\b
          # something ran out
          | \b(?:exhausted|overflow(?:s|ed|ing)?|out\ of\ (?:memory|space|file\ descriptors)|no\ space\ left
               |oom|oom-?kill(?:ed|er)?)\b
          # it says so itself
          | \b(?:fail(?:s|ed|ing|ures?)?|errors?|exceptions?|fatal|panic(?:s|ked)?|abort(?:s|ed|ing)?|crash(?:es|ed|ing)?
               |killed|dead|deadlock(?:s|ed)?|corrupt(?:ed|ion)?|dropped|dropping|traceback|segfault
               |segmentation\ fault|unable\ to|could\ not|couldn't|cannot|can't)\b
          # class names (`SocketTimeoutException`) and error numbers (`ECONNREFUSED`)
          | (?-i:[a-z](?:Exception|Error|Failure|Timeout)\b)
          | (?-i:\bE(?:CONN(?:REFUSED|RESET|ABORTED)|TIMEDOUT|PIPE|HOSTUNREACH|NETUNREACH|NOTFOUND|NOSPC|NOMEM|MFILE|IO)\b)
          # it tries again
          | \b(?:retry|retries|retried|retrying|reconnect(?:s|ed|ing|ions?)?)\b
          # a 5xx answer, where a status stands
          | (?:HTTP/\d(?:\.\d)?"?|\bhttp|\bstatus(?:[\ _-]?code)?"?\ ?[=:]?)\ ?"?5\d\d\b
          )
        "#,
    )
});

/// A pattern in which spaces do not count, for bytes: `\b`, `\w` and `\d` mean ASCII.
fn compile(pattern: &str) -> Regex {
    Regex::new(&format!("(?x-u){pattern}")).expect("the pattern is a constant, and a test compiles it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn levels() {
        #[track_caller]
        fn check(text: &str, want: impl Into<Option<Level>>) {
            assert_eq!(detect(text.as_bytes()), want.into(), "{text:?}");
        }
        use Level::{Debug, Error, Fatal, Info, Notice, Trace, Warn};
        // Capitals.
        check("ERROR: Service unavailable - upstream timeout", Error);
        check("WARNING: All backend servers are down", Warn);
        check("INFO: Scaling up workers due to high load", Info);
        check("2026-11-21 10:30:52,123 WARN  [pool-1] active threads 180/200", Warn);
        check("2026-11-21 10:30:52,123 - INFO  [main:Main@774] - x", Info);
        check("ERROR:root:x", Error);
        check("\x1b[2m2026-11-21T10:30:52Z\x1b[0m \x1b[31mERROR\x1b[0m x", Error);
        check("I, [2026-11-21T10:30:52 #7]  INFO -- : x", Info);
        check("2026-11-21 10:30:52 UTC [7] FATAL:  the database system is starting up", Fatal);
        check("x **CRITICAL** y", Fatal);
        check("TRACE x", Trace);
        check("INFO retried after ERROR", Info); // the first one
        check("MAX_ERROR reached", None);
        check("GET /ERROR/x", None);
        check("ERRORS: 3", None);
        // Tags.
        check("[warn] x", Warn);
        check("2026/11/21 10:30:52 [error] 7#7: *1 upstream timed out", Error);
        check("[Sun Dec 04 04:47:44 2005] [notice] x", Notice);
        check("[Sun Dec 04 04:47:44 2005] [core:error] [pid 7] x", Error);
        check("2026-11-21T10:30:52Z 0 [Warning] [MY-010068] x", Warn);
        check("10:30:52|debug|x", Debug);
        check("[errors] x", None);
        // Fields.
        check("time=2026-11-21T10:30:52Z level=error msg=x", Error);
        check("t=2026-11-21T10:30:52Z lvl=eror msg=x", Error);
        check("level=\"warning\" msg=x", Warn);
        check("loglevel=info x", Info);
        check("severity: critical", Fatal);
        check("level=3 boss ERROR", Error); // no level, so on to the next
        check(r#"{"msg":"ERROR in chart","level":"warn"}"#, Warn);
        check(r#"{"Level": "Information"}"#, Info);
        check(r#"{"log.level":"error"}"#, Error);
        check(r#"{"severity":"NOTICE"}"#, Notice);
        check(r#"{"level":50,"time":1700000000123}"#, Error);
        check(r#"{"level":60,"time":1}"#, Fatal);
        check(r#"{"level":10,"time":1}"#, Trace);
        check(r#"{"level":501}"#, None);
        check(r#"{"msg":"WARN x"}"#, Warn);
        // klog and syslog.
        check("E1121 10:30:52.123456    1234 file.go:12] x", Error);
        check("W1121 10:30:52.123456    1234 file.go:12] x", Warn);
        check("<34>Oct 11 22:14:15 host su: 'su root' failed", Fatal);
        check("<14>x", Info);
        check("<999>x", None);
        // Labels.
        check("error: cannot open x", Error);
        check("Warning: x", Warn);
        check("fail: Microsoft.AspNetCore[1]", Error);
        check("Nov 21 10:30:52 host sshd[7]: error: x", Error);
        check("PHP Warning:  x", Warn);
        // Prose.
        check("no errors found", None);
        check("found an error: x", None);
        check("for your info, nothing to debug", None);
        check("WebSocket connection timeout", None);
        check("", None);
        check(&format!("{} ERROR", "x".repeat(LEVEL_WITHIN)), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// What is found without the patterns is what they would have found.
        #[test]
        fn shortcuts_agree_with_the_patterns(
            head in "(<[0-9]{0,4}>?|[DIWEFX][0-9]{3,5} [0-9]{1,2}:[0-9]{2}:[0-9]{2}|\\{\"level\":[0-9]{0,3}[,}x]?)",
            rest in "[ ,}a-zA-Z<>\\[\\]:\"0-9]{0,30}",
        ) {
            let text = [head.as_bytes(), rest.as_bytes()].concat();
            prop_assert_eq!(detect(&text), by_patterns(&text));
        }
    }

    #[test]
    fn failures() {
        #[track_caller]
        fn yes(text: &str) {
            assert!(speaks_of_failure(text.as_bytes()), "{text:?}");
        }
        #[track_caller]
        fn no(text: &str) {
            assert!(!speaks_of_failure(text.as_bytes()), "{text:?}");
        }
        // The incidents.
        yes("WebSocket connection timeout");
        yes("Reconnection failed after 5 attempts");
        yes("ERROR: Service unavailable - upstream timeout");
        yes("WARNING: All backend servers are down");
        yes("ERROR: Connection pool exhausted");
        yes("HikariPool-1 - Connection is not available, request timed out after 30000ms.");
        yes("connection reset by peer");
        no("INFO: Scaling up workers due to high load");
        no("active threads 180/200"); // a gauge, not a word: its level has to say it
        // Each group of words.
        yes("dial tcp 10.0.0.1:5432: connect: connection refused");
        yes("context deadline exceeded");
        yes("Time-out while reading");
        yes("write: broken pipe");
        yes("peer closed unexpectedly");
        yes(r#"{"component":"db","status":"DOWN"}"#);
        yes("Server be/s1 is DOWN, reason: Layer4");
        yes("Permission denied");
        yes("429 Too Many Requests");
        yes("java.lang.OutOfMemoryError: Java heap space");
        yes("java.net.SocketTimeoutException: x");
        yes("connect ECONNREFUSED 127.0.0.1:6379");
        yes("Traceback (most recent call last):");
        yes("thread 'main' panicked at src/main.rs:1:1");
        yes("Retrying in 5 s");
        yes("retry 3/5");
        yes("Unable to connect");
        yes("1 failed, 0 errors");
        yes("error=\"x\" errors=0");
        // 5xx, only where a status stands.
        yes(r#"10.0.0.1 - - [10/Oct/2026:13:55:36 +0000] "GET / HTTP/1.1" 503 12"#);
        yes("status=502 upstream=x");
        yes(r#"{"statusCode":500,"path":"/"}"#);
        yes("http 503");
        no(r#"10.0.0.1 - - [10/Oct/2026:13:55:36 +0000] "GET / HTTP/1.1" 200 503"#);
        no("processed 500 items in 503 ms");
        no("status=200 size=512");
        // Nothing failed.
        no("no errors found");
        no("build finished: 12 passed, 0 failed");
        no("completed without error");
        no(r#"{"msg":"done","error":null,"failed":0}"#);
        no("done errors=0 timeouts=0 err=<nil>");
        // Other words.
        no("shutting down gracefully");
        no("download of mirror list, downtime planned");
        no("failover candidate ready");
        no("terror in the mirror");
        no("");
        no(&format!("{} error", "x".repeat(FAILURE_WITHIN)));
    }

    #[test]
    fn words_on_the_wire_are_read_back() {
        use Level::{Debug, Error, Fatal, Info, Notice, Trace, Warn};
        for level in [Trace, Debug, Info, Notice, Warn, Error, Fatal] {
            assert_eq!(detect(format!("level={}", level.as_str()).as_bytes()), Some(level));
            assert_eq!(level.is_warn_or_worse(), matches!(level, Warn | Error | Fatal));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_survived(text in prop::collection::vec(any::<u8>(), 0..1200)) {
            detect(&text);
            speaks_of_failure(&text);
        }
    }
}

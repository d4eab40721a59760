//! What the languages ask of a line.

use std::sync::LazyLock;

use memchr::memmem;
use regex::bytes::Regex;

/// Whether the line begins with a space or a tab. An empty one does not.
pub(super) fn is_indented(line: &[u8]) -> bool {
    matches!(line.first(), Some(b' ' | b'\t'))
}

/// Whether there is nothing to see on the line.
pub(super) fn is_blank(line: &[u8]) -> bool {
    line.trim_ascii().is_empty()
}

/// The line without the space around it.
pub(super) fn trimmed(line: &[u8]) -> &[u8] {
    line.trim_ascii()
}

/// Whether `part` is somewhere in `line`.
pub(super) fn contains(line: &[u8], part: &[u8]) -> bool {
    memmem::find(line, part).is_some()
}

/// Whether a name that ends like those of exceptions stands on the line, with a message behind it or nothing:
/// `java.io.IOException: closed`, `TypeError: x is not a function`, `Error [ERR_HTTP2]: …`, `com.acme.Boom$Error`.
pub(super) fn names_an_error(line: &[u8]) -> bool {
    static NAMES: [LazyLock<memmem::Finder<'static>>; 3] = [
        LazyLock::new(|| memmem::Finder::new("Exception")),
        LazyLock::new(|| memmem::Finder::new("Error")),
        LazyLock::new(|| memmem::Finder::new("Throwable")),
    ];
    NAMES.iter().any(|name| {
        let ends_a_name = |at: usize| {
            let rest = line[at + name.needle().len()..].trim_ascii_end();
            rest.is_empty() || rest.starts_with(b":") || rest.starts_with(b" [") || rest.starts_with(b" {")
        };
        name.find_iter(line).any(ends_a_name)
    })
}

/// Whether a trace of any language may begin with this line. Cheap, because every line is asked and most say no.
pub(super) fn may_begin(line: &[u8]) -> bool {
    /// What every first line of a trace holds, but for the place of an error in Node. One search for all of them;
    /// only literals, which the search looks for many bytes at a time.
    static SIGNS: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(
            r"Exception|Error|Throwable|Traceback \(most|panic: |panic serving |fatal error: |goroutine ",
        )
        .ok()
    });
    // An expression that cannot be built would only cost time: a test builds it.
    let Some(signs) = SIGNS.as_ref() else { return true };
    match line {
        [b' ' | b'\t', ..] => trimmed(line).starts_with(b"at ") || contains(line, b"Traceback ("),
        [b'/' | b'n' | b'f', .., b'0'..=b'9'] => true,
        _ => signs.is_match(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_known_by_their_names() {
        #[track_caller]
        fn check(line: &str, want: bool) {
            assert_eq!(names_an_error(line.as_bytes()), want, "{line}");
        }
        check("java.io.IOException: closed", true);
        check("java.lang.NullPointerException", true);
        check("TypeError: x is not a function\r", true);
        check("Error [ERR_HTTP2_STREAM_ERROR]: Stream closed", true);
        check("[ioredis] Unhandled error event: Error: connect ECONNREFUSED 127.0.0.1:6379", true);
        check("threw exception [nested: java.lang.IllegalStateException: no] with root cause", true);
        check("Error: x {", true);
        check("0 Errors, 3 warnings", false);
        check("Exceptions happen", false);
        check("ERROR: disk is full", false);
        check("the Error was ours", false);
        check("", false);
    }

    #[test]
    fn most_lines_begin_nothing() {
        #[track_caller]
        fn check(line: &str, want: bool) {
            assert_eq!(may_begin(line.as_bytes()), want, "{line}");
        }
        check("", false);
        check("GET /orders/1 200 in 12 ms", false);
        check("    indented", false);
        check("Reconnection failed after 5 attempts", false);
        check("    at f (/app/a.js:1:2)", true);
        check("  + Exception Group Traceback (most recent call last):", true);
        check("/app/server.js:12", true);
        check("panic: boom", true);
        check("2026/02/06 00:00:00 http: panic serving 127.0.0.1:4711: boom", true);
        check("goroutine 1 [running]:", true);
        check("java.io.IOException", true);
    }
}

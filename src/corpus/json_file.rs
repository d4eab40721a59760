//! Lines as dockerd's json-file driver writes them: `{"log":"…\n","stream":"stderr","time":"…Z"}`.
//!
//! Like the original down to the byte: Go's escapes (`\u003c` for `<`, `\u2028`, `\ufffd` for *each* byte that is not
//! UTF-8), a time in UTC with as many digits as it needs, and long lines cut into pieces of 16 KiB.

use super::push_time;
use crate::engine::frame::IoStream;
use crate::units::Timestamp;

/// dockerd reads a container's output through a buffer of this many bytes; what fills it is written as one piece.
const PIECE: usize = 16 * 1024;

/// Appends `text`, one line without its newline, as one entry, or several where it does not fit into one piece.
/// Only the last piece ends with the escape `\n`. An unknown stream is left out, as dockerd does.
pub fn append(out: &mut Vec<u8>, text: &[u8], stream: IoStream, time: Timestamp) {
    let mut rest = text;
    // A text of exactly 16 KiB fills the buffer before its newline is read: an empty piece follows.
    while let Some((piece, behind)) = rest.split_at_checked(PIECE) {
        append_piece(out, piece, "", stream, time);
        rest = behind;
    }
    append_piece(out, rest, "\\n", stream, time);
}

fn append_piece(out: &mut Vec<u8>, piece: &[u8], end: &str, stream: IoStream, time: Timestamp) {
    out.extend_from_slice(b"{\"log\":\"");
    push_escaped(out, piece);
    out.extend_from_slice(end.as_bytes());
    out.extend_from_slice(match stream {
        IoStream::Unknown => b"\",\"time\":\"",
        IoStream::Stdout => b"\",\"stream\":\"stdout\",\"time\":\"",
        IoStream::Stderr => b"\",\"stream\":\"stderr\",\"time\":\"",
    });
    push_time(out, time);
    out.extend_from_slice(b"\"}\n");
}

fn push_escaped(out: &mut Vec<u8>, text: &[u8]) {
    if let Ok(valid) = std::str::from_utf8(text) {
        return push_escaped_str(out, valid);
    }
    for chunk in text.utf8_chunks() {
        push_escaped_str(out, chunk.valid());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

fn push_escaped_str(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| SUSPICIOUS[usize::from(byte)]) {
        out.extend_from_slice(&rest[..at]);
        let used = push_suspicious(out, &rest[at..]);
        rest = &rest[at + used..];
    }
    out.extend_from_slice(rest);
}

/// Writes the first character of `rest` as Go does and returns how many bytes of `rest` that took.
fn push_suspicious(out: &mut Vec<u8>, rest: &[u8]) -> usize {
    match *rest {
        [0xe2, 0x80, last @ (0xa8 | 0xa9), ..] => {
            out.extend_from_slice(if last == 0xa8 { b"\\u2028" } else { b"\\u2029" });
            return 3;
        }
        // Another character that begins like U+2028: its other bytes follow by themselves.
        [0xe2, ..] => out.push(0xe2),
        [b'\n', ..] => out.extend_from_slice(b"\\n"),
        [b'\r', ..] => out.extend_from_slice(b"\\r"),
        [quoted @ (b'"' | b'\\'), ..] => out.extend_from_slice(&[b'\\', quoted]),
        [byte, ..] => {
            out.extend_from_slice(b"\\u00");
            out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]]);
        }
        [] => return 0,
    }
    1
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The bytes that Go does not copy as they are, and the first byte of U+2028 and U+2029.
const SUSPICIOUS: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = byte < 0x20 || matches!(byte as u8, b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2);
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &[u8], stream: IoStream, time: i64) -> String {
        let mut out = Vec::new();
        append(&mut out, text, stream, Timestamp(time));
        String::from_utf8(out).expect("json-file lines are UTF-8")
    }

    #[test]
    fn a_line_looks_like_dockerds() {
        #[track_caller]
        fn check(text: &[u8], log: &str) {
            let want =
                format!("{{\"log\":\"{log}\\n\",\"stream\":\"stdout\",\"time\":\"1970-01-01T00:00:01Z\"}}\n");
            assert_eq!(written(text, IoStream::Stdout, 1_000_000_000), want);
        }
        check(b"", "");
        check(b"plain text", "plain text");
        check(b"say \"hi\" \\o/", r#"say \"hi\" \\o/"#);
        check(b"<a href=x&y>", r"\u003ca href=x\u0026y\u003e");
        check(b"\ta\rb\x1b[0m\x7f\0", "\\u0009a\\rb\\u001b[0m\x7f\\u0000"); // Go leaves DEL alone
        check("grün 猫 €".as_bytes(), "grün 猫 €"); // € begins with the same byte as U+2028
        check("\u{2028}\u{2029}\u{202a}".as_bytes(), "\\u2028\\u2029\u{202a}");
        check(b"a\xffb", r"a\ufffdb");
        check(b"\xe2\x82", r"\ufffd\ufffd"); // one for each byte, where Rust would write one for both
    }

    #[test]
    fn times_have_the_digits_they_need() {
        #[track_caller]
        fn check(nanos: i64, want: &str) {
            let line = written(b"", IoStream::Stderr, nanos);
            assert_eq!(line, format!("{{\"log\":\"\\n\",\"stream\":\"stderr\",\"time\":\"{want}\"}}\n"));
        }
        const START: i64 = 1_770_336_600_000_000_000;
        check(START, "2026-02-06T00:10:00Z");
        check(START + 500_000_000, "2026-02-06T00:10:00.5Z");
        check(START + 123_456_789, "2026-02-06T00:10:00.123456789Z");
        check(START + 1_000, "2026-02-06T00:10:00.000001Z");
        check(-1, "1969-12-31T23:59:59.999999999Z");
    }

    #[test]
    fn long_lines_are_cut() {
        #[track_caller]
        fn check(length: usize, pieces: &[usize]) {
            let lines = written(&vec![b'x'; length], IoStream::Unknown, 0);
            let logs: Vec<String> = lines
                .lines()
                .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
                .map(|line| line["log"].as_str().expect("a string").to_owned())
                .collect();
            assert_eq!(logs.iter().map(|log| log.trim_end().len()).collect::<Vec<_>>(), pieces, "{length}");
            assert!(logs.iter().rev().skip(1).all(|log| !log.ends_with('\n')) && lines.contains("\\n"));
        }
        check(PIECE - 1, &[PIECE - 1]);
        check(PIECE, &[PIECE, 0]);
        check(PIECE + 1, &[PIECE, 1]);
        check(2 * PIECE + 7, &[PIECE, PIECE, 7]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_json_parser_gives_it_back(text in any::<String>(), time in any::<i64>()) {
            let line = written(text.as_bytes(), IoStream::Stderr, time);
            prop_assert_eq!(line.matches('\n').count(), 1);
            let parsed: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            prop_assert_eq!(&parsed["log"], &serde_json::Value::from(text + "\n"));
            prop_assert_eq!(parsed["stream"].as_str(), Some("stderr"));
            let read: jiff::Timestamp = parsed["time"].as_str().expect("a string").parse().expect("a time");
            prop_assert_eq!(read.as_nanosecond(), i128::from(time));
        }

        #[test]
        fn any_bytes_make_one_line_of_json(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let line = written(&text, IoStream::Stdout, 0);
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok());
        }
    }
}

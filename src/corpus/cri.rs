//! Lines as a Kubernetes container runtime writes them: `<RFC 3339> <stdout|stderr> <P|F> text`.

use super::push_time;
use crate::engine::frame::IoStream;
use crate::units::Timestamp;

/// containerd cuts what is longer than this many bytes (`max_container_log_line_size`) into pieces.
const PIECE: usize = 16 * 1024;

/// Appends `text`, one line without its newline, as one entry, or several where it is longer than one piece; all but
/// the last say `P`. The bytes are copied as they are: a newline inside `text` would begin another entry.
/// The format has no word for an unknown stream, so that one is written as standard output.
pub fn append(out: &mut Vec<u8>, text: &[u8], stream: IoStream, time: Timestamp) {
    let mut rest = text;
    // Other than dockerd, a text of exactly one piece is not cut.
    while rest.len() > PIECE {
        let (piece, behind) = rest.split_at(PIECE);
        append_piece(out, piece, b'P', stream, time);
        rest = behind;
    }
    append_piece(out, rest, b'F', stream, time);
}

fn append_piece(out: &mut Vec<u8>, piece: &[u8], tag: u8, stream: IoStream, time: Timestamp) {
    push_time(out, time);
    out.extend_from_slice(match stream {
        IoStream::Unknown | IoStream::Stdout => b" stdout ",
        IoStream::Stderr => b" stderr ",
    });
    out.extend_from_slice(&[tag, b' ']);
    out.extend_from_slice(piece);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_looks_like_containerds() {
        #[track_caller]
        fn check(text: &[u8], stream: IoStream, want: &[u8]) {
            let mut out = Vec::new();
            append(&mut out, text, stream, Timestamp(1_770_336_600_120_000_000));
            assert_eq!(out.escape_ascii().to_string(), want.escape_ascii().to_string());
        }
        check(b"hello", IoStream::Stdout, b"2026-02-06T00:10:00.12Z stdout F hello\n");
        check(b"", IoStream::Stderr, b"2026-02-06T00:10:00.12Z stderr F \n");
        check(b"\xff\0<&>", IoStream::Unknown, b"2026-02-06T00:10:00.12Z stdout F \xff\0<&>\n");
    }

    #[test]
    fn only_longer_lines_are_cut() {
        #[track_caller]
        fn check(length: usize, entries: usize) {
            let mut out = Vec::new();
            append(&mut out, &vec![b'x'; length], IoStream::Stdout, Timestamp(0));
            assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), entries, "{length}");
        }
        check(PIECE, 1);
        check(PIECE + 1, 2);
        check(2 * PIECE, 2);
        check(2 * PIECE + 1, 3);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_pieces_make_the_text_again(
            byte in any::<u8>().prop_filter("a line has no newline", |byte| *byte != b'\n'),
            length in prop_oneof![0..5usize, PIECE - 2..PIECE + 3, 2 * PIECE - 2..3 * PIECE],
        ) {
            let text = vec![byte; length];
            let mut out = Vec::new();
            append(&mut out, &text, IoStream::Stderr, Timestamp(0));
            let heads = [&b"1970-01-01T00:00:00Z stderr P "[..], b"1970-01-01T00:00:00Z stderr F "];
            let entries: Vec<&[u8]> = out.strip_suffix(b"\n").unwrap_or(&out).split(|byte| *byte == b'\n').collect();
            let mut joined = Vec::new();
            for (index, entry) in entries.iter().enumerate() {
                let head = heads[usize::from(index + 1 == entries.len())];
                prop_assert!(entry.starts_with(head) && entry.len() <= head.len() + PIECE);
                joined.extend_from_slice(&entry[head.len()..]);
            }
            prop_assert_eq!(joined, text);
        }
    }
}

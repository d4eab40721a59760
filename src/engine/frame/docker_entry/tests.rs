//! Frames of the logging driver as lines, and the laws that hold whatever the bytes are.

use proptest::prelude::*;

use super::super::{Format, Framer};
use super::*;
use crate::engine::line::Limits;
use crate::engine::line::join::Joiner;
use crate::units::{Monotonic, Now};

/// A field of a protobuf message: a length and bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2][..], &varint(bytes.len() as u64), bytes].concat()
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A frame as dockerd makes it; `piece` is its id, ordinal, and whether it is the last.
fn frame(stream: &str, time: u64, line: &[u8], piece: Option<(&str, u64, bool)>) -> Vec<u8> {
    let mut body = field(1, stream.as_bytes());
    body.extend([b"\x10".as_slice(), &varint(time)].concat());
    body.extend(field(3, line));
    if let Some((id, ordinal, last)) = piece {
        let last: &[u8] = if last { b"\x08\x01" } else { b"" };
        body.extend(b"\x20\x01");
        body.extend(field(5, &[last, &field(2, id.as_bytes()), b"\x18", &varint(ordinal)].concat()));
    }
    [&(body.len() as u32).to_be_bytes()[..], &body].concat()
}

/// The lines that come out when these pieces go in and the FIFO ends, and how much was skipped.
fn lines_of(length_max: usize, pieces: &[&[u8]]) -> (Vec<String>, u64) {
    let mut framer = Framer::new(Format::DockerEntry, length_max);
    let mut joiner = Joiner::new(Limits { length_max, ..Limits::default() });
    let now = Now { arrival: Monotonic(0), wall: Timestamp(0) };
    let (mut shown, mut offset) = (Vec::new(), 0);
    let mut sink = |frame: Frame<'_>| {
        joiner.push(frame, now, &mut |line| {
            let cut = line
                .truncated
                .map_or(String::new(), |cut| format!(" cut from {} {:x}", cut.length, cut.xxh3));
            let complete = if line.complete { "" } else { " incomplete" };
            let text = line.text.escape_ascii();
            shown.push(format!("{} {:?} @{} {text}{cut}{complete}", line.offset, line.stream, line.time.0));
        });
    };
    for piece in pieces {
        framer.push(piece, offset, &mut sink);
        offset += piece.len() as u64;
    }
    framer.end_of_file(&mut sink);
    (shown, framer.take_skipped().0)
}

#[test]
fn lines_of_frames() {
    #[track_caller]
    fn check(frames: &[&[u8]], want: &[&str], skipped: u64) {
        let (shown, lost) = lines_of(1 << 20, &[&frames.concat()]);
        // Where a frame stands is told by another test.
        let shown: Vec<_> = shown.iter().map(|line| line.split_once(' ').unwrap().1).collect();
        assert_eq!((shown.as_slice(), lost), (want, skipped));
    }
    let whole = |text: &str| frame("stdout", 1, text.as_bytes(), None);
    let part =
        |text: &str, id: &str, ordinal, last| frame("stdout", 1, text.as_bytes(), Some((id, ordinal, last)));
    check(&[&whole("a"), &frame("stderr", 2, b"b\r", None)], &["Stdout @1 a", "Stderr @2 b\\r"], 0);
    check(&[&whole("")], &["Stdout @1 "], 0);
    check(&[b"", &[0, 0]], &[], 2);
    // Dockerd was killed in the middle of a long frame, and what came after it is shorter than its rest.
    let torn = &whole(&"x".repeat(500))[..100];
    check(
        &[&whole("a"), torn, &whole("b"), &whole("c"), &torn[..9]],
        &["Stdout @1 a", "Stdout @1 b", "Stdout @1 c"],
        109,
    );
    // Pieces: joined by id, the other stream between them.
    let (first, second) = (part("he", "x", 1, false), part("llo", "x", 2, true));
    check(&[&first, &second, &whole("b")], &["Stdout @1 hello", "Stdout @1 b"], 0);
    check(&[&first, &frame("stderr", 2, b"b", None), &second], &["Stderr @2 b", "Stdout @1 hello"], 0);
    // A line of exactly 16 KiB has an empty last piece.
    let full = "x".repeat(16_384);
    check(&[&part(&full, "x", 1, false), &part("", "x", 2, true)], &[&format!("Stdout @1 {full}")], 0);
    // The last line without its newline.
    check(&[&whole("a"), &first], &["Stdout @1 a", "Stdout @1 he incomplete"], 0);
    // The rest of the line does not come: something else does.
    check(&[&first, &whole("b")], &["Stdout @1 he incomplete", "Stdout @1 b"], 0);
    check(&[&first, &part("b", "y", 1, true)], &["Stdout @1 he incomplete", "Stdout @1 b"], 0);
    check(&[&first, &part("b", "x", 3, true)], &["Stdout @1 he incomplete", "Stdout @1 b incomplete"], 0);
    check(&[&second], &["Stdout @1 llo incomplete"], 0);
    // Before Docker 18 nothing says which line a piece is of.
    let nameless = |text: &[u8]| {
        let body = [field(1, b"stdout"), b"\x10\x01".to_vec(), field(3, text), b"\x20\x01".to_vec()].concat();
        [&(body.len() as u32).to_be_bytes()[..], &body].concat()
    };
    check(
        &[&nameless(b"a"), &nameless(b"b"), &whole("c"), &whole("d")],
        &["Stdout @1 abc", "Stdout @1 d"],
        0,
    );
    // Garbage before, between and behind; a frame that was torn.
    check(&[b"xyz", &whole("a"), b"\0\0\0", &whole("b"), b"zz"], &["Stdout @1 a", "Stdout @1 b"], 8);
    check(&[&whole("torn")[..10], &whole("a"), &whole("b")], &["Stdout @1 a", "Stdout @1 b"], 10);
}

#[test]
fn fault_069_reading_may_begin_anywhere() {
    let frames: Vec<Vec<u8>> =
        (0..40).map(|n| frame("stdout", n + 1, format!("line {n}").as_bytes(), None)).collect();
    let bytes = frames.concat();
    let mut boundary = 0;
    for (index, frame) in frames.iter().enumerate() {
        for start in boundary + 1..boundary + frame.len() {
            let (shown, skipped) = lines_of(100, &[&bytes[start..]]);
            assert_eq!(shown.len(), frames.len() - index - 1, "from {start}");
            assert_eq!(skipped as usize, boundary + frame.len() - start, "from {start}");
        }
        boundary += frame.len();
    }
}

#[test]
fn long_lines_are_cut_and_places_kept() {
    let long = frame("stderr", 7, b"abcdefgh", None);
    let (shown, _) = lines_of(3, &[&long, &long]);
    let cut = format!("Stderr @7 abc cut from 8 {:x}", xxh3_64(b"abcdefgh"));
    assert_eq!(shown, [format!("0 {cut}"), format!("{} {cut}", long.len())]);
}

#[test]
fn a_frame_of_the_largest_size_is_whole_and_a_larger_one_none() {
    let text = vec![b'x'; entry::BODY_MAX - 14];
    let largest = frame("stdout", 1, &text, None);
    assert_eq!(largest.len(), FRAME_MAX);
    assert_eq!((lines_of(9, &[&largest]).0.len(), whole(&largest)), (1, FRAME_MAX));
    let larger = frame("stdout", 1, &[&text[..], b"x"].concat(), None);
    assert_eq!(lines_of(9, &[&larger]), (Vec::new(), larger.len() as u64));
}

#[test]
fn after_a_restart_pieces_go_on_with_what_is_held() {
    #[track_caller]
    fn check(next: &[u8], want: &[(&str, bool, bool)]) {
        let mut framer = Framer::new(Format::DockerEntry, 100);
        framer.inherit(IoStream::Stdout);
        let mut shown = Vec::new();
        framer.push(next, 50, &mut |frame: Frame<'_>| {
            shown.push((String::from_utf8_lossy(frame.text).into_owned(), frame.partial, frame.complete));
        });
        let shown: Vec<_> =
            shown.iter().map(|(text, partial, complete)| (text.as_str(), *partial, *complete)).collect();
        assert_eq!(shown, want);
    }
    check(&frame("stdout", 1, b"llo", Some(("x", 2, true))), &[("llo", false, true)]);
    check(&frame("stdout", 1, b"llo", Some(("x", 2, false))), &[("llo", true, true)]);
    // The rest never came.
    check(&frame("stdout", 1, b"he", Some(("y", 1, false))), &[("", false, false), ("he", true, true)]);
    check(&frame("stdout", 1, b"b", None), &[("", false, false), ("b", false, true)]);
    check(&frame("stderr", 1, b"b", None), &[("b", false, true)]);
}

#[test]
fn lines_can_be_counted_alone() {
    let part = |ordinal, last| frame("stdout", 1, b"x", Some(("x", ordinal, last)));
    let bytes =
        [&part(1, false)[..], b"zz", &part(2, true), &frame("stderr", 1, b"y", None), b"\0\0"].concat();
    assert_eq!((lines(&bytes), lines(b"zz"), lines(b"")), (2, 0, 0));
    assert_eq!(
        (begun(&bytes), begun(&bytes[..4]), begun(&bytes[..3]), begun(b"zz")),
        (part(1, false).len(), part(1, false).len(), 0, 0)
    );
}

fn fifo() -> impl Strategy<Value = Vec<u8>> {
    let text = proptest::collection::vec(any::<u8>(), 0..30);
    let piece = proptest::option::of((proptest::sample::select(vec!["x", "y"]), 0..4u64, any::<bool>()));
    let stream = proptest::sample::select(vec!["stdout", "stderr", "stdlog"]);
    let whole = (stream, any::<u64>(), text, piece)
        .prop_map(|(stream, time, text, piece)| frame(stream, time, &text, piece));
    let torn = (whole.clone(), any::<proptest::sample::Index>())
        .prop_map(|(frame, end)| frame[..end.index(frame.len())].to_vec());
    let part = prop_oneof![4 => whole, 1 => torn, 1 => proptest::collection::vec(any::<u8>(), 0..20)];
    proptest::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn cuts_do_not_matter(
        fifo in fifo(),
        length_max in proptest::sample::select(vec![0, 7, 1_000]),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(fifo.len() + 1)).collect();
        cuts.sort_unstable();
        let starts = [0].into_iter().chain(cuts.iter().copied());
        let ends = cuts.iter().copied().chain([fifo.len()]);
        let pieces: Vec<_> = starts.zip(ends).map(|(start, end)| &fifo[start..end]).collect();
        prop_assert_eq!(lines_of(length_max, &pieces), lines_of(length_max, &[&fifo]));
        let bytes: Vec<_> = fifo.chunks(1).collect();
        prop_assert_eq!(lines_of(length_max, &bytes), lines_of(length_max, &[&fifo]));
    }

    /// Whoever takes whole frames, and is killed, goes on behind them as if nothing had happened.
    #[test]
    fn whole_frames_may_be_taken_apart(fifo in fifo(), cut in any::<proptest::sample::Index>()) {
        let frames = |parts: &[&[u8]]| {
            let mut seen = Vec::new();
            for part in parts {
                // A new one for each: nothing is remembered.
                let mut sink = |frame: Frame<'_>| seen.push((frame.time, frame.text.to_vec()));
                let mut framer = Framer::new(Format::DockerEntry, 100);
                framer.push(part, 0, &mut sink);
                framer.end_of_file(&mut sink);
            }
            seen.retain(|(_, text)| !text.is_empty()); // the ends of lines whose pieces are missing
            seen
        };
        let (head, tail) = fifo.split_at(whole(&fifo[..cut.index(fifo.len() + 1)]));
        prop_assert_eq!(frames(&[head, tail]), frames(&[&fifo]));
    }

    /// Every byte is in a frame, or is counted.
    #[test]
    fn garbage_is_counted(bytes in proptest::collection::vec(prop_oneof![Just(0), Just(6), Just(10), any::<u8>()], 0..300)) {
        let (shown, skipped) = lines_of(50, &[&bytes]);
        prop_assert!(!shown.is_empty() || skipped == bytes.len() as u64);
    }
}

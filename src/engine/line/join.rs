//! Joins the pieces into which a container runtime cut a line.
//!
//! In: the frames of one origin, in order. Out: one [`Line`] for each line that a program wrote.
//! Invariant: the pieces of one standard stream never meet those of another, and bytes are joined before anybody
//! decodes them, so a character that was cut in two is whole again.
//! Limit: a standard stream holds at most `length_max` bytes of text and the envelope of its first piece; what is
//! longer is counted and hashed. Nothing is held longer than the pieces take: no timer glues or splits.
//! Not here: undoing the envelope (`engine::frame`).

use xxhash_rust::xxh3::Xxh3;

use super::clock::Clock;
use super::time::Times;
use super::{Limits, Line};
use crate::engine::frame::{Frame, IoStream, Truncated};
use crate::units::{Bytes, Lines, Now, Timestamp};

/// Joins the frames of one origin into lines, and tells each line's time.
#[derive(Debug)]
pub struct Joiner {
    length_max: usize,
    times: Times,
    unknown: Stream,
    stdout: Stream,
    stderr: Stream,
}

impl Joiner {
    /// A joiner that holds nothing yet.
    pub fn new(limits: Limits) -> Joiner {
        Joiner {
            length_max: limits.length_max,
            times: Times::new(limits.timezone),
            unknown: Stream::default(),
            stdout: Stream::default(),
            stderr: Stream::default(),
        }
    }

    /// Takes the next frame of the origin; `sink` gets the line that it completes, if it completes one.
    ///
    /// A frame whose envelope is broken is a line of its own: nobody knows what it would continue, and the pieces
    /// that are held keep waiting for their real end.
    #[inline]
    pub fn push(&mut self, frame: Frame<'_>, now: Now, sink: &mut impl FnMut(Line<'_>)) {
        let Joiner { length_max, times, unknown, stdout, stderr } = self;
        let stream = match frame.stream {
            IoStream::Unknown => unknown,
            IoStream::Stdout => stdout,
            IoStream::Stderr => stderr,
        };
        if frame.parse_error.is_some() || (!frame.partial && stream.held.is_none()) {
            sink(line(capped(frame, *length_max), times, &mut stream.clock, now));
            return;
        }
        let held = stream.held.get_or_insert_with(|| Box::new(Held::starting_with(&frame)));
        held.append(&frame, *length_max);
        if !frame.partial {
            sink(held_line(held.as_frame(frame.stream), times, &mut stream.clock, now));
            stream.held = None;
        }
    }

    /// Sends what is held as it is, with `complete: false`: the rest will never come.
    pub fn flush(&mut self, now: Now, sink: &mut impl FnMut(Line<'_>)) {
        let Joiner { length_max: _, times, unknown, stdout, stderr } = self;
        for (name, stream) in
            [(IoStream::Unknown, unknown), (IoStream::Stdout, stdout), (IoStream::Stderr, stderr)]
        {
            if let Some(mut held) = stream.held.take() {
                held.complete = false;
                sink(held_line(held.as_frame(name), times, &mut stream.clock, now));
            }
        }
    }

    /// The number of lines of which only pieces have come so far: at most one for each standard stream.
    pub fn held_lines(&self) -> Lines {
        self.held().map(|_| Lines(1)).sum()
    }

    /// Whether pieces of a line of this standard stream are held.
    pub fn holds(&self, name: IoStream) -> bool {
        self.stream(name).held.is_some()
    }

    /// The memory that those pieces take.
    pub fn held_bytes(&self) -> Bytes {
        self.held().map(|held| Bytes(held.size() as u64)).sum()
    }

    fn held(&self) -> impl Iterator<Item = &Held> {
        [&self.unknown, &self.stdout, &self.stderr].into_iter().filter_map(|stream| stream.held.as_deref())
    }

    pub(super) fn stream(&self, name: IoStream) -> &Stream {
        match name {
            IoStream::Unknown => &self.unknown,
            IoStream::Stdout => &self.stdout,
            IoStream::Stderr => &self.stderr,
        }
    }

    pub(super) fn stream_mut(&mut self, name: IoStream) -> &mut Stream {
        match name {
            IoStream::Unknown => &mut self.unknown,
            IoStream::Stdout => &mut self.stdout,
            IoStream::Stderr => &mut self.stderr,
        }
    }
}

/// What is known of one standard stream. Held pieces are boxed because most origins never have any.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) clock: Clock,
    pub(super) held: Option<Box<Held>>,
    /// How much was held when it was last asked for.
    pub(super) told: Option<Extent>,
}

/// Where the held pieces begin, and how many there are.
pub(super) type Extent = (u64, u32);

/// The pieces of a line whose end has not come yet.
#[derive(Debug, Default)]
pub struct Held {
    /// The first bytes of the line, at most `length_max`.
    pub(super) text: Vec<u8>,
    /// The envelope time, the place and the extra of the first piece: they are the line's.
    pub(super) time: Option<Timestamp>,
    pub(super) offset: u64,
    pub(super) extra: Vec<u8>,
    /// Whether every piece so far was whole.
    pub(super) complete: bool,
    /// Once the line is longer than `text`. From then on nothing is appended, or the text would have a hole.
    pub(super) overflow: Option<Overflow>,
    /// How many there are.
    pub(super) pieces: u32,
}

impl Held {
    /// An empty line that begins where `first` does.
    fn starting_with(first: &Frame<'_>) -> Held {
        let mut held = Held::default();
        held.begin(first);
        held
    }

    /// Begins anew, empty, where `first` does.
    pub(super) fn begin(&mut self, first: &Frame<'_>) {
        self.forget();
        self.extra.extend_from_slice(first.extra);
        self.time = first.time;
        self.offset = first.offset;
        self.complete = true;
        self.pieces = 0;
    }

    /// Forgets the pieces and keeps their memory, unless that is more than most lines need.
    pub(super) fn forget(&mut self) {
        const KEPT_MAX: usize = 16 * 1024;
        self.overflow = None;
        for bytes in [&mut self.text, &mut self.extra] {
            bytes.clear();
            bytes.shrink_to(KEPT_MAX);
        }
    }

    /// Bytes of memory behind the pieces.
    pub fn size(&self) -> usize {
        self.text.capacity() + self.extra.capacity()
    }

    pub(super) fn extent(&self) -> Extent {
        (self.offset, self.pieces)
    }

    pub(super) fn append(&mut self, piece: &Frame<'_>, length_max: usize) {
        self.pieces = self.pieces.wrapping_add(1);
        self.complete &= piece.complete;
        let room = length_max.saturating_sub(self.text.len());
        if self.overflow.is_none() && piece.truncated.is_none() && piece.text.len() <= room {
            self.keep(piece.text, length_max);
            return;
        }
        let was_whole = self.overflow.is_none();
        self.overflow.get_or_insert_with(|| Overflow::behind(&self.text)).append(piece);
        if was_whole {
            self.keep(&piece.text[..piece.text.len().min(room)], length_max);
        }
    }

    /// Grows by doubling like a `Vec`, but never past `length_max`.
    fn keep(&mut self, bytes: &[u8], length_max: usize) {
        if self.text.capacity() - self.text.len() < bytes.len() {
            let room = length_max.saturating_sub(self.text.len());
            self.text.reserve_exact(bytes.len().max(self.text.len()).min(room));
        }
        self.text.extend_from_slice(bytes);
    }

    /// The line as if the runtime had never cut it.
    pub(super) fn as_frame(&self, stream: IoStream) -> Frame<'_> {
        Frame {
            text: &self.text,
            time: self.time,
            stream,
            partial: false,
            complete: self.complete,
            extra: &self.extra,
            parse_error: None,
            truncated: self.overflow.as_ref().map(Overflow::truncated),
            offset: self.offset,
        }
    }
}

/// Length and hash of a line that is longer than what is kept of it.
pub(super) struct Overflow {
    pub(super) length: u64,
    pub(super) hash: Xxh3,
    /// The hash that the framer made, while its frame is all there is of the line.
    pub(super) sole: Option<u64>,
}

impl Overflow {
    fn behind(text: &[u8]) -> Overflow {
        let mut hash = Xxh3::new();
        hash.update(text);
        Overflow { length: text.len() as u64, hash, sole: None }
    }

    /// Adds a piece. One that the framer cut already has bytes that nobody can hash any more: its own hash stands in
    /// for all of them, so the sum still tells two different lines apart, and its length is exact.
    fn append(&mut self, piece: &Frame<'_>) {
        match piece.truncated {
            Some(cut) => {
                self.sole = (self.length == 0).then_some(cut.xxh3);
                self.hash.update(&cut.xxh3.to_le_bytes());
                self.length = self.length.saturating_add(cut.length);
            }
            None if piece.text.is_empty() => {}
            None => {
                self.sole = None;
                self.hash.update(piece.text);
                self.length = self.length.saturating_add(piece.text.len() as u64);
            }
        }
    }

    fn truncated(&self) -> Truncated {
        Truncated { length: self.length, xxh3: self.sole.unwrap_or_else(|| self.hash.digest()) }
    }
}

impl std::fmt::Debug for Overflow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.truncated().fmt(f)
    }
}

/// Cuts a text that came in one piece and is still too long (escapes and envelopes have their own allowance).
#[inline]
fn capped(frame: Frame<'_>, length_max: usize) -> Frame<'_> {
    if frame.text.len() <= length_max {
        return frame;
    }
    let mut whole = Overflow::behind(b"");
    whole.append(&frame);
    Frame { text: &frame.text[..length_max], truncated: Some(whole.truncated()), ..frame }
}

/// [`line`] for what was held, where a call more does not matter.
#[inline(never)]
fn held_line<'a>(frame: Frame<'a>, times: &mut Times, clock: &mut Clock, now: Now) -> Line<'a> {
    line(frame, times, clock, now)
}

/// Gives a joined frame its times. Always part of its caller: a frame and a line are 100 bytes each, and copying them
/// through memory cost 5 % of a storm.
#[inline(always)]
fn line<'a>(frame: Frame<'a>, times: &mut Times, clock: &mut Clock, now: Now) -> Line<'a> {
    // Not `or_else`: with its closure it became a call of its own for each line.
    let own = match frame.time {
        Some(time) => Some(time),
        None => times.find(frame.text, now.wall),
    };
    Line {
        text: frame.text,
        time: own.unwrap_or(now.wall),
        log_time: clock.log_time(own, now),
        stream: frame.stream,
        complete: frame.complete && !frame.partial,
        extra: frame.extra,
        parse_error: frame.parse_error,
        truncated: frame.truncated,
        offset: frame.offset,
        lines: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Monotonic;
    use proptest::prelude::*;
    use xxhash_rust::xxh3::xxh3_64;

    const NOW: Now = Now { arrival: Monotonic(0), wall: Timestamp(1_795_258_800 * Timestamp::SECOND) };

    /// A whole frame on standard output.
    fn frame(text: &[u8]) -> Frame<'_> {
        Frame {
            text,
            time: None,
            stream: IoStream::Stdout,
            partial: false,
            complete: true,
            extra: b"",
            parse_error: None,
            truncated: None,
            offset: 0,
        }
    }

    /// A frame that the runtime cut.
    fn piece(text: &[u8]) -> Frame<'_> {
        Frame { partial: true, ..frame(text) }
    }

    /// A frame of which the framer kept only the first bytes.
    fn cut(text: &[u8], length: usize) -> Frame<'_> {
        Frame { truncated: Some(truncated(text)), ..frame(&text[..length]) }
    }

    fn truncated(whole: &[u8]) -> Truncated {
        Truncated { length: whole.len() as u64, xxh3: xxh3_64(whole) }
    }

    fn joiner(length_max: usize) -> Joiner {
        Joiner::new(Limits { length_max, ..Limits::default() })
    }

    /// A line that outlives its frames.
    #[derive(Clone, Debug, PartialEq)]
    struct Joined {
        text: Vec<u8>,
        stream: IoStream,
        complete: bool,
        truncated: Option<Truncated>,
        offset: u64,
        extra: Vec<u8>,
        time: Timestamp,
    }

    fn keep(lines: &mut Vec<Joined>) -> impl FnMut(Line<'_>) {
        |line| {
            lines.push(Joined {
                text: line.text.to_vec(),
                stream: line.stream,
                complete: line.complete,
                truncated: line.truncated,
                offset: line.offset,
                extra: line.extra.to_vec(),
                time: line.time,
            });
        }
    }

    fn lines(joiner: &mut Joiner, frames: &[Frame<'_>]) -> Vec<Joined> {
        let mut lines = Vec::new();
        for frame in frames {
            joiner.push(*frame, NOW, &mut keep(&mut lines));
        }
        lines
    }

    /// What comes out at a `length_max` of 8, end of input included.
    #[track_caller]
    fn check(frames: &[Frame<'_>], want: &[(&[u8], Option<Truncated>)]) {
        let mut joiner = joiner(8);
        let mut got = lines(&mut joiner, frames);
        joiner.flush(NOW, &mut keep(&mut got));
        let got: Vec<_> = got.iter().map(|line| (line.text.as_slice(), line.truncated)).collect();
        assert_eq!(got, want);
        assert_eq!((joiner.held_lines(), joiner.held_bytes()), (Lines(0), Bytes(0)));
    }

    #[test]
    fn pieces_become_one_line() {
        check(&[], &[]);
        check(&[frame(b"")], &[(b"", None)]);
        check(&[frame(b"a"), frame(b"b")], &[(b"a", None), (b"b", None)]);
        check(&[piece(b"a"), piece(b"b"), frame(b"c"), frame(b"d")], &[(b"abc", None), (b"d", None)]);
        check(&[piece(b"a"), frame(b"")], &[(b"a", None)]);
        check(&[piece(b""), frame(b"")], &[(b"", None)]);
        check(&[piece(b"a")], &[(b"a", None)]);
    }

    #[test]
    fn a_long_line_keeps_its_first_bytes_and_says_so() {
        check(&[frame(b"12345678")], &[(b"12345678", None)]);
        check(&[frame(b"123456789")], &[(b"12345678", Some(truncated(b"123456789")))]);
        check(&[piece(b"1234"), frame(b"5678")], &[(b"12345678", None)]);
        check(&[piece(b"12345"), frame(b"6789")], &[(b"12345678", Some(truncated(b"123456789")))]);
        check(&[piece(b"123456789"), frame(b"")], &[(b"12345678", Some(truncated(b"123456789")))]);
        check(
            &[piece(b"12345678"), piece(b"9"), frame(b"0")],
            &[(b"12345678", Some(truncated(b"1234567890")))],
        );
    }

    #[test]
    fn a_frame_that_is_cut_already_joins_too() {
        let whole: &[u8] = b"123456789";
        check(&[cut(whole, 8)], &[(b"12345678", Some(truncated(whole)))]);
        check(&[cut(whole, 9)], &[(b"12345678", Some(truncated(whole)))]);
        let cut_piece = Frame { partial: true, ..cut(whole, 8) };
        check(&[cut_piece, frame(b"")], &[(b"12345678", Some(truncated(whole)))]);
        check(&[piece(b""), cut(whole, 3), frame(b"x")], &[(b"123", Some(truncated(whole))), (b"x", None)]);

        // Bytes are missing between what is kept and what follows, so nothing more is kept; the length is exact.
        let got = lines(&mut joiner(8), &[Frame { partial: true, ..cut(whole, 3) }, frame(b"abc")]);
        assert_eq!((got[0].text.as_slice(), got[0].truncated.map(|cut| cut.length)), (&b"123"[..], Some(12)));
        let other = lines(&mut joiner(8), &[Frame { partial: true, ..cut(b"123x56789", 3) }, frame(b"abc")]);
        assert_ne!(got[0].truncated, other[0].truncated, "the hash tells them apart");
        let got = lines(&mut joiner(8), &[piece(b"ab"), cut(whole, 8)]);
        assert_eq!(
            (got[0].text.as_slice(), got[0].truncated.map(|cut| cut.length)),
            (&b"ab123456"[..], Some(11))
        );
    }

    #[test]
    fn a_joined_line_is_where_and_when_its_first_piece_is() {
        let time = |seconds| Some(Timestamp(seconds * Timestamp::SECOND));
        let first = Frame { time: time(5), offset: 100, extra: br#"{"attrs":{}}"#, ..piece(b"a") };
        let last = Frame { time: time(6), offset: 200, extra: b"{}", ..frame(b"b") };
        let got = lines(&mut joiner(8), &[first, last]);
        let want = (100, &br#"{"attrs":{}}"#[..], Timestamp(5 * Timestamp::SECOND));
        assert_eq!((got[0].offset, got[0].extra.as_slice(), got[0].time), want);
    }

    #[test]
    fn a_time_comes_from_the_envelope_else_the_text_else_the_clock() {
        let mut joiner = joiner(64);
        let text = b"1700000000 x";
        let envelope = Frame { time: Some(Timestamp(7)), ..frame(text) };
        let got =
            lines(&mut joiner, &[envelope, frame(text), frame(b"x"), piece(b"17000"), frame(b"00001 x")]);
        let times: Vec<_> = got.iter().map(|line| line.time).collect();
        let at = |seconds: i64| Timestamp(seconds * Timestamp::SECOND);
        assert_eq!(times, [Timestamp(7), at(1_700_000_000), NOW.wall, at(1_700_000_001)]);
    }

    #[test]
    fn a_broken_envelope_stands_alone_and_disturbs_nothing() {
        let broken = Frame { parse_error: Some("no log"), stream: IoStream::Unknown, ..frame(b"{") };
        let same_stream = Frame { parse_error: Some("no log"), partial: true, ..frame(b"{") };
        let got = lines(&mut joiner(8), &[piece(b"a"), broken, same_stream, frame(b"b")]);
        let got: Vec<_> = got.iter().map(|line| (line.text.as_slice(), line.complete)).collect();
        assert_eq!(got, [(&b"{"[..], true), (b"{", false), (b"ab", true)]);
    }

    #[test]
    fn fault_025_a_piece_without_its_end_is_incomplete() {
        let mut joiner = joiner(8);
        let unfinished = Frame { complete: false, ..frame(b"tail") };
        assert!(!lines(&mut joiner, &[unfinished])[0].complete);
        assert!(!lines(&mut joiner, &[piece(b"a"), Frame { complete: false, ..frame(b"b") }])[0].complete);
        assert_eq!(lines(&mut joiner, &[piece(b"held")]), []);
        assert_eq!((joiner.held_lines(), joiner.held_bytes()), (Lines(1), Bytes(4)));
        let mut flushed = Vec::new();
        joiner.flush(NOW, &mut keep(&mut flushed));
        assert_eq!((flushed[0].text.as_slice(), flushed[0].complete), (&b"held"[..], false));
        assert!(lines(&mut joiner, &[frame(b"next")])[0].complete);
    }

    #[test]
    fn fault_026_an_endless_line_takes_bounded_memory() {
        let mut joiner = joiner(100_000);
        let chunk = [b'a'; 16 * 1024];
        for _ in 0..1000 {
            assert_eq!(lines(&mut joiner, &[piece(&chunk)]), []);
            assert!(joiner.held_bytes() <= Bytes(100_000), "{:?}", joiner.held_bytes());
        }
        let got = lines(&mut joiner, &[frame(b"end"), frame(b"next")]);
        let whole = [chunk.repeat(1000), b"end".to_vec()].concat();
        assert_eq!((got[0].text.len(), got[0].truncated), (100_000, Some(truncated(&whole))));
        assert_eq!((got[1].text.as_slice(), got[1].truncated), (&b"next"[..], None));
    }

    #[test]
    fn fault_027_docker_pieces_of_16_kib() {
        let text: Vec<u8> = (0..100_000u32).map(|at| b'a' + (at % 26) as u8).collect();
        let mut frames: Vec<_> = text.chunks(16 * 1024).map(piece).collect();
        frames.push(frame(b""));
        let got = lines(&mut joiner(1 << 20), &frames);
        assert_eq!(got.len(), 1);
        assert!(got[0].text == text && got[0].truncated.is_none() && got[0].complete);
    }

    #[test]
    fn fault_028_streams_that_take_turns() {
        let stderr = |frame: Frame<'static>| Frame { stream: IoStream::Stderr, ..frame };
        let unknown = |frame: Frame<'static>| Frame { stream: IoStream::Unknown, ..frame };
        let frames =
            [piece(b"out"), stderr(frame(b"err")), unknown(piece(b"?")), stderr(piece(b"e")), frame(b"put")];
        let mut joiner = joiner(64);
        let mut got = lines(&mut joiner, &frames);
        assert_eq!(joiner.held_lines(), Lines(2));
        joiner.flush(NOW, &mut keep(&mut got));
        let got: Vec<_> = got.iter().map(|line| (line.text.as_slice(), line.stream, line.complete)).collect();
        let want: [(&[u8], _, _); 4] = [
            (b"err", IoStream::Stderr, true),
            (b"output", IoStream::Stdout, true),
            (b"?", IoStream::Unknown, false),
            (b"e", IoStream::Stderr, false),
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn fault_029_a_character_cut_in_two_is_whole_again() {
        let text = ["a".repeat(16_383).as_bytes(), "方".as_bytes()].concat();
        let (head, tail) = text.split_at(16 * 1024);
        assert!(std::str::from_utf8(head).is_err());
        assert_eq!(lines(&mut joiner(1 << 20), &[piece(head), frame(tail)])[0].text, text);
    }

    #[test]
    fn fault_034_empty_and_blank_lines_are_lines() {
        let got =
            lines(&mut joiner(8), &[frame(b""), frame(b" \t"), frame(b"\r"), piece(b"a"), frame(b"\r")]);
        let got: Vec<_> = got.iter().map(|line| line.text.as_slice()).collect();
        assert_eq!(got, [&b""[..], b" \t", b"\r", b"a\r"]);
    }

    #[test]
    fn fault_035_far_future_lines_are_shown_as_found_and_clamped_for_windows() {
        let future = Timestamp(NOW.wall.0 + 86_400 * Timestamp::SECOND);
        let mut joiner = joiner(8);
        let mut seen = Vec::new();
        let mut note = |line: Line<'_>| seen.push((line.time, line.log_time));
        joiner.push(Frame { time: Some(future), ..frame(b"x") }, NOW, &mut note);
        joiner.push(Frame { time: Some(NOW.wall), stream: IoStream::Stderr, ..frame(b"x") }, NOW, &mut note);
        let clamped = Timestamp(NOW.wall.0 + 300 * Timestamp::SECOND);
        assert_eq!(seen, [(future, clamped), (NOW.wall, NOW.wall)], "the other stream has its own clock");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_cutting_gives_the_text_back(
            texts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..60), any::<bool>()), 1..6),
            sizes in prop::collection::vec(1usize..20, 1..20),
            turns in prop::collection::vec(any::<bool>(), 0..200),
            length_max in 0usize..80,
        ) {
            // Each stream's texts, cut into pieces of the given sizes; then the streams take turns.
            let mut queues = [std::collections::VecDeque::new(), std::collections::VecDeque::new()];
            let mut sizes = sizes.iter().cycle();
            for (text, to_stderr) in &texts {
                let stream = if *to_stderr { IoStream::Stderr } else { IoStream::Stdout };
                let mut rest = text.as_slice();
                loop {
                    let (head, tail) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                    let partial = !tail.is_empty();
                    queues[usize::from(*to_stderr)].push_back(Frame { stream, partial, ..frame(head) });
                    rest = tail;
                    if !partial { break; }
                }
            }
            let mut joiner = joiner(length_max);
            let mut got = Vec::new();
            let mut turns = turns.iter().cycle();
            while !(queues[0].is_empty() && queues[1].is_empty()) {
                let turn = usize::from(turns.next().copied().unwrap_or(queues[0].is_empty()));
                let next = queues[turn].pop_front().or_else(|| queues[1 - turn].pop_front());
                joiner.push(next.unwrap(), NOW, &mut keep(&mut got));
                prop_assert!(joiner.held_bytes().0 <= 2 * length_max as u64);
            }
            prop_assert_eq!(joiner.held_lines(), Lines(0));
            for stream in [IoStream::Stdout, IoStream::Stderr] {
                let got: Vec<_> = got.iter().filter(|line| line.stream == stream)
                    .map(|line| (line.text.clone(), line.truncated, line.complete)).collect();
                let want: Vec<_> = texts.iter().filter(|(_, stderr)| *stderr == (stream == IoStream::Stderr))
                    .map(|(text, _)| {
                        let cut = (text.len() > length_max).then(|| truncated(text));
                        (text[..text.len().min(length_max)].to_vec(), cut, true)
                    }).collect();
                prop_assert_eq!(got, want);
            }
        }
    }
}

//! Stage 1, bytes → frames: undoes the wrapping that the container runtime put around each line.
//!
//! In: chunks cut anywhere. Out: one [`Frame`] per physical line, its text unwrapped.
//! Invariant: where the chunks are cut never changes the frames (a property test holds it).
//! Limit: a physical line over `length_max` is never buffered; its first bytes are kept and the rest is counted and hashed.
//! Not here: joining partial frames into lines (`engine::line`).

mod carry;
mod cri;
mod docker;
pub mod docker_entry;
pub mod rfc3339;

use memchr::{memchr, memchr_iter};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::units::{Bytes, Timestamp};
use carry::{Carry, Cut, Held};
use docker::Docker;
use docker_entry::Entries;
use rfc3339::Rfc3339;

/// Which standard stream of the container a frame was written to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum IoStream {
    /// The format does not say (plain lines).
    #[default]
    Unknown,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl IoStream {
    /// All of them, in the order of their numbers.
    pub const ALL: [IoStream; 3] = [IoStream::Unknown, IoStream::Stdout, IoStream::Stderr];
}

/// How an origin's bytes are wrapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// Find out from the first complete line.
    #[default]
    Auto,
    /// One line of text a line.
    Plain,
    /// Docker's json-file driver: `{"log":"…\n","stream":"stdout","time":"…"}`.
    Docker,
    /// The Kubernetes container runtime interface: `<RFC 3339> <stdout|stderr> <P|F>[:tags] text`.
    Cri,
    /// What dockerd writes to a logging driver: not lines, but frames with a length.
    DockerEntry,
}

/// What was cut off a text that was longer than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated {
    /// The length of the whole text in bytes.
    pub length: u64,
    /// The xxh3-64 hash (seed 0) of the whole text; of a line during which we were restarted, a chain of two.
    pub xxh3: u64,
}

/// One physical line with its wrapping undone. (A broken line of Docker's with whole objects in it gives several.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The text, without the newline that ended it. A `\r` before that newline is kept.
    pub text: &'a [u8],
    /// The time in the envelope, where the format has one.
    pub time: Option<Timestamp>,
    /// The stream in the envelope.
    pub stream: IoStream,
    /// Whether the runtime cut the line here and more of it follows in a later frame of the same stream.
    pub partial: bool,
    /// False when the text ended without its newline because the file ended.
    pub complete: bool,
    /// What the envelope holds besides text, stream and time, as one JSON object (`{"attrs":{…}}`), or empty.
    pub extra: &'a [u8],
    /// Why the wrapping could not be undone; the text is then the raw line.
    pub parse_error: Option<&'static str>,
    /// What was cut off the text.
    pub truncated: Option<Truncated>,
    /// Where the physical line begins, in bytes from the start of its file. Of the frames that one broken line gives,
    /// each has the place of its own part.
    pub offset: u64,
}

/// Where a physical line stands, and whether it ended with a newline.
#[derive(Clone, Copy, Debug)]
struct Place {
    offset: u64,
    complete: bool,
}

/// The reason ([`Frame::parse_error`]) that reads like `text`: reasons come back as text from the outbox.
pub fn parse_error(text: &str) -> &'static str {
    let known = docker::errors().into_iter().chain([cri::BROKEN]).find(|known| *known == text);
    known.unwrap_or("not understood by an earlier version")
}

impl<'a> Frame<'a> {
    #[inline]
    fn plain(text: &'a [u8], place: Place) -> Frame<'a> {
        Frame {
            text,
            time: None,
            stream: IoStream::Unknown,
            partial: false,
            complete: place.complete,
            extra: &[],
            parse_error: None,
            truncated: None,
            offset: place.offset,
        }
    }

    fn broken(line: &'a [u8], place: Place, reason: &'static str) -> Frame<'a> {
        Frame { parse_error: Some(reason), ..Frame::plain(line, place) }
    }
}

/// Hands a frame on, its text cut to `length_max`. Always part of its caller: it was a call for each line otherwise.
#[inline(always)]
fn emit(mut frame: Frame<'_>, length_max: usize, sink: &mut impl FnMut(Frame<'_>)) {
    if frame.text.len() > length_max {
        frame.truncated = Some(Truncated { length: frame.text.len() as u64, xxh3: xxh3_64(frame.text) });
        frame.text = &frame.text[..length_max];
    }
    sink(frame);
}

/// Stage 1 for one origin: takes its bytes in order and gives its frames.
pub struct Framer {
    carry: Carry,
    unwrapper: Unwrapper,
    /// Where the format has no lines.
    entries: Option<Box<Entries>>,
}

impl Framer {
    /// A framer whose texts are at most `length_max` bytes long. With [`Format::Auto`] the first line decides what the
    /// origin's format is, for good.
    pub fn new(format: Format, length_max: usize) -> Framer {
        let unwrapper = Unwrapper { format, length_max, times: Rfc3339::default(), docker: Box::default() };
        let entries = (format == Format::DockerEntry).then(Box::default);
        Framer { carry: Carry::default(), unwrapper, entries }
    }

    /// Takes the next bytes of the origin and hands each line that ends in them to `sink`. `offset` is where the first
    /// of `bytes` stands in its file; they follow the bytes pushed before, unless the file ended in between.
    pub fn push(&mut self, bytes: &[u8], offset: u64, sink: &mut impl FnMut(Frame<'_>)) {
        if let Some(entries) = &mut self.entries {
            return entries.push(bytes, offset, self.unwrapper.length_max, sink);
        }
        let mut start = 0;
        if self.carry.holds_line() {
            let Some(end) = memchr(b'\n', bytes) else { return self.hold(bytes) };
            self.hold(&bytes[..end]);
            self.release(true, sink);
            start = end + 1;
        }
        start += self.unwrapper.whole_lines(&bytes[start..], offset + start as u64, sink);
        if start < bytes.len() {
            self.carry.offset = offset + start as u64;
            self.hold(&bytes[start..]);
        }
    }

    /// Says that the file has ended: a line without its newline leaves now, with `complete: false`. The next push
    /// begins another file.
    pub fn end_of_file(&mut self, sink: &mut impl FnMut(Frame<'_>)) {
        if let Some(entries) = &mut self.entries {
            return entries.end(self.unwrapper.length_max, sink);
        }
        if self.carry.holds_line() {
            self.release(false, sink);
        }
    }

    /// Says that pieces of a line of this stream are held that came before a restart.
    pub fn inherit(&mut self, stream: IoStream) {
        if let Some(entries) = &mut self.entries {
            entries.inherit(stream);
        }
    }

    /// Whether the format has no lines, so that bytes can be skipped.
    pub fn may_skip(&self) -> bool {
        self.entries.is_some()
    }

    /// Bytes that belong to no frame, since the last call. Only a format without lines has such.
    pub fn take_skipped(&mut self) -> Bytes {
        self.entries.as_mut().map_or(Bytes(0), |entries| entries.take_skipped())
    }

    /// How many bytes of an unfinished line are held: at most `length_max` and its envelope.
    pub fn held(&self) -> usize {
        self.carry.held() + self.entries.as_ref().map_or(0, |entries| entries.held())
    }

    /// Whether a physical line has begun and not ended.
    pub fn holds_line(&self) -> bool {
        self.carry.holds_line()
    }

    /// How many of the bytes pushed last belong to a physical line that has not ended, kept or not.
    pub fn unfinished(&self) -> u64 {
        self.carry.length()
    }

    /// The format: [`Format::Auto`] until the first line has decided it.
    pub fn format(&self) -> Format {
        self.unwrapper.format
    }

    fn hold(&mut self, bytes: &[u8]) {
        let head_max = self.unwrapper.head_max();
        self.carry.add(bytes, head_max, |head| self.unwrapper.text_start(head));
    }

    fn release(&mut self, complete: bool, sink: &mut impl FnMut(Frame<'_>)) {
        let place = Place { offset: self.carry.offset, complete };
        match self.carry.line() {
            Held::Whole(line) => self.unwrapper.line(line, place, sink),
            Held::Cut(cut) => self.unwrapper.cut_line(cut, place, sink),
        }
        self.carry.clear();
    }
}

/// Turns lines into frames, whether they stand in the chunk or were carried.
struct Unwrapper {
    format: Format,
    length_max: usize,
    times: Rfc3339,
    /// Boxed because only one format needs it and there is one of these for each file.
    docker: Box<Docker>,
}

impl Unwrapper {
    /// Unwraps all lines that end in `bytes` and returns how many bytes they take.
    fn whole_lines(&mut self, bytes: &[u8], offset: u64, sink: &mut impl FnMut(Frame<'_>)) -> usize {
        if self.format == Format::Auto {
            let Some(end) = memchr(b'\n', bytes) else { return 0 };
            self.decide(&bytes[..end]);
        }
        if self.format == Format::Docker {
            return self.docker.whole_lines(bytes, offset, self.length_max, sink);
        }
        let mut start = 0;
        for end in memchr_iter(b'\n', bytes) {
            let place = Place { offset: offset + start as u64, complete: true };
            let line = &bytes[start..end];
            match self.format {
                Format::Cri => emit(cri::unwrap(line, place, &mut self.times), self.length_max, sink),
                _ => emit(Frame::plain(line, place), self.length_max, sink),
            }
            start = end + 1;
        }
        start
    }

    /// Unwraps one line that is here whole, without its newline.
    fn line(&mut self, line: &[u8], place: Place, sink: &mut impl FnMut(Frame<'_>)) {
        self.decide(line);
        match self.format {
            Format::Docker => self.docker.line(line, place, self.length_max, sink),
            Format::Cri => emit(cri::unwrap(line, place, &mut self.times), self.length_max, sink),
            Format::Plain | Format::Auto | Format::DockerEntry => {
                emit(Frame::plain(line, place), self.length_max, sink);
            }
        }
    }

    /// Unwraps a line of which only the head was kept.
    fn cut_line(&mut self, cut: Cut<'_>, place: Place, sink: &mut impl FnMut(Frame<'_>)) {
        self.decide(cut.head);
        let text_start = self.text_start(cut.head);
        let mut frame = match self.format {
            Format::Docker => Frame::broken(cut.head, place, docker::TOO_LONG),
            Format::Cri => cri::unwrap(cut.head, place, &mut self.times),
            Format::Plain | Format::Auto | Format::DockerEntry => Frame::plain(cut.head, place),
        };
        frame.truncated = Some(Truncated { length: cut.length - text_start as u64, xxh3: cut.xxh3 });
        frame.text = &frame.text[..frame.text.len().min(self.length_max)];
        sink(frame);
    }

    /// Decides the format by a first line. Only as much of it is looked at as would have been kept, so that the answer
    /// does not depend on where the chunks were cut.
    fn decide(&mut self, line: &[u8]) {
        if self.format != Format::Auto {
            return;
        }
        let head = &line[..line.len().min(self.head_max())];
        self.format = if docker::looks_like(head) {
            Format::Docker
        } else if cri::envelope(head, &mut self.times).is_some() {
            Format::Cri
        } else {
            Format::Plain
        };
    }

    /// How many bytes of an unfinished line must be kept: a text of `length_max` with its envelope.
    fn head_max(&self) -> usize {
        match self.format {
            Format::Plain | Format::DockerEntry => self.length_max,
            Format::Cri => self.length_max.saturating_add(cri::ENVELOPE_MAX + 1),
            // Whatever it may turn out to be.
            Format::Docker | Format::Auto => docker::line_max(self.length_max),
        }
    }

    /// Where the text begins in the head of a line that is too long. (Of Docker's the line itself is taken as text.)
    fn text_start(&mut self, head: &[u8]) -> usize {
        match self.format {
            Format::Plain | Format::Docker | Format::DockerEntry => 0,
            Format::Cri | Format::Auto => {
                cri::envelope(head, &mut self.times).map_or(0, |envelope| envelope.length)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What one frame says, on one line: `offset stream "text"`, then whatever is not as usual.
    fn shown(frame: Frame<'_>) -> String {
        let mut shown = format!("{} {:?} \"{}\"", frame.offset, frame.stream, frame.text.escape_ascii());
        if let Some(time) = frame.time {
            shown += &format!(" @{}", time.0);
        }
        for (flag, name) in [(frame.partial, " partial"), (!frame.complete, " incomplete")] {
            shown += if flag { name } else { "" };
        }
        if !frame.extra.is_empty() {
            shown += &format!(" +{}", frame.extra.escape_ascii());
        }
        if let Some(cut) = frame.truncated {
            shown += &format!(" cut from {} {:016x}", cut.length, cut.xxh3);
        }
        if let Some(error) = frame.parse_error {
            shown += &format!(" !{error}");
        }
        shown
    }

    /// The frames of a whole file that is pushed in these pieces.
    fn frames(format: Format, length_max: usize, pieces: &[&[u8]]) -> Vec<String> {
        let mut framer = Framer::new(format, length_max);
        let mut shown_frames = Vec::new();
        let mut offset = 0;
        for piece in pieces {
            framer.push(piece, offset, &mut |frame| shown_frames.push(shown(frame)));
            offset += piece.len() as u64;
        }
        framer.end_of_file(&mut |frame| shown_frames.push(shown(frame)));
        assert!(!framer.holds_line() && framer.held() == 0);
        shown_frames
    }

    #[track_caller]
    fn check(format: Format, input: &[u8], want: &[&str]) {
        assert_eq!(frames(format, 1_000, &[input]), want, "{}", input.escape_ascii());
    }

    /// A line of Docker's with `rest` from its log on.
    fn docker(log: &str) -> String {
        format!(r#"{{"log":"{log}","stream":"stderr","time":"1970-01-01T00:00:00.5Z"}}"#)
    }

    #[test]
    fn plain_lines() {
        check(Format::Plain, b"", &[]);
        check(Format::Plain, b"a\nbc\n", &["0 Unknown \"a\"", "2 Unknown \"bc\""]);
        check(Format::Plain, b"{\"log\":\"a\\n\"}\n", &[r#"0 Unknown "{\"log\":\"a\\n\"}""#]);
    }

    #[test]
    fn fault_025_last_line_without_newline() {
        let mut framer = Framer::new(Format::Plain, 1_000);
        let mut seen = Vec::new();
        framer.push(b"one\ntwo", 0, &mut |frame| seen.push(shown(frame)));
        assert!(framer.holds_line());
        assert_eq!((framer.held(), seen.len()), (3, 1));
        framer.push(b" and a half", 7, &mut |frame| seen.push(shown(frame)));
        framer.push(b"\nthree", 18, &mut |frame| seen.push(shown(frame)));
        framer.end_of_file(&mut |frame| seen.push(shown(frame)));
        // The end of a file is said once only; the next file begins at its own start.
        framer.end_of_file(&mut |frame| seen.push(shown(frame)));
        framer.push(b"four\n", 0, &mut |frame| seen.push(shown(frame)));
        let want = [
            "0 Unknown \"one\"",
            "4 Unknown \"two and a half\"",
            "19 Unknown \"three\" incomplete",
            "0 Unknown \"four\"",
        ];
        assert_eq!(seen, want);

        check(Format::Docker, docker("a\\n").as_bytes(), &["0 Stderr \"a\" @500000000 incomplete"]);
        check(Format::Cri, b"1970-01-01T00:00:00Z stdout F a", &["0 Stdout \"a\" @0 incomplete"]);
        let half = r#"0 Unknown "{\"log\":\"a" incomplete !not a JSON object"#;
        check(Format::Docker, br#"{"log":"a"#, &[half]);
    }

    #[test]
    fn fault_026_long_line() {
        let length_max = 1 << 20;
        let cri = &b"1970-01-01T00:00:00Z stdout F "[..];
        let rows = [
            (Format::Plain, &b""[..], &b""[..], 0, None),
            (Format::Auto, b"", b"", 0, None),
            (Format::Cri, cri, b"", 30, None),
            (Format::Auto, cri, b"", 30, None),
            (Format::Docker, br#"{"log":""#, br#"\n","stream":"stdout"}"#, 0, Some(docker::TOO_LONG)),
        ];
        for (format, head, tail, text_start, parse_error) in rows {
            let mut framer = Framer::new(format, length_max);
            let mut seen = Vec::new();
            let mut sink = |frame: Frame<'_>| {
                seen.push((frame.text.len(), frame.truncated, frame.parse_error, frame.text[..1].to_vec()));
            };
            let piece = vec![b'a'; 64 << 10];
            let mut hash = xxhash_rust::xxh3::Xxh3::new();
            let mut offset = 0;
            hash.update(&head[text_start as usize..]);
            framer.push(head, offset, &mut sink);
            offset += head.len() as u64;
            while offset < 100_000_000 {
                hash.update(&piece);
                framer.push(&piece, offset, &mut sink);
                offset += piece.len() as u64;
                assert!(framer.held() <= docker::line_max(length_max), "{format:?}");
            }
            hash.update(tail);
            framer.push(&[tail, b"\n", head, b"b", tail, b"\n"].concat(), offset, &mut sink);
            let length = offset + tail.len() as u64 - text_start;
            let truncated = Truncated { length, xxh3: hash.digest() };
            assert_eq!(
                (seen[0].0, seen[0].1, seen[0].2),
                (length_max, Some(truncated), parse_error),
                "{format:?}"
            );
            assert_eq!(seen[1], (1, None, None, b"b".to_vec()), "{format:?}");
            assert_eq!(seen.len(), 2, "{format:?}");
            assert!(!framer.holds_line(), "{format:?}");
        }
    }

    #[test]
    fn fault_026_a_text_is_cut_and_the_next_is_intact() {
        #[track_caller]
        fn check(format: Format, input: &str, want: &[&str]) {
            assert_eq!(frames(format, 4, &[input.as_bytes()]), want, "{input}");
        }
        let cut = |text: &str| format!("cut from {} {:016x}", text.len(), xxh3_64(text.as_bytes()));
        check(Format::Plain, "abcd\n", &["0 Unknown \"abcd\""]);
        check(
            Format::Plain,
            "abcde\nf",
            &[&format!("0 Unknown \"abcd\" {}", cut("abcde")), "6 Unknown \"f\" incomplete"],
        );
        check(Format::Docker, &docker("abcd\\n"), &["0 Stderr \"abcd\" @500000000 incomplete"]);
        let want = format!("0 Stderr \"ab\\tc\" @500000000 partial incomplete {}", cut("ab\tcde"));
        check(Format::Docker, &docker("ab\\tcde"), &[&want]);
        let want = format!("0 Stdout \"abcd\" @0 partial {}", cut("abcdef"));
        check(Format::Cri, "1970-01-01T00:00:00Z stdout P abcdef\n", &[&want]);
    }

    #[test]
    fn fault_027_docker_partials() {
        let head = docker(&"x".repeat(16 << 10));
        let lines = format!("{head}\n{}\n{}\n", docker("tail\\n"), docker("\\n"));
        let (tail, empty) = (head.len() + 1, head.len() + 1 + docker("tail\\n").len() + 1);
        let want = [
            format!("0 Stderr \"{}\" @500000000 partial", "x".repeat(16 << 10)),
            format!("{tail} Stderr \"tail\" @500000000"),
            format!("{empty} Stderr \"\" @500000000"),
        ];
        assert_eq!(frames(Format::Docker, 1 << 20, &[lines.as_bytes()]), want);
        // A newline inside is text; only the last one ends the line.
        check(Format::Docker, docker("a\\nb\\n").as_bytes(), &[r#"0 Stderr "a\nb" @500000000 incomplete"#]);
        check(
            Format::Docker,
            docker("a\\\\n").as_bytes(),
            &[r#"0 Stderr "a\\n" @500000000 partial incomplete"#],
        );
    }

    #[test]
    fn fault_028_cri_streams_interleaved() {
        let time = "1970-01-01T00:00:00.000000001Z";
        let lines = format!("{time} stdout P a\n{time} stderr F b\n{time} stdout F:x c\n");
        let want = ["0 Stdout \"a\" @1 partial", "42 Stderr \"b\" @1", "84 Stdout \"c\" @1"];
        check(Format::Cri, lines.as_bytes(), &want);
        check(
            Format::Cri,
            b"\nx\n",
            &[
                "0 Unknown \"\" !not a line of the container runtime interface",
                "1 Unknown \"x\" !not a line of the container runtime interface",
            ],
        );
    }

    #[test]
    fn fault_029_character_split_between_partials() {
        let time = "1970-01-01T00:00:00Z";
        let lines = [time.as_bytes(), b" stdout P \xe6\x96\n", time.as_bytes(), b" stdout F \xb9\n"].concat();
        check(Format::Cri, &lines, &[r#"0 Stdout "\xe6\x96" @0 partial"#, r#"33 Stdout "\xb9" @0"#]);
        // dockerd replaced the halves itself: what it wrote is what there is.
        let want = r#"0 Stderr "x\xef\xbf\xbd" @500000000 partial incomplete"#;
        check(Format::Docker, docker("x\\ufffd").as_bytes(), &[want]);
    }

    #[test]
    fn fault_030_invalid_utf8() {
        check(Format::Plain, b"\xff\xfe\n", &[r#"0 Unknown "\xff\xfe""#]);
        check(Format::Cri, b"1970-01-01T00:00:00Z stdout F \xff\n", &[r#"0 Stdout "\xff" @0"#]);
        let line =
            [br#"{"log":""#, &b"\xff\\n"[..], br#"","stream":"stderr","time":"1970-01-01T00:00:00Z"}"#]
                .concat();
        check(Format::Docker, &line, &[r#"0 Stderr "\xff" @0 incomplete"#]);
        // Half a surrogate pair has no bytes.
        check(
            Format::Docker,
            docker("\\ud800").as_bytes(),
            &[r#"0 Stderr "\xef\xbf\xbd" @500000000 partial incomplete"#],
        );
    }

    #[test]
    fn fault_031_nul_and_control_bytes() {
        check(Format::Plain, b"\0a\x1b[31m\x7f\n", &[r#"0 Unknown "\x00a\x1b[31m\x7f""#]);
        check(
            Format::Docker,
            docker("\\u0000\\u001b\\b").as_bytes(),
            &[r#"0 Stderr "\x00\x1b\x08" @500000000 partial incomplete"#],
        );
        check(Format::Cri, b"1970-01-01T00:00:00Z stdout F \0\n", &[r#"0 Stdout "\x00" @0"#]);
        // The hole that a truncated file leaves, and the line behind it.
        let want = [r#"0 Unknown "\x00\x00\x00" !not a JSON object"#, r#"3 Stderr "a" @500000000"#];
        check(Format::Docker, format!("\0\0\0{}\n", docker("a\\n")).as_bytes(), &want);
    }

    #[test]
    fn fault_032_broken_json() {
        let (good, glued) = (docker("a\\n"), docker("b\\n"));
        let length = good.len();
        let raw = |text: &str| format!("\"{}\" !not a JSON object", text.as_bytes().escape_ascii());
        // Broken lines are kept and the next line is good again.
        for broken in
            [r#"{"log":"half"#, "half\\n\",\"stream\":\"stderr\"}", "}", "", "text", "{\"log\":\"\\x\"}"]
        {
            let next = format!("{} Stderr \"a\" @500000000", broken.len() + 1);
            check(
                Format::Docker,
                format!("{broken}\n{good}\n").as_bytes(),
                &[&format!("0 Unknown {}", raw(broken)), &next],
            );
        }
        // Whole objects behind a half one, and glued together.
        let head = r#"{"log":"half"#;
        let want = [format!("0 Unknown {}", raw(head)), "12 Stderr \"a\" @500000000".to_owned()];
        assert_eq!(frames(Format::Docker, 1_000, &[format!("{head}{good}\n").as_bytes()]), want);
        let want = ["0 Stderr \"a\" @500000000".to_owned(), format!("{length} Stderr \"b\" @500000000")];
        assert_eq!(frames(Format::Docker, 1_000, &[format!("{good}{glued}\n").as_bytes()]), want);
        // Raw parts on both sides; only the last part of the file is incomplete.
        let want = [
            format!("0 Unknown {}", raw(head)),
            "12 Stderr \"a\" @500000000".to_owned(),
            format!("{} Unknown \"{{\\\"log\\\":\\\"half\" incomplete !not a JSON object", 12 + length),
        ];
        assert_eq!(frames(Format::Docker, 1_000, &[format!("{head}{good}{head}").as_bytes()]), want);
        // JSON, but not Docker's.
        let want = r#"0 Unknown "{\"msg\":\"a\"}" !no string `log` in the JSON object"#;
        check(Format::Docker, b"{\"msg\":\"a\"}\n", &[want]);
    }

    #[test]
    fn fault_033_attributes_and_unknown_keys() {
        let (log, time) = (r#"{"log":"a\n","stream":"stdout""#, r#""time":"1970-01-01T00:00:00Z""#);
        let attrs = r#""attrs":{"tag":"x","b":{"c":"}"}}"#;
        let extra = r#"{\"attrs\":{\"tag\":\"x\",\"b\":{\"c\":\"}\"}}}"#;
        let want = format!("0 Stdout \"a\" @0 +{extra}");
        check(Format::Docker, format!("{log},{attrs},{time}}}\n").as_bytes(), &[&want]);
        check(Format::Docker, format!("{log},{time},{attrs}}}\n").as_bytes(), &[&want]);
        let want = format!("0 Stdout \"a\" @0 +{},\\\"k\\\":[1]}}", &extra[..extra.len() - 1]);
        check(Format::Docker, format!("{log},{attrs},\"k\":[1],{time}}}\n").as_bytes(), &[&want]);
        check(Format::Docker, b"{\"log\":\"a\"}\n", &["0 Unknown \"a\" partial"]);
    }

    #[test]
    fn fault_034_crlf_empty_and_blank_lines() {
        let want = [r#"0 Unknown "a\r""#, "3 Unknown \"\"", r#"4 Unknown "\r""#, r#"6 Unknown "  \t""#];
        check(Format::Plain, b"a\r\n\n\r\n  \t\n", &want);
        check(Format::Docker, docker("a\\r\\n").as_bytes(), &[r#"0 Stderr "a\r" @500000000 incomplete"#]);
        check(Format::Docker, docker(" \\n").as_bytes(), &["0 Stderr \" \" @500000000 incomplete"]);
        let time = "1970-01-01T00:00:00Z";
        let lines = format!("{time} stdout F \r\n{time} stdout F \n");
        check(Format::Cri, lines.as_bytes(), &[r#"0 Stdout "\r" @0"#, "32 Stdout \"\" @0"]);
    }

    #[test]
    fn formats_are_found_out_by_the_first_line() {
        #[track_caller]
        fn check(input: &[u8], want: Format) {
            let mut framer = Framer::new(Format::Auto, 4);
            framer.push(input, 0, &mut |_| {});
            assert_eq!(framer.format(), want, "{}", input.escape_ascii());
            // Later lines and files change nothing.
            framer.end_of_file(&mut |_| {});
            let decided = framer.format();
            framer.push(b"plain\n1970-01-01T00:00:00Z stdout F a\n{\"log\":\"a\"}\n", 0, &mut |_| {});
            assert_eq!(framer.format(), if decided == Format::Auto { Format::Plain } else { decided });
        }
        check(b"", Format::Auto);
        check(b"{\"log\":\"a", Format::Auto);
        check(b"\n", Format::Plain);
        check(b"{}\n", Format::Plain);
        check(b"{\"log\":1}\n", Format::Plain);
        check(b"{\"msg\":\"log\"}\n", Format::Plain);
        check(b"2026-02-06T00:10:00Z INFO a\n", Format::Plain);
        check(b"{\"log\":\"a\\n\",\"stream\":\"stdout\"}\n", Format::Docker);
        check(b" { \"time\": \"\", \"log\": \"a\" }\n", Format::Docker);
        check(b"{\"log\":\"half-written\n", Format::Docker);
        check(b"1970-01-01T00:00:00Z stdout F a\n", Format::Cri);
        check(b"1970-01-01T00:00:00Z stdout P:x a\n", Format::Cri);

        let mut framer = Framer::new(Format::Auto, 4);
        framer.push(b"1970-01-01T00:00:00Z stdout F a", 0, &mut |_| {});
        assert_eq!(framer.format(), Format::Auto);
        framer.end_of_file(&mut |frame| assert_eq!(frame.text, b"a"));
        assert_eq!(framer.format(), Format::Cri);
    }

    /// Files of good, broken and long lines of all formats.
    fn file() -> impl Strategy<Value = Vec<u8>> {
        let time = "2026-02-06T00:10:00.123456789Z";
        let line = prop_oneof![
            4 => any::<String>().prop_map(|text| {
                let text = serde_json::to_string(&(text + "\n")).unwrap();
                format!(r#"{{"log":{text},"stream":"stderr","time":"2026-02-06T00:10:00.1Z"}}"#).into_bytes()
            }),
            2 => "[a-z<\\\\n]{0,9}".prop_map(|text| docker(&text).into_bytes()),
            2 => "[a-z]{0,9}".prop_map(move |text| {
                format!(r#"{{"log":"{text}\n","stream":"stdout","attrs":{{"a":"{text}"}},"time":"{time}"}}"#).into_bytes()
            }),
            1 => Just(br#"{ "stream": "stdout", "log": "odd order\n", "k": 1 }"#.to_vec()),
            1 => "[a-z]{0,9}".prop_map(|text| format!("{}{}", &docker(&text)[..9], docker(&text)).into_bytes()),
            3 => ("[PF](:[a-z]{0,3})?", any::<String>())
                .prop_map(move |(tag, text)| format!("{time} stdout {tag} {text}").into_bytes()),
            3 => proptest::collection::vec(any::<u8>(), 0..40),
            1 => (docker::line_max(0) - 40..docker::line_max(0) + 40).prop_map(|length| vec![b'x'; length]),
            1 => (docker::line_max(0) - 80..docker::line_max(0) + 40)
                .prop_map(|length| docker(&"x".repeat(length)).into_bytes()),
            1 => (docker::line_max(0) - 80..docker::line_max(0) + 40)
                .prop_map(|length| format!(r#"{{ "log":"{}" }}"#, "x".repeat(length)).into_bytes()),
            1 => (docker::line_max(0) - 80..docker::line_max(0) + 40)
                .prop_map(move |length| format!("{time} stderr F {}", "x".repeat(length)).into_bytes()),
            1 => (0..600usize).prop_map(move |tags| format!("{time} stdout P:{} text", "t".repeat(tags)).into_bytes()),
        ];
        let ends = prop_oneof![4 => Just(&b"\n"[..]), 1 => Just(&b"\r\n"[..]), 1 => Just(&b""[..])];
        proptest::collection::vec((line, ends), 0..8)
            .prop_map(|lines| lines.iter().flat_map(|(line, end)| [line, *end].concat()).collect())
    }

    fn format() -> impl Strategy<Value = Format> {
        proptest::sample::select(vec![Format::Auto, Format::Plain, Format::Docker, Format::Cri])
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn cuts_do_not_matter(
            file in file(),
            format in format(),
            length_max in proptest::sample::select(vec![0, 1, 7, 60, 1_000, 1 << 20]),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
        ) {
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(file.len() + 1)).collect();
            cuts.sort_unstable();
            let starts = [0].into_iter().chain(cuts.iter().copied());
            let ends = cuts.iter().copied().chain([file.len()]);
            let pieces: Vec<_> = starts.zip(ends).map(|(start, end)| &file[start..end]).collect();
            prop_assert_eq!(frames(format, length_max, &pieces), frames(format, length_max, &[&file]));
        }

        #[test]
        fn bytes_may_come_one_by_one(
            lines in proptest::collection::vec("[a-z{}\":\\\\n]{0,12}|\\{\"log\":\"[a-z]{0,3}(\\\\n)?\"\\}", 0..6),
            format in format(),
            length_max in 0..20usize,
        ) {
            let file = lines.join("\n").into_bytes();
            let pieces: Vec<_> = file.chunks(1).collect();
            prop_assert_eq!(frames(format, length_max, &pieces), frames(format, length_max, &[&file]));
        }

        #[test]
        fn plain_frames_are_the_file(file in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200)) {
            let mut back = Vec::new();
            let mut framer = Framer::new(Format::Plain, 1_000);
            let mut sink = |frame: Frame<'_>| {
                assert_eq!(frame.offset as usize, back.len());
                back.extend_from_slice(frame.text);
                back.extend_from_slice(if frame.complete { b"\n" } else { b"" });
            };
            framer.push(&file, 0, &mut sink);
            framer.end_of_file(&mut sink);
            prop_assert_eq!(back, file);
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), format in format(), length_max in 0..50usize) {
            let text_max = frames(format, length_max, &[&bytes]).len();
            prop_assert!(text_max <= bytes.len());
        }
    }
}

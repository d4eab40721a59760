//! Stage 1, bytes → frames: undoes the wrapping that the container runtime put around each line.
//!
//! In: chunks cut anywhere. Out: one [`Frame`] per physical line, its text unwrapped.
//! Invariant: where the chunks are cut never changes the frames (a property test holds it).
//! Limit: a physical line over `length_max` is never buffered; its first bytes are kept and the rest is counted and hashed.
//! Not here: joining partial frames into lines (`engine::line`).

mod carry;
mod cri;
mod docker;
pub mod rfc3339;

use memchr::{memchr, memchr_iter};
use xxhash_rust::xxh3::xxh3_64;

use crate::units::Timestamp;
use carry::{Carry, Cut, Held};
use docker::Docker;
use rfc3339::Rfc3339;

/// Which standard stream of the container a frame was written to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IoStream {
    /// The format does not say (plain lines).
    #[default]
    Unknown,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How an origin's bytes are wrapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
}

/// What was cut off a text that was longer than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated {
    /// The length of the whole text in bytes.
    pub length: u64,
    /// The xxh3-64 hash (seed 0) of the whole text.
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

/// Hands a frame on, its text cut to `length_max`.
#[inline]
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
}

impl Framer {
    /// A framer whose texts are at most `length_max` bytes long. With [`Format::Auto`] the first line decides what the
    /// origin's format is, for good.
    pub fn new(format: Format, length_max: usize) -> Framer {
        let unwrapper = Unwrapper { format, length_max, times: Rfc3339::default(), docker: Box::default() };
        Framer { carry: Carry::default(), unwrapper }
    }

    /// Takes the next bytes of the origin and hands each line that ends in them to `sink`. `offset` is where the first
    /// of `bytes` stands in its file; they follow the bytes pushed before, unless the file ended in between.
    pub fn push(&mut self, bytes: &[u8], offset: u64, sink: &mut impl FnMut(Frame<'_>)) {
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
        if self.carry.holds_line() {
            self.release(false, sink);
        }
    }

    /// How many bytes of an unfinished line are held: at most `length_max` and its envelope.
    pub fn held(&self) -> usize {
        self.carry.held()
    }

    /// Whether a physical line has begun and not ended.
    pub fn holds_line(&self) -> bool {
        self.carry.holds_line()
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
            Format::Plain | Format::Auto => emit(Frame::plain(line, place), self.length_max, sink),
        }
    }

    /// Unwraps a line of which only the head was kept.
    fn cut_line(&mut self, cut: Cut<'_>, place: Place, sink: &mut impl FnMut(Frame<'_>)) {
        self.decide(cut.head);
        let text_start = self.text_start(cut.head);
        let mut frame = match self.format {
            Format::Docker => Frame::broken(cut.head, place, docker::TOO_LONG),
            Format::Cri => cri::unwrap(cut.head, place, &mut self.times),
            Format::Plain | Format::Auto => Frame::plain(cut.head, place),
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
            Format::Plain => self.length_max,
            Format::Cri => self.length_max.saturating_add(cri::ENVELOPE_MAX + 1),
            // Whatever it may turn out to be.
            Format::Docker | Format::Auto => docker::line_max(self.length_max),
        }
    }

    /// Where the text begins in the head of a line that is too long. (Of Docker's the line itself is taken as text.)
    fn text_start(&mut self, head: &[u8]) -> usize {
        match self.format {
            Format::Plain | Format::Docker => 0,
            Format::Cri | Format::Auto => {
                cri::envelope(head, &mut self.times).map_or(0, |envelope| envelope.length)
            }
        }
    }
}

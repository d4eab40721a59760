//! Joins the physical lines of a stack trace, which a program wrote as one thing.
//!
//! In: the lines of one origin, in order. Out: the same lines, those of a trace as one with `\n` between them and the
//! number of physical lines in [`Line::lines`](super::Line::lines).
//! Invariant: every line that comes in goes out, in the order of its standard stream, alone or in one trace; the lines of
//! two standard streams never meet. A line that could not be understood is always alone.
//! Limit: a standard stream holds one trace of at most `length_max` bytes (the rest is counted and hashed) and
//! `lines_max` lines, for at most `wait`. What is longer begins anew.
//! Not here: pieces of one physical line ([`super::join`]).
//!
//! A line is held when it may begin a trace and what follows may belong to it: nobody can know before the next line. A
//! line that says nothing of an exception is never held, so where a program logs a sentence of its own above a trace,
//! the two are two lines.

mod decisive;
mod go;
mod java;
pub mod kept;
mod node;
mod python;
mod text;

use std::time::Duration;

use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use super::Line;
use super::join::{Extent, Held};
use crate::engine::frame::{Frame, IoStream};
use crate::units::{Bytes, Lines, Monotonic, Now, Timestamp};
pub use decisive::decisive;

/// What is joined (`inputs.*.multiline`).
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// How a trace is recognised.
    pub kind: Kind,
    /// Physical lines of one trace (`lines_max`).
    pub lines_max: u32,
    /// How long a line may be held (`wait`).
    pub wait: Duration,
}

impl Options {
    /// The default limits.
    pub fn new(kind: Kind) -> Options {
        Options { kind, lines_max: 500, wait: Duration::from_secs(1) }
    }
}

/// How a trace is recognised.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// By the rules of all languages.
    Auto,
    /// By the rules of one.
    Language(Language),
    /// It begins with a line that matches and ends where the next one does.
    Start(Pattern),
}

/// A language whose traces are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Java, Kotlin, Scala.
    Java,
    /// Python.
    Python,
    /// Go.
    Go,
    /// Node.
    Node,
}

/// A regular expression that the first line of a trace matches.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it, in the words of the `regex` crate.
    pub fn new(pattern: &str) -> Result<Pattern, String> {
        // A hundred times what such a pattern needs; it keeps `(a{1000}){1000}` from taking all memory.
        const SIZE_MAX: usize = 1 << 20;
        let built = RegexBuilder::new(pattern).size_limit(SIZE_MAX).dfa_size_limit(SIZE_MAX).build();
        built.map(Pattern).map_err(|error| error.to_string())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// The stage: what is held of each standard stream of one origin.
#[derive(Debug)]
pub struct Traces {
    options: Options,
    length_max: usize,
    streams: [Stream; IoStream::ALL.len()],
}

/// What is held of one standard stream.
#[derive(Debug, Default)]
struct Stream {
    /// Kept when its trace has left, for the memory in it; then it has no lines.
    trace: Option<Box<Trace>>,
    /// How much was held when it was last asked for.
    told: Option<Extent>,
}

/// A trace whose end is not known yet.
#[derive(Debug)]
pub struct Trace {
    /// Its text, place and envelope. It has a time: its first line's.
    held: Held,
    /// Physical lines; none when nothing is held.
    lines: u32,
    log_time: Timestamp,
    /// When it leaves as it is.
    deadline: Monotonic,
    grammars: Grammars,
}

/// Each language whose rules all lines so far have kept, and where it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Grammars {
    java: Option<java::State>,
    python: Option<python::State>,
    go: Option<go::State>,
    node: Option<node::State>,
    /// A pattern of the user's own has no states.
    own: bool,
}

impl Traces {
    /// A stage that holds nothing. `length_max` is that of the lines.
    pub fn new(options: Options, length_max: usize) -> Traces {
        Traces { options, length_max, streams: Default::default() }
    }

    /// Takes the next line of the origin; `sink` gets what is certain to be whole.
    pub fn push(&mut self, line: &Line<'_>, now: Now, sink: &mut impl FnMut(&Line<'_>)) {
        let Traces { options, length_max, streams } = self;
        let stream = &mut streams[line.stream as usize];
        let text = line.text.strip_suffix(b"\r").unwrap_or(line.text);
        if let Some(trace) = stream.held_mut() {
            let next = if line.parse_error.is_some() || trace.lines >= options.lines_max {
                None
            } else {
                trace.grammars.next(&options.kind, text)
            };
            if let Some(next) = next {
                trace.grammars = next;
                trace.append(line, *length_max);
                return;
            }
            trace.leave(line.stream, sink);
        }
        match Grammars::begin(&options.kind, text) {
            Some(grammars) if line.parse_error.is_none() => {
                let trace = stream.trace.get_or_insert_default();
                trace.begin(line, grammars, now.arrival + options.wait);
                trace.append(line, *length_max);
            }
            _ => sink(line),
        }
    }

    /// When the first of the held traces has waited long enough.
    pub fn deadline(&self) -> Option<Monotonic> {
        self.streams.iter().filter_map(Stream::held).map(|trace| trace.deadline).min()
    }

    /// Sends the traces that have waited long enough.
    pub fn on_deadline(&mut self, now: Monotonic, sink: &mut impl FnMut(&Line<'_>)) {
        self.leave_if(|trace| trace.deadline <= now, sink);
    }

    /// Sends what is held as it is: it is whole as far as anybody knows.
    pub fn flush(&mut self, sink: &mut impl FnMut(&Line<'_>)) {
        self.leave_if(|_| true, sink);
    }

    fn leave_if(&mut self, is_due: impl Fn(&Trace) -> bool, sink: &mut impl FnMut(&Line<'_>)) {
        for (name, stream) in IoStream::ALL.into_iter().zip(&mut self.streams) {
            if let Some(trace) = stream.held_mut().filter(|trace| is_due(trace)) {
                trace.leave(name, sink);
            }
        }
    }

    /// Whether a trace of this standard stream is held.
    pub fn holds(&self, name: IoStream) -> bool {
        self.streams[name as usize].held().is_some()
    }

    /// How many traces are held: at most one for each standard stream.
    pub fn held_lines(&self) -> Lines {
        self.streams.iter().filter_map(Stream::held).map(|_| Lines(1)).sum()
    }

    /// Bytes of memory behind the traces.
    pub fn size(&self) -> Bytes {
        let traces = self.streams.iter().filter_map(|stream| stream.trace.as_ref());
        traces.map(|trace| Bytes((size_of::<Trace>() + trace.held.size()) as u64)).sum()
    }
}

impl Stream {
    fn held(&self) -> Option<&Trace> {
        self.trace.as_deref().filter(|trace| trace.lines > 0)
    }

    fn held_mut(&mut self) -> Option<&mut Trace> {
        self.trace.as_deref_mut().filter(|trace| trace.lines > 0)
    }
}

impl Default for Trace {
    fn default() -> Self {
        Trace {
            held: Held::default(),
            lines: 0,
            log_time: Timestamp(0),
            deadline: Monotonic(0),
            grammars: Grammars::default(),
        }
    }
}

impl Trace {
    fn begin(&mut self, first: &Line<'_>, grammars: Grammars, deadline: Monotonic) {
        self.held.begin(&frame(first, first.text));
        self.lines = 0;
        self.log_time = first.log_time;
        self.deadline = deadline;
        self.grammars = grammars;
    }

    fn append(&mut self, line: &Line<'_>, length_max: usize) {
        if self.lines > 0 {
            self.held.append(&Frame { truncated: None, ..frame(line, b"\n") }, length_max);
        }
        self.held.append(&frame(line, line.text), length_max);
        self.lines += 1;
    }

    /// Hands the trace on and forgets it, but for memory that is of use again.
    fn leave(&mut self, stream: IoStream, sink: &mut impl FnMut(&Line<'_>)) {
        let whole = self.held.as_frame(stream);
        sink(&Line {
            text: whole.text,
            time: whole.time.unwrap_or(self.log_time),
            log_time: self.log_time,
            stream,
            complete: whole.complete,
            extra: whole.extra,
            parse_error: None,
            truncated: whole.truncated,
            offset: whole.offset,
            lines: self.lines,
        });
        self.lines = 0;
        self.held.forget();
    }
}

/// A line as a piece of something longer.
fn frame<'a>(line: &Line<'a>, text: &'a [u8]) -> Frame<'a> {
    Frame {
        text,
        time: Some(line.time),
        stream: line.stream,
        partial: true,
        complete: line.complete,
        extra: line.extra,
        parse_error: None,
        truncated: line.truncated,
        offset: line.offset,
    }
}

impl Grammars {
    /// Which rules allow a trace that begins with `line`.
    fn begin(kind: &Kind, line: &[u8]) -> Option<Grammars> {
        let grammars = match kind {
            Kind::Start(Pattern(pattern)) => Grammars { own: pattern.is_match(line), ..Grammars::default() },
            _ if !text::may_begin(line) => return None,
            Kind::Auto => Grammars {
                java: java::begins(line),
                python: python::begins(line),
                go: go::begins(line),
                node: node::begins(line),
                own: false,
            },
            Kind::Language(Language::Java) => Grammars { java: java::begins(line), ..Grammars::default() },
            Kind::Language(Language::Python) => {
                Grammars { python: python::begins(line), ..Grammars::default() }
            }
            Kind::Language(Language::Go) => Grammars { go: go::begins(line), ..Grammars::default() },
            Kind::Language(Language::Node) => Grammars { node: node::begins(line), ..Grammars::default() },
        };
        grammars.some()
    }

    /// Which of them allow that the trace goes on with `line`.
    fn next(self, kind: &Kind, line: &[u8]) -> Option<Grammars> {
        let own = match kind {
            Kind::Start(Pattern(pattern)) => !pattern.is_match(line),
            _ => false,
        };
        let next = Grammars {
            java: self.java.and_then(|state| java::continues(state, line)),
            python: self.python.and_then(|state| python::continues(state, line)),
            go: self.go.and_then(|state| go::continues(state, line)),
            node: self.node.and_then(|state| node::continues(state, line)),
            own: self.own && own,
        };
        next.some()
    }

    fn some(self) -> Option<Grammars> {
        (self != Grammars::default()).then_some(self)
    }
}

#[cfg(test)]
mod tests;

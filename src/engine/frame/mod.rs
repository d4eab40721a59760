//! Stage 1, bytes → frames: undoes the wrapping that the container runtime put around each line.
//!
//! In: chunks cut anywhere. Out: one [`Frame`] per physical line, its text unwrapped.
//! Invariant: where the chunks are cut never changes the frames (a property test holds it).
//! Limit: a physical line over `length_max` is never buffered; its first bytes are kept and the rest is counted and hashed.
//! Not here: joining partial frames into lines (`engine::line`).

use crate::units::Timestamp;

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

/// One physical line with its wrapping undone.
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
    /// Where the physical line begins, in bytes from the start of its file.
    pub offset: u64,
}

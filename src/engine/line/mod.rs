//! Stage 2, frames → lines: joins partial frames, caps the length, finds time and level.
//!
//! In: the frames of one origin ([`join::Joiner::push`]). Out: one [`Line`] for each line that a program wrote, or for
//! each stack trace ([`multiline::Traces::push`]).
//! Invariant: every accepted byte is in exactly one line, or counted and hashed in its `truncated`.
//! Limit: a line keeps at most `length_max` bytes; an origin holds at most one unfinished line and one trace
//! per standard stream.
//! Not here: which text the line was printed from (`engine::template`).

mod clock;
pub mod fields;
pub mod join;
pub mod json;
pub mod kept;
pub mod level;
pub mod multiline;
pub mod pairs;
pub mod redact;
pub mod time;

use std::sync::Arc;

use crate::engine::frame::{IoStream, Truncated};
use crate::units::Timestamp;

/// One logical line: what a program wrote up to its newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The text, without its newline; a `\r` before it is kept.
    pub text: &'a [u8],
    /// When it was written: from the envelope, else from the text, else when it arrived. Data, as found.
    pub time: Timestamp,
    /// `time` clamped: never behind an earlier line of the same stream, never more than 5 minutes ahead of the
    /// wall clock. Rates and windows use this.
    pub log_time: Timestamp,
    /// The standard stream it was written to.
    pub stream: IoStream,
    /// False when its end never came (file ended, or held partials were flushed).
    pub complete: bool,
    /// What the envelope held besides text, stream and time, as a JSON object, or empty.
    pub extra: &'a [u8],
    /// Why the envelope could not be understood; the text is then the raw line.
    pub parse_error: Option<&'static str>,
    /// What was cut off the text.
    pub truncated: Option<Truncated>,
    /// Where the line's first byte stands in its file.
    pub offset: u64,
    /// How many physical lines it was: more than one where the lines of a trace were joined ([`multiline`]).
    pub lines: u32,
}

/// The limits of lines (`line` and `inputs.*.timezone` in the config).
#[derive(Clone, Debug)]
pub struct Limits {
    /// The longest text that is kept whole, in bytes (`line.length_max`).
    pub length_max: usize,
    /// The zone of times that do not name one (`inputs.*.timezone`).
    pub timezone: jiff::tz::TimeZone,
    /// Which lines are joined to one (`inputs.*.multiline`).
    pub multiline: Option<multiline::Options>,
    /// What is replaced before anything else sees a line (`line.redact`).
    pub redact: Option<Arc<redact::Redactor>>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { length_max: 1 << 20, timezone: jiff::tz::TimeZone::UTC, multiline: None, redact: None }
    }
}

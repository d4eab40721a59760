//! Node: an error, its frames, its properties, its cause; and what an uncaught one looks like.
//!
//! ```text
//! /app/server.js:12
//!     throw new Error('boom');
//!     ^
//!
//! Error: boom
//!     at connect (/app/server.js:12:9) {
//!   code: 'E_BOOM',
//!   [cause]: Error: refused
//!       at dial (/app/net.js:3:1)
//! }
//!
//! Node.js v20.11.0
//! ```

use serde::{Deserialize, Serialize};

use super::text::{is_blank, is_indented, names_an_error, trimmed};

/// What came last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum State {
    /// `/app/server.js:12`, the place of an error that nobody caught.
    Location,
    /// The source text there.
    Source,
    /// The marks below it.
    Caret,
    /// The empty line below those.
    CaretGap,
    /// The error with its message.
    Head,
    /// A frame.
    Frames,
    /// A property, inside `{ … }`.
    Properties,
    /// The `}` behind them.
    Closed,
    /// The empty line above `Node.js v20.11.0`.
    Gap,
    /// That line: nothing comes after it.
    Version,
}

/// The state after a first line, if it may be one.
pub(super) fn begins(line: &[u8]) -> Option<State> {
    match () {
        () if is_frame(line) => Some(after(line, State::Frames)), // the rest of a trace that was cut
        () if is_indented(line) => None,
        () if is_location(line) => Some(State::Location),
        () if names_an_error(line) => Some(after(line, State::Head)),
        () => None,
    }
}

/// The state after one more line, if it belongs to the same trace.
pub(super) fn continues(state: State, line: &[u8]) -> Option<State> {
    match state {
        State::Location if !is_blank(line) => Some(State::Source),
        State::Source if is_caret(line) => Some(State::Caret),
        State::Caret if is_blank(line) => Some(State::CaretGap),
        State::Caret | State::CaretGap if names_an_error(line) => Some(after(line, State::Head)),
        State::Head | State::Frames if is_frame(line) => Some(after(line, State::Frames)),
        State::Head if is_require_stack(line) => Some(State::Head),
        State::Properties if is_indented(line) && !is_blank(line) => Some(State::Properties),
        State::Properties if line.starts_with(b"}") => Some(State::Closed),
        State::Frames | State::Closed if is_blank(line) => Some(State::Gap),
        State::Gap if line.starts_with(b"Node.js v") => Some(State::Version),
        _ => None,
    }
}

/// Properties follow a line that opens a brace, whatever else it is.
fn after(line: &[u8], state: State) -> State {
    if trimmed(line).ends_with(b"{") { State::Properties } else { state }
}

fn is_frame(line: &[u8]) -> bool {
    is_indented(line) && trimmed(line).starts_with(b"at ")
}

/// `/app/server.js:12`, `node:internal/process/promises:288`, `file:///app/main.mjs:3`.
fn is_location(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    let digits = line.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let Some(place) = line[..line.len() - digits].strip_suffix(b":") else { return false };
    const ENDINGS: [&[u8]; 5] = [b".js", b".mjs", b".cjs", b".ts", b".tsx"];
    let is_source = ENDINGS.iter().any(|ending| place.ends_with(ending)) || place.starts_with(b"node:");
    digits > 0 && is_source && !place.contains(&b' ')
}

fn is_caret(line: &[u8]) -> bool {
    let text = trimmed(line);
    !text.is_empty() && text.iter().all(|byte| *byte == b'^')
}

/// `Require stack:` and its `- /app/server.js`, between the message and the frames.
fn is_require_stack(line: &[u8]) -> bool {
    line.starts_with(b"Require stack:") || line.starts_with(b"- /") || line.starts_with(b"- file:")
}

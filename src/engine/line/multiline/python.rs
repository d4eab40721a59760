//! Python: a traceback whose exception stands last, and chains of them.
//!
//! ```text
//! Traceback (most recent call last):
//!   File "/app/db.py", line 12, in connect
//!     socket.connect(address)
//! ConnectionRefusedError: [Errno 111] Connection refused
//!
//! During handling of the above exception, another exception occurred:
//!
//! Traceback (most recent call last):
//! ```

use serde::{Deserialize, Serialize};

use super::text::{is_blank, is_indented};

/// What came last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum State {
    /// The heading or a frame.
    Frames,
    /// The exception.
    Exception,
    /// The empty line behind it.
    Gap,
    /// The sentence that says how the next exception came about, or the empty line behind that.
    Link,
}

/// The state after a first line, if it may be one.
pub(super) fn begins(line: &[u8]) -> Option<State> {
    is_heading(line).then_some(State::Frames)
}

/// The state after one more line, if it belongs to the same trace.
pub(super) fn continues(state: State, line: &[u8]) -> Option<State> {
    let indented = is_indented(line) && !is_blank(line);
    match state {
        State::Frames if indented => Some(State::Frames),
        State::Frames if is_exception(line) => Some(State::Exception),
        State::Exception if indented || is_appendix(line) => Some(State::Exception),
        State::Exception if is_blank(line) => Some(State::Gap),
        State::Gap if is_link(line) => Some(State::Link),
        State::Link if is_blank(line) => Some(State::Link),
        State::Link if is_heading(line) => Some(State::Frames),
        _ => None,
    }
}

/// At the end of a line, for a log may write its own words before it. Groups of exceptions indent it.
fn is_heading(line: &[u8]) -> bool {
    line.trim_ascii_end().ends_with(b"Traceback (most recent call last):")
}

/// `ValueError: no such order`, `KeyboardInterrupt`, `botocore.exceptions.ClientError: …`.
fn is_exception(line: &[u8]) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"._".contains(byte) || !byte.is_ascii();
    let name = line.iter().take_while(|byte| is_name(byte)).count();
    let rest = line[name..].trim_ascii_end();
    line.first().is_some_and(|byte| !byte.is_ascii_digit()) && name > 0 && matches!(rest, [] | [b':', ..])
}

/// What SQLAlchemy writes below its exceptions.
fn is_appendix(line: &[u8]) -> bool {
    const APPENDICES: [&[u8]; 3] = [b"[SQL: ", b"[parameters: ", b"(Background on this error at: "];
    APPENDICES.iter().any(|appendix| line.starts_with(appendix))
}

fn is_link(line: &[u8]) -> bool {
    line.starts_with(b"During handling of the above exception")
        || line.starts_with(b"The above exception was the direct cause")
}

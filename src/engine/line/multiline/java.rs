//! Java and its family (Kotlin, Scala): an exception, its frames, its causes.
//!
//! ```text
//! java.lang.IllegalStateException: no stock
//!         at com.acme.Orders.place(Orders.java:42)
//!         Suppressed: java.io.IOException: close failed
//!                 at com.acme.Stock.close(Stock.java:9)
//! Caused by: java.net.ConnectException: refused
//!         ... 23 more
//! ```

use serde::{Deserialize, Serialize};

use super::text::{is_blank, is_indented, names_an_error, trimmed};

/// What came last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum State {
    /// A line of a log that names an exception somewhere.
    Logged,
    /// The empty line that Spring puts between such a line and the exception.
    Gap,
    /// The exception with its message.
    Head,
    /// A frame.
    Frames,
}

/// The state after a first line, if it may be one.
pub(super) fn begins(line: &[u8]) -> Option<State> {
    match () {
        () if is_frame(line) => Some(State::Frames), // the rest of a trace that was cut
        () if is_head(line) => Some(State::Head),
        () if names_an_error(line) && !is_indented(line) => Some(State::Logged),
        () => None,
    }
}

/// The state after one more line, if it belongs to the same trace.
pub(super) fn continues(state: State, line: &[u8]) -> Option<State> {
    if is_frame(line) {
        return Some(State::Frames);
    }
    if is_cause(line) {
        return Some(State::Head);
    }
    match state {
        // Only once: many exceptions of one line each, one after the other, are many lines.
        State::Logged | State::Gap if is_head(line) => Some(State::Head),
        State::Logged if is_blank(line) => Some(State::Gap),
        State::Head if is_indented(line) && !is_blank(line) => Some(State::Head), // a message of several lines
        _ => None,
    }
}

/// `at com.acme.Orders.place(Orders.java:42)`, `... 23 more`, `... 5 common frames omitted`.
fn is_frame(line: &[u8]) -> bool {
    let text = trimmed(line);
    let left_out = || text.starts_with(b"... ") && (text.ends_with(b" more") || text.ends_with(b" omitted"));
    is_indented(line) && (text.starts_with(b"at ") || left_out())
}

fn is_cause(line: &[u8]) -> bool {
    const CAUSES: [&[u8]; 4] = [b"Caused by: ", b"Suppressed: ", b"Wrapped by: ", b"[CIRCULAR REFERENCE"];
    CAUSES.iter().any(|cause| trimmed(line).starts_with(cause))
}

/// Whether the line begins with an exception's name, as the printed trace itself does.
fn is_head(line: &[u8]) -> bool {
    if line.starts_with(b"Exception in thread \"") {
        return true;
    }
    let name = line.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"._$".contains(byte)).count();
    let (name, rest) = line.split_at(name);
    let is_qualified = name.contains(&b'.') && !name.ends_with(b".");
    is_qualified && names_an_error(name) && (rest.is_empty() || rest.starts_with(b":"))
}

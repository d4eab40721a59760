//! Go: a panic or fatal error, and the goroutines at that moment.
//!
//! ```text
//! panic: runtime error: invalid memory address or nil pointer dereference
//! [signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x4a1b2c]
//!
//! goroutine 1 [running]:
//! main.(*Orders).Place(0x0, {0x4b2f31, 0x7})
//!         /app/orders.go:42 +0x1d
//! exit status 2
//! ```

use serde::{Deserialize, Serialize};

use super::text::{contains, is_blank, is_indented, trimmed};

/// What came last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum State {
    /// The panic or something that explains it.
    Head,
    /// The heading of a goroutine, or the place of a call: a call is next.
    Goroutine,
    /// A call: its place is next.
    Call,
    /// The empty line between two goroutines.
    Between,
}

/// The state after a first line, if it may be one.
pub(super) fn begins(line: &[u8]) -> Option<State> {
    match () {
        () if is_goroutine(line) => Some(State::Goroutine),
        () if line.starts_with(b"panic: ") || line.starts_with(b"fatal error: ") => Some(State::Head),
        () if contains(line, b"http: panic serving ") => Some(State::Head),
        () => None,
    }
}

/// The state after one more line, if it belongs to the same trace.
pub(super) fn continues(state: State, line: &[u8]) -> Option<State> {
    match state {
        State::Head | State::Between | State::Goroutine if is_goroutine(line) => Some(State::Goroutine),
        State::Head if is_blank(line) || is_explanation(line) => Some(State::Head),
        State::Goroutine if line.starts_with(b"...additional frames elided") => Some(State::Goroutine),
        State::Goroutine if is_call(line) => Some(State::Call),
        State::Goroutine if is_blank(line) => Some(State::Between),
        State::Call if is_indented(line) => Some(State::Goroutine),
        State::Goroutine | State::Between if line.starts_with(b"exit status ") => Some(State::Between),
        _ => None,
    }
}

/// `goroutine 1 [running]:`, `goroutine 18 [chan receive, 3 minutes]:`.
fn is_goroutine(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"goroutine ") else { return false };
    rest.first().is_some_and(u8::is_ascii_digit) && rest.trim_ascii_end().ends_with(b"]:")
}

/// A signal, or the panic of a deferred call.
fn is_explanation(line: &[u8]) -> bool {
    line.starts_with(b"[signal ")
        || trimmed(line).starts_with(b"panic: ")
        || (is_indented(line) && !is_blank(line))
}

/// `main.(*Orders).Place(0x0, …)`, `created by main.main in goroutine 1`.
fn is_call(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    let is_function = || {
        let name = line.iter().take_while(|byte| **byte != b'(').count();
        let is_name = line[..name].contains(&b'.') || &line[..name] == b"panic";
        line.ends_with(b")") && is_name && !line[..name].contains(&b' ')
    };
    line.starts_with(b"created by ") || is_function()
}

//! Standard output and standard error, which may be closed at any time.
//!
//! `println!` and `eprintln!` panic when nobody reads any more (`squall … | head -1`), and a panic ends the process with
//! an abort and a stack trace. What is written here fails as an error like others.

use std::fmt::Display;
use std::io::{self, Write as _};

use anyhow::Context as _;

use crate::terminal::visible;

/// Writes to standard output and makes sure that it left.
pub(super) fn print(text: impl Display) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "{text}").and_then(|()| out.flush()).context("cannot write to standard output")
}

/// Writes to standard error. What names and configs bring along cannot act on the terminal; lines stay lines.
pub(super) fn complain(text: impl Display) {
    let text = text.to_string();
    let lines: Vec<_> = text.split('\n').map(visible).collect();
    // When standard error is closed there is nobody left to tell; the exit code still says it.
    let _ = io::stderr().lock().write_all(lines.join("\n").as_bytes());
}

/// Whether the reader of our output has gone: the one failure about which nobody needs to hear.
pub(super) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_closed_pipe_is_quiet() {
        #[track_caller]
        fn check(kind: io::ErrorKind, want: bool) {
            let error = anyhow::Error::new(io::Error::from(kind)).context("cannot write to standard output");
            assert_eq!(is_closed_pipe(&error), want, "{error:#}");
        }
        check(io::ErrorKind::BrokenPipe, true);
        check(io::ErrorKind::StorageFull, false);
        assert!(!is_closed_pipe(&anyhow::anyhow!("broken pipe")));
    }
}

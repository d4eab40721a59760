//! Our own log: to standard error, never per line, in lower case with values as fields.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::format::debug_fn;

use crate::terminal::visible;

/// Begins to log. `SQUALL_LOG` chooses what (`debug`, `squall=debug,rdkafka=info`); the default is `info`.
pub fn begin(default: &str) {
    let filter = EnvFilter::try_from_env("SQUALL_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // A file may have any name, and a broker may answer anything: values are made harmless here, once for all.
    let fields = debug_fn(|writer, field, value| {
        let text = format!("{value:?}");
        match field.name() {
            "message" => write!(writer, "{}", visible(&text)),
            name => write!(writer, "{name}={}", visible(&text)),
        }
    });
    // A second call, as in a test, changes nothing.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A closed standard error is no reason to panic, which its complaint about itself would do.
        .log_internal_errors(false)
        .with_ansi(wants_colour(std::io::stderr().is_terminal()))
        .with_target(false)
        .fmt_fields(fields.delimited(" "))
        .try_init();
}

/// Whether a stream gets colour: it is a terminal and nobody said NO_COLOR.
pub fn wants_colour(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

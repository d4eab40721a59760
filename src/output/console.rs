//! Records for people, or as JSON lines, on standard output.
//!
//! Invariant: in the human form nothing from a log reaches the terminal raw: control characters, escape
//! sequences and characters that reorder text are shown as escapes.
//! Limit: one batch is held, and written with one call.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write};

use serde_json::Value;

use super::{OutputError, Standing};
use crate::engine::record::{Batch, Kind, Meta};
use crate::terminal::visible;
use crate::units::grouped;

/// How records look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One JSON object a line, as it would go to Kafka.
    Json,
    /// `time level stream message`, without colours.
    Plain,
    /// The same with colours.
    Coloured,
}

impl Form {
    /// The human form, with colours when standard output is a terminal and nobody objects with `NO_COLOR`.
    pub fn human() -> Form {
        let objection = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if io::stdout().is_terminal() && !objection { Form::Coloured } else { Form::Plain }
    }
}

/// Writes records where a person or a pipe reads them.
pub struct Console {
    form: Form,
    writer: Box<dyn Write + Send>,
    /// The text of one batch, kept for its memory.
    buffer: Vec<u8>,
    standing: Standing,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("form", &self.form).finish_non_exhaustive()
    }
}

impl Console {
    /// Writes to standard output.
    pub fn stdout(form: Form) -> Console {
        Console::to(Box::new(io::stdout()), form)
    }

    /// Writes to `writer`.
    pub fn to(writer: Box<dyn Write + Send>, form: Form) -> Console {
        Console { form, writer, buffer: Vec::new(), standing: Standing::default() }
    }

    pub(super) fn offer(&mut self, batch: &Batch, from: usize) -> Result<usize, OutputError> {
        self.buffer.clear();
        for (meta, record) in batch.iter().skip(from) {
            if self.form == Form::Json {
                self.buffer.extend_from_slice(record);
            } else {
                let stream = batch.keys.get(meta.key as usize).map_or("", |key| &key.stream);
                self.buffer.extend_from_slice(human(meta, stream, record, self.form).as_bytes());
            }
            self.buffer.push(b'\n');
        }
        let written = self.writer.write_all(&self.buffer).and_then(|()| self.writer.flush());
        written.map_err(|source| OutputError::Console { source })?;
        for (meta, record) in batch.iter().skip(from) {
            self.standing.confirm(meta, record);
        }
        Ok(batch.metas.len().saturating_sub(from))
    }

    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }
}

/// One record as a person reads it. Speed does not matter here, so the record is simply parsed again.
fn human(meta: &Meta, stream: &str, record: &[u8], form: Form) -> String {
    let json: Value = serde_json::from_slice(record).unwrap_or_default();
    let text = |pointer: &str| json.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let time = text("/@timestamp");
    let level = match meta.kind {
        Kind::Notice => Cow::from("NOTICE"),
        Kind::Loop => Cow::from("LOOP"),
        Kind::Alert => Cow::from("ALERT"),
        Kind::Line | Kind::Summary => Cow::from(text("/log/level").to_uppercase()),
    };
    let mut line = String::with_capacity(record.len());
    let paint = Paint { on: form == Form::Coloured };
    // Writing to a string cannot fail.
    let _ = write!(line, "{} ", paint.dim(&visible(time)));
    let _ = write!(line, "{} ", paint.level(&level, &format!("{:6}", visible(&level))));
    let _ = write!(line, "{}  ", paint.dim(&visible(stream)));
    if meta.kind == Kind::Summary {
        let _ = write!(line, "{}  ", paint.strong(&repeats(&json)));
    }
    line.push_str(&visible(text("/message")));
    line
}

/// `×1,204 in 10 s`: what a summary adds to the text it stands for.
fn repeats(json: &Value) -> String {
    let count = json.pointer("/squall/count").and_then(Value::as_u64).unwrap_or_default();
    let time = |name: &str| json.pointer(name)?.as_str()?.parse::<jiff::Timestamp>().ok();
    let mut text = format!("×{}", grouped(count));
    if let (Some(first), Some(last)) = (time("/squall/first"), time("/squall/last")) {
        let seconds = last.duration_since(first).as_secs_f64().max(0.0);
        let _ = if seconds < 9.95 {
            write!(text, " in {seconds:.1} s")
        } else {
            write!(text, " in {seconds:.0} s")
        };
    }
    text
}

/// Colours, or none of them.
#[derive(Clone, Copy)]
struct Paint {
    on: bool,
}

impl Paint {
    fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    fn strong(self, text: &str) -> String {
        self.with("1;35", text)
    }

    fn level(self, level: &str, text: &str) -> String {
        match level {
            "EMERGENCY" | "ALERT" | "CRITICAL" | "FATAL" | "ERROR" => self.with("31", text),
            "WARN" | "WARNING" => self.with("33", text),
            "NOTICE" => self.with("1;36", text),
            _ => text.to_owned(),
        }
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::testing::batch;
    use crate::terminal::is_harmful;
    use std::sync::{Arc, Mutex};

    /// A writer that others can read.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("one thread").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn shown(form: Form, kind: Kind, record: &str) -> String {
        let page = Page::default();
        let mut console = Console::to(Box::new(page.clone()), form);
        let mut records = batch(1, &[("api", record)]);
        records.metas[0].kind = kind;
        assert_eq!(console.offer(&records, 0).expect("a page takes all"), 1);
        assert_eq!(console.standing().acked_upto, 1);
        let bytes = page.0.lock().expect("one thread").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn what_a_person_sees() {
        #[track_caller]
        fn check(form: Form, kind: Kind, record: &str, want: &str) {
            assert_eq!(shown(form, kind, record), want);
        }
        let line = r#"{"@timestamp":"2026-02-06T00:10:00Z","message":"no route","log":{"level":"error"}}"#;
        check(Form::Json, Kind::Line, line, &format!("{line}\n"));
        check(Form::Plain, Kind::Line, line, "2026-02-06T00:10:00Z ERROR  api  no route\n");
        check(
            Form::Coloured,
            Kind::Line,
            line,
            "\x1b[2m2026-02-06T00:10:00Z\x1b[0m \x1b[31mERROR \x1b[0m \x1b[2mapi\x1b[0m  no route\n",
        );
        let summary = r#"{"@timestamp":"2026-02-06T00:10:10Z","message":"no route","log":{"level":"warn"},
            "squall":{"count":1204,"first":"2026-02-06T00:10:00Z","last":"2026-02-06T00:10:10Z"}}"#;
        check(
            Form::Plain,
            Kind::Summary,
            summary,
            "2026-02-06T00:10:10Z WARN   api  ×1,204 in 10 s  no route\n",
        );
        let notice = r#"{"@timestamp":"2026-02-06T00:10:10Z","message":"20 bytes were lost"}"#;
        check(Form::Plain, Kind::Notice, notice, "2026-02-06T00:10:10Z NOTICE api  20 bytes were lost\n");
        let attack = r#"{"@timestamp":"2026-02-06T00:10:10Z","message":"a\u001b]0;owned\u0007\rb\u202ec"}"#;
        check(
            Form::Coloured,
            Kind::Line,
            attack,
            "\x1b[2m2026-02-06T00:10:10Z\x1b[0m        \x1b[2mapi\x1b[0m  a\\u{1b}]0;owned\\u{7}\\rb\\u{202e}c\n",
        );
        check(Form::Plain, Kind::Line, "not JSON", "        api  \n");
    }

    #[test]
    fn numbers_are_grouped() {
        #[track_caller]
        fn check(number: u64, want: &str) {
            assert_eq!(grouped(number), want);
        }
        check(0, "0");
        check(999, "999");
        check(1_000, "1,000");
        check(1_234_567, "1,234,567");
    }

    #[test]
    fn a_closed_pipe_is_an_error() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut console = Console::to(Box::new(Closed), Form::Json);
        let error = console.offer(&batch(1, &[("s", "{}")]), 0).expect_err("nobody reads");
        assert_eq!(error.to_string(), "cannot write to standard output");
        assert_eq!(console.standing().acked_records, 0);
    }

    proptest::proptest! {
        #[test]
        fn nothing_harmful_gets_through(text in proptest::prelude::any::<String>()) {
            proptest::prop_assert!(!visible(&text).chars().any(is_harmful));
        }
    }
}

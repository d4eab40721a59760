//! The slow path: a real JSON parser for whatever is not exactly what dockerd writes.

use serde_json::{Map, Value};

use super::super::IoStream;
use super::super::rfc3339::Rfc3339;
use super::stream;
use crate::units::Timestamp;

/// What a line's JSON object says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Object {
    /// The text, with its newline.
    pub(super) log: String,
    pub(super) stream: IoStream,
    pub(super) time: Option<Timestamp>,
    /// All that the three fields do not hold, as one JSON object in the order of the line, or empty. A time or a
    /// stream that was not understood stays here.
    pub(super) extra: Vec<u8>,
}

/// Why a line is not a line of Docker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not one JSON object.
    NotJson,
    /// It is one, but no string `log` is in it.
    NoLog,
}

impl Fault {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Fault::NotJson => "not a JSON object",
            Fault::NoLog => "no string `log` in the JSON object",
        }
    }
}

/// Parses one line.
pub(super) fn parse(line: &[u8], times: &mut Rfc3339) -> Result<Object, Fault> {
    let mut object: Map<String, Value> = serde_json::from_slice(line).map_err(|_| Fault::NotJson)?;
    let Some(Value::String(log)) = object.shift_remove("log") else { return Err(Fault::NoLog) };
    let time = object.get("time").and_then(Value::as_str).and_then(|time| times.whole(time.as_bytes()));
    if time.is_some() {
        object.shift_remove("time");
    }
    let stream = object.get("stream").and_then(Value::as_str).map_or(IoStream::Unknown, stream);
    if stream != IoStream::Unknown {
        object.shift_remove("stream");
    }
    let extra = if object.is_empty() { Vec::new() } else { Value::Object(object).to_string().into_bytes() };
    Ok(Object { log, stream, time, extra })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects() {
        #[track_caller]
        fn check(line: &str, want: Result<(&str, IoStream, Option<i64>, &str), Fault>) {
            let want = want.map(|(log, stream, time, extra)| Object {
                log: log.to_owned(),
                stream,
                time: time.map(Timestamp),
                extra: extra.as_bytes().to_vec(),
            });
            assert_eq!(parse(line.as_bytes(), &mut Rfc3339::default()), want, "{line}");
        }
        use IoStream::{Stderr, Stdout, Unknown};
        check(r#"{"log":"a\n"}"#, Ok(("a\n", Unknown, None, "")));
        check(
            r#" { "time": "1970-01-01T00:00:01Z", "stream": "stdout", "log": "a" } "#,
            Ok(("a", Stdout, Some(1_000_000_000), "")),
        );
        check(
            r#"{"log":"a","k":[1],"stream":"stderr","attrs":{"b":"c"}}"#,
            Ok(("a", Stderr, None, r#"{"k":[1],"attrs":{"b":"c"}}"#)),
        );
        check(r#"{"log":"a","time":"yesterday"}"#, Ok(("a", Unknown, None, r#"{"time":"yesterday"}"#)));
        check(r#"{"log":"a","time":7,"stream":"x"}"#, Ok(("a", Unknown, None, r#"{"time":7,"stream":"x"}"#)));
        check(r#"{"log":7}"#, Err(Fault::NoLog));
        check(r#"{"stream":"stdout"}"#, Err(Fault::NoLog));
        check(r#"["log"]"#, Err(Fault::NotJson));
        check(r#"{"log":"a"}}"#, Err(Fault::NotJson));
        check(r#"{"log":"a"#, Err(Fault::NotJson));
        check("", Err(Fault::NotJson));
    }
}

//! A record that its destination refuses, made smaller: the replacement that keeps its id, its count and all else.
//!
//! In: an encoded record and how large it may be. Out: the record with `squall.rev: 1`, its text cut to fit.
//! Invariant: only texts get shorter. What the record stands for stays, because detail may be lost but never a count
//! (`delivery.md` R6).
//! Speed does not matter here: a record comes this way when Kafka has refused it, so it is simply parsed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};

use super::json;

/// The replacement for `record`, at most `max` bytes long. Where the record fits as it is, only `rev` is added.
///
/// Examples go first, the last one first; they only illustrate what `message` shows. Then `message` is cut, on a
/// character boundary. The record says so: `truncated`, `length`, `xxh3`.
///
/// `None` when this is no record of ours, or when it is too large even without any text: then it belongs into the
/// dead-letter file.
pub fn shrink(record: &[u8], max: usize) -> Option<Vec<u8>> {
    let mut record: Value = serde_json::from_slice(record).ok()?;
    let text = text_of(&record)?;
    squall(&mut record)?.insert("rev".to_owned(), Value::from(1));
    if let Some(small) = written_within(&record, max) {
        return Some(small);
    }
    say_truncated(squall(&mut record)?, &text);
    while drop_last_example(squall(&mut record)?) {
        if let Some(small) = written_within(&record, max) {
            return Some(small);
        }
    }
    set_text(&mut record, b"")?;
    let room = max.checked_sub(serde_json::to_vec(&record).ok()?.len())?;
    set_text(&mut record, fitting(&text, room))?;
    written_within(&record, max)
}

/// The bytes that `message` shows; `raw_b64` has them where they are not UTF-8.
fn text_of(record: &Value) -> Option<Vec<u8>> {
    let shown = record.get("message")?.as_str()?;
    let raw = record.get("squall")?.get(RAW).and_then(Value::as_str);
    Some(match raw.and_then(|raw| BASE64.decode(raw).ok()) {
        Some(bytes) => bytes,
        None => shown.as_bytes().to_vec(),
    })
}

fn set_text(record: &mut Value, text: &[u8]) -> Option<()> {
    let shown = String::from_utf8_lossy(text);
    let is_text = matches!(shown, std::borrow::Cow::Borrowed(_));
    *record.get_mut("message")? = Value::from(shown.as_ref());
    let squall = squall(record)?;
    if is_text {
        squall.shift_remove(RAW);
    } else {
        squall.insert(RAW.to_owned(), Value::from(BASE64.encode(text)));
    }
    Some(())
}

/// The longest beginning of the text that takes at most `room` bytes in JSON.
fn fitting(text: &[u8], room: usize) -> &[u8] {
    if std::str::from_utf8(text).is_ok() {
        return &text[..json::text(&mut Vec::new(), text, room)];
    }
    // A byte that is not UTF-8 costs up to three as U+FFFD and 1.4 in base64, a control byte six.
    let room = room.saturating_sub(RAW_FRAME) / 8;
    &text[..text.len().min(room)]
}

/// What was there before anything was cut. A record that was cut when it was made knows it already.
fn say_truncated(squall: &mut Map<String, Value>, text: &[u8]) {
    if squall.insert("truncated".to_owned(), Value::from(true)).is_some() {
        return;
    }
    squall.insert("length".to_owned(), Value::from(text.len()));
    squall.insert("xxh3".to_owned(), Value::from(format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text))));
}

/// Whether there was one.
fn drop_last_example(squall: &mut Map<String, Value>) -> bool {
    let Some(examples) = squall.get_mut("examples").and_then(Value::as_array_mut) else { return false };
    let dropped = examples.pop().is_some();
    if examples.is_empty() {
        squall.shift_remove("examples");
    }
    dropped
}

fn written_within(record: &Value, max: usize) -> Option<Vec<u8>> {
    serde_json::to_vec(record).ok().filter(|bytes| bytes.len() <= max)
}

fn squall(record: &mut Value) -> Option<&mut Map<String, Value>> {
    record.get_mut("squall")?.as_object_mut()
}

const RAW: &str = "raw_b64";
/// `,"raw_b64":""` and the padding of base64.
const RAW_FRAME: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(record: &str, max: usize) -> Option<String> {
        shrink(record.as_bytes(), max).map(|small| String::from_utf8(small).expect("JSON is text"))
    }

    #[test]
    fn texts_are_cut_and_counts_stay() {
        #[track_caller]
        fn check(record: &str, max: usize, want: Option<&str>) {
            assert_eq!(cut(record, max).as_deref(), want, "{record} in {max}");
        }
        let text = "no route to host ".repeat(20);
        let marks = format!(r#""rev":1,"truncated":true,"length":340,"xxh3":"{}""#, xxh3(&text));
        let line = |text: &str, marks: &str| {
            format!(r#"{{"@timestamp":"t","message":"{text}","squall":{{"kind":"line","id":"a-1"{marks}}}}}"#)
        };
        let whole = line(&text, ",\"rev\":1");
        check(&line(&text, ""), whole.len(), Some(&whole));
        check(&line(&text, ""), usize::MAX, Some(&whole)); // a new time, not a new size
        let empty = line("", &format!(",{marks}"));
        check(&line(&text, ""), empty.len() + 5, Some(&line("no ro", &format!(",{marks}"))));
        check(&line(&text, ""), empty.len(), Some(&empty));
        check(&line(&text, ""), empty.len() - 1, None);
        check("not JSON", 1000, None);
        check("{}", 1000, None);
        check(r#"{"message":"m","squall":7}"#, 1000, None);
        check(r#"{"message":7,"squall":{}}"#, 1000, None);
    }

    #[test]
    fn examples_go_before_the_message() {
        let (text, example) = ("a".repeat(100), "b".repeat(200));
        let marks = format!(r#","rev":1,"truncated":true,"length":100,"xxh3":"{}"}}}}"#, xxh3(&text));
        let summary = format!(
            r#"{{"message":"{text}","squall":{{"count":1204,"examples":["one","{example}"],"exact":true}}}}"#
        );
        let want = |message: &str, examples: &str| {
            format!(r#"{{"message":"{message}","squall":{{"count":1204{examples},"exact":true{marks}"#)
        };
        let one_left = want(&text, r#","examples":["one"]"#);
        assert_eq!(cut(&summary, one_left.len()), Some(one_left));
        let none_left = want(&text, "");
        let shorter = want(&text[1..], "");
        assert_eq!(cut(&summary, none_left.len()), Some(none_left));
        assert_eq!(cut(&summary, shorter.len()), Some(shorter));
    }

    #[test]
    fn a_record_that_was_cut_keeps_its_first_length() {
        let cut_before =
            r#"{"message":"abcdefghijklmnop","squall":{"truncated":true,"length":5000,"xxh3":"77"}}"#;
        assert_eq!(
            cut(cut_before, cut_before.len()).as_deref(),
            Some(r#"{"message":"abcdefgh","squall":{"truncated":true,"length":5000,"xxh3":"77","rev":1}}"#)
        );
    }

    #[test]
    fn raw_bytes_stay_what_the_message_shows() {
        let raw = b"\xff\xfeabc".repeat(100);
        let record = serde_json::json!({"message": String::from_utf8_lossy(&raw), "squall": {RAW: BASE64.encode(&raw)}});
        let record = record.to_string();
        let small = cut(&record, 500).expect("it fits");
        assert!(small.len() <= 500);
        let small: Value = serde_json::from_str(&small).expect("JSON");
        let kept = BASE64.decode(small["squall"][RAW].as_str().expect("still raw")).expect("base64");
        assert!(kept.len() > 30 && raw.starts_with(&kept), "{}", kept.len());
        assert_eq!(small["message"], String::from_utf8_lossy(&kept).as_ref());
        assert_eq!(small["squall"]["length"], 500);
        // Nothing that is left needs base64.
        let small: Value = serde_json::from_str(&cut(&record, 100).expect("it fits")).expect("JSON");
        assert_eq!((&small["message"], &small["squall"][RAW]), (&Value::from(""), &Value::Null));
    }

    fn xxh3(text: &str) -> String {
        format!("{:016x}", xxhash_rust::xxh3::xxh3_64(text.as_bytes()))
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever the text, the result fits, its text is a beginning of the old one, and the rest is as it was.
        #[test]
        fn only_texts_get_shorter(
            text in "[ -~é\u{1}\n\"\\\\方]{0,300}",
            examples in prop::collection::vec("[a-z\"]{0,30}", 0..3),
            max in 0usize..700,
        ) {
            let record = serde_json::json!({
                "@timestamp": "2026-02-06T00:10:00Z", "message": text, "log": {"offset": 12},
                "squall": {"id": "a-1", "count": 1204, "per_second": 120.4, "examples": examples},
            });
            let Some(small) = shrink(record.to_string().as_bytes(), max) else { return Ok(()) };
            prop_assert!(small.len() <= max);
            let small: Value = serde_json::from_slice(&small).expect("JSON");
            prop_assert!(text.starts_with(small["message"].as_str().expect("a text")));
            for pointer in ["/@timestamp", "/log", "/squall/id", "/squall/count", "/squall/per_second"] {
                prop_assert_eq!(small.pointer(pointer), record.pointer(pointer));
            }
            prop_assert_eq!(&small["squall"]["rev"], 1);
            let whole = small["message"] == record["message"] && small["squall"]["examples"] == record["squall"]["examples"];
            prop_assert_eq!(whole, small["squall"]["truncated"].is_null());
        }

        #[test]
        fn bad_bytes_are_no_panic(record in prop::collection::vec(any::<u8>(), 0..200), max in 0usize..300) {
            prop_assert_eq!(shrink(&record, max), None);
        }
    }
}

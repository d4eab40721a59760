//! `squall demo`: the incident through the whole program and back out of an in-process Kafka.

use serde_json::Value;

use crate::support::process::run;
use crate::support::records::split_ledger;

#[test]
fn what_was_written_is_read_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let ended = run(folder.path(), ["demo", "--json", "--lines", "20000", "--seconds", "0"]);
    ended.expect_code(0);
    assert_eq!(ended.stderr, "");
    let (rest, ledger) = split_ledger(&ended.stdout);
    let objects: Vec<Value> = rest.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let [incident, back] = objects.as_slice() else { panic!("two objects and the ledger: {rest}") };
    let (incident, back) = (&incident["incident"], &back["read_back"]);
    let number =
        |object: &Value, name: &str| object[name].as_u64().unwrap_or_else(|| panic!("{name}: {object}"));
    let told = ["lines_verbatim", "lines_summarised", "lines_noticed"];
    assert_eq!(number(incident, "lines"), 20_000);
    assert_eq!(number(incident, "storm") + number(incident, "calm"), 20_000);
    assert_eq!(told.iter().map(|name| number(back, name)).sum::<u64>(), 20_000, "{back}");
    assert_eq!(told.iter().map(|name| number(&ledger, name)).sum::<u64>(), 20_000, "{ledger}");
    assert_eq!(number(back, "calm_missing"), 0);
    assert_eq!(number(back, "records"), number(&ledger, "records_delivered"));
    assert_eq!(number(&ledger, "conservation_error"), 0);
    assert_eq!(number(&ledger, "bytes_in"), number(incident, "bytes"));
    assert!(number(&ledger, "bytes_wire") * 20 < number(&ledger, "bytes_in"), "{ledger}");
}

#[test]
fn the_story_is_plain_text_where_nobody_watches() {
    let folder = tempfile::tempdir().expect("a folder");
    let ended = run(folder.path(), ["demo", "--lines", "2000", "--seconds", "0"]);
    ended.expect_code(0);
    assert!(!ended.stdout.contains('\u{1b}'), "no colours in a pipe");
    let alert = "[P1] WebSocketRetryLoop firing: 10 WebSocket time-outs in 1m; retries to wss://";
    for part in ["What came in", alert, "The ledger", "of 2,000 lines", "60 of 60 calm lines"] {
        assert!(ended.stdout.contains(part), "no {part:?} in\n{}", ended.stdout);
    }
}

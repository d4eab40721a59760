//! Reads records as a consumer would and holds them against the interface: the judge of the process tests.
//!
//! It knows `interface.md` and nothing of the program's own types.

use std::collections::HashMap;

use serde_json::Value;

use super::process::Ended;

/// What the records of one lane say.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) all: Vec<Value>,
    pub(crate) verbatim: u64,
    pub(crate) summarised: u64,
    pub(crate) noticed: u64,
}

impl Records {
    /// Reads JSON lines; fails where one breaks the interface, or where a number is missing or comes twice.
    #[track_caller]
    pub(crate) fn read(text: &str) -> Records {
        let mut records = Records::default();
        let mut lane = None;
        for (index, line) in text.lines().enumerate() {
            let record: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            check_schema(&record);
            let id = record["squall"]["id"].as_str().expect("checked");
            let (of_lane, seq) = id.rsplit_once('-').expect("checked");
            assert_eq!(of_lane, *lane.get_or_insert_with(|| of_lane.to_owned()), "one run, one lane");
            assert_eq!(seq, (index + 1).to_string(), "record numbers are contiguous");
            let count = record["squall"]["count"].as_u64();
            match kind(&record) {
                "line" => records.verbatim += 1,
                "summary" => records.summarised += count.expect("checked"),
                "notice" => records.noticed += count.expect("checked"),
                // A loop stands for no lines.
                _ => assert_eq!(count, None, "{record}"),
            }
            records.all.push(record);
        }
        records
    }

    /// Reads what `run --json` prints: records, then the ledger. Fails unless the ledger says what the records say.
    #[track_caller]
    pub(crate) fn with_ledger(ended: &Ended) -> (Records, Value) {
        let (text, ledger) = split_ledger(&ended.stdout);
        let records = Records::read(text);
        records.expect_ledger(&ledger);
        (records, ledger)
    }

    /// Lines that the records stand for.
    pub(crate) fn lines(&self) -> u64 {
        self.verbatim + self.summarised + self.noticed
    }

    /// Records of one kind.
    pub(crate) fn of<'a>(&'a self, wanted: &'a str) -> impl Iterator<Item = &'a Value> {
        self.all.iter().filter(move |record| kind(record) == wanted)
    }

    /// The texts that came word for word.
    pub(crate) fn texts(&self) -> Vec<&str> {
        self.of("line").map(|record| record["message"].as_str().expect("checked")).collect()
    }

    /// How many of these texts did not come word for word, each as often as it is wanted.
    pub(crate) fn missing<'a>(&self, wanted: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        let mut came: HashMap<String, u32> = HashMap::new();
        self.texts().into_iter().for_each(|text| *came.entry(text.to_owned()).or_default() += 1);
        wanted
            .into_iter()
            .filter(|text| match came.get_mut(*text) {
                Some(left @ 1..) => {
                    *left -= 1;
                    false
                }
                _ => true,
            })
            .collect()
    }

    #[track_caller]
    fn expect_ledger(&self, ledger: &Value) {
        let told = |name: &str| ledger[name].as_u64().unwrap_or_else(|| panic!("no {name} in {ledger}"));
        assert_eq!(told("conservation_error"), 0, "{ledger}");
        assert_eq!(told("lines_open") + told("lines_partial"), 0, "{ledger}");
        assert_eq!(told("lines_in"), self.lines(), "{ledger}");
        assert_eq!(told("lines_verbatim"), self.verbatim, "{ledger}");
        assert_eq!(told("lines_summarised"), self.summarised, "{ledger}");
        assert_eq!(told("lines_noticed"), self.noticed, "{ledger}");
        assert_eq!(told("records_out"), self.all.len() as u64, "{ledger}");
        assert_eq!(told("summaries"), self.of("summary").count() as u64, "{ledger}");
        assert_eq!(told("notices"), self.of("notice").count() as u64, "{ledger}");
        let closed = self.of("loop").filter(|told| told["squall"]["state"] == "closed").count();
        assert!(told("loops") >= closed as u64, "{ledger}");
    }
}

/// The last line of what was printed is the ledger; what comes before it is the rest.
#[track_caller]
pub(crate) fn split_ledger(printed: &str) -> (&str, Value) {
    let body = printed.strip_suffix('\n').expect("the last line is whole");
    let (rest, last) = body.rsplit_once('\n').map_or(("", body), |(rest, last)| (rest, last));
    let mut object: Value = serde_json::from_str(last).expect(last);
    assert_eq!(object.as_object().map(serde_json::Map::len), Some(1), "{last}");
    (rest, object["ledger"].take())
}

fn kind(record: &Value) -> &str {
    record["squall"]["kind"].as_str().unwrap_or_default()
}

/// The keys that records of this one's kind may have under `squall`, besides those that all may.
#[track_caller]
fn own_keys(record: &Value) -> &'static [&'static str] {
    match kind(record) {
        "line" => &["template", "family", "lines"],
        "summary" => &[
            "template",
            "pattern",
            "members",
            "episode",
            "window",
            "count",
            "total",
            "first",
            "last",
            "last_offset",
            "per_second",
            "baseline_per_second",
            "storm",
            "state",
            "closed_by",
            "exact",
            "values",
            "examples",
        ],
        "notice" => &["reason", "count", "lost_bytes", "families", "examples"],
        "loop" => &[
            "loop",
            "members",
            "iterations",
            "period",
            "verdict",
            "jitter",
            "cap",
            "restarts",
            "intervals",
            "attempts",
            "attempts_limit",
            "endpoint",
            "advice",
            "started",
            "last",
            "state",
            "closed_by",
        ],
        "alert" => &[
            "alert",
            "group",
            "severity",
            "state",
            "value",
            "threshold",
            "window",
            "since",
            "peak",
            "episode",
            "labels",
            "annotations",
        ],
        other => panic!("kind {other:?}: {record}"),
    }
}

/// Fails where a record is not as `interface.md` says, or has a key that it does not know.
#[track_caller]
fn check_schema(record: &Value) {
    let squall = &record["squall"];
    assert_eq!(squall["v"], 1, "{record}");
    is_time(record, &record["@timestamp"]);
    assert!(record["message"].is_string(), "{record}");
    let id = squall["id"].as_str().and_then(|id| id.rsplit_once('-'));
    assert!(
        id.is_some_and(|(lane, seq)| is_hex(lane) && seq.parse::<u64>().is_ok_and(|seq| seq > 0)),
        "{record}"
    );
    assert!(squall["stream"].as_str().is_some_and(|stream| !stream.is_empty()), "{record}");
    let own = own_keys(record);
    let odd = ["truncated", "length", "xxh3", "complete", "parse_error", "raw_b64", "extra_dropped_bytes"];
    let general = ["v", "kind", "id", "stream", "instance"];
    for name in squall.as_object().expect("an object").keys() {
        let known = own.iter().chain(&odd).chain(&general).any(|known| known == name);
        assert!(known, "{name:?} is no key of a {}: {record}", kind(record));
    }
    if kind(record) == "summary" {
        check_summary(record, squall);
    }
    if kind(record) == "loop" {
        check_loop(record, squall);
    }
    if kind(record) == "notice" {
        assert!(squall["reason"].is_string() && squall["count"].is_u64(), "{record}");
    }
}

#[track_caller]
fn check_loop(record: &Value, squall: &Value) {
    let members = squall["members"].as_array().expect("members");
    assert!(!members.is_empty() && members.iter().all(|id| id.as_str().is_some_and(is_hex)), "{record}");
    assert!(squall["loop"].as_str().is_some_and(is_hex), "{record}");
    assert!(squall["iterations"].as_u64().is_some_and(|iterations| iterations > 1), "{record}");
    for name in ["p50", "p95", "min", "max"] {
        assert!(squall["period"][name].as_f64().is_some_and(|seconds| seconds >= 0.0), "{name}: {record}");
    }
    is_time(record, &squall["started"]);
    is_time(record, &squall["last"]);
    let verdicts = ["none", "constant", "linear", "exponential", "jittered", "unknown"];
    assert!(squall["verdict"].as_str().is_some_and(|verdict| verdicts.contains(&verdict)), "{record}");
    assert_eq!(squall["state"] == "closed", squall["closed_by"].is_string(), "{record}");
}

#[track_caller]
fn check_summary(record: &Value, squall: &Value) {
    let number = |name: &str| squall[name].as_u64().unwrap_or_else(|| panic!("{name}: {record}"));
    assert!(number("total") >= number("count"), "{record}");
    assert!(squall["template"].as_str().is_some_and(is_hex), "{record}");
    // An episode that ends with an empty window is told, but the window is not.
    assert!(number("count") > 0 || squall["state"] == "closed", "{record}");
    assert_eq!(squall["window"].is_string(), number("count") > 0, "{record}");
    assert!(squall["episode"].is_string(), "{record}");
    is_time(record, &squall["first"]);
    is_time(record, &squall["last"]);
    assert!(squall["per_second"].as_f64().is_some_and(|rate| rate >= 0.0), "{record}");
    let one_of = |name: &str, words: &[&str]| {
        assert!(squall[name].as_str().is_some_and(|word| words.contains(&word)), "{name}: {record}");
    };
    one_of("state", &["open", "closed"]);
    assert!(
        squall["storm"].is_null() || ["rate", "burst"].map(Value::from).contains(&squall["storm"]),
        "{record}"
    );
    one_of("closed_by", &["interval", "quiet", "evicted", "pressure", "shutdown", "end"]);
}

#[track_caller]
fn is_time(record: &Value, time: &Value) {
    assert!(time.as_str().is_some_and(|time| time.parse::<jiff::Timestamp>().is_ok()), "{time}: {record}");
}

fn is_hex(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The judge is judged: what it must not let pass.
    #[test]
    fn faults_are_seen() {
        let line = |seq: u64, more: &str| {
            format!(
                "{{\"@timestamp\":\"2026-02-06T00:10:00Z\",\"message\":\"m\",\"squall\":{{\"v\":1,\"kind\":\"line\",\
                 \"id\":\"{}-{seq}\",\"stream\":\"s\"{more}}}}}\n",
                "0123456789abcdef".repeat(2)
            )
        };
        #[track_caller]
        fn check(text: &str, want: bool) {
            assert_eq!(std::panic::catch_unwind(|| Records::read(text)).is_ok(), want, "{text}");
        }
        let good = line(1, "") + &line(2, ",\"complete\":false");
        check(&good, true);
        assert_eq!(Records::read(&good).missing(["m", "m", "m", "n"]), ["m", "n"]);
        check(&(line(1, "") + &line(3, "")), false); // a number is missing
        check(&(line(1, "") + &line(1, "")), false); // a number twice
        check(&(line(1, "") + &line(2, "").replace("cdef-", "cdee-")), false); // another lane
        check(&line(1, ",\"surprise\":1"), false);
        check(&line(1, ",\"count\":1"), false); // a line has no count
        check(&line(1, "").replace("\"line\"", "\"rumour\""), false);
        check(&line(1, "").replace("\"line\"", "\"summary\""), false); // without all that a summary has
        check(&line(1, "").replace("\"v\":1", "\"v\":2"), false);
        check(&line(1, "").replace("2026-02-06T00", "yesterday"), false);
        check(&line(1, "").replace("\"message\":\"m\"", "\"message\":1"), false);
        check("not JSON\n", false);
        check("", true);
    }
}

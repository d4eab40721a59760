//! What real programs said when their peer was dead (`tests/captures/`), through the whole program.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::support::process::run;
use crate::support::records::Records;

fn captures() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/captures"))
}

/// What we judged of each capture.
fn expected() -> Vec<Value> {
    let text = fs::read_to_string(captures().join("expected.json")).expect("a table");
    serde_json::from_str(&text).expect("JSON")
}

/// The records of a capture, word for word.
fn read(file: &str, multiline: &str) -> Records {
    let folder = tempfile::tempdir().expect("a folder");
    fs::copy(captures().join(file), folder.path().join(file)).expect("a capture");
    let args = ["run", "--tail", file, "--until-eof", "--to", "console", "--json"];
    let args = args.into_iter().chain(["--collapse", "never", "--multiline", multiline]);
    let ended = run(folder.path(), args);
    ended.expect_code(0);
    let (mut records, ledger) = Records::with_ledger(&ended);
    assert_eq!(ledger["conservation_error"], 0, "{file}");
    records.all.retain(|record| record["squall"]["kind"] == "line");
    records
}

fn message(record: &Value) -> &str {
    record["message"].as_str().expect("a text")
}

#[test]
fn every_line_of_a_capture_comes_out_alone_or_in_a_trace() {
    for row in expected() {
        let file = row["file"].as_str().expect("a name");
        let written = fs::read_to_string(captures().join(file)).expect("a capture").lines().count();
        for multiline in ["off", "auto"] {
            let records = read(file, multiline);
            let lines = |record: &Value| record["squall"]["lines"].as_u64().unwrap_or(1);
            let told: u64 = records.all.iter().map(lines).sum();
            assert_eq!(told, written as u64, "{file} {multiline}");
        }
    }
}

/// What the detector is held against must itself hold: the members are there, and where we say that the time between two
/// attempts is constant, it is, by the times that squall reads.
#[test]
fn what_is_expected_of_the_captures_is_in_them() {
    for row in expected() {
        let word = |name: &str| row[name].as_str().unwrap_or_else(|| panic!("{name}: {row}"));
        let records = read(word("file"), "off");
        let has = |part: &str| records.all.iter().any(|record| message(record).contains(part));
        let members = row["members"].as_array().expect("a list");
        assert!(members.iter().all(|member| has(member.as_str().expect("a text"))), "{row}");
        let attempts = records.all.iter().filter(|record| message(record).contains(word("anchor")));
        let times: Vec<f64> = attempts
            .map(|record| {
                let time: jiff::Timestamp =
                    record["@timestamp"].as_str().expect("a time").parse().expect("a time");
                time.as_nanosecond() as f64 / 1e9
            })
            .collect();
        assert!(times.len() >= 9, "{row}: {} attempts", times.len());
        let Some(period) = row["period_s"].as_f64() else { continue };
        let mut gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        gaps.sort_unstable_by(f64::total_cmp);
        let median = gaps[gaps.len() / 2];
        assert!((median / period - 1.0).abs() < 0.05, "{row}: {median}");
    }
}

#[test]
fn a_stack_of_nine_lines_is_one_line_an_attempt() {
    let records = read("ws-fixed.log", "auto");
    let count = |part: &str| records.all.iter().filter(|record| message(record).starts_with(part)).count();
    let (errors, closed) = (count("Error: connect ECONNREFUSED"), count("socket closed"));
    assert_eq!(errors + closed, records.all.len(), "nothing else");
    assert!(closed >= 22 && errors.abs_diff(closed) <= 1, "{errors} and {closed}");
    let template = |record: &Value| record["squall"]["template"].as_str().map(str::to_owned);
    let mut templates: Vec<_> = records.all.iter().map(template).collect();
    templates.sort_unstable();
    templates.dedup();
    assert!(templates.len() <= 3, "one for each, and the last one was cut: {templates:?}");
}

/// What squall says of a capture's loop, as far as it is held against what we judged.
#[derive(Debug, Default, PartialEq)]
struct Told {
    verdict: String,
    endpoint: String,
    iterations: u64,
}

/// The loops of which the line that tells the attempts is a member, each as it was told last.
fn loops_of(file: &str, anchor: &str) -> Vec<Told> {
    let ended = run(captures(), ["replay", "--json", file]);
    let (records, _) = Records::with_ledger(ended.expect_code(0));
    let is_anchor = |record: &&Value| message(record).contains(anchor);
    let own = |name: &'static str| {
        let lines = records.of("line").filter(is_anchor);
        lines.filter_map(move |record| record["squall"][name].as_str())
    };
    let templates: HashSet<&str> = own("template").chain(own("family")).collect();
    let mut last: HashMap<(&str, &str), &Value> = HashMap::new();
    for told in records.of("loop").map(|record| &record["squall"]) {
        let members = told["members"].as_array().expect("a list");
        if members.iter().any(|member| member.as_str().is_some_and(|member| templates.contains(member))) {
            let word = |name: &str| told[name].as_str().expect("a text");
            last.insert((word("loop"), word("started")), told);
        }
    }
    let mut loops: Vec<Told> = last.into_values().map(told).collect();
    loops.sort_unstable_by_key(|told| std::cmp::Reverse(told.iterations));
    loops
}

fn told(told: &Value) -> Told {
    let word = |name: &str| told[name].as_str().unwrap_or_default();
    let jitter = if told["jitter"] == true && word("verdict") == "exponential" { "+jitter" } else { "" };
    Told {
        verdict: format!("{}{jitter}", word("verdict")),
        endpoint: word("endpoint").to_owned(),
        iterations: told["iterations"].as_u64().expect("a number"),
    }
}

/// The loop of each capture, its verdict and what cannot be reached. A row that says why it `misses` may be wrong, and
/// must be taken back once it is right.
#[test]
fn the_loops_of_real_programs_are_told() {
    let (mut right, mut wrong, mut table) = (0, Vec::new(), String::new());
    let rows = expected();
    for row in &rows {
        let word = |name: &str| row[name].as_str().unwrap_or_else(|| panic!("{name}: {row}"));
        let accept = row["accept"].as_array().expect("a list");
        let loops = loops_of(word("file"), word("anchor"));
        let is_right = loops.iter().any(|told| {
            accept.iter().any(|verdict| *verdict == *told.verdict) && told.endpoint.contains(word("endpoint"))
        });
        let misses = row["misses"].as_str();
        right += usize::from(is_right);
        let mark = match (is_right, misses) {
            (true, None) => "right".to_owned(),
            (false, Some(why)) => format!("known miss: {why}"),
            (true, Some(_)) => "right, but said to be missed".to_owned(),
            (false, None) => "wrong".to_owned(),
        };
        if is_right == misses.is_some() {
            wrong.push(word("file"));
        }
        table += &format!("{}: {mark}; {} expected, {loops:?}\n", word("file"), word("verdict"));
    }
    // Past the test harness, which would keep it to itself.
    let _ = write!(std::io::stderr(), "\n{table}{right} of {} captures are told right\n", rows.len());
    assert!(wrong.is_empty(), "{wrong:?}\n{table}");
    assert!(right * 5 >= rows.len() * 4, "{right} of {}", rows.len());
}

//! `run --until-eof`: what is there is delivered whole, and the ledger says so.

use std::fs;

use crate::support::incident::{Wrap, incident};
use crate::support::process::{feed, run};
use crate::support::records::{Records, split_ledger};

/// Enough lines for half an hour of storm by the log's own clock.
const LINES: u64 = 25_000;

#[test]
fn an_incident_is_delivered_whole() {
    #[track_caller]
    fn check(wrap: Wrap, format: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        let written = incident(LINES, wrap);
        fs::write(folder.path().join("app.log"), &written.file).expect("a log");
        let args =
            ["run", "--until-eof", "--tail", "app.log", "--format", format, "--to", "console", "--json"];
        let ended = run(folder.path(), args);
        ended.expect_code(0);
        let (records, ledger) = Records::with_ledger(&ended);
        assert_eq!(records.lines(), written.lines);
        assert_eq!(ledger["bytes_in"], written.file.len(), "{ledger}");
        assert_eq!(records.missing(written.calm.iter().map(String::as_str)), [""; 0], "calm lines");
        assert!(records.summarised > LINES * 9 / 10, "the storm is folded: {ledger}");
        assert!(records.verbatim < written.calm.len() as u64 + 200, "little else comes whole: {ledger}");
    }
    check(Wrap::Plain, "plain");
    check(Wrap::Plain, "auto");
    check(Wrap::Docker, "docker");
    check(Wrap::Docker, "auto");
    check(Wrap::Cri, "cri");
    check(Wrap::Cri, "auto");
}

#[test]
fn a_file_of_records_is_appended_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let written = incident(3_000, Wrap::Docker);
    fs::write(folder.path().join("app.log"), &written.file).expect("a log");
    let out = folder.path().join("out.ndjson");
    // A crash left half a record behind: it goes, what stands before it stays.
    fs::write(&out, "{\"of\":\"an earlier run\"}\n{\"half\":").expect("an old file");
    let ended =
        run(folder.path(), ["run", "--until-eof", "--tail", "app.log", "--to", "file:out.ndjson", "--json"]);
    ended.expect_code(0);
    let (rest, ledger) = split_ledger(&ended.stdout);
    assert_eq!(rest, "", "only the ledger is printed");
    let text = fs::read_to_string(&out).expect("records");
    let records =
        Records::read(text.strip_prefix("{\"of\":\"an earlier run\"}\n").expect("the old record stays"));
    assert_eq!(records.lines(), written.lines);
    assert_eq!(ledger["records_delivered"], records.all.len(), "{ledger}");
    assert_eq!(records.missing(written.calm.iter().map(String::as_str)), [""; 0], "calm lines");
}

#[test]
fn standard_input_is_delivered_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let written = incident(LINES, Wrap::Docker);
    let ended = feed(folder.path(), ["run", "--stdin", "--to", "console", "--json"], &written.file);
    ended.expect_code(0);
    let (records, _) = Records::with_ledger(&ended);
    assert_eq!(records.lines(), written.lines);
    assert_eq!(records.missing(written.calm.iter().map(String::as_str)), [""; 0], "calm lines");
    assert!(records.all.iter().all(|record| {
        record["squall"]["stream"].as_str().is_some_and(|stream| stream.starts_with("testhost/stdin"))
    }));
}

#[test]
fn folding_goes_as_far_as_it_is_told() {
    #[track_caller]
    fn check(collapse: &str, verbatim: std::ops::RangeInclusive<u64>) {
        let folder = tempfile::tempdir().expect("a folder");
        let written = incident(5_000, Wrap::Docker);
        let args = ["run", "--stdin", "--collapse", collapse, "--to", "console", "--json"];
        let ended = feed(folder.path(), args, &written.file);
        ended.expect_code(0);
        let (records, ledger) = Records::with_ledger(&ended);
        assert_eq!(records.lines(), written.lines);
        assert!(verbatim.contains(&records.verbatim), "{collapse}: {ledger}");
    }
    check("never", 5_000..=5_000);
    check("repeats", 1_500..=3_500); // two of five iterations carry details that change
    check("storms", 150..=350);
    check("always", 10..=180);
}

#[test]
fn every_file_of_a_glob_is_read_and_none_of_the_excluded() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["a.log", "b.log", "c.log", "c.txt"] {
        fs::write(folder.path().join(name), format!("the only line of {name}\n")).expect("a log");
    }
    let args = ["run", "--until-eof", "--tail", "*.log", "--exclude", "b.*", "--to", "console", "--json"];
    let ended = run(folder.path(), args);
    ended.expect_code(0);
    let (records, _) = Records::with_ledger(&ended);
    let mut texts = records.texts();
    texts.sort_unstable();
    assert_eq!(texts, ["the only line of a.log", "the only line of c.log"]);
}

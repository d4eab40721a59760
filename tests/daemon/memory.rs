//! How large the process grows. The goals are those of a release build: 32 MB on the incident, `memory_max` (48 MiB)
//! always. A debug build has larger code and slower everything, so here it gets [`DEBUG_EXTRA_KIB`] more.

use std::fs;
use std::io::{BufWriter, Write as _};

use crate::support::incident::{Wrap, incident};
use crate::support::process::run;
use crate::support::records::{Records, split_ledger};

#[test]
fn the_incident_fits_into_32_megabytes() {
    let folder = tempfile::tempdir().expect("a folder");
    let written = incident(squall::corpus::incident::LINES, Wrap::Docker);
    fs::write(folder.path().join("app.log"), &written.file).expect("a log");
    let ended =
        run(folder.path(), ["run", "--until-eof", "--tail", "app.log", "--to", "blackhole", "--json"]);
    ended.expect_code(0);
    let (_, ledger) = split_ledger(&ended.stdout);
    assert_eq!(ledger["lines_in"], written.lines);
    assert_eq!(ledger["conservation_error"], 0);
    eprintln!("peak {} KiB, {ledger}", ended.peak_kib);
    assert!(ended.peak_kib > 1_024, "its size was seen");
    assert!(ended.peak_kib < 32_000_000 / 1_024 + DEBUG_EXTRA_KIB, "{} KiB", ended.peak_kib);
}

#[test]
fn fault_077_a_million_templates_stay_within_the_limit() {
    const LINES: u64 = 1_000_000;
    let folder = tempfile::tempdir().expect("a folder");
    let log = fs::File::create(folder.path().join("app.log")).expect("a log");
    let mut log = BufWriter::new(log);
    for n in 0..LINES {
        // Letters are no variable: every line is a template of its own.
        let word: String = format!("{n:06}").bytes().map(|digit| char::from(digit - b'0' + b'g')).collect();
        writeln!(log, "{word} is a word of its own, as {word} is").expect("room");
    }
    log.into_inner().expect("room");
    let args = ["run", "--until-eof", "--tail", "app.log", "--format", "plain", "--to", "file:out", "--json"];
    let ended = run(folder.path(), args);
    ended.expect_code(0);
    let (_, ledger) = split_ledger(&ended.stdout);
    let records = Records::read(&fs::read_to_string(folder.path().join("out")).expect("records"));
    eprintln!("peak {} KiB, {ledger}", ended.peak_kib);
    assert_eq!((records.lines(), ledger["lines_in"].as_u64()), (LINES, Some(LINES)), "{ledger}");
    assert_eq!((records.noticed, records.summarised), (LINES - records.verbatim, 0), "a flood: {ledger}");
    assert!(records.of("notice").all(|notice| notice["squall"]["reason"] == "novelty_flood"));
    for notice in records.of("notice") {
        let families = notice["squall"]["families"].as_array().expect("families");
        let told: u64 = families.iter().map(|family| family["count"].as_u64().expect("a count")).sum();
        assert_eq!(notice["squall"]["count"], told, "{notice}");
    }
    assert!(ended.peak_kib < 48 * 1_024 + DEBUG_EXTRA_KIB, "{} KiB", ended.peak_kib);
}

const DEBUG_EXTRA_KIB: u64 = if cfg!(debug_assertions) { 24 * 1_024 } else { 0 };

//! How large the process grows: 32 MB on the incident, `memory_max` (48 MiB) always. The goals are those of a release
//! build; a debug build is slower, not larger, so it keeps them too.

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
    assert!(ended.peak_kib < 32_000_000 / 1_024, "{} KiB", ended.peak_kib);
}

#[test]
fn fault_077_a_million_templates_are_told_by_notices() {
    let folder = words(1);
    let args = ["run", "--until-eof", "--tail", "app.log", "--format", "plain", "--to", "file:out", "--json"];
    let ended = run(folder.path(), args);
    ended.expect_code(0);
    let (_, ledger) = split_ledger(&ended.stdout);
    let records = Records::read(&fs::read_to_string(folder.path().join("out")).expect("records"));
    eprintln!("peak {} KiB, {ledger}", ended.peak_kib);
    assert_eq!((records.lines(), ledger["lines_in"].as_u64()), (WORDS, Some(WORDS)), "{ledger}");
    assert_eq!((records.noticed, records.summarised), (WORDS - records.verbatim, 0), "a flood: {ledger}");
    for notice in records.of("notice") {
        assert_eq!(notice["squall"]["reason"], "novelty_flood");
        let families = notice["squall"]["families"].as_array().expect("families");
        let told: u64 = families.iter().map(|family| family["count"].as_u64().expect("a count")).sum();
        assert_eq!(notice["squall"]["count"], told, "{notice}");
    }
    assert!(ended.peak_kib < MEMORY_MAX_KIB, "{} KiB", ended.peak_kib);
}

/// Without the limit of new templates a second, and with room for all of them but in memory.
#[test]
fn fault_077_a_million_templates_stay_within_the_limit() {
    #[track_caller]
    fn check(times: usize, collapse: &str, templates_max: &str) {
        let folder = words(times);
        let args =
            ["run", "--until-eof", "--tail", "app.log", "--format", "plain", "--to", "blackhole", "--json"];
        let settings =
            ["--collapse", collapse, "--set", templates_max, "--set", "storm.novelty_per_second=1000000"];
        let first = ["--set", "storm.first=1"];
        let ended = run(folder.path(), args.into_iter().chain(settings).chain(first));
        ended.expect_code(0);
        let (_, ledger) = split_ledger(&ended.stdout);
        eprintln!("peak {} KiB, {ledger}", ended.peak_kib);
        assert_eq!(
            (&ledger["lines_in"], &ledger["conservation_error"]),
            (&(WORDS * times as u64).into(), &0.into())
        );
        assert_eq!(ledger["lines_verbatim"], WORDS, "each word once: {ledger}");
        assert!(ended.peak_kib < MEMORY_MAX_KIB, "{} KiB: {ledger}", ended.peak_kib);
    }
    check(1, "storms", "storm.templates_max=1000000");
    check(1, "storms", "storm.templates_max=10000");
    check(2, "always", "storm.templates_max=1000000");
}

/// A log of a million different words, each so many times in a row. Letters are no variable, so each is a template.
fn words(times: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let log = fs::File::create(folder.path().join("app.log")).expect("a log");
    let mut log = BufWriter::new(log);
    for n in 0..WORDS {
        let word: String = format!("{n:06}").bytes().map(|digit| char::from(digit - b'0' + b'g')).collect();
        for _ in 0..times {
            writeln!(log, "{word} is a word of its own, as {word} is").expect("room");
        }
    }
    log.into_inner().expect("room");
    folder
}

const WORDS: u64 = 1_000_000;
/// The default of `budget.memory_max`.
const MEMORY_MAX_KIB: u64 = 48 * 1_024;

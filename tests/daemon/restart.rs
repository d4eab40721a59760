//! One state directory and several lives: what a second run knows of the first.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use rustix::process::Signal;

use crate::support::process::{Running, run, squall};
use crate::support::records::{Records, split_ledger};

const ARGS: [&str; 9] =
    ["run", "--until-eof", "--tail", "app.log", "--format", "plain", "--to", "file:out", "--json"];

fn append(folder: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(folder.join("app.log")).expect("a log");
    file.write_all(text.as_bytes()).expect("room");
}

/// The numbers of the last object that was printed.
fn ledger(stdout: &str, names: [&str; 3]) -> [u64; 3] {
    let (_, ledger) = split_ledger(stdout);
    names.map(|name| ledger[name].as_u64().expect("a number"))
}

/// Lines that are only counted move the position like any others, and the books go on.
#[test]
fn fault_043_folded_lines_move_the_position() {
    let folder = tempfile::tempdir().expect("a folder");
    append(folder.path(), &"connection refused\n".repeat(5_000));
    let first = run(folder.path(), ARGS);
    let names = ["lines_in", "lines_summarised", "conservation_error"];
    assert_eq!(ledger(&first.expect_code(0).stdout, names), [5_000, 4_995, 0]);

    append(folder.path(), &"connection refused\n".repeat(1_000));
    let second = run(folder.path(), ARGS);
    let [lines, summarised, error] = ledger(&second.expect_code(0).stdout, names);
    assert_eq!((lines, error), (6_000, 0), "nothing was read twice");
    let records = Records::read(&fs::read_to_string(folder.path().join("out")).expect("records"));
    assert_eq!((records.verbatim + records.summarised, records.summarised), (6_000, summarised));

    // Nothing new: nothing is read, and the files are found all the same.
    let third = run(folder.path(), ARGS);
    assert_eq!(ledger(&third.expect_code(0).stdout, names), [6_000, summarised, 0]);
    // And what lies there holds.
    let audit = run(folder.path(), ["audit", "state", "--json"]);
    audit.expect_code(0);
}

/// A second process on one state directory would number records twice.
#[test]
fn fault_041_a_second_process_is_told_to_come_later() {
    let folder = tempfile::tempdir().expect("a folder");
    append(folder.path(), "one\n");
    let args = ["run", "--tail", "app.log", "--to", "file:out", "--json"];
    let mut first = Running::start(&mut squall(folder.path(), args));
    let out = folder.path().join("out");
    first.wait_until("a record", |_| fs::read_to_string(&out).is_ok_and(|text| text.contains("one")));
    run(folder.path(), ARGS).expect_code(75).expect_said("another process uses the state directory");
    first.signal(Signal::TERM);
    first.end().expect_code(0);
    run(folder.path(), ARGS).expect_code(0);
}

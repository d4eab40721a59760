//! A pipe that stays open: summaries come by the clock, although no line does.

use std::process::Stdio;

use crate::support::process::{Running, squall};
use crate::support::records::Records;

#[test]
fn summaries_come_while_nothing_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let args = ["run", "--stdin", "--to", "console", "--json"];
    let settings = ["--set", "storm.summary_every=1s", "--set", "storm.quiet=2s"];
    let mut running =
        Running::start(squall(folder.path(), args.into_iter().chain(settings)).stdin(Stdio::piped()));
    let summaries = |running: &Running| running.stdout().matches("\"kind\":\"summary\"").count();
    running.write(&b"no route to host\n".repeat(300));
    running.wait_until("a summary", |running| summaries(running) == 1);
    // The same episode, its next window: no first lines again.
    running.write(&b"no route to host\n".repeat(200));
    running.wait_until("the next summary", |running| summaries(running) == 2);
    let ended = running.end();
    ended.expect_code(0);
    let (records, _) = Records::with_ledger(&ended);
    assert_eq!(records.lines(), 500);
    let told: Vec<_> = records.of("summary").map(|summary| &summary["squall"]).collect();
    assert_eq!(told[0]["count"], 295);
    assert_eq!((&told[0]["closed_by"], &told[0]["state"]), (&"interval".into(), &"open".into()));
    assert!(told.iter().all(|summary| summary["closed_by"] != "end"), "{told:?}");
    assert_eq!(records.verbatim + told[1]["count"].as_u64().expect("checked"), 205);
}

#[test]
fn a_new_line_is_sent_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let args = ["run", "--stdin", "--collapse", "always", "--to", "console"];
    let mut running = Running::start(squall(folder.path(), args).stdin(Stdio::piped()));
    for word in ["alpha", "beta", "gamma"] {
        running.write(format!("{word} has never been seen\n").as_bytes());
        running.wait_until(word, |running| running.stdout().contains(word));
    }
    running.end().expect_code(0).expect_said("lines in");
}

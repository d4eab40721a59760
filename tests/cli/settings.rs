//! Where settings come from, and which of them wins: flags, environment, file, default.

use std::fs;

use crate::support::process::{Running, squall};
use crate::support::records::Records;

/// How many of twenty equal lines come word for word: `storm.first`, told by what the program does.
#[track_caller]
fn first_of(args: &[&str], environment: Option<&str>) -> u64 {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("app.log"), "no route to host\n".repeat(20)).expect("a log");
    let config = "storm: { first: 2 }\ninputs: { app: { type: tail, include: [app.log] } }\n\
                  outputs: { console: { json: true } }\n";
    fs::write(folder.path().join("squall.yaml"), config).expect("a config");
    fs::write(folder.path().join("more.yaml"), "storm: { first: 3 }\n").expect("a config");
    let fixed = ["run", "--until-eof", "--json"];
    let mut command = squall(folder.path(), fixed.into_iter().chain(args.iter().copied()));
    if let Some(first) = environment {
        command.env("SQUALL_STORM__FIRST", first);
    }
    let ended = Running::start(&mut command).end();
    ended.expect_code(0);
    let (records, _) = Records::with_ledger(&ended);
    assert_eq!(records.lines(), 20);
    records.verbatim
}

#[test]
fn what_comes_later_wins() {
    const FLAGS: [&str; 4] = ["--tail", "app.log", "--to", "console"];
    assert_eq!(first_of(&FLAGS, None), 5, "the default, with flags alone");
    assert_eq!(first_of(&["--config", "squall.yaml"], None), 2, "a file alone");
    assert_eq!(first_of(&["-c", "squall.yaml", "-c", "more.yaml"], None), 3, "the later file");
    assert_eq!(first_of(&["-c", "squall.yaml"], Some("4")), 4, "the environment");
    assert_eq!(first_of(&["-c", "squall.yaml", "--set", "storm.first=6"], Some("4")), 6, "a flag");
    let both = [&["-c", "squall.yaml"][..], &FLAGS].concat();
    assert_eq!(first_of(&both, None), 2, "flags for one thing, the file for another");
}

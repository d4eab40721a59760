//! Nobody reads any more (`squall … | head -1`): the program ends, quietly and with 1, and never panics.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use crate::support::process::{Running, closed_pipe, squall};

#[test]
fn a_closed_standard_output_ends_a_command_quietly() {
    #[track_caller]
    fn check(args: &[&str], code: i32) {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("app.log"), "one\ntwo\n").expect("a log");
        fs::write(folder.path().join("good.yaml"), "storm: { first: 3 }\n").expect("a config");
        let ended = Running::start(squall(folder.path(), args.iter().copied()).stdout(closed_pipe())).end();
        ended.expect_code(code);
        assert_eq!(ended.stderr, "", "{args:?}");
    }
    check(&["completions", "bash"], 1);
    check(&["man"], 1);
    check(&["validate", "good.yaml"], 1);
    check(&["templates", "app.log"], 1);
    check(&["templates", "--assign", "app.log"], 1);
    check(&["run", "--until-eof", "--tail", "app.log", "--to", "blackhole"], 1);
    check(&["run", "--until-eof", "--tail", "app.log", "--to", "blackhole", "--json"], 1);
    check(&["demo", "--lines", "100", "--seconds", "0", "--json"], 1);
    check(&["demo", "--lines", "100", "--seconds", "0"], 1);
    // clap's own: it does not tell whether anybody read it.
    check(&["--help"], 0);
    check(&["run", "--help"], 0);
    check(&["--version"], 0);
}

#[test]
fn a_closed_standard_error_changes_no_exit_code() {
    #[track_caller]
    fn check(args: &[&str], code: i32) {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("bad.yaml"), "storm: { frist: 3 }\n").expect("a config");
        Running::start(squall(folder.path(), args.iter().copied()).stderr(closed_pipe()))
            .end()
            .expect_code(code);
    }
    check(&["run", "--nope"], 2);
    check(&["run", "--to", "console"], 2);
    check(&["run", "--until-eof", "--tail", "nothing", "--to", "blackhole"], 1);
    check(&["run", "--stdin", "--to", "console", "--state", "dir"], 0);
    check(&["templates", "missing"], 1);
    check(&["validate", "bad.yaml"], 78);
    check(&["run", "--config", "bad.yaml"], 78);
}

/// `squall run … | head -1`: what was not delivered is told, because it was read.
#[test]
fn a_console_that_closes_ends_the_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let args = ["run", "--stdin", "--collapse", "never", "--to", "console", "--json"];
    let mut running = Running::start(squall(folder.path(), args).stdin(Stdio::piped()).stdout(writer));
    let mut head = String::new();
    running.write(b"the first line\n");
    BufReader::new(reader).read_line(&mut head).expect("a record");
    assert!(head.contains("the first line"), "{head}");
    // The reader is dropped; more than a pipe holds, so that somebody notices.
    running.write(&b"another line\n".repeat(100_000));
    let ended = running.end();
    ended.expect_code(1).expect_said("cannot write to standard output").expect_said("were not delivered");
}

/// A sidecar whose console closed must not sit there and wait for a line that never comes.
#[test]
fn a_console_that_closes_ends_an_idle_sidecar() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("app.log"), "one\n").expect("a log");
    let args = ["run", "--tail", "app.log", "--to", "console", "--shutdown-timeout", "2s"];
    let mut running = Running::start(squall(folder.path(), args).stdout(closed_pipe()));
    running.wait_until("complaint", |running| running.stderr().contains("standard output"));
    running.end().expect_code(1);
}

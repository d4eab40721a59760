//! How a run ends because of the other ends of its pipes, each with the right exit code.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};

/// `squall run`, killed after half a minute: then it has no exit code.
fn squall(args: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", "30", env!("CARGO_BIN_EXE_squall"), "run"]).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Writes for as long as somebody reads.
fn write_on(mut stdin: ChildStdin) {
    let lines = (0..1_000).map(|line| format!("line {line}\n")).collect::<String>();
    while stdin.write_all(lines.as_bytes()).is_ok() {}
}

#[test]
fn a_busy_input_does_not_keep_a_closed_console_running() {
    let args = ["--stdin", "--collapse", "never", "--to", "console", "--json"];
    let mut child = squall(&args).stdin(Stdio::piped()).spawn().expect("squall");
    let stdin = child.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || write_on(stdin));
    let mut line = String::new();
    // The pipe is closed behind the first line.
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("UTF-8");
    assert!(line.contains("line 0"), "{line}");
    assert_eq!(child.wait().expect("an end").code(), Some(1));
    writer.join().expect("the writer saw the pipe close");
}

#[test]
fn an_empty_pipe_is_fine_and_one_that_cannot_be_read_is_not() {
    #[track_caller]
    fn check(stdin: Stdio, want: i32) {
        let mut run = squall(&["--stdin", "--until-eof", "--to", "blackhole", "--json"]);
        assert_eq!(run.stdin(stdin).output().expect("squall").status.code(), Some(want));
    }
    check(Stdio::null(), 0);
    check(Stdio::from(File::open(std::env::temp_dir()).expect("open")), 1);
}

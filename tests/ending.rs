//! How a run ends: by itself, because its output went away, or because its input did. Each with the right exit code.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};

/// `squall run`, killed after half a minute: then its exit code is 124.
fn squall(args: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command.args(["-s", "KILL", "30", env!("CARGO_BIN_EXE_squall"), "run"]).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Reads one line of what the program prints, and closes the pipe.
fn read_one_line(child: &mut Child) -> String {
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("UTF-8");
    line
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
    assert!(read_one_line(&mut child).contains("line 0"));
    assert_eq!(child.wait().expect("an end").code(), Some(1));
    writer.join().expect("the writer saw the pipe close");
}

#[test]
fn a_quiet_input_does_not_keep_a_closed_console_running() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    fs::write(&path, "one\n").expect("written");
    let tail = path.to_str().expect("UTF-8");
    let mut child = squall(&["--tail", tail, "--to", "console", "--json"]).spawn().expect("squall");
    assert!(read_one_line(&mut child).contains("one"));
    let mut log = OpenOptions::new().append(true).open(&path).expect("open");
    log.write_all(b"two\n").expect("written");
    assert_eq!(child.wait().expect("an end").code(), Some(1));
}

#[test]
fn a_ledger_that_nobody_reads_is_no_failure() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    fs::write(&path, "one\n").expect("written");
    for json in [&["--json"][..], &[]] {
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let tail = path.to_str().expect("UTF-8");
        let mut run = squall(&["--tail", tail, "--until-eof", "--to", "blackhole"]);
        let status = run.args(json).stdout(writer).status().expect("squall");
        assert_eq!(status.code(), Some(0), "{json:?}");
    }
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

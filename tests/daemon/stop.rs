//! Signals: the first one ends everything in order, the second one at once, and nothing hangs.

use std::fs::{self, OpenOptions};
use std::io::{PipeReader, Write as _};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::process::{Running, squall};
use crate::support::records::{Records, split_ledger};

#[test]
fn a_signal_closes_the_windows_and_delivers_everything() {
    #[track_caller]
    fn check(signal: Signal) {
        let folder = tempfile::tempdir().expect("a folder");
        // What comes last is new, so it is sent at once: when it is there, all before it was read.
        let log = "no route to host\n".repeat(1_000) + "the last line\n";
        fs::write(folder.path().join("app.log"), log).expect("a log");
        let args = ["run", "--tail", "app.log", "--to", "console", "--json"];
        let mut running = Running::start(&mut squall(folder.path(), args));
        running.wait_until("the last line", |running| running.stdout().contains("the last line"));
        assert!(!running.stdout().contains("\"ledger\""), "it runs on");
        running.signal(signal);
        let ended = running.end();
        ended.expect_code(0);
        let (records, ledger) = Records::with_ledger(&ended);
        assert_eq!(records.lines(), 1_001, "{ledger}");
        let summaries: Vec<_> = records.of("summary").collect();
        let [summary] = summaries.as_slice() else { panic!("one window was open: {}", ended.stdout) };
        assert_eq!(summary["squall"]["closed_by"], "shutdown", "{summary}");
        assert_eq!(summary["squall"]["count"], 995, "{summary}");
    }
    check(Signal::TERM);
    check(Signal::INT);
}

/// What is in the files when the signal comes is read, and told by a process that keeps nothing for another one.
#[test]
fn what_was_written_before_the_signal_is_read() {
    const LINES: u64 = 20_000;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.log");
    fs::write(&path, "the first line\n").expect("a log");
    // A quarter of it is for reading.
    let args = ["run", "--tail", "app.log", "--to", "console", "--json", "--shutdown-timeout", "60s"];
    let mut running = Running::start(&mut squall(folder.path(), args));
    running.wait_until("the first line", |running| running.stdout().contains("the first line"));
    let mut log = OpenOptions::new().append(true).open(&path).expect("the log");
    let lines: String = (1..LINES).map(|n| format!("request {n} was served\n")).collect();
    log.write_all(lines.as_bytes()).expect("room");
    running.signal(Signal::TERM);
    let ended = running.end();
    ended.expect_code(0);
    assert_eq!(Records::with_ledger(&ended).0.lines(), LINES);
}

#[test]
fn a_signal_ends_a_sidecar_that_waits() {
    let folder = tempfile::tempdir().expect("a folder");
    let args = ["run", "--tail", "not-there-yet.log", "--to", "console", "--json"];
    let mut running = Running::start(&mut squall(folder.path(), args));
    // Our signal must find it waiting for signals, not starting.
    running.wait_until("its threads", |running| running.threads() >= 3);
    running.signal(Signal::TERM);
    let ended = running.end();
    ended.expect_code(0);
    assert_eq!(split_ledger(&ended.stdout).1["lines_in"], 0);
}

#[test]
fn a_second_signal_ends_at_once() {
    let (_folder, mut running, _reader) = blocked("60s");
    running.signal(Signal::TERM);
    running.wait_until("stopping", |running| running.stderr().contains("stopping"));
    let id = Pid::from_raw(running.id().cast_signed()).expect("a process");
    running.wait_until("a second signal", |running| {
        // One that comes too soon is the first one once more.
        let _ = kill_process(id, Signal::TERM);
        running.stderr().contains("second signal")
    });
    running.end().expect_code(1);
}

/// `timeout squall …` sends its signal to squall, and then to squall's group.
#[test]
fn a_signal_that_comes_twice_at_once_is_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut running =
        Running::start(&mut squall(folder.path(), ["run", "--tail", "x.log", "--to", "console"]));
    running.wait_until("its threads", |running| running.threads() >= 3);
    (0..2).for_each(|_| running.signal(Signal::TERM));
    let ended = running.end();
    ended.expect_code(0);
    assert!(!ended.stderr.contains("second signal"), "{}", ended.stderr);
}

/// An output that blocks for ever must not keep the program: the orchestrator's own kill would take the counts along.
#[test]
fn a_blocked_output_does_not_outlast_the_stop() {
    let (_folder, running, _reader) = blocked("1s");
    running.signal(Signal::TERM);
    running.end().expect_code(1).expect_said("were not delivered");
}

/// A sidecar whose standard output is a full pipe that nobody reads.
fn blocked(timeout: &str) -> (TempDir, Running, PipeReader) {
    let folder = tempfile::tempdir().expect("a folder");
    let log: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
    fs::write(folder.path().join("app.log"), log).expect("a log");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let args = ["run", "--tail", "app.log", "--collapse", "never", "--to", "console", "--json"];
    let args = args.into_iter().chain(["--shutdown-timeout", timeout]);
    let mut running = Running::start(squall(folder.path(), args).stdout(writer));
    running.wait_until("a full pipe", |_| rustix::io::ioctl_fionread(&reader).expect("a pipe") >= PIPE_FULL);
    (folder, running, reader)
}

/// A pipe holds 64 KiB unless somebody asked for more; the last page of it may stay a bit emptier.
const PIPE_FULL: u64 = 60 * 1024;

//! squall as a process, without any wait that has no end.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::process::squall;

/// A running squall. Killed when dropped before its end.
pub(super) struct Sidecar {
    process: Child,
    output: Receiver<String>,
    messages: Arc<Messages>,
    /// Reads the messages; ends after the last one.
    listener: Option<JoinHandle<()>>,
    /// Where it keeps what it must remember, unless the test says where.
    _folder: TempDir,
}

/// See [`Sidecar::watch`].
#[derive(Clone, Copy)]
pub(super) struct Watch {
    process: u32,
}

/// Its standard error, line by line.
#[derive(Default)]
struct Messages {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

/// How it ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// The exit code.
    pub(super) code: Option<i32>,
    /// Standard output: one JSON object a line.
    pub(super) output: Vec<Value>,
    /// Standard error.
    pub(super) messages: Vec<String>,
}

impl Sidecar {
    /// Starts `squall` with these arguments and nothing on its standard input.
    pub(super) fn start(args: &[&str]) -> Sidecar {
        Sidecar::start_reading(args, Stdio::null())
    }

    /// Starts `squall` with something on its standard input.
    pub(super) fn start_reading(args: &[&str], stdin: impl Into<Stdio>) -> Sidecar {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = squall(folder.path(), args.iter().copied());
        let mut process = command.stdin(stdin).spawn().expect("squall starts");
        let (mut stdout, stderr) =
            (process.stdout.take().expect("piped"), process.stderr.take().expect("piped"));
        let (ended, output) = sync_channel(1);
        thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).expect("standard output is text");
            // Nobody listens any more when the test has failed.
            let _ = ended.send(text);
        });
        let messages = Arc::new(Messages::default());
        let kept = Arc::clone(&messages);
        let listener = thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                kept.push(line.expect("messages are text"));
            }
        });
        Sidecar { process, output, messages, listener: Some(listener), _folder: folder }
    }

    /// Waits until it has said this on standard error.
    #[track_caller]
    pub(super) fn wait_for_message(&self, text: &str) {
        let said = |lines: &mut Vec<String>| !lines.iter().any(|line| line.contains(text));
        let lines = self.messages.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.messages.more.wait_timeout_while(lines, WAIT_MAX, said);
        let (lines, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "never said {text:?}, but {lines:#?}");
    }

    /// Waits until it has read at least so many bytes, from whatever it reads; sockets do not count.
    #[track_caller]
    pub(super) fn wait_for_bytes_read(&self, bytes: u64) {
        self.wait_until("the bytes to be read", || self.bytes_read() >= bytes);
    }

    /// Waits until something is so that can only be seen by looking.
    #[track_caller]
    pub(super) fn wait_until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        for _ in 0..WAIT_MAX.as_millis() {
            if is_so() {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        panic!("waited in vain for {what}; squall said {:#?}", self.messages.all());
    }

    /// What it has read from files and pipes.
    pub(super) fn bytes_read(&self) -> u64 {
        self.watch().bytes_read().expect("squall still runs")
    }

    /// The most memory that it has had, in bytes.
    pub(super) fn memory_peak(&self) -> u64 {
        self.watch().number("status", "VmHWM:").expect("squall still runs") * 1024
    }

    /// What it has said so far.
    pub(super) fn messages(&self) -> Vec<String> {
        self.messages.all()
    }

    /// What the kernel knows of it, for other threads.
    pub(super) fn watch(&self) -> Watch {
        Watch { process: self.process.id() }
    }

    /// Asks it to end, as Docker and Kubernetes do.
    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("squall still runs");
    }

    /// Ends it without a word, as the kernel would when memory runs out. Returns what it has said.
    pub(super) fn kill(mut self) -> Vec<String> {
        self.process.kill().expect("squall still runs");
        self.process.wait().expect("squall ends");
        self.all_messages()
    }

    /// What it said until its end.
    fn all_messages(&mut self) -> Vec<String> {
        // The last message may still be in the pipe.
        if let Some(listener) = self.listener.take() {
            listener.join().expect("messages are text");
        }
        self.messages.all()
    }

    /// Waits until it has read something of a file whose path begins like this, not only what it needs to start.
    #[track_caller]
    pub(super) fn wait_for_reading(&self, path: &Path) {
        const SOMETHING: u64 = 64 * 1024;
        let watch = self.watch();
        let mut before = None;
        self.wait_until("the log to be read", || {
            if before.is_none() && watch.holds_open(path) {
                before = watch.bytes_read();
            }
            before.is_some_and(|before| watch.bytes_read() > Some(before + SOMETHING))
        });
    }

    /// Waits for its end.
    #[track_caller]
    pub(super) fn end(mut self) -> Ended {
        let Ok(output) = self.output.recv_timeout(WAIT_MAX) else {
            panic!("squall does not end; it said {:#?}", self.messages.all())
        };
        let status = self.process.wait().expect("squall ends");
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        Ended {
            code: status.code(),
            output: output.lines().map(parse).collect(),
            messages: self.all_messages(),
        }
    }
}

impl Watch {
    /// What it has read from files and pipes; `None` once it has ended.
    pub(super) fn bytes_read(self) -> Option<u64> {
        self.number("io", "rchar:")
    }

    /// Whether it has a file open whose path begins like this: a rotated one has the name of the live one in front.
    fn holds_open(self, path: &Path) -> bool {
        let Ok(entries) = fs::read_dir(format!("/proc/{}/fd", self.process)) else { return false };
        let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let begins = path.to_string_lossy();
        targets.into_iter().any(|target| target.to_string_lossy().starts_with(&*begins))
    }

    fn number(self, file: &str, name: &str) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.process)).ok()?;
        let value = text.lines().find_map(|line| line.strip_prefix(name))?;
        value.trim().trim_end_matches(" kB").parse().ok()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // Both fail only when it has ended already, which is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Messages {
    fn push(&self, line: String) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        self.more.notify_all();
    }

    fn all(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Ended {
    /// The ledger: the last object on standard output.
    #[track_caller]
    pub(super) fn ledger(&self) -> BTreeMap<String, Value> {
        let last = self.output.last().unwrap_or_else(|| panic!("no ledger: {self:#?}"));
        let ledger = last["ledger"].as_object().unwrap_or_else(|| panic!("no ledger: {self:#?}"));
        ledger.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// One number of the ledger.
    #[track_caller]
    pub(super) fn number(&self, name: &str) -> u64 {
        self.ledger().get(name).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {name}: {self:#?}"))
    }

    /// The messages that hold this text.
    pub(super) fn messages_with(&self, text: &str) -> Vec<&str> {
        self.messages.iter().map(String::as_str).filter(|line| line.contains(text)).collect()
    }
}

/// The longest wait for anything; on a quiet machine each takes less than three seconds.
const WAIT_MAX: Duration = Duration::from_secs(60);

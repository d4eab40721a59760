//! The real program as a process: started, fed, signalled, waited for, and never left behind.
//!
//! Every wait is for something observed (a file, `/proc`, what was printed, the end) and fails after [`WAIT_MAX`].
//! Clocks are banned in this crate, so the time waited is counted in looks.
//! The environment is empty but for a fixed `HOSTNAME`: what a developer has exported changes no test.

use std::ffi::OsString;
use std::fs;
use std::io::{PipeWriter, Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// The machine's name in every record.
pub(crate) const HOST: &str = "testhost";

/// A number from the environment, or its default: how long a test takes.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// The children of a process, as the system lists them.
pub(crate) fn children(pid: u32) -> Vec<i32> {
    // A process that has ended has none.
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The program under test. `SQUALL_TEST_PROGRAM` names another one: a release build, say.
pub(crate) fn program() -> OsString {
    std::env::var_os("SQUALL_TEST_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_squall").into())
}

/// `squall` with these arguments, to be run in `folder`. What it must remember it keeps in `folder/state`: the default
/// is the machine's own.
pub(crate) fn squall<'a>(folder: &Path, args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(program());
    let args: Vec<&str> = args.into_iter().collect();
    command.current_dir(folder).args(&args).env_clear().env("HOSTNAME", HOST);
    if remembers(&args) {
        command.args(["--state", "state"]);
    }
    // All of them would want the same port.
    if args.first() == Some(&"run") && !args.contains(&"--listen") {
        command.args(["--listen", "off"]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Whether `squall` with these arguments would use the machine's state directory.
pub(crate) fn remembers(args: &[&str]) -> bool {
    let only_looks = args.iter().any(|arg| matches!(*arg, "console" | "blackhole"));
    args.first() == Some(&"run") && !only_looks && !args.contains(&"--state")
}

/// Runs `squall` to its end.
#[track_caller]
pub(crate) fn run<'a>(folder: &Path, args: impl IntoIterator<Item = &'a str>) -> Ended {
    Running::start(&mut squall(folder, args)).end()
}

/// Runs `squall` to its end with `input` on its standard input.
#[track_caller]
pub(crate) fn feed<'a>(folder: &Path, args: impl IntoIterator<Item = &'a str>, input: &[u8]) -> Ended {
    let mut running = Running::start(squall(folder, args).stdin(Stdio::piped()));
    running.write(input);
    running.end()
}

/// The writing end of a pipe whose reading end is closed already.
pub(crate) fn closed_pipe() -> PipeWriter {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer
}

/// A started process. It is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    /// `None` once it is closed, or was never piped.
    stdin: Option<ChildStdin>,
    stdout: Option<Collected>,
    stderr: Option<Collected>,
    peak_kib: u64,
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// The largest resident size that was seen, in KiB.
    pub(crate) peak_kib: u64,
}

impl Running {
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Running {
        let mut child = command.spawn().expect("squall starts");
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().map(Collected::from);
        let stderr = child.stderr.take().map(Collected::from);
        Running { child, stdin, stdout, stderr, peak_kib: 0 }
    }

    /// Writes to its standard input. A process that ended early is for the test to see, not for this.
    pub(crate) fn write(&mut self, input: &[u8]) {
        let stdin = self.stdin.as_mut().expect("standard input is piped and open");
        if let Err(error) = stdin.write_all(input) {
            assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe, "{error}");
        }
    }

    /// Ends its standard input.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("squall runs");
    }

    /// What it has printed so far.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.as_ref().expect("standard output is piped").text()
    }

    /// What it has said so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.as_ref().expect("standard error is piped").text()
    }

    /// Whether it still runs; takes note of its size.
    pub(crate) fn is_running(&mut self) -> bool {
        if let Some(kib) = self.proc_number("status", "VmHWM:") {
            self.peak_kib = self.peak_kib.max(kib);
        }
        self.child.try_wait().expect("a child").is_none()
    }

    /// How many threads it has.
    pub(crate) fn threads(&self) -> u64 {
        self.proc_number("status", "Threads:").unwrap_or(0)
    }

    /// Waits until `condition` holds while it runs; `what` names it for the failure.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, what: &str, mut condition: impl FnMut(&Running) -> bool) {
        for _ in 0..LOOKS_MAX {
            if condition(self) {
                return;
            }
            if !self.is_running() {
                // What happened just before the end counts too.
                assert!(condition(self), "squall ended before {what}: {}", self.said());
                return;
            }
            thread::sleep(LOOK_EVERY);
        }
        panic!("no {what} within {WAIT_MAX:?}: {}", self.said());
    }

    /// Waits for its end; its standard input ends now.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        // Its size before the end, however quickly it ends now.
        self.is_running();
        self.close_stdin();
        for _ in 0..LOOKS_MAX {
            if self.is_running() {
                thread::sleep(LOOK_EVERY);
                continue;
            }
            let status = self.child.wait().expect("a child");
            let [stdout, stderr] = [self.stdout.take(), self.stderr.take()]
                .map(|all| all.map_or_else(String::new, Collected::all));
            return Ended { status, stdout, stderr, peak_kib: self.peak_kib };
        }
        panic!("squall did not end within {WAIT_MAX:?}: {}", self.said());
    }

    /// How often its thread of this name has gone to sleep so far; `None` while there is no such thread.
    pub(crate) fn sleeps(&self, thread: &str) -> Option<u64> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).ok()?;
        let is_it =
            |path: &Path| fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == thread);
        let path = tasks.filter_map(|task| Some(task.ok()?.path())).find(|path| is_it(path))?;
        let status = fs::read_to_string(path.join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse().ok()
    }

    /// The CPU time that it has used so far, all threads together.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        // Its name stands in parentheses, and may hold anything; user and system time are the 14th and the 15th field.
        let (_, behind_name) = stat.rsplit_once(") ").expect("squall runs");
        let times =
            behind_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number"));
        Duration::from_millis(times.sum::<u64>() * 10)
    }

    fn said(&self) -> String {
        self.stderr.as_ref().map_or_else(String::new, Collected::text)
    }

    /// A number behind `name` in a file of `/proc`; `None` for a process that has ended.
    fn proc_number(&self, file: &str, name: &str) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Fails unless it ended by itself with this code.
    #[track_caller]
    pub(crate) fn expect_code(&self, code: i32) -> &Ended {
        let signal = self.status.signal();
        assert_eq!(self.status.code(), Some(code), "signal {signal:?}, standard error:\n{}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// Fails unless the message holds this.
    #[track_caller]
    pub(crate) fn expect_said(&self, part: &str) -> &Ended {
        assert!(self.stderr.contains(part), "no {part:?} in:\n{}", self.stderr);
        self
    }
}

/// Everything that comes out of a pipe, read by a thread so that the process never waits for us.
struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Collected {
    fn from(mut pipe: impl Read + Send + 'static) -> Collected {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            // A pipe that cannot be read any more has ended.
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                sink.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..length]);
            }
        });
        Collected { bytes, reader }
    }

    fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn all(self) -> String {
        self.reader.join().expect("the reader does not panic");
        let bytes = Arc::into_inner(self.bytes).expect("the reader has ended");
        let bytes = bytes.into_inner().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8(bytes).expect("squall prints UTF-8")
    }
}

/// The longest wait for anything: generous, because a busy machine is not a fault.
const WAIT_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(5);
const LOOKS_MAX: u128 = WAIT_MAX.as_millis() / LOOK_EVERY.as_millis();

//! Kafka as a process: the server, which never outlives the tests, and the command line tools.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// The running Java process, and what makes sure that it does not outlive the tests.
pub(super) struct Server {
    java: Child,
    watchdog: Child,
    /// Says that the server has started, and hangs up when it has ended. (The lock is there because tests on several
    /// threads share a broker, which a receiver alone does not allow.)
    log: Mutex<Receiver<()>>,
}

impl Server {
    /// Starts Kafka in `folder` and waits until it says that it serves. `Err` is what its log says of errors, and its end.
    pub(super) fn start(folder: &Path) -> Result<Server, String> {
        let file = folder.join("server.log");
        let log = File::options().create(true).append(true).open(&file).expect("the server's log");
        let mut java = Command::new("java");
        java.args(["-Xmx384m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=info"]);
        java.args(JAVA_QUICK).arg("-cp").arg(classpath()).arg("kafka.Kafka").arg(folder.join(CONFIG));
        java.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut java = java.spawn().expect("java runs");
        let stderr = java.stderr.take().expect("stderr is piped");
        let log = follow(stderr, log);
        let watchdog = watch_over(&java);
        let started = log.recv_timeout(START_MAX);
        let server = Server { java, watchdog, log: Mutex::new(log) };
        match started {
            Ok(()) => Ok(server),
            Err(why) => {
                drop(server);
                let log = fs::read_to_string(&file).unwrap_or_default();
                let tail = log.lines().count().saturating_sub(30);
                let end: Vec<&str> = log.lines().skip(tail).collect();
                // Why it ends stands far above the end: it goes in order, and tells each step.
                let is_reason = |line: &&str| {
                    [" ERROR ", "Exception", "already in use"].iter().any(|word| line.contains(word))
                };
                let reasons: Vec<&str> = log.lines().filter(is_reason).take(20).collect();
                Err(format!(
                    "{why}; errors:\n{}\nthe end of its log:\n{}",
                    reasons.join("\n"),
                    end.join("\n")
                ))
            }
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.java), signal).expect("the broker runs");
    }

    /// SIGTERM, then waits for the end. What does not end in time is killed by the drop.
    pub(super) fn stop(self) {
        self.signal(Signal::TERM);
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(log.recv_timeout(STOP_MAX), Err(RecvTimeoutError::Disconnected), "the broker ends");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The watchdog first: it must not shoot at a process id that is free again. Both calls fail only when the
        // process has already ended, which is what is wanted.
        for child in [&mut self.watchdog, &mut self.java] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Kills the server when this process ends in whatever way: the pipe to the watchdog breaks then.
fn watch_over(java: &Child) -> Child {
    Command::new("sh")
        .args(["-c", "read -r _; kill -KILL \"$1\"", "watchdog", &java.id().to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .expect("sh runs")
}

/// Copies the server's words into its log. Says once that it has started; hangs up when it has ended.
fn follow(stderr: ChildStderr, mut log: File) -> Receiver<()> {
    let (started, receiver) = sync_channel(1);
    thread::spawn(move || {
        for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
            // A log that cannot be written only makes a later failure harder to explain.
            let _ = log.write_all(&[&line[..], b"\n"].concat());
            if line.ends_with(b"Kafka Server started") {
                // Nobody listens when the start took too long.
                let _ = started.try_send(());
            }
        }
    });
    receiver
}

/// A Java tool that ends by itself, or is ended.
pub(super) fn java_tool(class: &str) -> Command {
    let mut tool = Command::new("timeout");
    tool.args([
        "--kill-after=5s",
        TOOL_MAX,
        "java",
        "-Xmx256m",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    ]);
    tool.args(JAVA_QUICK).arg("-cp").arg(classpath()).arg(class).stdin(Stdio::null());
    tool
}

#[track_caller]
pub(super) fn finish(tool: &mut Command) -> Output {
    let output = tool.output().expect("timeout and java run");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool:?}: {}\n{told}", output.status);
    output
}

/// Where the jars are, as Java's class path.
fn classpath() -> OsString {
    if let Some(given) = std::env::var_os("SQUALL_TEST_KAFKA_CLASSPATH") {
        return given;
    }
    let cache = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/.cache/kafka"));
    assert!(cache.join(".complete").exists(), "no Apache Kafka in {}: run tests/run once", cache.display());
    cache.join("*").into()
}

/// A cold start takes 2 s on two idle cores; the rest is for a machine that builds at the same time.
const START_MAX: Duration = Duration::from_secs(90);
const STOP_MAX: Duration = Duration::from_secs(60);
/// How long any of Kafka's tools may run, as `timeout` takes it.
const TOOL_MAX: &str = "180s";
/// Short runs: no time for optimising compilers and parallel collectors.
const JAVA_QUICK: [&str; 2] = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

/// The name of the broker's config in its folder.
pub(super) const CONFIG: &str = "server.properties";

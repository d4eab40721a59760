//! The logging driver against a dockerd that is played: the protocol, and what a kill may not do.

mod dockerd;
mod forms;
mod kill;
mod protocol;
mod reload;

use std::fs;
use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use self::dockerd::Logging;
use crate::rig::generator::Truth;
use crate::rig::line::Kind;
use crate::rig::verifier::Verifier;
use crate::support::process::{Running, children, run, squall};

/// The config of a driver that has one, in its folder.
const CONFIG: &str = "squall.yaml";

/// A driver, its folder, and what was written to it.
struct World {
    folder: TempDir,
    driver: Option<Running>,
    truth: Truth,
    fifos: u64,
}

impl World {
    #[track_caller]
    fn new() -> World {
        let folder = tempfile::tempdir().expect("a folder");
        World::begin(folder)
    }

    /// One whose driver has a config file, `squall.yaml`.
    #[track_caller]
    fn with_config(text: &str) -> World {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(CONFIG), text).expect("there is room");
        World::begin(folder)
    }

    #[track_caller]
    fn begin(folder: TempDir) -> World {
        fs::create_dir(folder.path().join("fifos")).expect("a folder");
        let mut world = World { folder, driver: None, truth: Truth::default(), fifos: 0 };
        world.start();
        world
    }

    /// The driver, once it answers.
    #[track_caller]
    fn start(&mut self) {
        let args = ["driver", "--socket", "s.sock", "--state", "state", "--to", "file:out"];
        let _ = fs::remove_file(self.socket());
        let mut command = squall(self.folder.path(), args);
        if self.folder.path().join(CONFIG).exists() {
            command.args(["--config", CONFIG]);
        }
        let mut driver = Running::start(&mut command);
        let socket = self.socket();
        driver.wait_until("a socket", |_| std::os::unix::net::UnixStream::connect(&socket).is_ok());
        self.driver = Some(driver);
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("s.sock")
    }

    fn driver(&mut self) -> &mut Running {
        self.driver.as_mut().expect("it runs")
    }

    /// A container with a new FIFO.
    #[track_caller]
    fn container(&mut self, id: &str) -> Logging {
        self.container_with(id, json!({}))
    }

    #[track_caller]
    fn container_with(&mut self, id: &str, options: Value) -> Logging {
        self.fifos += 1;
        let name = format!("f{}", self.fifos);
        Logging::start(&self.socket(), &self.folder.path().join("fifos"), &name, id, options)
    }

    /// Lines that say who they are, of which every twentieth is calm, and the last.
    fn write(&mut self, logging: &mut Logging, lines: u64) {
        for line in 1..=lines {
            let kind = match line {
                _ if line % 20 == 0 || line == lines => Kind::Calm,
                _ if line % 2 == 0 => Kind::Timeout,
                _ => Kind::Failed,
            };
            let text = self.truth.next_line(kind, logging.written);
            logging.line("stdout", &text);
        }
    }

    fn out(&self) -> String {
        fs::read_to_string(self.folder.path().join("out")).unwrap_or_default()
    }

    /// The records so far.
    fn records(&self) -> Vec<Value> {
        let out = self.out();
        let whole = out.rfind('\n').map_or("", |end| &out[..end]);
        whole.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
    }

    /// Waits until a record of a line has this text.
    #[track_caller]
    fn await_line(&mut self, text: &str) {
        let path = self.folder.path().join("out");
        let wanted = format!("\"message\":{}", json!(text));
        self.driver().wait_until(text, |_| fs::read_to_string(&path).unwrap_or_default().contains(&wanted));
    }

    /// Waits until the newest calm line has been shipped.
    #[track_caller]
    fn await_newest(&mut self) {
        let newest = self.truth.calm.last().map_or(0, |calm| calm.seq);
        let mark = format!(" seq={newest} t=c ");
        let path = self.folder.path().join("out");
        self.driver().wait_until("the newest line", |_| {
            let out = fs::read(&path).unwrap_or_default();
            memchr::memmem::find(&out, mark.as_bytes()).is_some()
        });
    }

    /// Waits until nothing is left to re-attach.
    #[track_caller]
    fn await_drained(&mut self) {
        let registry = self.folder.path().join("state/fifos");
        self.driver().wait_until("an empty registry", |_| {
            fs::read_dir(&registry).is_ok_and(|files| files.count() == 0)
        });
    }

    /// The worker, once there is one.
    #[track_caller]
    fn worker(&mut self) -> Pid {
        let supervisor = self.driver().id();
        self.driver().wait_until("a worker", |_| !children(supervisor).is_empty());
        let worker = children(supervisor)[0];
        Pid::from_raw(worker).expect("a process")
    }

    /// Kills the worker at once.
    #[track_caller]
    fn kill_worker(&mut self) {
        let worker = self.worker();
        // It may have ended by itself in between, which the test does not ask for but may happen.
        let _ = kill_process(worker, Signal::KILL);
    }

    /// Stops the driver in order.
    #[track_caller]
    fn stop(&mut self) -> String {
        let driver = self.driver.take().expect("it runs");
        driver.signal(Signal::TERM);
        let ended = driver.end();
        ended.expect_code(0);
        ended.stderr
    }

    /// Holds everything against the truth.
    #[track_caller]
    fn finish(&mut self) {
        self.stop();
        let audit = run(self.folder.path(), ["audit", "state", "--json"]);
        assert!(audit.stdout.contains("\"holds\":true"), "{}{}", audit.stdout, audit.stderr);
        let mut verifier = Verifier::default();
        self.out().lines().for_each(|record| verifier.take(record.as_bytes()));
        verifier.finish(&self.truth).expect_exact();
    }
}

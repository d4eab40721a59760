//! The driver as a process beside dockerd, which finds it by its socket; and what it has shipped, held against the truth.

use std::collections::HashMap;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::rig::generator::Truth;
use crate::rig::topic::Topic;
use crate::rig::verifier::{Report, Verifier};
use crate::support::broker::Broker;
use crate::support::process::{Running, children, squall};

/// Where dockerd looks; no other folder will do.
const SOCKETS: &str = "/run/docker/plugins";

/// A driver with a name and a folder of its own.
pub(super) struct Driver {
    name: String,
    args: Vec<String>,
    folder: TempDir,
    running: Option<Running>,
}

impl Driver {
    /// One that writes records to a file.
    #[track_caller]
    pub(super) fn to_file() -> Driver {
        Driver::start(&["--to", "file:out"])
    }

    /// One that ships to this topic of a broker of its own, and keeps 8 MiB while that is away.
    #[track_caller]
    pub(super) fn with_small_outbox(topic: &str) -> (Broker, Driver) {
        let broker = Broker::start();
        broker.create_topic(topic, 1, &[]);
        let to = format!("kafka://{}/{topic}", broker.address());
        let driver = Driver::start(&["--to", &to, "--set", "outbox.size_max=8MiB"]);
        (broker, driver)
    }

    /// One with these arguments, once it answers.
    #[track_caller]
    pub(super) fn start(args: &[&str]) -> Driver {
        static NUMBERS: AtomicU32 = AtomicU32::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        let mut driver = Driver {
            name: format!("sq{}n{number}", std::process::id()),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            folder: tempfile::tempdir().expect("a folder"),
            running: None,
        };
        driver.up();
        driver
    }

    /// Starts it (again), as systemd or Docker would.
    #[track_caller]
    pub(super) fn up(&mut self) {
        let socket = Path::new(SOCKETS).join(format!("{}.sock", self.name));
        let path = socket.display().to_string();
        let mut args = vec!["driver", "--socket", &path, "--state", "state"];
        args.extend(self.args.iter().map(String::as_str));
        // What the last life left behind answers nobody.
        let _ = fs::remove_file(&socket);
        let mut running = Running::start(&mut squall(self.folder.path(), args));
        running.wait_until("a socket", |_| UnixStream::connect(&socket).is_ok());
        self.running = Some(running);
    }

    /// What `--log-driver` is to say.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn running(&mut self) -> &mut Running {
        self.running.as_mut().expect("it runs")
    }

    /// The worker, once there is one.
    #[track_caller]
    pub(super) fn worker(&mut self) -> Pid {
        let supervisor = self.running().id();
        self.running().wait_until("a worker", |_| !children(supervisor).is_empty());
        Pid::from_raw(children(supervisor)[0]).expect("a process")
    }

    /// Waits until the worker has read so many bytes, its files included.
    #[track_caller]
    pub(super) fn await_reading(&mut self, bytes: u64) {
        let read = |worker: i32| {
            let text = fs::read_to_string(format!("/proc/{worker}/io")).unwrap_or_default();
            text.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse::<u64>().ok())
        };
        let supervisor = self.running().id();
        self.running().wait_until("a worker that reads", |_| {
            children(supervisor).first().and_then(|worker| read(*worker)).is_some_and(|read| read >= bytes)
        });
    }

    /// Kills the worker at once, and waits until it is gone.
    #[track_caller]
    pub(super) fn kill_worker(&mut self) {
        let worker = self.worker();
        kill_process(worker, Signal::KILL).expect("it runs, or nobody has waited for it yet");
        let (supervisor, worker) = (self.running().id(), worker.as_raw_nonzero().get());
        self.running().wait_until("its end", |_| !children(supervisor).contains(&worker));
    }

    /// Kills the supervisor; its worker ends by itself.
    pub(super) fn kill(&mut self) {
        let running = self.running.take().expect("it runs");
        running.signal(Signal::KILL);
    }

    /// Waits until all containers have ended for it: nothing is left to re-attach.
    #[track_caller]
    pub(super) fn await_drained(&mut self) {
        let registry = self.path("state/fifos");
        self.running().wait_until("an empty registry", |_| {
            fs::read_dir(&registry).is_ok_and(|files| files.count() == 0)
        });
    }

    /// Waits until this line of a feed has come word for word, so that all before it have been read.
    #[track_caller]
    pub(super) fn await_seq(&mut self, seq: u64) {
        self.await_text(&format!(" seq={seq} t=c "));
    }

    /// Waits until what it has shipped holds this.
    #[track_caller]
    pub(super) fn await_text(&mut self, text: &str) {
        let path = self.path("out");
        self.running().wait_until(text, |_| {
            memchr::memmem::find(&fs::read(&path).unwrap_or_default(), text.as_bytes()).is_some()
        });
    }

    /// Stops it in order; returns what it said.
    #[track_caller]
    pub(super) fn stop(&mut self) -> String {
        let running = self.running.take().expect("it runs");
        running.signal(Signal::TERM);
        let ended = running.end();
        ended.expect_code(0);
        ended.stderr
    }

    /// What it has shipped.
    pub(super) fn out(&self) -> String {
        fs::read_to_string(self.path("out")).expect("it has shipped something")
    }

    /// The records of one container, in their order.
    pub(super) fn records(&self, container: &str) -> Vec<Value> {
        let out = self.out();
        let records = out.lines().map(|line| serde_json::from_str::<Value>(line).expect("a record"));
        records.filter(|record| record["container"]["name"] == container).collect()
    }

    /// The lines of one container that came word for word.
    pub(super) fn texts(&self, container: &str) -> Vec<String> {
        let records = self.records(container);
        let lines = records.iter().filter(|record| record["squall"]["kind"] == "line");
        lines.map(|record| record["message"].as_str().expect("text").to_owned()).collect()
    }

    /// Stops it and holds everything against what these containers have printed.
    #[track_caller]
    pub(super) fn finish(&mut self, truths: &[(&str, &Truth)]) -> Vec<Report> {
        self.stop();
        let mut judges = Judges::default();
        self.out().lines().for_each(|record| judges.take(record.as_bytes()));
        judges.finish(truths)
    }
}

/// A judge for each container: each has its own numbers.
#[derive(Default)]
pub(super) struct Judges(HashMap<String, Verifier>);

impl Judges {
    pub(super) fn take(&mut self, record: &[u8]) {
        self.of(record).take(record);
    }

    /// The judge of this record's container.
    pub(super) fn of(&mut self, record: &[u8]) -> &mut Verifier {
        let json: Value = serde_json::from_slice(record).expect("a record");
        let name = json["container"]["name"].as_str().unwrap_or_default().to_owned();
        self.0.entry(name).or_default()
    }

    /// The judge of this container.
    pub(super) fn named(&mut self, name: &str) -> &mut Verifier {
        self.0.entry(name.to_owned()).or_default()
    }

    /// The broker is back: reads all that `driver` still ships to `topic`, and finds each line of these containers counted.
    #[track_caller]
    pub(super) fn expect_counted(
        broker: &Broker,
        topic: &str,
        driver: &mut Driver,
        truths: &[(&str, &Truth)],
    ) {
        let mut judges = Judges::default();
        truths.iter().for_each(|(name, _)| judges.named(name).expect_only_counts());
        let mut reader = Topic::open(broker.address(), topic);
        truths.iter().for_each(|(name, truth)| judges.await_lines(name, truth.total(), &mut reader));
        driver.stop();
        reader.drain(&mut |record| judges.take(record));
        judges.finish(truths);
    }

    /// Reads on until records stand for so many lines of this container.
    #[track_caller]
    fn await_lines(&mut self, name: &str, lines: u64, reader: &mut Topic) {
        let mut looks = 0;
        while self.named(name).lines() < lines {
            reader.poll(Duration::from_millis(20), &mut |record| self.take(record));
            looks += 1;
            assert!(looks < 1_000_000, "{} of {lines}", self.named(name).lines());
        }
    }

    /// Everything is exact, for each of these containers. Says so, and returns the reports in their order.
    #[track_caller]
    pub(super) fn finish(mut self, truths: &[(&str, &Truth)]) -> Vec<Report> {
        let mut reports = Vec::new();
        for (name, truth) in truths {
            let verifier = self.0.remove(*name).unwrap_or_else(|| panic!("nothing came of {name}"));
            let report = verifier.finish(truth);
            println!("{name}: {report}");
            report.expect_exact();
            reports.push(report);
        }
        reports
    }
}

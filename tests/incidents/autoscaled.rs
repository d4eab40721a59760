//! The fifth incident: instances come and go. One of two is scaled in under load, while its destination is slow.

use std::fs::{self, OpenOptions};
use std::io::{PipeReader, Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use squall::corpus::incident::TIMEOUT;
use squall::engine::frame::IoStream;
use tempfile::TempDir;

use super::story::{Line, line};
use crate::support::http::{get, served_at};
use crate::support::incident::Wrap;
use crate::support::process::{Ended, Running, squall};
use crate::support::receiver::{Answer, Receiver};
use crate::support::records::{Records, split_ledger};

/// Lines of load.
const LOAD: u32 = 5_000;
/// Lines that are under way at the end: as records more than a pipe holds, and less than squall reads ahead.
const UNDER_WAY: u32 = 400;

#[test]
fn an_instance_is_scaled_in_under_load() {
    let (hook, gateway) = (Receiver::start(Answer::Status(200)), Receiver::start(Answer::Status(202)));
    let [mut going, mut staying] = [("gateway-7f9c-x2", "node-1"), ("gateway-7f9c-k8", "node-2")]
        .map(|who| Instance::start(who, &hook, &gateway));
    for instance in [&mut going, &mut staying] {
        instance.work();
        instance.fail();
        instance.await_lines();
        assert_eq!(instance.ask("/ready"), (200, Value::Null));
    }
    // Both run the same rules over logs of their own: two alerts, and who sees it stands in each.
    going.running.wait_until("both alerts", |_| hook.told().len() == 2);
    assert_eq!(instances(&hook), ["gateway-7f9c-k8", "gateway-7f9c-x2"]);

    // The destination of the one stands still with work under way, and then it is told to go.
    going.await_delivery();
    going.tap.close();
    going.serve(UNDER_WAY);
    going.await_lines();
    going.running.signal(Signal::TERM);
    going.running.wait_until("stopping", |running| running.stderr().contains("stopping"));
    assert_eq!(going.ask("/ready"), (503, Value::from("stopping")));
    assert_eq!(going.ask("/health").0, 200);
    assert_eq!(going.metric("squall_ready"), 0.0);
    let [delivered, made] =
        ["squall_output_records_total", "squall_records_total"].map(|name| going.metric(name));
    assert!(delivered < made, "work is under way: {delivered} of {made}");
    assert_eq!(staying.ask("/ready"), (200, Value::Null));
    going.tap.open();
    going.end().expect_everything(&gateway);

    // The other one never noticed, until its turn comes.
    staying.work();
    staying.await_lines();
    assert_eq!((staying.ask("/health").0, staying.ask("/ready").0), (200, 200));
    staying.running.signal(Signal::TERM);
    staying.end().expect_everything(&gateway);
    assert_eq!(hook.told().len(), 2, "nobody is told again by an instance that goes");
}

/// The instances that have told of an alert, sorted.
fn instances(hook: &Receiver) -> Vec<String> {
    let bodies: Vec<Value> = hook.requests().iter().map(|request| request.json()).collect();
    let alerts = bodies.iter().flat_map(|body| body["alerts"].as_array().expect("alerts"));
    let mut names: Vec<String> = alerts
        .map(|alert| {
            assert_eq!(alert["labels"]["alertname"], "WebSocketRetryLoop", "{alert}");
            assert_eq!(alert["labels"]["service"], "api-gateway", "{alert}");
            alert["labels"]["instance"].as_str().expect("a name").to_owned()
        })
        .collect();
    names.sort();
    names
}

/// A pod with squall in it. It keeps nothing: what it has not delivered at its end would be gone.
struct Instance {
    name: &'static str,
    node: &'static str,
    folder: TempDir,
    running: Running,
    address: String,
    tap: Tap,
    /// So many lines are in its log.
    lines: u32,
}

impl Instance {
    #[track_caller]
    fn start((name, node): (&'static str, &'static str), hook: &Receiver, gateway: &Receiver) -> Instance {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("app.log"), "").expect("a log");
        let config = format!(
            "alerts: {{ files: ['{}/config/presets/retry-loop.yaml'] }}\n\
             notify:\n  group_wait: 0s\n  group_interval: 0s\n  webhook: {{ url: '{}' }}\n  \
             pushgateway: {{ url: '{}', every: 1h, job: gateways }}\n",
            env!("CARGO_MANIFEST_DIR"),
            hook.url("/hook"),
            gateway.url("")
        );
        fs::write(folder.path().join("squall.yaml"), config).expect("a config");
        let args =
            ["run", "-c", "squall.yaml", "--tail", "app.log", "--collapse", "never", "--to", "console"];
        let args = args.into_iter().chain(["--json", "--listen", "127.0.0.1:0", "--shutdown-timeout", "30s"]);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut command = squall(folder.path(), args);
        command.stdout(writer).env("POD_NAME", name).env("NODE_NAME", node);
        command.env("POD_NAMESPACE", "shop").env("OTEL_SERVICE_NAME", "api-gateway");
        let mut running = Running::start(&mut command);
        running.wait_until("an address", |running| served_at(&running.stderr()).is_some());
        let address = served_at(&running.stderr()).expect("it was there");
        running.wait_until("readiness", |_| get(&address, "/ready").status == 200);
        Instance { name, node, folder, running, address, tap: Tap::on(reader), lines: 0 }
    }

    /// Load, and probes while it is read.
    #[track_caller]
    fn work(&mut self) {
        for _ in 0..10 {
            self.serve(LOAD / 10);
            assert_eq!(self.ask("/health").0, 200);
        }
    }

    /// Lines that are all there at once.
    fn serve(&mut self, lines: u32) {
        let name = self.name;
        let text = |n| format!("request {n} served by {name} in {} ms", n % 90);
        let from = self.lines;
        self.write((from..from + lines).map(|n| line(f64::from(n) / 100.0, text(n))));
    }

    /// Ten time-outs in a row.
    fn fail(&mut self) {
        let at = f64::from(self.lines) / 100.0;
        self.write((0..10).map(|n| line(at + f64::from(n), TIMEOUT)));
    }

    fn write(&mut self, lines: impl Iterator<Item = Line>) {
        let mut bytes = Vec::new();
        let mut count = 0;
        for line in lines {
            Wrap::Cri.append(&mut bytes, &mut line.text.into_bytes(), IoStream::Stdout, line.time);
            count += 1;
        }
        self.lines += count;
        let log = OpenOptions::new().append(true).open(self.folder.path().join("app.log"));
        log.and_then(|mut log| log.write_all(&bytes)).expect("room");
    }

    /// Waits until all lines have been read.
    #[track_caller]
    fn await_lines(&mut self) {
        let (address, lines) = (self.address.clone(), f64::from(self.lines));
        self.running.wait_until("the lines", |_| {
            metric(&get(&address, "/metrics").body, "squall_lines_received_total") == Some(lines)
        });
    }

    /// Waits until all records have been delivered.
    #[track_caller]
    fn await_delivery(&mut self) {
        let address = self.address.clone();
        self.running.wait_until("delivery", |_| {
            let page = get(&address, "/metrics").body;
            metric(&page, "squall_output_records_total") == metric(&page, "squall_records_total")
        });
    }

    /// The status of an answer, and its first reason.
    #[track_caller]
    fn ask(&self, path: &str) -> (u16, Value) {
        let answer = get(&self.address, path);
        (answer.status, answer.json()["reasons"][0]["reason"].clone())
    }

    #[track_caller]
    fn metric(&self, name: &str) -> f64 {
        metric(&get(&self.address, "/metrics").body, name).expect(name)
    }

    #[track_caller]
    fn end(self) -> Left {
        let ended = self.running.end();
        Left { name: self.name, node: self.node, lines: self.lines, printed: self.tap.all(), ended }
    }
}

/// What an instance leaves behind.
struct Left {
    name: &'static str,
    node: &'static str,
    lines: u32,
    printed: String,
    ended: Ended,
}

impl Left {
    /// Fails unless every line has arrived, says who sent it, and the last push says so, too.
    #[track_caller]
    fn expect_everything(&self, gateway: &Receiver) {
        self.ended.expect_code(0);
        let (text, ledger) = split_ledger(&self.printed);
        let records = Records::read(text);
        assert_eq!(records.lines(), u64::from(self.lines), "{ledger}");
        for record in &records.all {
            let who = [&record["squall"]["instance"], &record["host"]["name"], &record["service"]["name"]];
            assert_eq!(who, [self.name, self.node, "api-gateway"], "{record}");
            assert_eq!(record["labels"]["k8s.namespace.name"], "shop", "{record}");
        }
        let place = format!("PUT /metrics/job/gateways/instance/{} HTTP/1.1", self.name);
        let pushed: Vec<_> = gateway.requests().into_iter().filter(|push| push.line == place).collect();
        let [push] = &pushed[..] else { panic!("{} pushes at the end", pushed.len()) };
        let metric = |name: &str| metric(&push.body, name);
        assert_eq!(metric("squall_lines_received_total"), Some(f64::from(self.lines)), "{}", push.body);
        assert_eq!(metric("squall_lines_pending"), Some(0.0));
        assert_eq!(metric("squall_output_records_total"), Some(records.all.len() as f64));
        let info = format!(
            "squall_instance_info{{name=\"{}\",node=\"{}\",service=\"api-gateway\"}}",
            self.name, self.node
        );
        assert_eq!(metric(&info), Some(1.0), "{}", push.body);
    }
}

/// The value of a sample.
fn metric(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// Reads a pipe to its end, and stands still when it is told to.
struct Tap {
    is_open: Arc<AtomicBool>,
    reader: JoinHandle<Vec<u8>>,
}

impl Tap {
    fn on(mut pipe: PipeReader) -> Tap {
        let is_open = Arc::new(AtomicBool::new(true));
        let may_read = Arc::clone(&is_open);
        let reader = thread::spawn(move || {
            let (mut all, mut buffer) = (Vec::new(), [0; 4_096]);
            loop {
                while !may_read.load(Ordering::Acquire) {
                    thread::sleep(LOOK_EVERY);
                }
                match pipe.read(&mut buffer).expect("a pipe") {
                    0 => return all,
                    length => all.extend_from_slice(&buffer[..length]),
                }
            }
        });
        Tap { is_open, reader }
    }

    fn close(&self) {
        self.is_open.store(false, Ordering::Release);
    }

    fn open(&self) {
        self.is_open.store(true, Ordering::Release);
    }

    fn all(self) -> String {
        String::from_utf8(self.reader.join().expect("it does not fail")).expect("squall prints UTF-8")
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(2);

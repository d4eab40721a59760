//! The rules of `config/presets/`, each on a made log: when they fire, that they do not before, and when it is over.
//!
//! Seconds are those of the log, from its start. A number over a window is exact to a sixtieth of the window, so where a
//! rule is about a share or a rate, its moment may be so much off, and what is expected is a range.

use std::cell::Cell;
use std::fmt::Write as _;
use std::fs;
use std::ops::RangeInclusive;
use std::sync::Arc;

use serde_json::Value;
use squall::config::{self, Sources};
use squall::engine::alert::container::{Container, Used};
use squall::engine::record::Batch;
use squall::engine::{Engine, Options};
use squall::resources::{Sampler, Watched};
use squall::units::{Monotonic, Now, Timestamp};

use crate::support::process::run;
use crate::support::records::Records;

/// 2026-02-06T00:00:00Z.
const START: i64 = 1_770_336_000;

/// A log in dockerd's format.
#[derive(Default)]
struct Log(String);

impl Log {
    /// A line that is written `second` seconds after the start.
    fn line(&mut self, second: f64, text: &str) {
        let nanos = i128::from(START) * 1_000_000_000 + (second * 1e9).round() as i128;
        let time = jiff::Timestamp::from_nanosecond(nanos).expect("in range");
        let text = serde_json::to_string(&format!("{text}\n")).expect("a string");
        writeln!(self.0, r#"{{"log":{text},"stream":"stdout","time":"{time}"}}"#).expect("memory");
    }
}

/// A config that has the rules of a preset.
fn config(preset: &str) -> String {
    let rules = format!("{}/config/presets/{preset}.yaml", env!("CARGO_MANIFEST_DIR"));
    format!("alerts: {{ files: ['{rules}'] }}")
}

/// What the rules of a preset say of a log: (rule, state, second), in order.
fn told(preset: &str, log: &Log) -> Vec<(String, String, f64)> {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("squall.yaml"), config(preset)).expect("room");
    fs::write(folder.path().join("app.log"), &log.0).expect("room");
    let ended = run(folder.path(), ["replay", "--json", "--config", "squall.yaml", "app.log"]);
    ended.expect_code(0);
    let (records, _) = Records::with_ledger(&ended);
    records.all.iter().filter(|record| record["squall"]["kind"] == "alert").map(row).collect()
}

/// (rule, state, second) of an alert record.
fn row(record: &Value) -> (String, String, f64) {
    let time: jiff::Timestamp =
        record["@timestamp"].as_str().and_then(|time| time.parse().ok()).expect("a time");
    let word = |name: &str| record["squall"][name].as_str().expect("a word").to_owned();
    (word("alert"), word("state"), (time.as_millisecond() - START * 1_000) as f64 / 1e3)
}

/// `rule` fires once and resolves once, then.
#[track_caller]
fn check(
    told: &[(String, String, f64)],
    rule: &str,
    fires: RangeInclusive<f64>,
    resolves: RangeInclusive<f64>,
) {
    let own: Vec<(&str, f64)> =
        told.iter().filter(|(name, ..)| name == rule).map(|(_, state, at)| (state.as_str(), *at)).collect();
    let [("firing", fired), ("resolved", resolved)] = own[..] else { panic!("{rule}: {own:?} of {told:?}") };
    assert!(fires.contains(&fired), "{rule} fires at {fired}, not in {fires:?}");
    assert!(resolves.contains(&resolved), "{rule} resolves at {resolved}, not in {resolves:?}");
}

/// A log of so many seconds, a line of calm in each, and what `of` adds.
fn log(seconds: u32, mut of: impl FnMut(&mut Log, f64)) -> Log {
    let mut log = Log::default();
    for second in 0..seconds {
        log.line(f64::from(second), &format!("INFO all is well, up for {second} s"));
        of(&mut log, f64::from(second));
    }
    log
}

/// A request as an access log in JSON has it.
fn request(status: u32, took: u32) -> String {
    format!(r#"{{"level":"info","message":"GET /api","status":{status},"responseTime":{took}}}"#)
}

#[test]
fn retry_loop() {
    // Four rounds a second of two lines, for two minutes.
    let log = log(900, |log, at| {
        for round in 0..if (100.0..220.0).contains(&at) { 4 } else { 0 } {
            let at = at + f64::from(round) / 4.0;
            log.line(at + 0.1, "WebSocket connection timeout");
            log.line(at + 0.2, "Reconnection failed after 5 attempts");
        }
    });
    let told = told("retry-loop", &log);
    // The tenth; and when of the last ten the first has left the window, and five minutes later.
    check(&told, "WebSocketRetryLoop", 102.35..=102.35, 577.6..=577.6);
    check(&told, "RetryWithoutBackOff", 101.0..=103.0, 520.0..=620.0);
}

#[test]
fn spike_of_503() {
    let log = log(1_200, |log, at| {
        for part in 0..30 {
            let status = if (60.0..500.0).contains(&at) { 503 } else { 200 };
            log.line(at + f64::from(part) / 30.0, &request(status, 20));
        }
        if (100.0..130.0).contains(&at) {
            log.line(at + 0.99, "ERROR: Service unavailable - upstream timeout");
        }
        if at == 110.0 {
            log.line(at + 0.995, "WARNING: All backend servers are down");
        }
    });
    let told = told("503-spike", &log);
    // 20 a second over five minutes are 6,000: reached after 200 s of 30 a second, and then for two minutes.
    check(&told, "Http503Spike", 380.0..=381.0, 895.0..=905.0);
    check(&told, "UpstreamTimeouts", 109.99..=109.99, 480.99..=480.99);
    check(&told, "AllBackendsDown", 110.995..=110.995, 470.995..=470.995);
}

#[test]
fn connection_reset() {
    let log = log(700, |log, at| {
        if (100.0..140.0).contains(&at) && at % 2.0 == 0.0 {
            let text =
                if at % 4.0 == 0.0 { "read: Connection reset by peer" } else { "Error: read ECONNRESET" };
            log.line(at + 0.5, text);
        }
    });
    check(&told("connection-reset", &log), "ConnectionResets", 118.5..=118.5, 480.5..=480.5);
}

#[test]
fn error_share() {
    let log = log(1_200, |log, at| {
        let level = if (100.0..200.0).contains(&at) { "ERROR" } else { "INFO" };
        for part in 0..9 {
            log.line(at + 0.1 + f64::from(part) / 10.0, &format!("{level} worker {part} did its work"));
        }
        // One of ten requests fails, but is logged as information.
        let status = if (300.0..400.0).contains(&at) { 500 } else { 200 };
        for part in 0..10 {
            log.line(at + 0.95, &request(if part == 0 { status } else { 200 }, 20));
        }
    });
    let told = told("error-share", &log);
    // Nine lines of twenty are never more than half.
    assert!(told.iter().all(|(rule, ..)| rule != "ErrorShare"), "{told:?}");
    // The thirtieth comes before the other nine of its second; from about 670 on 30 are left, and five minutes later it is over.
    check(&told, "ServerErrorShare", 329.95..=329.95, 964.0..=976.0);
}

#[test]
fn more_errors_than_not() {
    let log = log(900, |log, at| {
        let level = if (100.0..200.0).contains(&at) { "ERROR" } else { "INFO" };
        for part in 0..9 {
            log.line(at + 0.1 + f64::from(part) / 10.0, &format!("{level} worker {part} did its work"));
        }
    });
    // Nine of ten lines: half of a minute's after 33 s, and again 33 s before the last has left.
    check(&told("error-share", &log), "ErrorShare", 133.0..=135.0, 525.0..=528.5);
}

#[test]
fn exhausted_pools() {
    let log = log(700, |log, at| {
        let busy = if at < 100.0 {
            179
        } else if at < 130.0 {
            180
        } else {
            40
        };
        if at % 10.0 == 0.0 {
            log.line(at + 0.5, &format!("pool http: active threads {busy}/200"));
        }
        if (105.0..115.0).contains(&at) {
            let text = if at % 2.0 == 0.0 {
                "Connection pool exhausted"
            } else {
                "Connection is not available, request timed out"
            };
            log.line(at + 0.7, text);
        }
    });
    let told = told("exhausted-pools", &log);
    check(&told, "ThreadPoolNearlyFull", 100.5..=100.5, 180.0..=182.0);
    check(&told, "ConnectionPoolExhausted", 109.7..=109.7, 470.7..=470.7);
}

#[test]
fn not_found_share() {
    let log = log(1_200, |log, at| {
        for part in 0..10 {
            let is_gone = part == 0 && (400.0..500.0).contains(&at);
            log.line(at + f64::from(part) / 10.0, &request(if is_gone { 404 } else { 200 }, 20));
        }
    });
    // Of 3,000 requests the 31st is too much, and then for a minute.
    check(&told("not-found-share", &log), "NotFoundShare", 490.0..=496.0, 1_064.0..=1_076.0);
}

#[test]
fn slow_without_errors() {
    let log = log(3_600, |log, at| {
        let is_slow = (2_400.0..2_700.0).contains(&at);
        log.line(at + 0.5, &request(200, if is_slow { 281 } else { 20 }));
    });
    let told = told("slow-without-errors", &log);
    // 42 of 60 make a mean of 200 ms, and then for half a minute.
    check(&told, "SlowResponses", 2_470.0..=2_474.0, 3_016.0..=3_021.0);
    // With sixteen of 300 more than five of a hundred are slow.
    check(&told, "SlowerThanUsual", 2_412.0..=2_421.0, 3_280.0..=3_292.0);
}

thread_local! {
    /// Seconds since the start.
    static NOW: Cell<u64> = const { Cell::new(0) };
}

fn clock() -> Now {
    let seconds = NOW.get();
    let wall = Timestamp((START + seconds as i64) * Timestamp::SECOND);
    Now { arrival: Monotonic((1_000 + seconds) * 1_000_000_000), wall }
}

/// A made cgroup tree, looked at every 15 s of a made clock: what a container uses stands in no log.
#[test]
fn container_resources() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("cgroup.controllers"), "cpu memory\n").expect("a file");
    let id = "c0ffee00".repeat(8);
    let files = folder.path().join("docker").join(&id);
    fs::create_dir_all(&files).expect("a folder");
    let inline = vec![("squall.yaml".to_owned(), config("container-resources"))];
    let (config, _) = config::load(&Sources { inline, ..Sources::default() }).expect("a good config");
    let mut engine = Engine::new(Options { alerts: config.alerts, ..Options::default() });
    let mut sampler = Sampler::new(folder.path(), clock);
    let container = Container { id: id.clone().into(), name: "api-gateway".into() };
    let container = Some(Arc::new(container));
    let watched = [Watched { stream: format!("node/{id}").into(), container, pod_log: None }];
    let (mut micros, mut told) = (0, Vec::new());
    for second in 0..1_500 {
        // The incident: 102.8 % of a core and 10.23 GiB. A minute of work before it is none.
        let is_busy = (100..160).contains(&second) || (300..900).contains(&second);
        let memory = if (600..900).contains(&second) { 10_984_460_779_u64 } else { 400_000_000 };
        if second % 15 == 0 {
            fs::write(files.join("cpu.stat"), format!("usage_usec {micros}\n")).expect("a file");
            fs::write(files.join("memory.current"), format!("{memory}\n")).expect("a file");
            NOW.set(second);
            let look = sampler.look(&watched).expect("a tree");
            let all: Vec<Used> = look.samples.into_iter().map(|sample| sample.used).collect();
            engine.on_resources(&all, look.at);
            let batch = engine.take_batch(Batch::default());
            told.extend(
                batch.iter().map(|(_, record)| serde_json::from_slice::<Value>(record).expect("JSON")),
            );
        }
        micros += if is_busy { 1_028_000 } else { 100_000 };
    }
    let rows: Vec<_> = told.iter().map(row).collect();
    // The look at 315 s is the first that sees nothing else; two minutes later it is enough. What is calm stays calm for five.
    check(&rows, "ContainerCpuHigh", 435.0..=435.0, 1_215.0..=1_215.0);
    check(&rows, "ContainerMemoryHigh", 660.0..=660.0, 1_200.0..=1_200.0);
    let summary = |at: usize| told[at]["squall"]["annotations"]["summary"].as_str().expect("a text");
    assert_eq!(summary(0), "api-gateway uses 102.8 % of a core, for 2 minutes more than 50 %");
    assert_eq!(summary(1), "api-gateway uses 10.23 GiB of memory, more than 1.86 GiB");
    assert_eq!(told[0]["container"]["name"], "api-gateway");
}

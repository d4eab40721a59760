//! The real ones: promtool, Prometheus, and its Pushgateway (Debian's packages, which tests/run unpacks).

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use super::served::{Served, parse};
use crate::deploy::metrics_in_use;
use crate::support::http::{Answer, exchange, free_address};
use crate::support::process::{Running, run, squall};

/// A program of Debian's, ready to be started; says so where there is none.
fn program(name: &str) -> Option<Command> {
    let mut command = Command::new(name);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok() {
        return Some(command);
    }
    eprintln!("\nskipped: there is no {name}");
    None
}

#[test]
fn promtool_has_nothing_to_say() {
    let webhook = "notify.webhook={url: 'http://127.0.0.1:1/'}";
    let mut served = Served::start(&"connection timeout\n".repeat(1_000), &["--set", webhook]);
    served.wait_for_lines(1_000);
    let metrics = served.get("/metrics").body;
    assert!(metrics.contains("squall_notifications_waiting{receiver=\"webhook\"} 0\n"), "{metrics}");
    expect_promtool_is_content(&metrics);
}

/// promtool has nothing to say of these metrics, where there is one.
#[track_caller]
pub(crate) fn expect_promtool_is_content(metrics: &str) {
    let Some(mut promtool) = program("promtool") else { return };
    let mut checking =
        promtool.args(["check", "metrics"]).stdin(Stdio::piped()).spawn().expect("promtool starts");
    checking.stdin.take().expect("piped").write_all(metrics.as_bytes()).expect("promtool reads");
    let ended = checking.wait_with_output().expect("promtool ends");
    let said = [ended.stdout, ended.stderr].concat();
    assert!(ended.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn rules_and_dashboard_ask_for_what_there_is() {
    let mut served = Served::start_to("file:out", "connection timeout\n", &[]);
    served.wait_for_lines(1);
    let metrics = served.get("/metrics").body;
    for name in metrics_in_use() {
        // Where the destination is a network, and where lines were dropped.
        if ["squall_output_wire_bytes_total", "squall_lines_dropped_total"].contains(&name.as_str()) {
            continue;
        }
        assert!(
            metrics.lines().any(|line| line.starts_with(&format!("# TYPE {name} "))),
            "{name}: {metrics}"
        );
    }
}

/// The answer of a server that may not be up yet. Not as of HTTP/1.1, where Go keeps connections and cuts answers up.
fn try_get(address: &str, path: &str) -> Option<Answer> {
    let stream = std::net::TcpStream::connect(address).ok()?;
    exchange(stream, &format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")).ok()
}

/// The one number that a query gives.
fn query(address: &str, query: &str) -> Option<f64> {
    let escaped: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let answer = try_get(address, &format!("/api/v1/query?query={escaped}"));
    let answer: Value = answer.filter(|answer| answer.status == 200)?.json();
    answer["data"]["result"].as_array()?.first()?["value"][1].as_str()?.parse().ok()
}

/// Received lines less those that are somewhere: 0 at each moment that Prometheus has seen.
const IDENTITY: &str = "squall_lines_received_total - squall_lines_verbatim_total - squall_lines_summarised_total \
     - sum without (reason) (squall_lines_dropped_total) - squall_lines_pending";

#[test]
fn a_prometheus_finds_the_books_balanced() {
    let Some(mut prometheus) = program("prometheus") else { return };
    let served = Served::start("", &[]);
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("prometheus.yml");
    let scrape = format!("{{job_name: squall, static_configs: [{{targets: ['{}']}}]}}", served.address);
    fs::write(&config, format!("global: {{scrape_interval: 200ms}}\nscrape_configs: [{scrape}]\n"))
        .expect("a file");
    let address = free_address();
    prometheus
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address={address}"));
    let mut prometheus = Running::start(&mut prometheus);
    let log = served.path("app.log");
    let mut lines = 0;
    prometheus.wait_until("20 scrapes under load", |_| {
        let text: String = (0..500).map(|n| format!("connection timeout\nrequest {n} served\n")).collect();
        let mut log = fs::OpenOptions::new().append(true).open(&log).expect("the log");
        log.write_all(text.as_bytes()).expect("room");
        lines += 1_000;
        query(&address, "count_over_time(squall_lines_received_total[1h])")
            .is_some_and(|scrapes| scrapes >= 20.0)
    });
    prometheus.wait_until("all lines", |_| {
        query(&address, "squall_lines_received_total") == Some(f64::from(lines))
    });
    for furthest in ["max_over_time", "min_over_time"] {
        assert_eq!(query(&address, &format!("{furthest}(({IDENTITY})[1h:200ms])")), Some(0.0));
    }
    assert_eq!(query(&address, "up"), Some(1.0));
    assert_eq!(query(&address, "squall_instance_info{name=\"testhost\"}"), Some(1.0));
    let moved = query(
        &address,
        "max_over_time(squall_lines_received_total[1h]) - min_over_time(squall_lines_received_total[1h])",
    );
    assert!(moved > Some(0.0), "it was scraped while lines came: {moved:?}");
}

/// Prometheus's Pushgateway, on loopback.
#[track_caller]
fn pushgateway() -> Option<(Running, String)> {
    let mut gateway = program("prometheus-pushgateway")?;
    let address = free_address();
    let mut gateway = Running::start(gateway.arg(format!("--web.listen-address={address}")));
    gateway.wait_until("a gateway", |_| {
        try_get(&address, "/-/ready").is_some_and(|answer| answer.status == 200)
    });
    Some((gateway, address))
}

/// What has been pushed so far.
#[track_caller]
fn pushed(address: &str) -> BTreeMap<String, f64> {
    parse(&try_get(address, "/metrics").expect("the gateway is up").body)
}

const PUSHED: &str = "squall_lines_received_total{instance=\"testhost\",job=\"short-lived\"}";

#[test]
fn metrics_are_pushed_at_the_end() {
    let Some((_gateway, address)) = pushgateway() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("app.log"), "connection timeout\n".repeat(777)).expect("a log");
    let push = format!("notify.pushgateway={{url: 'http://{address}', every: 1h, job: short-lived}}");
    let args = ["run", "--tail", "app.log", "--until-eof", "--to", "blackhole", "--set", &push];
    run(folder.path(), args).expect_code(0);
    let pushed = pushed(&address);
    assert_eq!(pushed.get(PUSHED), Some(&777.0), "{pushed:?}");
    let told = PUSHED.replace("received", "summarised");
    assert_eq!(pushed.get(&told), Some(&772.0), "all windows are closed: {pushed:?}");
}

#[test]
fn metrics_are_pushed_at_an_interval_and_a_gateway_may_be_away() {
    let Some((gateway, address)) = pushgateway() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("app.log"), "connection timeout\n".repeat(100)).expect("a log");
    let push = format!("notify.pushgateway={{url: 'http://{address}', every: 1s, job: short-lived}}");
    let args = ["run", "--tail", "app.log", "--to", "blackhole", "--set", &push];
    let mut running = Running::start(&mut squall(folder.path(), args));
    running.wait_until("a push", |_| pushed(&address).get(PUSHED) == Some(&100.0));
    drop(gateway);
    running.wait_until("a complaint", |running| running.stderr().contains("metrics cannot be pushed"));
    running.signal(Signal::TERM);
    let ended = running.end();
    ended.expect_code(0);
    assert_eq!(ended.stderr.matches("metrics cannot be pushed").count(), 1, "once: {}", ended.stderr);
}

/// A gateway that takes a connection and says nothing does not keep squall from ending.
#[test]
fn a_gateway_that_hangs_holds_up_nothing() {
    let gateway = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = gateway.local_addr().expect("an address");
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("app.log"), "connection timeout\n".repeat(100)).expect("a log");
    let push = format!("notify.pushgateway={{url: 'http://{address}', every: 1s}}");
    let args = ["run", "--tail", "app.log", "--until-eof", "--to", "blackhole", "--set", &push];
    run(folder.path(), args).expect_code(0);
    gateway.accept().expect("it was asked");
}

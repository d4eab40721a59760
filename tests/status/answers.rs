//! Each endpoint, who may see what, and books that balance in each scrape.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::served::{Served, parse};
use crate::support::http::{self, ask, exchange, get, outer_address};
use crate::support::process::{Running, squall};

/// Lines of a retry loop that is a storm as well, with markup in it.
fn storm(lines: u32) -> String {
    let pair = "WebSocket connection timeout to wss://api.example.com:10000/v1 <script>alert(1)</script>\n\
                Reconnection failed after 5 attempts\n";
    pair.repeat(lines as usize / 2)
}

#[test]
fn every_endpoint_answers() {
    let mut served = Served::start(&storm(2_000), &[]);
    served.wait_for_lines(2_000);
    for path in ["/health", "/healthz", "/livez"] {
        let answer = served.get(path);
        assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some("ok")), "{path}");
    }
    for path in ["/ready", "/readyz"] {
        let answer = served.get(path);
        assert_eq!((answer.status, answer.json()["ready"].as_bool()), (200, Some(true)), "{path} {answer:?}");
    }
    let status = served.get("/api/v1/status").json();
    assert_eq!((status["stage"].as_str(), status["instance"].as_str()), (Some("running"), Some("testhost")));
    assert_eq!(status["active"]["storms"], 2, "{status}");
    assert_eq!(served.get("/api/v1/ledger").json()["ledger"]["lines_in"], 2_000);
    let storms = served.get("/api/v1/storms").json();
    assert_eq!(storms["storms"].as_array().map(Vec::len), Some(2), "{storms}");
    assert_eq!(storms["storms"][0]["storm"], "rate", "{storms}");
    assert_eq!(served.get("/api/v1/alerts").json()["active"], 0);
    for (path, want) in [("/nothing", 404), ("/metrics/x", 404)] {
        assert_eq!(served.get(path).status, want, "{path}");
    }
    let page = served.get("/");
    assert!(page.head.contains("content-security-policy: default-src 'none'"), "{page:?}");
    assert!(page.body.contains("&lt;script&gt;") && !page.body.contains("<script"), "{page:?}");
    let head = ask(&served.address, "HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
        let answer = ask(&served.address, &format!("{method} /api/v1/status HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert_eq!(answer.status, 405, "{method}");
    }
    served.running.signal(Signal::TERM);
    served.running.end().expect_code(0);
}

/// A loop is told with its verdict, its endpoint, and since when.
#[test]
fn a_loop_is_shown_with_its_verdict() {
    let line =
        |second: u32, text: &str| format!("2026-02-06T00:{:02}:{:02}Z {text}\n", second / 60, second % 60);
    let log: String = (0..60)
        .flat_map(|second| {
            [line(second, "connection to wss://api.example.com:10000/v1 timed out"), line(second, "retrying")]
        })
        .collect();
    let mut served = Served::start(&log, &[]);
    served.wait_for_lines(120);
    let loops = served.get("/api/v1/loops").json();
    let first = &loops["loops"][0];
    assert_eq!(first["endpoint"], "wss://api.example.com:10000/v1", "{loops}");
    assert_eq!(first["since"], "2026-02-06T00:00:00.000Z", "{loops}");
    assert!(first["verdict"].is_string() && first["advice"].is_string(), "{loops}");
    let page = served.get("/").body;
    assert!(
        page.contains("wss://api.example.com:10000/v1") && page.contains("2026-02-06 00:00:00"),
        "{page}"
    );
}

/// Scraped again and again while lines come: the identity holds in each single scrape.
#[test]
fn the_books_balance_in_every_scrape() {
    const SNAPSHOTS: usize = 5;
    let mut served = Served::start("", &[]);
    let (received, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let writer = {
        let (path, received, done) = (served.path("app.log"), Arc::clone(&received), Arc::clone(&done));
        thread::spawn(move || write_until(&path, &received, &done))
    };
    let (mut scrapes, mut snapshots) = (0u32, BTreeSet::new());
    served.running.wait_until("some snapshots", |_| {
        let lines = balanced(&get(&served.address, "/metrics").body);
        received.store(lines, Ordering::Release);
        scrapes += 1;
        snapshots.insert(lines);
        snapshots.len() > SNAPSHOTS
    });
    done.store(true, Ordering::Release);
    let written = writer.join().expect("it does not fail");
    println!("{scrapes} scrapes of {} snapshots of {written} lines", snapshots.len());
    served.running.wait_until("all lines", |_| balanced(&get(&served.address, "/metrics").body) == written);
    let open = ask(
        &served.address,
        "GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text\r\nHost: x\r\n\r\n",
    );
    assert!(open.head.contains("application/openmetrics-text") && open.body.ends_with("# EOF\n"), "{open:?}");
}

/// Fails unless the identity holds in this scrape. Returns the lines that were received.
#[track_caller]
fn balanced(text: &str) -> u64 {
    let metrics = parse(text);
    let is_dropped = |name: &str| name.starts_with("squall_lines_dropped_total{");
    let dropped: f64 = metrics.iter().filter(|(name, _)| is_dropped(name)).map(|(_, lines)| lines).sum();
    let [received, verbatim, summarised, pending] =
        ["received_total", "verbatim_total", "summarised_total", "pending"]
            .map(|name| metrics[&format!("squall_lines_{name}")]);
    assert_eq!(received, verbatim + summarised + dropped + pending, "{text}");
    assert_eq!(metrics["squall_conservation_error_lines"], 0.0);
    received as u64
}

/// Appends lines, some of a storm and some that are not, and never far ahead of the reader. Returns how many.
fn write_until(path: &Path, received: &AtomicU64, done: &AtomicBool) -> u64 {
    const AHEAD: u64 = 100_000;
    let mut log = OpenOptions::new().append(true).open(path).expect("the log");
    let mut written = 0;
    while !done.load(Ordering::Acquire) {
        if written > received.load(Ordering::Acquire) + AHEAD {
            thread::sleep(Duration::from_millis(1));
            continue;
        }
        let line = |n: u64| match n % 4 {
            0 => format!("request {written}-{n} served in {n} ms\n"),
            1 => format!("user {n} logged in\n"),
            _ => "connection timeout\n".to_owned(),
        };
        let text: String = (0..1_000).map(line).collect();
        log.write_all(text.as_bytes()).expect("room");
        written += 1_000;
    }
    written
}

/// The output blocks for ever: squall is alive and not ready from the signal on, and answers until its end.
#[test]
fn a_squall_that_stops_is_not_ready() {
    let (_reader, writer) = std::io::pipe().expect("a pipe");
    let folder = tempfile::tempdir().expect("a folder");
    let log: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
    std::fs::write(folder.path().join("app.log"), log).expect("a log");
    let args = ["run", "--tail", "app.log", "--collapse", "never", "--to", "console", "--json"];
    let args = args.into_iter().chain(["--listen", "127.0.0.1:0", "--shutdown-timeout", "3s"]);
    let mut running = Running::start(squall(folder.path(), args).stdout(writer));
    running.wait_until("an address", |running| http::served_at(&running.stderr()).is_some());
    let address = http::served_at(&running.stderr()).expect("it was there");
    running.wait_until("readiness", |_| get(&address, "/ready").status == 200);
    running.signal(Signal::TERM);
    running.wait_until("stopping", |running| running.stderr().contains("stopping"));
    let answer = get(&address, "/ready");
    assert_eq!((answer.status, answer.json()["reasons"][0]["reason"].as_str()), (503, Some("stopping")));
    assert_eq!(get(&address, "/health").status, 200);
    assert_eq!(get(&address, "/api/v1/status").json()["stage"], "stopping");
    running.end().expect_code(1).expect_said("were not delivered");
}

#[test]
fn fault_084_text_of_logs_is_for_this_machine() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "correct horse battery\n").expect("a file");
    let set = format!("status.token_file={}", token.display());
    let served = Served::start(&storm(100), &["--set", &set, "--listen", "0.0.0.0:0"]);
    let port = served.address.rsplit_once(':').expect("a port").1;
    #[track_caller]
    fn check(address: &str, path: &str, fields: &str, want: u16) {
        let answer = ask(address, &format!("GET {path} HTTP/1.1\r\n{fields}\r\n"));
        assert_eq!(answer.status, want, "{path} {fields:?} {answer:?}");
    }
    let here = format!("127.0.0.1:{port}");
    let guarded = ["/", "/api/v1/storms", "/api/v1/loops", "/api/v1/alerts"];
    for path in guarded {
        check(&here, path, "Host: localhost\r\n", 200);
        // What a browser sends after its name server has lied to it.
        check(&here, path, "Host: evil.example\r\n", 403);
        check(&here, path, "Host: evil.example\r\nAuthorization: Bearer correct horse battery\r\n", 200);
    }
    let Some(outer) = outer_address() else {
        eprintln!("\nskipped: this machine has no network");
        return;
    };
    let there = format!("{outer}:{port}");
    for path in guarded {
        check(&there, path, "Host: localhost\r\n", 403);
        check(&there, path, "Host: x\r\nAuthorization: Bearer wrong horse battery\r\n", 403);
        check(&there, path, "Host: x\r\nAuthorization: Bearer correct horse battery\r\n", 200);
    }
    for path in ["/health", "/ready", "/metrics", "/api/v1/status", "/api/v1/ledger"] {
        check(&there, path, "Host: squall.monitoring.svc\r\n", 200);
    }
}

#[test]
fn a_socket_serves_as_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("status.sock");
    let listen = format!("unix:{}", socket.display());
    let args = ["run", "--stdin", "--to", "blackhole", "--listen", &listen];
    // Twice: the second one finds what the first has left behind.
    for _ in 0..2 {
        let mut command = squall(folder.path(), args);
        let mut running = Running::start(command.stdin(std::process::Stdio::piped()));
        running.wait_until("a socket", |_| UnixStream::connect(&socket).is_ok());
        let stream = UnixStream::connect(&socket).expect("it listens");
        let answer = exchange(stream, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n").expect("an answer");
        assert_eq!(answer.status, 200);
        running.signal(Signal::KILL);
        while running.is_running() {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_place_that_was_asked_for_must_be_free() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let address = taken.local_addr().expect("an address").to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let args = ["run", "--stdin", "--to", "blackhole", "--listen", &address];
    let ended = Running::start(&mut squall(folder.path(), args)).end();
    ended.expect_code(1).expect_said(&format!("cannot serve the status at {address} (status.listen)"));
    let token = ["run", "--stdin", "--to", "blackhole", "--set", "status.token_file=/nowhere/token"];
    let ended = Running::start(&mut squall(folder.path(), token)).end();
    ended.expect_code(1).expect_said("cannot use the token in /nowhere/token (status.token_file)");
}

//! The emergency limit over the API: set, held, kept over a kill, and lifted.

use std::io::Write as _;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::served::{Served, parse};
use crate::support::http::{Answer, ask, get, served_at};
use crate::support::process::{Running, squall};

const TOKEN: &str = "correct horse battery staple";

/// A file with the token, and the flag that names it.
fn token() -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    std::fs::write(&path, format!("{TOKEN}\n")).expect("a file");
    let set = format!("status.token_file={}", path.display());
    (folder, set)
}

#[track_caller]
fn send(address: &str, method: &str, token: &str, body: &str) -> Answer {
    let length = body.len();
    let head = format!("{method} /api/v1/limits HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n");
    ask(address, &format!("{head}Content-Length: {length}\r\n\r\n{body}"))
}

const WANTED: &str = r#"{"lines_per_second":1,"burst":3,"for":"10m"}"#;

#[test]
fn without_a_token_there_is_nothing() {
    let served = Served::start("", &[]);
    for method in ["POST", "DELETE"] {
        assert_eq!(send(&served.address, method, TOKEN, WANTED).status, 404, "{method}");
    }
}

#[test]
fn orders_need_the_token_and_make_sense() {
    let (folder, set) = token();
    let served = Served::start("", &["--set", &set]);
    let address = &served.address;
    #[track_caller]
    fn check(answer: &Answer, want: u16, part: &str) {
        assert!(answer.status == want && answer.body.contains(part), "{answer:?}");
    }
    check(&send(address, "POST", "wrong", WANTED), 401, "token");
    check(&send(address, "DELETE", "wrong", ""), 401, "token");
    check(&send(address, "POST", TOKEN, "{}"), 400, "lines_per_second");
    check(&send(address, "POST", TOKEN, r#"{"lines_per_second":1,"for":"soon"}"#), 400, "`for`");
    check(&send(address, "POST", TOKEN, &" ".repeat(5_000)), 413, "too long");
    check(&send(address, "GET", TOKEN, ""), 405, "error");
    check(&send(address, "DELETE", TOKEN, ""), 200, "null");
    check(&send(address, "POST", TOKEN, WANTED), 200, "\"state\":\"limiting\"");
    check(&send(address, "DELETE", TOKEN, ""), 200, "\"state\":\"returning\"");
    check(&send(address, "DELETE", TOKEN, ""), 200, "null");
    drop(folder);
    check(&send(address, "POST", TOKEN, WANTED), 503, "cannot be read");
}

/// What is held back is counted, what is new passes, and the limit outlives a `kill -9`.
#[test]
fn a_limit_holds_and_outlives_a_kill() {
    let (_folder, set) = token();
    let mut served = Served::start("request 0 served\n", &["--set", &set]);
    served.wait_for_lines(1);
    assert_eq!(send(&served.address, "POST", TOKEN, WANTED).status, 200);
    let mut log = std::fs::OpenOptions::new().append(true).open(served.path("app.log")).expect("the log");
    // Too few in ten seconds to be a storm.
    let calm: String = (1..=80).map(|n| format!("request {n} served\n")).collect();
    log.write_all(calm.as_bytes()).expect("room");
    log.write_all(b"the disk is on fire\n").expect("room");
    served.wait_for_lines(82);
    let metrics = served.metrics();
    // One, three at once, perhaps a few more on a slow machine, and the one that is new.
    let verbatim = metrics["squall_lines_verbatim_total"];
    assert!((5.0..40.0).contains(&verbatim), "{metrics:?}");
    assert_eq!(metrics["squall_lines_limited_total"], 82.0 - verbatim, "{metrics:?}");
    assert_eq!((metrics["squall_limit_active"], metrics["squall_conservation_error_lines"]), (1.0, 0.0));
    assert!(served.get("/").body.contains("emergency limit"));

    // Only what is committed is sent, and the limit is committed with the notice of it.
    let limit = |served: &Value| served["limit"]["state"].as_str().map(str::to_owned);
    assert_eq!(limit(&served.get("/api/v1/status").json()).as_deref(), Some("limiting"));
    let address = served.address.clone();
    served.running.wait_until("the end of all records", |_| {
        let metrics = parse(&get(&address, "/metrics").body);
        metrics["squall_output_records_total"] == metrics["squall_records_total"]
    });
    let (folder, mut running) = served.into_parts();
    running.signal(Signal::KILL);
    while running.is_running() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let args =
        ["run", "--tail", "app.log", "--to", "blackhole", "--state", "state", "--listen", "127.0.0.1:0"];
    let mut running = Running::start(&mut squall(folder.path(), args.into_iter().chain(["--set", &set])));
    running.wait_until("an address", |running| served_at(&running.stderr()).is_some());
    let address = served_at(&running.stderr()).expect("it was there");
    running.wait_until("the limit", |_| {
        let status = get(&address, "/api/v1/status").json();
        limit(&status).as_deref() == Some("limiting")
    });
    assert!(send(&address, "DELETE", TOKEN, "").body.contains("returning"));
    assert_eq!(send(&address, "DELETE", TOKEN, "").json()["limit"], Value::Null);
}

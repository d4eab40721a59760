//! What health and readiness say when something is really wrong, and that it is taken back.

use std::fs;
use std::io::{Read as _, copy, sink};
use std::thread;

use rustix::process::Signal;

use super::served::Served;
use crate::support::http::{self, free_address, get};
use crate::support::process::{Running, squall};

/// Why it is not ready; empty when it is.
fn reasons(address: &str) -> Vec<String> {
    let ready = get(address, "/ready");
    let body = ready.json();
    let reasons: Vec<String> = body["reasons"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|reason| reason["reason"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(ready.status, if reasons.is_empty() { 200 } else { 503 }, "{ready:?}");
    reasons
}

/// Standard output is a pipe that nobody reads: the output thread stands in a write. It is alive again when somebody does.
#[test]
fn a_thread_that_stands_still_is_stuck_until_it_moves() {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let folder = tempfile::tempdir().expect("a folder");
    let log: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
    fs::write(folder.path().join("app.log"), log).expect("a log");
    let args = ["run", "--tail", "app.log", "--collapse", "never", "--to", "console", "--json"];
    let args = args.into_iter().chain(["--listen", "127.0.0.1:0"]);
    let mut running = Running::start(squall(folder.path(), args).stdout(writer));
    running.wait_until("an address", |running| http::served_at(&running.stderr()).is_some());
    let address = http::served_at(&running.stderr()).expect("it was there");
    running.wait_until("a thread that is stuck", |_| get(&address, "/health").status == 503);
    let health = get(&address, "/health").json();
    assert_eq!(
        (health["status"].as_str(), health["thread"].as_str()),
        (Some("stuck"), Some("output")),
        "{health}"
    );
    assert!(health["seconds"].as_u64() >= Some(30), "{health}");
    assert_eq!(reasons(&address), ["stuck"]);
    let metrics = get(&address, "/metrics").body;
    assert!(metrics.contains("\nsquall_healthy 0\n") && metrics.contains("\nsquall_ready 0\n"), "{metrics}");
    // Somebody reads on, to the end of the process.
    reader.read_exact(&mut [0]).expect("there is something");
    let reader = thread::spawn(move || copy(&mut reader, &mut sink()));
    running.wait_until("health", |_| get(&address, "/health").status == 200 && reasons(&address).is_empty());
    running.signal(Signal::TERM);
    running.end().expect_code(0);
    reader.join().expect("it does not fail").expect("a pipe");
}

/// Kafka is away. That is a note, until the outbox is about to be full.
#[test]
fn a_destination_that_is_away_is_a_reason_once_the_outbox_is_full() {
    let to = format!("kafka://{}/logs", free_address());
    let small = ["--collapse", "never", "--set", "outbox.size_max=8MiB", "--shutdown-timeout", "1s"];
    let mut served = Served::start_to(&to, "the first line\n", &small);
    let notes = |address: &str| get(address, "/ready").json()["notes"].to_string();
    let address = served.address.clone();
    served.running.wait_until("a note", |_| notes(&address).contains("output_trouble"));
    assert_eq!(
        reasons(&address),
        Vec::<String>::new(),
        "a sidecar that is not ready takes its pod out of service"
    );
    // Digits of which no two lines are alike, so that they stay large when they are compressed.
    let digits =
        |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xd1b5_4a32_d192_ed03);
    let line = |n: u64| {
        format!("{:016x}{:016x}{:016x}{:016x}\n", digits(n), digits(n + 1), digits(n + 2), digits(n + 3))
    };
    let log: String = (0..200_000).map(|n| line(4 * n)).collect();
    fs::OpenOptions::new()
        .append(true)
        .open(served.path("app.log"))
        .and_then(|mut file| copy(&mut log.as_bytes(), &mut file))
        .expect("room");
    served.running.wait_until("a full outbox", |_| reasons(&address) == ["output_blocked"]);
    let text = get(&address, "/ready").json()["reasons"][0]["message"].to_string();
    assert!(text.contains("the outbox is 9") || text.contains("the outbox is 100"), "{text}");
    assert_eq!(get(&address, "/health").status, 200, "a restart would not bring Kafka back");
    served.running.signal(Signal::TERM);
    // What was read last found no room; the file still has it.
    let ended = served.running.end();
    ended.expect_code(0).expect_said("they wait in state and are sent at the next start");
    ended.expect_said("what they tell is read again at the next start");
}

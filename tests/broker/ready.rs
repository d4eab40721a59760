//! What the endpoints say while Kafka is away: alive all the time, ready until it stops, and nothing is lost.

use std::time::Duration;

use squall::daemon::clock;

use super::bad_days::{MEMORY_MAX, behind_a_proxy};
use super::stage::Stage;
use crate::rig::generator::Plan;
use crate::support::http::{get, served_at};
use crate::support::proxy::Mode;

/// 5,000 lines a second, each of them a record.
const PACE: Plan = Plan { seed: 1, rate: 1_000_000, max_size: 2_000_000, max_file: 500, ahead_max: None };
/// Docker's.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
#[ignore = "needs a broker"]
fn fault_042_a_stop_while_kafka_is_away_is_seen_at_once() {
    let (broker, proxy) = behind_a_proxy();
    let mut stage = Stage::open(&broker, "ready.042", PACE);
    let args = ["--collapse", "never", "--listen", "127.0.0.1:0"];
    let sidecar = stage.start_to(proxy.address(), &args);
    sidecar.wait_for_message("the status is served at");
    let address = served_at(&sidecar.messages().join("\n")).expect("it has been said");
    stage.wait_for_lines(1_000, &sidecar);
    assert_eq!(get(&address, "/ready").status, 200);
    proxy.set(Mode::Blackhole);
    // That Kafka is away is a note and no reason: the outbox has room.
    sidecar.wait_until("a note", || get(&address, "/ready").json()["notes"][0]["note"] == "output_trouble");
    let ready = get(&address, "/ready");
    assert_eq!((ready.status, get(&address, "/health").status), (200, 200), "{ready:?}");

    let asked = clock::now().arrival;
    sidecar.terminate();
    sidecar.wait_until("the stop", || sidecar.messages().iter().any(|line| line.contains("stopping")));
    let ready = get(&address, "/ready");
    let seen = clock::now().arrival.since(asked);
    assert_eq!((ready.status, &ready.json()["reasons"][0]["reason"]), (503, &"stopping".into()), "{ready:?}");
    assert_eq!(get(&address, "/health").status, 200);
    let memory = sidecar.memory_peak();
    let ended = sidecar.end();
    let took = clock::now().arrival.since(asked);
    assert!(took < PATIENCE, "it took {took:?} to end");
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.number("records_undelivered") > 0, "everything had left: {ended:#?}");
    assert!(memory <= MEMORY_MAX, "{memory} bytes of memory");

    proxy.set(Mode::Pass);
    let sidecar = stage.start_to(proxy.address(), &args);
    let outcome = stage.finish(sidecar);
    println!("ready.042: not ready after {seen:.1?}, ended after {took:.1?}; {}", outcome.report);
    outcome.expect_exact();
}

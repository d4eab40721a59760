//! Kafka's bad days, one test for each row of faults.md: nothing is missing, somebody is told, memory stays flat, and
//! the log is read on.
//!
//! Environment: `SQUALL_AWAY_SECONDS` (20) is how long Kafka is away in `fault_045`.
//!
//! Not here: passwords, rights and certificates (`guarded`); `kill -9` under full load (`kill`).

use std::time::Duration;

use squall::daemon::clock;

use super::sidecar::Sidecar;
use super::stage::Stage;
use crate::rig::generator::Plan;
use crate::support::broker::{Broker, Setup};
use crate::support::process::setting;
use crate::support::proxy::{Mode, Proxy};

/// The promise (`budget.memory_max`); a debug build keeps it too.
pub(super) const MEMORY_MAX: u64 = 48 << 20;
/// Every line becomes a record: what Kafka does not take has to be kept by somebody.
const ALL: [&str; 2] = ["--collapse", "never"];
/// 5,000 lines a second, 1 MB of log, 4 MB of records.
const PACE: Plan = Plan { seed: 1, rate: 1_000_000, max_size: 2_000_000, max_file: 500, ahead_max: None };

/// The log is read on although nothing leaves.
#[track_caller]
fn expect_reading(sidecar: &Sidecar, bytes: u64) {
    sidecar.wait_for_bytes_read(sidecar.bytes_read() + bytes);
}

#[track_caller]
fn expect_memory(sidecar: &Sidecar) {
    let memory = sidecar.memory_peak();
    assert!(memory <= MEMORY_MAX, "{memory} bytes of memory");
}

/// A broker whose clients all come through a proxy, as far as squall goes.
pub(super) fn behind_a_proxy() -> (Broker, Proxy) {
    let proxy = Proxy::start();
    let broker = Broker::start_as(&Setup::default().behind("PROXIED", &proxy));
    proxy.forward_to(broker.address_of("PROXIED"));
    (broker, proxy)
}

/// SIGTERM while Kafka is away: squall ends in time, and the next one sends the rest.
#[test]
#[ignore = "needs a broker"]
fn fault_042_stopped_while_kafka_is_away() {
    const DOCKERS_PATIENCE: Duration = Duration::from_secs(10);
    let (broker, proxy) = behind_a_proxy();
    let mut stage = Stage::open(&broker, "days.042", PACE);
    let sidecar = stage.start_to(proxy.address(), &ALL);
    stage.wait_for_lines(1_000, &sidecar);
    proxy.set(Mode::Blackhole);
    expect_reading(&sidecar, 2_000_000);
    let asked = clock::now().arrival;
    sidecar.terminate();
    let ended = sidecar.end();
    let took = clock::now().arrival.since(asked);
    assert!(took < DOCKERS_PATIENCE, "it took {took:?} to end");
    // What waits is safe in the outbox: no failure, but somebody is told how much it is.
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.number("records_undelivered") > 0, "everything had left: {ended:#?}");
    proxy.set(Mode::Pass);
    let sidecar = stage.start_to(proxy.address(), &ALL);
    let outcome = stage.finish(sidecar);
    println!("042: ended after {took:.1?}; {}", outcome.report);
    outcome.expect_exact();
}

/// With 330 s it is longer than what librdkafka gives a record unless told otherwise; squall gives it for ever.
#[test]
#[ignore = "needs a broker"]
fn fault_045_kafka_away_for_long() {
    /// What is written meanwhile at most: the outbox must hold it.
    const AWAY_BYTES: u64 = 100_000_000;
    let seconds = setting("SQUALL_AWAY_SECONDS", 20).max(1);
    let away = Duration::from_secs(seconds);
    let mut broker = Broker::start();
    let plan = Plan { rate: PACE.rate.min(AWAY_BYTES / seconds), ..PACE };
    let mut stage = Stage::open(&broker, "days.045", plan);
    let sidecar = stage.start(&ALL);
    stage.wait_for_lines(1_000, &sidecar);
    broker.stop();
    sidecar.wait_for_message("cannot reach any broker of");
    // The length of the outage is what is tried here, so it is waited for.
    stage.watch(away);
    expect_reading(&sidecar, 1_000_000);
    broker.start_again();
    stage.settle(&sidecar);
    expect_memory(&sidecar);
    let memory = sidecar.memory_peak();
    let outcome = stage.finish(sidecar);
    println!("045: {away:?} away, {memory} bytes of memory; {}", outcome.report);
    outcome.expect_exact();
    // A broker that has just started may be slow to confirm, which is told again; but not with every try.
    let well_again = outcome.ended.messages_with("kafka is well again").len();
    assert!((1..=3).contains(&well_again), "{:#?}", outcome.ended.messages);
}

/// Handed to librdkafka is not delivered: what a frozen broker had taken in is sent again by the next squall.
#[test]
#[ignore = "needs a broker"]
fn fault_046_killed_while_the_broker_is_frozen() {
    let broker = Broker::start();
    let mut stage = Stage::open(&broker, "days.046", PACE);
    for _ in 0..3 {
        let sidecar = stage.start(&ALL);
        stage.wait_for_lines(1_000, &sidecar);
        broker.pause();
        expect_reading(&sidecar, 1_000_000);
        sidecar.kill();
        broker.resume();
    }
    let sidecar = stage.start(&ALL);
    let outcome = stage.finish(sidecar);
    println!("046: {}", outcome.report);
    outcome.expect_exact();
}

/// Stopped and killed in turn while records are on their way.
#[test]
#[ignore = "needs a broker"]
fn fault_048_the_broker_restarts_again_and_again() {
    let mut broker = Broker::start();
    let mut stage = Stage::open(&broker, "days.048", PACE);
    let sidecar = stage.start(&ALL);
    for restart in 0..4 {
        stage.wait_for_lines(1_000, &sidecar);
        if restart % 2 == 0 {
            broker.stop();
        } else {
            broker.kill();
        }
        broker.start_again();
    }
    stage.settle(&sidecar);
    expect_memory(&sidecar);
    let outcome = stage.finish(sidecar);
    println!("048: {}", outcome.report);
    outcome.expect_exact();
    assert_eq!(outcome.report.out_of_order, 0, "{}", outcome.report);
}

/// What stood in the topic is gone because somebody deleted it; what comes later is not.
#[test]
#[ignore = "needs a broker"]
fn fault_050_the_topic_is_deleted_and_made_again() {
    let (broker, topic) = (Broker::shared(), "days.050");
    let mut stage = Stage::open(&broker, topic, PACE);
    let sidecar = stage.start(&ALL);
    stage.wait_for_lines(1_000, &sidecar);
    // Everything that had arrived is known before it is deleted; the writer goes on at once.
    stage.settle(&sidecar);
    broker.delete_topic(topic);
    stage.generator().resume();
    sidecar.wait_for_message(&format!("topic \"{topic}\" does not exist"));
    expect_reading(&sidecar, 1_000_000);
    broker.create_topic(topic, 1, &[]);
    stage.open_topic_again();
    // By itself: nobody starts squall again.
    stage.wait_for_lines(1_000, &sidecar);
    expect_memory(&sidecar);
    let outcome = stage.finish(sidecar);
    println!("050: {}", outcome.report);
    outcome.expect_exact();
    assert_eq!(outcome.ended.messages_with("kafka is well again").len(), 1, "{:#?}", outcome.ended.messages);
}

/// The topic takes less than what is sent: records are shrunk, not lost, and none holds up those behind it.
#[test]
#[ignore = "needs a broker"]
fn fault_051_the_topic_takes_only_small_messages() {
    let (broker, topic) = (Broker::shared(), "days.051");
    let mut stage = Stage::open(&broker, topic, Plan { rate: 200_000, ..PACE });
    // Long lines compress so well that only without compression they are too large.
    let plain = [&ALL[..], &["--set", "outputs.kafka.compression=none"]].concat();
    let sidecar = stage.start(&plain);
    stage.wait_for_lines(500, &sidecar);
    broker.configure_topic(topic, "max.message.bytes", "2000");
    let small = stage.generator().seq();
    // A line of 40,000 bytes comes with every 3,400th line or so.
    stage.wait_for_lines(3 * 3_400, &sidecar);
    expect_memory(&sidecar);
    let outcome = stage.finish(sidecar);
    println!("051: small from line {small} on; {}", outcome.report);
    outcome.expect_exact();
    assert!(outcome.report.shrunk > 0, "nothing was too large: {}", outcome.report);
}

/// A network that swallows, trickles, tears, and keeps dead connections alive.
#[test]
#[ignore = "needs a broker"]
fn fault_054_a_bad_network() {
    let (broker, proxy) = behind_a_proxy();
    let mut stage = Stage::open(&broker, "days.054", PACE);
    // The default of 30 s, scaled to what a test may take.
    let quick = [&ALL[..], &["--set", "outputs.kafka.options={socket.timeout.ms: 3000}"]].concat();
    let sidecar = stage.start_to(proxy.address(), &quick);
    let bad = [
        Mode::Blackhole,
        Mode::HalfOpen,
        Mode::Trickle,
        Mode::Refuse,
        Mode::Delay(Duration::from_millis(50)),
    ];
    for mode in bad {
        stage.wait_for_lines(1_000, &sidecar);
        proxy.set(mode);
        expect_reading(&sidecar, 4_000_000);
        // What was stuck is torn off too, in the middle of what is on its way.
        proxy.set(Mode::Pass);
        proxy.cut();
    }
    stage.settle(&sidecar);
    expect_memory(&sidecar);
    let (memory, connections) = (sidecar.memory_peak(), proxy.connections());
    let outcome = stage.finish(sidecar);
    println!("054: {connections} connections, {memory} bytes of memory; {}", outcome.report);
    outcome.expect_exact();
    let anew = outcome.ended.messages_with("kafka has a new producer").len();
    assert!(
        outcome.report.out_of_order == 0 || anew > 0,
        "one producer, another order: {:#?}",
        outcome.ended.messages
    );
    let said = outcome.ended.messages_with("kafka waits: ").len();
    assert!((1..=3 * bad.len()).contains(&said), "{:#?}", outcome.ended.messages);
}

/// Over a satellite, say: an answer takes more than half a second, and squall waits for it.
#[test]
#[ignore = "needs a broker"]
fn fault_054_a_slow_network() {
    let (broker, proxy) = behind_a_proxy();
    let mut stage = Stage::open(&broker, "days.054.slow", Plan { rate: 100_000, ..PACE });
    proxy.set(Mode::Delay(Duration::from_millis(300)));
    let sidecar = stage.start_to(proxy.address(), &[]);
    stage.wait_for_lines(100, &sidecar);
    let outcome = stage.finish(sidecar);
    println!("054 slow: {}", outcome.report);
    outcome.expect_exact();
}

/// Killed between Kafka's writing and the proof of it: the same records come again, with the same ids and bytes.
#[test]
#[ignore = "needs a broker"]
fn fault_055_sent_again_under_the_same_id() {
    let (broker, proxy) = behind_a_proxy();
    let mut stage = Stage::open(&broker, "days.055", PACE);
    // The proof takes so long that records are seen here before squall knows that they have arrived.
    proxy.set(Mode::Delay(Duration::from_millis(150)));
    for _ in 0..5 {
        let sidecar = stage.start_to(proxy.address(), &ALL);
        stage.wait_for_lines(1, &sidecar);
        sidecar.kill();
    }
    proxy.set(Mode::Pass);
    let sidecar = stage.start_to(proxy.address(), &ALL);
    let outcome = stage.finish(sidecar);
    println!("055: {}", outcome.report);
    outcome.expect_exact();
    assert!(outcome.report.duplicates > 0, "no record came twice: {}", outcome.report);
}

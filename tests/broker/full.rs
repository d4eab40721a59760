//! faults.md 60: the outbox is full, and Kafka is away.
//!
//! `block` and `degrade` against the smallest outbox there is: reading waits, or detail is given up and no count.

use std::fs;
use std::time::Duration;

use super::bad_days::{MEMORY_MAX, behind_a_proxy};
use super::sidecar::Sidecar;
use super::stage::Stage;
use crate::rig::generator::Plan;
use crate::support::proxy::Mode;

/// The smallest cap (`outbox.size_max`).
const SIZE_MAX: u64 = 8 << 20;
const SMALL: [&str; 2] = ["--set", "outbox.size_max=8MiB"];
const DEGRADE: [&str; 2] = ["--set", "outbox.when_full=degrade"];
/// How often new lines are written for one step: a minute at most.
const FRESH_MAX: usize = 6_000;
const FULL: &str = "reading waits until it can be written";

#[track_caller]
fn expect_bounds(stage: &Stage, sidecar: &Sidecar) {
    let memory = sidecar.memory_peak();
    assert!(memory <= MEMORY_MAX, "{memory} bytes of memory");
    let files = fs::read_dir(stage.path("state")).expect("the state directory");
    let disk: u64 =
        files.map(|file| file.and_then(|file| file.metadata()).map_or(0, |file| file.len())).sum();
    assert!(disk <= SIZE_MAX + (64 << 10), "{disk} bytes of disk");
}

/// Nothing more is read until there is room, and then everything.
#[track_caller]
fn check_back_pressure(topic: &str, more: &[&str]) {
    let (broker, proxy) = behind_a_proxy();
    proxy.set(Mode::Refuse);
    let plan = Plan { rate: 4_000_000, max_size: 20_000_000, ..Plan::default() };
    let mut stage = Stage::open(&broker, topic, plan);
    let args = [&SMALL[..], &["--collapse", "never"], more].concat();
    let sidecar = stage.start_to(proxy.address(), &args);
    sidecar.wait_for_message(FULL);
    let (read, written) = (sidecar.bytes_read(), stage.generator().seq());
    // 10 MB of log.
    sidecar.wait_until("the writer", || stage.generator().seq() > written + 50_000);
    let read = sidecar.bytes_read() - read;
    assert!(read < 2_000_000, "{read} bytes were read although there is no room");
    expect_bounds(&stage, &sidecar);
    proxy.set(Mode::Pass);
    stage.settle(&sidecar);
    expect_bounds(&stage, &sidecar);
    let outcome = stage.finish(sidecar);
    println!("060 {topic}: {}", outcome.report);
    outcome.expect_exact();
    assert_eq!((outcome.report.noticed, outcome.report.summaries), (0, 0), "{}", outcome.report);
    assert!(!outcome.ended.messages_with("the outbox takes records again").is_empty());
}

#[test]
#[ignore = "needs a broker"]
fn fault_060_a_full_outbox_makes_reading_wait() {
    check_back_pressure("full.block", &[]);
}

/// Where not even giving up detail makes room, because an audit log is not to be folded.
#[test]
#[ignore = "needs a broker"]
fn fault_060_what_may_not_be_folded_waits_too() {
    check_back_pressure("full.never", &DEGRADE);
}

/// Reading goes on: detail is given up, then lines of known kinds, but no count, and nothing that is new.
#[test]
#[ignore = "needs a broker"]
fn fault_060_a_full_outbox_costs_detail_and_no_count() {
    let (broker, proxy) = behind_a_proxy();
    proxy.set(Mode::Refuse);
    let plan = Plan { rate: 4_000_000, max_size: 20_000_000, ..Plan::default() };
    let mut stage = Stage::open(&broker, "full.degrade", plan);
    stage.expect_only_counts();
    stage.write_fresh();
    let fresh = stage.fresh_log().display().to_string();
    let args = [&SMALL[..], &DEGRADE, &["--collapse", "repeats", "--tail", &fresh]].concat();
    let sidecar = stage.start_to(proxy.address(), &args);
    for step in ["fewer lines are sent word for word", "are only counted", "all of a stream together"] {
        let is_said = || sidecar.messages().iter().any(|message| message.contains(step));
        // New lines take room although nothing else does any more. Half of what may be new in a second.
        for _ in 0..FRESH_MAX {
            if is_said() {
                break;
            }
            (0..5).for_each(|_| stage.write_fresh());
            stage.watch(Duration::from_millis(10));
        }
        assert!(is_said(), "never said {step:?}: {:#?}", sidecar.messages());
    }
    // More than ten times what the outbox holds as records.
    sidecar.wait_for_bytes_read(sidecar.bytes_read() + 40_000_000);
    stage.write_fresh();
    expect_bounds(&stage, &sidecar);
    let said = sidecar.messages();
    assert!(!said.iter().any(|message| message.contains(FULL)), "{said:#?}");

    proxy.set(Mode::Pass);
    sidecar.wait_for_message("in full detail again");
    stage.wait_for_newer_line(&sidecar);
    stage.write_fresh();
    stage.wait_for_newer_line(&sidecar);
    expect_bounds(&stage, &sidecar);
    let outcome = stage.finish(sidecar);
    println!("060 degrade: {}", outcome.report);
    outcome.expect_exact();
    assert!(outcome.report.summaries > 0 && outcome.report.noticed > 0, "{}", outcome.report);
}

//! `kill -9`, again and again, under load: nothing missing, nothing counted twice.
//!
//! Environment: `SQUALL_KILLS` (200) is how many, `SQUALL_SEED` (1) decides when, `SQUALL_RATE` (20000000) is bytes a second.

use std::time::Duration;

use squall::daemon::clock;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::stage::{Outcome, Stage};
use crate::rig::generator::Plan;
use crate::support::broker::Broker;
use crate::support::process::setting;

/// When to kill: so long after squall has begun to read.
const ALIVE_MIN: u64 = 50;
const ALIVE_MAX: u64 = 500;
/// How far the writer may be ahead of what has arrived, in lines: about 160 MB, many rotations.
const AHEAD_MAX: u64 = 1_000_000;
/// What one start may cost on a busy machine, besides the time in which it is alive.
const START_MAX: Duration = Duration::from_secs(5);

/// Windows last an hour of the log's own clock: 54,000 lines, which is half a second at full load and 18 s in
/// `fault_037`. So there is always one that has been open for some time when the kill comes.
const LONG_WINDOWS: [&str; 4] = ["--set", "storm.summary_every=1h", "--set", "storm.summary_every_max=1h"];

/// Starts squall and kills it, so many times, and lets it finish then. Also tells which line had arrived at each kill.
fn kill_and_finish(topic: &str, kills: u64, plan: Plan, more: &[&str]) -> (Outcome, Vec<u64>) {
    let broker = Broker::shared();
    let mut stage = Stage::open(&broker, topic, plan);
    // Before its first commit squall knows of no file. At 20 MB/s the first one is rotated away after a second, which a
    // busy machine may take to start a process: the soak once began with the second file.
    stage.generator().pause();
    let began = clock::now().arrival;
    let mut arrived = Vec::new();
    for kill in 0..kills {
        let sidecar = stage.start(more);
        if kill == 0 {
            stage.wait_for_lines(1, &sidecar);
            stage.generator().resume();
        }
        // A kill counts only where something had been read.
        sidecar.wait_for_reading(&stage.log());
        let random = xxh3_64_with_seed(&kill.to_le_bytes(), plan.seed);
        stage.watch(Duration::from_millis(ALIVE_MIN + random % (ALIVE_MAX - ALIVE_MIN)));
        sidecar.kill();
        arrived.push(stage.verifier().newest_line());
    }
    let took = clock::now().arrival.since(began);
    let per_kill = Duration::from_millis(ALIVE_MAX) + START_MAX;
    assert!(took < per_kill * u32::try_from(kills.max(1)).expect("few kills"), "{took:?} for {kills} kills");
    let sidecar = stage.start(more);
    let outcome = stage.finish(sidecar);
    let rate = outcome.truth.bytes as f64 / took.as_secs_f64() / 1e6;
    println!(
        "{topic}: {kills} kills in {took:.1?}, {rate:.1} MB/s, {} rotations, seed {}: {}",
        outcome.truth.rotations, plan.seed, outcome.report
    );
    (outcome, arrived)
}

/// At any moment: between reading and committing, between committing and sending, between sending and the proof.
#[test]
#[ignore = "needs a broker"]
fn fault_036_killed_at_any_moment() {
    let plan = Plan {
        seed: setting("SQUALL_SEED", 1),
        rate: setting("SQUALL_RATE", 20_000_000),
        max_size: 20_000_000,
        max_file: 100,
        ahead_max: Some(AHEAD_MAX),
    };
    let (outcome, _) = kill_and_finish("kill.036", setting("SQUALL_KILLS", 200), plan, &LONG_WINDOWS);
    outcome.expect_exact();
    assert_eq!(outcome.report.lanes, 1, "a state directory is one lane, however often it is opened");
    assert_eq!(outcome.report.out_of_order, 0, "{}", outcome.report);
}

/// The windows stay open over all the kills: their counts go on, they neither begin again nor double.
#[test]
#[ignore = "needs a broker"]
fn fault_037_killed_inside_a_window() {
    let plan = Plan { seed: 37, rate: 500_000, ..Plan::default() };
    let (outcome, arrived) = kill_and_finish("kill.037", 20, plan, &LONG_WINDOWS);
    outcome.expect_exact();
    // The commonest text is more than a fourth of all lines. Were its window closed or forgotten with each life, the
    // largest one would stand for a twentieth of that.
    let (largest, lines) = (outcome.report.largest_window, outcome.report.lines);
    assert!(largest > lines / 5, "the largest window has {largest} of {lines} lines: {}", outcome.report);
    assert!(
        arrived.windows(2).filter(|pair| pair[0] < pair[1]).count() > 5,
        "too little arrived: {arrived:?}"
    );
}

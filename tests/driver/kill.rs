//! `kill -9` of the worker and of the supervisor, at any moment and under load: nothing is missing, nothing comes twice.

use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::World;
use crate::rig::verifier::Verifier;

/// Kills the worker so many times while lines are written.
#[track_caller]
fn kills_under_load(kills: u64, lines: u64) {
    let mut world = World::new();
    let socket = world.socket();
    let mut logging = world.container("c");
    for round in 0..kills {
        world.write(&mut logging, lines);
        // Moments differ: what a worker does at a time is not in our hands.
        thread::sleep(Duration::from_micros(round * 7_919 % 60_000));
        world.kill_worker();
        world.write(&mut logging, lines / 4);
    }
    world.write(&mut logging, 100);
    world.await_newest();
    logging.stop(&socket);
    world.await_drained();
    world.finish();
}

#[test]
fn fault_068_a_killed_worker_loses_and_doubles_nothing() {
    kills_under_load(12, 3_000);
}

#[test]
#[ignore = "takes minutes"]
fn fault_068_two_hundred_killed_workers() {
    kills_under_load(200, 8_000);
}

#[test]
fn fault_068_a_killed_supervisor_comes_back_with_its_fifos() {
    let mut world = World::new();
    let mut logging = world.container("c");
    for _ in 0..3 {
        world.write(&mut logging, 2_000);
        let worker = world.worker();
        world.driver().signal(Signal::KILL);
        // Its worker ends by itself.
        let supervisor = world.driver.take().expect("it ran");
        drop(supervisor);
        world.write(&mut logging, 500);
        world.start();
        let successor = world.worker();
        assert_ne!(worker, successor);
    }
    world.await_newest();
    let socket = world.socket();
    logging.stop(&socket);
    world.await_drained();
    world.finish();
}

#[test]
fn fault_070_what_was_stopped_is_read_though_the_worker_dies() {
    let mut world = World::new();
    let socket = world.socket();
    let mut logging = world.container("c");
    world.write(&mut logging, 4_000);
    logging.stop(&socket);
    world.kill_worker();
    world.await_drained();
    world.finish();
}

#[test]
fn fault_071_a_worker_that_hangs_is_replaced() {
    let mut world = World::new();
    let mut logging = world.container("c");
    world.write(&mut logging, 100);
    world.await_newest();
    let worker = world.worker();
    rustix::process::kill_process(worker, Signal::STOP).expect("it runs");
    world.write(&mut logging, 100);
    world.await_newest();
    assert_ne!(world.worker(), worker);
    assert!(world.driver().stderr().contains("has said nothing for"));
    world.finish();
}

/// A disk may hold the supervisor up for seconds. The worker has said that it goes on, all that time.
#[test]
fn fault_071_a_supervisor_that_stood_still_blames_nobody() {
    let mut world = World::new();
    let mut logging = world.container("c");
    world.write(&mut logging, 100);
    world.await_newest();
    let worker = world.worker();
    for _ in 0..3 {
        world.driver().signal(Signal::STOP);
        // Longer than a worker may say nothing.
        std::thread::sleep(Duration::from_millis(5_500));
        world.driver().signal(Signal::CONT);
        world.write(&mut logging, 100);
        world.await_newest();
    }
    assert_eq!(world.worker(), worker, "{}", world.driver().stderr());
    world.finish();
}

/// Nothing can be committed for a while: the container goes on, and every line is in the books.
#[test]
fn fault_067_the_fifo_is_drained_though_nothing_can_be_committed() {
    let mut world = World::new();
    let socket = world.socket();
    let mut logging = world.container("c");
    world.write(&mut logging, 500);
    world.await_newest();
    let store = rusqlite::Connection::open(world.folder.path().join("state/outbox.db")).expect("a store");
    store.busy_timeout(Duration::from_secs(30)).expect("an option");
    store.execute_batch("BEGIN IMMEDIATE").expect("it is free now and then");
    // Ten times what the FIFO holds: if it were not read, this would stand still.
    while logging.written < 10 << 20 {
        world.write(&mut logging, 5_000);
    }
    let told = "nothing was committed for 250 ms";
    world.driver().wait_until("the trouble", |driver| driver.stderr().contains(told));
    store.execute_batch("ROLLBACK").expect("it was ours");
    drop(store);
    world.write(&mut logging, 500);
    world.driver().wait_until("the end of it", |driver| driver.stderr().contains("survives a kill again"));
    logging.stop(&socket);
    world.await_drained();
    world.stop();
    let records = world.records();
    assert!(records.iter().any(|record| record["squall"]["reason"] == "durability_lost"));
    let mut verifier = Verifier::default();
    verifier.expect_only_counts();
    world.out().lines().for_each(|record| verifier.take(record.as_bytes()));
    verifier.finish(&world.truth).expect_exact();
}

#[test]
fn fault_068_a_fifo_that_is_gone_is_told() {
    let mut world = World::new();
    let mut logging = world.container("c");
    logging.line("stdout", b"read");
    world.await_line("read");
    world.stop();
    std::fs::remove_dir_all(world.folder.path().join("fifos")).expect("our own folder");
    world.start();
    world.await_drained();
    world.stop();
    let records = world.records();
    let told = records.iter().find(|record| record["squall"]["reason"] == "vanished").expect("it is told");
    assert!(told["message"].as_str().expect("text").contains("container c-name (c)"), "{told}");
}

#[test]
fn lines_that_wait_for_the_driver_are_read_when_it_starts_again() {
    let mut world = World::new();
    let socket = world.socket();
    let mut logging = world.container("c");
    world.write(&mut logging, 500);
    world.stop();
    world.write(&mut logging, 500);
    world.start();
    world.await_newest();
    logging.stop(&socket);
    world.await_drained();
    world.finish();
}

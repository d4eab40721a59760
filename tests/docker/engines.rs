//! The engine is stopped or killed, and comes back, while the driver goes on.

use rustix::process::Signal;

use super::driver::Driver;
use super::engine::Engine;
use super::feed::Feed;

/// Lines before, while the engine is away where the container outlives it, and after.
#[track_caller]
fn check(args: &[&str], signal: Signal) {
    let mut driver = Driver::to_file();
    let mut engine = Engine::start(args);
    let mut feed = Feed::new(engine.path("feed"));
    engine.print("app", &feed, &["--log-driver", driver.name()]);
    feed.write(5_000);
    // What dockerd has in its own memory it loses when it is killed, and nobody can help that.
    driver.await_seq(feed.newest());
    engine.end(signal);
    feed.has_new_fifo();
    if args.contains(&"--live-restore") {
        // Pipes hold these until the engine is back.
        feed.write(200);
        engine.up();
    } else {
        engine.up();
        engine.docker(&["start", "app"]);
    }
    feed.write(5_000);
    driver.await_seq(feed.newest());
    let truth = feed.end();
    engine.docker(&["wait", "app"]);
    driver.await_drained();
    driver.finish(&[("app", &truth)]);
}

#[test]
#[ignore = "needs dockerd"]
fn fault_073_the_engine_is_stopped_and_containers_live_on() {
    check(&["--live-restore"], Signal::TERM);
}

#[test]
#[ignore = "needs dockerd"]
fn fault_073_the_engine_is_killed_and_containers_live_on() {
    check(&["--live-restore"], Signal::KILL);
}

#[test]
#[ignore = "needs dockerd"]
fn fault_073_the_engine_is_stopped_with_its_containers() {
    check(&[], Signal::TERM);
}

#[test]
#[ignore = "needs dockerd"]
fn fault_073_the_engine_is_killed_and_ends_its_containers_later() {
    check(&[], Signal::KILL);
}

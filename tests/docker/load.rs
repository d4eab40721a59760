//! Containers that print as fast as they can: counted exactly, whatever dies meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, kill_process};
use serde_json::Value;
use squall::daemon::clock;

use super::driver::{Driver, Judges};
use super::engine::Engine;
use super::feed::Feed;
use crate::rig::generator::Truth;
use crate::rig::topic::Topic;
use crate::support::broker::Broker;
use crate::support::process::setting;

/// Whoever stands still for so long is stuck. What is aimed at is 2 s (`faults.md` 68); that is printed, for how quick a busy
/// machine is decides no test.
const STUCK: Duration = Duration::from_secs(30);
/// Before it dies, a worker reads so many bytes: more than its own files, and more than a FIFO holds.
const BETWEEN: u64 = 4 << 20;

/// Environment: `SQUALL_LOUD` is how many containers print, `SQUALL_LOUD_LINES` how many lines each.
#[test]
#[ignore = "needs dockerd"]
fn storms_of_containers_are_counted_exactly_in_kafka() {
    let (broker, topic) = (Broker::shared(), "docker.storms");
    broker.create_topic(topic, 1, &[]);
    let mut driver = Driver::start(&["--to", &format!("kafka://{}/{topic}", broker.address())]);
    let engine = Engine::start(&[]);
    let containers = setting("SQUALL_LOUD", 3);
    let lines = setting("SQUALL_LOUD_LINES", 200_000);
    let names: Vec<String> = (0..containers).map(|number| format!("loud{number}")).collect();
    let mut feeds: Vec<Feed> = names.iter().map(|name| Feed::new(engine.path(name))).collect();
    for (name, feed) in names.iter().zip(&feeds) {
        engine.print(name, feed, &["--log-driver", driver.name()]);
    }
    let began = clock::now().arrival;
    thread::scope(|scope| feeds.iter_mut().for_each(|feed| drop(scope.spawn(|| feed.write(lines)))));
    let took = clock::now().arrival.since(began);
    let still = feeds.iter().map(|feed| feed.longest).max().unwrap_or_default();
    let truths: Vec<_> = feeds.into_iter().map(Feed::end).collect();
    names.iter().for_each(|name| drop(engine.docker(&["wait", name])));
    driver.await_drained();
    driver.stop();

    let mut judges = Judges::default();
    Topic::open(broker.address(), topic).drain(&mut |record| judges.take(record));
    let truths: Vec<_> = names.iter().map(String::as_str).zip(&truths).collect();
    let rate = (containers * lines) as f64 / took.as_secs_f64();
    println!("{containers} containers, {lines} lines each, {rate:.0} lines/s, longest still {still:?}");
    for report in judges.finish(&truths) {
        assert_eq!(report.lines, lines);
        // A line of a thousand is like no other; the storm is some hundred records.
        assert!(report.records < lines / 1_000 + 2_000, "{report}");
        assert_eq!((report.duplicates, report.noticed), (0, 0), "{report}");
    }
}

/// One container's topic is there, another's is not; the workers that know of them die meanwhile.
#[test]
#[ignore = "needs dockerd"]
fn containers_have_topics_of_their_own() {
    let (broker, common, own) = (Broker::shared(), "docker.common", "docker.own");
    broker.create_topic(common, 1, &[]);
    broker.create_topic(own, 1, &[]);
    let mut driver = Driver::start(&["--to", &format!("kafka://{}/{common}", broker.address())]);
    let engine = Engine::start(&[]);
    let containers = [("plain", None), ("has", Some(own)), ("lacks", Some("docker.none"))];
    let mut feeds = containers.map(|(name, topic)| {
        let feed = Feed::new(engine.path(name));
        let topic = topic.map(|topic| format!("squall-kafka-topic={topic}"));
        let option = topic.iter().flat_map(|topic| ["--log-opt", topic]);
        let args: Vec<&str> = ["--log-driver", driver.name()].into_iter().chain(option).collect();
        engine.print(name, &feed, &args);
        feed
    });
    feeds.iter_mut().for_each(|feed| feed.write(20_000));
    let worker = driver.worker();
    kill_process(worker, Signal::KILL).expect("it runs");
    feeds.iter_mut().for_each(|feed| feed.write(20_000));
    let truths = feeds.map(Feed::end);
    containers.iter().for_each(|(name, _)| drop(engine.docker(&["wait", name])));
    driver.await_drained();
    driver.stop();

    let (mut judges, mut found, mut told) = (Judges::default(), BTreeMap::<String, BTreeSet<&str>>::new(), 0);
    for topic in [common, own] {
        Topic::open(broker.address(), topic).drain(&mut |record| {
            judges.take(record);
            let record: Value = serde_json::from_slice(record).expect("a record");
            let name = record["container"]["name"].as_str().unwrap_or_default();
            found.entry(name.to_owned()).or_default().insert(topic);
            told += u32::from(record["squall"]["reason"] == "topic_unusable");
        });
    }
    let names = containers.map(|(name, _)| name);
    judges.finish(&[(names[0], &truths[0]), (names[1], &truths[1]), (names[2], &truths[2])]);
    for (name, topic) in [("plain", common), ("has", own), ("lacks", common)] {
        assert_eq!(found[name], [topic].into(), "{name}");
    }
    // Each worker finds it out for itself.
    assert!((1..=2).contains(&told), "{told}");
}

/// Environment: `SQUALL_SPEED_SECONDS` is for how long Kafka is away.
#[test]
#[ignore = "needs dockerd"]
fn fault_067_kafka_is_away_while_a_container_prints_as_fast_as_it_can() {
    let topic = "docker.speed";
    let (mut broker, mut driver) = Driver::with_small_outbox(topic);
    let engine = Engine::start(&[]);
    let away = Duration::from_secs(setting("SQUALL_SPEED_SECONDS", 5));
    let short = away.min(BASE);
    let (of_json_file, _) = at_full_speed(&engine, "alone", &["--log-driver", "json-file"], short);
    broker.stop();
    engine.run(&["--detach", "--name", "idle", "--log-driver", driver.name()], &["sleep", "1000"]);
    let args = ["--log-driver", driver.name(), "--log-opt", "cache-disabled=true"];
    let (speed, truth) = at_full_speed(&engine, "app", &args, away);
    // What dockerd's own copy for `docker logs` costs is dockerd's.
    let (with_copy, truth_with_copy) = at_full_speed(&engine, "copied", &args[..2], short);
    let began = clock::now().arrival;
    engine.docker(&["stop", "--time", "0", "idle"]);
    let stopped = clock::now().arrival.since(began);
    engine.docker(&["wait", "app", "copied"]);
    driver.await_drained();
    let share = |speed: f64| 100.0 * speed / of_json_file;
    println!("{} lines in {away:?} without Kafka; docker stop took {stopped:.1?}", truth.total());
    println!("{speed:.0} lines/s, {:.0} % of json-file's {of_json_file:.0}", share(speed));
    println!("{with_copy:.0} lines/s with dockerd's copy, {:.0} %", share(with_copy));

    broker.start_again();
    let truths = [("app", &truth), ("copied", &truth_with_copy)];
    Judges::expect_counted(&broker, topic, &mut driver, &truths);
}

/// A container prints for so long; gives the lines a second, and what they were.
fn at_full_speed(engine: &Engine, name: &str, args: &[&str], time: Duration) -> (f64, Truth) {
    let mut feed = Feed::new(engine.path(name));
    engine.print(name, &feed, args);
    feed.write(1_000); // it runs
    let began = clock::now().arrival;
    while clock::now().arrival.since(began) < time {
        feed.write(10_000);
    }
    let took = clock::now().arrival.since(began);
    (feed.newest() as f64 / took.as_secs_f64(), feed.end())
}

/// Json-file's speed is known after so long.
const BASE: Duration = Duration::from_secs(30);

/// Environment: `SQUALL_KILLS` is how many workers die.
#[test]
#[ignore = "needs dockerd"]
fn fault_068_killed_workers_and_supervisors_under_a_real_engine() {
    let mut driver = Driver::to_file();
    let engine = Engine::start(&[]);
    let mut feed = Feed::new(engine.path("feed"));
    engine.print("app", &feed, &["--log-driver", driver.name()]);
    let (progress, stop) = (feed.progress(), AtomicBool::new(false));
    let kills = setting("SQUALL_KILLS", 20);
    let supervisors = (kills / 10).clamp(2, 5);
    let began = clock::now().arrival;
    let (of_workers, of_supervisors) = thread::scope(|scope| {
        let writing = scope.spawn(|| {
            while !stop.load(Ordering::Acquire) {
                feed.write(1_000);
            }
        });
        // A kill that fails must not leave the writer behind, for which this waits.
        let ended = Stop(&stop);
        let longest = Longest::watch(scope, &progress, &stop);
        for kill in 0..kills {
            driver.await_reading(BETWEEN);
            // Moments differ: what a worker does at a time is not in our hands.
            thread::sleep(Duration::from_micros(kill * 7_919 % 60_000));
            driver.kill_worker();
        }
        driver.await_reading(BETWEEN);
        let of_workers = longest.take();
        for _ in 0..supervisors {
            driver.kill();
            driver.up();
            driver.await_reading(BETWEEN);
        }
        drop(ended);
        writing.join().expect("the container takes everything");
        (of_workers, longest.take())
    });
    let took = clock::now().arrival.since(began);
    let truth = feed.end();
    engine.docker(&["wait", "app"]);
    driver.await_drained();
    let rate = truth.total() as f64 / took.as_secs_f64();
    println!("{kills} killed workers and {supervisors} supervisors in {took:.1?}, {rate:.0} lines/s");
    println!("longest still: {of_workers:?} for a worker, {of_supervisors:?} for a supervisor");
    driver.finish(&[("app", &truth)]);
    assert!(of_workers < STUCK, "a container stood still for {of_workers:?}");
}

/// Says stop when it goes.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// The longest time for which no line got through, seen from outside.
struct Longest(Arc<AtomicU64>);

impl Longest {
    fn watch<'scope>(
        scope: &'scope thread::Scope<'scope, '_>,
        progress: &'scope AtomicU64,
        stop: &'scope AtomicBool,
    ) -> Longest {
        let longest = Arc::new(AtomicU64::new(0));
        let theirs = Arc::clone(&longest);
        scope.spawn(move || {
            let (mut lines, mut since) = (progress.load(Ordering::Acquire), clock::now().arrival);
            while !stop.load(Ordering::Acquire) {
                thread::sleep(Duration::from_millis(1));
                let (found, now) = (progress.load(Ordering::Acquire), clock::now().arrival);
                if found > lines {
                    (lines, since) = (found, now);
                }
                let still = u64::try_from(now.since(since).as_micros()).unwrap_or(u64::MAX);
                theirs.fetch_max(still, Ordering::AcqRel);
            }
        });
        Longest(longest)
    }

    /// The longest since the last time.
    fn take(&self) -> Duration {
        Duration::from_micros(self.0.swap(0, Ordering::AcqRel))
    }
}

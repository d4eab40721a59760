//! What people do with containers all day, and what containers print when nobody thought of it.

use std::process::Stdio;
use std::time::Duration;

use squall::daemon::clock;

use super::driver::{Driver, Judges};
use super::engine::Engine;
use super::feed::Feed;

/// Behind a driver that does not read, `docker stop` was seen to hang for ten minutes. What is aimed at is 3 s; that is
/// printed.
const STUCK: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs dockerd"]
fn options_that_nobody_knows_are_told_by_docker_run() {
    let mut driver = Driver::to_file();
    let engine = Engine::start(&[]);
    let args = ["--rm", "--log-driver", driver.name(), "--log-opt", "kafka-brokers=x:1"];
    let done = engine.try_run(&[&args[..], &["--log-opt", "tag={{.Nmae}}"]].concat(), &["true"]);
    let told = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(125), "{told}");
    for part in [
        "log-opt kafka-brokers: is not known; there are tag, labels, ",
        ", squall-kafka-brokers, ",
        "log-opt tag: `{{.Nmae}}` is not known; there are {{.ID}} ",
    ] {
        assert!(told.contains(part), "{told}");
    }
    // It is no fault of the driver, which serves whoever asks rightly.
    let args = ["--rm", "--log-driver", driver.name(), "--log-opt", "max-size=10m"];
    assert_eq!(engine.run(&args, &["echo", "hello"]), "hello");
    driver.await_drained();
    driver.stop();
    assert_eq!(driver.out().lines().count(), 1, "{}", driver.out());
}

/// dockerd keeps a copy for `docker logs`; for a container that has stopped it starts our logging anew, for nothing.
#[test]
#[ignore = "needs dockerd"]
fn fault_075_docker_logs_and_restart() {
    let mut driver = Driver::to_file();
    let engine = Engine::start(&[]);
    let mut feed = Feed::new(engine.path("feed"));
    engine.print("app", &feed, &["--log-driver", driver.name()]);
    feed.write(100);
    driver.await_seq(feed.newest());
    engine.docker(&["restart", "--time", "0", "app"]);
    feed.has_new_fifo();
    let mut follow = engine.command(&["logs", "--follow", "app"]);
    let follow = follow.stdout(Stdio::piped()).spawn().expect("docker is installed");
    for _ in 0..20 {
        feed.write(100);
        driver.await_seq(feed.newest());
    }
    let lines =
        |text: &[u8]| text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count() as u64;
    assert_eq!(lines(engine.docker(&["logs", "app"]).as_bytes()), feed.newest());
    let truth = feed.end();
    engine.docker(&["wait", "app"]);
    let followed = follow.wait_with_output().expect("it ends with the container");
    assert_eq!((followed.status.code(), lines(&followed.stdout)), (Some(0), truth.total()));
    for _ in 0..3 {
        assert_eq!(lines(engine.docker(&["logs", "app"]).as_bytes()), truth.total());
        assert_eq!(lines(engine.docker(&["logs", "--tail", "7", "app"]).as_bytes()), 7);
    }
    driver.await_drained();
    driver.finish(&[("app", &truth)]);
    assert!(driver.records("app").iter().all(|record| record["squall"]["kind"] != "notice"));
}

#[test]
#[ignore = "needs dockerd"]
fn fault_032_long_lines_odd_bytes_and_terminals() {
    let mut driver = Driver::to_file();
    let engine = Engine::start(&[]);
    let print = |name: &str, args: &[&str], script: &str| {
        let args = [&["--name", name, "--detach", "--log-driver", driver.name()], args].concat();
        engine.run(&args, &["sh", "-c", script]);
        engine.docker(&["wait", name]);
    };
    let long = "/bin/busybox head -c 100000 /dev/zero | /bin/busybox tr '\\0' x";
    print("long", &[], &format!("{long}; echo; echo behind; {long}"));
    print("odd", &[], r"printf '\377\376 \0 \033[31m\n\n\200'; printf 'else\n' >&2");
    print("terminal", &["--tty"], "echo one; echo two >&2");
    print("silent", &[], "true");
    driver.await_drained();
    driver.stop();
    let x = "x".repeat(100_000);
    assert!(driver.texts("long") == [x.as_str(), "behind", x.as_str()], "{:.300?}", driver.texts("long"));
    let mut odd = driver.texts("odd");
    // The two streams have no order.
    odd.sort_unstable();
    assert_eq!(odd, ["", "else", "\u{fffd}", "\u{fffd}\u{fffd} \0 \u{1b}[31m"]);
    assert_eq!(driver.texts("terminal"), ["one\r", "two\r"]);
    assert_eq!(driver.records("silent").len(), 0);
}

/// The outbox is small and full of lines that no other is like, and Kafka is away: the containers do not notice.
#[test]
#[ignore = "needs dockerd"]
fn fault_067_docker_stop_while_kafka_is_away_and_the_outbox_full() {
    let topic = "docker.away";
    let (mut broker, mut driver) = Driver::with_small_outbox(topic);
    let engine = Engine::start(&[]);
    let mut feed = Feed::new(engine.path("feed"));
    engine.print("app", &feed, &["--log-driver", driver.name()]);
    broker.stop();
    // It ends by itself if nobody ends it.
    let noise = "trap 'exit 0' TERM; b=/bin/busybox; \
                 ($b timeout 300 $b tr -dc g-z </dev/urandom | $b fold -w 1000) & wait";
    let args = ["--name", "noise", "--detach", "--log-driver", driver.name()];
    engine.run(&args, &["sh", "-c", noise]);
    for said in ["fewer lines are sent word for word", "are only counted"] {
        driver.running().wait_until(said, |driver| driver.stderr().contains(said));
        feed.write(20_000);
    }
    let began = clock::now().arrival;
    engine.docker(&["stop", "noise"]);
    let stopped = clock::now().arrival.since(began);
    println!("docker stop took {stopped:?}; longest still {:?}", feed.longest);
    assert!(stopped < STUCK, "docker stop took {stopped:?}");
    let truth = {
        feed.write(1_000);
        feed.end()
    };
    engine.docker(&["wait", "app"]);
    driver.await_drained();

    broker.start_again();
    Judges::expect_counted(&broker, topic, &mut driver, &[("app", &truth)]);
}

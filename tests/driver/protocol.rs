//! What dockerd says and does, and what comes of it.

use serde_json::{Value, json};

use super::World;
use super::dockerd::{Logging, ask, frame};

/// The lines of one container, in their order.
fn lines(world: &World, container: &str) -> Vec<String> {
    let of = |record: &Value| record["container"]["id"] == container && record["squall"]["kind"] == "line";
    let records = world.records();
    records
        .iter()
        .filter(|record| of(record))
        .map(|record| record["message"].as_str().expect("text").to_owned())
        .collect()
}

#[test]
fn fault_072_the_handshake() {
    let mut world = World::new();
    let socket = world.socket();
    assert_eq!(ask(&socket, "/Plugin.Activate", ""), json!({ "Implements": ["LogDriver"] }));
    assert_eq!(
        ask(&socket, "/LogDriver.Capabilities", ""),
        json!({ "Cap": { "ReadLogs": false }, "Err": "" })
    );
    // A FIFO that nobody knows, and one that ends as it began: `docker logs` of a stopped container.
    assert_eq!(ask(&socket, "/LogDriver.StopLogging", r#"{"File":"/nowhere"}"#), json!({ "Err": "" }));
    world.container("ghost").stop(&socket);
    world.await_drained();
    world.stop();
    assert_eq!(world.records().len(), 0, "{}", world.out());
}

#[test]
fn options_that_nobody_knows_are_refused_by_name() {
    let mut world = World::new();
    let folder = world.folder.path().join("fifos");
    let options = json!({ "kafka-brokers": "x:1", "mode": "fast" });
    let (_, answer) = Logging::try_start(&world.socket(), &folder, "f", "c", options);
    let told = answer["Err"].as_str().expect("text");
    assert!(told.contains("log-opt kafka-brokers: is not known; there are tag, "), "{told}");
    assert!(told.contains("log-opt mode: `fast` is neither"), "{told}");
    assert_eq!(std::fs::read_dir(world.folder.path().join("state/fifos")).expect("a folder").count(), 0);
    world.stop();
}

#[test]
fn fault_070_every_kind_of_line_and_the_last_one_arrive() {
    let mut world = World::new();
    let socket = world.socket();
    let options = json!({ "labels": "team", "tag": "{{.Name}}", "mode": "non-blocking", "max-size": "10m" });
    let mut logging = world.container_with("c", options);
    logging.line("stdout", b"first");
    logging.line("stderr", b"on the other stream\r");
    let full = "x".repeat(16_384);
    logging.piece("stdout", full.as_bytes(), ("p", 1, false));
    logging.line("stderr", b"between the pieces");
    logging.piece("stdout", b"", ("p", 2, true));
    logging.write(b"garbage");
    logging.line("stdout", &[0xff, 0xfe]);
    logging.line("stdout", "y".repeat(100_000).as_bytes());
    logging.piece("stdout", b"no newline", ("q", 1, false));
    logging.stop(&socket);
    world.await_drained();
    let stderr = world.stop();
    assert!(stderr.contains("mode=non-blocking"), "{stderr}");
    let found = lines(&world, "c");
    let on = |stream: &str| {
        let records = world.records();
        let texts = records
            .iter()
            .filter(|record| record["log"]["iostream"] == stream && record["squall"]["kind"] == "line");
        texts
            .map(|record| record["message"].as_str().expect("text").chars().take(20).collect::<String>())
            .collect::<Vec<_>>()
    };
    assert_eq!(on("stderr"), ["on the other stream\r", "between the pieces"]);
    assert_eq!(
        on("stdout"),
        ["first", &full[..20], "\u{fffd}\u{fffd}", &"y".repeat(20), "no newline"],
        "{found:?}"
    );
    let records = world.records();
    let first = records.iter().find(|record| record["message"] == "first").expect("it came");
    assert_eq!(first["container"], json!({ "id": "c", "name": "c-name", "image": { "name": "acme/api:1" } }));
    assert_eq!(first["labels"], json!({ "compose_service": "api", "tag": "c-name", "team": "pay" }));
    assert!(first["@timestamp"].as_str().expect("text").starts_with("2026-02-06T00:1"), "{first}");
    let last = records.iter().find(|record| record["message"] == "no newline").expect("it came");
    assert_eq!(last["squall"]["complete"], false);
    let notice = records.iter().find(|record| record["squall"]["reason"] == "desync").expect("it is told");
    assert_eq!(notice["squall"]["lost_bytes"], 7);
    // Secrets of the environment are nowhere.
    assert!(!world.out().contains("hunter2") && !stderr.contains("hunter2"));
}

#[test]
fn fault_074_counts_of_a_non_blocking_container_are_not_called_exact() {
    #[track_caller]
    fn check(mode: &str, want: bool) {
        let mut world = World::new();
        let socket = world.socket();
        let mut logging = world.container_with("c", json!({ "mode": mode }));
        (0..500).for_each(|_| logging.line("stdout", b"connection timeout"));
        logging.stop(&socket);
        world.await_drained();
        world.stop();
        let records = world.records();
        let summary = records.iter().find(|record| record["squall"]["kind"] == "summary").expect("a storm");
        assert_eq!(summary["squall"]["exact"], want, "{summary}");
    }
    check("blocking", true);
    check("non-blocking", false);
}

#[test]
fn a_container_may_have_limits_of_its_own() {
    let mut world = World::new();
    let socket = world.socket();
    let own = json!({ "squall-first": "17", "squall-summary-every": "1s" });
    let config = json!({ "squall-config": "{collapse: never, labels: {team: pay}, multiline: python}" });
    let mut logging = [
        world.container_with("own", own),
        world.container("common"),
        world.container_with("unfolded", config),
    ];
    let print = |logging: &mut [Logging; 3], lines: u64| {
        (0..lines).for_each(|_| logging.iter_mut().for_each(|it| it.line("stdout", b"connection timeout")));
    };
    print(&mut logging, 200);
    // What was asked for outlives the worker.
    world.kill_worker();
    print(&mut logging, 300);
    let trace = ["Traceback (most recent call last):", "  File \"a.py\", line 1, in f", "ValueError: 7"];
    trace.iter().for_each(|line| logging[2].line("stdout", line.as_bytes()));
    logging.into_iter().for_each(|one| one.stop(&socket));
    world.await_drained();
    world.stop();
    let of = |container: &str| {
        let all = world.records();
        let own: Vec<_> = all.into_iter().filter(|record| record["container"]["id"] == container).collect();
        let lines = own.iter().filter(|record| record["squall"]["kind"] == "line").count() as u64;
        let counted: u64 = own.iter().filter_map(|record| record["squall"]["count"].as_u64()).sum();
        let traces = own.iter().filter(|record| record["message"] == trace.join("\n")).count() as u64;
        assert_eq!(
            (lines + counted, traces),
            (500 + traces, u64::from(container == "unfolded")),
            "{container}"
        );
        assert!(own.iter().all(|record| (record["labels"]["team"] == "pay") == (container == "unfolded")));
        lines
    };
    assert_eq!((of("own"), of("common"), of("unfolded")), (17, 5, 501));
}

#[test]
fn fault_073_dockerd_dies_without_a_word_and_comes_back() {
    let mut world = World::new();
    let socket = world.socket();
    let mut before = world.container("c");
    before.line("stdout", b"before");
    before.piece("stdout", b"torn", ("p", 1, false));
    before.abandon();
    let mut after = world.container("c");
    after.line("stdout", b"after");
    world.await_line("after");
    assert_eq!(lines(&world, "c"), ["before", "torn", "after"]);
    let streams: std::collections::HashSet<_> =
        world.records().iter().map(|record| record["squall"]["stream"].to_string()).collect();
    assert_eq!(streams.len(), 1, "{streams:?}");
    after.stop(&socket);
    world.await_drained();
    world.stop();
}

/// Docker may leave a FIFO behind whose writing end nobody closes; the container's next one says that it is over.
#[test]
fn fault_070_a_fifo_that_never_ends_is_passed_over() {
    let mut world = World::new();
    let mut leaked = world.container("c");
    leaked.line("stdout", b"before");
    let mut next = world.container("c");
    next.line("stdout", b"after");
    world.await_line("after");
    assert_eq!(lines(&world, "c"), ["before", "after"]);
    drop(leaked);
    world.stop();
}

#[test]
fn fault_069_frames_up_to_the_cap_pass() {
    let mut world = World::new();
    let mut logging = world.container("c");
    for size in [10_000, 100_000, 600_000, (1 << 20) - 40] {
        logging.line("stdout", "z".repeat(size).as_bytes());
        let mark = format!("behind {size}");
        logging.line("stdout", mark.as_bytes());
        world.await_line(&mark);
    }
    // One that is too large is skipped, and told; what follows it is read.
    logging.write(&frame("stdout", &vec![b'w'; 1 << 20], None));
    logging.line("stdout", b"behind it");
    world.await_line("behind it");
    assert_eq!(lines(&world, "c").iter().filter(|line| line.starts_with('z')).count(), 4);
    world.stop();
    assert!(world.records().iter().any(|record| record["squall"]["reason"] == "desync"));
}

#[test]
fn fault_070_two_thousand_last_words() {
    let mut world = World::new();
    let socket = world.socket();
    for number in 0..2_000 {
        let mut logging = world.container(&format!("c{number}"));
        logging.line("stdout", format!("last word of {number}").as_bytes());
        logging.stop(&socket);
    }
    world.await_drained();
    world.stop();
    let told: std::collections::HashSet<_> = world
        .records()
        .iter()
        .map(|record| record["message"].as_str().unwrap_or_default().to_owned())
        .collect();
    let missing = (0..2_000).filter(|number| !told.contains(&format!("last word of {number}"))).count();
    assert_eq!(missing, 0);
}

//! The first incident: a gateway lost its WebSocket and tried again at once, for ever, and nobody was told.

use squall::corpus::incident::{FAILED, Incident, TIMEOUT};
use squall::engine::frame::IoStream;

use super::story::{Days, Line, START, Story, line, seconds, times};
use crate::support::incident::Wrap;

/// Three minutes of storm.
const LINES: u64 = 3_000;

#[test]
fn retry_loop() {
    story(Days::Good);
}

#[test]
fn retry_loop_and_kills() {
    story(Days::Bad);
}

fn story(days: Days) {
    let log = log();
    let timeouts = times(&log, TIMEOUT);
    let [restored] = times(&log, "connection restored")[..] else { panic!("it is restored once") };
    let in_storm = timeouts.iter().filter(|time| **time < restored).count();
    let mut story = Story::begin(&["retry-loop"], Wrap::Docker, days, log);
    story.write_until_nth(TIMEOUT, 1);
    story.pause(&[]);
    // Some rounds are no loop yet, and nine time-outs are not ten.
    story.write_until_nth(TIMEOUT, 5);
    story.look(&[]);
    story.write_until_nth(TIMEOUT, 10);
    story.look(&["RetryWithoutBackOff firing"]);
    story.write_one();
    let mut told = vec!["RetryWithoutBackOff firing", "WebSocketRetryLoop firing"];
    story.pause(&told);
    story.write_until(restored);
    story.pause(&told);
    story.write_until(restored + 500.0);
    story.pause(&told);
    // The client was mended: it backs off, which is nothing to tell anybody.
    story.write_all();
    told.extend(["WebSocketRetryLoop resolved", "RetryWithoutBackOff resolved"]);
    story.look(&told);

    let aftermath = story.end(&[]);
    let [tenth, tenth_last] = [timeouts[9], timeouts[in_storm - 10]];
    aftermath.check(("WebSocketRetryLoop", "P1"), tenth..=tenth, tenth_last + 360.0..=tenth_last + 360.0);
    // Loops are looked at when they are told and each second by the clock on the wall, which may pass a storm over.
    let told_at = timeouts[5]..=tenth;
    aftermath.check(("RetryWithoutBackOff", "P2"), told_at, timeouts[5] + 300.0..=restored + 420.0);
    let endpoint = "wss://api.example-broker.com:10000/";
    assert_eq!(
        aftermath.summary("WebSocketRetryLoop"),
        format!("10 WebSocket time-outs in 1m; retries to {endpoint}: back-off none")
    );
    let summary = aftermath.summary("RetryWithoutBackOff");
    assert!(
        summary.starts_with("a retry loop without back-off: ") && summary.contains(endpoint),
        "{summary}"
    );
    aftermath.came_verbatim(TIMEOUT);
    aftermath.came_verbatim(FAILED);
    if days == Days::Good {
        let mut closed = aftermath.records.of("loop").filter(|told| told["squall"]["state"] == "closed");
        let told = &closed.next().expect("the loop has ended")["squall"];
        assert_eq!((told["verdict"].as_str(), told["endpoint"].as_str()), (Some("none"), Some(endpoint)));
        assert_eq!(told["iterations"], in_storm, "{told}");
    }
    // 97 of 100 lines were the loop: what is sent is a fraction of it.
    assert!(aftermath.records.all.len() < 900, "{} records", aftermath.records.all.len());
}

/// A calm minute, the storm, a calm minute, quarter of an hour with little in it, and a loop that backs off.
fn log() -> Vec<Line> {
    let mut incident = Incident::new(1, LINES, START);
    let (mut log, mut text) = (Vec::new(), Vec::new());
    while let Some(event) = incident.next_into(&mut text) {
        let text = String::from_utf8(text.clone()).expect("the incident is text");
        log.push(Line { time: event.time, stream: event.stream, text });
    }
    let end = log.last().map_or(0.0, |line| seconds(line.time));
    log.extend(
        (1..90).map(|n| line(end + f64::from(n) * 10.0, format!("GET /health 200 1ms probe=after-{n}"))),
    );
    for wait in [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 63.0, 123.0, 183.0, 243.0] {
        let at = end + 900.0 + wait;
        let pair = [line(at, TIMEOUT), line(at + 0.1, FAILED)];
        log.extend(pair.map(|line| Line { stream: IoStream::Stderr, ..line }));
    }
    log
}

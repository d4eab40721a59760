//! The fourth incident: pools run dry on Black Friday, and the 404s that nobody counted.

use super::story::{Days, Line, PAUSE_MAX, Story, line, times};
use crate::support::incident::Wrap;

const NO_CONNECTION: &str = "Connection is not available";
const RESET: &str = "connection reset by peer";

#[test]
fn black_friday() {
    pools_run_dry(Days::Good);
}

#[test]
fn black_friday_and_kills() {
    pools_run_dry(Days::Bad);
}

/// Minutes of the morning, as seconds.
const WARNED: f64 = 3.0 * 60.0;
const DRY: f64 = 9.0 * 60.0;
const DOWN: f64 = 11.0 * 60.0;
const LIMITED: f64 = 20.0 * 60.0;
const RELIEVED: f64 = 40.0 * 60.0;
const RECOVERED: f64 = 47.0 * 60.0;

fn pools_run_dry(days: Days) {
    let log = morning();
    let [no_connection, reset] = [NO_CONNECTION, RESET].map(|text| times(&log, text));
    let presets = ["exhausted-pools", "connection-reset", "error-share"];
    let mut story = Story::begin(&presets, Wrap::Plain, days, log);
    story.write_until(WARNED);
    story.pause(&[]);
    story.write_one();
    let mut told = vec!["ThreadPoolNearlyFull firing"];
    story.pause(&told);
    story.write_until_nth(NO_CONNECTION, 5);
    story.look(&told);
    story.write_one();
    told.push("ConnectionPoolExhausted firing");
    story.pause(&told);
    story.write_until_nth(RESET, 10);
    story.look(&told);
    story.write_one();
    told.push("ConnectionResets firing");
    story.pause(&told);
    story.write_until(LIMITED + 1.0);
    told.push("ErrorShare firing");
    story.pause(&told);
    story.write_until(RECOVERED);
    told.push("ThreadPoolNearlyFull resolved");
    story.pause(&told);
    story.write_until(RECOVERED + 240.0);
    story.pause(&told);
    story.write_all();
    told.extend(["ErrorShare resolved", "ConnectionPoolExhausted resolved", "ConnectionResets resolved"]);
    story.look(&told);

    let aftermath = story.end(&[]);
    let at = |second: f64| second..=second;
    let last = |times: &[f64], n: usize| times[times.len() - n];
    aftermath.check(("ThreadPoolNearlyFull", "P3"), at(WARNED), RELIEVED..=RELIEVED + 60.0 + PAUSE_MAX);
    aftermath.check(
        ("ConnectionPoolExhausted", "P1"),
        at(no_connection[4]),
        at(last(&no_connection, 6) + 360.0),
    );
    aftermath.check(("ConnectionResets", "P2"), at(reset[9]), at(last(&reset, 11) + 360.0));
    let fires = DOWN + 20.0..=DOWN + 30.0 + PAUSE_MAX;
    aftermath.check(("ErrorShare", "P1"), fires, RECOVERED + 320.0..=RECOVERED + 345.0 + PAUSE_MAX);
    let summary = aftermath.summary("ThreadPoolNearlyFull");
    assert!(summary.starts_with("180 threads are busy: ") && summary.ends_with("180/200"), "{summary}");
    assert_eq!(aftermath.summary("ConnectionPoolExhausted"), "5 requests found no connection in 1m");
    assert_eq!(aftermath.summary("ConnectionResets"), "10 connections were reset in 1m");
    let summary = aftermath.summary("ErrorShare");
    assert!(summary.starts_with("50") && summary.ends_with(" % of all lines in 1m are errors"), "{summary}");
    for text in ["180/200", "200/200", NO_CONNECTION, RESET, "rate limit enabled"] {
        aftermath.came_verbatim(text);
    }
}

/// An hour from 09:00 on: nine orders a second. From 09:09 on two of them find no connection, from 09:11 to 09:47 eight.
fn morning() -> Vec<Line> {
    let mut log = Vec::new();
    for second in 0..3_600_u32 {
        let at = f64::from(second);
        let failing = match at {
            DRY..DOWN => 2,
            DOWN..RECOVERED => 8,
            _ => 0,
        };
        for part in 0..9 {
            let order = second * 9 + part;
            let text = match part {
                _ if part >= failing => format!("INFO order {order} placed in {} ms", 20 + part),
                4.. => format!("ERROR order {order} failed: read: {RESET}"),
                _ => format!("ERROR order {order} failed: {NO_CONNECTION}, request timed out after 30000ms"),
            };
            log.push(line(at + 0.05 + f64::from(part) / 10.0, text));
        }
        if second % 10 == 0 {
            log.push(line(at, gauge(second)));
        }
    }
    // One order each, as on any day: rules go by the time of lines that concern them, and by the clock on the wall in silence.
    log.push(line(
        3_590.5,
        format!("ERROR order 1 failed: {NO_CONNECTION}, request timed out after 30000ms"),
    ));
    log.push(line(3_590.6, format!("ERROR order 2 failed: read: {RESET}")));
    log.push(line(LIMITED, "WARN rate limit enabled: 100 requests per minute"));
    log
}

/// The pool of threads: 180 at 09:03, all 200 from 09:07 on, relieved at 09:40.
fn gauge(second: u32) -> String {
    let busy = match second {
        0..180 => 60 + second / 2,
        180..420 => 180 + (second - 180) / 12,
        420..2_400 => 200,
        _ => 50,
    };
    format!("INFO pool http: active threads {busy}/200")
}

#[test]
fn a_renamed_path() {
    a_path_is_renamed(Days::Good);
}

#[test]
fn a_renamed_path_and_kills() {
    a_path_is_renamed(Days::Bad);
}

/// From this second on.
const RENAMED: f64 = 400.0;
const MENDED: f64 = 1_300.0;

fn a_path_is_renamed(days: Days) {
    let log = requests();
    let gone = times(&log, r#""status":404"#);
    let mut story = Story::begin(&["not-found-share"], Wrap::Docker, days, log);
    story.write_until(RENAMED);
    story.pause(&[]);
    // 14 of 1,500 are less than one in a hundred.
    story.write_until_nth(r#""status":404"#, 15);
    story.pause(&[]);
    story.write_until(gone[16] + 70.0 + PAUSE_MAX);
    story.pause(&["NotFoundShare firing"]);
    story.write_until(MENDED + 120.0);
    story.pause(&["NotFoundShare firing"]);
    story.write_all();
    story.look(&["NotFoundShare firing", "NotFoundShare resolved"]);

    let aftermath = story.end(&[]);
    // 16 of 1,500, and then for a minute; and when 15 are left, and then for five.
    aftermath.check(
        ("NotFoundShare", "P3"),
        gone[14] + 60.0..=gone[16] + 60.0 + PAUSE_MAX,
        MENDED + 430.0..=MENDED + 470.0 + PAUSE_MAX,
    );
    let summary = aftermath.summary("NotFoundShare");
    assert!(summary.ends_with(" % of all requests in 5m were answered 404"), "{summary}");
    aftermath.came_verbatim(r#""status":404"#);
}

/// Five requests a second to ten functions; one of fifty goes to the two whose path was renamed.
fn requests() -> Vec<Line> {
    let mut log = Vec::new();
    for request in 0..5 * 1_900 {
        let at = f64::from(request) / 5.0;
        let (path, is_moved) = match request % 50 {
            49 => (if request % 100 == 49 { "/fn/checkout" } else { "/fn/refund" }, true),
            _ => ("/fn/list", false),
        };
        let status = if is_moved && (RENAMED..MENDED).contains(&at) { 404 } else { 200 };
        let text =
            format!(r#"{{"level":"info","message":"GET {path}","status":{status},"request":"r-{request}"}}"#);
        log.push(line(at, text));
    }
    log
}

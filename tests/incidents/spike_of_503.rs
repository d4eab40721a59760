//! The second incident: the service answers 503, and the runbook's lines come with it.

use super::story::{Days, Line, PAUSE_MAX, Story, line, times};
use crate::support::incident::Wrap;

const UPSTREAM: &str = "ERROR: Service unavailable - upstream timeout";
const BACKENDS: &str = "WARNING: All backend servers are down";
const POOL: &str = "ERROR: Connection pool exhausted";
const SCALING: &str = "INFO: Scaling up workers due to high load";
/// What the access log has of an answer.
const FAILED: &str = "\" 503 ";

#[test]
fn spike_of_503() {
    story(Days::Good);
}

#[test]
fn spike_of_503_and_kills() {
    story(Days::Bad);
}

fn story(days: Days) {
    let log = log();
    let [upstream, pool] = [UPSTREAM, POOL].map(|text| times(&log, text));
    let [backends] = times(&log, BACKENDS)[..] else { panic!("once") };
    // More than 20 a second over five minutes are 6,001, and then it must last two minutes.
    let true_since = times(&log, FAILED)[6_000];

    let mut story = Story::begin(&["503-spike", "exhausted-pools"], Wrap::Plain, days, log);
    story.write_until_nth(UPSTREAM, 10);
    story.pause(&[]);
    story.write_one();
    let mut told = vec!["UpstreamTimeouts firing"];
    story.look(&told);
    story.write_until_nth(POOL, 5);
    told.push("AllBackendsDown firing");
    story.look(&told);
    story.write_one();
    told.push("ConnectionPoolExhausted firing");
    story.look(&told);
    story.write_until_nth(FAILED, 6_001);
    story.pause(&told);
    // Pending, and nobody is told yet: a spike that is over within two minutes wakes nobody.
    story.write_until(true_since + 50.0);
    story.pause(&told);
    story.write_until(true_since + 180.0);
    told.push("Http503Spike firing");
    story.pause(&told);
    // The lines of the runbook have stopped coming, the 503s have not.
    story.write_until(490.0);
    told.extend(["UpstreamTimeouts resolved", "ConnectionPoolExhausted resolved"]);
    story.pause(&told);
    // No 503 any more, but five minutes have not passed yet.
    story.write_until(700.0);
    story.pause(&told);
    story.write_all();
    told.push("Http503Spike resolved");
    story.look(&told);

    // Nothing more is heard of the backends, and only the clock on the wall could say that six minutes of that have passed.
    let aftermath = story.end(&["AllBackendsDown resolved"]);
    let at = |second: f64| second..=second;
    aftermath.check(("UpstreamTimeouts", "critical"), at(upstream[9]), at(upstream[6] + 360.0));
    aftermath.fired("AllBackendsDown", "critical", &at(backends));
    aftermath.check(("ConnectionPoolExhausted", "P1"), at(pool[4]), at(pool[0] + 360.0));
    let fires = true_since + 120.0..=true_since + 120.0 + PAUSE_MAX;
    aftermath.check(("Http503Spike", "critical"), fires, 895.0..=905.0 + PAUSE_MAX);
    assert_eq!(aftermath.summary("Http503Spike"), "30/s answers of 503 over 5m");
    assert_eq!(aftermath.summary("UpstreamTimeouts"), "10 upstream time-outs in 1m");
    assert_eq!(aftermath.summary("AllBackendsDown"), "all backend servers are down");
    assert_eq!(aftermath.summary("ConnectionPoolExhausted"), "5 requests found no connection in 1m");
    for text in [UPSTREAM, BACKENDS, POOL, SCALING, FAILED] {
        aftermath.came_verbatim(text);
    }
}

/// 30 requests a second, all of which fail from the second minute on; after 500 s five a second, all of which succeed.
/// The lines of the runbook come in the spike's first minutes, and two of them once more when their alerts are long over:
/// rules go by the time of the lines that concern them, and by the clock on the wall in silence.
fn log() -> Vec<Line> {
    let mut log = Vec::new();
    for second in 0..980 {
        let (status, rate) = match second {
            0..60 => (200, 30),
            60..500 => (503, 30),
            _ => (200, 5),
        };
        for part in 0..rate {
            let text = format!("10.0.0.7 \"GET /api/orders/{part} HTTP/1.1\" {status} 197");
            log.push(line(f64::from(second) + f64::from(part) / f64::from(rate), text));
        }
    }
    let at = |second: i32| f64::from(second) + 0.99;
    log.extend((100..116).map(|second| line(at(second), UPSTREAM)));
    log.push(line(110.995, BACKENDS));
    log.extend((120..125).map(|second| line(at(second), POOL)));
    log.push(line(at(130), SCALING));
    log.extend([line(at(485), UPSTREAM), line(at(486), POOL)]);
    log.push(line(970.99, "10.0.0.7 \"GET /api/orders/1 HTTP/1.1\" 503 197"));
    log
}

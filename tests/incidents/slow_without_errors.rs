//! The third incident: answers took fourteen times as long, each of them was a 200, and no line spoke of an error.

use super::story::{Days, Line, PAUSE_MAX, Story, line};
use crate::support::incident::Wrap;

#[test]
fn slow_without_errors() {
    story(Days::Good);
}

#[test]
fn slow_without_errors_and_kills() {
    story(Days::Bad);
}

fn story(days: Days) {
    let mut story = Story::begin(&["slow-without-errors"], Wrap::Cri, days, log());
    story.write_until(SLOW_FROM);
    story.pause(&[]);
    // Ten of three hundred are no more than usual by any rule.
    story.write_until(SLOW_FROM + 10.0);
    story.look(&[]);
    story.write_until(SLOW_FROM + 22.0);
    story.pause(&["SlowerThanUsual firing"]);
    story.write_until(SLOW_FROM + 160.0);
    let both = ["SlowerThanUsual firing", "SlowResponses firing"];
    story.pause(&both);
    story.write_until(SLOW_UNTIL + 200.0);
    story.pause(&both);
    story.write_all();
    story.look(&[&both[..], &["SlowResponses resolved", "SlowerThanUsual resolved"]].concat());

    let aftermath = story.end(&[]);
    let from = |second: f64| SLOW_FROM + second..=SLOW_FROM + second + 10.0 + PAUSE_MAX;
    let after = |second: f64| SLOW_UNTIL + second - 10.0..=SLOW_UNTIL + second + 10.0 + PAUSE_MAX;
    aftermath.check(("SlowerThanUsual", "P3"), from(12.0), after(586.0));
    aftermath.check(("SlowResponses", "P2"), from(65.0), after(318.0));
    let summary = aftermath.summary("SlowResponses");
    let mean =
        summary.strip_prefix("responses take ").and_then(|rest| rest.split_once(" ms on average over 1m"));
    let mean: f64 = mean.expect(summary).0.parse().expect(summary);
    assert!((200.0..=282.0).contains(&mean), "{summary}");
    assert!(aftermath.summary("SlowerThanUsual").starts_with("95 of 100 responses take up to "));
    // No rule about errors would have seen it.
    assert!(aftermath.records.of("line").all(|told| told["log"]["level"] != "error"));
    aftermath.came_verbatim(r#""responseTime":510.74"#);
}

const SLOW_FROM: f64 = 2_400.0;
const SLOW_UNTIL: f64 = 2_700.0;

/// A request a second, as Winston writes it: 20 ms, and five minutes of 281.76 ms, with one of 510.74.
fn log() -> Vec<Line> {
    let took = |second: u32| match second {
        2_550 => 510.74,
        2_400..2_700 => [265.1, 281.9, 279.4, 300.64][second as usize % 4],
        _ => 20.0,
    };
    let text = |second: u32| {
        format!(
            r#"{{"level":"info","message":"GET /api/quotes","status":200,"responseTime":{},"request":"r-{second}"}}"#,
            took(second)
        )
    };
    (0..3_600).map(|second| line(f64::from(second) + 0.5, text(second))).collect()
}

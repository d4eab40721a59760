//! Alerts: what a line costs with 500 rules, in a storm of repeats and where every line is another one.
//!
//! `cargo bench --no-default-features --bench alert`. The goal is 100 ns a line on the incident (`issues` 6); the items a
//! second are lines. Each is measured with the texts alone, without the rest of the engine.

use std::sync::Arc;
use std::time::Duration;

use divan::counter::ItemsCount;
use regex::bytes::Regex;
use squall::corpus::incident::Incident;
use squall::corpus::mixed::Mixed;
use squall::engine::alert::rule::{By, Compare, Filter, Limit, Measure, Rule, Text, When};
use squall::engine::alert::{Alerts, Seen};
use squall::units::{Monotonic, Timestamp};

fn main() {
    divan::main();
}

const LINES: u64 = 100_000;
/// 2026-02-06T00:10:00Z.
const START: Timestamp = Timestamp(1_770_336_600 * Timestamp::SECOND);

/// Rules of which one is about the incident; every tenth has a pattern, and some ask for fields and levels.
fn rules(count: usize) -> Vec<Rule> {
    let filter = |index: usize| match index {
        0 => Filter::Message(Text::Contains(Box::from(*b"WebSocket connection timeout"))),
        _ if index.is_multiple_of(50) => Filter::FieldNumber("status".into(), Compare::AtLeast, 500.0),
        _ if index.is_multiple_of(10) => {
            let pattern = Regex::new(&format!("(?-u)error code {index}[0-9] in module-[a-f]+"));
            Filter::Message(Text::Matches(Box::new(pattern.expect("a pattern"))))
        }
        _ => Filter::Message(Text::Contains(format!("service-{index} is unavailable").into_bytes().into())),
    };
    let rule = |index| Rule {
        name: format!("Rule{index}").into(),
        group: "bench".into(),
        when: When::Measured {
            measure: Measure::Count(filter(index)),
            compare: Compare::AtLeast,
            limit: Limit::Value(1e9),
            within: Duration::from_secs(60),
            by: By::All,
        },
        text: "count(…) >= 1000000000 within 1m".into(),
        hold: Duration::ZERO,
        keep_firing_for: Duration::ZERO,
        labels: Box::default(),
        annotations: Box::default(),
    };
    (0..count).map(rule).collect()
}

fn judge(bencher: divan::Bencher, count: usize, lines: &[(Timestamp, Vec<u8>)]) {
    let rules = rules(count);
    let stream = Arc::from("gateway/stderr");
    bencher.counter(ItemsCount::new(lines.len())).with_inputs(|| Alerts::new(&rules, 7, 8)).bench_local_refs(
        |alerts| {
            for (time, text) in lines {
                let arrival = Monotonic(time.since(START).as_nanos() as u64);
                alerts.on_line(&Seen { text, stream: &stream, stream_hash: 1, time: *time, arrival });
            }
            divan::black_box(alerts.has_news())
        },
    );
}

#[divan::bench(args = [1, 50, 500])]
fn incident(bencher: divan::Bencher, count: usize) {
    let (mut incident, mut lines, mut text) = (Incident::new(1, LINES, START), Vec::new(), Vec::new());
    while let Some(event) = incident.next_into(&mut text) {
        lines.push((event.time, std::mem::take(&mut text)));
    }
    judge(bencher, count, &lines);
}

/// No line comes twice: the answer must be found anew for each.
#[divan::bench(args = [1, 50, 500])]
fn mixed(bencher: divan::Bencher, count: usize) {
    let (mut mixed, mut lines) = (Mixed::new(1), Vec::new());
    for _ in 0..LINES {
        let mut text = Vec::new();
        let time = mixed.next_into(&mut text);
        lines.push((time, text));
    }
    judge(bencher, count, &lines);
}

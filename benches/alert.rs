//! Alerts: what a line costs with 500 rules, in a storm of repeats and where every line is another one.
//!
//! `cargo bench --no-default-features --bench alert`. The goal is 100 ns a line on the incident (`issues` 6); the items a
//! second are lines. Each is measured with the texts alone, and `engine` with all that is done with a line.

use std::sync::Arc;
use std::time::Duration;

use divan::counter::ItemsCount;
use regex::bytes::Regex;
use squall::corpus::incident::Incident;
use squall::corpus::incident_file;
use squall::corpus::mixed::Mixed;
use squall::engine::alert::rule::{By, Compare, Filter, Limit, Measure, Rule, Text, When};
use squall::engine::alert::{Alerts, Seen};
use squall::engine::chunk::Chunk;
use squall::engine::frame::Format;
use squall::engine::line::level::Level;
use squall::engine::record::Batch;
use squall::engine::{Engine, Options, Source};
use squall::units::{Monotonic, Now, Timestamp};

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
    (0..count).map(|index| rule(index, Measure::Count(filter(index)))).collect()
}

/// A rule that never fires.
fn rule(index: usize, measure: Measure) -> Rule {
    Rule {
        name: format!("Rule{index}").into(),
        group: "bench".into(),
        when: When::Measured {
            measure,
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
    }
}

fn incident_lines() -> Vec<(Timestamp, Vec<u8>)> {
    let (mut incident, mut lines, mut text) = (Incident::new(1, LINES, START), Vec::new(), Vec::new());
    while let Some(event) = incident.next_into(&mut text) {
        lines.push((event.time, std::mem::take(&mut text)));
    }
    lines
}

fn mixed_lines() -> Vec<(Timestamp, Vec<u8>)> {
    let mut mixed = Mixed::new(1);
    let line = |_| {
        let mut text = Vec::new();
        (mixed.next_into(&mut text), text)
    };
    (0..LINES).map(line).collect()
}

fn judge(bencher: divan::Bencher, rules: &[Rule], lines: &[(Timestamp, Vec<u8>)]) {
    let stream = Arc::from("gateway/stderr");
    bencher.counter(ItemsCount::new(lines.len())).with_inputs(|| Alerts::new(rules, 7, 8)).bench_local_refs(
        |alerts| {
            for (time, text) in lines {
                let arrival = Monotonic(time.since(START).as_nanos() as u64);
                alerts.on_line(&Seen { text, stream: &stream, stream_hash: 1, time: *time, arrival });
            }
            divan::black_box(alerts.has_news())
        },
    );
}

#[divan::bench(args = [0, 1, 50, 500])]
fn incident(bencher: divan::Bencher, count: usize) {
    judge(bencher, &rules(count), &incident_lines());
}

/// No line comes twice: the answer must be found anew for each.
#[divan::bench(args = [0, 1, 50, 500])]
fn mixed(bencher: divan::Bencher, count: usize) {
    judge(bencher, &rules(count), &mixed_lines());
}

/// One rule that asks for what has no text of its own.
#[divan::bench(args = KINDS)]
fn mixed_kinds(bencher: divan::Bencher, kind: &str) {
    judge(bencher, &[of_kind(kind)], &mixed_lines());
}

#[divan::bench(args = KINDS)]
fn incident_kinds(bencher: divan::Bencher, kind: &str) {
    judge(bencher, &[of_kind(kind)], &incident_lines());
}

const KINDS: [&str; 4] = ["all", "level", "field", "not"];

fn of_kind(kind: &str) -> Rule {
    let level = Filter::Level(Compare::AtLeast, Level::Error);
    let measure = match kind {
        "all" => Measure::Count(Filter::All),
        "level" => Measure::Ratio { part: level, whole: Filter::All, least: 20 },
        "field" => Measure::Count(Filter::FieldNumber("status".into(), Compare::AtLeast, 500.0)),
        _ => Measure::Count(Filter::Not(Box::new(Filter::Message(Text::Contains(Box::from(*b"health")))))),
    };
    rule(0, measure)
}

/// The whole engine on the incident's json-file, whose lines are about 118 bytes long: what the rules add to it.
#[divan::bench(args = [0, 1, 50, 500])]
fn engine(bencher: divan::Bencher, count: usize) {
    let (file, alerts) = (incident_file(1, LINES, START), Arc::<[Rule]>::from(rules(count)));
    let fresh = || Engine::new(Options { alerts: Arc::clone(&alerts), ..Options::default() });
    bencher.counter(ItemsCount::new(LINES)).with_inputs(fresh).bench_local_refs(|engine| {
        let source = Source { name: "bench".to_owned(), format: Format::Docker, ..Source::default() };
        let origin = engine.open(source);
        let now = Now { arrival: Monotonic(0), wall: START };
        let (mut offset, mut spare) = (0, Batch::default());
        for bytes in file.chunks(16 * 1024) {
            engine.push(Chunk { origin, offset, bytes }, now);
            offset += bytes.len() as u64;
            spare = engine.take_batch(spare);
        }
        divan::black_box(engine.ledger())
    });
}

/// To make the rules ready, at the start and at each reload.
#[divan::bench(args = [1, 50, 500])]
fn start(bencher: divan::Bencher, count: usize) {
    let rules = rules(count);
    bencher.bench_local(|| Alerts::new(&rules, 7, 8));
}

//! Alerts through the whole engine: the incidents of `incidents.md`, made by hand, and when their rules fire.

use std::sync::Arc;

use proptest::prelude::*;

use super::restart::World as Restarted;
use super::{START, World};
use crate::corpus::incident::Incident;
use crate::engine::alert::rule::{
    By, Compare, Field, Filter, Limit, LoopCondition, Measure, Rule, Statistic, When,
};
use crate::engine::alert::template::{Piece, Place, Template};
use crate::engine::alert::tests::{contains, count, matches, rule};
use crate::engine::chunk::Chunk;
use crate::engine::frame::Format;
use crate::engine::record::Kind;
use crate::engine::state::Changes;
use crate::engine::storm::window::ClosedBy;
use crate::engine::{Engine, Options, Source};
use crate::units::{Lines, Monotonic, Now, Timestamp};
use std::time::Duration;

fn world(rules: Vec<Rule>) -> World {
    let mut engine = Engine::new(Options { alerts: Arc::from(rules), ..Options::default() });
    let source = Source { name: "gateway".into(), format: Format::Docker, ..Source::default() };
    let origin = engine.open(source);
    World { engine, origin, offset: 0, arrival: Monotonic(0), records: Vec::new() }
}

#[test]
fn an_alert_goes_to_a_topic_of_its_own_as_well() {
    let rules = vec![rule("Three", count(Filter::All, 3.0, 60))];
    let alerts_topic = Some(Arc::from("pages"));
    let mut engine = Engine::new(Options { alerts: Arc::from(rules), alerts_topic, ..Options::default() });
    let source = Source { name: "gateway".into(), format: Format::Plain, ..Source::default() };
    let origin = engine.open(source);
    engine.push(Chunk { origin, offset: 0, bytes: b"a\nb\nc\n" }, Now::default());
    let batch = engine.take_batch(Default::default());
    let topics = |kind: Kind| {
        let metas = batch.metas.iter().filter(move |meta| meta.kind == kind);
        metas.map(|meta| batch.keys[meta.key as usize].topic.as_deref()).collect::<Vec<_>>()
    };
    assert_eq!((topics(Kind::Line), topics(Kind::Alert)), (vec![None; 3], vec![None, Some("pages")]));
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn measured(measure: Measure, compare: Compare, limit: Limit, within: u64) -> When {
    When::Measured { measure, compare, limit, within: secs(within), by: By::All }
}

fn number(statistic: Statistic, field: &str, filter: Filter) -> Measure {
    Measure::Number { statistic, field: Field::Named(field.into()), filter, least: 1 }
}

impl World {
    /// (rule, state, seconds since the start) of each alert record.
    fn alerts(&self) -> Vec<(String, String, f64)> {
        let row = |record: &&serde_json::Value| {
            let time: jiff::Timestamp =
                record["@timestamp"].as_str().expect("a time").parse().expect("a time");
            let word = |name: &str| record["squall"][name].as_str().expect("a word").to_owned();
            (word("alert"), word("state"), (time.as_nanosecond() - i128::from(START)) as f64 / 1e9)
        };
        self.of("alert").iter().map(row).collect()
    }

    /// When `rule` came into `state`, in seconds since the start.
    #[track_caller]
    fn at(&self, rule: &str, state: &str) -> f64 {
        let all = self.alerts();
        let mut found = all.iter().filter(|(name, what, _)| name == rule && what == state);
        let first = found.next().unwrap_or_else(|| panic!("{rule} is never {state}: {all:?}"));
        assert!(found.next().is_none(), "{rule} is {state} once: {all:?}");
        first.2
    }
}

#[track_caller]
fn check_near(at: f64, want: std::ops::RangeInclusive<f64>) {
    assert!(want.contains(&at), "{at} is not in {want:?}");
}

#[test]
fn the_retry_loop_fires_at_the_tenth_time_out_and_resolves_after_the_last() {
    let text = "WebSocket connection timeout";
    let mut rule = rule("WebSocketRetryLoop", count(contains(text), 10.0, 60));
    rule.keep_firing_for = secs(300);
    rule.labels = [("severity".into(), "P1".into()), ("team".into(), "gateway".into())].into();
    let pieces = [
        Piece::Place(Place::Value),
        Piece::Text(" time-outs of ".into()),
        Piece::Place(Place::Loop("endpoint".into())),
        Piece::Text(" in ".into()),
        Piece::Place(Place::Window),
    ];
    rule.annotations = [("summary".into(), Template { pieces: pieces.into() })].into();
    let mut world = world(vec![rule]);
    let (mut incident, mut line, mut times) =
        (Incident::new(1, 4_000, Timestamp(START)), Vec::new(), Vec::new());
    while let Some(event) = {
        line.clear();
        incident.next_into(&mut line)
    } {
        if memchr::memmem::find(&line, text.as_bytes()).is_some() {
            times.push(event.time.0);
        }
    }
    let file = crate::corpus::incident_file(1, 4_000, Timestamp(START));
    for bytes in file.chunks(16 * 1024) {
        world.engine.push(Chunk { origin: world.origin, offset: world.offset, bytes }, world.now());
        world.offset += bytes.len() as u64;
        world.collect();
    }
    world.wait(3_600);
    let minute = 60 * Timestamp::SECOND;
    let tenth = times.windows(10).find(|ten| ten[9] - ten[0] < minute).expect("a storm")[9];
    let over = times[times.len() - 10] + minute;
    assert_eq!(world.at("WebSocketRetryLoop", "firing"), (tenth - START) as f64 / 1e9);
    assert_eq!(world.at("WebSocketRetryLoop", "resolved"), (over + 5 * minute - START) as f64 / 1e9);
    let record = world.of("alert")[0].clone();
    let squall = &record["squall"];
    assert_eq!(
        record["message"],
        "[P1] WebSocketRetryLoop firing: 10 time-outs of wss://api.example-broker.com:10000/ in 1m"
    );
    assert_eq!((squall["value"].as_f64(), squall["threshold"].as_f64()), (Some(10.0), Some(10.0)));
    assert_eq!((&squall["severity"], &squall["window"]), (&"P1".into(), &"1m".into()));
    assert_eq!(squall["labels"], serde_json::json!({"severity": "P1", "team": "gateway"}));
    assert_eq!(squall["episode"], format!("{:032x}-a1", 0));
    assert_eq!(squall["since"], record["@timestamp"]);
    assert_eq!(world.of("alert")[1]["squall"]["episode"], squall["episode"]);
    world.finish(ClosedBy::End);
    assert_eq!(world.engine.ledger().alerts, 1);
}

#[test]
fn the_503_spike_fires_when_it_has_lasted() {
    let rate = Measure::Rate(matches(r"\b503\b"));
    let mut spike = rule("Http503", measured(rate, Compare::Above, Limit::Value(20.0), 300));
    spike.hold = secs(120);
    let mut world = world(vec![spike]);
    for second in 0..60 {
        world.line(f64::from(second), "GET /api 200 5 ms");
    }
    for tick in 0..30 * 440 {
        world.line(60.0 + f64::from(tick) / 30.0, &format!("GET /api/{tick} 503 upstream timeout"));
    }
    world.wait(900);
    // 20/s over five minutes are 6,000 lines: reached after 200 s of 30 a second, and then for two minutes.
    check_near(world.at("Http503", "firing"), 380.0..=380.1);
    check_near(world.at("Http503", "resolved"), 600.0..=605.0);
    let since = world.of("alert")[0]["squall"]["since"].as_str().expect("a time").to_owned();
    assert!(since.starts_with("2026-02-06T00:04:20"), "{since}");
}

#[test]
fn slow_without_an_error_is_seen_in_its_numbers() {
    let all = || number(Statistic::Mean, "responseTime", Filter::All);
    let baseline = Limit::TimesBaseline(5.0);
    let p95 = number(Statistic::Percentile(95), "responseTime", Filter::All);
    let max = number(Statistic::Max, "responseTime", Filter::All);
    let mut world = world(vec![
        rule("Slow", measured(all(), Compare::AtLeast, Limit::Value(200.0), 60)),
        rule("SlowForItself", measured(all(), Compare::Above, baseline, 60)),
        rule("SlowP95", measured(p95, Compare::AtLeast, Limit::Value(200.0), 60)),
        rule("SlowMax", measured(max, Compare::AtLeast, Limit::Value(200.0), 60)),
    ]);
    for second in 0..1_200 {
        let slow = (600..900).contains(&second);
        let took = if slow { 281.76 } else { 20.0 };
        let text = format!(
            r#"{{"level":"info","message":"GET /","status":200,"responseTime":{took},"n":{second}}}"#
        );
        world.line(f64::from(second), &text);
    }
    world.wait(120);
    check_near(world.at("Slow", "firing"), 640.0..=643.0); // 42 of 60 are slow
    check_near(world.at("Slow", "resolved"), 917.0..=921.0);
    check_near(world.at("SlowForItself", "firing"), 617.0..=620.0); // 19 of 60
    check_near(world.at("SlowP95", "firing"), 602.0..=604.0);
    check_near(world.at("SlowMax", "firing"), 600.0..=600.0);
    check_near(world.at("SlowMax", "resolved"), 958.0..=960.0);
}

#[test]
fn black_friday_and_the_404s() {
    let used = regex::bytes::Regex::new(r"active threads (?<used>\d+)/200").expect("a pattern");
    let threads = Measure::Number {
        statistic: Statistic::Max,
        field: Field::Group { pattern: used, group: 1, name: "used".into() },
        filter: Filter::All,
        least: 1,
    };
    let not_found = Filter::FieldNumber("status".into(), Compare::Equal, 404.0);
    let requests = Filter::FieldNumber("status".into(), Compare::AtLeast, 0.0);
    let share = Measure::Ratio { part: not_found, whole: requests, least: 100 };
    let mut world = world(vec![
        rule("ThreadsNearlyGone", measured(threads, Compare::AtLeast, Limit::Value(180.0), 60)),
        rule("NotFound", measured(share, Compare::Above, Limit::Value(0.01), 300)),
        rule("Resets", count(contains("connection reset by peer"), 5.0, 60)),
    ]);
    for second in 0..1_800u32 {
        let time = f64::from(second);
        world.line(time, &format!("active threads {}/200", if second < 540 { 20 + second / 4 } else { 200 }));
        if (660..700).contains(&second) {
            world.line(time, "read: connection reset by peer");
        }
        // Every fortieth request, from 600 s on.
        let status = if second > 600 && second % 4 == 0 { 404 } else { 200 };
        for request in 0..10 {
            let status = if request == 0 { status } else { 200 };
            world.line(time, &format!("method=GET path=/f/{request} status={status}"));
        }
    }
    world.wait(600);
    assert_eq!(world.at("ThreadsNearlyGone", "firing"), 540.0);
    assert_eq!(world.at("Resets", "firing"), 664.0);
    assert_eq!(world.at("Resets", "resolved"), 755.0); // four are left when that of 695 s has gone
    // Of 3,000 requests 30 are allowed: the 31st comes at 604 + 30 * 4.
    check_near(world.at("NotFound", "firing"), 724.0..=729.0);
}

#[test]
fn what_does_not_come_is_missed_and_what_is_new_is_told() {
    let absent = When::Absent { filter: contains("heartbeat"), during: secs(60), by: By::All };
    let news = When::NewTemplate { filter: Filter::All };
    let mut world = world(vec![rule("Silent", absent), rule("News", news)]);
    for second in (0..=200).step_by(10) {
        world.line(f64::from(second), &format!("heartbeat {second}"));
    }
    world.line(205.0, "something else altogether");
    assert_eq!(world.at("News", "firing"), 205.0);
    world.wait(50);
    assert_eq!(world.alerts().len(), 1, "not yet");
    world.wait(70);
    assert_eq!(world.at("Silent", "firing"), 260.0);
    assert_eq!(world.at("News", "resolved"), 265.0);
    world.line(400.0, "heartbeat 400");
    assert_eq!(world.at("Silent", "resolved"), 400.0);
}

#[test]
fn what_never_came_is_missed_from_the_start() {
    let absent = When::Absent { filter: contains("heartbeat"), during: secs(60), by: By::All };
    let mut world = world(vec![rule("Silent", absent)]);
    assert_eq!(world.engine.deadline(), Some(Monotonic(0)), "it wants to know what time it is");
    world.wait(1);
    world.wait(59);
    assert_eq!(world.alerts(), []);
    world.wait(1);
    assert_eq!(world.alerts().len(), 1);
}

#[test]
fn a_loop_that_is_open_fires_until_it_closes() {
    let conditions =
        [LoopCondition::Verdict(["none".into()].into()), LoopCondition::Iterations(Compare::AtLeast, 10)];
    let mut world = world(vec![rule("Loop", When::Loop { conditions: conditions.into() })]);
    for iteration in 0..100 {
        let time = f64::from(iteration) * 0.25;
        world.line(time, "connection to db refused");
        world.line(time + 0.1, "retrying at once");
        world.arrival = world.arrival + Duration::from_millis(250);
    }
    check_near(world.at("Loop", "firing"), 2.4..=4.0);
    world.wait(600);
    check_near(world.at("Loop", "resolved"), 25.0..=700.0);
    assert_eq!(
        world.of("loop").last().map(|record| record["squall"]["state"].clone()),
        Some("closed".into())
    );
}

#[test]
fn rules_see_what_is_folded_and_hide_nothing() {
    let mut world = world(vec![rule("R", count(contains("timeout"), 1_000.0, 60))]);
    for tick in 0..2_000 {
        world.line(f64::from(tick) * 0.01, &format!("timeout {tick}"));
    }
    assert!(world.verbatim() < 100, "it is a storm");
    assert_eq!(world.at("R", "firing"), 9.99);
    world.finish(ClosedBy::End);
    assert_eq!(world.engine.ledger().lines_in, Lines(2_000));
}

/// A world with a kill in it, whose log has two bursts of time-outs and a pending rule.
fn killed_world() -> Restarted {
    let mut lasting = rule("Lasting", count(contains("timeout"), 5.0, 30));
    lasting.hold = secs(20);
    lasting.keep_firing_for = secs(15);
    let mut rules = vec![rule("Burst", count(contains("timeout"), 10.0, 30)), lasting];
    rules.iter_mut().for_each(|rule| rule.labels = [("severity".into(), "P1".into())].into());
    let options = Options { alerts: Arc::from(rules), ..Options::default() };
    let source = Source { name: "web".into(), format: Format::Docker, stays: true, ..Source::default() };
    let mut world = Restarted::new(options, source, Vec::new());
    world.now.wall = Timestamp(START + 1_000 * Timestamp::SECOND);
    for second in 0..400u32 {
        let burst = (50..120).contains(&second) || (250..300).contains(&second);
        let text = if burst { format!("timeout {second}") } else { format!("all is well {second}") };
        world.write(f64::from(second), &text);
    }
    world
}

/// (rule, state, episode, time) of all alert records.
fn told(world: &Restarted) -> Vec<[String; 4]> {
    let records = world.disk.records.iter().filter(|record| record["squall"]["kind"] == "alert");
    let row = |record: &serde_json::Value| {
        let squall = &record["squall"];
        [&squall["alert"], &squall["state"], &squall["episode"], &record["@timestamp"]]
            .map(ToString::to_string)
    };
    records.map(row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_restart_neither_fires_again_nor_forgets(
        steps in prop::collection::vec((1usize..6_000, any::<bool>(), prop::option::of(0u64..900)), 1..20),
    ) {
        let undisturbed = {
            let mut world = killed_world();
            world.read_all();
            world.wait(600);
            world.commit();
            told(&world)
        };
        prop_assert_eq!(undisturbed.len(), 8, "{:?}", undisturbed);
        let mut world = killed_world();
        for (bytes, commits, killed) in steps {
            world.read(bytes);
            if commits {
                world.commit();
            }
            if let Some(seconds) = killed {
                world.restart(seconds);
            }
        }
        world.read_all();
        world.wait(600);
        world.commit();
        prop_assert_eq!(told(&world), undisturbed);
        prop_assert_eq!(world.engine.ledger().alerts, 4);
    }
}

/// What an engine with these rules makes of what a killed one has kept: it, and the alert records that it writes at once.
fn restored(rules: Vec<Rule>, changes: &Changes, now: Now) -> (Engine, Vec<serde_json::Value>) {
    let options = Options { alerts: Arc::from(rules), ..Options::default() };
    let (engine, complaints) = Engine::restore(options, changes.clone(), now);
    assert_eq!(complaints, [""; 0]);
    let record = |(_, bytes)| serde_json::from_slice(bytes).expect("a record");
    let records = engine.batch().iter().map(record).collect();
    (engine, records)
}

#[test]
fn a_rule_that_was_changed_begins_anew_and_its_alert_is_over() {
    let mut world = killed_world();
    world.read(8_000);
    world.commit();
    let fired = told(&world);
    assert_eq!(fired.len(), 2, "both rules fire: {fired:?}");
    let changes = world.disk.changes();
    // One is changed, the other removed.
    let mut other = rule("Burst", count(contains("timeout"), 10.0, 30));
    other.text = "changed".into();
    for rules in [vec![other], Vec::new()] {
        let (mut engine, records) = restored(rules, &changes, world.now);
        let mut over: Vec<String> =
            records.iter().map(|record| record["squall"]["episode"].to_string()).collect();
        let mut episodes: Vec<String> = fired.iter().map(|[_, _, episode, _]| episode.clone()).collect();
        over.sort_unstable();
        episodes.sort_unstable();
        assert_eq!(over, episodes);
        for record in &records {
            let squall = &record["squall"];
            assert_eq!((&squall["kind"], &squall["state"]), (&"alert".into(), &"resolved".into()));
            assert_eq!(squall["labels"], serde_json::json!({"severity": "P1"}));
            let message = record["message"].as_str().expect("a message");
            assert!(
                message.ends_with("resolved: the rule was changed or removed while it fired"),
                "{message}"
            );
        }
        let mut next = Changes::default();
        engine.checkpoint(world.now, &mut next);
        assert_eq!(next.alerts_gone.len(), changes.alerts.len(), "what nobody wants is forgotten");
        assert_eq!(engine.ledger().alerts, changes.totals.alerts, "numbers go on");
        // Once it is written down, the next process says nothing.
        let after = Changes { alerts: Vec::new(), totals: next.totals, ..changes.clone() };
        assert_eq!(restored(Vec::new(), &after, world.now).1, [""; 0]);
    }
}

#[test]
fn a_rule_that_stays_says_nothing_at_the_start() {
    let mut world = killed_world();
    world.read(8_000);
    world.commit();
    let rules = world.options.alerts.to_vec();
    assert_eq!(restored(rules, &world.disk.changes(), world.now).1, [""; 0]);
}

//! The whole engine with a made-up clock: what `accounting.md` promises, case by case.

mod alerts;
mod family;
mod limit;
mod loops;
mod pressure;
mod redact;
mod restart;
mod traces;

use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;

use super::chunk::Chunk;
use super::frame::Format;
use super::storm::window::ClosedBy;
use super::storm::{Collapse, Folding, Limits, Pressure};
use super::{Engine, Options, Source};
use crate::units::{Bytes, Lines, Monotonic, Now, Timestamp};

/// An engine with one Docker source, fed line by line, each at its own log time.
struct World {
    engine: Engine,
    origin: super::chunk::OriginId,
    offset: u64,
    arrival: Monotonic,
    records: Vec<Value>,
}

/// 2026-02-06T00:00:00Z.
const START: i64 = 1_770_336_000 * Timestamp::SECOND;

impl World {
    fn new(collapse: Collapse, storm: Limits) -> World {
        let mut engine = Engine::new(Options { storm, ..Options::default() });
        let source = Source {
            name: "gateway".into(),
            format: Format::Docker,
            folding: collapse.into(),
            ..Source::default()
        };
        let origin = engine.open(source);
        World { engine, origin, offset: 0, arrival: Monotonic(0), records: Vec::new() }
    }

    fn now(&self) -> Now {
        // The wall clock stands a day after the log: a backlog.
        Now { arrival: self.arrival, wall: Timestamp(START + 86_400 * Timestamp::SECOND) }
    }

    /// One line, written `second` seconds after the start.
    fn line(&mut self, second: f64, text: &str) {
        let time = Timestamp(START + (second * 1e9) as i64);
        let time = jiff::Timestamp::from_nanosecond(i128::from(time.0)).expect("in range");
        let text = serde_json::to_string(&format!("{text}\n")).expect("a string");
        self.raw(&format!("{{\"log\":{text},\"stream\":\"stderr\",\"time\":\"{time}\"}}\n"));
    }

    /// Bytes as they stand in the file.
    fn raw(&mut self, bytes: &str) {
        let chunk = Chunk { origin: self.origin, offset: self.offset, bytes: bytes.as_bytes() };
        self.engine.push(chunk, self.now());
        self.offset += bytes.len() as u64;
        self.collect();
    }

    fn wait(&mut self, seconds: u64) {
        self.arrival = self.arrival + Duration::from_secs(seconds);
        self.engine.on_deadline(self.now());
        self.collect();
    }

    fn finish(&mut self, closed_by: ClosedBy) {
        self.engine.finish(closed_by, self.now());
        self.collect();
        let ledger = self.engine.ledger();
        assert_eq!((ledger.conservation_error, ledger.lines_open), (0, Lines(0)), "{ledger:?}");
    }

    fn collect(&mut self) {
        let batch = self.engine.take_batch(Default::default());
        self.records
            .extend(batch.iter().map(|(_, record)| serde_json::from_slice::<Value>(record).expect("JSON")));
    }

    fn of(&self, kind: &str) -> Vec<&Value> {
        self.records.iter().filter(|record| record["squall"]["kind"] == kind).collect()
    }

    fn verbatim(&self) -> usize {
        self.of("line").len()
    }

    /// (count, closed_by, state) of each summary.
    fn summaries(&self) -> Vec<(u64, &str, &str)> {
        let word = |record: &'_ Value, name: &str| -> &'static str {
            let word = record["squall"][name].as_str().expect("a word").to_owned();
            Box::leak(word.into_boxed_str())
        };
        let row = |record: &&Value| {
            (
                record["squall"]["count"].as_u64().expect("a count"),
                word(record, "closed_by"),
                word(record, "state"),
            )
        };
        self.of("summary").iter().map(row).collect()
    }
}

#[test]
fn a_record_is_what_the_interface_says() {
    let mut world = World::new(Collapse::Storms, Limits::default());
    world.line(600.123456789, "WebSocket connection timeout");
    let record = &world.records[0];
    assert_eq!(record["@timestamp"], "2026-02-06T00:10:00.123456789Z");
    assert_eq!(record["message"], "WebSocket connection timeout");
    assert_eq!(record["log"]["iostream"], "stderr");
    assert_eq!(record["log"]["offset"], 0);
    assert_eq!(record["squall"]["v"], 1);
    assert_eq!(record["squall"]["kind"], "line");
    assert_eq!(record["squall"]["id"], format!("{:032x}-1", 0));
    assert_eq!(record["squall"]["stream"], "gateway/stderr");
    assert_eq!(record["squall"]["template"].as_str().map(str::len), Some(32));
}

#[test]
fn a_failing_loop_is_a_storm_after_twenty_lines_and_stays_one() {
    let mut world = World::new(Collapse::Storms, Limits::default());
    // Four different lines a second, for five minutes of log time.
    for tick in 0..1_200 {
        world.line(f64::from(tick) * 0.25, &format!("connection timeout after {tick} ms"));
    }
    assert_eq!(world.verbatim(), 19, "the 20th line in ten seconds begins the storm");
    world.finish(ClosedBy::Shutdown);
    let summaries = world.summaries();
    let folded: u64 = summaries.iter().map(|(count, _, _)| count).sum();
    assert_eq!(folded, 1_181);
    // 10 s, 30 s, 60 s and what is left of five minutes, by log time although it all arrived at once.
    let counts: Vec<u64> = summaries.iter().map(|(count, _, _)| *count).collect();
    assert_eq!(counts, [40, 120, 240, 781]);
    assert_eq!(summaries[3].1, "shutdown");
    let values = &world.of("summary")[3]["squall"]["values"][0];
    assert_eq!((values["min"].as_f64(), values["max"].as_f64()), (Some(419.0), Some(1_199.0)));
}

#[test]
fn fault_025_a_stop_tears_no_line_of_a_file() {
    #[track_caller]
    fn check(stays: bool, closed_by: ClosedBy, want: &[&str]) {
        let mut engine = Engine::new(Options::default());
        let source = Source { name: "gateway".into(), format: Format::Docker, stays, ..Source::default() };
        let origin = engine.open(source);
        // A piece of a long line, which waits for its end, and the beginning of the next entry.
        let bytes = br#"{"log":"a piece","stream":"stderr","time":"2026-02-06T00:00:00Z"}
{"log":"half"#;
        let now = Now { arrival: Monotonic(0), wall: Timestamp(START) };
        engine.push(Chunk { origin, offset: 0, bytes }, now);
        engine.finish(closed_by, now);
        let messages: Vec<Value> = engine
            .batch()
            .iter()
            .map(|(_, record)| serde_json::from_slice::<Value>(record).expect("JSON")["message"].take())
            .collect();
        assert_eq!(messages, want);
        let ledger = engine.ledger();
        let (left, held) = (Lines(want.len() as u64), ledger.lines_partial);
        assert_eq!((ledger.conservation_error, left + held), (0, Lines(2)), "{ledger:?}");
    }
    check(true, ClosedBy::Shutdown, &[]);
    check(true, ClosedBy::End, &["{\"log\":\"half", "a piece"]);
    check(false, ClosedBy::Shutdown, &["{\"log\":\"half", "a piece"]);
    check(false, ClosedBy::End, &["{\"log\":\"half", "a piece"]);
}

#[test]
fn calm_lines_pass_whole() {
    let mut world = World::new(Collapse::Storms, Limits::default());
    for tick in 0..1_000 {
        world.line(f64::from(tick), &format!("GET /orders/{tick} 200 in 12 ms"));
    }
    world.finish(ClosedBy::End);
    assert_eq!((world.verbatim(), world.summaries().len()), (1_000, 0));
}

#[test]
fn a_steady_access_log_is_no_storm_once_its_baseline_is_known() {
    let mut world = World::new(Collapse::Storms, Limits::default());
    for tick in 0..(300 * 20) {
        world.line(f64::from(tick) / 20.0, &format!("GET /orders/{tick} 200 in 12 ms"));
    }
    let last = &world.records[world.records.len() - 1];
    assert_eq!(last["squall"]["kind"], "line", "five minutes on it passes again");
    world.finish(ClosedBy::End);
    assert_eq!(world.summaries().last().map(|summary| (summary.1, summary.2)), Some(("quiet", "closed")));
}

#[test]
fn a_burst_of_a_calm_template_is_a_storm() {
    let mut world = World::new(Collapse::Storms, Limits::default());
    // Two lines a minute for half an hour, then one every two seconds for five minutes, then two a minute again.
    let calm =
        |from: u32, minutes: u32| (0..2 * minutes).map(move |tick| f64::from(from) + f64::from(tick) * 30.0);
    let burst = (0..150).map(|tick| 1_800.0 + f64::from(tick) * 2.0);
    let mut lines = 0;
    for second in calm(0, 30).chain(burst).chain(calm(2_100, 10)) {
        lines += 1;
        world.line(second, &format!("GET /orders/{second} 200"));
    }
    world.finish(ClosedBy::End);
    let summaries = world.of("summary");
    let told: Vec<_> = summaries.iter().map(|told| told["squall"]["storm"].as_str()).collect();
    assert!(!told.is_empty() && told.iter().all(|storm| *storm == Some("burst")), "{told:?}");
    let folded: u64 = world.summaries().iter().map(|(count, _, _)| count).sum();
    assert!((110..=140).contains(&folded), "{folded} of the 150");
    assert_eq!(folded + world.verbatim() as u64, lines);
    assert_eq!(world.summaries().last().map(|summary| (summary.1, summary.2)), Some(("quiet", "closed")));
    let after = world.records.iter().rev().take_while(|record| record["squall"]["kind"] == "line").count();
    assert!(after >= 18, "calm lines pass again: {after}");
}

#[test]
fn a_storm_says_why() {
    let mut world = World::new(Collapse::Storms, Limits::default());
    for tick in 0..50 {
        world.line(f64::from(tick) * 0.1, &format!("connection timeout after {tick} ms"));
        world.line(f64::from(tick) * 0.1, "heartbeat");
    }
    world.finish(ClosedBy::End);
    let told: Vec<_> = world.of("summary").iter().map(|told| told["squall"]["storm"].as_str()).collect();
    assert_eq!(told, [Some("rate"), None], "repeats are folded without a storm");
}

#[test]
fn a_baseline_keeps_ten_times_as_much_from_passing() {
    let mut world = World::new(Collapse::Storms, Limits::default());
    for tick in 0..(200 * 2) {
        world.line(f64::from(tick) / 2.0, &format!("GET /orders/{tick} 200 in 12 ms"));
    }
    assert_eq!(world.verbatim(), 400);
    for tick in 0..400 {
        world.line(200.0 + f64::from(tick) / 40.0, &format!("GET /orders/{tick} 200 in 12 ms"));
    }
    assert!(
        world.verbatim() < 600,
        "8 times the baseline of 20 in ten seconds is a storm: {}",
        world.verbatim()
    );
}

#[test]
fn repeats_fold_after_the_first_five() {
    #[track_caller]
    fn check(collapse: Collapse, verbatim: usize, folded: u64) {
        let mut world = World::new(collapse, Limits::default());
        for tick in 0..15 {
            world.line(f64::from(tick) * 0.5, "cache warmed");
            world.line(f64::from(tick) * 0.5, &format!("request {tick} served"));
        }
        world.finish(ClosedBy::End);
        let counted: u64 = world.summaries().iter().map(|(count, _, _)| count).sum();
        assert_eq!((world.verbatim(), counted), (verbatim, folded), "{collapse:?}");
    }
    check(Collapse::Never, 30, 0);
    check(Collapse::Repeats, 20, 10);
    check(Collapse::Storms, 20, 10);
    check(Collapse::Always, 10, 20);
}

#[test]
fn a_stream_may_let_more_pass_and_be_told_more_often() {
    #[track_caller]
    fn check(folding: Folding, pressure: Pressure, verbatim: usize, windows: &[u64]) {
        let mut world = World::new(Collapse::Always, Limits::default());
        let source = Source { name: "own".into(), format: Format::Docker, folding, ..Source::default() };
        world.origin = world.engine.open(source);
        world.engine.set_pressure(pressure);
        for tick in 0..100 {
            world.line(f64::from(tick) * 0.1, "connection timeout");
        }
        world.finish(ClosedBy::End);
        let told: Vec<u64> = world.summaries().iter().map(|(count, _, _)| *count).collect();
        assert_eq!((world.verbatim(), &told[..]), (verbatim, windows), "{folding:?}");
    }
    let common = Folding::from(Collapse::Always);
    check(common, Pressure::None, 5, &[95]);
    check(Folding { first: Some(20), ..common }, Pressure::None, 20, &[80]);
    check(Folding { first: Some(0), ..common }, Pressure::None, 1, &[99]); // what is new passes
    check(Folding { first: Some(20), ..common }, Pressure::Few, 1, &[99]);
    let often = Folding { summary_every: Some(Duration::from_secs(2)), ..common };
    check(often, Pressure::None, 5, &[20, 60, 15]); // 2 s, 6 s, then what is left
    assert_eq!(Folding::default().collapse, Collapse::default());
}

#[test]
fn a_storm_that_simply_stops_is_told_and_closed() {
    let mut world = World::new(Collapse::Storms, Limits::default());
    for tick in 0..50 {
        world.line(f64::from(tick) * 0.1, "connection timeout");
    }
    assert!(world.summaries().is_empty());
    assert_eq!(world.engine.deadline(), Some(Monotonic(10_000_000_000)));
    world.wait(10);
    assert_eq!(world.summaries(), [(45, "interval", "open")]);
    world.wait(20);
    assert_eq!(world.summaries()[1..], [(0, "quiet", "closed")], "whoever heard it open hears it close");
    let closing = &world.of("summary")[1]["squall"];
    assert_eq!(
        (&closing["window"], &closing["examples"]),
        (&Value::Null, &Value::Null),
        "no window is told twice"
    );
    assert_eq!(world.engine.deadline(), None);
    world.finish(ClosedBy::End);
    assert_eq!(world.summaries().len(), 2);
}

#[test]
fn after_quiet_the_first_lines_pass_again() {
    let mut world = World::new(Collapse::Storms, Limits::default());
    for tick in 0..50 {
        world.line(f64::from(tick) * 0.1, "connection timeout");
    }
    assert_eq!(world.verbatim(), 5);
    for tick in 0..50 {
        world.line(60.0 + f64::from(tick) * 0.1, "connection timeout");
    }
    assert_eq!(world.verbatim(), 10);
    assert_eq!(world.summaries(), [(45, "quiet", "closed")]);
    world.finish(ClosedBy::End);
}

#[test]
fn the_interval_backs_off_while_the_storm_lasts() {
    let mut world = World::new(Collapse::Storms, Limits::default());
    let mut told = Vec::new();
    for second in 0..800u64 {
        for tenth in 0..10 {
            world.line(second as f64 + f64::from(tenth) / 10.0, "connection timeout");
        }
        world.wait(1);
        if world.summaries().len() > told.len() {
            told.push(second);
        }
    }
    let gaps: Vec<u64> = told.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps, [30, 60, 300, 300]);
    world.finish(ClosedBy::End);
}

#[test]
fn a_new_status_is_not_hidden_by_a_storm() {
    let mut world = World::new(Collapse::Storms, Limits::default());
    for tick in 0..5_000 {
        world.line(f64::from(tick) * 0.01, &format!("upstream failed req={tick} slot 1{}", tick % 3));
    }
    let before = world.verbatim();
    world.line(50.1, "upstream failed req=77 slot 199");
    world.line(50.2, "upstream failed status=503");
    assert_eq!(world.verbatim(), before + 2);
    world.finish(ClosedBy::End);
}

#[test]
fn a_new_value_is_not_hidden_by_a_storm_of_repeats() {
    let mut world = World::new(Collapse::Storms, Limits::default());
    for tick in 0..200 {
        world.line(f64::from(tick) * 0.01, "upstream failed on shard 71");
    }
    let before = world.verbatim();
    world.line(2.1, "upstream failed on shard 79");
    assert_eq!(world.verbatim(), before + 1, "the shard never changed in 200 lines");
    world.finish(ClosedBy::End);
}

#[test]
fn fault_025_a_line_without_its_end_is_sent_as_such() {
    let mut world = World::new(Collapse::Storms, Limits::default());
    let source = Source { name: "x".into(), format: Format::Plain, ..Source::default() };
    world.origin = world.engine.open(source);
    world.raw(&"took 1234 ms\n".repeat(200));
    world.raw("took 12");
    world.engine.end_generation(world.origin, world.now());
    world.raw("took 1234 ms\ntook 1234 ms");
    world.finish(ClosedBy::End);
    let cut = |record: &&&Value| record["squall"]["complete"] == false;
    let lines = world.of("line");
    let told: Vec<&str> = lines.iter().filter(cut).filter_map(|record| record["message"].as_str()).collect();
    assert_eq!(told, ["took 12", "took 1234 ms"]);
}

#[test]
fn fault_032_broken_lines_do_not_hide_among_whole_ones() {
    let mut world = World::new(Collapse::Storms, Limits::default());
    for tick in 0..200 {
        world.line(f64::from(tick) * 0.01, &format!("connection timeout after {tick} ms"));
    }
    let before = world.verbatim();
    (0..50).for_each(|tick| world.raw(&format!("connection timeout after {tick} ms\n")));
    world.finish(ClosedBy::End);
    let broken = |record: &&&Value| record["squall"]["parse_error"].is_string();
    let lines = world.of("line");
    assert_eq!(lines[before..].iter().filter(broken).count(), lines.len() - before);
    assert!((5..50).contains(&(lines.len() - before)), "{}", lines.len() - before);
    let summaries = world.of("summary");
    let broken: Vec<u64> =
        summaries.iter().filter(broken).filter_map(|record| record["squall"]["count"].as_u64()).collect();
    assert_eq!(broken, [50 - (lines.len() - before) as u64], "folded by themselves");
}

#[test]
fn a_level_written_in_digits_is_the_lines_own() {
    let mut world = World::new(Collapse::Storms, Limits::default());
    for text in
        ["<14>app: tick", "<11>app: tick", r#"{"level":30,"msg":"tick"}"#, r#"{"level":50,"msg":"tick"}"#]
    {
        world.line(0.0, text);
    }
    let levels: Vec<&str> =
        world.records.iter().filter_map(|record| record["log"]["level"].as_str()).collect();
    assert_eq!(levels, ["info", "error", "info", "error"]);
}

/// An engine in which `entries` templates repeat, each a little later than the one before.
fn crowd(entries: u32, apart: Duration) -> World {
    // Each by itself: as a family they would have one window.
    let limits = Limits { novelty_per_second: 100_000, families: false, ..Limits::default() };
    let mut world = World::new(Collapse::Storms, limits);
    for entry in 0..entries {
        let word: String = (0..4).map(|at| (b'a' + (entry / 26u32.pow(at) % 26) as u8) as char).collect();
        (0..10).for_each(|_| world.line(0.0, &format!("unit {word} is idle")));
        world.arrival = world.arrival + apart;
    }
    assert_eq!(world.engine.ledger().lines_open, Lines(u64::from(entries) * 5));
    world
}

#[test]
fn many_deadlines_are_few_wake_ups() {
    let mut world = crowd(2_000, Duration::from_millis(4));
    let mut wake_ups = 0;
    while let Some(deadline) = world.engine.deadline() {
        world.arrival = world.arrival.max(deadline);
        world.engine.on_deadline(world.now());
        world.collect();
        wake_ups += 1;
    }
    // 8 s of window ends and as long of quiet ones, ten times a second.
    assert!(wake_ups < 200, "{wake_ups}");
    let told: u64 = world.summaries().iter().map(|(count, _, _)| count).sum();
    assert_eq!(told, 10_000);
}

#[test]
fn closing_many_windows_makes_many_small_batches() {
    let mut world = crowd(2_000, Duration::ZERO);
    world.arrival = world.arrival + Duration::from_secs(10);
    let (mut batches, mut largest) = (0, 0);
    while world.engine.deadline().is_some_and(|deadline| deadline <= world.arrival) {
        world.engine.on_deadline(world.now());
        largest = largest.max(world.engine.batch().metas.len());
        batches += 1;
        world.collect();
    }
    assert_eq!(world.summaries().len(), 2_000);
    assert!((4..100).contains(&batches) && largest <= 256, "{batches} batches, {largest} records");
    let mut world = crowd(2_000, Duration::ZERO);
    let mut largest = 0;
    while !world.engine.finish_some(ClosedBy::End, world.now()) {
        largest = largest.max(world.engine.batch().metas.len());
        world.collect();
    }
    world.collect();
    assert_eq!(world.summaries().len(), 2_000);
    assert!(largest <= 256, "{largest} records");
}

#[test]
fn sources_that_are_gone_take_no_memory() {
    let mut engine = Engine::new(Options::default());
    let mut sizes = Vec::new();
    for _ in 0..20_000 {
        let origin =
            engine.open(Source { name: "x".repeat(100), format: Format::Plain, ..Source::default() });
        engine.push(Chunk { origin, offset: 0, bytes: b"hello\nhel" }, Now::default());
        engine.close(origin, Now::default());
        engine.take_batch(Default::default());
        sizes.push(engine.size().0);
    }
    assert_eq!(engine.ledger().lines_in, Lines(40_000));
    assert!(sizes[19_999] < sizes[0] + 20_000 * 16, "{} → {}", sizes[0], sizes[19_999]);
}

#[test]
fn eviction_closes_the_window_first() {
    let limits = Limits { templates_max: 4, ..Limits::default() };
    let mut world = World::new(Collapse::Storms, limits);
    for tick in 0..60 {
        world.line(f64::from(tick) * 0.1, "connection timeout");
    }
    for word in ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta"] {
        world.line(7.0, word);
    }
    assert_eq!(world.summaries(), [(55, "evicted", "closed")]);
    world.finish(ClosedBy::End);
}

#[test]
fn fault_077_a_flood_of_templates_is_told_and_memory_stays_flat() {
    let limits = Limits { templates_max: 1_000, ..Limits::default() };
    let mut world = World::new(Collapse::Storms, limits);
    let word = |number: u32| -> String {
        (0..6).map(|at| (b'a' + (number / 10u32.pow(at) % 10) as u8) as char).collect()
    };
    let mut sizes = Vec::new();
    for number in 0..60_000u32 {
        world.line(f64::from(number) / 6_000.0, &format!("{} unseen", word(number)));
        if number % 10_000 == 9_999 {
            sizes.push(world.engine.size());
        }
    }
    let flat = Bytes(sizes[0].0 + sizes[0].0 / 4);
    assert!(sizes.iter().all(|size| *size <= flat), "{sizes:?}");
    // Ten seconds: a thousand a second pass, and the first of each of 64 families.
    assert!((10_000..=10_100).contains(&world.verbatim()), "{}", world.verbatim());
    world.finish(ClosedBy::End);
    let notices = world.of("notice");
    let told: u64 = notices.iter().filter_map(|notice| notice["squall"]["count"].as_u64()).sum();
    assert_eq!(told + world.verbatim() as u64, 60_000);
    assert_eq!(notices[0]["squall"]["reason"], "novelty_flood");
    assert_eq!(notices[0]["squall"]["examples"].as_array().map(Vec::len), Some(3));
}

#[test]
fn fault_077_memory_decides_before_templates_max_does() {
    let storm = Limits { templates_max: 1_000_000, novelty_per_second: 1_000_000, ..Limits::default() };
    let mut engine = Engine::new(Options { storm, memory_max: Bytes(4 << 20), ..Options::default() });
    let origin = engine.open(Source { name: "x".into(), format: Format::Plain, ..Source::default() });
    let (mut offset, mut largest) = (0, 0);
    for thousand in 0..150u32 {
        let word = |line: u32| -> String {
            (0..5).map(|at| (b'a' + (line / 26u32.pow(at) % 26) as u8) as char).collect()
        };
        let lines: String =
            (0..1_000).map(|line| format!("unit {} is idle\n", word(thousand * 1_000 + line))).collect();
        engine.push(Chunk { origin, offset, bytes: lines.as_bytes() }, Now::default());
        offset += lines.len() as u64;
        engine.take_batch(Default::default());
        largest = largest.max(engine.size().0);
    }
    let ledger = engine.ledger();
    assert_eq!((ledger.lines_in, ledger.conservation_error), (Lines(150_000), 0));
    // Growing by doubling, and looked at once a megabyte.
    assert!(largest < 24 << 20, "{largest}");
}

#[test]
fn a_flood_is_not_folded_where_nothing_may_be() {
    let mut world = World::new(Collapse::Never, Limits { novelty_per_second: 1, ..Limits::default() });
    for word in ["a", "b", "c", "d"] {
        world.line(0.0, word);
    }
    world.finish(ClosedBy::End);
    assert_eq!(world.verbatim(), 4);
}

#[test]
fn memory_that_is_short_closes_windows_early() {
    let mut engine = Engine::new(Options { memory_max: Bytes(1), ..Options::default() });
    let origin = engine.open(Source { name: "x".into(), format: Format::Plain, ..Source::default() });
    let lines = "connection timeout\n".repeat(70_000);
    engine.push(Chunk { origin, offset: 0, bytes: lines.as_bytes() }, Now::default());
    let batch = engine.take_batch(Default::default());
    let last = String::from_utf8_lossy(batch.iter().last().expect("a record").1).into_owned();
    assert!(last.contains("\"closed_by\":\"pressure\""), "{last}");
    assert_eq!(engine.ledger().conservation_error, 0);
}

#[test]
fn fault_082_no_text_can_set_metadata() {
    let mut world = World::new(Collapse::Storms, Limits::default());
    let hostile = r#"x","squall":{"kind":"notice","id":"0-0","count":9},"y":"{"message":"z"}"#;
    world.line(0.0, hostile);
    let record = &world.records[0];
    assert_eq!(record["message"], hostile);
    assert_eq!(record["squall"]["kind"], "line");
    assert_eq!(record["squall"]["count"], Value::Null);
}

#[test]
fn fault_030_bytes_that_are_not_utf8_are_kept() {
    let mut engine = Engine::new(Options::default());
    let origin = engine.open(Source { name: "x".into(), format: Format::Plain, ..Source::default() });
    engine.push(Chunk { origin, offset: 0, bytes: b"a\xff\x00b\n" }, Now::default());
    let batch = engine.take_batch(Default::default());
    let record: Value = serde_json::from_slice(batch.get(0).expect("a record").1).expect("JSON");
    assert_eq!(record["message"], "a\u{fffd}\0b");
    assert_eq!(record["squall"]["raw_b64"], "Yf8AYg==");
}

#[test]
fn a_record_is_cut_to_its_limit_and_says_so() {
    let mut engine = Engine::new(Options { record_max: Bytes(20_000), ..Options::default() });
    let origin = engine.open(Source { name: "x".into(), format: Format::Plain, ..Source::default() });
    for line in [vec![b'a'; 50_000], vec![0x01; 50_000], vec![0xff; 50_000]] {
        engine.push(Chunk { origin, offset: 0, bytes: &[line, b"\n".to_vec()].concat() }, Now::default());
    }
    let batch = engine.take_batch(Default::default());
    assert_eq!(batch.metas.len(), 3);
    for (_, record) in batch.iter() {
        assert!(record.len() <= 20_000, "{}", record.len());
        let record: Value = serde_json::from_slice(record).expect("JSON");
        assert_eq!(
            (&record["squall"]["truncated"], &record["squall"]["length"]),
            (&true.into(), &50_000.into())
        );
    }
}

proptest! {
    /// Whatever comes, in whatever order and at whatever time: nothing is lost and nothing is counted twice.
    #[test]
    fn every_line_is_accounted_for(
        lines in proptest::collection::vec((0u8..6, 0u32..40, 0u64..3_000), 1..400),
        collapse in prop_oneof![
            Just(Collapse::Never), Just(Collapse::Repeats), Just(Collapse::Storms), Just(Collapse::Always)],
        templates_max in 1usize..6,
        novelty_per_second in 0u32..4,
        memory_max in prop_oneof![Just(1u64), Just(1 << 24)],
    ) {
        let storm = Limits { templates_max, novelty_per_second, enter: 10, enter_failing: 6, ..Limits::default() };
        let mut world = World::new(collapse, storm);
        world.engine.core = super::core::Core::new(Options {
            storm: Limits { templates_max, novelty_per_second, enter: 10, enter_failing: 6, ..Limits::default() },
            memory_max: Bytes(memory_max),
            ..Options::default()
        });
        let mut second = 0.0;
        for (kind, number, wait) in &lines {
            second += *wait as f64 / 1_000.0;
            let text = match kind {
                0 => "connection timeout".to_owned(),
                1 => format!("connection timeout {number}"),
                2 => format!("GET /orders/{number} 200"),
                3 => "x".repeat(*number as usize),
                4 => format!("word{} only", (b'a' + (*number % 26) as u8) as char),
                _ => { world.wait(*wait / 100); String::new() }
            };
            world.line(second, &text);
            prop_assert_eq!(world.engine.ledger().conservation_error, 0);
        }
        world.engine.core.relieve();
        world.finish(ClosedBy::End);
        let counted: u64 = world.records.iter().filter_map(|record| record["squall"]["count"].as_u64()).sum();
        prop_assert_eq!(world.verbatim() as u64 + counted, lines.len() as u64);
        let ids: Vec<&str> = world.records.iter().filter_map(|record| record["squall"]["id"].as_str()).collect();
        for (index, id) in ids.iter().enumerate() {
            prop_assert_eq!(*id, format!("{:032x}-{}", 0, index + 1));
        }
    }
}

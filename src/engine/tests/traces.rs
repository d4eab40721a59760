//! Stack traces through the whole engine: joined, counted as one, told apart, and kept over a `kill -9`.

use proptest::prelude::*;
use serde_json::Value;

use super::restart::World;
use crate::engine::frame::Format;
use crate::engine::line::multiline::{Kind, Options as Multiline};
use crate::engine::storm::window::ClosedBy;
use crate::engine::storm::{Collapse, Pressure};
use crate::engine::{Options, Source, line};
use crate::units::Lines;

const TRACE: &str = "java.net.ConnectException: refused by 127.0.0.1:5432\n\tat com.acme.Db.open(Db.java:42)\n\tat com.acme.Main.main(Main.java:7)\nCaused by: java.io.IOException: closed\n\t... 2 more";

fn source(format: Format, wait: u64) -> Source {
    let wait = std::time::Duration::from_secs(wait);
    let multiline = Some(Multiline { wait, ..Multiline::new(Kind::Auto) });
    let line = line::Limits { multiline, ..line::Limits::default() };
    Source { name: "shop".into(), format, line, stays: true, ..Source::default() }
}

fn docker() -> World {
    World::new(Options::default(), source(Format::Docker, 1), Vec::new())
}

/// Reads these lines, one after the other and without an end.
fn write(world: &mut World, lines: &str) {
    lines.split('\n').enumerate().for_each(|(at, line)| world.write(at as f64 * 0.001, line));
}

#[test]
fn a_trace_is_one_line_of_several() {
    let mut world = docker();
    write(&mut world, "before");
    write(&mut world, TRACE);
    write(&mut world, "after");
    world.read_all();
    world.commit();
    assert_eq!(world.messages(), ["before", TRACE, "after"]);
    let told: Vec<_> = world.of("line").iter().map(|told| told["lines"].as_u64()).collect();
    assert_eq!(told, [None, Some(5), None]);
    let record = &world.disk.records[1];
    assert_eq!(record["@timestamp"], "2026-02-06T00:00:00.000000000Z", "of its first line");
    assert_eq!(record["log"]["offset"], 67);
    let ledger = world.engine.ledger();
    assert_eq!((ledger.lines_in, ledger.lines_verbatim, ledger.templates), (Lines(3), Lines(3), 3));
}

#[test]
fn a_held_trace_is_partial_and_leaves_in_time() {
    let mut world = docker();
    write(&mut world, TRACE);
    world.read_all();
    let ledger = world.engine.ledger();
    assert_eq!((ledger.lines_in, ledger.lines_partial), (Lines(1), Lines(1)));
    world.read(0);
    world.commit();
    assert_eq!(world.messages(), [""; 0]);
    world.wait(1);
    world.commit();
    assert_eq!((world.messages(), world.engine.deadline()), (vec![TRACE], None));
    let ledger = world.engine.ledger();
    assert_eq!((ledger.lines_in, ledger.lines_partial), (Lines(1), Lines(0)));
}

#[test]
fn a_trace_is_not_cut_because_nobody_read() {
    let mut world = docker();
    let (head, tail) = TRACE.split_at(TRACE.find("\n\tat").expect("frames"));
    write(&mut world, head);
    world.read_all();
    // The outbox was full, say. The rest of the trace stood in the file all the time.
    world.now.arrival = world.now.arrival + std::time::Duration::from_secs(60);
    write(&mut world, &tail[1..]);
    world.read_all();
    world.wait(0);
    world.commit();
    assert_eq!(world.messages(), [TRACE]);
}

#[test]
fn a_stop_tells_a_trace_but_tears_no_line() {
    let mut world = docker();
    write(&mut world, TRACE);
    world.file.extend_from_slice(b"{\"log\":\"half");
    world.read_all();
    world.engine.finish(ClosedBy::Shutdown, world.now);
    world.commit();
    assert_eq!(world.messages(), [TRACE]);
    assert_eq!(world.engine.ledger().lines_partial, Lines(1));
}

#[test]
fn fault_001_a_trace_outlives_rotation() {
    let mut world = docker();
    let (head, tail) = TRACE.split_at(TRACE.find("\n\tat").expect("frames"));
    write(&mut world, head);
    world.read_all();
    world.rotate();
    write(&mut world, &tail[1..]);
    world.read_all();
    world.finish();
    assert_eq!(world.messages(), [TRACE]);
}

#[test]
fn fault_028_two_standard_streams_write_traces_in_turns() {
    let mut world = World::new(Options::default(), source(Format::Cri, 1), Vec::new());
    let python = "Traceback (most recent call last):\n  File \"/app/a.py\", line 1, in f\n    g()\nKeyError: 'sku'\nbye";
    for (java, python) in TRACE.split('\n').zip(python.split('\n')) {
        for (stream, line) in [("stderr", java), ("stdout", python)] {
            let line = format!("2026-02-06T00:00:00Z {stream} F {line}\n");
            world.file.extend_from_slice(line.as_bytes());
        }
    }
    world.read_all();
    world.finish();
    let mut messages = world.messages();
    messages.sort_unstable();
    assert_eq!(messages, [&python[..python.len() - 4], "bye", TRACE]);
}

#[test]
fn fault_013_a_trace_goes_on_in_pieces() {
    let mut world = World::new(Options::default(), source(Format::Cri, 1), Vec::new());
    for (flag, text) in [("F", "x.Error: y"), ("P", "\tat a.B"), ("F", ".c(B.java:1)"), ("F", "next")] {
        world.file.extend_from_slice(format!("2026-02-06T00:00:00Z stderr {flag} {text}\n").as_bytes());
        world.read_all();
        assert_eq!(world.engine.ledger().lines_partial, Lines(u64::from(text != "next")), "{text}");
        world.commit();
        world.restart(0);
    }
    assert_eq!(world.messages(), ["x.Error: y\n\tat a.B.c(B.java:1)", "next"]);
}

#[test]
fn traces_of_every_depth_are_one_storm_but_another_cause_is_news() {
    let mut world = docker();
    for depth in 0..60 {
        let frames: String =
            (0..depth % 7).map(|at| format!("\n\tat proxy.P{at}.go(P.java:{depth})")).collect();
        write(&mut world, &TRACE.replace("\nCaused", &format!("{frames}\nCaused")));
    }
    write(&mut world, &TRACE.replace("closed", "disk is full"));
    world.read_all();
    world.finish();
    let ledger = world.engine.ledger();
    assert_eq!((ledger.templates, ledger.lines_in), (2, Lines(61)));
    assert_eq!(world.messages().iter().filter(|text| text.contains("disk is full")).count(), 1);
    assert_eq!(world.counted() + world.of("line").len() as u64, 61);
}

#[test]
fn fault_037_a_trace_survives_a_kill() {
    for cut in 1..=4 {
        let mut world = docker();
        let lines: Vec<&str> = TRACE.split('\n').collect();
        write(&mut world, &lines[..cut].join("\n"));
        world.read_all();
        world.commit();
        world.restart(3);
        world.wait(9);
        write(&mut world, &lines[cut..].join("\n"));
        write(&mut world, "next");
        world.read_all();
        world.commit();
        assert_eq!(world.messages(), [TRACE, "next"], "cut after {cut}");
    }
}

#[test]
fn fault_037_a_trace_whose_source_is_gone_is_told() {
    let mut world = docker();
    write(&mut world, TRACE);
    world.read_all();
    world.commit();
    world.kill(1);
    assert_eq!(world.engine.ledger().lines_partial, Lines(1));
    world.wait(10);
    world.commit();
    assert_eq!((world.messages(), world.disk.streams.len()), (vec![TRACE], 1));
    world.wait(3_600);
    world.commit();
    assert_eq!((world.disk.streams.len(), world.engine.deadline()), (0, None));
}

#[test]
fn a_trace_is_told_when_traces_are_joined_no_more() {
    let mut world = docker();
    write(&mut world, TRACE);
    world.read_all();
    world.commit();
    world.source.line.multiline = None;
    world.restart(1);
    write(&mut world, "\tat a.B.c(B.java:1)");
    world.read_all();
    world.commit();
    assert_eq!(world.messages(), [TRACE, "\tat a.B.c(B.java:1)"]);
}

#[test]
fn what_is_never_folded_is_not_shed_after_a_restart_either() {
    let mut world = docker();
    world.source.folding.collapse = Collapse::Never;
    write(&mut world, "disk is full");
    world.read_all();
    world.commit();
    world.restart(1);
    world.engine.set_pressure(Pressure::Shed);
    write(&mut world, "disk is full\ndisk is full");
    world.read_all();
    world.commit();
    assert_eq!(world.messages(), ["disk is full"; 3]);
}

const PIECES: [&str; 9] = [
    "calm",
    "java.io.IOException: closed",
    "\tat a.B.c(B.java:1)",
    "Caused by: z.W: no",
    "",
    "Traceback (most recent call last):",
    "  File \"/app/a.py\", line 1, in f",
    "KeyError: 'sku'",
    "panic: boom",
];

#[derive(Clone, Copy, Debug)]
enum Step {
    Read(usize),
    Commit,
    Kill,
    Press(Pressure),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1usize..300).prop_map(Step::Read),
        Just(Step::Commit),
        Just(Step::Kill),
        prop_oneof![Just(Pressure::None), Just(Pressure::Shed)].prop_map(Step::Press),
    ]
}

/// (message, offset, physical lines) of every record.
fn told(world: &World) -> Vec<(String, u64, u64)> {
    let row = |record: &Value| {
        let text = record["message"].as_str().unwrap_or_default().to_owned();
        let lines = record["squall"]["lines"].as_u64().unwrap_or(1);
        (text, record["log"]["offset"].as_u64().unwrap_or_default(), lines)
    };
    world.disk.records.iter().map(row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Wherever the chunks are cut, and whenever it is killed: the same lines come out, each once.
    #[test]
    fn fault_037_traces_are_whole_whatever_happens(
        pieces in prop::collection::vec((0usize..PIECES.len(), 0usize..3), 0..40),
        steps in prop::collection::vec(step(), 0..40),
        fold in any::<bool>(),
    ) {
        let mut file = Vec::new();
        for (piece, stream) in &pieces {
            let (stream, flag) = [("stdout", "F"), ("stderr", "F"), ("stderr", "P")][*stream];
            let line = format!("2026-02-06T00:00:00Z {stream} {flag} {}\n", PIECES[*piece]);
            file.extend_from_slice(line.as_bytes());
        }
        let collapse = if fold { Collapse::Always } else { Collapse::Never };
        let source = Source { folding: collapse.into(), ..source(Format::Cri, 60) };
        let mut whole = World::new(Options::default(), source.clone(), file.clone());
        whole.read_all();
        whole.finish();
        let mut world = World::new(Options::default(), source, file);
        for step in steps {
            match step {
                Step::Read(most) => world.read(most),
                Step::Commit => world.commit(),
                Step::Kill => world.restart(0),
                Step::Press(pressure) => world.engine.set_pressure(pressure),
            }
            prop_assert!(world.engine.ledger().lines_in <= Lines(pieces.len() as u64 + 1));
        }
        world.read_all();
        world.finish();
        let (ledger, want) = (world.engine.ledger(), whole.engine.ledger());
        prop_assert_eq!((ledger.lines_in, ledger.bytes_in), (want.lines_in, want.bytes_in));
        prop_assert_eq!(world.of("line").len() as u64 + world.counted(), want.lines_in.0);
        if !fold {
            let (mut told, mut want) = (told(&world), told(&whole));
            told.sort_unstable();
            want.sort_unstable();
            prop_assert_eq!(told, want);
        }
    }
}

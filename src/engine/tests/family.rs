//! Families in the running engine: what a thousand user names cost, and what is never hidden in one.

use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::Value;

use super::super::chunk::Chunk;
use super::super::frame::Format;
use super::super::state::Changes;
use super::super::storm::window::ClosedBy;
use super::super::storm::{Collapse, Limits};
use super::super::template::family::SEEDS;
use super::super::{Engine, Options, Source};
use super::World;
use crate::units::{Lines, Now};

/// A word of letters for each number.
fn name(number: u32) -> String {
    (0..4).map(|at| (b'a' + (number / 26u32.pow(at) % 26) as u8) as char).collect()
}

fn squall<'r>(record: &'r Value, key: &str) -> &'r Value {
    &record["squall"][key]
}

/// Lines of `users` users who try again and again, 33 a second: less than two minutes, after which it would be their usual rate.
fn attack(limits: Limits, users: u32, rounds: u32) -> World {
    let mut world = World::new(Collapse::Storms, limits);
    let mut second = 0.0;
    for round in 0..rounds {
        for user in 0..users {
            let text = format!("Invalid user {} from 10.0.0.{}", name(user), round % 250);
            world.line(second, &text);
            second += 0.03;
        }
    }
    world
}

#[test]
fn a_thousand_names_cost_a_thousand_first_lines() {
    let limits = || Limits { novelty_per_second: 100_000, ..Limits::default() };
    let mut world = attack(limits(), 1_000, 3);
    world.finish(ClosedBy::End);
    let (lines, summaries) = (world.verbatim(), world.of("summary").len());
    // Each name's first line; before the family is a storm its other lines are not folded, as ever.
    assert!((1_000..1_300).contains(&lines), "{lines} lines, {summaries} summaries");
    assert!(summaries <= 20, "{summaries} summaries in 90 s");

    let mut alone = attack(Limits { families: false, ..limits() }, 1_000, 3);
    alone.finish(ClosedBy::End);
    assert!(alone.verbatim() == 3_000, "{}", alone.verbatim());
}

#[test]
fn every_first_line_passes_and_says_its_family() {
    let mut world = attack(Limits::default(), 100, 30);
    world.finish(ClosedBy::End);
    let lines = world.of("line");
    for user in 0..100 {
        let text = format!("Invalid user {} from 10.0.0.0", name(user));
        assert!(lines.iter().any(|line| line["message"] == *text), "{text}");
    }
    let templates: HashSet<&str> =
        lines.iter().filter_map(|line| squall(line, "template").as_str()).collect();
    assert_eq!(templates.len(), 100, "each line says its own template");
    let families: HashSet<&str> = lines.iter().filter_map(|line| squall(line, "family").as_str()).collect();
    assert_eq!(families.len(), 1);
    let summaries = world.of("summary");
    let of_family: Vec<_> = summaries.iter().filter(|record| squall(record, "pattern").is_string()).collect();
    assert!(!of_family.is_empty());
    for record in &of_family {
        assert_eq!(squall(record, "pattern"), "Invalid user <*> from <*>");
        assert!(families.contains(squall(record, "template").as_str().expect("an id")));
    }
    let last = of_family.last().expect("one");
    assert!(squall(last, "members").as_u64().is_some_and(|members| (90..=100).contains(&members)), "{last}");
    // A storm's numbers are told of the family too: its variables stand in the same places.
    assert!(of_family.iter().any(|record| squall(record, "values").is_array()));
}

#[test]
fn a_word_with_variables_in_it_spoils_the_numbers_of_its_family() {
    let mut world = World::new(Collapse::Always, Limits::default());
    for number in 0..200 {
        let path = if number % 2 == 0 { "/x1/".to_owned() } else { "/".to_owned() } + &name(number % 50);
        world.line(f64::from(number) * 0.05, &format!("file {path} was read in {number} ms"));
    }
    world.finish(ClosedBy::End);
    let summaries = world.of("summary");
    let of_family: Vec<_> = summaries.iter().filter(|record| squall(record, "pattern").is_string()).collect();
    assert!(!of_family.is_empty() && of_family.iter().all(|record| squall(record, "values").is_null()));
}

#[test]
fn news_pass_in_the_storm_of_a_family() {
    let mut world = attack(Limits::default(), 50, 20);
    let before = world.verbatim();
    for text in [
        "Invalid user abcd failed from 10.0.0.1",
        "Invalid user failed from 10.0.0.1",
        "ERROR Invalid user abcd from 10.0.0.1",
        "Invalid user zzzz from 10.0.0.1",
        "Invalid user zzzz from 10.0.0.1 exit code 137",
    ] {
        world.line(31.0, text);
        assert_eq!(world.of("line").last().map(|line| &line["message"]), Some(&Value::from(text)));
    }
    assert_eq!(world.verbatim(), before + 5);
    world.finish(ClosedBy::End);
}

/// The issue's sentence: `exit code 0` → `137` in a storm of the same template passes at once.
#[test]
fn a_new_code_passes_in_a_storm() {
    #[track_caller]
    fn check(calm: &str, news: &str) {
        let mut world = World::new(Collapse::Storms, Limits::default());
        for tick in 0..400 {
            world.line(f64::from(tick) * 0.02, &calm.replace('@', &tick.to_string()));
        }
        let before = world.verbatim();
        assert!(before < 150, "{calm} is a storm: {before}");
        world.line(8.0, &news.replace('@', "7"));
        assert_eq!(world.verbatim(), before + 1, "{news} passes");
        world.line(8.0, &calm.replace('@', "8"));
        assert_eq!(world.verbatim(), before + 1, "{calm} goes on being folded");
        world.finish(ClosedBy::End);
    }
    check("job @ left with exit code 0", "job @ left with exit code 137");
    check("job @ left, rc 0", "job @ left, rc 137"); // no keyword: the guard of values sees it
    check(r#"{"msg":"job left","id":"@","exit_code":0}"#, r#"{"msg":"job left","id":"@","exit_code":137}"#);
    check(r#"{"msg":"job left","id":"@","n":1}"#, r#"{"n":1,"id":"@","error":"killed","msg":"job left"}"#);
    check(r#"{"msg":"job left with rc 0","id":"@"}"#, r#"{"id":"@","msg":"job left with rc 137"}"#);
    check("level=info msg=\"job left\" id=@ status=0", "level=info msg=\"job left\" id=@ status=9");
    check(r#"{"level":30,"msg":"job left","id":@}"#, r#"{"level":50,"msg":"job left","id":@}"#);
}

#[test]
fn keys_in_another_order_are_the_same_template() {
    let mut world = World::new(Collapse::Always, Limits::default());
    for number in 0..20 {
        let text = match number % 2 {
            0 => format!(r#"{{"level":"info","msg":"served","id":{number}}}"#),
            _ => format!(r#"{{"id":{number},"extra":"x","msg":"served","level":"info"}}"#),
        };
        world.line(f64::from(number), &text);
    }
    world.finish(ClosedBy::End);
    assert_eq!((world.verbatim(), world.of("summary").len()), (5, 2), "one episode, two windows");
}

#[test]
fn a_family_survives_a_restart() {
    let mut old = attack(Limits::default(), 50, 20);
    let mut changes = Changes::default();
    old.engine.checkpoint(old.now(), &mut changes);
    old.collect();
    let open: Lines = changes.episodes.iter().map(|episode| episode.count).sum();
    assert!(open > Lines(0));
    let (engine, complaints) = Engine::restore(Options::default(), changes, old.now());
    assert_eq!(complaints, Vec::<String>::new());
    let mut new = World { engine, records: Vec::new(), ..old };
    let source = Source { name: "gateway".into(), format: Format::Docker, ..Source::default() };
    new.origin = new.engine.open(source);
    for user in 0..20 {
        new.line(31.0, &format!("Invalid user {} from 10.0.0.7", name(user)));
        new.line(31.0, &format!("Invalid user {} from 10.0.0.8", name(user)));
    }
    assert_eq!(new.verbatim(), 20, "first lines, and nothing else");
    new.finish(ClosedBy::End);
    let told: u64 = new.summaries().iter().map(|(count, _, _)| count).sum();
    assert_eq!(Lines(told), open + Lines(20), "the window went on");
    assert_eq!(squall(new.of("summary")[0], "pattern"), "Invalid user <*> from <*>");
}

#[test]
fn a_crowded_table_loses_no_count() {
    let limits = Limits { templates_max: SEEDS + 4, novelty_per_second: 100_000, ..Limits::default() };
    let mut world = attack(limits, 60, 10);
    world.finish(ClosedBy::End);
    let told: u64 = world.summaries().iter().map(|(count, _, _)| count).sum();
    assert_eq!(told + world.verbatim() as u64, 600);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    /// Whatever comes in whatever order into however small a table: each line is told once, and the first line of each
    /// text without variables is told word for word.
    #[test]
    fn nothing_is_lost_and_nothing_new_is_hidden(
        lines in proptest::collection::vec((0u32..40, 0u32..3, 0u32..4), 1..400),
        room in 1usize..40,
        always in any::<bool>(),
    ) {
        let limits = Limits { templates_max: room, novelty_per_second: 100_000, ..Limits::default() };
        let collapse = if always { Collapse::Always } else { Collapse::Storms };
        let mut engine = Engine::new(Options { storm: limits, ..Options::default() });
        let origin =
            engine.open(Source { name: "s".into(), format: Format::Plain, folding: collapse.into(), ..Source::default() });
        let (mut offset, mut seen, mut records) = (0, HashSet::new(), Vec::new());
        for (user, kind, word) in lines {
            let what = ["came", "went", "is failing"][kind as usize];
            let text = format!("the user {} from host {} {what} today", name(user), name(word));
            let bytes = format!("{text}\n");
            engine.push(Chunk { origin, offset, bytes: bytes.as_bytes() }, Now::default());
            offset += bytes.len() as u64;
            let batch = engine.take_batch(Default::default());
            let parsed = batch.iter().map(|(_, record)| serde_json::from_slice::<Value>(record).expect("JSON"));
            let parsed: Vec<Value> = parsed.collect();
            if seen.insert(text.clone()) {
                prop_assert!(parsed.iter().any(|record| squall(record, "kind") == "line" && record["message"] == *text));
            }
            records.extend(parsed);
        }
        engine.finish(ClosedBy::End, Now::default());
        let ledger = engine.ledger();
        prop_assert_eq!((ledger.conservation_error, ledger.lines_open), (0, Lines(0)));
    }
}

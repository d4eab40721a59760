//! What is no loop, and must not be told as one.

use super::{Dice, World, world};
use crate::engine::storm::window::ClosedBy;

/// Constant texts without a word of the lexicon. They are errors, or they would not be told as a loop anyway.
const PLAIN: [&str; 10] = [
    "ERROR alpha done",
    "ERROR bravo served",
    "ERROR charlie stored",
    "ERROR delta sent",
    "ERROR echo received",
    "ERROR foxtrot parsed",
    "ERROR golf indexed",
    "ERROR hotel written",
    "ERROR india merged",
    "ERROR juliet sorted",
];

/// Lines in random order, each template with its weight, 40 a second.
fn mixed(weights: &[f64], seed: u64, lines: u32) -> World {
    let (mut dice, mut world) = (Dice::new(seed), world());
    let total: f64 = weights.iter().sum();
    for line in 0..lines {
        let mut drawn = dice.roll() * total;
        let at = weights.iter().position(|weight| {
            drawn -= weight;
            drawn < 0.0
        });
        world.line(f64::from(line) * 0.025, PLAIN[at.unwrap_or(0)]);
    }
    world.finish(ClosedBy::End);
    world
}

#[test]
fn random_mixes_are_no_loops() {
    for seed in 0..5 {
        for templates in 2..=10 {
            let world = mixed(&vec![1.0; templates], seed, 1_500);
            assert!(!world.summaries().is_empty(), "they storm, so they were watched");
            assert_eq!(world.loops().len(), 0, "{templates} templates, seed {seed}: {:#?}", world.loops());
        }
        let world = mixed(&[8.0, 4.0, 2.0, 1.0, 1.0], seed, 3_000);
        assert_eq!(world.loops().len(), 0, "8:4:2:1:1, seed {seed}: {:#?}", world.loops());
    }
}

#[test]
fn what_comes_at_random_is_no_loop_of_one() {
    for seed in 0..20 {
        let (mut dice, mut world, mut second) = (Dice::new(seed), world(), 0.0);
        for _ in 0..400 {
            second += -dice.roll().max(1e-9).ln() * 0.8;
            world.line(second, "client connection closed by peer");
        }
        world.finish(ClosedBy::End);
        assert_eq!(world.loops().len(), 0, "seed {seed}: {:#?}", world.loops());
    }
}

#[test]
fn daily_work_in_turns_is_no_loop() {
    #[track_caller]
    fn check(level: &str, loops: u64) {
        let mut world = world();
        for round in 0..200 {
            for (step, text) in ["assigned task", "running task", "finished task"].into_iter().enumerate() {
                let second = f64::from(round) * 0.05 + step as f64 * 0.01;
                world.line(second, &format!("{level} {text} {round}"));
            }
        }
        world.finish(ClosedBy::End);
        assert!(!world.summaries().is_empty(), "they storm, so they were watched");
        assert_eq!(world.engine.ledger().loops, loops, "{level}: {:#?}", world.loops());
    }
    check("INFO", 0);
    check("ERROR", 1); // but it is one where it is trouble
}

#[test]
fn a_burst_is_no_loop() {
    let mut world = world();
    for line in 0..200 {
        world.line(f64::from(line) * 0.001, &format!("connection closed for client {line}"));
    }
    world.finish(ClosedBy::End);
    assert_eq!(world.loops().len(), 0, "{:#?}", world.loops());
}

#[test]
fn a_regular_line_that_speaks_of_nothing_is_no_loop() {
    let mut world = world();
    for tick in 0..200 {
        world.line(f64::from(tick) * 10.0, &format!("pool: timeouts=0 retries=0 size={tick}"));
        world.line(f64::from(tick) * 10.0 + 1.0, "GET /health 200");
    }
    world.finish(ClosedBy::End);
    assert_eq!(world.loops().len(), 0, "{:#?}", world.loops());
}

/// Logs of several servers in one file, of which all but the first are out of time: their clock is held where it was, and
/// nothing says that the lines took turns for longer than a moment.
#[test]
fn lines_whose_clock_stands_still_are_no_loop() {
    let mut world = world();
    for _ in 0..40 {
        world.line(5.0, "closed socket connection for client 10.0.0.1");
        world.line(5.0, "connection to 10.0.0.1 refused, retrying");
    }
    world.finish(ClosedBy::End);
    assert_eq!(world.loops().len(), 0, "{:#?}", world.loops());
}

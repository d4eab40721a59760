//! Verdicts on policies of which the truth is known.

use super::{Dice, world};
use crate::engine::cycle::backoff;
use crate::engine::cycle::sequence::Sequence;
use crate::engine::storm::window::ClosedBy;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    None,
    Constant,
    ConstantWithJitter,
    Linear,
    Exponential,
    FullJitter,
    EqualJitter,
    DecorrelatedJitter,
}

impl Policy {
    fn verdict(self) -> &'static str {
        match self {
            Policy::None => "none",
            Policy::Constant => "constant",
            Policy::ConstantWithJitter => "jittered",
            Policy::Linear => "linear",
            _ => "exponential",
        }
    }

    /// The intervals between `count + 1` tries: the wait, and the work of each try. Jitter as AWS defines it.
    fn intervals(self, count: usize, dice: &mut Dice) -> Vec<f64> {
        let base: f64 = [0.1, 0.25, 0.5, 1.0, 2.0][dice.below(5)];
        let cap: f64 = base * [16.0, 32.0, 64.0, 128.0][dice.below(4)];
        let work: f64 = [0.0, 0.005, 0.05, 0.2][dice.below(4)];
        let mut last = base;
        let mut interval = |at: usize| {
            let grown = cap.min(base * 2f64.powi(at.min(60) as i32));
            let wait = match self {
                Policy::None => 0.0,
                Policy::Constant => base.max(1.0),
                Policy::ConstantWithJitter => (base + 1.0) * dice.between(0.5, 1.5),
                Policy::Linear => cap.min(base * (at + 1) as f64),
                Policy::Exponential => grown,
                Policy::FullJitter => dice.between(0.0, grown),
                Policy::EqualJitter => grown / 2.0 + dice.between(0.0, grown / 2.0),
                Policy::DecorrelatedJitter => {
                    last = cap.min(dice.between(base, last * 3.0));
                    last
                }
            };
            let work = if self == Policy::None { work.max(0.002) } else { work };
            (wait + work * dice.between(0.7, 1.3) + dice.normal(0.002).abs()).max(1e-4)
        };
        (0..count).map(&mut interval).collect()
    }
}

/// What is said of intervals whose beginning was seen.
fn judged(intervals: &[f64]) -> &'static str {
    let mut sequence = Sequence::default();
    intervals.iter().for_each(|&interval| sequence.push(interval as f32));
    backoff::judge(&sequence, true).verdict.as_str()
}

/// What a loop record says in the end when a program spaces its tries so.
fn told(intervals: &[f64]) -> String {
    let (mut world, mut second) = (world(), 100.0);
    let mut iteration = |second: f64| {
        world.line(second, "ERROR connection to 10.0.0.1:5432 refused");
        world.line(second + 0.000_05, "reconnecting");
    };
    iteration(second);
    for interval in intervals {
        second += interval;
        iteration(second);
    }
    world.finish(ClosedBy::End);
    world.loops().last().and_then(|told| told["verdict"].as_str()).unwrap_or("no loop").to_owned()
}

/// The share of seeds for which a policy gets its name, with so many intervals.
fn right(policy: Policy, count: usize) -> f64 {
    const SEEDS: u64 = 200;
    let is_right = |seed: &u64| {
        let intervals = policy.intervals(count, &mut Dice::new(*seed * 31 + count as u64));
        let judged = judged(&intervals);
        // The way through the engine is long, so not all of them take it.
        if *seed < 8 {
            // What is over in a moment is a burst.
            let lasts = intervals.iter().sum::<f64>() >= 0.2;
            assert_eq!(
                told(&intervals),
                if lasts { judged } else { "no loop" },
                "{policy:?}, seed {seed}: {intervals:?}"
            );
        }
        judged == policy.verdict()
    };
    (0..SEEDS).filter(is_right).count() as f64 / SEEDS as f64
}

#[test]
fn policies_get_their_names() {
    #[track_caller]
    fn check(policy: Policy, at_eight: f64, at_twenty: f64) {
        let found = (right(policy, 8), right(policy, 20));
        eprintln!("{policy:?}: {:.1} % at 8 intervals, {:.1} % at 20", found.0 * 100.0, found.1 * 100.0);
        assert!(found.0 >= at_eight && found.1 >= at_twenty, "{policy:?}: {found:?}");
    }
    // Certain (`templates.md` 4d).
    check(Policy::None, 0.95, 0.95);
    check(Policy::Constant, 0.95, 0.95);
    check(Policy::ConstantWithJitter, 0.95, 0.95);
    check(Policy::Linear, 0.95, 0.95);
    check(Policy::Exponential, 0.95, 0.95);
    // Not certain: floors under what was measured.
    check(Policy::FullJitter, 0.85, 0.77);
    check(Policy::EqualJitter, 0.91, 0.87);
    check(Policy::DecorrelatedJitter, 0.61, 0.68);
}

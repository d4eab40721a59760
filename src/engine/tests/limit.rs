//! The emergency limit: what it holds back is counted, what is new passes, and it ends as it should.

use std::time::Duration;

use proptest::prelude::*;

use super::super::frame::Format;
use super::super::storm::throttle::LimitOrder;
use super::super::storm::window::ClosedBy;
use super::super::storm::{Collapse, Limits};
use super::super::{Options, Source};
use super::{World, restart};
use crate::units::Lines;

fn order(per_second: u32, burst: u32, seconds: u64) -> LimitOrder {
    LimitOrder { per_second, burst, span: Duration::from_secs(seconds) }
}

/// `lines` different lines of one template, all at once.
fn served(world: &mut World, second: u64, lines: u32) {
    (0..lines).for_each(|n| world.line(second as f64, &format!("request {n} served")));
}

/// Lines that summaries say were held back.
fn limited(world: &World) -> u64 {
    world.of("summary").iter().filter_map(|told| told["squall"]["limited"].as_u64()).sum()
}

#[test]
fn what_is_held_back_is_counted_and_what_is_new_passes() {
    let mut world = World::new(Collapse::Storms, Limits::default());
    served(&mut world, 0, 1);
    world.engine.set_limit(order(10, 5, 60), world.now());
    world.collect();
    assert_eq!(world.of("notice")[0]["squall"]["reason"], "limit");
    // Below any storm: without the limit all of them would be sent.
    served(&mut world, 1, 50);
    assert_eq!(world.verbatim(), 1 + 5, "the burst");
    world.line(1.0, "the disk is on fire");
    assert_eq!(world.verbatim(), 7, "never seen before");
    let view = world.engine.limit(world.now()).expect("there is one");
    assert_eq!((view.held, view.per_second, view.is_returning), (Lines(45), 10.0, false));
    assert_eq!(world.engine.ledger().lines_limited, Lines(45));
    world.wait(10);
    assert_eq!((world.summaries(), limited(&world)), (vec![(45, "interval", "open")], 45));
    world.finish(ClosedBy::End);
}

#[test]
fn streams_that_are_never_folded_are_not_limited() {
    let mut world = World::new(Collapse::Never, Limits::default());
    world.engine.set_limit(order(1, 1, 60), world.now());
    served(&mut world, 0, 50);
    assert_eq!(world.verbatim(), 50, "an audit log is whole");
    world.finish(ClosedBy::End);
}

#[test]
fn it_is_over_when_its_time_is_and_nothing_is_held_back_any_more() {
    let mut world = World::new(Collapse::Storms, Limits::default());
    served(&mut world, 0, 1);
    world.engine.set_limit(order(1, 1, 30), world.now());
    let returning =
        |world: &World| world.engine.limit(world.now()).map(|limit| (limit.is_returning, limit.per_second));
    world.wait(29);
    assert_eq!(returning(&world), Some((false, 1.0)));
    world.wait(1);
    assert_eq!(returning(&world), Some((true, 2.0)));
    served(&mut world, 30, 10);
    world.wait(10);
    assert_eq!(returning(&world), Some((true, 4.0)), "it still bound");
    world.wait(10);
    assert_eq!(returning(&world), None);
    let told: Vec<&str> = world.of("notice").iter().filter_map(|told| told["message"].as_str()).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[2].starts_with("the emergency limit has ended; it held back"), "{told:?}");
    world.finish(ClosedBy::End);
}

#[test]
fn it_can_be_lifted_gently_and_at_once() {
    let mut world = World::new(Collapse::Storms, Limits::default());
    assert!(!world.engine.lift_limit(world.now()), "there is none");
    world.engine.set_limit(order(7, 1, 600), world.now());
    assert!(world.engine.lift_limit(world.now()));
    assert_eq!(world.engine.limit(world.now()).map(|limit| limit.per_second), Some(14.0));
    assert!(world.engine.lift_limit(world.now()));
    assert_eq!(world.engine.limit(world.now()), None);
    served(&mut world, 1, 50);
    assert_eq!(world.verbatim(), 50);
    world.finish(ClosedBy::End);
}

#[test]
fn a_limit_and_what_it_has_held_back_survive_a_kill() {
    let source = Source { name: "web".into(), format: Format::Docker, stays: true, ..Source::default() };
    let mut world = restart::World::new(Options::default(), source, Vec::new());
    world.write(0.0, "request 0 served");
    world.read_all();
    world.engine.set_limit(order(10, 5, 60), world.now);
    (1..=50).for_each(|n| world.write(1.0, &format!("request {n} served")));
    world.read_all();
    assert_eq!(world.engine.ledger().lines_limited, Lines(45));
    world.commit();
    world.restart(10);
    let view = world.engine.limit(world.now).expect("it is still there");
    assert_eq!((view.order.per_second, view.left), (10, Duration::from_secs(50)));
    (51..=60).for_each(|n| world.write(11.0, &format!("request {n} served")));
    world.read_all();
    assert_eq!(world.engine.ledger().lines_limited, Lines(50));
    world.wait(50);
    assert!(world.engine.limit(world.now).is_some_and(|limit| limit.is_returning));
    world.commit();
    world.restart(60);
    assert!(world.engine.limit(world.now).is_some(), "nobody has seen whether it would still bind");
    world.wait(0);
    world.wait(10);
    assert_eq!(world.engine.limit(world.now), None);
    world.finish();
    let told: u64 = world.of("summary").iter().filter_map(|told| told["limited"].as_u64()).sum();
    assert_eq!((told, world.engine.ledger().lines_limited), (50, Lines(50)));
}

#[derive(Clone, Debug)]
enum Step {
    Lines(u8, u8),
    Wait(u8),
    Set(u32, u32, u64),
    Lift,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..6, 1u8..40).prop_map(|(kind, lines)| Step::Lines(kind, lines)),
        3 => (0u8..40).prop_map(Step::Wait),
        2 => (1u32..50, 1u32..20, 1u64..60).prop_map(|(rate, burst, span)| Step::Set(rate, burst, span)),
        1 => Just(Step::Lift),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is set and lifted, and whenever: each line is sent or counted once, and a new one is never held back.
    #[test]
    fn the_books_balance_under_any_limits(steps in proptest::collection::vec(step(), 0..60)) {
        let mut world = World::new(Collapse::Storms, Limits { enter: 30, ..Limits::default() });
        let (mut second, mut sent, mut fresh) = (0u64, 0u64, 0u64);
        for step in steps {
            match step {
                Step::Lines(0, _) => {
                    let word: String = (0..5).map(|at| char::from(b'g' + (fresh / 20u64.pow(at) % 20) as u8)).collect();
                    world.line(second as f64, &format!("the {word} has never been seen"));
                    (sent, fresh) = (sent + 1, fresh + 1);
                }
                Step::Lines(kind, lines) => {
                    for n in 0..lines {
                        world.line(second as f64, &format!("job{} step {} is done", ["", " a", " bb", " cc", " dd", " ee"][usize::from(kind)], n % 7));
                    }
                    sent += u64::from(lines);
                }
                Step::Wait(seconds) => {
                    second += u64::from(seconds);
                    world.wait(seconds.into());
                }
                Step::Set(rate, burst, span) => world.engine.set_limit(order(rate, burst, span), world.now()),
                Step::Lift => {
                    world.engine.lift_limit(world.now());
                }
            }
            let ledger = world.engine.ledger();
            prop_assert_eq!((ledger.conservation_error, ledger.lines_in), (0, Lines(sent)));
            prop_assert!(ledger.lines_limited <= ledger.lines_summarised + ledger.lines_open);
        }
        let limited_ever = world.engine.ledger().lines_limited;
        world.finish(ClosedBy::End);
        let counted: u64 = world.summaries().iter().map(|(count, _, _)| count).sum();
        prop_assert_eq!(world.verbatim() as u64 + counted, sent);
        prop_assert_eq!(limited(&world), limited_ever.0, "each is told");
        let new = world.of("line").iter().filter(|told| told["message"].as_str().is_some_and(|text| text.ends_with("seen"))).count();
        prop_assert_eq!(new as u64, fresh);
    }
}

//! Pressure: detail goes first, a count never, and nothing new is hidden.

use super::super::storm::window::ClosedBy;
use super::super::storm::{Collapse, Limits, Pressure};
use super::World;
use crate::units::Lines;

/// Forty lines of two kinds and one of a third, all under `pressure`.
#[track_caller]
fn check(collapse: Collapse, pressure: Pressure, verbatim: usize, summarised: u64, shed: u64) {
    let mut world = World::new(collapse, Limits::default());
    world.engine.set_pressure(pressure);
    for tick in 0..20 {
        world.line(f64::from(tick), "cache warmed");
        world.line(f64::from(tick), &format!("request {tick} served"));
    }
    world.line(20.0, "never seen before");
    world.finish(ClosedBy::End);
    let counted: u64 = world.summaries().iter().map(|(count, _, _)| count).sum();
    let notices = world.of("notice");
    let noticed: u64 = notices.iter().filter_map(|told| told["squall"]["count"].as_u64()).sum();
    assert_eq!(
        (world.verbatim(), counted, noticed),
        (verbatim, summarised, shed),
        "{collapse:?} {pressure:?}"
    );
    assert!(notices.iter().all(|told| told["squall"]["reason"] == "shed"));
    let last = world.of("line").last().map(|told| told["message"].clone());
    assert_eq!(last, Some("never seen before".into()));
}

#[test]
fn each_stage_gives_up_more() {
    use Collapse::{Always, Never, Repeats, Storms};
    check(Storms, Pressure::None, 26, 15, 0);
    check(Storms, Pressure::Few, 22, 19, 0);
    check(Storms, Pressure::Count, 3, 38, 0);
    check(Storms, Pressure::Shed, 3, 0, 38);
    check(Repeats, Pressure::Few, 22, 19, 0);
    check(Repeats, Pressure::Count, 3, 38, 0);
    check(Always, Pressure::Few, 3, 38, 0);
    // An audit log would rather wait.
    for pressure in [Pressure::Few, Pressure::Count, Pressure::Shed] {
        check(Never, pressure, 41, 0, 0);
    }
}

#[test]
fn a_new_value_passes_in_every_stage() {
    for pressure in [Pressure::Few, Pressure::Count, Pressure::Shed] {
        let mut world = World::new(Collapse::Storms, Limits::default());
        for tick in 0..200 {
            world.line(f64::from(tick) * 0.01, "upstream failed on shard 71");
        }
        world.engine.set_pressure(pressure);
        let before = world.verbatim();
        world.line(2.1, "upstream failed on shard 79");
        assert_eq!(world.verbatim(), before + 1, "{pressure:?}");
        world.finish(ClosedBy::End);
    }
}

#[test]
fn windows_stay_open_when_pressure_comes_and_goes() {
    let mut world = World::new(Collapse::Storms, Limits::default());
    for (second, pressure) in [Pressure::None, Pressure::Shed, Pressure::Few, Pressure::Count, Pressure::None]
        .into_iter()
        .enumerate()
    {
        world.engine.set_pressure(pressure);
        for tenth in 0..10 {
            world.line(second as f64 + f64::from(tenth) / 10.0, "connection timeout");
        }
        assert_eq!(world.summaries(), []);
    }
    assert_eq!(world.engine.ledger().lines_open, Lines(45));
    world.wait(10);
    assert_eq!(world.summaries(), [(35, "interval", "open")]);
    let notices = world.of("notice");
    assert_eq!((notices.len(), &notices[0]["squall"]["count"]), (1, &10.into()));
    assert_eq!(notices[0]["squall"]["examples"].as_array().map(Vec::len), Some(3));
    assert!(notices[0]["message"].as_str().is_some_and(|text| text.starts_with("10 lines")), "{notices:?}");
    world.finish(ClosedBy::End);
}

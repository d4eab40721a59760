//! Rules made by hand, and what a naive implementation says of them.

use super::rule::{By, Compare, Filter, Limit, Measure, Rule, Text, When};
use super::*;
use proptest::prelude::*;

/// A rule that fires at once and resolves at once.
pub(in crate::engine) fn rule(name: &str, when: When) -> Rule {
    Rule {
        name: name.into(),
        group: "test".into(),
        when,
        text: "as the test says".into(),
        hold: Duration::ZERO,
        keep_firing_for: Duration::ZERO,
        labels: Box::default(),
        annotations: Box::default(),
    }
}

pub(in crate::engine) fn contains(text: &str) -> Filter {
    Filter::Message(Text::Contains(Box::from(text.as_bytes())))
}

pub(in crate::engine) fn matches(pattern: &str) -> Filter {
    Filter::Message(Text::Matches(Box::new(regex::bytes::Regex::new(pattern).expect("a pattern"))))
}

/// `count(filter) >= limit within seconds`.
pub(in crate::engine) fn count(filter: Filter, limit: f64, seconds: u64) -> When {
    When::Measured {
        measure: Measure::Count(filter),
        compare: Compare::AtLeast,
        limit: Limit::Value(limit),
        within: Duration::from_secs(seconds),
        by: By::All,
    }
}

/// Time since the epoch, and on the arrival clock.
fn seen<'a>(text: &'a [u8], stream: &'a Arc<str>, nanos: i64) -> Seen<'a> {
    let stream_hash = stream.bytes().map(u64::from).sum();
    Seen { text, stream, stream_hash, time: Timestamp(nanos), arrival: Monotonic(nanos.unsigned_abs()) }
}

/// (time, whether it resolved) of everything that was told.
fn turns(alerts: &mut Alerts) -> Vec<(i64, bool)> {
    alerts.take_news(&[]).iter().map(|view| (view.at.0, view.is_resolved)).collect()
}

/// The same by a list of all times.
fn naive(times: &[i64], limit: usize, window: i64, end: i64) -> Vec<(i64, bool)> {
    // What leaves at the very time of a line leaves first.
    let mut events: Vec<(i64, bool)> = times.iter().map(|time| (*time, true)).collect();
    events.extend(times.iter().map(|time| (time + window, false)).filter(|(time, _)| *time <= end));
    events.sort_unstable();
    let (mut inside, mut told, mut fires) = (0, Vec::new(), false);
    for (time, is_line) in events {
        if is_line {
            inside += 1;
        } else {
            inside -= 1;
        }
        if (inside >= limit) != fires {
            fires = !fires;
            told.push((time, !fires));
        }
    }
    told
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn as_if_all_times_were_kept(
        gaps in prop::collection::vec(prop_oneof![0i64..2_000, 0i64..2_000_000_000, 0i64..90_000_000_000], 1..200),
        limit in 1usize..30,
        by_deadlines in any::<bool>(),
    ) {
        let stream = Arc::from("a");
        let mut alerts = Alerts::new(&[rule("R", count(contains("x"), limit as f64, 60))], 1, 8);
        let (mut now, mut times, mut told) = (1_000_000_000, Vec::new(), Vec::new());
        for gap in gaps {
            now += gap;
            times.push(now);
            // Whether somebody looks between the lines makes no difference.
            if let Some(due) = alerts.deadline().filter(|due| by_deadlines && due.0 < now.unsigned_abs()) {
                alerts.on_deadline(due, Timestamp(now));
            }
            alerts.on_line(&seen(b"x", &stream, now));
            told.extend(turns(&mut alerts));
        }
        let end = now + 120_000_000_000;
        alerts.on_deadline(Monotonic(end.unsigned_abs()), Timestamp(end));
        told.extend(turns(&mut alerts));
        prop_assert_eq!(told, naive(&times, limit, 60_000_000_000, end));
        prop_assert_eq!(alerts.deadline(), None, "nothing is left to wait for");
    }

    #[test]
    fn many_lines_agree_within_a_sixtieth(
        gaps in prop::collection::vec(0i64..20_000_000, 1_500..3_000),
        limit in 200u32..1_000,
    ) {
        let stream = Arc::from("a");
        let within = |seconds: f64| {
            let mut when = count(contains("x"), f64::from(limit), 0);
            if let When::Measured { within, .. } = &mut when {
                *within = Duration::from_secs_f64(seconds);
            }
            when
        };
        let mut alerts = Alerts::new(&[rule("R", within(6.0))], 1, 8);
        let (mut now, mut times, mut fired) = (1_000_000_000, Vec::new(), None);
        for gap in gaps {
            now += gap;
            times.push(now);
            alerts.on_line(&seen(b"x", &stream, now));
            fired = fired.or(turns(&mut alerts).first().map(|(at, _)| *at));
        }
        let first = |window: i64| naive(&times, limit as usize, window, now).first().map(|(at, _)| *at);
        // Not before a window that is a sixtieth longer would have fired, and not after one that is as much shorter.
        let (early, late) = (first(6_100_000_000), first(5_900_000_000));
        prop_assert!(fired >= early || fired.is_none(), "{:?} before {:?}", fired, early);
        prop_assert!(late.is_none() || (fired.is_some() && fired <= late), "{:?} after {:?}", fired, late);
    }

    #[test]
    fn any_times_may_come(
        lines in prop::collection::vec((any::<i64>(), 0u64..u64::MAX / 2, any::<bool>()), 0..60),
    ) {
        let stream = Arc::from("a");
        let absent = When::Absent { filter: contains("x"), during: Duration::from_secs(5), by: By::Stream };
        let rules = [rule("R", count(contains("x"), 2.0, 60)), rule("A", absent)];
        let mut alerts = Alerts::new(&rules, 1, 8);
        for (time, arrival, tick) in lines {
            let line = seen(b"x", &stream, 0);
            let line = Seen { time: Timestamp(time), arrival: Monotonic(arrival), ..line };
            if tick { alerts.on_deadline(line.arrival, line.time) } else { alerts.on_line(&line) }
        }
        let told = alerts.take_news(&[]);
        prop_assert_eq!(told.iter().filter(|view| !view.is_resolved).count() as u64, alerts.ever());
    }
}

#[test]
fn streams_beyond_the_limit_are_judged_together() {
    let when = match count(contains("x"), 2.0, 60) {
        When::Measured { measure, compare, limit, within, .. } => {
            When::Measured { measure, compare, limit, within, by: By::Stream }
        }
        other => other,
    };
    let mut alerts = Alerts::new(&[rule("R", when)], 1, 8);
    for number in 0..STREAMS_MAX + 2 {
        let stream = Arc::from(format!("stream-{number}"));
        let line = Seen { stream_hash: number as u64, ..seen(b"x", &stream, 5) };
        alerts.on_line(&line);
    }
    let told = alerts.take_news(&[]);
    assert_eq!(told.len(), 1, "the two that found no room");
    assert_eq!(told[0].stream.as_deref(), Some("(others)"));
    assert!(alerts.size() < 2 << 20, "{} bytes", alerts.size());
    // An hour later nothing is left of them, and there is room.
    let hour = 3_600_000_000_000;
    alerts.on_deadline(Monotonic(hour as u64), Timestamp(hour));
    for _ in 0..2 {
        alerts.on_line(&Seen { stream_hash: 99_999, ..seen(b"x", &Arc::from("late"), hour) });
    }
    let told = alerts.take_news(&[]);
    assert_eq!(told.last().and_then(|view| view.stream.as_deref()), Some("late"));
}

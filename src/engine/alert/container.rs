//! What containers use, held against the rules that ask for it (`resource(cpu > 50%)`).
//!
//! In: samples of all containers that are watched, at a pace ([`Alerts::on_resources`]). Each container is judged by itself.
//! A series exists only while its rule is pending or fires, so calm containers cost a comparison.
//! Its clock is the wall clock of the samples, and it moves with them only: between two samples nothing is known, so
//! nothing fires or resolves then. The time between two processes does not count towards `for`.
//! Limit: `STREAMS_MAX` containers a rule; the rest is not judged until others are calm.
//! Not here: where the numbers come from (`resources`).

use std::collections::HashSet;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::rule::{Resource, When};
use super::series::{State, Turn};
use super::watch::{Watch, terms};
use super::{Alerts, Trigger, note};
use crate::units::Now;

/// A container, as people call it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Container {
    /// Its full id.
    pub id: Box<str>,
    /// Its name; empty when unknown.
    pub name: Box<str>,
}

/// Digits of an id that people read.
const SHORT_ID: usize = 12;

impl Container {
    /// Its name, or the digits of its id that `docker ps` shows.
    pub fn shown(&self) -> &str {
        match &*self.name {
            "" => self.id.get(..SHORT_ID).unwrap_or(&self.id),
            name => name,
        }
    }

    /// The container whose id the name of a stream ends in.
    pub(super) fn of_stream(stream: &str) -> Option<Container> {
        let id = stream.rsplit('/').next()?;
        let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then(|| Container { id: id.into(), name: Box::default() })
    }
}

/// What a container uses now.
#[derive(Clone, Debug, PartialEq)]
pub struct Used {
    /// What its streams' names begin with: `<node>/<id>`.
    pub stream: Arc<str>,
    /// Whose it is.
    pub container: Arc<Container>,
    /// The share of one core that it has used since the sample before; `None` where that is not known.
    pub cpu: Option<f64>,
    /// Its memory in bytes; `None` where that is not known.
    pub memory: Option<f64>,
}

impl Alerts {
    /// Takes in what all watched containers use. One that is missing is gone: what was true of it is not true any more.
    pub fn on_resources(&mut self, all: &[Used], now: Now) {
        let all: Vec<(u64, &Used)> = all.iter().map(|used| (xxh3_64(used.stream.as_bytes()), used)).collect();
        let there: HashSet<u64> = all.iter().map(|(hash, _)| *hash).collect();
        let Alerts { watches, news, turns, ever, .. } = self;
        for (index, watch) in watches.iter_mut().enumerate() {
            if watch.trigger != Trigger::Resource {
                continue;
            }
            // What has ended was told before.
            watch.forget(|judged| judged.series.state == State::Inactive);
            for (hash, used) in &all {
                if let Some(place) = watch.measure(*hash, used, now, ever, turns) {
                    note(index as u32, place, turns, news);
                }
            }
            for place in watch.places_beside(&there) {
                watch.set(place, None, now, ever, turns);
                note(index as u32, place, turns, news);
            }
        }
    }
}

impl Watch {
    /// Judges a sample. Gives the place of its series, if it has one now.
    fn measure(
        &mut self,
        hash: u64,
        used: &Used,
        now: Now,
        ever: &mut u64,
        turns: &mut Vec<Turn>,
    ) -> Option<usize> {
        let When::Resource { resource, compare, limit, container } = &self.rule.when else { return None };
        let value = match resource {
            Resource::Cpu => used.cpu?,
            Resource::Memory => used.memory?,
        };
        let is_meant = container.as_ref().is_none_or(|test| {
            let Container { id, name } = &*used.container;
            (test.text.is_true_of(name) || test.text.is_true_of(id)) != test.is_not
        });
        let place = match self.place_of(hash) {
            Some(place) => place,
            None if is_meant && compare.holds(value, *limit) => {
                self.place_new(hash, &used.stream, (now.wall, now.arrival))?
            }
            None => return None,
        };
        self.series[place].container = Some(Arc::clone(&used.container));
        self.set(place, is_meant.then_some(value), now, ever, turns);
        Some(place)
    }

    fn set(&mut self, place: usize, value: Option<f64>, now: Now, ever: &mut u64, turns: &mut Vec<Turn>) {
        let Watch { rule, series, .. } = self;
        let series = &mut series[place].series;
        series.set(&mut terms(rule, ever), value, (Some(now.wall), now.arrival), turns);
        series.keep_time();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::alert::AlertView;
    use crate::engine::alert::kept::{KeptRule, KeptSeries, Whose};
    use crate::engine::alert::parse::parse;
    use crate::engine::alert::rule::Rule;
    use crate::engine::alert::template::Template;
    use crate::engine::alert::tests::rule;
    use crate::units::{Monotonic, Timestamp};

    fn asked(name: &str, when: &str, hold: u64, keep: u64) -> Rule {
        let summary = Template::parse("{{ container }}: {{ value }} > {{ threshold }}").expect("a template");
        Rule {
            hold: Duration::from_secs(hold),
            keep_firing_for: Duration::from_secs(keep),
            annotations: [("summary".into(), summary)].into(),
            ..rule(name, parse(when).expect("a rule"))
        }
    }

    fn now(seconds: u64) -> Now {
        let nanos = seconds * 1_000_000_000;
        Now { arrival: Monotonic(nanos), wall: Timestamp(nanos as i64) }
    }

    fn used(name: &str, cpu: Option<f64>, memory: f64) -> Used {
        let id = format!("{name:0>64}");
        let stream = format!("node/{id}").into();
        Used {
            stream,
            container: Arc::new(Container { id: id.into(), name: name.into() }),
            cpu,
            memory: Some(memory),
        }
    }

    /// (rule, container, second, whether it has resolved) of everything that is told at this look.
    fn told(alerts: &mut Alerts, second: u64, all: &[Used]) -> Vec<(String, String, i64, bool)> {
        alerts.on_resources(all, now(second));
        let row = |view: &AlertView| {
            let container = view.container.as_ref().expect("a container");
            assert_eq!(view.stream.as_deref(), Some(&*format!("node/{}", container.id)));
            let stream = ("stream".into(), view.stream.as_deref().unwrap_or_default().into());
            assert!(view.labels.contains(&stream), "{:?}", view.labels);
            (view.name.to_string(), container.shown().to_owned(), view.at.seconds(), view.is_resolved)
        };
        alerts.take_news(&[]).iter().map(row).collect()
    }

    fn turn(rule: &str, container: &str, second: i64, is_resolved: bool) -> (String, String, i64, bool) {
        (rule.to_owned(), container.to_owned(), second, is_resolved)
    }

    #[test]
    fn each_container_is_judged_by_itself() {
        let rules =
            [asked("Cpu", "resource(cpu > 50%)", 30, 45), asked("Memory", "resource(memory > 2GB)", 0, 0)];
        let mut alerts = Alerts::new(&rules, 1, 8);
        let mut look = |second, a: f64, b: f64, memory| {
            told(&mut alerts, second, &[used("a", Some(a), memory), used("b", Some(b), 1.0)])
        };
        assert_eq!(look(0, 0.5, 0.1, 2e9), []);
        assert_eq!(look(15, 0.51, 0.1, 2e9), []);
        assert_eq!(look(30, 1.5, 0.9, 2e9 + 1.0), [turn("Memory", "a", 30, false)]);
        // Thirty seconds of the first, and the second was calm in between.
        assert_eq!(look(45, 0.51, 0.1, 2e9), [turn("Cpu", "a", 45, false), turn("Memory", "a", 45, true)]);
        assert_eq!(look(60, 0.4, 0.9, 0.0), []);
        assert_eq!(look(75, 0.4, 0.9, 0.0), []);
        assert_eq!(look(90, 0.6, 0.9, 0.0), [turn("Cpu", "b", 90, false)]);
        assert_eq!(look(105, 0.4, 0.9, 0.0), []);
        assert_eq!(look(135, 0.4, 0.9, 0.0), []);
        assert_eq!(look(150, 0.4, 0.9, 0.0), [turn("Cpu", "a", 150, true)]);
        assert_eq!(alerts.deadline(), None, "only samples move it");
    }

    #[test]
    fn what_is_told_has_units_and_names() {
        let rules =
            [asked("Cpu", "resource(cpu > 50%)", 0, 0), asked("Memory", "resource(memory > 2GiB)", 0, 0)];
        let mut alerts = Alerts::new(&rules, 1, 8);
        let nameless = Container { id: "0123456789abcdef".repeat(4).into(), name: Box::default() };
        let mut all = [used("gateway", Some(1.028), 10.23 * 1_073_741_824.0), used("b", Some(0.6), 0.0)];
        (all[1].stream, all[1].container) = ("node/x".into(), Arc::new(nameless));
        alerts.on_resources(&all, now(1));
        let summaries: Vec<String> =
            alerts.take_news(&[]).iter().map(|view| view.annotations[0].1.clone()).collect();
        let want = ["gateway: 102.8 % > 50 %", "0123456789ab: 60 % > 50 %", "gateway: 10.23 GiB > 2 GiB"];
        assert_eq!(summaries, want);
    }

    #[test]
    fn a_container_that_is_gone_resolves_and_is_forgotten() {
        let mut alerts = Alerts::new(&[asked("Cpu", "resource(cpu > 50%)", 0, 30)], 1, 8);
        assert_eq!(told(&mut alerts, 0, &[used("a", Some(1.0), 0.0)]), [turn("Cpu", "a", 0, false)]);
        // Not known is not calm.
        assert_eq!(told(&mut alerts, 15, &[used("a", None, 0.0)]), []);
        assert_eq!(told(&mut alerts, 30, &[]), []);
        assert_eq!(told(&mut alerts, 45, &[]), []);
        assert_eq!(told(&mut alerts, 60, &[]), [turn("Cpu", "a", 60, true)]);
        assert_eq!(told(&mut alerts, 75, &[]), []);
        assert_eq!(alerts.watches[0].series.len(), 0);
        let mut gone = 0;
        alerts.hand_out(now(80), &mut |_: Whose<'_>, _: &KeptSeries<'_>, _: Option<KeptRule<'_>>| gone += 1);
        assert_eq!(gone, 0, "it was never written down");
    }

    #[test]
    fn a_rule_may_name_its_containers() {
        #[track_caller]
        fn check(test: &str, want: &[&str]) {
            let mut alerts = Alerts::new(&[asked("R", &format!("resource(cpu > 1%{test})"), 0, 0)], 1, 8);
            let told =
                told(&mut alerts, 0, &[used("api-gateway", Some(1.0), 0.0), used("db", Some(1.0), 0.0)]);
            let names: Vec<&str> = told.iter().map(|(_, name, ..)| &**name).collect();
            assert_eq!(names, want, "{test}");
        }
        check("", &["api-gateway", "db"]);
        check(", container = \"db\"", &["db"]);
        check(", container != \"db\"", &["api-gateway"]);
        check(", container contains \"gate\"", &["api-gateway"]);
        check(", container =~ \"^api|^x\"", &["api-gateway"]);
        check(", container !~ \"a\"", &["db"]);
        // By its id, too.
        check(&format!(", container = \"{:0>64}\"", "db"), &["db"]);
    }

    #[test]
    fn the_number_of_series_is_limited() {
        let mut alerts = Alerts::new(&[asked("Cpu", "resource(cpu > 50%)", 0, 0)], 1, 8);
        let all = |cpu| -> Vec<Used> { (0..2_000).map(|n| used(&n.to_string(), Some(cpu), 0.0)).collect() };
        assert_eq!(told(&mut alerts, 0, &all(0.1)), []);
        assert!(alerts.size() < 10_000, "calm containers cost nothing: {} bytes", alerts.size());
        assert_eq!(told(&mut alerts, 15, &all(0.9)).len(), crate::engine::alert::STREAMS_MAX);
        assert_eq!(told(&mut alerts, 30, &all(0.1)).len(), crate::engine::alert::STREAMS_MAX);
        assert_eq!(told(&mut alerts, 45, &[]), []);
        assert_eq!(alerts.watches[0].series.len(), 0);
    }

    /// Rules that go on where others were handed out, `down` seconds later.
    fn restarted(alerts: &mut Alerts, rules: &[Rule], second: u64, down: u64) -> Alerts {
        let mut kept: Vec<(String, Vec<u8>)> = Vec::new();
        alerts.hand_out(
            now(second),
            &mut |whose: Whose<'_>, series: &KeptSeries<'_>, _: Option<KeptRule<'_>>| {
                kept.push((
                    whose.stream.to_owned(),
                    postcard::to_allocvec(series).expect("it can be written"),
                ));
            },
        );
        let mut next = Alerts::new(rules, 1, 8);
        for (stream, bytes) in &kept {
            let whose = Whose { rule: ("test", &rules[0].name), stream };
            let series = postcard::from_bytes(bytes).expect("it can be read");
            assert!(next.take_back(whose, series, now(second + down)));
        }
        next
    }

    #[test]
    fn state_survives_a_restart_and_the_time_between_does_not_count() {
        let rules = [asked("Cpu", "resource(cpu > 50%)", 60, 60)];
        let mut alerts = Alerts::new(&rules, 1, 8);
        let busy = [used("a", Some(1.0), 0.0)];
        let calm = [used("a", Some(0.1), 0.0)];
        assert_eq!(told(&mut alerts, 0, &busy), []);
        assert_eq!(told(&mut alerts, 30, &busy), []);
        // Half of `for` has passed, and then an hour in which nobody looked.
        let mut alerts = restarted(&mut alerts, &rules, 30, 3_600);
        assert_eq!(told(&mut alerts, 3_640, &busy), []);
        assert_eq!(told(&mut alerts, 3_659, &busy), []);
        assert_eq!(told(&mut alerts, 3_660, &busy), [turn("Cpu", "a", 3_660, false)]);
        // It fires, and does not fire again.
        let mut alerts = restarted(&mut alerts, &rules, 3_670, 3_600);
        assert_eq!(told(&mut alerts, 7_300, &busy), []);
        assert_eq!(told(&mut alerts, 7_310, &calm), []);
        assert_eq!(told(&mut alerts, 7_340, &calm), []);
        // Half of `keep_firing_for`.
        let mut alerts = restarted(&mut alerts, &rules, 7_340, 3_600);
        assert_eq!(told(&mut alerts, 10_950, &[]), []);
        // A container that was removed meanwhile is known by its id.
        let told = told(&mut alerts, 10_971, &[]);
        assert_eq!(told, [turn("Cpu", "000000000000", 10_971, true)]);
    }
}

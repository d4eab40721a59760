//! What is left of an incident: records, what people were told, and the timeline that `squall replay` makes of the log.

use std::collections::HashSet;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::Value;
use squall::units::Timestamp;

use super::story::seconds;
use crate::support::process::{HOST, run};
use crate::support::receiver::Receiver;
use crate::support::records::Records;

/// A rule began to fire, or resolved.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) rule: String,
    pub(super) state: String,
    /// Seconds from the start, by the clock of the log.
    pub(super) at: f64,
    /// The id under which people are told.
    pub(super) id: String,
    record: Value,
}

impl Turn {
    fn of(record: Value) -> Turn {
        let word = |name: &str| record["squall"][name].as_str().expect("a word").to_owned();
        let (rule, state) = (word("alert"), word("state"));
        let id = format!("{}-{state}", word("episode"));
        Turn { rule, state, at: second(&record["@timestamp"]), id, record }
    }

    /// `UpstreamTimeouts firing`.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.rule, self.state)
    }
}

/// The turns that have been recorded so far, in order. A record may come twice after a kill.
#[track_caller]
pub(super) fn turns(folder: &Path) -> Vec<Turn> {
    let records = whole_records(folder);
    let alerts = records.lines().filter(|line| line.contains(r#""kind":"alert""#));
    let mut known = HashSet::new();
    let turns = alerts.map(|line| Turn::of(serde_json::from_str(line).expect("a record")));
    turns.filter(|turn| known.insert(turn.id.clone())).collect()
}

/// What is left.
pub(super) struct Aftermath {
    pub(super) records: Records,
    turns: Vec<Turn>,
    /// The alerts as the receiver got them.
    told: Vec<Value>,
}

impl Aftermath {
    #[track_caller]
    pub(super) fn of(folder: &Path, hook: &Receiver) -> Aftermath {
        let text = whole_records(folder);
        let mut known = HashSet::new();
        let id = |line: &str| {
            let record: Value = serde_json::from_str(line).expect("a record");
            record["squall"]["id"].as_str().expect("an id").to_owned()
        };
        let once: String = text.split_inclusive('\n').filter(|line| known.insert(id(line))).collect();
        let bodies = hook.requests().into_iter().map(|request| request.json());
        let told = bodies.flat_map(|body| body["alerts"].as_array().expect("alerts").clone()).collect();
        Aftermath { records: Records::read(&once), turns: turns(folder), told }
    }

    /// Fails unless this rule has fired once and resolved once, then, and unless people were told what they need to know.
    #[track_caller]
    pub(super) fn check(
        &self,
        (rule, severity): (&str, &str),
        fires: RangeInclusive<f64>,
        resolves: RangeInclusive<f64>,
    ) {
        let fired = self.fired(rule, severity, &fires);
        let resolved = self.turn((rule, "resolved"), severity, &resolves);
        let episode = fired.id.strip_suffix("-firing").expect("it fires");
        assert_eq!(resolved.id, format!("{episode}-resolved"));
        assert_eq!(second(&self.alert(rule, "resolved")["endsAt"]), resolved.at);
        let [first, last] = ["firing", "resolved"].map(|state| &self.alert(rule, state)["fingerprint"]);
        assert_eq!(first, last, "both are of one alert");
    }

    /// Fails unless this rule has fired once, then.
    #[track_caller]
    pub(super) fn fired(&self, rule: &str, severity: &str, when: &RangeInclusive<f64>) -> &Turn {
        let fired = self.turn((rule, "firing"), severity, when);
        let parts = fired.id.strip_suffix("-firing").and_then(|episode| episode.split_once("-a"));
        let is_id = parts.is_some_and(|(lane, number)| lane.len() == 32 && number.parse::<u64>().is_ok());
        assert!(is_id, "{} is not <lane>-a<number>-firing", fired.id);
        fired
    }

    /// Fails unless there is one such turn, then, and people were told of it what they need to know.
    #[track_caller]
    fn turn(&self, (rule, state): (&str, &str), severity: &str, when: &RangeInclusive<f64>) -> &Turn {
        let name = format!("{rule} {state}");
        let own: Vec<&Turn> = self.turns.iter().filter(|turn| turn.name() == name).collect();
        let [turn] = own[..] else { panic!("{name}: {own:?}") };
        // To the millisecond, which sums of fractions miss.
        let is_then = turn.at > when.start() - 5e-4 && turn.at < when.end() + 5e-4;
        assert!(is_then, "{name} at {}, not in {when:?}", turn.at);

        let told = self.alert(rule, state);
        let label = |name: &str| told["labels"][name].as_str().unwrap_or_default();
        assert_eq!([label("alertname"), label("severity"), label("instance")], [rule, severity, HOST]);
        assert!(!label("alertgroup").is_empty(), "{told}");
        assert_eq!(told["annotations"]["squall_id"], *turn.id);
        assert_eq!(second(&told["startsAt"]), second(&turn.record["squall"]["since"]), "{told}");
        let message = turn.record["message"].as_str().expect("a message");
        assert!(message.starts_with(&format!("[{severity}] {rule} {state}: ")), "{message}");
        turn
    }

    /// What people were told in one sentence when the rule began to fire.
    #[track_caller]
    pub(super) fn summary(&self, rule: &str) -> &str {
        self.alert(rule, "firing")["annotations"]["summary"].as_str().expect("a summary")
    }

    /// The alert that the receiver got of a turn.
    #[track_caller]
    fn alert(&self, rule: &str, state: &str) -> &Value {
        let is_it = |told: &&Value| told["labels"]["alertname"] == *rule && told["status"] == *state;
        let mut found = self.told.iter().filter(is_it);
        let told = found.next().unwrap_or_else(|| panic!("{rule} {state} was not told"));
        assert!(found.next().is_none(), "{rule} {state} was told twice");
        told
    }

    /// Fails unless the first that was heard of such lines is the first of them, word for word.
    #[track_caller]
    pub(super) fn came_verbatim(&self, part: &str) {
        let is_it = |record: &&Value| record["message"].as_str().is_some_and(|text| text.contains(part));
        let of_log = self.records.all.iter().filter(|record| record["squall"]["kind"] != "alert");
        let first = of_log.clone().find(is_it).unwrap_or_else(|| panic!("{part:?} is nowhere"));
        assert_eq!(first["squall"]["kind"], "line", "{first}");
    }

    /// Fails unless `squall replay` finds the same turns in the log, and these, and its report tells them in their order.
    #[track_caller]
    pub(super) fn expect_of_replay(&self, folder: &Path, more: &[&str]) {
        let ended = run(folder, ["replay", "--json", "--config", "squall.yaml", "app.log"]);
        ended.expect_code(0);
        let (records, _) = Records::with_ledger(&ended);
        let mut replayed: Vec<Turn> = records.of("alert").cloned().map(Turn::of).collect();
        let names = |turns: &[Turn], more: &[&str]| {
            let mut names: Vec<String> = turns.iter().map(Turn::name).collect();
            names.extend(more.iter().map(|name| (*name).to_owned()));
            names.sort();
            names
        };
        assert_eq!(names(&replayed, &[]), names(&self.turns, more));

        run(folder, ["replay", "--config", "squall.yaml", "app.log", "--report", "incident.md"])
            .expect_code(0);
        let report = fs::read_to_string(folder.join("incident.md")).expect("a report");
        let (_, rest) = report.split_once("## Timeline").expect("a timeline");
        let (timeline, _) = rest.split_once("\n## ").expect("it ends");
        let rows: Vec<&str> = timeline.lines().filter(|row| row.contains(" | alert ")).collect();
        replayed.sort_by(|one, other| one.at.total_cmp(&other.at));
        assert_eq!(rows.len(), replayed.len(), "{timeline}");
        for (row, turn) in rows.iter().zip(&replayed) {
            let time = turn.record["@timestamp"].as_str().expect("a time");
            let when = format!("| {} {} |", &time[..10], &time[11..19]);
            assert!(row.starts_with(&when) && row.contains(&turn.name()), "{turn:?}: {timeline}");
        }
    }
}

/// The records of `out`; the last one may be half written.
fn whole_records(folder: &Path) -> String {
    let out = fs::read_to_string(folder.join("out")).unwrap_or_default();
    out.rfind('\n').map_or_else(String::new, |end| out[..=end].to_owned())
}

/// Seconds from the start.
#[track_caller]
fn second(time: &Value) -> f64 {
    let time: jiff::Timestamp = time.as_str().and_then(|time| time.parse().ok()).expect("a time");
    seconds(Timestamp(time.as_nanosecond() as i64))
}

//! What people are told of an alert, as plain data: one when it begins to fire and one when it has resolved.
//!
//! Unlike an alert's record, which goes where all records go, this goes to whoever is on call, and is remembered until it
//! has arrived there. So it is complete by itself: a receiver that was away needs nothing else.
//! Limit: annotations take `ANNOTATIONS_MAX` bytes together; the rest of them is left out. What they hold of a log is
//! bounded and without control characters already (`engine::alert`).
//! Not here: whom it is sent to, and how it looks there (`output::notify`).

use serde::{Deserialize, Serialize};

use super::LaneId;
use super::identity::Identity;
use crate::engine::alert::{AlertView, span};
use crate::units::Timestamp;

/// One turn of a firing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notification {
    /// The firing: the same for both of its turns, in its records, and after a restart (`<lane>-a7`).
    pub firing: String,
    /// Its number, which no other firing of the same store has.
    pub episode: u64,
    /// Whether it has resolved; else it begins to fire.
    pub is_resolved: bool,
    /// The rule's name.
    pub alert: String,
    /// The rule's group.
    pub group: String,
    /// One sentence: the annotation `summary`, or what the rule asks.
    pub summary: String,
    /// What was measured, with its unit.
    pub value: String,
    /// What it is held against, where there is such a number.
    pub threshold: Option<String>,
    /// Over how long it was measured.
    pub window: Option<String>,
    /// Since when it was true.
    pub since: Timestamp,
    /// When it began to fire, or had resolved.
    pub at: Timestamp,
    /// What identifies it: the labels of the rule, the stream, who watches it. Sorted by name.
    pub labels: Vec<(String, String)>,
    /// What is said of it, in the order of the rule.
    pub annotations: Vec<(String, String)>,
}

impl Notification {
    /// What `view` says, for people; `lane` numbers the firings of `identity`.
    pub fn new(view: &AlertView, lane: LaneId, identity: &Identity) -> Notification {
        let mut labels: Vec<(String, String)> = Vec::with_capacity(view.labels.len() + 4);
        labels.push((ALERTNAME.to_owned(), view.name.to_string()));
        let own = view.labels.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        labels.extend(own.filter(|(name, _)| name != ALERTNAME));
        for (name, value) in
            [(ALERTGROUP, &*view.group), ("instance", &identity.instance), ("service", &identity.service)]
        {
            // What the rule says of itself wins.
            if !value.is_empty() && !labels.iter().any(|(known, _)| known == name) {
                labels.push((name.to_owned(), value.to_owned()));
            }
        }
        labels.sort();
        let summary = view.annotations.iter().find(|(name, _)| &**name == "summary");
        Notification {
            firing: format!("{lane}-a{}", view.episode),
            episode: view.episode,
            is_resolved: view.is_resolved,
            alert: view.name.to_string(),
            group: view.group.to_string(),
            summary: summary.map_or_else(|| view.text.to_string(), |(_, summary)| summary.clone()),
            value: view.shown(view.value),
            threshold: view.threshold.map(|threshold| view.shown(threshold)),
            window: view.window.map(span),
            since: view.since,
            at: view.at,
            labels,
            annotations: fitting(view),
        }
    }

    /// The same turn always has the same one, however often it is told.
    pub fn id(&self) -> String {
        format!("{}-{}", self.firing, self.state())
    }

    /// `firing` or `resolved`.
    pub fn state(&self) -> &'static str {
        if self.is_resolved { "resolved" } else { "firing" }
    }

    /// A label's value.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// The bytes of its texts.
    pub fn size(&self) -> usize {
        let pairs = self.labels.iter().chain(&self.annotations);
        let optional = [&self.threshold, &self.window].into_iter().flatten().map(String::len);
        let texts = [&self.firing, &self.alert, &self.group, &self.summary, &self.value];
        texts.iter().map(|text| text.len()).sum::<usize>()
            + optional.sum::<usize>()
            + pairs.map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }
}

/// The label that Alertmanager knows an alert by.
pub const ALERTNAME: &str = "alertname";
/// The label with the rule's group.
pub const ALERTGROUP: &str = "alertgroup";
/// The most bytes that the annotations of one take.
const ANNOTATIONS_MAX: usize = 8_192;

/// As many annotations as there is room for.
fn fitting(view: &AlertView) -> Vec<(String, String)> {
    let mut room = ANNOTATIONS_MAX;
    let mut fits = |name: &str, value: &str| {
        let left = room.checked_sub(name.len() + value.len());
        room = left.unwrap_or(room);
        left.is_some()
    };
    let all = view.annotations.iter().filter(|(name, value)| fits(name, value));
    all.map(|(name, value)| (name.to_string(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::alert::Unit;
    use std::time::Duration;

    fn view() -> AlertView {
        AlertView {
            name: "Slow".into(),
            group: "web".into(),
            text: "p95(duration) > 250ms within 5m".into(),
            severity: Some("P2".into()),
            is_resolved: false,
            value: 0.281,
            peak: 0.3,
            threshold: Some(0.25),
            unit: Unit::Seconds,
            window: Some(Duration::from_secs(300)),
            since: Timestamp(1),
            at: Timestamp(2),
            stream: Some("s".into()),
            container: None,
            labels: vec![("severity".into(), "P2".into()), ("stream".into(), "s".into())],
            annotations: vec![("runbook_url".into(), "https://x/".into())],
            episode: 7,
        }
    }

    #[test]
    fn it_says_all_by_itself() {
        let identity = Identity { instance: "pod-1".into(), service: "web".into(), ..Identity::default() };
        let told = Notification::new(&view(), LaneId(0xabc), &identity);
        assert_eq!(told.id(), "00000000000000000000000000000abc-a7-firing");
        let resolved =
            Notification::new(&AlertView { is_resolved: true, ..view() }, LaneId(0xabc), &identity);
        assert_eq!(resolved.id(), "00000000000000000000000000000abc-a7-resolved");
        assert_eq!((&*told.value, told.threshold.as_deref()), ("281 ms", Some("250 ms")));
        assert_eq!(told.summary, "p95(duration) > 250ms within 5m");
        let names: Vec<_> = told.labels.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["alertgroup", "alertname", "instance", "service", "severity", "stream"]);
        assert_eq!(told.label("alertname"), Some("Slow"));
    }

    #[test]
    fn what_the_rule_says_of_itself_wins() {
        let identity = Identity { instance: "pod-1".into(), ..Identity::default() };
        let view = AlertView { labels: vec![("instance".into(), "mine".into())], ..view() };
        let told = Notification::new(&view, LaneId(1), &identity);
        assert_eq!(told.label("instance"), Some("mine"));
        assert_eq!(told.labels.iter().filter(|(name, _)| name == "instance").count(), 1);
    }

    #[test]
    fn annotations_are_bounded() {
        let long: Vec<_> = (0..20).map(|n| (format!("n{n}").into(), "x".repeat(2_048))).collect();
        let view = AlertView { annotations: long, ..view() };
        let told = Notification::new(&view, LaneId(1), &Identity::default());
        assert_eq!(told.annotations.len(), 3);
        assert!(told.size() < ANNOTATIONS_MAX + 512);
    }
}

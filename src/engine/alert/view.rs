//! What is told of an alert, and how its annotations are filled in.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::container::Container;
use super::matcher::Unit;
use super::rule::{Measure, Resource, Rule, When};
use super::template::{Piece, Place, Template};
use crate::engine::cycle::LoopView;
use crate::units::Timestamp;

/// An alert that fires or has resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertView {
    /// The rule's name.
    pub name: Box<str>,
    /// The group that the rule stands in.
    pub group: Box<str>,
    /// What is true, as the config says it.
    pub text: Box<str>,
    /// Its label `severity`.
    pub severity: Option<Box<str>>,
    /// Whether it has resolved.
    pub is_resolved: bool,
    /// What was measured when it was told.
    pub value: f64,
    /// The value that was furthest from what is allowed, since it fires.
    pub peak: f64,
    /// What it is held against, where there is such a number.
    pub threshold: Option<f64>,
    /// What the numbers count.
    pub unit: Unit,
    /// Over how long it was measured.
    pub window: Option<Duration>,
    /// Since when it was true.
    pub since: Timestamp,
    /// When it began to fire, or had resolved.
    pub at: Timestamp,
    /// Whose lines it is about; `None` for all.
    pub stream: Option<Arc<str>>,
    /// Whose resources it is about.
    pub container: Option<Arc<Container>>,
    /// The rule's labels, and `stream`, sorted by name.
    pub labels: Vec<(Box<str>, Box<str>)>,
    /// The rule's annotations, filled in.
    pub annotations: Vec<(Box<str>, String)>,
    /// The number of the firing.
    pub episode: u64,
}

impl AlertView {
    /// One sentence for people.
    pub fn message(&self) -> String {
        let mut message = String::new();
        if let Some(severity) = &self.severity {
            let _ = write!(message, "[{severity}] "); // a String takes every write
        }
        message.push_str(&self.name);
        message.push_str(if self.is_resolved { " resolved: " } else { " firing: " });
        let summary = self.annotations.iter().find(|(name, _)| &**name == "summary");
        message.push_str(summary.map_or(&self.text, |(_, summary)| summary));
        message
    }

    /// A value of this alert with its unit.
    pub fn shown(&self, value: f64) -> String {
        shown(value, self.unit)
    }
}

/// The labels of an alert: those of its rule, and the stream where it is about one.
pub(super) fn labels_of(labels: &[(Box<str>, Box<str>)], stream: Option<&str>) -> Vec<(Box<str>, Box<str>)> {
    let mut labels = labels.to_vec();
    if let Some(stream) = stream {
        labels.retain(|(name, _)| &**name != "stream");
        labels.push(("stream".into(), stream.into()));
        labels.sort();
    }
    labels
}

/// What annotations are filled with.
pub(super) struct Filling<'a> {
    pub(super) rule: &'a Rule,
    pub(super) value: f64,
    pub(super) threshold: Option<f64>,
    pub(super) unit: Unit,
    pub(super) since: Timestamp,
    pub(super) stream: Option<&'a str>,
    pub(super) container: Option<&'a Container>,
    pub(super) message: &'a [u8],
    /// The newest open loop that it can be about.
    pub(super) cycle: Option<&'a LoopView>,
}

impl Filling<'_> {
    /// The text of an annotation. What it takes from a log is bounded, and control characters in it are replaced.
    pub(super) fn fill(&self, template: &Template) -> String {
        let mut text = String::new();
        for piece in &template.pieces {
            match piece {
                Piece::Text(own) => text.push_str(own),
                Piece::Place(place) => text.push_str(&self.place(place)),
            }
            if text.len() > ANNOTATION_MAX {
                let end = (0..=ANNOTATION_MAX).rev().find(|&end| text.is_char_boundary(end));
                text.truncate(end.unwrap_or_default());
                text.push('…');
                break;
            }
        }
        text
    }

    fn place(&self, place: &Place) -> String {
        match place {
            Place::Value => shown(self.value, self.unit),
            Place::Threshold => self.threshold.map_or_else(String::new, |number| shown(number, self.unit)),
            Place::Window => window_of(&self.rule.when).map_or_else(String::new, span),
            Place::Alert => self.rule.name.to_string(),
            Place::Since => written(self.since),
            Place::Stream => harmless(self.stream.unwrap_or_default()),
            Place::Container => self.container.map_or_else(String::new, |known| harmless(known.shown())),
            Place::Message => harmless(&String::from_utf8_lossy(self.message)),
            Place::Label(name) => {
                let label = self.rule.labels.iter().find(|(known, _)| known == name);
                label.map_or_else(String::new, |(_, value)| value.to_string())
            }
            Place::Loop(what) => self.cycle.map_or_else(|| UNKNOWN.to_owned(), |cycle| of_loop(cycle, what)),
        }
    }
}

fn of_loop(cycle: &LoopView, what: &str) -> String {
    match what {
        "endpoint" => cycle.endpoint.as_deref().map_or_else(|| UNKNOWN.to_owned(), harmless),
        "verdict" => cycle.judgement.verdict.as_str().to_owned(),
        "iterations" => cycle.iterations.to_string(),
        "period" => shown(cycle.period.p50, Unit::Seconds),
        _ => String::new(),
    }
}

/// What is not known (yet) of a loop.
const UNKNOWN: &str = "unknown";
/// The longest annotation, in bytes.
const ANNOTATION_MAX: usize = 2_048;
/// The longest text from a log in one, in bytes.
const QUOTED_MAX: usize = 512;

/// Text from a log without what a terminal or a chat might obey.
fn harmless(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        if out.len() >= QUOTED_MAX {
            out.push('…');
            break;
        }
        let is_hidden = matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
        out.push(if letter.is_control() || is_hidden { ' ' } else { letter });
    }
    out
}

/// Over how long a rule measures.
pub(super) fn window_of(when: &When) -> Option<Duration> {
    match when {
        When::Measured { within, .. } => Some(*within),
        When::Absent { during, .. } => Some(*during),
        When::NewTemplate { .. } | When::Loop { .. } | When::Resource { .. } => None,
    }
}

/// What the numbers of a rule count, `seen` being the unit that stands in the lines.
pub(super) fn unit_of(when: &When, seen: Unit) -> Unit {
    match when {
        When::Measured { measure: Measure::Count(_), .. } => Unit::None,
        When::Measured { measure: Measure::Rate(_), .. } => Unit::PerSecond,
        When::Measured { measure: Measure::Ratio { .. }, .. } => Unit::Share,
        When::Measured { measure: Measure::Number { .. }, .. } => seen,
        When::Absent { .. } => Unit::Seconds,
        When::Resource { resource: Resource::Cpu, .. } => Unit::Share,
        When::Resource { resource: Resource::Memory, .. } => Unit::Bytes,
        When::NewTemplate { .. } | When::Loop { .. } => Unit::None,
    }
}

/// A number as people read it.
pub(super) fn shown(number: f64, unit: Unit) -> String {
    match unit {
        Unit::None => rounded(number),
        Unit::Seconds if number.abs() < 1.0 => format!("{} ms", rounded(number * 1e3)),
        Unit::Seconds => format!("{} s", rounded(number)),
        Unit::Share => format!("{} %", rounded(number * 100.0)),
        Unit::PerSecond => format!("{}/s", rounded(number)),
        Unit::Bytes => {
            let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
            let (mut number, mut power) = (number, 0);
            while number.abs() >= 1024.0 && power + 1 < units.len() {
                (number, power) = (number / 1024.0, power + 1);
            }
            format!("{} {}", rounded(number), units[power])
        }
    }
}

/// Two digits behind the point, and none that say nothing.
fn rounded(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `1m`, `1h30m`, `500ms`.
pub fn span(span: Duration) -> String {
    let (seconds, millis) = (span.as_secs(), span.subsec_millis());
    let parts =
        [(seconds / 3_600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s"), (millis.into(), "ms")];
    let text: String = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, unit)| format!("{number}{unit}"))
        .collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

fn written(time: Timestamp) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(time.0));
    time.map(|time| format!("{time:.0}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units() {
        #[track_caller]
        fn check(number: f64, unit: Unit, want: &str) {
            assert_eq!(shown(number, unit), want);
        }
        check(10.0, Unit::None, "10");
        check(0.281_76, Unit::Seconds, "281.76 ms");
        check(12.5, Unit::Seconds, "12.5 s");
        check(0.014, Unit::Share, "1.4 %");
        check(20.0, Unit::PerSecond, "20/s");
        check(10.23 * 1_073_741_824.0, Unit::Bytes, "10.23 GiB");
    }

    #[test]
    fn spans_are_short() {
        #[track_caller]
        fn check(millis: u64, want: &str) {
            assert_eq!(span(Duration::from_millis(millis)), want);
        }
        check(0, "0s");
        check(500, "500ms");
        check(60_000, "1m");
        check(90_000, "1m30s");
        check(5_400_000, "1h30m");
    }

    #[test]
    fn fault_082_log_text_in_annotations_is_harmless() {
        #[track_caller]
        fn check(text: &str, want: &str) {
            assert_eq!(harmless(text), want);
        }
        check("연결 시간 초과", "연결 시간 초과");
        check("a\x1b[31mred\r\nb", "a [31mred  b");
        check("evil\u{202e}txt", "evil txt");
        assert_eq!(harmless(&"x".repeat(10_000)).chars().count(), QUOTED_MAX + 1);
    }
}

//! The draft of an incident report: what people write by hand after an incident, as far as the log knows it.
//!
//! In: a [`Story`]. Out: sentences and a timeline, plain text that each form escapes in its own way.
//! It guesses how bad it was, and says why; the cause and what follows from it are left to people.

use std::time::Duration;

use super::{duration, lines, share};
use crate::engine::chronicle::story::{LoopStory, MovedNumber, StormStory, Story};
use crate::engine::cycle::backoff::Verdict;
use crate::engine::cycle::endpoint;
use crate::units::grouped;
use crate::units::{Lines, Timestamp};

/// How bad it was, as far as a log can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing to see.
    P4,
    /// Something ran, looped or slowed down.
    P3,
    /// A part failed.
    P2,
    /// Most of it failed, or something hammers without a pause.
    P1,
}

/// The draft.
#[derive(Clone, Debug)]
pub struct Draft {
    /// A guess.
    pub severity: Severity,
    /// What it rests on.
    pub reasons: Vec<String>,
    /// What happened, in sentences.
    pub summary: Vec<String>,
    /// What happened when, in order.
    pub timeline: Vec<Event>,
    /// What the failing lines tried to reach.
    pub endpoints: Vec<String>,
}

/// Something that happened at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub time: Timestamp,
    /// What.
    pub what: String,
    /// The text of the line that shows it, if one does.
    pub text: Option<String>,
}

impl Severity {
    /// `P1`, and what it means.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::P1 => "P1",
            Severity::P2 => "P2",
            Severity::P3 => "P3",
            Severity::P4 => "P4",
        }
    }
}

impl Draft {
    /// Drafts the report of a story.
    pub fn of(story: &Story) -> Draft {
        let (severity, reasons) = severity(story);
        Draft {
            severity,
            reasons,
            summary: summary(story),
            timeline: timeline(story),
            endpoints: endpoints(story),
        }
    }
}

fn severity(story: &Story) -> (Severity, Vec<String>) {
    let mut found: Vec<(Severity, String)> = Vec::new();
    let mut say = |severity: Severity, reason: String| found.push((severity, reason));
    let worst_share = worst_share(story);
    let stormed = story.storms.iter().any(|storm| story.templates[storm.template].failing);
    if worst_share >= 0.1 && stormed {
        let severity = if worst_share >= 0.5 { Severity::P1 } else { Severity::P2 };
        say(severity, format!("at worst {:.0} % of all lines were failing", worst_share * 100.0));
    } else if stormed {
        say(Severity::P2, "failing lines came as a storm".to_owned());
    }
    let harmful = story.loops.iter().filter(|known| known.is_harmful());
    if let Some(known) = harmful.max_by_key(|known| known.view.iterations) {
        let hammers = known.view.judgement.verdict == Verdict::None && known.view.iterations >= HAMMERING;
        let how =
            if known.view.judgement.verdict == Verdict::None { "at once" } else { "without backing off" };
        let times = grouped(known.view.iterations);
        say(
            if hammers { Severity::P1 } else { Severity::P2 },
            format!("something tried again {how}, {times} times"),
        );
    }
    if let Some(moved) = story.moved.first() {
        say(Severity::P3, moved_sentence(moved));
    }
    if found.is_empty() && !(story.storms.is_empty() && story.loops.is_empty()) {
        found.push((Severity::P3, "something came in a storm or a loop, and nothing failed".to_owned()));
    }
    let worst = found.iter().map(|(severity, _)| *severity).max().unwrap_or(Severity::P4);
    let mut reasons: Vec<String> = found.into_iter().map(|(_, reason)| reason).collect();
    if reasons.is_empty() {
        reasons.push("no storm, no loop, and no number that moved".to_owned());
    }
    (worst, reasons)
}

/// Iterations from which a loop without back-off is a danger to what it calls.
const HAMMERING: u64 = 1_000;

/// The largest share of failing lines in a stretch of time that has enough lines to speak of a share.
fn worst_share(story: &Story) -> f64 {
    const LINES_MIN: u64 = 20;
    let pairs = story.failing_over_time.counts.iter().zip(&story.volume.counts);
    let shares =
        pairs.filter(|(_, all)| **all >= LINES_MIN).map(|(failing, all)| *failing as f64 / *all as f64);
    shares.fold(0.0, f64::max)
}

fn summary(story: &Story) -> Vec<String> {
    let mut sentences = vec![format!(
        "{} in {}, {} of them failing ({}).",
        lines(story.lines),
        duration(story.last.since(story.first)),
        grouped(story.failing.0),
        share(story.failing, story.lines)
    )];
    sentences.extend(story.loops.iter().take(LOOPS_TOLD).map(loop_sentence));
    if let [largest, ..] = story.storms.as_slice() {
        sentences.push(storms_sentence(story, largest));
    }
    sentences.extend(story.moved.iter().take(MOVED_TOLD).map(|moved| format!("{}.", moved_sentence(moved))));
    match (story.phases.onset, story.phases.recovery) {
        (Some(onset), Some(recovery)) => sentences.push(format!(
            "It began at {} and was over at {}, after {}.",
            super::date_time(onset.time),
            super::date_time(recovery),
            duration(recovery.since(onset.time))
        )),
        (Some(onset), None) => sentences.push(format!(
            "It began at {} and had not recovered when the log ended.",
            super::date_time(onset.time)
        )),
        (None, _) => sentences.push("No storm and no harmful loop in this log.".to_owned()),
    }
    sentences
}

/// What a loop is, what it calls, and how long it went on.
pub fn loop_sentence(known: &LoopStory) -> String {
    let view = &known.view;
    let mut sentence = view.message();
    if let Some(endpoint) = &view.endpoint {
        sentence += &format!(", towards {endpoint}");
    }
    let until = if known.is_open() { "and was going on when the log ended" } else { "until" };
    sentence += &format!(", from {} {until}", super::date_time(view.started));
    if !known.is_open() {
        sentence += &format!(" {}", super::date_time(view.seen));
    }
    sentence.push('.');
    sentence
}

fn storms_sentence(story: &Story, largest: &StormStory) -> String {
    let folded: Lines = story.storms.iter().map(|storm| storm.total).sum();
    let storms = match story.storms.len() {
        1 => "One storm".to_owned(),
        number => format!("{} storms", grouped(number as u64)),
    };
    let normal =
        largest.baseline.map_or_else(String::new, |normal| format!(" where {} is normal", rate(normal)));
    format!(
        "{storms} of {} ({}); the largest wrote {}, at most {}{normal}.",
        lines(folded),
        share(folded, story.lines),
        lines(largest.total),
        rate(largest.peak),
    )
}

/// What a number was, and what it became.
pub fn moved_sentence(moved: &MovedNumber) -> String {
    let number = &moved.number;
    let value = |value: f64| quantity(value, &number.unit);
    let (verb, factor) = match number.factor() {
        up @ 1.0.. => ("rose", format!("{up:.1} times its normal")),
        down => ("fell", format!("{:.0} % of its normal", down * 100.0)),
    };
    format!(
        "{} {verb} from a mean of {} to {} (p95 {}, at most {}), {factor}, since {}",
        number.name,
        value(number.before.mean),
        value(number.then.mean),
        value(number.then.p95),
        value(number.then.max),
        super::date_time(moved.time)
    )
}

/// A number as people read it: times and sizes in the unit that fits.
pub fn quantity(value: f64, unit: &str) -> String {
    match unit {
        "s" if (0.0..1e12).contains(&value) => duration(Duration::from_secs_f64(value)),
        "B" if value >= 0.0 => bytesize::ByteSize(value as u64).display().si().to_string(),
        _ => {
            let digits = if value.abs() >= 100.0 || value.fract() == 0.0 { 0 } else { 2 };
            let space = if unit.is_empty() { "" } else { " " };
            format!("{value:.digits$}{space}{unit}")
        }
    }
}

/// `4.4/s`.
fn rate(per_second: f64) -> String {
    format!("{}/s", super::text::rate(per_second))
}

fn timeline(story: &Story) -> Vec<Event> {
    let text = |template: Option<usize>| template.map(|place| story.templates[place].example.clone());
    let event =
        |time: Timestamp, what: &str, text: Option<String>| Event { time, what: what.to_owned(), text };
    let mut events =
        vec![event(story.first, "the log begins", None), event(story.last, "the log ends", None)];
    let phases = &story.phases;
    events.extend(phases.first_warning.map(|at| event(at.time, "first warning", text(at.template))));
    events.extend(phases.onset.map(|at| event(at.time, "onset", text(at.template))));
    if phases.onset.is_some() {
        events.extend(phases.peak.map(|time| event(time, "peak", None)));
    }
    events.extend(
        phases.recovery.map(|time| event(time, "recovery: the last line of the last storm or loop", None)),
    );
    for known in story.loops.iter().take(LOOPS_TOLD) {
        let what = format!("a loop begins: {}", known.view.message());
        events.push(event(known.view.started, &what, None));
    }
    let new = story.templates.iter().filter(|template| template.is_new && template.failing);
    for template in new.take(NEW_TOLD) {
        let what = match template.count {
            Lines(1) => "new, and once only".to_owned(),
            count => format!("new, {} times from here on", grouped(count.0)),
        };
        events.push(event(template.first, &what, Some(template.example.clone())));
    }
    for moved in story.moved.iter().take(MOVED_TOLD) {
        events.push(event(moved.time, &moved_sentence(moved), None));
    }
    for episode in story.alerts.iter().flat_map(|alerts| &alerts.fired).take(ALERTS_TOLD) {
        events.push(event(episode.view.at, &format!("alert {}", episode.view.message()), None));
        events.extend(
            episode.resolved.map(|at| event(at, &format!("alert {} resolved", episode.view.name), None)),
        );
    }
    events.sort_by_key(|event| event.time);
    events
}

fn endpoints(story: &Story) -> Vec<String> {
    let of_loops = story.loops.iter().filter_map(|known| known.view.endpoint.clone());
    let failing = story.templates.iter().filter(|template| template.failing);
    let of_lines = failing.filter_map(|template| endpoint::find(template.example.as_bytes()));
    let mut all: Vec<String> = Vec::new();
    for endpoint in of_loops.chain(of_lines) {
        if !all.contains(&endpoint) && all.len() < ENDPOINTS_TOLD {
            all.push(endpoint);
        }
    }
    all
}

const ALERTS_TOLD: usize = 20;
const LOOPS_TOLD: usize = 5;
const MOVED_TOLD: usize = 5;
const NEW_TOLD: usize = 15;
const ENDPOINTS_TOLD: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        #[track_caller]
        fn check(value: f64, unit: &str, want: &str) {
            assert_eq!(quantity(value, unit), want);
        }
        check(0.02, "s", "20 ms");
        check(0.28176, "s", "0.28 s");
        check(1_500_000.0, "B", "1.5 MB");
        check(12.0, "", "12");
        check(12.345, "%", "12.35 %");
        check(-3.0, "s", "-3 s");
    }

    #[test]
    fn an_empty_story_is_nothing_to_worry_about() {
        let draft = Draft::of(&Story::default());
        assert_eq!(draft.severity, Severity::P4);
        assert_eq!(draft.reasons.len(), 1);
    }
}

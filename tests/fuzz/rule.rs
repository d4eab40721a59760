//! The rule language: whatever is written is read or refused at its place, and what is read judges any line.

use std::sync::Arc;
use std::time::Duration;

use squall::engine::alert::parse::{ParseError, parse};
use squall::engine::alert::rule::{Rule, When};
use squall::engine::alert::template::Template;
use squall::engine::alert::{AlertView, Alerts, Seen};
use squall::units::{Monotonic, Timestamp};

const SECOND: u64 = 1_000_000_000;
const START: Timestamp = Timestamp(1_770_336_600 * Timestamp::SECOND);

/// The first line is what stands behind `when`, the second one a template of what people are told, the rest a log with a line
/// a second.
pub fn rule(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut text = || std::str::from_utf8(lines.next().unwrap_or_default()).ok();
    let (Some(when), Some(template)) = (text(), text()) else { return };
    let template = read(template, Template::parse);
    let Some(parsed) = read(when, parse) else { return };
    let printed = parsed.to_string();
    let again = parse(&printed).unwrap_or_else(|error| panic!("{printed}: {error}"));
    assert_eq!(again.to_string(), printed, "what is printed is read as the same");
    let log: Vec<&[u8]> = lines.collect();
    let template = template.unwrap_or_default();
    let alone = judge(&[made("alone", parsed.clone(), template.clone())], &log);
    // As it was printed, behind enough others that lines are searched in another way.
    let others = (0..20).map(|number| {
        let when = parse(&format!("count(\"other text {number}\") >= 1 within 1m")).expect("it is one");
        made(&format!("other {number}"), when, Template::default())
    });
    let crowd: Vec<Rule> = others.chain([made("alone", again, template)]).collect();
    let among_others = judge(&crowd, &log);
    let of_it = |told: &[String]| -> Vec<String> {
        told.iter().filter(|told| told.starts_with("alone")).cloned().collect()
    };
    assert_eq!(of_it(&alone), of_it(&among_others), "{printed}");
}

/// What `text` means. A fault stands inside of the text, between two letters.
fn read<T>(text: &str, parse: impl Fn(&str) -> Result<T, ParseError>) -> Option<T> {
    let error = match parse(text) {
        Ok(read) => return Some(read),
        Err(error) => error,
    };
    assert!(!error.message.is_empty());
    assert!(error.span.start <= error.span.end && text.get(error.span.clone()).is_some(), "{error:?}");
    None
}

fn made(name: &str, when: When, told: Template) -> Rule {
    Rule {
        name: name.into(),
        group: "fuzz".into(),
        text: when.to_string().into(),
        when,
        hold: Duration::ZERO,
        keep_firing_for: Duration::ZERO,
        labels: Box::default(),
        annotations: Box::new([("summary".into(), told)]),
    }
}

/// What is told of the rules while the log comes, and in two silent days behind it.
fn judge(rules: &[Rule], log: &[&[u8]]) -> Vec<String> {
    let mut alerts = Alerts::new(rules, 7, 64);
    let stream: Arc<str> = "gateway/stderr".into();
    let at = |second: u64| (Monotonic(second * SECOND), START + Duration::from_secs(second));
    let mut told = Vec::new();
    let mut take = |alerts: &mut Alerts| {
        let shown = |view: AlertView| {
            format!("{} {:?} {} {}", view.name, view.annotations, view.message(), view.shown(view.value))
        };
        told.extend(alerts.take_news(&[]).into_iter().map(shown));
    };
    let (arrival, time) = at(0);
    alerts.begin(time, arrival, false);
    for (second, text) in (1..).zip(log) {
        let (arrival, time) = at(second);
        let seen = Seen { text, stream: &stream, stream_hash: 1, time, arrival };
        alerts.on_stream(&seen);
        alerts.on_line(&seen);
        alerts.on_new(&seen, START);
        alerts.on_deadline(arrival, time);
        take(&mut alerts);
    }
    for hour in 1..=48 {
        let (arrival, time) = at(log.len() as u64 + hour * 3600);
        alerts.on_deadline(arrival, time);
        take(&mut alerts);
    }
    told
}

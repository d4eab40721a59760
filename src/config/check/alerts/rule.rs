//! One rule of a group.

use std::time::Duration;

use super::NAME_MAX;
use crate::config::check::DAY;
use crate::config::check::keys::{Keys, scalar_text};
use crate::config::faults::Findings;
use crate::config::inside::inside;
use crate::config::source::shown;
use crate::config::tree::Node;
use crate::engine::alert::parse::{self, ParseError};
use crate::engine::alert::rule::{By, Rule, When};
use crate::engine::alert::template::{Piece, Place, Template, is_label_name};

const KNOWN: [&str; 6] = ["alert", "when", "for", "keep_firing_for", "labels", "annotations"];
/// Annotations of one rule.
const ANNOTATIONS_MAX: usize = 64;
/// A label that says which rule it is; it is made of the name.
const ALERTNAME: &str = "alertname";

/// Labels, by name.
pub(super) type Labels = Vec<(Box<str>, Box<str>)>;

/// A rule, where nothing is missing. `common` are the labels of its group.
pub(super) fn check(keys: &Keys<'_>, group: &str, common: &Labels, findings: &mut Findings) -> Option<Rule> {
    refuse_unknown(keys, findings);
    let name = name(keys, "alert", findings);
    let when = when(keys, findings);
    let hold = keys.time("for", Duration::ZERO..=DAY, Duration::ZERO, findings);
    let keep_firing_for = keys.time("keep_firing_for", Duration::ZERO..=DAY, Duration::ZERO, findings);
    let mut labels = labels(keys, findings);
    labels.extend(common.iter().filter(|(name, _)| !has(&labels, name)).cloned().collect::<Vec<_>>());
    labels.sort();
    let annotations = annotations(keys, &labels, findings);
    let (text, when) = when?;
    let gets_stream = match when {
        When::Measured { by: By::Stream, .. } | When::Absent { by: By::Stream, .. } => {
            Some("a rule that is judged `by stream`")
        }
        When::Resource { .. } => Some("a rule about `resource(…)`"),
        _ => None,
    };
    if let Some(it) = gets_stream.filter(|_| has(&labels, "stream")) {
        findings.fault(keys.place.clone(), format!("{it} gets the label `stream` by itself"));
    }
    let names_container = |template: &Template| template.pieces.contains(&Piece::Place(Place::Container));
    if !matches!(when, When::Resource { .. }) && annotations.iter().any(|(_, text)| names_container(text)) {
        let message = "`container` is known only in rules about `resource(…)`";
        findings.fault(keys.place.clone(), message).note("write {{ stream }} in a rule `by stream`");
    }
    Some(Rule {
        name: name?.into(),
        group: group.into(),
        when,
        text: text.into(),
        hold,
        keep_firing_for,
        labels: labels.into(),
        annotations: annotations.into(),
    })
}

/// Names the keys that Prometheus has and we do not, with the reason.
fn refuse_unknown(keys: &Keys<'_>, findings: &mut Findings) {
    let mut known = KNOWN.to_vec();
    for (key, message, note) in [
        (
            "expr",
            "rules have `when` in place of `expr`",
            "it is not PromQL: what is measured are lines of logs, as in when: count(\"timeout\") >= 10 within 1m",
        ),
        (
            "record",
            "there are no recording rules",
            "the numbers of lines are in the summaries and in the metrics",
        ),
    ] {
        if let Some(entry) = keys.entry(key) {
            findings.fault(entry.place.clone(), message).note(note);
            known.push(key);
        }
    }
    keys.refuse_unknown(&known, findings);
}

fn has(labels: &Labels, name: &str) -> bool {
    labels.iter().any(|(known, _)| &**known == name)
}

/// The name of a rule or group.
pub(super) fn name<'a>(keys: &Keys<'a>, key: &str, findings: &mut Findings) -> Option<&'a str> {
    if keys.some(key).is_none() {
        keys.missing(key, "a name, as in WebSocketRetryLoop", findings);
        return None;
    }
    let name = keys.text(key, findings)?;
    if name.text.len() > NAME_MAX {
        findings.fault(name.place, format!("`{key}` has more than {NAME_MAX} bytes"));
        return None;
    }
    Some(name.text)
}

fn when<'a>(keys: &Keys<'a>, findings: &mut Findings) -> Option<(&'a str, When)> {
    let Some(entry) = keys.some("when") else {
        // Whoever wrote `expr` has been told.
        if keys.entry("expr").is_none() {
            keys.missing("when", "as in when: count(\"timeout\") >= 10 within 1m", findings);
        }
        return None;
    };
    let text = text_of(&entry.node, "when", findings)?;
    match parse::parse(text) {
        Ok(when) => Some((text.trim(), when)),
        Err(error) => {
            tell(&entry.node, text, error, findings);
            None
        }
    }
}

/// Tells what is wrong inside a value where it stands in the file.
fn tell(node: &Node, text: &str, error: ParseError, findings: &mut Findings) {
    let fault = findings.fault(inside(&node.place, text, error.span), error.message);
    if let Some(note) = error.note {
        fault.note(shown(&note));
    }
}

/// A text, which may have several lines.
fn text_of<'a>(node: &'a Node, key: &str, findings: &mut Findings) -> Option<&'a str> {
    let text = scalar_text(node);
    if text.is_none() {
        findings.fault(node.place.clone(), format!("`{key}` must be a text, not {}", node.what()));
    }
    text
}

/// Labels by name, each name once. They are the identity of an alert, so nothing that changes may stand in them.
pub(super) fn labels(keys: &Keys<'_>, findings: &mut Findings) -> Labels {
    let entries = keys.some("labels").map(|entry| Keys::open_any(entry, "labels", findings));
    for entry in entries.iter().flat_map(|keys| keys.entries()) {
        if !is_label_name(&entry.key) || entry.key == ALERTNAME || entry.key.starts_with("__") {
            let message = format!("`{}` cannot be the name of a label", shown(&entry.key));
            findings
                .fault(entry.place.clone(), message)
                .note("allowed: letters, digits and _, not beginning with a digit or __, and not alertname");
        }
        match scalar_text(&entry.node) {
            Some(text) if text.contains("{{") => {
                findings
                    .fault(entry.node.place.clone(), "a label holds no places")
                    .note("labels are the identity of an alert: what changes belongs into annotations");
            }
            Some(text) if text.contains(char::is_control) => {
                findings.fault(entry.node.place.clone(), "a label holds no control characters");
            }
            _ => {}
        }
    }
    let labels = keys.labels("labels", findings);
    labels.into_iter().map(|(name, text)| (name.into(), text.into())).collect()
}

fn annotations(keys: &Keys<'_>, labels: &Labels, findings: &mut Findings) -> Vec<(Box<str>, Template)> {
    let Some(entry) = keys.some("annotations") else { return Vec::new() };
    let keys = Keys::open_any(entry, "annotations", findings);
    if keys.entries().len() > ANNOTATIONS_MAX {
        findings.fault(entry.place.clone(), format!("a rule may have {ANNOTATIONS_MAX} annotations"));
    }
    let mut annotations = Vec::new();
    for entry in keys.entries().iter().filter(|entry| !entry.node.is_null()) {
        if !is_label_name(&entry.key) {
            let message = format!("`{}` cannot be the name of an annotation", shown(&entry.key));
            findings.fault(entry.place.clone(), message).note("allowed: letters, digits and _");
        }
        let Some(text) = text_of(&entry.node, &keys.full(&entry.key), findings) else { continue };
        match Template::parse(text) {
            Ok(template) => {
                refuse_unknown_labels(&entry.node, &template, labels, findings);
                annotations.push((entry.key.as_str().into(), template));
            }
            Err(error) => tell(&entry.node, text, error, findings),
        }
    }
    annotations
}

/// A label that the rule has not would be empty in every message.
fn refuse_unknown_labels(node: &Node, template: &Template, labels: &Labels, findings: &mut Findings) {
    for piece in &template.pieces {
        if let Piece::Place(Place::Label(name)) = piece
            && !has(labels, name)
        {
            let message = format!("the rule has no label `{}`", shown(name));
            findings.fault(node.place.clone(), message);
        }
    }
}

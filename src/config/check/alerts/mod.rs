//! `alerts`: rules, in the config itself and in files of their own.
//!
//! The shape is that of Prometheus's rule files, with `when` in place of `expr`. What a rule says is read by
//! [`engine::alert::parse`](crate::engine::alert::parse); its faults are told where they stand in the file.
//! Limits: [`RULES_MAX`] rules, [`FILES_MAX`] files.

mod files;
mod rule;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use super::keys::Keys;
use crate::config::faults::{Findings, Place};
use crate::config::interpolate::Environment;
use crate::config::source::shown;
use crate::config::tree::{Entry, Value};
use crate::engine::alert::rule::Rule;

/// Every rule costs a little of every line.
const RULES_MAX: usize = 2_000;
/// Files that the globs may find.
const FILES_MAX: usize = 256;
/// Bytes in the name of a group or rule.
const NAME_MAX: usize = 200;

/// All rules, those of the config first.
pub(super) fn check(keys: &Keys<'_>, environment: &Environment, findings: &mut Findings) -> Arc<[Rule]> {
    let Some(entry) = keys.some("alerts") else { return Arc::default() };
    let keys = Keys::open(entry, "alerts", &["files", "groups"], findings);
    let mut rules = Rules::default();
    if let Some(groups) = keys.some("groups") {
        rules.add(groups, "alerts.groups", findings);
    }
    files::check(&keys, environment, &mut rules, findings);
    if rules.found.len() > RULES_MAX {
        findings
            .fault(entry.place.clone(), format!("there are {} rules", rules.found.len()))
            .note("allowed: 2,000");
    }
    rules.found.into()
}

/// What is found, group by group.
#[derive(Default)]
struct Rules {
    found: Vec<Rule>,
    /// Where each rule was named first, by its group and its own name.
    names: HashMap<(String, String), Place>,
}

impl Rules {
    /// Adds the rules of a list of groups.
    fn add(&mut self, groups: &Entry, path: &str, findings: &mut Findings) {
        let Value::List(groups) = &groups.node.value else {
            let message = format!("`{path}` must be a list, not {}", groups.node.what());
            findings.fault(groups.node.place.clone(), message).note("write - name: … with its rules: below");
            return;
        };
        for group in groups {
            let keys = Keys::of(group, "", findings);
            keys.refuse_unknown(&["name", "labels", "rules"], findings);
            let name = rule::name(&keys, "name", findings);
            let labels = rule::labels(&keys, findings);
            let Some(rules) = keys.some("rules") else {
                keys.missing("rules", "a list of rules: - alert: NAME with its when: below", findings);
                continue;
            };
            let Value::List(rules) = &rules.node.value else {
                let message = format!("`rules` must be a list, not {}", rules.node.what());
                findings.fault(rules.node.place.clone(), message);
                continue;
            };
            for node in rules {
                let keys = Keys::of(node, "", findings);
                let rule = rule::check(&keys, name.unwrap_or_default(), &labels, findings);
                self.note_name(&keys, name.unwrap_or_default(), findings);
                self.found.extend(rule);
            }
        }
    }

    /// A rule is known by its group and its name: two with the same would answer for each other.
    fn note_name(&mut self, keys: &Keys<'_>, group: &str, findings: &mut Findings) {
        let Some(entry) = keys.some("alert") else { return };
        let Some(name) = super::keys::scalar_text(&entry.node) else { return };
        let place = entry.node.place.clone();
        if let Some(first) = self.names.get(&(group.to_owned(), name.to_owned())) {
            let message = format!("the group `{}` has two rules named `{}`", shown(group), shown(name));
            findings.fault(place, message).note(format!("the other one: {first}"));
            return;
        }
        self.names.insert((group.to_owned(), name.to_owned()), place);
    }
}

//! `line.redact`: what is replaced before anything else sees a line.

use std::sync::Arc;

use super::keys::{Keys, Text, scalar_text};
use crate::config::faults::Findings;
use crate::config::source::shown;
use crate::config::tree::{Node, Value};
use crate::engine::line::redact::{READY_MADE, RULES_MAX, Redactor, Rule};
use crate::suggest::nearest;

const KNOWN: [&str; 2] = ["pattern", "replace"];
/// What is put in the place of what a pattern finds, unless the config says something else.
const REPLACEMENT: &str = "[redacted]";
/// Bytes of a replacement.
const REPLACEMENT_MAX: usize = 64;

/// Reads the list.
pub(super) fn check(line: &Keys<'_>, findings: &mut Findings) -> Option<Arc<Redactor>> {
    let entry = line.some("redact")?;
    let path = line.full("redact");
    let items: &[Node] = match &entry.node.value {
        Value::List(items) => items,
        // From the environment: one name.
        Value::Scalar(_) => std::slice::from_ref(&entry.node),
        Value::Map(_) => {
            let message = format!("`{path}` must be a list, not {}", entry.node.what());
            findings.fault(entry.node.place.clone(), message);
            return None;
        }
    };
    if items.len() > RULES_MAX {
        findings.fault(entry.node.place.clone(), format!("`{path}` has more than {RULES_MAX} rules"));
        return None;
    }
    let rules = items.iter().flat_map(|item| rules(item, &path, findings)).collect();
    match Redactor::new(rules) {
        Ok(redactor) => redactor.map(Arc::new),
        Err(error) => {
            findings.fault(entry.node.place.clone(), format!("`{path}` is too large as a whole: {error}"));
            None
        }
    }
}

fn rules(item: &Node, path: &str, findings: &mut Findings) -> Vec<Rule> {
    if let Some(name) = scalar_text(item) {
        return Rule::ready_made(name).unwrap_or_else(|| {
            let near = nearest(name, READY_MADE);
            let hint = near.map_or(String::new(), |name| format!(", did you mean `{name}`?"));
            let message = format!("`{path}` has no ready-made rule `{}`{hint}", shown(name));
            findings
                .fault(item.place.clone(), message)
                .note(format!("known: {}; else write {{ pattern: '…' }}", READY_MADE.join(", ")));
            Vec::new()
        });
    }
    let keys = Keys::of(item, path, findings);
    keys.refuse_unknown(&KNOWN, findings);
    if keys.some("pattern").is_none() {
        keys.missing("pattern", "what it matches, or what its groups hold, is replaced", findings);
    }
    let by = keys.text("replace", findings);
    if let Some(by) = by.as_ref().filter(|by| by.text.len() > REPLACEMENT_MAX) {
        let message = format!("`{}` is longer than {REPLACEMENT_MAX} bytes", keys.full("replace"));
        findings.fault(by.place.clone(), message);
    }
    let Some(Text { text, place }) = keys.text("pattern", findings) else { return Vec::new() };
    match Rule::new(text, by.map_or(REPLACEMENT, |by| by.text)) {
        Ok(rule) => vec![rule],
        Err(error) => {
            keys.no_pattern("pattern", place, &error.to_string(), findings);
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::load_text;

    #[test]
    fn what_is_wrong_is_told() {
        #[track_caller]
        fn check(redact: &str, want: &str) {
            let told =
                load_text(&format!("line: {{redact: {redact}}}")).map(|(config, _)| config.line.redact);
            match told {
                Ok(found) => assert_eq!((found.is_some(), want), (true, "")),
                Err(faults) => assert!(!want.is_empty() && faults.to_string().contains(want), "{faults}"),
            }
        }
        check("[email, card, token]", "");
        check("email", "");
        check("[{pattern: 'order=(\\d+)'}]", "");
        check("[emial]", "no ready-made rule `emial`, did you mean `email`?");
        check("{pattern: x}", "must be a list, not a mapping");
        check("[{pattern: '('}]", "is not a regular expression: unclosed group");
        check("[{pattern: '(a{1000}){1000}'}]", "is not a regular expression: ");
        check("[{replace: x}]", "`line.redact.pattern` is missing");
        check("[{pattern: x, by: y}]", "`by`");
        check(&format!("[{{pattern: x, replace: {}}}]", "y".repeat(65)), "longer than 64 bytes");
        check(&format!("[{}]", vec!["email"; 201].join(",")), "more than 200 rules");
    }
}

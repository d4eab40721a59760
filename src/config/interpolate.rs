//! `${NAME}` and `${NAME:-default}` inside values.
//!
//! This happens after parsing, so a variable can change a value but never add a key. What was replaced is untyped:
//! `first: ${FIRST}` is a number when the variable holds one. `$${` stands for `${`.

use super::faults::{Findings, Place};
use super::source::shown;
use super::tree::{Kind, Node, Scalar, Value};

/// The environment, handed in as data.
pub(super) type Environment = [(String, String)];

/// The value of a variable.
pub(super) fn variable<'a>(environment: &'a Environment, name: &str) -> Option<&'a str> {
    environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// Replaces in every value of the tree; keys stay as they are.
pub(super) fn interpolate(node: &mut Node, environment: &Environment, findings: &mut Findings) {
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|item| interpolate(item, environment, findings)),
        Value::Map(entries) => {
            entries.iter_mut().for_each(|entry| interpolate(&mut entry.node, environment, findings));
        }
        Value::Scalar(Scalar { kind: kind @ Kind::Text, text }) if text.contains("${") => {
            let replaced = replace(text, &node.place, environment, findings);
            if replaced.found {
                *kind = Kind::Untyped;
            }
            *text = replaced.text;
        }
        Value::Scalar(_) => {}
    }
}

struct Replaced {
    text: String,
    /// Whether a variable was there, rather than `$${` only.
    found: bool,
}

fn replace(text: &str, place: &Place, environment: &Environment, findings: &mut Findings) -> Replaced {
    let mut out = Replaced { text: String::with_capacity(text.len()), found: false };
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.text.push_str(&rest[..at - 1]);
            out.text.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.text.push_str(&rest[..at]);
        let Some(length) = rest[at..].find('}') else {
            let message = "`${` without its `}`";
            findings.fault(narrow(place, &rest[at..]), message).note("write $${ for the characters ${");
            return out;
        };
        let reference = &rest[at..=at + length];
        match resolve(reference, environment) {
            Ok(value) => out.text.push_str(value),
            Err(Unresolved { message, note }) => {
                findings.fault(narrow(place, reference), message).note(note);
            }
        }
        out.found = true;
        rest = &rest[at + length + 1..];
    }
    out.text.push_str(rest);
    out
}

struct Unresolved {
    message: String,
    note: String,
}

/// `${NAME}` or `${NAME:-default}` → its value.
fn resolve<'a>(reference: &'a str, environment: &'a Environment) -> Result<&'a str, Unresolved> {
    let inner = &reference[2..reference.len() - 1];
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let proper = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit());
    if !proper {
        return Err(Unresolved {
            message: format!("`{}` is not a reference to a variable", shown(reference)),
            note: "known forms: ${NAME}, ${NAME:-default}; $${ stands for ${".to_owned(),
        });
    }
    match (variable(environment, name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default),
        (None, None) => Err(Unresolved {
            message: format!("the environment variable {} is not set", shown(name)),
            note: format!("set it, or give a default: ${{{name}:-default}}"),
        }),
    }
}

/// The place of `part` inside the value at `place`, where it can be found there as it is.
fn narrow(place: &Place, part: &str) -> Place {
    if let Place::Text { source, span } = place
        && let Some(at) = source.text()[span.clone()].find(part)
    {
        let start = span.start + at;
        return Place::in_text(source, start..start + part.len());
    }
    place.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        #[track_caller]
        fn check(text: &str, want: Result<&str, &str>) {
            let environment = [("A".to_owned(), "1".to_owned()), ("EMPTY".to_owned(), String::new())];
            let mut findings = Findings::default();
            let out = replace(text, &Place::Flag("f".into()), &environment, &mut findings);
            match (findings.faults.first(), want) {
                (None, Ok(want)) => assert_eq!(out.text, want, "{text:?}"),
                (Some(fault), Err(want)) => assert!(fault.message().contains(want), "{text:?}: {fault}"),
                (fault, _) => panic!("{text:?}: {fault:?}, {:?}", out.text),
            }
        }
        check("plain", Ok("plain"));
        check("x${A}y${A}", Ok("x1y1"));
        check("${A:-2}", Ok("1"));
        check("${B:-2}", Ok("2"));
        check("${B:-}", Ok(""));
        check("${EMPTY}", Ok(""));
        check("${EMPTY:-2}", Ok("2"));
        check("$${A}", Ok("${A}"));
        check("$A $$ {A}", Ok("$A $$ {A}"));
        check("${B}", Err("variable B is not set"));
        check("${A", Err("without its `}`"));
        check("${}", Err("not a reference"));
        check("${A-2}", Err("not a reference"));
        check("${1}", Err("not a reference"));
        check("ä${ä}", Err("not a reference"));
    }
}

//! Keys of parts that this version does not have yet.
//!
//! They are known names. A value that means "off" is accepted in silence and the documented default with a warning,
//! since both ask for nothing that another config would get. Everything else is a fault: a limit or an alert that is
//! silently ignored is worse than a config that does not load.

use super::keys::{Keys, scalar};
use crate::config::faults::Findings;
use crate::config::quantity::docker_size;
use crate::config::source::Source;
use crate::config::tree::{self, Kind, Node, Value};

/// A key that is known but has no part behind it.
pub(super) struct Later {
    pub(super) name: &'static str,
    /// What the documentation gives as its default, as YAML.
    pub(super) default: &'static str,
}

/// Short for a table row.
pub(super) const fn later(name: &'static str, default: &'static str) -> Later {
    Later { name, default }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ask {
    Nothing,
    TheDefault,
    Something,
}

/// Checks all `keys` that are in `table`.
pub(super) fn check(keys: &Keys<'_>, table: &[Later], findings: &mut Findings) {
    for Later { name, default } in table {
        let Some(entry) = keys.entry(name) else { continue };
        // Our own text: a test reads every row, so the findings here stay empty.
        let default_node = tree::parse(&Source::new("default", default), &mut Findings::default());
        let path = keys.full(name);
        match asks(&entry.node, default_node.as_ref()) {
            Ask::Nothing => {}
            Ask::TheDefault => {
                let message = format!("`{path}` is not part of this version yet: it has no effect");
                findings.warn(entry.place.clone(), message);
            }
            Ask::Something => {
                let message =
                    format!("`{path}` is not part of this version yet; remove it or set it to its default");
                findings.fault(entry.place.clone(), message).note(format!("its default: {default}"));
            }
        }
    }
}

/// `outputs.file.max_size` must at least be a size, in Docker's spelling.
pub(super) fn check_docker_size(keys: &Keys<'_>, name: &str, findings: &mut Findings) {
    let Some(entry) = keys.some(name) else { return };
    let text = scalar(&entry.node, &[Kind::Integer, Kind::Float, Kind::Text, Kind::Untyped]);
    if text.and_then(|text| docker_size(text).ok()).is_none() {
        let message = format!("`{}` must be a size, not {}", keys.full(name), entry.node.what());
        findings
            .fault(entry.node.place.clone(), message)
            .note("write for example 10m (10,000,000 bytes) or 10MiB");
    }
}

fn asks(node: &Node, default: Option<&Node>) -> Ask {
    match &node.value {
        _ if node.is_null() => Ask::Nothing,
        Value::List(items) if items.is_empty() => Ask::Nothing,
        Value::Map(entries) => {
            let disabled = entries.iter().any(|entry| entry.key == "enabled" && says_no(&entry.node));
            if disabled {
                return Ask::Nothing;
            }
            let asked = entries.iter().map(|entry| asks(&entry.node, default_of(default, &entry.key)));
            asked.max().unwrap_or(Ask::Nothing)
        }
        // `off` is how a listening address is switched off.
        Value::Scalar(scalar) if says_no(node) || scalar.text == "off" => Ask::Nothing,
        _ if default.is_some_and(|default| same(node, default)) => Ask::TheDefault,
        _ => Ask::Something,
    }
}

fn says_no(node: &Node) -> bool {
    scalar(node, &[Kind::Bool, Kind::Untyped]) == Some("false")
}

fn default_of<'a>(default: Option<&'a Node>, key: &str) -> Option<&'a Node> {
    match &default?.value {
        Value::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node),
        _ => None,
    }
}

/// Whether both say the same; sizes may be spelled differently.
fn same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::Scalar(a), Value::Scalar(b)) => {
            a.text == b.text || docker_size(&a.text).is_ok_and(|size| docker_size(&b.text) == Ok(size))
        }
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        _ => false,
    }
}

//! Layers: files, then `SQUALL_…` variables, then flags; what comes later wins.
//!
//! Mappings merge key by key, everything else is replaced. A variable names its key in capitals with `__` between
//! the levels (`SQUALL_STORM__FIRST=3`), a flag with dots (`--set storm.first=3`). Both hold text without a type:
//! the key decides what it is. Where a list is wanted, commas part it; a text that begins with `[` or `{` is YAML.

use super::faults::{Findings, Place};
use super::interpolate::Environment;
use super::source::{Source, shown};
use super::tree::{self, Entry, Node, Value};
use crate::suggest::nearest;

/// What begins the name of each variable that sets a key.
const PREFIX: &str = "SQUALL_";
/// Variables that the command line reads itself.
const RESERVED: [&str; 5] =
    ["SQUALL_CONFIG", "SQUALL_CONFIG_DIR", "SQUALL_LOG", "SQUALL_LOG_FORMAT", "SQUALL_STATE"];
/// Mappings whose keys users choose and which may hold dots: what follows in a flag is one key.
const FREE: [&str; 2] = ["options", "labels"];
/// How many parts a key may have; ours have five.
const PARTS_MAX: usize = 16;

/// Lays `over` onto `base`. Keys do not go below a text or a list: that stays, and the check says what is wrong.
pub(super) fn merge(base: &mut Node, over: Node) {
    let holds_keys = matches!(base.value, Value::Map(_)) || base.is_null();
    match (&mut base.value, over.value) {
        (Value::Map(entries), Value::Map(more)) => {
            base.place = over.place;
            for entry in more {
                merge_entry(entries, entry);
            }
        }
        (_, Value::Map(_)) if !holds_keys => {}
        (_, value) => *base = Node { place: over.place, value },
    }
}

fn merge_entry(entries: &mut Vec<Entry>, over: Entry) {
    match entries.iter_mut().find(|entry| entry.key == over.key) {
        Some(entry) => {
            entry.place = over.place;
            merge(&mut entry.node, over.node);
        }
        None => entries.push(over),
    }
}

/// Lays every `SQUALL_…` variable onto the tree. `known` are the keys at the top.
pub(super) fn merge_environment(
    root: &mut Node,
    environment: &Environment,
    known: &[&str],
    findings: &mut Findings,
) {
    for (name, value) in environment {
        let Some(rest) = name.strip_prefix(PREFIX) else { continue };
        let place = Place::Variable(name.as_str().into());
        let path: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
        if !known.contains(&path[0].as_str()) {
            unknown_variable(name, &path, known, findings);
        } else if !is_path(&path) {
            let note = "write SQUALL_STORM__FIRST for storm.first";
            findings.fault(place, "the name of the variable is not a key").note(note);
        } else if let Some(node) = value_of(value, &place, findings) {
            let path = written_as(root, path);
            assign(root, &path, node);
        }
    }
}

/// With `__` it was surely meant for us. Without, it is told; but not what Kubernetes sets in every pod beside a
/// service named `squall` (`SQUALL_SERVICE_HOST`, `SQUALL_PORT_9599_TCP`, …).
fn unknown_variable(name: &str, path: &[String], known: &[&str], findings: &mut Findings) {
    let place = Place::Variable(name.into());
    let nearest = nearest(&path[0], known.iter().copied());
    let hint = nearest.map_or(String::new(), |key| format!(", did you mean `{key}`?"));
    let message = format!("no key `{}`{hint}", shown(&path[0]));
    let known = format!("known keys: {}", known.join(", "));
    if path.len() > 1 {
        findings.fault(place, message).note(known);
    } else if !RESERVED.contains(&name)
        && !name.starts_with("SQUALL_SERVICE_")
        && name != "SQUALL_PORT"
        && !name.starts_with("SQUALL_PORT_")
    {
        findings.warn(place, message).note(known);
    }
}

/// Lays each `key.path=value` onto the tree.
pub(super) fn merge_sets(root: &mut Node, sets: &[String], findings: &mut Findings) {
    for set in sets {
        let Some((keys, value)) = set.split_once('=') else {
            let place = Place::Flag(format!("--set {set}").into());
            findings.fault(place, "a value is missing").note("write --set storm.first=3");
            continue;
        };
        let place = Place::Flag(format!("--set {keys}").into());
        let path = flag_path(keys);
        if !is_path(&path) {
            findings.fault(place, "this is not a key").note("write --set storm.first=3");
        } else if let Some(node) = value_of(value, &place, findings) {
            assign(root, &path, node);
        }
    }
}

/// Whether every part says something, and there are not so many that walking them would exhaust the stack.
fn is_path(path: &[String]) -> bool {
    path.len() <= PARTS_MAX && !path.iter().any(String::is_empty)
}

fn flag_path(keys: &str) -> Vec<String> {
    let mut path: Vec<String> = Vec::new();
    for part in keys.trim().split('.') {
        match path.iter().position(|key| FREE.contains(&key.as_str())) {
            Some(free) if free + 1 < path.len() => {
                let last = path.len() - 1;
                path[last].push('.');
                path[last].push_str(part);
            }
            _ => path.push(part.to_owned()),
        }
    }
    path
}

/// A variable cannot say `api-gateway` or `linger.ms`: where the tree has a key that reads the same in capitals and
/// underscores, that one is meant. librdkafka's options are written with dots.
fn written_as(root: &Node, mut path: Vec<String>) -> Vec<String> {
    let mut node = Some(root);
    for index in 0..path.len() {
        let entries = match node.map(|node| &node.value) {
            Some(Value::Map(entries)) => entries.as_slice(),
            _ => &[],
        };
        let found = entries.iter().find(|entry| entry.key == path[index]).or_else(|| {
            entries.iter().find(|entry| entry.key.to_lowercase().replace(['-', '.', '/'], "_") == path[index])
        });
        node = found.map(|entry| &entry.node);
        match found {
            Some(entry) => path[index].clone_from(&entry.key),
            None if index > 0 && path[index - 1] == "options" => path[index] = path[index].replace('_', "."),
            None => {}
        }
    }
    path
}

fn value_of(text: &str, place: &Place, findings: &mut Findings) -> Option<Node> {
    if !text.trim_start().starts_with(['[', '{']) {
        return Some(Node::untyped(text, place.clone()));
    }
    let mut inner = Findings::default();
    let tree = tree::parse(&Source::new("", text), &mut inner);
    for fault in &inner.faults {
        findings.fault(place.clone(), fault.message());
    }
    tree.map(|tree| moved(tree, place))
}

/// The same tree, all of it said to be at `place`.
fn moved(mut node: Node, place: &Place) -> Node {
    node.place = place.clone();
    node.value = match node.value {
        Value::List(items) => Value::List(items.into_iter().map(|item| moved(item, place)).collect()),
        Value::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|entry| Entry { key: entry.key, place: place.clone(), node: moved(entry.node, place) })
                .collect(),
        ),
        scalar => scalar,
    };
    node
}

fn assign(root: &mut Node, path: &[String], node: Node) {
    // From the inside out, `a.b: v` becomes `{a: {b: v}}`, which then merges like a file would.
    let place = node.place.clone();
    let nested = path.iter().rev().fold(node, |node, key| {
        let entry = Entry { key: key.clone(), place: place.clone(), node };
        Node { place: place.clone(), value: Value::Map(vec![entry]) }
    });
    merge(root, nested);
}

#[cfg(test)]
mod tests {
    use crate::config::tests::pairs;
    use crate::config::{Config, Output, Sources, load};

    #[track_caller]
    fn loaded(texts: &[&str], env: &[(&str, &str)], sets: &[&str]) -> Config {
        let inline = texts.iter().map(|text| ("t".to_owned(), (*text).to_owned())).collect();
        let sets = sets.iter().map(|set| (*set).to_owned()).collect();
        match load(&Sources { inline, env: pairs(env), sets, ..Sources::default() }) {
            Ok((config, _)) => config,
            Err(faults) => panic!("{faults}"),
        }
    }

    #[test]
    fn later_wins() {
        #[track_caller]
        fn check(texts: &[&str], env: &[(&str, &str)], sets: &[&str], first: u32, enter: u32) {
            let storm = loaded(texts, env, sets).storm;
            assert_eq!((storm.first, storm.enter), (first, enter));
        }
        let env = &[("SQUALL_STORM__FIRST", "3")][..];
        check(&[], &[], &[], 5, 100);
        check(&["storm: {first: 1, enter: 7}"], &[], &[], 1, 7);
        check(&["storm: {first: 1, enter: 7}", "storm: {first: 2}"], &[], &[], 2, 7); // mappings merge
        check(&["storm: {first: 1, enter: 7}", "# empty"], &[], &[], 1, 7);
        check(&["storm: {first: 1, enter: 7}", "storm:"], &[], &[], 5, 100); // nothing means the default
        check(&["storm: {first: 1, enter: 7}"], env, &[], 3, 7);
        check(&["storm: {first: 1, enter: 7}"], env, &["storm.first=4"], 4, 7);
        check(&["storm: {first: 1, enter: 7}"], env, &["storm.first=4", "storm.first="], 5, 7);
        check(&[], &[], &["storm={first: 9, enter: 8}"], 9, 8);
        check(&[], &[("SQUALL_STORM", "{first: 9}")], &["storm.enter=8"], 9, 8);
        check(&["storm: {first: \"${FIRST}\"}"], &[("FIRST", "6")], &[], 6, 100);
    }

    #[test]
    fn lists_and_free_keys() {
        let kafka = "outputs: {kafka: {topic: t, brokers: [x:1], options: {linger.ms: 1}}}\ninputs: {api-gw: {type: stdin}}";
        let env = [
            ("SQUALL_OUTPUTS__KAFKA__BROKERS", "a:1, b:2"),
            ("SQUALL_OUTPUTS__KAFKA__OPTIONS__LINGER_MS", "2"),
            ("SQUALL_OUTPUTS__KAFKA__OPTIONS__CLIENT_RACK", "r"),
            ("SQUALL_INPUTS__API_GW__FORMAT", "cri"),
        ];
        let sets = [
            "outputs.kafka.options.socket.nagle.disable=true",
            "inputs.api-gw.labels.app.kubernetes.io/name=x=y",
            "outputs.kafka.topic=5",
        ];
        let config = loaded(&[kafka], &env, &sets);
        let [Output::Kafka(options)] = config.outputs.as_slice() else { panic!("{:?}", config.outputs) };
        assert_eq!(options.brokers, ["a:1", "b:2"]);
        assert_eq!(options.topic, "5");
        let extra = [("linger.ms", "2"), ("client.rack", "r"), ("socket.nagle.disable", "true")];
        assert_eq!(options.extra, pairs(&extra));
        assert_eq!(config.inputs.len(), 1);
        assert_eq!(config.inputs[0].format, crate::engine::frame::Format::Cri);
        assert_eq!(config.inputs[0].labels, pairs(&[("app.kubernetes.io/name", "x=y")]));
    }

    #[test]
    fn variables_that_are_no_keys() {
        #[track_caller]
        fn check(name: &str, faults: usize, warnings: usize) {
            let found = load(&Sources { env: pairs(&[(name, "1")]), ..Sources::default() });
            let found = match found {
                Ok((_, warnings)) => (0, warnings.len()),
                Err(faults) => (faults.iter().count(), faults.warnings().len()),
            };
            assert_eq!(found, (faults, warnings), "{name}");
        }
        check("SQUALLY", 0, 0);
        check("SQUALL_LOG", 0, 0); // the command line reads it
        check("SQUALL_SERVICE_HOST", 0, 0); // Kubernetes sets it
        check("SQUALL_PORT_9599_TCP_ADDR", 0, 0);
        check("SQUALL_STROM", 0, 1);
        check("SQUALL_STROM__FIRST", 1, 0);
        check("SQUALL_STORM__FISRT", 1, 0);
        check("SQUALL_STORM____FIRST", 1, 0);
        check("SQUALL_", 0, 1);
        check(&format!("SQUALL_STORM{}", "__A".repeat(100_000)), 1, 0);
    }
}

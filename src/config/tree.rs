//! YAML text → a tree that remembers where every key and value was written.
//!
//! In: one [`Source`]. Out: its [`Node`], or the faults that kept it from being read; keys that occur twice are
//! faults, but the tree is still built so that the rest can be checked as well.
//! Limits: [`DEPTH_MAX`], [`NODES_MAX`] and friends; an alias bomb is refused by the library's budget before it
//! unfolds. Merge keys (`<<`) and unknown tags are refused: they are two more ways to write what plain YAML can say.
//! Not here: what the keys mean (`check`).

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy};
use serde_saphyr::{NonFiniteFloatPolicy, Spanned};

use super::faults::{Findings, Place, Source};
use super::source::shown;
use crate::terminal::visible;

/// How deep lists and mappings may stand in each other. Ours go six deep.
const DEPTH_MAX: usize = 32;
/// Lists, mappings and values in one file. A thousand inputs with every key set need 12,000.
const NODES_MAX: usize = 50_000;
/// Bytes of values in one file, aliases unfolded.
const TEXT_MAX: usize = 4 << 20;
/// Nodes that may be repeated through aliases.
const REPLAYED_MAX: usize = 10_000;

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a mapping with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) node: Node,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scalar {
    pub(super) kind: Kind,
    /// As written, without quotes: `1.10` stays `1.10`.
    pub(super) text: String,
}

/// What YAML takes a scalar for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool,
    Integer,
    Float,
    Text,
    /// It came from a place without types (an environment variable, a flag): the key decides what it is.
    Untyped,
}

impl Node {
    /// A value from a place without types.
    pub(super) fn untyped(text: &str, place: Place) -> Node {
        Node { place, value: Value::Scalar(Scalar { kind: Kind::Untyped, text: text.to_owned() }) }
    }

    /// Whether this says "nothing".
    pub(super) fn is_null(&self) -> bool {
        match &self.value {
            Value::Scalar(scalar) => match scalar.kind {
                Kind::Null => true,
                Kind::Untyped => matches!(scalar.text.as_str(), "" | "null" | "~"),
                _ => false,
            },
            _ => false,
        }
    }

    /// What this is, for people: `a list`, `` the text `x` ``.
    pub(super) fn what(&self) -> String {
        match &self.value {
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
            Value::Scalar(Scalar { kind, text }) => match kind {
                Kind::Null => "nothing".to_owned(),
                Kind::Bool => format!("`{}`", shown(text)),
                Kind::Integer | Kind::Float => format!("the number {}", shown(text)),
                Kind::Untyped => format!("`{}`", shown(text)),
                Kind::Text => format!("the text `{}`", shown(text)),
            },
        }
    }
}

/// Reads one source. `None` when it is not YAML at all; then there is a fault that says so.
pub(super) fn parse(source: &Arc<Source>, findings: &mut Findings) -> Option<Node> {
    let error = match read(source, DuplicateKeyPolicy::Error) {
        Ok(root) => return Some(build(&root, source, findings)),
        // The library stops at the first duplicate key. Read again without that check: `build` finds all of them.
        Err(strict) => match read(source, DuplicateKeyPolicy::LastWins) {
            Ok(root) => {
                let faults_before = findings.faults.len();
                let tree = build(&root, source, findings);
                if findings.faults.len() > faults_before {
                    return Some(tree);
                }
                strict
            }
            Err(lenient) => lenient,
        },
    };
    findings.fault(syntax_place(&error, source), syntax_message(&error));
    None
}

fn read(source: &Source, duplicate_keys: DuplicateKeyPolicy) -> Result<Spanned<Raw>, serde_saphyr::Error> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            flow_nesting_limit: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_total_scalar_bytes: TEXT_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: REPLAYED_MAX },
        duplicate_keys: duplicate_keys,
        merge_keys: MergeKeyPolicy::Error,
        // `no`, `on`, `off` stay words: a label `country: no` is Norway.
        strict_booleans: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(source.text(), options)
}

fn syntax_place(error: &serde_saphyr::Error, source: &Arc<Source>) -> Place {
    match error.location() {
        Some(location) => Place::in_text(source, span(&location, source)),
        None => Place::in_text(source, 0..0),
    }
}

fn syntax_message(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error;
    match error {
        Error::AliasError { error, .. } => syntax_message(error),
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("duplicate key `{}`", shown(key)),
        Error::MultipleDocuments { .. } => {
            "a config is one YAML document, and here begins a second one".to_owned()
        }
        Error::MergeKeyNotAllowed { .. } => {
            "merge keys (`<<`) are not supported: write the keys out".to_owned()
        }
        Error::AliasReplayLimitExceeded { .. } => {
            format!("the aliases unfold to more than {REPLAYED_MAX} values")
        }
        _ => {
            let text = error.render();
            // The position stands below the message, with the line; the library's copy of it would only be noise.
            let text = text.find(" at line ").map_or(text.as_str(), |cut| &text[..cut]);
            visible(text.trim().trim_start_matches("error: ")).into_owned()
        }
    }
}

/// The bytes that a location means. The library knows bytes only for some; else line and column are counted out.
fn span(location: &serde_saphyr::Location, source: &Source) -> Range<usize> {
    let span = location.span();
    let start = match span.byte_offset() {
        Some(offset) => usize::try_from(offset).unwrap_or(usize::MAX),
        None => source.offset(location.line(), location.column()),
    };
    let length = usize::try_from(span.byte_len().unwrap_or(0)).unwrap_or(0);
    source.clamp(start..start.saturating_add(length))
}

fn build(raw: &Spanned<Raw>, source: &Arc<Source>, findings: &mut Findings) -> Node {
    let span = span(&raw.defined, source);
    let scalar = |kind, text: String| Value::Scalar(Scalar { kind, text });
    let written = || source.text()[span.clone()].trim().to_owned();
    let value = match &raw.value {
        Raw::Null => scalar(Kind::Null, String::new()),
        Raw::Bool(truth) => scalar(Kind::Bool, truth.to_string()),
        Raw::Integer => scalar(Kind::Integer, written()),
        Raw::Float => scalar(Kind::Float, written()),
        Raw::Text(text) => scalar(Kind::Text, text.clone()),
        Raw::List(items) => Value::List(items.iter().map(|item| build(item, source, findings)).collect()),
        Raw::Map(entries) => Value::Map(build_map(entries, source, findings)),
    };
    Node { place: Place::in_text(source, span), value }
}

fn build_map(
    raw: &[(Spanned<String>, Spanned<Raw>)],
    source: &Arc<Source>,
    findings: &mut Findings,
) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::with_capacity(raw.len());
    let mut firsts: HashMap<&str, Place> = HashMap::with_capacity(raw.len());
    for (key, value) in raw {
        let place = Place::in_text(source, span(&key.defined, source));
        if let Some(first) = firsts.get(key.value.as_str()) {
            let line = first.position().map_or(0, |(line, _)| line);
            let message = format!("duplicate key `{}`", shown(&key.value));
            findings.fault(place, message).note(format!("it stands already in line {line}"));
            continue;
        }
        firsts.insert(&key.value, place.clone());
        entries.push(Entry { key: key.value.clone(), place, node: build(value, source, findings) });
    }
    entries
}

/// What serde hands us, before places are attached.
enum Raw {
    Null,
    Bool(bool),
    Integer,
    Float,
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(truth))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Integer)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Integer)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Float)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_text(text: &str) -> (Option<Node>, Vec<String>) {
        let mut findings = Findings::default();
        let tree = parse(&Source::new("t", text), &mut findings);
        (tree, findings.faults.iter().map(|fault| fault.message().to_owned()).collect())
    }

    #[test]
    fn kinds_and_texts() {
        #[track_caller]
        fn check(yaml: &str, kind: Kind, text: &str) {
            match read_text(yaml) {
                (Some(Node { value: Value::Scalar(scalar), .. }), faults) => {
                    assert_eq!(scalar, Scalar { kind, text: text.to_owned() }, "{yaml:?}");
                    assert!(faults.is_empty(), "{yaml:?}: {faults:?}");
                }
                other => panic!("{yaml:?}: {other:?}"),
            }
        }
        check("", Kind::Null, "");
        check("# only a comment\n", Kind::Null, "");
        check("~", Kind::Null, "");
        check("true", Kind::Bool, "true");
        check("no", Kind::Text, "no"); // Norway
        check("1.10", Kind::Float, "1.10"); // the zero is kept
        check("0x1F", Kind::Integer, "0x1F");
        check("-5", Kind::Integer, "-5");
        check("\"5\"", Kind::Text, "5");
        check("10s", Kind::Text, "10s");
        check(".inf", Kind::Text, ".inf");
        check("1e999", Kind::Text, ".inf");
        check("\u{feff}5", Kind::Integer, "5");
    }

    #[test]
    fn not_yaml() {
        #[track_caller]
        fn check(yaml: &str, want: &[&str]) {
            let (tree, faults) = read_text(yaml);
            assert!(tree.is_none(), "{yaml:?}: {tree:?}");
            assert_eq!(faults, want, "{yaml:?}");
        }
        check("a: {", &["unclosed bracket '{'"]);
        check("a: 1\n---\nb: 2", &["a config is one YAML document, and here begins a second one"]);
        check("<<: {a: 1}", &["merge keys (`<<`) are not supported: write the keys out"]);
        check("a: *b", &["alias references unknown anchor"]);
        check("a: !run x", &["unsupported tag `!run`"]);
        check("1: a\n0x1: b", &["duplicate key `0x1`"]);
        check("a: 1\na: 2\nb: {", &["unclosed bracket '{'"]); // the syntax comes first
    }

    #[test]
    fn all_duplicate_keys_are_found() {
        let (tree, faults) = read_text("a: 1\nb: {c: 1, c: 2}\na: 2\na: 3\n");
        assert!(tree.is_some());
        assert_eq!(faults, ["duplicate key `c`", "duplicate key `a`", "duplicate key `a`"]);
    }

    #[test]
    fn aliases_work_but_bombs_do_not() {
        let (tree, faults) = read_text("a: &x [1, 2]\nb: *x\n");
        assert!(tree.is_some() && faults.is_empty(), "{faults:?}");

        let mut bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1]\n".to_owned();
        for level in 1..12 {
            let below = level - 1;
            bomb += &format!("a{level}: &a{level} [{}*a{below}]\n", format!("*a{below},").repeat(8));
        }
        let (tree, faults) = read_text(&bomb);
        assert!(tree.is_none());
        assert_eq!(faults, ["the aliases unfold to more than 10000 values"]);
    }

    #[test]
    fn depth_is_limited() {
        for (open, close) in [("[", "]"), ("{a: ", "}"), ("[{a: ", "}]")] {
            let deep = format!("{}1{}", open.repeat(5_000), close.repeat(5_000));
            let (tree, faults) = read_text(&deep);
            assert!(tree.is_none());
            assert_eq!(faults.len(), 1, "{faults:?}");
        }
    }

    /// Every place must be the very text of its key or value.
    fn assert_places(node: &Node) {
        let written = |place: &Place| match place {
            Place::Text { source, span } => source.text()[span.clone()].to_owned(),
            other => panic!("{other}"),
        };
        match &node.value {
            Value::Scalar(scalar) => assert_eq!(written(&node.place), scalar.text),
            Value::List(items) => items.iter().for_each(assert_places),
            Value::Map(entries) => entries.iter().for_each(|entry| {
                assert_eq!(written(&entry.place), entry.key);
                assert_places(&entry.node);
            }),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn places_are_the_text(words in prop::collection::vec(("kü?[a-z]{1,5}", 0usize..4, 0usize..3), 1..12)) {
            // Each word becomes a key with a list in flow style or a mapping below it, at some indentation.
            let mut yaml = String::new();
            for (index, (word, indent, shape)) in words.iter().enumerate() {
                let pad = " ".repeat(indent + 1);
                yaml += &match shape {
                    0 => format!("{word}{index}:{pad}{word}\n"),
                    1 => format!("# ü\n{word}{index}:{pad}[{word},{pad}{index}, true ]\r\n"),
                    _ => format!("{word}{index}:\n{pad}{word}: {{ü{word}: {word}}} # {word}\n"),
                };
            }
            let (tree, faults) = read_text(&yaml);
            prop_assert!(faults.is_empty(), "{yaml}\n{faults:?}");
            assert_places(&tree.expect("no faults"));
        }
    }
}

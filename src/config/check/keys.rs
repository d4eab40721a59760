//! Typed getters for the keys of one mapping. None of them stops: a fault is noted and the default goes on, so that
//! one run finds everything. A key without a value (`first:`) means its default.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::faults::{Finding, Findings, Place};
use crate::config::quantity::{self, show_size, show_time};
use crate::config::source::shown;
use crate::config::tree::{Entry, Kind, Node, Scalar, Value};
use crate::suggest::nearest;
use crate::units::Bytes;
use crate::units::grouped;

/// Labels of one input or instance.
const LABELS_MAX: usize = 64;
/// Bytes in the name or value of a label.
const LABEL_MAX: usize = 1024;

/// The keys of one mapping, all of them known.
pub(super) struct Keys<'a> {
    /// Where the mapping is, for what is missing in it.
    pub(super) place: Place,
    path: String,
    entries: &'a [Entry],
}

/// A text and where it stands.
pub(super) struct Text<'a> {
    pub(super) text: &'a str,
    pub(super) place: Place,
}

impl<'a> Keys<'a> {
    /// The keys below `entry`; every key that is not in `known` is a fault. `path` is the full key of the mapping.
    pub(super) fn open(entry: &'a Entry, path: &str, known: &[&str], findings: &mut Findings) -> Keys<'a> {
        let keys = Keys::open_any(entry, path, findings);
        keys.refuse_unknown(known, findings);
        keys
    }

    /// The same, for a mapping whose keys the user chooses.
    pub(super) fn open_any(entry: &'a Entry, path: &str, findings: &mut Findings) -> Keys<'a> {
        Keys { place: entry.place.clone(), ..Keys::of(&entry.node, path, findings) }
    }

    /// The keys of a mapping that stands in a list, or at the top of a file.
    pub(super) fn of(node: &'a Node, path: &str, findings: &mut Findings) -> Keys<'a> {
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            _ if node.is_null() => &[],
            _ if path.is_empty() => {
                let message = format!("here must be a mapping (`key: value`), not {}", node.what());
                findings.fault(node.place.clone(), message);
                &[]
            }
            _ => {
                wrong(node, path, "a mapping", findings);
                &[]
            }
        };
        Keys { place: node.place.clone(), path: path.to_owned(), entries }
    }

    /// The keys of the whole config.
    pub(super) fn root(node: &'a Node, known: &[&str], findings: &mut Findings) -> Keys<'a> {
        let entries = match &node.value {
            Value::Map(entries) => entries.as_slice(),
            _ if node.is_null() => &[],
            _ => {
                let message = format!("a config must be a mapping (`key: value`), not {}", node.what());
                findings.fault(node.place.clone(), message);
                &[]
            }
        };
        let keys = Keys { place: node.place.clone(), path: String::new(), entries };
        keys.refuse_unknown(known, findings);
        keys
    }

    /// Notes every key that is not in `known`.
    pub(super) fn refuse_unknown(&self, known: &[&str], findings: &mut Findings) {
        for entry in self.entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let file = format!("{}_file", entry.key);
            if known.contains(&file.as_str()) {
                let message = format!("`{}` is read from a file only", self.full(&entry.key));
                findings.fault(entry.place.clone(), message).note(format!(
                    "write `{file}: PATH`: what stands in a config ends up in backups, tickets and process lists"
                ));
                continue;
            }
            let hint = nearest(&entry.key, known.iter().copied())
                .map_or(String::new(), |key| format!(", did you mean `{key}`?"));
            let message = format!("unknown key `{}`{hint}", shown(&entry.key));
            findings.fault(entry.place.clone(), message).note(format!("known keys: {}", known.join(", ")));
        }
    }

    /// The key with its whole path: `storm.first`.
    pub(super) fn full(&self, name: &str) -> String {
        let name = shown(name);
        if self.path.is_empty() { name.into_owned() } else { format!("{}.{name}", self.path) }
    }

    /// All entries, in the order of the file.
    pub(super) fn entries(&self) -> &'a [Entry] {
        self.entries
    }

    /// The entry, whatever it holds.
    pub(super) fn entry(&self, name: &str) -> Option<&'a Entry> {
        self.entries.iter().find(|entry| entry.key == name)
    }

    /// The entry when it says something.
    pub(super) fn some(&self, name: &str) -> Option<&'a Entry> {
        self.entry(name).filter(|entry| !entry.node.is_null())
    }

    /// Notes that `name` is needed, and what it may be.
    pub(super) fn missing(&self, name: &str, note: &str, findings: &mut Findings) {
        let message = format!("`{}` is missing", self.full(name));
        findings.fault(self.place.clone(), message).note(note);
    }

    /// A whole number.
    pub(super) fn number<N: TryFrom<u64>>(
        &self,
        name: &str,
        range: RangeInclusive<u64>,
        default: N,
        findings: &mut Findings,
    ) -> N {
        let Some(entry) = self.some(name) else { return default };
        // YAML takes an integer with too many digits for a float; to the user it is out of range.
        let text =
            scalar(&entry.node, &[Kind::Integer, Kind::Untyped])
                .or(scalar(&entry.node, &[Kind::Float]).filter(|text| is_integer(text)));
        let Some(text) = text else {
            wrong(&entry.node, &self.full(name), "a whole number", findings);
            return default;
        };
        let number = match text.replace('_', "").parse::<u64>() {
            Ok(number) => number,
            Err(_) if is_integer(text) => u64::MAX,
            Err(_) => {
                wrong(&entry.node, &self.full(name), "a whole number", findings);
                return default;
            }
        };
        let inside = range.contains(&number).then(|| N::try_from(number).ok()).flatten();
        inside.unwrap_or_else(|| {
            let range = format!("{} to {}", grouped(*range.start()), grouped(*range.end()));
            self.out_of_range(entry, &range, findings);
            default
        })
    }

    /// A size in bytes.
    pub(super) fn size(
        &self,
        name: &str,
        range: RangeInclusive<Bytes>,
        default: Bytes,
        findings: &mut Findings,
    ) -> Bytes {
        let Some(entry) = self.some(name) else { return default };
        let Some(size) = self.quantity(entry, "a size", quantity::size, findings) else { return default };
        if range.contains(&size) {
            return size;
        }
        let range = format!("{} to {}", show_size(*range.start()), show_size(*range.end()));
        self.out_of_range(entry, &range, findings);
        default
    }

    /// A length of time.
    pub(super) fn time(
        &self,
        name: &str,
        range: RangeInclusive<Duration>,
        default: Duration,
        findings: &mut Findings,
    ) -> Duration {
        let Some(entry) = self.some(name) else { return default };
        let Some(time) = self.quantity(entry, "a time", quantity::time, findings) else { return default };
        if range.contains(&time) {
            return time;
        }
        let range = format!("{} to {}", show_time(*range.start()), show_time(*range.end()));
        self.out_of_range(entry, &range, findings);
        default
    }

    fn quantity<Q>(
        &self,
        entry: &Entry,
        noun: &str,
        read: fn(&str) -> Result<Q, String>,
        findings: &mut Findings,
    ) -> Option<Q> {
        let path = self.full(&entry.key);
        let Some(text) = scalar(&entry.node, &[Kind::Integer, Kind::Float, Kind::Text, Kind::Untyped]) else {
            wrong(&entry.node, &path, noun, findings);
            return None;
        };
        match read(text.trim()) {
            Ok(quantity) => Some(quantity),
            Err(note) => {
                let message = format!("`{path}` must be {noun}, not {}", entry.node.what());
                findings.fault(entry.node.place.clone(), message).note(note);
                None
            }
        }
    }

    fn out_of_range(&self, entry: &Entry, range: &str, findings: &mut Findings) {
        let text = scalar(&entry.node, &[Kind::Integer, Kind::Float, Kind::Text, Kind::Untyped]);
        let message = format!(
            "`{}` must be from {range}, not {}",
            self.full(&entry.key),
            text.map_or(entry.node.what(), |text| shown(text).into_owned())
        );
        findings.fault(entry.node.place.clone(), message);
    }

    /// `true` or `false`.
    pub(super) fn truth(&self, name: &str, default: bool, findings: &mut Findings) -> bool {
        let Some(entry) = self.some(name) else { return default };
        match scalar(&entry.node, &[Kind::Bool, Kind::Untyped]) {
            Some("true") => true,
            Some("false") => false,
            _ => {
                wrong(&entry.node, &self.full(name), "true or false", findings);
                default
            }
        }
    }

    /// One of some words; `words` holds each with its meaning, the default first.
    pub(super) fn word<T: Copy>(
        &self,
        name: &str,
        words: &[(&str, T)],
        default: T,
        findings: &mut Findings,
    ) -> T {
        let Some(entry) = self.some(name) else { return default };
        let known = || words.iter().map(|(word, _)| *word);
        let text = scalar(&entry.node, &[Kind::Text, Kind::Untyped]);
        if let Some((_, meaning)) = words.iter().find(|(word, _)| Some(*word) == text) {
            return *meaning;
        }
        let hint = text.and_then(|text| nearest(text, known()));
        let hint = hint.map_or(String::new(), |word| format!(", did you mean `{word}`?"));
        let message = format!("`{}` cannot be {}{hint}", self.full(name), entry.node.what());
        let note = format!("allowed: {}", known().collect::<Vec<_>>().join(", "));
        findings.fault(entry.node.place.clone(), message).note(note);
        default
    }

    /// A text that is not empty.
    pub(super) fn text(&self, name: &str, findings: &mut Findings) -> Option<Text<'a>> {
        let entry = self.some(name)?;
        text_of(&entry.node, &self.full(name), findings)
    }

    /// The path of a file or directory.
    pub(super) fn path(&self, name: &str, findings: &mut Findings) -> Option<PathBuf> {
        self.text(name, findings).map(|path| path.text.into())
    }

    /// Notes that a text is no regular expression; notes can be put onto what comes back.
    pub(super) fn no_pattern<'f>(
        &self,
        name: &str,
        place: Place,
        error: &str,
        findings: &'f mut Findings,
    ) -> &'f mut Finding {
        // The lines above the last one draw the place, as we do ourselves.
        let last = error.lines().last().unwrap_or_default().trim();
        let why = shown(last.trim_start_matches("error: "));
        findings.fault(place, format!("`{}` is not a regular expression: {why}", self.full(name)))
    }

    /// A list of texts, none of them empty. From a place without types, commas part the list.
    pub(super) fn texts(&self, name: &str, findings: &mut Findings) -> Vec<Text<'a>> {
        let Some(entry) = self.some(name) else { return Vec::new() };
        match &entry.node.value {
            Value::List(items) => {
                items.iter().filter_map(|item| text_of(item, &self.full(name), findings)).collect()
            }
            Value::Scalar(Scalar { kind: Kind::Untyped, text }) => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                parts.map(|text| Text { text, place: entry.node.place.clone() }).collect()
            }
            _ => {
                wrong(&entry.node, &self.full(name), "a list", findings);
                Vec::new()
            }
        }
    }

    /// A mapping of names to texts; numbers and truths are taken as they were written.
    pub(super) fn labels(&self, name: &str, findings: &mut Findings) -> Vec<(String, String)> {
        let Some(entry) = self.some(name) else { return Vec::new() };
        let keys = Keys::open_any(entry, &self.full(name), findings);
        if keys.entries.len() > LABELS_MAX {
            let message = format!("`{}` has more than {LABELS_MAX} labels", self.full(name));
            findings.fault(entry.place.clone(), message);
        }
        let mut labels = Vec::new();
        for label in keys.entries {
            let text =
                scalar(&label.node, &[Kind::Bool, Kind::Integer, Kind::Float, Kind::Text, Kind::Untyped]);
            match text {
                _ if label.node.is_null() => {}
                Some(text) if text.len() <= LABEL_MAX && (1..=LABEL_MAX).contains(&label.key.len()) => {
                    labels.push((label.key.clone(), text.to_owned()));
                }
                Some(_) => {
                    let message =
                        format!("a label's name and value may have 1 to {} bytes", grouped(LABEL_MAX as u64));
                    findings.fault(label.place.clone(), message);
                }
                None => wrong(&label.node, &keys.full(&label.key), "a text", findings),
            }
        }
        labels
    }
}

/// The text of a scalar of one of these kinds.
pub(super) fn scalar<'a>(node: &'a Node, kinds: &[Kind]) -> Option<&'a str> {
    match &node.value {
        Value::Scalar(Scalar { kind, text }) if kinds.contains(kind) => Some(text),
        _ => None,
    }
}

/// A text, an untyped one, or what YAML takes for a number or truth, as it was written.
pub(super) fn scalar_text(node: &Node) -> Option<&str> {
    scalar(node, &[Kind::Bool, Kind::Integer, Kind::Float, Kind::Text, Kind::Untyped])
}

fn text_of<'a>(node: &'a Node, path: &str, findings: &mut Findings) -> Option<Text<'a>> {
    let Some(text) = scalar(node, &[Kind::Text, Kind::Untyped]) else {
        let quote = scalar(node, &[Kind::Bool, Kind::Integer, Kind::Float]);
        let fault = wrong_with_note(node, path, "a text", findings);
        if let Some(text) = quote {
            fault.note(format!("put it into quotes: \"{}\"", shown(text)));
        }
        return None;
    };
    if text.is_empty() {
        findings.fault(node.place.clone(), format!("`{path}` must not be empty"));
        return None;
    }
    if text.contains(|letter: char| letter.is_control()) {
        findings.fault(node.place.clone(), format!("`{path}` holds a control character"));
        return None;
    }
    Some(Text { text, place: node.place.clone() })
}

fn wrong(node: &Node, path: &str, want: &str, findings: &mut Findings) {
    wrong_with_note(node, path, want, findings);
}

fn wrong_with_note<'f>(node: &Node, path: &str, want: &str, findings: &'f mut Findings) -> &'f mut Finding {
    findings.fault(node.place.clone(), format!("`{path}` must be {want}, not {}", node.what()))
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

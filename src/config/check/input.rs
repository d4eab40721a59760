//! `inputs`: where bytes come from.

use std::path::PathBuf;

use jiff::fmt::temporal::DateTimeParser;
use jiff::tz::TimeZone;

use super::keys::{Keys, Text};
use super::multiline;
use crate::config::faults::Findings;
use crate::config::source::shown;
use crate::config::tree::Entry;
use crate::config::{Input, InputKind};
use crate::engine::frame::Format;
use crate::engine::storm::Collapse;
use crate::input::tail;
use crate::suggest::nearest;

const KNOWN: [&str; 10] =
    ["type", "include", "exclude", "roots", "from", "format", "collapse", "labels", "timezone", "multiline"];
/// Keys that only make sense for files.
const FILES_ONLY: [&str; 4] = ["include", "exclude", "roots", "from"];
/// Bytes in the name of an input, which is a label of metrics.
const NAME_MAX: usize = 64;

const COLLAPSE: [(&str, Collapse); 4] = [
    ("storms", Collapse::Storms),
    ("never", Collapse::Never),
    ("repeats", Collapse::Repeats),
    ("always", Collapse::Always),
];
const FORMAT: [(&str, Format); 4] =
    [("auto", Format::Auto), ("plain", Format::Plain), ("docker", Format::Docker), ("cri", Format::Cri)];
const FROM: [(&str, tail::From); 3] =
    [("checkpoint", tail::From::Checkpoint), ("start", tail::From::Start), ("end", tail::From::End)];

#[derive(Clone, Copy)]
enum Type {
    Tail,
    Stdin,
}

/// All inputs, in the order of the file.
pub(super) fn check(entry: &Entry, findings: &mut Findings) -> Vec<Input> {
    let keys = Keys::open_any(entry, "inputs", findings);
    keys.entries().iter().filter_map(|entry| check_input(&keys, entry, findings)).collect()
}

fn check_input(all: &Keys<'_>, entry: &Entry, findings: &mut Findings) -> Option<Input> {
    let path = all.full(&entry.key);
    if entry.node.is_null() {
        findings.warn(entry.place.clone(), format!("`{path}` is empty, so there is no such input"));
        return None;
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if entry.key.len() > NAME_MAX || entry.key.is_empty() || !entry.key.bytes().all(allowed) {
        let message = format!("`{}` cannot be the name of an input", shown(&entry.key));
        findings.fault(entry.place.clone(), message).note("allowed: 1 to 64 of a-z A-Z 0-9 . _ -");
    }
    let keys = Keys::open(entry, &path, &KNOWN, findings);
    if keys.some("type").is_none() {
        keys.missing("type", "allowed: tail, stdin", findings);
    }
    let kind = match keys.word("type", &[("tail", Type::Tail), ("stdin", Type::Stdin)], Type::Tail, findings)
    {
        Type::Tail => InputKind::Tail(check_tail(&keys, findings)),
        Type::Stdin => {
            refuse_files_only(&keys, findings);
            InputKind::Stdin
        }
    };
    let mut input = Input::new(&entry.key, kind);
    input.format = keys.word("format", &FORMAT, input.format, findings);
    check_lines(&keys, &mut input, findings);
    Some(input)
}

/// What becomes of the lines, however they come.
pub(super) fn check_lines(keys: &Keys<'_>, input: &mut Input, findings: &mut Findings) {
    input.collapse = keys.word("collapse", &COLLAPSE, input.collapse, findings);
    input.labels = keys.labels("labels", findings);
    if let Some(zone) = keys.text("timezone", findings) {
        input.timezone = check_timezone(keys, &zone, findings).unwrap_or(TimeZone::UTC);
    }
    input.multiline = multiline::check(keys, findings);
}

fn check_tail(keys: &Keys<'_>, findings: &mut Findings) -> tail::Options {
    let faults_before = findings.faults.len();
    let mut options = tail::Options::default();
    options.include.extend(check_globs(keys, "include", findings));
    options.exclude.extend(check_globs(keys, "exclude", findings));
    if keys.some("include").is_none() {
        keys.missing("include", "write for example include: [/var/log/app/*.log]", findings);
    } else if options.include.is_empty() && findings.faults.len() == faults_before {
        keys.missing("include", "the list is empty: nothing would be read", findings);
    }
    options.from = keys.word("from", &FROM, options.from, findings);
    options.roots = keys.texts("roots", findings).into_iter().map(|root| PathBuf::from(root.text)).collect();
    if let Some(root) = options.roots.iter().find(|root| !root.is_absolute())
        && let Some(entry) = keys.some("roots")
    {
        let message = format!("`{}` must be directories from / on, not {:?}", keys.full("roots"), root);
        findings.fault(entry.place.clone(), message);
    }
    options
}

fn check_globs(keys: &Keys<'_>, name: &str, findings: &mut Findings) -> Vec<String> {
    let mut globs = Vec::new();
    for Text { text, place } in keys.texts(name, findings) {
        match glob::Pattern::new(text) {
            Ok(_) => globs.push(text.to_owned()),
            Err(error) => {
                let message =
                    format!("`{}` is not a glob: {} (character {})", shown(text), error.msg, error.pos + 1);
                findings
                    .fault(place, message)
                    .note("known: ? one character, * many, ** directories, [a-z] [!a-z]");
            }
        }
    }
    globs
}

fn refuse_files_only(keys: &Keys<'_>, findings: &mut Findings) {
    for entry in FILES_ONLY.iter().filter_map(|name| keys.some(name)) {
        let message = format!("`{}` is for inputs of type tail", keys.full(&entry.key));
        findings.fault(entry.place.clone(), message);
    }
}

fn check_timezone(keys: &Keys<'_>, zone: &Text<'_>, findings: &mut Findings) -> Option<TimeZone> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    if zone.text.eq_ignore_ascii_case("UTC") {
        return Some(TimeZone::UTC);
    }
    if let Ok(found) = PARSER.parse_time_zone(zone.text) {
        return Some(found);
    }
    let names: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    let hint = nearest(zone.text, names.iter().map(String::as_str));
    let hint = hint.map_or(String::new(), |name| format!(", did you mean `{name}`?"));
    let message = format!("`{}` cannot be `{}`{hint}", keys.full("timezone"), shown(zone.text));
    findings
        .fault(zone.place.clone(), message)
        .note("allowed: UTC, a name like Europe/Berlin, an offset like +02:00");
    None
}

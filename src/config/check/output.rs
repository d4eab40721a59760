//! `outputs`: where records go.

use super::kafka;
use super::keys::Keys;
use super::later::{self, Later, later};
use crate::config::Output;
use crate::config::faults::Findings;
use crate::config::tree::Entry;
use crate::output::file;

const KNOWN: [&str; 4] = ["kafka", "console", "file", "blackhole"];
/// The one schema there is; the other is known by name.
const SCHEMA: [Later; 1] = [later("schema", "ecs")];
const FILE_LATER: [Later; 4] =
    [later("max_size", "10m"), later("max_file", "3"), later("compress", "true"), later("max_age", "7d")];

/// All outputs, in the order of the file.
pub(super) fn check(entry: &Entry, findings: &mut Findings) -> Vec<Output> {
    let keys = Keys::open(entry, "outputs", &KNOWN, findings);
    keys.entries().iter().filter_map(|entry| check_output(&keys, entry, findings)).collect()
}

fn check_output(all: &Keys<'_>, entry: &Entry, findings: &mut Findings) -> Option<Output> {
    let path = all.full(&entry.key);
    if entry.node.is_null() && KNOWN.contains(&entry.key.as_str()) {
        let message = format!("`{path}` is empty, so there is no such output");
        findings.warn(entry.place.clone(), message).note("write {} to have it with its defaults");
        return None;
    }
    match entry.key.as_str() {
        "kafka" => Some(Output::Kafka(kafka::check(entry, &path, findings))),
        "console" => Some(check_console(entry, &path, findings)),
        "file" => Some(check_file(entry, &path, findings)),
        "blackhole" => {
            Keys::open(entry, &path, &[], findings);
            Some(Output::Blackhole)
        }
        // `open` has named the unknown ones.
        _ => None,
    }
}

fn check_console(entry: &Entry, path: &str, findings: &mut Findings) -> Output {
    let keys = Keys::open(entry, path, &["json", "schema"], findings);
    check_schema(&keys, findings);
    Output::Console { json: keys.truth("json", false, findings) }
}

fn check_file(entry: &Entry, path: &str, findings: &mut Findings) -> Output {
    let known = ["path", "schema", "max_size", "max_file", "compress", "max_age"];
    let keys = Keys::open(entry, path, &known, findings);
    check_schema(&keys, findings);
    later::check_docker_size(&keys, "max_size", findings);
    later::check(&keys, &FILE_LATER, findings);
    let mut options = file::Options::default();
    match keys.text("path", findings) {
        Some(path) => options.path = path.text.into(),
        None if keys.some("path").is_none() => {
            keys.missing("path", "write for example path: /var/log/squall.json", findings);
        }
        None => {}
    }
    Output::File(options)
}

/// `schema: ecs` is what is written anyway; `otel` is named as not yet there, anything else as unknown.
pub(super) fn check_schema(keys: &Keys<'_>, findings: &mut Findings) {
    #[derive(Clone, Copy, PartialEq)]
    enum Schema {
        Ecs,
        Otel,
    }
    let words = [("ecs", Schema::Ecs), ("otel", Schema::Otel)];
    if keys.word("schema", &words, Schema::Ecs, findings) == Schema::Otel {
        later::check(keys, &SCHEMA, findings);
    }
}

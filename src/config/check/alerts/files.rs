//! `alerts.files`: files of rules, found by globs that start where the config stands.

use std::path::{Path, PathBuf};

use super::{FILES_MAX, Rules};
use crate::config::check::keys::{Keys, Text};
use crate::config::faults::{Findings, Place};
use crate::config::interpolate::{self, Environment};
use crate::config::source::shown;
use crate::config::{decode, read, tree};

/// Reads all files and adds their rules.
pub(super) fn check(keys: &Keys<'_>, environment: &Environment, rules: &mut Rules, findings: &mut Findings) {
    let mut paths: Vec<PathBuf> = Vec::new();
    for text in keys.texts("files", findings) {
        for path in find(&text, findings) {
            // Two globs may find the same file; its rules exist once.
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        if paths.len() > FILES_MAX {
            findings.fault(text.place, format!("more than {FILES_MAX} files of rules"));
            return;
        }
    }
    paths.iter().for_each(|path| add(path, environment, rules, findings));
}

/// The files that a glob, or a plain path, means.
fn find(text: &Text<'_>, findings: &mut Findings) -> Vec<PathBuf> {
    let path = beside(&text.place).join(text.text);
    if !text.text.contains(['*', '?', '[']) {
        return match path.metadata() {
            Ok(_) => vec![path],
            Err(error) => {
                let message = format!("cannot read the rules in `{}`: {error}", shown(text.text));
                findings
                    .fault(text.place.clone(), message)
                    .note(format!("looked for: {}", shown(&path.to_string_lossy())));
                Vec::new()
            }
        };
    }
    let base = glob::Pattern::escape(&beside(&text.place).to_string_lossy());
    let pattern = Path::new(&base).join(text.text);
    let found = match glob::glob(&pattern.to_string_lossy()) {
        Ok(found) => found,
        Err(error) => {
            let message = format!("`{}` is not a glob: {}", shown(text.text), error.msg);
            findings
                .fault(text.place.clone(), message)
                .note("known: ? one character, * many, ** directories, [a-z] [!a-z]");
            return Vec::new();
        }
    };
    let mut paths = Vec::new();
    for path in found.take(FILES_MAX + 1) {
        match path {
            Ok(path) => paths.push(path),
            Err(error) => {
                let message = format!("cannot look for rules: {error}");
                findings.fault(text.place.clone(), message);
            }
        }
    }
    if paths.is_empty() {
        let message = format!("no file matches `{}`, so there are no rules from it", shown(text.text));
        findings
            .warn(text.place.clone(), message)
            .note(format!("looked for: {}", shown(&pattern.to_string_lossy())));
    }
    paths
}

/// The folder of the file that says so. What flags and variables say starts in the working directory.
fn beside(place: &Place) -> PathBuf {
    match place {
        Place::Text { source, .. } => {
            Path::new(source.name()).parent().map_or_else(PathBuf::new, Path::to_owned)
        }
        _ => PathBuf::new(),
    }
}

fn add(path: &Path, environment: &Environment, rules: &mut Rules, findings: &mut Findings) {
    let bytes = match read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            findings.fault(Place::Path(path.to_owned()), format!("cannot read this file: {error}"));
            return;
        }
    };
    let Some(source) = decode(&path.to_string_lossy(), bytes, findings) else { return };
    let Some(mut tree) = tree::parse(&source, findings) else { return };
    interpolate::interpolate(&mut tree, environment, findings);
    let keys = Keys::of(&tree, "", findings);
    keys.refuse_unknown(&["groups"], findings);
    match keys.some("groups") {
        Some(groups) => rules.add(groups, "groups", findings),
        None => {
            let message = "a file of rules has `groups:` at its top";
            findings
                .fault(tree.place.clone(), message)
                .note("write groups: and below - name: … with its rules:");
        }
    }
}

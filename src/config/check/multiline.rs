//! `inputs.*.multiline`: which lines are joined to one.
//!
//! A word, or a mapping with limits and, if the user wants, a pattern of his own.

use std::time::Duration;

use super::keys::Keys;
use crate::config::faults::Findings;
use crate::config::tree::Value;
use crate::engine::line::multiline::{Kind, Language, Options, Pattern};

const KNOWN: [&str; 4] = ["start", "language", "lines_max", "wait"];

const WORDS: [(&str, Word); 6] = [
    ("off", Word::Off),
    ("auto", Word::Auto),
    ("java", Word::One(Language::Java)),
    ("python", Word::One(Language::Python)),
    ("go", Word::One(Language::Go)),
    ("node", Word::One(Language::Node)),
];

#[derive(Clone, Copy)]
enum Word {
    Off,
    Auto,
    One(Language),
}

/// The key of one input.
pub(super) fn check(input: &Keys<'_>, findings: &mut Findings) -> Option<Options> {
    let entry = input.some("multiline")?;
    let Value::Map(entries) = &entry.node.value else {
        return Some(Options::new(kind(input.word("multiline", &WORDS, Word::Off, findings))?));
    };
    if entries.is_empty() {
        return None;
    }
    let keys = Keys::open(entry, &input.full("multiline"), &KNOWN, findings);
    let default = Options::new(Kind::Auto);
    let lines_max = keys.number("lines_max", 2..=10_000, default.lines_max, findings);
    let wait = keys.time("wait", Duration::from_millis(10)..=Duration::from_secs(60), default.wait, findings);
    let kind = match (keys.some("start"), keys.some("language")) {
        (Some(_), None) => start(&keys, findings),
        (None, Some(_)) => kind(keys.word("language", &WORDS, Word::Off, findings)),
        (Some(_), Some(language)) => {
            let message = format!("`{}` and `start` rule each other out", keys.full("language"));
            findings.fault(language.place.clone(), message);
            None
        }
        (None, None) => {
            keys.missing(
                "start",
                "what the first line of each matches, as in '^\\d{4}-'; or language: auto",
                findings,
            );
            None
        }
    };
    Some(Options { kind: kind?, lines_max, wait })
}

fn kind(word: Word) -> Option<Kind> {
    match word {
        Word::Off => None,
        Word::Auto => Some(Kind::Auto),
        Word::One(language) => Some(Kind::Language(language)),
    }
}

fn start(keys: &Keys<'_>, findings: &mut Findings) -> Option<Kind> {
    let start = keys.text("start", findings)?;
    match Pattern::new(start.text) {
        Ok(pattern) => Some(Kind::Start(pattern)),
        Err(error) => {
            keys.no_pattern("start", start.place, &error, findings)
                .note("syntax: that of the regex crate, without look-around");
            None
        }
    }
}

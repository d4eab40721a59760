//! The level in a text, found without the patterns, which take three times as long: for rules that ask each line for its level.
//!
//! In: the head of a text. Out: what the patterns would find in it, or that only they can say ([`Unsure`]).
//! Each way to write a level has a word of letters in it that means one (`[warn]`) or announces one (`level=`). So the words
//! are looked at one by one, of which nearly all are told by their first two letters to be none, and then what stands around
//! them. The first word that is written like a level is in the match that begins first: no way to write one reaches back over
//! a word that is written in another, but for `| info:error|`.
//! Invariant: what is found is what the patterns would have found (a property test holds both against each other).
//! Not here: the numbers and letters at the very start of a text (`at_the_head`).

use super::Level;

/// Only the patterns can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unsure;

type Found = Result<Option<Level>, Unsure>;

/// The level that the text says, where that is sure.
pub(super) fn find(head: &[u8]) -> Found {
    if head.trim_ascii_start().starts_with(b"{") {
        for word in Words::of(head) {
            if let Some(level) = word.as_key_in_json()? {
                return Ok(Some(level));
            }
        }
    }
    // A priority that is none takes the bracket away from what follows it.
    if matches!(head, [b'<', digit, ..] if digit.is_ascii_digit()) {
        return Err(Unsure);
    }
    for word in Words::of(head) {
        let level = match word.as_level() {
            None => word.as_key()?,
            Some(_) if word.may_be_a_prefix() => return Err(Unsure),
            level => level,
        };
        if level.is_some() {
            return Ok(level);
        }
    }
    Ok(None)
}

/// The words of a text that may mean a level, or announce one.
struct Words<'a> {
    text: &'a [u8],
    at: usize,
}

/// Letters with none on either side.
#[derive(Clone, Copy)]
struct Word<'a> {
    text: &'a [u8],
    start: usize,
    end: usize,
}

impl<'a> Words<'a> {
    fn of(text: &'a [u8]) -> Words<'a> {
        Words { text, at: 0 }
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    #[inline]
    fn next(&mut self) -> Option<Word<'a>> {
        loop {
            let rest = self.text.get(self.at..)?;
            let start = self.at + rest.iter().position(u8::is_ascii_alphabetic)?;
            let letters = &self.text[start..];
            let length = letters.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(letters.len());
            self.at = start + length;
            if may_be_meant(&letters[..length]) {
                return Some(Word { text: self.text, start, end: start + length });
            }
        }
    }
}

/// False of nearly all words, and of none that matters.
#[inline]
fn may_be_meant(word: &[u8]) -> bool {
    let [first, second, _, ..] = *word else { return false };
    let place = |letter: u8| usize::from((letter | 0x20) - b'a');
    word.len() <= LONGEST
        && (PAIRS[place(first)] >> place(second) & 1 == 1
            // Behind a colour: `\x1b[31mERROR`.
            || (first == b'm' && second.is_ascii_uppercase()))
}

/// The longest word that matters: `logseveritytext`.
const LONGEST: usize = 15;

/// For each letter those that may follow it at the beginning of a word that matters.
const PAIRS: [u32; 26] = {
    let pairs = b"alcrdbdeeremfafiinlelolvnopasetetrvewawr";
    let (mut table, mut at) = ([0; 26], 0);
    while at < pairs.len() {
        table[(pairs[at] - b'a') as usize] |= 1 << (pairs[at + 1] - b'a');
        at += 2;
    }
    table
};

/// What a tag holds: `[warn]`.
const TAGS: [&str; 19] = [
    "trace", "debug", "dbg", "info", "inf", "notice", "note", "warn", "warning", "wrn", "error", "err",
    "severe", "fatal", "critical", "crit", "alert", "emerg", "panic",
];
/// What stands free when it is written in capitals.
const CAPITALS: [&str; 22] = [
    "TRACE", "TRC", "VERBOSE", "FINEST", "FINER", "DEBUG", "DBG", "INFO", "INF", "NOTICE", "WARN", "WARNING",
    "WRN", "ERROR", "ERR", "EROR", "SEVERE", "FATAL", "CRITICAL", "CRIT", "EMERG", "PANIC",
];
/// What a colon may stand behind.
const LABELS: [&str; 15] = [
    "trace", "trce", "debug", "dbug", "info", "notice", "warn", "warning", "error", "err", "fail", "fatal",
    "critical", "crit", "panic",
];
/// What announces a level.
const KEYS: [&str; 4] = ["level", "lvl", "severity", "levelname"];
/// And in JSON.
const KEYS_IN_JSON: [&str; 8] =
    ["level", "lvl", "severity", "loglevel", "log_level", "levelname", "severity_text", "severitytext"];

impl Word<'_> {
    /// The level that it means by the way in which it is written.
    fn as_level(self) -> Option<Level> {
        let letters = self.letters();
        if self.is_behind_a_colour() {
            let word = Word { start: self.start + 1, ..self };
            let is_meant = is_one_of(word.letters(), &CAPITALS, <[u8]>::eq) && word.ends_free();
            return is_meant.then(|| Level::from_word(word.letters())).flatten();
        }
        let any_case = <[u8]>::eq_ignore_ascii_case;
        let is_meant = (self.is_tagged() && is_one_of(letters, &TAGS, any_case))
            || (self.begins_free() && self.ends_free() && is_one_of(letters, &CAPITALS, <[u8]>::eq))
            || (self.is_labelling() && is_one_of(letters, &LABELS, any_case));
        is_meant.then(|| Level::from_word(letters)).flatten()
    }

    /// The level that it announces: `level=error`, `loglevel: "warn"`.
    fn as_key(self) -> Found {
        let after = match self.after() {
            [b'=', after @ ..] | [b':', b' ', after @ ..] | [b':', after @ ..] => after,
            _ => return Ok(None),
        };
        let letters = self.letters();
        let bare = strip_log(letters).filter(|bare| is_key(bare));
        let before = match bare {
            Some(_) => self.before(),
            None if !is_key(letters) => return Ok(None),
            None => match self.before() {
                [before @ .., l, o, g, b'_'] if [*l, *o, *g].eq_ignore_ascii_case(b"log") => before,
                before => before,
            },
        };
        if before.last().is_some_and(is_word_byte) {
            return Ok(None);
        }
        let value = match after {
            [b'"' | b'\'', value @ ..] => value,
            value => value,
        };
        let (word, rest) = split(value, u8::is_ascii_alphabetic);
        if word.is_empty() || rest.first().is_some_and(is_word_byte) {
            return Ok(None);
        }
        sure(Level::from_word(word))
    }

    /// The same in a JSON object: `"level":"error"`, `"log.level": 50`.
    fn as_key_in_json(self) -> Found {
        let [b'"', after @ ..] = self.after() else { return Ok(None) };
        let is_of_key = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'.' | b'_');
        let length = self.before().iter().rev().take_while(|byte| is_of_key(byte)).count();
        let (before, key) = self.text[..self.end].split_at(self.start - length);
        if before.last() != Some(&b'"') || !is_key_in_json(key) {
            return Ok(None);
        }
        let Some(value) = trim_space(after).strip_prefix(b":").map(trim_space) else { return Ok(None) };
        if let Some(value) = value.strip_prefix(b"\"") {
            let (word, rest) = split(value, u8::is_ascii_alphabetic);
            return if rest.first() == Some(&b'"') && !word.is_empty() {
                sure(Level::from_word(word))
            } else {
                Ok(None)
            };
        }
        let (digits, rest) = split(value, u8::is_ascii_digit);
        if digits.is_empty() || rest.first().is_some_and(is_word_byte) {
            return Ok(None);
        }
        sure(Level::from_number(digits))
    }

    /// It is a label that could also be the first half of a tag, which would begin where it does: `| info:error|`.
    fn may_be_a_prefix(self) -> bool {
        self.before().ends_with(b"| ") && self.after().starts_with(b":")
    }

    /// `[warn]`, `[core:error]`, `< error >`, `|info|`.
    fn is_tagged(self) -> bool {
        let ([b' ', closing, ..] | [closing, ..]) = self.after() else { return false };
        if !b"])>|".contains(closing) {
            return false;
        }
        let is_of_prefix = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
        let before = match self.before() {
            [before @ .., b':'] => {
                let length = before.iter().rev().take_while(|byte| is_of_prefix(byte)).count();
                if length == 0 {
                    return false;
                }
                &before[..before.len() - length]
            }
            before => before,
        };
        let ([.., opening, b' '] | [.., opening]) = before else { return false };
        b"[<(|".contains(opening)
    }

    /// Whether capitals may begin here.
    fn begins_free(self) -> bool {
        self.before().last().is_none_or(|byte| is_space(byte) || b"[(<|:,\"'*-".contains(byte))
    }

    /// Whether capitals may end here.
    fn ends_free(self) -> bool {
        self.after().first().is_none_or(|byte| is_space(byte) || b"])>|:;,\"'!*-\x1b".contains(byte))
    }

    /// Whether its first letter ends what switches a terminal's colour: `\x1b[31m`.
    fn is_behind_a_colour(self) -> bool {
        let before = self.before();
        let length = before.iter().rev().take_while(|byte| byte.is_ascii_digit() || **byte == b';').count();
        self.letters().starts_with(b"m") && before[..before.len() - length].ends_with(b"\x1b[")
    }

    /// `error:` at the head or behind a header.
    fn is_labelling(self) -> bool {
        let is_behind_a_header = match self.before() {
            [] => true,
            [.., b']' | b':' | b'>' | b'|', b' '] => true,
            before => before.ends_with(b"PHP "),
        };
        is_behind_a_header && self.after().starts_with(b":")
    }

    fn letters(&self) -> &[u8] {
        &self.text[self.start..self.end]
    }

    fn before(&self) -> &[u8] {
        &self.text[..self.start]
    }

    fn after(&self) -> &[u8] {
        &self.text[self.end..]
    }
}

fn is_key(word: &[u8]) -> bool {
    KEYS.iter().any(|key| word.eq_ignore_ascii_case(key.as_bytes()))
}

fn is_key_in_json(key: &[u8]) -> bool {
    let is_bare = |key: &[u8]| KEYS_IN_JSON.iter().any(|bare| key.eq_ignore_ascii_case(bare.as_bytes()));
    is_bare(key)
        || strip_log(key).is_some_and(|key| is_bare(key) || key.strip_prefix(b".").is_some_and(is_bare))
}

/// `loglevel` → `level`.
fn strip_log(word: &[u8]) -> Option<&[u8]> {
    let (log, rest) = word.split_at_checked(3)?;
    log.eq_ignore_ascii_case(b"log").then_some(rest)
}

/// What a pattern has found and no level is in ends nothing: it goes on behind that.
fn sure(level: Option<Level>) -> Found {
    level.map(Some).ok_or(Unsure)
}

fn is_one_of(word: &[u8], words: &[&str], same: impl Fn(&[u8], &[u8]) -> bool) -> bool {
    words.iter().any(|one| same(word, one.as_bytes()))
}

fn split(text: &[u8], belongs: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| !belongs(byte)).unwrap_or(text.len()))
}

fn trim_space(text: &[u8]) -> &[u8] {
    split(text, is_space).1
}

/// What `\s` means.
fn is_space(byte: &u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ')
}

/// What `\w` means.
fn is_word_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || *byte == b'_'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{at_the_head, by_patterns, in_first_field};
    use super::*;

    /// Pieces of texts that say their level, and of texts that nearly do.
    const PIECES: &str = "(error|ERROR|Error|err|warn|WARN|Warning|info|INFO|fatal|note|trce|TRC|fail|alert|ALERT|finest\
        |VERBOSE|boss|level|lvl|LEVEL|severity|levelname|log|loglevel|log_level|severity_text|PHP|m|mERROR|COLOUR\\[31m\
        |COLOUR\\[m|E1121 10:30:52|<34>|<999>|50|7|[a-zA-Z_0-9]{1,3}|[ \\[\\]<>(){}|:;,=\"'!*._\\t\\n-]{1,3})";

    fn texts() -> impl Strategy<Value = Vec<u8>> {
        let pieces = prop::collection::vec(PIECES, 0..9);
        let text = pieces.prop_map(|pieces| pieces.concat().replace("COLOUR", "\x1b").into_bytes());
        ("(|\\{\"| \\{)", text).prop_map(|(head, text)| [head.as_bytes(), &text].concat())
    }

    #[test]
    fn what_it_is_sure_of() {
        #[track_caller]
        fn check(text: &str, want: Found) {
            assert_eq!(find(text.as_bytes()), want, "{text:?}");
        }
        check("", Ok(None));
        check("nothing to see", Ok(None));
        check("2026-02-06 00:00:00,011 INFO [main] x", Ok(Some(Level::Info)));
        check("\x1b[31mERROR\x1b[0m x", Ok(Some(Level::Error)));
        check("[core:error] x", Ok(Some(Level::Error)));
        check("[info:error] x", Ok(Some(Level::Error)));
        check("caller=x.go:1 level=warn msg=ERROR", Ok(Some(Level::Warn)));
        check(r#"{"message":"ERROR","level":"info"}"#, Ok(Some(Level::Info)));
        check(r#"{"log.level" : 50}"#, Ok(Some(Level::Error)));
        check("| info: x", Err(Unsure)); // it could begin a tag
        check("level=boss ERROR", Err(Unsure)); // a match without a level
        check("<999> error: x", Err(Unsure)); // so is this
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// The patterns decide what a level is, and are asked first here.
        #[test]
        fn the_patterns_say_the_same(text in texts()) {
            let is_at_the_head = at_the_head(&text).or_else(|| in_first_field(&text)).is_some();
            if let (false, Ok(found)) = (is_at_the_head, find(&text)) {
                prop_assert_eq!(found, by_patterns(&text), "{:?}", String::from_utf8_lossy(&text));
            }
        }
    }
}

//! The rule once more, for tests: with regular expressions, as plain and slow as it can be.

use std::sync::LazyLock;

use regex::bytes::Regex;

use super::{ESCAPE, SENTINEL};

struct Rule {
    word: Regex,
    variable: Regex,
    joiners: Regex,
    calendar: Regex,
    number: Regex,
    decimal: Regex,
    subject: Regex,
}

static RULE: LazyLock<Rule> = LazyLock::new(|| {
    let keywords =
        ["status", "code", "errno", "exit", "signal", "statuscode", "exitcode", "exitstatus", "errorcode"];
    let alone = keywords.map(|word| format!("(?i:{word})")).join("|");
    let capitalised = keywords.map(|word| {
        let (initial, second, rest) = (word[..1].to_uppercase(), &word[1..2], &word[2..]);
        format!("{initial}{second}(?i:{rest})")
    });
    let capitalised = capitalised.join("|");
    let separators = r#"[ \t=:"'\\(\[>]{1,6}"#;
    let regex = |pattern: &str| Regex::new(&format!("(?s-u){pattern}")).unwrap();
    Rule {
        word: regex("[A-Za-z0-9_-]+"),
        variable: regex("[0-9]|^[A-Fa-f]{8,}$"),
        joiners: regex("^[.,:; /+]{1,2}$"),
        calendar: regex(concat!(
            "(?:^|[^A-Za-z0-9_-])(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec",
            "|Mon|Tue|Wed|Thu|Fri|Sat|Sun)[.,:; /+]{1,2}$"
        )),
        number: regex("^-?[0-9]{1,3}$"),
        decimal: regex(r"^\.[0-9]"),
        subject: regex(&format!(
            r"(?:(?:^|[^A-Za-z])(?:{alone})|{capitalised}|HTTP/[0-9](?:\.[0-9])?){separators}$"
        )),
    }
});

/// Where the variables of a text start and end.
pub(super) fn variables(text: &[u8]) -> Vec<(usize, usize)> {
    let mut variables: Vec<(usize, usize)> = Vec::new();
    for word in RULE.word.find_iter(text).filter(|word| RULE.variable.is_match(word.as_bytes())) {
        let (before, behind) = (&text[..word.start()], &text[word.end()..]);
        let is_whole_number = RULE.number.is_match(word.as_bytes()) && !RULE.decimal.is_match(behind);
        if is_whole_number && RULE.subject.is_match(before) {
            continue;
        }
        let mut start = word.start();
        while let Some(name) = RULE.calendar.captures(&text[..start]) {
            start = name.get(1).unwrap().start();
        }
        match variables.last_mut() {
            Some((_, end)) if RULE.joiners.is_match(&text[*end..start]) => *end = word.end(),
            _ => variables.push((start, word.end())),
        }
    }
    variables
}

/// The text with its variables replaced.
pub(super) fn canonical(text: &[u8], variables: &[(usize, usize)]) -> Vec<u8> {
    let mut canonical = Vec::new();
    for (at, &byte) in text.iter().enumerate() {
        match variables.iter().find(|(start, end)| (start..end).contains(&&at)) {
            Some(&(start, _)) => canonical.extend((at == start).then_some(SENTINEL)),
            None if byte == SENTINEL || byte == ESCAPE => canonical.extend([ESCAPE, byte]),
            None => canonical.push(byte),
        }
    }
    canonical
}

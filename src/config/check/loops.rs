//! `loops`: when a loop is believed, and which words speak of one.

use super::keys::{Keys, Text};
use crate::config::faults::Findings;
use crate::config::source::shown;
use crate::engine::cycle;
use crate::engine::cycle::lexicon::{WORD_MAX, WORDS_MAX};

/// A shorter word would stand in nearly every line.
const WORD_MIN: usize = 3;

const KNOWN: [&str; 3] = ["iterations_min", "failure_words", "retry_words"];

/// Checks the mapping, if there is one.
pub(super) fn check(keys: &Keys<'_>, findings: &mut Findings) -> cycle::Limits {
    let mut limits = cycle::Limits::default();
    let Some(entry) = keys.some("loops") else { return limits };
    let keys = Keys::open(entry, "loops", &KNOWN, findings);
    // Three rounds are the fewest that say anything.
    limits.iterations_min = keys.number("iterations_min", 3..=1_000, limits.iterations_min, findings);
    limits.failure_words = words(&keys, "failure_words", findings);
    limits.retry_words = words(&keys, "retry_words", findings);
    limits
}

fn words(keys: &Keys<'_>, name: &str, findings: &mut Findings) -> Vec<String> {
    let words = keys.texts(name, findings);
    if words.len() > WORDS_MAX
        && let Some(entry) = keys.entry(name)
    {
        findings.fault(entry.place.clone(), format!("`{}` has more than {WORDS_MAX} words", keys.full(name)));
    }
    let mut kept = Vec::new();
    for Text { text, place } in words {
        if (WORD_MIN..=WORD_MAX).contains(&text.len()) {
            kept.push(text.to_owned());
        } else {
            let message = format!("`{}` in `{}` is too short or too long", shown(text), keys.full(name));
            findings.fault(place, message).note(format!("allowed: {WORD_MIN} to {WORD_MAX} bytes"));
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use crate::config::tests::load_text;

    #[test]
    fn what_is_set_arrives() {
        let text = "loops: { iterations_min: 12, failure_words: [kaputt], retry_words: [nochmal, 재도전] }";
        let (config, warnings) = load_text(text).unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!((config.loops.iterations_min, warnings.len()), (12, 0));
        assert_eq!(config.loops.failure_words, ["kaputt"]);
        assert_eq!(config.loops.retry_words, ["nochmal", "재도전"]);
    }

    #[test]
    fn faults() {
        #[track_caller]
        fn check(inside: &str, want: &[&str]) {
            let found = load_text(&format!("loops: {{ {inside} }}"));
            let faults: Vec<String> = match &found {
                Ok(_) => Vec::new(),
                Err(faults) => faults.iter().map(|fault| fault.message().to_owned()).collect(),
            };
            assert_eq!(faults, want, "{inside}");
        }
        check("", &[]);
        check("retry_words: []", &[]);
        check("iterations_min: 3", &[]);
        check("iterations_min: 2", &["`loops.iterations_min` must be from 3 to 1,000, not 2"]);
        check("iterations_min: 1001", &["`loops.iterations_min` must be from 3 to 1,000, not 1001"]);
        check("retry_words: again", &["`loops.retry_words` must be a list, not the text `again`"]);
        check("retry_words: [ab]", &["`ab` in `loops.retry_words` is too short or too long"]);
        check("failure_words: ['']", &["`loops.failure_words` must not be empty"]);
        check("timeout_words: [a]", &["unknown key `timeout_words`"]);
        let many = vec!["word"; 257].join(", ");
        check(&format!("failure_words: [{many}]"), &["`loops.failure_words` has more than 256 words"]);
    }
}

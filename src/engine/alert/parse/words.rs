//! The words of the language, and which of them was meant.

use crate::engine::cycle::backoff::Verdict;
use crate::suggest::nearest;

/// What a rule can begin with.
pub(super) const FORMS: [&str; 13] = [
    "count",
    "rate",
    "ratio",
    "mean",
    "min",
    "max",
    "p50",
    "p95",
    "p99",
    "new_template",
    "loop",
    "absent",
    "resource",
];

/// The verdicts on a loop, as they are on the wire.
pub(super) const VERDICTS: [Verdict; 6] = [
    Verdict::None,
    Verdict::Constant,
    Verdict::Linear,
    Verdict::Exponential,
    Verdict::Jittered,
    Verdict::Unknown,
];

/// The levels, as they are on the wire. Others that programs write (`critical`, `err`) are understood, too.
pub(super) const LEVELS: [&str; 7] = ["trace", "debug", "info", "notice", "warn", "error", "fatal"];

/// What other languages call it.
const ELSEWHERE: [(&str, &str); 12] = [
    ("avg", "mean"),
    ("average", "mean"),
    ("median", "p50"),
    ("p75", "p95"),
    ("p90", "p95"),
    ("p999", "p99"),
    ("quantile", "p95"),
    ("sum", "count"),
    ("count_over_time", "count"),
    ("increase", "count"),
    ("share", "ratio"),
    ("missing", "absent"),
];

/// "did you mean `…`?" for a word that is not in `known`.
pub(super) fn suggestion(word: &str, known: &[&str]) -> Option<String> {
    let elsewhere = ELSEWHERE.iter().find(|(other, ours)| *other == word && known.contains(ours));
    let meant = elsewhere.map(|(_, ours)| *ours).or_else(|| nearest(word, known.iter().copied()));
    meant.map(|meant| format!("did you mean `{meant}`?"))
}

/// The word for a message: not all of a very long one.
pub(super) fn shown(word: &str) -> String {
    const SHOWN_MAX: usize = 40;
    match word.char_indices().nth(SHOWN_MAX) {
        Some((cut, _)) => format!("{}…", &word[..cut]),
        None => word.to_owned(),
    }
}

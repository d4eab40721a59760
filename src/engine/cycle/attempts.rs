//! Attempts: how often a line says that its program has tried, and how often it means to.

use std::sync::LazyLock;

use regex::bytes::Regex;
use serde::{Deserialize, Serialize};

/// What lines say of attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// The last number that was told.
    pub last: u32,
    /// Of how many, where that was told.
    pub limit: Option<u32>,
}

/// What `text` says: `after 5 attempts`, `attempt 3/10`, `retry 3 of 10`, `attempt=3`, `3회 재시도`.
pub fn find(text: &[u8]) -> Option<Attempts> {
    let text = &text[..text.len().min(LOOK_MAX)];
    FORMS.iter().flatten().find_map(|form| {
        let found = form.captures(text)?;
        let number = |name: &str| -> Option<u32> {
            std::str::from_utf8(found.name(name)?.as_bytes()).ok()?.parse().ok()
        };
        Some(Attempts { last: number("last")?, limit: number("limit") })
    })
}

/// How much of a text is looked at.
const LOOK_MAX: usize = 1024;

/// Patterns of our own, which a test compiles.
static FORMS: LazyLock<[Option<Regex>; 3]> = LazyLock::new(|| {
    let regex = |pattern: &str| Regex::new(&format!("(?i-u){pattern}")).ok();
    [
        // The number behind the word, and perhaps the limit behind that.
        regex(concat!(
            r#"\b(?:attempts?|retry|retries|try|reconnect(?:ion)?(?: attempt)?)(?: number| no\.?| count)?[ #=:("\[]{1,3}"#,
            r"(?P<last>[0-9]{1,9})\b(?: ?(?:/|of|out of) ?(?P<limit>[0-9]{1,9})\b)?",
        )),
        // The number before the word.
        regex(concat!(
            r"\b(?P<last>[0-9]{1,9})(?: ?(?:/|of|out of) ?(?P<limit>[0-9]{1,9}))?",
            r"(?:st|nd|rd|th)? (?:failed |unsuccessful |connection |reconnect(?:ion)? )?(?:attempts?|retries|tries|retry)\b",
        )),
        regex(r"(?P<last>[0-9]{1,9})(?: ?/ ?(?P<limit>[0-9]{1,9}))? ?(?:회|번째|차) ?(?:재|다시|시도)"),
    ]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts() {
        #[track_caller]
        fn check(text: &str, want: Option<(u32, Option<u32>)>) {
            let found = find(text.as_bytes()).map(|Attempts { last, limit }| (last, limit));
            assert_eq!(found, want, "{text}");
        }
        check("Reconnection failed after 5 attempts", Some((5, None)));
        check("Reconnection failed after 5 attempts in 50012 ms, port 40000", Some((5, None)));
        check("connection timeout (attempt 3)", Some((3, None)));
        check("connect: attempt 3/10", Some((3, Some(10))));
        check("retry 3 of 10 in 8 s", Some((3, Some(10))));
        check("Retry attempt #4", Some((4, None)));
        check("msg=\"cannot connect\" attempt=7", Some((7, None)));
        check("{\"attempt\":7,\"of\":9}", Some((7, None)));
        check("gave up after 3 out of 3 attempts", Some((3, Some(3))));
        check("2nd attempt", Some((2, None)));
        check("5회 재시도 실패", Some((5, None)));
        check("3/10 번째 시도", Some((3, Some(10))));
        check("retrying in 5 s", None);
        check("retry in 5 s", None);
        check("attempt 99999999999999", None);
        check("", None);
    }
}

//! Text for people: what would act on a terminal is shown instead (`faults.md` 81).
//!
//! Whoever writes into a log must not be able to move the cursor, change the title, or reorder what an operator reads.

use std::borrow::Cow;

/// Makes text harmless for a terminal: what would control it or reorder the line is shown as an escape.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_harmful(letter) { safe.extend(letter.escape_default()) } else { safe.push(letter) }
    }
    Cow::Owned(safe)
}

/// C0 and C1 controls, delete, bidirectional marks and overrides, line separators, and marks that nobody sees.
pub fn is_harmful(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_081_nothing_acts_on_a_terminal() {
        #[track_caller]
        fn check(text: &str, want: &str) {
            assert_eq!(visible(text), want);
        }
        check("plain, größer, 方", "plain, größer, 方");
        check("\x1b]0;title\x07", "\\u{1b}]0;title\\u{7}");
        check("a\rb\tc\n", "a\\rb\\tc\\n");
        check("\u{9b}31m", "\\u{9b}31m");
        check("abc\u{202e}fed", "abc\\u{202e}fed");
    }
}

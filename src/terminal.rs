//! Text for people: what would act on a terminal or in a page is shown instead (`faults.md` 81).
//!
//! Whoever writes into a log must not be able to move the cursor, change the title, reorder what an operator reads, or
//! bring markup into a page.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};

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

/// Text in HTML, also inside of quoted attributes. Lines stay lines.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, line) in self.0.lines().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            for letter in visible(line).chars() {
                match letter {
                    '&' => f.write_str("&amp;")?,
                    '<' => f.write_str("&lt;")?,
                    '>' => f.write_str("&gt;")?,
                    '"' => f.write_str("&quot;")?,
                    '\'' => f.write_str("&#39;")?,
                    _ => write!(f, "{letter}")?,
                }
            }
        }
        Ok(())
    }
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

    #[test]
    fn fault_081_nothing_becomes_markup() {
        #[track_caller]
        fn check(text: &str, want: &str) {
            assert_eq!(Escaped(text).to_string(), want);
        }
        check("<script>alert('x')</script>", "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;");
        check("a & \"b\"\n\x1b[0m", "a &amp; &quot;b&quot;\n\\u{1b}[0m");
    }
}

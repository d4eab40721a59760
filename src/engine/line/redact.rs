//! Redaction: what must not leave is replaced before anything else sees a line.
//!
//! In: the text of a whole line, its pieces joined. Out: the same with `[email]`, `[card]`, `[secret]` or what the user
//! wants in the places of what was found.
//! Invariant: what a rule finds in a line is in no record, summary, example, alert or template.
//! Limit: [`RULES_MAX`] rules of [`PATTERN_MAX`] bytes each once compiled; all take time in proportion to the text.
//! Not here: pieces of a line whose end has not come; they wait in the outbox as they are (`line::kept`).

use std::borrow::Cow;

use regex::bytes::{Captures, Regex, RegexBuilder, RegexSet, RegexSetBuilder};

/// The most rules.
pub const RULES_MAX: usize = 200;
/// The most memory that one pattern may take once it is compiled, in bytes (`faults.md` 83).
pub const PATTERN_MAX: usize = 1 << 20;
/// What all of them together may take.
const SET_MAX: usize = 16 << 20;
/// Bytes at the end of a line that was cut off which are not shown: a number of which the half is missing is not found any
/// more, and its first half may say enough.
const CUT: usize = 64;

/// What is found, and what is put in its place.
#[derive(Clone, Debug)]
pub struct Rule {
    pattern: Regex,
    by: Box<str>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// What the groups of the pattern hold is replaced, or all of it where it has none.
    Pattern,
    /// Numbers of payment cards.
    Card,
}

impl Rule {
    /// Replaces what `pattern` matches, or only what its groups hold where it has some.
    ///
    /// # Errors
    /// What is wrong with the pattern, or that it is too large.
    pub fn new(pattern: &str, by: &str) -> Result<Rule, regex::Error> {
        let pattern = RegexBuilder::new(pattern).size_limit(PATTERN_MAX).build()?;
        Ok(Rule { pattern, by: by.into(), kind: Kind::Pattern })
    }

    /// The ready-made rules of this name; `None` where there are none. The names are [`READY_MADE`].
    pub fn ready_made(name: &str) -> Option<Vec<Rule>> {
        let of = |patterns: &[&str], by: &str| -> Vec<Rule> {
            // Our own, which a test compiles.
            patterns.iter().filter_map(|pattern| Rule::new(pattern, by).ok()).collect()
        };
        match name {
            "email" => Some(of(&[EMAIL], "[email]")),
            "token" => Some(of(&TOKENS, "[secret]")),
            "card" => {
                let mut rules = of(&[CARD], "[card]");
                rules.iter_mut().for_each(|rule| rule.kind = Kind::Card);
                Some(rules)
            }
            _ => None,
        }
    }

    fn apply<'a>(&self, text: &'a [u8]) -> Cow<'a, [u8]> {
        match self.kind {
            Kind::Card => cards::replace(text, self.by.as_bytes()),
            Kind::Pattern if self.pattern.captures_len() == 1 => {
                self.pattern.replace_all(text, regex::bytes::NoExpand(self.by.as_bytes()))
            }
            Kind::Pattern => self.pattern.replace_all(text, |found: &Captures<'_>| self.fill(found)),
        }
    }

    /// What was found, with what its groups hold replaced.
    fn fill(&self, found: &Captures<'_>) -> Vec<u8> {
        let whole = &found[0];
        let start = found.get(0).map_or(0, |whole| whole.start());
        let mut filled = Vec::with_capacity(whole.len());
        let mut end = 0;
        for group in found.iter().skip(1).flatten() {
            // A group within one that is replaced already.
            if group.start() - start < end {
                continue;
            }
            filled.extend_from_slice(&whole[end..group.start() - start]);
            filled.extend_from_slice(self.by.as_bytes());
            end = group.end() - start;
        }
        filled.extend_from_slice(&whole[end..]);
        filled
    }
}

/// What [`Rule::ready_made`] knows.
pub const READY_MADE: [&str; 3] = ["email", "token", "card"];

const EMAIL: &str = r"(?i-u)\b[a-z0-9._%+-]{1,64}@(?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,24}\b";

/// Secrets that say what they are: by the word before them, or by how they begin.
const TOKENS: [&str; 8] = [
    // JSON Web Tokens; a part that was cut off is one, too.
    r"(?-u)\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,2}",
    r"(?i-u)\b(?:bearer|basic)\s+([a-z0-9._~+/=-]{8,})",
    concat!(
        r"(?i-u)\b(?:password|passwd|pwd|secret|api[_-]?key|access[_-]?key|client[_-]?secret|private[_-]?key|",
        r#"(?:access|refresh|id|auth|session|csrf)[_-]?token|session[_-]?id)["']?\s*[:=]\s*"#,
        r#"(?:"([^"]+)|'([^']+)|([^\s"',;&]+))"#
    ),
    r"(?-u)\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    r"(?-u)\b(?:gh[pousr]_[A-Za-z0-9]{16,}|xox[abeprs]-[A-Za-z0-9-]{10,}|[sr]k_(?:live|test)_[0-9A-Za-z]{10,})",
    r"(?-u)\bAIza[0-9A-Za-z_-]{30,}",
    r"(?-u)://[^\s/:@]*:([^\s/@]+)@",
    r"(?s-u)-----BEGIN [A-Z ]*PRIVATE KEY-----(.*?)(?:-----END|\z)",
];

/// As many digits as the shortest number has; what they are is looked at afterwards.
const CARD: &str = r"(?-u)[0-9](?:[ -]?[0-9]){12}";

/// All rules of a config.
#[derive(Clone, Debug)]
pub struct Redactor {
    rules: Vec<Rule>,
    /// Says in one pass which of them find something.
    set: RegexSet,
}

impl Redactor {
    /// `None` where there are no rules.
    ///
    /// # Errors
    /// When all of them together are too large.
    pub fn new(rules: Vec<Rule>) -> Result<Option<Redactor>, regex::Error> {
        if rules.is_empty() {
            return Ok(None);
        }
        let set = RegexSetBuilder::new(rules.iter().map(|rule| rule.pattern.as_str()))
            .size_limit(SET_MAX)
            .dfa_size_limit(SET_MAX)
            .build()?;
        Ok(Some(Redactor { rules, set }))
    }

    /// The text without what the rules find. `is_cut` says that its end is missing.
    pub fn redact<'a>(&self, text: &'a [u8], is_cut: bool) -> Cow<'a, [u8]> {
        let text = if is_cut { &text[..text.len().saturating_sub(CUT)] } else { text };
        let mut redacted = Cow::Borrowed(text);
        for index in self.set.matches(text) {
            if let Cow::Owned(changed) = self.rules[index].apply(&redacted) {
                redacted = Cow::Owned(changed);
            }
        }
        redacted
    }
}

impl PartialEq for Redactor {
    fn eq(&self, other: &Redactor) -> bool {
        let told = |one: &Redactor| -> Vec<(String, Box<str>)> {
            one.rules.iter().map(|rule| (rule.pattern.as_str().to_owned(), rule.by.clone())).collect()
        };
        told(self) == told(other)
    }
}

/// Numbers of payment cards among digits.
mod cards {
    use std::borrow::Cow;

    /// How many digits a number has.
    const LENGTHS: std::ops::RangeInclusive<usize> = 13..=19;

    /// Puts `by` in the places of what can be such a number: groups of digits, with one space or hyphen between them, that
    /// begin as cards do, are as long, and whose last digit fits the others (Luhn).
    pub(super) fn replace<'a>(text: &'a [u8], by: &[u8]) -> Cow<'a, [u8]> {
        let mut replaced: Option<Vec<u8>> = None;
        let (mut at, mut copied) = (0, 0);
        while at < text.len() {
            if !text[at].is_ascii_digit() || (at > 0 && text[at - 1].is_ascii_digit()) {
                at += 1;
                continue;
            }
            let Some(end) = number_at(text, at) else {
                at += 1;
                continue;
            };
            let out = replaced.get_or_insert_default();
            out.extend_from_slice(&text[copied..at]);
            out.extend_from_slice(by);
            (at, copied) = (end, end);
        }
        match replaced {
            Some(mut out) => {
                out.extend_from_slice(&text[copied..]);
                Cow::Owned(out)
            }
            None => Cow::Borrowed(text),
        }
    }

    /// Where the longest number that begins here ends.
    fn number_at(text: &[u8], start: usize) -> Option<usize> {
        let (mut digits, mut found, mut at) = (Vec::with_capacity(*LENGTHS.end()), None, start);
        while digits.len() < *LENGTHS.end() {
            match text.get(at) {
                Some(digit @ b'0'..=b'9') => digits.push(digit - b'0'),
                Some(b' ' | b'-') if text.get(at + 1).is_some_and(u8::is_ascii_digit) => {}
                _ => break,
            }
            at += 1;
            let ends = !text.get(at).is_some_and(u8::is_ascii_digit) && text[at - 1].is_ascii_digit();
            if ends && is_card(&digits) {
                found = Some(at);
            }
        }
        found
    }

    fn is_card(digits: &[u8]) -> bool {
        LENGTHS.contains(&digits.len()) && has_issuer(digits) && luhn(digits)
    }

    /// The beginnings and lengths that issuers have (ISO/IEC 7812): so that times and ids, which fit by chance one time in
    /// ten, stay.
    fn has_issuer(digits: &[u8]) -> bool {
        let head = |count: usize| {
            digits.iter().take(count).fold(0_u32, |number, digit| number * 10 + u32::from(*digit))
        };
        match digits.len() {
            13 => head(1) == 4,
            14 => matches!(head(3), 300..=305) || matches!(head(2), 36 | 38 | 39),
            15 => matches!(head(2), 34 | 37),
            16 => {
                matches!(head(1), 4 | 6)
                    || matches!(head(2), 51..=55)
                    || matches!(head(4), 2221..=2720 | 3528..=3589)
            }
            17..=19 => matches!(head(1), 4 | 6),
            _ => false,
        }
    }

    fn luhn(digits: &[u8]) -> bool {
        let value = |(place, digit): (usize, &u8)| match (place % 2, digit * 2) {
            (0, _) => u32::from(*digit),
            (_, double) => u32::from(double / 10 + double % 10),
        };
        digits.iter().rev().enumerate().map(value).sum::<u32>() % 10 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn redactor(rules: Vec<Rule>) -> Redactor {
        Redactor::new(rules).expect("they are small").expect("there are some")
    }

    fn all() -> Redactor {
        redactor(READY_MADE.iter().flat_map(|name| Rule::ready_made(name).expect("it is known")).collect())
    }

    #[track_caller]
    fn check(redactor: &Redactor, text: &str, want: &str) {
        assert_eq!(String::from_utf8_lossy(&redactor.redact(text.as_bytes(), false)), want);
    }

    #[test]
    fn fault_083_a_rule_that_explodes_is_refused() {
        let explodes = |pattern| Rule::new(pattern, "x").is_err();
        assert!(explodes("(a{1000}){1000}") && explodes(r"(\w{900}){900}"));
        // Two hundred that are large and may stand alone are too large together.
        let rules = |count: usize| {
            (0..count).filter_map(|at| Rule::new(&format!(r"\w{{8}}{at}"), "x").ok()).collect()
        };
        assert!(Redactor::new(rules(2)).is_ok());
        assert!(Redactor::new(rules(RULES_MAX)).is_err());
    }

    #[test]
    fn ready_made_rules_compile() {
        let count = |name| Rule::ready_made(name).map(|rules| rules.len());
        assert_eq!((count("email"), count("token"), count("card")), (Some(1), Some(TOKENS.len()), Some(1)));
        assert!(Rule::ready_made("emails").is_none());
    }

    #[test]
    fn mail_addresses() {
        let all = all();
        check(&all, "mail from Ann.Lee+x@mail.example.co.uk refused", "mail from [email] refused");
        check(&all, "<a@b.io>,<c@d.org>", "<[email]>,<[email]>");
        check(&all, "ünï a@bücher.example", "ünï a@bücher.example"); // no such address without its own encoding
        check(&all, "load@12:00, user@localhost, @team", "load@12:00, user@localhost, @team");
    }

    #[test]
    fn secrets_that_say_what_they_are() {
        let all = all();
        check(&all, "Authorization: Bearer abc.def-123456 ok", "Authorization: Bearer [secret] ok");
        check(&all, "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.s5yq-_x!", "token [secret]!");
        check(&all, "login user=ann password=hunter2, retry", "login user=ann password=[secret], retry");
        check(&all, r#"{"password":"two words","user":"ann"}"#, r#"{"password":"[secret]","user":"ann"}"#);
        check(&all, "API_KEY = 'k1'; next", "API_KEY = '[secret]'; next");
        check(&all, "GET /?access_token=a.b&page=2", "GET /?access_token=[secret]&page=2");
        check(&all, "key AKIAIOSFODNN7EXAMPLE used", "key [secret] used");
        check(&all, "postgres://app:s3cr%40t@db:5432/x", "postgres://app:[secret]@db:5432/x");
        check(&all, "ghp_0123456789abcdefABCD and xoxb-1234567890-x", "[secret] and [secret]");
        check(
            &all,
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----\nok",
            "-----BEGIN RSA PRIVATE KEY-----[secret]-----END RSA PRIVATE KEY-----\nok",
        );
        for harmless in
            ["token expired", "password too short", "secretary: Ann", "basic auth on", "a://b/c:d@e"]
        {
            check(&all, harmless, harmless);
        }
    }

    #[test]
    fn numbers_of_cards() {
        let all = all();
        check(&all, "paid 4111 1111 1111 1111 12 items", "paid [card] 12 items");
        check(&all, "pan=4111111111111111,cvc", "pan=[card],cvc");
        check(&all, "7 3782-822463-10005", "7 [card]");
        check(&all, "5555555555554444 2223003122003222", "[card] [card]");
        // One digit is wrong; no card begins like this; too long; a time in milliseconds.
        for harmless in ["4111111111111112", "9111111111111111", "41111111111111110000", "1770336000007"] {
            check(&all, harmless, harmless);
        }
    }

    #[test]
    fn patterns_of_ones_own() {
        let rule = |pattern, by| redactor(vec![Rule::new(pattern, by).expect("a pattern")]);
        check(&rule(r"order-\d+", "$0"), "order-17 and order-18", "$0 and $0"); // no template
        check(&rule(r"(\w+)@(\w+)", "x"), "say a@b c@d", "say x@x x@x");
        check(&rule(r"((a)b)+c", "x"), "ababc", "abxc");
        check(&rule(r"(z)?y", "x"), "y zy", "y xy");
        check(&rule("", "x"), "ab", "xaxbx"); // odd, and nothing breaks
        assert!(Rule::new("(a{1000}){1000}", "x").is_err());
        assert!(Rule::new("(", "x").is_err());
    }

    #[test]
    fn the_end_of_what_was_cut_off_is_not_shown() {
        let (all, text) = (all(), format!("{} 4111 1111 1111 1", "x".repeat(100)));
        assert_eq!(all.redact(text.as_bytes(), false), text.as_bytes());
        assert_eq!(all.redact(text.as_bytes(), true), &text.as_bytes()[..text.len() - CUT]);
        assert_eq!(all.redact(b"short", true), &b""[..]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever stands around them, whole secrets go.
        #[test]
        fn nothing_that_is_found_stays(before in "[ -~]{0,20}", after in "[ -~]{0,20}", bytes: Vec<u8>) {
            let all = all();
            for secret in ["4111-1111-1111-1111", "ann.lee@example.org", "AKIAIOSFODNN7EXAMPLE"] {
                let text = format!("{before} {secret} {after}");
                let redacted = all.redact(text.as_bytes(), false).into_owned();
                prop_assert!(!String::from_utf8_lossy(&redacted).contains(secret), "{text}");
                // What is redacted once stays as it is.
                prop_assert_eq!(&*all.redact(&redacted, false), &redacted[..]);
            }
            let _ = all.redact(&bytes, true); // any bytes may come
        }
    }
}

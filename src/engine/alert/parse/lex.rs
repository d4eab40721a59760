//! Text → words, numbers with their units, quoted texts and signs.
//!
//! One at a time: a text that cannot be read is a token as well ([`Token::Bad`]), and becomes an error only when the
//! parser comes to it. So the error that is told is the first one, not the first one of the lexer.

use std::ops::Range;

use crate::engine::alert::rule::Compare;

/// The smallest part of an expression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// A keyword, the name of a measure or of a field: `count`, `http.status`, `x-request-id`, `@timestamp`.
    Word(&'a str),
    /// What begins like a number: `10`, `1m30s`, `20/s`, `2GiB`, `1%`.
    Quantity(&'a str),
    /// A quoted text, without its quotes and with its escapes.
    Text(&'a str, Quote),
    /// `(`
    Open,
    /// `)`
    Close,
    /// `,`
    Comma,
    /// `.` that is not inside a word.
    Dot,
    /// `>` and its like.
    Compare(Compare),
    /// `=~`
    Matches,
    /// `!~`
    MatchesNot,
    /// Nothing is left.
    End,
    /// No part of the language, and what to do about it.
    Bad(&'static str),
}

/// What stands around a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quote {
    /// `"…"`: with escapes.
    Double,
    /// `'…'`: as it is.
    Single,
    /// `/…/`: a pattern.
    Slash,
}

/// A token and the bytes that it stands in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lexeme<'a> {
    pub(super) token: Token<'a>,
    pub(super) span: Range<usize>,
}

/// Cuts a text into tokens.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Lexer<'a> {
        Lexer { text, at: 0 }
    }

    /// The next token; after the last one, and after a bad one, [`Token::End`] for ever.
    pub(super) fn next(&mut self) -> Lexeme<'a> {
        let rest = self.text[self.at..].trim_start();
        let start = self.text.len() - rest.len();
        let (token, length) = token(rest);
        self.at = start + length;
        if let Token::Bad(_) = token {
            self.at = self.text.len();
        }
        Lexeme { token, span: start..start + length }
    }
}

/// The token at the start of `rest`, and how many bytes it takes.
fn token(rest: &str) -> (Token<'_>, usize) {
    let mut letters = rest.chars();
    let Some(first) = letters.next() else { return (Token::End, 0) };
    let second = letters.next();
    match (first, second) {
        ('"', _) => quoted(rest, '"', Quote::Double),
        ('\'', _) => quoted(rest, '\'', Quote::Single),
        ('/', _) => quoted(rest, '/', Quote::Slash),
        ('-', Some('0'..='9')) | ('0'..='9', _) => {
            let length = quantity_length(rest);
            (Token::Quantity(&rest[..length]), length)
        }
        _ if begins_word(first) => {
            let length = rest.find(|letter| !continues_word(letter)).unwrap_or(rest.len());
            // A point at the end belongs to what follows.
            let word = rest[..length].trim_end_matches('.');
            (Token::Word(word), word.len())
        }
        _ => sign(first, second),
    }
}

fn sign(first: char, second: Option<char>) -> (Token<'static>, usize) {
    match (first, second) {
        ('(', _) => (Token::Open, 1),
        (')', _) => (Token::Close, 1),
        (',', _) => (Token::Comma, 1),
        ('.', _) => (Token::Dot, 1),
        ('=', Some('~')) => (Token::Matches, 2),
        ('!', Some('~')) => (Token::MatchesNot, 2),
        ('=', Some('=')) => (Token::Compare(Compare::Equal), 2),
        ('!', Some('=')) => (Token::Compare(Compare::Unequal), 2),
        ('>', Some('=')) => (Token::Compare(Compare::AtLeast), 2),
        ('<', Some('=')) => (Token::Compare(Compare::AtMost), 2),
        ('=', _) => (Token::Compare(Compare::Equal), 1),
        ('>', _) => (Token::Compare(Compare::Above), 1),
        ('<', _) => (Token::Compare(Compare::Below), 1),
        ('&', Some('&')) => (Token::Bad("write `and` instead of `&&`"), 2),
        ('|', Some('|')) => (Token::Bad("write `or` instead of `||`"), 2),
        ('!', _) => (Token::Bad("write `not` instead of `!`"), 1),
        ('{' | '[', _) => (Token::Bad("this looks like PromQL, but rules here are about lines of logs"), 1),
        ('`' | '“' | '”' | '‘' | '’' | '„', _) => (Token::Bad(QUOTES), first.len_utf8()),
        _ => (Token::Bad("this character is not part of the rule language"), first.len_utf8()),
    }
}

const QUOTES: &str = "a text stands between \" and \", between ' and ', or as a pattern between / and /";

/// A text up to the same quote again. A backslash keeps the letter behind it from ending the text, but not in `'…'`.
fn quoted(rest: &str, end: char, quote: Quote) -> (Token<'_>, usize) {
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        if letter == end && !escaped {
            return (Token::Text(&rest[1..at], quote), at + 1);
        }
        escaped = letter == '\\' && !escaped && quote != Quote::Single;
    }
    // Only the quote is marked: where the text was meant to end nobody knows.
    (Token::Bad("this quote is never closed"), 1)
}

/// How many bytes a number with its unit takes: `1m30s` is one, and so is `20/s`.
fn quantity_length(rest: &str) -> usize {
    let part = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '.' | '%');
    let sign = usize::from(rest.starts_with('-'));
    let length = rest[sign..].find(|letter| !part(letter)).map_or(rest.len(), |length| sign + length);
    let Some(per) = rest[length..].strip_prefix('/') else { return length };
    let unit = per.find(|letter: char| !letter.is_alphanumeric()).unwrap_or(per.len());
    if unit == 0 { length } else { length + 1 + unit }
}

fn begins_word(letter: char) -> bool {
    letter.is_alphabetic() || matches!(letter, '_' | '@')
}

fn continues_word(letter: char) -> bool {
    begins_word(letter) || letter.is_alphanumeric() || matches!(letter, '.' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        #[track_caller]
        fn check(text: &str, want: &[Token<'_>]) {
            let mut lexer = Lexer::new(text);
            let mut found = Vec::new();
            loop {
                let lexeme = lexer.next();
                assert!(text.get(lexeme.span).is_some(), "{text:?}");
                if lexeme.token == Token::End {
                    break;
                }
                found.push(lexeme.token);
            }
            assert_eq!(found, want, "{text:?}");
        }
        use Token::{Bad, Close, Comma, Dot, MatchesNot, Open, Quantity, Text, Word};
        check("", &[]);
        check(" \n\t", &[]);
        check("count()", &[Word("count"), Open, Close]);
        check("http.status @timestamp", &[Word("http.status"), Word("@timestamp")]);
        check("x-request-id,größe", &[Word("x-request-id"), Comma, Word("größe")]);
        check("10s", &[Quantity("10s")]);
        check("1m30s)", &[Quantity("1m30s"), Close]);
        check("20/s 20/second", &[Quantity("20/s"), Quantity("20/second")]);
        check("-1.5% -", &[Quantity("-1.5%"), Bad("this character is not part of the rule language")]);
        check(r#""a \" b" 'c\'"#, &[Text(r#"a \" b"#, Quote::Double), Text("c\\", Quote::Single)]);
        check(r"/a\/b/.ms", &[Text(r"a\/b", Quote::Slash), Dot, Word("ms")]);
        check(r#""a\"#, &[Bad("this quote is never closed")]);
        check(
            "=<>=!~!=",
            &[
                Token::Compare(Compare::Equal),
                Token::Compare(Compare::Below),
                Token::Compare(Compare::AtLeast),
                MatchesNot,
                Token::Compare(Compare::Unequal),
            ],
        );
        check("a && b", &[Word("a"), Bad("write `and` instead of `&&`")]); // nothing is read behind what is bad
    }
}

//! Where the parser stands, and the small things that it asks for.

use std::ops::Range;

use regex::bytes::{Regex, RegexBuilder};

use super::error::ParseError;
use super::lex::{Lexeme, Lexer, Quote, Token};
use super::quantity::{self, Amount, Unit};
use super::words::{shown, suggestion};
use super::{DEPTH_MAX, PATTERN_SEARCH_MAX, PATTERN_SIZE_MAX};
use crate::engine::alert::rule::Compare;

/// What comes of a part of the text.
pub(super) type Parsed<T> = Result<T, ParseError>;

/// A place in the text, with the token that stands there.
pub(super) struct Cursor<'a> {
    lexer: Lexer<'a>,
    next: Lexeme<'a>,
    depth: usize,
}

/// Something and where it stands.
#[derive(Debug)]
pub(super) struct At<T> {
    pub(super) is: T,
    pub(super) span: Range<usize>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Cursor<'a> {
        let mut lexer = Lexer::new(text);
        let next = lexer.next();
        Cursor { lexer, next, depth: 0 }
    }

    /// The token that comes next.
    pub(super) fn peek(&self) -> Token<'a> {
        self.next.token
    }

    /// Where it stands.
    pub(super) fn span(&self) -> Range<usize> {
        self.next.span.clone()
    }

    /// Takes the token.
    pub(super) fn take(&mut self) -> Lexeme<'a> {
        std::mem::replace(&mut self.next, self.lexer.next())
    }

    /// The error that something else was expected here.
    pub(super) fn expected<T>(&self, what: &str) -> Parsed<T> {
        Err(self.unexpected(what))
    }

    /// The same, to put a note on.
    pub(super) fn unexpected(&self, what: &str) -> ParseError {
        let found = match self.next.token {
            Token::Bad(why) => return ParseError::new(self.span(), why),
            Token::End => "the end".to_owned(),
            Token::Word(word) | Token::Quantity(word) => format!("`{}`", shown(word)),
            Token::Text(..) => "a text".to_owned(),
            Token::Open => "`(`".to_owned(),
            Token::Close => "`)`".to_owned(),
            Token::Comma => "`,`".to_owned(),
            Token::Dot => "`.`".to_owned(),
            Token::Compare(compare) => format!("`{}`", compare.sign()),
            Token::Matches => "`=~`".to_owned(),
            Token::MatchesNot => "`!~`".to_owned(),
        };
        ParseError::new(self.span(), format!("expected {what}, not {found}"))
    }

    pub(super) fn end(&self) -> Parsed<()> {
        match self.peek() {
            Token::End => Ok(()),
            Token::Word(word) => {
                let known = ["within", "by", "least", "for", "and", "or"];
                Err(self.unexpected("the end").note_maybe(suggestion(word, &known)))
            }
            _ => self.expected("the end"),
        }
    }

    /// Takes `token` where it comes next.
    pub(super) fn took(&mut self, token: Token<'_>) -> bool {
        let is_next = self.next.token == token;
        if is_next {
            self.take();
        }
        is_next
    }

    pub(super) fn open(&mut self, of: &str) -> Parsed<()> {
        if self.took(Token::Open) { Ok(()) } else { self.expected(&format!("`(` behind `{of}`")) }
    }

    pub(super) fn close(&mut self) -> Parsed<()> {
        if self.took(Token::Close) { Ok(()) } else { self.expected("`)`") }
    }

    /// The word, if one comes next.
    pub(super) fn word(&mut self) -> Option<At<&'a str>> {
        let Token::Word(is) = self.next.token else { return None };
        Some(At { is, span: self.take().span })
    }

    pub(super) fn compare(&mut self) -> Parsed<At<Compare>> {
        let Token::Compare(is) = self.next.token else {
            return self.expected("a comparison: >, >=, <, <=, = or !=");
        };
        Ok(At { is, span: self.take().span })
    }

    /// One level deeper, for as long as `inner` reads.
    pub(super) fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth == DEPTH_MAX {
            let message = format!("`(` and `not` may stand {DEPTH_MAX} deep in each other");
            return Err(ParseError::new(self.span(), message));
        }
        self.depth += 1;
        let read = inner(self);
        self.depth -= 1;
        read
    }

    /// A number with its unit; the unit may stand apart.
    pub(super) fn amount(&mut self, what: &str) -> Parsed<At<Amount>> {
        let Token::Quantity(text) = self.peek() else { return self.expected(what) };
        let mut span = self.take().span;
        let mut text = text.to_owned();
        if let Token::Word(unit) = self.peek()
            && quantity::is_unit(unit)
            && text.ends_with(|letter: char| letter.is_ascii_digit())
        {
            text.push_str(unit);
            span.end = self.take().span.end;
        }
        match quantity::read(&text) {
            Ok(is) => Ok(At { is, span }),
            Err(why) => Err(ParseError::new(span, why)),
        }
    }

    /// A number of this unit; `what` asks for it.
    pub(super) fn amount_of(&mut self, unit: Unit, what: &str) -> Parsed<At<f64>> {
        let At { is, span } = self.amount(what)?;
        if is.unit == unit {
            return Ok(At { is: is.value, span });
        }
        Err(ParseError::new(span, format!("expected {what}, not {}", is.unit.noun())))
    }

    /// A whole number.
    pub(super) fn whole(&mut self, what: &str) -> Parsed<At<u64>> {
        let At { is, span } = self.amount_of(Unit::Plain, what)?;
        match whole(is) {
            Some(is) => Ok(At { is, span }),
            None => Err(ParseError::new(span, format!("expected {what}"))),
        }
    }

    /// A quoted text, its escapes undone.
    pub(super) fn text(&mut self, what: &str) -> Parsed<At<String>> {
        let Token::Text(inner, quote) = self.peek() else { return self.expected(what) };
        let span = self.span();
        let is = match quote {
            Quote::Single => inner.to_owned(),
            Quote::Double => unescaped(inner, span.start + 1)?,
            Quote::Slash => {
                let error = ParseError::new(span, "a pattern stands here, and a text is compared");
                return Err(error.note("write =~ in front of a pattern"));
            }
        };
        Ok(At { is, span: self.take().span })
    }

    /// A quoted text that cannot be in every line.
    pub(super) fn part(&mut self) -> Parsed<At<String>> {
        let text = self.text("a text in quotes")?;
        if text.is.is_empty() {
            return Err(ParseError::new(text.span, "an empty text is in every line: write `all`"));
        }
        Ok(text)
    }

    /// A pattern, compiled.
    pub(super) fn pattern(&mut self) -> Parsed<At<Regex>> {
        let Token::Text(inner, _) = self.peek() else {
            return self.expected("a pattern in quotes or between slashes");
        };
        let span = self.take().span;
        let pattern = without_escaped_quotes(inner);
        if pattern.is_empty() {
            return Err(ParseError::new(span, "an empty pattern is found in every line: write `all`"));
        }
        let built = RegexBuilder::new(&pattern)
            .size_limit(PATTERN_SIZE_MAX)
            .dfa_size_limit(PATTERN_SEARCH_MAX)
            .build();
        match built {
            Ok(is) => Ok(At { is, span }),
            Err(error) => Err(pattern_error(&error, span)),
        }
    }
}

fn pattern_error(error: &regex::Error, span: Range<usize>) -> ParseError {
    if let regex::Error::CompiledTooBig(_) = error {
        let message = "this pattern is too large once it is compiled: fewer or smaller repetitions";
        return ParseError::new(span, message);
    }
    // The lines above the last one draw the place inside the pattern.
    let text = error.to_string();
    let why = text.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
    ParseError::new(span, format!("this is not a regular expression: {why}"))
        .note("syntax: that of the regex crate, without look-around")
}

/// `number` where it is whole and small enough to be exact.
pub(super) fn whole(number: f64) -> Option<u64> {
    // Up to 2^53 every whole number is its own; nobody counts further.
    let is_whole = number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number);
    is_whole.then_some(number as u64)
}

fn unescaped(inner: &str, start: usize) -> Parsed<String> {
    let mut out = String::with_capacity(inner.len());
    let mut letters = inner.char_indices();
    while let Some((at, letter)) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some((_, same @ ('"' | '\\'))) => out.push(same),
            Some((_, 'n')) => out.push('\n'),
            Some((_, 't')) => out.push('\t'),
            other => {
                let length = 1 + other.map_or(0, |(_, letter)| letter.len_utf8());
                let error = ParseError::new(
                    start + at..start + at + length,
                    "this escape is unknown: known are \\\" \\\\ \\n \\t",
                );
                return Err(error.note(
                    "a backslash is written \\\\, or the text in ' and '; a pattern stands behind =~",
                ));
            }
        }
    }
    Ok(out)
}

/// A pattern without what only its quotes made necessary: `\"` is `"` and `\/` is `/` in every pattern.
fn without_escaped_quotes(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut escaped = false;
    for letter in inner.chars() {
        if escaped && !matches!(letter, '"' | '/') {
            out.push('\\');
        }
        escaped = letter == '\\' && !escaped;
        if !escaped {
            out.push(letter);
        }
    }
    // Only `'…'` can end so, and the pattern is refused for it.
    if escaped {
        out.push('\\');
    }
    out
}

//! What stands behind a comparison: `within 1m`, `for 10m`, `by stream`, `least 20`, in any order.

use std::ops::Range;
use std::time::Duration;

use super::cursor::{At, Cursor, Parsed};
use super::error::ParseError;
use super::lex::Token;
use super::quantity::{self, Unit};
use super::words::suggestion;
use crate::engine::alert::rule::By;

/// Each at most once.
#[derive(Default)]
pub(super) struct Clauses {
    pub(super) within: Option<At<Duration>>,
    pub(super) during: Option<At<Duration>>,
    pub(super) least: Option<At<u64>>,
    by: Option<At<By>>,
}

/// Which clauses a form has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clause {
    Within,
    For,
    By,
    Least,
}

impl Clauses {
    /// Reads all of them.
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Parsed<Clauses> {
        let mut clauses = Clauses::default();
        while let Token::Word(word @ ("within" | "for" | "by" | "least")) = cursor.peek() {
            let span = cursor.take().span;
            let twice = match word {
                "within" => clauses
                    .within
                    .replace(At { is: window(cursor, "within 1m")?, span: span.clone() })
                    .is_some(),
                "for" => clauses
                    .during
                    .replace(At { is: window(cursor, "for 10m")?, span: span.clone() })
                    .is_some(),
                "by" => clauses.by.replace(At { is: by(cursor)?, span: span.clone() }).is_some(),
                _ => clauses.least.replace(At { is: least(cursor)?, span: span.clone() }).is_some(),
            };
            if twice {
                return Err(ParseError::new(span, format!("`{word}` stands here twice")));
            }
        }
        Ok(clauses)
    }

    /// Who is judged.
    pub(super) fn by(&self) -> By {
        self.by.as_ref().map_or(By::All, |by| by.is)
    }

    /// Refuses every clause that `allowed` does not have; `of` is the form.
    pub(super) fn allow(&self, of: &str, allowed: &[Clause]) -> Parsed<()> {
        let there = [
            (Clause::Within, "within", self.within.as_ref().map(|at| &at.span)),
            (Clause::For, "for", self.during.as_ref().map(|at| &at.span)),
            (Clause::By, "by", self.by.as_ref().map(|at| &at.span)),
            (Clause::Least, "least", self.least.as_ref().map(|at| &at.span)),
        ];
        let wrong = there.into_iter().filter(|(clause, ..)| !allowed.contains(clause));
        // The first of them as they are written.
        match wrong
            .filter_map(|(clause, word, span)| Some((clause, word, span?)))
            .min_by_key(|(.., span)| span.start)
        {
            None => Ok(()),
            Some((clause, word, span)) => Err(refused(clause, word, of, span)),
        }
    }
}

fn refused(clause: Clause, word: &str, of: &str, span: &Range<usize>) -> ParseError {
    let error = ParseError::new(span.clone(), format!("`{of}` has no `{word}`"));
    match clause {
        Clause::For => error.note("how long it must be true is a key of the rule: `for:` beside `when:`"),
        Clause::Within if of == "absent" => error.note("write absent(…) for 10m"),
        Clause::Least => {
            error.note("`least` says how many lines or values a ratio, mean or percentile needs")
        }
        _ => error,
    }
}

fn window(cursor: &mut Cursor<'_>, example: &str) -> Parsed<Duration> {
    let At { is, span } = cursor.amount_of(Unit::Time, &format!("a time, as in {example}"))?;
    quantity::window(is).ok_or_else(|| ParseError::new(span, "a window may be from 1s to 24h long"))
}

fn by(cursor: &mut Cursor<'_>) -> Parsed<By> {
    match cursor.peek() {
        Token::Word("stream") => {
            cursor.take();
            Ok(By::Stream)
        }
        Token::Word(word) => Err(cursor
            .unexpected("`stream`: rules are judged by stream, or all together")
            .note_maybe(suggestion(word, &["stream"]))),
        _ => cursor.expected("`stream`: rules are judged by stream, or all together"),
    }
}

fn least(cursor: &mut Cursor<'_>) -> Parsed<u64> {
    let what = "a whole number from 1 on, as in least 20";
    let At { is, span } = cursor.whole(what)?;
    if is == 0 { Err(ParseError::new(span, format!("expected {what}"))) } else { Ok(is) }
}

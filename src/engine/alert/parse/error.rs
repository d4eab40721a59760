//! What is wrong with an expression, and where.

use std::fmt;
use std::ops::Range;

/// The first thing that is wrong with a text of the rule language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Which bytes of the text; empty where something is missing. Both ends are borders of characters.
    pub span: Range<usize>,
    /// One sentence without a full stop: what was expected.
    pub message: String,
    /// What helps to put it right.
    pub note: Option<String>,
}

impl ParseError {
    pub(in crate::engine::alert) fn new(span: Range<usize>, message: impl Into<String>) -> ParseError {
        ParseError { span, message: message.into(), note: None }
    }

    pub(in crate::engine::alert) fn note(mut self, note: impl Into<String>) -> ParseError {
        self.note = Some(note.into());
        self
    }

    pub(super) fn note_maybe(mut self, note: Option<String>) -> ParseError {
        self.note = note.or(self.note);
        self
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ParseError {}

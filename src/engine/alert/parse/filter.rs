//! Which lines: `message =~ "…" and (level >= error or status >= 500)`.

use std::ops::Range;

use super::cursor::{At, Cursor, Parsed};
use super::error::ParseError;
use super::lex::{Quote, Token};
use super::quantity::Unit;
use super::words::{LEVELS, shown, suggestion};
use crate::engine::alert::rule::{Compare, Field, Filter, Text};
use crate::engine::line::level::Level;

/// Words that are no names of fields; such fields are written `field("…")`.
pub(super) const RESERVED: [&str; 14] = [
    "message", "level", "stream", "and", "or", "not", "all", "contains", "in", "within", "by", "least",
    "for", "where",
];

/// What stands between the parentheses of `count` and its like: nothing means all lines.
pub(super) fn maybe(cursor: &mut Cursor<'_>) -> Parsed<Filter> {
    if cursor.peek() == Token::Close { Ok(Filter::All) } else { filter(cursor) }
}

/// Parts with `or` between them.
pub(super) fn filter(cursor: &mut Cursor<'_>) -> Parsed<Filter> {
    let first = all_of(cursor)?;
    if cursor.peek() != Token::Word("or") {
        return Ok(first);
    }
    let mut any = vec![first];
    while cursor.took(Token::Word("or")) {
        any.push(all_of(cursor)?);
    }
    Ok(Filter::Or(any.into()))
}

fn all_of(cursor: &mut Cursor<'_>) -> Parsed<Filter> {
    let first = one(cursor)?;
    if cursor.peek() != Token::Word("and") {
        return Ok(first);
    }
    let mut all = vec![first];
    while cursor.took(Token::Word("and")) {
        all.push(one(cursor)?);
    }
    Ok(Filter::And(all.into()))
}

fn one(cursor: &mut Cursor<'_>) -> Parsed<Filter> {
    match cursor.peek() {
        Token::Open => cursor.deeper(|cursor| {
            cursor.take();
            let inner = filter(cursor)?;
            cursor.close()?;
            Ok(inner)
        }),
        Token::Word("not") => cursor.deeper(|cursor| {
            cursor.take();
            Ok(Filter::Not(Box::new(one(cursor)?)))
        }),
        Token::Word("all") => {
            cursor.take();
            Ok(Filter::All)
        }
        Token::Text(_, Quote::Slash) => {
            let At { is, .. } = cursor.pattern()?;
            Ok(Filter::Message(Text::Matches(Box::new(is))))
        }
        Token::Text(..) => {
            let At { is, .. } = cursor.part()?;
            Ok(Filter::Message(Text::Contains(is.into_bytes().into())))
        }
        Token::Word("level") => level(cursor),
        Token::Word(word) if word == "field" || !RESERVED.contains(&word) => of_field(cursor),
        Token::Word("message") => of_text(cursor, "message", Filter::Message),
        Token::Word("stream") => of_text(cursor, "stream", Filter::Stream),
        Token::Word(word) => {
            let error = cursor.unexpected("which lines are meant");
            Err(error.note(format!(
                "`{word}` is a word of the language; a field of this name is written field(\"{word}\")"
            )))
        }
        _ => cursor.expected("which lines are meant, as in message contains \"…\" or status >= 500"),
    }
}

/// `message` or `stream`, whose words come next, with a text.
fn of_text(cursor: &mut Cursor<'_>, name: &str, filter: fn(Text) -> Filter) -> Parsed<Filter> {
    cursor.take();
    match text_test(cursor)? {
        Some(test) => Ok(test.negated(filter)),
        None => {
            let error = cursor.unexpected("=~, contains, =, !~ or !=");
            Err(error.note(format!("`{name}` is a text: {name} contains \"…\"")))
        }
    }
}

/// A test of a text, and whether it must fail.
pub(super) struct TextTest {
    pub(super) text: Text,
    pub(super) not: bool,
}

impl TextTest {
    fn negated(self, filter: impl Fn(Text) -> Filter) -> Filter {
        let filter = filter(self.text);
        if self.not { Filter::Not(Box::new(filter)) } else { filter }
    }
}

/// `=~ "…"` and its like. `None` where something else comes, or where a number is compared.
pub(super) fn text_test(cursor: &mut Cursor<'_>) -> Parsed<Option<TextTest>> {
    let (sign, not) = match cursor.peek() {
        Token::Matches => (Token::Matches, false),
        Token::MatchesNot => (Token::Matches, true),
        Token::Word("contains") => (Token::Word("contains"), false),
        Token::Compare(Compare::Equal) => (Token::Compare(Compare::Equal), false),
        Token::Compare(Compare::Unequal) => (Token::Compare(Compare::Equal), true),
        _ => return Ok(None),
    };
    cursor.take();
    let text = match sign {
        Token::Matches => Text::Matches(Box::new(cursor.pattern()?.is)),
        Token::Word(_) => Text::Contains(cursor.part()?.is.into_bytes().into()),
        _ => Text::Is(right_side(cursor)?.is.into_bytes().into()),
    };
    Ok(Some(TextTest { text, not }))
}

/// A text behind `=`. A bare word there is a text that lost its quotes.
fn right_side(cursor: &mut Cursor<'_>) -> Parsed<At<String>> {
    if let Token::Word(word) = cursor.peek() {
        let error = cursor.unexpected("a text in quotes");
        return Err(error.note(format!("write \"{}\"", shown(word))));
    }
    cursor.text("a text in quotes")
}

fn level(cursor: &mut Cursor<'_>) -> Parsed<Filter> {
    cursor.take();
    let At { is: compare, .. } = cursor.compare()?;
    let what = "a level: trace, debug, info, notice, warn, error or fatal";
    let word = match cursor.peek() {
        Token::Word(word) | Token::Text(word, Quote::Double | Quote::Single) => word,
        _ => return cursor.expected(what),
    };
    match Level::from_word(word.as_bytes()) {
        Some(level) => {
            cursor.take();
            Ok(Filter::Level(compare, level))
        }
        None => Err(cursor.unexpected(what).note_maybe(suggestion(word, &LEVELS))),
    }
}

/// A field, whose name comes next, with a text or a number.
fn of_field(cursor: &mut Cursor<'_>) -> Parsed<Filter> {
    let At { is: name, span } = name(cursor)?;
    let (bare, name) = match name {
        Name::Bare(name) => (true, name),
        Name::Quoted(name) => (false, name),
    };
    let Token::Compare(compare) = cursor.peek() else {
        return match text_test(cursor)? {
            Some(test) if bare => not_misspelt(&name, &span).map(|()| of_text_in(&name, test)),
            Some(test) => Ok(of_text_in(&name, test)),
            None => Err(nothing_compared(cursor, &name, span)),
        };
    };
    let sign = cursor.take().span;
    match (compare, cursor.peek()) {
        (_, Token::Quantity(_)) => {
            let At { is, span } = cursor.amount("a number")?;
            if matches!(is.unit, Unit::Rate | Unit::Times) {
                let message =
                    format!("a field holds a number, a time, a size or a share, not {}", is.unit.noun());
                return Err(ParseError::new(span, message));
            }
            Ok(Filter::FieldNumber(name, compare, is.value))
        }
        (Compare::Equal | Compare::Unequal, _) => {
            let what = "a number, or a text in quotes";
            if !matches!(cursor.peek(), Token::Text(..) | Token::Word(_)) {
                return cursor.expected(what);
            }
            let text = Text::Is(right_side(cursor)?.is.into_bytes().into());
            if bare {
                not_misspelt(&name, &span)?;
            }
            Ok(of_text_in(&name, TextTest { text, not: compare == Compare::Unequal }))
        }
        (_, Token::Text(..)) => {
            let error = ParseError::new(sign, format!("`{}` compares numbers, not texts", compare.sign()));
            Err(error.note("texts are compared with =, !=, =~, !~ and contains"))
        }
        _ => cursor.expected("a number, as in 500 or 250ms"),
    }
}

fn of_text_in(name: &str, test: TextTest) -> Filter {
    test.negated(|text| Filter::FieldText(name.into(), text))
}

fn nothing_compared(cursor: &Cursor<'_>, name: &str, span: Range<usize>) -> ParseError {
    let what = format!("what field `{}` is compared with", shown(name));
    let error = cursor.unexpected(&what);
    if error.span.is_empty() || matches!(cursor.peek(), Token::Close | Token::Comma | Token::Word(_)) {
        let name = shown(name);
        return ParseError::new(span, format!("field `{name}` is compared with nothing"))
            .note(format!("write {name} = \"…\", {name} >= 500, or \"{name}\" for lines that contain it"));
    }
    error
}

/// Refuses `mesage = "…"`, which would be a field that no line has, and so a rule that never fires.
fn not_misspelt(name: &str, span: &Range<usize>) -> Parsed<()> {
    let known = ["message", "level", "stream"];
    let near = |known: &&&str| known.len().abs_diff(name.len()) <= 1;
    let known: Vec<&str> = known.iter().filter(near).copied().collect();
    let Some(hint) = suggestion(name, &known) else { return Ok(()) };
    let name = shown(name);
    Err(ParseError::new(span.clone(), format!("`{name}` is nearly a word of the language, {hint}"))
        .note(format!("a field of this name is written field(\"{name}\")")))
}

enum Name {
    Bare(Box<str>),
    Quoted(Box<str>),
}

/// `status`, `http.status`, or `field("odd name")`.
fn name(cursor: &mut Cursor<'_>) -> Parsed<At<Name>> {
    let Some(At { is: word, mut span }) = cursor.word() else {
        return cursor.expected("the name of a field");
    };
    if word != "field" || !cursor.took(Token::Open) {
        return Ok(At { is: Name::Bare(word.into()), span });
    }
    let inner = match cursor.word() {
        Some(At { is, .. }) => is.to_owned(),
        None => cursor.text("the name of a field in quotes")?.is,
    };
    if inner.is_empty() {
        return Err(ParseError::new(span, "a field has a name"));
    }
    span.end = cursor.span().end;
    cursor.close()?;
    Ok(At { is: Name::Quoted(inner.into()), span })
}

/// Where a number comes from: the name of a field, or a group of a pattern.
pub(super) fn number_field(cursor: &mut Cursor<'_>) -> Parsed<Field> {
    match cursor.peek() {
        Token::Text(_, Quote::Slash) => group(cursor),
        Token::Text(inner, _) => {
            let error = cursor.unexpected("the name of a field");
            Err(error
                .note(format!("write field(\"{0}\"), or /{0}(?<name>…)/.name for a pattern", shown(inner))))
        }
        Token::Word(word) if RESERVED.contains(&word) => {
            let error = cursor.unexpected("the name of a field");
            Err(error.note(format!("a field of this name is written field(\"{word}\")")))
        }
        _ => match name(cursor)?.is {
            Name::Bare(name) | Name::Quoted(name) => Ok(Field::Named(name)),
        },
    }
}

/// `/took (?<ms>\d+) ms/.ms`; a pattern with one named group needs no name behind it.
fn group(cursor: &mut Cursor<'_>) -> Parsed<Field> {
    let At { is: pattern, span } = cursor.pattern()?;
    let names: Vec<(usize, &str)> =
        pattern.capture_names().enumerate().filter_map(|(at, name)| Some((at, name?))).collect();
    let found = if cursor.took(Token::Dot) {
        let Some(At { is: wanted, span }) = cursor.word() else {
            return cursor.expected("the name of a group of the pattern");
        };
        let Some(found) = names.iter().find(|(_, name)| *name == wanted) else {
            let known: Vec<&str> = names.iter().map(|(_, name)| *name).collect();
            let message = format!("the pattern has no group `{}`", shown(wanted));
            return Err(ParseError::new(span, message).note_maybe(suggestion(wanted, &known)));
        };
        *found
    } else {
        match names[..] {
            [one] => one,
            [] => {
                let error = ParseError::new(span, "the pattern has no named group, so no number comes of it");
                return Err(error.note("name the number: /took (?<ms>\\d+) ms/.ms"));
            }
            _ => {
                let error = ParseError::new(
                    span.end..span.end,
                    "which group of the pattern holds the number is missing",
                );
                return Err(error.note(format!("write .{} behind it", names[0].1)));
            }
        }
    };
    let (group, name) = (found.0, found.1.into());
    Ok(Field::Group { pattern, group, name })
}

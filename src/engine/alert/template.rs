//! The text of an annotation, with places: `{{ value }} time-outs of {{ loop.endpoint }} in {{ window }}`.
//!
//! A place stands between `{{` and `}}`, with or without spaces. The two signs themselves are written as a place that holds
//! a text: `{{ "{{" }}`. `}}` that ends no place is text.
//! Limits: [`TEXT_MAX`] bytes, [`PIECES_MAX`] pieces.

use std::ops::Range;

use super::parse::ParseError;
use crate::suggest::nearest;

/// The longest text, in bytes.
pub const TEXT_MAX: usize = 4 << 10;
/// The most texts and places together.
pub const PIECES_MAX: usize = 128;

/// What a place may name, for people.
const KNOWN: [&str; 12] = [
    "value",
    "threshold",
    "window",
    "alert",
    "since",
    "stream",
    "container",
    "message",
    "loop.endpoint",
    "loop.verdict",
    "loop.iterations",
    "loop.period",
];

/// A text in which some places are filled in when the alert is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// Text and places in their order.
    pub pieces: Box<[Piece]>,
}

impl Template {
    /// Reads a text with places.
    ///
    /// # Errors
    /// The first place that nothing can be filled into, with its bytes.
    pub fn parse(text: &str) -> Result<Template, ParseError> {
        if text.len() > TEXT_MAX {
            let start = text.floor_char_boundary(TEXT_MAX);
            return Err(ParseError::new(start..text.len(), "a text may have 4,096 bytes"));
        }
        let mut pieces = Vec::new();
        let mut at = 0;
        while let Some(open) = text[at..].find("{{").map(|open| at + open) {
            let Some(length) = end_of(&text[open + 2..]) else {
                let error = ParseError::new(open..open + 2, "`{{` without its `}}`");
                return Err(error.note("the signs themselves are written {{ \"{{\" }}"));
            };
            let inner = open + 2..open + 2 + length;
            push_text(&mut pieces, &text[at..open]);
            match text[inner.clone()].trim() {
                quoted if quoted.starts_with('"') => push_text(&mut pieces, unquoted(quoted, inner.clone())?),
                name => pieces.push(Piece::Place(place(name, trimmed(text, inner.clone()))?)),
            }
            at = inner.end + 2;
        }
        push_text(&mut pieces, &text[at..]);
        if pieces.len() > PIECES_MAX {
            return Err(ParseError::new(0..text.len(), format!("a text may have {PIECES_MAX} pieces")));
        }
        Ok(Template { pieces: pieces.into() })
    }
}

/// Where the `}}` of a place stands. A text in quotes may hold one.
fn end_of(inner: &str) -> Option<usize> {
    let from = match inner.trim_start().strip_prefix('"') {
        Some(quoted) => inner.len() - quoted.len() + quoted.find('"')? + 1,
        None => 0,
    };
    inner[from..].find("}}").map(|end| from + end)
}

fn unquoted(quoted: &str, span: Range<usize>) -> Result<&str, ParseError> {
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.filter(|inner| !inner.contains('"')).ok_or_else(|| {
        ParseError::new(span, "only a text stands here").note("the signs themselves are written {{ \"{{\" }}")
    })
}

/// Text behind text is one text.
fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(Piece::Text(last)) => *last = format!("{last}{text}").into(),
        _ => pieces.push(Piece::Text(text.into())),
    }
}

/// The bytes of `span` without the space around them; all of them where there is nothing else.
fn trimmed(text: &str, span: Range<usize>) -> Range<usize> {
    let inner = &text[span.clone()];
    let start = span.start + inner.len() - inner.trim_start().len();
    let end = start + inner.trim().len();
    if inner.trim().is_empty() { span } else { start..end }
}

fn place(name: &str, span: Range<usize>) -> Result<Place, ParseError> {
    let place = match name {
        "value" => Place::Value,
        "threshold" => Place::Threshold,
        "window" => Place::Window,
        "alert" => Place::Alert,
        "since" => Place::Since,
        "stream" => Place::Stream,
        "container" => Place::Container,
        "message" => Place::Message,
        _ => match name.split_once('.') {
            Some(("labels", label)) if is_label_name(label) => Place::Label(label.into()),
            Some(("loop", what)) if KNOWN.contains(&name) => Place::Loop(what.into()),
            _ => return Err(unknown(name, span)),
        },
    };
    Ok(place)
}

/// Whether labels and annotations may have this name: `[a-zA-Z_][a-zA-Z0-9_]*`, as Prometheus has it.
pub fn is_label_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

fn unknown(name: &str, span: Range<usize>) -> ParseError {
    let bare = name.trim_start_matches(['$', '.']);
    // A bare name is not bared again, so this goes one deep.
    let meant = if bare != name && place(bare, 0..0).is_ok() {
        Some(bare)
    } else {
        nearest(bare, KNOWN.iter().copied())
    };
    let hint = meant.map_or(String::new(), |meant| format!(", did you mean `{meant}`?"));
    ParseError::new(span, format!("nothing can be filled in here{hint}"))
        .note(format!("known: {}, labels.NAME", KNOWN.join(", ")))
}

/// A part of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it is.
    Text(Box<str>),
    /// Filled in.
    Place(Place),
}

/// What can be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `value`: what was measured, with its unit.
    Value,
    /// `threshold`: what it was held against.
    Threshold,
    /// `window`.
    Window,
    /// `alert`: the rule's name.
    Alert,
    /// `since`: since when it is true.
    Since,
    /// `stream`: whose lines they are; empty where all are judged together.
    Stream,
    /// `container`: the name of the container whose resources they are, or the first digits of its id.
    Container,
    /// `message`: the last line that counted, as people may see it.
    Message,
    /// `labels.NAME`.
    Label(Box<str>),
    /// `loop.endpoint`, `loop.verdict`, `loop.iterations`, `loop.period`: of the newest open loop that this can be about.
    Loop(Box<str>),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pieces() {
        #[track_caller]
        fn check(text: &str, want: &[Piece]) {
            assert_eq!(Template::parse(text).as_ref().map(|template| &*template.pieces), Ok(want), "{text}");
        }
        let text = |text: &str| Piece::Text(text.into());
        check("", &[]);
        check("plain } }} {", &[text("plain } }} {")]);
        check("{{value}}", &[Piece::Place(Place::Value)]);
        check("a {{ loop.endpoint }}", &[text("a "), Piece::Place(Place::Loop("endpoint".into()))]);
        check("{{ labels.team }}b", &[Piece::Place(Place::Label("team".into())), text("b")]);
        check("a {{ \"{{\" }} b {{ \"}}\" }}", &[text("a {{ b }}")]);
        check("{{ since }}{{ window }}", &[Piece::Place(Place::Since), Piece::Place(Place::Window)]);
    }

    #[test]
    fn what_cannot_be_filled_in() {
        #[track_caller]
        fn check(marked: &str, want: &str) {
            let start = marked.find('«').expect("« marks the start");
            let end = marked.find('»').expect("» marks the end") - '«'.len_utf8();
            let text = marked.replace(['«', '»'], "");
            let error = Template::parse(&text).expect_err(&text);
            assert_eq!(error.span, start..end, "{marked}: {error}");
            assert!(error.message.contains(want), "{marked}: {error}");
        }
        check("{{ «valeu» }}", "did you mean `value`?");
        check("{{ «$value» }}", "did you mean `value`?");
        check("{{ «$labels.team» }}", "did you mean `labels.team`?");
        check("{{ «loop.endpont» }}", "did you mean `loop.endpoint`?");
        check("ä {{« »}}", "nothing can be filled in");
        check("{{ «labels.a-b» }}", "nothing can be filled in");
        check("{{ «value | humanize» }}", "nothing can be filled in");
        check("{{ value }} «{{» value }", "without its");
        check("«{{» \"}}", "without its");
        check("{{« \"a\" b »}}", "only a text");
        assert!(Template::parse(&"{{value}}".repeat(PIECES_MAX + 1)).is_err());
        assert!(Template::parse(&"x".repeat(TEXT_MAX + 1)).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_text_panics(text in any::<String>(), soup in "[{} \"va.ä$]{0,24}") {
            for text in [&text, &soup] {
                if let Err(error) = Template::parse(text) {
                    prop_assert!(text.get(error.span.clone()).is_some(), "{text}: {error:?}");
                }
            }
        }
    }
}

//! Where a part of a value stands in the file.

use std::ops::Range;

use super::faults::Place;

/// The place of the bytes `span` of `text`, which is the value at `place`: exact where the value stands plainly or in
/// quotes on one line; the whole value where YAML has folded it or a variable was put in.
pub(super) fn inside(place: &Place, text: &str, span: Range<usize>) -> Place {
    let Place::Text { source, span: whole } = place else { return place.clone() };
    let written = &source.text()[whole.clone()];
    if let Some(at) = written.find(text) {
        let start = whole.start + at;
        return Place::in_text(source, source.clamp(start + span.start..start + span.end));
    }
    match in_quotes(written, text, &span) {
        Some(found) => {
            Place::in_text(source, source.clamp(whole.start + found.start..whole.start + found.end))
        }
        None => place.clone(),
    }
}

/// Walks a quoted value with escapes beside what it means.
fn in_quotes(written: &str, text: &str, span: &Range<usize>) -> Option<Range<usize>> {
    let quote = written.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let mut at = 1;
    let (mut start, mut end) = (None, None);
    for (offset, letter) in text.char_indices().chain([(text.len(), quote)]) {
        if offset >= span.start {
            start.get_or_insert(at);
        }
        if offset >= span.end {
            end.get_or_insert(at);
        }
        let rest = written.get(at..)?;
        let plain = rest.chars().next()?;
        at += match (quote, plain) {
            _ if offset == text.len() => (plain == quote).then_some(1)?,
            ('\'', '\'') => rest.starts_with("''").then_some(2)?,
            ('"', '\\') => escape_length(rest)?,
            // A fold, or something else that is not written as it is meant.
            _ if plain != letter => return None,
            _ => letter.len_utf8(),
        };
    }
    Some(start?..end?)
}

/// How many bytes an escape of YAML's double quotes takes.
fn escape_length(rest: &str) -> Option<usize> {
    let kind = rest.chars().nth(1)?;
    match kind {
        'x' => Some(4),
        'u' => Some(6),
        'U' => Some(10),
        '\n' | '\r' => None,
        _ => Some(1 + kind.len_utf8()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::Source;

    #[test]
    fn parts_of_values() {
        /// `part` of what `written` means stands at `want`, or nowhere in particular.
        #[track_caller]
        fn check(written: &str, text: &str, part: &str, want: &str) {
            let source = Source::new("t", &format!("when: {written}"));
            let place = Place::in_text(&source, 6..6 + written.len());
            let start = text.find(part).expect("the part is in the text");
            let Place::Text { span, .. } = inside(&place, text, start..start + part.len()) else {
                panic!("{written}")
            };
            assert_eq!(&source.text()[span], want, "{written}");
        }
        check("count(x) > 1", "count(x) > 1", "x", "x");
        check("'count(\"ä\") > 1'", "count(\"ä\") > 1", "1", "1");
        check("'a ''b'' c'", "a 'b' c", "c", "c");
        check("'a ''b'' c'", "a 'b' c", "'b'", "''b''");
        check("\"a \\\"b\\\" c\"", "a \"b\" c", "c", "c");
        check("\"\\u00e4 \\t c\"", "ä \t c", "c", "c");
        check("a\n  b", "a b", "b", "a\n  b"); // folded
        check("'a\n  ''b'''", "a 'b'", "b", "'a\n  ''b'''");
        check("${A}", "value of it", "value", "${A}");
    }
}

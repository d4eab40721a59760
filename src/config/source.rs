//! Places: where something was said, and how that looks to a person.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use regex::Regex;

use crate::terminal::{self, is_harmful};

/// How many columns of a line are shown; longer lines are cut around the caret.
const WIDTH_MAX: usize = 100;
/// How many columns are shown before the caret when a line is cut.
const BEFORE_CARET: usize = 40;
/// A tab is shown as this many spaces, so that the caret below stands right whatever the terminal does.
const TAB: &str = "    ";
/// How many characters of a value are repeated in a message.
const SHOWN_MAX: usize = 80;

/// A text that was read as config, and what to call it.
#[derive(Debug)]
pub struct Source {
    name: String,
    text: String,
    /// Where each line begins, in bytes.
    lines: Vec<usize>,
}

impl Source {
    /// Keeps `text` for messages; `name` is usually its path. A byte order mark is not part of the text.
    pub(super) fn new(name: impl Into<String>, text: &str) -> Arc<Source> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Arc::new(Source { name: name.into(), text, lines })
    }

    /// What to call it: usually its path.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The byte at which a line and column (both from 1, in characters) stand.
    pub(super) fn offset(&self, line: u64, column: u64) -> usize {
        let line = usize::try_from(line).unwrap_or(usize::MAX).saturating_sub(1);
        let Some(&start) = self.lines.get(line) else { return self.text.len() };
        let column = usize::try_from(column).unwrap_or(usize::MAX).saturating_sub(1);
        self.text[start..].char_indices().nth(column).map_or(self.text.len(), |(at, _)| start + at)
    }

    /// The same range, but inside the text and on character borders, so that slicing with it cannot fail.
    pub(super) fn clamp(&self, span: Range<usize>) -> Range<usize> {
        let start = self.text.floor_char_boundary(span.start);
        let end = self.text.floor_char_boundary(span.end);
        start..end.max(start)
    }

    /// Line and column of a byte, both from 1, in characters.
    fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|&start| start <= offset);
        let start = self.lines[line.saturating_sub(1)];
        (line, self.text[start..offset].chars().count() + 1)
    }

    /// Where the line numbered `line` (from 1) stands, without its end.
    fn line(&self, line: usize) -> Range<usize> {
        let start = self.lines[line - 1];
        let length = self.text[start..].find('\n').unwrap_or(self.text.len() - start);
        let text = &self.text[start..start + length];
        start..start + text.strip_suffix('\r').unwrap_or(text).len()
    }
}

/// Where a key or value was given.
#[derive(Clone, Debug)]
pub enum Place {
    /// In a file or other text: these bytes.
    Text {
        /// The text.
        source: Arc<Source>,
        /// The bytes in it.
        span: Range<usize>,
    },
    /// In this environment variable.
    Variable(Arc<str>),
    /// In a flag, written with its key but without its value.
    Flag(Arc<str>),
    /// A file or directory as a whole.
    Path(PathBuf),
}

impl Place {
    pub(super) fn in_text(source: &Arc<Source>, span: Range<usize>) -> Place {
        Place::Text { source: Arc::clone(source), span }
    }

    /// Line and column, both from 1 and in characters, where the place has them.
    pub fn position(&self) -> Option<(usize, usize)> {
        match self {
            Place::Text { source, span } => Some(source.position(span.start)),
            _ => None,
        }
    }

    /// What to call it: the name of the text, the variable, the flag, the file.
    pub(super) fn name(&self) -> Cow<'_, str> {
        match self {
            Place::Text { source, .. } => source.name().into(),
            Place::Variable(name) | Place::Flag(name) => (&**name).into(),
            Place::Path(path) => path.to_string_lossy(),
        }
    }

    /// For sorting: texts in their order and from top to bottom, then variables, flags and whole files.
    pub(super) fn rank(&self) -> (u8, &str, usize) {
        match self {
            Place::Text { source, span } => (0, source.name(), span.start),
            Place::Variable(name) => (1, name, 0),
            Place::Flag(flag) => (2, flag, 0),
            Place::Path(_) => (3, "", 0),
        }
    }

    /// Writes the lines `--> where` and, for a text, the line itself with a caret under the span.
    pub(super) fn draw(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place::Text { source, span } = self else { return writeln!(f, "  --> {self}") };
        let (line, _) = source.position(span.start);
        let gutter = line.to_string();
        let excerpt = Excerpt::new(source, source.line(line), span);
        let pad = " ".repeat(gutter.len());
        writeln!(f, "{pad}--> {self}")?;
        writeln!(f, "{pad} |")?;
        writeln!(f, "{}", format!("{gutter} | {}", excerpt.text).trim_end())?;
        let (indent, carets) = (" ".repeat(excerpt.caret.start), "^".repeat(excerpt.caret.len()));
        writeln!(f, "{pad} | {indent}{carets}")
    }

    /// How far notes below this place are indented, to stand under its gutter.
    pub(super) fn gutter(&self) -> usize {
        self.position().map_or(2, |(line, _)| line.to_string().len())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Text { source, span } => {
                let (line, column) = source.position(span.start);
                write!(f, "{}:{line}:{column}", shown(&source.name))
            }
            Place::Variable(name) => write!(f, "environment variable {}", shown(name)),
            Place::Flag(flag) => write!(f, "flag {}", shown(flag)),
            Place::Path(path) => f.write_str(&shown(&path.to_string_lossy())),
        }
    }
}

/// One line as it is shown, and the columns of the caret.
struct Excerpt {
    text: String,
    caret: Range<usize>,
}

impl Excerpt {
    fn new(source: &Source, line: Range<usize>, span: &Range<usize>) -> Excerpt {
        let whole = mask_secrets(&source.text[line.clone()]);
        let mut columns: Vec<char> = Vec::with_capacity(whole.len());
        let (mut from, mut to) = (None, None);
        for (at, letter) in whole.char_indices() {
            let at = line.start + at;
            if at >= span.start && from.is_none() {
                from = Some(columns.len());
            }
            if at >= span.end && to.is_none() {
                to = Some(columns.len());
            }
            columns.extend(visible(letter).chars());
        }
        let from = from.unwrap_or(columns.len());
        let to = to.unwrap_or(columns.len()).max(from + 1);
        Excerpt::cut(&columns, from..to)
    }

    fn cut(columns: &[char], caret: Range<usize>) -> Excerpt {
        if columns.len() <= WIDTH_MAX {
            return Excerpt { text: columns.iter().collect(), caret };
        }
        let start = caret.start.saturating_sub(BEFORE_CARET).min(columns.len() - WIDTH_MAX);
        let end = start + WIDTH_MAX;
        let mut text: String = columns[start..end].iter().collect();
        let mut shift = 0;
        if start > 0 {
            text.insert(0, '…');
            shift = 1;
        }
        if end < columns.len() {
            text.push('…');
        }
        let from = caret.start - start + shift;
        let to = (caret.end.min(end)).saturating_sub(start) + shift;
        Excerpt { text, caret: from..to.max(from + 1) }
    }
}

/// Blots out what stands behind `password:` and its like with as many stars: faults end up in tickets and chats.
/// `password_file:` names no secret and stays.
fn mask_secrets(line: &str) -> Cow<'_, str> {
    static SECRET: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(
            r#"(?i)((?:password|passwd|secret|token|\.pem)["']?\s*[:=]\s*)("[^"]*"?|'[^']*'?|[^,}\s][^,}]*)"#,
        )
        .ok()
    });
    let Some(secret) = SECRET.as_ref() else { return Cow::Borrowed(line) };
    let masked = secret.replace_all(line, |found: &regex::Captures<'_>| {
        let value = &found[2];
        // A star takes one byte where the letter took several; padding keeps the byte offsets of what follows.
        if value.starts_with("${") || value == "null" {
            return found[0].to_owned();
        }
        format!("{}{}", &found[1], "*".repeat(value.len()))
    });
    match mask_addresses(&masked) {
        Cow::Owned(masked) => Cow::Owned(masked),
        Cow::Borrowed(_) => masked,
    }
}

/// Blots out all but scheme and host of what stands behind `url:`, `urls:` or `proxy:`, or is an item of a list: the path
/// of a webhook is its password.
fn mask_addresses(line: &str) -> Cow<'_, str> {
    static WHERE: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r#"(?i)(?:^|[^\w.])(?:urls?|proxy)["']?\s*[:=]|^\s*-\s*["']?\w+://"#).ok()
    });
    static ADDRESS: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r#"(\w+://)([^\s/"',}\]]*@)?([^\s/"',}\]]*)(/?)([^\s"',}\]]*)"#).ok());
    let (Some(place), Some(address)) = (WHERE.as_ref(), ADDRESS.as_ref()) else { return Cow::Borrowed(line) };
    if !place.is_match(line) {
        return Cow::Borrowed(line);
    }
    address.replace_all(line, |found: &regex::Captures<'_>| {
        let stars = |part: usize| "*".repeat(found.get(part).map_or(0, |part| part.len()));
        format!("{}{}{}{}{}", &found[1], stars(2), &found[3], &found[4], stars(5))
    })
}

/// A text from outside as it may be shown in a message: nothing that a terminal obeys, and not too long.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((cut, _)) => Cow::Owned(format!("{}…", terminal::visible(&text[..cut]))),
        None => terminal::visible(text),
    }
}

fn visible(letter: char) -> String {
    let mut out = String::new();
    match letter {
        '\t' => out.push_str(TAB),
        // A `String` takes every write.
        _ if is_harmful(letter) => _ = write!(out, "{}", letter.escape_unicode()),
        _ => out.push(letter),
    }
    out
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    struct Drawn(Place);

    impl fmt::Display for Drawn {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.draw(f)
        }
    }

    /// Draws the place of `part` in `text`.
    fn draw(text: &str, part: &str) -> String {
        let start = text.find(part).expect("the part is in the text");
        Drawn(Place::in_text(&Source::new("f", text), start..start + part.len())).to_string()
    }

    #[test]
    fn lines_and_carets() {
        #[track_caller]
        fn check(text: &str, part: &str, want: &str) {
            assert_eq!(draw(text, part), want, "{text:?}");
        }
        check("a: b\n", "b", " --> f:1:4\n  |\n1 | a: b\n  |    ^\n");
        check("ä: bc\r\nd", "bc", " --> f:1:4\n  |\n1 | ä: bc\n  |    ^^\n");
        check("a:\tb\tc", "c", " --> f:1:6\n  |\n1 | a:    b    c\n  |            ^\n"); // tabs
        check("a: \x1b[31m b", "b", " --> f:1:10\n  |\n1 | a: \\u{1b}[31m b\n  |               ^\n");
        check("a: \u{202e}b", "b", " --> f:1:5\n  |\n1 | a: \\u{202e}b\n  |            ^\n"); // text turned around
        check("a: |\n b\n c\n", "b\n c", " --> f:2:2\n  |\n2 |  b\n  |  ^\n"); // over several lines
        check("x", "", " --> f:1:1\n  |\n1 | x\n  | ^\n");
        check(&"\n".repeat(9), "", " --> f:1:1\n  |\n1 |\n  | ^\n");
    }

    #[test]
    fn the_end_has_a_place_too() {
        let source = Source::new("f", "a:\n");
        let place = Place::in_text(&source, source.clamp(3..99));
        assert_eq!(Drawn(place).to_string(), " --> f:2:1\n  |\n2 |\n  | ^\n");
    }

    #[test]
    fn long_lines_are_cut_around_the_caret() {
        let text = format!("{}HERE{}", "<".repeat(500), ">".repeat(500));
        let drawn = draw(&text, "HERE");
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(lines[0], " --> f:1:501");
        assert_eq!(lines[2], format!("1 | …{}HERE{}…", "<".repeat(40), ">".repeat(56)));
        assert_eq!(lines[3], format!("  | {}^^^^", " ".repeat(41)));
    }

    #[test]
    fn secrets_are_blotted_out() {
        #[track_caller]
        fn check(line: &str, want: &str) {
            assert_eq!(mask_secrets(line), want);
        }
        check("password: hunter2", "password: *******");
        check("sasl: {password: \"a, b\", x: 1}", "sasl: {password: ******, x: 1}");
        check("key_password: 'a}'", "key_password: ****");
        check("\"sasl.password\": a b", "\"sasl.password\": ***");
        check("API_TOKEN=x", "API_TOKEN=*");
        check("password_file: /run/secret", "password_file: /run/secret");
        check("password: ${PW}", "password: ${PW}");
        check("url: https://host/a/b?c, x: 1", "url: https://host/*****, x: 1");
        check("urls: ['https://u:p@h:1/x', \"https://h\"]", "urls: ['https://****h:1/*', \"https://h\"]");
        check("  - https://h/x", "  - https://h/*");
        check("runbook_url: https://h/x", "runbook_url: https://h/x");
        check("url_file: /run/url", "url_file: /run/url");
    }

    #[test]
    fn long_texts_are_cut_in_messages() {
        assert_eq!(shown("a\tb\n"), "a\\tb\\n");
        assert_eq!(shown(&"ä".repeat(200)), format!("{}…", "ä".repeat(80)));
    }
}

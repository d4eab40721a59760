//! Rust source as text: its words without comments and literals, and the paths that it names.
//!
//! Enough of the language to hold the house rules (`tidy`), not a parser: what macros make is not seen, and
//! `super` inside an inline `mod` is taken for the file's.

/// A word or a sign of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) line: usize,
    pub(crate) text: &'a str,
}

/// A path of two or more parts that the source names, `use` groups taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) line: usize,
    /// Whether it leads into this crate; `parts` then begins at the crate's root.
    pub(crate) local: bool,
    pub(crate) parts: Vec<String>,
}

/// Everything before the `#[cfg(test)] mod …` at the end of a file; clippy sees to it that nothing follows that.
pub(crate) fn before_tests(text: &str) -> &str {
    let is_module = |line: &str| line.starts_with("mod ") || line.starts_with("pub(crate) mod ");
    let mut start = 0;
    let mut attributes = None; // where the attributes before an item began, when one of them was `cfg(test)`
    for line in text.split_inclusive('\n') {
        if line.starts_with("#[cfg(test)]") {
            attributes.get_or_insert(start);
        } else if is_module(line) && line.trim_end().ends_with('{') {
            if let Some(start) = attributes {
                return &text[..start];
            }
        } else if !line.starts_with("#[") {
            attributes = None;
        }
        start += line.len();
    }
    text
}

/// The words and signs of a source, without comments, strings, characters, lifetimes and numbers.
pub(crate) fn tokens(text: &str) -> Vec<Token<'_>> {
    let bytes = text.as_bytes();
    let (mut tokens, mut line, mut at) = (Vec::new(), 1, 0);
    while at < bytes.len() {
        let rest = &bytes[at..];
        let length = match rest[0] {
            b'/' if rest.starts_with(b"//") => until(rest, b'\n'),
            b'/' if rest.starts_with(b"/*") => block_comment(rest),
            b'"' => quoted(rest, b'"'),
            b'\'' => quote_or_lifetime(text, at),
            b':' if rest.starts_with(b"::") => 2,
            byte if is_word(byte) => rest.iter().take_while(|byte| is_word(**byte)).count(),
            _ => 1,
        };
        let found = &text[at..at + length];
        let raw = if matches!(found, "r" | "br" | "cr") { raw_string(&rest[length..]) } else { 0 };
        let keep = raw == 0 && (found == "::" || is_word(rest[0]) || length == 1);
        if keep && !rest[0].is_ascii_digit() && !rest[0].is_ascii_whitespace() {
            tokens.push(Token { line, text: found });
        }
        line += rest[..length + raw].iter().filter(|byte| **byte == b'\n').count();
        at += length + raw;
    }
    tokens
}

/// The paths that `tokens` name, in a file that is the module `module` of the crate `krate`.
pub(crate) fn paths(tokens: &[Token<'_>], krate: &str, module: &[&str]) -> Vec<Path> {
    let (mut paths, mut next) = (Vec::new(), 0);
    while next < tokens.len() {
        let at = next;
        next += 1;
        let word = tokens[at].text;
        let before = at.checked_sub(1).map_or("", |before| tokens[before].text);
        let begins = is_word(word.as_bytes()[0]) && tokens.get(at + 1).is_some_and(|next| next.text == "::");
        // `pub(in path)` names who may see an item, it uses nothing.
        if !begins || before == "::" || before == "in" {
            continue;
        }
        let here = || module.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
        let local = word == krate || matches!(word, "crate" | "self" | "super");
        let root = match word {
            "self" => here(),
            "super" => here().split_last().map_or(Vec::new(), |(_, parent)| parent.to_vec()),
            _ if local => Vec::new(),
            _ => vec![word.to_owned()],
        };
        next = branches(tokens, at + 2, &root, &mut |line, parts| paths.push(Path { line, local, parts }));
    }
    paths
}

/// Follows a path from `at`, through groups; tells each end and returns where it stopped.
fn branches(
    tokens: &[Token<'_>],
    mut at: usize,
    root: &[String],
    found: &mut impl FnMut(usize, Vec<String>),
) -> usize {
    let mut parts = root.to_vec();
    while let Some(token) = tokens.get(at) {
        match token.text {
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    let end = branches(tokens, at, &parts, found);
                    // What stands between two members (a comma, `as name`) is passed over, and so is a strange sign.
                    let is_next = |token: &Token<'_>| matches!(token.text, "," | "}");
                    at = (end..tokens.len()).find(|at| is_next(&tokens[*at])).unwrap_or(tokens.len());
                    at += usize::from(tokens.get(at).is_some_and(|token| token.text == ","));
                }
                return at + 1;
            }
            "super" => drop(parts.pop()),
            "self" => {}
            word if is_word(word.as_bytes()[0]) || word == "*" => parts.push(word.to_owned()),
            _ => break,
        }
        let (line, continues) = (token.line, tokens.get(at + 1).is_some_and(|next| next.text == "::"));
        at += if continues { 2 } else { 1 };
        if !continues {
            found(line, parts);
            return at;
        }
    }
    // A path that ends in something else than a word: `Vec::<u8>`.
    if let Some(token) = tokens.get(at) {
        found(token.line, parts);
    }
    at
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

fn until(rest: &[u8], end: u8) -> usize {
    rest.iter().position(|byte| *byte == end).unwrap_or(rest.len())
}

/// The length of a comment that may hold others.
fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..rest.len().min(at + 2)] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of a literal with its two quotes.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    rest.len().min(at + 1)
}

/// `'x'` and `'\n'` are literals; `'x` is a lifetime, of which only the quote is passed over here.
fn quote_or_lifetime(text: &str, at: usize) -> usize {
    let mut after = text[at + 1..].chars();
    match (after.next(), after.next()) {
        (Some('\\'), _) => quoted(&text.as_bytes()[at..], b'\''),
        (Some(inner), Some('\'')) => inner.len_utf8() + 2,
        _ => 1,
    }
}

/// The length of `#"…"#` behind an `r`, or 0 when that is no raw string.
fn raw_string(rest: &[u8]) -> usize {
    let hashes = rest.iter().take_while(|byte| **byte == b'#').count();
    if rest.get(hashes) != Some(&b'"') {
        return 0;
    }
    let end = [b"\"".as_slice(), &rest[..hashes]].concat();
    memchr::memmem::find(&rest[hashes + 1..], &end).map_or(rest.len(), |at| hashes + 1 + at + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_without_literals_and_comments() {
        #[track_caller]
        fn check(text: &str, want: &str) {
            let words: Vec<&str> = tokens(text).iter().map(|token| token.text).collect();
            assert_eq!(words.join(" "), want, "{text:?}");
        }
        check("a::b // c\nd", "a :: b d");
        check("a /* b /* c */ d */ e", "a e");
        check(r#"f("unsafe \" x", y)"#, "f ( , y )");
        check(r##"r#"unsafe "x" "# z br"a\" q r"##, "z q r");
        check(r"('a', '\'', b'x', 'é') 'static", "( , , b , ) ' static");
        check("r#type 1_000u64 x1", "r # type x1");
        check("\"unended", "");
    }

    #[test]
    fn lines_are_counted_through_literals() {
        let found = tokens("\"a\nb\" /*\n*/ r\"\n\" last");
        assert_eq!(found, [Token { line: 4, text: "last" }]);
    }

    #[test]
    fn paths_are_taken_apart() {
        #[track_caller]
        fn check(text: &str, want: &[&str]) {
            let shown = |path: Path| [if path.local { "/" } else { "" }, &path.parts.join("/")].concat();
            let found = paths(&tokens(text), "squall", &["engine", "line"]);
            assert_eq!(found.into_iter().map(shown).collect::<Vec<_>>(), want, "{text:?}");
        }
        check("use crate::engine::frame::Frame;", &["/engine/frame/Frame"]);
        check(
            "use crate::{engine::{self, chunk as c, frame::*}, units};",
            &["/engine", "/engine/chunk", "/engine/frame/*", "/units"],
        );
        check("super::storm::A + self::join::B", &["/engine/storm/A", "/engine/line/join/B"]);
        check("super::super::units::Bytes", &["/units/Bytes"]);
        check("use squall::cli;", &["/cli"]);
        check("std::{fs, io::{self, Write}}", &["std/fs", "std/io", "std/io/Write"]);
        check("Vec::<u8>::new() <T as A>::b pub(in crate::engine) fn", &["Vec"]);
        check("Instant::now()", &["Instant/now"]);
        check("use a::{b", &["a/b"]);
    }

    #[test]
    fn the_tests_end_a_file() {
        #[track_caller]
        fn check(text: &str, want: &str) {
            assert_eq!(before_tests(text), want, "{text:?}");
        }
        check("a\n#[cfg(test)]\nmod tests {\n}\n", "a\n");
        check("a\n#[cfg(test)]\n#[path]\nmod tests {\n}\n", "a\n");
        check("#[cfg(test)]\nfn a() {}\nmod b {\n", "#[cfg(test)]\nfn a() {}\nmod b {\n");
        check("#[cfg(test)]\nmod tests;\nfn a() {}\n", "#[cfg(test)]\nmod tests;\nfn a() {}\n");
    }
}

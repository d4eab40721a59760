//! One pass over the `key=value` pairs of a text: logfmt, or a few pairs in prose.
//!
//! In logfmt, which begins with a pair, a value goes on to the next space; in prose it also ends before the
//! punctuation of the sentence (`(status=503, took=5ms)`). In both a value may stand in quotes.

use memchr::{memchr, memchr3};

use super::json::{Kind, Value, string_end};

/// The pairs of one text, in order.
#[derive(Clone, Debug)]
pub struct Pairs<'t> {
    text: &'t [u8],
    at: usize,
    is_logfmt: bool,
    has_skipped: bool,
}

impl<'t> Pairs<'t> {
    /// The pairs of `text`.
    #[inline]
    pub fn of(text: &'t [u8]) -> Pairs<'t> {
        Pairs { text, at: 0, is_logfmt: is_logfmt(text), has_skipped: false }
    }

    /// Whether the text begins with a pair.
    pub fn is_logfmt(&self) -> bool {
        self.is_logfmt
    }

    /// Whether anything but space stood outside of the pairs so far.
    pub fn has_skipped(&self) -> bool {
        self.has_skipped
    }

    /// Takes the value behind the `=` before `start`, and goes on behind it. What it is, is not asked yet: of most values
    /// nobody wants to know.
    #[inline]
    fn value(&mut self, start: usize) -> Unread<'t> {
        let rest = &self.text[start..];
        if let Some(inside) = rest.strip_prefix(b"\"")
            && let Some(end) = string_end(inside)
        {
            self.at = start + end + 2;
            return Unread { bytes: &inside[..end], is_quoted: true };
        }
        let end = if self.is_logfmt {
            memchr3(b' ', b'\t', b'\r', rest)
        } else {
            rest.iter().position(|byte| byte.is_ascii_whitespace() || ENDS_IN_PROSE.contains(byte))
        };
        let end = end.unwrap_or(rest.len());
        self.at = start + end;
        let mut bytes = &rest[..end];
        while let (false, [before @ .., b'.' | b':' | b'!' | b'?']) = (self.is_logfmt, bytes) {
            bytes = before;
        }
        Unread { bytes, is_quoted: false }
    }

    /// The next pair.
    #[inline]
    pub fn next_unread(&mut self) -> Option<(&'t [u8], Unread<'t>)> {
        loop {
            let from = self.at;
            let rest = self.text.get(from..)?;
            let Some(length) = memchr(b'=', rest) else {
                self.has_skipped |= !rest.trim_ascii_start().is_empty();
                return None;
            };
            let equals = from + length;
            let before = &rest[..length];
            let length = before.iter().rev().take_while(|byte| is_key(**byte)).count();
            let key = &before[before.len() - length..];
            let key = &key[key.iter().position(|byte| begins_key(*byte)).unwrap_or(key.len())..];
            // `a == b` and `a => b` are no pairs.
            let is_operator = matches!(self.text.get(equals + 1), Some(b'=' | b'>'));
            self.has_skipped |= !before[..before.len() - key.len()].trim_ascii_start().is_empty();
            if key.is_empty() || is_operator {
                self.has_skipped = true;
                self.at = equals + 1 + usize::from(is_operator);
                continue;
            }
            return Some((key, self.value(equals + 1)));
        }
    }
}

impl<'t> Iterator for Pairs<'t> {
    type Item = (&'t [u8], Value<'t>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.next_unread().map(|(key, value)| (key, value.read()))
    }
}

/// A value of which only the extent is known.
#[derive(Clone, Copy, Debug)]
pub struct Unread<'t> {
    bytes: &'t [u8],
    is_quoted: bool,
}

impl<'t> Unread<'t> {
    /// The value, and what it is.
    pub fn read(self) -> Value<'t> {
        let kind = if self.is_quoted { Kind::Text } else { kind_of_bare(self.bytes) };
        Value { bytes: self.bytes, kind }
    }
}

/// Whether `text` begins with `key=`.
#[inline]
pub fn is_logfmt(text: &[u8]) -> bool {
    if !text.first().is_some_and(|byte| begins_key(*byte)) {
        return false;
    }
    let length = text.iter().take(KEY_MAX).take_while(|byte| is_key(**byte)).count();
    text.get(length) == Some(&b'=') && !matches!(text.get(length + 1), Some(b'=' | b'>'))
}

/// What a value without quotes is.
fn kind_of_bare(bytes: &[u8]) -> Kind {
    match bytes {
        b"true" | b"false" => Kind::Bool,
        b"" | b"null" | b"nil" | b"<nil>" => Kind::Null,
        _ if is_number(bytes) => Kind::Number,
        _ => Kind::Text,
    }
}

/// Whether `bytes` are a number as JSON writes it. A real parser takes five times as long.
fn is_number(bytes: &[u8]) -> bool {
    let skip = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut rest = bytes.strip_prefix(b"-").unwrap_or(bytes);
    let whole = skip(rest);
    rest = &rest[whole..];
    if let [b'.', fraction @ ..] = rest {
        rest = &fraction[skip(fraction)..];
    }
    if let [b'e' | b'E', b'-' | b'+', exponent @ ..] | [b'e' | b'E', exponent @ ..] = rest {
        let digits = skip(exponent);
        rest = if digits > 0 { &exponent[digits..] } else { rest };
    }
    whole > 0 && rest.is_empty()
}

#[inline]
fn begins_key(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'@')
}

#[inline]
fn is_key(byte: u8) -> bool {
    IS_KEY[usize::from(byte)]
}

/// A look instead of comparisons: this is asked for each byte of each key.
static IS_KEY: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let letter = byte as u8;
        table[byte] = letter.is_ascii_alphanumeric() || matches!(letter, b'_' | b'-' | b'.' | b'@' | b'/');
        byte += 1;
    }
    table
};

/// The longest first key of a logfmt line.
const KEY_MAX: usize = 32;

/// What ends a value without quotes in prose, besides space.
const ENDS_IN_PROSE: &[u8] = b",;)]}>&|\"'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs() {
        #[track_caller]
        fn check(text: &str, want: &str) {
            let shown = |(key, Value { bytes, kind }): (&[u8], Value<'_>)| {
                let letter = &format!("{kind:?}")[..1];
                format!("{}={letter}:{}", String::from_utf8_lossy(key), String::from_utf8_lossy(bytes))
            };
            let found: Vec<String> = Pairs::of(text.as_bytes()).map(shown).collect();
            assert_eq!(found.join(" | "), want, "{text}");
        }
        check("", "");
        check("no pairs at all", "");
        check("level=info msg=\"a b\" n=5 ok=true", "level=T:info | msg=T:a b | n=N:5 | ok=B:true");
        check("a=1,2 b= c=nil d=-1.5e3 e=5ms", "a=T:1,2 | b=N: | c=N:nil | d=N:-1.5e3 | e=T:5ms");
        check(r#"a="x \"y\" z" b=1"#, r#"a=T:x \"y\" z | b=N:1"#);
        check("a=\"never ends b=1", "a=T:\"never | b=N:1");
        check("done (status=503, took=5ms).", "status=N:503 | took=T:5ms");
        check("GET /a?b=1&c=2 in t=1.5s.", "b=N:1 | c=N:2 | t=T:1.5s");
        check("x == y, a => b, c != d, 5 = 6, 7up=8", "up=N:8");
        check("a=b=c d==e", "a=T:b=c");
        check("http.status_code=200 @m=x k8s/pod=y", "http.status_code=N:200 | @m=T:x | k8s/pod=T:y");
        check("a=inf b=-x c=1e5 d=nan", "a=T:inf | b=T:-x | c=N:1e5 | d=T:nan");
    }

    #[test]
    fn what_is_no_pair_is_noticed() {
        for (text, want) in [
            ("a=1 b=\"x y\"  c=2 ", false),
            ("a=1 b", true),
            ("a b=1", true),
            ("a=1 x b=2", true),
            ("a=1 5b=2", true),
            ("a=\"x\"y b=2", true),
            ("a=1 == b=2", true),
            ("", false),
        ] {
            let mut pairs = Pairs::of(text.as_bytes());
            pairs.by_ref().for_each(drop);
            assert_eq!(pairs.has_skipped(), want, "{text}");
        }
    }

    #[test]
    fn logfmt_begins_with_a_pair() {
        for (text, want) in [
            ("a=1", true),
            ("ts=2026 level=info", true),
            ("a = 1", false),
            ("a==1", false),
            ("=1", false),
            ("5=1", false),
            ("x (a=1)", false),
            ("", false),
        ] {
            assert_eq!(is_logfmt(text.as_bytes()), want, "{text}");
        }
    }
}

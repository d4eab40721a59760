//! One pass over the members of a JSON object, without a tree and without copying.
//!
//! In: the text of a line. Out: [`Step`]s in the order of the text: values with their names, and where objects and
//! arrays begin and end.
//! It finds where things stand; it does not prove that they are JSON: control bytes and unknown escapes in strings pass,
//! and so does a number such as `1.2.3`. Programs write such lines, and what they say can be read all the same.
//! Limit: [`DEPTH_MAX`] levels; a text that is nested deeper is called broken.

use memchr::memchr2;

/// How deep objects and arrays may stand in each other. Log lines have two or three levels.
pub const DEPTH_MAX: u32 = 63;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number.
    Number,
    /// Text.
    Text,
    /// `true` or `false`.
    Bool,
    /// `null`, or no value at all.
    Null,
}

/// A value that holds no other ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'t> {
    /// The value as it was written: of text what stands between the quotes, its escapes as they are.
    pub bytes: &'t [u8],
    /// What it is.
    pub kind: Kind,
}

/// What the reader met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'t> {
    /// A value. In an array it has no name.
    Value(&'t [u8], Value<'t>),
    /// An object or array begins, with this name if it is a member.
    Begin(&'t [u8]),
    /// The last one that began ends.
    End,
}

/// Reads one object.
#[derive(Clone, Debug)]
pub struct Reader<'t> {
    text: &'t [u8],
    at: usize,
    depth: u32,
    /// A bit for each level, the innermost lowest: set in arrays.
    arrays: u64,
    /// Whether a value has just ended, so that a comma or the end must follow.
    behind_value: bool,
    broken: bool,
}

impl<'t> Reader<'t> {
    /// A reader of `text`, if that begins like an object.
    #[inline]
    pub fn of(text: &'t [u8]) -> Option<Reader<'t>> {
        let start =
            if text.first() == Some(&b'{') { 0 } else { text.iter().position(|byte| !is_space(*byte))? };
        (text[start] == b'{').then_some(Reader {
            text,
            at: start + 1,
            depth: 1,
            arrays: 0,
            behind_value: false,
            broken: false,
        })
    }

    /// Whether the object ended, and nothing but space came behind it. To be asked when [`Reader::next`] gives nothing.
    #[inline]
    pub fn is_whole(&self) -> bool {
        !self.broken && self.depth == 0 && self.text[self.at..].iter().all(|byte| is_space(*byte))
    }

    /// How many objects and arrays are open: 1 in the outermost object.
    #[inline]
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// The next step, or nothing where the object has ended or cannot be read on.
    #[expect(
        clippy::should_implement_trait,
        reason = "one that goes on asking for `is_whole` must not be moved away"
    )]
    #[inline]
    pub fn next(&mut self) -> Option<Step<'t>> {
        if self.broken || self.depth == 0 {
            return None;
        }
        let step = self.step();
        self.broken = step.is_none();
        step
    }

    #[inline]
    fn step(&mut self) -> Option<Step<'t>> {
        let in_array = self.arrays & 1 == 1;
        let closing = if in_array { b']' } else { b'}' };
        let mut byte = self.peek()?;
        if byte == closing {
            self.at += 1;
            self.depth -= 1;
            self.arrays >>= 1;
            self.behind_value = true;
            return Some(Step::End);
        }
        if self.behind_value {
            if byte != b',' {
                return None;
            }
            self.at += 1;
            byte = self.peek()?;
        }
        let mut name: &[u8] = b"";
        if !in_array {
            if byte != b'"' {
                return None;
            }
            name = self.string()?;
            if self.peek()? != b':' {
                return None;
            }
            self.at += 1;
            byte = self.peek()?;
        }
        self.value(name, byte)
    }

    /// Takes the value that begins with `byte`.
    #[inline]
    fn value(&mut self, name: &'t [u8], byte: u8) -> Option<Step<'t>> {
        if matches!(byte, b'{' | b'[') {
            if self.depth >= DEPTH_MAX {
                return None;
            }
            self.at += 1;
            self.depth += 1;
            self.arrays = self.arrays << 1 | u64::from(byte == b'[');
            self.behind_value = false;
            return Some(Step::Begin(name));
        }
        self.behind_value = true;
        if byte == b'"' {
            return Some(Step::Value(name, Value { bytes: self.string()?, kind: Kind::Text }));
        }
        let rest = &self.text[self.at..];
        let length = rest.iter().position(|byte| !is_bare(*byte)).unwrap_or(rest.len());
        let bytes = &rest[..length];
        self.at += length;
        let kind = match (byte, bytes) {
            (b'-' | b'0'..=b'9', _) => Kind::Number,
            (_, b"true" | b"false") => Kind::Bool,
            (_, b"null") => Kind::Null,
            _ => return None,
        };
        Some(Step::Value(name, Value { bytes, kind }))
    }

    /// The next byte that is no space.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        let mut byte = *self.text.get(self.at)?;
        while is_space(byte) {
            self.at += 1;
            byte = *self.text.get(self.at)?;
        }
        Some(byte)
    }

    /// Takes the string whose opening quote is the next byte.
    #[inline]
    fn string(&mut self) -> Option<&'t [u8]> {
        let start = self.at + 1;
        let end = start + string_end(self.text.get(start..)?)?;
        self.at = end + 1;
        Some(&self.text[start..end])
    }
}

/// Where the quote stands that ends the string whose inside begins at `text[0]`.
///
/// Most names and values are shorter than 16 bytes, where looking at two words costs less than calling a search that is
/// made for long ways.
#[inline]
pub(super) fn string_end(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    for _ in 0..2 {
        let Some(word) = text[at..].first_chunk::<8>() else { break };
        let specials = special_bytes(u64::from_le_bytes(*word));
        if specials != 0 {
            at += specials.trailing_zeros() as usize / 8;
            return if text[at] == b'"' { Some(at) } else { escaped_end(text, at) };
        }
        at += 8;
    }
    escaped_end(text, at)
}

/// As [`string_end`], from `at` on, where no escape is open.
#[inline(never)]
fn escaped_end(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// Marks the quotes and backslashes of a word by the top bit of their byte. (Above the lowest mark there may be false
/// ones; only the lowest is used.)
#[inline]
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & TOPS;
    zeros(word ^ (ONES * u64::from(b'"'))) | zeros(word ^ (ONES * u64::from(b'\\')))
}

#[inline]
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Whether `byte` may stand in a number or a literal.
#[inline]
fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The steps, written down: `name=value`, `name(`, `)`; at the end `!` where the object is not whole.
    fn shown(text: &[u8]) -> Option<String> {
        let mut reader = Reader::of(text)?;
        let mut out = Vec::new();
        while let Some(step) = reader.next() {
            out.push(match step {
                Step::Value(name, Value { bytes, kind }) => {
                    let letter = &format!("{kind:?}")[..1];
                    format!("{}={letter}:{}", name.escape_ascii(), String::from_utf8_lossy(bytes))
                }
                Step::Begin(name) => format!("{}(", name.escape_ascii()),
                Step::End => ")".to_owned(),
            });
        }
        out.extend((!reader.is_whole()).then(|| "!".to_owned()));
        Some(out.join(" "))
    }

    #[test]
    fn steps() {
        #[track_caller]
        fn check(text: &str, want: &str) {
            assert_eq!(shown(text.as_bytes()).as_deref(), Some(want), "{text}");
        }
        check("{}", ")");
        check(r#" { "a" : 1 , "b" : "x y" } "#, "a=N:1 b=T:x y )");
        check(r#"{"a":-1.5e3,"b":true,"c":false,"d":null}"#, "a=N:-1.5e3 b=B:true c=B:false d=N:null )");
        check(r#"{"a":{"b":[1,[],{"c":2}]},"d":3}"#, "a( b( =N:1 ( ) ( c=N:2 ) ) ) d=N:3 )");
        check(
            r#"{"a":"x\"y\\","b":"a long one with a quote \" behind"}"#,
            r#"a=T:x\"y\\ b=T:a long one with a quote \" behind )"#,
        );
        // Broken: what stood before is told.
        check(r#"{"a":1"#, "a=N:1 !");
        check(r#"{"a":1} x"#, "a=N:1 ) !");
        check(r#"{"a":1}}"#, "a=N:1 ) !");
        check(r#"{"a":1 "b":2}"#, "a=N:1 !");
        check(r#"{"a":1,}"#, "a=N:1 !");
        check(r#"{"a":[1}"#, "a( =N:1 !");
        check(r#"{"a":"never ends"#, "!");
        check(r#"{"a":"\"#, "!");
        check(r#"{"a":nul}"#, "!");
        check(r#"{"a" 1}"#, "!");
        check("{a:1}", "!");
        check("{", "!");
    }

    #[test]
    fn only_objects_are_read() {
        for text in ["", " ", "[1]", "x{", "\"a\"", "5"] {
            assert!(Reader::of(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(!shown(nested(DEPTH_MAX as usize - 1).as_bytes()).expect("an object").ends_with('!'));
        assert!(shown(nested(DEPTH_MAX as usize).as_bytes()).expect("an object").ends_with('!'));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever a real parser takes is whole here too, and any bytes may come.
        #[test]
        fn takes_what_a_parser_takes(text in r#"\{("[ab\\"]{0,3}":[\[{]{0,2}("[ab\\"]{0,20}"|-?[0-9.]{1,3}|true|null)[\]}]{0,2},?){0,3}\}?"#) {
            if serde_json::from_str::<serde_json::Value>(&text).is_ok() {
                prop_assert!(!shown(text.as_bytes()).expect("an object").ends_with('!'), "{}", text);
            }
        }

        #[test]
        fn any_bytes_may_come(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let text = [b"{\"".as_slice(), &bytes].concat();
            prop_assert!(shown(&text).is_some());
        }
    }
}

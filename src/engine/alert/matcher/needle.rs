//! What a text cannot be without when a test of it holds.
//!
//! In: a test of a text. Out: [`Needles`], of which at least one is in each text that passes, and whether one of them is
//! all that it takes. So a pattern is not tried where its needles are missing.
//! A letter that may be small or capital is part of a needle; `k` and `s` are not, because Unicode has a third form of
//! each. Other sets of characters end a needle.
//! Limits: [`ALTERNATIVES_MAX`] needles of a pattern, none of them shorter than [`LENGTH_MIN`]; else it has none, and is
//! tried on every text.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};

use crate::engine::alert::rule::Text;

/// Bytes that are looked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Needle {
    pub(super) bytes: Box<[u8]>,
    /// Whether the case of ASCII letters does not matter.
    pub(super) any_case: bool,
}

/// What a test looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Needles {
    /// One of these is there.
    pub(super) any_of: Vec<Needle>,
    /// Where one of them is, the test holds.
    pub(super) is_all: bool,
}

/// A shorter part of a pattern is in too many texts.
const LENGTH_MIN: usize = 3;
const ALTERNATIVES_MAX: usize = 16;
/// A longer needle is not rarer than one of this length, about.
const LENGTH_ENOUGH: usize = 8;

impl Needle {
    fn exact(bytes: &[u8]) -> Needle {
        Needle { bytes: bytes.into(), any_case: false }
    }

    /// Whether `text` begins with it.
    #[inline]
    pub(super) fn begins(&self, text: &[u8]) -> bool {
        text.get(..self.bytes.len()).is_some_and(|head| {
            if self.any_case { head.eq_ignore_ascii_case(&self.bytes) } else { *head == *self.bytes }
        })
    }

    /// Whether it is in `text`, found without the others.
    pub(super) fn is_in(&self, text: &[u8]) -> bool {
        match self.bytes.first() {
            Some(first) if self.any_case => {
                let both = (first.to_ascii_lowercase(), first.to_ascii_uppercase());
                memchr::memchr2_iter(both.0, both.1, text).any(|at| self.begins(&text[at..]))
            }
            _ => memchr::memmem::find(text, &self.bytes).is_some(),
        }
    }
}

impl Needles {
    /// What `text` looks for; `None` where nothing can be said, or where what can be said is in most texts.
    pub(super) fn of(text: &Text) -> Option<Needles> {
        match text {
            Text::Contains(bytes) => {
                (!bytes.is_empty()).then(|| Needles { any_of: vec![Needle::exact(bytes)], is_all: true })
            }
            Text::Is(bytes) => (bytes.len() >= LENGTH_MIN)
                .then(|| Needles { any_of: vec![Needle::exact(bytes)], is_all: false }),
            Text::Matches(pattern) => {
                // As `regex::bytes` reads it.
                let hir = ParserBuilder::new().utf8(false).build().parse(pattern.as_str()).ok()?;
                of_pattern(&hir).filter(|needles| needles.length() >= LENGTH_MIN)
            }
        }
    }

    /// What a text has in it that has a field of this name, however deep. Names are joined with dots, so of each part of
    /// a joined name nobody knows but that it is there.
    pub(super) fn of_field(name: &str) -> Option<Needles> {
        let longest = name.split('.').max_by_key(|part| part.len())?;
        (longest.len() >= LENGTH_MIN)
            .then(|| Needles { any_of: vec![Needle::exact(longest.as_bytes())], is_all: false })
    }

    /// Needles of which one is there when one of `parts` holds.
    pub(super) fn any(parts: impl Iterator<Item = Option<Needles>>) -> Option<Needles> {
        let mut all = Needles { any_of: Vec::new(), is_all: true };
        for part in parts {
            let Needles { any_of, is_all } = part?;
            all.any_of.extend(any_of);
            all.is_all &= is_all;
            if all.any_of.len() > ALTERNATIVES_MAX {
                return None;
            }
        }
        Some(all)
    }

    /// The better ones of those of `parts`, all of which hold.
    pub(super) fn best(parts: impl Iterator<Item = Option<Needles>>) -> Option<Needles> {
        let best = parts.flatten().max_by_key(Needles::worth)?;
        Some(Needles { is_all: false, ..best })
    }

    /// The length of the shortest.
    fn length(&self) -> usize {
        self.any_of.iter().map(|needle| needle.bytes.len()).min().unwrap_or_default()
    }

    fn worth(&self) -> (usize, usize, usize) {
        let length = self.length();
        (length.min(LENGTH_ENOUGH), usize::MAX - self.any_of.len(), length)
    }
}

fn of_pattern(hir: &Hir) -> Option<Needles> {
    match hir.kind() {
        HirKind::Capture(capture) => of_pattern(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => {
            of_pattern(&repetition.sub).map(|needles| Needles { is_all: false, ..needles })
        }
        HirKind::Alternation(parts) => Needles::any(parts.iter().map(of_pattern)),
        HirKind::Concat(parts) => of_sequence(parts),
        HirKind::Literal(_) | HirKind::Class(_) => of_sequence(std::slice::from_ref(hir)),
        HirKind::Empty | HirKind::Look(_) | HirKind::Repetition(_) => None,
    }
}

/// The best of what stands one after the other: neighbours that are letters are one needle.
fn of_sequence(parts: &[Hir]) -> Option<Needles> {
    let (mut run, mut found, mut is_one_run) = (Run::default(), Vec::new(), true);
    for part in parts {
        if run.goes_on_with(part) {
            continue;
        }
        is_one_run = false;
        // What stands between two characters and is none does not part them.
        if !matches!(part.kind(), HirKind::Look(_) | HirKind::Empty) {
            found.push(std::mem::take(&mut run).end());
            found.push(of_pattern_but_class(part));
        }
    }
    if is_one_run {
        return run.end();
    }
    found.push(run.end());
    Needles::best(found.into_iter())
}

/// A class that could not be taken into a run says nothing.
fn of_pattern_but_class(part: &Hir) -> Option<Needles> {
    if matches!(part.kind(), HirKind::Class(_)) { None } else { of_pattern(part) }
}

/// Characters one after the other.
#[derive(Debug, Default)]
struct Run {
    bytes: Vec<u8>,
    /// Whether there is a letter that may be small or capital, and one that may not.
    has_free: bool,
    has_fixed: bool,
}

impl Run {
    /// Takes in `part` if it is one more character, or some.
    fn goes_on_with(&mut self, part: &Hir) -> bool {
        match part.kind() {
            HirKind::Literal(literal) => {
                self.has_fixed |= literal.0.iter().any(u8::is_ascii_alphabetic);
                self.bytes.extend_from_slice(&literal.0);
                true
            }
            HirKind::Class(class) => {
                let letter = letter_of(class);
                self.bytes.extend(letter);
                self.has_free |= letter.is_some();
                letter.is_some()
            }
            HirKind::Capture(capture) => self.goes_on_with(&capture.sub),
            _ => false,
        }
    }

    fn end(self) -> Option<Needles> {
        let Run { bytes, has_free, has_fixed } = self;
        let needle = Needle { bytes: bytes.into(), any_case: has_free };
        (!needle.bytes.is_empty()).then(|| Needles { any_of: vec![needle], is_all: !(has_free && has_fixed) })
    }
}

/// The small letter where `class` is that letter, small or capital.
fn letter_of(class: &Class) -> Option<u8> {
    let two = |first: char, second: char| {
        let is_letter = first.is_ascii_uppercase() && second == first.to_ascii_lowercase();
        is_letter.then_some(second as u8) // ASCII
    };
    match class {
        Class::Unicode(class) => match class.ranges() {
            [first, second] if first.start() == first.end() && second.start() == second.end() => {
                two(first.start(), second.start())
            }
            _ => None,
        },
        Class::Bytes(class) => match class.ranges() {
            [first, second] if first.start() == first.end() && second.start() == second.end() => {
                two(first.start().into(), second.start().into())
            }
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::bytes::Regex;

    fn shown(pattern: &str) -> String {
        let pattern = Regex::new(pattern).expect("a pattern");
        let Some(Needles { any_of, is_all }) = Needles::of(&Text::Matches(Box::new(pattern))) else {
            return "-".to_owned();
        };
        let shown = any_of.iter().map(|Needle { bytes, any_case }| {
            format!("{}{}", String::from_utf8_lossy(bytes), if *any_case { "~" } else { "" })
        });
        format!("{}{}", shown.collect::<Vec<_>>().join("|"), if is_all { " only" } else { "" })
    }

    #[test]
    fn needles_of_patterns() {
        #[track_caller]
        fn check(pattern: &str, want: &str) {
            assert_eq!(shown(pattern), want, "{pattern}");
        }
        check("WebSocket connection timeout", "WebSocket connection timeout only");
        check("time-?out", "time");
        check("a(bc)d", "abcd only");
        check("^abc$", "abc");
        check(r"\bOOM\b", "OOM");
        check(r"took \d+ ms", "took ");
        check(r"(?:error|failure) \d", "error|failure");
        check(r"error|failure", "error|failure only");
        check(r"error|\d+", "-");
        check("(?:timeout)+", "timeout");
        check("(?:timeout)*", "-");
        check("(?i)abc", "abc~ only");
        check("(?i-u)ask", "ask~ only");
        check("(?i)connection reset by peer|ECONNRESET", "connection re~|econnre~");
        check("a(?i)bcd", "abcd~");
        check("(?i)503 bad", "503 bad~ only");
        check("(?-u)\\xff\\xfe\\xfd", "\u{fffd}\u{fffd}\u{fffd} only");
        check("ab", "-");
        check(".*", "-");
        check("[xyz]abc[xyz]", "abc");
        check("(?:a|b|c)xyz", "xyz");
        check(&(0..17).map(|n| format!("x{n:02}y")).collect::<Vec<_>>().join("|"), "-");
    }

    #[test]
    fn needles_of_fields() {
        assert_eq!(Needles::of_field("http.response.status").map(|needles| needles.length()), Some(8));
        assert_eq!(Needles::of_field("ms"), None);
        assert_eq!(Needles::of_field("a.b"), None);
    }
}

//! Lines that say who they are, so that each can be recognised wherever it arrives.

use std::io::Write as _;

use xxhash_rust::xxh3::xxh3_64;

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// The first of the storm's two lines.
    Timeout,
    /// The second.
    Failed,
    /// Everything else; must arrive word for word.
    Calm,
}

/// How many kinds there are.
pub(crate) const KINDS: usize = 3;

impl Kind {
    fn letter(self) -> char {
        match self {
            Kind::Timeout => 'a',
            Kind::Failed => 'b',
            Kind::Calm => 'c',
        }
    }

    fn of(letter: &str) -> Option<Kind> {
        [Kind::Timeout, Kind::Failed, Kind::Calm].into_iter().find(|kind| letter.starts_with(kind.letter()))
    }
}

/// What a line says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Who wrote it.
    pub(crate) src: u64,
    /// The how manieth line it is: 1, 2, 3 …
    pub(crate) seq: u64,
    pub(crate) kind: Kind,
}

/// From this number on: lines that each have a template of their own. They must arrive word for word whatever happens.
pub(crate) const FRESH: u64 = 1 << 40;

impl Mark {
    /// Puts the mark at the end of a line.
    pub(crate) fn append_to(self, text: &mut Vec<u8>) {
        let Mark { src, seq, kind } = self;
        // Writing to a vector cannot fail.
        let _ = write!(text, " src={src} seq={seq} t={} sum=", kind.letter());
        let sum = checksum(text);
        let _ = write!(text, "{sum}");
    }

    /// Reads the mark of a line; `None` when it has none, or when one of its bytes has changed.
    pub(crate) fn read(text: &str) -> Option<Mark> {
        let (before, sum) = text.rsplit_once("sum=")?;
        if sum.parse() != Ok(checksum(&text.as_bytes()[..before.len() + "sum=".len()])) {
            return None;
        }
        let (_, mark) = before.rsplit_once(" src=")?;
        let mut parts = mark.split(' ');
        let src = parts.next()?.parse().ok()?;
        let seq = parts.next()?.strip_prefix("seq=")?.parse().ok()?;
        let kind = Kind::of(parts.next()?.strip_prefix("t=")?)?;
        Some(Mark { src, seq, kind })
    }
}

/// A number as a word that only it has, of letters that are no hexadecimal digits: a line with it is like no other.
pub(crate) fn word(number: u64) -> String {
    (0..5).map(|place| char::from(b'g' + (number / 20u64.pow(place) % 20) as u8)).collect()
}

/// Decimal, and so a number to whoever looks for templates.
fn checksum(text: &[u8]) -> u32 {
    (xxh3_64(text) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_unless_a_byte_changed() {
        #[track_caller]
        fn check(text: &str, mark: Mark) {
            let mut line = text.as_bytes().to_vec();
            mark.append_to(&mut line);
            let line = String::from_utf8(line).expect("text");
            assert_eq!(Mark::read(&line), Some(mark), "{line}");
            for at in 0..line.len() {
                let changed: String = line
                    .char_indices()
                    .map(|(index, letter)| if index == at { '~' } else { letter })
                    .collect();
                assert_eq!(Mark::read(&changed), None, "{changed}");
            }
            assert_eq!(Mark::read(&line[..line.len() - 1]), None);
        }
        check("", Mark { src: 0, seq: 1, kind: Kind::Calm });
        check("WebSocket connection timeout", Mark { src: 7, seq: 22_000_000, kind: Kind::Timeout });
        check("sum=1 src=2", Mark { src: 1, seq: 2, kind: Kind::Failed });
        assert_eq!(Mark::read("no mark"), None);
    }
}

//! The novelty limit: how many new templates a second may speak at once, and what is kept of the flood above it.
//!
//! In: one question for each line of a template never seen before. Out: whether it passes.
//! Invariant: every line that does not pass is counted in the next flood notice of its stream.
//! Limit: 64 families and 3 examples a stream.
//!
//! A flood (an attack, a binary file) must neither flush the catalog nor hide a new kind of line behind garbage: the
//! first line of each *family* passes even then.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::window::shortened;
use crate::units::{Lines, Monotonic, Timestamp};

/// Families told apart in one flood; the rest is counted under `*`.
const FAMILIES_MAX: usize = 64;
/// Words of a text that name its family.
const FAMILY_WORDS: usize = 3;
/// Lines of the flood that are shown.
const EXAMPLES: usize = 3;

/// Lines that were folded together because they begin alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Family {
    /// What they share, with `*` for each variable.
    pub pattern: Box<[u8]>,
    /// How many lines.
    pub count: Lines,
}

/// The novelty limit of one stream.
#[derive(Debug)]
pub struct Novelty {
    per_second: u32,
    every: Duration,
    second: i64,
    passed: u32,
    pub(super) flood: Option<Box<Flood>>,
}

/// The lines that did not pass, until they are told.
#[derive(Debug)]
pub struct Flood {
    /// How many.
    pub count: Lines,
    /// Of what kinds.
    pub families: Vec<Family>,
    /// Some of them.
    pub examples: Vec<Box<[u8]>>,
    /// When the last one was written.
    pub last: Timestamp,
    /// Where the last one stands.
    pub offset: u64,
    pub(super) deadline: Monotonic,
}

/// A line of a template that was never seen before.
#[derive(Clone, Copy, Debug)]
pub struct Newcomer<'a> {
    /// Its text.
    pub text: &'a [u8],
    /// When it was written.
    pub time: Timestamp,
    /// Its log time.
    pub log_time: Timestamp,
    /// Where it stands.
    pub offset: u64,
    /// When it arrived.
    pub arrival: Monotonic,
}

impl Novelty {
    /// A limit of `per_second` newcomers; a flood is told `every` so often.
    pub fn new(per_second: u32, every: Duration) -> Novelty {
        Novelty { per_second, every, second: i64::MIN, passed: 0, flood: None }
    }

    /// Whether the newcomer passes. If not, it is counted here.
    pub fn admits(&mut self, newcomer: Newcomer<'_>) -> bool {
        let second = newcomer.log_time.seconds();
        if second != self.second {
            (self.second, self.passed) = (second, 0);
        }
        if self.passed < self.per_second {
            self.passed += 1;
            return true;
        }
        let deadline = newcomer.arrival + self.every;
        let flood = self.flood.get_or_insert_with(|| Box::new(Flood::new(deadline)));
        flood.take_in(newcomer)
    }

    /// When the flood must be told.
    pub fn deadline(&self) -> Option<Monotonic> {
        self.flood.as_ref().map(|flood| flood.deadline)
    }

    /// The flood that is to be told, if it is time: `None` asks whatever the time.
    pub fn take(&mut self, now: Option<Monotonic>) -> Option<Box<Flood>> {
        let due = |flood: &Flood| now.is_none_or(|now| flood.deadline <= now);
        let flood = self.flood.take_if(|flood| due(flood))?;
        // A flood whose lines all passed as the first of their family has nothing to tell.
        (flood.count > Lines(0)).then_some(flood)
    }

    /// Bytes of memory behind this limit.
    pub fn size(&self) -> usize {
        self.flood.as_ref().map_or(0, |flood| flood.size())
    }

    /// Lines that were held back and are not told yet.
    pub fn lines_open(&self) -> Lines {
        self.flood.as_ref().map_or(Lines(0), |flood| flood.count)
    }
}

impl Flood {
    pub(super) fn new(deadline: Monotonic) -> Flood {
        Flood {
            count: Lines(0),
            families: Vec::new(),
            examples: Vec::new(),
            last: Timestamp(0),
            offset: 0,
            deadline,
        }
    }

    fn take_in(&mut self, newcomer: Newcomer<'_>) -> bool {
        let pattern = family(newcomer.text);
        let known = self.families.iter().position(|family| *family.pattern == *pattern);
        let index = match known {
            Some(index) => index,
            None if self.families.len() < FAMILIES_MAX => {
                // Its first line passes, so the family begins with nothing held back.
                self.families.push(Family { pattern: pattern.into_boxed_slice(), count: Lines(0) });
                return true;
            }
            None => self.rest(),
        };
        self.families[index].count += Lines(1);
        self.count(newcomer);
        false
    }

    /// Counts a line that does not pass.
    pub(super) fn count(&mut self, line: Newcomer<'_>) {
        self.count += Lines(1);
        self.last = line.time;
        self.offset = line.offset;
        if self.examples.len() < EXAMPLES {
            self.examples.push(shortened(line.text).into());
        }
    }

    pub(super) fn size(&self) -> usize {
        let patterns: usize = self.families.iter().map(|family| family.pattern.len()).sum();
        let examples: usize =
            self.examples.iter().map(|example| example.len() + size_of::<Box<[u8]>>()).sum();
        size_of::<Flood>() + self.families.capacity() * size_of::<Family>() + patterns + examples
    }

    /// The family of all lines whose own found no room.
    fn rest(&mut self) -> usize {
        let found = self.families.iter().position(|family| *family.pattern == *b"*");
        found.unwrap_or_else(|| {
            self.families.push(Family { pattern: b"*".as_slice().into(), count: Lines(0) });
            self.families.len() - 1
        })
    }
}

/// The first words of `text`, those with a digit or over 16 bytes replaced by `*`.
fn family(text: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::new();
    let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    for word in words.take(FAMILY_WORDS) {
        if !pattern.is_empty() {
            pattern.push(b' ');
        }
        let varies = word.len() > 16 || word.iter().any(u8::is_ascii_digit);
        pattern.extend_from_slice(if varies { b"*" } else { word });
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newcomer(text: &str, second: i64) -> Newcomer<'_> {
        let time = Timestamp(second * Timestamp::SECOND);
        Newcomer { text: text.as_bytes(), time, log_time: time, offset: 0, arrival: Monotonic(0) }
    }

    #[test]
    fn families() {
        #[track_caller]
        fn check(text: &str, want: &str) {
            assert_eq!(String::from_utf8_lossy(&family(text.as_bytes())), want);
        }
        check("", "");
        check("accept 10.0.0.1 from x", "accept * from");
        check("abcdefghijklmnopqrstuvwxyz", "*");
        check("one", "one");
    }

    #[test]
    fn above_the_limit_only_the_first_of_a_family_passes() {
        let mut novelty = Novelty::new(2, Duration::from_secs(10));
        let passes = |novelty: &mut Novelty, text: &str, second| novelty.admits(newcomer(text, second));
        assert!(passes(&mut novelty, "a x", 0));
        assert!(passes(&mut novelty, "b x", 0));
        assert!(passes(&mut novelty, "flood q w e", 0), "first of its family");
        assert!(!passes(&mut novelty, "flood q w r", 0));
        assert!(!passes(&mut novelty, "flood q w t", 0));
        assert!(passes(&mut novelty, "disk is on fire", 0), "another family");
        assert!(passes(&mut novelty, "flood q w z", 1), "another second");
        assert_eq!(novelty.lines_open(), Lines(2));
        assert!(novelty.take(Some(Monotonic(1))).is_none(), "not yet");
        let flood = novelty.take(Some(Monotonic(10_000_000_000))).expect("due");
        assert_eq!(flood.count, Lines(2));
        assert_eq!(flood.examples.len(), 2);
        assert_eq!(flood.families.iter().map(|family| family.count).sum::<Lines>(), Lines(2));
        assert_eq!(novelty.lines_open(), Lines(0));
    }

    #[test]
    fn memory_is_bounded() {
        let mut novelty = Novelty::new(0, Duration::from_secs(10));
        let mut passed = 0u64;
        for line in 0..10_000u64 {
            let word: String = (0..5).map(|at| (b'a' + (line / 10u64.pow(at) % 10) as u8) as char).collect();
            passed += u64::from(novelty.admits(newcomer(&word, 0)));
        }
        let flood = novelty.take(None).expect("a flood");
        assert_eq!(passed + flood.count.0, 10_000);
        assert!(flood.families.len() <= FAMILIES_MAX + 1);
    }
}

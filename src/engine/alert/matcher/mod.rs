//! Which rules a line concerns.
//!
//! In: the text of a line and its stream. Out: a [`Hit`] for each rule that counts it, with the number that it brings, in the
//! order of the rules.
//! The answer depends on text and stream alone, so it is remembered by their hash: in a storm of repeats a line costs that
//! hash and one comparison, however many rules there are. For other texts `sieve` looks in one go for what the filters of all
//! rules cannot do without (`needle`), and `look` asks the few rules that are left. That costs less than to find out which
//! template the text is of, so nothing is remembered by template, where it had to be proved that no filter sees a variable.
//! Invariant: the answer is that of each filter asked by itself (see the tests).
//! Limits: [`SLOTS`] answers of up to [`HITS_KEPT`] hits are remembered. A hash of 64 bits, seeded by the process, stands for
//! a text, as in `template::body_cache`.

mod look;
mod needle;
mod plan;
mod sieve;
#[cfg(test)]
mod tests;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use self::look::Look;
use self::plan::Plan;
use super::rule::{Rule, Text};

/// A rule counts the line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Hit {
    /// The rule's place.
    pub(super) rule: u32,
    /// The number that the line brings; of a ratio 1 where the line is in the part, else 0.
    pub(super) value: f64,
    /// What the number counts.
    pub(super) unit: Unit,
}

/// The unit of a number, as people want to see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Unit {
    /// As it is.
    #[default]
    None,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A share from 0 to 1.
    Share,
    /// Per second.
    PerSecond,
}

/// The line that is asked about.
#[derive(Clone, Copy)]
struct Asked<'a> {
    text: &'a [u8],
    stream: &'a [u8],
}

/// Finds the rules that a line concerns.
#[derive(Debug)]
pub(super) struct Matcher {
    plan: Plan,
    look: Look,
    /// None where no rule is about lines.
    answers: Box<[Answer]>,
    seed: u64,
}

#[derive(Clone, Debug, Default)]
struct Answer {
    /// 0 where nothing is remembered.
    hash: u64,
    hits: Vec<Hit>,
}

impl Matcher {
    pub(super) fn new(rules: &[Rule], seed: u64) -> Matcher {
        let plan = Plan::of(rules);
        let slots = if plan.uses.is_empty() { 0 } else { SLOTS };
        let answers = vec![Answer::default(); slots].into_boxed_slice();
        Matcher { look: Look::new(&plan), plan, answers, seed }
    }

    /// The rules that count this line.
    #[inline]
    pub(super) fn hits(&mut self, text: &[u8], stream: &str, stream_hash: u64) -> &[Hit] {
        if self.answers.is_empty() {
            return &[];
        }
        let hash = xxh3_64_with_seed(text, self.seed ^ stream_hash).max(1);
        let slot = (hash >> 48) as usize % SLOTS;
        if self.answers[slot].hash == hash {
            return &self.answers[slot].hits;
        }
        self.ask(Asked { text, stream: stream.as_bytes() }, slot, hash)
    }

    fn ask(&mut self, asked: Asked<'_>, slot: usize, hash: u64) -> &[Hit] {
        let hits = self.look.find(&self.plan, asked);
        if hits.len() > HITS_KEPT {
            return hits;
        }
        let answer = &mut self.answers[slot];
        answer.hash = hash;
        answer.hits.clear();
        answer.hits.extend_from_slice(hits);
        &answer.hits
    }

    pub(super) fn size(&self) -> usize {
        let hits: usize = self.answers.iter().map(|answer| answer.hits.capacity() * size_of::<Hit>()).sum();
        size_of_val(&*self.answers) + hits + self.plan.size()
    }
}

/// Remembered answers.
const SLOTS: usize = 1024;
/// Hits of an answer that is remembered.
const HITS_KEPT: usize = 64;

impl Text {
    /// Whether `text` is what is looked for, or has it in it.
    pub(super) fn is_in(&self, text: &[u8]) -> bool {
        match self {
            Text::Is(wanted) => **wanted == *text,
            Text::Contains(wanted) => memchr::memmem::find(text, wanted).is_some(),
            Text::Matches(pattern) => pattern.is_match(text),
        }
    }
}

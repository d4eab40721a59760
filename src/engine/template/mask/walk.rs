//! The walk: cuts a text into constant spans and variables, from left to right.

use super::classes::{BLOCK, Classify, Words, classify_tail};
use super::code::{is_code, is_joined_code};

/// What is done with the parts of a text. They come in order; together they are the whole text.
pub(super) trait Sink {
    /// The bytes `start..end` of `text` are constant. Empty before a variable with which the text begins, and after
    /// one with which it ends.
    fn constant(&mut self, text: &[u8], start: usize, end: usize);
    /// The bytes `start..end` are a variable.
    fn variable(&mut self, start: usize, end: usize);
    /// The last variable goes on to `end`.
    fn extend(&mut self, end: usize);
}

/// Feeds the parts of `text` to `sink`.
#[inline(always)]
pub(super) fn walk(text: &[u8], classify: impl Classify, sink: &mut impl Sink) {
    let (blocks, tail) = text.as_chunks::<BLOCK>();
    let mut words = Words::default();
    let mut parts = Parts { text, done: 0, open_start: 0, sink };
    // There is always a last, incomplete block, if only an empty one, so that every word ends within the loop.
    for index in 0..=blocks.len() {
        let classes = match blocks.get(index) {
            Some(block) => classify.classify(block),
            None => classify_tail(classify, text, tail),
        };
        parts.block(index * BLOCK, classes.word, words.ends(classes));
    }
    parts.finish();
}

/// The text so far.
struct Parts<'t, S> {
    text: &'t [u8],
    /// The end of the last variable, or 0.
    done: usize,
    /// Where the word starts that was open at the end of the last block.
    open_start: usize,
    sink: &'t mut S,
}

impl<S: Sink> Parts<'_, S> {
    /// Takes the variable words that end in the block at `base`: `word` maps the bytes of words in it, `ends` the
    /// first bytes behind variable words.
    #[inline(always)]
    fn block(&mut self, base: usize, word: u64, mut ends: u64) {
        while ends != 0 {
            let bit = ends.trailing_zeros();
            ends &= ends - 1;
            let gaps = !word & ((1 << bit) - 1);
            let start = if gaps == 0 { self.open_start } else { behind_last(base, gaps) };
            self.variable_word(start, base + bit as usize);
        }
        if word != u64::MAX {
            self.open_start = behind_last(base, !word);
        }
    }

    /// Takes the word `start..end`, which the classes say is variable. A code stays in the constant span that is
    /// still open.
    #[inline(always)]
    fn variable_word(&mut self, start: usize, end: usize) {
        if self.joins(start) {
            if !is_joined_code(self.text, self.done, start, end) {
                self.extend(end);
            }
        } else if !is_code(self.text, start, end) {
            let start = self.with_calendar_names(start);
            if self.joins(start) { self.extend(end) } else { self.begin(start, end) }
        }
    }

    /// Whether a variable that starts at `start` is part of the one before.
    #[inline(always)]
    fn joins(&self, start: usize) -> bool {
        // A gap is never empty, because words are maximal. `done` is 0 before the first variable, and only then.
        let gap = start - self.done;
        self.done > 0 && (gap <= 2) & is_joiner(self.text[self.done]) & is_joiner(self.text[start - 1])
    }

    #[inline(always)]
    fn begin(&mut self, start: usize, end: usize) {
        self.sink.constant(self.text, self.done, start);
        self.sink.variable(start, end);
        self.done = end;
    }

    #[inline(always)]
    fn extend(&mut self, end: usize) {
        self.sink.extend(end);
        self.done = end;
    }

    #[inline(always)]
    fn finish(self) {
        self.sink.constant(self.text, self.done, self.text.len());
    }

    /// Where a variable starts whose word starts at `start`: before `Sun Dec ` in `Sun Dec 04`.
    #[inline(always)]
    fn with_calendar_names(&self, mut start: usize) -> usize {
        while let Some(name) = calendar_name_before(self.text, self.done, start) {
            start = name;
        }
        start
    }
}

/// The byte behind the last one whose bit is set in `gaps`, a map of the block at `base` that is not empty.
#[inline(always)]
fn behind_last(base: usize, gaps: u64) -> usize {
    base + BLOCK - gaps.leading_zeros() as usize
}

#[inline(always)]
fn is_joiner(byte: u8) -> bool {
    (JOINERS >> (byte & 63) & 1 == 1) & (byte < 64)
}

/// Where the name of a month or weekday starts that stands, as a word of its own, one or two joiners before `start`
/// and not before `done`.
#[inline(always)]
fn calendar_name_before(text: &[u8], done: usize, start: usize) -> Option<usize> {
    let [.., fourth, _, second, joiner] = text[..start] else { return None };
    let joiners = 1 + usize::from(is_joiner(second));
    let initial = if joiners == 1 { fourth } else { *text.get(start.wrapping_sub(5))? };
    if is_joiner(joiner) & initial.is_ascii_uppercase() {
        calendar_name(text, done, start - joiners)
    } else {
        None
    }
}

/// Where the name of a month or weekday starts that ends before `end`.
#[inline(never)]
fn calendar_name(text: &[u8], done: usize, end: usize) -> Option<usize> {
    let before = text.get(done..end)?;
    let name = before.last_chunk::<3>()?;
    let start = end - name.len();
    let alone = start == 0 || !is_word(text[start - 1]);
    (alone && CALENDAR_NAMES.contains(&name)).then_some(start)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// Bit n is set if byte n is a joiner. A match on the bytes became a jump table, mispredicted at each new word.
const JOINERS: u64 = {
    let joiners = b".,:; /+";
    let mut map = 0;
    let mut index = 0;
    while index < joiners.len() {
        map |= 1 << joiners[index];
        index += 1;
    }
    map
};

/// Only this way of writing: `may` and `MAR` are words of the text.
const CALENDAR_NAMES: [&[u8; 3]; 19] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec", b"Mon",
    b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun",
];

//! The mask: which bytes of a text are variable, and a name for everything that is not.
//!
//! In: the text of one line. Out: a [`Fingerprint`] of its constant part and the [`Slots`] where its variables stand
//! (every line), or a [`TemplateId`] and the canonical text behind it (once for each new fingerprint).
//!
//! The rule, over bytes, without looking at any other line:
//! 1. A *word* is a maximal run of `[A-Za-z0-9_-]`. It is variable if it holds a digit, or if it is eight or more
//!    hexadecimal letters (`ffffffff`). Everything else is constant, bytes from 0x80 up included.
//! 2. Variables with one or two joiners (`.`, `,`, `:`, `;`, `/`, `+`, space) and nothing else between them are one
//!    variable. This one rule covers times, addresses, decimals, versions and lists of numbers.
//! 3. Names of months and weekdays (`Jan`, `Mon`) one or two joiners before a variable are part of it.
//! 4. A number of up to three digits that is a status, exit or error code is constant (`code`), so `status=200` and
//!    `status=503` are two templates.
//!
//! The rule would rather split one message into several templates, which costs a few more lines, than merge two
//! messages into one, which hides the second. Text in quotes or after `=` is therefore not masked as such.
//!
//! Invariant: two texts have equal fingerprints if and only if they have equal canonical texts (but for collisions
//! of 64 bits). Both come from one walk ([`walk`]); only what is done with its parts differs.
//! Limit: [`TEXT_MAX`] bytes of a text are looked at. No allocation, except by `canonical` when it grows.
//! Not here: which template was seen when (`catalog`); what a variable's values say.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod classes;
mod code;
mod hash;
mod walk;

use std::fmt;

use hash::{Keys, SpanHash};
use walk::{Sink, walk};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// How many bytes of a text are masked. A longer text has the fingerprint and the template of its beginning.
pub const TEXT_MAX: usize = 4096;

/// The version of the rule. It is hashed into every [`TemplateId`], because ids of two rules must never be mixed up.
pub const TOKENISER: &str = "v6.2";

/// The byte that stands for a variable in a canonical text.
pub const SENTINEL: u8 = 0x01;

/// The byte that stands before a constant [`SENTINEL`] or `ESCAPE` in a canonical text. Log texts hold neither, but
/// if one did, it must not pass for a line with a variable in that place.
pub const ESCAPE: u8 = 0x02;

/// A hash of the constant part of a text, for tables in this process. It is seeded, so that nobody can write lines
/// that collide on purpose; for the same reason it never leaves the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub u64);

/// The name of a template: equal on every host that runs the same [`TOKENISER`]. Shown as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateId(pub u128);

impl fmt::Display for TemplateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Where a variable stands in its text, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// Its first byte.
    pub start: u32,
    /// The byte after its last one.
    pub end: u32,
}

impl Slot {
    /// The variable's bytes, or nothing if `text` is not the text that was masked.
    #[inline]
    pub fn of<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// The variables of one text, in order. Meant to be kept and filled again for every line.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    /// One place more than is shown: the variables after the last one shown all go there, which saves a branch.
    places: [Slot; Slots::SHOWN + 1],
    count: usize,
}

impl Slots {
    /// How many variables of a text are kept; the rest is only counted.
    pub const SHOWN: usize = 8;

    /// The first variables of the text, at most [`Slots::SHOWN`].
    #[inline]
    pub fn as_slice(&self) -> &[Slot] {
        &self.places[..self.count.min(Slots::SHOWN)]
    }

    /// How many variables the text has, also those that are not kept.
    #[inline]
    pub fn count(&self) -> usize {
        self.count
    }
}

impl PartialEq for Slots {
    fn eq(&self, other: &Slots) -> bool {
        self.count == other.count && self.as_slice() == other.as_slice()
    }
}

impl Eq for Slots {}

/// How the bytes of a text are told apart: chosen once, when the process starts.
#[derive(Clone, Copy, Debug)]
enum Processor {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
}

/// Makes fingerprints. Two masks agree on the fingerprint of a text if they have the same seed, whatever the
/// processor; slots do not even depend on the seed.
#[derive(Clone, Debug)]
pub struct Mask {
    keys: Keys,
    processor: Processor,
}

impl Mask {
    /// A mask that uses what this processor offers. `seed` should be random, and one for the whole process.
    pub fn new(seed: u64) -> Mask {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = avx2::Avx2::detect() {
            return Mask { keys: Keys::new(seed), processor: Processor::Avx2(avx2) };
        }
        Mask::portable(seed)
    }

    /// A mask that runs on every processor: for comparison, several times slower than [`Mask::new`] may be.
    pub fn portable(seed: u64) -> Mask {
        Mask { keys: Keys::new(seed), processor: Processor::Portable }
    }

    /// The fingerprint of `text`, and in `slots` its variables. For every line: one pass, no allocation.
    #[inline]
    pub fn fingerprint(&self, text: &[u8], slots: &mut Slots) -> Fingerprint {
        let text = masked_part(text);
        let hashing = Hashing { hash: SpanHash::new(self.keys), places: &mut slots.places, count: 0 };
        let (fingerprint, count) = match self.processor {
            Processor::Portable => hash_portable(text, hashing),
            #[cfg(target_arch = "x86_64")]
            Processor::Avx2(avx2) => avx2.hash(text, hashing),
        };
        slots.count = count;
        fingerprint
    }
}

/// The template of `text`. Fills `canonical` with the text the id is made from: the constant bytes as they are, and a
/// [`SENTINEL`] for each variable. For new fingerprints, not for every line.
pub fn template_id(text: &[u8], canonical: &mut Vec<u8>) -> TemplateId {
    canonical.clear();
    let text = masked_part(text);
    walk(text, classes::Portable, &mut Writing { canonical });
    TemplateId(xxh3_128_with_seed(canonical, TOKENISER_SEED))
}

/// The bytes of [`TOKENISER`], read as a little-endian number.
const TOKENISER_SEED: u64 = {
    let version = TOKENISER.as_bytes();
    assert!(version.len() <= 8, "a longer version would be hashed in only in part");
    let mut seed = 0;
    let mut at = version.len();
    while at > 0 {
        at -= 1;
        seed = seed << 8 | version[at] as u64;
    }
    seed
};

/// The part of a text that counts: without the `\r` of a line that ended in `\r\n`, and not longer than [`TEXT_MAX`].
#[inline(always)]
fn masked_part(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    &text[..text.len().min(TEXT_MAX)]
}

#[inline(never)]
fn hash_portable(text: &[u8], mut hashing: Hashing<'_>) -> (Fingerprint, usize) {
    walk(text, classes::Portable, &mut hashing);
    hashing.finish()
}

/// What a line's walk feeds: the hash and the slots. The count stays here until the end, where it is in a register.
struct Hashing<'s> {
    hash: SpanHash,
    places: &'s mut [Slot; Slots::SHOWN + 1],
    count: usize,
}

impl Hashing<'_> {
    /// The fingerprint and how many variables there were.
    #[inline(always)]
    fn finish(self) -> (Fingerprint, usize) {
        (Fingerprint(self.hash.finish()), self.count)
    }
}

impl Sink for Hashing<'_> {
    #[inline(always)]
    fn constant(&mut self, text: &[u8], start: usize, end: usize) {
        self.hash.constant(text, start, end);
    }

    #[inline(always)]
    fn variable(&mut self, start: usize, end: usize) {
        self.hash.variable();
        // Offsets are at most TEXT_MAX, so they fit.
        self.places[self.count.min(Slots::SHOWN)] = Slot { start: start as u32, end: end as u32 };
        self.count += 1;
    }

    #[inline(always)]
    fn extend(&mut self, end: usize) {
        self.places[self.count.wrapping_sub(1).min(Slots::SHOWN)].end = end as u32;
    }
}

/// What a new template's walk feeds: its canonical text.
struct Writing<'c> {
    canonical: &'c mut Vec<u8>,
}

impl Sink for Writing<'_> {
    fn constant(&mut self, text: &[u8], start: usize, end: usize) {
        for &byte in &text[start..end] {
            if byte == SENTINEL || byte == ESCAPE {
                self.canonical.push(ESCAPE);
            }
            self.canonical.push(byte);
        }
    }

    fn variable(&mut self, _start: usize, _end: usize) {
        self.canonical.push(SENTINEL);
    }

    fn extend(&mut self, _end: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoke() {
        let mut c = Vec::new();
        template_id(b"Sun Dec 04 04:47:44 2005 hello status=200 x 5", &mut c);
        assert_eq!(c, b"\x01 hello status=200 x \x01");
    }
}

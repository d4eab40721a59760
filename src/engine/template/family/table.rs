//! Which templates differ in one word: the table behind the families (leave-one-out).
//!
//! In: a new template. Out: the family it belongs to, or a [`Founding`] when [`SEEDS`] templates that are in the catalog
//! differ in nothing but one word, in the same place.
//! A key is made for each place that may vary: a hash of all words but that one. Two templates that share a key differ
//! in that place at most, so nothing is ever compared with anything; a new template costs a look for each of its words.
//! Limit: [`CANDIDATES_MAX`] keys; when they are used up those that only one template had are forgotten, then all.

use std::hash::{BuildHasher, Hasher};

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use hashbrown::HashTable;

use super::words;
use crate::engine::line::level::Level;
use crate::engine::template::catalog::EntryId;
use crate::engine::template::mask::{ESCAPE, SENTINEL};

/// The byte that stands for the word that varies, in the pattern of a family.
pub(super) const WILD: u8 = 0x03;

/// Templates that make a family. With fewer, messages that are not one are taken for one; with more, more lines are
/// sent before the family is known (`templates.md` 3d has the measurement).
pub const SEEDS: usize = 8;

/// Words of a template that may vary: the first ones.
const PLACES_MAX: usize = 32;
/// Words that stay when one varies. `login <*>` says too little to be one message.
const CONSTANTS_MIN: usize = 2;
/// Keys that wait for their family: about 700 KB when all are used.
const CANDIDATES_MAX: usize = 16 * 1024;

/// What all templates of a family must have in common besides their words. A failing line never joins a calm family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::template) struct Traits {
    pub(in crate::engine::template) stream: u32,
    pub(in crate::engine::template) parse_error: bool,
    /// The level, where it does not stand in a variable.
    pub(in crate::engine::template) level: Option<Level>,
    pub(in crate::engine::template) level_varies: bool,
    pub(in crate::engine::template) failing: bool,
}

/// An entry of the catalog, and which one of those that had its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::template) struct Seed {
    pub(in crate::engine::template) entry: EntryId,
    pub(in crate::engine::template) generation: u32,
}

/// What is known of a new template.
#[derive(Debug)]
pub(super) enum Kinship {
    /// It stands alone.
    None,
    /// It belongs to this family.
    Member {
        family: EntryId,
        /// Whether the word in which it differs holds no variables.
        is_aligned: bool,
    },
    /// With these others it makes a family.
    Founding(Founding),
}

/// A family that is to be made.
#[derive(Clone, Debug)]
pub struct Founding {
    pub(super) key: u64,
    /// The canonical text with [`WILD`] in the place that varies.
    pub(super) pattern: Vec<u8>,
    pub(super) seeds: Vec<Seed>,
    /// Whether the words in which they differ hold no variables.
    pub(super) is_aligned: bool,
}

/// The table.
#[derive(Debug)]
pub(in crate::engine::template) struct Families {
    hasher: SeedableRandomState,
    /// For each place the hash of a [`WILD`] there.
    wild: [u64; PLACES_MAX],
    candidates: HashTable<Candidate>,
    known: HashTable<(u64, EntryId)>,
    /// The words of the template that is looked at.
    words: Vec<Word>,
    /// Templates beside the first of their candidate, over all candidates.
    sprouts: usize,
}

/// Templates that differ in one place at most.
#[derive(Debug)]
struct Candidate {
    key: u64,
    first: Sprout,
    others: Vec<Sprout>,
}

/// A template that may become a seed, and a hash of its word in the place that varies.
#[derive(Clone, Copy, Debug)]
struct Sprout {
    seed: Seed,
    word: u32,
    is_aligned: bool,
}

#[derive(Clone, Copy, Debug)]
struct Word {
    start: usize,
    end: usize,
    /// Of the word and its place.
    hash: u64,
    may_vary: bool,
    /// Whether it holds no variable.
    is_aligned: bool,
    /// Whether it says something, so that a pattern with it says something.
    is_constant: bool,
}

impl Families {
    /// No families yet. `seed` must differ between processes.
    pub(in crate::engine::template) fn new(seed: u64) -> Families {
        // Not the seed of the bodies: equal input to both tables must not fall into equal places.
        let hasher = SeedableRandomState::with_seed(seed ^ 0x5851_f42d_4c95_7f2d, SharedSeed::global_fixed());
        Families {
            wild: std::array::from_fn(|place| hash(&hasher, place, &[WILD])),
            hasher,
            candidates: HashTable::new(),
            known: HashTable::new(),
            words: Vec::new(),
            sprouts: 0,
        }
    }

    /// Finds the kin of a new template. `is_alive` says whether a seed is still the entry that it was.
    pub(super) fn find(
        &mut self,
        canonical: &[u8],
        traits: Traits,
        seed: Seed,
        is_alive: impl Fn(Seed) -> bool,
    ) -> Kinship {
        // A text that holds the mark itself would be taken for a pattern after a restart.
        if canonical.contains(&WILD) {
            return Kinship::None;
        }
        let whole = self.split(canonical, traits);
        let constants = self.words.iter().filter(|word| word.is_constant).count();
        for place in 0..self.words.len().min(PLACES_MAX) {
            let Some(key) = self.key_without(place, whole, constants) else { continue };
            if let Some((_, family)) = self.known.find(key, |(known, _)| *known == key) {
                return Kinship::Member { family: *family, is_aligned: self.words[place].is_aligned };
            }
        }
        for place in 0..self.words.len().min(PLACES_MAX) {
            let Some(key) = self.key_without(place, whole, constants) else { continue };
            let Word { start, end, hash, is_aligned, .. } = self.words[place];
            let sprout = Sprout { seed, word: hash as u32, is_aligned };
            if let Some(sprouts) = self.plant(key, sprout, &is_alive) {
                let pattern = [&canonical[..start], &[WILD], &canonical[end..]].concat();
                let is_aligned = sprouts.iter().all(|sprout| sprout.is_aligned);
                let seeds = sprouts.into_iter().map(|sprout| sprout.seed).collect();
                return Kinship::Founding(Founding { key, pattern, seeds, is_aligned });
            }
        }
        Kinship::None
    }

    /// The key of a family with this pattern.
    pub(super) fn key_of(&mut self, pattern: &[u8], traits: Traits) -> u64 {
        self.split(pattern, traits)
    }

    /// The family with this key is in the catalog, as `family`. False when there is one already.
    pub(super) fn insert(&mut self, key: u64, family: EntryId) -> bool {
        if self.known.find(key, |(known, _)| *known == key).is_some() {
            return false;
        }
        self.known.insert_unique(key, (key, family), |(key, _)| *key);
        true
    }

    /// The family with this key is gone.
    pub(in crate::engine::template) fn remove(&mut self, key: u64) {
        if let Ok(found) = self.known.find_entry(key, |(known, _)| *known == key) {
            found.remove();
        }
    }

    /// Bytes of memory in use.
    pub(in crate::engine::template) fn size(&self) -> usize {
        self.candidates.capacity() * (size_of::<Candidate>() + 1)
            // A vector of n has room for 4 n at most.
            + 4 * self.sprouts * size_of::<Sprout>()
            + self.known.capacity() * (size_of::<(u64, EntryId)>() + 1)
            + self.words.capacity() * size_of::<Word>()
    }

    /// Splits a canonical text into words, and gives the key of all of it.
    ///
    /// Words are what stands between spaces, and what stands behind a `=` in them: of `user=alice` only `alice` may vary,
    /// or `user=alice` and `host=web` would be two values of nothing.
    fn split(&mut self, canonical: &[u8], traits: Traits) -> u64 {
        self.words.clear();
        let mut start = 0;
        for end in 0..=canonical.len() {
            let byte = canonical.get(end).copied();
            let is_space = byte.is_none_or(|byte| byte.is_ascii_whitespace());
            let until = if byte == Some(b'=') { end + 1 } else { end };
            if !is_space && byte != Some(b'=') {
                continue;
            }
            if until > start {
                let word = self.word(&canonical[start..until], start);
                self.words.push(word);
            }
            start = if is_space { end + 1 } else { until };
        }
        let mut hasher = self.hasher.build_hasher();
        let Traits { stream, parse_error, level, level_varies, failing } = traits;
        hasher.write_u32(stream);
        hasher.write_u32(level.map_or(u32::MAX, |level| level as u32));
        hasher.write(&[u8::from(parse_error), u8::from(level_varies), u8::from(failing)]);
        hasher.write_usize(self.words.len());
        self.words.iter().fold(hasher.finish(), |sum, word| sum.wrapping_add(word.hash))
    }

    fn word(&self, text: &[u8], start: usize) -> Word {
        let place = self.words.len();
        let speaks =
            text.windows(2).any(|pair| pair.iter().all(|byte| byte.is_ascii_alphabetic() || *byte >= 0x80));
        // A digit that the mask left is a code. What holds an escape holds a byte that is a mark elsewhere.
        let is_plain = !text.iter().any(|byte| byte.is_ascii_digit() || matches!(*byte, ESCAPE | b'='));
        let is_news = speaks && words::is_news(text);
        // A variable with something around it may vary as a whole, a bare one varies anyway.
        let may_vary = place < PLACES_MAX && speaks && is_plain && !is_news;
        Word {
            start,
            end: start + text.len(),
            hash: hash(&self.hasher, place, text),
            may_vary,
            is_aligned: !text.contains(&SENTINEL),
            is_constant: speaks && !(is_news && words::is_level(text)),
        }
    }

    /// The key of all words but the one at `place`, if that one may vary and the others say enough.
    fn key_without(&self, place: usize, whole: u64, constants: usize) -> Option<u64> {
        let word = self.words[place];
        let enough = constants - usize::from(word.is_constant) >= CONSTANTS_MIN;
        (word.may_vary && enough).then(|| whole.wrapping_sub(word.hash).wrapping_add(self.wild[place]))
    }

    /// Adds a template to those that share `key`. All of them, when they are a family.
    fn plant(&mut self, key: u64, sprout: Sprout, is_alive: &impl Fn(Seed) -> bool) -> Option<Vec<Sprout>> {
        if self.candidates.len() >= CANDIDATES_MAX {
            self.candidates.retain(|candidate| !candidate.others.is_empty());
            if self.candidates.len() >= CANDIDATES_MAX / 4 * 3 {
                self.candidates.clear();
            }
            self.sprouts = self.candidates.iter().map(|candidate| candidate.others.len()).sum();
        }
        let Ok(mut found) = self.candidates.find_entry(key, |candidate| candidate.key == key) else {
            let candidate = Candidate { key, first: sprout, others: Vec::new() };
            self.candidates.insert_unique(key, candidate, |candidate| candidate.key);
            return None;
        };
        let Candidate { first, others, .. } = found.get_mut();
        // Only what the catalog still holds counts, and each word once.
        self.sprouts -= others.len();
        others.retain(|other| is_alive(other.seed) && other.word != sprout.word);
        if is_alive(first.seed) && first.word != sprout.word {
            others.push(sprout);
        } else {
            *first = sprout;
        }
        if 1 + others.len() < SEEDS {
            self.sprouts += others.len();
            return None;
        }
        let mut sprouts = std::mem::take(others);
        sprouts.push(*first);
        found.remove();
        Some(sprouts)
    }
}

fn hash(hasher: &SeedableRandomState, place: usize, text: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write_usize(place);
    hasher.write(text);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Traits =
        Traits { stream: 0, parse_error: false, level: None, level_varies: false, failing: false };

    fn seed(number: u32) -> Seed {
        Seed { entry: EntryId(number), generation: 1 }
    }

    /// The pattern of the first family that these templates make.
    fn pattern(templates: &[String]) -> Option<String> {
        let mut families = Families::new(1);
        templates.iter().zip(0..).find_map(|(text, number)| {
            match families.find(text.as_bytes(), CALM, seed(number), |_| true) {
                Kinship::Founding(founding) => {
                    assert_eq!(founding.seeds.len(), SEEDS);
                    Some(
                        String::from_utf8_lossy(&founding.pattern)
                            .replace('\u{3}', "*")
                            .replace('\u{1}', "#"),
                    )
                }
                _ => None,
            }
        })
    }

    const NAMES: [&str; 9] = ["alice", "bob", "carol", "dave", "eve", "frank", "grace", "heidi", "ivan"];

    #[test]
    fn eight_words_in_one_place_are_a_family() {
        #[track_caller]
        fn check(text: &str, want: Option<&str>) {
            let templates: Vec<String> =
                NAMES.map(|name| text.replace('@', name).replace('#', "\u{1}")).into();
            assert_eq!(pattern(&templates).as_deref(), want, "{text}");
            assert_eq!(pattern(&templates[..SEEDS - 1]), None, "{text}: too few");
        }
        check("invalid user @ from #", Some("invalid user * from #"));
        check("# login user=@ ok", Some("# login user=* ok"));
        check("open /home/@/core by #", Some("open * by #"));
        check("file /home/@/# was read", Some("file * was read"));
        check("login @", None); // too little stays
        check("INFO login @", None);
        check("AudioManager: @", None);
        check("# # # @", None);
        check("@", None);
    }

    #[test]
    fn what_is_news_does_not_vary() {
        let words = ["ok", "failed", "up", "down", "lost", "ready", "idle", "dead", "busy", "full"];
        let templates: Vec<String> = words.map(|word| format!("the disk is {word} again")).into();
        assert_eq!(pattern(&templates), None);
        let templates: Vec<String> =
            (200..220).map(|code| format!("the answer was status={code} again")).collect();
        assert_eq!(pattern(&templates), None);
    }

    #[test]
    fn members_are_known_and_unlike_ones_are_not() {
        let mut families = Families::new(1);
        let mut find = |text: &str, traits: Traits| families.find(text.as_bytes(), traits, seed(1), |_| true);
        for name in &NAMES[..SEEDS - 1] {
            assert!(matches!(find(&format!("invalid user {name} came"), CALM), Kinship::None));
        }
        let Kinship::Founding(founding) = find("invalid user heidi came", CALM) else { panic!("the eighth") };
        assert!(families.insert(founding.key, EntryId(77)) && !families.insert(founding.key, EntryId(78)));
        assert_eq!(families.key_of(&founding.pattern, CALM), founding.key, "found again after a restart");
        let mut member = |text: &str, traits: Traits| {
            matches!(
                families.find(text.as_bytes(), traits, seed(2), |_| true),
                Kinship::Member { family: EntryId(77), .. }
            )
        };
        assert!(member("invalid user zoe came", CALM));
        assert!(!member("invalid user failed came", CALM), "news");
        assert!(!member("invalid host zoe came", CALM));
        assert!(!member("invalid user zoe came late", CALM));
        assert!(!member("invalid user zoe came", Traits { failing: true, ..CALM }));
        assert!(!member("invalid user zoe came", Traits { level: Some(Level::Warn), ..CALM }));
        assert!(!member("invalid user zoe came", Traits { stream: 1, ..CALM }));
        assert!(!member("invalid user zoe came", Traits { parse_error: true, ..CALM }));
        families.remove(founding.key);
        assert!(matches!(families.find(b"invalid user zoe came", CALM, seed(3), |_| true), Kinship::None));
    }

    #[test]
    fn only_what_is_still_known_counts() {
        let mut families = Families::new(1);
        for (name, number) in NAMES.iter().zip(0..) {
            let text = format!("invalid user {name} came");
            let kin = families.find(text.as_bytes(), CALM, seed(number), |seed| seed.entry.0 > 3);
            assert!(matches!(kin, Kinship::None), "{name}");
        }
        for _ in 0..3 * SEEDS {
            let kin = families.find(b"invalid user same came", CALM, seed(90), |_| true);
            assert!(matches!(kin, Kinship::None));
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut families = Families::new(1);
        for number in 0..30_000u32 {
            let letters: String =
                (0..4).map(|at| (b'a' + (number / 26u32.pow(at) % 26) as u8) as char).collect();
            let text = format!("{letters} unique x{letters} event y{letters} of z{letters} here {letters}");
            families.find(text.as_bytes(), CALM, seed(number), |_| true);
        }
        assert!(families.size() < 2_000_000, "{}", families.size());
    }
}

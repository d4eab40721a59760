//! Many needles, looked for at once in much less than a look at each byte.
//!
//! In: needles, once; then texts. Out: which needles are in a text.
//! A needle of eight bytes holds five grams of four bytes, one after the other. So of the text only every fifth place is
//! looked at: wherever the needle stands, one of the five stands at such a place. Where all needles are longer, so are the
//! steps. Whether a gram is one of any needle is a bit in a table of some KiB, and nearly always it is none. Looks do not wait
//! for each other, as they would in an automaton, and there is nothing to be built while texts come.
//! Shorter needles have tables of their own with shorter steps, so that they do not slow down the others. A few of them, and
//! those that are too short for a gram, are searched for one by one.
//! Grams ignore the case of letters, so needles may, too.
//! Invariant: the needles that are told are those that are there; one may be told more than once.
//! Limits: some KiB for the tables of 500 needles. A text that was made to look like needles is given up, and searched for
//! each needle by itself: it costs twice what that costs.

use std::collections::HashMap;
use std::ops::Range;

use memchr::memmem::Finder;

use super::needle::Needle;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Sieve {
    needles: Vec<Needle>,
    long: Comb<4>,
    middle: Comb<4>,
    short: Comb<3>,
    /// Those that are searched for one by one.
    alone: Vec<(u32, Finder<'static>)>,
    /// Those of them whose case does not matter.
    alone_any_case: Vec<u32>,
}

/// From so many bytes on a needle is in the comb.
const LONG: usize = 8;
const MIDDLE: usize = 5;
const SHORT: usize = 3;
/// Needles that cost less alone than in a comb with a step of less than [`LONG`].
const FEW: usize = 3;
/// Longer steps would need larger tables than they save looks.
const STEP_MAX: usize = 13;
/// Steps that are longer than this must not come with a gram that more needles share than that.
const STEP_MIN: usize = LONG + 1 - 4;
const CROWD_MAX: usize = 16;

impl Sieve {
    pub(super) fn new(needles: Vec<Needle>) -> Sieve {
        let of = |lengths: Range<usize>| -> Vec<(u32, &Needle)> {
            let within = (0..).zip(&needles).filter(|(_, needle)| lengths.contains(&needle.bytes.len()));
            within.collect()
        };
        let mut alone = of(0..SHORT);
        let mut many = |lengths: Range<usize>| {
            let all = of(lengths);
            if all.len() > FEW {
                return all;
            }
            alone.extend(all);
            Vec::new()
        };
        let (middle, short) = (many(MIDDLE..LONG), many(SHORT..MIDDLE));
        let (any_case, exact): (Vec<_>, Vec<_>) = alone.into_iter().partition(|(_, needle)| needle.any_case);
        let finder = |(index, needle): (u32, &Needle)| (index, Finder::new(&needle.bytes).into_owned());
        Sieve {
            long: Comb::new(&of(LONG..usize::MAX)),
            middle: Comb::new(&middle),
            short: Comb::new(&short),
            alone: exact.into_iter().map(finder).collect(),
            alone_any_case: any_case.into_iter().map(|(index, _)| index).collect(),
            needles,
        }
    }

    /// Tells the needles that are in `text`.
    #[inline]
    pub(super) fn search(&self, text: &[u8], found: &mut impl FnMut(u32)) {
        for (index, finder) in &self.alone {
            if finder.find(text).is_some() {
                found(*index);
            }
        }
        for &index in &self.alone_any_case {
            if self.needles[index as usize].is_in(text) {
                found(index);
            }
        }
        let mut looks = self.looks_max(text);
        let is_done = self.long.search(&self.needles, text, &mut looks, found)
            && self.middle.search(&self.needles, text, &mut looks, found)
            && self.short.search(&self.needles, text, &mut looks, found);
        if !is_done {
            self.search_each(text, found);
        }
    }

    /// As many looks as take about as long as a search for each needle.
    fn looks_max(&self, text: &[u8]) -> usize {
        text.len() + self.needles.len() * (4 + text.len() / 64)
    }

    #[cold]
    fn search_each(&self, text: &[u8], found: &mut impl FnMut(u32)) {
        for (index, _) in self.needles.iter().enumerate().filter(|(_, needle)| needle.is_in(text)) {
            found(index as u32);
        }
    }

    pub(super) fn size(&self) -> usize {
        let needles: usize = self.needles.iter().map(|needle| needle.bytes.len()).sum();
        needles * 2
            + self.needles.capacity() * size_of::<Needle>()
            + self.alone.capacity() * size_of::<(u32, Finder<'_>)>()
            + self.long.size()
            + self.middle.size()
            + self.short.size()
    }
}

/// Needles that are found by the same step.
#[derive(Debug)]
struct Comb<const GRAM: usize> {
    step: usize,
    /// A bit for each hash of a gram.
    bits: Box<[u64]>,
    /// So far a hash is shifted to the number of its bit.
    shift: u32,
    /// For each bucket of hashes, where its places begin; one more at the end.
    starts: Box<[u32]>,
    bucket_shift: u32,
    places: Box<[Place]>,
}

/// A gram of a needle.
#[derive(Clone, Copy, Debug)]
struct Place {
    gram: u32,
    needle: u32,
    /// Where in the needle it stands.
    at: u32,
}

/// Bits for each gram: of other texts' grams one in so many is looked at in vain.
const SPARSE: usize = 32;
const BITS_LOG_MIN: u32 = 10;
const BITS_LOG_MAX: u32 = 18;
/// Grams of a needle among which the rarest are chosen.
const CHOICE_MAX: usize = 64;

impl<const GRAM: usize> Comb<GRAM> {
    fn new(needles: &[(u32, &Needle)]) -> Comb<GRAM> {
        let shortest = needles.iter().map(|(_, needle)| needle.bytes.len()).min().unwrap_or(GRAM);
        let step_max = shortest + 1 - GRAM;
        // Long steps mean many grams of each needle, and in the end those of words that are in every second text.
        let steps = (1..=step_max.min(STEP_MAX)).rev();
        let grams = grams_of::<GRAM>(needles);
        let choices = steps.map(|step| (step, rarest(&grams, step)));
        let is_good = |(step, places): &(usize, Vec<Place>)| *step <= STEP_MIN || crowd(places) <= CROWD_MAX;
        let (step, mut places) = choices.into_iter().find(is_good).unwrap_or((1, Vec::new()));
        let log = (places.len() * SPARSE).next_power_of_two().ilog2().clamp(BITS_LOG_MIN, BITS_LOG_MAX);
        let bucket_shift = 32 - (log - SPARSE.ilog2());
        let mut bits = vec![0; 1 << (log - 6)];
        let bucket = |place: &Place| hash(place.gram) >> bucket_shift;
        places.sort_by_key(bucket);
        for place in &places {
            let bit = hash(place.gram) >> (32 - log);
            bits[bit as usize / 64] |= 1 << (bit % 64);
        }
        let buckets = 0..=1u32 << (32 - bucket_shift);
        let starts = buckets.map(|number| places.partition_point(|place| bucket(place) < number) as u32);
        Comb {
            step,
            starts: starts.collect(),
            bits: bits.into(),
            shift: 32 - log,
            bucket_shift,
            places: places.into(),
        }
    }

    /// Tells the needles that are in `text`. False where it was not worth going on: there were too many grams of
    /// needles that were not there.
    #[inline]
    fn search(
        &self,
        needles: &[Needle],
        text: &[u8],
        looks: &mut usize,
        found: &mut impl FnMut(u32),
    ) -> bool {
        if self.places.is_empty() {
            return true;
        }
        let mut start = 0;
        while let Some(gram) = text.get(start..).and_then(gram::<GRAM>) {
            let hash = hash(gram);
            let bit = hash >> self.shift;
            if self.bits[bit as usize / 64] >> (bit % 64) & 1 == 1
                && !self.look(gram, needles, (text, start), looks, found)
            {
                return false;
            }
            start += self.step;
        }
        true
    }

    /// Looks which needles really stand around `gram`, which is at `start` in the text.
    #[inline(never)]
    fn look(
        &self,
        gram: u32,
        needles: &[Needle],
        (text, start): (&[u8], usize),
        looks: &mut usize,
        found: &mut impl FnMut(u32),
    ) -> bool {
        let bucket = (hash(gram) >> self.bucket_shift) as usize;
        let places = &self.places[self.starts[bucket] as usize..self.starts[bucket + 1] as usize];
        for place in places.iter().filter(|place| place.gram == gram) {
            let Some(left) = looks.checked_sub(1) else { return false };
            *looks = left;
            let begin = start.checked_sub(place.at as usize);
            if begin.is_some_and(|begin| needles[place.needle as usize].begins(&text[begin..])) {
                found(place.needle);
            }
        }
        true
    }

    fn size(&self) -> usize {
        size_of_val(&*self.bits) + size_of_val(&*self.starts) + size_of_val(&*self.places)
    }
}

/// The first grams of a needle, each with the number of places that it has in all of them.
struct Grams {
    needle: u32,
    grams: Vec<(u32, u32)>,
}

fn grams_of<const GRAM: usize>(needles: &[(u32, &Needle)]) -> Vec<Grams> {
    let grams = |needle: &Needle| -> Vec<u32> {
        needle.bytes.windows(GRAM).take(CHOICE_MAX).filter_map(gram::<GRAM>).collect()
    };
    let mut shared: HashMap<u32, u32> = HashMap::new();
    for gram in needles.iter().flat_map(|(_, needle)| grams(needle)) {
        *shared.entry(gram).or_default() += 1;
    }
    let counted = |needle| grams(needle).into_iter().map(|gram| (gram, shared[&gram])).collect();
    needles.iter().map(|(index, needle)| Grams { needle: *index, grams: counted(needle) }).collect()
}

/// Of each needle as many grams, one after the other, as a step is long: those that have the fewest places.
fn rarest(all: &[Grams], step: usize) -> Vec<Place> {
    let mut places = Vec::with_capacity(all.len() * step);
    for Grams { needle, grams } in all {
        let common = |grams: &[(u32, u32)]| grams.iter().map(|(_, shared)| shared).sum::<u32>();
        let best = grams.windows(step).enumerate().min_by_key(|(_, grams)| common(grams));
        let Some((start, grams)) = best else { continue };
        places.extend(grams.iter().zip(start as u32..).map(|((gram, _), at)| {
            Place { gram: *gram, needle: *needle, at } // below CHOICE_MAX
        }));
    }
    places
}

/// The most places that one gram has.
fn crowd(places: &[Place]) -> usize {
    let mut count: HashMap<u32, usize> = HashMap::new();
    places.iter().for_each(|place| *count.entry(place.gram).or_default() += 1);
    count.into_values().max().unwrap_or_default()
}

/// The first gram of a text, its letters small. Other bytes become each other's, too, which only costs a vain look.
#[inline(always)]
fn gram<const GRAM: usize>(text: &[u8]) -> Option<u32> {
    let bytes = text.first_chunk::<GRAM>()?;
    let mut word = [0; 4];
    word[..GRAM].copy_from_slice(bytes);
    Some(u32::from_le_bytes(word) | 0x2020_2020)
}

/// Spreads grams: the upper bits depend on all of them.
#[inline(always)]
fn hash(gram: u32) -> u32 {
    gram.wrapping_mul(0x9e37_79b1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(needles: &[(&str, bool)], text: &str) -> Vec<u32> {
        let needle = |&(text, any_case): &(&str, bool)| Needle { bytes: text.as_bytes().into(), any_case };
        let sieve = Sieve::new(needles.iter().map(needle).collect());
        let mut found = Vec::new();
        sieve.search(text.as_bytes(), &mut |needle| found.push(needle));
        found.sort_unstable();
        found.dedup();
        found
    }

    #[test]
    fn needles() {
        let needles = [("timeout", false), ("x", false), ("connection reset", true), ("503", false)];
        #[track_caller]
        fn check(needles: &[(&str, bool)], text: &str, want: &[u32]) {
            assert_eq!(found(needles, text), want, "{text}");
        }
        check(&needles, "", &[]);
        check(&needles, "timeout", &[0]);
        check(&needles, "Timeout", &[]);
        check(&needles, "a timeout, x", &[0, 1]);
        check(&needles, "Connection RESET by peer", &[2]);
        check(&needles, "connection rese", &[]);
        check(&needles, "50503", &[3]);
        check(&[("aaaaaaaaa", false), ("aaaaaaaa", false)], "aaaaaaaa", &[1]);
        check(&[("as long as a step may be", false)], "not as long as a step may be", &[0]);
        check(&[("A", true), ("timeout", true)], "a Time-Out, a TimeOut", &[0, 1]);
    }

    #[test]
    fn a_text_that_was_made_for_it_is_searched_to_its_end() {
        // A hundred needles that differ only behind what all of them have in common for as long as anybody looks.
        let needles: Vec<String> = (0..100).map(|at| format!("{}{at:03}", "ab".repeat(CHOICE_MAX))).collect();
        let needles: Vec<(&str, bool)> = needles.iter().map(|needle| (needle.as_str(), false)).collect();
        let text = format!("{}042", "ab".repeat(10_000));
        assert_eq!(found(&needles, &text), [42]);
        let sieve = Sieve::new(
            needles
                .iter()
                .map(|(text, _)| Needle { bytes: text.as_bytes().into(), any_case: false })
                .collect(),
        );
        let mut looks = sieve.looks_max(text.as_bytes());
        let is_done = sieve.long.search(&sieve.needles, text.as_bytes(), &mut looks, &mut |_| {});
        assert!(!is_done && looks == 0, "it was given up");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn as_if_each_was_searched_for(
            needles in prop::collection::vec(("[abAB\u{e4}]{1,12}", any::<bool>()), 0..40),
            text in "[abAB\u{e4}]{0,60}",
        ) {
            let needles: Vec<(&str, bool)> = needles.iter().map(|(text, case)| (text.as_str(), *case)).collect();
            let is_in = |(needle, any_case): &(&str, bool)| match any_case {
                true => text.to_ascii_lowercase().contains(&needle.to_ascii_lowercase()),
                false => text.contains(needle),
            };
            let want: Vec<u32> = (0..).zip(&needles).filter(|(_, one)| is_in(one)).map(|(at, _)| at).collect();
            prop_assert_eq!(found(&needles, &text), want);
        }
    }
}

//! The catalog: which entry, (stream, template), a line belongs to, and what is known of its template.
//!
//! Two tiers. Tier 0 asks the [`BodyCache`] for the whole text; tier 1 takes the masked [fingerprint](super::mask).
//! Invariant: an entry that is evicted is named to the caller, who closes its window; a count is never forgotten.
//! Limit: `templates_max` entries.
//!
//! Eviction is CLOCK (second chance) over a slab, not the linked list of the `lru` crate: a line that tier 0
//! recognises must still count as a use of its entry, and here that is one byte written at most once a round,
//! while a list would be relinked (three cache lines written) for each line of a storm.

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use hashbrown::HashTable;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use super::body_cache::BodyCache;
use super::enums::{self, Enums};
use super::family::{Families, Family, NO_FAMILY};
use super::mask::{Mask, Slots, TemplateId, template_id};
use super::subject::Subject;
use crate::engine::line::level::{self, Level};

/// An entry's place in the catalog; valid until the entry is evicted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub u32);

/// How a line stands to what was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// The same text came before in this stream.
    Repeat,
    /// The template came before.
    Known,
    /// The template came before, but one of its enum-like variables never had this value.
    NewValue,
}

/// A line's entry.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// The entry.
    pub entry: EntryId,
    /// How it was found.
    pub sighting: Sighting,
}

/// What is asked of the catalog about one line.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The line's stream, by its number.
    pub stream: u32,
    /// The line's text without a `\r` at its end.
    pub text: &'a [u8],
    /// Mixed into the body's identity: the hash of text that was cut off, else 0.
    pub salt: u64,
    /// Why the line's envelope could not be understood. Such lines have entries of their own: the first must not hide
    /// among whole lines that look like it.
    pub parse_error: Option<&'static str>,
    /// Whether the line may be folded. If not, nobody needs to know repeats and new values: tier 0 may be passed over
    /// when it does not pay, and values are not watched.
    pub foldable: bool,
}

/// What an entry is called across restarts: stream, template, and whether its envelopes could not be understood.
pub(super) type Origin = (u32, TemplateId, bool);

/// One (stream, template).
#[derive(Debug)]
pub struct Entry {
    pub(super) key: u64,
    /// The template's id, the same on every machine.
    pub template: TemplateId,
    /// The stream's number.
    pub stream: u32,
    pub(super) generation: u32,
    /// Lines ever found here.
    pub(super) lines: u64,
    pub(super) enums: Option<Box<Enums>>,
    /// All of its variables have had more values than an enum has: none is watched any more.
    pub(super) free: bool,
    /// Its first line's level.
    pub level: Option<Level>,
    /// The level stands in a variable (`<14>`, `"level":30`), so each line has its own.
    pub level_varies: bool,
    /// Why its lines' envelopes could not be understood.
    pub parse_error: Option<&'static str>,
    /// Whether its lines are warn or worse, or speak of failure.
    pub failing: bool,
    /// What a later stage has found in its first line, as bits; 0 when nothing.
    pub tags: u8,
    pub(super) touched: bool,
    pub(super) occupied: bool,
    /// The number of the family that it belongs to, or [`NO_FAMILY`].
    pub(super) family: u32,
    pub(super) as_family: Option<Box<Family>>,
}

/// The catalog.
#[derive(Debug)]
pub struct Catalog {
    mask: Mask,
    hasher: SeedableRandomState,
    bodies: BodyCache,
    patience: Patience,
    pub(super) index: HashTable<u32>,
    pub(super) entries: Vec<Entry>,
    free: Vec<u32>,
    /// Entries that an earlier process left and that no line of this one has met yet.
    pub(super) unclaimed: HashMap<Origin, u32>,
    pub(super) families: Families,
    /// Bytes of the families' patterns.
    pub(super) patterns: usize,
    hand: usize,
    entries_max: usize,
    /// Entries that there is room for now: `entries_max`, or fewer while memory is short.
    room: usize,
    pub(super) enums_held: usize,
    pub(super) ever: u64,
    /// Where the variables of the last masked line stand in its subject.
    slots: Slots,
    pub(super) subject: Subject,
    body_hash: u64,
    pub(super) fingerprint: u64,
    pub(super) canonical: Vec<u8>,
}

impl Catalog {
    /// An empty catalog for at most `entries_max` entries. `seed` must differ between processes, so that nobody can
    /// aim texts at one slot.
    pub fn new(entries_max: usize, seed: u64) -> Catalog {
        Catalog {
            mask: Mask::new(seed),
            hasher: SeedableRandomState::with_seed(seed, SharedSeed::global_fixed()),
            bodies: BodyCache::default(),
            patience: Patience::default(),
            index: HashTable::new(),
            entries: Vec::new(),
            free: Vec::new(),
            unclaimed: HashMap::new(),
            families: Families::new(seed),
            patterns: 0,
            hand: 0,
            entries_max: entries_max.max(1),
            room: entries_max.max(1),
            enums_held: 0,
            ever: 0,
            slots: Slots::default(),
            subject: Subject::default(),
            body_hash: 0,
            fingerprint: 0,
            canonical: Vec::new(),
        }
    }

    /// The entry that the line belongs to, or `None` when its template was never seen in this stream; then
    /// [`Catalog::insert`] may make one.
    #[inline(always)]
    pub fn find(&mut self, query: Query<'_>) -> Option<Found> {
        let ask = query.foldable || self.patience.asks();
        if ask {
            self.body_hash = self.hash_body(query);
            if let Some(body) = self.bodies.get(self.body_hash) {
                let entry = &mut self.entries[body.entry.0 as usize];
                if entry.generation == body.generation {
                    entry.touch();
                    self.patience.hit();
                    return Some(Found { entry: body.entry, sighting: Sighting::Repeat });
                }
            }
        }
        let found = self.find_template(query);
        if let (true, Some(found)) = (ask, found) {
            self.bodies.put(self.body_hash, found.entry, self.entries[found.entry.0 as usize].generation);
        }
        found
    }

    #[inline]
    fn find_template(&mut self, query: Query<'_>) -> Option<Found> {
        let fingerprint = self.mask.fingerprint(self.subject.of(query.text), &mut self.slots);
        self.fingerprint = key(fingerprint.0, query.origin());
        let wanted = self.fingerprint;
        let entries = &self.entries;
        let index = *self.index.find(wanted, |&index| entries[index as usize].key == wanted)?;
        Some(self.meet(index, query))
    }

    /// Another line of the entry at `index`, whose variables are in `slots`.
    #[inline]
    pub(super) fn meet(&mut self, index: u32, query: Query<'_>) -> Found {
        let entry = &mut self.entries[index as usize];
        let lines = entry.lines;
        entry.touch();
        let mut sighting = Sighting::Known;
        if query.foldable && !entry.free && !self.slots.as_slice().is_empty() {
            let enums = entry.enums.get_or_insert_with(|| {
                // Made with the second text, so that a flood of templates that come once costs nothing. Every line
                // until now was the first one again, so what differs in this one was constant.
                self.enums_held += 1;
                if lines >= enums::LINES_MIN {
                    sighting = Sighting::NewValue;
                }
                Box::default()
            });
            if enums.observe(self.subject.last(query.text), &self.slots, lines) {
                sighting = Sighting::NewValue;
            }
            if !enums.is_watching(&self.slots) {
                entry.enums = None;
                entry.free = true;
                self.enums_held -= 1;
            }
        }
        Found { entry: EntryId(index), sighting }
    }

    /// Makes an entry for the line that [`Catalog::find`] has just not found. When the catalog is full, another
    /// entry must be [evicted](Catalog::victim) first.
    pub fn insert(&mut self, query: Query<'_>) -> EntryId {
        let subject = self.subject.last(query.text);
        let template = template_id(subject, &mut self.canonical);
        let level = level::detect(subject).or_else(|| level::detect(query.text));
        let level_varies = level.is_some() && level::detect(&self.canonical) != level;
        let index = self.place();
        let entry = &mut self.entries[index as usize];
        *entry = Entry {
            key: self.fingerprint,
            template,
            stream: query.stream,
            // 0 stands for "no body" in the cache.
            generation: entry.generation.wrapping_add(1).max(1),
            lines: 1,
            enums: None,
            free: false,
            level,
            level_varies,
            parse_error: query.parse_error,
            failing: level.is_some_and(Level::is_warn_or_worse) || level::speaks_of_failure(query.text),
            tags: 0,
            touched: true,
            occupied: true,
            family: NO_FAMILY,
            as_family: None,
        };
        let entries = &self.entries;
        self.index.insert_unique(self.fingerprint, index, |&other| entries[other as usize].key);
        self.ever += 1;
        self.remember_body(query, index);
        EntryId(index)
    }

    /// Where a new entry goes.
    pub(super) fn place(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry::vacant());
            (self.entries.len() - 1) as u32 // at most `entries_max`, which config bounds far below 2^32
        })
    }

    /// The place that [`Catalog::place`] has just given is not needed.
    pub(super) fn give_back(&mut self, index: u32) {
        self.free.push(index);
    }

    /// The entry that should leave to make room, if the catalog is full: the first one that the hand meets which was
    /// not used since it last came by.
    pub fn victim(&mut self) -> Option<EntryId> {
        if self.len() < self.room {
            return None;
        }
        self.coldest()
    }

    /// Memory is short: from now on a new entry takes the place of another one.
    pub fn stop_growing(&mut self) {
        self.room = self.len().clamp(1, self.room);
    }

    /// Memory suffices again.
    pub fn may_grow(&mut self) {
        self.room = self.entries_max;
    }

    /// The entry that was not used for the longest time, about.
    pub fn coldest(&mut self) -> Option<EntryId> {
        // Two rounds always find one: the first clears every mark.
        for _ in 0..self.entries.len() * 2 {
            self.hand = (self.hand + 1) % self.entries.len();
            let entry = &mut self.entries[self.hand];
            if entry.occupied && !std::mem::take(&mut entry.touched) {
                return Some(EntryId(self.hand as u32));
            }
        }
        None
    }

    /// All entries of a stream.
    pub fn entries_of(&self, stream: u32) -> Vec<EntryId> {
        let own = |(index, entry): (usize, &Entry)| {
            (entry.occupied && entry.stream == stream).then_some(EntryId(index as u32))
        };
        self.entries.iter().enumerate().filter_map(own).collect()
    }

    /// Forgets an entry. The caller has closed its window.
    pub fn evict(&mut self, id: EntryId) {
        let entry = &mut self.entries[id.0 as usize];
        if !std::mem::take(&mut entry.occupied) {
            return;
        }
        // A new generation, so that bodies in the cache do not lead here any more.
        entry.generation = entry.generation.wrapping_add(1).max(1);
        if entry.enums.take().is_some() {
            self.enums_held -= 1;
        }
        entry.family = NO_FAMILY;
        if entry.as_family.is_some() {
            self.disband(id);
        } else if self.unclaimed.get(&entry.origin()) == Some(&id.0) {
            self.unclaimed.remove(&entry.origin());
        } else if let Ok(found) = self.index.find_entry(entry.key, |&index| index == id.0) {
            found.remove();
        }
        self.free.push(id.0);
    }

    /// What is known of an entry.
    #[inline]
    pub fn entry(&self, id: EntryId) -> &Entry {
        &self.entries[id.0 as usize]
    }

    /// The masked text of the entry that was made last.
    pub fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// Keeps what a later stage has found in the first line of an entry.
    pub fn tag(&mut self, id: EntryId, tags: u8) {
        self.entries[id.0 as usize].tags = tags;
    }

    /// Entries in the catalog.
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries ever made.
    pub fn ever(&self) -> u64 {
        self.ever
    }

    /// Bytes of memory in use.
    pub fn size(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
            + self.index.capacity() * (size_of::<u32>() + 1)
            + self.enums_held * size_of::<Enums>()
            + self.bodies.size()
            + self.families.size()
            + self.patterns
            + self.unclaimed.capacity() * size_of::<(Origin, u32)>()
    }

    /// The subject of `text` and the variables in it: those that the last [`Catalog::find`] met, when it came down to
    /// tier 1.
    pub fn slots<'s>(&'s mut self, text: &'s [u8], sighting: Sighting) -> (&'s [u8], &'s Slots) {
        if sighting == Sighting::Repeat {
            self.mask.fingerprint(self.subject.of(text), &mut self.slots);
        }
        (self.subject.last(text), &self.slots)
    }

    /// Whether the body that [`Catalog::find`] has just met was already [marked](Catalog::mark_body) with `window`.
    #[inline]
    pub fn body_is_marked(&self, window: u32) -> bool {
        self.bodies.window(self.body_hash) == window
    }

    /// Marks the body that [`Catalog::find`] has just met: `window` has taken in its values.
    #[inline]
    pub fn mark_body(&mut self, window: u32) {
        self.bodies.set_window(self.body_hash, window);
    }

    /// Remembers the body of the line that [`Catalog::find`] has just not found.
    pub(super) fn remember_body(&mut self, query: Query<'_>, index: u32) {
        // `find` may have passed tier 0 over; then its hash is an older line's.
        self.body_hash = self.hash_body(query);
        self.bodies.put(self.body_hash, EntryId(index), self.entries[index as usize].generation);
    }

    #[inline]
    fn hash_body(&self, query: Query<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u64(query.salt ^ query.origin());
        hasher.write(query.text);
        hasher.finish()
    }
}

impl Query<'_> {
    /// What tells apart entries of the same template.
    #[inline]
    fn origin(&self) -> u64 {
        u64::from(self.stream) | u64::from(self.parse_error.is_some()) << 32
    }
}

impl Entry {
    pub(super) fn vacant() -> Entry {
        Entry {
            key: 0,
            template: TemplateId(0),
            stream: 0,
            generation: 0,
            lines: 0,
            enums: None,
            free: false,
            level: None,
            level_varies: false,
            parse_error: None,
            failing: false,
            tags: 0,
            touched: false,
            occupied: false,
            family: NO_FAMILY,
            as_family: None,
        }
    }

    pub(super) fn origin(&self) -> Origin {
        (self.stream, self.template, self.parse_error.is_some())
    }

    #[inline]
    fn touch(&mut self) {
        self.lines += 1;
        self.touched = true;
    }
}

/// The same template in two streams is two entries.
#[inline]
fn key(fingerprint: u64, origin: u64) -> u64 {
    fingerprint.wrapping_add(origin.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Turns tier 0 off while it finds nothing, for callers that do not need to know repeats.
#[derive(Debug, Default)]
struct Patience {
    asked: u32,
    hits: u32,
    /// Lines to pass over before tier 0 is tried again.
    rest: u32,
}

impl Patience {
    /// Lines after which the balance is drawn.
    const TRIAL: u32 = 1024;
    /// Hits in a trial below which hashing every body costs more than it saves: one in 16.
    const HITS_MIN: u32 = Self::TRIAL / 16;
    /// Lines without tier 0 after a trial that did not pay.
    const REST: u32 = 64 * 1024;

    #[inline]
    fn asks(&mut self) -> bool {
        if self.rest > 0 {
            self.rest -= 1;
            return false;
        }
        self.asked += 1;
        if self.asked == Self::TRIAL {
            self.rest = if self.hits < Self::HITS_MIN { Self::REST } else { 0 };
            (self.asked, self.hits) = (0, 0);
        }
        true
    }

    #[inline]
    fn hit(&mut self) {
        self.hits = self.hits.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query<'_> {
        Query { stream: 0, text: text.as_bytes(), salt: 0, parse_error: None, foldable: true }
    }

    fn seen(catalog: &mut Catalog, query: Query<'_>) -> Option<Sighting> {
        let found = catalog.find(query).map(|found| found.sighting);
        if found.is_none() {
            if let Some(victim) = catalog.victim() {
                catalog.evict(victim);
            }
            catalog.insert(query);
        }
        found
    }

    #[test]
    fn sightings() {
        let mut catalog = Catalog::new(10, 1);
        assert_eq!(seen(&mut catalog, query("took 5 ms")), None);
        assert_eq!(seen(&mut catalog, query("took 5 ms")), Some(Sighting::Repeat));
        assert_eq!(seen(&mut catalog, query("took 6 ms")), Some(Sighting::Known));
        assert_eq!(seen(&mut catalog, query("took 6 ms")), Some(Sighting::Repeat));
        assert_eq!(seen(&mut catalog, Query { stream: 1, ..query("took 6 ms") }), None, "another stream");
        assert_eq!(
            seen(&mut catalog, Query { salt: 9, ..query("took 6 ms") }),
            Some(Sighting::Known),
            "another tail"
        );
        assert_eq!(catalog.len(), 2);
    }

    #[test]
    fn the_cold_leave_first_and_take_their_bodies_along() {
        let mut catalog = Catalog::new(3, 1);
        for text in ["a", "b", "c"] {
            seen(&mut catalog, query(text));
        }
        seen(&mut catalog, query("d")); // every mark is cleared on the way; one of a, b, c leaves
        let kept: Vec<&str> =
            ["a", "b", "c"].into_iter().filter(|text| catalog.find(query(text)).is_some()).collect();
        assert_eq!(kept.len(), 2);
        for _ in 0..10 {
            for text in &kept {
                assert_eq!(seen(&mut catalog, query(text)), Some(Sighting::Repeat));
            }
        }
        assert_eq!(catalog.len(), 3);
    }

    #[test]
    fn a_new_status_is_another_template_and_a_new_value_is_told() {
        let mut catalog = Catalog::new(10, 1);
        for line in 0..200 {
            seen(&mut catalog, query(&format!("worker {} left slot 1{}", 5000 + line, line % 2)));
        }
        assert_eq!(seen(&mut catalog, query("worker 9999 left slot 1137")), Some(Sighting::NewValue));
    }

    #[test]
    fn patience_ends_and_returns() {
        let mut patience = Patience::default();
        let asked = (0..100_000).filter(|_| patience.asks()).count();
        assert!(asked < 3_000, "{asked}");
    }

    #[test]
    fn memory_is_bounded() {
        let mut catalog = Catalog::new(1_000, 1);
        for line in 0..50_000u32 {
            let letters: String =
                (0..4).map(|at| (b'a' + (line / 26u32.pow(at) % 26) as u8) as char).collect();
            seen(&mut catalog, query(&format!("unique {letters} event {line}")));
        }
        assert_eq!(catalog.len(), 1_000);
        assert!(catalog.size() < 600_000, "{}", catalog.size());
    }
}

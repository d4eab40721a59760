//! Tier 2: families, templates that differ in one word of letters (`Invalid user <*> from <*>`).
//!
//! A family is an entry of the catalog like any other, with a pattern in place of a template. Its members are entries
//! too: each keeps its fingerprint, its template, the values of its own variables (so the guard of
//! [enums](super::enums) means the same as ever), and points at the family. The lines of all members are counted with
//! the family: first lines, rate, windows, summaries. So a thousand user names cost a thousand first lines and one summary
//! an interval.
//!
//! Invariant: a family never hides a template: the first line of each is sent, whether it has a family or not.
//! A family that is evicted leaves its members as they were before; a member that is evicted is a new template again.
//! Limits: members and families are entries, so `templates_max` bounds both; a template belongs to one family, which
//! varies in one place.

mod table;
mod words;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128_with_seed;

pub(super) use self::table::{Families, Seed, Traits};
pub use self::table::{Founding, SEEDS};
use self::table::{Kinship, WILD};
use super::catalog::{Catalog, Entry, EntryId};
use super::mask::{ESCAPE, SENTINEL, TemplateId};

/// What makes an entry a family.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Family {
    /// The canonical text, with a mark of its own where the members differ.
    pattern: Vec<u8>,
    /// Templates that joined. One that was forgotten and comes back joins again.
    pub members: u64,
    /// Whether the variables of all members stand in the same places, so that what is said of the numbers in them is
    /// said of one variable each. Not so where the word that differs holds variables itself.
    pub is_aligned: bool,
}

impl Family {
    /// The pattern for people: `<*>` for each variable and for the word that differs.
    pub fn shown(&self) -> Vec<u8> {
        shown(&self.pattern)
    }
}

/// A canonical text or a pattern, for people: `<*>` for each variable.
pub fn shown(canonical: &[u8]) -> Vec<u8> {
    let mut shown = Vec::with_capacity(canonical.len() + 16);
    let mut bytes = canonical.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            SENTINEL | WILD => shown.extend_from_slice(b"<*>"),
            ESCAPE => shown.extend(bytes.next()),
            _ => shown.push(byte),
        }
    }
    shown
}

/// The id of a family: equal on every host that has it. The level and whether its lines fail are part of it, because
/// they are part of what its members have in common; the seed keeps it apart from the ids of templates.
fn family_id(pattern: &[u8], traits: Traits) -> TemplateId {
    let level = traits.level.map_or(0, |level| 1 + level as u8);
    let marks = [level, u8::from(traits.level_varies), u8::from(traits.failing)];
    TemplateId(xxh3_128_with_seed(&[pattern, &marks].concat(), FAMILY_SEED))
}

/// The version of the rule by which families are made. It is part of each [`family_id`].
const FAMILY_SEED: u64 = u64::from_le_bytes(*b"family.1");

/// In place of a family's number, for entries without one.
pub(super) const NO_FAMILY: u32 = u32::MAX;

impl Entry {
    pub(super) fn traits(&self) -> Traits {
        Traits {
            stream: self.stream,
            parse_error: self.parse_error.is_some(),
            level: self.level.filter(|_| !self.level_varies),
            level_varies: self.level_varies,
            failing: self.failing,
        }
    }

    /// The family that this entry belongs to.
    #[inline]
    pub fn family(&self) -> Option<EntryId> {
        (self.family != NO_FAMILY).then_some(EntryId(self.family))
    }

    /// What makes this entry a family, if it is one.
    #[inline]
    pub fn as_family(&self) -> Option<&Family> {
        self.as_family.as_deref()
    }
}

impl Catalog {
    /// Finds the kin of the entry that [`Catalog::insert`] has just made. It joins a family that it belongs to. When it
    /// makes a new one with others, that is handed back, to be [founded](Catalog::found).
    pub fn relate(&mut self, entry: EntryId) -> Option<Founding> {
        let Entry { generation, .. } = self.entries[entry.0 as usize];
        let traits = self.entries[entry.0 as usize].traits();
        let entries = &self.entries;
        let is_alive = |seed: Seed| is_alive(entries, seed);
        match self.families.find(&self.canonical, traits, Seed { entry, generation }, is_alive) {
            Kinship::None => None,
            Kinship::Member { family, is_aligned } => {
                self.adopt(entry, family);
                if let Some(family) = &mut self.entries[family.0 as usize].as_family {
                    family.is_aligned &= is_aligned;
                }
                None
            }
            Kinship::Founding(founding) => Some(founding),
        }
    }

    /// Makes a family. When the catalog is full, another entry must be [evicted](Catalog::victim) first. Its seeds are
    /// not members yet: those that are free to join are to be [adopted](Catalog::adopt). `None` when too few of them are
    /// left.
    pub fn found(&mut self, founding: Founding) -> Option<(EntryId, Vec<EntryId>)> {
        let Founding { key, pattern, mut seeds, is_aligned } = founding;
        seeds.retain(|seed| is_alive(&self.entries, *seed));
        let first = self.entries.get(seeds.first()?.entry.0 as usize)?;
        let (traits, parse_error, level) = (first.traits(), first.parse_error, first.level);
        let index = self.place();
        if !self.families.insert(key, EntryId(index)) {
            self.give_back(index);
            return None;
        }
        self.patterns += pattern.len();
        let generation = self.entries[index as usize].generation.wrapping_add(1).max(1);
        self.entries[index as usize] = Entry {
            key,
            template: family_id(&pattern, traits),
            stream: traits.stream,
            generation,
            level,
            level_varies: traits.level_varies,
            parse_error,
            failing: traits.failing,
            touched: true,
            occupied: true,
            as_family: Some(Box::new(Family { pattern, members: 0, is_aligned })),
            ..Entry::vacant()
        };
        Some((EntryId(index), seeds.into_iter().map(|seed| seed.entry).collect()))
    }

    /// Counts the lines of `member` with `family` from now on.
    pub fn adopt(&mut self, member: EntryId, family: EntryId) {
        self.entries[member.0 as usize].family = family.0;
        if let Some(family) = &mut self.entries[family.0 as usize].as_family {
            family.members += 1;
        }
    }

    /// The entry that lines of `entry` are counted with: its family, or itself.
    #[inline]
    pub fn counted(&mut self, entry: EntryId) -> EntryId {
        let family = self.entries[entry.0 as usize].family;
        if family == NO_FAMILY {
            return entry;
        }
        self.entries[family as usize].touched = true;
        EntryId(family)
    }

    /// Takes back a family that an earlier process had. False when it is here already.
    pub(super) fn take_back_family(&mut self, index: u32, family: Family) -> bool {
        let traits = self.entries[index as usize].traits();
        let key = self.families.key_of(&family.pattern, traits);
        if !self.families.insert(key, EntryId(index)) {
            return false;
        }
        self.patterns += family.pattern.len();
        let entry = &mut self.entries[index as usize];
        entry.key = key;
        entry.as_family = Some(Box::new(family));
        true
    }

    /// A family leaves: its members stand for themselves again.
    pub(super) fn disband(&mut self, family: EntryId) {
        let entry = &mut self.entries[family.0 as usize];
        let Some(gone) = entry.as_family.take() else { return };
        self.patterns -= gone.pattern.len();
        self.families.remove(entry.key);
        for entry in &mut self.entries {
            if entry.family == family.0 {
                entry.family = NO_FAMILY;
            }
        }
    }
}

fn is_alive(entries: &[Entry], seed: Seed) -> bool {
    let entry = entries.get(seed.entry.0 as usize);
    entry.is_some_and(|entry| entry.occupied && entry.generation == seed.generation)
}

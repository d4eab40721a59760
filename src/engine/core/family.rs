//! Families: a new template is counted with others that it differs from in one word.

use super::Core;
use crate::engine::line::Line;
use crate::engine::storm::window::ClosedBy;
use crate::engine::template::catalog::EntryId;

impl Core {
    /// Finds the family of an entry that was just made, and makes one where it is time to. The entry that its lines are
    /// counted with from now on.
    pub(super) fn join_family(&mut self, entry: EntryId, line: &Line<'_>) -> EntryId {
        if !self.limits.families {
            return entry;
        }
        if let Some(founding) = self.catalog.relate(entry) {
            match self.catalog.victim() {
                // The only one that could leave is the one that came: there is no room for a family.
                Some(victim) if victim == entry => return entry,
                Some(victim) => self.evict(victim, ClosedBy::Evicted),
                None => {}
            }
            if let Some((family, seeds)) = self.catalog.found(founding) {
                self.chronicle_begins(family, line.text, line);
                let tags = seeds.iter().map(|seed| self.catalog.entry(*seed).tags);
                self.catalog.tag(family, tags.fold(u8::MAX, |all, own| all & own));
                // Its first lines are those of its seeds.
                self.storms.begin_known(family, line.log_time);
                for seed in seeds {
                    // Lines in an open window stay where they are, and so do those that come until it is over.
                    if !self.storms.is_open(seed) {
                        self.catalog.adopt(seed, family);
                    }
                }
            }
        }
        let counted = self.catalog.counted(entry);
        // A loop is a loop whatever the names in it, but the family speaks only of what all its members speak of.
        let tags = self.catalog.entry(counted).tags & self.catalog.entry(entry).tags;
        self.catalog.tag(counted, tags);
        counted
    }
}

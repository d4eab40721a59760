//! What the catalog keeps over a restart: the entries that are in an episode.
//!
//! Fingerprints are seeded per process, so an entry that comes back has none. It waits under its template's id, which
//! never changes, until a line of this process has that id, and is found by fingerprint from then on.
//! Limit: a line whose fingerprint is unknown costs a template id more while entries wait: about a microsecond.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::catalog::{Catalog, Entry, EntryId, Found, Query};
use super::enums::{Enums, SLOTS, VALUES_MAX};
use super::family::Family;
use super::mask::{TemplateId, template_id};
use crate::engine::line::level::Level;

/// What is kept of an entry besides its stream and its template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptEntry<'a> {
    lines: u64,
    free: bool,
    level: Option<Level>,
    level_varies: bool,
    failing: bool,
    /// Why its lines' envelopes could not be understood.
    pub parse_error: Option<&'a str>,
    enums: Option<KeptEnums>,
    /// What makes it a family: its members are found again by this.
    family: Option<Cow<'a, Family>>,
}

/// The values seen of an entry's variables, by their hashes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct KeptEnums {
    watched: u8,
    used: [u8; SLOTS],
    /// Those of the first variable, then those of the second …
    values: Vec<u32>,
}

impl KeptEnums {
    fn of(enums: &Enums) -> KeptEnums {
        let values = enums.values.iter().zip(enums.used);
        KeptEnums {
            watched: enums.watched,
            used: enums.used,
            values: values.flat_map(|(values, used)| &values[..usize::from(used)]).copied().collect(),
        }
    }

    /// `None` where the numbers do not fit together.
    fn into_enums(self) -> Option<Box<Enums>> {
        let mut enums = Box::new(Enums { watched: self.watched, used: self.used, ..Enums::default() });
        let mut rest = self.values.as_slice();
        for (slot, used) in self.used.into_iter().enumerate() {
            let (own, others) = rest.split_at_checked(usize::from(used))?;
            enums.values[slot].get_mut(..own.len())?.copy_from_slice(own);
            rest = others;
        }
        Some(enums)
    }
}

const _: () = assert!(VALUES_MAX <= u8::MAX as usize, "`used` counts them in a byte");

impl Entry {
    /// This entry, to be written down.
    pub fn kept(&self) -> KeptEntry<'_> {
        KeptEntry {
            lines: self.lines,
            free: self.free,
            level: self.level,
            level_varies: self.level_varies,
            failing: self.failing,
            parse_error: self.parse_error,
            enums: self.enums.as_deref().map(KeptEnums::of),
            family: self.as_family().map(Cow::Borrowed),
        }
    }
}

/// Which entry comes back.
#[derive(Clone, Copy, Debug)]
pub struct Returned {
    /// The stream's number in this process.
    pub stream: u32,
    /// The template.
    pub template: TemplateId,
    /// Why its lines' envelopes could not be understood.
    pub parse_error: Option<&'static str>,
}

impl Catalog {
    /// Takes an entry back that waits for its first line in this process. When the catalog is full, another entry must
    /// be [evicted](Catalog::victim) first. `None` when it waits already.
    pub fn take_back(&mut self, returned: Returned, kept: KeptEntry<'_>) -> Option<EntryId> {
        let Returned { stream, template, parse_error } = returned;
        let origin = (stream, template, parse_error.is_some());
        if kept.family.is_none() && self.unclaimed.contains_key(&origin) {
            return None;
        }
        let index = self.place();
        let enums = kept.enums.and_then(KeptEnums::into_enums);
        self.enums_held += usize::from(enums.is_some());
        let entry = &mut self.entries[index as usize];
        *entry = Entry {
            template,
            stream,
            generation: entry.generation.wrapping_add(1).max(1),
            lines: kept.lines,
            enums,
            free: kept.free,
            level: kept.level,
            level_varies: kept.level_varies,
            parse_error,
            failing: kept.failing,
            touched: true,
            occupied: true,
            ..Entry::vacant()
        };
        let Some(family) = kept.family else {
            self.unclaimed.insert(origin, index);
            return Some(EntryId(index));
        };
        if self.take_back_family(index, family.into_owned()) {
            return Some(EntryId(index));
        }
        self.evict(EntryId(index));
        None
    }

    /// The entry that waits for the line that [`Catalog::find`] has just not found, if one does.
    pub fn claim(&mut self, query: Query<'_>) -> Option<Found> {
        if self.unclaimed.is_empty() {
            return None;
        }
        let template = template_id(self.subject.last(query.text), &mut self.canonical);
        let index = self.unclaimed.remove(&(query.stream, template, query.parse_error.is_some()))?;
        self.entries[index as usize].key = self.fingerprint;
        let entries = &self.entries;
        self.index.insert_unique(self.fingerprint, index, |&other| entries[other as usize].key);
        let found = self.meet(index, query);
        self.remember_body(query, index);
        Some(found)
    }

    /// How many entries were ever made before this process.
    pub fn carry_in(&mut self, ever: u64) {
        self.ever += ever;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::template::catalog::Sighting;

    fn query(text: &str) -> Query<'_> {
        Query { stream: 3, text: text.as_bytes(), salt: 0, parse_error: None, foldable: true }
    }

    fn see(catalog: &mut Catalog, text: &str) -> Option<Sighting> {
        let found = catalog.find(query(text)).or_else(|| catalog.claim(query(text)));
        if found.is_none() {
            catalog.insert(query(text));
        }
        found.map(|found| found.sighting)
    }

    /// A catalog of another process, with the one entry of `old`.
    fn restarted(old: &Catalog, stream: u32) -> Catalog {
        let entry = old.entry(EntryId(0));
        let bytes = postcard::to_stdvec(&entry.kept()).expect("plain data");
        let kept: KeptEntry<'_> = postcard::from_bytes(&bytes).expect("as it was written");
        let mut new = Catalog::new(10, 99);
        let returned = Returned { stream, template: entry.template, parse_error: None };
        assert!(new.take_back(returned, kept.clone()).is_some());
        assert!(new.take_back(returned, kept).is_none(), "once only");
        new
    }

    #[test]
    fn an_entry_that_comes_back_is_known() {
        let mut old = Catalog::new(10, 1);
        for line in 0..100 {
            see(&mut old, &format!("worker {} left slot 1{}", 5000 + line, line % 2));
        }
        let mut new = restarted(&old, 3);
        assert_eq!(new.len(), 1);
        assert_eq!(see(&mut new, "worker 1 left slot 10"), Some(Sighting::Known));
        assert_eq!(see(&mut new, "worker 1 left slot 10"), Some(Sighting::Repeat));
        assert_eq!(see(&mut new, "worker 2 left slot 11"), Some(Sighting::Known), "by its fingerprint");
        assert_eq!(
            see(&mut new, "worker 2 left slot 17"),
            Some(Sighting::NewValue),
            "its values are known too"
        );
        assert_eq!(new.len(), 1);
        assert_eq!(
            see(&mut restarted(&old, 3), "worker 2 left slot 17"),
            Some(Sighting::NewValue),
            "also at once"
        );
        assert_eq!(see(&mut restarted(&old, 4), "worker 1 left slot 10"), None, "another stream's");
    }

    #[test]
    fn an_entry_that_waits_can_leave() {
        let mut old = Catalog::new(10, 1);
        see(&mut old, "took 5 ms");
        let mut new = restarted(&old, 3);
        new.evict(EntryId(0));
        assert!(new.is_empty() && new.unclaimed.is_empty());
        assert_eq!(see(&mut new, "took 5 ms"), None);
        assert_eq!(see(&mut new, "took 6 ms"), Some(Sighting::Known));
    }

    #[test]
    fn values_that_do_not_fit_are_forgotten() {
        let enums = KeptEnums { used: [200; SLOTS], watched: 255, values: vec![0; 2000] };
        assert!(enums.into_enums().is_none());
        let enums = KeptEnums { used: [2; SLOTS], watched: 255, values: vec![0; 3] };
        assert!(enums.into_enums().is_none());
    }
}

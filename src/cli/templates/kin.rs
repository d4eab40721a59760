//! The families among the templates of a file, found as the engine finds them, but looked at when all is read.

use crate::engine::template::catalog::{Catalog, EntryId, Query};
use crate::engine::template::family::Family;
use crate::engine::template::mask::TemplateId;

/// The families of one table.
pub(super) struct Kin {
    catalog: Catalog,
}

impl Kin {
    /// Room for this many templates, and as many families as they can make.
    pub(super) fn new(templates_max: usize) -> Kin {
        Kin { catalog: Catalog::new(templates_max * 2, 0) }
    }

    /// Takes in the first line of a template.
    pub(super) fn take(&mut self, text: &[u8], parse_error: Option<&'static str>) -> EntryId {
        let query = Query { stream: 0, text, salt: 0, parse_error, foldable: false };
        if let Some(found) = self.catalog.find(query) {
            return found.entry;
        }
        let entry = self.catalog.insert(query);
        let founding = self.catalog.relate(entry);
        let founded = founding.and_then(|founding| self.catalog.found(founding));
        if let Some((family, seeds)) = founded {
            seeds.into_iter().for_each(|seed| self.catalog.adopt(seed, family));
        }
        entry
    }

    /// The family of a template, as it is known now.
    pub(super) fn family(&self, entry: EntryId) -> Option<(TemplateId, &Family)> {
        let family = self.catalog.entry(self.catalog.entry(entry).family()?);
        Some((family.template, family.as_family()?))
    }
}

//! Templates: one name for a text, whatever the processor and the history; and no first line of a name is ever hidden.

use std::collections::{HashMap, HashSet};

use squall::engine::template::catalog::{Catalog, EntryId, Query, Sighting};
use squall::engine::template::mask::{Mask, Slots, TEXT_MAX, TemplateId, template_id};
use squall::engine::template::subject::Subject;

/// Few, so that entries are evicted all the time; and a few more, which is enough for a family.
const ENTRIES_MAX: [usize; 2] = [5, 12];
const SEED: u64 = 7;

/// Each line of `bytes` is a text.
pub fn template(bytes: &[u8]) {
    let texts: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let (mut canonicals, mut fingerprints) = (HashMap::new(), HashMap::new());
    for text in &texts {
        let (fingerprint, canonical) = every_way_agrees(text);
        let known = canonicals.entry(fingerprint).or_insert_with(|| canonical.clone());
        assert_eq!(*known, canonical, "two templates have one fingerprint: {}", text.escape_ascii());
        let known = *fingerprints.entry(canonical).or_insert(fingerprint);
        assert_eq!(known, fingerprint, "one template has two fingerprints: {}", text.escape_ascii());
    }
    ENTRIES_MAX.into_iter().for_each(|room| the_table_hides_no_first_line(&texts, room));
}

/// The fingerprint and the canonical text.
fn every_way_agrees(text: &[u8]) -> (u64, Vec<u8>) {
    let (mut slots, mut other_slots) = (Slots::default(), Slots::default());
    let fingerprint = Mask::new(SEED).fingerprint(text, &mut slots);
    assert_eq!(Mask::portable(SEED).fingerprint(text, &mut other_slots), fingerprint);
    assert_eq!(slots, other_slots);
    Mask::new(SEED + 1).fingerprint(text, &mut other_slots);
    assert_eq!(slots, other_slots, "variables do not depend on the seed");

    let mut end = 0;
    for slot in slots.as_slice() {
        assert!(end <= slot.start && slot.start < slot.end, "variables stand in order: {slots:?}");
        end = slot.end;
    }
    assert!(end as usize <= text.len().min(TEXT_MAX));

    let (id, canonical) = named(text);
    assert_eq!(named(text), (id, canonical.clone()));
    let ended = [text, b"\r"].concat();
    if !text.ends_with(b"\r") && text.len() <= TEXT_MAX {
        assert_eq!(named(&ended).0, id, "the end of a line is no part of its text");
    }
    (fingerprint.0, canonical)
}

fn named(text: &[u8]) -> (TemplateId, Vec<u8>) {
    let mut canonical = Vec::new();
    let id = template_id(text, &mut canonical);
    (id, canonical)
}

/// What tells entries apart: the stream, the template, and whether the envelope was understood.
type Key = (u32, TemplateId, bool);

/// The catalog against a map that forgets only what the catalog says that it forgets.
fn the_table_hides_no_first_line(texts: &[&[u8]], room: usize) {
    let mut catalog = Catalog::new(room, SEED);
    let mut model: HashMap<Key, EntryId> = HashMap::new();
    let mut bodies: HashSet<(Key, &[u8])> = HashSet::new();
    let mut subject = Subject::default();
    let mut families: HashSet<EntryId> = HashSet::new();
    for text in texts {
        // The first byte says where the text comes from.
        let (control, text) = text.split_first().map_or((0, *text), |(control, text)| (*control, text));
        let parse_error = (control & 4 != 0).then_some("for a test");
        let query =
            Query { stream: u32::from(control & 1), text, salt: 0, parse_error, foldable: control & 2 == 0 };
        let subject = subject.of(text);
        let key = (query.stream, named(subject).0, parse_error.is_some());
        match catalog.find(query) {
            Some(found) => {
                assert_eq!(model.get(&key), Some(&found.entry), "a first line was taken for {found:?}");
                assert_eq!(catalog.entry(found.entry).template, key.1);
                let was_seen = bodies.contains(&(key, text));
                assert!(found.sighting != Sighting::Repeat || was_seen, "a new text was taken for a repeat");
            }
            None => {
                assert_eq!(model.get(&key), None, "a known template was taken for a new one");
                let mut make_room = |catalog: &mut Catalog, model: &mut HashMap<Key, EntryId>| {
                    while let Some(victim) = catalog.victim() {
                        catalog.evict(victim);
                        families.remove(&victim);
                        model.retain(|_, entry| *entry != victim);
                        bodies.retain(|(key, _)| model.contains_key(key));
                    }
                };
                make_room(&mut catalog, &mut model);
                let entry = catalog.insert(query);
                model.insert(key, entry);
                if let Some(founding) = catalog.relate(entry) {
                    make_room(&mut catalog, &mut model);
                    if let Some((family, seeds)) = catalog.found(founding) {
                        families.insert(family);
                        seeds.into_iter().for_each(|seed| catalog.adopt(seed, family));
                    }
                }
            }
        }
        bodies.insert((key, text));
        assert_eq!(catalog.len(), model.len() + families.len());
        for entry in model.values() {
            let counted = catalog.counted(*entry);
            assert!(counted == *entry || families.contains(&counted), "counted with an entry that is gone");
        }
    }
}

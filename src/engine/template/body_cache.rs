//! Tier 0: recognises a body that was seen before, byte for byte, in one probe.
//!
//! Direct-mapped: a newer body takes the place of an older one, so a repeat may be missed but never invented. Bodies
//! are compared by a 64-bit hash that is seeded per process; two different bodies share it with probability 2^-64,
//! which is far below that of a memory error, and nobody outside can aim for it.

use super::catalog::EntryId;

/// Slots: 4,096 × 24 bytes. Larger caches gained nothing on the incident, and this one stays in the second level.
const SLOTS: usize = 4096;

/// What is remembered of a body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Body {
    hash: u64,
    /// The entry it belongs to.
    pub entry: EntryId,
    /// The entry's generation when it was stored; another one means that the entry has been evicted since.
    pub generation: u32,
    /// The number of the window that last took in this body's values, cut to 32 bits.
    pub window: u32,
}

/// The cache.
#[derive(Debug)]
pub struct BodyCache {
    slots: Box<[Body]>,
}

impl Default for BodyCache {
    fn default() -> Self {
        BodyCache { slots: vec![Body::default(); SLOTS].into_boxed_slice() }
    }
}

impl BodyCache {
    /// The body with this hash.
    #[inline]
    pub fn get(&mut self, hash: u64) -> Option<&mut Body> {
        let slot = &mut self.slots[index(hash)];
        (slot.hash == hash && slot.generation != 0).then_some(slot)
    }

    /// Remembers a body.
    #[inline]
    pub fn put(&mut self, hash: u64, entry: EntryId, generation: u32) {
        self.slots[index(hash)] = Body { hash, entry, generation, window: 0 };
    }
}

#[inline]
fn index(hash: u64) -> usize {
    (hash >> 52) as usize % SLOTS
}

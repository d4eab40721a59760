//! Tier 0: recognises a body that was seen before, byte for byte, in one probe.
//!
//! Direct-mapped: a newer body takes the place of an older one, so a repeat may be missed but never invented. Bodies
//! are compared by a 64-bit hash that is seeded per process; two different bodies share it with probability 2^-64,
//! which is far below that of a memory error, and nobody outside can aim for it.

use super::catalog::EntryId;

/// Slots: 4,096 × 16 bytes, which stays in the second level of the processor's caches.
const SLOTS: usize = 4096;

/// What is remembered of a body.
#[derive(Clone, Copy, Debug, Default)]
pub struct Body {
    hash: u64,
    /// The entry it belongs to.
    pub entry: EntryId,
    /// The entry's generation when it was stored; another one means that the entry has been evicted since.
    pub generation: u32,
}

/// The cache.
#[derive(Debug)]
pub struct BodyCache {
    slots: Box<[Body]>,
    /// For each slot the window that last took in its body's values, cut to 32 bits. Beside the slots, because only
    /// storms with variables ask.
    windows: Box<[u32]>,
}

impl Default for BodyCache {
    fn default() -> Self {
        let slots = vec![Body::default(); SLOTS].into_boxed_slice();
        BodyCache { slots, windows: vec![0; SLOTS].into_boxed_slice() }
    }
}

impl BodyCache {
    /// The body with this hash.
    #[inline]
    pub fn get(&self, hash: u64) -> Option<&Body> {
        let slot = &self.slots[index(hash)];
        (slot.hash == hash && slot.generation != 0).then_some(slot)
    }

    /// Remembers a body.
    #[inline]
    pub fn put(&mut self, hash: u64, entry: EntryId, generation: u32) {
        self.slots[index(hash)] = Body { hash, entry, generation };
        self.windows[index(hash)] = 0;
    }

    /// The window that last took in the values of the body in this slot.
    #[inline]
    pub fn window(&self, hash: u64) -> u32 {
        self.windows[index(hash)]
    }

    /// Says that `window` has taken in the values of the body in this slot.
    #[inline]
    pub fn set_window(&mut self, hash: u64, window: u32) {
        self.windows[index(hash)] = window;
    }

    /// Bytes of memory in use.
    pub fn size(&self) -> usize {
        size_of_val(&*self.slots) + size_of_val(&*self.windows)
    }
}

#[inline]
fn index(hash: u64) -> usize {
    (hash >> 52) as usize % SLOTS
}

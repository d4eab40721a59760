//! Guards against "the digit meant something": variables that have few values, and a value not seen before.
//!
//! `exit code 0` and `exit code 137` share a template. While a variable has stayed within 16 values over at least
//! 64 lines it is enum-like, and a line with a new value counts as new (`templates.md` 3e). A variable that
//! overflows is free for good.

use crate::engine::template::mask::Slots;

/// Variables that are watched.
pub(super) const SLOTS: usize = 8;
/// Values up to which a variable is enum-like.
pub(super) const VALUES_MAX: usize = 16;
/// Lines after which it is believed to be.
pub(super) const LINES_MIN: u64 = 64;

/// The values seen of each variable of one entry.
#[derive(Debug)]
pub struct Enums {
    /// Hashes of the values, 32 bits: one new value in 2^28 is taken for a known one. Not seeded: they are kept over
    /// restarts.
    pub(super) values: [[u32; VALUES_MAX]; SLOTS],
    pub(super) used: [u8; SLOTS],
    /// One bit for each variable that has not overflowed.
    pub(super) watched: u8,
}

impl Default for Enums {
    fn default() -> Self {
        Enums { values: [[0; VALUES_MAX]; SLOTS], used: [0; SLOTS], watched: u8::MAX }
    }
}

impl Enums {
    /// Takes in a line's variables. True when one that is enum-like has a value it never had, `lines` being the
    /// entry's lines before this one.
    pub fn observe(&mut self, text: &[u8], slots: &Slots, lines: u64) -> bool {
        let mut new = false;
        for (slot, range) in slots.as_slice().iter().take(SLOTS).enumerate() {
            if self.watched & (1 << slot) == 0 {
                continue;
            }
            let Some(value) = text.get(range.start as usize..range.end as usize) else { continue };
            let hash = hash(value);
            let used = usize::from(self.used[slot]);
            if self.values[slot][..used].contains(&hash) {
                continue;
            }
            if used == VALUES_MAX {
                self.watched &= !(1 << slot);
                continue;
            }
            self.values[slot][used] = hash;
            self.used[slot] += 1;
            new |= used > 0 && lines >= LINES_MIN;
        }
        new
    }

    /// Whether any variable is still watched.
    pub fn is_watching(&self, slots: &Slots) -> bool {
        let present = slots.as_slice().len().min(SLOTS);
        self.watched & (((1u16 << present) - 1) as u8) != 0
    }
}

/// Most values are short numbers, which one multiplication spreads over 32 bits.
#[inline]
fn hash(value: &[u8]) -> u32 {
    if value.len() > 8 {
        return xxhash_rust::xxh3::xxh3_64(value) as u32;
    }
    let packed = value.iter().fold(value.len() as u64, |packed, byte| packed << 8 | u64::from(*byte));
    (packed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::template::mask::Mask;

    fn observe(enums: &mut Enums, text: &str, lines: u64) -> bool {
        let mut slots = Slots::default();
        Mask::new(1).fingerprint(text.as_bytes(), &mut slots);
        enums.observe(text.as_bytes(), &slots, lines)
    }

    #[test]
    fn a_new_value_after_64_lines_is_new() {
        let mut enums = Enums::default();
        for line in 0..70 {
            assert!(!observe(&mut enums, &format!("worker left with 0{}", line % 2), line));
        }
        assert!(observe(&mut enums, "worker left with 0137", 70));
        assert!(!observe(&mut enums, "worker left with 0137", 71), "only once");
    }

    #[test]
    fn a_counter_is_free() {
        let mut enums = Enums::default();
        let new = (0..1000u64).filter(|&line| observe(&mut enums, &format!("request 7{line}"), line)).count();
        assert_eq!(new, 0, "17 values came before the 64th line");
    }

    #[test]
    fn one_that_grows_slowly_is_told_up_to_16_times() {
        let mut enums = Enums::default();
        let new = (0..10_000u64)
            .filter(|&line| observe(&mut enums, &format!("shard 7{}", line / 100), line))
            .count();
        assert_eq!(new, VALUES_MAX - 1);
    }
}

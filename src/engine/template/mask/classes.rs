//! Byte classes: 64 bytes of text → three 64-bit maps, and from them where variable words end.
//!
//! Bit n of a map speaks of byte n. Working on maps makes the cost of a text grow with its variables, not with its
//! words: whole words without digits are never looked at one by one.

use std::mem;

/// Bytes of text in one map.
pub(super) const BLOCK: usize = 64;

/// What the bytes of one block are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Classes {
    /// `[0-9]`
    pub(super) digit: u64,
    /// `[A-Za-z0-9_-]`
    pub(super) word: u64,
    /// `[A-Fa-f]`, without the digits.
    pub(super) hex_letter: u64,
}

impl Classes {
    /// The same maps, moved `bytes` towards the first byte; behind the last byte stands what is in no class.
    #[inline(always)]
    fn without_first(self, bytes: usize) -> Classes {
        Classes { digit: self.digit >> bytes, word: self.word >> bytes, hex_letter: self.hex_letter >> bytes }
    }
}

/// A way to find the classes of a block. All ways agree; they differ in speed and in the processors they need.
pub(super) trait Classify: Copy {
    fn classify(self, block: &[u8; BLOCK]) -> Classes;
}

/// The classes of the last, incomplete block of `text`, `tail`, which may be empty.
#[inline(always)]
pub(super) fn classify_tail(classify: impl Classify, text: &[u8], tail: &[u8]) -> Classes {
    if tail.is_empty() {
        return Classes::default();
    }
    match text.last_chunk::<BLOCK>() {
        // Looking again at bytes that were already seen is cheaper than copying the tail.
        Some(last) => classify.classify(last).without_first(BLOCK - tail.len()),
        None => {
            let mut block = [0; BLOCK];
            block[..tail.len()].copy_from_slice(tail);
            classify.classify(&block)
        }
    }
}

/// Finds variable words from the classes of one block after the other. What is kept between blocks concerns the word
/// that is open at a border, whose beginning was seen and whose end was not.
#[derive(Default)]
pub(super) struct Words {
    /// 1 if the last byte so far is part of a word.
    open: u64,
    /// 1 if the open word had no digit yet.
    open_plain: u64,
    /// 1 if the open word is variable.
    open_variable: u64,
    /// 1 if the open word had nothing but hexadecimal letters yet.
    open_hex: u64,
    /// The map of hexadecimal letters of the block before.
    hex_before: u64,
}

impl Words {
    /// The map of the ends of variable words: the bit of the first byte behind each of them.
    ///
    /// Adding a bit at the start of a row of ones carries through to the first zero behind the row. So one addition
    /// follows all words of a block at once, and the carry out of the block is the carry into the next.
    #[inline(always)]
    pub(super) fn ends(&mut self, classes: Classes) -> u64 {
        let Classes { digit, word, hex_letter } = classes;
        let starts = word & !(word << 1 | self.open);
        self.open = word >> 63;

        // From the start of each word through all that is not a digit, to its first digit, or out of the word.
        let plain = word & !digit;
        let (reached, plain_out) = add(plain, starts & plain, self.open_plain);
        self.open_plain = plain_out;
        let first_digits = (reached & !plain | starts) & digit;

        // From that first digit through the rest of its word.
        let (reached, variable_out) = add(word, first_digits, self.open_variable);
        self.open_variable = variable_out;
        let ends = reached & !word;

        ends | self.hex_ends(starts, word, hex_letter)
    }

    /// The ends of words that are made of eight or more hexadecimal letters and nothing else.
    #[inline(always)]
    fn hex_ends(&mut self, starts: u64, word: u64, hex_letter: u64) -> u64 {
        let (reached, hex_out) = add(hex_letter, starts & hex_letter, self.open_hex);
        self.open_hex = hex_out;
        let ends = reached & !hex_letter & !word;
        let hex_before = mem::replace(&mut self.hex_before, hex_letter);
        // Most blocks have no such word of any length, not even `a` or `added`.
        if ends == 0 { 0 } else { ends & behind_eight(hex_letter, hex_before) }
    }
}

/// Where the eight bits before are all set, in `map` with the map of the block before it.
#[inline(always)]
fn behind_eight(map: u64, map_before: u64) -> u64 {
    let one = (u128::from(map) << 64 | u128::from(map_before)) << 1;
    let two = one & one << 1;
    let four = two & two << 2;
    let eight = four & four << 4;
    (eight >> 64) as u64
}

/// `a + b + carry` and the carry out. At most one of the two additions can carry.
#[inline(always)]
fn add(a: u64, b: u64, carry: u64) -> (u64, u64) {
    let (sum, over) = a.overflowing_add(b);
    let (sum, over_again) = sum.overflowing_add(carry);
    (sum, u64::from(over | over_again))
}

/// Finds classes eight bytes at a time with ordinary arithmetic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portable;

impl Classify for Portable {
    #[inline(always)]
    fn classify(self, block: &[u8; BLOCK]) -> Classes {
        let mut classes = Classes::default();
        for (index, bytes) in block.as_chunks::<8>().0.iter().enumerate() {
            let (digit, word, hex_letter) = classify_eight(u64::from_le_bytes(*bytes));
            classes.digit |= digit << (8 * index);
            classes.word |= word << (8 * index);
            classes.hex_letter |= hex_letter << (8 * index);
        }
        classes
    }
}

/// The digits, word bytes and hexadecimal letters among eight bytes, one bit each.
///
/// The tests work on the lower seven bits of each byte, so that no sum carries into the next byte; the highest bit
/// of each byte is the answer. Bytes from 0x80 up are then taken out.
#[inline(always)]
fn classify_eight(bytes: u64) -> (u64, u64, u64) {
    const HIGHEST: u64 = every(0x80);
    let ascii = !bytes & HIGHEST;
    let seven = bytes & !HIGHEST;
    let lower = seven | every(0x20);
    let at_least = |value: u64, limit: u8| value + every(0x80 - limit);
    let other_than = |byte: u8| (seven ^ every(byte)) + every(0x7f);

    let digit = at_least(seven, b'0') & !at_least(seven, b'9' + 1) & ascii;
    let from_a = at_least(lower, b'a');
    let letter = from_a & !at_least(lower, b'z' + 1);
    let hex_letter = from_a & !at_least(lower, b'f' + 1) & ascii;
    let word = digit | (letter | !other_than(b'_') | !other_than(b'-')) & ascii;
    (gather(digit), gather(word), gather(hex_letter))
}

/// Eight times the same byte.
const fn every(byte: u8) -> u64 {
    byte as u64 * 0x0101_0101_0101_0101
}

/// The highest bits of eight bytes, side by side. Other bits must be zero.
#[inline(always)]
fn gather(highest: u64) -> u64 {
    // Byte n's bit has to get from 8n to 56 + n; the multiplier holds the eight distances.
    (highest >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of `block` that `is_in` holds for.
    fn map(block: &[u8; BLOCK], is_in: impl Fn(u8) -> bool) -> u64 {
        block.iter().enumerate().map(|(index, &byte)| u64::from(is_in(byte)) << index).sum()
    }

    #[track_caller]
    fn check_classes(classify: impl Classify, block: &[u8; BLOCK]) {
        let want = Classes {
            digit: map(block, |byte| byte.is_ascii_digit()),
            word: map(block, |byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'),
            hex_letter: map(block, |byte| byte.is_ascii_hexdigit() && !byte.is_ascii_digit()),
        };
        assert_eq!(classify.classify(block), want, "{block:?}");
    }

    /// Every byte at every place, among different neighbours.
    fn check_all_bytes(classify: impl Classify) {
        for neighbour in [0, b'9', b'z', 0x80, 0xff] {
            for byte in 0..=u8::MAX {
                for place in 0..BLOCK {
                    let mut block = [neighbour; BLOCK];
                    block[place] = byte;
                    check_classes(classify, &block);
                }
            }
        }
    }

    #[test]
    fn portable_classes() {
        check_all_bytes(Portable);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn avx2_classes() {
        // Without the instructions there is nothing to test: `Mask::new` is then the portable one.
        super::super::avx2::Avx2::detect().into_iter().for_each(check_all_bytes);
    }
}

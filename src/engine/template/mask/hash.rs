//! The hash behind a fingerprint: a sum of products over the constant bytes of a text.
//!
//! Each constant span is cut into pieces of up to 16 bytes. A piece and the place where it stands in the canonical
//! text (where every variable is one byte) give one product; the products are added up, so that the processor
//! can work on several at once. Place and length are part of every product, so the products say where the variables
//! are, without hashing anything for them. Empty spans count too: they end a text that ends with a variable.
//! The keys are secret, hence nobody outside can choose texts that collide. This is no cryptographic hash.

use super::TEXT_MAX;

/// The secret numbers of a process.
#[derive(Clone, Copy)]
pub(super) struct Keys {
    low: u64,
    high: u64,
    /// What one place adds to the salt of a product. Secret and odd, so that nobody can swap two pieces unnoticed.
    step: u64,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(secret)")
    }
}

impl Keys {
    /// Numbers that look independent, from one seed (the steps of SplitMix64).
    pub(super) fn new(seed: u64) -> Keys {
        let number = |step: u64| {
            let mut x = seed.wrapping_add(step.wrapping_mul(GOLDEN));
            x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            x ^ x >> 31
        };
        Keys { low: number(1), high: number(2), step: number(3) | 1 }
    }
}

/// The hash of one text, while its parts come in.
pub(super) struct SpanHash {
    keys: Keys,
    sum: u64,
    /// Where the next part stands in the canonical text.
    place: usize,
}

impl SpanHash {
    #[inline(always)]
    pub(super) fn new(keys: Keys) -> SpanHash {
        SpanHash { keys, sum: 0, place: 0 }
    }

    /// Adds the constant bytes `start..end` of `text`, which must be all bytes since the last variable.
    #[inline(always)]
    pub(super) fn constant(&mut self, text: &[u8], start: usize, end: usize) {
        let mut at = start;
        while end - at > PIECE {
            self.piece(text, at, PIECE);
            at += PIECE;
        }
        self.piece(text, at, end - at);
    }

    /// Adds a variable.
    #[inline(always)]
    pub(super) fn variable(&mut self) {
        self.place += 1;
    }

    /// The hash. There is always a span after the last variable, if only an empty one, and its place went in.
    #[inline(always)]
    pub(super) fn finish(self) -> u64 {
        self.sum
    }

    /// Adds one piece of at most [`PIECE`] bytes.
    #[inline(always)]
    fn piece(&mut self, text: &[u8], at: usize, len: usize) {
        let [low, high] = load(text, at, len);
        let salt = ((self.place << LEN_BITS | len) as u64).wrapping_mul(self.keys.step);
        let product = fold(low ^ self.keys.low.wrapping_add(salt), high ^ self.keys.high);
        // Turning the sum also keeps the compiler from adding up two products at once in vector registers, which
        // have no such product: that was slower by half.
        self.sum = self.sum.rotate_left(1).wrapping_add(product);
        self.place += len;
    }
}

/// `len` bytes of `text` from `at` as two little-endian words, filled up with zeros.
#[inline(always)]
fn load(text: &[u8], at: usize, len: usize) -> [u64; 2] {
    let rest = text.get(at..).unwrap_or_default();
    match rest.first_chunk::<PIECE>() {
        // Reading the bytes behind the piece and dropping them is cheaper than asking how many bytes there are:
        // lengths are as good as random, and a branch on them would be mispredicted.
        Some(bytes) => {
            let [low_mask, high_mask] = KEEP_FIRST[len & (2 * PIECE - 1)];
            let [low, high] = halves(u128::from_le_bytes(*bytes));
            [low & low_mask, high & high_mask]
        }
        None => load_last(text, at, len),
    }
}

/// As [`load`], for a piece that stands in the last bytes of a text.
#[inline(always)]
fn load_last(text: &[u8], at: usize, len: usize) -> [u64; 2] {
    if len == 0 {
        return [0; 2];
    }
    let until = text.get(..at + len).unwrap_or_default();
    match until.last_chunk::<PIECE>() {
        Some(bytes) => halves(u128::from_le_bytes(*bytes) >> (8 * (PIECE - len))),
        None => {
            let mut bytes = [0; PIECE];
            bytes[..len].copy_from_slice(&until[at..]);
            halves(u128::from_le_bytes(bytes))
        }
    }
}

#[inline(always)]
fn halves(word: u128) -> [u64; 2] {
    [word as u64, (word >> 64) as u64]
}

/// The full product of two words, folded to one: every bit of both reaches every bit of the result.
#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Bytes that one product takes in.
const PIECE: usize = 16;

/// Bits that a piece's length needs; place and length together must not wrap.
const LEN_BITS: u32 = 5;
const _: () = assert!(PIECE < 1 << LEN_BITS && TEXT_MAX < 1 << 32);

/// 2^64 divided by the golden ratio: an odd number whose multiples are spread evenly.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Masks that keep the first n of sixteen bytes. The upper half is never used; it lets the index be masked instead of checked.
static KEEP_FIRST: [[u64; 2]; 2 * PIECE] = {
    let mut masks = [[u64::MAX; 2]; 2 * PIECE];
    let mut len = 0;
    while len < PIECE {
        let bits = (1u128 << (8 * len)) - 1;
        masks[len] = [bits as u64, (bits >> 64) as u64];
        len += 1;
    }
    masks
};

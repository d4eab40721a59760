//! Byte classes with AVX2, 32 bytes at a time, where the processor has it.
#![allow(unsafe_code, reason = "vector instructions must be asked for, and the processor must have them")]

use std::arch::x86_64::{
    __m256i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8, _mm256_or_si256,
    _mm256_set1_epi8, _mm256_sub_epi8,
};

use super::classes::{BLOCK, Classes, Classify};
use super::walk::walk;
use super::{Fingerprint, Hashing};

/// Proof that this processor has the instructions: only [`Avx2::detect`] makes one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx2(());

impl Avx2 {
    /// Asks the processor.
    pub(super) fn detect() -> Option<Avx2> {
        let has_all = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt");
        has_all.then_some(Avx2(()))
    }

    #[inline(always)]
    pub(super) fn hash(self, text: &[u8], hashing: Hashing<'_>) -> (Fingerprint, usize) {
        // SAFETY: `self` exists, so `detect` has seen every feature that `hash_with` is compiled for.
        unsafe { hash_with(self, text, hashing) }
    }
}

/// The whole walk, compiled for this processor, so that the classes need no call and counting bits is one instruction.
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
fn hash_with(avx2: Avx2, text: &[u8], mut hashing: Hashing<'_>) -> (Fingerprint, usize) {
    walk(text, avx2, &mut hashing);
    hashing.finish()
}

impl Classify for Avx2 {
    #[inline(always)]
    fn classify(self, block: &[u8; BLOCK]) -> Classes {
        // SAFETY: `self` exists, so `detect` has seen the feature that `classify` is compiled for.
        unsafe { classify(block) }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn classify(block: &[u8; BLOCK]) -> Classes {
    let (halves, _) = block.as_chunks::<32>();
    let (low, high) = (classify_half(&halves[0]), classify_half(&halves[1]));
    Classes {
        digit: low.digit | high.digit << 32,
        word: low.word | high.word << 32,
        hex_letter: low.hex_letter | high.hex_letter << 32,
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn classify_half(half: &[u8; 32]) -> Classes {
    // SAFETY: `half` is 32 readable bytes, and this load asks for no alignment.
    let bytes = unsafe { _mm256_loadu_si256(half.as_ptr().cast::<__m256i>()) };
    let lower = _mm256_or_si256(bytes, every(0x20));
    let digit = within(bytes, b'0', b'9');
    let letter = within(lower, b'a', b'z');
    let dash = _mm256_or_si256(_mm256_cmpeq_epi8(bytes, every(b'_')), _mm256_cmpeq_epi8(bytes, every(b'-')));
    let word = _mm256_or_si256(_mm256_or_si256(digit, letter), dash);
    Classes { digit: gather(digit), word: gather(word), hex_letter: gather(within(lower, b'a', b'f')) }
}

/// All ones where `first <= byte <= last`. There is no unsigned comparison, so it is "the smaller one of the
/// distance from `first` and its limit is the distance".
#[inline]
#[target_feature(enable = "avx2")]
fn within(bytes: __m256i, first: u8, last: u8) -> __m256i {
    let distance = _mm256_sub_epi8(bytes, every(first));
    _mm256_cmpeq_epi8(_mm256_min_epu8(distance, every(last - first)), distance)
}

#[inline]
#[target_feature(enable = "avx2")]
fn every(byte: u8) -> __m256i {
    _mm256_set1_epi8(byte.cast_signed())
}

/// The highest bit of each of the 32 bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn gather(bytes: __m256i) -> u64 {
    u64::from(_mm256_movemask_epi8(bytes).cast_unsigned())
}

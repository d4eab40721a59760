//! The physical line whose end has not come yet: its first bytes, its length, and a hash once it is too long.
//!
//! Limit: at most `head_max` bytes are kept, however long the line grows.

use xxhash_rust::xxh3::Xxh3;

#[derive(Default)]
pub(super) struct Carry {
    /// Where the line begins in its file.
    pub(super) offset: u64,
    /// The line's first bytes; all of them while `hash` is `None`.
    head: Vec<u8>,
    /// The length of the line so far in bytes. Zero: no line is carried.
    length: u64,
    /// The hash of the text so far, since the line outgrew its head.
    hash: Option<Box<Xxh3>>,
}

/// A line that has ended.
pub(super) enum Held<'a> {
    /// All its bytes.
    Whole(&'a [u8]),
    /// It outgrew its head.
    Cut(Cut<'a>),
}

/// What is known of a line that was too long to be kept.
#[derive(Clone, Copy)]
pub(super) struct Cut<'a> {
    /// Its first bytes, `head_max` of them.
    pub(super) head: &'a [u8],
    /// Its length in bytes.
    pub(super) length: u64,
    /// The xxh3-64 hash of its text, which begins where `text_start` said.
    pub(super) xxh3: u64,
}

impl Carry {
    pub(super) fn holds_line(&self) -> bool {
        self.length > 0
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn held(&self) -> usize {
        self.head.len()
    }

    /// Takes in more of the line. When it outgrows `head_max`, `text_start` is asked once where in the head the text
    /// begins that is to be hashed.
    pub(super) fn add(&mut self, bytes: &[u8], head_max: usize, text_start: impl FnOnce(&[u8]) -> usize) {
        self.length += bytes.len() as u64;
        let room = head_max.saturating_sub(self.head.len());
        let (kept, hashed) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(kept);
        if !hashed.is_empty() {
            let head = &self.head;
            let hash = self.hash.get_or_insert_with(|| {
                let mut hash = Box::new(Xxh3::new());
                hash.update(&head[text_start(head)..]);
                hash
            });
            hash.update(hashed);
        }
    }

    pub(super) fn line(&self) -> Held<'_> {
        match &self.hash {
            None => Held::Whole(&self.head),
            Some(hash) => Held::Cut(Cut { head: &self.head, length: self.length, xxh3: hash.digest() }),
        }
    }

    /// Makes ready for the next line.
    pub(super) fn clear(&mut self) {
        self.head.clear();
        empty_if_large(&mut self.head);
        self.length = 0;
        self.hash = None;
    }
}

/// Gives the memory of an emptied buffer back when one long line had blown it up: there is a framer for each of
/// thousands of files, and nearly all lines are short.
#[inline]
pub(super) fn empty_if_large(buffer: &mut Vec<u8>) {
    const KEPT_CAPACITY_MAX: usize = 64 << 10;
    if buffer.capacity() > KEPT_CAPACITY_MAX {
        *buffer = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xxhash_rust::xxh3::xxh3_64;

    #[test]
    fn a_cut_line_is_counted_and_hashed_whole() {
        let mut carry = Carry::default();
        assert!(!carry.holds_line());
        for piece in [&b"> abc"[..], b"", b"def", b"ghi"] {
            carry.add(piece, 6, |head| {
                head.iter().position(|&byte| byte == b' ').map_or(0, |space| space + 1)
            });
        }
        assert!(carry.holds_line());
        assert_eq!(carry.held(), 6);
        let Held::Cut(cut) = carry.line() else { panic!("the line is longer than its head") };
        assert_eq!((cut.head, cut.length, cut.xxh3), (&b"> abcd"[..], 11, xxh3_64(b"abcdefghi")));
        carry.clear();
        assert!(!carry.holds_line());
    }

    #[test]
    fn a_line_of_exactly_its_head_is_whole() {
        let mut carry = Carry::default();
        carry.add(b"abc", 3, |_| 0);
        assert!(matches!(carry.line(), Held::Whole(b"abc")));
    }
}

//! The ack window: which of the records that were handed to librdkafka are settled.
//!
//! In: records in the order of their numbers, then settlements in any order. Out: the contiguous prefix of
//! settled numbers, and what is still open.
//! Invariant: every record is settled at most once, and the prefix never jumps over an open one.
//! Limit: [`RECORDS_MAX`] and [`BYTES_MAX`] open, [`SPAN_MAX`] from the oldest open record to the newest.

use std::collections::VecDeque;

use crate::units::{Bytes, Lines};

/// Records that may be open at once (delivery.md §7).
pub(super) const RECORDS_MAX: usize = 50_000;
/// Their encoded size. librdkafka counts the same bytes (payloads only), so we stop before its queue is full.
pub(super) const BYTES_MAX: Bytes = Bytes(8 << 20);
/// How far the newest record may be ahead of the oldest open one. Consumers rely on it: a number that is
/// further behind the highest they have seen cannot be new (delivery.md §6).
const SPAN_MAX: usize = 65_536;

/// The records from the oldest open one to the newest.
#[derive(Debug)]
pub(super) struct Acks {
    /// The number of `slots[0]`; of the next record while there are none.
    base: u64,
    slots: VecDeque<Slot>,
    open: Open,
}

/// What is open, or was until a settlement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) records: usize,
    pub(super) bytes: Bytes,
    pub(super) lines: Lines,
}

/// One record.
#[derive(Debug)]
struct Slot {
    lines: Lines,
    bytes: u32,
    /// How much further the next record of the same message is; 0 for the last one. A message holds the
    /// records of one stream, and other streams' records stand between them.
    next: u32,
    open: bool,
}

impl Acks {
    /// A window that has seen nothing.
    pub(super) fn new() -> Acks {
        Acks { base: 1, slots: VecDeque::new(), open: Open::default() }
    }

    /// Whether one more record of `bytes` may be sent. A record of any size may be sent alone.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let fits = self.open.bytes + Bytes(bytes as u64) <= BYTES_MAX || self.open.records == 0;
        fits && self.open.records < RECORDS_MAX && self.slots.len() < SPAN_MAX
    }

    /// Opens a record. Its number follows the one before; the first may be any.
    pub(super) fn push(&mut self, seq: u64, bytes: usize, lines: Lines) {
        if self.slots.is_empty() {
            assert!(seq >= self.base, "record {seq} was sent before");
            self.base = seq;
        }
        assert_eq!(seq, self.base + self.slots.len() as u64, "the records of a lane have no gaps");
        self.open.records += 1;
        self.open.bytes += Bytes(bytes as u64);
        self.open.lines += lines;
        self.slots.push_back(Slot {
            lines,
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            next: 0,
            open: true,
        });
    }

    /// Takes back the newest record, which was not sent after all.
    pub(super) fn pop(&mut self) {
        if let Some(slot) = self.slots.pop_back() {
            self.open.records -= 1;
            self.open.bytes -= Bytes(slot.bytes.into());
            self.open.lines -= slot.lines;
        }
    }

    /// Says that these records, in ascending order, travel as one message, which is settled by its first
    /// number.
    pub(super) fn join(&mut self, seqs: &[u64]) {
        for pair in seqs.windows(2) {
            let next = u32::try_from(pair[1] - pair[0]).unwrap_or(0);
            if let Some(slot) = self.slot(pair[0]) {
                slot.next = next;
            }
        }
    }

    /// Settles the message that begins with this number and returns what it held; nothing when it is settled
    /// already.
    pub(super) fn settle(&mut self, first: u64) -> Open {
        let mut settled = Open::default();
        let mut seq = first;
        while let Some(slot) = self.slot(seq).filter(|slot| slot.open) {
            slot.open = false;
            settled.records += 1;
            settled.bytes += Bytes(slot.bytes.into());
            settled.lines += slot.lines;
            seq += u64::from(slot.next);
        }
        self.open.records -= settled.records;
        self.open.bytes -= settled.bytes;
        self.open.lines -= settled.lines;
        while self.slots.front().is_some_and(|slot| !slot.open) {
            self.slots.pop_front();
            self.base += 1;
        }
        settled
    }

    /// Every record up to this number is settled.
    pub(super) fn upto(&self) -> u64 {
        self.base - 1
    }

    /// What is not settled.
    pub(super) fn open(&self) -> Open {
        self.open
    }

    fn slot(&mut self, seq: u64) -> Option<&mut Slot> {
        let index = usize::try_from(seq.checked_sub(self.base)?).ok()?;
        self.slots.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn prefix_waits_for_the_oldest() {
        let mut acks = Acks::new();
        assert_eq!(acks.upto(), 0);
        for seq in 41..=45 {
            acks.push(seq, 10, Lines(2));
        }
        assert_eq!(acks.upto(), 40);
        acks.join(&[41, 43, 45]);
        assert_eq!(acks.settle(42), Open { records: 1, bytes: Bytes(10), lines: Lines(2) });
        assert_eq!(acks.upto(), 40);
        assert_eq!(acks.settle(41), Open { records: 3, bytes: Bytes(30), lines: Lines(6) });
        assert_eq!(acks.upto(), 43);
        assert_eq!(acks.settle(41), Open::default()); // twice is once
        assert_eq!(acks.settle(99), Open::default());
        assert_eq!(acks.settle(44).records, 1);
        assert_eq!((acks.upto(), acks.open()), (45, Open::default()));
    }

    #[test]
    fn room_ends_at_each_limit() {
        let mut acks = Acks::new();
        assert!(acks.has_room(1 << 30)); // alone, any size
        acks.push(1, 1, Lines(1));
        assert!(acks.has_room((8 << 20) - 1));
        assert!(!acks.has_room(8 << 20));
        for seq in 2..=RECORDS_MAX as u64 {
            assert!(acks.has_room(1), "{seq}");
            acks.push(seq, 1, Lines(1));
        }
        assert!(!acks.has_room(1));
        acks.pop();
        assert!(acks.has_room(1));
        let mut seq = RECORDS_MAX as u64;
        while acks.has_room(1) {
            acks.push(seq, 1, Lines(1));
            acks.settle(seq); // all but the first arrive
            seq += 1;
        }
        assert_eq!((acks.upto(), seq - 1), (0, SPAN_MAX as u64));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Messages of any composition, settled in any order, against a plain map of open records.
        #[test]
        fn same_as_a_naive_set(
            first in 1u64..1000,
            streams in prop::collection::vec(0u8..4, 1..60),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..80),
        ) {
            let mut acks = Acks::new();
            let mut open = BTreeMap::new();
            let mut messages: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
            for (seq, stream) in (first..).zip(&streams) {
                acks.push(seq, usize::from(*stream) + 1, Lines(seq));
                open.insert(seq, (u64::from(*stream) + 1, seq));
                messages.entry(*stream).or_default().push(seq);
            }
            // Each stream's records travel in messages of up to three.
            let messages: Vec<Vec<u64>> =
                messages.values().flat_map(|seqs| seqs.chunks(3)).map(<[u64]>::to_vec).collect();
            messages.iter().for_each(|seqs| acks.join(seqs));
            let last = first + streams.len() as u64 - 1;
            for pick in order {
                let message = &messages[pick.index(messages.len())];
                let want = message.iter().filter_map(|seq| open.remove(seq)).count();
                prop_assert_eq!(acks.settle(message[0]).records, want);
                prop_assert_eq!(acks.upto(), open.keys().next().map_or(last, |oldest| oldest - 1));
                prop_assert_eq!(acks.open(), Open {
                    records: open.len(),
                    bytes: Bytes(open.values().map(|(bytes, _)| bytes).sum()),
                    lines: Lines(open.values().map(|(_, lines)| lines).sum()),
                });
            }
        }
    }
}

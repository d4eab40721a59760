//! The ack window: which of the records that were handed to librdkafka are settled.
//!
//! In: records in the order of their numbers, then settlements in any order. Out: the contiguous prefix of
//! settled numbers, and what is still open.
//! Invariant: every record is settled at most once, and the prefix never jumps over an open one.
//! Limit: [`RECORDS_MAX`] and [`BYTES_MAX`] open, [`SPAN_MAX`] from the oldest open record to the newest. What is
//! larger than that is admitted alone.

use std::collections::VecDeque;

use crate::units::{Bytes, Lines};

/// Records that may be open at once (delivery.md §7).
pub(super) const RECORDS_MAX: usize = 50_000;
/// Their encoded size. librdkafka counts the same bytes (payloads only) and takes half as much again for headers and
/// bookkeeping: with 8 MiB here, a broker that stood still made the process 55 MB large.
pub(super) const BYTES_MAX: Bytes = Bytes(5 << 20);
/// How far the newest record may be ahead of the oldest open one. Consumers rely on it: a number that is
/// further behind the highest they have seen cannot be new (delivery.md §6).
const SPAN_MAX: u64 = 65_536;

/// The records from the oldest open one to the newest.
#[derive(Debug)]
pub(super) struct Acks {
    /// The number of `slots[0]`; of the next record while there are none.
    base: u64,
    slots: VecDeque<Slot>,
    open: Open,
}

/// What is open, or was until a settlement, or wants to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) records: usize,
    pub(super) bytes: Bytes,
    pub(super) lines: Lines,
}

/// What is known of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) lines: Lines,
    pub(super) bytes: u32,
    /// Its time, in milliseconds since the epoch: librdkafka does not give it back with a message that failed.
    pub(super) millis: i64,
}

/// One record.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Stands at the first open record of the message.
    load: Load,
    /// How much further the next record of the same message is; 0 for the last one. A message holds the
    /// records of one stream, and other streams' records stand between them.
    next: u32,
    open: bool,
}

impl Acks {
    /// A window that begins behind `upto`.
    pub(super) fn behind(upto: u64) -> Acks {
        Acks { base: upto.saturating_add(1), slots: VecDeque::new(), open: Open::default() }
    }

    /// The highest number that was ever in the window. What is not above it is on its way, or settled.
    pub(super) fn newest(&self) -> u64 {
        self.base - 1 + self.slots.len() as u64
    }

    /// Whether `more`, whose last record is `last`, may be sent too. Anything may be sent alone.
    pub(super) fn has_room(&self, more: Open, last: u64) -> bool {
        self.open.records == 0
            || (self.open.bytes + more.bytes <= BYTES_MAX
                && self.open.records + more.records <= RECORDS_MAX
                && last.saturating_sub(self.base) < SPAN_MAX)
    }

    /// Makes the window reach from `first` to `last`. Numbers that are never opened count as settled: nobody will
    /// ever send them.
    pub(super) fn reach(&mut self, first: u64, last: u64) {
        if self.slots.is_empty() {
            self.base = self.base.max(first);
        }
        let more = usize::try_from((last + 1).saturating_sub(self.base)).unwrap_or(usize::MAX);
        if more > self.slots.len() {
            self.slots.resize(more, Slot::default());
        }
    }

    /// Opens the records of one message, in ascending order, all within reach. The message is settled by the first
    /// of them. Records that are open already belong to this message from now on.
    pub(super) fn open(&mut self, seqs: &[u64], load: Load) {
        for (at, &seq) in seqs.iter().enumerate() {
            let next = seqs.get(at + 1).map_or(0, |next| u32::try_from(next - seq).unwrap_or(0));
            let load = if at == 0 { load } else { Load::default() };
            let Some(slot) = self.slot(seq) else { continue };
            let old = std::mem::replace(slot, Slot { load, next, open: true });
            if old.open {
                self.close(old);
            }
            self.open.records += 1;
            self.open.bytes += Bytes(load.bytes.into());
            self.open.lines += load.lines;
        }
    }

    /// The time of the message that begins with this number.
    pub(super) fn millis(&self, first: u64) -> Option<i64> {
        self.index(first).and_then(|index| self.slots.get(index)).map(|slot| slot.load.millis)
    }

    /// Whether this record is open.
    pub(super) fn is_open(&self, seq: u64) -> bool {
        self.index(seq).and_then(|index| self.slots.get(index)).is_some_and(|slot| slot.open)
    }

    /// Settles the message that begins with this number and returns what it held; nothing when it is settled
    /// already.
    pub(super) fn settle(&mut self, first: u64) -> Open {
        let before = self.open;
        let mut seq = first;
        while let Some(slot) = self.slot(seq).filter(|slot| slot.open) {
            slot.open = false;
            let slot = *slot;
            self.close(slot);
            seq += u64::from(slot.next);
        }
        while self.slots.front().is_some_and(|slot| !slot.open) {
            self.slots.pop_front();
            self.base += 1;
        }
        Open {
            records: before.records - self.open.records,
            bytes: before.bytes - self.open.bytes,
            lines: before.lines - self.open.lines,
        }
    }

    /// Every record up to this number is settled.
    pub(super) fn upto(&self) -> u64 {
        self.base - 1
    }

    /// What is not settled.
    pub(super) fn all_open(&self) -> Open {
        self.open
    }

    fn close(&mut self, slot: Slot) {
        self.open.records -= 1;
        self.open.bytes -= Bytes(slot.load.bytes.into());
        self.open.lines -= slot.load.lines;
    }

    fn index(&self, seq: u64) -> Option<usize> {
        usize::try_from(seq.checked_sub(self.base)?).ok()
    }

    fn slot(&mut self, seq: u64) -> Option<&mut Slot> {
        let index = self.index(seq)?;
        self.slots.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn load(bytes: u32, lines: u64) -> Load {
        Load { bytes, lines: Lines(lines), millis: 0 }
    }

    fn more(records: usize, bytes: u64) -> Open {
        Open { records, bytes: Bytes(bytes), lines: Lines(records as u64) }
    }

    fn open_each(acks: &mut Acks, seqs: std::ops::RangeInclusive<u64>) {
        for seq in seqs {
            acks.reach(seq, seq);
            acks.open(&[seq], load(1, 1));
        }
    }

    #[test]
    fn prefix_waits_for_the_oldest() {
        let mut acks = Acks::behind(0);
        assert_eq!((acks.upto(), acks.newest()), (0, 0));
        acks.reach(41, 45);
        acks.open(&[41, 43, 45], load(30, 6));
        acks.open(&[42], load(10, 2));
        acks.open(&[44], load(10, 2));
        assert_eq!((acks.upto(), acks.newest()), (40, 45));
        assert_eq!(acks.settle(42), Open { records: 1, bytes: Bytes(10), lines: Lines(2) });
        assert_eq!(acks.upto(), 40);
        assert_eq!(acks.settle(41), Open { records: 3, bytes: Bytes(30), lines: Lines(6) });
        assert_eq!(acks.upto(), 43);
        assert_eq!(acks.settle(41), Open::default()); // twice is once
        assert_eq!(acks.settle(99), Open::default());
        assert!(acks.is_open(44) && !acks.is_open(45) && !acks.is_open(46));
        assert_eq!(acks.settle(44).records, 1);
        assert_eq!((acks.upto(), acks.all_open()), (45, Open::default()));
    }

    #[test]
    fn numbers_that_are_never_sent_hold_nothing_up() {
        let mut acks = Acks::behind(6);
        open_each(&mut acks, 7..=7);
        acks.reach(12, 13); // 8 to 11 stood in a damaged epoch
        acks.open(&[12], load(1, 1));
        acks.open(&[13], load(1, 1));
        assert_eq!((acks.all_open().records, acks.newest()), (3, 13));
        acks.settle(7);
        assert_eq!(acks.upto(), 11);
        acks.settle(12);
        acks.settle(13);
        acks.reach(20, 20);
        assert_eq!(acks.upto(), 19);
    }

    #[test]
    fn a_message_can_be_replaced_by_smaller_ones() {
        let mut acks = Acks::behind(0);
        acks.reach(1, 4);
        acks.open(&[1, 2, 4], load(100, 9));
        acks.open(&[3], load(5, 1));
        acks.open(&[1], load(20, 4));
        acks.open(&[2, 4], load(30, 5));
        assert_eq!(acks.all_open(), Open { records: 4, bytes: Bytes(55), lines: Lines(10) });
        assert_eq!(acks.settle(2), Open { records: 2, bytes: Bytes(30), lines: Lines(5) });
        assert_eq!(acks.settle(1).records, 1);
        assert_eq!(acks.upto(), 2);
    }

    #[test]
    fn room_ends_at_each_limit() {
        let mut acks = Acks::behind(0);
        assert!(acks.has_room(more(1 << 20, 1 << 30), 1 << 40)); // alone, any size
        open_each(&mut acks, 1..=1);
        assert!(acks.has_room(more(1, BYTES_MAX.0 - 1), 2));
        assert!(!acks.has_room(more(1, BYTES_MAX.0), 2));
        assert!(acks.has_room(more(RECORDS_MAX - 1, 1), 2));
        assert!(!acks.has_room(more(RECORDS_MAX, 1), 2));
        assert!(acks.has_room(more(1, 1), SPAN_MAX));
        assert!(!acks.has_room(more(1, 1), SPAN_MAX + 1));
        open_each(&mut acks, 2..=RECORDS_MAX as u64);
        assert!(!acks.has_room(more(1, 1), RECORDS_MAX as u64 + 1));
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
            let mut acks = Acks::behind(0);
            let mut messages: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
            for (seq, stream) in (first..).zip(&streams) {
                messages.entry(*stream).or_default().push(seq);
            }
            let last = first + streams.len() as u64 - 1;
            acks.reach(first, last);
            // Each stream's records travel in messages of up to three.
            let messages: Vec<Vec<u64>> =
                messages.values().flat_map(|seqs| seqs.chunks(3)).map(<[u64]>::to_vec).collect();
            let mut open: BTreeMap<u64, &[u64]> = BTreeMap::new();
            for seqs in &messages {
                acks.open(seqs, load(seqs.len() as u32 * 7, seqs[0]));
                open.insert(seqs[0], seqs);
            }
            for pick in order {
                let message = &messages[pick.index(messages.len())];
                let want = open.remove(&message[0]).map_or(0, <[u64]>::len);
                prop_assert_eq!(acks.settle(message[0]).records, want);
                let oldest = open.values().map(|seqs| seqs[0]).min();
                prop_assert_eq!(acks.upto(), oldest.map_or(last, |oldest| oldest - 1));
                let records: usize = open.values().map(|seqs| seqs.len()).sum();
                prop_assert_eq!(acks.all_open(), Open {
                    records,
                    bytes: Bytes(records as u64 * 7),
                    lines: Lines(open.keys().sum()),
                });
            }
        }
    }
}

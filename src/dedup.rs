//! The consumer's half of the promise: which records have been seen before.
//!
//! After a crash squall sends again what Kafka may have missed: the same bytes under the same id. Whoever skips the ids
//! that it has seen gets every record exactly once. That needs no memory of all ids: squall never sends a number more
//! than [`SPAN`] beyond the prefix that Kafka has confirmed, so per lane the highest number and one bit for each of
//! the last [`SPAN`] numbers are enough. It is the anti-replay window of IPsec (RFC 4303, section 3.4.3).
//!
//! "Skip what is not above the highest number" would be wrong: 7 may rightly arrive after 8, when Kafka sent 7 back.
//! Limit: 8 KiB a lane, [`LANES_MAX`] lanes; the one that was silent for the longest time is forgotten first.
//! Not here: reading Kafka (`cli::consume`).

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use crate::engine::record::LaneId;

/// How many numbers below the highest one are remembered; squall sends nothing further ahead of the confirmed prefix.
pub const SPAN: u64 = 65_536;

/// Lanes that are remembered. Each is one destination of one state directory, so a topic has about as many as it has
/// hosts. What a forgotten lane sends again later counts as new.
pub const LANES_MAX: usize = 4_096;

/// A record's id: `<32 hex digits of the lane>-<number>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordId {
    /// Who numbered the record.
    pub lane: LaneId,
    /// Its number there: 1, 2, 3 …
    pub seq: u64,
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.lane, self.seq)
    }
}

/// A text that is not the id of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRecordId;

impl FromStr for RecordId {
    type Err = NoRecordId;

    /// Reads exactly what squall writes, so that no two texts are the same id.
    fn from_str(text: &str) -> Result<RecordId, NoRecordId> {
        let (lane, seq) = text.split_once('-').ok_or(NoRecordId)?;
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let is_lane = lane.len() == 32 && lane.bytes().all(is_hex);
        let is_number = !seq.starts_with('0') && seq.bytes().all(|byte| byte.is_ascii_digit());
        if !is_lane || !is_number {
            return Err(NoRecordId);
        }
        let lane = LaneId(u128::from_str_radix(lane, 16).map_err(|_| NoRecordId)?);
        Ok(RecordId { lane, seq: seq.parse().map_err(|_| NoRecordId)? })
    }
}

/// The windows of all lanes of a topic.
#[derive(Debug, Default)]
pub struct Seen {
    lanes: HashMap<LaneId, Lane>,
    /// Counts records, so that it can be said which lane was silent for the longest time.
    turn: u64,
}

#[derive(Debug)]
struct Lane {
    window: Window,
    last_turn: u64,
}

impl Seen {
    /// Takes note of a record. True the first time: this is the one to use.
    pub fn is_new(&mut self, id: RecordId) -> bool {
        self.turn += 1;
        if self.lanes.len() >= LANES_MAX && !self.lanes.contains_key(&id.lane) {
            self.forget_one();
        }
        let lane =
            self.lanes.entry(id.lane).or_insert_with(|| Lane { window: Window::default(), last_turn: 0 });
        lane.last_turn = self.turn;
        lane.window.is_new(id.seq)
    }

    /// How many lanes are remembered.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// A new lane is rare (a new state directory), so looking at all of them then is cheap enough.
    fn forget_one(&mut self) {
        let oldest = self.lanes.iter().min_by_key(|(_, lane)| lane.last_turn).map(|(id, _)| *id);
        if let Some(oldest) = oldest {
            self.lanes.remove(&oldest);
        }
    }
}

/// Which numbers of one lane have been seen: the highest, and one bit for each of the last [`SPAN`].
///
/// Invariant: the bit of every number in `(high - SPAN, high]` says whether it was seen; bits are reused, number `n`
/// has bit `n % SPAN`.
#[derive(Clone, Debug)]
pub struct Window {
    high: u64,
    bits: Box<[u64; WORDS]>,
}

const WORDS: usize = (SPAN / 64) as usize;

impl Default for Window {
    fn default() -> Self {
        Window { high: 0, bits: Box::new([0; WORDS]) }
    }
}

impl Window {
    /// Takes note of a number. True the first time. What is [`SPAN`] or more below the highest number is old: it had
    /// been confirmed before the highest one was sent, so this is it again.
    pub fn is_new(&mut self, seq: u64) -> bool {
        if seq == 0 || self.high.checked_sub(SPAN).is_some_and(|old| seq <= old) {
            return false;
        }
        if seq > self.high {
            self.clear_up_to(seq);
            self.high = seq;
        }
        let (word, bit) = place(seq);
        let is_new = self.bits[word] & bit == 0;
        self.bits[word] |= bit;
        is_new
    }

    /// Frees the bits of the numbers in `(high, seq]`, which belonged to numbers one span below.
    fn clear_up_to(&mut self, seq: u64) {
        if seq - self.high >= SPAN {
            self.bits.fill(0);
            return;
        }
        let mut next = self.high + 1;
        while next <= seq {
            // A whole word at once where one fits: a gap of a full span costs a thousand steps, not 65,536.
            let (word, bit) = place(next);
            if bit == 1 && seq - next >= 63 {
                self.bits[word] = 0;
                next += 64;
            } else {
                self.bits[word] &= !bit;
                next += 1;
            }
        }
    }
}

fn place(seq: u64) -> (usize, u64) {
    let at = seq % SPAN;
    ((at / 64) as usize, 1 << (at % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_window_lets_each_number_through_once() {
        #[track_caller]
        fn check(seqs: &[u64], want: &[u64]) {
            let mut window = Window::default();
            let new: Vec<u64> = seqs.iter().copied().filter(|seq| window.is_new(*seq)).collect();
            assert_eq!(new, want, "{seqs:?}");
        }
        check(&[], &[]);
        check(&[1, 2, 3], &[1, 2, 3]);
        check(&[1, 1, 2, 1, 2], &[1, 2]);
        check(&[1, 3, 2, 3, 2], &[1, 3, 2]); // the gap is filled later
        check(&[8, 7, 7, 8], &[8, 7]); // not "skip what is not above the highest"
        check(&[0], &[]); // no record has this number
        check(&[SPAN, 1, 1], &[SPAN, 1]); // the last one inside the window
        check(&[SPAN + 1, 1, 2], &[SPAN + 1, 2]); // 1 had been confirmed before that was sent
        check(&[5, 5 + SPAN, 5, 6], &[5, 5 + SPAN, 6]); // the bit of 5 is that of 5 + SPAN now
        check(&[5, 6 + SPAN, 5 + SPAN], &[5, 6 + SPAN, 5 + SPAN]);
        check(&[70, 70 + SPAN - 1, 70], &[70, 70 + SPAN - 1]); // still remembered, one short of a span
        check(&[3, 10 * SPAN, 9 * SPAN + 3, 9 * SPAN], &[3, 10 * SPAN, 9 * SPAN + 3]);
        check(&[u64::MAX, u64::MAX, u64::MAX - 1], &[u64::MAX, u64::MAX - 1]);
    }

    #[test]
    fn ids_are_read_as_they_are_written() {
        #[track_caller]
        fn check(text: &str, want: Option<(u128, u64)>) {
            let found = text.parse::<RecordId>();
            assert_eq!(found.map(|id| (id.lane.0, id.seq)).ok(), want, "{text}");
            if let Ok(id) = found {
                assert_eq!(id.to_string(), text);
            }
        }
        let lane = "000000000000000000000000000000ab";
        check(&format!("{lane}-17"), Some((0xab, 17)));
        check(&format!("{lane}-{}", u64::MAX), Some((0xab, u64::MAX)));
        check(&format!("{lane}-18446744073709551616"), None);
        check(&format!("{lane}-0"), None);
        check(&format!("{lane}-017"), None);
        check(&format!("{lane}-+7"), None);
        check(&format!("{lane}-"), None);
        check(&format!("{lane}-1-2"), None);
        check(&format!("{}-1", lane.to_uppercase()), None);
        check("ab-1", None);
        check(&"é".repeat(16), None);
        check("", None);
    }

    #[test]
    fn lanes_are_counted_apart_and_the_silent_one_goes_first() {
        let id = |lane: usize, seq: u64| RecordId { lane: LaneId(lane as u128), seq };
        let mut seen = Seen::default();
        assert!(seen.is_new(id(1, 1)) && seen.is_new(id(2, 1)) && !seen.is_new(id(1, 1)));
        for lane in 3..=LANES_MAX {
            assert!(seen.is_new(id(lane, 1)));
        }
        assert!(!seen.is_new(id(1, 1))); // lane 2 is now the one that was silent for the longest time
        assert!(seen.is_new(id(LANES_MAX + 1, 1)));
        assert_eq!(seen.lanes(), LANES_MAX);
        assert!(!seen.is_new(id(1, 1)) && !seen.is_new(id(3, 1)));
        assert!(seen.is_new(id(2, 1)), "lane 2 was forgotten");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Within the promise (nothing is sent a span or more above what has not arrived), the window says what a
        /// set of all numbers would say.
        #[test]
        fn a_window_is_a_set(steps in proptest::collection::vec((any::<bool>(), 0..SPAN, 0u8..8), 1..400)) {
            let (mut window, mut set, mut high) = (Window::default(), HashSet::new(), 1u64);
            for (ahead, far, near) in steps {
                // Mostly close to the edges, where the mistakes are.
                let far = match near { 0 => far, 1 => SPAN - 1 - far % 3, 2 => far % 200, _ => far % 4 };
                let seq = if ahead { high + far } else { high.saturating_sub(far).max(1) };
                high = high.max(seq);
                // Everything at least a span below has been confirmed, so it has arrived before.
                prop_assert_eq!(window.is_new(seq), set.insert(seq), "{} of {}", seq, high);
            }
        }
    }
}

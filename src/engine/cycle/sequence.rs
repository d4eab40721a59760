//! The intervals between the iterations of one loop, as far as a verdict needs them: how they began and how they are.
//!
//! The first 16 and the last 32 are kept. Where they grew and then fell to a quarter or less, the program has begun
//! anew (it had got through for a moment, or it counts in rounds): the rise is kept, and the next one is watched.
//! Limit: 64 numbers.

use serde::{Deserialize, Serialize};

use crate::units::Timestamp;

/// Intervals kept from the beginning.
pub const FIRST: usize = 16;
/// Intervals kept from the end.
pub const LAST: usize = 32;
/// A longer interval than this many seconds is none of a loop: whoever waits a quarter of an hour does no harm.
pub const LONGEST: f64 = 900.0;

/// Intervals of one step, in seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sequence {
    /// When the first interval began.
    pub since: Timestamp,
    /// Those of the rise that is watched: since the beginning, or since the last fall.
    first: Vec<f32>,
    /// Those of the longest rise before it.
    best: Vec<f32>,
    /// The newest, in a ring.
    last: Vec<f32>,
    /// The place of the next one in the ring.
    next: u8,
    /// Intervals ever.
    count: u64,
    /// How often they grew and then fell.
    falls: u32,
    /// None of this rise was clearly shorter than the one before.
    is_rising: bool,
    longest: f32,
}

impl Sequence {
    /// Forgets everything; the next interval begins at `since`.
    pub fn restart(&mut self, since: Timestamp) {
        self.first.clear();
        self.best.clear();
        self.last.clear();
        (self.since, self.next, self.count, self.falls, self.longest) = (since, 0, 0, 0, 0.0);
    }

    /// Takes in an interval.
    #[inline]
    pub fn push(&mut self, seconds: f32) {
        if let Some(before) = self.newest() {
            self.watch(before, seconds);
        } else {
            self.is_rising = true;
        }
        if self.first.len() < FIRST {
            self.first.push(seconds);
        }
        if self.last.len() < LAST {
            self.last.push(seconds);
        } else if let Some(place) = self.last.get_mut(usize::from(self.next)) {
            *place = seconds;
        }
        self.next = (self.next + 1) % LAST as u8;
        self.count += 1;
        self.longest = self.longest.max(seconds);
    }

    /// Takes in intervals. Once the beginning is full and nothing falls, that is a matter of the ring alone.
    pub fn extend(&mut self, all: &[f32]) {
        let (Some(newest), Some(&first)) = (self.newest(), all.first()) else {
            return all.iter().for_each(|&seconds| self.push(seconds));
        };
        // None of these ends early, so that the compiler takes several at a time.
        let falls =
            all.iter().zip(&all[1..]).fold(is_shorter(first, newest), |falls, (&before, &seconds)| {
                falls | is_shorter(seconds, before)
            });
        let is_full = self.first.len() >= FIRST && self.last.len() == LAST;
        if !is_full || self.is_rising && falls {
            return all.iter().for_each(|&seconds| self.push(seconds));
        }
        for piece in all.chunks(LAST) {
            let room = LAST - usize::from(self.next);
            let (to_the_end, rest) = piece.split_at(room.min(piece.len()));
            self.last[usize::from(self.next)..][..to_the_end.len()].copy_from_slice(to_the_end);
            self.last[..rest.len()].copy_from_slice(rest);
            self.next = ((usize::from(self.next) + piece.len()) % LAST) as u8; // below LAST
        }
        let longest = |longest: f32, &seconds: &f32| if seconds > longest { seconds } else { longest };
        self.longest = all.iter().fold(self.longest, longest);
        self.count += all.len() as u64;
    }

    /// Whether the program has begun anew.
    #[inline]
    fn watch(&mut self, before: f32, seconds: f32) {
        if !is_shorter(seconds, before) {
            return;
        }
        let fell = self.is_rising && self.first.len() > 3 && seconds * 4.0 <= before;
        if fell {
            self.falls += 1;
            if self.first.len() >= self.best.len() {
                std::mem::swap(&mut self.first, &mut self.best);
            }
            self.first.clear();
        }
        self.is_rising = fell;
    }

    /// The newest interval.
    #[inline]
    pub fn newest(&self) -> Option<f32> {
        let at = (usize::from(self.next) + LAST - 1) % LAST;
        self.last.get(at).copied()
    }

    /// Intervals ever taken in.
    #[inline]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest one ever.
    pub fn longest(&self) -> f32 {
        self.longest
    }

    /// How often they grew and then fell to a quarter or less.
    pub fn falls(&self) -> u32 {
        self.falls
    }

    /// The longest rise from a beginning: at most 16 intervals.
    pub fn rise(&self) -> &[f32] {
        if self.best.len() > self.first.len() { &self.best } else { &self.first }
    }

    /// The newest ones, oldest first: at most 32.
    pub fn recent(&self) -> Vec<f32> {
        let split = if self.last.len() < LAST { 0 } else { usize::from(self.next) };
        let (newer, older) = self.last.split_at(split);
        [older, newer].concat()
    }

    /// Whether an interval of `seconds` cannot belong to what came before: something else has begun.
    pub fn is_broken_by(&self, seconds: f64) -> bool {
        let silence = if self.count < 3 { 300.0 } else { (8.0 * f64::from(self.longest)).max(30.0) };
        seconds > LONGEST.min(silence)
    }

    /// Bytes of memory behind it.
    pub fn size(&self) -> usize {
        (self.first.capacity() + self.best.capacity() + self.last.capacity()) * size_of::<f32>()
    }
}

/// Clearly.
#[inline]
fn is_shorter(seconds: f32, before: f32) -> bool {
    seconds < 0.9 * before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(intervals: impl IntoIterator<Item = f32>) -> Sequence {
        let mut sequence = Sequence::default();
        intervals.into_iter().for_each(|interval| sequence.push(interval));
        sequence
    }

    #[test]
    fn the_first_and_the_last_are_kept() {
        let sequence = of((0..100).map(|at| 100.0 + at as f32));
        assert_eq!((sequence.rise().len(), sequence.rise()[0]), (FIRST, 100.0));
        let recent = sequence.recent();
        assert_eq!((recent.len(), recent[0], recent[LAST - 1]), (LAST, 168.0, 199.0));
        assert_eq!((sequence.count(), sequence.falls(), sequence.newest()), (100, 0, Some(199.0)));
        assert_eq!(of([]).newest(), None);
    }

    #[test]
    fn a_fall_begins_anew_and_the_best_rise_is_kept() {
        let round = [1.0, 2.0, 4.0, 8.0, 8.0];
        let sequence = of(round.into_iter().chain([1.0, 2.0]));
        assert_eq!((sequence.falls(), sequence.rise()), (1, &round[..]));
        let longer = of(round.into_iter().chain([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 1.0, 2.0]));
        assert_eq!((longer.falls(), longer.rise().len()), (2, 6));
        // Jitter falls, too, but it had not grown.
        assert_eq!(of([3.0, 1.0, 5.0, 1.0, 6.0, 0.5]).falls(), 0);
    }

    #[test]
    fn a_long_silence_breaks_it() {
        let steady = of([1.0; 10]);
        assert!(!steady.is_broken_by(29.0) && steady.is_broken_by(31.0));
        let growing = of([1.0, 2.0, 4.0, 8.0, 16.0]);
        assert!(!growing.is_broken_by(100.0) && growing.is_broken_by(200.0));
        assert!(of([]).is_broken_by(301.0) && !of([]).is_broken_by(299.0));
    }
}

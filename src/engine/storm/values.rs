//! Statistics of a storming entry's variables: smallest and largest exact, the rest from a bounded sample.
//!
//! Limit: 8 variables, 64 sampled values each: about 5 KiB for one entry, and 256 entries have them.

use serde::{Deserialize, Serialize};

use crate::engine::template::mask::Slots;

/// Sampled values of one variable. At 64, the median of a uniform spread is off by about 6 % of its width.
const SAMPLE: usize = 64;
/// Variables that are looked at.
const SLOTS: usize = 8;

/// What is said of one variable.
#[derive(Clone, Debug, PartialEq)]
pub struct SlotValues {
    /// Which variable of the template, from 0.
    pub slot: u8,
    /// Present when every value was a number with the same unit.
    pub numbers: Option<Numbers>,
    /// Different values in the sample: a lower bound of those in the window.
    pub distinct: u64,
}

/// A number's spread.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers {
    /// The smallest value of the window, exact.
    pub min: f64,
    /// The median of the sample.
    pub p50: f64,
    /// The 95th percentile of the sample.
    pub p95: f64,
    /// The largest value of the window, exact.
    pub max: f64,
    /// The letters behind the digits (`ms`), or empty.
    pub unit: String,
}

/// Collects the values of one window.
#[derive(Debug, Default)]
pub struct Values {
    slots: [Slot; SLOTS],
    used: usize,
    /// Lines to pass over before the next one is sampled; with no variables there is nothing to sample, ever.
    until_sample: u64,
    /// Each `stride`-th line is sampled; doubles whenever the sample is full. 0 before the first line.
    stride: u64,
}

#[derive(Debug, Default)]
struct Slot {
    /// Whether every value so far was a number, and of which unit.
    shape: Shape,
    min: f64,
    max: f64,
    sample: Vec<Sampled>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
enum Shape {
    #[default]
    Unseen,
    Number(Unit),
    Text,
}

/// Up to eight letters behind a number, in one register: comparing them is done for each value of a storm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Unit(u64);

/// What is kept of one variable over a restart: all but the sample, which begins anew. So the extremes of a window
/// stay exact, while its percentiles and the number of different values speak of the lines since the restart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Extremes {
    shape: Shape,
    min: f64,
    max: f64,
}

#[derive(Clone, Copy, Debug)]
struct Sampled {
    number: f64,
    hash: u64,
}

impl Values {
    /// Whether the next line is one that the sample wants, although its values are known to be inside the extremes.
    #[inline]
    pub fn wants_next(&self) -> bool {
        self.until_sample == 0
    }

    /// Skips a line whose values were observed before in this window.
    #[inline]
    pub fn skip(&mut self) {
        self.until_sample -= 1;
    }

    /// Whether the template has no variables.
    #[inline]
    pub fn is_constant(&self) -> bool {
        self.stride == u64::MAX
    }

    /// Takes in the variables of one line.
    pub fn observe(&mut self, text: &[u8], slots: &Slots) {
        let sampled = self.wants_next();
        self.stride = if slots.as_slice().is_empty() { u64::MAX } else { self.stride.max(1) };
        self.until_sample = if sampled { self.stride } else { self.until_sample } - 1;
        for (index, range) in slots.as_slice().iter().take(SLOTS).enumerate() {
            let Some(value) = text.get(range.start as usize..range.end as usize) else { continue };
            self.used = self.used.max(index + 1);
            self.slots[index].observe(value, sampled);
        }
        if sampled && self.slots.iter().any(|slot| slot.sample.len() >= SAMPLE) {
            self.thin();
        }
    }

    /// Keeps each second sampled value and samples half as often from now on, so the sample stays even.
    fn thin(&mut self) {
        self.stride *= 2;
        self.until_sample = self.stride - 1;
        for slot in &mut self.slots {
            let mut keep = false;
            slot.sample.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// What the window's values were; the collection begins anew.
    pub fn take(&mut self) -> Vec<SlotValues> {
        let mut all = Vec::with_capacity(self.used);
        for (index, slot) in self.slots[..self.used].iter_mut().enumerate() {
            all.extend(slot.summary(index as u8));
        }
        *self = Values::default();
        all
    }

    /// What is kept of these values over a restart.
    pub fn extremes(&self) -> Vec<Extremes> {
        let extremes = |slot: &Slot| Extremes { shape: slot.shape, min: slot.min, max: slot.max };
        self.slots[..self.used].iter().map(extremes).collect()
    }

    /// The values of a window that goes on after a restart.
    pub fn going_on(extremes: &[Extremes]) -> Values {
        let mut values = Values { used: extremes.len().min(SLOTS), ..Values::default() };
        for (slot, kept) in values.slots.iter_mut().zip(extremes) {
            *slot = Slot { shape: kept.shape, min: kept.min, max: kept.max, sample: Vec::new() };
        }
        values
    }

    /// Bytes of memory behind these values.
    pub fn size(&self) -> usize {
        let samples: usize = self.slots.iter().map(|slot| slot.sample.capacity()).sum();
        size_of::<Values>() + samples * size_of::<Sampled>()
    }
}

impl Slot {
    #[inline]
    fn observe(&mut self, value: &[u8], sampled: bool) {
        let mut number = 0.0;
        if self.shape != Shape::Text {
            match (self.shape, quantity(value)) {
                (Shape::Unseen, Some((first, unit))) => {
                    self.shape = Shape::Number(unit);
                    (self.min, self.max) = (first, first);
                    number = first;
                }
                (Shape::Number(known), Some((next, unit))) if known == unit => {
                    self.min = self.min.min(next);
                    self.max = self.max.max(next);
                    number = next;
                }
                _ => self.shape = Shape::Text,
            }
        }
        if sampled {
            self.sample.push(Sampled { number, hash: xxhash_rust::xxh3::xxh3_64(value) });
        }
    }

    fn summary(&mut self, slot: u8) -> Option<SlotValues> {
        let mut hashes: Vec<u64> = self.sample.iter().map(|sampled| sampled.hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        self.sample.sort_unstable_by(|a, b| a.number.total_cmp(&b.number));
        let at = |share: f64| -> Option<f64> {
            let last = self.sample.len().checked_sub(1)?;
            Some(self.sample[(last as f64 * share).round() as usize].number)
        };
        let numbers = match self.shape {
            Shape::Unseen => return None,
            Shape::Text => None,
            Shape::Number(unit) => Some(Numbers {
                min: self.min,
                p50: at(0.50).unwrap_or(self.min),
                p95: at(0.95).unwrap_or(self.max),
                max: self.max,
                unit: unit.letters(),
            }),
        };
        Some(SlotValues { slot, numbers, distinct: hashes.len() as u64 })
    }
}

impl Unit {
    fn new(letters: &[u8]) -> Option<Unit> {
        let fits = letters.len() <= 8 && letters.iter().all(u8::is_ascii_alphabetic);
        fits.then(|| Unit(letters.iter().fold(0, |packed, letter| packed << 8 | u64::from(*letter))))
    }

    fn letters(self) -> String {
        self.0.to_be_bytes().into_iter().filter(|byte| *byte != 0).map(char::from).collect()
    }
}

/// A decimal number with an optional unit of letters behind it: `12`, `0.281`, `281ms`. Not `0x1f`, `1.2.3`, `12:30`.
#[inline]
fn quantity(value: &[u8]) -> Option<(f64, Unit)> {
    let (whole, rest) = digits(value)?;
    if rest.is_empty() {
        return Some((whole as f64, Unit::default()));
    }
    let Some(after_point) = rest.strip_prefix(b".") else { return Some((whole as f64, Unit::new(rest)?)) };
    let (fraction, rest) = digits(after_point)?;
    let places = after_point.len() - rest.len();
    Some((whole as f64 + fraction as f64 / 10f64.powi(places as i32), Unit::new(rest)?))
}

/// One to 15 decimal digits, which a float holds exactly, and what follows them.
#[inline]
fn digits(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0u64;
    let mut length = 0;
    while let Some(digit) = text.get(length).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit <= 9) {
        number = number * 10 + u64::from(digit);
        length += 1;
        if length > 15 {
            return None;
        }
    }
    (length > 0).then(|| (number, &text[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::template::mask::Mask;

    #[test]
    fn quantities() {
        #[track_caller]
        fn check(text: &str, want: Option<(f64, &str)>) {
            let found = quantity(text.as_bytes()).map(|(number, unit)| (number, unit.letters()));
            assert_eq!(found, want.map(|(number, unit)| (number, unit.to_owned())), "{text}");
        }
        check("12", Some((12.0, "")));
        check("0.281", Some((0.281, "")));
        check("281ms", Some((281.0, "ms")));
        check("10.23GiB", Some((10.23, "GiB")));
        check("1.2.3", None);
        check("12:30", None);
        check("0x1f", None);
        check("a1", None);
        check(".5", None);
        check("5.", None);
        check("", None);
        check("12345678901234567890", None);
    }

    #[test]
    fn extremes_are_exact_and_percentiles_near() {
        let mask = Mask::new(1);
        let (mut values, mut slots) = (Values::default(), Slots::default());
        for number in 1..=10_000u32 {
            let text = format!("took {}ms on host{}", (number * 7919) % 10_000, number % 3);
            mask.fingerprint(text.as_bytes(), &mut slots);
            values.observe(text.as_bytes(), &slots);
        }
        assert!(values.size() < 8 * 1024, "{}", values.size());
        let all = values.take();
        assert_eq!(all.len(), 2);
        let took = all[0].numbers.as_ref().expect("a number");
        assert_eq!((took.min, took.max, took.unit.as_str()), (0.0, 9_999.0, "ms"));
        assert!((3_000.0..7_000.0).contains(&took.p50), "{took:?}");
        assert!((8_500.0..10_000.0).contains(&took.p95), "{took:?}");
        assert_eq!((&all[1].numbers, all[1].distinct), (&None, 3));
        assert_eq!(values.take(), []);
    }

    #[test]
    fn extremes_survive_a_restart() {
        let mask = Mask::new(1);
        let mut slots = Slots::default();
        let mut values = Values::default();
        let mut observe = |values: &mut Values, text: &str| {
            mask.fingerprint(text.as_bytes(), &mut slots);
            values.observe(text.as_bytes(), &slots);
        };
        observe(&mut values, "took 5ms on host1");
        observe(&mut values, "took 900ms on host2");
        let mut values = Values::going_on(&values.extremes());
        observe(&mut values, "took 70ms on host1");
        let all = values.take();
        let took = all[0].numbers.as_ref().expect("a number");
        assert_eq!((took.min, took.max, took.unit.as_str()), (5.0, 900.0, "ms"));
        assert_eq!(all[1].numbers, None);
        let mut none = Values::going_on(&values.extremes());
        assert_eq!(none.take(), []);
    }
}

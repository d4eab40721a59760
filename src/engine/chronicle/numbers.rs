//! Numbers that lines carry, over time: a mean that goes from 20 ms to 281 ms is an incident without a single error.
//!
//! In: some lines of each template, at most [`PER_BUCKET`] in a bucket of time and [`ALL_PER_BUCKET`] of all. Out: [`Moved`], the numbers that left
//! what was normal for them.
//! What is a number: a field with a numeric value (JSON, logfmt, `key=value`), a variable with a unit behind it
//! (`took 281 ms`), and `n/m` (`180/200`). Names that are ids or times by convention are left out, and so is what only
//! ever counts up.
//! Limits: [`FIELDS_MAX`] numbers, each in 24 parts of the time with 32 sampled values: 4 MB at most.
//! Means and percentiles are of the sample; the largest value too.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;

use super::series::{BUCKETS, Span};
use crate::engine::line::fields::{Fields, Form, Kind, Quantity, quantity};
use crate::engine::template::mask::Slots;

/// Numbers that are told apart; later ones are left out.
pub const FIELDS_MAX: usize = 512;
/// Lines of a template that are looked at in each bucket.
pub const PER_BUCKET: u32 = 16;
/// Lines of all templates that are looked at in each bucket.
pub const ALL_PER_BUCKET: u32 = 1_024;
/// Lines without a number after which a template is not looked at again.
pub const BLANKS_MAX: u8 = 4;
/// Parts of the time, whatever it is.
const PARTS: usize = 24;
/// Buckets in a part.
const BUCKETS_PER_PART: usize = BUCKETS / PARTS;
/// Values kept of a part.
const SAMPLE: usize = 32;
/// A part with fewer values says nothing.
const VALUES_MIN: u64 = 5;
/// A number moves when its mean is so many times what it was, or falls to that part of it.
const FACTOR: f64 = 2.0;

/// All numbers.
#[derive(Debug, Default)]
pub struct Numbers {
    fields: Vec<Field>,
    /// By row and name.
    index: HashMap<(u32, u64), u32>,
    reader: Fields,
    name: Vec<u8>,
}

/// What one line says.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// Its text.
    pub text: &'a [u8],
    /// The part that its template was made from.
    pub subject: &'a [u8],
    /// The variables of that part.
    pub slots: &'a Slots,
}

#[derive(Debug)]
struct Field {
    row: u32,
    name: Box<str>,
    unit: Box<str>,
    shift: u32,
    parts: Vec<(u8, Part)>,
    last: f64,
    rises: u64,
    falls: u64,
}

/// The values of one part of the time.
#[derive(Clone, Debug, Default)]
struct Part {
    count: u64,
    sum: f64,
    max: f64,
    /// Each `stride`-th value; doubles when the sample is full.
    stride: u64,
    sample: Vec<f64>,
}

/// What was said of a number in some stretch of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// Values that were looked at.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// Their median.
    pub p50: f64,
    /// Their 95th percentile.
    pub p95: f64,
    /// The largest.
    pub max: f64,
}

/// A number that left what was normal for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Moved {
    /// Its template's row.
    pub(super) row: u32,
    /// The field's name, or the words around the variable.
    pub name: Box<str>,
    /// Its unit; `s` and `B` for all times and sizes.
    pub unit: Box<str>,
    /// What it was at first.
    pub before: Statistics,
    /// What it was where it was furthest from that.
    pub then: Statistics,
    /// The first bucket of the first part in which it had moved.
    pub(super) bucket: usize,
    /// The mean of each part, in order; `None` where nothing was said.
    pub means: Vec<Option<f64>>,
}

impl Moved {
    /// How many times what it was: below 1 where it fell.
    pub fn factor(&self) -> f64 {
        self.then.mean / self.before.mean
    }
}

impl Numbers {
    /// Takes in the numbers of one line. False when it has none.
    pub fn observe(&mut self, row: u32, said: Said<'_>, span: &Span, bucket: usize) -> bool {
        let mut any = false;
        let mut reader = std::mem::take(&mut self.reader);
        let form = reader.read(said.text, &mut |name, value| {
            if !matches!(value.kind, Kind::Number | Kind::Text) || is_id(name) {
                return;
            }
            if let Some(quantity) = quantity(value.bytes) {
                any = true;
                self.take(row, name, quantity, span, bucket);
            }
        });
        self.reader = reader;
        if form != Form::Prose {
            return any;
        }
        for slot in said.slots.as_slice() {
            let mut name = std::mem::take(&mut self.name);
            let (start, end) = (slot.start as usize, slot.end as usize);
            if let Some(quantity) = in_prose(said.subject, start, end, &mut name) {
                any = true;
                self.take(row, &name, quantity, span, bucket);
            }
            self.name = name;
        }
        any
    }

    fn take(&mut self, row: u32, name: &[u8], quantity: Quantity<'_>, span: &Span, bucket: usize) {
        let quantity = quantity.in_base_unit();
        let key = (row, xxh3_64(name));
        let field = match self.index.get(&key) {
            Some(index) => &mut self.fields[*index as usize],
            None if self.fields.len() >= FIELDS_MAX => return,
            None => {
                self.index.insert(key, self.fields.len() as u32);
                self.fields.push(Field::new(row, name, quantity.unit));
                let last = self.fields.len() - 1;
                &mut self.fields[last]
            }
        };
        // Another unit is another thing: `none` beside `5 ms`, say.
        if *field.unit == *quantity.unit {
            field.take(quantity.number, span, bucket);
        }
    }

    /// The numbers that moved, the furthest first. What was before `onset`, a bucket, is normal; without one, or where
    /// too little came before it, the first quarter is.
    pub fn moved(&self, span: &Span, onset: Option<usize>) -> Vec<Moved> {
        let mut moved: Vec<Moved> = self.fields.iter().filter_map(|field| field.moved(span, onset)).collect();
        moved.sort_by(|a, b| b.factor().ln().abs().total_cmp(&a.factor().ln().abs()));
        moved
    }
}

impl Field {
    fn new(row: u32, name: &[u8], unit: &str) -> Field {
        Field {
            row,
            name: String::from_utf8_lossy(name).into(),
            unit: unit.into(),
            shift: 0,
            parts: Vec::new(),
            last: f64::NAN,
            rises: 0,
            falls: 0,
        }
    }

    fn take(&mut self, number: f64, span: &Span, bucket: usize) {
        self.rises += u64::from(number > self.last);
        self.falls += u64::from(number < self.last);
        self.last = number;
        self.fold(span);
        let place = (bucket / BUCKETS_PER_PART) as u8; // fewer than PARTS
        match self.parts.last_mut() {
            Some((last, part)) if *last >= place => part.take(number),
            _ => {
                let mut part = Part { stride: 1, max: f64::NEG_INFINITY, ..Part::default() };
                part.take(number);
                self.parts.push((place, part));
            }
        }
    }

    /// Buckets have become longer, and parts with them.
    fn fold(&mut self, span: &Span) {
        let by = span.shift() - self.shift;
        self.shift = span.shift();
        if by == 0 {
            return;
        }
        let mut folded: Vec<(u8, Part)> = Vec::new();
        for (place, part) in self.parts.drain(..) {
            let place = place.checked_shr(by).unwrap_or(0);
            match folded.last_mut() {
                Some((last, into)) if *last == place => into.add(part),
                _ => folded.push((place, part)),
            }
        }
        self.parts = folded;
    }

    fn moved(&self, span: &Span, onset: Option<usize>) -> Option<Moved> {
        if self.only_counts_up() {
            return None;
        }
        let mut field =
            Field { parts: self.parts.clone(), name: self.name.clone(), unit: self.unit.clone(), ..*self };
        field.fold(span);
        let parts = &field.parts;
        let onset = onset.map_or(0, |bucket| bucket / BUCKETS_PER_PART);
        let before = parts.iter().take_while(|(place, _)| usize::from(*place) < onset).count();
        let before = if before == 0 { parts.len().div_ceil(4) } else { before };
        let (normal, rest) = parts.split_at(before.min(parts.len()));
        let mut sum = Part { stride: 1, max: f64::NEG_INFINITY, ..Part::default() };
        normal.iter().for_each(|(_, part)| sum.add(part.clone()));
        let before = sum.statistics()?;
        let has_moved = |then: &Statistics| {
            let up = then.mean >= before.mean * FACTOR && then.mean > before.p95;
            // Not by the mean alone: a few outliers before would make all else look like a fall.
            let down = then.mean <= before.mean / FACTOR && then.p95 < before.p50;
            before.mean > 0.0 && then.mean > 0.0 && (up || down)
        };
        let distance = |then: &Statistics| (then.mean / before.mean).ln().abs();
        let others = rest.iter().filter_map(|(place, part)| Some((*place, part.statistics()?)));
        let moved: Vec<(u8, Statistics)> = others.filter(|(_, then)| has_moved(then)).collect();
        let (since, _) = *moved.first()?;
        let (_, then) = moved.into_iter().max_by(|(_, a), (_, b)| distance(a).total_cmp(&distance(b)))?;
        let mut means = vec![None; usize::from(parts.last()?.0) + 1];
        parts.iter().for_each(|(place, part)| means[usize::from(*place)] = part.mean());
        Some(Moved {
            row: self.row,
            name: self.name.clone(),
            unit: self.unit.clone(),
            before,
            then,
            bucket: usize::from(since) * BUCKETS_PER_PART,
            means,
        })
    }

    /// A sequence number, an offset, a time: it moves always, and says nothing.
    fn only_counts_up(&self) -> bool {
        self.rises >= 10 && self.falls * 20 <= self.rises
    }
}

impl Part {
    fn take(&mut self, number: f64) {
        if self.count.is_multiple_of(self.stride) {
            self.sample.push(number);
        }
        self.count += 1;
        self.sum += number;
        self.max = self.max.max(number);
        self.thin();
    }

    fn add(&mut self, other: Part) {
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
        self.sample.extend(other.sample);
        self.stride = self.stride.max(other.stride);
        self.thin();
    }

    fn thin(&mut self) {
        while self.sample.len() >= SAMPLE {
            self.stride *= 2;
            let mut keep = false;
            self.sample.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }

    fn statistics(&self) -> Option<Statistics> {
        if self.count < VALUES_MIN {
            return None;
        }
        let mut sample = self.sample.clone();
        sample.sort_by(f64::total_cmp);
        let last = sample.len().checked_sub(1)?;
        let at = |share: f64| sample[(last as f64 * share).round() as usize];
        Some(Statistics {
            count: self.count,
            mean: self.mean()?,
            p50: at(0.50),
            p95: at(0.95),
            max: self.max,
        })
    }
}

/// The number of a variable in prose, where a unit follows it, or where it is `n/m`. `name` gets the words around it.
fn in_prose<'t>(text: &'t [u8], start: usize, end: usize, name: &mut Vec<u8>) -> Option<Quantity<'t>> {
    let value = text.get(start..end)?;
    let (number, behind) = match memchr::memchr(b'/', value) {
        Some(slash) => {
            quantity(&value[slash + 1..]).filter(|limit| limit.unit.is_empty())?;
            (quantity(&value[..slash]).filter(|number| number.unit.is_empty())?, &value[slash..])
        }
        None => {
            let rest = &text[end..];
            let unit = rest.iter().skip(usize::from(rest.first() == Some(&b' ')));
            let letters = unit.take_while(|byte| byte.is_ascii_alphabetic() || **byte == b'%').count();
            let gap = usize::from(rest.first() == Some(&b' ') && letters > 0);
            let whole = &text[start..end + gap + letters];
            let with_unit = quantity(whole).filter(|quantity| is_unit(quantity.unit));
            let number = with_unit.or_else(|| quantity(value).filter(|quantity| is_unit(quantity.unit)))?;
            (number, &[][..])
        }
    };
    name.clear();
    let words = text[..start].rsplitn(WORDS + 2, |byte| byte.is_ascii_whitespace());
    let words: Vec<&[u8]> = words.skip(1).take(WORDS).take_while(|word| is_word(word)).collect();
    for word in words.iter().rev() {
        name.extend_from_slice(word);
        name.push(b' ');
    }
    name.extend_from_slice(b"<*>");
    name.extend_from_slice(behind);
    Some(number)
}

/// Words before a variable that name it.
const WORDS: usize = 3;

fn is_word(word: &[u8]) -> bool {
    !word.is_empty()
        && word.len() <= 24
        && word.iter().all(|byte| byte.is_ascii_alphabetic() || b":-_".contains(byte))
}

/// A unit that makes a number worth watching: a time, a size, a share.
fn is_unit(unit: &str) -> bool {
    unit == "%" || matches!(Quantity { number: 1.0, unit }.in_base_unit().unit, "s" | "B")
}

/// Whether numbers of this name are ids, times or codes by convention: they differ, and do not measure.
fn is_id(name: &[u8]) -> bool {
    let last = name.rsplit(|byte| *byte == b'.').next().unwrap_or(name);
    let lower: Vec<u8> = last.iter().map(u8::to_ascii_lowercase).take(32).collect();
    let ends = |end: &[u8]| lower.ends_with(end);
    // `userId`, `user_id`, `user-id`, but not `paid`.
    let is_named_id =
        lower == b"id" || last.ends_with(b"Id") || last.ends_with(b"ID") || ends(b"_id") || ends(b"-id");
    is_named_id || NOT_MEASURES.contains(&lower.as_slice())
}

const NOT_MEASURES: [&[u8]; 27] = [
    b"ts",
    b"t",
    b"time",
    b"timestamp",
    b"@timestamp",
    b"date",
    b"pid",
    b"tid",
    b"thread",
    b"port",
    b"offset",
    b"seq",
    b"sequence",
    b"line",
    b"lineno",
    b"level",
    b"severity",
    b"status",
    b"statuscode",
    b"status_code",
    b"code",
    b"errno",
    b"exit",
    b"signal",
    b"version",
    b"v",
    b"year",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::template::mask::Mask;

    /// Feeds a text for each second, and shows what moved.
    fn moved(texts: impl IntoIterator<Item = String>, onset: Option<usize>) -> Vec<Moved> {
        let (mut numbers, mut span, mut slots) = (Numbers::default(), Span::new(0), Slots::default());
        for (second, text) in texts.into_iter().enumerate() {
            let bucket = span.bucket(second as i64);
            Mask::new(1).fingerprint(text.as_bytes(), &mut slots);
            let text = text.as_bytes();
            numbers.observe(0, Said { text, subject: text, slots: &slots }, &span, bucket);
        }
        numbers.moved(&span, onset)
    }

    fn noisy(second: u64, base: u64) -> u64 {
        base + second * 7919 % 5
    }

    #[test]
    fn slow_without_a_single_error() {
        #[track_caller]
        fn check(text: impl Fn(u64) -> String, name: &str, unit: &str) {
            let value = |second: u64| noisy(second, if second < 400 { 20 } else { 280 });
            let all = moved((0..600).map(|second| text(value(second))), None);
            let [moved] = all.as_slice() else { panic!("{all:?}") };
            assert_eq!((&*moved.name, &*moved.unit), (name, unit));
            let scale = if unit == "s" { 1_000.0 } else { 1.0 };
            assert!((20.0..25.0).contains(&(moved.before.mean * scale)), "{moved:?}");
            assert!((280.0..285.0).contains(&(moved.then.mean * scale)), "{moved:?}");
            assert!(moved.then.p95 <= moved.then.max && moved.then.p95 >= moved.then.mean * 0.99);
            assert!((12.0..15.0).contains(&moved.factor()));
        }
        check(
            |n| format!(r#"{{"level":"info","msg":"request done","duration":{n},"status":200}}"#),
            "duration",
            "",
        );
        check(|n| format!(r#"{{"msg":"done","http":{{"took":"{n}ms"}}}}"#), "http.took", "s");
        check(|n| format!("level=info msg=done took={n}ms user=7"), "took", "s");
        check(|n| format!("GET /api/orders 200 in {n} ms"), "in <*>", "s");
        check(|n| format!("active threads {n}/400"), "active threads <*>/400", "");
    }

    #[test]
    fn what_does_not_measure_does_not_move() {
        #[track_caller]
        fn check(text: impl Fn(u64) -> String) {
            assert_eq!(moved((0..600).map(text), None), []);
        }
        check(|n| {
            format!(r#"{{"msg":"done","id":{},"userId":{},"status":{}}}"#, n * n, n * 7, 200 + n / 300 * 303)
        });
        check(|n| format!("msg=done bytes_total={}", n * 1000 + n % 3)); // counts up
        check(|n| format!("worker {n} took the job")); // no unit
        check(|n| format!("took {} ms", noisy(n, 20)));
        check(|n| format!("took {} ms", if n % 50 == 0 { 900 } else { noisy(n, 20) })); // outliers were normal before
    }

    #[test]
    fn what_came_before_the_onset_is_normal() {
        let text = |second: u64| format!("took {} ms", noisy(second, if second < 40 { 20 } else { 300 }));
        let all = moved((0..200).map(text), Some(40));
        assert_eq!(all.len(), 1);
        assert!(all[0].factor() > 10.0, "{all:?}");
        assert_eq!(all[0].bucket, 40);
    }

    #[test]
    fn memory_is_bounded() {
        let all =
            moved((0..3_000u64).map(|n| format!("field{}x={} other{}y=5ms", n % 1_000, n % 7, n)), None);
        assert_eq!(all, []);
        let mut numbers = Numbers::default();
        let span = Span::new(0);
        for n in 0..2_000 {
            let said = Said { text: b"took=5ms", subject: b"took=5ms", slots: &Slots::default() };
            numbers.observe(n, said, &span, 0);
        }
        assert_eq!(numbers.fields.len(), FIELDS_MAX);
    }
}

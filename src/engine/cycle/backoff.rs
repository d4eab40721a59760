//! The verdict: how a loop spaces its tries, from the intervals between them.
//!
//! Rules and the figures behind them: `templates.md` 4d. Growth is looked for where the sequence began, steadiness where
//! it is now: a client that has backed off to its limit is as steady as one that never did. Where the beginning was not
//! seen, steadiness therefore proves nothing, and the verdict is `unknown`.
//! Limit: nothing is said of fewer than [`INTERVALS_MIN`] intervals.

use super::sequence::Sequence;

/// Fewer intervals give no verdict.
pub const INTERVALS_MIN: u64 = 6;

/// How a loop spaces its tries (`squall.verdict`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// At once, or nearly.
    None,
    /// After the same wait each time.
    Constant,
    /// Each wait is longer by the same time.
    Linear,
    /// Each wait is longer by the same factor.
    Exponential,
    /// The waits differ and do not grow.
    Jittered,
    /// It cannot be told.
    #[default]
    Unknown,
}

impl Verdict {
    /// The word used on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::None => "none",
            Verdict::Constant => "constant",
            Verdict::Linear => "linear",
            Verdict::Exponential => "exponential",
            Verdict::Jittered => "jittered",
            Verdict::Unknown => "unknown",
        }
    }

    /// Whether the waits grow.
    pub fn grows(self) -> bool {
        matches!(self, Verdict::Linear | Verdict::Exponential)
    }
}

/// What is said of a sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Judgement {
    /// How the tries are spaced.
    pub verdict: Verdict,
    /// The waits grow, and differ from a plain rule.
    pub jitter: bool,
    /// Where growing waits have come to stand, in seconds.
    pub cap: Option<f64>,
}

/// Judges a sequence. `is_whole` says that its beginning was seen.
pub fn judge(sequence: &Sequence, is_whole: bool) -> Judgement {
    if sequence.count() < INTERVALS_MIN {
        return Judgement::default();
    }
    let (rise, recent) = (seconds(sequence.rise()), seconds(&sequence.recent()));
    let now = Level::of(&recent);
    if let Some((verdict, jitter)) = plain_growth(&rise) {
        return Judgement { verdict, jitter: jitter || is_uneven(&recent), cap: cap(&recent) };
    }
    let plain = |verdict| Judgement { verdict, ..Judgement::default() };
    if now.high < INSTANT {
        // Lines without a time of their own that were read at once.
        return Judgement::default();
    }
    if let Some(verdict) = of_whole_seconds(&recent) {
        return plain(if is_whole || verdict == Verdict::None { verdict } else { Verdict::Unknown });
    }
    if now.median < 0.5 && now.high < 1.0 && now.ratio() < 3.0 {
        return plain(Verdict::None);
    }
    let seen = |verdict| plain(if is_whole { verdict } else { Verdict::Unknown });
    if now.ratio() < STEADY && climbs(&rise) {
        return Judgement { verdict: Verdict::Exponential, jitter: true, cap: cap(&recent) };
    }
    if now.ratio() < STEADY || leaves_out_turns(&recent, now.median) {
        return seen(Verdict::Constant);
    }
    if is_noisy_line(&rise) {
        return Judgement { verdict: Verdict::Linear, jitter: false, cap: cap(&recent) };
    }
    if grows_on_the_whole(&rise, &recent) {
        return Judgement { verdict: Verdict::Exponential, jitter: true, cap: cap(&recent) };
    }
    seen(Verdict::Jittered)
}

/// The same wait each time, where a turn is now and then told in other words, which belong to another step: the
/// interval is twice or three times as long then.
fn leaves_out_turns(recent: &[f64], median: f64) -> bool {
    let is_about = |interval: f64, turns: f64| (interval / (turns * median) - 1.0).abs() < 0.1;
    let single = recent.iter().filter(|&&interval| is_about(interval, 1.0)).count();
    let is_multiple = |&interval: &f64| (1..=3).any(|turns| is_about(interval, f64::from(turns)));
    single * 10 >= recent.len() * 7 && recent.iter().all(is_multiple)
}

/// What a clock that shows whole seconds can say of intervals around a second: most of them are 0 or 1.
fn of_whole_seconds(recent: &[f64]) -> Option<Verdict> {
    let is_coarse = recent.iter().all(|interval| (interval - interval.round()).abs() < 2.0 * INSTANT);
    let mean = recent.iter().sum::<f64>() / recent.len() as f64;
    let (least, most) =
        (recent.iter().copied().fold(f64::MAX, f64::min), recent.iter().copied().fold(0.0, f64::max));
    match is_coarse && most - least <= 1.0 + 2.0 * INSTANT {
        true if mean < 0.5 => Some(Verdict::None),
        true => Some(Verdict::Constant),
        false => None,
    }
}

/// Intervals of which the longest is less than this many times the shortest are one and the same wait.
const STEADY: f64 = 1.35;

/// Two lines this close, in seconds, were written at the same time.
const INSTANT: f64 = 2e-6;

fn seconds(intervals: &[f32]) -> Vec<f64> {
    // Two lines of one instant are no reason to divide by zero.
    intervals.iter().map(|&interval| f64::from(interval).max(1e-6)).collect()
}

/// Growth by a rule: every interval up to the plateau is longer than the one before, by the same time or factor.
fn plain_growth(rise: &[f64]) -> Option<(Verdict, bool)> {
    let longest = rise.iter().copied().fold(0.0, f64::max);
    let top = rise.iter().position(|&interval| interval >= 0.8 * longest)?;
    if top < 3 || longest < 2.5 * rise[0] {
        return None;
    }
    let steps: Vec<f64> = rise[..=top].windows(2).map(|pair| pair[1] - pair[0]).collect();
    let factors: Vec<f64> = rise[..=top].windows(2).map(|pair| (pair[1] / pair[0]).ln()).collect();
    if factors.iter().any(|&factor| factor <= 0.0) {
        return None;
    }
    let (by_time, by_factor) = (variation(&steps), variation(&factors));
    // The first step may begin with the work of starting, and the last one of a capped rise may be cut: neither is jitter.
    let inner = if factors.len() >= 5 { &factors[1..factors.len() - 1] } else { &factors };
    match by_time < by_factor {
        _ if by_time.min(by_factor) >= 0.35 => None,
        true => Some((Verdict::Linear, false)),
        // The work of a try is part of each interval.
        false => Some((Verdict::Exponential, variation(inner) > 0.25)),
    }
}

/// Growth up to a limit by steps that differ: none is clearly down, and there are some between the first wait and the
/// limit, so that it is no mere late start.
fn climbs(rise: &[f64]) -> bool {
    let longest = rise.iter().copied().fold(0.0, f64::max);
    let Some(top) = rise.iter().position(|&interval| interval >= 0.8 * longest) else { return false };
    let way = &rise[..=top];
    let is_between = |interval: &&f64| **interval > 1.5 * way[0] && **interval < longest / 1.5;
    let never_down = way.windows(2).all(|pair| pair[1] >= 0.9 * pair[0]);
    longest >= 4.0 * way[0] && never_down && way.iter().filter(is_between).count() >= 2
}

/// Linear growth with work of changing length in each interval, so that not every one is longer than the one before.
fn is_noisy_line(rise: &[f64]) -> bool {
    let longest = rise.iter().copied().fold(0.0, f64::max);
    let top = rise.iter().position(|&interval| interval >= 0.9 * longest).unwrap_or(0);
    let rise = &rise[..=top.min(rise.len() - 1)];
    let logs: Vec<f64> = rise.iter().map(|interval| interval.ln()).collect();
    rise.len() >= 6 && longest >= 2.0 * rise[0] && fit(rise) >= 0.9 && fit(rise) > fit(&logs)
}

/// How much of the values' variance a straight line explains, if it rises: 1 is all.
fn fit(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let (middle, mean) = ((n - 1.0) / 2.0, values.iter().sum::<f64>() / n);
    let (mut both, mut across, mut up) = (0.0, 0.0, 0.0);
    for (at, value) in values.iter().enumerate() {
        let (x, y) = (at as f64 - middle, value - mean);
        both += x * y;
        across += x * x;
        up += y * y;
    }
    if both <= 0.0 { 0.0 } else { both * both / (across * up).max(1e-12) }
}

/// Growth under jitter: a rising trend (Kendall) over the beginning, and at least twice the wait later on.
fn grows_on_the_whole(rise: &[f64], recent: &[f64]) -> bool {
    let early = median(&rise[..(rise.len() / 4).max(2).min(rise.len())]);
    let later = &recent[recent.len() - (recent.len() / 2).max(3).min(recent.len())..];
    trend(rise) > 1.65 && median(later) >= 2.0 * early
}

/// Kendall's rank correlation with the order, in standard deviations of chance.
fn trend(values: &[f64]) -> f64 {
    let mut score = 0i32;
    for (at, value) in values.iter().enumerate() {
        for later in &values[at + 1..] {
            score += i32::from(later > value) - i32::from(later < value);
        }
    }
    let n = values.len() as f64;
    f64::from(score) / (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt().max(1e-9)
}

/// Where growing intervals have come to stand: three of the newest near the longest of them.
fn cap(recent: &[f64]) -> Option<f64> {
    let newest = &recent[recent.len().saturating_sub(8)..];
    let longest = newest.iter().copied().fold(0.0, f64::max);
    let near: Vec<f64> = newest.iter().copied().filter(|&interval| interval >= 0.8 * longest).collect();
    (near.len() >= 3).then(|| median(&near))
}

/// Whether the plateau of growing intervals jitters.
fn is_uneven(recent: &[f64]) -> bool {
    let newest = &recent[recent.len().saturating_sub(8)..];
    cap(recent).is_some() && recent.len() >= 16 && Level::of(newest).ratio() > 1.2
}

/// The middle of some intervals and how far they reach.
struct Level {
    low: f64,
    median: f64,
    high: f64,
}

impl Level {
    fn of(values: &[f64]) -> Level {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| quantile(&sorted, share);
        Level { low: at(0.1), median: at(0.5), high: at(0.9) }
    }

    fn ratio(&self) -> f64 {
        self.high / self.low.max(1e-6)
    }
}

fn median(values: &[f64]) -> f64 {
    Level::of(values).median
}

/// Between neighbours, as straight lines; `sorted` may be empty.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * sorted.len().saturating_sub(1) as f64;
    let (below, part) = (place as usize, place.fract());
    let Some(&low) = sorted.get(below) else { return 0.0 };
    let high = sorted.get(below + 1).copied().unwrap_or(low);
    low + (high - low) * part
}

/// The standard deviation in units of the mean.
fn variation(values: &[f64]) -> f64 {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let square = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
    square.sqrt() / mean.abs().max(1e-9)
}

/// How regular a lone line must come to be a loop: a line that many clients cause comes at random. One that
/// `tells_all`, that it has failed and that it tries again, is a client's own; it may come as it likes.
pub fn is_regular(sequence: &Sequence, judgement: Judgement, tells_all: bool) -> bool {
    let recent = seconds(&sequence.recent());
    let now = Level::of(&recent);
    let is_coarse = of_whole_seconds(&recent).is_some();
    match judgement.verdict {
        // A line that comes at random, but often, looks like one without back-off: ask for more.
        Verdict::None => sequence.count() >= 12 && (now.ratio() < 2.0 || is_coarse),
        Verdict::Constant => true,
        Verdict::Linear | Verdict::Exponential if !judgement.jitter || tells_all => true,
        Verdict::Linear | Verdict::Exponential => {
            // No order of random lines climbs to a limit and stays there.
            let newest = &recent[recent.len().saturating_sub(4)..];
            climbs(&seconds(sequence.rise())) && Level::of(newest).ratio() < STEADY
        }
        // Steady, but its beginning was not seen.
        Verdict::Unknown => now.high >= INSTANT && sequence.count() >= INTERVALS_MIN && now.ratio() < STEADY,
        Verdict::Jittered => tells_all && sequence.count() >= 12,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(intervals: &[f32], is_whole: bool) -> Judgement {
        let mut sequence = Sequence::default();
        intervals.iter().for_each(|interval| sequence.push(*interval));
        judge(&sequence, is_whole)
    }

    #[test]
    fn verdicts() {
        #[track_caller]
        fn check(intervals: &[f32], want: Verdict, jitter: bool) {
            let found = judged(intervals, true);
            assert_eq!((found.verdict, found.jitter), (want, jitter), "{intervals:?}");
        }
        check(&[0.1; 5], Verdict::Unknown, false);
        check(&[0.1; 6], Verdict::None, false);
        check(&[0.0; 6], Verdict::Unknown, false); // nobody knows when they were written
        check(&[0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0], Verdict::None, false); // a clock of whole seconds
        check(&[5.0, 6.0, 5.0, 5.0, 6.0, 5.0, 5.0], Verdict::Constant, false);
        check(&[1.0, 2.0, 1.0, 1.0, 2.0, 1.0], Verdict::Constant, false);
        check(&[5.0, 5.01, 4.99, 5.0, 5.02, 5.0], Verdict::Constant, false);
        check(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], Verdict::Linear, false);
        check(&[1.0, 2.0, 4.0, 8.0, 16.0, 32.0], Verdict::Exponential, false);
        check(&[1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 8.0], Verdict::Exponential, false);
        check(&[1.1, 1.6, 4.4, 7.1, 18.0, 28.0], Verdict::Exponential, true);
        check(&[3.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0], Verdict::Exponential, false); // work at the start
        check(&[2.0, 2.03, 4.03, 2.01, 2.0, 2.02, 1.99, 4.02, 2.0, 6.04], Verdict::Constant, false); // turns are left out
        check(&[2.0, 2.03, 4.03, 2.01, 3.0, 2.02, 1.99, 4.02, 2.0, 2.04], Verdict::Jittered, false);
        check(&[3.0, 9.0, 4.0, 7.0, 3.5, 8.0, 5.0, 6.0], Verdict::Jittered, false);
        // In rounds: the rise before the fall speaks for all.
        check(&[1.0, 2.0, 4.0, 8.0, 1.0, 2.0, 4.0, 8.0, 1.0], Verdict::Exponential, false);
    }

    #[test]
    fn a_rise_long_ago_is_remembered() {
        let mut intervals = vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
        intervals.extend([60.0; 500]);
        let found = judged(&intervals, true);
        assert_eq!((found.verdict, found.cap), (Verdict::Exponential, Some(60.0)));
    }

    #[test]
    fn an_uneven_climb_long_ago_is_remembered() {
        #[track_caller]
        fn check(rise: &[f32], want: Verdict) {
            let mut intervals = rise.to_vec();
            intervals.extend([1.05; 60]);
            assert_eq!(judged(&intervals, true).verdict, want, "{rise:?}");
        }
        check(&[0.106, 0.102, 0.218, 0.409, 0.913], Verdict::Exponential);
        check(&[0.1, 0.5, 0.2, 0.4, 0.9], Verdict::Constant); // up and down
        check(&[0.1, 0.1, 0.1, 0.1, 0.1], Verdict::Constant); // a late start
        check(&[0.5, 0.6, 0.7], Verdict::Constant); // not far
    }

    #[test]
    fn a_line_alone_must_come_regularly() {
        #[track_caller]
        fn check(intervals: &[f32], tells_all: bool, want: bool) {
            let mut sequence = Sequence::default();
            intervals.iter().for_each(|interval| sequence.push(*interval));
            assert_eq!(is_regular(&sequence, judge(&sequence, true), tells_all), want, "{intervals:?}");
        }
        let uneven = [3.0, 9.0, 4.0, 7.0, 3.5, 8.0, 5.0, 6.0, 3.0, 9.0, 4.0, 7.0];
        check(&uneven, false, false);
        check(&uneven, true, true);
        check(&uneven[..11], true, false);
        let climb = [0.06, 0.27, 0.28, 0.45, 0.9, 1.7, 3.2, 5.1];
        check(&climb, false, false);
        check(&[&climb[..], &[5.1, 5.0, 5.1]].concat(), false, true);
        check(&[&climb[..], &[5.1, 2.0, 5.1]].concat(), false, false);
    }

    #[test]
    fn steadiness_proves_nothing_where_the_beginning_was_not_seen() {
        assert_eq!(judged(&[5.0; 10], false).verdict, Verdict::Unknown);
        assert_eq!(judged(&[0.1; 10], false).verdict, Verdict::None, "no wait is no wait");
        assert_eq!(judged(&[2.0, 4.0, 8.0, 16.0, 32.0, 64.0], false).verdict, Verdict::Exponential);
    }
}

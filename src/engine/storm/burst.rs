//! Bursts: an entry with a history that suddenly speaks many times as often, although no ten seconds of it are many.
//!
//! In: lines by the second, as seconds end. Out: whether the last minute is a burst.
//! Lines are counted in minutes of log time. What is usual is learnt only from minutes that are over for at least a
//! minute, so that a burst is not part of what it is held against:
//! - the usual number of lines a minute, averaged over about 10 minutes: a burst is `storm.burst` times as many;
//! - the most lines that any minute had, forgotten by half in a day: a burst is [`HABIT_FACTOR`] times as many, so that
//!   what comes in bunches every ten minutes or every night is no burst;
//! - chance: a Poisson source of the usual rate does this less than once in a million minutes.
//!
//! A trend of hours moves all three along with it. While an entry is in a burst it learns next to nothing, so that the
//! burst does not become its own excuse; after [`PATIENCE`] minutes it is the new normal.

use serde::{Deserialize, Serialize};

/// A burst has this many lines in a minute, and half as many where they speak of failure.
const LINES_MIN: f64 = 15.0;
/// The same for lines that speak of failure.
const LINES_MIN_FAILING: f64 = 8.0;
/// A burst has this many times the lines of any minute before it.
const HABIT_FACTOR: f64 = 3.0;
/// Seconds of a minute.
const MINUTE: i64 = 60;
/// What a minute changes in the average: its time constant is 10 minutes.
const SHARE: f32 = 0.1;
/// What a day leaves of the habit is a half.
const HABIT_KEPT: f32 = 0.999_519; // 0.5 ^ (1 / 1440)
/// What a minute of a burst changes in the habit: what comes again and again is a habit in the end.
const HABIT_SHARE: f32 = 1.0 / 24.0;
/// Minutes of a burst after which it is what is usual.
const PATIENCE: u16 = 30;
/// What the correction has passed when three minutes were learnt from (0.27): the one before the entry was made, which
/// counts as silent, the one in which it was made, and a whole one.
const KNOWN: f32 = 0.25;
/// ln(1e-6): how unlikely a burst is by chance.
const CHANCE: f64 = -13.8;
/// Lines a minute that an entry which never spoke is given credit for.
const USUAL_MIN: f64 = 0.1;

/// Lines of one entry by the minute.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Minutes {
    /// Lines of this minute, in the seconds of it that are over.
    this: u32,
    /// Lines of the one before.
    last: u32,
    /// Whether a burst was going on in this minute.
    in_burst: bool,
    /// Whether one was in the minute before.
    was_in_burst: bool,
    /// The most lines of any minute before that.
    habit: f32,
    /// The average of those minutes, not yet corrected for its start at zero.
    average: f32,
    /// The correction.
    weight: f32,
    /// Minutes of the present burst that are learnt from, or would be.
    burst_for: u16,
}

impl Minutes {
    /// The second `ended` had `lines` lines, and `second` begins. `in_burst`: the entry is in a burst already.
    pub(super) fn advance(&mut self, ended: i64, lines: u32, second: i64, in_burst: bool) {
        self.this = self.this.saturating_add(lines);
        if in_burst && !self.in_burst {
            // It may have begun in the minute before.
            (self.in_burst, self.was_in_burst) = (true, true);
        }
        let minutes = second.saturating_sub(ended).saturating_add(ended.rem_euclid(MINUTE)) / MINUTE;
        if minutes > 0 {
            self.end_minute(in_burst);
        }
        if minutes > 1 {
            self.end_minute(in_burst);
            let silent = (minutes - 2).min(1 << 20) as i32; // two years of silence are as good as any
            let kept = (1.0 - SHARE).powi(silent);
            self.habit *= HABIT_KEPT.powi(silent);
            self.average *= kept;
            self.weight = 1.0 - (1.0 - self.weight) * kept;
        }
    }

    /// Learns from the minute before, and begins the next one.
    fn end_minute(&mut self, in_burst: bool) {
        let lines = self.last as f32;
        self.burst_for = if self.was_in_burst { self.burst_for.saturating_add(1) } else { 0 };
        self.habit *= HABIT_KEPT;
        if self.was_in_burst && self.burst_for <= PATIENCE {
            self.habit += (lines - self.habit).max(0.0) * HABIT_SHARE;
        } else {
            self.habit = self.habit.max(lines);
            self.average += (lines - self.average) * SHARE;
            self.weight += (1.0 - self.weight) * SHARE;
        }
        self.last = std::mem::take(&mut self.this);
        self.was_in_burst = std::mem::replace(&mut self.in_burst, in_burst);
    }

    /// Lines in the 60 seconds before `second`, about: of the minute before only as much as is still in them.
    fn recent(&self, second: i64) -> f64 {
        let left = 1.0 - second.rem_euclid(MINUTE) as f64 / MINUTE as f64;
        f64::from(self.this) + f64::from(self.last) * left
    }

    fn usual(&self) -> f64 {
        let usual = if self.weight > 0.0 { f64::from(self.average / self.weight) } else { 0.0 };
        usual.max(USUAL_MIN)
    }

    /// Whether the minute before `second` is `factor` times the usual and can be neither habit nor chance. Never with a
    /// factor of 0, and not before a whole minute of history.
    pub(super) fn is_burst(&self, second: i64, factor: u32, failing: bool) -> bool {
        let (recent, usual) = (self.recent(second), self.usual());
        let enough = recent >= self.least(factor, failing) && recent >= HABIT_FACTOR * f64::from(self.habit);
        factor > 0 && self.weight > KNOWN && enough && log_chance(recent, usual) < CHANCE
    }

    /// Whether a burst goes on: at half of what makes one.
    pub(super) fn is_still_burst(&self, second: i64, factor: u32, failing: bool) -> bool {
        self.recent(second) >= self.least(factor, failing) / 2.0
    }

    fn least(&self, factor: u32, failing: bool) -> f64 {
        let least = if failing { LINES_MIN_FAILING } else { LINES_MIN };
        least.max(f64::from(factor) * self.usual())
    }
}

/// Chernoff's bound for the logarithm of the probability that a Poisson source of `usual` lines a minute has `lines` in
/// one, where that is more.
fn log_chance(lines: f64, usual: f64) -> f64 {
    if lines <= usual { 0.0 } else { lines - usual - lines * (lines / usual).ln() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds so many lines a minute, evenly, and tells the minutes (from 0) in which a burst began.
    fn bursts(minutes: &[u32], failing: bool) -> Vec<usize> {
        let (mut state, mut in_burst, mut found) = (Minutes::default(), false, Vec::new());
        for second in 1..=minutes.len() as i64 * MINUTE {
            let (minute, at) = ((second - 1) / MINUTE, (second - 1) % MINUTE + 1);
            let per_minute = i64::from(minutes[minute as usize]);
            let lines = per_minute * at / MINUTE - per_minute * (at - 1) / MINUTE;
            state.advance(second - 1, lines as u32, second, in_burst);
            if in_burst {
                in_burst = state.is_still_burst(second, 10, failing);
            } else if state.is_burst(second, 10, failing) {
                in_burst = true;
                found.push(minute as usize);
            }
        }
        found
    }

    /// `times` times these minutes.
    fn again(minutes: &[u32], times: usize) -> Vec<u32> {
        minutes.repeat(times)
    }

    #[test]
    fn what_is_a_burst() {
        #[track_caller]
        fn check(name: &str, minutes: &[&[u32]], want: &[usize]) {
            assert_eq!(bursts(&minutes.concat(), false), want, "{name}");
        }
        check("ten times as many", &[&[2; 30], &[30; 10], &[2; 30]], &[30]);
        check("five times as many", &[&[10; 30], &[50; 10]], &[]);
        check("too few to matter", &[&[0; 30], &[14; 5]], &[]);
        check("nothing is known in the first minutes", &[&[1, 30, 30], &[0; 10]], &[]);
        check("it was always so", &[&[30; 60]], &[]);
        check("silence, then a rate that stays", &[&[1; 10], &[20; 120]], &[10]);
        check("two bursts a while apart", &[&[2; 30], &[40; 5], &[2; 60], &[40; 5]], &[30, 95]);
        check("20 lines every ten minutes", &[&again(&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0], 30)], &[]);
        let night: Vec<u32> = [&[20][..], &[0; 1439]].concat();
        check("20 lines every night", &[&again(&night, 7)], &[]);
        let growth: Vec<u32> = (0..600).map(|minute| 1 + minute / 10).collect();
        check("a day that begins", &[&growth], &[]);
        let doubling: Vec<u32> = (0..90).map(|minute| 1u32 << (minute / 10).min(8)).collect();
        check("twice as many every ten minutes", &[&doubling], &[]);
    }

    #[test]
    fn failures_are_a_burst_sooner() {
        let minutes = [&[0; 30][..], &[10; 5]].concat();
        assert_eq!((bursts(&minutes, true), bursts(&minutes, false)), (vec![30], vec![]));
    }

    #[test]
    fn what_comes_again_and_again_is_a_habit_in_the_end() {
        // It is not from the start that this cron job prints 20 lines.
        let minutes =
            [again(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0], 3), again(&[20, 0, 0, 0, 0, 0, 0, 0, 0, 0], 40)];
        let found = bursts(&minutes.concat(), false);
        assert!((1..=14).contains(&found.len()), "{found:?}");
    }

    #[test]
    fn a_factor_of_zero_switches_it_off() {
        let state = Minutes { this: 1_000, weight: 1.0, ..Minutes::default() };
        assert!(!Minutes { weight: 0.1, ..state.clone() }.is_burst(200, 10, false), "too little is known");
        assert!(state.is_burst(200, 10, false) && !state.is_burst(200, 0, false));
    }

    /// Sources of a constant rate, made up by chance, for a week each: none has a burst.
    #[test]
    fn chance_is_no_burst() {
        let mut seed = 7u64;
        for per_minute in [0.05f64, 0.3, 1.0, 3.0, 10.0, 30.0] {
            let mut minute = || {
                // Knuth's way to a Poisson number.
                let (mut lines, mut product) = (0, 1.0f64);
                loop {
                    seed =
                        seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    product *= (seed >> 11) as f64 / (1u64 << 53) as f64;
                    if product <= f64::exp(-per_minute) {
                        return lines;
                    }
                    lines += 1;
                }
            };
            let minutes: Vec<u32> = (0..7 * 1440).map(|_| minute()).collect();
            assert_eq!((bursts(&minutes, false), bursts(&minutes, true)), (vec![], vec![]), "{per_minute}");
        }
    }

    #[test]
    fn years_of_silence_take_no_time() {
        let mut state = Minutes { this: 40, last: 40, habit: 40.0, ..Minutes::default() };
        state.advance(10, 5, i64::MAX, false);
        assert!(state.habit < 1.0 && state.this == 0 && state.last == 0, "{state:?}");
        state.advance(i64::MIN, 5, i64::MAX, true);
        assert!(state.usual() >= USUAL_MIN);
    }
}

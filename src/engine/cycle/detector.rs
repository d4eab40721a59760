//! The detector: which steps come in turn.
//!
//! For each step, a *gap* is what lies between two runs of it, and the other steps that were seen in it support it. Y is
//! in a loop with X where nearly every gap of X holds Y although chance would not have put it there. That needs no order
//! inside an iteration, survives lines in between, and takes a member that repeats for one (`templates.md` 4c).
//! Invariant: numbers of a step that is [forgotten](Support::forget) are zero.
//! Limit: [`STEPS`] steps, about 800 bytes.

use serde::{Deserialize, Serialize};

use super::STEPS;
use super::lexicon::Tags;

/// How often steps came, and what came between.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Support {
    /// Gaps of each step; halved from time to time, so that old habits fade.
    gaps: [u16; STEPS],
    /// `with[x][y]`: gaps of x in which y was seen.
    with: [[u16; STEPS]; STEPS],
    /// Lines of each step; halved from time to time.
    lines: [u16; STEPS],
    runs: [Runs; STEPS],
    /// Steps that come often enough to end another one's run.
    pub strong: u16,
    until_review: u8,
}

/// The lengths of a step's runs: how many, their sum, and the sum of their squares.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Runs {
    count: f32,
    sum: f32,
    squares: f32,
}

/// Steps that make up a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The step that is the rarest: once an iteration.
    pub anchor: usize,
    /// All of them, as bits.
    pub members: u16,
}

impl Support {
    /// Counts a line.
    #[inline]
    pub fn line(&mut self, step: usize) {
        let lines = &mut self.lines[step];
        *lines += 1;
        if *lines >= LINES_MAX {
            self.lines.iter_mut().for_each(|lines| *lines /= 2);
        }
        self.until_review = self.until_review.wrapping_sub(1);
        if self.until_review >= REVIEW_EVERY {
            self.review();
        }
    }

    /// Decides anew which steps are strong: by their runs, for a member may repeat itself in each iteration.
    #[cold]
    fn review(&mut self) {
        self.until_review = REVIEW_EVERY;
        let most = self.gaps.iter().copied().max().unwrap_or(0);
        let is_strong = |gaps: u16| u32::from(gaps) * RATIO_MAX >= u32::from(most);
        self.strong = (0..STEPS).filter(|&at| is_strong(self.gaps[at])).fold(0, |bits, at| bits | 1 << at);
    }

    /// A run of `run` lines of `step` has ended with a gap in which `others` were seen.
    #[inline]
    pub fn gap(&mut self, step: usize, others: u16, run: u16) {
        self.gaps[step] += 1;
        // All of them, because several at a time cost less than to look for those that were seen.
        for (gaps, own) in self.with[step].iter_mut().zip(&ALONE) {
            *gaps += u16::from(others & own != 0);
        }
        if self.gaps[step] >= GAPS_MAX {
            self.gaps[step] /= 2;
            self.with[step].iter_mut().for_each(|gaps| *gaps /= 2);
        }
        let (runs, run) = (&mut self.runs[step], f32::from(run));
        *runs = Runs { count: runs.count + 1.0, sum: runs.sum + run, squares: runs.squares + run * run };
        if runs.count >= f32::from(GAPS_MAX) {
            *runs = Runs { count: runs.count / 2.0, sum: runs.sum / 2.0, squares: runs.squares / 2.0 };
        }
    }

    /// Gaps of a step, of late.
    pub fn gaps(&self, step: usize) -> u16 {
        self.gaps[step]
    }

    /// Lines of a step, of late.
    pub fn lines(&self, step: usize) -> u16 {
        self.lines[step]
    }

    /// Somebody wants the place of a step. True when it may have it.
    pub fn weaken(&mut self, step: usize) -> bool {
        self.lines[step] = self.lines[step].saturating_sub(1);
        self.lines[step] == 0
    }

    /// Whether another step is seen in half of this one's gaps or more.
    pub fn has_company(&self, step: usize) -> bool {
        self.gaps[step] >= 2 && self.with[step].iter().any(|&gaps| gaps * 2 >= self.gaps[step])
    }

    /// Forgets some steps.
    pub fn forget(&mut self, steps: u16) {
        for step in (0..STEPS).filter(|step| steps >> step & 1 == 1) {
            self.gaps[step] = 0;
            self.lines[step] = 0;
            self.with[step] = [0; STEPS];
            self.with.iter_mut().for_each(|with| with[step] = 0);
            self.runs[step] = Runs::default();
        }
        self.strong |= steps; // until the next review
    }

    /// The loop with the most members among the steps of `free`.
    pub fn find(&self, free: u16, tags: &[Tags; STEPS]) -> Option<Found> {
        let is_free = |step: &usize| free >> step & 1 == 1;
        let found = (0..STEPS).filter(is_free).filter_map(|anchor| self.around(anchor, free, tags));
        let best =
            found.max_by_key(|found| (found.members.count_ones(), u16::MAX - self.gaps[found.anchor]))?;
        let pair = best.members.count_ones() == 2;
        let other = (best.members & !(1 << best.anchor)).trailing_zeros() as usize;
        let believed = !pair || is_prior(tags, best.anchor, other);
        (believed || self.takes_turns(best.anchor) && self.takes_turns(other)).then_some(best)
    }

    /// The loop that is seen from `anchor`.
    fn around(&self, anchor: usize, free: u16, tags: &[Tags; STEPS]) -> Option<Found> {
        let gaps = self.gaps[anchor];
        if gaps < GAPS_MIN {
            return None;
        }
        let belongs = |&other: &usize| {
            let with = self.with[anchor][other];
            let (more, less) = (self.gaps[anchor] + 1, self.gaps[other] + 1);
            let ratio = u32::from(more.max(less)) / u32::from(more.min(less));
            let often = f64::from(with) >= SUPPORT_MIN * f64::from(gaps) && ratio <= RATIO_MAX;
            often && (is_prior(tags, anchor, other) || self.is_no_chance(anchor, other))
        };
        let others = (0..STEPS).filter(|&other| other != anchor && free >> other & 1 == 1).filter(belongs);
        let members = others.fold(0u16, |bits, other| bits | 1 << other);
        (members != 0).then_some(Found { anchor, members: members | 1 << anchor })
    }

    /// Whether lines in random order would hardly ever put `other` into so many gaps of `anchor`.
    fn is_no_chance(&self, anchor: usize, other: usize) -> bool {
        let (own, others) = (f64::from(self.lines[anchor]), f64::from(self.lines[other]));
        let chance = others / (own + others).max(1.0);
        tail(self.gaps[anchor], self.with[anchor][other], chance) < CHANCE_MAX
    }

    /// Whether the runs of a step are more even than those of lines in random order, which are distributed
    /// geometrically. Any two busy steps take turns, so this is all that two members without a tag have to show.
    fn takes_turns(&self, step: usize) -> bool {
        let Runs { count, sum, squares } = self.runs[step];
        if count < RUNS_MIN {
            return false;
        }
        let mean = sum / count;
        let variance = squares / count - mean * mean;
        if mean <= 1.05 { variance < 0.05 } else { variance <= EVENNESS * mean * (mean - 1.0) }
    }
}

/// Whether both speak of failing or trying again.
fn is_prior(tags: &[Tags; STEPS], one: usize, other: usize) -> bool {
    !tags[one].is_none() && !tags[other].is_none()
}

/// The probability of at least `least` hits in `of` tries, each with `chance`.
fn tail(of: u16, least: u16, chance: f64) -> f64 {
    if least == 0 || chance >= 1.0 {
        return 1.0;
    }
    if chance <= 0.0 {
        return 0.0;
    }
    let odds = chance / (1.0 - chance);
    // From no hit upwards; `of` is below GAPS_MAX, so nothing gets too small to count with.
    let mut term = (1.0 - chance).powi(i32::from(of));
    let mut below = 0.0;
    for hits in 0..least {
        below += term;
        term *= f64::from(of - hits) / f64::from(hits + 1) * odds;
    }
    (1.0 - below).max(0.0)
}

/// Each step as a bit.
const ALONE: [u16; STEPS] = {
    let mut alone = [0; STEPS];
    let mut step = 0;
    while step < STEPS {
        alone[step] = 1 << step;
        step += 1;
    }
    alone
};

/// Gaps that say something.
const GAPS_MIN: u16 = 3;
/// At this many gaps a step's numbers are halved.
const GAPS_MAX: u16 = 64;
/// The share of gaps in which a member is seen.
const SUPPORT_MIN: f64 = 0.9;
/// How much more often one member may come than another.
const RATIO_MAX: u32 = 8;
/// How probable a loop by chance may be.
const CHANCE_MAX: f64 = 1e-3;
/// Runs whose lengths say something, and the share of chance's variance that they may have. In 3,000 mixes of two
/// templates in random order, of 1,500 lines each, none passed; with 8 runs and half the variance 6 % did.
const RUNS_MIN: f32 = 24.0;
const EVENNESS: f32 = 0.4;
/// Lines after which strength is decided anew.
const REVIEW_EVERY: u8 = 64;
/// At this many lines of one step all are halved.
const LINES_MAX: u16 = 1 << 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails() {
        #[track_caller]
        fn check(of: u16, least: u16, chance: f64, want: f64) {
            let found = tail(of, least, chance);
            assert!((found - want).abs() < 1e-9, "{found} for {least} of {of} at {chance}");
        }
        check(3, 0, 0.5, 1.0);
        check(3, 3, 0.5, 0.125);
        check(3, 2, 0.5, 0.5);
        check(10, 1, 0.1, 1.0 - 0.9f64.powi(10));
        check(5, 3, 0.0, 0.0);
        check(5, 3, 1.0, 1.0);
        check(63, 63, 0.9, 0.9f64.powi(63));
    }

    #[test]
    fn nothing_is_no_loop() {
        let tags = [Tags::default(); STEPS];
        assert_eq!(Support::default().find(u16::MAX, &tags), None);
        let mut support = Support::default();
        for _ in 0..100 {
            support.line(3);
        }
        assert_eq!(support.find(u16::MAX, &tags), None);
    }

    #[test]
    fn steps_that_are_forgotten_leave_nothing() {
        let mut support = Support::default();
        for _ in 0..10 {
            for (step, other) in [(0, 1), (1, 0)] {
                support.line(step);
                support.gap(step, 1 << other, 1);
            }
        }
        let tags = [Tags::FAILURE; STEPS];
        assert_eq!(support.find(u16::MAX, &tags).map(|found| found.members), Some(0b11));
        support.forget(0b10);
        assert_eq!(support.find(u16::MAX, &tags), None);
        assert!(!support.has_company(0));
    }
}

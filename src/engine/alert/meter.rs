//! What a rule measures, and whether that makes it true.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::numbers::Numbers;
use super::rule::{Compare, Limit, LoopCondition, Measure, When};
use super::window::{Counts, Sliding, Tally};
use crate::units::Timestamp;

/// For so long a new template is news.
pub(super) const NEWS: Duration = Duration::from_secs(60);

/// What a series must know of its rule.
#[derive(Debug)]
pub(super) struct Terms<'r> {
    pub(super) when: &'r When,
    pub(super) hold: Duration,
    pub(super) keep: Duration,
    /// Alerts that ever fired.
    pub(super) ever: &'r mut u64,
}

impl Terms<'_> {
    /// The one of two values that is further from what is allowed.
    pub(super) fn worse(&self, one: f64, other: f64) -> f64 {
        let is_low = match self.when {
            When::Measured { compare, .. } | When::Resource { compare, .. } => {
                matches!(compare, Compare::Below | Compare::AtMost)
            }
            _ => false,
        };
        if is_low { one.min(other) } else { one.max(other) }
    }
}

/// What was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Reading {
    /// The value; 0 where there is none.
    pub(super) value: f64,
    /// What it is held against, where that is known.
    pub(super) threshold: Option<f64>,
    pub(super) is_true: bool,
}

/// The measured past.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Meter {
    /// When the first line could have come.
    began: Timestamp,
    kind: Kind,
    baseline: Baseline,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Kind {
    Counts(Counts),
    Ratio(Sliding<Tally>),
    Numbers(Box<Numbers>),
    /// The time of the newest line, and how many came since it is news.
    Newest(Option<Timestamp>, u64),
    /// The value of something that is so now.
    Now(Option<f64>),
}

/// A rule's own past: the median of the values that earlier windows had.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Baseline {
    /// When the next window is over.
    next: Option<Timestamp>,
    windows: Vec<f64>,
}

/// Windows that are remembered.
const WINDOWS: usize = 24;
/// With fewer than these, nothing is known of the past.
const WINDOWS_MIN: usize = 5;

impl Baseline {
    /// Takes in the value at `time` when another window has gone by. Windows do not overlap; those without a value, and
    /// those in which the rule was true, are not what is normal.
    fn learn(&mut self, value: Option<f64>, time: Timestamp, window: Duration) {
        let Some(next) = self.next else {
            self.next = Some(time + window);
            return;
        };
        let Some(value) = value.filter(|value| time >= next && *value != 0.0) else { return };
        self.next = Some(time + window);
        if self.windows.len() == WINDOWS {
            self.windows.remove(0);
        }
        self.windows.push(value);
    }

    fn median(&self) -> Option<f64> {
        if self.windows.len() < WINDOWS_MIN {
            return None;
        }
        let mut sorted = self.windows.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }
}

impl Meter {
    pub(super) fn new(when: &When, began: Timestamp) -> Meter {
        let kind = match when {
            When::Measured { measure, limit, within, .. } => match measure {
                Measure::Count(_) => Kind::Counts(Counts::new(*within, decisive(*limit, 1.0))),
                Measure::Rate(_) => {
                    Kind::Counts(Counts::new(*within, decisive(*limit, within.as_secs_f64())))
                }
                Measure::Ratio { .. } => Kind::Ratio(Sliding::new(*within)),
                Measure::Number { statistic, .. } => {
                    Kind::Numbers(Box::new(Numbers::new(*within, *statistic)))
                }
            },
            When::NewTemplate { .. } | When::Absent { .. } => Kind::Newest(None, 0),
            When::Loop { .. } | When::Resource { .. } => Kind::Now(None),
        };
        Meter { began, kind, baseline: Baseline::default() }
    }

    /// The first line says what time it is.
    pub(super) fn begin(&mut self, time: Timestamp) {
        self.began = time;
    }

    pub(super) fn slide(&mut self, time: Timestamp) {
        match &mut self.kind {
            Kind::Counts(counts) => counts.slide(time),
            Kind::Ratio(tally) => tally.slide(time),
            Kind::Numbers(numbers) => numbers.slide(time),
            Kind::Newest(..) | Kind::Now(_) => {}
        }
    }

    /// Takes in the number that a line brings.
    pub(super) fn add(&mut self, value: f64, time: Timestamp) {
        match &mut self.kind {
            Kind::Counts(counts) => counts.add(time),
            Kind::Ratio(tally) => tally.add(Tally { whole: 1, part: u64::from(value > 0.0) }, time),
            Kind::Numbers(numbers) => numbers.add(value, time),
            Kind::Newest(newest, news) => {
                let is_news = newest.is_some_and(|newest| time.since(newest) < NEWS);
                *news = if is_news { *news + 1 } else { 1 };
                *newest = Some(time);
            }
            Kind::Now(_) => {}
        }
    }

    /// Says what is so now.
    pub(super) fn set(&mut self, value: Option<f64>) {
        self.kind = Kind::Now(value);
    }

    /// Measures at `time`. A quiet rule learns from it what is normal.
    pub(super) fn read(&mut self, when: &When, time: Timestamp, is_quiet: bool) -> Reading {
        match (when, &mut self.kind) {
            (When::Measured { measure, compare, limit, within, .. }, kind) => {
                let value = measured(measure, kind, *within, time);
                let threshold = match limit {
                    Limit::Value(limit) => Some(*limit),
                    Limit::TimesBaseline(factor) => {
                        let normal = self.baseline.median();
                        normal.map(|normal| normal * factor)
                    }
                };
                // A window that has not passed yet says nothing of what is missing in it.
                let is_whole = time.since(self.began) >= *within
                    || matches!(compare, Compare::Above | Compare::AtLeast)
                    || !matches!(measure, Measure::Count(_) | Measure::Rate(_));
                let holds = |(value, limit)| is_whole && compare.holds(value, limit);
                let is_true = value.zip(threshold).is_some_and(holds);
                if matches!(limit, Limit::TimesBaseline(_)) && is_quiet && !is_true {
                    self.baseline.learn(value, time, *within);
                }
                Reading { value: value.unwrap_or_default(), threshold, is_true }
            }
            (When::NewTemplate { .. }, Kind::Newest(newest, news)) => {
                let is_true = newest.is_some_and(|newest| time.since(newest) < NEWS);
                Reading { value: *news as f64, threshold: None, is_true }
            }
            (When::Absent { during, .. }, Kind::Newest(newest, _)) => {
                let absent = time.since(newest.unwrap_or(self.began));
                let threshold = Some(during.as_secs_f64());
                Reading { value: absent.as_secs_f64(), threshold, is_true: absent >= *during }
            }
            (When::Loop { conditions }, Kind::Now(value)) => {
                let least = conditions.iter().find_map(|condition| match condition {
                    LoopCondition::Iterations(_, number) => Some(*number as f64),
                    _ => None,
                });
                Reading { value: value.unwrap_or_default(), threshold: least, is_true: value.is_some() }
            }
            (When::Resource { compare, limit, .. }, Kind::Now(value)) => {
                let is_true = value.is_some_and(|value| compare.holds(value, *limit));
                Reading { value: value.unwrap_or_default(), threshold: Some(*limit), is_true }
            }
            // `new` gives each rule its own kind.
            _ => Reading::default(),
        }
    }

    /// When the reading may be another one without a further line.
    pub(super) fn changes_at(&self, when: &When, time: Timestamp, is_true: bool) -> Option<Timestamp> {
        match (when, &self.kind) {
            (When::Measured { measure, compare, limit, within, .. }, kind) => {
                let falls = matches!(compare, Compare::Above | Compare::AtLeast)
                    && matches!(measure, Measure::Count(_) | Measure::Rate(_));
                // What falls by itself does not become true by itself.
                let waits = falls && !is_true;
                let changes = match kind {
                    _ if waits => None,
                    Kind::Counts(counts) => counts.changes_at(time),
                    Kind::Ratio(tally) => {
                        let (leaving, _) = tally.leaving(time);
                        (tally.whole().whole + leaving.whole > 0).then(|| tally.turns_at(time))
                    }
                    Kind::Numbers(numbers) => numbers.changes_at(time),
                    Kind::Newest(..) | Kind::Now(_) => None,
                };
                let fills = Some(self.began + *within).filter(|at| !falls && *at > time);
                let learns = match limit {
                    Limit::TimesBaseline(_) if !self.is_empty() => {
                        self.baseline.next.filter(|next| *next > time)
                    }
                    _ => None,
                };
                changes.into_iter().chain(fills).chain(learns).min()
            }
            (When::NewTemplate { .. }, Kind::Newest(newest, _)) => {
                newest.map(|newest| newest + NEWS).filter(|at| *at > time)
            }
            (When::Absent { during, .. }, Kind::Newest(newest, _)) => {
                Some(newest.unwrap_or(self.began) + *during).filter(|at| *at > time)
            }
            _ => None,
        }
    }

    /// Whether nothing is in the window.
    pub(super) fn is_empty(&self) -> bool {
        match &self.kind {
            Kind::Counts(counts) => counts.is_empty(),
            Kind::Ratio(tally) => tally.whole().whole == 0,
            Kind::Numbers(numbers) => numbers.count() == 0,
            Kind::Newest(newest, _) => newest.is_none(),
            Kind::Now(value) => value.is_none(),
        }
    }

    /// Whether what was kept was measured as this is.
    pub(super) fn fits(&self, other: &Meter) -> bool {
        let baseline = other.baseline.windows.len() <= WINDOWS;
        baseline
            && match (&self.kind, &other.kind) {
                (Kind::Counts(one), Kind::Counts(other)) => one.fits(other),
                (Kind::Ratio(one), Kind::Ratio(other)) => one.fits(other),
                (Kind::Numbers(one), Kind::Numbers(other)) => one.fits(other),
                (Kind::Newest(..), Kind::Newest(..)) | (Kind::Now(_), Kind::Now(_)) => true,
                _ => false,
            }
    }

    pub(super) fn size(&self) -> usize {
        let kind = match &self.kind {
            Kind::Counts(counts) => counts.size(),
            Kind::Ratio(tally) => tally.size(),
            Kind::Numbers(numbers) => size_of::<Numbers>() + numbers.size(),
            Kind::Newest(..) | Kind::Now(_) => 0,
        };
        kind + self.baseline.windows.capacity() * size_of::<f64>()
    }
}

/// The number of lines that a rule is decided by, if there is a fixed one.
fn decisive(limit: Limit, seconds: f64) -> Option<f64> {
    match limit {
        Limit::Value(limit) => Some(limit * seconds),
        Limit::TimesBaseline(_) => None,
    }
}

/// The value of a measure; `None` where it says nothing.
fn measured(measure: &Measure, kind: &mut Kind, within: Duration, time: Timestamp) -> Option<f64> {
    match (measure, kind) {
        (Measure::Count(_), Kind::Counts(counts)) => Some(counts.count(time)),
        (Measure::Rate(_), Kind::Counts(counts)) => Some(counts.count(time) / within.as_secs_f64()),
        (Measure::Ratio { least, .. }, Kind::Ratio(tally)) => {
            let (leaving, share) = tally.leaving(time);
            let whole = tally.whole().whole as f64 + leaving.whole as f64 * share;
            let part = tally.whole().part as f64 + leaving.part as f64 * share;
            (whole >= (*least).max(1) as f64).then(|| part / whole)
        }
        (Measure::Number { least, .. }, Kind::Numbers(numbers)) => {
            if numbers.count() < *least {
                None
            } else {
                numbers.value()
            }
        }
        _ => None,
    }
}

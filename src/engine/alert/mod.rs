//! Stage 6, alerts: counts, ratios and numbers over time → alerts, with `for` and resolve.
//!
//! In: every logical line, before anything is folded ([`Alerts::on_line`]), the first lines of templates
//! ([`Alerts::on_new`]), the loops that are open ([`Alerts::on_loops`]), what containers use ([`Alerts::on_resources`]), and
//! the arrival clock ([`Alerts::on_deadline`]).
//! Out: an [`AlertView`] when a rule begins to fire and one when it has resolved.
//! Invariant: nothing is hidden or counted because of an alert; each firing is told once and has a number of its own.
//! Limits: a rule by stream judges [`STREAMS_MAX`] streams by themselves, and the rest together; windows are bounded, about 5 KiB
//! a series at most; `told_max` episodes are remembered.
//! `new_template()` keeps quiet about the first [`WARM_UP`] of a stream, where everything is new; it is true for a minute.
//! `N x baseline` is the median of up to 24 earlier windows that do not overlap, in which there was something and the rule was
//! not true; before there are five, it says nothing. What is `below` says nothing before a whole window has passed.
//! Not here: how an alert looks on the wire (`engine::record`); who is told of it.

pub mod container;
pub mod kept;
mod matcher;
mod meter;
mod numbers;
pub mod parse;
pub mod rule;
mod series;
pub mod template;
mod view;
mod watch;
mod window;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use self::container::Container;
pub use self::matcher::Unit;
use self::matcher::{Hit, Matcher};
use self::rule::{LoopCondition, Rule, When};
use self::series::{State, Turn};
pub use self::view::{AlertView, span};
use self::view::{Filling, labels_of, unit_of, window_of};
pub use self::watch::STREAMS_MAX;
use self::watch::{Watch, terms};
use super::cycle::LoopView;
use crate::units::{Monotonic, Timestamp};

/// So long after a stream's first line its templates are not news.
pub const WARM_UP: Duration = Duration::from_secs(120);
/// How often open loops are looked at between the times at which they are told.
const LOOPS_EVERY: Duration = Duration::from_secs(1);
/// Rules are not looked at more often than this where no line comes.
const GRAIN: Duration = Duration::from_millis(100);

/// A line as this stage sees it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Its text.
    pub text: &'a [u8],
    /// The name of its stream.
    pub stream: &'a Arc<str>,
    /// A hash of that name.
    pub stream_hash: u64,
    /// Its log time.
    pub time: Timestamp,
    /// When it arrived.
    pub arrival: Monotonic,
}

/// What makes a rule look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trigger {
    Line,
    NewTemplate,
    Loop,
    Resource,
}

/// An alert that has fired.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    /// How it was told when it began to fire.
    pub view: AlertView,
    /// When it had resolved; `None` while it fires.
    pub resolved: Option<Timestamp>,
    /// The value that was furthest from what is allowed.
    pub peak: f64,
}

/// Something to be told.
#[derive(Debug)]
struct News {
    rule: u32,
    place: usize,
    turn: Turn,
}

/// All rules.
#[derive(Debug)]
pub struct Alerts {
    watches: Vec<Watch>,
    matcher: Matcher,
    /// What is to be told, in order.
    news: Vec<News>,
    /// Kept for its memory.
    turns: Vec<Turn>,
    /// No series is due before this.
    next_deadline: Option<Monotonic>,
    /// When open loops are looked at again.
    loops_due: Option<Monotonic>,
    has_begun: bool,
    /// Some rule is about what does not come.
    awaits: bool,
    has_loop_rules: bool,
    /// Firings ever.
    ever: u64,
    /// The last episodes, the oldest first.
    told: VecDeque<Episode>,
    told_max: usize,
}

impl Alerts {
    /// Rules that have seen nothing yet. `seed` is unpredictable from outside; `told_max` episodes are remembered.
    pub fn new(rules: &[Rule], seed: u64, told_max: usize) -> Alerts {
        let below = |rule: &Rule| match &rule.when {
            When::Absent { .. } => true,
            When::Measured { compare, .. } => compare.holds(0.0, 1.0),
            _ => false,
        };
        Alerts {
            matcher: Matcher::new(rules, seed),
            watches: rules.iter().cloned().map(Watch::new).collect(),
            news: Vec::new(),
            turns: Vec::new(),
            next_deadline: None,
            loops_due: None,
            has_begun: false,
            awaits: rules.iter().any(below),
            has_loop_rules: rules.iter().any(|rule| matches!(rule.when, When::Loop { .. })),
            ever: 0,
            told: VecDeque::new(),
            told_max: told_max.max(1),
        }
    }

    /// Time begins: with the first line, or, where `is_guess`, before it.
    pub fn begin(&mut self, time: Timestamp, arrival: Monotonic, is_guess: bool) {
        if std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        for watch in &mut self.watches {
            watch.begin(time, arrival, is_guess);
        }
        self.find_deadline(None);
    }

    /// Takes in a line.
    #[inline]
    pub fn on_line(&mut self, seen: &Seen<'_>) {
        if !self.has_begun {
            self.begin(seen.time, seen.arrival, false);
        }
        let Alerts { watches, matcher, news, turns, next_deadline, ever, .. } = self;
        for hit in matcher.hits(seen.text, seen.stream, seen.stream_hash) {
            let watch = &mut watches[hit.rule as usize];
            if watch.trigger == Trigger::Line {
                count(watch, *hit, seen, (ever, turns, news), next_deadline);
            }
        }
    }

    /// The line is the first one of its template in its stream, whose first line was written at `began`.
    pub fn on_new(&mut self, seen: &Seen<'_>, began: Timestamp) {
        if seen.time.since(began) < WARM_UP {
            return;
        }
        let Alerts { watches, matcher, news, turns, next_deadline, ever, .. } = self;
        for hit in matcher.hits(seen.text, seen.stream, seen.stream_hash) {
            let watch = &mut watches[hit.rule as usize];
            if watch.trigger == Trigger::NewTemplate {
                count(watch, *hit, seen, (ever, turns, news), next_deadline);
            }
        }
    }

    /// A stream begins: from now on its lines may be missed.
    pub fn on_stream(&mut self, seen: &Seen<'_>) {
        for watch in &mut self.watches {
            if watch.trigger == Trigger::Line && watch.is_by_stream() && self.awaits {
                watch.place(seen);
            }
        }
        self.find_deadline(None);
    }

    /// A stream has ended: its lines cannot be missed any more.
    pub fn on_stream_end(&mut self, stream: &str) {
        let Alerts { watches, news, turns, .. } = self;
        for (index, watch) in watches.iter_mut().enumerate() {
            let is_absent = matches!(watch.rule.when, When::Absent { .. });
            let place = watch.series.iter().position(|judged| judged.stream.as_deref() == Some(stream));
            let Some(place) = place.filter(|_| is_absent) else { continue };
            watch.series[place].series.end(turns);
            note(index as u32, place, turns, news);
        }
    }

    /// Looks at the loops that are open now, with the names of their streams.
    pub fn on_loops(&mut self, loops: &[(&str, LoopView)], now: Monotonic) {
        let newest_time = loops.iter().map(|(_, view)| view.seen).max();
        let Some(time) = newest_time.or_else(|| self.has_begun.then(Timestamp::default)) else { return };
        self.begin(time, now, false);
        self.loops_due = (!loops.is_empty()).then(|| now + LOOPS_EVERY);
        let Alerts { watches, news, turns, ever, .. } = self;
        for (index, watch) in watches.iter_mut().enumerate() {
            let When::Loop { conditions } = &watch.rule.when else { continue };
            let meant = loops
                .iter()
                .filter(|(_, view)| conditions.iter().all(|condition| condition.is_true_of(view)));
            let value = meant.max_by_key(|(_, view)| view.started).map(|(_, view)| view.iterations as f64);
            let Watch { rule, series, .. } = watch;
            let Some(judged) = series.first_mut() else { continue };
            judged.series.set(&mut terms(rule, ever), value, (newest_time, now), turns);
            note(index as u32, 0, turns, news);
        }
        self.find_deadline(None);
    }

    /// Whether the loops should be looked at now.
    pub fn wants_loops(&self, now: Monotonic) -> bool {
        self.loops_due.is_some_and(|due| due <= now)
    }

    /// Whether any rule is about loops.
    pub fn has_loop_rules(&self) -> bool {
        self.has_loop_rules
    }

    /// When something may change although no line comes.
    pub fn deadline(&self) -> Option<Monotonic> {
        let begin = (!self.has_begun && self.awaits).then(Monotonic::default);
        self.next_deadline.into_iter().chain(self.loops_due).chain(begin).min()
    }

    /// Does what is due by the arrival clock.
    pub fn on_deadline(&mut self, now: Monotonic, wall: Timestamp) {
        self.begin(wall, now, true);
        if self.next_deadline.is_none_or(|due| due > now) {
            return;
        }
        let Alerts { watches, news, turns, ever, .. } = self;
        for (index, watch) in watches.iter_mut().enumerate() {
            let Watch { rule, series, .. } = watch;
            for (place, judged) in series.iter_mut().enumerate() {
                judged.series.tick(&mut terms(rule, ever), now, turns);
                note(index as u32, place, turns, news);
            }
        }
        self.find_deadline(Some(now + GRAIN));
    }

    fn find_deadline(&mut self, earliest: Option<Monotonic>) {
        let series = self.watches.iter().flat_map(|watch| &watch.series);
        let next = series.filter_map(|judged| judged.series.deadline()).min();
        self.next_deadline = next.map(|next| earliest.map_or(next, |earliest| next.max(earliest)));
    }

    /// Whether there is something to tell.
    #[inline]
    pub fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// What is to be told, in order. `loops` are the open ones, for what annotations say of them.
    pub fn take_news(&mut self, loops: &[(&str, LoopView)]) -> Vec<AlertView> {
        let news = std::mem::take(&mut self.news);
        for news in &news {
            self.watches[news.rule as usize].has_fired = true;
        }
        let views: Vec<AlertView> = news.iter().map(|news| self.view(news, loops)).collect();
        for view in &views {
            self.remember(view);
        }
        views
    }

    /// How a piece of news is told.
    fn view(&self, news: &News, loops: &[(&str, LoopView)]) -> AlertView {
        let watch = &self.watches[news.rule as usize];
        let Watch { rule, series, .. } = watch;
        let judged = series.get(news.place);
        let stream = judged.and_then(|judged| judged.stream.clone());
        let Turn { at, firing, is_resolved, reading, unit } = news.turn;
        let about = |stream_of_loop: &str, view: &LoopView| {
            let conditions = match &rule.when {
                When::Loop { conditions } => &conditions[..],
                _ => &[],
            };
            stream.as_deref().is_none_or(|stream| stream == stream_of_loop)
                && conditions.iter().all(|condition| condition.is_true_of(view))
        };
        let cycles = loops.iter().filter(|(stream, view)| about(stream, view));
        let unit = unit_of(&rule.when, unit);
        let told = stream.as_deref().filter(|_| watch.trigger == Trigger::Resource);
        let container = judged
            .and_then(|judged| judged.container.clone())
            .or_else(|| told.and_then(Container::of_stream).map(Arc::new));
        let filling = Filling {
            rule,
            value: reading.value,
            threshold: reading.threshold,
            unit,
            since: firing.since,
            stream: stream.as_deref(),
            container: container.as_deref(),
            message: judged.map_or(&[], |judged| &judged.series.message),
            cycle: cycles.max_by_key(|(_, view)| view.started).map(|(_, view)| view),
        };
        let annotations = rule.annotations.iter().map(|(name, text)| (name.clone(), filling.fill(text)));
        let labels = labels_of(&rule.labels, stream.as_deref());
        let severity = rule.labels.iter().find(|(name, _)| &**name == "severity");
        AlertView {
            name: rule.name.clone(),
            group: rule.group.clone(),
            text: rule.text.clone(),
            severity: severity.map(|(_, severity)| severity.clone()),
            is_resolved,
            value: reading.value,
            peak: firing.peak,
            threshold: reading.threshold,
            unit,
            window: window_of(&rule.when),
            since: firing.since,
            at,
            stream: stream.clone(),
            container: container.clone(),
            labels,
            annotations: annotations.collect(),
            episode: firing.episode,
        }
    }

    fn remember(&mut self, view: &AlertView) {
        if !view.is_resolved {
            if self.told.len() == self.told_max {
                self.told.pop_front();
            }
            self.told.push_back(Episode { view: view.clone(), resolved: None, peak: view.peak });
        } else if let Some(known) =
            self.told.iter_mut().rev().find(|known| known.view.episode == view.episode)
        {
            (known.resolved, known.peak) = (Some(view.at), view.peak);
        }
    }

    /// The last episodes, the oldest first.
    pub fn episodes(&self) -> impl Iterator<Item = Episode> {
        self.told.iter().map(|episode| {
            let series = self.watches.iter().flat_map(|watch| &watch.series);
            let mut peak = series.filter_map(|judged| match judged.series.state {
                State::Firing(firing) if firing.episode == episode.view.episode => Some(firing.peak),
                _ => None,
            });
            Episode { peak: peak.next().unwrap_or(episode.peak), ..episode.clone() }
        })
    }

    /// The numbers of the firings that are not over.
    pub fn firing(&self) -> impl Iterator<Item = u64> {
        let series = self.watches.iter().flat_map(|watch| &watch.series);
        series.filter_map(|judged| match judged.series.state {
            State::Firing(firing) => Some(firing.episode),
            _ => None,
        })
    }

    /// The rules.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.watches.iter().map(|watch| &watch.rule)
    }

    /// Those that have not fired since this process began.
    pub fn silent(&self) -> impl Iterator<Item = &Rule> {
        self.watches.iter().filter(|watch| !watch.has_fired).map(|watch| &watch.rule)
    }

    /// Firings ever.
    pub fn ever(&self) -> u64 {
        self.ever
    }

    /// Counts on from earlier processes.
    pub fn carry_in(&mut self, ever: u64) {
        self.ever += ever;
    }

    /// Whether any time is known.
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Bytes of memory behind it.
    pub fn size(&self) -> usize {
        let watches: usize = self.watches.iter().map(Watch::size).sum();
        let told: usize = self.told.iter().map(Episode::size).sum();
        watches + self.matcher.size() + told
    }
}

impl Episode {
    fn size(&self) -> usize {
        let view = &self.view;
        let annotations: usize = view.annotations.iter().map(|(name, text)| name.len() + text.len()).sum();
        let labels: usize = view.labels.iter().map(|(name, text)| name.len() + text.len()).sum();
        size_of::<Episode>() + view.name.len() + view.group.len() + view.text.len() + annotations + labels
    }
}

impl LoopCondition {
    /// Whether it is so of a loop.
    fn is_true_of(&self, view: &LoopView) -> bool {
        match self {
            LoopCondition::Verdict(words) => {
                words.iter().any(|word| **word == *view.judgement.verdict.as_str())
            }
            LoopCondition::Endpoint(part) => {
                view.endpoint.as_ref().is_some_and(|endpoint| endpoint.contains(&**part))
            }
            LoopCondition::Iterations(compare, number) => {
                compare.holds(view.iterations as f64, *number as f64)
            }
            LoopCondition::Period(compare, seconds) => compare.holds(view.period.p50, *seconds),
        }
    }
}

/// Lets a rule count a line, and notes what that has changed.
#[inline]
fn count(
    watch: &mut Watch,
    hit: Hit,
    seen: &Seen<'_>,
    (ever, turns, news): (&mut u64, &mut Vec<Turn>, &mut Vec<News>),
    next_deadline: &mut Option<Monotonic>,
) {
    let place = watch.hit(hit, seen, ever, turns);
    if let Some(due) = watch.series[place].series.deadline() {
        *next_deadline = Some(next_deadline.map_or(due, |next| next.min(due)));
    }
    if !turns.is_empty() {
        note(hit.rule, place, turns, news);
    }
}

fn note(rule: u32, place: usize, turns: &mut Vec<Turn>, news: &mut Vec<News>) {
    news.extend(turns.drain(..).map(|turn| News { rule, place, turn }));
}

#[cfg(test)]
pub(in crate::engine) mod tests;

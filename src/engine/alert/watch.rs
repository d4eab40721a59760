//! One rule and its series: one of all lines, or one a stream or container.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::container::Container;
use super::matcher::Hit;
use super::meter::Terms;
use super::rule::{By, Rule, When};
use super::series::{Series, Turn};
use super::template::{Piece, Place};
use super::{Seen, Trigger};
use crate::engine::storm::window::shortened;
use crate::units::{Monotonic, Timestamp};

/// Streams that a rule judges by themselves; the rest are judged together.
pub const STREAMS_MAX: usize = 1_000;
/// Room for other streams is not made more often than this: it means a look at all of them.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// The stream that people see in the place of those.
pub(super) const OTHERS: &str = "(others)";

/// A rule at work.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) rule: Rule,
    pub(super) series: Vec<Judged>,
    /// The places of the streams in `series`, by the hash of their names.
    index: HashMap<u64, u32>,
    /// The place of the streams that found no room.
    others: Option<u32>,
    /// When room was last made.
    swept: Option<Monotonic>,
    pub(super) trigger: Trigger,
    wants_message: bool,
    /// Streams whose series were handed out and then forgotten.
    pub(super) dropped: Vec<Arc<str>>,
    /// It has, in this process.
    pub(super) has_fired: bool,
}

/// A series, and whose it is.
#[derive(Debug)]
pub(super) struct Judged {
    /// `None` for all lines together.
    pub(super) stream: Option<Arc<str>>,
    pub(super) series: Series,
    /// Whose resources it is about, once that is known.
    pub(super) container: Option<Arc<Container>>,
    /// The revision that was handed out last.
    pub(super) told: Option<u64>,
}

impl Watch {
    pub(super) fn new(rule: Rule) -> Watch {
        let trigger = match &rule.when {
            When::Measured { .. } | When::Absent { .. } => Trigger::Line,
            When::NewTemplate { .. } => Trigger::NewTemplate,
            When::Loop { .. } => Trigger::Loop,
            When::Resource { .. } => Trigger::Resource,
        };
        let is_message = |piece: &Piece| *piece == Piece::Place(Place::Message);
        let wants_message = rule.annotations.iter().any(|(_, text)| text.pieces.iter().any(is_message));
        Watch {
            rule,
            series: Vec::new(),
            index: HashMap::new(),
            others: None,
            swept: None,
            trigger,
            wants_message,
            dropped: Vec::new(),
            has_fired: false,
        }
    }

    pub(super) fn is_by_stream(&self) -> bool {
        matches!(
            self.rule.when,
            When::Measured { by: By::Stream, .. }
                | When::Absent { by: By::Stream, .. }
                | When::Resource { .. }
        )
    }

    /// The series of all lines begins, with the first of them or before it.
    pub(super) fn begin(&mut self, time: Timestamp, arrival: Monotonic, is_guess: bool) {
        if !self.is_by_stream() && self.series.is_empty() {
            self.push(None, time, arrival, is_guess);
        }
    }

    fn push(&mut self, stream: Option<Arc<str>>, time: Timestamp, arrival: Monotonic, is_guess: bool) -> u32 {
        let mut ever = 0;
        let terms = terms(&self.rule, &mut ever);
        let series = Series::new(&terms, time, arrival, is_guess);
        self.series.push(Judged { stream, series, container: None, told: None });
        self.series.len() as u32 - 1 // at most STREAMS_MAX + 1
    }

    /// The place of a stream's series, which is made when there is none.
    pub(super) fn place(&mut self, seen: &Seen<'_>) -> usize {
        if !self.is_by_stream() {
            self.begin(seen.time, seen.arrival, false);
            return 0;
        }
        if let Some(place) = self.index.get(&seen.stream_hash) {
            return *place as usize;
        }
        let is_full = self.index.len() >= STREAMS_MAX;
        if is_full && self.swept.is_none_or(|swept| seen.arrival.since(swept) >= SWEEP_EVERY) {
            self.forget_idle(seen.arrival);
        }
        if let Some(place) = self.place_new(seen.stream_hash, seen.stream, (seen.time, seen.arrival)) {
            return place;
        }
        let others = self.others.unwrap_or_else(|| {
            let place = self.push(Some(Arc::from(OTHERS)), seen.time, seen.arrival, false);
            self.others = Some(place);
            place
        });
        others as usize
    }

    /// The place of a series that is there.
    pub(super) fn place_of(&self, hash: u64) -> Option<usize> {
        self.index.get(&hash).map(|place| *place as usize)
    }

    /// The place of a new series, where there is room.
    pub(super) fn place_new(
        &mut self,
        hash: u64,
        stream: &Arc<str>,
        (time, arrival): (Timestamp, Monotonic),
    ) -> Option<usize> {
        if self.index.len() >= STREAMS_MAX {
            return None;
        }
        let place = self.push(Some(Arc::clone(stream)), time, arrival, false);
        self.index.insert(hash, place);
        Some(place as usize)
    }

    /// The places of the series whose hashes are not among these.
    pub(super) fn places_beside(&self, there: &HashSet<u64>) -> Vec<usize> {
        let gone = self.index.iter().filter(|(hash, _)| !there.contains(hash));
        let mut places: Vec<usize> = gone.map(|(_, place)| *place as usize).collect();
        places.sort_unstable();
        places
    }

    /// Takes in a line that the rule counts.
    #[inline]
    pub(super) fn hit(&mut self, hit: Hit, seen: &Seen<'_>, ever: &mut u64, turns: &mut Vec<Turn>) -> usize {
        let place = self.place(seen);
        let wants_message = self.wants_message;
        let Watch { rule, series, .. } = self;
        let series = &mut series[place].series;
        if wants_message {
            series.message.clear();
            series.message.extend_from_slice(shortened(seen.text));
        }
        series.hit(&mut terms(rule, ever), hit, (seen.time, seen.arrival), turns);
        place
    }

    /// Drops the series of streams of which nothing is in the window, to make room for others.
    fn forget_idle(&mut self, now: Monotonic) {
        self.swept = Some(now);
        self.forget(|judged| judged.series.is_idle(now));
    }

    /// Drops the series that `leaves` says; not that of the other streams.
    pub(super) fn forget(&mut self, mut leaves: impl FnMut(&mut Judged) -> bool) {
        if self.series.is_empty() {
            return;
        }
        let names: HashMap<u32, u64> = self.index.drain().map(|(hash, place)| (place, hash)).collect();
        let others = self.others.take();
        let (mut place, mut index) = (0, HashMap::new());
        self.series.retain_mut(|judged| {
            let old = place;
            place += 1;
            let stays = Some(old) == others || !leaves(judged);
            if stays {
                index.insert(old, index.len() as u32);
            } else if judged.told.is_some() {
                self.dropped.extend(judged.stream.clone());
            }
            stays
        });
        self.others = others.and_then(|old| index.get(&old).copied());
        let moved = |(old, hash): (u32, u64)| Some((hash, *index.get(&old)?));
        self.index = names.into_iter().filter_map(moved).collect();
    }

    /// Takes back the series of a stream.
    pub(super) fn take_back(&mut self, stream: Option<(Arc<str>, u64)>, series: Series) {
        let place = self.series.len() as u32; // at most STREAMS_MAX + 1
        let is_others = stream.as_ref().is_some_and(|(name, _)| **name == *OTHERS);
        match &stream {
            Some(_) if is_others => self.others = Some(place),
            Some((_, hash)) => drop(self.index.insert(*hash, place)),
            None => {}
        }
        let revision = series.revision;
        let stream = stream.map(|(name, _)| name);
        self.series.push(Judged { stream, series, container: None, told: Some(revision) });
    }

    pub(super) fn size(&self) -> usize {
        let series: usize = self.series.iter().map(|judged| judged.series.size() + 64).sum();
        size_of::<Watch>() + series + self.index.capacity() * 16
    }
}

/// What a series must know of its rule.
pub(super) fn terms<'r>(rule: &'r Rule, ever: &'r mut u64) -> Terms<'r> {
    Terms { when: &rule.when, hold: rule.hold, keep: rule.keep_firing_for, ever }
}

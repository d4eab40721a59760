//! Stage 4, storms: decides which line is sent and which is only counted, and closes windows with a summary.
//!
//! In: a line's entry, its time and how it was found. Out: a [`Verdict`] for each line, a [`Summary`] for each window.
//! Invariant: every line is either forwarded or counted in exactly one window; every window that folded a line is
//! closed exactly once. The rules are those of `accounting.md`.
//! Limits: one state of about 200 bytes an entry; statistics of variables for [`STATISTICS_MAX`] entries at a time.
//! Not here: what is new (`engine::template`), how a summary looks on the wire (`engine::record`).

mod burst;
pub mod folding;
pub mod kept;
pub mod novelty;
pub mod rate;
pub mod shed;
pub mod throttle;
pub mod values;
pub mod view;
pub mod window;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::folding::Folding;
use self::rate::Rate;
use self::throttle::Throttle;
use self::values::Values;
use self::window::{ClosedBy, Episode, Folded, Pace, Summary};
use crate::engine::template::catalog::{EntryId, Sighting};
use crate::units::{Lines, Monotonic, Timestamp};

/// Storming entries whose variables are measured at the same time.
pub const STATISTICS_MAX: usize = 256;

/// How much later than it should a window may close by the arrival clock: looking for those that are due costs a glance
/// at each open one, so ten thousand of them must not be looked at ten thousand times.
pub const GRAIN: Duration = Duration::from_millis(100);

/// How far folding goes for an input (`inputs.*.collapse`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Collapse {
    /// Nothing is folded.
    Never,
    /// Only byte-for-byte repeats.
    Repeats,
    /// Repeats, and every line of an entry that is storming.
    #[default]
    Storms,
    /// Every line of every entry after the first ones.
    Always,
}

/// How much detail must be given up because the records find no room (`delivery.md` R6). Each stage includes those
/// before it. In all of them a template never seen before and a new value pass, and nothing is lost but detail: each
/// line is still counted once. Streams that are never folded ([`Collapse::Never`]) are left as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pressure {
    /// All is well.
    #[default]
    None,
    /// Only one line passes before folding starts.
    Few,
    /// Every line of a known entry is folded.
    Count,
    /// Lines of known entries are counted by stream, not by template ([`shed`]).
    Shed,
}

/// The limits of folding (`storm` in the config).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Lines of an episode that pass verbatim before folding starts (`storm.first`).
    pub first: u32,
    /// Lines in 10 s of log time that make a storm (`storm.enter`).
    pub enter: u32,
    /// The same for entries that speak of failure or are warn or worse (`storm.enter_failing`).
    pub enter_failing: u32,
    /// How many times its usual lines a minute an entry must have to be storming although it has fewer than that; 0 for
    /// never (`storm.burst`).
    pub burst: u32,
    /// How long an entry must be quiet or calm for its episode to end (`storm.quiet`).
    pub quiet: Duration,
    /// The first summary interval of an episode (`storm.summary_every`).
    pub summary_every: Duration,
    /// The longest summary interval that backing off reaches (`storm.summary_every_max`).
    pub summary_every_max: Duration,
    /// Entries, (stream, template), that are tracked in the whole process (`storm.templates_max`).
    pub templates_max: usize,
    /// New entries a second and stream whose first line passes; more is a novelty flood (`storm.novelty_per_second`).
    pub novelty_per_second: u32,
    /// Example texts kept for each summary (`storm.examples`).
    pub examples: usize,
    /// Whether templates that differ in one word are counted together (`storm.families`).
    pub families: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            first: 5,
            enter: 100,
            enter_failing: 20,
            burst: 10,
            quiet: Duration::from_secs(30),
            summary_every: Duration::from_secs(10),
            summary_every_max: Duration::from_secs(300),
            templates_max: 10_000,
            novelty_per_second: 1_000,
            examples: 3,
            families: true,
        }
    }
}

/// What happens to a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is sent, word for word.
    Forward,
    /// It is counted in its entry's window.
    Fold,
}

/// Why an entry is storming (`squall.storm`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Storm {
    /// Many lines in 10 seconds.
    Rate,
    /// Many times its usual lines in a minute.
    Burst,
}

impl Storm {
    /// The word used on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Storm::Rate => "rate",
            Storm::Burst => "burst",
        }
    }
}

/// A line as this stage sees it.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// Its entry.
    pub entry: EntryId,
    /// How it was found; `None` for the first line of a new entry.
    pub sighting: Option<Sighting>,
    /// Whether the entry enters a storm at the lower rate for failures.
    pub failing: bool,
    /// How its stream lets lines be folded.
    pub folding: Folding,
    /// Its text and times.
    pub line: Folded<'a>,
}

/// All entries' states.
#[derive(Debug)]
pub struct Storms {
    limits: Limits,
    /// No more lines of an episode than these pass now.
    first_max: u32,
    pace: Pace,
    states: Vec<State>,
    /// Entries in an episode, in no order.
    open: Vec<EntryId>,
    /// No deadline is earlier than this.
    next_deadline: Option<Monotonic>,
    next_episode: u64,
    next_window: u64,
    measured: usize,
    /// The emergency limit. Boxed, because there hardly ever is one.
    pub(in crate::engine) throttle: Option<Box<Throttle>>,
}

#[derive(Debug)]
struct State {
    rate: Rate,
    /// Lines of the present stretch that were sent. A stretch ends, like an episode, with quiet or calm.
    passed: u32,
    /// Why it is storming, if it is.
    storm: Option<Storm>,
    /// The last second in which the rate was at or over the leave rate, or in which stretch or episode began.
    busy: i64,
    /// When the last line came.
    last_arrival: Monotonic,
    /// Where the entry stands in [`Storms::open`], while it has an episode.
    open_at: u32,
    episode: Option<Box<Episode>>,
}

impl Storms {
    /// No entries yet.
    pub fn new(limits: Limits) -> Storms {
        Storms {
            first_max: u32::MAX,
            pace: limits.pace(),
            limits,
            states: Vec::new(),
            open: Vec::new(),
            next_deadline: None,
            next_episode: 1,
            next_window: 1,
            measured: 0,
            throttle: None,
        }
    }

    /// Lets fewer lines pass, or as many as the limits say again. Windows that are open stay open.
    pub fn set_pressure(&mut self, pressure: Pressure) {
        self.first_max = match pressure {
            Pressure::None => u32::MAX,
            Pressure::Few => 1,
            Pressure::Count | Pressure::Shed => 0,
        };
    }

    /// Begins the state of a new entry.
    pub fn begin(&mut self, entry: EntryId, log_time: Timestamp) {
        let second = log_time.seconds();
        *self.vacant(entry) = State { rate: Rate::new(second), busy: second, ..State::vacant() };
    }

    /// Begins the state of a new entry that stands for others, whose first lines have passed.
    pub fn begin_known(&mut self, entry: EntryId, log_time: Timestamp) {
        self.begin(entry, log_time);
        self.states[entry.0 as usize].passed = u32::MAX;
    }

    /// Whether the entry has an episode.
    pub fn is_open(&self, entry: EntryId) -> bool {
        self.states.get(entry.0 as usize).is_some_and(|state| state.episode.is_some())
    }

    /// The state of a new entry, which is not begun.
    fn vacant(&mut self, entry: EntryId) -> &mut State {
        let index = entry.0 as usize;
        if index >= self.states.len() {
            self.states.resize_with(index + 1, State::vacant);
        }
        &mut self.states[index]
    }

    /// Whether the window of `entry` must be [closed](Storms::close) before the line can be observed, and why.
    #[inline]
    pub fn is_due(&mut self, entry: EntryId, failing: bool, log_time: Timestamp) -> Option<ClosedBy> {
        let second = log_time.seconds();
        let state = &mut self.states[entry.0 as usize];
        if second > state.rate.second() && state.turn(second, failing, &self.limits) {
            return state.episode.is_some().then_some(ClosedBy::Quiet);
        }
        let episode = state.episode.as_ref()?;
        episode.is_over(log_time).then_some(ClosedBy::Interval)
    }

    /// Decides about one line and counts it.
    #[inline]
    pub fn observe(&mut self, seen: Observed<'_>) -> Verdict {
        let state = &mut self.states[seen.entry.0 as usize];
        state.rate.count();
        state.last_arrival = seen.line.arrival;
        if state.storm != Some(Storm::Rate)
            && state.rate.in_window() >= self.limits.enter_rate(seen.failing)
            && (seen.failing || state.is_above_baseline())
        {
            state.storm = Some(Storm::Rate);
        }
        let Folding { collapse, first, .. } = seen.folding;
        let foldable = match collapse {
            Collapse::Never => false,
            Collapse::Repeats => seen.sighting == Some(Sighting::Repeat),
            Collapse::Storms => state.storm.is_some() || seen.sighting == Some(Sighting::Repeat),
            Collapse::Always => true,
        };
        let new = !matches!(seen.sighting, Some(Sighting::Repeat | Sighting::Known));
        let wanted =
            !foldable || new || state.passed < first.unwrap_or(self.limits.first).min(self.first_max);
        let held = wanted
            && collapse != Collapse::Never
            && throttle::holds_back(&mut self.throttle, new, seen.line.arrival);
        if wanted && !held {
            state.passed = state.passed.saturating_add(1);
            if let Some(episode) = &mut state.episode {
                episode.total += Lines(1);
            }
            return Verdict::Forward;
        }
        if state.episode.is_none() {
            self.open_episode(seen.entry, seen.line.time);
        }
        self.fold(seen, held);
        Verdict::Fold
    }

    /// Whether an entry is storming.
    #[inline]
    pub fn is_storming(&self, entry: EntryId) -> bool {
        self.states.get(entry.0 as usize).is_some_and(|state| state.storm.is_some())
    }

    fn open_episode(&mut self, entry: EntryId, time: Timestamp) {
        let state = &mut self.states[entry.0 as usize];
        state.episode = Some(Box::new(Episode::new(self.next_episode, time)));
        state.busy = state.rate.second();
        state.open_at = self.open.len() as u32; // as many as there are entries, whose numbers are 32 bits
        self.next_episode += 1;
        self.open.push(entry);
    }

    #[inline]
    fn fold(&mut self, seen: Observed<'_>, held: bool) {
        let state = &mut self.states[seen.entry.0 as usize];
        let Some(episode) = &mut state.episode else { return };
        let fresh = episode.window.count == Lines(0);
        let every = seen.folding.summary_every.unwrap_or(self.pace.every);
        episode.fold(seen.line, Pace { every, ..self.pace }, &mut self.next_window);
        episode.total += Lines(1);
        episode.window.limited += Lines(held.into());
        if state.storm.is_some() && episode.window.values.is_none() && self.measured < STATISTICS_MAX {
            episode.window.values = Some(Box::default());
            self.measured += 1;
        }
        if fresh {
            let due = episode.window.deadline.min(seen.line.arrival + self.limits.quiet);
            self.next_deadline = Some(self.next_deadline.map_or(due, |next| next.min(due)));
        }
    }

    /// The statistics that take in the variables of `entry`'s folded lines, and the number of its window.
    #[inline]
    pub fn values(&mut self, entry: EntryId) -> Option<(&mut Values, u32)> {
        let window = &mut self.states[entry.0 as usize].episode.as_mut()?.window;
        // The low 32 bits tell neighbouring windows apart, which is all that is asked of them.
        Some((window.values.as_mut()?, window.id as u32))
    }

    /// When [`Storms::due`] should be asked again, if no line comes.
    pub fn deadline(&self) -> Option<Monotonic> {
        self.next_deadline
    }

    /// Entries whose window or episode is over by the arrival clock, each with the reason: all of them, or `most`, and
    /// then the deadline stays over. The caller [closes](Storms::close) them.
    pub fn due(&mut self, now: Monotonic, most: usize) -> Vec<(EntryId, ClosedBy)> {
        if self.next_deadline.is_none_or(|next| next > now) {
            return Vec::new();
        }
        let mut due = Vec::new();
        let mut next: Option<Monotonic> = None;
        for &entry in &self.open {
            if due.len() == most {
                self.next_deadline = Some(now);
                return due;
            }
            let state = &self.states[entry.0 as usize];
            let Some(episode) = &state.episode else { continue };
            let quiet = state.last_arrival + self.limits.quiet;
            let window = (episode.window.count > Lines(0)).then_some(episode.window.deadline);
            if quiet <= now {
                due.push((entry, ClosedBy::Quiet));
                continue;
            }
            let mut at = quiet;
            match window {
                Some(deadline) if deadline <= now => due.push((entry, ClosedBy::Interval)),
                Some(deadline) => at = at.min(deadline),
                None => {}
            }
            next = Some(next.map_or(at, |next| next.min(at)));
        }
        self.next_deadline = next.map(|next| next.max(now + GRAIN));
        due
    }

    /// Entries in an episode.
    pub fn open(&self) -> &[EntryId] {
        &self.open
    }

    /// Closes the window of `entry`, and with any reason but [`ClosedBy::Interval`] its episode; `sink` gets the
    /// summary. An episode that ends with an empty window is told too, with a count of 0, so that whoever heard it
    /// open hears it close. True when an episode ends that was [handed out](Storms::hand_out).
    pub fn close(
        &mut self,
        entry: EntryId,
        closed_by: ClosedBy,
        sink: impl FnOnce(&mut Summary<'_>),
    ) -> bool {
        let Some(state) = self.states.get_mut(entry.0 as usize) else { return false };
        let baseline = state.rate.baseline().map(|lines| lines / rate::WINDOW as f64);
        let storm = state.storm;
        let Some(episode) = &mut state.episode else { return false };
        if episode.window.count == Lines(0) && episode.window.id == 0 {
            debug_assert!(false, "an episode begins with a folded line");
        }
        let measured = episode.window.values.is_some();
        let mut summary = Summary { storm, ..episode.close(closed_by, baseline) };
        let open = summary.open;
        sink(&mut summary);
        if open {
            return false;
        }
        if measured {
            self.measured -= 1;
        }
        let committed = episode.told.is_some();
        state.episode = None;
        state.passed = 0;
        state.storm = None;
        let at = state.open_at;
        self.open.swap_remove(at as usize);
        if let Some(moved) = self.open.get(at as usize) {
            self.states[moved.0 as usize].open_at = at;
        }
        committed
    }

    /// Lines that are folded and not yet told, by entry, read from the windows themselves: one side of the ledger's
    /// balance.
    pub fn lines_open(&self) -> impl Iterator<Item = (EntryId, Lines)> {
        let episode = |&entry: &EntryId| self.states[entry.0 as usize].episode.as_ref().map(|e| (entry, e));
        self.open.iter().filter_map(episode).map(|(entry, episode)| (entry, episode.window.count))
    }

    /// The `most` episodes that have been quiet for the longest time: the first to close when memory is short.
    pub fn oldest(&self, most: usize) -> Vec<EntryId> {
        let mut oldest = self.open.clone();
        oldest.sort_unstable_by_key(|entry| (self.states[entry.0 as usize].last_arrival, *entry));
        oldest.truncate(most);
        oldest
    }

    /// Bytes of memory in use.
    pub fn size(&self) -> usize {
        let episodes = self.open.iter().filter_map(|entry| self.states[entry.0 as usize].episode.as_ref());
        self.states.capacity() * size_of::<State>() + episodes.map(|episode| episode.size()).sum::<usize>()
    }
}

impl Limits {
    /// How often is told what goes on.
    pub fn pace(&self) -> Pace {
        Pace { every: self.summary_every, every_max: self.summary_every_max, examples: self.examples }
    }

    /// Lines in [`rate::WINDOW`] seconds at which an entry may enter a storm.
    #[inline]
    fn enter_rate(&self, failing: bool) -> u32 {
        if failing { self.enter_failing } else { self.enter }
    }
}

/// An entry is storming at this many times its own baseline.
const BASELINE_FACTOR: f64 = 8.0;

impl State {
    fn vacant() -> State {
        State {
            rate: Rate::new(0),
            passed: 0,
            storm: None,
            busy: 0,
            last_arrival: Monotonic(0),
            open_at: 0,
            episode: None,
        }
    }

    fn is_above_baseline(&self) -> bool {
        let baseline = self.rate.baseline().unwrap_or(0.0);
        f64::from(self.rate.in_window()) >= BASELINE_FACTOR * baseline
    }

    /// Moves on to `second`. True when the stretch has ended: no line, or only a calm rate, for `quiet`.
    fn turn(&mut self, second: i64, failing: bool, limits: &Limits) -> bool {
        let baseline = if failing { 0.0 } else { self.rate.baseline().unwrap_or(0.0) * BASELINE_FACTOR };
        let leave = f64::from(limits.enter_rate(failing)).max(baseline) / 2.0;
        let in_burst = self.storm == Some(Storm::Burst);
        let still_burst = in_burst && self.rate.is_still_burst(limits.burst, failing);
        if f64::from(self.rate.in_window()) >= leave || still_burst {
            self.busy = self.rate.second();
        }
        let quiet = limits.quiet.as_secs() as i64;
        let is_over = second - self.rate.second() >= quiet || second - self.busy >= quiet;
        self.rate.advance(second, in_burst);
        if is_over {
            self.busy = second;
            if self.episode.is_none() {
                self.passed = 0;
                self.storm = None;
            }
        } else if self.storm.is_none() && self.rate.is_burst(limits.burst, failing) {
            self.storm = Some(Storm::Burst);
            self.busy = second;
        }
        is_over
    }
}

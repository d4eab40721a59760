//! One judgement over time: a rule, of all lines or of one stream.
//!
//! Inactive → pending (`for`) → firing → (`keep_firing_for`) → resolved. Its clock is the log time of the lines that
//! concern it; between them it goes on with the arrival clock, so that silence resolves, too. What should have happened
//! between two lines is done when the second comes, at the time at which it was due: an hour of backlog that is read in a
//! second fires and resolves as it would have.
//! A line that is older than the newest one counts as if the clock had gone on at half speed, as in `line::clock`; one that
//! is more than [`LATE_MAX`] late is of another time, and is left out.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::kept::KeptSeries;
use super::matcher::{Hit, Unit};
use super::meter::{Meter, Reading, Terms};
use super::rule::When;
use crate::units::{Monotonic, Timestamp};

/// How late a line may come: as far as a stream may lead the wall clock.
const LATE_MAX: Duration = Duration::from_secs(5 * 60);

/// How a rule stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) enum State {
    #[default]
    Inactive,
    /// It has been true since then, and not for long enough.
    Pending { since: Timestamp },
    /// It was told.
    Firing(Firing),
}

/// An alert that fires.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Firing {
    /// Since when it was true.
    pub(super) since: Timestamp,
    /// The number of the firing.
    pub(super) episode: u64,
    /// Since when it is not true any more.
    pub(super) clear_since: Option<Timestamp>,
    /// The value that was furthest from what is allowed.
    pub(super) peak: f64,
}

/// It begins to fire, or has resolved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) at: Timestamp,
    pub(super) firing: Firing,
    pub(super) is_resolved: bool,
    pub(super) reading: Reading,
    pub(super) unit: Unit,
}

/// A reading of the clock.
#[derive(Clone, Copy, Debug)]
struct Clock {
    time: Timestamp,
    arrival: Monotonic,
    /// No line has told the time yet.
    is_guess: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Series {
    clock: Clock,
    pub(super) meter: Meter,
    pub(super) state: State,
    /// When it must be looked at again, by its own clock.
    due: Option<Timestamp>,
    /// The last line that counted; kept only where an annotation wants it.
    pub(super) message: Vec<u8>,
    unit: Unit,
    /// Changes with each change that must survive.
    pub(super) revision: u64,
}

impl Series {
    /// A series that begins now. `is_guess` where no line of it has come yet.
    pub(super) fn new(terms: &Terms<'_>, time: Timestamp, arrival: Monotonic, is_guess: bool) -> Series {
        let mut series = Series {
            clock: Clock { time, arrival, is_guess },
            meter: Meter::new(terms.when, time),
            state: State::Inactive,
            due: None,
            message: Vec::new(),
            unit: Unit::None,
            revision: 0,
        };
        series.due = series.meter.changes_at(terms.when, time, false);
        series
    }

    /// When it must be looked at by the arrival clock.
    pub(super) fn deadline(&self) -> Option<Monotonic> {
        Some(self.clock.arrival + self.due?.since(self.clock.time))
    }

    /// Takes in a line that counts.
    #[inline]
    pub(super) fn hit(
        &mut self,
        terms: &mut Terms<'_>,
        hit: Hit,
        (time, arrival): (Timestamp, Monotonic),
        turns: &mut Vec<Turn>,
    ) {
        let Some(time) = self.turn_clock(time, arrival) else { return };
        self.catch_up(terms, time, turns);
        self.revision += 1;
        if hit.unit != Unit::None {
            self.unit = hit.unit;
        }
        self.meter.slide(time);
        self.meter.add(hit.value, time);
        self.step(terms, time, turns);
    }

    /// Sets what is known of loops or of a container, at `time` or, if the clock is further by then, at `arrival`.
    pub(super) fn set(
        &mut self,
        terms: &mut Terms<'_>,
        value: Option<f64>,
        (time, arrival): (Option<Timestamp>, Monotonic),
        turns: &mut Vec<Turn>,
    ) {
        let here = self.clock.time + arrival.since(self.clock.arrival);
        let time = match time {
            Some(time) if self.clock.is_guess => time,
            time => here.max(time.unwrap_or(here)),
        };
        let Some(time) = self.turn_clock(time, arrival) else { return };
        self.catch_up(terms, time, turns);
        self.meter.set(value);
        self.step(terms, time, turns);
    }

    /// Its stream has ended: what it waits for cannot come any more. It goes on with the stream's next line.
    pub(super) fn end(&mut self, turns: &mut Vec<Turn>) {
        self.due = None;
        if let State::Firing(firing) = self.state {
            let at = self.clock.time;
            turns.push(Turn { at, firing, is_resolved: true, reading: Reading::default(), unit: self.unit });
        }
        self.state = self.moved(State::Inactive);
    }

    /// Does what was due by `now`.
    pub(super) fn tick(&mut self, terms: &mut Terms<'_>, now: Monotonic, turns: &mut Vec<Turn>) {
        if self.deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        let time = self.clock.time + now.since(self.clock.arrival);
        (self.clock.time, self.clock.arrival) = (time, now);
        self.catch_up(terms, time, turns);
    }

    /// The time of a line; `None` where it is too late.
    fn turn_clock(&mut self, time: Timestamp, arrival: Monotonic) -> Option<Timestamp> {
        let last = self.clock;
        let time = match time {
            _ if last.is_guess => {
                self.meter.begin(time);
                self.due = None;
                time
            }
            time if time >= last.time => time,
            late if last.time.since(late) > LATE_MAX => return None,
            _ => last.time + arrival.since(last.arrival) / 2,
        };
        self.clock = Clock { time, arrival: arrival.max(last.arrival), is_guess: false };
        Some(time)
    }

    /// Does what was due until `time`, each at its own time.
    fn catch_up(&mut self, terms: &mut Terms<'_>, time: Timestamp, turns: &mut Vec<Turn>) {
        // A window is empty after as many steps as it has buckets or single lines; the rest is `for` and
        // `keep_firing_for`. So this ends long before the limit, which is there for damaged state.
        for _ in 0..STEPS_MAX {
            let Some(due) = self.due.filter(|due| *due <= time) else { return };
            self.meter.slide(due);
            self.step(terms, due, turns);
            if self.due.is_some_and(|next| next <= due) {
                self.due = None;
            }
        }
    }

    /// Judges at `time`, to which the meter was moved.
    #[inline]
    fn step(&mut self, terms: &mut Terms<'_>, time: Timestamp, turns: &mut Vec<Turn>) {
        let reading = self.meter.read(terms.when, time, self.state == State::Inactive);
        self.state = match self.state {
            State::Inactive if !reading.is_true => State::Inactive,
            State::Inactive if terms.hold.is_zero() => self.fire(terms, time, time, reading, turns),
            State::Inactive => self.moved(State::Pending { since: time }),
            State::Pending { .. } if !reading.is_true => self.moved(State::Inactive),
            State::Pending { since } if time.since(since) < terms.hold => State::Pending { since },
            State::Pending { since } => self.fire(terms, since, time, reading, turns),
            State::Firing(firing) => self.go_on(terms, firing, time, reading, turns),
        };
        let ends = match self.state {
            State::Inactive => None,
            State::Pending { since } => Some(since + terms.hold),
            State::Firing(firing) => firing.clear_since.map(|since| since + terms.keep),
        };
        let changes = self.meter.changes_at(terms.when, time, reading.is_true);
        self.due = ends.into_iter().chain(changes).min();
        if matches!(terms.when, When::Resource { .. }) {
            // Between two samples nothing is known.
            self.due = None;
        }
    }

    fn fire(
        &mut self,
        terms: &mut Terms<'_>,
        since: Timestamp,
        at: Timestamp,
        reading: Reading,
        turns: &mut Vec<Turn>,
    ) -> State {
        *terms.ever += 1;
        let firing = Firing { since, episode: *terms.ever, clear_since: None, peak: reading.value };
        turns.push(Turn { at, firing, is_resolved: false, reading, unit: self.unit });
        self.moved(State::Firing(firing))
    }

    fn go_on(
        &mut self,
        terms: &Terms<'_>,
        mut firing: Firing,
        time: Timestamp,
        reading: Reading,
        turns: &mut Vec<Turn>,
    ) -> State {
        if reading.is_true {
            firing.clear_since = None;
            firing.peak = terms.worse(firing.peak, reading.value);
            return State::Firing(firing);
        }
        let since = *firing.clear_since.get_or_insert(time);
        if time.since(since) < terms.keep {
            return State::Firing(firing);
        }
        turns.push(Turn { at: time, firing, is_resolved: true, reading, unit: self.unit });
        self.moved(State::Inactive)
    }

    fn moved(&mut self, state: State) -> State {
        self.revision += 1;
        state
    }

    /// While time decides what comes next, it is written down how far it has gone.
    pub(super) fn keep_time(&mut self) {
        if let State::Pending { .. } | State::Firing(Firing { clear_since: Some(_), .. }) = self.state {
            self.revision += 1;
        }
    }

    /// Goes on at `time` as if nothing had passed since its last reading.
    pub(super) fn skip_to(&mut self, time: Timestamp) {
        let passed = time.since(self.clock.time);
        self.clock.time = self.clock.time + passed;
        match &mut self.state {
            State::Pending { since } => *since = *since + passed,
            State::Firing(Firing { clear_since: Some(since), .. }) => *since = *since + passed,
            State::Inactive | State::Firing(_) => {}
        }
    }

    /// What is to be written down.
    pub(super) fn kept(&self, rule: u64, now: Monotonic) -> KeptSeries<'_> {
        KeptSeries {
            rule,
            time: self.clock.time,
            ago: now.since(self.clock.arrival),
            is_guess: self.clock.is_guess,
            meter: Cow::Borrowed(&self.meter),
            state: self.state,
            due: self.due,
            message: Cow::Borrowed(&self.message),
            unit: self.unit,
        }
    }

    /// A series that goes on where another one was handed out; `None` where it is not of this rule.
    pub(super) fn take_back(terms: &Terms<'_>, kept: KeptSeries<'_>, arrival: Monotonic) -> Option<Series> {
        let KeptSeries { time, ago, is_guess, meter, state, due, message, unit, .. } = kept;
        if !Meter::new(terms.when, time).fits(&meter) {
            return None;
        }
        Some(Series {
            clock: Clock { time: time + ago, arrival, is_guess },
            meter: meter.into_owned(),
            state,
            due,
            message: message.into_owned(),
            unit,
            revision: 1,
        })
    }

    /// Nothing is lost if it is forgotten.
    pub(super) fn is_idle(&mut self, now: Monotonic) -> bool {
        // What is not due is not moved on by itself.
        self.meter.slide(self.clock.time + now.since(self.clock.arrival));
        self.state == State::Inactive && self.due.is_none() && self.meter.is_empty()
    }

    pub(super) fn size(&self) -> usize {
        size_of::<Series>() + self.message.capacity() + self.meter.size()
    }
}

/// See [`Series::catch_up`].
const STEPS_MAX: usize = 1_024;

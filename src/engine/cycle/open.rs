//! One open loop: its iterations, and when it must be told or closed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::endpoint;
use super::quick::Waiting;
use super::spread::Spread;
use super::watch::seconds;
use crate::engine::storm::window::Pace;
use crate::units::{Monotonic, Timestamp};

/// A loop that was recognised and goes on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Open {
    /// Its steps in the order of an iteration.
    pub(super) members: Vec<u8>,
    /// The step whose runs are its iterations.
    pub(super) anchor: u8,
    /// It has one member, each line of which is an iteration.
    pub(super) is_alone: bool,
    pub(super) id: u128,
    pub(super) started: Timestamp,
    /// When the last iteration began.
    pub(super) last: Timestamp,
    pub(super) iterations: u64,
    /// Iterations since it was last told.
    pub(super) untold: u64,
    /// How often it was told.
    tellings: u32,
    pub(super) spread: Spread,
    /// Without an iteration for so long it is over.
    quiet: Duration,
    /// The same in seconds.
    quiet_seconds: f64,
    longest: f64,
    /// When it must be told by log time: a backlog that is read in a second is told by the hours it spans.
    pub(super) log_deadline: Timestamp,
    #[serde(skip)]
    pub(super) deadline: Monotonic,
    #[serde(skip)]
    pub(super) last_arrival: Monotonic,
    #[serde(skip)]
    pub(super) waiting: Waiting,
    /// What lines around it may name.
    search: Option<Search>,
    /// What they named.
    pub(super) endpoint: Option<String>,
}

/// Looking for an endpoint in the lines around a loop. One that is named once may be anything.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Search {
    candidate: String,
    /// Lines that are still looked at.
    left: u16,
}

/// What an open loop is made of.
pub(super) struct Beginning {
    pub(super) members: Vec<u8>,
    pub(super) anchor: u8,
    pub(super) is_alone: bool,
    pub(super) id: u128,
    pub(super) started: Timestamp,
    pub(super) iterations: u64,
    pub(super) spread: Spread,
    pub(super) time: Timestamp,
    pub(super) arrival: Monotonic,
    /// What it tries to reach is known.
    pub(super) has_endpoint: bool,
}

impl Open {
    pub(super) fn new(beginning: Beginning) -> Open {
        let Beginning {
            members,
            anchor,
            is_alone,
            id,
            started,
            iterations,
            spread,
            time,
            arrival,
            has_endpoint,
        } = beginning;
        let mut open = Open {
            members,
            anchor,
            is_alone,
            id,
            started,
            last: time,
            iterations,
            untold: 0,
            tellings: 0,
            longest: spread.max(),
            spread,
            quiet: QUIET_MIN,
            quiet_seconds: 0.0,
            log_deadline: time,
            deadline: arrival,
            last_arrival: arrival,
            waiting: Waiting::default(),
            search: (!has_endpoint).then(|| Search { candidate: String::new(), left: OVERHEARD_MAX }),
            endpoint: None,
        };
        open.measure();
        open
    }

    /// Takes in an iteration, and says whether the loop is to be told now.
    #[inline]
    pub(super) fn iterate(&mut self, nanos: i64, is_led: bool, time: Timestamp, arrival: Monotonic) -> bool {
        let interval = seconds(nanos);
        self.waiting.entered(nanos, is_led);
        self.iterations += 1;
        self.untold += 1;
        self.spread.add(interval);
        (self.last, self.last_arrival) = (time, arrival);
        if interval > self.longest || self.iterations.is_power_of_two() {
            self.measure();
        }
        self.make_room();
        time >= self.log_deadline || arrival >= self.deadline
    }

    /// A lane that was not seen before joins in: an iteration without an interval.
    pub(super) fn join(&mut self, time: Timestamp, arrival: Monotonic) {
        self.iterations += 1;
        self.untold += 1;
        (self.last, self.last_arrival) = (time, arrival);
        self.make_room();
    }

    #[cold]
    fn measure(&mut self) {
        self.longest = self.spread.max();
        let quiet = Duration::try_from_secs_f64(8.0 * self.spread.quantile(0.95)).unwrap_or(QUIET_MIN);
        self.quiet = quiet.max(QUIET_MIN);
        self.quiet_seconds = self.quiet.as_secs_f64();
    }

    /// Whether an iteration after `seconds` is the first of another loop.
    #[inline]
    pub(super) fn is_broken_by(&self, seconds: f64) -> bool {
        seconds >= self.quiet_seconds
    }

    /// Whether nothing came for too long by the arrival clock.
    pub(super) fn is_over(&self, now: Monotonic) -> bool {
        self.last_arrival + self.quiet <= now
    }

    /// Whether it has news and is to be told by the arrival clock.
    pub(super) fn is_due(&self, now: Monotonic) -> bool {
        self.untold > 0 && self.deadline <= now
    }

    /// When something is to be done if no line comes.
    pub(super) fn next_deadline(&self) -> Monotonic {
        let over = self.last_arrival + self.quiet;
        if self.untold > 0 { over.min(self.deadline) } else { over }
    }

    /// It is told now; `arrival` is when.
    pub(super) fn tell(&mut self, pace: Pace, arrival: Monotonic) {
        let interval = pace.interval(self.tellings);
        self.tellings = self.tellings.saturating_add(1);
        self.untold = 0;
        self.deadline = arrival + interval;
        self.log_deadline = self.last + interval;
    }

    /// How long ago the last iteration came, and how long until it is told again.
    pub(super) fn waits(&self, now: Monotonic) -> (Duration, Duration) {
        (now.since(self.last_arrival), self.deadline.since(now))
    }

    /// The reverse, in another process.
    pub(super) fn resume(&mut self, now: Monotonic, (quiet_for, left): (Duration, Duration)) {
        let quiet_for = u64::try_from(quiet_for.as_nanos()).unwrap_or(u64::MAX);
        self.last_arrival = Monotonic(now.0.saturating_sub(quiet_for));
        self.deadline = now + left;
    }

    /// Whether lines around it may still say what it tries to reach.
    pub(super) fn is_listening(&self) -> bool {
        self.search.is_some()
    }

    /// A member has named what it tries to reach.
    pub(super) fn stop_listening(&mut self) {
        self.search = None;
    }

    /// A line around the loop. An endpoint that two of them name is believed.
    pub(super) fn overhear(&mut self, text: &[u8]) {
        let Some(search) = &mut self.search else { return };
        search.left -= 1;
        if let Some(found) = endpoint::find(text) {
            if found == search.candidate {
                self.endpoint = Some(found);
                self.search = None;
                return;
            }
            search.candidate = found;
        }
        if search.left == 0 {
            self.search = None;
        }
    }

    pub(super) fn size(&self) -> usize {
        size_of::<Open>() + self.members.len() + size_of::<u32>() * 16 * 33
    }
}

/// A loop is over after at least this long without an iteration, and 8 times the 95th percentile of its period.
const QUIET_MIN: Duration = Duration::from_secs(30);
/// Lines around a loop that are searched for what it tries to reach.
const OVERHEARD_MAX: u16 = 200;

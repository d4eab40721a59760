//! What this stage keeps over a restart: the entries in an episode, and the floods that are not told yet.
//!
//! A deadline is kept as the time that was left, with the wall time at which it was. What passed since then on the wall
//! clock is gone from it: a window that would have ended during the stop is due at once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::novelty::{Family, Flood, Novelty};
use super::rate::Rate;
use super::shed::Shed;
use super::values::{Extremes, Values};
use super::window::{Episode, Window};
use super::{STATISTICS_MAX, State, Storm, Storms};
use crate::engine::template::catalog::EntryId;
use crate::units::{Lines, Monotonic, Now, Timestamp};

/// The numbers of an episode, as they stand in the columns of the outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// The episode's number.
    pub episode: u64,
    /// The number of its window that is open, or of the last one.
    pub window: u64,
    /// Lines in the window.
    pub count: Lines,
    /// Lines since the episode began, verbatim ones included.
    pub total: Lines,
    /// When the first line of the window was written.
    pub first: Timestamp,
    /// When the last one was.
    pub last: Timestamp,
}

/// All else that is kept of an entry in an episode.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeptEpisode<'a> {
    /// The wall time at which this was true.
    wall: Timestamp,
    quiet_for: Duration,
    window_left: Duration,
    rate: Rate,
    passed: u32,
    storm: Option<Storm>,
    busy: i64,
    windows: u32,
    first_offset: u64,
    last_offset: u64,
    log_deadline: Timestamp,
    text: &'a [u8],
    #[serde(borrow)]
    examples: Vec<&'a [u8]>,
    values: Option<Vec<Extremes>>,
}

/// What later versions of this program keep of an entry in an episode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptMore {
    /// When the episode began.
    began: Timestamp,
    /// Lines of its window that an emergency limit has held back.
    limited: Lines,
}

/// A flood that is not told yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFlood {
    wall: Timestamp,
    left: Duration,
    count: Lines,
    families: Vec<Family>,
    examples: Vec<Box<[u8]>>,
    last: Timestamp,
    offset: u64,
}

impl Storms {
    /// Hands out each episode that has changed since this was last called, and whether it is the first time for it.
    ///
    /// All open episodes are looked at, which costs 3 ns each while they are in the caches; to take a note of changes
    /// would cost a little for each line.
    pub fn hand_out(
        &mut self,
        now: Now,
        mut sink: impl FnMut(EntryId, Numbers, (&KeptEpisode<'_>, KeptMore), bool),
    ) {
        for &entry in &self.open {
            let State { rate, passed, storm, busy, last_arrival, open_at: _, episode } =
                &mut self.states[entry.0 as usize];
            let Some(episode) = episode else { continue };
            let Episode { id, began, total, windows, told, window } = &mut **episode;
            let before = told.replace((*total, window.count));
            if before == *told {
                continue;
            }
            let numbers = Numbers {
                episode: *id,
                window: window.id,
                count: window.count,
                total: *total,
                first: window.first,
                last: window.last,
            };
            let kept = KeptEpisode {
                wall: now.wall,
                quiet_for: now.arrival.since(*last_arrival),
                window_left: window.deadline.since(now.arrival),
                rate: rate.clone(),
                passed: *passed,
                storm: *storm,
                busy: *busy,
                windows: *windows,
                first_offset: window.first_offset,
                last_offset: window.last_offset,
                log_deadline: window.log_deadline,
                text: &window.text,
                examples: window.examples.iter().map(|example| &**example).collect(),
                values: window.values.as_ref().map(|values| values.extremes()),
            };
            sink(
                entry,
                numbers,
                (&kept, KeptMore { began: *began, limited: window.limited }),
                before.is_none(),
            );
        }
    }

    /// Takes an episode back. Where only its numbers could be read it is over at once, and the caller closes it.
    pub fn take_back(
        &mut self,
        entry: EntryId,
        numbers: Numbers,
        (kept, more): (Option<&KeptEpisode<'_>>, Option<KeptMore>),
        now: Now,
    ) {
        let open_at = self.open.len() as u32; // as many as there are entries, whose numbers are 32 bits
        let room_for_values = self.measured < STATISTICS_MAX;
        let quiet = self.limits.quiet;
        let state = self.vacant(entry);
        *state = kept.map_or_else(State::vacant, |kept| kept.state(now));
        state.open_at = open_at;
        let mut window = kept.map_or_else(Window::default, |kept| kept.window(now));
        window.values.take_if(|_| !room_for_values);
        let is_measured = window.values.is_some();
        let due = window.deadline.min(state.last_arrival + quiet);
        state.episode = Some(Box::new(Episode {
            id: numbers.episode,
            began: more.map_or(numbers.first, |more| more.began),
            total: numbers.total,
            windows: kept.map_or(0, |kept| kept.windows),
            told: Some((numbers.total, numbers.count)),
            window: Window {
                id: numbers.window,
                count: numbers.count,
                limited: more.map_or(Lines(0), |more| more.limited),
                first: numbers.first,
                last: numbers.last,
                ..window
            },
        }));
        self.open.push(entry);
        self.measured += usize::from(is_measured);
        self.next_deadline = Some(self.next_deadline.map_or(due, |next| next.min(due)));
    }

    /// The numbers that the next episode and the next window get.
    pub fn next_numbers(&self) -> (u64, u64) {
        (self.next_episode, self.next_window)
    }

    /// Goes on counting episodes and windows from there.
    pub fn carry_in(&mut self, next_episode: u64, next_window: u64) {
        self.next_episode = self.next_episode.max(next_episode);
        self.next_window = self.next_window.max(next_window);
    }
}

impl KeptEpisode<'_> {
    fn state(&self, now: Now) -> State {
        let quiet_for = self.quiet_for.saturating_add(now.wall.since(self.wall));
        State {
            rate: self.rate.clone(),
            passed: self.passed,
            storm: self.storm,
            busy: self.busy,
            last_arrival: before(now.arrival, quiet_for),
            ..State::vacant()
        }
    }

    fn window(&self, now: Now) -> Window {
        Window {
            first_offset: self.first_offset,
            last_offset: self.last_offset,
            deadline: now.arrival + left(self.window_left, self.wall, now),
            log_deadline: self.log_deadline,
            text: self.text.into(),
            examples: self.examples.iter().map(|example| Box::from(*example)).collect(),
            values: self.values.as_ref().map(|values| Box::new(Values::going_on(values))),
            ..Window::default()
        }
    }
}

/// What is left at `now` of a time that was `left` at `wall`.
fn left(left: Duration, wall: Timestamp, now: Now) -> Duration {
    left.saturating_sub(now.wall.since(wall))
}

/// `wait` before `now`. The arrival clock begins when the machine does, so right after that a moment before it is moved
/// to its zero: what waits for it comes that much later.
fn before(now: Monotonic, wait: Duration) -> Monotonic {
    Monotonic(now.0.saturating_sub(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)))
}

impl Flood {
    fn kept(&self, now: Now) -> KeptFlood {
        KeptFlood {
            wall: now.wall,
            left: self.deadline.since(now.arrival),
            count: self.count,
            families: self.families.clone(),
            examples: self.examples.clone(),
            last: self.last,
            offset: self.offset,
        }
    }

    fn taken_back(kept: KeptFlood, now: Now) -> Box<Flood> {
        Box::new(Flood {
            count: kept.count,
            families: kept.families,
            examples: kept.examples,
            last: kept.last,
            offset: kept.offset,
            deadline: now.arrival + left(kept.left, kept.wall, now),
        })
    }

    /// A flood of which nothing but the number of lines is known. It is due at once.
    fn bare(count: Lines, now: Now) -> Box<Flood> {
        Box::new(Flood { count, last: now.wall, ..Flood::new(now.arrival) })
    }
}

impl Novelty {
    /// The flood, to be written down.
    pub fn kept(&self, now: Now) -> Option<KeptFlood> {
        self.flood.as_ref().map(|flood| flood.kept(now))
    }

    /// Takes a flood back.
    pub fn take_back(&mut self, kept: KeptFlood, now: Now) {
        self.flood = Some(Flood::taken_back(kept, now));
    }
}

impl Shed {
    /// What was shed, to be written down.
    pub fn kept(&self, now: Now) -> Option<KeptFlood> {
        self.flood.as_ref().map(|flood| flood.kept(now))
    }

    /// Takes back what was shed.
    pub fn take_back(&mut self, kept: KeptFlood, now: Now) {
        self.flood = Some(Flood::taken_back(kept, now));
    }

    /// Takes back a number of lines of which nothing else is known.
    pub fn take_back_bare(&mut self, count: Lines, now: Now) {
        self.flood = Some(Flood::bare(count, now));
    }
}

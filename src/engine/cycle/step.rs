//! Steps: one member, or would-be member, of a loop, with its intervals.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::attempts::Attempts;
use super::lexicon::Tags;
use super::sequence::Sequence;
use crate::units::{Monotonic, Timestamp};

/// What a program says at one point of an iteration, in one wording or several.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Step {
    /// The template of its shortest wording.
    pub(super) template: u128,
    /// The text of that wording's first line.
    pub(super) text: Box<[u8]>,
    pub(super) tags: u8,
    /// It is warn or worse, or speaks of failure.
    pub(super) is_failing: bool,
    /// The order in which steps were first seen.
    pub(super) number: u32,
    /// Its first lines were not seen: it was known already, or there was no room.
    pub(super) is_late: bool,
    /// The loop that it is a member of.
    pub(super) member_of: Option<u8>,
    /// From run to run: the iterations of a loop of several members.
    pub(super) runs: Track,
    /// From line to line: those of a loop of this member alone.
    pub(super) lines: Track,
    pub(super) attempts: Option<Attempts>,
    pub(super) endpoint: Option<String>,
}

impl Step {
    pub(super) fn tags(&self) -> Tags {
        Tags(self.tags)
    }

    /// The intervals between the iterations of its loop, which it makes up alone or with others.
    pub(super) fn track(&self, is_alone: bool) -> &Track {
        if is_alone { &self.lines } else { &self.runs }
    }

    /// The same to change.
    pub(super) fn track_mut(&mut self, is_alone: bool) -> &mut Track {
        if is_alone { &mut self.lines } else { &mut self.runs }
    }

    pub(super) fn size(&self) -> usize {
        let endpoint = self.endpoint.as_ref().map_or(0, String::len);
        size_of::<Step>()
            + self.text.len()
            + endpoint
            + self.runs.sequence.size()
            + self.lines.sequence.size()
    }
}

/// The intervals of a step. The lanes of a stream take turns in it, so the sequence is that of one lane, the leader; of
/// the others only the number is known.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Track {
    pub(super) sequence: Sequence,
    /// Intervals in all lanes.
    pub(super) turns: u64,
    /// Lanes in which it has begun.
    begun: u32,
    leader: u8,
    /// Intervals of other lanes since the leader's last.
    waited: u8,
    /// At this many turns it is to be looked at again.
    pub(super) next_look: u64,
    /// The leader has changed: the beginning of its sequence was not seen.
    pub(super) is_late: bool,
    /// When its first line arrived; what an earlier process saw has arrived long ago.
    #[serde(skip)]
    arrived: Monotonic,
}

impl Track {
    /// The step comes for the first time in a lane.
    pub(super) fn begin(&mut self, lane: usize, time: Timestamp, arrival: Monotonic) {
        if self.begun == 0 {
            self.restart(lane, time);
            self.arrived = arrival;
        } else {
            self.begun += 1;
        }
    }

    /// Everything before `time` is forgotten.
    pub(super) fn restart(&mut self, lane: usize, time: Timestamp) {
        self.sequence.restart(time);
        (self.turns, self.begun, self.waited, self.next_look, self.is_late) = (0, 1, 0, 0, false);
        self.leader = lane as u8; // at most LANES_MAX
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.restart(0, Timestamp::default());
        self.begun = 0;
    }

    /// Takes in an interval that has just ended in a lane.
    #[inline]
    pub(super) fn push(&mut self, lane: usize, seconds: f64, time: Timestamp) {
        self.turns += 1;
        if usize::from(self.leader) == lane {
            self.waited = 0;
            self.sequence.push(seconds as f32);
            return;
        }
        self.waited = self.waited.saturating_add(1);
        if self.waited >= WAITED_MAX {
            // The leader has fallen silent. What is known of the new one begins here.
            (self.leader, self.waited, self.is_late) = (lane as u8, 0, true);
            self.sequence.restart(time);
        }
    }

    /// Takes in intervals of several lanes, of which `led` are the leader's, as the last one may be.
    pub(super) fn extend(&mut self, led: &[f32], all: usize, is_last_led: bool) {
        self.turns += all as u64;
        let waited = if led.is_empty() { usize::from(self.waited) + all } else { all - led.len() };
        // Where the leader came in between, fewer have come since; what is too many is only looked at sooner.
        self.waited = if is_last_led { 0 } else { u8::try_from(waited).unwrap_or(u8::MAX) };
        self.sequence.extend(led);
    }

    /// Whether the leader may be given up within so many intervals.
    pub(super) fn is_given_up(&self, within: usize) -> bool {
        usize::from(self.waited) + within >= usize::from(WAITED_MAX)
    }

    /// How long it has gone on, by the clock that says more: where that of the log stands still, lines do arrive.
    pub(super) fn lasted(&self, time: Timestamp, arrival: Monotonic) -> Duration {
        time.since(self.sequence.since).max(arrival.since(self.arrived))
    }

    /// Whether this lane is the one whose intervals are kept.
    pub(super) fn is_led_by(&self, lane: usize) -> bool {
        usize::from(self.leader) == lane
    }

    /// The lane whose intervals are kept.
    pub(super) fn leader(&self) -> usize {
        usize::from(self.leader)
    }

    /// Iterations, with those that have only begun.
    pub(super) fn iterations(&self) -> u64 {
        self.turns + u64::from(self.begun)
    }
}

/// Intervals of other lanes after which the leader is given up.
const WAITED_MAX: u8 = 128;

/// Whether two lines are one said briefly and in detail: one begins like the other, and goes on. Words that hold a digit
/// are variable, and equal to each other.
pub(super) fn is_worded_alike(one: &[u8], other: &[u8]) -> bool {
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    let (mut a, mut b) = (Tokens(short), Tokens(long));
    let mut words = 0;
    loop {
        match (a.next(), b.next()) {
            // The same words, and something behind them that is no mere ending of the last one.
            (None, Some(_)) => return words >= 2,
            (Some(one), Some(other)) if one == other || is_variable(one) && is_variable(other) => {
                words += usize::from(one.len() > 1);
            }
            _ => return false,
        }
    }
}

fn is_variable(token: &[u8]) -> bool {
    token.iter().any(u8::is_ascii_digit)
}

/// Words, and single bytes between them.
struct Tokens<'t>(&'t [u8]);

impl<'t> Iterator for Tokens<'t> {
    type Item = &'t [u8];

    fn next(&mut self) -> Option<&'t [u8]> {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | 0x80..);
        let word = self.0.iter().position(|byte| !is_word(byte)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(word.max(1).min(self.0.len()));
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wordings_of_one_step() {
        #[track_caller]
        fn check(one: &str, other: &str, want: bool) {
            assert_eq!(is_worded_alike(one.as_bytes(), other.as_bytes()), want, "{one} / {other}");
            assert_eq!(is_worded_alike(other.as_bytes(), one.as_bytes()), want, "{other} / {one}");
        }
        check("WebSocket connection timeout", "WebSocket connection timeout: wss://a:1/ (attempt 3)", true);
        check("Reconnection failed after 5 attempts", "Reconnection failed after 12 attempts in 9 ms", true);
        check("gw-1 | connection refused", "gw-2 | connection refused: x", true);
        check("connection timeout", "connection timeouts", false);
        check("connection timeout", "connection refused", false);
        check("connection timeout", "connection timeout", false); // one template, two streams
        check("timeout", "timeout: x", false); // one word says too little
        check("", "a b c", false);
    }

    #[test]
    fn the_clock_that_moves_says_how_long_it_lasts() {
        let mut track = Track::default();
        track.begin(0, Timestamp(5), Monotonic(50));
        assert_eq!(track.lasted(Timestamp(12), Monotonic(50)), Duration::from_nanos(7));
        assert_eq!(track.lasted(Timestamp(5), Monotonic(59)), Duration::from_nanos(9));
    }

    #[test]
    fn a_leader_that_falls_silent_is_replaced() {
        let mut track = Track::default();
        track.begin(1, Timestamp(5), Monotonic(5));
        track.begin(2, Timestamp(6), Monotonic(6));
        track.push(1, 1.0, Timestamp(7));
        assert_eq!((track.sequence.count(), track.iterations(), track.is_late), (1, 3, false));
        for _ in 0..=WAITED_MAX {
            track.push(2, 1.0, Timestamp(9));
        }
        assert!(track.is_led_by(2) && track.is_late);
        assert_eq!(track.sequence.count(), 1);
    }
}

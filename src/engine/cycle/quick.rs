//! The quick way: a line of a loop that is open and goes on as it did.
//!
//! In a storm nearly every line is one. All there is to do is to see whose turn it is, and to note an interval that is
//! neither shorter nor longer than those before; up to 32 of them are entered into the books at once.
//! Invariant: [`Watch::observe`] without it would lead to the same, once the loop is [settled](Watch::settle). Whatever is
//! unusual goes the long way, and nothing is changed before that is known.

use super::lane::Form;
use super::open::Open;
use super::step::Track;
use super::watch::{NOBODY, Watch, passed, repeats, seconds};
use super::{STEPS, Seen, WORDINGS};
use crate::units::Timestamp;

/// What a wording is in its loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// Something else.
    #[default]
    None,
    /// A member whose lines are no iterations.
    Member,
    /// The member whose runs are the iterations.
    Anchor,
    /// The only member: each line is an iteration.
    Alone,
}

/// A wording, as the quick way needs it.
#[derive(Clone, Copy, Debug)]
struct Turn {
    entry: u32,
    step: u8,
    /// Of the loop.
    index: u8,
    part: Part,
    form: Form,
    /// The lane whose intervals are kept.
    leader: u8,
    /// Later lines are read, which is the long way.
    read_at: Timestamp,
}

/// The wordings of a stream by their numbers, and where an entry may stand among them by its lowest bits.
#[derive(Clone, Debug)]
pub(super) struct Turns {
    list: [Turn; WORDINGS],
    hints: [u8; HINTS],
}

const HINTS: usize = 64;

impl Default for Turns {
    fn default() -> Turns {
        let nobody = Turn {
            entry: NOBODY,
            step: 0,
            index: 0,
            part: Part::None,
            form: Form::None,
            leader: 0,
            read_at: Timestamp(0),
        };
        Turns { list: [nobody; WORDINGS], hints: [0; HINTS] }
    }
}

impl Turns {
    /// The number of the wording of this entry, where it is known at once.
    #[inline]
    pub(super) fn place(&self, entry: u32) -> Option<usize> {
        let at = usize::from(self.hints[entry as usize % HINTS]) % WORDINGS;
        (self.list[at].entry == entry).then_some(at)
    }
}

/// Iterations of an open loop that are not in its books yet.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    /// In nanoseconds; those of other lanes than the leader's with all bits turned.
    intervals: [i64; WAITING_MAX],
    len: usize,
    /// So many may wait.
    room: usize,
    /// The leader's newest.
    newest: i64,
    /// Intervals between these may wait.
    shortest: i64,
    longest: i64,
}

const WAITING_MAX: usize = 32;
/// A longer interval may end the loop.
const LONGEST: i64 = 30 * Timestamp::SECOND;

impl Default for Waiting {
    /// None may wait.
    fn default() -> Waiting {
        Waiting { intervals: [0; WAITING_MAX], len: 0, room: 0, newest: 0, shortest: i64::MAX, longest: -1 }
    }
}

impl Waiting {
    /// An interval of so many nanoseconds has been entered.
    pub(super) fn entered(&mut self, nanos: i64, is_led: bool) {
        self.newest = if is_led { nanos } else { self.newest };
        self.shortest = self.shortest.min(nanos);
        self.longest = self.longest.max(nanos.min(LONGEST));
    }

    #[inline]
    fn push(&mut self, nanos: i64, is_led: bool) -> bool {
        let fits = self.len < self.room && self.shortest <= nanos && nanos <= self.longest;
        if fits {
            self.intervals[self.len % WAITING_MAX] = if is_led { nanos } else { !nanos };
            self.len += 1;
            self.newest = if is_led { nanos } else { self.newest };
        }
        fits
    }

    /// None may wait until others have been entered.
    fn close(&mut self) {
        (self.shortest, self.longest) = (i64::MAX, -1);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Watch {
    /// Takes in a line, if it can be done quickly.
    #[inline]
    pub(super) fn observe_quickly(&mut self, at: usize, seen: &Seen<'_>) -> bool {
        let turn = self.turns.list[at % WORDINGS];
        if turn.part == Part::None || seen.time >= turn.read_at {
            false
        } else if turn.form == Form::None {
            self.take(turn, 0, true, seen)
        } else {
            self.take_named(turn, seen)
        }
    }

    /// The same where a program's name may stand before the line.
    #[inline]
    fn take_named(&mut self, turn: Turn, seen: &Seen<'_>) -> bool {
        let at = self.lanes.find(seen.text, turn.form);
        at.is_some_and(|at| self.take(turn, at, usize::from(turn.leader) == at, seen))
    }

    /// Takes in a line in this lane. Always a part of the caller: what it knows of the lane saves a tenth.
    #[inline(always)]
    fn take(
        &mut self,
        Turn { step, index, part, .. }: Turn,
        at: usize,
        is_led: bool,
        seen: &Seen<'_>,
    ) -> bool {
        let step = usize::from(step) % STEPS;
        let (Some(lane), Some(open)) = (self.lanes.list.get_mut(at), self.loops.get_mut(usize::from(index)))
        else {
            return false;
        };
        if lane.begun >> step & 1 == 0 {
            return false;
        }
        let others = lane.seen[step];
        let has_ended = others & self.support.strong != 0;
        let is_iteration = match part {
            Part::Anchor if has_ended => open.wait(passed(lane.run_at[step], seen.time), is_led, seen),
            Part::Alone => {
                let nanos = passed(lane.line_at[step], seen.time);
                if repeats(nanos, open.waiting.newest) {
                    true
                } else if open.wait(nanos, is_led, seen) {
                    lane.line_at[step] = seen.time.0;
                    true
                } else {
                    false
                }
            }
            _ => true,
        };
        if !is_iteration {
            return false;
        }
        if has_ended {
            (lane.run[step], lane.run_at[step]) = (1, seen.time.0);
            lane.see(step, 0);
        } else {
            lane.run[step] = lane.run[step].saturating_add(1);
            lane.see(step, others);
        }
        true
    }

    /// Sees anew which lines can be taken in quickly: something has changed.
    #[cold]
    pub(super) fn set_turns(&mut self) {
        self.turns = Turns::default();
        for (at, (wording, &entry)) in self.wordings.iter().zip(&self.entries).enumerate().take(WORDINGS) {
            let turn = &mut self.turns.list[at];
            (turn.entry, turn.step, turn.read_at) = (entry, wording.step, wording.read_at);
            self.turns.hints[entry as usize % HINTS] = at as u8; // below WORDINGS
            let step = &self.steps[usize::from(wording.step)];
            let Some(index) = step.member_of else { continue };
            let Some(open) = self.loops.get(usize::from(index)) else { continue };
            turn.index = index;
            turn.form = wording.form;
            turn.leader = step.track(open.is_alone).leader() as u8; // at most LANES_MAX
            turn.part = match () {
                () if open.anchor != wording.step => Part::Member,
                () if wording.form == Form::None && turn.leader != 0 => Part::None,
                () if !open.is_alone => Part::Anchor,
                () if step.tags != 0 => Part::Alone,
                () => Part::None,
            };
        }
    }

    /// Enters what waits into the books of a loop.
    pub(super) fn settle(&mut self, index: usize) {
        let open = &mut self.loops[index];
        if !open.waiting.is_empty() {
            let anchor = &mut self.steps[usize::from(open.anchor)];
            open.settle(anchor.track_mut(open.is_alone));
        }
    }

    /// Enters everything that waits.
    pub(super) fn settle_all(&mut self) {
        (0..self.loops.len()).for_each(|index| self.settle(index));
    }
}

impl Open {
    /// Takes in an iteration that needs nothing else. False, and nothing is changed, where it does.
    #[inline]
    fn wait(&mut self, nanos: i64, is_led: bool, seen: &Seen<'_>) -> bool {
        let is_due = seen.time >= self.log_deadline || seen.arrival >= self.deadline;
        let waits = !is_due && self.waiting.push(nanos, is_led);
        if waits {
            (self.last, self.last_arrival) = (seen.time, seen.arrival);
        }
        waits
    }

    /// Enters what waits.
    #[inline(never)]
    fn settle(&mut self, track: &mut Track) {
        let len = std::mem::take(&mut self.waiting.len).min(WAITING_MAX);
        let (mut all, mut led, mut count) = ([0.0; WAITING_MAX], [0.0; WAITING_MAX], 0);
        for (all, &nanos) in all.iter_mut().zip(&self.waiting.intervals[..len]) {
            *all = seconds(nanos ^ nanos >> 63) as f32;
            led[count] = *all;
            count += usize::from(nanos >= 0);
        }
        let is_last_led = self.waiting.intervals[len.saturating_sub(1)] >= 0;
        track.extend(&led[..count], len, is_last_led);
        if track.is_given_up(WAITING_MAX) {
            self.waiting.close();
        }
        self.spread.extend(&all[..len]);
        self.iterations += len as u64;
        self.untold += len as u64;
        self.make_room();
    }

    /// Lets iterations wait up to the next one at which the loop is measured, which is a power of two.
    pub(super) fn make_room(&mut self) {
        let next = (self.iterations + 1).next_power_of_two();
        self.waiting.room =
            usize::try_from(next - self.iterations - 1).unwrap_or(WAITING_MAX).min(WAITING_MAX);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::cycle::lexicon::Tags;
    use crate::engine::cycle::{Limits, Loops};
    use crate::engine::storm;
    use crate::engine::template::catalog::EntryId;
    use crate::engine::template::mask::TemplateId;
    use crate::units::Monotonic;

    const TEXTS: [&str; 4] = ["alpha", "bravo", "charlie", "delta"];
    const NAMES: [&str; 4] = ["", "gateway-1  | ", "gateway-2  | ", "gateway-3  | "];

    /// One after the other: a loop with some noise, a pause now and then, and programs that come and go.
    fn scripts() -> impl Strategy<Value = Vec<(usize, usize, i64)>> {
        let member = (0..40u8, 0..4usize, 0..60u8, 1..2_000_000_000i64);
        let lines = proptest::collection::vec(member, 300..1_500);
        (1..=3usize, 1..=4usize, any::<bool>(), lines).prop_map(|(members, names, steady, lines)| {
            let mut turn = 0;
            let script = lines.into_iter().map(move |(noise, other, rare, nanos)| {
                turn += usize::from(noise > 2);
                let step = if noise <= 2 { other } else { turn % members };
                let pause = match rare {
                    0 => nanos * 40,
                    1 => 0,
                    _ if steady => 70_000_000,
                    _ => 50_000_000 + nanos % 40_000_000,
                };
                (step, if names == 4 { 0 } else { turn / members % names + 1 }, pause)
            });
            script.collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn both_ways_lead_to_the_same(script in scripts(), looks in 1..400usize) {
            let limits = || Loops::new(Limits::default(), storm::Limits::default().pace());
            let (mut quick, mut slow) = ((Watch::new(None), limits()), (Watch::new(None), limits()));
            let mut time = 1_000 * Timestamp::SECOND;
            let mut quickly = 0;
            for (line, &(step, name, pause)) in script.iter().enumerate() {
                time += pause;
                let text = format!("{}{}", NAMES[name], TEXTS[step]);
                let seen = Seen {
                    entry: EntryId(step as u32),
                    template: TemplateId(step as u128),
                    tags: Tags::RETRY,
                    text: text.as_bytes(),
                    time: Timestamp(time),
                    arrival: Monotonic(time as u64),
                    is_failing: true,
                    is_first: line < 4,
                };
                let before: usize = quick.0.loops.iter().map(|open| open.waiting.len).sum();
                quick.0.observe(&seen, &mut quick.1);
                quickly += usize::from(quick.0.loops.iter().map(|open| open.waiting.len).sum::<usize>() > before);
                slow.0.observe_slowly(None, &seen, &mut slow.1);
                if line % looks == 0 {
                    prop_assert_eq!(quick.0.views(), slow.0.views());
                    quick.0.on_deadline(seen.arrival, &mut quick.1);
                    slow.0.on_deadline(seen.arrival, &mut slow.1);
                }
                prop_assert_eq!(quick.1.take_news("x"), slow.1.take_news("x"), "line {}, {} quick", line, quickly);
            }
        }
    }
}

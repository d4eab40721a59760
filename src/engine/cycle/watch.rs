//! What is watched of one stream: its steps, what lies between them, and the loops that are open.
//!
//! Invariant: a wording's step exists; a step is a member of at most one open loop.
//! Limits: those of [`super`], a few KiB a stream; a stream without lines that concern it has none of this.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::backoff::{self, Judgement};
use super::detector::Support;
use super::lane::{Form, Lanes, Place};
use super::open::Open;
use super::quick::Turns;
use super::step::{Step, Track};
use super::view::{self, LoopView};
use super::{Loops, Seen, attempts, endpoint};
use crate::engine::storm::window::ClosedBy;
use crate::engine::template::catalog::EntryId;
use crate::units::{Monotonic, Timestamp};

/// One stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Watch {
    /// The entry of each wording, by its number; apart from the rest, because it is searched for each line.
    #[serde(skip)]
    pub(super) entries: Vec<u32>,
    pub(super) wordings: Vec<Wording>,
    pub(super) steps: Vec<Step>,
    pub(super) support: Support,
    pub(super) lanes: Lanes,
    pub(super) loops: Vec<Open>,
    /// When this process began to see the stream, unless it saw its beginning.
    resumed_at: Option<Timestamp>,
    /// The number of the next step.
    pub(super) next_number: u32,
    /// What a line needs that goes the quick way.
    #[serde(skip)]
    pub(super) turns: Turns,
}

/// A template that a step is worded in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Wording {
    pub(super) template: u128,
    pub(super) step: u8,
    pub(super) form: Form,
    /// Lines before this log time are not read.
    pub(super) read_at: Timestamp,
    /// Lines that were read.
    pub(super) readings: u8,
    /// They tell attempts.
    pub(super) tells: bool,
}

impl Watch {
    pub(super) fn new(resumed_at: Option<Timestamp>) -> Watch {
        Watch {
            entries: Vec::new(),
            wordings: Vec::new(),
            steps: Vec::new(),
            support: Support::default(),
            lanes: Lanes::default(),
            loops: Vec::new(),
            resumed_at,
            next_number: 0,
            turns: Turns::default(),
        }
    }

    /// This process begins to see the stream. What is known of it was seen before; whether from its beginning, only the
    /// earlier process can tell.
    pub(super) fn resume(&mut self, time: Timestamp) {
        self.settle_all();
        for at in 0..self.steps.len() {
            let step = &self.steps[at];
            let (runs, lines) = (self.is_whole(step, &step.runs), self.is_whole(step, &step.lines));
            let step = &mut self.steps[at];
            (step.runs.is_late, step.lines.is_late) = (!runs, !lines);
        }
        self.resumed_at = Some(time);
    }

    /// After a restart no entry is known; wordings are found by their templates.
    pub(super) fn forget_entries(&mut self) {
        self.entries = vec![NOBODY; self.wordings.len()];
        self.set_turns();
    }

    /// The same with everything in the books, as it may be written down.
    pub(super) fn settled(&self) -> Cow<'_, Watch> {
        let mut settled = Cow::Borrowed(self);
        if self.loops.iter().any(|open| !open.waiting.is_empty()) {
            settled.to_mut().settle_all();
        }
        settled
    }

    #[inline]
    pub(super) fn observe(&mut self, seen: &Seen<'_>, shared: &mut Loops) {
        let known = self.turns.place(seen.entry.0);
        if !known.is_some_and(|at| self.observe_quickly(at, seen)) {
            self.observe_slowly(known, seen, shared);
        }
    }

    #[inline(never)]
    pub(super) fn observe_slowly(&mut self, known: Option<usize>, seen: &Seen<'_>, shared: &mut Loops) {
        let known = known.or_else(|| self.entries.iter().position(|&entry| entry == seen.entry.0));
        let Some(at) = known.or_else(|| self.admit(seen)) else { return };
        let Some(&Wording { step, form, read_at, .. }) = self.wordings.get(at) else { return };
        if seen.time >= read_at {
            self.read(at, seen, shared);
        }
        let lane = match self.lanes.place(seen.text, form) {
            Place::In(lane) => lane,
            Place::TooMany => self.join_lanes(seen.arrival),
        };
        self.advance(lane, usize::from(step), seen, shared);
    }

    /// A line of a step.
    #[inline]
    fn advance(&mut self, at: usize, step: usize, seen: &Seen<'_>, shared: &mut Loops) {
        let member_of = self.steps[step].member_of.map(usize::from);
        // What belongs to an open loop need not be found any more.
        if member_of.is_none() {
            self.support.line(step);
        }
        let lane = &mut self.lanes.list[at];
        if lane.begun >> step & 1 == 0 {
            lane.see(step, 0);
            return self.begin(at, step, seen);
        }
        let others = lane.seen[step];
        if others & self.support.strong == 0 {
            lane.see(step, others);
            lane.run[step] = lane.run[step].saturating_add(1);
        } else {
            lane.see(step, 0);
            let run = std::mem::replace(&mut lane.run[step], 1);
            let nanos = passed(std::mem::replace(&mut lane.run_at[step], seen.time.0), seen.time);
            if let Some(index) = member_of {
                let Open { is_alone, anchor, .. } = self.loops[index];
                if !is_alone && usize::from(anchor) == step {
                    return self.iterate(index, at, step, nanos, seen, shared);
                }
            } else {
                self.support.gap(step, others, run);
                self.turn(at, step, seconds(nanos), seen, shared);
            }
        }
        // The turn may have opened a loop.
        let Step { member_of, tags, .. } = self.steps[step];
        if tags != 0 && member_of.is_none_or(|index| self.loops[usize::from(index)].is_alone) {
            self.repeat(at, step, seen, shared);
        }
    }

    /// The first line of a step in a lane.
    #[cold]
    fn begin(&mut self, at: usize, step: usize, seen: &Seen<'_>) {
        self.settle_all();
        let lane = &mut self.lanes.list[at];
        lane.begun |= 1 << step;
        lane.seen[step] = 0;
        lane.run[step] = 1;
        (lane.run_at[step], lane.line_at[step]) = (seen.time.0, seen.time.0);
        let state = &mut self.steps[step];
        state.runs.begin(at, seen.time, seen.arrival);
        state.lines.begin(at, seen.time, seen.arrival);
        let open = state.member_of.and_then(|index| self.loops.get_mut(usize::from(index)));
        if let Some(open) = open.filter(|open| usize::from(open.anchor) == step) {
            open.join(seen.time, seen.arrival);
        }
        self.set_turns();
    }

    /// Another run of a step that is in no loop.
    fn turn(&mut self, at: usize, step: usize, interval: f64, seen: &Seen<'_>, shared: &mut Loops) {
        let track = &mut self.steps[step].runs;
        if track.is_led_by(at) && track.sequence.is_broken_by(interval) {
            track.restart(at, seen.time);
            return;
        }
        track.push(at, interval, seen.time);
        if track.turns >= track.next_look.max(u64::from(shared.limits.iterations_min)) {
            track.next_look = track.turns + (track.turns / 4).clamp(1, 256);
            self.look_for_several(seen, shared);
        }
    }

    /// Another line of a step that is in no loop of several members: an iteration, where it is a loop by itself.
    #[inline]
    fn repeat(&mut self, at: usize, step: usize, seen: &Seen<'_>, shared: &mut Loops) {
        let member_of = self.steps[step].member_of.map(usize::from);
        if let Some(index) = member_of {
            self.settle(index);
        }
        let mut nanos = passed(self.lanes.list[at].line_at[step], seen.time);
        let track = &mut self.steps[step].lines;
        if let Some(before) = track.sequence.newest() {
            // A program that says it twice in one try.
            if repeats(nanos, (f64::from(before) * 1e9) as i64) {
                return;
            }
            let longest = (f64::from(track.sequence.longest()) * 1e9) as i64;
            if track.sequence.count() <= 3 && repeats(longest, nanos) {
                // What came until now was the first try, said several times.
                let since = track.sequence.since;
                nanos = passed(since.0, seen.time);
                track.restart(at, since);
            }
        }
        self.lanes.list[at].line_at[step] = seen.time.0;
        if let Some(index) = member_of {
            return self.iterate(index, at, step, nanos, seen, shared);
        }
        let interval = seconds(nanos);
        let track = &mut self.steps[step].lines;
        if track.is_led_by(at) && track.sequence.is_broken_by(interval) {
            track.restart(at, seen.time);
            return;
        }
        track.push(at, interval, seen.time);
        if track.turns >= track.next_look.max(u64::from(shared.limits.iterations_min)) {
            track.next_look = track.turns + (track.turns / 4).clamp(1, 256);
            self.look_for_one(step, seen, shared);
        }
    }

    /// An iteration of an open loop, or the first one of another.
    #[inline]
    fn iterate(
        &mut self,
        index: usize,
        at: usize,
        step: usize,
        nanos: i64,
        seen: &Seen<'_>,
        shared: &mut Loops,
    ) {
        self.settle(index);
        let interval = seconds(nanos);
        let open = &mut self.loops[index];
        if open.is_broken_by(interval) && open.is_broken_by(seconds(seen.time.0 - open.last.0)) {
            self.close(index, ClosedBy::Quiet, shared);
            return self.begin(at, step, seen);
        }
        let track = self.steps[step].track_mut(open.is_alone);
        let leader = track.leader();
        track.push(at, interval, seen.time);
        let has_moved = leader != track.leader();
        if open.iterate(nanos, leader == at, seen.time, seen.arrival) {
            self.tell(index, seen.arrival, shared);
        }
        if has_moved {
            self.set_turns();
        }
    }

    /// Tells how a loop stands.
    #[cold]
    pub(super) fn tell(&mut self, index: usize, arrival: Monotonic, shared: &mut Loops) {
        let pace = shared.pace;
        self.settle(index);
        self.loops[index].tell(pace, arrival);
        shared.note_deadline(self.loops[index].next_deadline());
        shared.note_deadline(arrival + pace.every);
        shared.news.push(self.view(&self.loops[index], None));
    }

    /// Ends a loop and forgets its members' habits: what comes after a silence begins anew.
    #[cold]
    fn close(&mut self, index: usize, closed_by: ClosedBy, shared: &mut Loops) {
        self.settle(index);
        shared.news.push(self.view(&self.loops[index], Some(closed_by)));
        let gone = self.loops.remove(index);
        shared.listening -= u32::from(gone.is_listening());
        let members = gone.members.iter().fold(0u16, |bits, member| bits | 1 << member);
        self.support.forget(members);
        self.lanes.list.iter_mut().for_each(|lane| lane.forget(members));
        for step in &mut self.steps {
            step.member_of = match step.member_of.map(usize::from) {
                Some(own) if own == index => {
                    step.runs.clear();
                    step.lines.clear();
                    // What comes next is seen from its beginning.
                    step.is_late = false;
                    None
                }
                Some(own) if own > index => Some((own - 1) as u8),
                other => other.map(|own| own as u8),
            };
        }
        self.set_turns();
    }

    /// Tells and closes what is due. True when something was closed or told.
    pub(super) fn on_deadline(&mut self, now: Monotonic, shared: &mut Loops) -> bool {
        let before = shared.news.len();
        self.settle_all();
        for index in (0..self.loops.len()).rev() {
            if self.loops[index].is_over(now) {
                self.close(index, ClosedBy::Quiet, shared);
            } else if self.loops[index].is_due(now) {
                self.tell(index, now, shared);
            }
        }
        for open in &self.loops {
            shared.note_deadline(open.next_deadline());
        }
        shared.news.len() > before
    }

    /// Closes all loops. True when there was one.
    pub(super) fn close_all(&mut self, closed_by: ClosedBy, shared: &mut Loops) -> bool {
        let any = !self.loops.is_empty();
        while !self.loops.is_empty() {
            self.close(0, closed_by, shared);
        }
        any
    }

    /// Whether no loop is open.
    pub(super) fn is_idle(&self) -> bool {
        self.loops.is_empty()
    }

    /// How many loops are open.
    pub(super) fn open_count(&self) -> usize {
        self.loops.len()
    }

    /// A line that belongs to no loop.
    pub(super) fn overhear(&mut self, text: &[u8], shared: &mut Loops) {
        for open in self.loops.iter_mut().filter(|open| open.is_listening()) {
            open.overhear(text);
            shared.listening -= u32::from(!open.is_listening());
        }
    }

    /// The entry with this number is another one from now on.
    pub(super) fn forget(&mut self, entry: EntryId) {
        if let Some(known) = self.entries.iter_mut().find(|known| **known == entry.0) {
            *known = NOBODY;
            self.set_turns();
        }
    }

    pub(super) fn views(&self) -> Vec<LoopView> {
        let settled = self.settled();
        settled.loops.iter().map(|open| settled.view(open, None)).collect()
    }

    fn view(&self, open: &Open, closed_by: Option<ClosedBy>) -> LoopView {
        let anchor = &self.steps[usize::from(open.anchor)];
        let track = anchor.track(open.is_alone);
        let judgement: Judgement = backoff::judge(&track.sequence, self.is_whole(anchor, track));
        let steps: Vec<&Step> = open.members.iter().map(|&member| &self.steps[usize::from(member)]).collect();
        view::of(open, &steps, &track.sequence, judgement, closed_by)
    }

    /// Whether the beginning of a sequence was seen: the step was new, and the stream was seen for long enough before to
    /// have missed none of it.
    pub(super) fn is_whole(&self, step: &Step, track: &Track) -> bool {
        let silence = (2.0 * f64::from(track.sequence.longest())).max(SILENCE_MIN);
        let long_after = |start: Timestamp| track.sequence.since.since(start).as_secs_f64() > silence;
        // What an open loop brought over a restart began before this process did.
        let is_kept = |start: Timestamp| track.sequence.since < start;
        !step.is_late && !track.is_late && self.resumed_at.is_none_or(|at| is_kept(at) || long_after(at))
    }

    /// Reads what a line says of attempts, and of what its program tries to reach.
    #[cold]
    fn read(&mut self, at: usize, seen: &Seen<'_>, shared: &mut Loops) {
        let wording = &mut self.wordings[at];
        wording.readings = wording.readings.saturating_add(1);
        let step = &mut self.steps[usize::from(wording.step)];
        if let Some(found) = attempts::find(seen.text) {
            wording.tells = true;
            let limit = found.limit.or(step.attempts.and_then(|before| before.limit));
            step.attempts = Some(attempts::Attempts { limit, ..found });
        }
        let enough = if wording.tells { READINGS_MAX } else { READINGS_IN_VAIN };
        let is_done = wording.readings >= enough;
        if is_done {
            let pause = if wording.tells { READ_EVERY } else { i64::MAX };
            wording.read_at = Timestamp(seen.time.0.saturating_add(pause));
        }
        if step.endpoint.is_none() {
            step.endpoint = endpoint::find(seen.text);
            let member_of = step.endpoint.as_ref().and(step.member_of);
            let open = member_of.and_then(|index| self.loops.get_mut(usize::from(index)));
            if let Some(open) = open.filter(|open| open.is_listening()) {
                open.stop_listening();
                shared.listening -= 1;
            }
        }
        if is_done {
            self.set_turns();
        }
    }

    /// Bytes of memory in use.
    pub(super) fn size(&self) -> usize {
        let steps: usize = self.steps.iter().map(Step::size).sum();
        let loops: usize = self.loops.iter().map(Open::size).sum();
        let wordings = self.wordings.capacity() * (size_of::<Wording>() + size_of::<u32>());
        size_of::<Watch>() + steps + loops + wordings + self.lanes.size()
    }
}

/// Nanoseconds of log time from `since` to `time`; none where it has gone back.
#[inline]
pub(super) fn passed(since: i64, time: Timestamp) -> i64 {
    time.0.saturating_sub(since).max(0)
}

/// Whether a line that comes so many nanoseconds after another belongs to the same try, where tries were `before` apart.
#[inline]
pub(super) fn repeats(nanos: i64, before: i64) -> bool {
    nanos < REPEAT_MAX && nanos * REPEAT_SHARE < before
}

#[inline]
pub(super) fn seconds(nanos: i64) -> f64 {
    nanos.max(0) as f64 * 1e-9
}

/// No entry has this number: there are far fewer.
pub(super) const NOBODY: u32 = u32::MAX;
/// A line that comes again within half a second, and within a twentieth of the last interval, belongs to the same try.
const REPEAT_MAX: i64 = Timestamp::SECOND / 2;
const REPEAT_SHARE: i64 = 20;
/// A stream must be seen for longer than this before a loop for its beginning to have been seen.
const SILENCE_MIN: f64 = 30.0;
/// Lines of a wording that are read one after the other, where they tell attempts.
const READINGS_MAX: u8 = 16;
/// The same where they tell none: what they say stands in their constant text, so few will do. Where many templates take
/// turns for few places, reading more took a tenth of all time.
const READINGS_IN_VAIN: u8 = 3;
/// Later ones are read once in this many nanoseconds of log time, where they tell attempts.
const READ_EVERY: i64 = 30 * Timestamp::SECOND;

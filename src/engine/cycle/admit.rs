//! Who is watched: which templates get a place, which of them are wordings of one step, and which lanes there are.
//!
//! Limits: those of [`super`]. Where all places are taken, what comes more often stays (Misra and Gries' rule).

use super::lane::{self, Form};
use super::step::{Step, is_worded_alike};
use super::watch::{NOBODY, Watch, Wording, seconds};
use super::{STEPS, Seen, WORDINGS};
use crate::units::{Monotonic, Timestamp};

impl Watch {
    /// The place of an entry that was not known: its template's, a new wording's, or none where all places are taken by
    /// others that come more often.
    #[cold]
    pub(super) fn admit(&mut self, seen: &Seen<'_>) -> Option<usize> {
        let template = seen.template.0;
        if let Some(at) = self.wordings.iter().position(|wording| wording.template == template) {
            self.entries[at] = seen.entry.0;
            self.set_turns();
            return Some(at);
        }
        let text = &seen.text[..seen.text.len().min(TEXT_MAX)];
        let form = lane::form(text);
        let alike = self.steps.iter().position(|step| is_worded_alike(&step.text, text));
        let step = alike.map_or_else(|| self.new_step(seen), Some)?;
        let at = self.new_wording()?;
        let state = &mut self.steps[step];
        state.tags |= seen.tags.0;
        state.is_failing |= seen.is_failing;
        // The shortest wording stands for the step, as long as nobody knows it by another.
        if state.text.is_empty() || (text.len() < state.text.len() && state.member_of.is_none()) {
            state.text = Box::from(text);
            state.template = template;
        }
        self.entries[at] = seen.entry.0;
        // Below STEPS, which is below 256.
        self.wordings[at] = Wording {
            template,
            step: step as u8,
            form,
            read_at: Timestamp(i64::MIN),
            readings: 0,
            tells: false,
        };
        self.set_turns();
        Some(at)
    }

    /// A place for a wording.
    fn new_wording(&mut self) -> Option<usize> {
        if self.wordings.len() < WORDINGS {
            let nothing = Wording {
                template: 0,
                step: 0,
                form: Form::None,
                read_at: Timestamp(0),
                readings: 0,
                tells: false,
            };
            self.wordings.push(nothing);
            self.entries.push(NOBODY);
            return Some(self.wordings.len() - 1);
        }
        // One whose entry is gone makes room, unless it is needed to know a loop's member again.
        let is_free = |&at: &usize| {
            let step = usize::from(self.wordings[at].step);
            self.entries[at] == NOBODY && self.steps[step].member_of.is_none()
        };
        (0..WORDINGS).find(is_free)
    }

    /// A place for a step: a free one, or that of the step which comes least often. A template that comes once takes
    /// nobody's place; one that comes again weakens the weakest until it gives way.
    fn new_step(&mut self, seen: &Seen<'_>) -> Option<usize> {
        let fresh = Step { number: self.next_number, is_late: !seen.is_first, ..Step::default() };
        if self.steps.len() < STEPS {
            self.next_number += 1;
            self.steps.push(fresh);
            return Some(self.steps.len() - 1);
        }
        if seen.is_first {
            return None;
        }
        let free = (0..STEPS).filter(|&step| self.steps[step].member_of.is_none());
        let weakest = free.min_by_key(|&step| self.support.lines(step))?;
        if !self.support.weaken(weakest) {
            return None;
        }
        self.next_number += 1;
        self.support.forget(1 << weakest);
        self.lanes.list.iter_mut().for_each(|lane| lane.forget(1 << weakest));
        let mut at = 0;
        while at < self.wordings.len() {
            if usize::from(self.wordings[at].step) == weakest {
                self.wordings.swap_remove(at);
                self.entries.swap_remove(at);
            } else {
                at += 1;
            }
        }
        self.steps[weakest] = fresh;
        self.set_turns();
        Some(weakest)
    }

    /// There are too many first words for them to be names. What was seen in their lanes is gone through again in one.
    #[cold]
    pub(super) fn join_lanes(&mut self, arrival: Monotonic) -> usize {
        self.settle_all();
        let all = self.lanes.join();
        self.support.forget(u16::MAX);
        for step in &mut self.steps {
            step.runs.clear();
            step.lines.clear();
        }
        for (time, step) in all {
            self.replay(step, time, arrival);
        }
        self.set_turns();
        0
    }

    /// A line that was counted in a lane which is gone.
    fn replay(&mut self, step: usize, time: i64, arrival: Monotonic) {
        let lane = &mut self.lanes.list[0];
        let others = lane.seen[step] & !(1 << step);
        lane.see(step, lane.seen[step]);
        let state = &mut self.steps[step];
        let is_first = lane.begun >> step & 1 == 0;
        let (interval, line_interval) =
            (seconds(time - lane.run_at[step]), seconds(time - lane.line_at[step]));
        lane.begun |= 1 << step;
        lane.line_at[step] = time;
        if is_first {
            state.runs.begin(0, Timestamp(time), arrival);
            state.lines.begin(0, Timestamp(time), arrival);
        } else {
            state.lines.push(0, line_interval, Timestamp(time));
        }
        if is_first || others != 0 {
            lane.seen[step] = 0;
            lane.run_at[step] = time;
            lane.run[step] = 1;
        }
        if !is_first && others != 0 {
            state.runs.push(0, interval, Timestamp(time));
            self.support.line(step);
            self.support.gap(step, others, 1);
        }
    }
}

/// A step's text is kept up to this many bytes.
const TEXT_MAX: usize = 256;

//! Looking for loops among the steps of a stream, and opening them.
//!
//! Only now and then, the rarer the longer nothing was found: see `next_look`.

use xxhash_rust::xxh3::xxh3_128;

use super::detector::Found;
use super::lexicon::Tags;
use super::open::{Beginning, Open};
use super::spread::Spread;
use super::step::Step;
use super::watch::Watch;
use super::{Loops, OPEN_MAX, STEPS, Seen, backoff};

impl Watch {
    /// Looks for a loop of several members.
    #[cold]
    pub(super) fn look_for_several(&mut self, seen: &Seen<'_>, shared: &mut Loops) {
        let mut tags = [Tags::default(); STEPS];
        let mut free = 0;
        for (at, step) in self.steps.iter().enumerate() {
            tags[at] = step.tags();
            free |= u16::from(step.member_of.is_none()) << at;
        }
        let Some(Found { anchor, members }) = self.support.find(free, &tags) else { return };
        let runs = &self.steps[anchor].runs;
        // A burst takes turns, too; and so do lines of a file that is read at once although its clock stands still, as
        // where logs of several servers follow each other and all but the first are out of time.
        let lasts = runs.lasted(seen.time, seen.arrival).as_secs_f64() >= LASTING_TOGETHER_MIN;
        let enough = lasts && runs.sequence.count() >= u64::from(shared.limits.iterations_min);
        // Programs do their daily work in turns, too: "task assigned", "task running". That is no loop to tell.
        let is_trouble = |step: &Step| step.tags != 0 || step.is_failing;
        let any = (0..self.steps.len()).any(|at| members >> at & 1 == 1 && is_trouble(&self.steps[at]));
        if enough && any {
            self.open(anchor, members, false, seen, shared);
        }
    }

    /// Looks whether a step is a loop by itself.
    #[cold]
    pub(super) fn look_for_one(&mut self, step: usize, seen: &Seen<'_>, shared: &mut Loops) {
        let track = &self.steps[step].lines;
        if track.sequence.count() < u64::from(shared.limits.iterations_min) {
            return;
        }
        // Where another step comes along each time, the two are to be found together.
        if self.support.has_company(step) && self.support.gaps(step) < COMPANY_GAPS {
            return;
        }
        let judgement = backoff::judge(&track.sequence, self.is_whole(&self.steps[step], track));
        let tags = self.steps[step].tags();
        let tells_all = tags.has(Tags::FAILURE) && tags.has(Tags::RETRY);
        // Many connections that close in the same second are a burst.
        let lasts = seen.time.since(track.sequence.since).as_secs_f64() >= LASTING_MIN;
        if lasts && backoff::is_regular(&track.sequence, judgement, tells_all) {
            self.open(step, 1 << step, true, seen, shared);
        }
    }

    fn open(&mut self, anchor: usize, members: u16, is_alone: bool, seen: &Seen<'_>, shared: &mut Loops) {
        if self.loops.len() >= OPEN_MAX {
            return;
        }
        let members = self.in_order(anchor, members);
        let track = self.steps[anchor].track(is_alone);
        let mut spread = Spread::default();
        track.sequence.recent().iter().for_each(|&interval| spread.add(f64::from(interval)));
        let steps = || members.iter().map(|&member| &self.steps[usize::from(member)]);
        let started = steps().map(|step| step.track(is_alone).sequence.since).min().unwrap_or(seen.time);
        let open = Open::new(Beginning {
            anchor: anchor as u8, // below STEPS
            is_alone,
            id: loop_id(steps().map(|step| step.template)),
            started,
            iterations: track.iterations(),
            spread,
            time: seen.time,
            arrival: seen.arrival,
            has_endpoint: steps().any(|step| step.endpoint.is_some()),
            members,
        });
        shared.ever += 1;
        shared.listening += u32::from(open.is_listening());
        let index = self.loops.len();
        for &member in &open.members {
            self.steps[usize::from(member)].member_of = Some(index as u8); // below OPEN_MAX
        }
        self.loops.push(open);
        self.set_turns();
        self.tell(index, seen.arrival, shared);
    }

    /// The members in the order of an iteration, which begins with the one that was seen first of all.
    fn in_order(&self, anchor: usize, members: u16) -> Vec<u8> {
        let lane = &self.lanes.list[self.steps[anchor].runs.leader().min(self.lanes.list.len() - 1)];
        let mut order: Vec<u8> = (0..STEPS as u8).filter(|step| members >> step & 1 == 1).collect();
        // Each of them has begun a run since the one before it did, so this is a round of the circle.
        order.sort_by_key(|&step| lane.run_at[usize::from(step)]);
        let first = (0..order.len()).min_by_key(|&at| self.steps[usize::from(order[at])].number);
        order.rotate_left(first.unwrap_or(0));
        order
    }
}

/// A loop is known by its members, whatever their order.
fn loop_id(templates: impl Iterator<Item = u128>) -> u128 {
    let mut templates: Vec<u128> = templates.collect();
    templates.sort_unstable();
    let bytes: Vec<u8> = templates.into_iter().flat_map(u128::to_be_bytes).collect();
    xxh3_128(&bytes)
}

/// A loop of one member lasts at least so many seconds.
const LASTING_MIN: f64 = 1.0;
/// The same for a loop of several members, which take turns besides.
const LASTING_TOGETHER_MIN: f64 = 0.2;
/// Gaps after which a step with company is a loop by itself, if no loop of both was found.
const COMPANY_GAPS: u16 = 16;

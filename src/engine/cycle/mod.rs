//! Stage 5, loops: templates that come in turn, again and again, and how a program spaces its tries.
//!
//! In: the lines of entries that are storming or that speak of failing and trying again ([`lexicon`]). Out: a
//! [`LoopView`] when a loop is recognised, now and then while it goes on, and when it ends. A loop of several members is
//! found by what lies between their lines ([`detector`]), one of a single member by its regularity ([`backoff`]); the
//! intervals give the verdict.
//! Invariant: nothing is hidden or counted because of a loop. A loop that is missed costs a label, not a line.
//! Limits: [`STEPS`] steps and [`WORDINGS`] templates a stream, [`OPEN_MAX`] open loops; other lines cost a comparison.
//! Not here: how a loop looks on the wire (`engine::record`); what the words of the config are checked against (`config`).

mod admit;
pub mod attempts;
pub mod backoff;
pub mod detector;
pub mod endpoint;
pub mod kept;
pub mod lane;
pub mod lexicon;
mod look;
mod open;
mod quick;
pub mod sequence;
pub mod spread;
mod step;
mod view;
mod watch;

use std::collections::VecDeque;

use self::lexicon::{Lexicon, Tags};
pub use self::view::{LoopId, LoopView, Member, Period};
use self::watch::Watch;
use super::storm::window::{ClosedBy, Pace};
use super::template::catalog::EntryId;
use super::template::mask::TemplateId;
use crate::units::{Monotonic, Timestamp};

/// Steps of loops that are told apart in one stream.
pub const STEPS: usize = 16;
/// Templates that are told apart in one stream: a step may be worded in several ways.
pub const WORDINGS: usize = 32;
/// Loops that are open at the same time in one stream.
pub const OPEN_MAX: usize = 8;

/// The limits of loops (`loops` in the config).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Iterations after which a loop is believed (`loops.iterations_min`).
    pub iterations_min: u32,
    /// More words that say that something cannot be reached (`loops.failure_words`).
    pub failure_words: Vec<String>,
    /// More words that say that something is tried again (`loops.retry_words`).
    pub retry_words: Vec<String>,
    /// Closed loops that are remembered for who asks. The program asks for 64, if at all.
    pub closed_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { iterations_min: 6, failure_words: Vec::new(), retry_words: Vec::new(), closed_max: 0 }
    }
}

/// A line as this stage sees it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Its entry.
    pub entry: EntryId,
    /// Its template.
    pub template: TemplateId,
    /// What the template's first line spoke of.
    pub tags: Tags,
    /// Its text.
    pub text: &'a [u8],
    /// Its log time.
    pub time: Timestamp,
    /// When it arrived.
    pub arrival: Monotonic,
    /// Its entry is warn or worse, or speaks of failure.
    pub is_failing: bool,
    /// It is the first line of its entry.
    pub is_first: bool,
}

/// Whether a source is read from where it begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FromStart {
    /// It is.
    #[default]
    Yes,
    /// Lines before it were not seen by this process.
    No,
}

/// What the loops of all streams share.
#[derive(Debug)]
pub struct Loops {
    limits: Limits,
    pace: Pace,
    lexicon: Lexicon,
    /// What is to be told, in order.
    news: Vec<LoopView>,
    /// The last loops that have closed, with the names of their streams; the oldest first.
    closed: VecDeque<(String, LoopView)>,
    /// No stream's deadline is earlier than this.
    next_deadline: Option<Monotonic>,
    /// Loops ever opened.
    ever: u64,
    /// Open loops of which it is not known what they try to reach, and that still listen to other lines.
    listening: u32,
}

impl Loops {
    /// No loops yet. `pace` says how often one is told while it goes on.
    pub fn new(limits: Limits, pace: Pace) -> Loops {
        let lexicon = Lexicon::new(&limits.failure_words, &limits.retry_words);
        Loops {
            limits,
            pace,
            lexicon,
            news: Vec::new(),
            closed: VecDeque::new(),
            next_deadline: None,
            ever: 0,
            listening: 0,
        }
    }

    /// What a new template's first line speaks of.
    pub fn tags(&self, text: &[u8]) -> Tags {
        self.lexicon.tags(text)
    }

    /// Whether any stream wants to hear lines that belong to no loop.
    #[inline]
    pub fn is_listening(&self) -> bool {
        self.listening > 0
    }

    /// Whether there is something to tell.
    #[inline]
    pub fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// What is to be told of `stream`, whose lines were the last that were observed.
    pub fn take_news(&mut self, stream: &str) -> Vec<LoopView> {
        let news = std::mem::take(&mut self.news);
        for view in news.iter().filter(|view| view.closed_by.is_some() && self.limits.closed_max > 0) {
            self.closed.push_back((stream.to_owned(), view.clone()));
            while self.closed.len() > self.limits.closed_max {
                self.closed.pop_front();
            }
        }
        news
    }

    /// The last loops that have closed, with the names of their streams; the oldest first.
    pub fn closed(&self) -> impl Iterator<Item = (&str, &LoopView)> {
        self.closed.iter().map(|(stream, view)| (stream.as_str(), view))
    }

    /// Loops ever opened.
    pub fn ever(&self) -> u64 {
        self.ever
    }

    /// Counts on from earlier processes.
    pub fn carry_in(&mut self, ever: u64) {
        self.ever += ever;
    }

    /// When the streams should be asked again what is over by the arrival clock.
    pub fn deadline(&self) -> Option<Monotonic> {
        self.next_deadline
    }

    /// Begins to collect deadlines anew; every stream is [asked](Cycle::on_deadline) then.
    pub fn clear_deadline(&mut self) {
        self.next_deadline = None;
    }

    /// Makes sure that the streams are asked again at `deadline`.
    pub fn note_deadline(&mut self, deadline: Monotonic) {
        self.next_deadline = self.next_deadline.into_iter().chain([deadline]).min();
    }

    /// Bytes of memory behind it.
    pub fn size(&self) -> usize {
        self.closed.iter().map(|(stream, view)| stream.len() + view.size()).sum()
    }
}

/// The loops of one stream.
#[derive(Debug, Default)]
pub struct Cycle {
    /// When the first line came that this process has seen, where lines may have come before.
    resumed_at: Option<Timestamp>,
    has_begun: bool,
    /// An earlier process has seen the stream.
    is_resumed: bool,
    /// Made with the first line that concerns it.
    watch: Option<Box<Watch>>,
    /// Goes up with each change that must survive although no line came.
    revision: u64,
}

impl Cycle {
    /// The first line of a template arrives; the first of all tells whether the stream is seen from its beginning.
    pub fn begin(&mut self, from_start: FromStart, time: Timestamp) {
        let is_resumed = self.is_resumed || from_start == FromStart::No;
        if !std::mem::replace(&mut self.has_begun, true) && is_resumed {
            self.resumed_at = Some(time);
            if let Some(watch) = &mut self.watch {
                watch.resume(time);
            }
        }
    }

    /// Takes in a line of an entry that is storming or tagged.
    #[inline]
    pub fn observe(&mut self, seen: &Seen<'_>, shared: &mut Loops) {
        let resumed_at = self.resumed_at;
        let watch = self.watch.get_or_insert_with(|| Box::new(Watch::new(resumed_at)));
        watch.observe(seen, shared);
    }

    /// Takes in a line of another entry: it may name what an open loop tries to reach.
    #[cold]
    pub fn overhear(&mut self, text: &[u8], shared: &mut Loops) {
        if let Some(watch) = &mut self.watch {
            watch.overhear(text, shared);
        }
    }

    /// An entry's number stands for something else from now on.
    pub fn forget(&mut self, entry: EntryId) {
        if let Some(watch) = &mut self.watch {
            watch.forget(entry);
        }
    }

    /// Tells and closes what is due by the arrival clock, and notes when to ask again.
    pub fn on_deadline(&mut self, now: Monotonic, shared: &mut Loops) {
        if let Some(watch) = &mut self.watch {
            self.revision += u64::from(watch.on_deadline(now, shared));
        }
    }

    /// Gives up what is watched, where no loop is open. True when that was something.
    pub fn relieve(&mut self) -> bool {
        let idle = self.watch.take_if(|watch| watch.is_idle()).is_some();
        // Whatever comes next is not seen from its beginning.
        self.is_resumed |= idle;
        self.has_begun &= !idle;
        idle
    }

    /// Closes all loops.
    pub fn close(&mut self, closed_by: ClosedBy, shared: &mut Loops) {
        if let Some(watch) = &mut self.watch {
            self.revision += u64::from(watch.close_all(closed_by, shared));
        }
    }

    /// The loops that are open.
    pub fn open(&self) -> Vec<LoopView> {
        self.watch.as_ref().map_or_else(Vec::new, |watch| watch.views())
    }

    /// Whether a loop is open.
    pub fn has_open(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| !watch.is_idle())
    }

    /// How many loops are open.
    pub fn open_count(&self) -> usize {
        self.watch.as_ref().map_or(0, |watch| watch.open_count())
    }

    /// Changes whenever something did that no line has brought about.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Bytes of memory behind it.
    pub fn size(&self) -> usize {
        self.watch.as_ref().map_or(0, |watch| watch.size())
    }
}

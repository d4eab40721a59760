//! What the server shows: plain numbers and texts, filled in by the daemon.
//!
//! Invariant: what is in one view was true at one moment. A scrape shows one [`EngineView`], so its books balance.
//! Limit: the lists hold [`SHOWN_MAX`] each.

use std::sync::Arc;
use std::time::Duration;

use crate::units::{Bytes, Lines, Monotonic, Now, Timestamp};

/// Storms, loops and alerts that are listed; all are counted.
pub const SHOWN_MAX: usize = 50;

/// The books of the whole process, those of earlier processes on the same outbox included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// Bytes read from the inputs.
    pub bytes_in: Bytes,
    /// Lines that were accepted, begun ones included.
    pub received: Lines,
    /// Lines that left word for word.
    pub verbatim: Lines,
    /// Lines that left as part of a summary's count.
    pub summarised: Lines,
    /// Lines that left as part of a notice's count, by its reason.
    pub dropped: Vec<(&'static str, Lines)>,
    /// Folded lines in windows that are still open.
    pub open: Lines,
    /// Begun lines whose end has not come yet.
    pub partial: Lines,
    /// Received lines that are nowhere: 0, or the program has a bug.
    pub conservation_error: Lines,
    /// Records written.
    pub records: u64,
    /// Their bytes.
    pub bytes_out: Bytes,
    /// Summaries among them.
    pub summaries: u64,
    /// Notices among them.
    pub notices: u64,
    /// Templates ever met, each counted once a stream.
    pub templates: u64,
    /// Loops ever opened.
    pub loops: u64,
    /// Alerts that ever fired.
    pub alerts: u64,
    /// Lines that emergency limits have held back; among the summarised and the open ones.
    pub limited: Lines,
}

impl Books {
    /// Lines that are accepted and not told yet.
    pub fn pending(&self) -> Lines {
        self.open + self.partial
    }
}

/// How much of everything there is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Active {
    /// Streams.
    pub streams: u64,
    /// Templates that are tracked.
    pub templates: u64,
    /// Templates that are storming.
    pub storms: u64,
    /// Templates whose lines are folded, storming or repeating.
    pub episodes: u64,
    /// Loops that are open.
    pub loops: u64,
    /// Alerts that fire.
    pub alerts: u64,
}

/// How the engine stood at one moment.
#[derive(Clone, Debug, Default)]
pub struct EngineView {
    /// That moment.
    pub at: Now,
    /// The books.
    pub books: Books,
    /// What is open.
    pub active: Active,
    /// The emergency limit, where there is one.
    pub limit: Option<LimitView>,
    /// Orders that have been carried out.
    pub orders: u64,
    /// Lists of it, which may be older.
    pub details: Arc<Details>,
}

/// An emergency limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LimitView {
    /// Lines a second, as ordered.
    pub ordered: u32,
    /// Lines at once, as ordered.
    pub burst: u32,
    /// Lines a second that may pass now.
    pub per_second: f64,
    /// Whether its time is over, and it returns.
    pub is_returning: bool,
    /// Until the return begins, or its next step.
    pub left: Duration,
    /// Lines that it has held back.
    pub held: Lines,
}

/// What somebody wants of the emergency limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// No more lines than these, for a time.
    Limit {
        /// Lines a second.
        per_second: u32,
        /// Lines at once.
        burst: u32,
        /// For how long.
        span: Duration,
    },
    /// No limit any more: gently, or at once where that has begun.
    Lift,
}

/// What is listed. Made only for those who look.
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// When it was made; the clock's zero for never.
    pub at: Now,
    /// The largest episodes.
    pub storms: Vec<Storm>,
    /// The open loops.
    pub loops: Vec<Loop>,
    /// The alerts that fired last, firing ones first.
    pub alerts: Vec<Alert>,
}

/// An episode.
#[derive(Clone, Debug, PartialEq)]
pub struct Storm {
    /// The name of its stream.
    pub stream: String,
    /// Its template's id.
    pub template: String,
    /// Text of the log, bounded.
    pub text: String,
    /// Why it is storming; `None` where only repeats are folded.
    pub kind: Option<&'static str>,
    /// When the first folded line was written.
    pub began: Timestamp,
    /// When the last one was.
    pub last: Timestamp,
    /// Its lines so far.
    pub total: Lines,
    /// Those that no summary has told yet.
    pub open: Lines,
    /// Lines a second over the last ten.
    pub per_second: f64,
}

/// A loop.
#[derive(Clone, Debug, PartialEq)]
pub struct Loop {
    /// Its id.
    pub id: String,
    /// The name of its stream.
    pub stream: String,
    /// One sentence, with text of the log, bounded.
    pub text: String,
    /// How it spaces its tries.
    pub verdict: &'static str,
    /// Whether they vary at random beside that.
    pub jitter: bool,
    /// What it tries to reach, without user and query.
    pub endpoint: Option<String>,
    /// Rounds so far.
    pub iterations: u64,
    /// The median length of a round, in seconds.
    pub period: f64,
    /// When its first line was written.
    pub began: Timestamp,
    /// When its last round began.
    pub last: Timestamp,
    /// What the waits should be, where something is to be said against them.
    pub advice: Option<&'static str>,
}

/// An alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// The rule's name.
    pub name: String,
    /// The rule's group.
    pub group: String,
    /// One sentence, which may hold text of the log, bounded.
    pub text: String,
    /// Its label `severity`.
    pub severity: Option<String>,
    /// Whose lines it is about; `None` for all.
    pub stream: Option<String>,
    /// Since when it was true.
    pub since: Timestamp,
    /// When it began to fire.
    pub fired: Timestamp,
    /// When it had resolved; `None` while it fires.
    pub resolved: Option<Timestamp>,
    /// The value at which it fired, with its unit.
    pub value: String,
    /// The furthest value so far.
    pub peak: String,
}

/// The containers whose logs are read, at the last look.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainersView {
    /// How many there are, as far as their logs tell.
    pub watched: usize,
    /// Those that were found in the cgroup tree; bounded.
    pub measured: Vec<ContainerUse>,
}

/// What one of them uses; `None` for what cannot be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerUse {
    /// Its full id.
    pub id: String,
    /// Its name; empty when unknown.
    pub name: String,
    /// The share of one core since the look before.
    pub cpu: Option<f64>,
    /// Its CPU time so far.
    pub cpu_time: Option<Duration>,
    /// Its working set.
    pub memory: Option<Bytes>,
    /// The most that it may use, where there is a limit.
    pub memory_max: Option<Bytes>,
}

/// How delivery stood at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryView {
    /// Records that are confirmed by this process.
    pub delivered_records: u64,
    /// Records that are on their way.
    pub in_flight_records: u64,
    /// The size of their messages.
    pub in_flight_bytes: Bytes,
    /// Records that the destination refused for good.
    pub refused_records: u64,
    /// The lines that they stood for.
    pub refused_lines: Lines,
    /// The size of the confirmed messages before Kafka's compression.
    pub bytes_out: Bytes,
    /// What went over the network; `None` while unknown or where there is none.
    pub bytes_wire: Option<Bytes>,
    /// What is wrong now, in one sentence.
    pub trouble: Option<String>,
    /// Since when, where that is known.
    pub trouble_since: Option<Monotonic>,
    /// The outbox; `None` where there is none.
    pub outbox: Option<OutboxView>,
    /// Who is told of alerts.
    pub receivers: Vec<ReceiverView>,
}

impl DeliveryView {
    /// How long something has been wrong at `now`; `None` while nothing is.
    pub fn troubled_for(&self, now: Monotonic) -> Option<Duration> {
        self.trouble.as_ref()?;
        Some(self.trouble_since.map_or(Duration::ZERO, |since| now.since(since)))
    }
}

/// How full the outbox is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxView {
    /// Bytes that hold something.
    pub used: Bytes,
    /// Bytes at which no record is taken any more.
    pub most: Bytes,
    /// Records that wait for their confirmation.
    pub records: u64,
    /// The lines that they stand for.
    pub lines: Lines,
}

impl OutboxView {
    /// The share in use.
    pub fn fill(&self) -> f64 {
        self.used.0 as f64 / self.most.0.max(1) as f64
    }
}

/// Somebody who is told of alerts. The numbers count turns (an alert fires, it has resolved) since the start of this process;
/// those that it was handed are `sent`, `failed`, `superseded` or `waiting`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiverView {
    /// Its name in the config.
    pub name: String,
    /// It has confirmed them.
    pub sent: u64,
    /// It did not want them, or could not be reached for too long.
    pub failed: u64,
    /// It was told how the alert stood later.
    pub superseded: u64,
    /// Firings that it was not even to be told, because there were too many.
    pub dropped: u64,
    /// It is still to be told these.
    pub waiting: u64,
    /// The last message to it did not arrive.
    pub is_open: bool,
}

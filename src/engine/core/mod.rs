//! The second half of the pipeline, lines → records: what every line of every source shares.
//!
//! Invariant: each line that enters [`Core::on_line`] is encoded, or counted in a window or flood, before it returns.

mod alerts;
mod books;
mod chronicle;
mod close;
mod detail;
mod family;
pub mod kept;
pub mod limit;
mod loops;
mod notices;
mod options;
pub mod overview;
mod pressure;
mod restore;
mod unclaimed;

use std::collections::HashSet;

use self::alerts::Watching;
use self::kept::Told;
pub use self::options::{Clock, Options};
use self::unclaimed::Unclaimed;
use super::chronicle::Chronicle;
use super::cycle::{Cycle, FromStart, LoopView, Loops};
use super::frame::IoStream;
use super::ledger::{Account, Noticed};
use super::line::redact::Redactor;
use super::line::{Line, level, multiline};
use super::record::Batch;
use super::record::encode::{Encoder, Label};
use super::record::envelope::{Envelope, Place};
use super::record::identity::Identity;
use super::state::EpisodeKey;
use super::storm::novelty::{Newcomer, Novelty};
use super::storm::shed::Shed;
use super::storm::window::{ClosedBy, Folded};
use super::storm::{Collapse, Folding, Limits, Observed, Pressure, Storms, Verdict};
use super::template::catalog::{Catalog, Entry, EntryId, Found, Query, Sighting};
use crate::units::{Bytes, Lines, Monotonic, Now, Timestamp};
use xxhash_rust::xxh3::xxh3_64;

/// One stream: a standard stream of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId(u32);

/// Catalog, storms, encoder and books.
#[derive(Debug)]
pub struct Core {
    streams: Vec<Stream>,
    /// Streams that have ended; their places are used again.
    vacant: Vec<StreamId>,
    /// The books of streams that have ended.
    past: Account,
    /// The lines that all notices stand for.
    noticed: Noticed,
    /// Lines that earlier emergency limits have held back.
    limited: Lines,
    catalog: Catalog,
    storms: Storms,
    loops: Loops,
    alerts: Watching,
    /// Of the source that lines come from now.
    pub(in crate::engine) from_start: FromStart,
    encoder: Encoder,
    limits: Limits,
    memory_max: Bytes,
    identity: Identity,
    /// No stream's flood must be told before this.
    next_flood: Option<Monotonic>,
    pressure: Pressure,
    summaries: u64,
    notices: u64,
    /// Streams of an earlier process that wait for their sources.
    unclaimed: Unclaimed,
    /// What has ended since the last checkpoint, of what was handed out before.
    streams_gone: HashSet<String>,
    episodes_gone: HashSet<EpisodeKey>,
    /// Entries that [`Core::finish_some`] has still to close, the last one first.
    leaving: Vec<EntryId>,
    /// Boxed, because the shipper has none.
    chronicle: Option<Box<Chronicle>>,
    clock: Clock,
    /// The oldest first and the newest log time of [`Clock::Log`].
    log_times: Option<[Timestamp; 2]>,
    /// The part of a joined text that decides its template; kept for its memory.
    decisive: Vec<u8>,
}

#[derive(Debug)]
struct Stream {
    envelope: Envelope,
    /// How its lines are folded now.
    folding: Folding,
    /// How far they are folded without pressure.
    wanted: Collapse,
    account: Account,
    novelty: Novelty,
    shed: Shed,
    cycle: Cycle,
    /// A hash of its name.
    name_hash: u64,
    /// When its first line was written that this process has seen.
    began: Option<Timestamp>,
    /// What was last handed out of it.
    told: Option<Told>,
}

impl Stream {
    fn size(&self) -> usize {
        size_of::<Stream>()
            + self.envelope.size()
            + self.novelty.size()
            + self.shed.size()
            + self.cycle.size()
    }

    /// Its open loops, with its name.
    fn loops(&self) -> impl Iterator<Item = (&str, LoopView)> {
        self.cycle.open().into_iter().map(|view| (&*self.envelope.key, view))
    }

    /// Lines that are counted but not told yet, but for those in windows.
    fn held_back(&self) -> Lines {
        self.novelty.lines_open() + self.shed.lines_open()
    }
}

impl Core {
    /// A core without streams.
    pub fn new(options: Options) -> Core {
        Core {
            alerts: Watching::new(&options),
            streams: Vec::new(),
            vacant: Vec::new(),
            past: Account::default(),
            noticed: Noticed::default(),
            limited: Lines(0),
            catalog: Catalog::new(options.storm.templates_max, options.seed),
            storms: Storms::new(options.storm.clone()),
            loops: Loops::new(options.loops, options.storm.pace()),
            from_start: FromStart::default(),
            encoder: Encoder::new(options.lane, 1, options.record_max),
            chronicle: options.chronicle.then(Box::default),
            clock: options.clock,
            log_times: None,
            limits: options.storm,
            memory_max: options.memory_max,
            identity: options.identity,
            next_flood: None,
            pressure: Pressure::None,
            summaries: 0,
            notices: 0,
            unclaimed: Unclaimed::default(),
            streams_gone: HashSet::new(),
            episodes_gone: HashSet::new(),
            leaving: Vec::new(),
            decisive: Vec::new(),
        }
    }

    /// Takes in a new stream.
    pub fn open_stream(
        &mut self,
        key: &str,
        iostream: IoStream,
        place: &Place,
        folding: Folding,
    ) -> StreamId {
        let stream = Stream {
            envelope: Envelope::new(key, iostream, place, &self.identity),
            folding: Folding { collapse: self.limit(folding.collapse), ..folding },
            wanted: folding.collapse,
            account: Account::default(),
            novelty: Novelty::new(self.limits.novelty_per_second, self.limits.summary_every),
            shed: Shed::default(),
            cycle: Cycle::default(),
            name_hash: xxh3_64(key.as_bytes()),
            began: None,
            told: None,
        };
        if let Some(vacant) = self.vacant.pop() {
            self.streams[vacant.0 as usize] = stream;
            return vacant;
        }
        self.streams.push(stream);
        StreamId((self.streams.len() - 1) as u32) // three an open source: far below 2^32
    }

    /// Ends a stream: its windows close, its entries leave, its books are carried over.
    pub fn close_stream(&mut self, id: StreamId) {
        for entry in self.catalog.entries_of(id.0) {
            self.evict(entry, ClosedBy::End);
        }
        self.close_loops(id, ClosedBy::End);
        self.judge_end(id);
        let stream = &mut self.streams[id.0 as usize];
        self.notices += stream.tell_floods(&mut self.encoder, &mut self.noticed, None);
        if stream.told.take().is_some() {
            self.streams_gone.insert(stream.envelope.key.to_string());
        }
        let gone = std::mem::take(&mut stream.account);
        self.past += gone;
        self.vacant.push(id);
    }

    /// The same for a line that may hold what must not leave.
    #[inline(never)]
    pub fn on_redacted(&mut self, id: StreamId, line: &Line<'_>, redactor: &Redactor, now: Now) {
        let text = redactor.redact(line.text, line.truncated.is_some());
        self.on_line(id, &Line { text: &text, ..*line }, now);
    }

    /// Decides about one line and does what was decided.
    #[inline]
    pub fn on_line(&mut self, id: StreamId, line: &Line<'_>, now: Now) {
        let now = if self.clock == Clock::Log { self.turn_log_clock(line.log_time, now) } else { now };
        if self.alerts.is_on() {
            self.judge(id, line, now);
        }
        if line.lines > 1 {
            return self.on_trace(id, line, now);
        }
        let salt = line.truncated.map_or(0, |truncated| truncated.xxh3);
        self.decide(id, line, Identifying { text: plain(line), salt }, now);
    }

    /// A stack trace. Which parts of it decide its template is a matter of its own.
    #[cold]
    fn on_trace(&mut self, id: StreamId, line: &Line<'_>, now: Now) {
        let mut text = std::mem::take(&mut self.decisive);
        multiline::decisive(plain(line), &mut text);
        // Two traces are the same body only when all of their lines are.
        let salt = line.truncated.map_or_else(|| xxh3_64(line.text), |truncated| truncated.xxh3);
        self.decide(id, line, Identifying { text: &text, salt }, now);
        self.decisive = text;
    }

    #[inline(always)]
    fn decide(&mut self, id: StreamId, line: &Line<'_>, by: Identifying<'_>, now: Now) {
        let stream = &mut self.streams[id.0 as usize];
        stream.account.received += Lines(1);
        let query = Query {
            stream: id.0,
            text: by.text,
            salt: by.salt,
            parse_error: line.parse_error,
            foldable: stream.folding.collapse != Collapse::Never,
        };
        match self.catalog.find(query) {
            Some(found) => self.on_found(id, found, query, line, now),
            None => self.on_unknown(id, query, line, now),
        }
    }

    /// A line whose entry is known.
    #[inline]
    fn on_found(&mut self, id: StreamId, found: Found, query: Query<'_>, line: &Line<'_>, now: Now) {
        if self.chronicle.is_some() {
            self.remember(found, query.text, line);
        }
        if query.foldable {
            self.on_known(id, found, line, query.text, now);
        } else {
            self.on_unfolded(id, found, line, query.text, now);
        }
    }

    #[inline]
    fn on_known(&mut self, id: StreamId, found: Found, line: &Line<'_>, text: &[u8], now: Now) {
        if self.sheds(found, line) {
            return self.shed(id, line, text, now);
        }
        let counted = self.catalog.counted(found.entry);
        let &Entry { failing, tags, .. } = self.catalog.entry(counted);
        if let Some(closed_by) = self.storms.is_due(counted, failing, line.log_time) {
            self.close(counted, closed_by);
        }
        let verdict = self.storms.observe(Observed {
            entry: counted,
            // A line that was cut off may be a new one that only begins like this: it is sent, and says so.
            sighting: Some(if line.complete { found.sighting } else { Sighting::NewValue }),
            failing,
            folding: self.streams[id.0 as usize].folding,
            line: folded(line, now),
        });
        match verdict {
            Verdict::Forward => self.forward(id, found.entry, line),
            Verdict::Fold => self.measure(found, counted, text),
        }
        if tags != 0 || self.storms.is_storming(counted) || self.loops.is_listening() {
            self.cycle(id, counted, line, text, now);
        }
    }

    /// A line of a known template in a stream that is never folded.
    #[inline]
    fn on_unfolded(&mut self, id: StreamId, found: Found, line: &Line<'_>, text: &[u8], now: Now) {
        self.forward(id, found.entry, line);
        if self.catalog.entry(found.entry).tags != 0 || self.loops.is_listening() {
            self.cycle(id, found.entry, line, text, now);
        }
    }

    /// A line whose template this process has not seen in its stream; an earlier one may have.
    #[cold]
    fn on_unknown(&mut self, id: StreamId, query: Query<'_>, line: &Line<'_>, now: Now) {
        self.streams[id.0 as usize].cycle.begin(self.from_start, line.log_time);
        let Some(found) = self.catalog.claim(query) else { return self.on_new(id, query, line, now) };
        self.catalog.tag(found.entry, self.loops.tags(query.text).0);
        self.on_found(id, found, query, line, now);
    }

    /// The first line of a template in its stream.
    fn on_new(&mut self, id: StreamId, query: Query<'_>, line: &Line<'_>, now: Now) {
        if self.alerts.is_on() {
            self.judge_new(id, line, now);
        }
        let stream = &mut self.streams[id.0 as usize];
        let newcomer = Newcomer {
            text: query.text,
            time: line.time,
            log_time: line.log_time,
            offset: line.offset,
            arrival: now.arrival,
        };
        if stream.folding.collapse != Collapse::Never && !stream.novelty.admits(newcomer) {
            let due = stream.novelty.deadline();
            self.next_flood = self.next_flood.into_iter().chain(due).min();
            self.remember_nameless(line);
            return;
        }
        if let Some(victim) = self.catalog.victim() {
            self.evict(victim, ClosedBy::Evicted);
        }
        let entry = self.catalog.insert(query);
        let tags = self.loops.tags(query.text);
        self.catalog.tag(entry, tags.0);
        self.storms.begin(entry, line.log_time);
        let counted = if query.foldable { self.join_family(entry, line) } else { entry };
        self.remember_first(entry, counted, query.text, line);
        let failing = self.catalog.entry(counted).failing;
        if let Some(closed_by) = self.storms.is_due(counted, failing, line.log_time) {
            self.close(counted, closed_by);
        }
        self.storms.observe(Observed {
            entry: counted,
            sighting: None,
            failing,
            folding: self.streams[id.0 as usize].folding,
            line: folded(line, now),
        });
        self.forward(id, entry, line);
        if !tags.is_none() || self.loops.is_listening() {
            self.cycle_first(id, counted, line, query.text, now);
        }
    }

    fn forward(&mut self, id: StreamId, entry: EntryId, line: &Line<'_>) {
        let stream = &mut self.streams[id.0 as usize];
        let entry = self.catalog.entry(entry);
        let family = entry.family().map(|family| self.catalog.entry(family).template);
        let label = Label { family, ..label(entry, line.text) };
        self.encoder.line(&stream.envelope, line, Some(label));
        stream.account.verbatim += Lines(1);
    }

    /// Lets the statistics of a storming entry see a folded line.
    #[inline]
    fn measure(&mut self, found: Found, counted: EntryId, text: &[u8]) {
        let Some((values, window)) = self.storms.values(counted) else { return };
        let repeat = found.sighting == Sighting::Repeat;
        let is_spoilt = || self.catalog.entry(counted).as_family().is_some_and(|family| !family.is_aligned);
        if values.is_constant() || (counted != found.entry && is_spoilt()) {
            return;
        }
        if repeat && !values.wants_next() && self.catalog.body_is_marked(window) {
            values.skip();
            return;
        }
        let (subject, slots) = self.catalog.slots(text, found.sighting);
        values.observe(subject, slots);
        self.catalog.mark_body(window);
    }

    /// When something closes by the arrival clock.
    pub fn deadline(&self) -> Option<Monotonic> {
        let others =
            self.next_flood.into_iter().chain(self.unclaimed_deadline()).chain(self.loops.deadline());
        let alerts = self.alerts.deadline(self.clock);
        self.storms.deadline().into_iter().chain(others).chain(alerts).chain(self.limit_deadline()).min()
    }

    /// Closes what is over: `SHARE` windows at most, so that the batch stays small. When there are more, the deadline
    /// is still over afterwards.
    pub fn on_deadline(&mut self, now: Now) {
        for (entry, closed_by) in self.storms.due(now.arrival, SHARE) {
            self.close(entry, closed_by);
        }
        if self.next_flood.is_some_and(|due| due <= now.arrival) {
            self.tell_floods(Some(now.arrival));
        }
        if self.loops.deadline().is_some_and(|due| due <= now.arrival) {
            self.tell_loops(now.arrival);
        }
        if self.unclaimed_deadline().is_some_and(|due| due <= now.arrival) {
            self.give_up_unclaimed(now);
        }
        if self.alerts.is_due(self.clock, now.arrival) {
            self.judge_silence(now);
        }
        if self.limit_deadline().is_some_and(|due| due <= now.arrival) {
            self.turn_limit(now);
        }
    }

    /// The records made so far.
    pub fn batch(&self) -> &Batch {
        self.encoder.batch()
    }

    /// Exchanges the filled batch for `empty`.
    pub fn take_batch(&mut self, empty: Batch) -> Batch {
        self.encoder.take(empty)
    }
}

/// Windows that are closed, or floods that are told, in one go. A summary of long texts takes about 3 KiB: together
/// about what one batch should be.
const SHARE: usize = 128;

#[inline]
fn folded<'a>(line: &Line<'a>, now: Now) -> Folded<'a> {
    Folded {
        text: plain(line),
        time: line.time,
        log_time: line.log_time,
        offset: line.offset,
        arrival: now.arrival,
    }
}

/// A line's text without a `\r` at its end.
#[inline]
fn plain<'a>(line: &Line<'a>) -> &'a [u8] {
    line.text.strip_suffix(b"\r").unwrap_or(line.text)
}

/// What tells a line from others.
#[derive(Clone, Copy, Debug)]
struct Identifying<'a> {
    /// The text that decides its template.
    text: &'a [u8],
    /// The hash of what else makes it that very line.
    salt: u64,
}

/// What `entry` says of a line with this text.
#[inline]
fn label(entry: &Entry, text: &[u8]) -> Label {
    let level = if entry.level_varies { level::detect(text) } else { entry.level };
    Label { template: entry.template, family: None, level, parse_error: entry.parse_error }
}

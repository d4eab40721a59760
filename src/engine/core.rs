//! The second half of the pipeline, lines → records: what every line of every source shares.
//!
//! Invariant: each line that enters [`Core::on_line`] is encoded, or counted in a window or flood, before it returns.

use super::frame::IoStream;
use super::ledger::{Account, Ledger};
use super::line::{Line, level};
use super::record::encode::{Encoder, Label};
use super::record::envelope::{Envelope, Place};
use super::record::identity::Identity;
use super::record::{Batch, LaneId, Notice, Reason};
use super::storm::novelty::{Flood, Newcomer, Novelty};
use super::storm::window::{ClosedBy, Folded};
use super::storm::{Collapse, GRAIN, Limits, Observed, Storms, Verdict};
use super::template::catalog::{Catalog, Entry, EntryId, Found, Query, Sighting};
use crate::units::{Bytes, Lines, Monotonic, Now};

/// What the engine is made with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The limits of folding.
    pub storm: Limits,
    /// The most memory that the engine's tables may take.
    pub memory_max: Bytes,
    /// The largest record.
    pub record_max: Bytes,
    /// The lane that numbers the records.
    pub lane: LaneId,
    /// Seeds the hashes of this process; unpredictable from outside.
    pub seed: u64,
    /// Who sends.
    pub identity: Identity,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            storm: Limits::default(),
            memory_max: Bytes(24 << 20),
            record_max: Bytes(900_000),
            lane: LaneId(0),
            seed: 0,
            identity: Identity::default(),
        }
    }
}

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
    catalog: Catalog,
    storms: Storms,
    encoder: Encoder,
    limits: Limits,
    memory_max: Bytes,
    identity: Identity,
    /// No stream's flood must be told before this.
    next_flood: Option<Monotonic>,
    summaries: u64,
    notices: u64,
}

#[derive(Debug)]
struct Stream {
    envelope: Envelope,
    collapse: Collapse,
    account: Account,
    novelty: Novelty,
}

impl Stream {
    fn size(&self) -> usize {
        size_of::<Stream>() + self.envelope.size() + self.novelty.size()
    }
}

impl Core {
    /// A core without streams.
    pub fn new(options: Options) -> Core {
        Core {
            streams: Vec::new(),
            vacant: Vec::new(),
            past: Account::default(),
            catalog: Catalog::new(options.storm.templates_max, options.seed),
            storms: Storms::new(options.storm.clone()),
            encoder: Encoder::new(options.lane, 1, options.record_max),
            limits: options.storm,
            memory_max: options.memory_max,
            identity: options.identity,
            next_flood: None,
            summaries: 0,
            notices: 0,
        }
    }

    /// Takes in a new stream.
    pub fn open_stream(
        &mut self,
        key: &str,
        iostream: IoStream,
        place: &Place,
        collapse: Collapse,
    ) -> StreamId {
        let stream = Stream {
            envelope: Envelope::new(key, iostream, place, &self.identity),
            collapse,
            account: Account::default(),
            novelty: Novelty::new(self.limits.novelty_per_second, self.limits.summary_every),
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
        let stream = &mut self.streams[id.0 as usize];
        if let Some(flood) = stream.novelty.take(None) {
            self.encoder.notice(&stream.envelope, &flood_notice(&flood));
            stream.account.noticed += flood.count;
            self.notices += 1;
        }
        let gone = std::mem::take(&mut stream.account);
        self.past += gone;
        self.vacant.push(id);
    }

    /// Decides about one line and does what was decided.
    #[inline]
    pub fn on_line(&mut self, id: StreamId, line: &Line<'_>, now: Now) {
        let stream = &mut self.streams[id.0 as usize];
        stream.account.received += Lines(1);
        let query = Query {
            stream: id.0,
            text: line.text.strip_suffix(b"\r").unwrap_or(line.text),
            salt: line.truncated.map_or(0, |truncated| truncated.xxh3),
            parse_error: line.parse_error,
            foldable: stream.collapse != Collapse::Never,
        };
        match self.catalog.find(query) {
            Some(found) if query.foldable => self.on_known(id, found, line, query.text, now),
            Some(found) => self.forward(id, found.entry, line),
            None => self.on_new(id, query, line, now),
        }
    }

    #[inline]
    fn on_known(&mut self, id: StreamId, found: Found, line: &Line<'_>, text: &[u8], now: Now) {
        let failing = self.catalog.entry(found.entry).failing;
        if let Some(closed_by) = self.storms.is_due(found.entry, failing, line.log_time) {
            self.close(found.entry, closed_by);
        }
        let verdict = self.storms.observe(Observed {
            entry: found.entry,
            // A line that was cut off may be a new one that only begins like this: it is sent, and says so.
            sighting: Some(if line.complete { found.sighting } else { Sighting::NewValue }),
            failing,
            collapse: self.streams[id.0 as usize].collapse,
            line: folded(line, text, now),
        });
        match verdict {
            Verdict::Forward => self.forward(id, found.entry, line),
            Verdict::Fold => self.measure(found, text),
        }
    }

    /// The first line of a template in its stream.
    #[cold]
    fn on_new(&mut self, id: StreamId, query: Query<'_>, line: &Line<'_>, now: Now) {
        let stream = &mut self.streams[id.0 as usize];
        let newcomer = Newcomer {
            text: query.text,
            time: line.time,
            log_time: line.log_time,
            offset: line.offset,
            arrival: now.arrival,
        };
        if stream.collapse != Collapse::Never && !stream.novelty.admits(newcomer) {
            let due = stream.novelty.deadline();
            self.next_flood = self.next_flood.into_iter().chain(due).min();
            return;
        }
        if let Some(victim) = self.catalog.victim() {
            self.evict(victim, ClosedBy::Evicted);
        }
        let entry = self.catalog.insert(query);
        self.storms.begin(entry, line.log_time);
        self.storms.observe(Observed {
            entry,
            sighting: None,
            failing: self.catalog.entry(entry).failing,
            collapse: self.streams[id.0 as usize].collapse,
            line: folded(line, query.text, now),
        });
        self.forward(id, entry, line);
    }

    fn forward(&mut self, id: StreamId, entry: EntryId, line: &Line<'_>) {
        let stream = &mut self.streams[id.0 as usize];
        let entry = self.catalog.entry(entry);
        let label = label(entry, line.text);
        self.encoder.line(&stream.envelope, line, Some(label));
        stream.account.verbatim += Lines(1);
    }

    /// Lets the statistics of a storming entry see a folded line.
    #[inline]
    fn measure(&mut self, found: Found, text: &[u8]) {
        let Some((values, window)) = self.storms.values(found.entry) else { return };
        let repeat = found.sighting == Sighting::Repeat;
        if values.is_constant() {
            return;
        }
        if repeat && !values.wants_next() && self.catalog.body_is_marked(window) {
            values.skip();
            return;
        }
        values.observe(text, self.catalog.slots(text, found.sighting));
        self.catalog.mark_body(window);
    }

    /// Bytes that were never read.
    pub fn lost(&mut self, id: StreamId, reason: Reason, lost: Bytes, now: Now) {
        self.notices += 1;
        let what = if reason == Reason::Vanished { "deleted" } else { "truncated" };
        let notice = Notice {
            reason,
            message: match lost {
                Bytes(0) => format!("file {what}: all of it that was seen had been read"),
                lost => format!("at least {lost} bytes were lost: file {what} before it was read"),
            },
            time: now.wall,
            offset: 0,
            count: Lines(0),
            lost_bytes: Some(lost),
            families: &[],
            examples: &[],
        };
        self.encoder.notice(&self.streams[id.0 as usize].envelope, &notice);
    }

    /// When something closes by the arrival clock.
    pub fn deadline(&self) -> Option<Monotonic> {
        self.storms.deadline().into_iter().chain(self.next_flood).min()
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
    }

    /// Closes `SHARE` windows at most. True when none is left.
    pub fn finish_some(&mut self, closed_by: ClosedBy) -> bool {
        let mut open = self.storms.open().to_vec();
        // In the order in which the entries were made, so that two runs over the same bytes end alike.
        open.sort_unstable();
        for &entry in open.iter().take(SHARE) {
            self.close(entry, closed_by);
        }
        open.len() <= SHARE && self.tell_floods(None)
    }

    fn close(&mut self, entry: EntryId, closed_by: ClosedBy) {
        let known = self.catalog.entry(entry);
        let stream = &mut self.streams[known.stream as usize];
        let (encoder, summaries) = (&mut self.encoder, &mut self.summaries);
        self.storms.close(entry, closed_by, |summary| {
            encoder.summary(&stream.envelope, summary, label(known, summary.text));
            stream.account.summarised += summary.count;
            *summaries += 1;
        });
    }

    fn evict(&mut self, entry: EntryId, closed_by: ClosedBy) {
        self.close(entry, closed_by);
        self.catalog.evict(entry);
    }

    /// Tells `SHARE` floods at most, all or those that are due by `now`. True when none is left.
    fn tell_floods(&mut self, now: Option<Monotonic>) -> bool {
        let mut told = 0;
        for stream in &mut self.streams {
            if told == SHARE {
                return false;
            }
            let Some(flood) = stream.novelty.take(now) else { continue };
            self.encoder.notice(&stream.envelope, &flood_notice(&flood));
            stream.account.noticed += flood.count;
            self.notices += 1;
            told += 1;
        }
        let next = self.streams.iter().filter_map(|stream| stream.novelty.deadline()).min();
        self.next_flood = next.map(|next| now.map_or(next, |now| next.max(now + GRAIN)));
        true
    }

    /// Closes windows early and forgets cold entries while the tables take more than they may.
    pub fn relieve(&mut self) {
        if self.size() as u64 <= self.memory_max.0 {
            self.catalog.may_grow();
            return;
        }
        self.catalog.stop_growing();
        // A bounded share each time; the next megabyte brings the next share.
        let oldest = self.storms.oldest(SHARE);
        for &entry in &oldest {
            self.evict(entry, ClosedBy::Pressure);
        }
        for _ in oldest.len()..SHARE {
            let Some(entry) = self.catalog.coldest() else { return };
            self.evict(entry, ClosedBy::Pressure);
        }
    }

    /// Bytes of memory in use.
    pub fn size(&self) -> usize {
        let streams: usize = self.streams.iter().map(Stream::size).sum();
        self.catalog.size() + self.storms.size() + streams
    }

    /// The records made so far.
    pub fn batch(&self) -> &Batch {
        self.encoder.batch()
    }

    /// Exchanges the filled batch for `empty`.
    pub fn take_batch(&mut self, empty: Batch) -> Batch {
        self.encoder.take(empty)
    }

    /// The books of all streams, with the windows added up anew.
    pub fn ledger(&self) -> Ledger {
        let mut open = vec![Lines(0); self.streams.len()];
        for (entry, lines) in self.storms.lines_open() {
            open[self.catalog.entry(entry).stream as usize] += lines;
        }
        let mut ledger = Ledger {
            records_out: self.encoder.records_out(),
            bytes_out: self.encoder.bytes_out(),
            summaries: self.summaries,
            notices: self.notices,
            templates: self.catalog.ever(),
            ..Ledger::default()
        };
        ledger.add(self.past, Lines(0));
        for (stream, folded) in self.streams.iter().zip(open) {
            ledger.add(stream.account, folded + stream.novelty.lines_open());
        }
        ledger
    }
}

/// Windows that are closed, or floods that are told, in one go. A summary of long texts takes about 3 KiB: together
/// about what one batch should be.
const SHARE: usize = 128;

#[inline]
fn folded<'a>(line: &Line<'_>, text: &'a [u8], now: Now) -> Folded<'a> {
    Folded { text, time: line.time, log_time: line.log_time, offset: line.offset, arrival: now.arrival }
}

/// What `entry` says of a line with this text.
#[inline]
fn label(entry: &Entry, text: &[u8]) -> Label {
    let level = if entry.level_varies { level::detect(text) } else { entry.level };
    Label { template: entry.template, level, parse_error: entry.parse_error }
}

fn flood_notice(flood: &Flood) -> Notice<'_> {
    Notice {
        reason: Reason::NoveltyFlood,
        message: format!(
            "{} lines of templates never seen before came too fast to be sent one by one",
            flood.count
        ),
        time: flood.last,
        offset: flood.offset,
        count: flood.count,
        lost_bytes: None,
        families: &flood.families,
        examples: &flood.examples,
    }
}

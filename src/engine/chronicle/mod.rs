//! The chronicle: what happened when, for people who ask afterwards (`squall replay`).
//!
//! In: every line with its entry, every closed window. Out: a [`Story`](story::Story), plain data.
//! It decides nothing and counts nothing that the [ledger](super::ledger) counts: it only remembers, in buckets of
//! time that grow with the log, so a week costs no more memory than a minute.
//! Limits: [`ROWS_MAX`] templates and [`STORMS_MAX`] storms are told apart; what is beyond is counted and said. At worst
//! it takes 25 MB, which are not part of the engine's `memory_max`: the shipper has no chronicle.
//! Not here: recognising (`storm`, `cycle`), showing (the module `report`).

pub mod numbers;
pub mod series;
pub mod story;

use std::collections::HashMap;

use self::numbers::{Numbers, Said};
use self::series::{Series, Span, Total};
use super::line::level::Level;
use super::storm;
use super::storm::window::{ClosedBy, EXAMPLE_MAX, Summary};
use super::template::catalog::EntryId;
use super::template::mask::{SENTINEL, Slots, TemplateId};
use crate::units::{Lines, Timestamp};

/// Templates, each of one stream, that are told apart.
pub const ROWS_MAX: usize = 10_000;
/// Storms that are told apart; the smallest is forgotten first.
pub const STORMS_MAX: usize = 1_000;

/// See the module.
#[derive(Debug)]
pub struct Chronicle {
    /// `None` before the first line.
    span: Option<Span>,
    /// The second of the last line, and its bucket: most lines come in the same second as the one before.
    current: (i64, usize),
    first: Timestamp,
    last: Timestamp,
    volume: Total,
    failing: Total,
    rows: Vec<Row>,
    by_name: HashMap<Name, u32>,
    /// The row of each entry; entries are used again.
    by_entry: Vec<Option<u32>>,
    /// Lines whose template found no row.
    beyond: Lines,
    storms: Vec<Storm>,
    /// The storms that go on, by their episode's number.
    open: HashMap<u64, usize>,
    storms_beyond: u64,
    numbers: Numbers,
    /// The bucket in which numbers were last looked at, and in how many lines.
    measured: (usize, u32),
}

/// What a template is called across evictions: stream, template, and whether its envelopes could not be understood.
type Name = (u32, TemplateId, bool);

/// One template of one stream.
#[derive(Clone, Debug)]
pub struct Row {
    /// The stream's number.
    pub stream: u32,
    /// The template.
    pub template: TemplateId,
    /// Its text, with `<*>` for each variable.
    pub pattern: Box<str>,
    /// Its first line, cut to [`EXAMPLE_MAX`] bytes.
    pub example: Box<[u8]>,
    /// The first line's level.
    pub level: Option<Level>,
    /// Whether its lines are warn or worse, or speak of failure.
    pub failing: bool,
    /// How many lines.
    pub count: Lines,
    /// The log time of the first line.
    pub first: Timestamp,
    /// The log time of the last one.
    pub last: Timestamp,
    series: Series,
    /// The bucket in which its numbers were last looked at, and how many lines of it.
    measured: (usize, u32),
    /// Lines without a number.
    blanks: u8,
}

/// An episode of folded lines, which is a storm where it has a kind.
#[derive(Clone, Debug)]
pub struct Storm {
    /// Its template's place among the rows.
    pub row: u32,
    /// The episode's number.
    pub episode: u64,
    /// When the first folded line was written.
    pub first: Timestamp,
    /// When the last one was.
    pub last: Timestamp,
    /// All lines of the episode, verbatim ones included.
    pub total: Lines,
    /// Those that were only counted.
    pub folded: Lines,
    /// Lines a second in the fastest window.
    pub peak: f64,
    /// Lines a second that are normal for it, where that was known.
    pub baseline: Option<f64>,
    /// Whether it was going on when the log ended.
    pub open: bool,
    /// Why it is a storm; `None` where only repeats were folded.
    pub kind: Option<storm::Storm>,
}

/// What a new entry is.
#[derive(Clone, Copy, Debug)]
pub struct Newcomer<'a> {
    /// The entry.
    pub entry: EntryId,
    /// Its stream.
    pub stream: u32,
    /// Its template.
    pub template: TemplateId,
    /// Whether its lines' envelopes could not be understood.
    pub parse_error: bool,
    /// The first line's level.
    pub level: Option<Level>,
    /// Whether its lines are warn or worse, or speak of failure.
    pub failing: bool,
    /// The masked text.
    pub canonical: &'a [u8],
    /// The first line.
    pub text: &'a [u8],
    /// The first line's log time.
    pub log_time: Timestamp,
}

impl Default for Chronicle {
    fn default() -> Self {
        Chronicle {
            span: None,
            current: (i64::MIN, 0),
            first: Timestamp(0),
            last: Timestamp(i64::MIN),
            volume: Total::default(),
            failing: Total::default(),
            rows: Vec::new(),
            by_name: HashMap::new(),
            by_entry: Vec::new(),
            beyond: Lines(0),
            storms: Vec::new(),
            open: HashMap::new(),
            storms_beyond: 0,
            numbers: Numbers::default(),
            measured: (0, 0),
        }
    }
}

impl Chronicle {
    /// An entry begins. Its first line is counted like every other one, by [`Chronicle::line`].
    pub fn begin(&mut self, new: Newcomer<'_>) {
        let name = (new.stream, new.template, new.parse_error);
        let known = self.by_name.get(&name).copied();
        let row = known.or_else(|| {
            let row = (self.rows.len() < ROWS_MAX).then_some(self.rows.len() as u32)?;
            self.rows.push(Row {
                stream: new.stream,
                template: new.template,
                pattern: pattern(new.canonical),
                example: new.text[..new.text.len().min(EXAMPLE_MAX)].into(),
                level: new.level,
                failing: new.failing,
                count: Lines(0),
                first: new.log_time,
                last: new.log_time,
                series: Series::default(),
                measured: (0, 0),
                blanks: 0,
            });
            self.by_name.insert(name, row);
            Some(row)
        });
        let index = new.entry.0 as usize;
        if index >= self.by_entry.len() {
            self.by_entry.resize(index + 1, None);
        }
        self.by_entry[index] = row;
    }

    /// One line of an entry, or of none where new templates come too fast for entries of their own. True when its
    /// numbers are [wanted](Chronicle::measure).
    #[inline]
    pub fn line(&mut self, entry: Option<EntryId>, log_time: Timestamp) -> bool {
        let second = log_time.seconds();
        if second != self.current.0 {
            self.turn(second, log_time);
        }
        let (bucket, Some(span)) = (self.current.1, &self.span) else { return false };
        self.last = self.last.max(log_time);
        self.volume.count(span, bucket);
        let row = entry.and_then(|entry| *self.by_entry.get(entry.0 as usize)?);
        let Some(row) = row.map(|row| &mut self.rows[row as usize]) else {
            self.beyond += Lines(1);
            return false;
        };
        row.count += Lines(1);
        row.last = log_time;
        row.series.count(span, bucket);
        if row.failing {
            self.failing.count(span, bucket);
        }
        if row.blanks >= numbers::BLANKS_MAX {
            return false;
        }
        if row.measured.0 != bucket {
            row.measured = (bucket, 0);
        }
        row.measured.1 += 1;
        let has_room = self.measured.0 != bucket || self.measured.1 < numbers::ALL_PER_BUCKET;
        row.measured.1 <= numbers::PER_BUCKET && has_room
    }

    /// Takes in the numbers of the line that came last: `subject` is the part of `text` that its template was made from,
    /// and `slots` are the variables of that.
    pub fn measure(&mut self, entry: EntryId, text: &[u8], subject: &[u8], slots: &Slots) {
        let row = self.by_entry.get(entry.0 as usize).copied().flatten();
        let (Some(row), Some(span)) = (row, &self.span) else { return };
        let bucket = self.current.1;
        if self.measured.0 != bucket {
            self.measured = (bucket, 0);
        }
        self.measured.1 += 1;
        if !self.numbers.observe(row, Said { text, subject, slots }, span, bucket) {
            self.rows[row as usize].blanks += 1;
        }
    }

    #[cold]
    fn turn(&mut self, second: i64, log_time: Timestamp) {
        if self.span.is_none() {
            self.first = log_time;
        }
        let span = self.span.get_or_insert_with(|| Span::new(second));
        self.current = (second, span.bucket(second));
    }

    /// A window of an entry has closed.
    pub fn window(&mut self, entry: EntryId, summary: &Summary<'_>) {
        let Some(Some(row)) = self.by_entry.get(entry.0 as usize).copied() else { return };
        let index = match self.open.get(&summary.episode) {
            Some(index) => *index,
            None => self.place(Storm {
                row,
                episode: summary.episode,
                first: summary.first,
                last: summary.last,
                total: Lines(0),
                folded: Lines(0),
                peak: 0.0,
                // Later windows would tell the storm's own rate.
                baseline: summary.baseline_per_second,
                open: true,
                kind: None,
            }),
        };
        let storm = &mut self.storms[index];
        storm.total = summary.total;
        storm.folded += summary.count;
        // It would have gone on, had the log not ended.
        storm.open = summary.open || matches!(summary.closed_by, ClosedBy::End | ClosedBy::Shutdown);
        if summary.count > Lines(0) {
            storm.last = summary.last;
            // A window of a few lines in the same instant has a rate that means nothing.
            let seconds = summary.last.since(summary.first).as_secs_f64().max(1.0);
            storm.peak = storm.peak.max(summary.count.0 as f64 / seconds);
        }
        storm.kind = storm.kind.or(summary.storm);
        if !summary.open {
            self.open.remove(&summary.episode);
        }
    }

    /// Where a new storm is kept: in a place of its own, or in that of the smallest one that has ended.
    fn place(&mut self, storm: Storm) -> usize {
        let episode = storm.episode;
        let index = if self.storms.len() < STORMS_MAX {
            self.storms.push(storm);
            self.storms.len() - 1
        } else {
            let ended =
                (0..self.storms.len()).filter(|&index| !self.open.contains_key(&self.storms[index].episode));
            let smallest =
                ended.min_by_key(|&index| (self.storms[index].kind.is_some(), self.storms[index].folded));
            // As many storms go on at once as there are entries: then it is the smallest of all that is forgotten.
            let index = smallest.unwrap_or_else(|| {
                (0..self.storms.len()).min_by_key(|&index| self.storms[index].folded).unwrap_or(0)
            });
            self.storms_beyond += u64::from(self.storms[index].kind.is_some());
            self.open.remove(&self.storms[index].episode);
            self.storms[index] = storm;
            index
        };
        self.open.insert(episode, index);
        index
    }
}

/// A masked text as people know it from log parsers: `<*>` for each variable; what is not UTF-8 is replaced.
pub fn pattern(canonical: &[u8]) -> Box<str> {
    let cut = &canonical[..canonical.len().min(EXAMPLE_MAX)];
    String::from_utf8_lossy(cut).replace(char::from(SENTINEL), "<*>").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp(second * Timestamp::SECOND)
    }

    fn begin(chronicle: &mut Chronicle, entry: u32, text: &str, failing: bool, second: i64) {
        chronicle.begin(Newcomer {
            entry: EntryId(entry),
            stream: 0,
            template: TemplateId(text.len() as u128),
            parse_error: false,
            level: None,
            failing,
            canonical: text.as_bytes(),
            text: text.as_bytes(),
            log_time: at(second),
        });
        chronicle.line(Some(EntryId(entry)), at(second));
    }

    fn window(
        chronicle: &mut Chronicle,
        entry: u32,
        episode: u64,
        seconds: [i64; 2],
        count: u64,
        open: bool,
    ) {
        let summary = Summary {
            episode,
            window: Some(episode),
            limited: Lines(0),
            count: Lines(count),
            total: Lines(count + 5),
            first: at(seconds[0]),
            last: at(seconds[1]),
            first_offset: 0,
            last_offset: 0,
            per_second: 0.0,
            baseline_per_second: None,
            open,
            closed_by: ClosedBy::Quiet,
            storm: (count > 100).then_some(storm::Storm::Rate),
            text: b"",
            examples: &[],
            values: Vec::new(),
        };
        chronicle.window(EntryId(entry), &summary);
    }

    #[test]
    fn a_storm_is_told_with_its_phases() {
        let mut chronicle = Chronicle::default();
        begin(&mut chronicle, 0, "all is well", false, 0);
        begin(&mut chronicle, 1, "a warning that came before everything", true, 0);
        begin(&mut chronicle, 2, "cannot connect", true, 1_000);
        for second in 1_001..1_100 {
            chronicle.line(Some(EntryId(2)), at(second));
        }
        window(&mut chronicle, 2, 7, [1_005, 1_010], 400, true);
        window(&mut chronicle, 2, 7, [1_010, 1_100], 400, false);
        // Fast enough to be folded, too slow to be a storm.
        window(&mut chronicle, 0, 8, [0, 1_000], 90, false);
        for second in 1_100..1_200 {
            chronicle.line(Some(EntryId(0)), at(second));
        }
        let story = chronicle.story(&["gateway".into()], Vec::new());
        assert_eq!((story.lines, story.failing), (Lines(202), Lines(101)));
        let [storm] = story.storms.as_slice() else { panic!("{:?}", story.storms) };
        assert_eq!((&*story.templates[storm.template].pattern, storm.folded), ("cannot connect", Lines(800)));
        assert_eq!((storm.peak, storm.open), (80.0, false));
        let phases = story.phases;
        let moment = |second| Some(story::Moment { time: at(second), template: Some(2) });
        assert_eq!((phases.first_warning, phases.onset), (moment(1_000), moment(1_005)));
        assert_eq!(phases.recovery, Some(at(1_100)));
        let peak = phases.peak.expect("there is one");
        assert!((at(992)..=at(1_100)).contains(&peak), "{peak:?}");
        let new: Vec<_> = story.templates.iter().map(|template| template.is_new).collect();
        assert_eq!(new, [false, false, true]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut chronicle = Chronicle::default();
        for entry in 0..ROWS_MAX as u32 + 5 {
            begin(&mut chronicle, entry, &"x".repeat(entry as usize % 600 + 1), false, i64::from(entry));
            // Other templates are told apart by their ids.
            chronicle.by_name.clear();
        }
        assert_eq!((chronicle.rows.len(), chronicle.beyond), (ROWS_MAX, Lines(5)));
        for episode in 0..3 * STORMS_MAX as u64 {
            let seconds = [0, 1];
            window(&mut chronicle, 0, episode, seconds, 200 + episode, episode % 2 == 0);
        }
        let story = chronicle.story(&[], Vec::new());
        assert_eq!(story.storms.len() as u64 + story.storms_beyond, 3 * STORMS_MAX as u64);
        assert_eq!(story.lines, Lines(ROWS_MAX as u64 + 5));
    }
}

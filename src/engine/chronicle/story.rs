//! The story of a log: the chronicle put in order, as plain data for whoever shows it.

use std::sync::Arc;

use super::numbers::Moved;
use super::{Chronicle, Row, Storm};
use crate::engine::alert::Episode;
use crate::engine::cycle::LoopView;
use crate::engine::cycle::backoff::Verdict;
use crate::engine::line::level::Level;
use crate::engine::storm::Storm as Kind;
use crate::engine::storm::window::ClosedBy;
use crate::engine::template::mask::TemplateId;
use crate::units::{Lines, Timestamp};

/// What happened in a log.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// The log time of the first line, and of the last one.
    pub first: Timestamp,
    /// The log time of the newest line.
    pub last: Timestamp,
    /// All lines.
    pub lines: Lines,
    /// Lines that are warn or worse, or speak of failure.
    pub failing: Lines,
    /// How the lines are spread over time.
    pub volume: Chart,
    /// How the failing ones are.
    pub failing_over_time: Chart,
    /// Every template, in the order of its first line.
    pub templates: Vec<Template>,
    /// Lines of templates that found no room.
    pub beyond: Lines,
    /// The storms, the one with the most lines first.
    pub storms: Vec<StormStory>,
    /// Storms that found no room.
    pub storms_beyond: u64,
    /// The loops, the one with the most iterations first.
    pub loops: Vec<LoopStory>,
    /// When it began and ended.
    pub phases: Phases,
    /// Numbers that left what was normal for them, the furthest first.
    pub moved: Vec<MovedNumber>,
    /// What the rules of the config said; `None` without rules.
    pub alerts: Option<AlertsStory>,
}

/// What the rules of alerts said.
#[derive(Clone, Debug, Default)]
pub struct AlertsStory {
    /// How many rules there are.
    pub rules: usize,
    /// The alerts that fired, in the order in which they did; the last ones, where there are many.
    pub fired: Vec<Episode>,
    /// Firings before those.
    pub beyond: u64,
    /// The names of the rules that did not fire.
    pub silent: Vec<Box<str>>,
}

/// One loop.
#[derive(Clone, Debug)]
pub struct LoopStory {
    /// The stream.
    pub stream: Arc<str>,
    /// What is known of it.
    pub view: LoopView,
}

impl LoopStory {
    /// Whether it was going on when the log ended.
    pub fn is_open(&self) -> bool {
        matches!(self.view.closed_by, None | Some(ClosedBy::End | ClosedBy::Shutdown))
    }

    /// Whether it tries again and again, and does not back off.
    pub fn is_harmful(&self) -> bool {
        let steady =
            matches!(self.view.judgement.verdict, Verdict::None | Verdict::Constant | Verdict::Jittered);
        self.view.is_retry && steady
    }
}

/// A number that moved, and where.
#[derive(Clone, Debug)]
pub struct MovedNumber {
    /// Its template's place in [`Story::templates`].
    pub template: usize,
    /// When it had moved first.
    pub time: Timestamp,
    /// The number.
    pub number: Moved,
}

/// Counts over time, from the story's first line on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chart {
    /// When the first bucket begins.
    pub begin: Timestamp,
    /// How long a bucket lasts, in seconds.
    pub seconds: u64,
    /// The counts.
    pub counts: Vec<u64>,
}

/// One template of one stream.
#[derive(Clone, Debug)]
pub struct Template {
    /// The stream.
    pub stream: Arc<str>,
    /// The template's id.
    pub id: TemplateId,
    /// Its text, with `<*>` for each variable.
    pub pattern: Box<str>,
    /// Its first line; what is not UTF-8 is replaced.
    pub example: String,
    /// The first line's level.
    pub level: Option<Level>,
    /// Whether its lines are warn or worse, or speak of failure.
    pub failing: bool,
    /// It appeared when the log had been running for a while.
    pub is_new: bool,
    /// How many lines.
    pub count: Lines,
    /// The log time of the first line.
    pub first: Timestamp,
    /// The log time of the last one.
    pub last: Timestamp,
    /// How they are spread over time.
    pub chart: Chart,
}

/// One storm.
#[derive(Clone, Debug)]
pub struct StormStory {
    /// Its template's place in [`Story::templates`].
    pub template: usize,
    /// When the first folded line was written.
    pub first: Timestamp,
    /// When the last one was.
    pub last: Timestamp,
    /// All its lines.
    pub total: Lines,
    /// Those that were only counted.
    pub folded: Lines,
    /// Lines a second in the fastest window.
    pub peak: f64,
    /// Lines a second that were normal before, where that is known.
    pub baseline: Option<f64>,
    /// Whether it was going on when the log ended.
    pub open: bool,
    /// It was slow, and yet many times what is normal for it.
    pub is_burst: bool,
}

/// When what began and ended; each is `None` where the log does not show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// The first line of a failing template that is new or will storm, not after the onset.
    pub first_warning: Option<Moment>,
    /// The beginning of the first failing storm or harmful loop or, where there is neither, of the first storm.
    pub onset: Option<Moment>,
    /// The bucket with the most failing lines or, where none is failing, with the most lines.
    pub peak: Option<Timestamp>,
    /// The last line of the last such storm, where the log goes on without one for a while.
    pub recovery: Option<Timestamp>,
}

/// A point in time, and the template whose line made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When.
    pub time: Timestamp,
    /// The template's place in [`Story::templates`]; `None` where it is not known.
    pub template: Option<usize>,
}

impl Chart {
    /// When the bucket at `index` begins.
    pub fn time(&self, index: usize) -> Timestamp {
        let offset = (index as u64).saturating_mul(self.seconds).min(i64::MAX as u64) as i64;
        Timestamp(self.begin.0.saturating_add(offset.saturating_mul(Timestamp::SECOND)))
    }

    /// The place of the largest count; the first of several. `None` where all are 0.
    pub fn peak(&self) -> Option<usize> {
        let most = self.counts.iter().copied().max().filter(|most| *most > 0)?;
        self.counts.iter().position(|count| *count == most)
    }
}

impl Chronicle {
    /// Puts everything in order. `streams` are the streams' names by their numbers.
    pub fn story(&self, streams: &[Arc<str>], mut loops: Vec<LoopStory>) -> Story {
        loops.sort_by_key(|known| (std::cmp::Reverse(known.view.iterations), known.view.started));
        let Some(mut span) = self.span else { return Story::default() };
        let buckets = span.bucket(self.last.seconds()) + 1;
        let chart = |counts: Vec<u64>| Chart { begin: span.begin(0), seconds: span.seconds(), counts };
        let warm = self.first + WARM_UP.min(self.last.since(self.first) / 10);
        let template = |row: &Row| Template {
            stream: streams.get(row.stream as usize).cloned().unwrap_or_else(|| Arc::from("")),
            id: row.template,
            pattern: row.pattern.clone(),
            example: String::from_utf8_lossy(&row.example).into_owned(),
            level: row.level,
            failing: row.failing,
            is_new: row.first > warm,
            count: row.count,
            first: row.first,
            last: row.last,
            chart: chart(row.series.read(&span, buckets)),
        };
        let (order, places) = self.order();
        let templates: Vec<Template> = order.iter().map(|&row| template(&self.rows[row])).collect();
        let storms = self.storms.iter().filter(|storm| storm.kind.is_some());
        let mut storms: Vec<StormStory> = storms.map(|storm| storm_story(storm, &places)).collect();
        storms.sort_by_key(|storm| (std::cmp::Reverse(storm.total), storm.first, storm.template));
        let volume = chart(self.volume.read(&span, buckets));
        let failing_over_time = chart(self.failing.read(&span, buckets));
        let mut story = Story {
            first: self.first,
            last: self.last,
            lines: Lines(volume.counts.iter().sum()),
            failing: Lines(failing_over_time.counts.iter().sum()),
            volume,
            failing_over_time,
            templates,
            beyond: self.beyond,
            storms,
            storms_beyond: self.storms_beyond,
            loops,
            phases: Phases::default(),
            moved: Vec::new(),
            alerts: None,
        };
        story.phases = Phases::of(&story);
        let onset = story.phases.onset.map(|onset| span.bucket(onset.time.seconds()));
        let moved = self.numbers.moved(&span, onset).into_iter().map(|number| MovedNumber {
            template: places.get(number.row as usize).copied().unwrap_or(0),
            time: span.begin(number.bucket),
            number,
        });
        story.moved = moved.collect();
        story
    }

    /// The rows in the order of their first lines, and the place of each.
    fn order(&self) -> (Vec<usize>, Vec<usize>) {
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by_key(|&row| self.rows[row].first);
        let mut places = vec![0; order.len()];
        order.iter().enumerate().for_each(|(place, &row)| places[row] = place);
        (order, places)
    }
}

fn storm_story(storm: &Storm, places: &[usize]) -> StormStory {
    StormStory {
        template: places.get(storm.row as usize).copied().unwrap_or(0),
        first: storm.first,
        last: storm.last,
        total: storm.total,
        folded: storm.folded,
        peak: storm.peak,
        baseline: storm.baseline,
        open: storm.open,
        is_burst: storm.kind == Some(Kind::Burst),
    }
}

impl Phases {
    fn of(story: &Story) -> Phases {
        let troubles = troubles(story);
        let onset = troubles.iter().map(|trouble| trouble.begin).min_by_key(|begin| begin.time);
        let until = onset.map_or(story.last, |onset| onset.time);
        // What was always said is no warning; but a log may begin with its storm.
        let warns = |place: usize, template: &Template| {
            let in_trouble = |trouble: &Trouble| trouble.members.contains(&place);
            template.failing && (template.is_new || troubles.iter().any(in_trouble))
        };
        let warning = |(place, template): (usize, &Template)| {
            let first = Moment { time: template.first, template: Some(place) };
            (template.first <= until && warns(place, template)).then_some(first)
        };
        let chart = if story.failing > Lines(0) { &story.failing_over_time } else { &story.volume };
        let end = troubles.iter().map(|trouble| trouble.end).max();
        let goes_on = troubles.iter().any(|trouble| trouble.goes_on);
        Phases {
            first_warning: story.templates.iter().enumerate().find_map(warning),
            onset,
            peak: chart.peak().map(|index| chart.time(index)),
            recovery: end.filter(|end| !goes_on && story.last.since(*end) >= CALM),
        }
    }
}

/// A storm or a loop, as far as the phases are concerned.
struct Trouble {
    begin: Moment,
    end: Timestamp,
    goes_on: bool,
    /// The places of its templates.
    members: Vec<usize>,
}

/// The failing storms and the harmful loops; where there are none, all storms.
fn troubles(story: &Story) -> Vec<Trouble> {
    let storms = |failing: bool| {
        let some =
            story.storms.iter().filter(move |storm| !failing || story.templates[storm.template].failing);
        some.map(|storm| Trouble {
            begin: Moment { time: storm.first, template: Some(storm.template) },
            end: storm.last,
            goes_on: storm.open,
            members: vec![storm.template],
        })
    };
    let loops = story.loops.iter().filter(|known| known.is_harmful()).map(|known| {
        let is_member = |template: &Template| {
            template.stream == known.stream
                && known.view.members.iter().any(|member| member.template == template.id)
        };
        let places = story.templates.iter().enumerate().filter(|(_, template)| is_member(template));
        let members: Vec<usize> = places.map(|(place, _)| place).collect();
        Trouble {
            begin: Moment { time: known.view.started, template: members.first().copied() },
            end: known.view.seen,
            goes_on: known.is_open(),
            members,
        }
    });
    let bad: Vec<Trouble> = storms(true).chain(loops).collect();
    if bad.is_empty() { storms(false).collect() } else { bad }
}

/// What appears in the first two minutes of a log, or in its first tenth, is not called new.
const WARM_UP: std::time::Duration = std::time::Duration::from_secs(120);
/// A log that goes on for so long without the storm has recovered.
const CALM: std::time::Duration = std::time::Duration::from_secs(30);

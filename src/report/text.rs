//! The story on a terminal.

use std::fmt::{self, Display, Formatter};

use super::alerts::{Row, beyond, silent};
use super::draft::{Draft, Severity, moved_sentence};
use super::{date_time, duration, lines, share, short_time};
use crate::engine::chronicle::story::{Chart, Story, Template};
use crate::terminal::visible;
use crate::units::Lines;
use crate::units::grouped;

/// Shows a story.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// The story.
    pub story: &'a Story,
    /// What is made of it.
    pub draft: &'a Draft,
    /// Columns of the terminal.
    pub width: usize,
    /// Whether it may be coloured.
    pub colour: bool,
}

/// Storms, templates and so on that are shown; how many more there are is said.
const ROWS: usize = 10;
/// New templates that are shown.
const NEW_ROWS: usize = 15;

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let story = self.story;
        if story.lines == Lines(0) {
            return writeln!(f, "The log is empty.");
        }
        self.verdict(f)?;
        self.summary(f)?;
        self.over_time(f)?;
        self.alerts(f)?;
        self.loops(f)?;
        self.storms(f)?;
        self.moved(f)?;
        self.new_templates(f)
    }
}

impl Text<'_> {
    /// What an operator must know first.
    fn verdict(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (severity, draft) = (self.draft.severity, self.draft);
        let (on, off) = self.style(if severity >= Severity::P2 { "\x1b[1;31m" } else { "\x1b[1m" });
        writeln!(f, "{on}{}{off} (a guess: {})\n", severity.as_str(), visible(&draft.reasons.join("; ")))
    }

    fn alerts(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(alerts) = &self.story.alerts else { return Ok(()) };
        self.title(f, "Alerts")?;
        for episode in alerts.fired.iter().take(ROWS) {
            let Row { name, fired, resolved, how } = Row::of(episode);
            let (on, off) = self.style("\x1b[1;31m");
            writeln!(f, "  {on}{}{off}", visible(&name))?;
            writeln!(f, "    fired {fired}, resolved {resolved}, {}", visible(&how))?;
        }
        self.rest(f, alerts.fired.len(), ROWS)?;
        for sentence in beyond(alerts).into_iter().chain(silent(alerts)) {
            writeln!(f, "  {}", visible(&sentence))?;
        }
        writeln!(f)
    }

    fn loops(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let story = self.story;
        if story.loops.is_empty() {
            return Ok(());
        }
        self.title(f, "Loops")?;
        for known in story.loops.iter().take(ROWS) {
            let view = &known.view;
            let (on, off) = self.style(if known.is_harmful() { "\x1b[1;31m" } else { "\x1b[1m" });
            writeln!(f, "  {on}{}{off}", visible(&view.message()))?;
            let until = if known.is_open() { "going on".to_owned() } else { short_time(view.seen, story) };
            write!(f, "    {} – {until}", short_time(view.started, story))?;
            if let Some(endpoint) = &view.endpoint {
                write!(f, ", towards {}", visible(endpoint))?;
            }
            let intervals: Vec<String> =
                view.first.iter().take(8).map(|interval| format!("{interval:.2}")).collect();
            writeln!(f, "\n    intervals {} s …", intervals.join(", "))?;
            if let Some(advice) = view.advice() {
                writeln!(f, "    better: {advice}")?;
            }
        }
        self.rest(f, story.loops.len(), ROWS)?;
        writeln!(f)
    }

    fn moved(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let story = self.story;
        if story.moved.is_empty() {
            return Ok(());
        }
        self.title(f, "Numbers that moved")?;
        for moved in story.moved.iter().take(ROWS) {
            writeln!(f, "  {}", visible(&moved_sentence(moved)))?;
            self.line(f, &story.templates[moved.template])?;
        }
        self.rest(f, story.moved.len(), ROWS)?;
        writeln!(f)
    }

    fn summary(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let story = self.story;
        self.title(f, "The log")?;
        writeln!(
            f,
            "  {} to {} (UTC), {}",
            date_time(story.first),
            date_time(story.last),
            duration(story.last.since(story.first))
        )?;
        writeln!(
            f,
            "  {}, {} of them failing ({}), {} templates and families",
            lines(story.lines),
            grouped(story.failing.0),
            share(story.failing, story.lines),
            grouped(story.templates.len() as u64)
        )?;
        if story.beyond > Lines(0) {
            writeln!(f, "  {} of further templates are only counted", lines(story.beyond))?;
        }
        let phases = [
            ("first warning", story.phases.first_warning.map(|moment| moment.time)),
            ("onset", story.phases.onset.map(|moment| moment.time)),
            ("peak", story.phases.peak),
            ("recovery", story.phases.recovery),
        ];
        for (name, time) in phases {
            let time = time.map_or_else(|| "not in this log".to_owned(), date_time);
            if story.phases.onset.is_some() {
                writeln!(f, "  {name:<14} {time}")?;
            }
        }
        writeln!(f)
    }

    fn over_time(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let story = self.story;
        let width = self.width.saturating_sub(30).clamp(20, 100);
        self.title(f, "Over time")?;
        let most = |chart: &Chart| {
            let most = chart.counts.iter().max().copied().unwrap_or(0);
            format!("at most {} a second", rate(most as f64 / chart.seconds as f64))
        };
        writeln!(f, "  lines    {}  {}", sparkline(&story.volume, width), most(&story.volume))?;
        let failing = &story.failing_over_time;
        writeln!(f, "  failing  {}  {}", sparkline(failing, width), most(failing))?;
        let shares = share_chart(failing, &story.volume);
        let worst = shares.counts.iter().max().copied().unwrap_or(0);
        writeln!(f, "  share    {}  at most {:.1} %\n", sparkline(&shares, width), worst as f64 / 10.0)
    }

    fn storms(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let story = self.story;
        if story.storms.is_empty() {
            return writeln!(f, "No storm: no template came faster than a storm does.\n");
        }
        self.title(f, "Storms")?;
        for storm in story.storms.iter().take(ROWS) {
            let template = &story.templates[storm.template];
            let until = if storm.open { "going on".to_owned() } else { short_time(storm.last, story) };
            writeln!(
                f,
                "  {:>12}  {} – {until}  {}  {} {}/s{}",
                format!("x{}", grouped(storm.total.0)),
                short_time(storm.first, story),
                sparkline(&template.chart, 24),
                if storm.is_burst { "burst" } else { "peak" },
                rate(storm.peak),
                storm.baseline.map_or_else(String::new, |normal| format!(", normally {}/s", rate(normal))),
            )?;
            self.line(f, template)?;
        }
        self.rest(f, story.storms.len() + story.storms_beyond as usize, ROWS)?;
        writeln!(f)
    }

    fn new_templates(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let story = self.story;
        let new: Vec<&Template> = story.templates.iter().filter(|template| template.is_new).collect();
        if new.is_empty() {
            return Ok(());
        }
        self.title(f, "New, in order of appearance")?;
        for template in new.iter().take(NEW_ROWS) {
            write!(
                f,
                "  {}  {:>10}  ",
                short_time(template.first, story),
                format!("x{}", grouped(template.count.0))
            )?;
            self.level(f, template)?;
            writeln!(f, "{}", self.cut(&template.example, 36))?;
        }
        self.rest(f, new.len(), NEW_ROWS)?;
        writeln!(f)
    }

    /// The text of a template, under the row that speaks of it.
    fn line(&self, f: &mut Formatter<'_>, template: &Template) -> fmt::Result {
        write!(f, "                ")?;
        self.level(f, template)?;
        writeln!(f, "{}", self.cut(&template.example, 24))
    }

    fn level(&self, f: &mut Formatter<'_>, template: &Template) -> fmt::Result {
        let level = template.level.map_or("", |level| level.as_str());
        let (on, off) = self.style(if template.failing { "\x1b[1;31m" } else { "\x1b[2m" });
        write!(f, "{on}{level:<7}{off}")
    }

    /// The first line of a text, harmless, in the columns that are left beside `used`.
    fn cut(&self, text: &str, used: usize) -> String {
        let room = self.width.saturating_sub(used).max(40);
        let first = text.lines().next().unwrap_or_default();
        let safe = visible(first);
        match safe.char_indices().nth(room) {
            Some((end, _)) => format!("{}…", &safe[..end]),
            None => safe.into_owned(),
        }
    }

    fn rest(&self, f: &mut Formatter<'_>, all: usize, shown: usize) -> fmt::Result {
        if all > shown {
            writeln!(f, "  … and {} more", grouped((all - shown) as u64))?;
        }
        Ok(())
    }

    fn title(&self, f: &mut Formatter<'_>, title: &str) -> fmt::Result {
        let (on, off) = self.style("\x1b[1m");
        writeln!(f, "{on}{title}{off}")
    }

    fn style(&self, on: &'static str) -> (&'static str, &'static str) {
        if self.colour { (on, "\x1b[0m") } else { ("", "") }
    }
}

/// A rate as people read it: whole above 10.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        10.0.. => grouped(per_second.round() as u64),
        0.0 => "0".to_owned(),
        ..0.01 => "< 0.01".to_owned(),
        _ => format!("{per_second:.2}"),
    }
}

/// For each bucket, how many of a thousand lines of `whole` are in `part`.
pub fn share_chart(part: &Chart, whole: &Chart) -> Chart {
    let share = |(part, whole): (&u64, &u64)| (part * 1000).checked_div(*whole).unwrap_or(0);
    Chart { counts: part.counts.iter().zip(&whole.counts).map(share).collect(), ..*part }
}

/// A chart in one line of blocks, `width` at most. Buckets that share a block show the largest of them.
pub fn sparkline(chart: &Chart, width: usize) -> String {
    const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = chart.counts.iter().copied().max().unwrap_or(0);
    let per_block = chart.counts.len().div_ceil(width.max(1)).max(1);
    let block = |counts: &[u64]| {
        let largest = counts.iter().copied().max().unwrap_or(0);
        // Something is never shown as nothing.
        BLOCKS[(u128::from(largest) * 8).div_ceil(u128::from(most.max(1))) as usize]
    };
    chart.counts.chunks(per_block).map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Timestamp;

    #[test]
    fn sparklines() {
        #[track_caller]
        fn check(counts: &[u64], width: usize, want: &str) {
            let chart = Chart { begin: Timestamp(0), seconds: 1, counts: counts.to_vec() };
            assert_eq!(sparkline(&chart, width), want);
        }
        check(&[], 10, "");
        check(&[0, 0], 10, "  ");
        check(&[0, 1, 4, 8], 10, " ▁▄█");
        check(&[1, 1_000_000], 10, "▁█");
        check(&[0, 8, 1, 0, 4], 3, "█▁▄");
        check(&[u64::MAX, 1], 10, "█▁");
    }
}

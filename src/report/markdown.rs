//! The draft of an incident report as Markdown, for wikis and tickets.
//!
//! Text of the log stands in code, fenced so that it cannot end the fence; in tables and sentences it is escaped.

use std::fmt::{self, Display, Formatter};

use super::alerts::{Row, beyond, silent};
use super::draft::{Draft, Event, moved_sentence};
use super::text::{rate, share_chart, sparkline};
use super::{date_time, lines, share, short_time};
use crate::engine::chronicle::story::{Story, Template};
use crate::terminal::visible;
use crate::units::Lines;
use crate::units::grouped;

/// A report.
#[derive(Clone, Copy, Debug)]
pub struct Markdown<'a> {
    /// What happened.
    pub story: &'a Story,
    /// What is made of it.
    pub draft: &'a Draft,
    /// The names of the files.
    pub sources: &'a [String],
}

/// Rows of a table; how many more there are is said.
const ROWS: usize = 20;
/// Columns of a chart.
const WIDTH: usize = 80;

/// Text that is no markup, in one line.
struct Plain<'a>(&'a str);

impl Display for Plain<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let first = self.0.lines().next().unwrap_or_default();
        for letter in visible(first).chars() {
            if letter.is_ascii_punctuation()
                && !matches!(letter, '.' | ',' | ':' | ';' | '-' | '/' | '%' | '(' | ')' | '=')
            {
                f.write_str("\\")?;
            }
            write!(f, "{letter}")?;
        }
        Ok(())
    }
}

/// Text as code, in one line: with more backticks around it than are in it.
struct Code<'a>(&'a str);

impl Display for Code<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let first = self.0.lines().next().unwrap_or_default();
        // In a table a pipe ends the cell even within code, and cannot be escaped in all dialects.
        let safe = visible(first).replace('|', "¦");
        let longest = safe.split(|letter| letter != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat(longest + 1);
        let pad = if safe.starts_with('`') || safe.ends_with('`') || safe.is_empty() { " " } else { "" };
        write!(f, "{fence}{pad}{safe}{pad}{fence}")
    }
}

impl Display for Markdown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Markdown { story, draft, sources } = *self;
        writeln!(f, "# Incident report (draft), {} UTC\n", date_time(story.first))?;
        let names: Vec<String> = sources.iter().map(|name| Code(name).to_string()).collect();
        writeln!(f, "Written by squall {} from {}.\n", env!("CARGO_PKG_VERSION"), names.join(", "))?;
        writeln!(
            f,
            "## Summary\n\n**{}**, a guess: {}.\n",
            draft.severity.as_str(),
            Plain(&draft.reasons.join("; "))
        )?;
        for sentence in &draft.summary {
            writeln!(f, "{}\n", Plain(sentence))?;
        }
        self.over_time(f)?;
        writeln!(f, "## Timeline\n\n| UTC | what |\n| --- | --- |")?;
        for Event { time, what, text } in &draft.timeline {
            let text = text.as_ref().map_or_else(String::new, |text| format!(": {}", Code(text)));
            writeln!(f, "| {} | {}{text} |", date_time(*time), Plain(what))?;
        }
        writeln!(f)?;
        self.alerts(f)?;
        self.loops(f)?;
        self.storms(f)?;
        if !story.moved.is_empty() {
            writeln!(f, "## Numbers that moved\n")?;
            story
                .moved
                .iter()
                .take(ROWS)
                .try_for_each(|moved| writeln!(f, "- {}", Plain(&moved_sentence(moved))))?;
            writeln!(f)?;
        }
        if !draft.endpoints.is_empty() {
            writeln!(f, "## Affected endpoints\n")?;
            draft.endpoints.iter().try_for_each(|endpoint| writeln!(f, "- {}", Code(endpoint)))?;
            writeln!(f)?;
        }
        self.templates(f)?;
        writeln!(f, "## Cause\n\n_What the log cannot know: to be written._\n")?;
        writeln!(f, "## Follow-ups\n\n_Who does what until when: to be written._")
    }
}

impl Markdown<'_> {
    fn over_time(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let story = self.story;
        let failing = &story.failing_over_time;
        writeln!(f, "## Over time\n\n```text")?;
        writeln!(f, "lines    {}", sparkline(&story.volume, WIDTH))?;
        writeln!(f, "failing  {}", sparkline(failing, WIDTH))?;
        writeln!(f, "share    {}", sparkline(&share_chart(failing, &story.volume), WIDTH))?;
        writeln!(f, "         {} to {}\n```\n", date_time(story.first), date_time(story.last))
    }

    fn alerts(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(alerts) = &self.story.alerts else { return Ok(()) };
        writeln!(f, "## Alerts\n")?;
        if !alerts.fired.is_empty() {
            writeln!(f, "| alert | fired (UTC) | resolved | how |\n| --- | --- | --- | --- |")?;
        }
        for episode in alerts.fired.iter().take(ROWS) {
            let Row { name, fired, resolved, how } = Row::of(episode);
            writeln!(f, "| {} | {fired} | {resolved} | {} |", Plain(&name), Plain(&how))?;
        }
        if !alerts.fired.is_empty() {
            writeln!(f)?;
        }
        if alerts.fired.len() > ROWS {
            writeln!(f, "… and {} more.\n", grouped((alerts.fired.len() - ROWS) as u64))?;
        }
        for sentence in beyond(alerts).into_iter().chain(silent(alerts)) {
            writeln!(f, "{}.\n", Plain(&sentence))?;
        }
        Ok(())
    }

    fn loops(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.story.loops.is_empty() {
            return Ok(());
        }
        writeln!(f, "## Loops\n")?;
        for known in self.story.loops.iter().take(ROWS) {
            let view = &known.view;
            writeln!(f, "### {}\n", Plain(&view.message()))?;
            for member in &view.members {
                writeln!(f, "1. {}", Code(&member.text))?;
            }
            let jitter = if view.judgement.jitter { ", with jitter" } else { "" };
            writeln!(f, "\n- back-off: {}{jitter}", view.judgement.verdict.as_str())?;
            if let Some(endpoint) = &view.endpoint {
                writeln!(f, "- towards {}", Code(endpoint))?;
            }
            writeln!(
                f,
                "- {} iterations from {} to {}",
                grouped(view.iterations),
                date_time(view.started),
                date_time(view.seen)
            )?;
            let shown: Vec<String> = view.first.iter().map(|interval| format!("{interval}")).collect();
            writeln!(f, "- first intervals in seconds: {}", shown.join(", "))?;
            if let Some(advice) = view.advice() {
                writeln!(f, "- better: {advice}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    fn storms(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let story = self.story;
        if story.storms.is_empty() {
            return Ok(());
        }
        writeln!(f, "## Storms\n\n| lines | from | to | peak | line |\n| ---: | --- | --- | ---: | --- |")?;
        for storm in story.storms.iter().take(ROWS) {
            let to = if storm.open { "going on".to_owned() } else { short_time(storm.last, story) };
            writeln!(
                f,
                "| {} | {} | {to} | {}/s | {} |",
                grouped(storm.total.0),
                short_time(storm.first, story),
                rate(storm.peak),
                Code(&story.templates[storm.template].example)
            )?;
        }
        writeln!(f)
    }

    fn templates(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let story = self.story;
        writeln!(
            f,
            "## Counts\n\n{}, {} failing ({}).\n",
            lines(story.lines),
            grouped(story.failing.0),
            share(story.failing, story.lines)
        )?;
        writeln!(f, "| lines | share | first | last | line |\n| ---: | ---: | --- | --- | --- |")?;
        let mut most: Vec<&Template> =
            story.templates.iter().filter(|template| template.count > Lines(0)).collect();
        most.sort_by_key(|template| std::cmp::Reverse(template.count));
        for template in most.into_iter().take(ROWS) {
            writeln!(
                f,
                "| {} | {} | {} | {} | {} |",
                grouped(template.count.0),
                share(template.count, story.lines),
                short_time(template.first, story),
                short_time(template.last, story),
                Code(&template.example)
            )?;
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_081_text_of_the_log_is_never_markup() {
        #[track_caller]
        fn check(shown: impl Display, want: &str) {
            assert_eq!(shown.to_string(), want);
        }
        check(
            Plain("**bold** [x](javascript:1) <b> | # a_b"),
            r"\*\*bold\*\* \[x\](javascript:1) \<b\> \| \# a\_b",
        );
        check(Code("plain"), "`plain`");
        check(Code("a `b` | c"), "``a `b` ¦ c``");
        check(Code("`"), "`` ` ``");
        check(Code("```\n# title"), "```` ``` ````");
        check(Code(""), "`  `");
    }
}

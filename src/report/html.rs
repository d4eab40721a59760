//! The draft of an incident report as one page: no script, nothing from elsewhere, readable on a phone and on paper.
//!
//! Every text goes through one escape: what a log says can never become markup (`faults.md` 81).

use std::fmt::{self, Display, Formatter};

use super::alerts::{Row, beyond, silent};
use super::draft::{Draft, Event, moved_sentence};
use super::text::rate;
use super::{chart, date_time, duration, lines, share, short_time};
use crate::engine::chronicle::story::{LoopStory, Story, Template};
use crate::terminal::Escaped;
use crate::units::Lines;
use crate::units::grouped;

/// A page.
#[derive(Clone, Copy, Debug)]
pub struct Html<'a> {
    /// What happened.
    pub story: &'a Story,
    /// What is made of it.
    pub draft: &'a Draft,
    /// The names of the files.
    pub sources: &'a [String],
}

/// Rows of a table; how many more there are is said.
const ROWS: usize = 20;

impl Display for Html<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        self.summary(f)?;
        self.plots(f)?;
        self.timeline(f)?;
        self.alerts(f)?;
        self.loops(f)?;
        self.storms(f)?;
        self.moved(f)?;
        self.endpoints(f)?;
        self.templates(f)?;
        self.left_to_people(f)?;
        f.write_str("</main></body></html>\n")
    }
}

impl Html<'_> {
    fn head(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let story = self.story;
        let day = date_time(story.first);
        let css = include_str!("page.css");
        write!(
            f,
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
             <title>Incident report {day} (draft)</title><style>{css}</style></head><body><main>\
             <h1>Incident report <small>draft, {day} UTC</small></h1>"
        )?;
        let names: Vec<String> =
            self.sources.iter().map(|name| format!("<code>{}</code>", Escaped(name))).collect();
        write!(
            f,
            "<p class=\"soft\">Written by squall {} from {}.</p>",
            env!("CARGO_PKG_VERSION"),
            names.join(", ")
        )
    }

    fn summary(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Draft { severity, reasons, summary, .. } = self.draft;
        let name = severity.as_str();
        write!(
            f,
            "<h2>Summary</h2><p><span class=\"severity {name}\">{name}</span> <span class=\"soft\">a guess: {}.</span></p>",
            Escaped(&reasons.join("; "))
        )?;
        for sentence in summary {
            write!(f, "<p>{}</p>", Escaped(sentence))?;
        }
        Ok(())
    }

    fn plots(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (stacked, layers) = chart::stacked(self.story);
        write!(f, "<h2>Lines per second</h2>{stacked}<ul class=\"legend\">")?;
        for (layer, place) in layers.into_iter().enumerate() {
            let template = &self.story.templates[place];
            write!(
                f,
                "<li><i class=\"c{layer}\"></i><code>{}</code> <span class=\"soft\">{}</span></li>",
                Escaped(&cut(&template.pattern)),
                grouped(template.count.0)
            )?;
        }
        if self.story.templates.len() > chart::LAYERS {
            let rest = self.story.templates.len() - chart::LAYERS;
            write!(f, "<li><i class=\"rest\"></i>{rest} other templates</li>")?;
        }
        write!(f, "</ul><h2>Share of failing lines</h2>{}", chart::failing_share(self.story))
    }

    fn timeline(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("<h2>Timeline</h2><div class=\"scroll\"><table><tr><th>UTC</th><th>what</th></tr>")?;
        for Event { time, what, text } in &self.draft.timeline {
            write!(f, "<tr><td class=\"t\">{}</td><td>{}", short_time(*time, self.story), Escaped(what))?;
            if let Some(text) = text {
                write!(f, "<div class=\"log\">{}</div>", Escaped(&cut(text)))?;
            }
            f.write_str("</td></tr>")?;
        }
        f.write_str("</table></div>")
    }

    fn alerts(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(alerts) = &self.story.alerts else { return Ok(()) };
        f.write_str("<h2>Alerts</h2>")?;
        if !alerts.fired.is_empty() {
            f.write_str(
                "<div class=\"scroll\"><table class=\"wide\"><tr><th>alert</th><th>fired (UTC)</th><th>resolved</th><th>how</th></tr>",
            )?;
            for episode in alerts.fired.iter().take(ROWS) {
                let Row { name, fired, resolved, how } = Row::of(episode);
                write!(
                    f,
                    "<tr><td>{}</td><td class=\"t\">{fired}</td><td>{resolved}</td><td>{}</td></tr>",
                    Escaped(&name),
                    Escaped(&how)
                )?;
            }
            f.write_str("</table></div>")?;
            rest(f, alerts.fired.len())?;
        }
        for sentence in beyond(alerts).into_iter().chain(silent(alerts)) {
            write!(f, "<p class=\"soft\">{}.</p>", Escaped(&sentence))?;
        }
        Ok(())
    }

    fn loops(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.story.loops.is_empty() {
            return Ok(());
        }
        f.write_str("<h2>Loops</h2>")?;
        for known in self.story.loops.iter().take(ROWS) {
            self.one_loop(f, known)?;
        }
        rest(f, self.story.loops.len())
    }

    fn one_loop(&self, f: &mut Formatter<'_>, known: &LoopStory) -> fmt::Result {
        let view = &known.view;
        write!(f, "<h3>{}</h3><ol class=\"members\">", Escaped(&view.message()))?;
        for member in &view.members {
            write!(f, "<li><code>{}</code></li>", Escaped(&cut(&member.text)))?;
        }
        f.write_str("</ol><div class=\"scroll\"><table>")?;
        let judgement = &view.judgement;
        let jitter = if judgement.jitter { ", with jitter" } else { "" };
        let period = &view.period;
        let seconds = |seconds: f64| super::draft::quantity(seconds, "s");
        let attempts = view.attempts.map(|attempts| match attempts.limit {
            Some(limit) => format!("{} of {limit}", attempts.last),
            None => attempts.last.to_string(),
        });
        let until = if known.is_open() { "the end of the log".to_owned() } else { date_time(view.seen) };
        let rows = [
            ("back-off", Some(format!("{}{jitter}", judgement.verdict.as_str()))),
            ("towards", view.endpoint.clone()),
            ("iterations", Some(grouped(view.iterations))),
            (
                "interval",
                Some(format!(
                    "median {}, p95 {}, {} to {}",
                    seconds(period.p50),
                    seconds(period.p95),
                    seconds(period.min),
                    seconds(period.max)
                )),
            ),
            ("attempts", attempts),
            ("from – to", Some(format!("{} – {until}", date_time(view.started)))),
            ("stream", Some(known.stream.to_string())),
            ("better", view.advice().map(str::to_owned)),
        ];
        for (name, value) in rows {
            if let Some(value) = value {
                write!(f, "<tr><th>{name}</th><td>{}</td></tr>", Escaped(&value))?;
            }
        }
        write!(
            f,
            "</table></div>{}<p class=\"soft\">Dots: the first intervals, and the last ones. Dashed: waits that double from 1 s to 60 s.</p>",
            chart::intervals(known)
        )
    }

    fn storms(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let story = self.story;
        if story.storms.is_empty() {
            return Ok(());
        }
        f.write_str(
            "<h2>Storms</h2><div class=\"scroll\"><table class=\"wide\"><tr><th class=\"n\">lines</th><th>from</th><th>to</th><th>line</th>\
             <th class=\"n\">peak</th><th class=\"n\">normal</th></tr>",
        )?;
        for storm in story.storms.iter().take(ROWS) {
            let template = &story.templates[storm.template];
            let to = if storm.open { "going on".to_owned() } else { short_time(storm.last, story) };
            write!(
                f,
                "<tr><td class=\"n\">{}</td><td class=\"t\">{}</td><td class=\"t\">{to}</td><td>{}</td><td class=\"n\">{}/s</td><td class=\"n\">{}</td></tr>",
                grouped(storm.total.0),
                short_time(storm.first, story),
                Line(template),
                rate(storm.peak),
                storm.baseline.map_or_else(String::new, |normal| format!("{}/s", rate(normal)))
            )?;
        }
        f.write_str("</table></div>")?;
        rest(f, story.storms.len() + story.storms_beyond as usize)
    }

    fn moved(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.story.moved.is_empty() {
            return Ok(());
        }
        f.write_str("<h2>Numbers that moved</h2>")?;
        for moved in self.story.moved.iter().take(ROWS) {
            let template = &self.story.templates[moved.template];
            write!(
                f,
                "<p>{}</p><div class=\"log\">{}</div>",
                Escaped(&moved_sentence(moved)),
                Escaped(&cut(&template.example))
            )?;
        }
        rest(f, self.story.moved.len())
    }

    fn endpoints(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.draft.endpoints.is_empty() {
            return Ok(());
        }
        f.write_str("<h2>Affected endpoints</h2><ul>")?;
        for endpoint in &self.draft.endpoints {
            write!(f, "<li><code>{}</code></li>", Escaped(endpoint))?;
        }
        f.write_str("</ul>")
    }

    fn templates(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let story = self.story;
        write!(
            f,
            "<h2>Counts</h2><p>{} from {} to {} ({}), {} failing ({}), {} templates and families.</p><div class=\"scroll\"><table class=\"wide\">\
             <tr><th class=\"n\">lines</th><th class=\"n\">share</th><th>first</th><th>line</th><th>last</th></tr>",
            lines(story.lines),
            date_time(story.first),
            date_time(story.last),
            duration(story.last.since(story.first)),
            grouped(story.failing.0),
            share(story.failing, story.lines),
            grouped(story.templates.len() as u64)
        )?;
        let mut most: Vec<&Template> =
            story.templates.iter().filter(|template| template.count > Lines(0)).collect();
        most.sort_by_key(|template| std::cmp::Reverse(template.count));
        for template in most.iter().take(ROWS) {
            write!(
                f,
                "<tr><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"t\">{}</td><td>{}</td><td class=\"t\">{}</td></tr>",
                grouped(template.count.0),
                Escaped(&share(template.count, story.lines)),
                short_time(template.first, story),
                Line(template),
                short_time(template.last, story)
            )?;
        }
        f.write_str("</table></div>")?;
        rest(f, most.len())
    }

    fn left_to_people(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(
            "<h2>Cause</h2><p class=\"blank\">What the log cannot know: to be written.</p>\
             <h2>Follow-ups</h2><p class=\"blank\">Who does what until when: to be written.</p>",
        )
    }
}

/// A template in a cell.
struct Line<'a>(&'a Template);

impl Display for Line<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let class = if self.0.failing { " class=\"bad\"" } else { "" };
        let level = self.0.level.map_or("", |level| level.as_str());
        write!(f, "<span{class}>{level}</span> <code>{}</code>", Escaped(&cut(&self.0.example)))
    }
}

/// The beginning of a text: a page is no place for a whole stack trace.
fn cut(text: &str) -> String {
    const LETTERS: usize = 300;
    match text.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn rest(f: &mut Formatter<'_>, all: usize) -> fmt::Result {
    if all > ROWS {
        write!(f, "<p class=\"soft\">… and {} more.</p>", grouped((all - ROWS) as u64))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_081_text_of_the_log_is_never_markup() {
        #[track_caller]
        fn check(text: &str, want: &str) {
            assert_eq!(Escaped(text).to_string(), want);
        }
        check("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;");
        check("a\" onload='x' &amp;", "a&quot; onload=&#39;x&#39; &amp;amp;");
        check("one\ntwo\u{202e}", "one\ntwo\\u{202e}");
        check("\u{1b}]0;x", "\\u{1b}]0;x");
    }
}

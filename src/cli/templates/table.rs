//! What `squall templates` counts and prints: a row for each template.

use std::collections::HashMap;
use std::io::Write;

use serde_json::json;

use super::kin::Kin;
use super::text_of;
use crate::engine::line::Line;
use crate::engine::line::level::{self, Level};
use crate::engine::storm::window::shortened;
use crate::engine::template::catalog::EntryId;
use crate::engine::template::family;
use crate::engine::template::mask::{TemplateId, template_id};
use crate::engine::template::subject::Subject;
use crate::terminal::visible;
use crate::units::Timestamp;
use crate::units::grouped;

/// All templates of the files.
pub(super) struct Table {
    rows: Vec<Row>,
    numbers: HashMap<TemplateId, u32>,
    lines: u64,
    /// Lines of templates that there was no room for.
    beyond: u64,
    templates_max: usize,
    examples: usize,
    kin: Option<Kin>,
    subject: Subject,
    canonical: Vec<u8>,
}

struct Row {
    id: TemplateId,
    count: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    level: Option<Level>,
    pattern: String,
    examples: Vec<Box<[u8]>>,
    entry: Option<EntryId>,
}

impl Table {
    /// A table of at most `templates_max` templates, with this many different lines of each.
    pub(super) fn new(templates_max: usize, examples: usize, families: bool) -> Table {
        Table {
            rows: Vec::new(),
            numbers: HashMap::new(),
            lines: 0,
            beyond: 0,
            templates_max,
            examples,
            kin: families.then(|| Kin::new(templates_max)),
            subject: Subject::default(),
            canonical: Vec::new(),
        }
    }

    /// Counts a line. The number of its row, if there is room for it.
    pub(super) fn count(&mut self, line: &Line<'_>, time: Option<Timestamp>) -> Option<u32> {
        self.lines += 1;
        let text = text_of(line);
        let id = template_id(self.subject.of(text), &mut self.canonical);
        let number = match self.numbers.get(&id) {
            Some(&number) => number,
            None if self.rows.len() >= self.templates_max => {
                self.beyond += 1;
                return None;
            }
            None => {
                let number = self.rows.len() as u32; // `templates_max` is far below 2^32
                self.numbers.insert(id, number);
                self.rows.push(Row {
                    id,
                    count: 0,
                    first: None,
                    last: None,
                    level: level::detect(text),
                    pattern: String::from_utf8_lossy(&family::shown(&self.canonical)).into_owned(),
                    examples: Vec::new(),
                    entry: self.kin.as_mut().map(|kin| kin.take(text, line.parse_error)),
                });
                number
            }
        };
        let row = &mut self.rows[number as usize];
        row.count += 1;
        row.first = row.first.into_iter().chain(time).min();
        row.last = row.last.into_iter().chain(time).max();
        if row.examples.len() < self.examples {
            let example = shortened(text);
            if row.examples.iter().all(|known| **known != *example) {
                row.examples.push(example.into());
            }
        }
        Some(number)
    }

    /// Lines of templates that there was no room for.
    pub(super) fn beyond(&self) -> u64 {
        self.beyond
    }

    /// The template of a row, and its family, or the template again.
    pub(super) fn ids(&self, number: u32) -> (TemplateId, TemplateId) {
        let row = &self.rows[number as usize];
        (row.id, self.family(row).map_or(row.id, |(id, _)| id))
    }

    fn family(&self, row: &Row) -> Option<(TemplateId, &family::Family)> {
        self.kin.as_ref()?.family(row.entry?)
    }

    /// Prints the `top` most frequent templates; those that are as frequent in the order in which they came.
    pub(super) fn print(&self, json: bool, top: usize, out: &mut impl Write) -> anyhow::Result<()> {
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.count));
        rows.truncate(top);
        if self.beyond > 0 {
            tracing::warn!(lines = self.beyond, "the file has more templates than are told apart");
        }
        if json {
            rows.iter().try_for_each(|row| writeln!(out, "{}", self.object(row)))?;
            return Ok(());
        }
        self.print_columns(&rows, out)?;
        let shown = if rows.len() < self.rows.len() {
            format!(", {} of them shown", grouped(rows.len() as u64))
        } else {
            String::new()
        };
        let (lines, templates) = (grouped(self.lines), grouped(self.rows.len() as u64));
        writeln!(out, "{lines} lines, {templates} templates{shown}")?;
        Ok(())
    }

    fn object(&self, row: &Row) -> serde_json::Value {
        let examples: Vec<_> = row.examples.iter().map(|text| String::from_utf8_lossy(text)).collect();
        let mut object = json!({
            "template": row.id.to_string(),
            "count": row.count,
            "share": share(row.count, self.lines),
            "first": row.first.and_then(shown_time),
            "last": row.last.and_then(shown_time),
            "level": row.level.map(Level::as_str),
            "pattern": row.pattern,
            "examples": examples,
        });
        if self.kin.is_some() {
            object["family"] = self.family(row).map_or(serde_json::Value::Null, |(id, family)| {
                let pattern = family.shown();
                json!({
                    "template": id.to_string(),
                    "pattern": String::from_utf8_lossy(&pattern),
                    "members": family.members,
                })
            });
        }
        object
    }

    /// The columns are as wide as they must be; those that would be empty all the way down are left out.
    fn print_columns(&self, rows: &[&Row], out: &mut impl Write) -> anyhow::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let count =
            rows.iter().map(|row| grouped(row.count).len()).max().unwrap_or_default().max("COUNT".len());
        let timed = rows.iter().any(|row| row.first.is_some());
        let times = |first: &str, last: &str| {
            if timed { format!("{first:<20}  {last:<20}  ") } else { String::new() }
        };
        let kin = |id: &str| if self.kin.is_some() { format!("{id:<32}  ") } else { String::new() };
        let head = times("FIRST", "LAST");
        let family = kin("FAMILY");
        writeln!(out, "{:>count$}   SHARE  {head}LEVEL   {:<32}  {family}PATTERN", "COUNT", "TEMPLATE")?;
        for row in rows {
            let shown = |time: Option<Timestamp>| time.and_then(shown_time).unwrap_or_else(|| "-".to_owned());
            let times = times(&shown(row.first), &shown(row.last));
            let family = kin(&self.family(row).map_or("-".to_owned(), |(id, _)| id.to_string()));
            writeln!(
                out,
                "{:>count$}  {:>5.1}%  {times}{:<6}  {}  {family}{}",
                grouped(row.count),
                share(row.count, self.lines) * 100.0,
                row.level.map_or("-", Level::as_str),
                row.id,
                // A subject's parts stand behind tabs, which would be shown as escapes.
                visible(&row.pattern.replace('\t', "  ")),
            )?;
            for example in &row.examples {
                writeln!(out, "{:>count$}  | {}", "", visible(&String::from_utf8_lossy(example)))?;
            }
        }
        Ok(())
    }
}

/// Of 1, to four places: a hundredth of a per cent.
fn share(count: u64, lines: u64) -> f64 {
    if lines == 0 { 0.0 } else { (count as f64 / lines as f64 * 10_000.0).round() / 10_000.0 }
}

/// To the second, in UTC; nothing for a time that no calendar has.
fn shown_time(time: Timestamp) -> Option<String> {
    let time = jiff::Timestamp::from_second(time.seconds()).ok()?;
    Some(time.to_string())
}

//! `squall templates`: which templates a log is made of.

use std::collections::HashMap;
use std::io::{BufWriter, Read, Write};
use std::path::PathBuf;

use anyhow::Context as _;

use super::run::{FormatFlag, open};
use super::{Exit, log};
use crate::daemon::clock;
use crate::engine::frame::{Format, Framer};
use crate::engine::line::join::Joiner;
use crate::engine::line::level::{self, Level};
use crate::engine::line::{Limits, Line};
use crate::engine::template::mask::{SENTINEL, TemplateId, template_id};
use crate::engine::template::subject::Subject;
use crate::terminal::{grouped, visible};

/// Show which templates a log file is made of.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How lines are wrapped
    #[arg(long, value_enum, default_value = "auto")]
    format: FormatFlag,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Print the template id of each line, in the order of the lines
    #[arg(long)]
    assign: bool,
}

/// Templates told apart; a file with more is told so.
const TEMPLATES_MAX: usize = 100_000;

#[derive(Default)]
struct Found {
    rows: HashMap<TemplateId, Row>,
    lines: u64,
    beyond: u64,
}

struct Row {
    order: usize,
    count: u64,
    level: Option<Level>,
    pattern: String,
}

/// Reads the files and prints.
pub fn main(args: &Args) -> anyhow::Result<Exit> {
    log::begin("warn");
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut found = Found::default();
    let (mut subject, mut canonical) = (Subject::default(), Vec::new());
    for path in &args.files {
        let mut failed = None;
        read(path, args.format.into(), &mut |line| {
            let text = line.text.strip_suffix(b"\r").unwrap_or(line.text);
            let id = template_id(subject.of(text), &mut canonical);
            if !args.assign {
                found.count(id, text, &canonical);
            } else if failed.is_none() {
                failed = writeln!(out, "{id}").err();
            }
        })?;
        if let Some(error) = failed {
            return Err(error).context("cannot write to standard output");
        }
    }
    if !args.assign {
        found.print(args.json, &mut out)?;
    }
    out.flush().context("cannot write to standard output")?;
    Ok(Exit::Fine)
}

impl Found {
    fn count(&mut self, id: TemplateId, text: &[u8], canonical: &[u8]) {
        self.lines += 1;
        let order = self.rows.len();
        if order >= TEMPLATES_MAX && !self.rows.contains_key(&id) {
            self.beyond += 1;
            return;
        }
        let row = self.rows.entry(id).or_insert_with(|| Row {
            order,
            count: 0,
            level: level::detect(text),
            pattern: pattern(canonical),
        });
        row.count += 1;
    }

    fn print(&self, json: bool, out: &mut impl Write) -> anyhow::Result<()> {
        let mut rows: Vec<(&TemplateId, &Row)> = self.rows.iter().collect();
        rows.sort_unstable_by_key(|(_, row)| (std::cmp::Reverse(row.count), row.order));
        for (id, row) in rows {
            if json {
                let level = row.level.map(Level::as_str);
                let object = serde_json::json!({
                    "template": id.to_string(), "count": row.count, "level": level, "pattern": row.pattern,
                });
                writeln!(out, "{object}")?;
            } else {
                let level = row.level.map_or("", Level::as_str);
                writeln!(out, "{:>12}  {:<6} {}  {}", grouped(row.count), level, id, visible(&row.pattern))?;
            }
        }
        if self.beyond > 0 {
            tracing::warn!(lines = self.beyond, "the file has more templates than are told apart");
        }
        if !json {
            writeln!(out, "{} lines, {} templates", grouped(self.lines), grouped(self.rows.len() as u64))?;
        }
        Ok(())
    }
}

/// The canonical text with `<*>` for each variable, as log parsers write it.
fn pattern(canonical: &[u8]) -> String {
    String::from_utf8_lossy(canonical).replace(char::from(SENTINEL), "<*>")
}

/// Hands all lines of a file to `sink`.
fn read(path: &std::path::Path, format: Format, sink: &mut impl FnMut(&Line<'_>)) -> anyhow::Result<()> {
    let mut file: Box<dyn Read> =
        if path.as_os_str() == "-" { Box::new(std::io::stdin()) } else { Box::new(open(path)?) };
    let limits = Limits::default();
    let mut framer = Framer::new(format, limits.length_max);
    let mut joiner = Joiner::new(limits);
    let now = clock::now();
    let mut buffer = vec![0; 256 * 1024];
    let mut offset = 0;
    loop {
        let length = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        framer.push(&buffer[..length], offset, &mut |frame| joiner.push(frame, now, &mut |line| sink(&line)));
        offset += length as u64;
    }
    framer.end_of_file(&mut |frame| joiner.push(frame, now, &mut |line| sink(&line)));
    joiner.flush(now, &mut |line| sink(&line));
    Ok(())
}

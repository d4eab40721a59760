//! `squall templates`: which templates a log is made of, and which templates are one family.
//!
//! Limits: 100,000 templates are told apart; families need a number for each line to be told at the end, so
//! `--assign=families` takes at most 50 million lines.

mod kin;
mod table;

use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use self::table::Table;
use super::run::{FormatFlag, open};
use super::{Exit, log};
use crate::daemon::clock;
use crate::engine::frame::{Format, Framer};
use crate::engine::line::join::Joiner;
use crate::engine::line::{Limits, Line};
use crate::engine::template::mask::template_id;
use crate::engine::template::subject::Subject;
use crate::units::Timestamp;

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
    /// Print the template id of each line, in the order of the lines; with `=families` the id of its family behind it,
    /// or its own again
    #[arg(
        long,
        value_enum,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "templates",
        conflicts_with_all = ["json", "top", "examples", "families"]
    )]
    assign: Option<Assign>,
    /// Only the most frequent ones
    #[arg(long, value_name = "N")]
    top: Option<usize>,
    /// Show up to this many different lines of each (without this flag 1 with --json, else 0)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=16))]
    examples: Option<u8>,
    /// Show which templates differ in one word and are counted together
    #[arg(long)]
    families: bool,
}

/// `--assign`
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Assign {
    /// The template of each line
    Templates,
    /// And its family
    Families,
}

/// Templates told apart; a file with more is told so.
const TEMPLATES_MAX: usize = 100_000;
/// Lines whose families can be told: a number of four bytes is kept for each.
const LINES_MAX: usize = 50_000_000;

/// Reads the files and prints.
pub fn main(args: &Args) -> anyhow::Result<Exit> {
    log::begin("warn");
    let mut out = BufWriter::new(std::io::stdout().lock());
    match args.assign {
        Some(Assign::Templates) => assign_templates(args, &mut out)?,
        Some(Assign::Families) => assign_families(args, &mut out)?,
        None => {
            let examples = args.examples.map_or(usize::from(args.json), usize::from);
            let mut table = Table::new(TEMPLATES_MAX, examples, args.families);
            read_all(args, |line, time| {
                table.count(line, time);
            })?;
            table.print(args.json, args.top.unwrap_or(usize::MAX), &mut out)?;
        }
    }
    out.flush().context(UNWRITABLE)?;
    Ok(Exit::Fine)
}

/// A line's template depends on nothing but the line, so it is told at once.
fn assign_templates(args: &Args, out: &mut impl Write) -> anyhow::Result<()> {
    let (mut subject, mut canonical) = (Subject::default(), Vec::new());
    let mut failed = None;
    read_all(args, |line, _| {
        let id = template_id(subject.of(text_of(line)), &mut canonical);
        if failed.is_none() {
            failed = writeln!(out, "{id}").err();
        }
    })?;
    failed.map_or(Ok(()), |error| Err(error).context(UNWRITABLE))
}

/// The first templates of a family come before the family, so nothing can be told before the end.
fn assign_families(args: &Args, out: &mut impl Write) -> anyhow::Result<()> {
    let mut table = Table::new(TEMPLATES_MAX, 0, true);
    let mut lines: Vec<u32> = Vec::new();
    let mut is_too_long = false;
    read_all(args, |line, time| {
        is_too_long |= lines.len() >= LINES_MAX;
        if !is_too_long {
            lines.extend(table.count(line, time));
        }
    })?;
    if is_too_long || table.beyond() > 0 {
        bail!("families are told of at most {LINES_MAX} lines of {TEMPLATES_MAX} templates");
    }
    for row in lines {
        let (template, family) = table.ids(row);
        writeln!(out, "{template} {family}").context(UNWRITABLE)?;
    }
    Ok(())
}

const UNWRITABLE: &str = "cannot write to standard output";

/// A line's text without the end of a line that was written elsewhere.
fn text_of<'t>(line: &Line<'t>) -> &'t [u8] {
    line.text.strip_suffix(b"\r").unwrap_or(line.text)
}

/// Hands all lines of all files to `sink`, each with the time that it says it was written at, if it says one.
fn read_all(args: &Args, mut sink: impl FnMut(&Line<'_>, Option<Timestamp>)) -> anyhow::Result<()> {
    args.files.iter().try_for_each(|path| read(path, args.format.into(), &mut sink))
}

fn read(
    path: &Path,
    format: Format,
    sink: &mut impl FnMut(&Line<'_>, Option<Timestamp>),
) -> anyhow::Result<()> {
    let mut file: Box<dyn Read> =
        if path.as_os_str() == "-" { Box::new(std::io::stdin()) } else { Box::new(open(path)?) };
    let limits = Limits::default();
    let mut framer = Framer::new(format, limits.length_max);
    let mut joiner = Joiner::new(limits);
    let now = clock::now();
    // A line without a time of its own has that of its arrival, which is this very one for all of them.
    let mut sink = |line: Line<'_>| sink(&line, Some(line.time).filter(|time| *time != now.wall));
    let mut buffer = vec![0; 256 * 1024];
    let mut offset = 0;
    loop {
        let length = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        framer.push(&buffer[..length], offset, &mut |frame| joiner.push(frame, now, &mut sink));
        offset += length as u64;
    }
    framer.end_of_file(&mut |frame| joiner.push(frame, now, &mut sink));
    joiner.flush(now, &mut sink);
    Ok(())
}

//! `squall replay`: what happened in old log files.

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::run::{CollapseFlag, FormatFlag, MultilineFlag};
use super::stdio::complain;
use super::validate::{environment, load};
use super::{Exit, log};
use crate::config::{Config, Sources};
use crate::daemon::clock;
use crate::daemon::reader::{Settings, file_source, pipe_source};
use crate::daemon::report::{Books, books_as_json};
use crate::engine::chronicle::story::Story;
use crate::engine::line::Limits;
use crate::engine::record::Batch;
use crate::engine::{Options, Source};
use crate::replay::{Replay, ReplayError};
use crate::report::draft::Draft;
use crate::report::html::Html;
use crate::report::markdown::Markdown;
use crate::report::text::Text;
use crate::units::Bytes;

/// Explain log files: the storms, the loops, what is new, and when it began.
///
/// Reads plain files, Docker's json-file and Kubernetes' CRI, gzipped or not. Rotated files of one log follow each other;
/// different logs are merged by time. The log's own time is the clock.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How lines are wrapped
    #[arg(long, value_enum, default_value = "auto")]
    format: FormatFlag,
    /// The records as the live program would have made them, one JSON object a line, the ledger last
    #[arg(long)]
    json: bool,
    /// Join the lines of stack traces [default: auto; with --json off, as `run` has it]
    #[arg(long, value_enum)]
    multiline: Option<MultilineFlag>,
    /// How far lines are folded
    #[arg(long, value_enum, default_value = "storms")]
    collapse: CollapseFlag,
    /// Configuration files: what they say of storms, loops, lines and the instance counts here too
    #[arg(short, long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Set one key of the config, as in --set storm.enter=50
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Also write a draft of the incident report: a page (*.html) or Markdown (*.md)
    #[arg(long, value_name = "FILE", value_parser = report_path)]
    report: Option<PathBuf>,
}

/// Accepts the two kinds of report that there are.
fn report_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match kind(&path) {
        Some(_) => Ok(path),
        None => Err("a report ends in .html or .md".to_owned()),
    }
}

/// What a report is.
#[derive(Clone, Copy)]
enum Kind {
    Html,
    Markdown,
}

fn kind(path: &Path) -> Option<Kind> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "html" | "htm" => Some(Kind::Html),
        "md" | "markdown" => Some(Kind::Markdown),
        _ => None,
    }
}

/// Reads the files and explains.
pub fn main(args: &Args) -> anyhow::Result<Exit> {
    log::begin("warn");
    let began = clock::now();
    let sources = Sources {
        files: args.config.clone(),
        env: environment(),
        sets: args.set.clone(),
        ..Sources::default()
    };
    let Some(config) = load(&sources) else { return Ok(Exit::Config) };
    if config.asks_for_resources() {
        complain(
            "warning: rules about `resource(…)` do not fire here: old logs do not tell CPU and memory\n",
        );
    }
    let settings = settings(args, &config);
    let mut replay = Replay::open(&args.files, |path| source(path, &settings), options(config), began.wall)?;
    let mut out = BufWriter::with_capacity(256 * 1024, io::stdout().lock());
    let json = args.json;
    let mut sink = |batch: &Batch| if json { write_records(&mut out, batch) } else { Ok(()) };
    let mut broken = Vec::new();
    let mut meter = Meter::new(replay.size(), args.files.iter().any(|file| file.as_os_str() == "-"));
    loop {
        match replay.step(&mut sink) {
            Ok(true) => meter.show(&replay),
            Ok(false) => break,
            Err(ReplayError::Sink(error)) => return Err(error).context("cannot write to standard output"),
            Err(error) => broken.push(error),
        }
    }
    replay.finish(&mut sink)?;
    meter.clear();
    let ledger = replay.ledger();
    let seconds = clock::now().arrival.since(began.arrival).as_secs_f64();
    if !json || args.report.is_some() {
        explain(args, &replay, &mut out)?;
    }
    if json {
        writeln!(out, "{}", serde_json::json!({"ledger": books_as_json(&ledger, seconds)}))?;
    } else {
        writeln!(out, "The ledger\n{}", Books(&ledger))?;
    }
    out.flush().context("cannot write to standard output")?;
    for error in &broken {
        complain(format_args!("error: {:#}; what was read before is in the figures\n", chain(error)));
    }
    Ok(if broken.is_empty() && ledger.conservation_error == 0 { Exit::Fine } else { Exit::Failed })
}

/// Writes what happened: the report that was asked for, and, unless scripts read, the text.
fn explain(args: &Args, replay: &Replay, out: &mut impl Write) -> anyhow::Result<()> {
    let story = replay.story();
    let draft = Draft::of(&story);
    if let Some(path) = &args.report {
        write_report(path, &args.files, &story, &draft)?;
    }
    if !args.json {
        let colour = log::wants_colour(io::stdout().is_terminal());
        write!(out, "{}", Text { story: &story, draft: &draft, width: width(), colour })?;
    }
    Ok(())
}

fn settings(args: &Args, config: &Config) -> Settings {
    // People want the trace; scripts want what the live program would have sent.
    let default = if args.json { MultilineFlag::Off } else { MultilineFlag::Auto };
    let line = Limits {
        length_max: usize::try_from(config.line.length_max.0).unwrap_or(usize::MAX),
        multiline: args.multiline.unwrap_or(default).options(),
        redact: config.line.redact.clone(),
        ..Limits::default()
    };
    Settings {
        node: config.identity.node.clone(),
        format: args.format.into(),
        collapse: args.collapse.into(),
        labels: Vec::new(),
        line,
        ends: true,
    }
}

/// What the live program would call a log, and say of it.
fn source(path: &Path, settings: &Settings) -> Source {
    if path.as_os_str() == "-" { pipe_source(settings) } else { file_source(path, settings) }
}

fn options(config: Config) -> Options {
    let Config { storm, loops, identity, alerts, memory_max, .. } = config;
    Options { storm, loops, identity, alerts, memory_max: Bytes(memory_max.0 / 2), ..Options::default() }
}

fn write_report(path: &Path, files: &[PathBuf], story: &Story, draft: &Draft) -> anyhow::Result<()> {
    let sources: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let text = match kind(path) {
        Some(Kind::Markdown) => Markdown { story, draft, sources: &sources }.to_string(),
        _ => Html { story, draft, sources: &sources }.to_string(),
    };
    std::fs::write(path, text).with_context(|| format!("cannot write the report {}", path.display()))
}

fn write_records(out: &mut impl Write, batch: &Batch) -> io::Result<()> {
    for (_, record) in batch.iter() {
        out.write_all(record)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |said, cause| format!("{said}: {cause}"))
}

/// Columns of the terminal, or as many as fit on most.
fn width() -> usize {
    terminal_size::terminal_size().map_or(110, |(width, _)| usize::from(width.0))
}

/// The bar that shows how far the reading is; on a terminal only, and never in the way of what is piped.
struct Meter {
    bar: ProgressBar,
    pieces: u32,
}

impl Meter {
    /// `size` is what there is to read; nobody knows how much comes from standard input.
    fn new(size: u64, has_stdin: bool) -> Meter {
        let bar = if has_stdin { ProgressBar::no_length() } else { ProgressBar::new(size) };
        // Where standard error is no terminal, indicatif draws nothing.
        let style =
            ProgressStyle::with_template("  {bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left");
        Meter { bar: style.map_or_else(|_| ProgressBar::hidden(), |style| bar.with_style(style)), pieces: 0 }
    }

    fn show(&mut self, replay: &Replay) {
        // A piece takes a tenth of a millisecond; nobody sees more than 20 pictures a second.
        self.pieces = self.pieces.wrapping_add(1);
        if self.pieces.is_multiple_of(64) {
            self.bar.set_position(replay.read_so_far());
        }
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

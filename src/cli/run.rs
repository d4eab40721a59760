//! `squall run`: the sidecar, until its inputs end or a signal comes.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;

use super::destination::Destination;
use super::life;
use super::stdio::{complain, print};
use super::validate::{environment, load};
use super::{Exit, log, usage};
use crate::config::{
    self, Config, FileOptions, Input, InputKind, Listen, Output, Sources, TailFrom, TailOptions,
};
use crate::daemon::report::Report;
use crate::daemon::{StartError, heap};
use crate::engine::frame::Format;
use crate::engine::line::multiline::{self, Kind, Language};
use crate::engine::storm::Collapse;
use crate::outbox::OpenError;

/// Follow logs and ship them.
///
/// Works with flags alone, with a config alone, or with both; flags win.
#[derive(Debug, Default, clap::Args)]
#[command(next_line_help = false)]
pub struct Args {
    /// Configuration files, merged by key; later ones win
    #[arg(short, long = "config", value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// A folder of configuration files (*.yaml, *.yml), merged after --config in the order of their names
    #[arg(long, value_name = "DIR")]
    pub config_dir: Option<PathBuf>,
    /// Files to follow; quote a glob so that the shell leaves it alone
    #[arg(long, value_name = "GLOB", num_args = 1..)]
    pub tail: Vec<String>,
    /// Files to leave out although --tail has them
    #[arg(long, value_name = "GLOB", num_args = 1.., requires = "tail")]
    pub exclude: Vec<String>,
    /// Read standard input
    #[arg(long)]
    pub stdin: bool,
    /// How lines are wrapped
    #[arg(long, value_enum)]
    pub format: Option<FormatFlag>,
    /// Where to begin in files without a saved position
    #[arg(long, value_enum)]
    pub from: Option<FromFlag>,
    /// Where records go: kafka://HOST:PORT[,HOST:PORT…]/TOPIC, console, file:PATH or blackhole
    #[arg(long, value_name = "DESTINATION")]
    pub to: Option<Destination>,
    /// The state directory: positions, open counts, and what is not delivered yet
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// How far lines are folded
    #[arg(long, value_enum)]
    pub collapse: Option<CollapseFlag>,
    /// Join the lines of stack traces
    #[arg(long, value_enum)]
    pub multiline: Option<MultilineFlag>,
    /// How long stopping may take, delivery included
    #[arg(long, value_name = "TIME", value_parser = config::parse_time)]
    pub shutdown_timeout: Option<Duration>,
    /// Where to serve /health, /metrics and the page: 127.0.0.1:9599, unix:/path, or off
    #[arg(long, value_name = "ADDR|off", value_parser = Listen::parse)]
    pub listen: Option<Listen>,
    /// Look every 5 s whether the configuration has changed, and take it over; SIGHUP does so at any time
    #[arg(long)]
    pub watch_config: bool,
    /// Finish what is there, deliver it, print the ledger, exit
    #[arg(long)]
    pub until_eof: bool,
    /// Set one key of the config, as in --set storm.first=10
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// JSON on standard output: records with --to console, and the ledger as the last line
    #[arg(long)]
    pub json: bool,
}

/// `--format`
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum FormatFlag {
    /// Find out from the first line
    Auto,
    /// Lines of text
    Plain,
    /// Docker's json-file
    Docker,
    /// Kubernetes
    Cri,
}

impl From<FormatFlag> for Format {
    fn from(flag: FormatFlag) -> Format {
        match flag {
            FormatFlag::Auto => Format::Auto,
            FormatFlag::Plain => Format::Plain,
            FormatFlag::Docker => Format::Docker,
            FormatFlag::Cri => Format::Cri,
        }
    }
}

/// `--from`
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum FromFlag {
    /// At the saved position, which wins anyway where there is one; else at the start
    Checkpoint,
    /// At the start
    Start,
    /// At the end; files that appear later from their start
    End,
}

/// `--collapse`
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum CollapseFlag {
    /// Fold nothing
    Never,
    /// Fold lines that are byte for byte the same
    Repeats,
    /// Fold those, and templates that are storming
    Storms,
    /// Fold every template
    Always,
}

impl From<CollapseFlag> for Collapse {
    fn from(flag: CollapseFlag) -> Collapse {
        match flag {
            CollapseFlag::Never => Collapse::Never,
            CollapseFlag::Repeats => Collapse::Repeats,
            CollapseFlag::Storms => Collapse::Storms,
            CollapseFlag::Always => Collapse::Always,
        }
    }
}

/// `--multiline`
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum MultilineFlag {
    /// Those of all four languages
    Auto,
    /// Java, Kotlin, Scala
    Java,
    /// Python
    Python,
    /// Go
    Go,
    /// Node
    Node,
    /// None
    Off,
}

impl MultilineFlag {
    /// What the flag asks for, with the default limits.
    pub fn options(self) -> Option<multiline::Options> {
        let kind = match self {
            MultilineFlag::Auto => Kind::Auto,
            MultilineFlag::Java => Kind::Language(Language::Java),
            MultilineFlag::Python => Kind::Language(Language::Python),
            MultilineFlag::Go => Kind::Language(Language::Go),
            MultilineFlag::Node => Kind::Language(Language::Node),
            MultilineFlag::Off => return None,
        };
        Some(multiline::Options::new(kind))
    }
}

/// Runs the sidecar.
pub fn main(args: &Args) -> anyhow::Result<Exit> {
    heap::give_back_large();
    log::begin("info");
    let sources = Sources {
        files: args.config.clone(),
        dir: args.config_dir.clone(),
        env: environment(),
        sets: args.set.iter().cloned().chain(args.to.iter().flat_map(place)).collect(),
        ..Sources::default()
    };
    let Some(mut config) = load(&sources) else { return Ok(Exit::Config) };
    apply(args, &mut config);
    let to_console = matches!(config.outputs.as_slice(), [Output::Console { .. }]);
    match life::run(args, sources, &config) {
        Ok(report) => conclude(args, &config, &report, to_console),
        Err(error @ (StartError::NoInput | StartError::Outputs(_))) => Ok(usage(error)),
        Err(StartError::Outbox { dir, source }) if matches!(*source, OpenError::InUse { .. }) => {
            complain(format_args!("error: another process uses the state directory {}\n", dir.display()));
            Ok(Exit::InUse)
        }
        Err(error) => Err(error.into()),
    }
}

/// Flags win over the config.
pub(super) fn apply(args: &Args, config: &mut Config) {
    if !args.tail.is_empty() || args.stdin {
        config.inputs.clear();
    }
    if !args.tail.is_empty() {
        let options = TailOptions {
            include: args.tail.clone(),
            exclude: args.exclude.clone(),
            ..TailOptions::default()
        };
        config.inputs.push(Input::new("tail", InputKind::Tail(options)));
    }
    if args.stdin {
        config.inputs.push(Input::new("stdin", InputKind::Stdin));
    }
    for input in &mut config.inputs {
        if let Some(format) = args.format {
            input.format = format.into();
        }
        if let Some(collapse) = args.collapse {
            input.collapse = collapse.into();
        }
        if let Some(multiline) = args.multiline {
            input.multiline = multiline.options();
        }
        if let InputKind::Tail(options) = &mut input.kind {
            options.until_eof |= args.until_eof;
            options.from = match args.from {
                Some(FromFlag::Checkpoint) => TailFrom::Checkpoint,
                Some(FromFlag::Start) => TailFrom::Start,
                Some(FromFlag::End) => TailFrom::End,
                None => options.from,
            };
        }
    }
    config.until_eof |= args.until_eof;
    if let Some(dir) = &args.state {
        config.outbox.dir = Some(dir.clone());
    }
    if let Some(listen) = &args.listen {
        config.status.listen = listen.clone();
    }
    if let Some(timeout) = args.shutdown_timeout {
        config.shutdown_timeout = timeout;
    }
    if let Some(destination) = &args.to {
        send_to(destination, args.json, config);
    }
}

/// The place that `--to` names as settings: a config that says how to send to Kafka need not say where as well.
pub(super) fn place(destination: &Destination) -> Vec<String> {
    let Destination::Kafka { brokers, topic } = destination else { return Vec::new() };
    // JSON is YAML, and quotes what YAML would take for something else, as in `[::1]:9092`.
    let brokers = serde_json::json!(brokers);
    vec![format!("outputs.kafka.brokers={brokers}"), format!("outputs.kafka.topic={topic}")]
}

pub(super) fn send_to(destination: &Destination, json: bool, config: &mut Config) {
    let output = match destination {
        Destination::Kafka { brokers, topic } => {
            // What the config says of Kafka (TLS, compression …) stays; only the place is another.
            let configured = config.outputs.iter().find_map(|output| match output {
                Output::Kafka(options) => Some(options.clone()),
                _ => None,
            });
            let mut options = configured.unwrap_or_default();
            options.brokers = brokers.clone();
            options.topic = topic.clone();
            Output::Kafka(options)
        }
        Destination::Console => Output::Console { json },
        Destination::File(path) => Output::File(FileOptions { path: path.clone() }),
        Destination::Blackhole => Output::Blackhole,
    };
    config.outputs = vec![output];
}

fn conclude(args: &Args, config: &Config, report: &Report, to_console: bool) -> anyhow::Result<Exit> {
    let printed = if args.json {
        print(format_args!("{}\n", report.to_json()))
    } else if to_console {
        complain(report);
        Ok(())
    } else {
        print(report)
    };
    for complaint in report.complaints() {
        tracing::error!("{complaint}");
    }
    // What was not delivered is told first: it matters even where nobody reads the ledger.
    printed?;
    if report.sources == 0 && args.until_eof {
        let patterns = config.inputs.iter().filter_map(|input| match &input.kind {
            InputKind::Tail(options) => Some(options.include.join(" ")),
            InputKind::Stdin => None,
        });
        tracing::error!(patterns = patterns.collect::<Vec<_>>().join(" "), "no file matched");
        return Ok(Exit::Failed);
    }
    // Who asked for the end of the files waits for it; a sidecar that is stopped while Kafka is away goes on later.
    let fine = if args.until_eof { report.is_clean() } else { report.is_safe() };
    Ok(if fine { Exit::Fine } else { Exit::Failed })
}

/// Reads what is missing into an error with context, for the other commands.
pub(super) fn open(path: &std::path::Path) -> anyhow::Result<std::fs::File> {
    std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_may_come_with_the_flag() {
        #[track_caller]
        fn check(to: &str, set: &str, brokers: &[&str], topic: &str) {
            let destination: Destination = to.parse().expect("a destination");
            let sets = std::iter::once(set.to_owned()).chain(place(&destination)).collect();
            let loaded = config::load(&Sources { sets, ..Sources::default() });
            let (mut config, _) = loaded.unwrap_or_else(|faults| panic!("{faults}"));
            send_to(&destination, false, &mut config);
            let [Output::Kafka(options)] = config.outputs.as_slice() else { panic!("{:?}", config.outputs) };
            assert_eq!((&*options.topic, options.brokers.len()), (topic, brokers.len()), "{to}");
            assert!(brokers.iter().zip(&options.brokers).all(|(want, got)| want == got), "{to}");
            assert_eq!(format!("{:?}", options.packing), "ZstdNdjson", "{to}");
        }
        let packed = "outputs.kafka.batch=zstd-ndjson";
        check("kafka://a:1,b:2/logs", packed, &["a:1", "b:2"], "logs");
        check("kafka://[::1]:9092/1", packed, &["[::1]:9092"], "1");
        check("kafka://a:1/t", "outputs.kafka={topic: u, brokers: [b:2], batch: zstd-ndjson}", &["a:1"], "t");
    }
}

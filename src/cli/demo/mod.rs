//! `squall demo`: the incident, whole. A gateway writes its storm into json-files that are rotated as dockerd does
//! it; the real sidecar follows them and ships to an in-process Kafka; the topic is read back and compared with what
//! was written, line by line.

pub mod readback;
pub mod rotate;
mod story;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use self::readback::{Readback, read_back};
use self::story::Story;
use self::writer::{Pace, Writer, Written};
use super::destination::Destination;
use super::run::send_to;
use super::{Exit, log};
use crate::config::{self, Config, Input, InputKind, Listen, Sources, TailFrom, TailOptions};
use crate::corpus::incident;
use crate::daemon::Daemon;
use crate::daemon::report::Report;
use crate::engine::alert::rule::Rule;
use crate::engine::frame::Format;

/// Show the incident, whole: a storm of 220,314 lines through the real sidecar and back out of Kafka.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many lines the gateway writes
    #[arg(long, default_value_t = incident::LINES, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    lines: u64,
    /// How long it takes to write them; the log's own clock runs for hours
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    seconds: u64,
    /// Another seed makes other lines
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Another destination than the in-process Kafka; a Kafka topic is read back
    #[arg(long, value_name = "DESTINATION")]
    to: Option<Destination>,
    /// One JSON object a line, the ledger last
    #[arg(long)]
    json: bool,
}

/// The topic on the in-process Kafka.
const TOPIC: &str = "logs";
/// A container id such as Docker makes them.
const CONTAINER: &str = "5e1f0a9c7d3b42688f21c6d0e4b7a3958c2d1e0f6a7b48395d6c7e8f90a1b2c3";
/// How long everything may take besides the writing.
const PATIENCE: Duration = Duration::from_secs(120);

/// Writes the incident, ships it, reads it back, tells it.
pub fn main(args: &Args) -> anyhow::Result<Exit> {
    log::begin("warn");
    let folder = tempfile::Builder::new().prefix("squall-demo-").tempdir().context("cannot make a folder")?;
    let kafka = Kafka::for_demo(args.to.as_ref())?;
    let config = config(folder.path(), kafka.destination(), args.json)?;
    let before = kafka.position()?;
    let mut story = Story::begin(args.json, args.lines, kafka.place())?;

    let daemon = Daemon::start(&config, || ()).context("cannot start the sidecar")?;
    let path = log_path(folder.path());
    std::fs::create_dir_all(path.parent().unwrap_or(folder.path()))
        .context("cannot make the log's folder")?;
    let pace = Pace { lines: args.lines, over: Duration::from_secs(args.seconds) };
    let writer = Writer::start(path, args.seed, pace, daemon.bytes_read());
    let written = follow(&mut story, &daemon, writer)?;
    daemon.stop();
    let report = daemon.join();

    let readback = match before {
        Some(position) => Some(read_back(&position, report.delivery.standing.acked_records, PATIENCE)?),
        None => None,
    };
    let clean = story.end(&written, &report, readback.as_ref())?;
    Ok(if clean && is_true(&written, &report, readback.as_ref()) { Exit::Fine } else { Exit::Failed })
}

/// Shows how it goes until everything written has been read.
fn follow(story: &mut Story, daemon: &Daemon, writer: Writer) -> anyhow::Result<Written> {
    let read = daemon.bytes_read();
    while !writer.is_finished() {
        story.live(&daemon.ledger(), &daemon.standing());
        std::thread::sleep(Duration::from_millis(50));
    }
    let written = writer.finish()?;
    let mut waited = Duration::ZERO;
    while read.get() < written.bytes && waited < PATIENCE {
        story.live(&daemon.ledger(), &daemon.standing());
        std::thread::sleep(Duration::from_millis(10));
        waited += Duration::from_millis(10);
    }
    Ok(written)
}

/// Whether what came back is what was written.
fn is_true(written: &Written, report: &Report, readback: Option<&Readback>) -> bool {
    let told = report.ledger.lines_verbatim + report.ledger.lines_summarised + report.ledger.lines_noticed;
    let kept = report.is_clean() && told == written.truth.lines;
    kept && readback
        .is_none_or(|back| back.lines() == written.truth.lines && back.missing(&written.calm) == 0)
}

fn config(folder: &Path, destination: Destination, json: bool) -> anyhow::Result<Config> {
    let include = folder.join("containers/*/*-json.log").display().to_string();
    let options = TailOptions { include: vec![include], from: TailFrom::Start, ..TailOptions::default() };
    let mut input = Input::new("gateway", InputKind::Tail(options));
    input.format = Format::Docker;
    let mut config = Config { inputs: vec![input], alerts: rules()?, ..Config::default() };
    config.identity.node = "demo".to_owned();
    config.identity.service = "api-gateway".to_owned();
    config.identity.instance = "demo-1".to_owned();
    send_to(&destination, json, &mut config);
    // A demonstration leaves nothing behind, and must not meet the sidecar of this machine.
    config.outbox.dir = Some(folder.join("state"));
    config.status.listen = Listen::Off;
    // The demo tells of them itself.
    config.notify.log = false;
    Ok(config)
}

/// The rules that would have told somebody of the incident.
fn rules() -> anyhow::Result<Arc<[Rule]>> {
    let groups = include_str!("../../../config/presets/retry-loop.yaml");
    let indented: String = groups.lines().map(|line| format!("  {line}\n")).collect();
    let text = format!("alerts:\n{indented}");
    let sources = Sources { inline: vec![("the demo's rules".to_owned(), text)], ..Sources::default() };
    let (config, _) = config::load(&sources).map_err(|faults| anyhow::anyhow!("{faults}"))?;
    Ok(config.alerts)
}

fn log_path(folder: &Path) -> PathBuf {
    folder.join("containers").join(CONTAINER).join(format!("{CONTAINER}-json.log"))
}

/// Where the demo ships to.
enum Kafka<'a> {
    /// Our own, in this process; it ends with this value.
    Embedded(Box<MockCluster<'static, DefaultProducerContext>>),
    /// What the user named.
    Named(&'a Destination),
}

impl Kafka<'_> {
    fn for_demo(named: Option<&Destination>) -> anyhow::Result<Kafka<'_>> {
        if let Some(destination) = named {
            return Ok(Kafka::Named(destination));
        }
        let cluster = MockCluster::new(1).context("cannot start the in-process Kafka")?;
        cluster.create_topic(TOPIC, 1, 1).context("cannot make a topic in the in-process Kafka")?;
        Ok(Kafka::Embedded(Box::new(cluster)))
    }

    fn destination(&self) -> Destination {
        match self {
            Kafka::Embedded(cluster) => {
                Destination::Kafka { brokers: vec![cluster.bootstrap_servers()], topic: TOPIC.to_owned() }
            }
            Kafka::Named(destination) => (*destination).clone(),
        }
    }

    fn place(&self) -> String {
        match self {
            Kafka::Embedded(_) => "a Kafka inside this process (librdkafka's mock cluster)".to_owned(),
            Kafka::Named(destination) => destination.to_string(),
        }
    }

    /// Where the topic ends now, so that only our own records are read back; `None` where nothing can be read back.
    fn position(&self) -> anyhow::Result<Option<readback::Position>> {
        match self.destination() {
            Destination::Kafka { brokers, topic } => {
                readback::Position::now(&brokers, &topic, PATIENCE).map(Some)
            }
            _ => Ok(None),
        }
    }
}

//! From a checked config to the two threads, everything in them that survived the last run included.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::data::{BytesRead, DataThread, Intake};
use super::deliver::DeliverThread;
use super::driver::Worker;
use super::feedback::{Feedback, Tell};
use super::notify::Notifier;
use super::reader::{Reader, Settings};
use super::ship::Ship;
use super::stop::Stop;
use super::wake::Wake;
use super::{cgroup, clock, handoff};
use crate::config::{self, Config, Input, InputKind};
use crate::engine::ledger::Ledger;
use crate::engine::record::LaneId;
use crate::engine::state::{Block, Changes};
use crate::engine::{Engine, Options};
use crate::input::docker_driver::follow::Follow;
use crate::input::stdin::Stdin;
use crate::input::tail::{self, Tail, TailError};
use crate::outbox::{self, KeptNotification, OpenError, Recovered, Store, WhenFull};
use crate::output::notify::{Courier, HttpError};
use crate::output::{Bell, Output, OutputError, Standing, blackhole, console, file, kafka, notify};
use crate::status::board::Board;
use crate::status::server::StatusError;
use crate::units::{Bytes, Now};

/// Why the daemon could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Nothing to read.
    #[error("there is nothing to read: name files with --tail, or --stdin, or inputs in the config")]
    NoInput,
    /// Nowhere to send, or several places.
    #[error("{0} outputs are configured, and this version sends to exactly one: name it with --to")]
    Outputs(usize),
    /// An input that cannot work.
    #[error("cannot follow the files of input {name}")]
    Tail {
        /// The input's name in the config.
        name: String,
        /// Why.
        source: TailError,
    },
    /// An output that cannot work.
    #[error("cannot open the output")]
    Output(#[source] OutputError),
    /// Nobody can be told of alerts.
    #[error("cannot notify")]
    Notify(#[source] HttpError),
    /// The state directory cannot be used.
    #[error("cannot use the state directory {dir}", dir = dir.display())]
    Outbox {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: Box<OpenError>,
    },
    /// Nobody says where to keep state, and this user has no home.
    #[error("there is no place for the outbox: name a state directory with --state")]
    NoStateDir,
    /// The status cannot be served where it was asked for.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// The system has no randomness or no threads left.
    #[error("cannot {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// Both threads, ready to run.
pub(super) fn threads(
    config: &Config,
    board: &Arc<Board>,
    wake: &Arc<Wake>,
    stop: &Arc<Stop>,
    worker: Option<Worker>,
) -> Result<(DataThread, DeliverThread), StartError> {
    let now = clock::now();
    let strict = worker.is_some();
    let mut readers = if strict { Vec::new() } else { readers(config, wake)? };
    let [output] = config.outputs.as_slice() else {
        return Err(StartError::Outputs(config.outputs.len()));
    };
    let opened = outbox(config, output)?;
    let keeps = opened.is_some();
    let feedback = Arc::new(Feedback::new(Arc::clone(wake)));
    let (store, dir, recovered) = match opened {
        Some((store, dir, recovered)) => (Some(store), Some(dir), recovered),
        None => (None, None, Recovered { lane: lanes()?(), next_seq: 1, ..Recovered::default() }),
    };
    tell(&recovered, &feedback);
    let way_out = open(output).map_err(StartError::Output)?;
    let bell = way_out.bell();
    let (giver, taker) = handoff::pair(move || bell.iter().for_each(Bell::ring));
    let ship = Ship::new(
        way_out,
        store,
        dir.as_deref().unwrap_or(Path::new("")).join(DEAD_LETTERS),
        [recovered.acked, recovered.next_seq],
        Arc::clone(&feedback),
    );
    let Recovered { lane, changes, positions, blocks, notifications, .. } = recovered;
    let engine = engine(config, lane, changes, now)?;
    let notifier = notifier(&config.notify, notifications, &engine, now)?;
    if let Some(worker) = worker {
        readers.push(fifos(config, worker, blocks, wake)?);
        feedback.await_commits();
    }
    let strangers = readers.iter_mut().fold(positions, |left, reader| reader.resume(left));
    if !strangers.is_empty() {
        tracing::info!(files = strangers.len(), "positions of files that no input follows now are kept");
    }
    let data = DataThread {
        intake: Intake::new(engine),
        readers,
        giver,
        epoch_bytes: epoch_bytes(output),
        keeps,
        feedback: Arc::clone(&feedback),
        wake: Arc::clone(wake),
        stop: Arc::clone(stop),
        published: Arc::new(Mutex::new(Ledger::default())),
        board: Arc::clone(board),
        read: BytesRead::default(),
        strict,
    };
    let deliver = DeliverThread {
        ship,
        taker,
        feedback,
        degrades: config.outbox.when_full == WhenFull::Degrade,
        dir,
        notifier,
        stop: Arc::clone(stop),
        published: Arc::new(Mutex::new(Standing::default())),
        board: Arc::clone(board),
    };
    Ok((data, deliver))
}

fn epoch_bytes(output: &config::Output) -> usize {
    match output {
        config::Output::Kafka(options) if options.packing != kafka::Packing::Records => {
            handoff::EPOCH_BYTES_PACKED
        }
        _ => handoff::EPOCH_BYTES,
    }
}

/// Where refused records go, in the state directory.
const DEAD_LETTERS: &str = "dead-letters.ndjson";

fn outbox_options(config: &Config) -> Result<outbox::Options, StartError> {
    let xdg = std::env::var_os("XDG_STATE_HOME");
    let home = std::env::var_os("HOME");
    let uid = rustix::process::geteuid().as_raw();
    let default = outbox::default_dir(uid, xdg.as_deref(), home.as_deref());
    if default.is_none() && config.outbox.dir.is_none() {
        return Err(StartError::NoStateDir);
    }
    Ok(config.outbox.options(default.unwrap_or_default()))
}

/// The outbox, where it is, and what is in it. Who only looks (console, blackhole) has none unless a directory is named: a look must not move the
/// positions of the sidecar on the same machine.
fn outbox(
    config: &Config,
    output: &config::Output,
) -> Result<Option<(Store, PathBuf, Recovered)>, StartError> {
    let only_looks = matches!(output, config::Output::Console { .. } | config::Output::Blackhole);
    if only_looks && config.outbox.dir.is_none() {
        return Ok(None);
    }
    let options = outbox_options(config)?;
    let opened = Store::open(&options, &destination(output), &mut lanes()?);
    let dir = options.dir;
    let (store, recovered) =
        opened.map_err(|source| StartError::Outbox { dir: dir.clone(), source: Box::new(source) })?;
    tracing::info!(dir = %dir.display(), waiting = recovered.waiting.records, "the outbox is open");
    Ok(Some((store, dir, recovered)))
}

/// The name of a destination: another one is another lane.
///
/// The brokers' addresses are no part of it. They change while the topic stays the same (a port is corrected, a broker
/// replaced, TLS switched on), and what waits must then be sent, not kept for an address that nobody uses any more. A
/// topic of the same name in another cluster takes over what waits.
fn destination(output: &config::Output) -> String {
    match output {
        config::Output::Kafka(options) => format!("kafka:{}", options.topic),
        config::Output::Console { .. } => "console".to_owned(),
        config::Output::File(options) => format!("file:{}", options.path.display()),
        config::Output::Blackhole => "blackhole".to_owned(),
    }
}

/// What the outbox met when it was opened is said in our log, and in notices.
fn tell(recovered: &Recovered, feedback: &Feedback) {
    for lane in &recovered.other_lanes {
        tracing::warn!(
            destination = lane.destination,
            records = lane.waiting.records,
            "records wait in the outbox for another destination; they are kept"
        );
    }
    for mishap in &recovered.mishaps {
        tracing::error!("{mishap}");
        feedback.tell(Tell::from(mishap));
    }
}

fn open(output: &config::Output) -> Result<Output, OutputError> {
    Ok(match output {
        config::Output::Kafka(options) => Output::Kafka(kafka::Kafka::open(options)?),
        config::Output::Console { json: true } => {
            Output::Console(console::Console::stdout(console::Form::Json))
        }
        config::Output::Console { json: false } => {
            Output::Console(console::Console::stdout(console::Form::human()))
        }
        config::Output::File(options) => Output::File(file::File::open(options)?),
        config::Output::Blackhole => Output::Blackhole(blackhole::Blackhole::default()),
    })
}

fn engine(config: &Config, lane: LaneId, changes: Changes, now: Now) -> Result<Engine, StartError> {
    let options = Options {
        storm: config.storm.clone(),
        loops: config.loops.clone(),
        // Half for the engine; the rest is for what is on its way to the output, buffers, and the program itself.
        memory_max: Bytes(cgroup::memory_max(config.memory_max).0 / 2),
        lane,
        seed: u64::from_ne_bytes(random()?),
        identity: config.identity.clone(),
        alerts: Arc::clone(&config.alerts),
        alerts_topic: alerts_topic(config),
        notifies: config.notify.log || !config.notify.receivers.is_empty(),
        ..Options::default()
    };
    let (engine, lost) = Engine::restore(options, changes, now);
    lost.iter().for_each(|what| tracing::warn!("not everything of the last run was understood: {what}"));
    Ok(engine)
}

/// Who tells people of alerts, with what is left to tell from the last run.
fn notifier(
    options: &notify::Options,
    kept: Vec<KeptNotification>,
    engine: &Engine,
    now: Now,
) -> Result<Notifier, StartError> {
    let mut couriers = Vec::new();
    for receiver in &options.receivers {
        let seed = u64::from_ne_bytes(random()?);
        let courier = Courier::new(receiver.clone(), options, seed).map_err(StartError::Notify)?;
        couriers.push(courier);
    }
    let firing = engine.alerts_firing().collect();
    let action = "start a thread";
    Notifier::start(couriers, options, kept, &firing, now)
        .map_err(|source| StartError::System { action, source })
}

/// Gives lane ids, as many as are asked for and each of its own: one draw of the system's randomness, counted on.
pub(super) fn lanes() -> Result<impl FnMut() -> LaneId, StartError> {
    let mut next = u128::from_ne_bytes(random()?);
    Ok(move || {
        next = next.wrapping_add(1);
        LaneId(next)
    })
}

fn random<const N: usize>() -> Result<[u8; N], StartError> {
    let mut bytes = [0; N];
    // Up to 256 bytes arrive whole (getrandom(2)).
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| StartError::System { action: "get random bytes", source: error.into() })?;
    Ok(bytes)
}

fn readers(config: &Config, wake: &Arc<Wake>) -> Result<Vec<Reader>, StartError> {
    if config.inputs.is_empty() {
        return Err(StartError::NoInput);
    }
    config.inputs.iter().map(|input| reader(config, input, wake)).collect()
}

fn reader(config: &Config, input: &Input, wake: &Arc<Wake>) -> Result<Reader, StartError> {
    let settings = Settings {
        node: config.identity.node.clone(),
        format: input.format,
        collapse: input.collapse,
        labels: input.labels.clone(),
        line: config.line_limits(input),
        ends: matches!(&input.kind, InputKind::Tail(options) if options.until_eof),
    };
    let wake = Arc::clone(wake);
    match &input.kind {
        InputKind::Tail(options) => {
            // What we write ourselves is no input: it would grow by being read.
            let own = config.outputs.iter().filter_map(|output| match output {
                config::Output::File(options) => Some(options.path.clone()),
                _ => None,
            });
            let options = tail::Options { own: own.collect(), ..options.clone() };
            let tail = Tail::new(options, move || wake.raise())
                .map_err(|source| StartError::Tail { name: input.name.clone(), source })?;
            Ok(Reader::tail(tail, settings))
        }
        InputKind::Stdin => {
            let action = "read standard input";
            let stdin = Stdin::new(std::io::stdin(), move || wake.raise())
                .map_err(|source| StartError::System { action, source })?;
            Ok(Reader::stdin(stdin, settings))
        }
    }
}

/// Where a copy of each alert goes. The topic of all has them already.
fn alerts_topic(config: &Config) -> Option<Arc<str>> {
    match config.outputs.as_slice() {
        [config::Output::Kafka(kafka)] => {
            kafka.alerts_topic.as_deref().filter(|topic| *topic != kafka.topic).map(Arc::from)
        }
        _ => None,
    }
}

/// All containers that dockerd tells the supervisor of.
fn fifos(
    config: &Config,
    worker: Worker,
    blocks: Vec<Block>,
    wake: &Arc<Wake>,
) -> Result<Reader, StartError> {
    let Worker { link, registry } = worker;
    let wake = Arc::clone(wake);
    let orphaned = || {
        // Its successor starts another worker, which cannot have the outbox while this one lives. What is not committed is
        // still in the FIFOs.
        tracing::error!("the supervisor is gone");
        std::process::exit(1);
    };
    let action = "read FIFOs";
    let follow = Follow::new(link, registry, blocks, move || wake.raise(), orphaned)
        .map_err(|source| StartError::System { action, source })?;
    // Containers share the settings that an input without any has.
    let input = Input::new("docker", InputKind::Stdin);
    let settings = Settings {
        node: config.identity.node.clone(),
        line: config.line_limits(&input),
        ..Settings::default()
    };
    Ok(Reader::fifos(follow, settings))
}

/// Whether the inputs end by themselves and soon, so that somebody is waiting for the end. A pipe does not: while
/// nothing leaves, its writer waits.
pub(super) fn inputs_end(config: &Config) -> bool {
    let ends = |input: &Input| matches!(&input.kind, InputKind::Tail(options) if options.until_eof);
    config.until_eof || config.inputs.iter().all(ends)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TailOptions;

    #[test]
    fn a_pipe_is_not_given_up_while_its_writer_lives() {
        #[track_caller]
        fn check(kinds: &[InputKind], until_eof: bool, want: bool) {
            let inputs = kinds.iter().map(|kind| Input::new("x", kind.clone())).collect();
            assert_eq!(inputs_end(&Config { inputs, until_eof, ..Config::default() }), want, "{kinds:?}");
        }
        let tail = |until_eof| InputKind::Tail(TailOptions { until_eof, ..TailOptions::default() });
        check(&[tail(true)], false, true);
        check(&[tail(false)], false, false);
        check(&[InputKind::Stdin], false, false);
        check(&[tail(true), InputKind::Stdin], false, false);
        check(&[InputKind::Stdin], true, true);
    }
}

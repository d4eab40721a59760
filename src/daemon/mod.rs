//! The wiring: threads, hand-offs, the clock, start and stop. The only module that knows all others.
//!
//! ```text
//!  data thread: CPU                         output thread
//!  wait → read → engine.push(now) ──batch─► offer → librdkafka ─► delivery reports
//!    ▲ sleeps until min(input, deadline)  ◄─empty batch──┘
//! ```
//! Every queue between them is bounded; the data thread never talks to the network, and waits for the output only
//! when its batches are full.

pub mod cgroup;
pub mod clock;
pub mod data;
pub mod deliver;
pub mod handoff;
pub mod reader;
pub mod report;
pub mod stop;
pub mod wake;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::config::{self, Config, Input, InputKind};
use crate::engine::ledger::Ledger;
use crate::engine::record::LaneId;
use crate::engine::{Engine, Options};
use crate::input::stdin::Stdin;
use crate::input::tail::{Tail, TailError};
pub use crate::output::Standing;
use crate::output::{Output, OutputError, blackhole, console, file, kafka};
use crate::units::{Bytes, Monotonic};

pub use self::data::BytesRead;
use self::data::{DataEnd, DataThread, Intake};
use self::deliver::{DeliverEnd, DeliverThread};
use self::reader::{Reader, Settings};
use self::report::Report;
use self::stop::Stop;
use self::wake::Wake;

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
    /// The system has no randomness or no threads left.
    #[error("cannot {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// A running sidecar.
pub struct Daemon {
    stop: Arc<Stop>,
    ledger: Arc<Mutex<Ledger>>,
    standing: Arc<Mutex<Standing>>,
    read: BytesRead,
    data: JoinHandle<DataEnd>,
    deliver: JoinHandle<DeliverEnd>,
    started: Monotonic,
}

impl Daemon {
    /// Starts the threads. `on_end` is called by the last one when it ends.
    pub fn start(config: &Config, on_end: impl FnOnce() + Send + 'static) -> Result<Daemon, StartError> {
        let started = clock::now().arrival;
        let wake = Arc::new(Wake::default());
        let stop = Arc::new(Stop::new(config.shutdown_timeout, Arc::clone(&wake)));
        let readers = readers(config, &wake)?;
        if inputs_end(config) {
            stop.await_end();
        }
        let [output] = config.outputs.as_slice() else {
            return Err(StartError::Outputs(config.outputs.len()));
        };
        let output = open(output).map_err(StartError::Output)?;
        let (giver, taker) = handoff::pair();
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let read = BytesRead::default();
        let standing = Arc::new(Mutex::new(Standing::default()));
        let data = DataThread {
            intake: Intake::new(engine(config)?, giver),
            readers,
            wake,
            stop: Arc::clone(&stop),
            published: Arc::clone(&ledger),
            read: read.clone(),
        };
        let deliver = DeliverThread {
            output,
            taker,
            stop: Arc::clone(&stop),
            published: Arc::clone(&standing),
            given_up: false,
        };
        Ok(Daemon {
            stop,
            ledger,
            standing,
            read,
            data: spawn("squall-data", move || data.run())?,
            deliver: spawn("squall-output", move || {
                let end = deliver.run();
                on_end();
                end
            })?,
            started,
        })
    }

    /// Asks the threads to end, within the config's time. False when that was asked before.
    pub fn stop(&self) -> bool {
        self.stop.request(clock::now().arrival)
    }

    /// The books of the last second.
    pub fn ledger(&self) -> Ledger {
        *self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the output stood a moment ago.
    pub fn standing(&self) -> Standing {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How much has been read, now and later.
    pub fn bytes_read(&self) -> BytesRead {
        self.read.clone()
    }

    /// Waits for the end.
    pub fn join(self) -> Report {
        // With `panic = "abort"` a thread that panicked takes the process along, so there is always an end to join.
        let DataEnd { ledger, sources, broken_inputs } = self.data.join().unwrap_or_default();
        let delivery = self.deliver.join().unwrap_or_default();
        let seconds = clock::now().arrival.since(self.started).as_secs_f64();
        Report { ledger, delivery, sources, broken_inputs, seconds }
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, StartError> {
    let action = "start a thread";
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|source| StartError::System { action, source })
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

fn engine(config: &Config) -> Result<Engine, StartError> {
    Ok(Engine::new(Options {
        storm: config.storm.clone(),
        // Half for the engine; the rest is for what is on its way to the output, buffers, and the program itself.
        memory_max: Bytes(cgroup::memory_max(config.memory_max).0 / 2),
        lane: LaneId(u128::from_ne_bytes(random()?)),
        seed: u64::from_ne_bytes(random()?),
        identity: config.identity.clone(),
        ..Options::default()
    }))
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
            let tail = Tail::new(options.clone(), move || wake.raise())
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

/// Whether the inputs end by themselves and soon, so that somebody is waiting for the end. A pipe does not: while
/// nothing leaves, its writer waits.
fn inputs_end(config: &Config) -> bool {
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

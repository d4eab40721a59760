//! The wiring: threads, hand-offs, the clock, start and stop. The only module that knows all others.
//!
//! ```text
//!  data thread: CPU                           output thread: disk, then network
//!  wait → read → engine.push(now) ──epoch──►  commit → offer → librdkafka ─► delivery reports
//!    ▲ sleeps until min(input, deadline)  ◄─empty epochs──┘  ▲     └─► acknowledge
//!    └──────── notices to tell, pressure ────────────────────┘
//! ```
//! Every queue between them is bounded; the data thread never talks to the network, and waits for the output thread
//! only when its epochs are full. Nothing is sent before its epoch is committed.

pub mod bounds;
pub mod cgroup;
pub mod clock;
mod containers;
pub mod data;
pub mod deliver;
pub mod driver;
pub mod epoch;
pub mod feedback;
pub mod handoff;
pub mod heap;
mod mend;
pub mod notify;
mod publish;
pub mod reader;
mod refused;
pub mod report;
mod retry;
pub mod ship;
mod start;
pub mod stop;
mod sync;
#[cfg(test)]
mod tests;
pub mod wake;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::config::{Config, parse_time};
use crate::engine::ledger::Ledger;
pub use crate::output::Standing;
use crate::status::Tools;
use crate::status::board::{About, Board, Stage};
use crate::status::push::Pusher;
use crate::status::server::Server;
use crate::units::Monotonic;

use self::containers::{Containers, Shown};
pub use self::data::BytesRead;
use self::data::DataEnd;
use self::deliver::DeliverEnd;
use self::driver::Worker;
use self::report::Report;
pub use self::start::StartError;
use self::stop::Stop;
use self::wake::Wake;

/// A running sidecar.
pub struct Daemon {
    stop: Arc<Stop>,
    ledger: Arc<Mutex<Ledger>>,
    standing: Arc<Mutex<Standing>>,
    read: BytesRead,
    keeps: bool,
    board: Arc<Board>,
    /// Pushes once more when the threads have ended.
    pusher: Option<Pusher>,
    /// Ends last.
    server: Option<Server>,
    data: JoinHandle<DataEnd>,
    deliver: JoinHandle<DeliverEnd>,
    started: Monotonic,
}

impl Daemon {
    /// Starts the threads. `on_end` is called by the last one when it ends.
    ///
    /// # Errors
    /// When the config asks for what cannot be, or the state directory cannot be used.
    pub fn start(config: &Config, on_end: impl FnOnce() + Send + 'static) -> Result<Daemon, StartError> {
        Daemon::start_with(config, None, on_end)
    }

    /// Starts the threads of a logging driver's worker: it reads no inputs but what its supervisor hands over.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_worker(
        config: &Config,
        worker: Worker,
        on_end: impl FnOnce() + Send + 'static,
    ) -> Result<Daemon, StartError> {
        Daemon::start_with(config, Some(worker), on_end)
    }

    fn start_with(
        config: &Config,
        worker: Option<Worker>,
        on_end: impl FnOnce() + Send + 'static,
    ) -> Result<Daemon, StartError> {
        let started = clock::now().arrival;
        let wake = Arc::new(Wake::default());
        let stop = Arc::new(Stop::new(config.shutdown_timeout, Arc::clone(&wake)));
        if worker.is_none() && start::inputs_end(config) {
            stop.await_end();
        }
        let board = Arc::new(board(config, &wake));
        // Before the outbox is opened, which may take seconds: until then it is alive and not ready.
        let server = Server::start(&config.status, &board, Tools { clock: clock::now, parse_time })?;
        let (mut data, deliver) = start::threads(config, &board, &wake, &stop, worker)?;
        let pusher = config.pushgateway.as_ref();
        let shown = if server.is_some() || pusher.is_some() { Shown::Yes } else { Shown::No };
        data.intake.containers = Containers::watch(config, shown, &board, &wake)?;
        let pusher = pusher.map(|options| Pusher::start(options, &board, clock::now)).transpose();
        let pusher = pusher.map_err(|source| StartError::System { action: "start a thread", source })?;
        Ok(Daemon {
            keeps: data.keeps,
            board,
            pusher,
            server,
            stop,
            ledger: Arc::clone(&data.published),
            standing: Arc::clone(&deliver.published),
            read: data.read.clone(),
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
        self.board.reach(Stage::Stopping);
        self.stop.request(clock::now().arrival)
    }

    /// Asks the threads to end as they are, for another daemon that goes on right away: windows stay open, and what is not
    /// delivered `within` that time waits in the outbox. Only where [`Daemon::keeps`] is true, and no pipe is read. False
    /// when stopping was asked for before.
    pub fn suspend(&self, within: Duration) -> bool {
        self.board.reach(Stage::Stopping);
        self.stop.suspend(clock::now().arrival, within)
    }

    /// Whether all that is known lies in an outbox.
    pub fn keeps(&self) -> bool {
        self.keeps
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
        let DataEnd { ledger, sources, broken_inputs, rereads } = self.data.join().unwrap_or_default();
        let delivery = self.deliver.join().unwrap_or_default();
        let seconds = clock::now().arrival.since(self.started).as_secs_f64();
        // The last numbers are on the board.
        drop(self.pusher);
        drop(self.server);
        Report { ledger, delivery, sources, broken_inputs, rereads, seconds }
    }
}

fn board(config: &Config, wake: &Arc<Wake>) -> Board {
    let wake = Arc::clone(wake);
    let identity = &config.identity;
    let about = About {
        version: env!("CARGO_PKG_VERSION"),
        instance: identity.instance.clone(),
        node: identity.node.clone(),
        service: identity.service.clone(),
        started: clock::now(),
    };
    Board::new(about, move || wake.raise())
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

//! The life of a running squall: signals, and what they lead to.
//!
//! The first SIGTERM or SIGINT stops in order, the second at once. SIGHUP exchanges the config: the threads end as they are,
//! with every window open, and others go on from the outbox. In a worker of the logging driver SIGHUP does the first half of
//! that; the other half is its supervisor's.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::reload::Reload;
use super::run::Args;
use crate::config::{Config, Sources};
use crate::daemon::report::Report;
use crate::daemon::ship::explain;
use crate::daemon::{Daemon, StartError, clock};

/// How long the threads may take beyond the stop's time, which they keep themselves unless a write to a pipe that nobody
/// reads holds them. Longer than tearing a Kafka producer down; with the default 8 s within Docker's 10 s.
const GRACE: Duration = Duration::from_millis(1500);
/// A second signal that comes sooner is the first one once more: `timeout(1)` sends it to its child and to the child's group.
const SAME_SIGNAL: Duration = Duration::from_millis(250);
/// How long the same destination may take to confirm what is on its way before the config is exchanged. What it does not
/// confirm in that time is sent again, with the same ids.
const SAME_OUTPUT: Duration = Duration::from_secs(1);

/// The same where containers wait for the next process.
const BEFORE_ANOTHER: Duration = Duration::from_millis(250);

/// Runs until the end, with other configs in between.
///
/// # Errors
/// As [`Daemon::start`].
pub(super) fn run(args: &Args, sources: Sources, config: &Config) -> Result<Report, StartError> {
    runtime()?.block_on(async {
        let mut signals = Signals::new()?;
        let mut reload = Reload::new(args, sources, config).map_err(unheard)?;
        let mut config = config.clone();
        let mut life = Life::begin(|on_end| Daemon::start(&config, on_end))?;
        loop {
            let Some(next) = life.last(&mut signals, &config, Some(&mut reload)).await else {
                return Ok(life.daemon.join());
            };
            life = exchange(life, &mut config, next).await?;
        }
    })
}

/// Runs until the end, which SIGHUP makes one from which another process goes on.
///
/// # Errors
/// As those of `start`.
pub(super) fn until_end(
    config: &Config,
    start: impl FnOnce(Box<dyn FnOnce() + Send>) -> Result<Daemon, StartError>,
) -> Result<Report, StartError> {
    runtime()?.block_on(async {
        let mut signals = Signals::new()?;
        let mut hangup = signal(SignalKind::hangup()).map_err(unheard)?;
        let mut life = Life::begin(start)?;
        let is_renewed = tokio::select! {
            _ = life.last(&mut signals, config, None) => false,
            _ = hangup.recv() => true,
        };
        if is_renewed {
            life.suspend(BEFORE_ANOTHER).await;
        }
        Ok(life.daemon.join())
    })
}

/// Ends a life as it is and begins one with the next config; with the one before where that is not possible.
async fn exchange(mut life: Life, config: &mut Config, next: Config) -> Result<Life, StartError> {
    let goes_elsewhere = next.outputs != config.outputs;
    let within = if goes_elsewhere { config.shutdown_timeout } else { SAME_OUTPUT };
    life.suspend(within).await;
    let kept = life.daemon.join().delivery.kept.filter(|kept| goes_elsewhere && kept.records > 0);
    if let Some(kept) = kept {
        tracing::warn!(
            "{} records ({} lines) are for the destination before, which does not take them: they wait in {} until squall \
             sends there again",
            kept.records,
            kept.lines,
            kept.dir.display()
        );
    }
    match Life::begin(|on_end| Daemon::start(&next, on_end)) {
        Ok(begun) => {
            *config = next;
            tracing::info!("the config is exchanged");
            Ok(begun)
        }
        Err(error) => {
            tracing::error!("the config is as it was, for the new one cannot be used: {}", explain(&error));
            Life::begin(|on_end| Daemon::start(config, on_end))
        }
    }
}

/// Threads that run, and how one hears of their end.
struct Life {
    daemon: Daemon,
    end: oneshot::Receiver<()>,
}

impl Life {
    fn begin(
        start: impl FnOnce(Box<dyn FnOnce() + Send>) -> Result<Daemon, StartError>,
    ) -> Result<Life, StartError> {
        let (ended, end) = oneshot::channel();
        let daemon = start(Box::new(move || {
            // Nobody listens any more when the receiver is gone.
            let _ = ended.send(());
        }))?;
        Ok(Life { daemon, end })
    }

    /// Ends it as it is.
    async fn suspend(&mut self, within: Duration) {
        self.daemon.suspend(within);
        if tokio::time::timeout(within + GRACE, &mut self.end).await.is_err() {
            blocked(&self.daemon);
        }
    }

    /// Waits for its end, or for a config to go on with.
    async fn last(
        &mut self,
        signals: &mut Signals,
        config: &Config,
        mut reload: Option<&mut Reload<'_>>,
    ) -> Option<Config> {
        let mut overdue = Box::pin(tokio::time::sleep(Duration::MAX));
        let mut asked = None;
        loop {
            let hung_up = async {
                match &mut reload {
                    Some(reload) => reload.wait().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = &mut self.end => return None,
                () = &mut overdue => blocked(&self.daemon),
                by_signal = hung_up, if asked.is_none() => {
                    let keeps = self.daemon.keeps();
                    let next = reload.as_mut().and_then(|reload| reload.look(config, by_signal, keeps));
                    if next.is_some() {
                        return next;
                    }
                    continue;
                }
                _ = signals.terminate.recv() => {}
                _ = signals.interrupt.recv() => {}
            }
            // The daemon may have stopped by itself before; that is not the user's first signal.
            let now = clock::now().arrival;
            if let Some(at) = asked {
                if now.since(at) < SAME_SIGNAL {
                    continue;
                }
                tracing::error!("stopped at once by a second signal, what was not delivered is lost");
                std::process::exit(1);
            }
            asked = Some(now);
            tracing::info!(within = ?config.shutdown_timeout, "stopping");
            self.daemon.stop();
            overdue = Box::pin(tokio::time::sleep(config.shutdown_timeout + GRACE));
        }
    }
}

/// Nobody reads what is written, and the threads cannot end.
fn blocked(daemon: &Daemon) -> ! {
    let delivered = daemon.standing().acked_records;
    tracing::error!("the output blocks: records after the first {delivered} were not delivered");
    std::process::exit(1);
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Signals, StartError> {
        let of = |kind| signal(kind).map_err(unheard);
        Ok(Signals { terminate: of(SignalKind::terminate())?, interrupt: of(SignalKind::interrupt())? })
    }
}

fn unheard(source: io::Error) -> StartError {
    StartError::System { action: "wait for signals", source }
}

fn runtime() -> Result<tokio::runtime::Runtime, StartError> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|source| StartError::System { action: "start the runtime", source })
}

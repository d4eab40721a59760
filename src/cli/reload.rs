//! Whether there is another config to go on with.
//!
//! It is read from the same files, environment and flags as at the start, and checked first: one with faults is told, and
//! changes nothing.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::run::{Args, apply};
use crate::config::{self, Config, InputKind, Sources};

/// How often the files are read with `--watch-config`. Reading them again, and not asking when they changed, sees what
/// network file systems and Kubernetes' links do to them.
const EVERY: Duration = Duration::from_secs(5);

/// How many faults are told; `squall validate` tells all, and draws them.
const FAULTS: usize = 5;

/// Where the config comes from, and what was told of it.
pub(super) struct Reload<'a> {
    args: &'a Args,
    sources: Sources,
    hangup: Signal,
    /// The last one that was good: what is seen again is no news.
    last: Config,
    /// The last thing that was wrong, so that it is told once.
    told: Option<String>,
}

impl<'a> Reload<'a> {
    /// Listens to SIGHUP from now on; to be called in a runtime. `config` is the one that the start has.
    pub(super) fn new(args: &'a Args, sources: Sources, config: &Config) -> io::Result<Reload<'a>> {
        Ok(Reload { args, sources, hangup: signal(SignalKind::hangup())?, last: config.clone(), told: None })
    }

    /// Waits until it is worth a look; says whether somebody has asked for that.
    pub(super) async fn wait(&mut self) -> bool {
        let asked = self.hangup.recv();
        if self.args.watch_config {
            return tokio::time::timeout(EVERY, asked).await.is_ok();
        }
        asked.await;
        true
    }

    /// The config as it is now, where it is good, another one, and can be gone on with.
    pub(super) fn look(&mut self, current: &Config, by_signal: bool, keeps: bool) -> Option<Config> {
        match self.read(current, keeps) {
            Ok(next) if next == *current => {
                if by_signal || self.told.is_some() {
                    tracing::info!("the config is as it was");
                }
                self.told = None;
                None
            }
            // It was tried and could not be used; only a person knows whether it can now.
            Ok(next) if next == self.last && !by_signal => None,
            Ok(next) => {
                self.told = None;
                self.last = next.clone();
                Some(next)
            }
            Err(fault) => {
                if by_signal || self.told.as_ref() != Some(&fault) {
                    tracing::error!("the config stays as it was: {fault}");
                }
                self.told = Some(fault);
                None
            }
        }
    }

    fn read(&self, current: &Config, keeps: bool) -> Result<Config, String> {
        let (mut next, warnings) = config::load(&self.sources).map_err(|faults| {
            faults.iter().take(FAULTS).map(|fault| fault.line()).collect::<Vec<_>>().join("; ")
        })?;
        apply(self.args, &mut next);
        if next == *current {
            return Ok(next);
        }
        let reads_a_pipe =
            |config: &Config| config.inputs.iter().any(|input| matches!(input.kind, InputKind::Stdin));
        if !keeps {
            return Err("there is no state directory (--state) from which it could be gone on".to_owned());
        }
        if reads_a_pipe(current) || reads_a_pipe(&next) {
            return Err("standard input is read, and what is under way in a pipe would be lost".to_owned());
        }
        if next.inputs.is_empty() || next.outputs.len() != 1 {
            return Err("the new one needs inputs, and exactly one output".to_owned());
        }
        for warning in warnings {
            tracing::warn!("{}", warning.line());
        }
        Ok(next)
    }
}

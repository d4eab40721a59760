//! Whether there is another config to go on with.
//!
//! It is read from the same files, environment and flags as at the start, and checked first: one with faults is told, and
//! changes nothing.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::run::{Args, apply};
use crate::config::{self, Config, InputKind, Sources, Warning};

/// How often the files are read with `--watch-config`. Reading them again, and not asking when they changed, sees what
/// network file systems and Kubernetes' links do to them.
pub(super) const EVERY: Duration = Duration::from_secs(5);

/// How many faults are told; `squall validate` tells all, and draws them.
const FAULTS: usize = 5;

/// What was told of configs that were read again.
pub(super) struct News {
    /// The last one that was good: what is seen again is no news.
    last: Config,
    /// The last thing that was wrong, so that it is told once.
    told: Option<String>,
}

impl News {
    pub(super) fn new(config: &Config) -> News {
        News { last: config.clone(), told: None }
    }

    /// The config as it is now, where it is good and another one.
    pub(super) fn look(
        &mut self,
        current: &Config,
        by_signal: bool,
        read: impl FnOnce() -> Result<Read, String>,
    ) -> Option<Config> {
        match read() {
            Ok((next, _)) if next == *current => {
                if by_signal || self.told.is_some() {
                    tracing::info!("the config is as it was");
                }
                self.told = None;
                None
            }
            // It was tried and could not be used; only a person knows whether it can now.
            Ok((next, _)) if next == self.last && !by_signal => None,
            Ok((next, warnings)) => {
                warnings.iter().for_each(|warning| tracing::warn!("{}", warning.line()));
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
}

/// A config and what is odd in it.
pub(super) type Read = (Config, Vec<Warning>);

/// Reads a config again.
///
/// # Errors
/// The first of its faults, in one line.
pub(super) fn read(sources: &Sources) -> Result<Read, String> {
    config::load(sources)
        .map_err(|faults| faults.iter().take(FAULTS).map(|fault| fault.line()).collect::<Vec<_>>().join("; "))
}

/// Where the config of `squall run` comes from.
pub(super) struct Reload<'a> {
    args: &'a Args,
    sources: Sources,
    hangup: Signal,
    news: News,
}

impl<'a> Reload<'a> {
    /// Listens to SIGHUP from now on; to be called in a runtime. `config` is the one that the start has.
    pub(super) fn new(args: &'a Args, sources: Sources, config: &Config) -> io::Result<Reload<'a>> {
        Ok(Reload { args, sources, hangup: signal(SignalKind::hangup())?, news: News::new(config) })
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
        let Reload { args, sources, news, .. } = self;
        news.look(current, by_signal, || next(args, sources, current, keeps))
    }
}

fn next(args: &Args, sources: &Sources, current: &Config, keeps: bool) -> Result<Read, String> {
    let (mut next, warnings) = read(sources)?;
    apply(args, &mut next);
    if next == *current {
        return Ok((next, warnings));
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
    Ok((next, warnings))
}

//! `squall driver`: Docker's logging driver, as supervisor and, started by it, as worker.

use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use rustix::net::{AddressFamily, sockopt};

use super::destination::Destination;
use super::life::until_end;
use super::reload::{self, News};
use super::run::{place, send_to};
use super::validate::{check, environment, say};
use super::{Exit, log, usage};
use crate::config::{self, Config, Durability, Listen, Sources, WhenFull};
use crate::daemon::driver::{Listening, Options, Registry, Settings, Shared, Worker, supervisor};
use crate::daemon::{Daemon, StartError, heap};
use crate::outbox;

/// Serve dockerd as a logging driver.
///
/// This is the entry point of the plugin; it can also be run by itself, where dockerd looks for plugins.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_line_help = false)]
pub struct Args {
    /// Configuration files, merged by key; later ones win
    #[arg(short, long = "config", value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// A folder of configuration files (*.yaml, *.yml), merged after --config in the order of their names
    #[arg(long, value_name = "DIR")]
    pub config_dir: Option<PathBuf>,
    /// The socket over which dockerd finds the driver; its name is the driver's. Where standard input is a listening
    /// socket, as systemd gives it (`StandardInput=socket`), that one is used
    #[arg(long, value_name = "PATH", default_value = "/run/docker/plugins/squall.sock")]
    pub socket: PathBuf,
    /// Where records go: kafka://HOST:PORT[,HOST:PORT…]/TOPIC, console, file:PATH or blackhole
    #[arg(long, value_name = "DESTINATION")]
    pub to: Option<Destination>,
    /// The state directory: FIFOs, open counts, and what is not delivered yet
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// How long stopping may take, delivery included
    #[arg(long, value_name = "TIME", value_parser = config::parse_time)]
    pub shutdown_timeout: Option<Duration>,
    /// Set one key of the config, as in --set storm.first=10
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Look every 5 s whether the configuration has changed, and take it over; SIGHUP does so at any time
    #[arg(long)]
    pub watch_config: bool,
    /// Be the worker of the supervisor that is standard input
    #[arg(long, hide = true)]
    pub worker: bool,
}

/// Runs the driver.
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
    let Some((mut config, warnings)) = check(&sources) else { return Ok(Exit::Config) };
    // Once is enough: the worker would say it again at each start.
    if !args.worker {
        say(&warnings);
    }
    let Some(state) = settle(args, &mut config) else { return Ok(usage(StartError::NoStateDir)) };
    if config.outputs.len() != 1 {
        return Ok(usage(StartError::Outputs(config.outputs.len())));
    }
    let registry = state.join("fifos");
    if args.worker {
        return work(&config, registry);
    }
    let options = Options {
        socket: listening(args)?,
        registry,
        worker: std::env::args_os().skip(1).chain(["--worker".into()]).collect(),
        settings: settings(args, &config),
        reread: reread(args.clone(), sources, config),
        watch: args.watch_config.then_some(reload::EVERY),
    };
    supervisor::run(options).context("the supervisor cannot go on")?;
    Ok(Exit::Fine)
}

/// What the supervisor takes from the config.
fn settings(args: &Args, config: &Config) -> Settings {
    Settings { shared: Shared::new(config, &read_from(args)), shutdown_timeout: config.shutdown_timeout }
}

/// Reads the config again, for as long as the supervisor lives.
fn reread(args: Args, sources: Sources, mut current: Config) -> Box<dyn FnMut(bool) -> Option<Settings>> {
    let mut news = News::new(&current);
    Box::new(move |by_signal| {
        let next = news.look(&current, by_signal, || {
            let (mut next, warnings) = reload::read(&sources)?;
            if settle(&args, &mut next).is_none() {
                return Err(StartError::NoStateDir.to_string());
            }
            match next.outputs.len() {
                1 => Ok((next, warnings)),
                outputs => Err(StartError::Outputs(outputs).to_string()),
            }
        })?;
        current = next;
        Some(settings(&args, &current))
    })
}

/// Flags win over the config. Returns the state directory.
fn settle(args: &Args, config: &mut Config) -> Option<PathBuf> {
    if let Some(timeout) = args.shutdown_timeout {
        config.shutdown_timeout = timeout;
    }
    if let Some(destination) = &args.to {
        send_to(destination, true, config);
    }
    let xdg = std::env::var_os("XDG_STATE_HOME");
    let uid = rustix::process::geteuid().as_raw();
    let default = || outbox::default_dir(uid, xdg.as_deref(), std::env::var_os("HOME").as_deref());
    let state = args.state.clone().or_else(|| config.outbox.dir.clone()).or_else(default)?;
    config.outbox.dir = Some(state.clone());
    // The plugin is in the host's network, and others may use that port.
    if config.status.listen == Listen::Default {
        config.status.listen = Listen::Off;
    }
    // After a power loss the FIFOs are gone, whatever was synced.
    config.outbox.durability = Durability::Process;
    // A FIFO that is not read stops the container behind it.
    config.outbox.when_full = WhenFull::Degrade;
    Some(state)
}

/// A socket that is inherited wins over the flag, which has a default.
fn listening(args: &Args) -> anyhow::Result<Listening> {
    let stdin = std::io::stdin();
    // An error says that it is no socket.
    let is_ours = sockopt::socket_acceptconn(&stdin).unwrap_or(false)
        && sockopt::socket_domain(&stdin).is_ok_and(|domain| domain == AddressFamily::UNIX);
    if !is_ours {
        return Ok(Listening::At(args.socket.clone()));
    }
    let socket =
        stdin.as_fd().try_clone_to_owned().context("the socket that is standard input cannot be used")?;
    Ok(Listening::Inherited(socket))
}

/// Where the config comes from, as far as that can be named.
fn read_from(args: &Args) -> Vec<PathBuf> {
    args.config.iter().chain(&args.config_dir).cloned().collect()
}

fn work(config: &Config, registry: PathBuf) -> anyhow::Result<Exit> {
    let link = std::io::stdin().as_fd().try_clone_to_owned().context("the supervisor is not there")?;
    let registry = Registry::open(registry).context("the list of FIFOs cannot be read")?;
    let worker = Worker { link, registry };
    let report = until_end(config, |on_end| Daemon::start_worker(config, worker, on_end))?;
    for complaint in report.complaints() {
        tracing::error!("{complaint}");
    }
    Ok(if report.is_safe() { Exit::Fine } else { Exit::Failed })
}

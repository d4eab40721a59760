//! `squall validate`: every fault of a config, each with its place.

use std::path::PathBuf;

use super::Exit;
use super::stdio::{complain, print};
use crate::config::faults::Warning;
use crate::config::{self, Config, Sources};

/// Check configuration files and show every fault with its place.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The files, merged by key in this order, as `run` would merge them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Leave the environment out: neither SQUALL_… variables nor ${NAME} in values
    #[arg(long)]
    no_environment: bool,
}

/// Checks and says what was found.
pub fn main(args: &Args) -> anyhow::Result<Exit> {
    let env = if args.no_environment { Vec::new() } else { environment() };
    let sources = Sources { files: args.files.clone(), env, ..Sources::default() };
    let Some(config) = load(&sources) else { return Ok(Exit::Config) };
    print(format_args!("{}\n", summary(&config)))?;
    Ok(Exit::Fine)
}

/// What a config that is fine makes: its alert rules, and who is told.
fn summary(config: &Config) -> String {
    let mut summary = "the config is fine".to_owned();
    match config.alerts.len() {
        0 => {}
        rules => summary.push_str(&format!("; alert rules: {rules}")),
    }
    let receivers: Vec<&str> =
        config.notify.receivers.iter().map(|receiver| receiver.name.as_str()).collect();
    match receivers.as_slice() {
        [] => {}
        names => summary.push_str(&format!("; told of alerts: {}", names.join(", "))),
    }
    summary
}

/// Reads a config, and says what is odd about it; or, with `None`, what is wrong.
pub fn load(sources: &Sources) -> Option<Config> {
    let (config, warnings) = check(sources)?;
    say(&warnings);
    Some(config)
}

/// Reads a config; `None` once it was said what is wrong with it.
pub fn check(sources: &Sources) -> Option<(Config, Vec<Warning>)> {
    config::load(sources).map_err(complain).ok()
}

/// Says what is odd about a config.
pub fn say(warnings: &[Warning]) {
    warnings.iter().for_each(|warning| complain(format_args!("{warning}\n")));
}

/// This process's environment as data, the machine's name included. What is not UTF-8 cannot be meant for us.
pub fn environment() -> Vec<(String, String)> {
    let utf8 = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    let mut all: Vec<(String, String)> = std::env::vars_os().filter_map(utf8).collect();
    // Shells know HOSTNAME but often do not export it.
    if !all.iter().any(|(name, _)| name == "HOSTNAME") {
        let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
        all.push(("HOSTNAME".to_owned(), node));
    }
    all
}

//! Docker's logging driver, wired: a supervisor that dockerd talks to, and a worker that does everything else.
//!
//! ```text
//!  dockerd ──HTTP──► supervisor (PID 1) ──FIFOs, over a socket pair──► worker: data thread, output thread
//!      └───────────────FIFO of each container────────────────────────────┘
//! ```
//! The supervisor is small so that it does not die: dockerd gives a plugin up for good when it dies twice within a second,
//! and then every container with it stands still. It holds the reading end of each FIFO, so that what is in there outlives
//! the worker, which may die whenever it likes: another one takes over.

pub mod supervisor;

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Config, Output};
use crate::input::docker_driver::options::Shared;
pub use crate::input::docker_driver::registry::Registry;

/// What a worker gets from its supervisor.
#[derive(Debug)]
pub struct Worker {
    /// Its end of the socket pair.
    pub link: OwnedFd,
    /// What is known of each FIFO.
    pub registry: Registry,
}

/// What a supervisor is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where dockerd looks for the plugin.
    pub socket: PathBuf,
    /// Where FIFOs are remembered.
    pub registry: PathBuf,
    /// The arguments that make this program a worker.
    pub worker: Vec<OsString>,
    /// What containers cannot have of their own.
    pub shared: Shared,
    /// How long a worker may take to stop.
    pub shutdown_timeout: Duration,
}

/// What all containers share, for comparing with their log-opts.
pub fn shared(config: &Config) -> Shared {
    let mut shared = Shared {
        first: u64::from(config.storm.first),
        summary_every: config.storm.summary_every,
        ..Shared::default()
    };
    if let [Output::Kafka(kafka)] = config.outputs.as_slice() {
        shared.brokers = kafka.brokers.clone();
        shared.topic = kafka.topic.clone();
        shared.compression = format!("{:?}", kafka.compression).to_lowercase();
    }
    shared
}

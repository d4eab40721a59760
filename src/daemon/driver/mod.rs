//! Docker's logging driver, wired: a supervisor that dockerd talks to, and a worker that does everything else.
//!
//! ```text
//!  dockerd ──HTTP──► supervisor (PID 1) ──FIFOs, over a socket pair──► worker: data thread, output thread
//!      └───────────────FIFO of each container────────────────────────────┘
//! ```
//! The supervisor is small so that it does not die: dockerd gives a plugin up for good when it dies twice within a second,
//! and then every container with it stands still. It holds the reading end of each FIFO, so that what is in there outlives
//! the worker, which may die whenever it likes: another one takes over.

pub mod shared;
pub mod supervisor;

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

pub use self::shared::Shared;
pub use crate::input::docker_driver::registry::Registry;

/// What a worker gets from its supervisor.
#[derive(Debug)]
pub struct Worker {
    /// Its end of the socket pair.
    pub link: OwnedFd,
    /// What is known of each FIFO.
    pub registry: Registry,
}

/// Where a supervisor hears dockerd.
#[derive(Debug)]
pub enum Listening {
    /// At a socket that it makes, in place of one that was left behind.
    At(PathBuf),
    /// At one that somebody else made and keeps: whoever comes while there is no supervisor waits for the next.
    Inherited(OwnedFd),
}

/// What a supervisor is told.
pub struct Options {
    /// Where dockerd looks for the plugin.
    pub socket: Listening,
    /// Where FIFOs are remembered.
    pub registry: PathBuf,
    /// The arguments that make this program a worker.
    pub worker: Vec<OsString>,
    /// What it takes from the config.
    pub settings: Settings,
    /// Reads the config again: what the supervisor takes from it, where it is good and another one. Whether somebody has asked
    /// for the look is what it is told.
    pub reread: Box<dyn FnMut(bool) -> Option<Settings>>,
    /// How often it looks without being asked.
    pub watch: Option<Duration>,
}

/// What a supervisor takes from the config. All else is the worker's, which reads it by itself.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What containers cannot have of their own.
    pub shared: Shared,
    /// How long a worker may take to stop.
    pub shutdown_timeout: Duration,
}

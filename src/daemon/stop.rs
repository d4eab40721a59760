//! Stopping: asked for once, seen by every thread, with one deadline for all of it.

use std::sync::OnceLock;
use std::time::Duration;

use crate::units::Monotonic;

/// The request to stop.
#[derive(Debug)]
pub struct Stop {
    /// How long stopping may take.
    timeout: Duration,
    deadline: OnceLock<Monotonic>,
}

impl Stop {
    /// Nobody has asked yet; once somebody does, everything ends within `timeout`.
    pub fn new(timeout: Duration) -> Stop {
        Stop { timeout, deadline: OnceLock::new() }
    }

    /// Asks everybody to stop. False when somebody did so before.
    pub fn request(&self, now: Monotonic) -> bool {
        self.deadline.set(now + self.timeout).is_ok()
    }

    /// Whether to stop.
    pub fn is_requested(&self) -> bool {
        self.deadline.get().is_some()
    }

    /// Until when everything must have ended, once stopping was asked for.
    pub fn deadline(&self) -> Option<Monotonic> {
        self.deadline.get().copied()
    }

    /// How long stopping may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}

//! Stopping: asked for once, seen by every thread, with one deadline for all of it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::sync::atomic::{AtomicBool, Ordering};
use super::wake::Wake;
use crate::units::Monotonic;

/// The request to stop.
#[derive(Debug)]
pub struct Stop {
    /// How long stopping may take.
    timeout: Duration,
    deadline: OnceLock<Monotonic>,
    awaited: AtomicBool,
    suspended: AtomicBool,
    /// Who sleeps must hear it.
    wake: Arc<Wake>,
}

impl Stop {
    /// Nobody has asked yet; once somebody does, everything ends within `timeout`.
    pub fn new(timeout: Duration, wake: Arc<Wake>) -> Stop {
        Stop {
            timeout,
            deadline: OnceLock::new(),
            awaited: AtomicBool::new(false),
            suspended: AtomicBool::new(false),
            wake,
        }
    }

    /// Asks everybody to stop. False when somebody did so before.
    pub fn request(&self, now: Monotonic) -> bool {
        let first = self.deadline.set(now + self.timeout).is_ok();
        self.wake.raise();
        first
    }

    /// Asks everybody to stop as they are: windows stay open, and what is not delivered `within` that time waits, all of it
    /// in the outbox, for whoever goes on. False when stopping was asked for before.
    pub fn suspend(&self, now: Monotonic, within: Duration) -> bool {
        if self.is_requested() {
            return false;
        }
        // Before the request can be seen: whoever sees it looks at this.
        self.suspended.store(true, Ordering::Release);
        let first = self.deadline.set(now + within).is_ok();
        self.wake.raise();
        first
    }

    /// Whether somebody goes on right away, so that nothing is to be closed.
    pub fn is_suspended(&self) -> bool {
        self.suspended.load(Ordering::Acquire)
    }

    /// Says that the inputs end by themselves, or have ended: somebody waits for the end.
    pub fn await_end(&self) {
        self.awaited.store(true, Ordering::Release);
    }

    /// Whether somebody waits for the end. Then an output that does not move for [`Stop::timeout`] is given up; else
    /// it is waited for, and the inputs with it.
    pub fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Acquire)
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

//! Wakes the data thread: a flag that stays up until it is seen, so that a wake-up between looking and sleeping is
//! not lost.

use std::time::Duration;

use super::sync::{Condvar, Mutex, PoisonError};

/// The flag.
#[derive(Debug, Default)]
pub struct Wake {
    raised: Mutex<bool>,
    changed: Condvar,
}

impl Wake {
    /// Raises the flag.
    pub fn raise(&self) {
        *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Sleeps until the flag is up, but not longer than `at_most`; takes it down and says whether it was up.
    pub fn wait(&self, at_most: Duration) -> bool {
        let raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut raised, _) = self
            .changed
            .wait_timeout_while(raised, at_most, |raised| !*raised)
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *raised)
    }
}

//! Wakes the one thread that waits for an output, from whichever thread: a flag that stays up until it is seen, so that
//! a ring between looking and sleeping is not lost.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// See the module. Clones are the same bell.
#[derive(Clone, Debug, Default)]
pub struct Bell(Arc<(Mutex<bool>, Condvar)>);

impl Bell {
    /// Ends a [`wait`](Self::wait), this one or the next.
    pub fn ring(&self) {
        let (rang, changed) = &*self.0;
        *rang.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }

    /// Sleeps until it rings, or the time is over.
    pub fn wait(&self, at_most: Duration) {
        let (rang, changed) = &*self.0;
        let rang = rang.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut rang, _) =
            changed.wait_timeout_while(rang, at_most, |rang| !*rang).unwrap_or_else(PoisonError::into_inner);
        *rang = false;
    }
}

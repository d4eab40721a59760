//! The state behind its lock, and how the two threads wake each other.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::super::Bell;
use super::state::State;

/// See the module.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Wakes the offering thread, whatever it waits for besides.
    bell: Bell,
    /// Wakes it where it waits for something that the state says.
    changed: Condvar,
    /// Wakes the polling thread: there is something to poll for, or nothing ever again.
    roused: Condvar,
}

impl Shared {
    pub(super) fn new(state: State, bell: Bell) -> Shared {
        Shared { state: Mutex::new(state), bell, changed: Condvar::new(), roused: Condvar::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere ends the process; where it does not (tests), the counts are still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes the offering thread if the bell rang.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let rang_before = state.bell;
        let result = change(&mut state);
        // One wake-up a ring: a futex call for every delivery report would cost more than the report.
        if state.bell && !rang_before {
            self.changed.notify_all();
            self.bell.ring();
        }
        result
    }

    /// Sleeps until the bell rings or the time is over.
    pub(super) fn wait_for_bell(&self, at_most: Duration) {
        self.bell.wait(at_most);
        self.lock().mute();
    }

    /// Sleeps until `done`, or the time is over; says whether it is done.
    pub(super) fn wait_until(&self, at_most: Duration, done: impl Fn(&State) -> bool) -> bool {
        let state = sleep(&self.changed, self.lock(), at_most, |state| {
            state.bell = false;
            state.ring_below = 1;
            !done(state)
        });
        done(&state)
    }

    /// Sleeps while there is nothing to poll for; says whether there was nothing.
    pub(super) fn rest(&self, at_most: Duration) -> bool {
        let state = self.lock();
        let idle = state.is_idle();
        drop(sleep(&self.roused, state, at_most, |state| state.is_idle()));
        idle
    }

    /// Ends the polling thread's rest.
    pub(super) fn rouse(&self) {
        self.roused.notify_one();
    }
}

fn sleep<'a>(
    condvar: &Condvar,
    state: MutexGuard<'a, State>,
    at_most: Duration,
    more: impl FnMut(&mut State) -> bool,
) -> MutexGuard<'a, State> {
    condvar.wait_timeout_while(state, at_most, more).unwrap_or_else(PoisonError::into_inner).0
}

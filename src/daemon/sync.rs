//! What the hand-offs between threads are made of: the standard library's locks, conditions, flags and queues.
//!
//! In unit tests it is their doubles from `shuttle`, a model checker, which run the threads of a test in one order after
//! the other (`tests`). They work inside of a model only; the integration tests run the real ones.

#[cfg(test)]
pub(super) use shuttle::sync::{Condvar, Mutex, PoisonError, atomic, mpsc};
#[cfg(not(test))]
pub(super) use std::sync::{Condvar, Mutex, PoisonError, atomic, mpsc};

//! Where bytes come from.

pub mod docker_driver;
pub mod stdin;
pub mod tail;

use crate::units::Bytes;

/// What one call of an input's `poll` came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The share was used up and there is more to read: call again soon.
    pub more: bool,
    /// Nothing will ever come again.
    pub done: bool,
    /// What was handed to the sink.
    pub read: Bytes,
}

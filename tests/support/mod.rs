//! What the integration tests stand on.

pub(crate) mod broker;
pub(crate) mod source;

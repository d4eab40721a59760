//! What the integration tests stand on.

pub(crate) mod broker;
pub(crate) mod certificates;
pub(crate) mod disk;
pub(crate) mod fuse;
pub(crate) mod http;
pub(crate) mod incident;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod receiver;
pub(crate) mod records;
pub(crate) mod source;
pub(crate) mod units;

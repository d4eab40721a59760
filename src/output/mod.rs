//! Where records go.

pub mod file;
pub mod kafka;

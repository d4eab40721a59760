//! The engine: chunks + now → records. Pure: no I/O, no clock, no threads.

pub mod chunk;
pub mod frame;
pub mod line;
pub mod record;
pub mod storm;
pub mod template;

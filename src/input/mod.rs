//! Where bytes come from.

pub mod tail;

//! Stage 6: counts, ratios and numbers over time → alerts, with `for` and resolve.

pub mod parse;
pub mod rule;
pub mod template;

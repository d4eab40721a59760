//! Stage 3, line → template: which constant text a line was printed from, and its variable parts.

pub mod mask;

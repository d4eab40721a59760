//! Stage 3, line → template: which constant text a line was printed from, and its variable parts.
//!
//! In: a line's text. Out: its [entry](catalog::EntryId), (stream, template), and whether text, template and values
//! were seen before.
//! Invariant: deterministic and free of history: the same text has the same template everywhere and always.
//! Some templates differ in one word of letters; those are one [family], whose lines are counted together.
//! Limits: `templates_max` entries; the first 4,096 bytes of a text.
//! Not here: what is done with a line of a known template (`engine::storm`).

pub mod body_cache;
pub mod catalog;
pub mod enums;
pub mod family;
pub mod kept;
pub mod mask;
pub mod subject;

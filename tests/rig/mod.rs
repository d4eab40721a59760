//! The rig of delivery.md 8: what is written is known, what arrives is checked, line by line.
//!
//! | module | what is there |
//! |---|---|
//! | `line` | lines that say who they are: `src`, `seq`, kind, checksum |
//! | `generator` | writes them as dockerd does, at a pace, and knows the truth |
//! | `topic` | reads a topic, as far as it goes |
//! | `verifier` | the truth against what arrived: missing, double, changed, out of order |

pub(crate) mod generator;
pub(crate) mod line;
pub(crate) mod topic;
pub(crate) mod verifier;

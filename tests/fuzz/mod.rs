//! Laws that hold whatever bytes come in, each a function from bytes: it returns, or panics where the law is broken.
//!
//! Two callers. `cargo fuzz` (`tests/run --fuzz`) looks for bytes that break them, one target in `targets` for each law.
//! `cargo test` tries them on their seeds and on what a little damage makes of those, so that no law rots.
//! They know squall only from outside, as any other crate would. What fuzzing has found is a row in the table of the
//! module that was wrong.
//!
//! | law | whose bytes |
//! |---|---|
//! | `frame::json_file_line`, `frame::cri_line`, `frame::fifo_frames` | a container's, wrapped by its runtime |
//! | `template::template` | a container's, as text |
//! | `config::config` | an operator's |
//! | `rule::rule` | an operator's, and a container's that it judges |
//! | `outbox::outbox_row` | a disk's |
//! | `consume::consume` | anybody's who may write to the topic |

#![allow(
    unreachable_pub,
    reason = "as a library it is what the targets call; in tests/main.rs it is a module like others"
)]

#[cfg(feature = "daemon")]
pub mod config;
#[cfg(feature = "daemon")]
pub mod consume;
pub mod frame;
#[cfg(feature = "daemon")]
pub mod outbox;
pub mod rule;
pub mod template;

#[cfg(test)]
mod seeds;

//! Docker's logging driver: lines come through one FIFO for each container, announced over the plugin socket.
//!
//! Two processes share the work. A small supervisor answers dockerd and holds the FIFOs; its child, the worker, reads
//! them, and may be killed at any time (`daemon::driver`).
//!
//! | file | what it knows |
//! |---|---|
//! | `api` | what dockerd asks, as HTTP |
//! | `info`, `options`, `tag` | what it says of a container, and what of that is kept |
//! | `registry` | the FIFOs to re-attach after a restart |
//! | `link` | what supervisor and worker say to each other |
//! | `fifo` | one FIFO, read without losing or doubling a line |
//! | `follow` | all of them, in turns |

pub mod api;
pub mod fifo;
pub mod follow;
pub mod info;
pub mod link;
pub mod options;
pub mod registry;
mod tag;

//! Docker's logging driver: lines come through one FIFO for each container, announced over the plugin socket.
//!
//! | file | what it knows |
//! |---|---|
//! | `api` | what dockerd asks, as HTTP |
//! | `info`, `options`, `tag` | what it says of a container, and what of that is kept |

pub mod api;
pub mod info;
pub mod options;
mod tag;

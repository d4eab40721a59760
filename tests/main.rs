//! All integration tests in one binary: one link instead of many on a small machine.
//!
//! | module | what it tests |
//! |---|---|
//! | `tidy` | the source itself: who may use whom, purity, length of files |
//! | `ending` | how a run of the program ends, and with which exit code |
//! | `support` | nothing of squall; what the other modules stand on, tested in place |

mod ending;
mod support;
mod tidy;

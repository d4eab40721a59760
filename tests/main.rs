//! All integration tests in one binary: one link instead of many on a small machine.
//!
//! | module | what it tests |
//! |---|---|
//! | `broker` | the real program against a real Apache Kafka |
//! | `tidy` | the source itself: who may use whom, purity, length of files |
//! | `support` | nothing of squall; what the other modules stand on, tested in place |

mod broker;
mod support;
mod tidy;

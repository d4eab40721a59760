//! All integration tests in one binary: one link instead of many on a small machine.
//!
//! | module | what it tests |
//! |---|---|
//! | `broker` | the real program against a real Apache Kafka |
//! | `tidy` | the source itself: who may use whom, purity, length of files |
//! | `golden` | whole runs against `tests/golden/<case>/expected` |
//! | `cli` | the real program on input that ends, and on bad input |
//! | `fuzz` | laws that hold whatever bytes come in; shared with `cargo fuzz` |
//! | `incidents` | the five incidents, each from its first line to the last notification |
//! | `driver` | the logging driver, with tests that play dockerd |
//! | `daemon` | the real program while it runs: rotation, signals, memory |
//! | `deploy` | the files in `config` that people deploy |
//! | `docker` | the logging driver under a real Docker engine |
//! | `rig` | lines that say who they are, and the judge of what arrives; used by `broker` |
//! | `status` | what may be asked while it runs: endpoints, metrics, Prometheus, abuse |
//! | `support` | nothing of squall; what the other modules stand on, tested in place |

mod broker;
mod cli;
mod daemon;
mod deploy;
mod docker;
mod driver;
mod fuzz;
mod golden;
mod incidents;
mod rig;
mod status;

mod support;
mod tidy;

//! What may be asked of squall while it runs.
//!
//! | module | what it tests |
//! |---|---|
//! | `answers` | each endpoint, who may see what, the books in each scrape |
//! | `abuse` | clients that hang, shout or never stop (faults.md 84) |
//! | `limit` | the emergency limit over the API |
//! | `prometheus` | promtool, a real Prometheus, a real Pushgateway |
//! | `trouble` | what is said while a thread stands still, and while the outbox is full |
//! | `served` | squall with its status served somewhere |

mod abuse;
mod answers;
mod limit;
pub(crate) mod prometheus;
mod served;
mod trouble;

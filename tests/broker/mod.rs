//! The real program against a real Apache Kafka, read back by Kafka's own console consumer.
//!
//! All tests share one broker, each with topics of its own; only the one that stops the broker has its own.
//!
//! | module | what it tests |
//! |---|---|
//! | `incident` | 220,314 lines: followed, through a pipe, through rotations; the demo |
//! | `forms` | every compression, every packing, many streams over several partitions |
//! | `trouble` | wrong address, missing topic, a broker that stands still, a stop under load |
//! | `sidecar` | squall as a process |
//! | `told` | what a topic says, and the checks that every topic must pass |
//! | `written` | the logs that go in, with what is known of them |

mod forms;
mod incident;
mod sidecar;
mod told;
mod trouble;
mod written;

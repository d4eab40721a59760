//! The real program against a real Apache Kafka, read back by Kafka's own console consumer.
//!
//! All tests share one broker, each with topics of its own; those that stop it, or want it guarded, have their own.
//!
//! | module | what it tests |
//! |---|---|
//! | `incident` | 220,314 lines: followed, through a pipe, through rotations; the demo |
//! | `forms` | every compression, every packing, many streams over several partitions |
//! | `bad_days` | Kafka away, frozen, restarted, a topic gone or small, behind a bad network (faults.md 42 to 55) |
//! | `full` | the outbox is full while Kafka is away (60) |
//! | `guarded` | wrong passwords, missing rights, bad certificates, and good ones (52, 53) |
//! | `kill` | `kill -9`, again and again, under load (36, 37) |
//! | `limits` | what a topic does not take: large records, old times |
//! | `topics` | topics that streams have for themselves |
//! | `trouble` | wrong address, missing topic, a broker that stands still, a stop under load |
//! | `mix` | all of that at once |
//! | `ready` | what the endpoints say while Kafka is away |
//! | `recipe` | `squall consume` |
//! | `stage` | one log, one state directory, one topic, one verifier |
//! | `sidecar` | squall as a process |
//! | `told` | what a topic says, and the checks that every topic must pass |
//! | `written` | the logs that go in, with what is known of them |

mod bad_days;
mod forms;
mod full;
mod guarded;
mod incident;
mod kill;
mod limits;
mod mix;
mod ready;
mod recipe;
mod sidecar;
mod stage;
mod told;
mod topics;
mod trouble;
mod written;

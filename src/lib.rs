//! squall: a log-storm-aware log shipper.
//!
//! The modules stand in the direction in which a line travels: **input → engine → outbox → output**.
//!
//! | module | part | what happens there |
//! |---|---|---|
//! | [`terminal`] | | text for people: what would act on a terminal is shown instead |
//! | [`units`] | | newtypes that everybody may use |
//! | [`suggest`] | | "did you mean": the known word that is nearest to a wrong one |
//! | [`input`] | edge | where bytes come from: followed files, pipes, dockerd |
//! | [`engine`] | pure | bytes + now → records: frames, lines, templates, storms, loops, the ledger. No I/O, no clock, no threads |
//! | [`resources`] | edge | what containers use: CPU and memory from the host's cgroup tree |
//! | [`outbox`] | edge | what must survive `kill -9`: positions, open counts, unsent records; one transaction an epoch |
//! | [`output`] | edge | where records go: Kafka, console, file, blackhole; alerts to people |
//! | [`status`] | edge | what people and machines may ask while it runs: health, metrics, storms, the page |
//! | [`config`] | edge | text → checked config, or every fault with file, line and column |
//! | [`daemon`] | wiring | the only module that knows all others: threads, hand-offs, clock, start and stop |
//! | [`replay`] | wiring | old files through the same engine, with the log's own time as the clock |
//! | [`report`] | pure | the story of a log, for people: text, Markdown, HTML |
//! | [`dedup`] | pure | the consumer's half: which records have been seen before |
//! | [`cli`] | | one file per subcommand |
//! | [`corpus`] | pure | logs made from seeds, for the demo, tests and benches |
//!
//! `engine`, `dedup`, `corpus`, `suggest` and `units` build alone with `--no-default-features`; the rest sits behind the feature `daemon`.
//! Who may use whom is checked by `tests/tidy.rs`.

pub mod suggest;
pub mod units;

#[cfg(feature = "daemon")]
pub mod terminal;

#[cfg(feature = "daemon")]
pub mod input;

pub mod engine;

#[cfg(feature = "daemon")]
pub mod resources;

#[cfg(feature = "daemon")]
pub mod outbox;

#[cfg(feature = "daemon")]
pub mod output;

#[cfg(feature = "daemon")]
pub mod status;

#[cfg(feature = "daemon")]
pub mod config;

#[cfg(feature = "daemon")]
pub mod daemon;

#[cfg(feature = "daemon")]
pub mod replay;

#[cfg(feature = "daemon")]
pub mod report;

pub mod dedup;

#[cfg(feature = "daemon")]
pub mod cli;

pub mod corpus;

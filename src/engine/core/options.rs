//! What the engine is made with.

use std::sync::Arc;

use crate::engine::alert::rule::Rule;
use crate::engine::cycle;
use crate::engine::record::LaneId;
use crate::engine::record::identity::Identity;
use crate::engine::storm::Limits;
use crate::units::Bytes;

/// What the engine is made with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The limits of folding.
    pub storm: Limits,
    /// The limits of loops.
    pub loops: cycle::Limits,
    /// Rules that are evaluated on every line, before anything is folded.
    pub alerts: Arc<[Rule]>,
    /// The Kafka topic that gets a copy of each alert.
    pub alerts_topic: Option<Arc<str>>,
    /// The most memory that the engine's tables may take.
    pub memory_max: Bytes,
    /// The largest record.
    pub record_max: Bytes,
    /// The lane that numbers the records.
    pub lane: LaneId,
    /// Seeds the hashes of this process; unpredictable from outside.
    pub seed: u64,
    /// Who sends.
    pub identity: Identity,
    /// Whether people are told of alerts: then [`Engine::take_notifications`](crate::engine::Engine::take_notifications)
    /// must be called.
    pub notifies: bool,
    /// Whether to remember what happened when, for people who ask afterwards.
    pub chronicle: bool,
    /// By which clock deadlines come.
    pub clock: Clock,
}

/// By which clock windows, episodes and loops end when nothing more is heard of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// By the time of arrival: live.
    #[default]
    Arrival,
    /// By the newest log time of all streams, whatever the time of arrival: old files are read in seconds, and what
    /// happened in them took hours. See [`Engine::log_clock`](crate::engine::Engine::log_clock).
    Log,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            storm: Limits::default(),
            loops: cycle::Limits::default(),
            alerts: Arc::default(),
            alerts_topic: None,
            memory_max: Bytes(24 << 20),
            record_max: Bytes(900_000),
            lane: LaneId(0),
            seed: 0,
            identity: Identity::default(),
            notifies: false,
            chronicle: false,
            clock: Clock::Arrival,
        }
    }
}

//! Stage 4, storms: decides which line is sent and which is only counted, and closes windows with a summary.

use std::time::Duration;

/// How far folding goes for an input (`inputs.*.collapse`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Collapse {
    /// Nothing is folded.
    Never,
    /// Only byte-for-byte repeats.
    Repeats,
    /// Repeats, and every line of an entry that is storming.
    #[default]
    Storms,
    /// Every line of every entry after the first ones.
    Always,
}

/// The limits of folding (`storm` in the config).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Lines of an episode that pass verbatim before folding starts (`storm.first`).
    pub first: u32,
    /// Lines in 10 s of log time that make a storm (`storm.enter`).
    pub enter: u32,
    /// The same for entries that speak of failure or are warn or worse (`storm.enter_failing`).
    pub enter_failing: u32,
    /// How long an entry must be quiet or calm for its episode to end (`storm.quiet`).
    pub quiet: Duration,
    /// The first summary interval of an episode (`storm.summary_every`).
    pub summary_every: Duration,
    /// The longest summary interval that backing off reaches (`storm.summary_every_max`).
    pub summary_every_max: Duration,
    /// Entries, (stream, template), that are tracked in the whole process (`storm.templates_max`).
    pub templates_max: usize,
    /// New entries a second and stream whose first line passes; more is a novelty flood (`storm.novelty_per_second`).
    pub novelty_per_second: u32,
    /// Example texts kept for each summary (`storm.examples`).
    pub examples: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            first: 5,
            enter: 100,
            enter_failing: 20,
            quiet: Duration::from_secs(30),
            summary_every: Duration::from_secs(10),
            summary_every_max: Duration::from_secs(300),
            templates_max: 10_000,
            novelty_per_second: 1_000,
            examples: 3,
        }
    }
}

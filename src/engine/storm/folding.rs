//! How the lines of one stream are folded: what its input, or its container, has said.

use std::time::Duration;

use super::Collapse;

/// How the lines of one stream are folded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folding {
    /// How far.
    pub collapse: Collapse,
    /// Lines of an episode that pass before it; [`Limits::first`](super::Limits::first) unless said.
    pub first: Option<u32>,
    /// The first summary interval of an episode; [`Limits::summary_every`](super::Limits::summary_every) unless said.
    pub summary_every: Option<Duration>,
}

impl From<Collapse> for Folding {
    fn from(collapse: Collapse) -> Folding {
        Folding { collapse, ..Folding::default() }
    }
}

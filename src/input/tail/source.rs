//! One logical source: a file with all its rotated generations, oldest first.
//!
//! Invariant: only the front generation is read. So bytes of two generations never interleave, and a generation's
//! first byte comes after the last byte of the one before it.
//! This file decides when the front is over. Too early loses what a slow writer still appends to a file that was
//! renamed under it; too late holds back the new file. What comes later still is not lost but set apart (`turn`).

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use crate::engine::state::FileId;
use crate::units::Monotonic;

use super::SourceId;
use super::family::Family;
use super::follow::{Generation, Standing};

/// One logical source.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) id: SourceId,
    /// The path without rotation suffix.
    pub(super) key: PathBuf,
    /// Where to look for newer generations. A source that was set apart has none: it gets no newer ones.
    pub(super) family: Option<Family>,
    pub(super) generations: VecDeque<Generation>,
    /// Whether the sink knows of it.
    pub(super) announced: bool,
    /// Whether it waits for its turn.
    pub(super) ready: bool,
    /// When it wants a turn although nothing is heard of it.
    pub(super) look_at: Option<Monotonic>,
    pub(super) empty_since: Option<Monotonic>,
}

/// Whether the front generation is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finish {
    Now,
    /// If nothing is written to it until then.
    At(Monotonic),
    /// Not as far as we know.
    Open,
}

impl Source {
    pub(super) fn new(id: SourceId, key: PathBuf, family: Option<Family>) -> Source {
        Source {
            id,
            key,
            family,
            generations: VecDeque::new(),
            announced: false,
            ready: false,
            look_at: None,
            empty_since: None,
        }
    }

    pub(super) fn generation_mut(&mut self, identity: FileId) -> Option<&mut Generation> {
        self.generations.iter_mut().find(|generation| generation.identity == identity)
    }

    /// Decides about the front generation, which has been read to its end.
    pub(super) fn finish(&mut self, now: Monotonic) -> Finish {
        let Some(front) = self.generations.front() else { return Finish::Open };
        if front.limit.is_some() || front.rest.is_some() {
            return Finish::Now;
        }
        let deleted = front.deleted;
        let at_end_since = front.at_end_since.unwrap_or(now);
        let newer_has_data = self.generations.get_mut(1).is_some_and(|newer| has_data(newer, now));
        let quiet_at = at_end_since + if newer_has_data { HANDOVER } else { GRACE };
        match self.generations.len() - 1 {
            0 if !deleted => return Finish::Open,
            // The writer moved on twice, and must not get away from us while we wait: a storm may rotate many times
            // in one grace.
            newer if newer >= 2 => return Finish::Now,
            _ if deleted && newer_has_data => return Finish::Now,
            _ if !deleted && !newer_has_data => return Finish::Open,
            _ => {}
        }
        if now >= quiet_at { Finish::Now } else { Finish::At(quiet_at) }
    }
}

fn has_data(newer: &mut Generation, now: Monotonic) -> bool {
    newer.size > 0 || matches!(newer.look(now), Ok(Standing::Unread))
}

/// How long a deleted file must be quiet before we believe that nobody writes to it any more.
pub(super) const GRACE: Duration = Duration::from_millis(1_500);
/// How long a renamed file must be quiet once a newer one has data. A single writer has moved on by then; the workers
/// of one program reopen within milliseconds of each other. All that time the newer file waits, so this bounds both
/// the delay of a rotation and, with 10 MB files, what can be followed: 1.5 s here made it 7 MB/s.
pub(super) const HANDOVER: Duration = Duration::from_millis(100);

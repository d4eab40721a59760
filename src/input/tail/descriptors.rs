//! The budget of file descriptors: three quarters of what the process may have, the rest is for everybody else.
//!
//! With more files than that, those that were quiet longest are closed; their positions stay, and they are opened again
//! when they grow. If that is not enough, a generation that is being read takes the descriptor of one that waits behind
//! another. A file without a name is never closed: nobody could open it again.

use std::collections::BTreeMap;

use rustix::process::{Resource, getrlimit};

use super::SourceId;
use super::follow::Generation;
use super::source::Source;

/// How many files are open, and how many may be.
#[derive(Debug)]
pub(super) struct Descriptors {
    pub(super) open: usize,
    pub(super) limit: usize,
}

impl Descriptors {
    pub(super) fn new() -> Descriptors {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(UNLIMITED);
        let limit = usize::try_from(limit / 4 * 3).unwrap_or(usize::MAX).max(1);
        Descriptors { open: 0, limit }
    }

    pub(super) fn opened(&mut self) {
        self.open += 1;
    }

    pub(super) fn closed(&mut self) {
        self.open -= 1;
    }

    /// Whether a generation that waits may be opened, after closing quiet ones if need be.
    pub(super) fn has_room_to_wait(&mut self, sources: &mut BTreeMap<SourceId, Source>) -> bool {
        if self.open >= self.limit {
            let generations = sources.values_mut().flat_map(|source| source.generations.iter_mut());
            self.close_some(generations.filter(|generation| generation.is_quiet()));
        }
        self.open < self.limit
    }

    /// Whether a generation that is to be read may be opened, after closing others if need be.
    pub(super) fn has_room_to_read(&mut self, sources: &mut BTreeMap<SourceId, Source>) -> bool {
        if !self.has_room_to_wait(sources) {
            self.close_some(sources.values_mut().flat_map(|source| source.generations.iter_mut().skip(1)));
        }
        self.open < self.limit
    }

    /// Closes an eighth of the budget at once, so that looking through all files pays. The longest inactive go first.
    fn close_some<'a>(&mut self, generations: impl Iterator<Item = &'a mut Generation>) {
        let mut some: Vec<&mut Generation> =
            generations.filter(|generation| generation.can_close()).collect();
        some.sort_by_key(|generation| generation.active);
        // What was reachable at the last scan may have been renamed or deleted since, and closing it would lose it.
        let reachable = some.into_iter().filter(|generation| generation.member().is_some());
        for generation in reachable.take(self.limit / 8 + 1) {
            generation.close();
            self.closed();
        }
    }
}

/// Stands in where the process may open as many as it likes.
const UNLIMITED: u64 = 1 << 20;

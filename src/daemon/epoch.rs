//! One epoch on its way from the data thread to the output thread: what was read, as records, and how far.
//!
//! Invariant: the positions are those of exactly the bytes whose lines are in the records, in the windows of
//! `changes`, or in the pieces held there. So whoever commits an epoch whole can neither lose nor repeat a line.

use crate::engine::record::Batch;
use crate::engine::record::notification::Notification;
use crate::engine::state::{Block, Changes, FileId, Position};
use crate::outbox::Loss;

/// What the data thread hands over. Without an outbox there is nothing but records in it.
#[derive(Debug, Default)]
pub struct Epoch {
    /// The records.
    pub batch: Batch,
    /// Windows, streams, books.
    pub changes: Changes,
    /// Files that were read further.
    pub positions: Vec<Position>,
    /// Files that need no position any more.
    pub positions_gone: Vec<FileId>,
    /// FIFOs that were read further.
    pub blocks: Vec<Block>,
    /// FIFOs that have ended.
    pub blocks_gone: Vec<String>,
    /// Losses of stored records that a notice in `batch` names.
    pub told: Vec<Loss>,
    /// What people are to be told of the alerts in `batch`.
    pub notifications: Vec<Notification>,
    /// Firings in `batch` that people are not told of, because too many began at once.
    pub unheard: u64,
}

impl Epoch {
    /// Whether there is nothing to send and nothing to remember.
    pub fn is_empty(&self) -> bool {
        let Changes { streams, streams_gone, episodes, episodes_gone, alerts, alerts_gone, totals: _ } =
            &self.changes;
        let unchanged = streams.is_empty()
            && streams_gone.is_empty()
            && episodes.is_empty()
            && episodes_gone.is_empty()
            && alerts.is_empty()
            && alerts_gone.is_empty()
            && self.positions.is_empty()
            && self.positions_gone.is_empty()
            && self.blocks.is_empty()
            && self.blocks_gone.is_empty();
        unchanged && self.batch.is_empty() && self.told.is_empty() && self.notifications.is_empty()
    }

    /// Forgets everything but keeps the memory.
    pub fn clear(&mut self) {
        self.batch.clear();
        self.changes.clear();
        self.positions.clear();
        self.positions_gone.clear();
        self.blocks.clear();
        self.blocks_gone.clear();
        self.told.clear();
        self.notifications.clear();
        self.unheard = 0;
    }

    /// The memory that its records hold on to.
    pub fn capacity(&self) -> usize {
        self.batch.bytes.capacity()
    }
}

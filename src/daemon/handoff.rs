//! The hand-off between the data thread and the output thread: full batches one way, empty ones back.
//!
//! Limit: `WAITING_MAX` batches of about [`BATCH_BYTES`] wait; then the data thread does. That is the back-pressure:
//! files stay unread, a pipe's writer blocks.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use crate::engine::record::Batch;

/// Batches are handed over from this size on, or when there is nothing else to do.
pub const BATCH_BYTES: usize = 256 * 1024;
/// Batches that wait for the output.
const WAITING_MAX: usize = 2;

/// The data thread's end.
#[derive(Debug)]
pub struct Giver {
    full: SyncSender<Batch>,
    empty: Receiver<Batch>,
}

/// The output thread's end.
#[derive(Debug)]
pub struct Taker {
    full: Receiver<Batch>,
    empty: SyncSender<Batch>,
}

/// Both ends.
pub fn pair() -> (Giver, Taker) {
    let (give_full, take_full) = sync_channel(WAITING_MAX);
    let (give_empty, take_empty) = sync_channel(WAITING_MAX + 1);
    (Giver { full: give_full, empty: take_empty }, Taker { full: take_full, empty: give_empty })
}

/// The output thread is gone.
#[derive(Debug)]
pub struct Gone;

impl Giver {
    /// A batch to fill, with memory that was used before where there is some.
    pub fn empty(&self) -> Batch {
        self.empty.try_recv().unwrap_or_default()
    }

    /// Hands a batch over; waits for room.
    pub fn give(&self, batch: Batch) -> Result<(), Gone> {
        self.full.send(batch).map_err(|_| Gone)
    }
}

/// What the taker met.
#[derive(Debug)]
pub enum Taken {
    /// A batch.
    Batch(Batch),
    /// None came in time.
    Nothing,
    /// None will ever come again.
    End,
}

impl Taker {
    /// The next batch, waiting at most so long.
    pub fn take(&self, at_most: Duration) -> Taken {
        match self.full.recv_timeout(at_most) {
            Ok(batch) => Taken::Batch(batch),
            Err(RecvTimeoutError::Timeout) => Taken::Nothing,
            Err(RecvTimeoutError::Disconnected) => Taken::End,
        }
    }

    /// Gives a batch's memory back.
    pub fn give_back(&self, mut batch: Batch) {
        batch.clear();
        // An unusually large batch is not kept: its memory would stay for the life of the process.
        if batch.bytes.capacity() <= 4 * BATCH_BYTES {
            // Full means that enough empty ones are waiting; closed means that nobody needs one.
            let _ = self.empty.try_send(batch);
        }
    }
}

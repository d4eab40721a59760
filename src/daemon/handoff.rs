//! The hand-off between the data thread and the output thread: full epochs one way, empty ones back.
//!
//! Limit: `WAITING_MAX` epochs of about [`EPOCH_BYTES`] or [`EPOCH_BYTES_PACKED`] wait; then the data thread does. That
//! is the back-pressure: files stay unread, a pipe's writer blocks.

use std::time::Duration;

use super::epoch::Epoch;
use super::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};

/// An epoch is cut from this many bytes of records on, or when its time has come.
pub const EPOCH_BYTES: usize = 512 << 10;
/// The same where records leave packed: what waits and is on its way then takes a tenth of the memory, and an epoch twice
/// as large costs 5 % less CPU in all.
pub const EPOCH_BYTES_PACKED: usize = 1 << 20;
/// Epochs that wait for the output thread.
const WAITING_MAX: usize = 1;

/// Wakes the output thread; the last time when there are no epochs any more.
struct Ring(Box<dyn Fn() + Send>);

impl Drop for Ring {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// The data thread's end.
pub struct Giver {
    full: SyncSender<Box<Epoch>>,
    empty: Receiver<Box<Epoch>>,
    /// Behind `full`, so that it rings when that is closed.
    bell: Ring,
}

/// The output thread's end.
#[derive(Debug)]
pub struct Taker {
    full: Receiver<Box<Epoch>>,
    empty: SyncSender<Box<Epoch>>,
}

/// Both ends. `bell` wakes the output thread where it waits for something else.
pub fn pair(bell: impl Fn() + Send + 'static) -> (Giver, Taker) {
    let (give_full, take_full) = sync_channel(WAITING_MAX);
    let (give_empty, take_empty) = sync_channel(WAITING_MAX + 1);
    let bell = Ring(Box::new(bell));
    (Giver { full: give_full, empty: take_empty, bell }, Taker { full: take_full, empty: give_empty })
}

/// The output thread is gone.
#[derive(Debug)]
pub struct Gone;

impl Giver {
    /// An epoch to fill, with memory that was used before where there is some.
    pub fn empty(&self) -> Box<Epoch> {
        self.empty.try_recv().unwrap_or_default()
    }

    /// Hands an epoch over; waits for room.
    pub fn give(&self, epoch: Box<Epoch>) -> Result<(), Gone> {
        let given = self.full.send(epoch).map_err(|_| Gone);
        (self.bell.0)();
        given
    }
}

/// What the taker met.
#[derive(Debug)]
pub enum Taken {
    /// An epoch.
    Epoch(Box<Epoch>),
    /// None came in time.
    Nothing,
    /// None will ever come again.
    End,
}

impl Taker {
    /// The next epoch, waiting at most so long.
    pub fn take(&self, at_most: Duration) -> Taken {
        match self.full.recv_timeout(at_most) {
            Ok(epoch) => Taken::Epoch(epoch),
            Err(RecvTimeoutError::Timeout) => Taken::Nothing,
            Err(RecvTimeoutError::Disconnected) => Taken::End,
        }
    }

    /// The next epoch, if one is there.
    pub fn try_take(&self) -> Taken {
        match self.full.try_recv() {
            Ok(epoch) => Taken::Epoch(epoch),
            Err(TryRecvError::Empty) => Taken::Nothing,
            Err(TryRecvError::Disconnected) => Taken::End,
        }
    }

    /// Gives an epoch's memory back.
    pub fn give_back(&self, mut epoch: Box<Epoch>) {
        epoch.clear();
        // An unusually large one is not kept: its memory would stay for the life of the process.
        if epoch.capacity() <= 2 * EPOCH_BYTES_PACKED {
            // Full means that enough empty ones are waiting; closed means that nobody needs one.
            let _ = self.empty.try_send(epoch);
        }
    }
}

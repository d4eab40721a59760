//! How far the ack cursor may go.

/// Between what the ack cursor is, whatever the output says.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Where it was when the outbox was opened: the output knows only what it was given since.
    pub(super) carried: u64,
    /// It does not pass records that are lost before a notice names them: the next process could not know of them, and
    /// they would be gone without a word.
    pub(super) told: u64,
}

impl Bounds {
    /// The ack cursor, where the output knows the fate of what it was given up to `acked`.
    pub fn settled(self, acked: u64) -> u64 {
        acked.max(self.carried).min(self.told)
    }
}

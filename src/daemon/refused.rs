//! What becomes of a message that the destination refuses: it is made to fit once, then it goes to the dead-letter file.
//!
//! Invariant (delivery.md section 6): a replacement is in the outbox before it is sent, under the same id with `rev: 1`.
//! No refused record holds the others up for ever, and none disappears without a notice.

use std::path::PathBuf;

use super::feedback::Tell;
use super::ship::explain;
use crate::engine::record::shrink::shrink;
use crate::engine::record::{Batch, Encoding, Lost, Reason};
use crate::outbox::{Store, Unsent};
use crate::output::dead_letter::{DeadLetters, Letter, SIZE_MAX};
use crate::output::{Refusal, RefusalCause, Stamp, kafka};
use crate::units::{Lines, Now};

/// The dead-letter file, made with the first letter.
pub(super) struct Refused {
    path: PathBuf,
    letters: Option<DeadLetters>,
}

/// What to do about a refusal.
pub(super) enum Answer {
    /// Send this in its place.
    Resend(Batch, Stamp),
    /// It lies in the dead-letter file; this tells of it.
    Laid(Tell),
}

impl Refused {
    /// Letters go to `path`.
    pub(super) fn new(path: PathBuf) -> Refused {
        Refused { path, letters: None }
    }

    /// Finds the message in the outbox and decides.
    pub(super) fn answer(&mut self, refusal: &Refusal, store: &mut Store, now: Now) -> Answer {
        let Some(message) = stored(refusal.seq, store) else {
            let reason = format!("{}, and it cannot be read from the outbox any more", refusal.reason);
            return Answer::Laid(told(1, Lines(0), &reason));
        };
        let replacement = match refusal.cause {
            _ if refusal.again => None,
            RefusalCause::TooLarge { limit } => smaller(&message, limit.0 as usize, store),
            RefusalCause::Timestamp | RefusalCause::Invalid => Some((message.clone(), Stamp::Now)),
        };
        match replacement {
            Some((batch, stamp)) => Answer::Resend(batch, stamp),
            None => Answer::Laid(self.lay(&message, &refusal.reason, now)),
        }
    }

    /// Writes all records of a message to the dead-letter file.
    fn lay(&mut self, message: &Batch, reason: &str, now: Now) -> Tell {
        let records =
            if message.encoding == Encoding::Record { None } else { kafka::unpack(message, 0).ok() };
        let records = records.as_ref().unwrap_or(message);
        let mut lines = Lines(0);
        for (meta, record) in records.iter() {
            lines += meta.lines;
            let stream = records.keys.get(meta.key as usize).map_or("", |key| key);
            let letter = Letter { lane: records.lane, seq: meta.seq, stream, record, reason, at: now.wall };
            if let Err(error) = self.write(&letter) {
                // The notice names the record all the same.
                tracing::error!(seq = meta.seq, "cannot keep a refused record: {}", explain(&error));
            }
        }
        tracing::error!(records = records.metas.len(), path = %self.path.display(), "refused for good: {reason}");
        told(records.metas.len() as u64, lines, reason)
    }

    fn write(&mut self, letter: &Letter<'_>) -> Result<(), crate::output::OutputError> {
        let letters = match &mut self.letters {
            Some(letters) => letters,
            None => self.letters.insert(DeadLetters::open(&self.path, SIZE_MAX)?),
        };
        letters.append(letter)
    }
}

/// The message that holds this record, alone in a batch.
fn stored(seq: u64, store: &mut Store) -> Option<Batch> {
    let Ok(Some(Unsent::Batch(batch))) = store.unsent(seq) else { return None };
    batch.only(seq)
}

/// The message's records, each small enough to be a message of its own; committed before anybody sends them.
fn smaller(message: &Batch, limit: usize, store: &mut Store) -> Option<(Batch, Stamp)> {
    let packed = message.encoding != Encoding::Record;
    let records = if packed { kafka::unpack(message, 0).ok()? } else { message.clone() };
    let mut small = Batch { lane: records.lane, keys: records.keys.clone(), ..Batch::default() };
    for (meta, record) in records.iter() {
        if record.len() <= limit && packed {
            small.bytes.extend_from_slice(record);
        } else {
            let shrunk = shrink(record, limit)?;
            if !packed && let Err(error) = store.replace(meta.seq, &shrunk) {
                tracing::error!(seq = meta.seq, "cannot store a smaller record: {}", explain(&error));
                return None;
            }
            small.bytes.extend_from_slice(&shrunk);
        }
        small.metas.push(crate::engine::record::Meta { end: small.bytes.len(), ..*meta });
    }
    Some((small, Stamp::Own))
}

fn told(records: u64, lines: Lines, reason: &str) -> Tell {
    Tell {
        reason: Reason::DeadLetter,
        message: format!("{records} records were refused for good and are in the dead-letter file: {reason}"),
        lost: Lost { records: Some(records), lines: Some(lines), bytes: None },
        loss: None,
        stream: None,
        uncounted: Lines(0),
    }
}

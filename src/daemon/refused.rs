//! What becomes of a message that the destination refuses: it is made to fit once, then it goes to the dead-letter file.
//!
//! Invariant (delivery.md section 6): a replacement is in the outbox before it is sent, under the same id with `rev: 1`.
//! No refused record holds the others up for ever, and none disappears without a notice.

use std::path::PathBuf;

use super::feedback::Tell;
use super::ship::explain;
use crate::engine::record::shrink::shrink;
use crate::engine::record::{Batch, Encoding, Lost, Meta, Reason};
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
            let stream = records.keys.get(meta.key as usize).map_or("", |key| &key.stream);
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

/// The message's records, each small enough to be a message of its own. What was cut is committed as the replacement
/// before anybody sends it: a later process, told of another limit, would cut it otherwise under the same id.
fn smaller(message: &Batch, limit: usize, store: &mut Store) -> Option<(Batch, Stamp)> {
    let packed = message.encoding != Encoding::Record;
    let records = if packed { kafka::unpack(message, 0).ok()? } else { message.clone() };
    let mut small = Batch { lane: records.lane, keys: records.keys.clone(), ..Batch::default() };
    let mut cut = false;
    for (meta, record) in records.iter() {
        if record.len() <= limit && packed {
            small.bytes.extend_from_slice(record);
        } else {
            small.bytes.extend_from_slice(&shrink(record, limit)?);
            cut = true;
        }
        small.metas.push(Meta { end: small.bytes.len(), ..*meta });
    }
    if cut {
        keep(message, &small, store)?;
    }
    Some((small, Stamp::Own))
}

/// Commits the records in the place of their message. They are kept as it was made: one record, or packed together.
fn keep(message: &Batch, records: &Batch, store: &mut Store) -> Option<()> {
    let seq = message.metas.first()?.seq;
    let packed;
    let bytes = if message.encoding == Encoding::Record {
        &records.bytes
    } else {
        packed = kafka::repack(message.encoding, records).ok()?;
        &packed
    };
    if let Err(error) = store.replace(seq, bytes) {
        tracing::error!(seq, "cannot store a smaller record: {}", explain(&error));
        return None;
    }
    Some(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::record::LaneId;
    use crate::engine::state::Changes;
    use crate::outbox::{Durability, Epoch, Options};
    use crate::output::testing;
    use crate::units::{Bytes, Monotonic, Timestamp};

    const NOW: Now = Now { arrival: Monotonic(0), wall: Timestamp(0) };

    fn open(dir: &std::path::Path) -> Store {
        let options =
            Options { dir: dir.to_owned(), size_max: Bytes(8 << 20), durability: Durability::Process };
        Store::open(&options, "kafka:logs", &mut || LaneId(7)).expect("a store").0
    }

    /// What [`Store::unsent`] gives, record by record.
    fn stored_records(store: &mut Store) -> Vec<Vec<u8>> {
        let batch = stored(1, store).expect("the message");
        let records = if batch.encoding == Encoding::Record { Ok(batch) } else { kafka::unpack(&batch, 0) };
        records.expect("it unpacks").iter().map(|(_, record)| record.to_vec()).collect()
    }

    /// Refuses a message of three records for its size; what is sent instead is what a later process sends.
    #[test]
    fn a_replacement_is_stored_before_it_is_sent() {
        #[track_caller]
        fn check(encoding: Encoding, limit: u64, cut: &[bool]) {
            let folder = tempfile::tempdir().expect("a folder");
            let mut store = open(folder.path());
            let text = |n: usize| {
                let text = "no route to host ".repeat(n * n);
                format!(r#"{{"message":"{text}","squall":{{"kind":"line","id":"{:032x}-{n}"}}}}"#, 7)
            };
            let texts: Vec<String> = (1..=cut.len()).map(text).collect();
            let records: Vec<(&str, &str)> = texts.iter().map(|text| ("s", &**text)).collect();
            let mut batch = testing::batch(1, &records);
            batch.lane = LaneId(7);
            if encoding != Encoding::Record {
                batch.bytes = kafka::repack(encoding, &batch).expect("it packs");
                let meta = Meta { end: batch.bytes.len(), records: 3, lines: Lines(3), ..batch.metas[0] };
                (batch.encoding, batch.metas, batch.members) = (encoding, vec![meta], vec![1, 2, 3]);
            }
            let mut changes = Changes::default();
            changes.totals.next_seq = 1 + cut.len() as u64;
            store.commit(&Epoch::new(&batch, &changes)).expect("it fits");

            let refusal = Refusal {
                seq: 1,
                cause: RefusalCause::TooLarge { limit: Bytes(limit) },
                again: false,
                reason: "too large".to_owned(),
            };
            let mut refused = Refused::new(folder.path().join("letters"));
            let Answer::Resend(sent, Stamp::Own) = refused.answer(&refusal, &mut store, NOW) else {
                panic!("a replacement is possible");
            };
            assert!(sent.iter().all(|(_, record)| record.len() as u64 <= limit));
            let sent: Vec<Vec<u8>> = sent.iter().map(|(_, record)| record.to_vec()).collect();
            let changed: Vec<bool> =
                sent.iter().zip(&texts).map(|(sent, text)| sent != text.as_bytes()).collect();
            assert_eq!(changed, cut);
            assert_eq!(stored_records(&mut store), sent);
            drop(store); // killed
            assert_eq!(stored_records(&mut open(folder.path())), sent);
        }
        check(Encoding::Record, 200, &[true]);
        check(Encoding::ZstdNdjson, 220, &[false, false, true]);
        check(Encoding::GzipNdjson, 230, &[false, false, true]);
        check(Encoding::ZstdNdjson, 1_000, &[false, false, false]);
    }
}

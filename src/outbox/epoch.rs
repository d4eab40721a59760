//! Epochs as rows: writing, deleting, and reading back around what is damaged.
//!
//! Invariant: every number between the ack cursor and the next one is in an epoch that can be read, or in a [`Loss`].

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _};

use super::blob::{self, Coder};
use super::cap::DELETED_MAX;
use super::lane::{self, Lane};
use super::rows::{self, Reader, RowError};
use super::{Loss, Unsent};
use crate::engine::record::Batch;
use crate::units::Lines;

/// The numbers of an epoch's row.
#[derive(Clone, Copy)]
pub(super) struct Stored {
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) lines: u64,
    pub(super) lines_before: u64,
}

/// What was deleted.
#[derive(Clone, Copy, Default)]
pub(super) struct Gone {
    pub(super) epochs: u64,
    pub(super) records: u64,
    pub(super) lines: u64,
    pub(super) bytes: u64,
}

/// Writes the row of an epoch; `lane` is its destination's.
pub(super) fn put_epoch(
    connection: &Connection,
    lane: &Lane,
    batch: &Batch,
    stored: Stored,
    blob: &[u8],
) -> rusqlite::Result<()> {
    let oldest = batch.metas.iter().map(|meta| meta.time.0).min().unwrap_or(0);
    let id = batch.lane.to_string();
    let columns = [
        rows::text(&lane.destination),
        rows::number(stored.first_seq),
        rows::number(stored.last_seq),
        rows::text(&id),
        rows::number(stored.last_seq + 1 - stored.first_seq),
        rows::number(stored.lines),
        rows::number(stored.lines_before),
        ValueRef::Integer(oldest),
        ValueRef::Integer(blob::form(batch.encoding)),
        ValueRef::Blob(blob),
    ];
    rows::put(connection, "INSERT INTO epoch VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", &columns)
}

/// Remembers that notices have told of these.
pub(super) fn put_losses(
    connection: &Connection,
    destination: &str,
    losses: &[Loss],
) -> rusqlite::Result<()> {
    for Loss { first_seq, last_seq, lines } in losses {
        let lines = lines.map_or(ValueRef::Null, |lines| rows::number(lines.0));
        let columns = [rows::text(destination), rows::number(*first_seq), rows::number(*last_seq), lines];
        rows::put(connection, "INSERT OR REPLACE INTO loss VALUES (?, ?, ?, ?, ?)", &columns)?;
    }
    Ok(())
}

/// Moves the cursor and deletes some of the epochs that it has passed; writes the lane's row.
pub(super) fn delete_acknowledged(
    connection: &Connection,
    lane: &mut Lane,
    acked: u64,
) -> rusqlite::Result<Gone> {
    lane.acked = acked;
    let mut gone = Gone::default();
    let destination = lane.destination.as_str();
    let sql = "SELECT max(first_seq) FROM (SELECT first_seq FROM epoch \
               WHERE destination = ?1 AND first_seq <= ?2 AND last_seq <= ?2 ORDER BY first_seq LIMIT ?3)";
    let key = (destination, acked.cast_signed(), DELETED_MAX.cast_signed());
    let bound: Option<i64> = connection.prepare_cached(sql)?.query_row(key, |row| row.get(0))?;
    if let Some(bound) = bound {
        let sql = "DELETE FROM epoch WHERE destination = ?1 AND first_seq <= ?2 AND last_seq <= ?3 \
                   RETURNING records, lines, lines_before, length(blob), last_seq";
        let mut last_seq = 0;
        let mut statement = connection.prepare_cached(sql)?;
        let mut deleted = statement.query((destination, bound, acked.cast_signed()))?;
        while let Some(row) = deleted.next()? {
            let number = |index| row.get::<_, i64>(index).map(i64::cast_unsigned);
            let (lines, before) = (number(1)?, number(2)?);
            gone.epochs += 1;
            gone.records = gone.records.saturating_add(number(0)?);
            gone.lines = gone.lines.saturating_add(lines);
            gone.bytes = gone.bytes.saturating_add(number(3)?);
            last_seq = last_seq.max(row.get::<_, i64>(4)?);
            lane.lines_gone = lane.lines_gone.max(before.saturating_add(lines)).min(lane.lines);
        }
        // An epoch comes back as it was as long as it is there at all, so replacements go with theirs.
        let sql = "DELETE FROM replacement WHERE destination = ?1 AND seq <= ?2";
        connection.prepare_cached(sql)?.execute((destination, last_seq))?;
        let sql = "DELETE FROM loss WHERE destination = ?1 AND last_seq <= ?2";
        connection.prepare_cached(sql)?.execute((destination, acked.cast_signed()))?;
    }
    lane::put_lane(connection, lane)?;
    Ok(gone)
}

/// Walks over the epochs from the one before `from` on, to the first one that can be read.
pub(super) fn read_unsent(
    connection: &Connection,
    coder: &mut Coder,
    lane: &Lane,
    from: u64,
    replaced: bool,
) -> Result<Option<Unsent>, RowError> {
    let destination = lane.destination.as_str();
    // One epoch further back than needed: where it ends tells how many lines a gap behind it held.
    let sql = "SELECT * FROM epoch WHERE destination = ?1 AND first_seq >= coalesce((SELECT first_seq FROM epoch \
               WHERE destination = ?1 AND first_seq < ?2 ORDER BY first_seq DESC LIMIT 1), 0) ORDER BY first_seq";
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query((destination, from.cast_signed()))?;
    let mut from = from;
    let mut lines_before = (from == lane.acked + 1).then_some(lane.lines_gone);
    while let Some(row) = found.next()? {
        let Ok(mut row) = Reader::verified(row, "epoch") else { continue };
        row.skip(1); // destination
        let (first_seq, last_seq, id) = (row.u64()?, row.u64()?, row.lane()?);
        row.skip(1); // records
        let (lines, before) = (row.u64()?, row.u64()?);
        row.skip(1); // oldest
        if last_seq < from {
            lines_before = Some(before + lines);
            continue;
        }
        if first_seq > from {
            if let Some(loss) = untold(connection, destination, from, first_seq - 1)? {
                let lines = lines_before.filter(|_| loss.first_seq == from);
                let lines = lines.map(|earlier| Lines(before.saturating_sub(earlier)));
                return Ok(Some(Unsent::Lost(Loss { lines, ..loss })));
            }
            from = first_seq;
        }
        let (form, blob) = (row.i64()?, row.blob()?);
        let batch = coder.decode(id, form, blob).filter(|batch| is_whole(batch, first_seq, last_seq));
        let Some(mut batch) = batch else { continue };
        if replaced {
            replace(connection, destination, &mut batch)?;
        }
        return Ok(Some(Unsent::Batch(batch)));
    }
    let Some(loss) = untold(connection, destination, from, lane.next_seq - 1)? else { return Ok(None) };
    let lines = lines_before.filter(|_| loss.first_seq == from);
    let lines = lines.map(|earlier| Lines(lane.lines.saturating_sub(earlier)));
    Ok(Some(Unsent::Lost(Loss { lines, ..loss })))
}

/// Whether a batch holds the records that its row promises, each once: whoever sends them counts on it.
fn is_whole(batch: &Batch, first_seq: u64, last_seq: u64) -> bool {
    let mut numbers: Vec<u64> =
        batch.messages().flat_map(|(_, _, numbers)| numbers.iter().copied()).collect();
    numbers.sort_unstable();
    numbers.into_iter().eq(first_seq..=last_seq) && batch.last_seq() == Some(last_seq)
}

/// The part of a gap behind what notices have told already.
fn untold(
    connection: &Connection,
    destination: &str,
    first: u64,
    last: u64,
) -> Result<Option<Loss>, RowError> {
    let sql = "SELECT max(last_seq) FROM loss WHERE destination = ?1 AND first_seq <= ?2 AND last_seq >= ?2";
    let told: Option<Option<i64>> = connection
        .prepare_cached(sql)?
        .query_row((destination, first.cast_signed()), |row| row.get(0))
        .optional()?;
    let first_seq = told.flatten().map_or(first, |told| told.cast_unsigned() + 1);
    Ok((first_seq <= last).then_some(Loss { first_seq, last_seq: last, lines: None }))
}

/// Puts replacements into the places of their messages.
fn replace(connection: &Connection, destination: &str, batch: &mut Batch) -> Result<(), RowError> {
    let seqs = batch.metas.iter().map(|meta| meta.seq.cast_signed());
    let (Some(first), Some(last)) = (seqs.clone().min(), seqs.max()) else { return Ok(()) };
    let sql = "SELECT * FROM replacement WHERE destination = ?1 AND seq BETWEEN ?2 AND ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let mut found = statement.query((destination, first, last))?;
    while let Some(row) = found.next()? {
        // A damaged replacement: the record as it was will be refused, and replaced, once more.
        let Ok(mut row) = Reader::verified(row, "replacement") else { continue };
        row.skip(1); // destination
        let (seq, message) = (row.u64()?, row.blob()?);
        let Some(index) = batch.metas.iter().position(|meta| meta.seq == seq) else { continue };
        let start = if index == 0 { 0 } else { batch.metas[index - 1].end };
        let end = batch.metas[index].end;
        batch.bytes.splice(start..end, message.iter().copied());
        for meta in &mut batch.metas[index..] {
            meta.end = meta.end - (end - start) + message.len();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::record::{Encoding, Kind, Meta};
    use crate::units::Timestamp;

    #[test]
    fn a_batch_holds_what_its_row_promises() {
        /// Messages with their first number and how many records they hold.
        #[track_caller]
        fn check(encoding: Encoding, messages: &[(u64, u32)], members: &[u64], want: bool) {
            let meta = |(seq, records): &(u64, u32)| Meta {
                end: 0,
                seq: *seq,
                records: *records,
                kind: Kind::Line,
                lines: Lines(1),
                key: 0,
                time: Timestamp(0),
            };
            let metas = messages.iter().map(meta).collect();
            let batch = Batch { encoding, metas, members: members.to_vec(), ..Batch::default() };
            assert_eq!(is_whole(&batch, 5, 7), want, "{messages:?} {members:?}");
        }
        use Encoding::{Record, ZstdNdjson};
        check(Record, &[(5, 1), (6, 1), (7, 1)], &[], true);
        check(ZstdNdjson, &[(5, 2), (6, 1)], &[5, 7, 6], true); // two streams, mixed
        // Found by fuzzing: sent on from the wrong number, or for ever.
        check(Record, &[(5, 1), (6, 1), (66, 1)], &[], false);
        check(Record, &[(5, 1), (6, 1), (6, 1)], &[], false);
        check(Record, &[(5, 1), (6, 1)], &[], false);
        check(Record, &[(7, 1), (6, 1), (5, 1)], &[], false);
        check(Record, &[], &[], false);
        check(ZstdNdjson, &[(5, 2), (6, 1)], &[5, 8, 6], false);
        check(ZstdNdjson, &[(5, 1), (6, 1)], &[5, 6, 7], false);
    }
}

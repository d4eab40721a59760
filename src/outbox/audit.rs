//! Does what lies in a state directory hold? The question behind `squall audit`.
//!
//! Reads only, takes no lock, and works while squall runs: all numbers are of one moment; the records are read one epoch
//! after the other, so that the log is not held on to meanwhile.
//! Checked: each stream's books (received = verbatim + summarised + noticed + held back + what open windows count), the
//! sequence from the ack cursor to the next number, each row's and each waiting epoch's checksum.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};

use super::blob::Coder;
use super::directory;
use super::lane::{self, Lane};
use super::rows::{self, Reader, RowError};
use super::schema::{self, Found};
use super::{Waiting, notification, open};
use crate::engine::ledger::Account;
use crate::engine::state::{Changes, Position};
use crate::units::{Bytes, Lines, Timestamp};

/// What was found. It holds when `problems` is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Audit {
    /// What does not hold, a sentence each.
    pub problems: Vec<String>,
    /// The destinations.
    pub lanes: Vec<LaneAudit>,
    /// The streams, by name.
    pub streams: Vec<StreamAudit>,
    /// The books of streams that have ended.
    pub past: Account,
    /// How far each file was read.
    pub positions: Vec<Position>,
}

/// One destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneAudit {
    /// Where its records go.
    pub destination: String,
    /// The id of new records' lane, in hexadecimal digits.
    pub lane: String,
    /// The number of the next record.
    pub next_seq: u64,
    /// The ack cursor.
    pub acked: u64,
    /// What waits, in whole epochs.
    pub waiting: Waiting,
    /// The time of the oldest record that waits.
    pub oldest: Option<Timestamp>,
}

/// One stream's books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamAudit {
    /// Its name.
    pub key: String,
    /// What it received, and where that went.
    pub account: Account,
    /// Lines held back in a flood, and lines in open windows.
    pub open: Lines,
    /// Lines that are missing from the books, or too many when negative: 0.
    pub error: i64,
}

/// Why nothing could be looked at.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// There is no store.
    #[error("{dir} is no state directory of squall: there is no {file} in it", dir = dir.display(), file = directory::DATABASE)]
    NoStore {
        /// The directory.
        dir: PathBuf,
    },
    /// There is a file, but not of ours.
    #[error("{path} is not a store of squall, or is too damaged to be read", path = path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// A newer squall wrote it.
    #[error("{path} has format {found}, and this squall knows up to {known}", path = path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// SQLite could not read it.
    #[error("cannot read {path}", path = path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: rusqlite::Error,
    },
}

/// Looks at the store in `dir`.
///
/// # Errors
/// When there is nothing to look at. What is wrong with a store that can be read is in [`Audit::problems`].
pub fn audit(dir: &Path) -> Result<Audit, AuditError> {
    let (path, log) = directory::files(dir);
    if !path.is_file() {
        return Err(AuditError::NoStore { dir: dir.to_path_buf() });
    }
    let failed = |source| AuditError::Sqlite { path: path.clone(), source };
    let mut connection = open::peek(&path, &log).map_err(failed)?;
    match schema::look(&connection) {
        Ok(Found::Ours) => {}
        Ok(Found::Newer(found)) => {
            return Err(AuditError::Newer { path: path.clone(), found, known: schema::FORMAT });
        }
        Ok(Found::Empty | Found::Strange(_)) => return Err(AuditError::NotOurs { path: path.clone() }),
        Err(error) if open::is_damage(&error) => return Err(AuditError::NotOurs { path: path.clone() }),
        Err(error) => return Err(failed(error)),
    }
    let mut audit = Audit::default();
    let noted = look(&mut connection, &mut audit);
    note(&mut audit, "the tables", noted).map_err(failed)?;
    Ok(audit)
}

/// Damage is a problem that was found; anything else ends the audit.
fn note(audit: &mut Audit, what: &str, result: Result<(), RowError>) -> rusqlite::Result<()> {
    match result {
        Err(RowError::Damaged(table)) => audit.problems.push(format!("{what}: a row of {table} is damaged")),
        Err(RowError::Sqlite(error)) if open::is_damage(&error) => {
            audit.problems.push(format!("{what}: {error}"));
        }
        Err(RowError::Sqlite(error)) => return Err(error),
        Ok(()) => {}
    }
    Ok(())
}

fn look(connection: &mut Connection, audit: &mut Audit) -> Result<(), RowError> {
    let snapshot = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
    let said: String = snapshot.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if said != "ok" {
        audit.problems.push(format!("the file is damaged: {said}"));
    }
    // One damaged table must not hide the others.
    let read = rows::read_changes(&snapshot).map(|changes| books(&changes, audit));
    note(audit, "streams and episodes", read)?;
    let read = rows::read_positions(&snapshot).map(|positions| audit.positions = positions);
    note(audit, "positions", read)?;
    note(audit, "FIFOs", rows::read_blocks(&snapshot).map(drop))?;
    note(audit, "notifications", notification::read(&snapshot).map(drop))?;
    let mut lanes = Vec::new();
    let read = lane::read_lanes(&snapshot).map(|found| lanes = found);
    note(audit, "destinations", read)?;
    let mut told = Vec::new();
    let read = rows::each(&snapshot, "loss", |row| {
        told.push(Told { destination: row.text()?.to_owned(), first_seq: row.u64()?, last_seq: row.u64()? });
        Ok(())
    });
    note(audit, "losses", read)?;
    for lane in &lanes {
        let listed = list_epochs(&snapshot, lane, &told, audit);
        note(audit, &lane.destination, listed)?;
    }
    drop(snapshot);
    let mut coder = Coder::new().map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    for lane in &lanes {
        let checked = check_epochs(connection, lane, &told, &mut coder, audit);
        note(audit, &lane.destination, checked)?;
    }
    Ok(())
}

/// The identity, stream by stream.
fn books(changes: &Changes, audit: &mut Audit) {
    let mut open = HashMap::<&str, Lines>::new();
    for episode in &changes.episodes {
        *open.entry(&episode.key.stream).or_default() += episode.count;
    }
    for stream in &changes.streams {
        let open = open.remove(&*stream.key).unwrap_or_default() + stream.held_back;
        let error = stream.account.error(open);
        if error != 0 {
            audit.problems.push(format!("stream {}: {error} lines of its books do not add up", stream.key));
        }
        audit.streams.push(StreamAudit { key: stream.key.clone(), account: stream.account, open, error });
    }
    for (stream, lines) in open {
        audit.problems.push(format!("stream {stream}: {lines} lines in open windows, and no books"));
    }
    audit.past = changes.totals.past;
    let error = audit.past.error(Lines(0));
    if error != 0 {
        audit.problems.push(format!("streams that have ended: {error} lines of their books do not add up"));
    }
}

/// A loss that a notice has named.
struct Told {
    destination: String,
    first_seq: u64,
    last_seq: u64,
}

impl Told {
    fn covers(&self, lane: &Lane, first: u64, last: u64) -> bool {
        self.destination == lane.destination && self.first_seq <= first && last <= self.last_seq
    }
}

/// What waits, and whether the numbers are without a gap.
fn list_epochs(snapshot: &Connection, lane: &Lane, told: &[Told], audit: &mut Audit) -> Result<(), RowError> {
    let sql = "SELECT first_seq, last_seq, records, lines, length(blob), oldest FROM epoch \
               WHERE destination = ?1 AND last_seq > ?2 ORDER BY first_seq";
    let mut statement = snapshot.prepare(sql)?;
    let mut found = statement.query((&lane.destination, lane.acked.cast_signed()))?;
    let (mut waiting, mut oldest, mut next) = (Waiting::default(), None, lane.acked + 1);
    let mut gap = |first: u64, last: u64| {
        if first <= last && !told.iter().any(|told| told.covers(lane, first, last)) {
            audit.problems.push(format!("{}: records {first} to {last} are missing", lane.destination));
        }
    };
    while let Some(row) = found.next()? {
        let number = |index| row.get::<_, i64>(index).map(i64::cast_unsigned);
        gap(next, number(0)?.saturating_sub(1));
        next = number(1)?.saturating_add(1);
        waiting.records = waiting.records.saturating_add(number(2)?);
        waiting.lines = Lines(waiting.lines.0.saturating_add(number(3)?));
        waiting.bytes += Bytes(number(4)?);
        let time = Timestamp(row.get(5)?);
        oldest = Some(oldest.map_or(time, |oldest: Timestamp| oldest.min(time)));
    }
    gap(next, lane.next_seq - 1);
    audit.lanes.push(LaneAudit {
        destination: lane.destination.clone(),
        lane: lane.id.to_string(),
        next_seq: lane.next_seq,
        acked: lane.acked,
        waiting,
        oldest,
    });
    Ok(())
}

/// Reads every epoch that waits. One that is acknowledged meanwhile is simply not there any more.
fn check_epochs(
    connection: &Connection,
    lane: &Lane,
    told: &[Told],
    coder: &mut Coder,
    audit: &mut Audit,
) -> Result<(), RowError> {
    let sql = "SELECT * FROM epoch WHERE destination = ?1 AND first_seq > ?2 AND first_seq < ?3 AND last_seq > ?4 \
               ORDER BY first_seq LIMIT 1";
    let mut statement = connection.prepare(sql)?;
    let mut after: i64 = -1;
    loop {
        let key = (&lane.destination, after, lane.next_seq.cast_signed(), lane.acked.cast_signed());
        let mut found = statement.query(key)?;
        let Some(row) = found.next()? else { return Ok(()) };
        after = row.get(1)?;
        let (first, last) =
            (after.cast_unsigned().max(lane.acked + 1), row.get::<_, i64>(2)?.cast_unsigned());
        if !is_readable(row, coder)? && !told.iter().any(|told| told.covers(lane, first, last)) {
            audit.problems.push(format!("{}: records {first} to {last} are damaged", lane.destination));
        }
    }
}

fn is_readable(row: &rusqlite::Row<'_>, coder: &mut Coder) -> Result<bool, RowError> {
    let Ok(mut row) = Reader::verified(row, "epoch") else { return Ok(false) };
    row.skip(3);
    let lane = row.lane()?;
    row.skip(4);
    let form = row.i64()?;
    Ok(coder.decode(lane, form, row.blob()?).is_some())
}

//! A damaged store → a new one with every row that is whole.
//!
//! Reading goes from both ends of a table to where its tree is broken. The new store is made beside the old one and takes
//! its place only when it is complete, so a crash in between loses nothing.
//! Needs, for a while, as much disk again as the store holds.

use std::fs::File;
use std::io;

use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::directory::Directory;
use super::lane::{self, Lane};
use super::rows;
use super::schema::{self, Meta, TABLES};
use crate::engine::record::LaneId;

/// Why there is no new store.
#[derive(Debug)]
pub(super) enum Failure {
    /// A file could not be written.
    Io(io::Error),
    /// The new store could not be written.
    Sqlite(rusqlite::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Io(error)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        Failure::Sqlite(error)
    }
}

/// Writes what is whole in the directory's store to a new one beside it.
pub(super) fn salvage(directory: &Directory) -> Result<(), Failure> {
    directory.clear_salvage()?;
    directory.touch(&directory.salvaged())?;
    let target = Connection::open(directory.salvaged())?;
    // A crash makes the next start begin anew, so nothing need be safe before the end.
    target.execute_batch(
        "PRAGMA page_size = 4096; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN",
    )?;
    schema::create(&target)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // What cannot even be opened has nothing to give.
    if let Ok(source) = Connection::open_with_flags(directory.database(), flags) {
        // If this fails, reading fails too.
        let _ = source.execute_batch("PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF");
        let pages = std::fs::metadata(directory.database())?.len() / 4096;
        // A broken tree can lead in circles. No page holds more rows than this.
        let rows_max = 4096 + pages * 128;
        for (table, _, key) in TABLES.into_iter().filter(|(table, ..)| *table != "meta") {
            copy(&source, &target, table, key, rows_max)?;
        }
    }
    restore_lanes(&target)?;
    // Numbers may have been used that are lost. This is written with the rows, so that no crash can separate them.
    for lane in lane::read_lanes(&target).unwrap_or_default() {
        lane::put_lane(&target, &Lane { stale: true, ..lane })?;
    }
    schema::write_meta(&target, &Meta::unknown())?;
    target.execute_batch("COMMIT")?;
    target.close().map_err(|(_, error)| error)?;
    Ok(File::open(directory.salvaged())?.sync_all()?)
}

/// Copies the rows of a table that are whole.
fn copy(
    source: &Connection,
    target: &Connection,
    table: &str,
    key: &[&str],
    rows_max: u64,
) -> rusqlite::Result<()> {
    for direction in ["ASC", "DESC"] {
        let order: Vec<String> = key.iter().map(|column| format!("{column} {direction}")).collect();
        let sql = format!("SELECT * FROM {table} ORDER BY {}", order.join(", "));
        // A table that cannot be read at all, or no further, has given what it has.
        let Ok(mut statement) = source.prepare(&sql) else { return Ok(()) };
        let count = statement.column_count();
        let places = vec!["?"; count].join(", ");
        let mut insert = target.prepare(&format!("INSERT OR IGNORE INTO {table} VALUES ({places})"))?;
        let Ok(mut found) = statement.query([]) else { return Ok(()) };
        let mut left = rows_max;
        let reached_the_end = loop {
            let row = match found.next() {
                Ok(Some(row)) if left > 0 => row,
                Ok(Some(_)) | Err(_) => break false,
                Ok(None) => break true,
            };
            left -= 1;
            if !rows::is_whole(row).unwrap_or(false) {
                continue;
            }
            for index in 0..count {
                insert.raw_bind_parameter(index + 1, ToSqlOutput::Borrowed(row.get_ref(index)?))?;
            }
            match insert.raw_execute() {
                // A row that the table refuses is not one of ours.
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {}
                done => drop(done?),
            }
        };
        if reached_the_end {
            return Ok(());
        }
    }
    Ok(())
}

/// Makes rows anew for destinations that have epochs and lost their own row.
fn restore_lanes(target: &Connection) -> rusqlite::Result<()> {
    let sql = "SELECT destination, min(first_seq), max(last_seq), min(lines_before), max(lines_before + lines), lane \
               FROM epoch WHERE destination NOT IN (SELECT destination FROM lane) GROUP BY destination";
    let mut statement = target.prepare(sql)?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let number = |index| row.get::<_, i64>(index).map(i64::cast_unsigned);
        let id = u128::from_str_radix(&row.get::<_, String>(5)?, 16).unwrap_or_default();
        let lane = Lane {
            acked: number(1)?.saturating_sub(1),
            next_seq: number(2)? + 1,
            lines_gone: number(3)?,
            lines: number(4)?,
            ..Lane::new(&row.get::<_, String>(0)?, LaneId(id))
        };
        lane::put_lane(target, &lane)?;
    }
    Ok(())
}

//! Destinations: which of the records for each are numbered, acknowledged, and deleted.

use rusqlite::Connection;

use super::rows::{RowError, each, number, put, text};
use crate::engine::record::LaneId;

/// The row of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lane {
    pub(super) destination: String,
    pub(super) id: LaneId,
    /// Its id may not number new records.
    pub(super) stale: bool,
    pub(super) next_seq: u64,
    pub(super) acked: u64,
    /// Lines ever committed.
    pub(super) lines: u64,
    /// Those of them in epochs that are deleted.
    pub(super) lines_gone: u64,
}

impl Lane {
    /// A destination that was never written to.
    pub(super) fn new(destination: &str, id: LaneId) -> Lane {
        let destination = destination.to_owned();
        Lane { destination, id, stale: false, next_seq: 1, acked: 0, lines: 0, lines_gone: 0 }
    }
}

/// All destinations.
pub(super) fn read_lanes(connection: &Connection) -> Result<Vec<Lane>, RowError> {
    let mut lanes = Vec::new();
    each(connection, "lane", |row| {
        lanes.push(Lane {
            destination: row.text()?.to_owned(),
            id: row.lane()?,
            stale: row.u64()? != 0,
            next_seq: row.u64()?,
            acked: row.u64()?,
            lines: row.u64()?,
            lines_gone: row.u64()?,
        });
        Ok(())
    })?;
    Ok(lanes)
}

/// Writes the row of one.
pub(super) fn put_lane(connection: &Connection, lane: &Lane) -> rusqlite::Result<()> {
    let id = lane.id.to_string();
    let columns = [
        text(&lane.destination),
        text(&id),
        number(u64::from(lane.stale)),
        number(lane.next_seq),
        number(lane.acked),
        number(lane.lines),
        number(lane.lines_gone),
    ];
    put(connection, "INSERT OR REPLACE INTO lane VALUES (?, ?, ?, ?, ?, ?, ?, ?)", &columns)
}

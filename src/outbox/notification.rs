//! What people are to be told, as rows: written with the epoch that says so, taken out when everybody has been told.
//!
//! A notification is kept as JSON, so that somebody who looks into the store can read it. One that cannot be understood,
//! because another version wrote it, is passed over: it is worth no more than a message.

use rusqlite::Connection;

use super::Told;
use super::rows::{self, Reader, RowError};
use super::schema::{NOTIFICATION, NOTIFIED};
use crate::engine::record::notification::Notification;

/// A notification that somebody has still to be told, or whose end is still to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptNotification {
    /// The notification.
    pub notification: Notification,
    /// The receivers that have settled it.
    pub told: Vec<String>,
}

/// Puts in what is to be told.
pub(super) fn put(connection: &Connection, notifications: &[Notification]) -> rusqlite::Result<()> {
    for notification in notifications {
        let detail = serde_json::to_string(notification)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        let columns =
            [rows::number(notification.episode), rows::text(notification.state()), rows::text(&detail)];
        rows::put(connection, "INSERT OR REPLACE INTO notification VALUES (?, ?, ?, ?)", &columns)?;
    }
    Ok(())
}

/// Notes who was told.
pub(super) fn put_told(connection: &Connection, told: &[Told]) -> rusqlite::Result<()> {
    for Told { episode, state, receiver } in told {
        let columns = [rows::number(*episode), rows::text(state), rows::text(receiver)];
        rows::put(connection, "INSERT OR REPLACE INTO notified VALUES (?, ?, ?, ?)", &columns)?;
    }
    Ok(())
}

/// Forgets firings.
pub(super) fn forget(connection: &Connection, over: &[u64]) -> rusqlite::Result<()> {
    for episode in over {
        for table in [NOTIFICATION, NOTIFIED] {
            let sql = format!("DELETE FROM {table} WHERE episode = ?");
            connection.prepare_cached(&sql)?.execute([episode.cast_signed()])?;
        }
    }
    Ok(())
}

/// Everything that is kept, in the order in which it happened.
pub(super) fn read(connection: &Connection) -> Result<Vec<KeptNotification>, RowError> {
    let mut kept = Vec::new();
    if connection.table_exists(None, NOTIFICATION)? {
        rows::each(connection, NOTIFICATION, |row| {
            row.skip(2); // episode, state
            if let Ok(notification) = serde_json::from_str(row.text()?) {
                kept.push(KeptNotification { notification, told: Vec::new() });
            }
            Ok(())
        })?;
    }
    if connection.table_exists(None, NOTIFIED)? {
        rows::each(connection, NOTIFIED, |row: &mut Reader<'_>| {
            let (episode, state, receiver) = (row.u64()?, row.text()?, row.text()?);
            let is_it = |kept: &&mut KeptNotification| {
                (kept.notification.episode, kept.notification.state()) == (episode, state)
            };
            if let Some(kept) = kept.iter_mut().find(is_it) {
                kept.told.push(receiver.to_owned());
            }
            Ok(())
        })?;
    }
    // The beginning of a firing stands before its end: `firing` before `resolved`.
    kept.sort_by_key(|kept| (kept.notification.episode, kept.notification.is_resolved));
    Ok(kept)
}

//! The tables, and the version of their format.
//!
//! Made to be looked into with the `sqlite3` tool. The last column of each row is the xxh3-64 of those before it
//! (`rows`): SQLite finds a broken tree, but not a flipped bit in a number. Numbers are SQLite's, with a sign; those
//! that use all 64 bits (inodes, hashes) are the same bits.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _};

use super::Durability;
use super::directory::Identity;
use super::rows::{self, Reader, RowError};

/// The format of stores made by this version. It stands in `user_version` and in `meta`.
pub(super) const FORMAT: u32 = 1;

/// The tables, each with the statement that makes it and the columns of its key.
pub(super) const TABLES: [(&str, &str, &[&str]); 14] = [
    // One row: which store this is, and how it was left.
    (
        "meta",
        "CREATE TABLE meta (id INTEGER PRIMARY KEY, format INTEGER NOT NULL, machine TEXT NOT NULL, \
         directory INTEGER NOT NULL, file INTEGER NOT NULL, born INTEGER NOT NULL, boot TEXT NOT NULL, durability TEXT NOT NULL, \
         clean INTEGER NOT NULL, checksum INTEGER NOT NULL) STRICT",
        &["id"],
    ),
    // A row a destination. `lines` were ever committed for it, `lines_gone` of them in epochs that are deleted. The id
    // of a lane that is `stale` must not number new records.
    (
        "lane",
        "CREATE TABLE lane (destination TEXT PRIMARY KEY, id TEXT NOT NULL, stale INTEGER NOT NULL, \
         next_seq INTEGER NOT NULL, acked INTEGER NOT NULL, lines INTEGER NOT NULL, lines_gone INTEGER NOT NULL, \
         checksum INTEGER NOT NULL) STRICT, WITHOUT ROWID",
        &["destination"],
    ),
    // The records that are not acknowledged. `lines_before` were committed for the destination before this epoch: it
    // tells how many lines a neighbour held that cannot be read any more.
    (
        "epoch",
        "CREATE TABLE epoch (destination TEXT NOT NULL, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, \
         lane TEXT NOT NULL, records INTEGER NOT NULL, lines INTEGER NOT NULL, lines_before INTEGER NOT NULL, \
         oldest INTEGER NOT NULL, form INTEGER NOT NULL, blob BLOB NOT NULL, checksum INTEGER NOT NULL, \
         PRIMARY KEY (destination, first_seq)) STRICT, WITHOUT ROWID",
        &["destination", "first_seq"],
    ),
    // Messages that were refused, and what is sent in their place (`rev` 1).
    (
        "replacement",
        "CREATE TABLE replacement (destination TEXT NOT NULL, seq INTEGER NOT NULL, message BLOB NOT NULL, \
         checksum INTEGER NOT NULL, PRIMARY KEY (destination, seq)) STRICT, WITHOUT ROWID",
        &["destination", "seq"],
    ),
    // Records that are lost, and that a notice has named.
    (
        "loss",
        "CREATE TABLE loss (destination TEXT NOT NULL, first_seq INTEGER NOT NULL, last_seq INTEGER NOT NULL, \
         lines INTEGER, checksum INTEGER NOT NULL, PRIMARY KEY (destination, first_seq)) STRICT, WITHOUT ROWID",
        &["destination", "first_seq"],
    ),
    (
        "position",
        "CREATE TABLE position (device INTEGER NOT NULL, inode INTEGER NOT NULL, born TEXT NOT NULL, \
         path ANY NOT NULL, source ANY NOT NULL, resume INTEGER NOT NULL, read INTEGER NOT NULL, \
         size INTEGER NOT NULL, head_length INTEGER NOT NULL, head INTEGER NOT NULL, marker INTEGER NOT NULL, \
         ended INTEGER NOT NULL, checksum INTEGER NOT NULL, PRIMARY KEY (device, inode, born)) STRICT, WITHOUT ROWID",
        &["device", "inode", "born"],
    ),
    (
        "stream",
        "CREATE TABLE stream (key TEXT PRIMARY KEY, received INTEGER NOT NULL, verbatim INTEGER NOT NULL, \
         summarised INTEGER NOT NULL, noticed INTEGER NOT NULL, held_back INTEGER NOT NULL, \
         partial INTEGER NOT NULL, detail BLOB NOT NULL, checksum INTEGER NOT NULL) STRICT, WITHOUT ROWID",
        &["key"],
    ),
    (
        "episode",
        "CREATE TABLE episode (stream TEXT NOT NULL, template TEXT NOT NULL, parse_error INTEGER NOT NULL, \
         episode INTEGER NOT NULL, window INTEGER NOT NULL, count INTEGER NOT NULL, total INTEGER NOT NULL, \
         first INTEGER NOT NULL, last INTEGER NOT NULL, detail BLOB NOT NULL, checksum INTEGER NOT NULL, \
         PRIMARY KEY (stream, template, parse_error)) STRICT, WITHOUT ROWID",
        &["stream", "template", "parse_error"],
    ),
    // One row: what belongs to no stream.
    (
        "totals",
        "CREATE TABLE totals (id INTEGER PRIMARY KEY, past_received INTEGER NOT NULL, \
         past_verbatim INTEGER NOT NULL, past_summarised INTEGER NOT NULL, past_noticed INTEGER NOT NULL, \
         bytes_in INTEGER NOT NULL, bytes_out INTEGER NOT NULL, summaries INTEGER NOT NULL, \
         notices INTEGER NOT NULL, templates INTEGER NOT NULL, next_episode INTEGER NOT NULL, \
         next_window INTEGER NOT NULL, next_seq INTEGER NOT NULL, checksum INTEGER NOT NULL) STRICT",
        &["id"],
    ),
    // What else is counted over restarts, by name.
    (
        TALLY,
        "CREATE TABLE tally (name TEXT PRIMARY KEY, count INTEGER NOT NULL, checksum INTEGER NOT NULL) \
         STRICT, WITHOUT ROWID",
        &["name"],
    ),
    // What the rules of alerts measure and how they stand. `stream` is empty where all lines are judged together.
    (
        ALERT,
        "CREATE TABLE alert (rule_group TEXT NOT NULL, rule TEXT NOT NULL, stream TEXT NOT NULL, \
         detail BLOB NOT NULL, checksum INTEGER NOT NULL, PRIMARY KEY (rule_group, rule, stream)) \
         STRICT, WITHOUT ROWID",
        &["rule_group", "rule", "stream"],
    ),
    // What was taken last out of each FIFO of Docker's, and may still be in it.
    (
        FIFO,
        "CREATE TABLE fifo (name TEXT PRIMARY KEY, start INTEGER NOT NULL, length INTEGER NOT NULL, \
         hash TEXT NOT NULL, checksum INTEGER NOT NULL) STRICT, WITHOUT ROWID",
        &["name"],
    ),
    // What people are to be told of alerts: a row for each turn of a firing, until its end was told.
    (
        NOTIFICATION,
        "CREATE TABLE notification (episode INTEGER NOT NULL, state TEXT NOT NULL, detail TEXT NOT NULL, \
         checksum INTEGER NOT NULL, PRIMARY KEY (episode, state)) STRICT, WITHOUT ROWID",
        &["episode", "state"],
    ),
    // Who was told of it, or could not be. A row of its own: it comes from elsewhere than the next turn.
    (
        NOTIFIED,
        "CREATE TABLE notified (episode INTEGER NOT NULL, state TEXT NOT NULL, receiver TEXT NOT NULL, \
         checksum INTEGER NOT NULL, PRIMARY KEY (episode, state, receiver)) STRICT, WITHOUT ROWID",
        &["episode", "state", "receiver"],
    ),
];

/// The tables that the first stores do not have. They are made when such a store is opened; versions that do not know them
/// pass over them, so the format is the same.
const LATER: [&str; 5] = [TALLY, ALERT, FIFO, NOTIFICATION, NOTIFIED];
pub(super) const TALLY: &str = "tally";
pub(super) const ALERT: &str = "alert";
pub(super) const FIFO: &str = "fifo";
pub(super) const NOTIFICATION: &str = "notification";
pub(super) const NOTIFIED: &str = "notified";

/// What a database turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing is in it yet.
    Empty,
    /// A store of our format.
    Ours,
    /// A store of this format, which is newer.
    Newer(u32),
    /// Something else.
    Strange(&'static str),
}

/// The row of `meta`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) identity: Identity,
    /// The start of the machine in which it was opened last.
    pub(super) boot: String,
    /// How it was opened last.
    pub(super) durability: Durability,
    /// Whether it was closed in order.
    pub(super) clean: bool,
}

impl Meta {
    /// That of a store which was made and not used yet.
    pub(super) fn unknown() -> Meta {
        let identity = Identity::default();
        Meta { identity, boot: String::new(), durability: Durability::Disk, clean: true }
    }
}

/// Makes all tables in an empty database.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    for (_, sql, _) in TABLES {
        connection.execute_batch(sql)?;
    }
    connection.pragma_update(None, "user_version", FORMAT)
}

/// Makes the tables that a store of an earlier version does not have.
pub(super) fn complete(connection: &Connection) -> rusqlite::Result<()> {
    for (name, sql, _) in TABLES.into_iter().filter(|(name, ..)| LATER.contains(name)) {
        if !connection.table_exists(None, name)? {
            connection.execute_batch(sql)?;
        }
    }
    Ok(())
}

/// Looks whether the tables are there as they should be. Tables beyond them are the user's.
pub(super) fn look(connection: &Connection) -> rusqlite::Result<Found> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let count: u32 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if version == 0 && count == 0 {
        return Ok(Found::Empty);
    }
    // A newer format says so in both places; in one of them it is a flipped bit.
    let newer = |format: &u32| *format > FORMAT && *format == version;
    let format = connection.query_row("SELECT format FROM meta", [], |row| row.get(0)).optional();
    if let Some(format) = format.unwrap_or_default().filter(newer) {
        return Ok(Found::Newer(format));
    }
    if version != FORMAT {
        return Ok(Found::Strange("it has no known format version"));
    }
    for (name, want, _) in TABLES {
        let sql: Option<String> = connection
            .query_row("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?1", [name], |row| {
                row.get(0)
            })
            .optional()?;
        let is_older = sql.is_none() && LATER.contains(&name);
        if sql.as_deref() != Some(want) && !is_older {
            return Ok(Found::Strange("a table is missing or is not as it was made"));
        }
    }
    Ok(Found::Ours)
}

/// Reads the row of `meta`.
pub(super) fn read_meta(connection: &Connection) -> Result<Meta, RowError> {
    let mut statement = connection.prepare_cached("SELECT * FROM meta WHERE id = 1")?;
    let mut found = statement.query([])?;
    let row = found.next()?.ok_or(RowError::Damaged("meta"))?;
    let mut columns = Reader::verified(row, "meta")?;
    columns.skip(2); // id, format
    let machine = columns.text()?.to_owned();
    let (directory, file, born) = (columns.u64()?, columns.u64()?, columns.i64()?);
    let identity = Identity { machine, directory, file, born };
    Ok(Meta {
        identity,
        boot: columns.text()?.to_owned(),
        durability: if columns.text()? == PROCESS { Durability::Process } else { Durability::Disk },
        clean: columns.u64()? != 0,
    })
}

/// Writes the row of `meta`.
pub(super) fn write_meta(connection: &Connection, meta: &Meta) -> rusqlite::Result<()> {
    let Meta { identity, boot, durability, clean } = meta;
    let durability = match durability {
        Durability::Disk => DISK,
        Durability::Process => PROCESS,
    };
    let columns = [
        rows::number(1),
        rows::number(u64::from(FORMAT)),
        rows::text(&identity.machine),
        rows::number(identity.directory),
        rows::number(identity.file),
        ValueRef::Integer(identity.born),
        rows::text(boot),
        rows::text(durability),
        rows::number(u64::from(*clean)),
    ];
    rows::put(connection, "INSERT OR REPLACE INTO meta VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", &columns)
}

const DISK: &str = "disk";
const PROCESS: &str = "process";

//! Rows: the engine's plain data and the files' positions as columns, each row with its checksum.
//!
//! Invariant: a row that is read was written by us, whole: its last column is the xxh3-64 of those before it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row};
use xxhash_rust::xxh3::Xxh3;

use super::lane::{Lane, read_lanes};
use super::notification::{self, KeptNotification};
use super::schema::{ALERT, FIFO, TALLY};
use crate::engine::ledger::Account;
use crate::engine::record::LaneId;
use crate::engine::state::{
    AlertKey, AlertState, Block, Changes, EpisodeKey, EpisodeState, FileId, Position, StreamState, Totals,
};
use crate::engine::storm::throttle::KeptLimit;
use crate::engine::template::mask::TemplateId;
use crate::units::{Lines, Timestamp};

/// Why a row cannot be read.
#[derive(Debug)]
pub(super) enum RowError {
    /// SQLite failed.
    Sqlite(rusqlite::Error),
    /// A row of this table is not what was written.
    Damaged(&'static str),
}

impl From<rusqlite::Error> for RowError {
    fn from(error: rusqlite::Error) -> RowError {
        RowError::Sqlite(error)
    }
}

pub(super) fn number(number: u64) -> ValueRef<'static> {
    ValueRef::Integer(number.cast_signed())
}

pub(super) fn text(text: &str) -> ValueRef<'_> {
    ValueRef::Text(text.as_bytes())
}

/// A path as text where it is text, so that people can read it; else its bytes.
fn path(path: &Path) -> ValueRef<'_> {
    let bytes = path.as_os_str().as_bytes();
    if std::str::from_utf8(bytes).is_ok() { ValueRef::Text(bytes) } else { ValueRef::Blob(bytes) }
}

/// The checksum of a row's columns. Kinds and lengths are hashed in, so that columns cannot flow into each other.
fn checksum<'v>(columns: impl IntoIterator<Item = ValueRef<'v>>) -> i64 {
    let mut hash = Xxh3::new();
    for column in columns {
        let (kind, bytes) = match column {
            ValueRef::Null => (0u8, &[][..]),
            ValueRef::Integer(number) => (1, &number.to_le_bytes()[..]),
            ValueRef::Real(number) => (2, &number.to_bits().to_le_bytes()[..]),
            ValueRef::Text(bytes) => (3, bytes),
            ValueRef::Blob(bytes) => (4, bytes),
        };
        let mut head = [kind; 9];
        head[1..].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        hash.update(&head);
        hash.update(bytes);
    }
    hash.digest().cast_signed()
}

/// Runs a statement that writes one row: `columns`, then their checksum.
pub(super) fn put(connection: &Connection, sql: &str, columns: &[ValueRef<'_>]) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(sql)?;
    for (index, column) in columns.iter().enumerate() {
        statement.raw_bind_parameter(index + 1, ToSqlOutput::Borrowed(*column))?;
    }
    statement.raw_bind_parameter(columns.len() + 1, checksum(columns.iter().copied()))?;
    statement.raw_execute().map(drop)
}

/// Whether the row is as it was written.
pub(super) fn is_whole(row: &Row<'_>) -> rusqlite::Result<bool> {
    let last = row.as_ref().column_count() - 1;
    let mut columns = Vec::with_capacity(last);
    for index in 0..last {
        columns.push(row.get_ref(index)?);
    }
    Ok(matches!(row.get_ref(last)?, ValueRef::Integer(stored) if stored == checksum(columns)))
}

/// The columns of one row, from left to right.
pub(super) struct Reader<'r> {
    row: &'r Row<'r>,
    table: &'static str,
    next: usize,
}

impl<'r> Reader<'r> {
    /// The columns of a row that is whole.
    pub(super) fn verified(row: &'r Row<'r>, table: &'static str) -> Result<Reader<'r>, RowError> {
        if is_whole(row)? { Ok(Reader { row, table, next: 0 }) } else { Err(RowError::Damaged(table)) }
    }

    /// Passes over columns.
    pub(super) fn skip(&mut self, columns: usize) {
        self.next += columns;
    }

    fn value(&mut self) -> Result<ValueRef<'r>, RowError> {
        self.next += 1;
        Ok(self.row.get_ref(self.next - 1)?)
    }

    pub(super) fn i64(&mut self) -> Result<i64, RowError> {
        let table = self.table;
        self.value()?.as_i64().map_err(|_| RowError::Damaged(table))
    }

    pub(super) fn u64(&mut self) -> Result<u64, RowError> {
        self.i64().map(i64::cast_unsigned)
    }

    fn lines(&mut self) -> Result<Lines, RowError> {
        self.u64().map(Lines)
    }

    pub(super) fn text(&mut self) -> Result<&'r str, RowError> {
        let table = self.table;
        self.value()?.as_str().map_err(|_| RowError::Damaged(table))
    }

    pub(super) fn blob(&mut self) -> Result<&'r [u8], RowError> {
        let table = self.table;
        self.value()?.as_blob().map_err(|_| RowError::Damaged(table))
    }

    pub(super) fn lane(&mut self) -> Result<LaneId, RowError> {
        self.hex().map(LaneId)
    }

    fn hex(&mut self) -> Result<u128, RowError> {
        let table = self.table;
        u128::from_str_radix(self.text()?, 16).map_err(|_| RowError::Damaged(table))
    }

    fn path(&mut self) -> Result<PathBuf, RowError> {
        match self.value()? {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Ok(PathBuf::from(OsStr::from_bytes(bytes))),
            _ => Err(RowError::Damaged(self.table)),
        }
    }

    fn account(&mut self) -> Result<Account, RowError> {
        let (received, verbatim) = (self.lines()?, self.lines()?);
        Ok(Account { received, verbatim, summarised: self.lines()?, noticed: self.lines()? })
    }
}

/// Hands every row of a table to `take`.
pub(super) fn each(
    connection: &Connection,
    table: &'static str,
    mut take: impl FnMut(&mut Reader<'_>) -> Result<(), RowError>,
) -> Result<(), RowError> {
    let mut statement = connection.prepare(&format!("SELECT * FROM {table}"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        take(&mut Reader::verified(row, table)?)?;
    }
    Ok(())
}

/// Everything but the records.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) lanes: Vec<Lane>,
    pub(super) changes: Changes,
    pub(super) positions: Vec<Position>,
    pub(super) blocks: Vec<Block>,
    pub(super) notifications: Vec<KeptNotification>,
}

/// Reads all of it.
pub(super) fn read_all(connection: &Connection) -> Result<Rows, RowError> {
    Ok(Rows {
        lanes: read_lanes(connection)?,
        changes: read_changes(connection)?,
        positions: read_positions(connection)?,
        blocks: read_blocks(connection)?,
        notifications: notification::read(connection)?,
    })
}

/// Everything the engine needs.
pub(super) fn read_changes(connection: &Connection) -> Result<Changes, RowError> {
    let mut changes = Changes::default();
    each(connection, "stream", |row| {
        let (key, account) = (row.text()?.to_owned(), row.account()?);
        let (held_back, partial) = (row.lines()?, row.lines()?);
        changes.streams.push(StreamState { key, account, held_back, partial, detail: row.blob()?.to_vec() });
        Ok(())
    })?;
    each(connection, "episode", |row| {
        let (stream, template) = (row.text()?.to_owned(), TemplateId(row.hex()?));
        changes.episodes.push(EpisodeState {
            key: EpisodeKey { stream, template, parse_error: row.u64()? != 0 },
            episode: row.u64()?,
            window: row.u64()?,
            count: row.lines()?,
            total: row.lines()?,
            first: Timestamp(row.i64()?),
            last: Timestamp(row.i64()?),
            detail: row.blob()?.to_vec(),
        });
        Ok(())
    })?;
    each(connection, "totals", |row| {
        row.skip(1); // id
        changes.totals = Totals {
            past: row.account()?,
            bytes_in: row.u64()?,
            bytes_out: row.u64()?,
            summaries: row.u64()?,
            notices: row.u64()?,
            templates: row.u64()?,
            next_episode: row.u64()?,
            next_window: row.u64()?,
            next_seq: row.u64()?,
            ..changes.totals
        };
        Ok(())
    })?;
    if connection.table_exists(None, TALLY)? {
        each(connection, TALLY, |row| {
            let name = row.text()?;
            let count = row.u64()?;
            // A version that knows more may have written others.
            match name {
                LOOPS => changes.totals.loops = count,
                ALERTS => changes.totals.alerts = count,
                NOTICED_NOVELTY => changes.totals.noticed.novelty_flood = Lines(count),
                NOTICED_SHED => changes.totals.noticed.shed = Lines(count),
                LIMITED => changes.totals.limited = Lines(count),
                LIMIT_PER_SECOND => changes.totals.limit.per_second = count,
                LIMIT_BURST => changes.totals.limit.burst = count,
                LIMIT_RATE => changes.totals.limit.rate = count,
                LIMIT_NEXT => changes.totals.limit.next = count,
                LIMIT_RETURNING => changes.totals.limit.returning = count,
                NOTICED_DAMAGED => changes.totals.noticed.store_damaged = Lines(count),
                _ => {}
            }
            Ok(())
        })?;
    }
    if connection.table_exists(None, ALERT)? {
        each(connection, ALERT, |row| {
            let (group, rule) = (row.text()?.to_owned(), row.text()?.to_owned());
            let key = AlertKey { group, rule, stream: row.text()?.to_owned() };
            changes.alerts.push(AlertState { key, detail: row.blob()?.to_vec() });
            Ok(())
        })?;
    }
    Ok(changes)
}

/// How far each file was read.
pub(super) fn read_positions(connection: &Connection) -> Result<Vec<Position>, RowError> {
    let mut positions = Vec::new();
    each(connection, "position", |row| {
        let (device, inode, born) = (row.u64()?, row.u64()?, row.text()?);
        let born = born.parse().map_err(|_| RowError::Damaged("position"))?;
        positions.push(Position {
            file: FileId { device, inode, born },
            path: row.path()?,
            source: row.path()?,
            resume: row.u64()?,
            read: row.u64()?,
            size: row.u64()?,
            head_length: u16::try_from(row.u64()?).map_err(|_| RowError::Damaged("position"))?,
            head: row.u64()?,
            marker: row.u64()?,
            ended: row.u64()? != 0,
        });
        Ok(())
    })?;
    Ok(positions)
}

/// What was taken last out of each FIFO.
pub(super) fn read_blocks(connection: &Connection) -> Result<Vec<Block>, RowError> {
    let mut blocks = Vec::new();
    if connection.table_exists(None, FIFO)? {
        each(connection, FIFO, |row| {
            let (fifo, offset, length) = (row.text()?.to_owned(), row.u64()?, row.u64()?);
            blocks.push(Block { fifo, offset, length, hash: row.hex()? });
            Ok(())
        })?;
    }
    Ok(blocks)
}

/// Takes out what is gone, then puts in what has changed: an entry's next episode may begin in the same epoch.
pub(super) fn write_changes(connection: &Connection, changes: &Changes) -> rusqlite::Result<()> {
    for key in &changes.streams_gone {
        connection.prepare_cached("DELETE FROM stream WHERE key = ?")?.execute([key])?;
    }
    for EpisodeKey { stream, template, parse_error } in &changes.episodes_gone {
        let sql = "DELETE FROM episode WHERE stream = ? AND template = ? AND parse_error = ?";
        connection.prepare_cached(sql)?.execute((stream, template.to_string(), parse_error))?;
    }
    for AlertKey { group, rule, stream } in &changes.alerts_gone {
        let sql = "DELETE FROM alert WHERE rule_group = ? AND rule = ? AND stream = ?";
        connection.prepare_cached(sql)?.execute((group, rule, stream))?;
    }
    for AlertState { key, detail } in &changes.alerts {
        let columns = [text(&key.group), text(&key.rule), text(&key.stream), ValueRef::Blob(detail)];
        put(connection, "INSERT OR REPLACE INTO alert VALUES (?, ?, ?, ?, ?)", &columns)?;
    }
    for stream in &changes.streams {
        let [received, verbatim, summarised, noticed] = account(stream.account);
        let (held_back, partial) = (number(stream.held_back.0), number(stream.partial.0));
        let detail = ValueRef::Blob(&stream.detail);
        let key = text(&stream.key);
        let columns = [key, received, verbatim, summarised, noticed, held_back, partial, detail];
        put(connection, "INSERT OR REPLACE INTO stream VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", &columns)?;
    }
    for episode in &changes.episodes {
        let template = episode.key.template.to_string();
        let columns = [
            text(&episode.key.stream),
            text(&template),
            number(u64::from(episode.key.parse_error)),
            number(episode.episode),
            number(episode.window),
            number(episode.count.0),
            number(episode.total.0),
            ValueRef::Integer(episode.first.0),
            ValueRef::Integer(episode.last.0),
            ValueRef::Blob(&episode.detail),
        ];
        let sql = "INSERT OR REPLACE INTO episode VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        put(connection, sql, &columns)?;
    }
    write_totals(connection, &changes.totals)
}

fn account(account: Account) -> [ValueRef<'static>; 4] {
    [account.received, account.verbatim, account.summarised, account.noticed].map(|lines| number(lines.0))
}

fn write_totals(connection: &Connection, totals: &Totals) -> rusqlite::Result<()> {
    let [received, verbatim, summarised, noticed] = account(totals.past);
    let columns = [
        number(1),
        received,
        verbatim,
        summarised,
        noticed,
        number(totals.bytes_in),
        number(totals.bytes_out),
        number(totals.summaries),
        number(totals.notices),
        number(totals.templates),
        number(totals.next_episode),
        number(totals.next_window),
        number(totals.next_seq),
    ];
    let sql = "INSERT OR REPLACE INTO totals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    put(connection, sql, &columns)?;
    let KeptLimit { per_second, burst, rate, next, returning } = totals.limit;
    let tallies = [
        (LIMITED, totals.limited.0),
        (LIMIT_PER_SECOND, per_second),
        (LIMIT_BURST, burst),
        (LIMIT_RATE, rate),
        (LIMIT_NEXT, next),
        (LIMIT_RETURNING, returning),
        (LOOPS, totals.loops),
        (ALERTS, totals.alerts),
        (NOTICED_NOVELTY, totals.noticed.novelty_flood.0),
        (NOTICED_SHED, totals.noticed.shed.0),
        (NOTICED_DAMAGED, totals.noticed.store_damaged.0),
    ];
    for (name, count) in tallies {
        let columns = [text(name), number(count)];
        put(connection, "INSERT OR REPLACE INTO tally VALUES (?, ?, ?)", &columns)?;
    }
    Ok(())
}

/// The names of the counts in the table `tally`.
const LOOPS: &str = "loops";
const ALERTS: &str = "alerts";
const LIMITED: &str = "limited";
const LIMIT_PER_SECOND: &str = "limit_per_second";
const LIMIT_BURST: &str = "limit_burst";
const LIMIT_RATE: &str = "limit_rate";
const LIMIT_NEXT: &str = "limit_next";
const LIMIT_RETURNING: &str = "limit_returning";
const NOTICED_NOVELTY: &str = "noticed_novelty_flood";
const NOTICED_SHED: &str = "noticed_shed";
const NOTICED_DAMAGED: &str = "noticed_store_damaged";

pub(super) fn write_blocks(
    connection: &Connection,
    blocks: &[Block],
    gone: &[String],
) -> rusqlite::Result<()> {
    for name in gone {
        connection.prepare_cached("DELETE FROM fifo WHERE name = ?")?.execute([name])?;
    }
    for block in blocks {
        let hash = format!("{:032x}", block.hash);
        let columns = [text(&block.fifo), number(block.offset), number(block.length), text(&hash)];
        put(connection, "INSERT OR REPLACE INTO fifo VALUES (?, ?, ?, ?, ?)", &columns)?;
    }
    Ok(())
}

pub(super) fn write_positions(
    connection: &Connection,
    positions: &[Position],
    gone: &[FileId],
) -> rusqlite::Result<()> {
    for FileId { device, inode, born } in gone {
        let sql = "DELETE FROM position WHERE device = ? AND inode = ? AND born = ?";
        let key = (device.cast_signed(), inode.cast_signed(), born.to_string());
        connection.prepare_cached(sql)?.execute(key)?;
    }
    for position in positions {
        let born = position.file.born.to_string();
        let columns = [
            number(position.file.device),
            number(position.file.inode),
            text(&born),
            path(&position.path),
            path(&position.source),
            number(position.resume),
            number(position.read),
            number(position.size),
            number(u64::from(position.head_length)),
            number(position.head),
            number(position.marker),
            number(u64::from(position.ended)),
        ];
        let sql = "INSERT OR REPLACE INTO position VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        put(connection, sql, &columns)?;
    }
    Ok(())
}

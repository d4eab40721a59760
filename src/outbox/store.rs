//! The open store: one commit, the way back, acknowledging.
//!
//! One connection, one owner, no lock inside. Each change is one transaction; statements are prepared once.
//! Once SQLite has reported a failure of the disk or damage, nothing is done before [`Store::reopen`]: what a failed
//! sync left behind cannot be known (faults.md 58).

use std::fs;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, DEFAULT_NAME, ErrorCode, TransactionBehavior};

use super::blob::Coder;
use super::cap::{Cost, DELETED_MAX, PAGE, SIZE_MIN, Shares, Taken};
use super::directory::Directory;
use super::epoch::{Gone, Stored, delete_acknowledged, put_epoch, put_losses, read_unsent};
use super::lane::Lane;
use super::rows::{self, RowError};
use super::{
    Epoch, OpenError, Options, Recovered, StoreError, Told, Unsent, Waiting, notification, open, schema,
};
use crate::engine::record::LaneId;
use crate::units::{Bytes, Lines};

/// A state directory that is ours, and the store in it.
pub struct Store {
    /// `None` only while it is opened again.
    connection: Option<Connection>,
    options: Options,
    shares: Shares,
    lane: Lane,
    waiting: Waiting,
    /// There may be rows in `replacement`.
    replaced: bool,
    coder: Coder,
    distrusted: Option<String>,
    /// Dropped last: the lock must outlive the connection.
    directory: Directory,
}

impl Store {
    /// Locks the directory, makes the store where there is none, sets a damaged one aside and carries over what is
    /// whole, and finds the lane of `destination` (like `kafka:topic`); `mint` gives new lane ids.
    ///
    /// A store that was not closed in order, or is small, is checked page by page first: about 1.2 s per GiB that
    /// the system has in its cache.
    ///
    /// # Errors
    /// See [`OpenError`]. Files are untouched when another process has them, or a newer version wrote them.
    pub fn open(
        options: &Options,
        destination: &str,
        mint: &mut dyn FnMut() -> LaneId,
    ) -> Result<(Store, Recovered), OpenError> {
        if options.size_max < SIZE_MIN {
            return Err(OpenError::TooSmall { size_max: options.size_max, least: SIZE_MIN });
        }
        let directory = Directory::lock(&options.dir)?;
        let failed = |source| OpenError::Io {
            action: "find memory to compress for",
            path: options.dir.clone(),
            source,
        };
        let coder = Coder::new().map_err(failed)?;
        let opened = open::open(&directory, options, destination, mint)?;
        let store = Store {
            connection: Some(opened.connection),
            options: options.clone(),
            shares: Shares::new(options.size_max),
            lane: opened.lane,
            waiting: opened.recovered.waiting,
            replaced: true,
            coder,
            distrusted: None,
            directory,
        };
        Ok((store, opened.recovered))
    }

    /// Closes and opens again: what helps after [`StoreError::Io`] and [`StoreError::Distrusted`]. The epoch whose
    /// commit failed is stored if and only if `next_seq` is behind its last record now; without records, commit it again.
    /// A store that turns out to be damaged is left as it is for [`Store::open`], whose caller tells what is lost.
    ///
    /// # Errors
    /// As [`Store::open`], and [`OpenError::Damaged`]. May be tried again.
    pub fn reopen(&mut self, mint: &mut dyn FnMut() -> LaneId) -> Result<Recovered, OpenError> {
        self.distrusted = Some("it could not be opened again".to_owned());
        // Closing may fail as the disk does; the files are looked at anew in any case.
        drop(self.connection.take());
        let opened = open::open_again(&self.directory, &self.options, &self.lane.destination, mint)?;
        self.connection = Some(opened.connection);
        self.lane = opened.lane;
        self.waiting = opened.recovered.waiting;
        self.replaced = true;
        self.distrusted = None;
        Ok(opened.recovered)
    }

    /// Stores an epoch: all of it or nothing. When this returns, it survives what [`Options::durability`] says.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn commit(&mut self, epoch: &Epoch<'_>) -> Result<(), StoreError> {
        let last_seq = last_seq(epoch, self.lane.next_seq)?;
        self.coder.encode(epoch.batch).map_err(|source| StoreError::Compress { source })?;
        let blob = if epoch.batch.is_empty() { 0 } else { self.coder.blob().len() };
        let pages = self.pages("page_count")?;
        let cost = Cost::of(epoch, blob, pages);
        if cost.records && cost.growth > self.shares.payload_pages {
            let limit = Bytes(self.shares.payload_pages * PAGE);
            return Err(StoreError::TooLarge { size: Bytes(blob as u64), limit });
        }
        self.make_room(cost)?;
        let mut lane = Lane { next_seq: last_seq + 1, ..self.lane.clone() };
        let lines: Lines = epoch.batch.metas.iter().map(|meta| meta.lines).sum();
        lane.lines += lines.0;
        let acked = epoch.acked.clamp(self.lane.acked, last_seq);
        let coder = &self.coder;
        let first_seq = self.lane.next_seq;
        let stored = Stored { first_seq, last_seq, lines: lines.0, lines_before: self.lane.lines };
        let connection = self.connection.as_mut();
        let written = transaction(connection, |connection| {
            if last_seq >= first_seq {
                put_epoch(connection, &lane, epoch.batch, stored, coder.blob())?;
            }
            rows::write_changes(connection, epoch.changes)?;
            rows::write_positions(connection, epoch.positions, epoch.positions_gone)?;
            rows::write_blocks(connection, epoch.blocks, epoch.blocks_gone)?;
            put_losses(connection, &lane.destination, epoch.told)?;
            notification::put(connection, epoch.notifications)?;
            delete_acknowledged(connection, &mut lane, acked)
        });
        let gone = self.done("commit to", written)?;
        self.lane = lane;
        self.take_from_waiting(gone);
        if blob > 0 {
            self.waiting.records += last_seq + 1 - first_seq;
            self.waiting.lines += lines;
            self.waiting.bytes += Bytes(blob as u64);
        }
        Ok(())
    }

    /// Moves the ack cursor up to `upto` (never back) without an epoch, and deletes epochs that it has passed.
    ///
    /// # Errors
    /// See [`StoreError`]. Losing this call costs duplicates, never records.
    pub fn acknowledge(&mut self, upto: u64) -> Result<(), StoreError> {
        let acked = upto.clamp(self.lane.acked, self.lane.next_seq - 1);
        if acked == self.lane.acked {
            return self.trusted();
        }
        loop {
            self.make_room(Cost::deleting())?;
            let mut lane = self.lane.clone();
            let deleted = transaction(self.connection.as_mut(), |connection| {
                delete_acknowledged(connection, &mut lane, acked)
            });
            let gone = self.done("acknowledge in", deleted)?;
            self.lane = lane;
            self.take_from_waiting(gone);
            if gone.epochs < DELETED_MAX {
                return Ok(());
            }
        }
    }

    /// Puts `message` into the place of the one whose (first) record is `seq`: a record that was refused, with `rev` 1.
    /// [`Store::unsent`] gives it from now on. To be called before it is sent.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn replace(&mut self, seq: u64, message: &[u8]) -> Result<(), StoreError> {
        self.make_room(Cost::row(message.len()))?;
        let destination = &self.lane.destination;
        let written = transaction(self.connection.as_mut(), |connection| {
            let columns = [rows::text(destination), rows::number(seq), ValueRef::Blob(message)];
            rows::put(connection, "INSERT OR REPLACE INTO replacement VALUES (?, ?, ?, ?)", &columns)
        });
        self.replaced = true;
        self.done("replace a record in", written)
    }

    /// Notes which receivers have settled which notifications, and forgets the firings of `over`: all were told of their end.
    ///
    /// # Errors
    /// See [`StoreError`]. Losing this call costs messages that come twice, never one.
    pub fn settle_notifications(&mut self, told: &[Told], over: &[u64]) -> Result<(), StoreError> {
        // Some at a time: it bounds what a transaction costs.
        for told in told.chunks(SETTLED_MAX) {
            let texts = told.iter().map(|told| told.receiver.len()).sum();
            self.make_room(Cost::rows(told.len(), texts, 0))?;
            let written =
                transaction(self.connection.as_mut(), |connection| notification::put_told(connection, told));
            self.done("note in", written)?;
        }
        for over in over.chunks(SETTLED_MAX) {
            self.make_room(Cost::rows(0, 0, over.len()))?;
            let written =
                transaction(self.connection.as_mut(), |connection| notification::forget(connection, over));
            self.done("forget in", written)?;
        }
        Ok(())
    }

    /// The oldest stored records of which one has a number of at least `from`, whole epochs as they were committed; or
    /// that such records are lost. `None` when there are none. Acknowledged records do not come again.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn unsent(&mut self, from: u64) -> Result<Option<Unsent>, StoreError> {
        self.trusted()?;
        let from = from.max(self.lane.acked + 1);
        if from >= self.lane.next_seq {
            return Ok(None);
        }
        let found = match &self.connection {
            Some(connection) => read_unsent(connection, &mut self.coder, &self.lane, from, self.replaced),
            None => Ok(None),
        };
        match found {
            Ok(found) => Ok(found),
            Err(RowError::Sqlite(error)) => self.done("read from", Err(error)),
            Err(RowError::Damaged(table)) => Err(self.distrust(format!("a row of {table} is damaged"))),
        }
    }

    /// What is stored and not acknowledged, in whole epochs.
    pub fn waiting(&self) -> Waiting {
        self.waiting
    }

    /// Bytes of the database that hold something; [`Store::payload_max`] is where records are refused.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn used(&mut self) -> Result<Bytes, StoreError> {
        Ok(Bytes((self.pages("page_count")? - self.pages("freelist_count")?) * PAGE))
    }

    /// How far [`Store::used`] may rise with records; above it there is a reserve for counts.
    pub fn payload_max(&self) -> Bytes {
        Bytes(self.shares.payload_pages * PAGE)
    }

    /// The lane that numbers new records.
    pub fn lane(&self) -> LaneId {
        self.lane.id
    }

    /// The number of the next record.
    pub fn next_seq(&self) -> u64 {
        self.lane.next_seq
    }

    /// The ack cursor.
    pub fn acked(&self) -> u64 {
        self.lane.acked
    }

    /// Closes the store in order: the log is emptied and the next start need not check every page. Not closing costs
    /// only that check.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn close(mut self) -> Result<(), StoreError> {
        self.trusted()?;
        let written = transaction(self.connection.as_mut(), |connection| {
            let meta = schema::read_meta(connection).map_err(sqlite)?;
            schema::write_meta(connection, &schema::Meta { clean: true, ..meta })
        });
        self.done("close", written)?;
        let closed = self.connection.take().map_or(Ok(()), |connection| {
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
            connection.close().map_err(|(_, error)| error)
        });
        self.done("close", closed)
    }

    /// Frees frames of the log, or says that the transaction does not fit.
    fn make_room(&mut self, cost: Cost) -> Result<(), StoreError> {
        self.trusted()?;
        let looked = self.look(cost);
        let taken = self.done("empty the log of", looked)?;
        self.shares.fits(cost, taken).map_err(|(used, limit)| {
            if taken.held {
                return StoreError::Busy;
            }
            StoreError::Full { used: Bytes(used * PAGE), limit: Bytes(limit * PAGE) }
        })
    }

    /// What is taken, after the log was emptied where the transaction would make it too long.
    fn look(&self, cost: Cost) -> rusqlite::Result<Taken> {
        let Some(connection) = &self.connection else { return Err(rusqlite::Error::InvalidQuery) };
        let (frames, _) = connection.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::NOOP)?;
        let mut frames = u64::try_from(frames).unwrap_or(0);
        let mut held = false;
        let length = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
        let mut log = length(&self.directory.log());
        if frames + cost.written > self.shares.frames || log > self.shares.log() {
            // RESTART makes the next transaction begin the log anew; TRUNCATE gives back what an unusual epoch took.
            let long = log > self.shares.log();
            let mode = if long { CheckpointMode::TRUNCATE } else { CheckpointMode::RESTART };
            match connection.wal_checkpoint_v2(DEFAULT_NAME, mode) {
                Ok(_) => frames = 0,
                // A reader (`squall audit`, the sqlite3 tool) still looks at it: it can only grow.
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => held = true,
                Err(error) => return Err(error),
            }
            log = length(&self.directory.log());
        }
        let pages = pragma(connection, "page_count")?;
        Ok(Taken { pages, free: pragma(connection, "freelist_count")?, frames, log, held })
    }

    fn pages(&mut self, name: &str) -> Result<u64, StoreError> {
        self.trusted()?;
        let found = self.connection.as_ref().map_or(Ok(0), |connection| pragma(connection, name));
        self.done("look into", found)
    }

    fn trusted(&self) -> Result<(), StoreError> {
        match &self.distrusted {
            Some(reason) => Err(StoreError::Distrusted { reason: reason.clone() }),
            None => Ok(()),
        }
    }

    fn distrust(&mut self, reason: String) -> StoreError {
        self.distrusted = Some(reason.clone());
        StoreError::Distrusted { reason }
    }

    /// What an error of SQLite means for whoever uses the store.
    fn done<T>(&mut self, action: &'static str, result: rusqlite::Result<T>) -> Result<T, StoreError> {
        let error = match result {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        // Some of SQLite's files meet a full disk with a plain I/O error; the disk itself knows.
        let no_room = self.directory.free_bytes().is_some_and(|free| free < NO_ROOM);
        let disk_full = || Err(StoreError::DiskFull { dir: self.directory.path().to_path_buf() });
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => disk_full(),
            Some(ErrorCode::SystemIoFailure) if no_room => disk_full(),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Err(StoreError::Busy),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Err(self.distrust(error.to_string()))
            }
            _ => {
                self.distrusted = Some(error.to_string());
                Err(StoreError::Io { action, source: error })
            }
        }
    }

    fn take_from_waiting(&mut self, gone: Gone) {
        // What a damaged row says of itself may be too much.
        let waiting = &mut self.waiting;
        waiting.records = waiting.records.saturating_sub(gone.records);
        waiting.lines = Lines(waiting.lines.0.saturating_sub(gone.lines));
        waiting.bytes = Bytes(waiting.bytes.0.saturating_sub(gone.bytes));
    }
}

/// With less than this left on the disk, an I/O error is taken for a full disk.
const NO_ROOM: u64 = 256 << 10;

/// How many notifications are settled in one transaction.
const SETTLED_MAX: usize = 32;

/// The number of the epoch's last record; the one before `next` when it has none.
fn last_seq(epoch: &Epoch<'_>, next: u64) -> Result<u64, StoreError> {
    let records: u64 = epoch.batch.metas.iter().map(|meta| u64::from(meta.records)).sum();
    let first = epoch.batch.metas.iter().map(|meta| meta.seq).min().unwrap_or(next);
    let counted = epoch.changes.totals.next_seq;
    if first != next || counted != next + records {
        return Err(StoreError::Numbering { first, next: counted, want: next });
    }
    Ok(next + records - 1)
}

/// Runs `work` in a transaction.
fn transaction<T>(
    connection: Option<&mut Connection>,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let Some(connection) = connection else { return Err(rusqlite::Error::InvalidQuery) };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = work(&transaction)?;
    transaction.commit()?;
    Ok(done)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(&format!("PRAGMA {name}"))?;
    statement.query_row([], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
}

fn sqlite(error: RowError) -> rusqlite::Error {
    match error {
        RowError::Sqlite(error) => error,
        RowError::Damaged(_) => rusqlite::Error::InvalidQuery,
    }
}

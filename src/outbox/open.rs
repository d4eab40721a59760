//! From a directory in whatever state to a store that can be trusted.
//!
//! What may be wrong, and what is done: a damaged store is set aside and salvaged; where numbers may have been used that
//! the store does not know of (a copy, a log without its end), new records get a new lane id; a log without a database
//! is set aside. Each is a [`Mishap`]. Only a newer format, another process and a failing disk keep it closed; and, in the
//! middle of a run, any of these.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, DEFAULT_NAME, ErrorCode, OpenFlags, TransactionBehavior};

use super::cap::{PAGE, Shares};
use super::directory::{self, Directory};
use super::lane::{self, Lane};
use super::rows::{self, RowError, Rows};
use super::schema::{self, Found, Meta};
use super::{Durability, Mishap, OpenError, Options, OtherLane, Recovered, Renewal, Waiting, salvage, wal};
use crate::engine::record::LaneId;
use crate::engine::state::{Changes, StreamState};
use crate::units::{Bytes, Lines};

/// A store that can be trusted.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) lane: Lane,
    pub(super) recovered: Recovered,
}

/// What keeps a store from being used.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It is damaged.
    Damaged(String),
    /// Anything else.
    Fatal(OpenError),
}

/// What was read of a store.
struct Loaded {
    connection: Connection,
    /// `None` for a store that was just made.
    meta: Option<Meta>,
    rows: Rows,
}

/// Opens the store in `directory`, which is locked.
pub(super) fn open(
    directory: &Directory,
    options: &Options,
    destination: &str,
    mint: &mut dyn FnMut() -> LaneId,
) -> Result<Opened, OpenError> {
    directory.settle_salvage().map_err(failed(directory, "settle a salvage in"))?;
    let mut mishaps: Vec<Mishap> = set_leftover_aside(directory)?.into_iter().collect();
    refuse_newer(directory)?;
    let mut renewal = log_trouble(directory)?;
    let loaded = match load(directory, options) {
        Ok(loaded) => loaded,
        Err(Trouble::Fatal(error)) => return Err(error),
        Err(Trouble::Damaged(why)) => {
            renewal = Some(Renewal::Damaged);
            replace_damaged(directory, options, why, &mut mishaps)?
        }
    };
    take_over(directory, options, loaded, destination, renewal, mint, mishaps)
}

/// The same in the middle of a run, which can only go on where everything is as it was left. What is damaged or gone is
/// not touched: the next start repairs it, and has somebody to tell.
pub(super) fn open_again(
    directory: &Directory,
    options: &Options,
    destination: &str,
    mint: &mut dyn FnMut() -> LaneId,
) -> Result<Opened, OpenError> {
    let path = directory.database();
    let damaged = |why: String| OpenError::Damaged { path: path.clone(), why };
    if length(&path) == 0 {
        return Err(damaged("it is gone".to_owned()));
    }
    if let Some(renewal) = log_trouble(directory)? {
        return Err(damaged(renewal.to_string()));
    }
    let loaded = load(directory, options).map_err(|trouble| match trouble {
        Trouble::Damaged(why) => damaged(why),
        Trouble::Fatal(error) => error,
    })?;
    take_over(directory, options, loaded, destination, None, mint, Vec::new())
}

/// Makes sure that what was loaded is on the disk, and settles it for the run.
fn take_over(
    directory: &Directory,
    options: &Options,
    loaded: Loaded,
    destination: &str,
    renewal: Option<Renewal>,
    mint: &mut dyn FnMut() -> LaneId,
    mishaps: Vec<Mishap>,
) -> Result<Opened, OpenError> {
    // SQLite passes over it when this fails, and a log whose name is lost is lost whole (faults.md 38).
    directory.sync().map_err(failed(directory, "sync"))?;
    let sqlite = sqlite_failed(directory, "settle the store in");
    let opened = settle(directory, options, loaded, destination, renewal, mint, mishaps);
    opened.map_err(|trouble| match trouble {
        RowError::Sqlite(error) => sqlite(error),
        // Rows were read before, so this cannot be; still it is no reason to end.
        RowError::Damaged(_) => sqlite(rusqlite::Error::InvalidQuery),
    })
}

fn failed(directory: &Directory, action: &'static str) -> impl Fn(io::Error) -> OpenError + use<> {
    let path = directory.path().to_path_buf();
    move |source| OpenError::Io { action, path: path.clone(), source }
}

fn sqlite_failed(
    directory: &Directory,
    action: &'static str,
) -> impl Fn(rusqlite::Error) -> OpenError + use<> {
    let path = directory.path().to_path_buf();
    move |source| OpenError::Sqlite { action, path: path.clone(), source }
}

/// A log without its database: SQLite would delete it.
fn set_leftover_aside(directory: &Directory) -> Result<Option<Mishap>, OpenError> {
    if length(&directory.database()) > 0 || length(&directory.log()) == 0 {
        return Ok(None);
    }
    let kept = directory.set_aside().map_err(failed(directory, "set a log aside in"))?;
    Ok(Some(Mishap::Leftover { kept }))
}

/// Looks at the format without changing a byte: not even by emptying the log, as closing a store does.
fn refuse_newer(directory: &Directory) -> Result<(), OpenError> {
    let path = directory.database();
    match peek(&path, &directory.log()).and_then(|connection| schema::look(&connection)) {
        Ok(Found::Newer(found)) => Err(OpenError::Newer { path, found, known: schema::FORMAT }),
        // Whatever else is wrong is found again, and dealt with, by opening it in earnest.
        _ => Ok(()),
    }
}

/// What the log alone tells, before SQLite tidies it up.
fn log_trouble(directory: &Directory) -> Result<Option<Renewal>, OpenError> {
    let (database, log) = (directory.database(), directory.log());
    let cut = wal::is_cut(&log).map_err(failed(directory, "read the log in"))?;
    // A store that is in use, or was killed, has a log. (It has none, too, after somebody looked at a killed store with
    // another tool: then a new lane id is not needed, but does no harm.)
    let missing = length(&database) > 0 && !log.exists() && !was_closed(&database, &log);
    Ok((cut || missing).then_some(Renewal::LogCut))
}

/// Whether the database says that it was closed in order.
fn was_closed(database: &Path, log: &Path) -> bool {
    let Ok(connection) = peek(database, log) else { return false };
    match schema::look(&connection) {
        Ok(Found::Ours) => schema::read_meta(&connection).is_ok_and(|meta| meta.clean),
        // Not finished when it was made: nothing was in it yet.
        Ok(Found::Empty) => true,
        _ => false,
    }
}

/// Opens a store for reading without leaving a trace: where there is no log, SQLite is told that nobody writes, or it
/// would make one.
pub(super) fn peek(database: &Path, log: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = if log.exists() {
        Connection::open_with_flags(database, flags)?
    } else {
        let mut uri = String::from("file:");
        for &byte in database.as_os_str().as_bytes() {
            uri.push_str(&format!("%{byte:02x}"));
        }
        uri.push_str("?immutable=1");
        Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)?
    };
    connection.execute_batch("PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF")?;
    Ok(connection)
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

/// Reads everything, and believes only what can be verified.
fn load(directory: &Directory, options: &Options) -> Result<Loaded, Trouble> {
    let fatal = sqlite_failed(directory, "open the store in");
    let trouble = |error: RowError| match error {
        RowError::Damaged(table) => Trouble::Damaged(format!("a row of the table {table} is damaged")),
        RowError::Sqlite(error) if is_damage(&error) => Trouble::Damaged(error.to_string()),
        RowError::Sqlite(error) => Trouble::Fatal(fatal(error)),
    };
    let touched = directory.touch(&directory.database());
    touched.map_err(|error| Trouble::Fatal(failed(directory, "make the store in")(error)))?;
    let mut connection = connect(directory, options).map_err(RowError::from).map_err(trouble)?;
    match schema::look(&connection).map_err(RowError::from).map_err(trouble)? {
        Found::Empty => {
            let made = make(&mut connection);
            made.map_err(RowError::from).map_err(trouble)?;
            return Ok(Loaded { connection, meta: None, rows: Rows::default() });
        }
        Found::Ours => {}
        Found::Newer(found) => {
            let path = directory.database();
            return Err(Trouble::Fatal(OpenError::Newer { path, found, known: schema::FORMAT }));
        }
        Found::Strange(why) => return Err(Trouble::Damaged(why.to_owned())),
    }
    // The file could be opened for writing, so it is its own header that forbids it (byte 18: a version of the format
    // that SQLite may only read). No squall and no SQLite that we know has written that.
    if connection.is_readonly("main").map_err(RowError::from).map_err(trouble)? {
        return Err(Trouble::Damaged("its header forbids writing".to_owned()));
    }
    let read = || {
        let meta = schema::read_meta(&connection)?;
        if !meta.clean || length(&directory.database()) <= ALWAYS_CHECKED {
            let said: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
            if said != "ok" {
                return Ok(Err(said));
            }
        }
        Ok(Ok((meta, rows::read_all(&connection)?)))
    };
    let (meta, rows) = read().map_err(trouble)?.map_err(Trouble::Damaged)?;
    Ok(Loaded { connection, meta: Some(meta), rows })
}

/// A store that was closed in order is checked page by page only up to this size (80 ms); rows and epochs have
/// checksums in any case.
const ALWAYS_CHECKED: u64 = 64 << 20;

/// Whether SQLite says that the file is damaged, and not that it could not be used.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(..) | rusqlite::Error::SqlInputError { .. } => !matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::PermissionDenied
                    | ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::OutOfMemory
                    | ErrorCode::ReadOnly
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::DiskFull
                    | ErrorCode::CannotOpen
                    | ErrorCode::FileLockingProtocolFailed
            )
        ),
        // A value of another type than was written.
        _ => true,
    }
}

fn connect(directory: &Directory, options: &Options) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(directory.database(), flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    let synchronous = match options.durability {
        Durability::Disk => "FULL",
        // Syncs when the log is emptied, so that a power loss costs the last epochs and never the store.
        Durability::Process => "NORMAL",
    };
    // Without `cell_size_check` a damaged page can send SQLite to the wrong bytes; a flipped schema must run nothing.
    connection.execute_batch(&format!(
        "PRAGMA page_size = {PAGE}; PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF; \
         PRAGMA temp_store = MEMORY; PRAGMA cache_size = -2048; PRAGMA synchronous = {synchronous};"
    ))?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    let (frames, _) = connection.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::NOOP)?;
    if frames < 0 {
        // When the disk fails in this moment, SQLite says `wal` and stays with its old mode: seen with an injected EIO.
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR);
        let text = "its write-ahead log cannot be switched on".to_owned();
        return Err(rusqlite::Error::SqliteFailure(code, Some(text)));
    }
    // The log is emptied by `cap`, which then also sees a disk that fails: SQLite's own way would hide it.
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    // Dropping the store must leave everything as a crash would.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection)
}

fn make(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    schema::create(&transaction)?;
    schema::write_meta(&transaction, &Meta::unknown())?;
    transaction.commit()
}

/// Sets a damaged store aside and goes on with what is whole; with an empty one where even that does not help.
fn replace_damaged(
    directory: &Directory,
    options: &Options,
    why: String,
    mishaps: &mut Vec<Mishap>,
) -> Result<Loaded, OpenError> {
    salvage::salvage(directory).map_err(|trouble| match trouble {
        salvage::Failure::Io(error) => failed(directory, "salvage the damaged store in")(error),
        salvage::Failure::Sqlite(error) => sqlite_failed(directory, "salvage the damaged store in")(error),
    })?;
    let set_aside = || directory.set_aside().map_err(failed(directory, "set the damaged store aside in"));
    let kept = set_aside()?;
    directory.put_salvaged_in_place().map_err(failed(directory, "put the salvaged store in place in"))?;
    mishaps.push(Mishap::Quarantined { kept, why });
    let loaded = load(directory, options).or_else(|trouble| match trouble {
        Trouble::Fatal(_) => Err(trouble),
        Trouble::Damaged(why) => {
            let kept = set_aside().map_err(Trouble::Fatal)?;
            mishaps.push(Mishap::Quarantined { kept, why });
            load(directory, options)
        }
    });
    loaded.map_err(|trouble| match trouble {
        Trouble::Fatal(error) => error,
        Trouble::Damaged(why) => failed(directory, "make a new store in")(io::Error::other(why)),
    })
}

/// Finds the lane, writes down that the store is in use from now on and by whom, and sums up.
fn settle(
    directory: &Directory,
    options: &Options,
    loaded: Loaded,
    destination: &str,
    renewal: Option<Renewal>,
    mint: &mut dyn FnMut() -> LaneId,
    mut mishaps: Vec<Mishap>,
) -> Result<Opened, RowError> {
    let Loaded { mut connection, meta: before, rows } = loaded;
    let Rows { mut lanes, mut changes, positions, blocks, notifications } = rows;
    let meta = Meta {
        // Both are hints; without them a copy is not noticed.
        identity: directory.identity().unwrap_or_default(),
        boot: directory::boot(),
        durability: options.durability,
        clean: false,
    };
    let created = before.is_none();
    let renewal = renewal.or_else(|| before.and_then(|before| why_renew(&before, &meta)));
    lanes.iter_mut().for_each(|lane| lane.stale |= renewal.is_some());
    let index = lanes.iter().position(|lane| lane.destination == destination).unwrap_or_else(|| {
        lanes.push(Lane::new(destination, mint()));
        lanes.len() - 1
    });
    if lanes[index].stale {
        let old = std::mem::replace(&mut lanes[index].id, mint());
        lanes[index].stale = false;
        // A lane that went stale under another destination's name was told of then, but not by name.
        let why = renewal.unwrap_or(Renewal::Cloned);
        let destination = destination.to_owned();
        mishaps.push(Mishap::LaneRenewed { destination, old, new: lanes[index].id, why });
    }
    let shares = Shares::new(options.size_max);
    prepare(&mut connection, &meta, &lanes, &shares)?;
    let mut waiting = Vec::new();
    for lane in &lanes {
        waiting.push(read_waiting(&connection, lane)?);
    }
    changes.totals.next_seq = lanes[index].next_seq;
    mishaps.extend(uncounted(&mut changes));
    let others = lanes
        .iter()
        .zip(&waiting)
        .enumerate()
        .filter(|(at, (_, waiting))| *at != index && waiting.records > 0);
    let other_lanes = others
        .map(|(_, (lane, waiting))| OtherLane { destination: lane.destination.clone(), waiting: *waiting })
        .collect();
    let lane = lanes.swap_remove(index);
    let recovered = Recovered {
        lane: lane.id,
        next_seq: lane.next_seq,
        acked: lane.acked,
        changes,
        positions,
        blocks,
        notifications,
        waiting: waiting[index],
        other_lanes,
        created,
        mishaps,
    };
    Ok(Opened { connection, lane, recovered })
}

/// Why the lanes of a store that was left as `before` says may number nothing more.
fn why_renew(before: &Meta, now: &Meta) -> Option<Renewal> {
    if *before == Meta::unknown() {
        // Made or salvaged, and then nothing was written yet.
        return None;
    }
    if before.identity != now.identity {
        return Some(Renewal::Cloned);
    }
    let unsynced = !before.clean && before.durability == Durability::Process;
    (unsynced && before.boot != now.boot).then_some(Renewal::PowerLost)
}

/// Writes what must be known by whoever finds the store after a crash, and sets the limits.
fn prepare(
    connection: &mut Connection,
    meta: &Meta,
    lanes: &[Lane],
    shares: &Shares,
) -> rusqlite::Result<()> {
    let count = |connection: &Connection, name: &str| {
        connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
    };
    // Before the limits are set: a store of an earlier version that is full gets the page that this takes, once.
    schema::complete(connection)?;
    let (pages, free) = (count(connection, "page_count")?, count(connection, "freelist_count")?);
    if pages > shares.pages && pages - free < shares.pages {
        // `size_max` is less than it was. SQLite gives pages back only this way; it costs what is left in the store.
        connection.execute_batch("VACUUM")?;
    }
    connection.pragma_update_and_check(None, "max_page_count", shares.pages.cast_signed(), |_| Ok(()))?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    schema::write_meta(&transaction, meta)?;
    for lane in lanes {
        lane::put_lane(&transaction, lane)?;
    }
    transaction.commit()?;
    // The database itself must say that it is in use: should its log vanish, that is how it is known.
    match connection.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::TRUNCATE) {
        Err(error) if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) => return Err(error),
        // Somebody reads; it is emptied later.
        _ => {}
    }
    // From now on a lock is waited for by whoever calls again.
    connection.busy_timeout(Duration::ZERO)
}

fn read_waiting(connection: &Connection, lane: &Lane) -> rusqlite::Result<Waiting> {
    let sql = "SELECT records, lines, length(blob) FROM epoch WHERE destination = ?1 AND last_seq > ?2";
    let mut statement = connection.prepare(sql)?;
    let mut found = statement.query((&lane.destination, lane.acked.cast_signed()))?;
    let mut waiting = Waiting::default();
    while let Some(row) = found.next()? {
        let number = |index| row.get::<_, i64>(index).map(i64::cast_unsigned);
        // A damaged epoch may say anything; it is found when it is read.
        waiting.records = waiting.records.saturating_add(number(0)?);
        waiting.lines = Lines(waiting.lines.0.saturating_add(number(1)?));
        waiting.bytes += Bytes(number(2)?);
    }
    Ok(waiting)
}

/// Makes the books balance: lines whose window was lost are named, so that a notice counts them; where a stream's books
/// were lost, they begin anew with what is still open.
fn uncounted(changes: &mut Changes) -> Vec<Mishap> {
    let mut open = HashMap::<&str, Lines>::new();
    for episode in &changes.episodes {
        *open.entry(&episode.key.stream).or_default() += episode.count;
        // Numbers of episodes and windows go on even where the totals were lost.
        let totals = &mut changes.totals;
        totals.next_episode = totals.next_episode.max(episode.episode + 1);
        totals.next_window = totals.next_window.max(episode.window + 1);
    }
    let known: HashSet<&str> = changes.streams.iter().map(|stream| &*stream.key).collect();
    let mut lost: Vec<String> =
        open.keys().filter(|key| !known.contains(**key)).map(|key| (*key).to_owned()).collect();
    lost.sort_unstable();
    changes.streams.extend(lost.into_iter().map(|key| StreamState { key, ..StreamState::default() }));
    let mut mishaps = Vec::new();
    for stream in &mut changes.streams {
        let open = open.get(&*stream.key).copied().unwrap_or_default();
        let missing = stream.account.error(stream.held_back + open);
        if missing > 0 {
            let lines = Lines(missing.unsigned_abs());
            mishaps.push(Mishap::Uncounted { stream: stream.key.clone(), lines });
        } else {
            stream.account.received += Lines(missing.unsigned_abs());
        }
    }
    mishaps
}

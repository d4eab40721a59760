//! The outbox on a bad disk: whatever a row or the file holds, a record is what was committed or is told as lost, and
//! every line stays in the books.
//!
//! The bytes are edits of a real store, because a made-up one would not come past its checksums and compression. A row
//! that is edited gets its checksum anew, so that what lies behind is reached, too.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rusqlite::Connection;
use rusqlite::types::{Value, ValueRef};
use squall::engine::chunk::Chunk;
use squall::engine::record::{Batch, LaneId};
use squall::engine::state::Changes;
use squall::engine::storm::Collapse;
use squall::engine::storm::window::ClosedBy;
use squall::engine::{Engine, Options, Source, frame::Format, line, record::envelope::Place};
use squall::outbox::{self, Durability, Epoch, Mishap, Recovered, Store, Unsent};
use squall::units::{Monotonic, Now, Timestamp};
use tempfile::TempDir;
use xxhash_rust::xxh3::Xxh3;

const DESTINATION: &str = "kafka:logs";
const LANE: LaneId = LaneId(0xab);
const NOW: Now = Now { arrival: Monotonic(1), wall: Timestamp(1_770_336_600_000_000_000) };

/// The first byte says what is edited, the others how: four bytes an edit.
pub fn outbox_row(bytes: &[u8]) {
    let Some((what, edits)) = bytes.split_first() else { return };
    // A store at a time: opening one is a millisecond, making one is ten.
    static RIG: Mutex<Option<Rig>> = Mutex::new(None);
    let mut rig = RIG.lock().unwrap_or_else(PoisonError::into_inner);
    let own = rig.take().filter(Rig::is_intact).unwrap_or_else(Rig::new);
    own.put_back();
    match what % 5 {
        0 => own.edit_file(edits),
        1 => own.edit_row("epoch", "blob", |blob| edited(&blob, edits)),
        2 => own.edit_row("epoch", "blob", |blob| with_edited_table(&blob, edits)),
        3 => own.edit_row("stream", "detail", |detail| edited(&detail, edits)),
        _ => own.edit_row("episode", "detail", |detail| edited(&detail, edits)),
    }
    own.check();
    *rig = Some(own);
}

/// A store of two epochs, and what is in it.
struct Rig {
    room: TempDir,
    file: Vec<u8>,
    inode: u64,
    batches: Vec<Batch>,
}

impl Rig {
    fn new() -> Rig {
        let memory = Path::new("/dev/shm");
        let room = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let room = room.expect("a directory");
        let (mut store, _) = open(room.path());
        let mut engine = Engine::new(options());
        let origin = engine.open(source());
        let mut batches = Vec::new();
        let mut offset = 0;
        // An episode that is open, a piece of a line, and records of two streams.
        for text in ["stdout F hello 1\n", "stderr P half a line\n"] {
            for _ in 0..20 {
                let line = format!("2026-02-06T00:10:00Z {text}");
                engine.push(Chunk { origin, offset, bytes: line.as_bytes() }, NOW);
                offset += line.len() as u64;
            }
            let batch = engine.take_batch(Batch::default());
            let mut changes = Changes::default();
            engine.checkpoint(NOW, &mut changes);
            let epoch = Epoch::new(&batch, &changes);
            store.commit(&epoch).expect("there is room");
            batches.extend((!batch.is_empty()).then_some(batch));
        }
        store.close().expect("it closes");
        let path = room.path().join("outbox.db");
        let inode = fs::metadata(&path).expect("a store").ino();
        Rig { file: fs::read(path).expect("a store"), room, inode, batches }
    }

    fn path(&self) -> std::path::PathBuf {
        self.room.path().join("outbox.db")
    }

    /// A store that was set aside leaves another file in its place, which is rightly taken for a copy.
    fn is_intact(&self) -> bool {
        fs::metadata(self.path()).is_ok_and(|found| found.ino() == self.inode)
    }

    fn put_back(&self) {
        for entry in fs::read_dir(self.room.path()).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_file() && path != self.path() {
                fs::remove_file(path).expect("it is ours");
            }
        }
        fs::write(self.path(), &self.file).expect("room");
    }

    fn edit_file(&self, edits: &[u8]) {
        let mut file = self.file.clone();
        for edit in edits.chunks_exact(4) {
            let at = u32::from_le_bytes([edit[0], edit[1], edit[2], 0]) as usize % file.len();
            file[at] ^= edit[3];
        }
        fs::write(self.path(), file).expect("room");
    }

    /// Edits a column in every row of a table, and makes the rows whole again.
    fn edit_row(&self, table: &str, column: &str, edit: impl Fn(Vec<u8>) -> Vec<u8>) {
        let connection = Connection::open(self.path()).expect("a store");
        connection
            .execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
            .expect("it is our own connection");
        let mut rows: Vec<Vec<Value>> = Vec::new();
        let mut names = Vec::new();
        {
            let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).expect("a table");
            names.extend(statement.column_names().map(str::to_owned));
            let mut found = statement.query([]).expect("it can be read");
            while let Some(row) = found.next().expect("it can be read") {
                rows.push((0..names.len()).map(|index| row.get(index).expect("a value")).collect());
            }
        }
        let edited = names.iter().position(|name| name == column).expect("a column");
        let places = vec!["?"; names.len()].join(", ");
        let sql = format!("INSERT OR REPLACE INTO {table} VALUES ({places})");
        for mut row in rows {
            if let Value::Blob(bytes) = &mut row[edited] {
                *bytes = edit(std::mem::take(bytes));
            }
            let last = row.len() - 1;
            row[last] = Value::Integer(checksum(&row[..last]));
            connection.execute(&sql, rusqlite::params_from_iter(row)).expect("it can be written");
        }
    }

    /// Opens what lies there and holds it against what was committed.
    fn check(&self) {
        let (mut store, recovered) = open(self.room.path());
        let told = !recovered.mishaps.is_empty();
        let next_seq = self.batches.iter().filter_map(Batch::last_seq).max().unwrap_or(0) + 1;
        assert!(recovered.next_seq == next_seq || told, "{recovered:?}");
        let mut from = 1;
        while let Some(found) = store.unsent(from).expect("it can be read") {
            from = match found {
                Unsent::Lost(loss) => {
                    assert_eq!(loss.first_seq, from, "a record is neither here nor lost");
                    loss.last_seq + 1
                }
                Unsent::Batch(batch) => self.is_one_of_ours(&batch, from),
            };
            assert!(from <= recovered.next_seq, "a number that was never given: {from}");
        }
        assert!(from == recovered.next_seq || told, "records from {from} on are neither here nor lost");
        store.close().expect("it closes");
        let _ = outbox::audit::audit(self.room.path());
        go_on(recovered);
    }

    /// The records of a batch are numbered from `from` on, and so many are as they were. Gives the number behind them.
    fn is_one_of_ours(&self, batch: &Batch, from: u64) -> u64 {
        let mut numbers: Vec<u64> =
            batch.messages().flat_map(|(_, _, numbers)| numbers.iter().copied()).collect();
        numbers.sort_unstable();
        let next = from + numbers.len() as u64;
        assert!(numbers.iter().copied().eq(from..next) && next > from, "{numbers:?} instead of {from}…");
        assert_eq!(batch.last_seq(), Some(next - 1));
        next
    }
}

/// The engine goes on from what was recovered, is told what was lost as the daemon tells it, and its books balance.
fn go_on(recovered: Recovered) {
    let (mut engine, _) = Engine::restore(options(), recovered.changes, NOW);
    for mishap in &recovered.mishaps {
        if let Mishap::Uncounted { stream, lines } = mishap {
            engine.uncounted(stream, mishap.to_string(), *lines, NOW);
        }
    }
    let origin = engine.open(source());
    engine.push(Chunk { origin, offset: 0, bytes: b"2026-02-06T00:10:00Z stderr F the rest\n" }, NOW);
    engine.checkpoint(NOW, &mut Changes::default());
    while !engine.finish_some(ClosedBy::Shutdown, NOW) {}
    assert_eq!(engine.ledger().conservation_error, 0, "{:?}", engine.ledger());
}

fn options() -> Options {
    Options { lane: LANE, ..Options::default() }
}

fn source() -> Source {
    Source {
        name: "host/app".to_owned(),
        place: Place::default(),
        format: Format::Cri,
        folding: Collapse::default().into(),
        line: line::Limits::default(),
        stays: true,
    }
}

fn open(dir: &Path) -> (Store, Recovered) {
    let options =
        outbox::Options { dir: dir.to_owned(), size_max: outbox::SIZE_MIN, durability: Durability::Process };
    Store::open(&options, DESTINATION, &mut || LANE).expect("whatever it holds, it can be opened")
}

/// As in `outbox::rows`: kinds and lengths are hashed in.
fn checksum(columns: &[Value]) -> i64 {
    let mut hash = Xxh3::new();
    for column in columns {
        let number;
        let (kind, bytes) = match ValueRef::from(column) {
            ValueRef::Null => (0u8, &[][..]),
            ValueRef::Integer(value) => {
                number = value.to_le_bytes();
                (1, &number[..])
            }
            ValueRef::Real(value) => {
                number = value.to_bits().to_le_bytes();
                (2, &number[..])
            }
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

/// Each edit: what to do, where (two bytes), and with what.
fn edited(bytes: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for edit in edits.chunks_exact(4) {
        let at = usize::from(u16::from_le_bytes([edit[1], edit[2]])) % (bytes.len() + 1);
        let end = bytes.len().min(at + usize::from(edit[3]));
        match edit[0] % 4 {
            0 if at < bytes.len() => bytes[at] = edit[3],
            1 => bytes.insert(at, edit[3]),
            2 => drop(bytes.drain(at..end)),
            // The longest number that postcard writes.
            _ => drop(bytes.splice(at..at, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01])),
        }
    }
    bytes
}

/// A blob whose table is edited before it is compressed.
fn with_edited_table(blob: &[u8], edits: &[u8]) -> Vec<u8> {
    let length = |at: usize| u32::from_le_bytes(blob[at..at + 4].try_into().expect("four bytes")) as usize;
    let (packed, messages) = blob[8..].split_at(length(4));
    let table = zstd::bulk::decompress(packed, length(0)).expect("it is our own");
    let table = edited(&table, edits);
    let packed = zstd::bulk::compress(&table, 1).expect("it packs");
    let lengths = [table.len() as u32, packed.len() as u32].map(u32::to_le_bytes);
    [&lengths[0], &lengths[1], &packed[..], messages].concat()
}

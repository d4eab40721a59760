//! The store against plain data, crashes, damage and its cap.
//!
//! A crash is a copy of the files: what a `kill -9` leaves is what was written, and SQLite writes at once.

mod cap;
mod damage;
mod disk;
mod golden;
mod model;
mod notifications;
mod torn;

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::{Durability, Epoch, Loss, Options, Recovered, Store, StoreError, Unsent};
use crate::engine::ledger::Account;
use crate::engine::record::{Batch, Encoding, Key, Kind, LaneId, Meta};
use crate::engine::state::{
    AlertKey, AlertState, Block, Changes, EpisodeKey, EpisodeState, FileId, Position, StreamState, Totals,
};
use crate::engine::template::mask::TemplateId;
use crate::units::{Bytes, Lines, Timestamp};

/// Batches of every form, numbered from `first`: texts, bytes that cannot be compressed, none at all.
pub(crate) fn any_batch(first: u64) -> impl Strategy<Value = Batch> {
    let bytes = prop_oneof![
        "[a-z {}\":]{0,80}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..300),
        (0usize..4000).prop_map(|length| vec![b'x'; length]),
    ];
    let message = (bytes, 0u32..4, 0u64..1000, 1u32..4, any::<i64>(), 0u8..3);
    let batch = (prop::collection::vec(message, 0..12), 0u8..3, any::<u128>(), any::<bool>());
    batch.prop_map(move |(messages, form, lane, with_topic)| {
        let encoding = [Encoding::Record, Encoding::GzipNdjson, Encoding::ZstdNdjson][usize::from(form)];
        let mut batch = Batch { lane: LaneId(lane), encoding, ..Batch::default() };
        let mut seq = first;
        for (bytes, key, lines, records, time, kind) in messages {
            let records = if encoding == Encoding::Record { 1 } else { records };
            batch.bytes.extend_from_slice(&bytes);
            batch.metas.push(Meta {
                end: batch.bytes.len(),
                seq,
                records,
                kind: [Kind::Line, Kind::Summary, Kind::Notice][usize::from(kind)],
                lines: Lines(lines),
                key,
                time: Timestamp(time),
            });
            if encoding != Encoding::Record {
                batch.members.extend(seq..seq + u64::from(records));
            }
            seq += u64::from(records);
        }
        batch.keys = (0..4).map(|key| Key::of(&format!("stream-{key}"))).collect();
        if with_topic {
            batch.keys[2].topic = Some("orders".into());
        }
        batch
    })
}

pub(super) const KAFKA: &str = "kafka://localhost:9092/logs";

pub(super) fn options(dir: &Path) -> Options {
    // Process, because a test machine's syncs are slow, and neither it nor a copied file loses power.
    Options { dir: dir.to_path_buf(), size_max: Bytes(8 << 20), durability: Durability::Process }
}

/// Lane ids 1, 2, 3 …, higher with each call of this.
pub(super) fn minting() -> impl FnMut() -> LaneId {
    use std::sync::atomic::{AtomicU64, Ordering};
    static LAST: AtomicU64 = AtomicU64::new(0);
    || LaneId(u128::from(LAST.fetch_add(1, Ordering::Relaxed) + 1))
}

#[track_caller]
pub(super) fn open(dir: &Path) -> (Store, Recovered) {
    Store::open(&options(dir), KAFKA, &mut minting()).expect("the store opens")
}

/// What a store should hold: the same operations on vectors.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Model {
    /// Epochs with records that are not wholly acknowledged.
    pub(super) epochs: Vec<Batch>,
    pub(super) acked: u64,
    pub(super) changes: Changes,
    pub(super) positions: Vec<Position>,
}

/// One epoch to come, before it has numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Step {
    pub(super) batch: Batch,
    pub(super) changes: Changes,
    pub(super) positions: Vec<Position>,
    pub(super) positions_gone: Vec<FileId>,
}

impl Model {
    pub(super) fn new() -> Model {
        let mut model = Model::default();
        model.changes.totals.next_seq = 1;
        model
    }

    pub(super) fn next_seq(&self) -> u64 {
        self.changes.totals.next_seq
    }

    /// Numbers the step on from here, and makes its streams' books balance.
    pub(super) fn number(&self, step: &mut Step, lane: LaneId) {
        let by = self.next_seq() - 1;
        step.batch.lane = lane;
        step.batch.metas.iter_mut().for_each(|meta| meta.seq += by);
        step.batch.members.iter_mut().for_each(|seq| *seq += by);
        let records: u64 = step.batch.metas.iter().map(|meta| u64::from(meta.records)).sum();
        step.changes.totals.next_seq = self.next_seq() + records;
        let mut after = self.clone();
        after.apply_changes(&step.changes);
        let named = after.changes.streams.iter().cloned();
        let open = |key: &str| -> Lines {
            after
                .changes
                .episodes
                .iter()
                .filter(|episode| episode.key.stream == key)
                .map(|one| one.count)
                .sum()
        };
        let orphans = after
            .changes
            .episodes
            .iter()
            .map(|episode| StreamState { key: episode.key.stream.clone(), ..StreamState::default() });
        let mut streams: Vec<StreamState> = named.chain(orphans).collect();
        streams.sort_by(|a, b| a.key.cmp(&b.key));
        streams.dedup_by(|a, b| a.key == b.key);
        for stream in &mut streams {
            let Account { verbatim, summarised, noticed, .. } = stream.account;
            stream.account.received = verbatim + summarised + noticed + stream.held_back + open(&stream.key);
        }
        step.changes.streams = streams;
    }

    /// What a commit of the numbered step comes to.
    pub(super) fn apply(&mut self, step: &Step, acked: u64) {
        if !step.batch.is_empty() {
            self.epochs.push(step.batch.clone());
        }
        self.apply_changes(&step.changes);
        self.positions.retain(|old| {
            !step.positions_gone.contains(&old.file) && !step.positions.iter().any(|new| new.file == old.file)
        });
        self.positions.extend(step.positions.iter().cloned());
        self.positions
            .sort_by_key(|position| (position.file.device, position.file.inode, position.file.born));
        self.acknowledge(acked);
    }

    fn apply_changes(&mut self, with: &Changes) {
        let changes = &mut self.changes;
        let replaced =
            |key: &String| with.streams.iter().any(|new| new.key == *key) || with.streams_gone.contains(key);
        changes.streams.retain(|old| !replaced(&old.key));
        changes.streams.extend(with.streams.iter().cloned());
        changes.streams.sort_by(|a, b| a.key.cmp(&b.key));
        let replaced = |key: &EpisodeKey| {
            with.episodes.iter().any(|new| new.key == *key) || with.episodes_gone.contains(key)
        };
        changes.episodes.retain(|old| !replaced(&old.key));
        changes.episodes.extend(with.episodes.iter().cloned());
        let order = |key: &EpisodeKey| (key.stream.clone(), key.template, key.parse_error);
        changes.episodes.sort_by_key(|episode| order(&episode.key));
        let replaced =
            |key: &AlertKey| with.alerts.iter().any(|new| new.key == *key) || with.alerts_gone.contains(key);
        changes.alerts.retain(|old| !replaced(&old.key));
        changes.alerts.extend(with.alerts.iter().cloned());
        changes.alerts.sort_by(|a, b| a.key.rule.cmp(&b.key.rule));
        changes.totals = with.totals;
    }

    pub(super) fn acknowledge(&mut self, upto: u64) {
        self.acked = upto.max(self.acked).min(self.next_seq() - 1);
        let acked = self.acked;
        self.epochs.retain(|batch| last_of(batch) > acked);
    }

    #[track_caller]
    pub(super) fn check_recovered(&self, recovered: &Recovered) {
        assert_eq!(recovered.next_seq, self.next_seq());
        assert_eq!(recovered.acked, self.acked);
        assert_eq!(recovered.changes, self.changes);
        let mut positions = recovered.positions.clone();
        positions.sort_by_key(|position| (position.file.device, position.file.inode, position.file.born));
        assert_eq!(positions, self.positions);
    }

    #[track_caller]
    pub(super) fn check_unsent(&self, store: &mut Store) {
        let (batches, losses) = drain(store);
        assert_eq!(losses, []);
        assert_eq!(batches.len(), self.epochs.len());
        for (found, want) in batches.iter().zip(&self.epochs) {
            assert_eq!(found, want);
        }
        let waiting = store.waiting();
        let (records, lines) = self
            .epochs
            .iter()
            .flat_map(|batch| &batch.metas)
            .fold((0, Lines(0)), |sum, meta| (sum.0 + u64::from(meta.records), sum.1 + meta.lines));
        assert_eq!((waiting.records, waiting.lines), (records, lines));
    }
}

/// Commits a step to both; the store's refusal changes neither.
pub(super) fn commit(
    store: &mut Store,
    model: &mut Model,
    mut step: Step,
    acked: u64,
) -> Result<(), StoreError> {
    model.number(&mut step, store.lane());
    store.commit(&Epoch {
        positions: &step.positions,
        positions_gone: &step.positions_gone,
        acked,
        ..Epoch::new(&step.batch, &step.changes)
    })?;
    model.apply(&step, acked);
    Ok(())
}

pub(super) fn last_of(batch: &Batch) -> u64 {
    let members = batch.members.iter().copied().max();
    members.or(batch.metas.last().map(|meta| meta.seq)).unwrap_or(0)
}

/// Everything that is to be sent, and what is lost.
#[track_caller]
pub(super) fn drain(store: &mut Store) -> (Vec<Batch>, Vec<Loss>) {
    let (mut batches, mut losses, mut from) = (Vec::new(), Vec::new(), 1);
    while let Some(found) = store.unsent(from).expect("the store can be read") {
        from = match found {
            Unsent::Batch(batch) => {
                let last = last_of(&batch);
                batches.push(batch);
                last + 1
            }
            Unsent::Lost(loss) => {
                losses.push(loss);
                loss.last_seq + 1
            }
        };
    }
    (batches, losses)
}

/// `count` records of `length` bytes that do not compress, and some state beside them; the same for the same `seed`.
pub(super) fn step(seed: u64, count: u64, length: usize) -> Step {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut batch = Batch { keys: vec![Key::of("app/stdout")], ..Batch::default() };
    for index in 0..count {
        batch.bytes.extend((0..length.div_ceil(8)).flat_map(|_| next().to_le_bytes()).take(length));
        batch.metas.push(Meta {
            end: batch.bytes.len(),
            seq: index + 1,
            records: 1,
            kind: Kind::Line,
            lines: Lines(index + 1),
            key: 0,
            time: Timestamp(1_770_336_600 * Timestamp::SECOND),
        });
    }
    let mut step = Step { batch, ..Step::default() };
    step.changes.streams.push(StreamState {
        key: "app/stdout".to_owned(),
        account: Account { verbatim: Lines(seed), ..Account::default() },
        detail: next().to_le_bytes().repeat(9),
        ..StreamState::default()
    });
    let template = TemplateId(u128::from(seed % 7));
    step.changes.episodes.push(EpisodeState {
        key: EpisodeKey { stream: "app/stdout".to_owned(), template, parse_error: false },
        episode: seed,
        window: seed,
        count: Lines(seed % 5),
        total: Lines(seed),
        first: Timestamp(1),
        last: Timestamp(2),
        detail: next().to_le_bytes().repeat(20),
    });
    let alert = |number: u64| AlertKey {
        group: "made up".to_owned(),
        rule: format!("Rule{number}"),
        stream: if number == 1 { "app/stdout".to_owned() } else { String::new() },
    };
    let detail = next().to_le_bytes().repeat(30);
    step.changes.alerts.push(AlertState { key: alert(seed % 4), detail });
    step.changes.alerts_gone.push(alert((seed + 1) % 4));
    step.changes.totals.alerts = seed;
    step.changes.totals.next_episode = seed + 1;
    step.changes.totals.next_window = seed + 1;
    step.positions.push(position(seed % 5, seed));
    step
}

pub(super) fn position(inode: u64, read: u64) -> Position {
    Position {
        file: FileId { device: 1 << 63, inode, born: -7 },
        path: format!("/var/log/{inode}.log").into(),
        source: "/var/log/app.log".into(),
        resume: read,
        read: read + 3,
        size: read + 9,
        head_length: 1024,
        head: u64::MAX - inode,
        marker: 1 << 63 | read,
        ended: inode == 2,
    }
}

/// The store's files and their bytes, as a crash at this moment would leave them.
pub(super) fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    let files = entries.filter(|path| path.is_file());
    files
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read(path).expect("a file"))
        })
        .filter(|(name, _)| !name.ends_with("-shm"))
        .collect()
}

/// Puts files back. Those that are there keep their inodes, so that the store is not taken for a copy.
pub(super) fn put_back(dir: &Path, files: &[(String, Vec<u8>)]) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_file() && !files.iter().any(|(kept, _)| *kept == name) {
            fs::remove_file(path).expect("it is ours");
        }
    }
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).expect("a file");
    }
}

/// Disk taken by the store, without what was set aside.
pub(super) fn taken(dir: &Path) -> u64 {
    let names = ["outbox.db", "outbox.db-wal", "outbox.db-shm"];
    names.iter().map(|name| fs::metadata(dir.join(name)).map_or(0, |file| file.len())).sum()
}

/// Ids would be used twice: nothing is stored, and nothing panics.
#[test]
fn what_is_not_numbered_on_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut store, _) = open(folder.path());
    #[track_caller]
    fn check(store: &mut Store, seqs: &[u64], next: u64, want: Option<(u64, u64, u64)>) {
        let metas = seqs.iter().enumerate().map(|(index, seq)| Meta {
            end: index + 1,
            seq: *seq,
            records: 1,
            kind: Kind::Line,
            lines: Lines(1),
            key: 0,
            time: Timestamp(0),
        });
        let batch = Batch {
            bytes: vec![b'x'; seqs.len()],
            metas: metas.collect(),
            keys: vec![Key::of("s")],
            ..Batch::default()
        };
        let mut changes = Changes::default();
        changes.totals.next_seq = next;
        let epoch = Epoch::new(&batch, &changes);
        let found = match store.commit(&epoch) {
            Ok(()) => None,
            Err(StoreError::Numbering { first, next, want }) => Some((first, next, want)),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(found, want, "{seqs:?}, then {next}");
    }
    check(&mut store, &[2, 3], 4, Some((2, 4, 1)));
    check(&mut store, &[1, 2], 4, Some((1, 4, 1)));
    check(&mut store, &[], 2, Some((1, 2, 1)));
    check(&mut store, &[1, 2], 3, None);
    check(&mut store, &[1], 2, Some((1, 2, 3)));
    check(&mut store, &[], 3, None);
    assert_eq!((store.next_seq(), store.waiting().records), (3, 2));
}

/// What was taken out of FIFOs is replaced, deleted, and comes back; stores of earlier versions know of none.
#[test]
fn fault_068_blocks_come_back() {
    let room = tempfile::tempdir().expect("a directory");
    let (mut store, recovered) = open(room.path());
    assert_eq!(recovered.blocks, []);
    let block = |fifo: &str, offset| Block { fifo: fifo.to_owned(), offset, length: 7, hash: u128::MAX - 5 };
    let changes = Changes { totals: Totals { next_seq: 1, ..Totals::default() }, ..Changes::default() };
    let mut commit = |blocks: &[Block], blocks_gone: &[String]| {
        store
            .commit(&Epoch { blocks, blocks_gone, ..Epoch::new(&Batch::default(), &changes) })
            .expect("there is room");
    };
    commit(&[block("a", 0), block("b", u64::MAX)], &[]);
    commit(&[block("a", 9)], &["b".to_owned()]);
    commit(&[block("c", 1)], &[]);
    drop(store);
    assert_eq!(open(room.path()).1.blocks, [block("a", 9), block("c", 1)]);
    let database = rusqlite::Connection::open(room.path().join("outbox.db")).expect("a database");
    database.execute_batch("DROP TABLE fifo").expect("it is there");
    drop(database);
    assert_eq!(open(room.path()).1.blocks, []);
}

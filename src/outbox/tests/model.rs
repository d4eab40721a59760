//! Random commits, acknowledgements, replacements, crashes and restarts, against vectors.

use proptest::prelude::*;

use super::{Model, Step, any_batch, commit, drain, last_of, minting, open, options, position, step};
use crate::engine::record::Encoding;
use crate::engine::state::{EpisodeKey, EpisodeState, StreamState};
use crate::engine::template::mask::TemplateId;
use crate::outbox::{Epoch, Loss, Mishap, OpenError, Renewal, SIZE_MIN, Store, Unsent};
use crate::units::{Bytes, Lines, Timestamp};

#[derive(Clone, Debug)]
enum Operation {
    /// An epoch, and how far acknowledgements have come: in parts of 8.
    Commit(Box<Step>, u64),
    Acknowledge(u64),
    /// A message by its place among those that wait.
    Replace(prop::sample::Index, Vec<u8>),
    Crash,
    Close,
    Reopen,
}

fn any_step() -> impl Strategy<Value = Step> {
    let key = || (0u8..3).prop_map(|stream| format!("stream {stream}"));
    let detail = || prop::collection::vec(any::<u8>(), 0..600);
    let stream = (key(), 0u64..100, 0u64..9, detail()).prop_map(|(key, verbatim, held_back, detail)| {
        let mut stream = StreamState { key, held_back: Lines(held_back), detail, ..StreamState::default() };
        stream.account.verbatim = Lines(verbatim);
        stream
    });
    let episode_key = || {
        (key(), 0u128..4, any::<bool>()).prop_map(|(stream, template, parse_error)| EpisodeKey {
            stream,
            template: TemplateId(template << 100),
            parse_error,
        })
    };
    let episode = (episode_key(), any::<u32>(), 0u64..50, any::<i64>(), detail());
    let episode = episode.prop_map(|(key, number, count, first, detail)| EpisodeState {
        key,
        episode: u64::from(number),
        window: u64::from(number) + 1,
        count: Lines(count),
        total: Lines(count * 2),
        first: Timestamp(first),
        last: Timestamp(i64::MAX),
        detail,
    });
    let changes = (
        prop::collection::vec(stream, 0..3),
        prop::collection::vec(episode, 0..4),
        prop::collection::vec(episode_key(), 0..3),
    );
    let files = (prop::collection::vec((0u64..6, 0u64..99), 0..3), prop::collection::vec(0u64..6, 0..2));
    (any_batch(1), changes, files).prop_map(|(batch, (streams, mut episodes, gone), (read, ended))| {
        let mut step = Step { batch, ..Step::default() };
        // One entry has one state: the last one that is named.
        episodes.sort_by(|a, b| {
            (&a.key.stream, a.key.template, a.key.parse_error).cmp(&(
                &b.key.stream,
                b.key.template,
                b.key.parse_error,
            ))
        });
        episodes.dedup_by(|a, b| a.key == b.key);
        step.changes.streams = streams;
        step.changes.streams.sort_by(|a, b| a.key.cmp(&b.key));
        step.changes.streams.dedup_by(|a, b| a.key == b.key);
        step.changes.episodes = episodes;
        step.changes.episodes_gone = gone;
        step.changes.totals.next_episode = 1 << 40;
        step.changes.totals.next_window = 1 << 41;
        step.positions = read.into_iter().map(|(inode, read)| position(inode, read)).collect();
        step.positions.sort_by_key(|position| position.file.inode);
        step.positions.dedup_by_key(|position| position.file);
        step.positions_gone = ended.into_iter().map(|inode| position(inode, 0).file).collect();
        step
    })
}

fn any_operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (any_step(), 0u64..9).prop_map(|(step, acked)| Operation::Commit(Box::new(step), acked)),
        2 => (0u64..9).prop_map(Operation::Acknowledge),
        1 => (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..200))
            .prop_map(|(at, message)| Operation::Replace(at, message)),
        2 => Just(Operation::Crash),
        1 => Just(Operation::Close),
        1 => Just(Operation::Reopen),
    ]
}

/// `eighths` of what waits are acknowledged.
fn cursor(model: &Model, eighths: u64) -> u64 {
    model.acked + (model.next_seq() - 1 - model.acked) * eighths / 8
}

/// Puts the message into the model's place of that of `seq`.
fn replace(model: &mut Model, seq: u64, message: &[u8]) {
    for batch in &mut model.epochs {
        let Some(index) = batch.metas.iter().position(|meta| meta.seq == seq) else { continue };
        let parts: Vec<Vec<u8>> = batch.iter().map(|(_, bytes)| bytes.to_vec()).collect();
        batch.bytes.clear();
        for (at, part) in parts.iter().enumerate() {
            batch.bytes.extend_from_slice(if at == index { message } else { part });
            batch.metas[at].end = batch.bytes.len();
        }
    }
}

fn settings() -> ProptestConfig {
    ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn the_store_is_what_was_committed(operations in prop::collection::vec(any_operation(), 1..30)) {
        let room = tempfile::tempdir().expect("a directory");
        let mut model = Model::new();
        let (mut store, recovered) = open(room.path());
        prop_assert!(recovered.created);
        for operation in operations {
            match operation {
                Operation::Commit(step, acked) => {
                    let acked = cursor(&model, acked);
                    commit(&mut store, &mut model, *step, acked).expect("there is room");
                }
                Operation::Acknowledge(eighths) => {
                    let acked = cursor(&model, eighths);
                    store.acknowledge(acked).expect("it can be written");
                    model.acknowledge(acked);
                }
                Operation::Replace(at, message) => {
                    let waiting: Vec<u64> =
                        model.epochs.iter().flat_map(|batch| &batch.metas).map(|meta| meta.seq).collect();
                    if let Some(&seq) = waiting.get(at.index(waiting.len().max(1))) {
                        store.replace(seq, &message).expect("there is room");
                        replace(&mut model, seq, &message);
                    }
                }
                end => {
                    let recovered = match end {
                        Operation::Reopen => store.reopen(&mut minting()).expect("it opens"),
                        Operation::Close => {
                            store.close().expect("it closes");
                            let recovered;
                            (store, recovered) = open(room.path());
                            recovered
                        }
                        _ => {
                            drop(store);
                            let recovered;
                            (store, recovered) = open(room.path());
                            recovered
                        }
                    };
                    prop_assert_eq!(&recovered.mishaps, &[]);
                    model.check_recovered(&recovered);
                }
            }
            model.check_unsent(&mut store);
        }
        let audit = crate::outbox::audit::audit(room.path()).expect("it can be read");
        prop_assert_eq!(audit.problems, Vec::<String>::new());
    }
}

#[test]
fn records_come_from_where_they_are_asked_for() {
    let room = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(room.path());
    let mut model = Model::new();
    for seed in 1..=3 {
        commit(&mut store, &mut model, step(seed, 4, 50), 0).expect("there is room");
    }
    let check = |store: &mut Store, from: u64, first: Option<u64>| {
        let found = store.unsent(from).expect("it can be read").map(|found| match found {
            Unsent::Batch(batch) => batch.metas[0].seq,
            Unsent::Lost(loss) => panic!("{loss:?}"),
        });
        assert_eq!(found, first, "from {from}");
    };
    for (from, first) in [(0, 1), (1, 1), (4, 1), (5, 5), (8, 5), (9, 9), (12, 9)] {
        check(&mut store, from, Some(first));
    }
    check(&mut store, 13, None);
    store.acknowledge(6).expect("it can be written");
    check(&mut store, 0, Some(5));
    store.acknowledge(3).expect("back is no step");
    check(&mut store, 0, Some(5));
    assert_eq!(store.acked(), 6);
    store.acknowledge(u64::MAX).expect("it can be written");
    check(&mut store, 0, None);
    assert_eq!((store.acked(), store.waiting()), (12, Default::default()));
}

#[test]
fn a_long_backlog_is_acknowledged_at_once() {
    let room = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(room.path());
    let mut model = Model::new();
    for seed in 1..=300 {
        commit(&mut store, &mut model, step(seed, 1, 10), 0).expect("there is room");
    }
    assert_eq!(store.waiting().records, 300);
    store.acknowledge(299).expect("it can be written");
    model.acknowledge(299);
    model.check_unsent(&mut store);
}

#[test]
fn a_message_of_many_records_comes_back_with_its_members() {
    let room = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(room.path());
    let mut packed = step(1, 2, 300);
    packed.batch.encoding = Encoding::ZstdNdjson;
    packed.batch.metas[0].records = 3;
    packed.batch.metas[1].records = 2;
    packed.batch.metas[1].seq = 3;
    packed.batch.members = vec![1, 2, 5, 3, 4];
    let mut model = Model::new();
    commit(&mut store, &mut model, packed, 0).expect("there is room");
    assert_eq!(store.next_seq(), 6);
    let (batches, _) = drain(&mut store);
    assert_eq!(batches, model.epochs);
}

#[test]
fn each_destination_has_a_lane_of_its_own() {
    let room = tempfile::tempdir().expect("a directory");
    let open = |to: &str| Store::open(&options(room.path()), to, &mut minting()).expect("it opens");
    let (mut store, first) = open("kafka://a/t");
    let mut model = Model::new();
    commit(&mut store, &mut model, step(1, 4, 50), 0).expect("there is room");
    drop(store);
    let (mut store, second) = open("kafka://b/t");
    assert_ne!(second.lane, first.lane);
    assert_eq!((second.next_seq, second.changes.totals.next_seq, second.acked), (1, 1, 0));
    assert_eq!((second.other_lanes.len(), second.other_lanes[0].waiting.records), (1, 4));
    assert_eq!(second.other_lanes[0].destination, "kafka://a/t");
    assert_eq!(second.positions, model.positions, "what was read was read for both");
    assert_eq!(drain(&mut store), (vec![], vec![]));
    let mut other = Model { changes: second.changes.clone(), ..Model::new() };
    commit(&mut store, &mut other, step(2, 2, 50), u64::MAX).expect("there is room");
    drop(store);
    let (mut store, back) = open("kafka://a/t");
    assert_eq!((back.lane, back.next_seq), (first.lane, 5));
    assert_eq!(back.mishaps, []);
    assert_eq!(drain(&mut store).0, model.epochs);
}

#[test]
fn a_loss_is_told_once() {
    let room = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(room.path());
    let mut model = Model::new();
    for seed in 1..=3 {
        commit(&mut store, &mut model, step(seed, 4, 50), 0).expect("there is room");
    }
    drop(store);
    let database = rusqlite::Connection::open(room.path().join("outbox.db")).expect("a database");
    database.execute("UPDATE epoch SET lines = 7 WHERE first_seq = 5", []).expect("a row");
    drop(database);
    let (mut store, _) = open(room.path());
    let (batches, losses) = drain(&mut store);
    assert_eq!(batches, [model.epochs[0].clone(), model.epochs[2].clone()]);
    assert_eq!(losses, [Loss { first_seq: 5, last_seq: 8, lines: Some(Lines(10)) }]);
    let audit = |want: &[&str]| {
        let found = crate::outbox::audit::audit(room.path()).expect("it can be read");
        assert_eq!(found.problems, want);
    };
    audit(&["kafka://localhost:9092/logs: records 5 to 8 are damaged"]);
    let mut notice = step(4, 1, 50);
    model.number(&mut notice, store.lane());
    let epoch = Epoch { told: &losses, ..Epoch::new(&notice.batch, &notice.changes) };
    store.commit(&epoch).expect("there is room");
    let (batches, losses) = drain(&mut store);
    assert_eq!((batches.len(), losses), (3, vec![]));
    audit(&[]);
    store.acknowledge(8).expect("it can be written");
    assert_eq!(store.waiting().records, 5);
}

#[test]
fn fault_041_a_store_has_one_owner() {
    let room = tempfile::tempdir().expect("a directory");
    let (_store, _) = open(room.path());
    let again = Store::open(&options(room.path()), super::KAFKA, &mut minting());
    assert!(matches!(again, Err(OpenError::InUse { .. })));
}

#[test]
fn a_cap_that_is_too_small_is_refused() {
    let room = tempfile::tempdir().expect("a directory");
    let options = crate::outbox::Options { size_max: SIZE_MIN - Bytes(1), ..options(room.path()) };
    let error = Store::open(&options, super::KAFKA, &mut minting()).err().expect("it is too small");
    assert_eq!(error.to_string(), "outbox.size_max is 8388607 bytes, and at least 8388608 are needed");
}

#[test]
fn fault_066_a_copy_gets_a_lane_of_its_own() {
    let room = tempfile::tempdir().expect("a directory");
    let (here, there) = (room.path().join("here"), room.path().join("there"));
    let (mut store, first) = open(&here);
    let mut model = Model::new();
    commit(&mut store, &mut model, step(1, 4, 50), 2).expect("there is room");
    drop(store);
    std::fs::create_dir(&there).expect("a directory");
    super::put_back(&there, &super::files(&here));
    let (mut store, copy) = open(&there);
    let renewed = Mishap::LaneRenewed {
        destination: super::KAFKA.to_owned(),
        old: first.lane,
        new: copy.lane,
        why: Renewal::Cloned,
    };
    assert_eq!(copy.mishaps, [renewed]);
    assert_ne!(copy.lane, first.lane);
    model.check_recovered(&copy);
    commit(&mut store, &mut model, step(2, 1, 50), 2).expect("there is room");
    let lanes: Vec<_> = drain(&mut store).0.iter().map(|batch| (batch.lane, last_of(batch))).collect();
    assert_eq!(lanes, [(first.lane, 4), (copy.lane, 5)], "stored records keep their ids");
    drop(store);
    assert_eq!(open(&there).1.mishaps, [], "it is told once");
    assert_eq!(open(&here).1.mishaps, [], "the original goes on");
}

#[test]
fn power_lost_without_syncs_is_noticed() {
    let room = tempfile::tempdir().expect("a directory");
    drop(open(room.path()));
    let forget = || {
        let database = rusqlite::Connection::open(room.path().join("outbox.db")).expect("a database");
        let mut meta = crate::outbox::schema::read_meta(&database).expect("a row");
        meta.boot = "an earlier one".to_owned();
        crate::outbox::schema::write_meta(&database, &meta).expect("it can be written");
        std::mem::forget(database); // closing it would tidy the log up
    };
    forget();
    let (store, recovered) = open(room.path());
    let [Mishap::LaneRenewed { why: Renewal::PowerLost, .. }] = recovered.mishaps[..] else {
        panic!("{:?}", recovered.mishaps)
    };
    store.close().expect("it closes");
    forget();
    assert_eq!(open(room.path()).1.mishaps, [], "what was closed was synced");
}

//! The cap: never exceeded, with room kept for counts, and recovering by itself.

use rusqlite::Connection;

use super::{Model, Step, commit, drain, minting, open, options, step, taken};
use crate::outbox::{Options, SIZE_MIN, Store, StoreError};
use crate::units::Bytes;

const CAP: u64 = SIZE_MIN.0;

/// State and no records.
fn counts(seed: u64) -> Step {
    Step { batch: Default::default(), ..step(seed, 0, 0) }
}

#[test]
fn fault_060_ten_times_the_cap_goes_through() {
    let room = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(room.path());
    let mut model = Model::new();
    let (mut written, mut seed) = (0, 0);
    while written < 10 * CAP {
        seed += 1;
        // Sizes that differ, so that freed pages fit badly.
        let length = 1_000 + seed as usize * 7919 % 40_000;
        let acked = model.next_seq().saturating_sub(60);
        commit(&mut store, &mut model, step(seed, 20, length), acked).expect("there is room");
        written += 20 * length as u64;
        assert!(taken(room.path()) <= CAP, "{} after {written}", taken(room.path()));
    }
    model.check_unsent(&mut store);
}

#[test]
fn fault_044_fault_060_full_is_refused_whole_and_ends_by_itself() {
    let room = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(room.path());
    let mut model = Model::new();
    let refused = (1..).find_map(|seed| commit(&mut store, &mut model, step(seed, 10, 10_000), 0).err());
    let Some(StoreError::Full { used, limit }) = refused else { panic!("{refused:?}") };
    assert!(used <= limit && limit.0 - used.0 < 160_000, "{used} of {limit}");
    assert!(limit.0 > CAP / 2, "{limit} of {CAP} for records");
    assert_eq!((store.used().expect("a number"), store.payload_max()), (used, limit));

    // Counts have a reserve: here a MiB of them, which records must not take.
    for seed in 0..1000 {
        commit(&mut store, &mut model, counts(seed), 0).expect("there is room for counts");
    }
    let refused = commit(&mut store, &mut model, step(1, 1, 100_000), 0);
    assert!(matches!(refused, Err(StoreError::Full { .. })), "{refused:?}");
    assert!(taken(room.path()) <= CAP, "{}", taken(room.path()));
    model.check_unsent(&mut store);

    // A position becomes durable only with its records (faults.md 44): refused together.
    drop(store);
    let (mut store, recovered) = open(room.path());
    assert_eq!(recovered.mishaps, []);
    model.check_recovered(&recovered);

    store.acknowledge(100).expect("deleting needs no room");
    model.acknowledge(100);
    for seed in 1..=9 {
        commit(&mut store, &mut model, step(seed, 10, 10_000), 0).expect("there is room again");
        assert!(taken(room.path()) <= CAP, "{}", taken(room.path()));
    }
    model.check_unsent(&mut store);
}

#[test]
fn the_reserve_has_an_end_too() {
    let room = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(room.path());
    let mut model = Model::new();
    let refused = (0..10_000).find_map(|seed| {
        let mut one = counts(seed);
        one.changes.episodes[0].key.template.0 = u128::from(seed);
        one.changes.episodes[0].detail.resize(20_000, 1);
        commit(&mut store, &mut model, one, 0).err()
    });
    assert!(matches!(refused, Some(StoreError::Full { .. })), "{refused:?}");
    assert!(taken(room.path()) <= CAP, "{}", taken(room.path()));
    drop(store);
    model.check_recovered(&open(room.path()).1);
}

#[test]
fn what_never_fits_is_told_apart() {
    let room = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(room.path());
    let mut model = Model::new();
    let refused = commit(&mut store, &mut model, step(1, 10, 800_000), 0);
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{refused:?}");
    commit(&mut store, &mut model, step(1, 3, 800_000), 0).expect("2.4 MB fit into the smallest store");
    assert!(taken(room.path()) <= CAP, "{}", taken(room.path()));
    model.check_unsent(&mut store);
}

#[test]
fn fault_060_a_reader_cannot_make_the_log_grow() {
    let room = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(room.path());
    let mut model = Model::new();
    let reader = Connection::open(room.path().join("outbox.db")).expect("a second connection");
    reader.execute_batch("BEGIN; SELECT count(*) FROM epoch").expect("it reads");
    let mut refused = None;
    for seed in 1..400 {
        let acked = model.next_seq() - 1;
        match commit(&mut store, &mut model, step(seed, 10, 10_000), acked) {
            Ok(()) => {}
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
        assert!(taken(room.path()) <= CAP, "{}", taken(room.path()));
    }
    assert!(matches!(refused, Some(StoreError::Busy)), "{refused:?}");
    drop(reader);
    for seed in 1..100 {
        let acked = model.next_seq() - 1;
        commit(&mut store, &mut model, step(seed, 10, 10_000), acked).expect("the log begins anew");
        assert!(taken(room.path()) <= CAP, "{}", taken(room.path()));
    }
    model.check_unsent(&mut store);
}

#[test]
fn a_smaller_cap_takes_effect_when_there_is_room() {
    let room = tempfile::tempdir().expect("a directory");
    let large = Options { size_max: Bytes(4 * CAP), ..options(room.path()) };
    let (mut store, _) = Store::open(&large, super::KAFKA, &mut minting()).expect("it opens");
    let mut model = Model::new();
    for seed in 1..=150 {
        commit(&mut store, &mut model, step(seed, 10, 10_000), 0).expect("there is room");
    }
    drop(store);
    let (mut store, _) = open(room.path());
    let refused = commit(&mut store, &mut model, step(1, 10, 10_000), 0);
    assert!(matches!(refused, Err(StoreError::Full { .. })), "{refused:?}");
    assert_eq!(drain(&mut store).0, model.epochs);
    store.acknowledge(1400).expect("deleting needs no room");
    model.acknowledge(1400);
    drop(store);
    let (mut store, recovered) = open(room.path());
    assert_eq!(recovered.mishaps, []);
    assert!(taken(room.path()) <= CAP, "{}", taken(room.path()));
    commit(&mut store, &mut model, step(1, 10, 10_000), 0).expect("there is room");
    model.check_unsent(&mut store);
}

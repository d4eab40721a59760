//! Crashes: the log cut at every frame and in the middle of each, and files that are missing.

use std::fs;

use super::{Model, commit, files, open, put_back, step};
use crate::outbox::{Mishap, Renewal};

const LOG: &str = "outbox.db-wal";

/// A killed store of `count` epochs; the model after each, with the log's length then.
fn killed(dir: &std::path::Path, count: u64) -> Vec<(u64, Model)> {
    let length = || fs::metadata(dir.join(LOG)).expect("a log").len();
    let (mut store, _) = open(dir);
    let mut model = Model::new();
    let mut history = vec![(length(), model.clone())];
    for seed in 1..=count {
        let acked = seed * 2;
        commit(&mut store, &mut model, step(seed, 4, 700), acked).expect("there is room");
        history.push((length(), model.clone()));
    }
    assert!(history.is_sorted_by(|a, b| a.0 < b.0), "the log was not emptied meanwhile");
    history
}

#[test]
fn fault_038_fault_061_a_torn_log_ends_with_a_whole_epoch() {
    let room = tempfile::tempdir().expect("a directory");
    let history = killed(room.path(), 8);
    let left = files(room.path());
    let log = left.iter().position(|(name, _)| name == LOG).expect("a log");
    let (header, frame) = (32, 4096 + 24);
    let whole = left[log].1.len();
    let cuts = (header..whole).step_by(frame).flat_map(|at| [at, at + 10, at + 24 + 2000]);
    let mut seen = std::collections::BTreeSet::new();
    for cut in cuts.chain([0, 10, whole]).filter(|cut| *cut <= whole) {
        let mut torn = left.clone();
        torn[log].1.truncate(cut);
        put_back(room.path(), &torn);
        let (mut store, recovered) = open(room.path());
        let (index, (_, want)) = history
            .iter()
            .enumerate()
            .rfind(|(_, (length, _))| *length <= cut as u64)
            .expect("the first one is before everything");
        assert_eq!(recovered.mishaps, [], "cut at {cut}");
        if index > 0 {
            want.check_recovered(&recovered);
        }
        want.check_unsent(&mut store);
        // And it goes on from there.
        let mut model = Model { changes: recovered.changes, ..want.clone() };
        commit(&mut store, &mut model, step(99, 3, 100), 0).expect("there is room");
        model.check_unsent(&mut store);
        seen.insert(index);
    }
    assert_eq!(seen.len(), history.len(), "every epoch was the last one once");
}

#[test]
fn fault_062_damage_inside_the_log_gives_a_new_lane() {
    let room = tempfile::tempdir().expect("a directory");
    let history = killed(room.path(), 6);
    let left = files(room.path());
    let log = left.iter().position(|(name, _)| name == LOG).expect("a log");
    let last_frame = left[log].1.len() - (4096 + 24);
    for at in (0..left[log].1.len()).step_by(997) {
        let mut damaged = left.clone();
        damaged[log].1[at] ^= 0x40;
        put_back(room.path(), &damaged);
        let (mut store, recovered) = open(room.path());
        let reached = history.iter().rfind(|(_, model)| model.next_seq() == recovered.next_seq);
        let (_, want) = reached.expect("a state that was committed");
        want.check_unsent(&mut store);
        let lost = recovered.next_seq < history[history.len() - 1].1.next_seq();
        let renewed = |mishap: &Mishap| matches!(mishap, Mishap::LaneRenewed { why: Renewal::LogCut, .. });
        // Damage in the last frame looks like one that was not written to its end.
        let expected = lost && at < last_frame;
        assert_eq!(recovered.mishaps.iter().any(renewed), expected, "flipped {at}");
        assert!(at > 40 || lost, "flipped {at}");
    }
}

#[test]
fn fault_063_missing_files_are_no_crash() {
    let room = tempfile::tempdir().expect("a directory");
    let history = killed(room.path(), 4);
    let lane = open(room.path()).1.lane;
    let killed = files(room.path());
    let (_, model) = history.last().expect("one");
    let check = |left: &[(String, Vec<u8>)], missing: &str| {
        put_back(room.path(), left);
        if let Err(error) = fs::remove_file(room.path().join(missing)) {
            assert_eq!((error.kind(), missing), (std::io::ErrorKind::NotFound, "outbox.db-shm"));
        }
        let (mut store, recovered) = open(room.path());
        let mut after = Model { changes: recovered.changes.clone(), acked: recovered.acked, ..Model::new() };
        commit(&mut store, &mut after, step(50, 2, 20), 0).expect("it works");
        (recovered, super::drain(&mut store))
    };
    let (recovered, _) = check(&killed, "outbox.db-shm");
    assert_eq!(recovered.mishaps, []);
    model.check_recovered(&recovered);

    let (recovered, _) = check(&killed, LOG);
    let [Mishap::LaneRenewed { why: Renewal::LogCut, old, .. }] = recovered.mishaps[..] else {
        panic!("{:?}", recovered.mishaps)
    };
    assert_eq!(old, lane);

    let mut long = killed.clone();
    let log = long.iter().position(|(name, _)| name == LOG).expect("a log");
    long[log].1 = vec![7; 5000];
    let (recovered, (batches, losses)) = check(&long, "outbox.db");
    assert!(matches!(recovered.mishaps[..], [Mishap::Leftover { .. }]), "{:?}", recovered.mishaps);
    assert!(recovered.created && recovered.lane != lane);
    assert_eq!((recovered.next_seq, batches.len(), losses.len()), (1, 1, 0));
    assert!(room.path().join("outbox.bad-wal").exists());

    put_back(room.path(), &killed);
    open(room.path()).0.close().expect("it closes");
    let closed = files(room.path());
    assert_eq!(closed.len(), 1, "a store that was closed is one file");
    let (recovered, _) = check(&closed, "outbox.db");
    assert!(recovered.created && recovered.mishaps.is_empty() && recovered.lane != lane);
}

#[test]
fn a_salvage_that_a_crash_interrupted_is_finished_or_forgotten() {
    let room = tempfile::tempdir().expect("a directory");
    let history = killed(room.path(), 3);
    let (_, model) = history.last().expect("one");
    open(room.path()).0.close().expect("it closes");
    // Before the damaged store was set aside: the salvage may be half.
    fs::write(room.path().join("outbox.salvaged"), "half").expect("a file");
    let (store, recovered) = open(room.path());
    model.check_recovered(&recovered);
    assert!(!room.path().join("outbox.salvaged").exists());
    store.close().expect("it closes");
    // Afterwards: it is whole.
    fs::rename(room.path().join("outbox.db"), room.path().join("outbox.salvaged")).expect("a file");
    let (_store, recovered) = open(room.path());
    assert_eq!(recovered.mishaps, []);
    model.check_recovered(&recovered);
}

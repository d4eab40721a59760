//! Stores that earlier versions made: `tests/outbox/golden/<format>-<how it was left>/`. They are never written anew, only
//! added to; `UPDATE=1` writes those of today's format when they are missing.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Model, commit, files, minting, open, options, put_back, step};
use crate::outbox::schema::FORMAT;
use crate::outbox::{Mishap, OpenError, Renewal, Store};

/// What every golden store holds.
fn fill(dir: &Path) -> (Store, Model) {
    let (mut store, _) = open(dir);
    let mut model = Model::new();
    for seed in 1..=6 {
        commit(&mut store, &mut model, step(seed, 3, 200), seed).expect("there is room");
    }
    store.replace(12, b"replaced").expect("there is room");
    (store, model)
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outbox/golden").join(name)
}

#[test]
fn fault_065_stores_of_earlier_versions_open() {
    let room = tempfile::tempdir().expect("a directory");
    let (_, mut model) = fill(room.path());
    // They kept none yet.
    (model.changes.alerts, model.changes.totals.alerts) = (Vec::new(), 0);
    for name in ["1-killed", "1-closed"] {
        let golden = golden(name);
        if !golden.exists() && std::env::var_os("UPDATE").is_some() && name.starts_with(&format!("{FORMAT}-"))
        {
            let room = tempfile::tempdir().expect("a directory");
            let (store, _) = fill(room.path());
            if name.ends_with("closed") {
                store.close().expect("it closes");
            }
            fs::create_dir_all(&golden).expect("a folder");
            put_back(&golden, &files(room.path()));
        }
        let copy = tempfile::tempdir().expect("a directory");
        put_back(copy.path(), &files(&golden));
        let (mut store, recovered) = open(copy.path());
        assert!(
            matches!(recovered.mishaps[..], [Mishap::LaneRenewed { why: Renewal::Cloned, .. }]),
            "{name}: {:?}",
            recovered.mishaps
        );
        model.check_recovered(&recovered);
        let (batches, losses) = super::drain(&mut store);
        assert_eq!((batches.len(), losses.len()), (4, 0), "{name}");
        let replaced =
            batches.iter().flat_map(|batch| batch.iter()).filter(|(_, bytes)| *bytes == b"replaced");
        assert_eq!(replaced.map(|(meta, _)| meta.seq).collect::<Vec<_>>(), [12], "{name}");
    }
}

#[test]
fn fault_065_what_earlier_versions_did_not_keep_begins_at_zero() {
    let (room, copy) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (_, mut model) = fill(room.path());
    put_back(copy.path(), &files(&golden("1-closed")));
    let (mut store, recovered) = open(copy.path());
    assert_eq!((recovered.changes.totals.loops, recovered.changes.alerts), (0, Vec::new()));
    let mut next = step(7, 3, 200);
    next.changes.totals.loops = 5;
    let alerts = next.changes.alerts.clone();
    commit(&mut store, &mut model, next, 7).expect("there is room");
    drop(store);
    let (_, recovered) = open(copy.path());
    assert_eq!((recovered.changes.totals.loops, recovered.changes.alerts), (5, alerts));
}

#[test]
fn fault_065_a_newer_format_is_refused_and_left_alone() {
    let room = tempfile::tempdir().expect("a directory");
    drop(fill(room.path()));
    let database = rusqlite::Connection::open(room.path().join("outbox.db")).expect("a database");
    let newer = format!("UPDATE meta SET format = {0}; PRAGMA user_version = {0};", FORMAT + 1);
    database.execute_batch(&newer).expect("it can be written");
    std::mem::forget(database); // its log stays
    let before = files(room.path());
    assert_eq!(before.len(), 2);
    let error = Store::open(&options(room.path()), super::KAFKA, &mut minting()).err().expect("it is newer");
    assert!(matches!(error, OpenError::Newer { found, known: FORMAT, .. } if found == FORMAT + 1), "{error}");
    assert_eq!(files(room.path()), before);
    let audit = crate::outbox::audit::audit(room.path());
    assert!(matches!(audit, Err(crate::outbox::audit::AuditError::Newer { .. })), "{audit:?}");
}

//! What people are to be told of alerts, over crashes, damage and versions.

use std::path::Path;

use super::open;
use crate::engine::record::Batch;
use crate::engine::record::notification::Notification;
use crate::engine::state::{Changes, Totals};
use crate::outbox::{Epoch, Store, Told};

fn notification(episode: u64, is_resolved: bool) -> Notification {
    Notification {
        firing: format!("lane-a{episode}"),
        episode,
        is_resolved,
        summary: "\u{1f525} \"quoted\"\n".to_owned(),
        labels: vec![("alertname".to_owned(), "Slow".to_owned())],
        threshold: Some("10".to_owned()),
        ..Notification::default()
    }
}

fn commit(store: &mut Store, notifications: &[Notification]) {
    let changes = Changes { totals: Totals { next_seq: 1, ..Totals::default() }, ..Changes::default() };
    let batch = Batch::default();
    let epoch = Epoch { notifications, ..Epoch::new(&batch, &changes) };
    store.commit(&epoch).expect("there is room");
}

fn told(episode: u64, state: &'static str, receiver: &str) -> Told {
    Told { episode, state, receiver: receiver.to_owned() }
}

/// What a start finds: ids, and who was told.
fn kept(dir: &Path) -> Vec<(Notification, Vec<String>)> {
    open(dir).1.notifications.into_iter().map(|kept| (kept.notification, kept.told)).collect()
}

#[test]
fn fault_079_what_people_are_to_be_told_survives() {
    let room = tempfile::tempdir().expect("a directory");
    let (mut store, recovered) = open(room.path());
    assert_eq!(recovered.notifications, []);
    commit(&mut store, &[notification(2, false), notification(1, false)]);
    commit(&mut store, &[notification(1, true), notification(3, false)]);
    let all = [told(1, "firing", "slack"), told(1, "firing", "webhook"), told(1, "resolved", "slack")];
    store.settle_notifications(&all, &[]).expect("there is room");
    store.settle_notifications(&[], &[3]).expect("there is room");
    drop(store);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let want = vec![
        (notification(1, false), names(&["slack", "webhook"])),
        (notification(1, true), names(&["slack"])),
        (notification(2, false), names(&[])),
    ];
    assert_eq!(kept(room.path()), want);
    let (mut store, _) = open(room.path());
    store.settle_notifications(&[told(2, "firing", "slack")], &[1, 2]).expect("there is room");
    store.settle_notifications(&[], &[1, 2, 99]).expect("what is gone is gone");
    drop(store);
    assert_eq!(kept(room.path()), []);
    let audit = crate::outbox::audit::audit(room.path()).expect("it can be read");
    assert_eq!(audit.problems, Vec::<String>::new());
}

#[test]
fn fault_065_stores_without_notifications_open() {
    let room = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(room.path());
    commit(&mut store, &[notification(1, false)]);
    store.close().expect("it closes");
    let database = rusqlite::Connection::open(room.path().join("outbox.db")).expect("a database");
    database.execute_batch("DROP TABLE notification; DROP TABLE notified").expect("they are there");
    drop(database);
    let (mut store, recovered) = open(room.path());
    assert_eq!((recovered.notifications, recovered.mishaps), (vec![], vec![]));
    commit(&mut store, &[notification(2, false)]);
    drop(store);
    assert_eq!(kept(room.path()), [(notification(2, false), vec![])]);
}

/// A full outbox: what is over can be deleted all the same.
#[test]
fn fault_059_what_is_over_leaves_a_full_outbox() {
    let room = tempfile::tempdir().expect("a directory");
    let options = crate::outbox::Options { size_max: crate::outbox::SIZE_MIN, ..super::options(room.path()) };
    let (mut store, _) = Store::open(&options, super::KAFKA, &mut super::minting()).expect("it opens");
    let large = |episode| Notification { summary: "x".repeat(30_000), ..notification(episode, false) };
    let changes = Changes { totals: Totals { next_seq: 1, ..Totals::default() }, ..Changes::default() };
    let batch = Batch::default();
    let full = (0..1_000).find(|episode| {
        let notifications = [large(*episode)];
        let epoch = Epoch { notifications: &notifications, ..Epoch::new(&batch, &changes) };
        store.commit(&epoch).is_err()
    });
    let full = full.expect("there is an end to it");
    store.settle_notifications(&[], &(0..full).collect::<Vec<_>>()).expect("deleting needs no room");
    commit(&mut store, &[notification(5_000, false)]);
}

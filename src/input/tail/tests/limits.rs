//! What cannot be read, what must be shared, and what runs out.

use super::*;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

#[test]
fn fault_080_only_regular_files_are_opened() {
    let mut rig = Rig::new(&["*"]);
    fs::create_dir(rig.path("a directory")).unwrap();
    symlink("/dev/zero", rig.path("device")).unwrap();
    symlink(rig.path("nowhere"), rig.path("link")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, rig.path("pipe"), rustix::fs::Mode::RWXU).unwrap();
    let _socket = UnixListener::bind(rig.path("socket")).unwrap();
    rig.append("x.log.gz", "packed");
    let mut told = rig.poll();
    told.sort();
    assert_eq!(
        told,
        [
            "refused /dev/zero: is a device; only regular files are followed",
            "refused a directory: is a directory; only regular files are followed",
            "refused link: cannot follow the symbolic link: No such file or directory (os error 2)",
            "refused pipe: is a named pipe; only regular files are followed",
            "refused socket: is a socket; only regular files are followed",
            "refused x.log.gz: is compressed; only plain files are followed",
        ]
    );
    assert_eq!(rig.look(), NONE, "said once");
    // What becomes readable is read.
    rig.append("nowhere", "here\n");
    fs::remove_dir(rig.path("a directory")).unwrap();
    rig.append("a directory", "a file\n");
    let told = rig.look();
    assert_eq!(told.iter().filter(|told| told.contains('@')).count(), 2, "{told:?}");
}

#[test]
fn fault_021_no_permission_is_told_once_and_tried_again() {
    let mut rig = Rig::new(&["x.log"]);
    rig.append("x.log", "one\n");
    fs::set_permissions(rig.path("x.log"), fs::Permissions::from_mode(0o000)).unwrap();
    if File::open(rig.path("x.log")).is_ok() {
        // Past the test harness, which would keep it to itself.
        let _ = writeln!(
            std::io::stderr(),
            "\nskipped: root may read everything; fault_021_an_error_keeps_the_position tries the same path"
        );
        return;
    }
    assert_eq!(rig.poll(), ["refused x.log: cannot open: Permission denied (os error 13)"]);
    for _ in 0..30 {
        assert_eq!(rig.look(), NONE);
    }
    fs::set_permissions(rig.path("x.log"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(rig.after(Duration::from_secs(60)), ["open 0 x.log", "0@0 one\n"]);
}

/// Makes the front generation of source 0 fail to read: its descriptor is replaced by that of a directory.
fn break_reading(rig: &mut Rig) {
    let room = File::open(rig.room.path()).unwrap();
    let source = rig.tail.sources.get_mut(&SourceId(0)).unwrap();
    source.generations[0].replace_file(room);
}

#[test]
fn fault_021_an_error_keeps_the_position() {
    let mut rig = Rig::new(&["x.log"]);
    rig.append("x.log", "one\n");
    rig.poll();
    rig.append("x.log", "two\n");
    break_reading(&mut rig);
    assert_eq!(rig.after(SOON), ["refused x.log: cannot read: Is a directory (os error 21)"]);
    for _ in 0..100 {
        assert_eq!(rig.after(SOON), NONE, "said once");
    }
    let file = File::open(rig.path("x.log")).unwrap();
    rig.tail.sources.get_mut(&SourceId(0)).unwrap().generations[0].replace_file(file);
    assert_eq!(rig.after(Duration::from_secs(60)), ["0@4 two\n"]);
    // The next failure is news again.
    rig.append("x.log", "three\n");
    break_reading(&mut rig);
    assert_eq!(rig.after(SOON), ["refused x.log: cannot read: Is a directory (os error 21)"]);
}

#[test]
fn fault_021_an_unreadable_elder_does_not_hold_up_the_others() {
    let mut rig = Rig::new(&["x.log"]);
    rig.append("x.log", "one\n");
    rig.poll();
    rig.append("x.log", "two\n");
    break_reading(&mut rig);
    rig.rename("x.log", "x.log.1");
    rig.append("x.log", "new\n");
    let told = rig.look();
    assert_eq!(told[..2], ["refused x.log.1: cannot read: Is a directory (os error 21)", "end 0"]);
    assert!(told.contains(&"0@0 new\n".to_owned()), "{told:?}");
    assert_eq!(rig.tail.sources[&SourceId(1)].generations[0].offset, 4, "the position is kept");
}

#[test]
fn until_eof_gives_up_what_cannot_be_read() {
    let mut rig = Rig::with(&["*.log"], Options { until_eof: true, ..Options::default() });
    rig.append("x.log", "one\n");
    rig.share = Bytes(1);
    rig.poll();
    break_reading(&mut rig);
    assert_eq!(rig.after(SOON), ["refused x.log: cannot read: Is a directory (os error 21)", "end 0"]);
    assert!(rig.last.done);
}

#[test]
fn fault_020_every_file_gets_its_turn() {
    let mut rig = Rig::new(&["*.log"]);
    rig.append("a.log", &"flood\n".repeat(1_000_000));
    for name in ["b.log", "c.log", "d.log"] {
        rig.append(name, "calm\n");
    }
    rig.share = Bytes(BUFFER_SIZE as u64 + 15);
    let told = rig.poll();
    assert_eq!(told.iter().filter(|told| told.ends_with("calm\n")).count(), 3);
    assert_eq!(rig.last.read, rig.share, "and no more than one buffer of the flood");
    assert!(rig.last.more);
    let unread = 6_000_000 - BUFFER_SIZE as u64;
    assert_eq!(rig.tail.backlog(), Bytes(unread));
    // Whoever wakes up in the middle of the flood waits for one turn only.
    rig.append("d.log", "again\n");
    rig.share = Bytes(2 * BUFFER_SIZE as u64);
    rig.advance(SOON);
    assert!(rig.poll().contains(&"3@5 again\n".to_owned()));
}

#[test]
fn fault_020_more_files_than_descriptors() {
    let mut rig = Rig::new(&["*.log"]);
    rig.tail.descriptors.limit = 8;
    let names: Vec<String> = (0..100).map(|number| format!("{number:03}.log")).collect();
    for name in &names {
        rig.append(name, "one\n");
    }
    let read = |told: Vec<String>| told.into_iter().filter(|told| told.contains('@')).collect::<Vec<_>>();
    let mut got = read(rig.poll());
    for _ in 0..20 {
        got.extend(read(rig.after(SOON)));
        assert!(rig.tail.files_open() <= 8);
    }
    assert_eq!(got.len(), 100);
    for (round, name) in names.iter().enumerate().skip(90) {
        rig.append(name, "two\n");
        assert_eq!(rig.look(), [format!("{round}@4 two\n")], "opened again at its position");
        assert!(rig.tail.files_open() <= 8);
    }
}

#[test]
fn fault_020_a_closed_file_is_found_under_its_new_name() {
    let mut rig = Rig::new(&["*.log"]);
    rig.tail.descriptors.limit = 1;
    rig.append("a.log", "one\n");
    rig.append("b.log", "one\n");
    rig.poll();
    rig.look();
    rig.append("b.log", "two\n");
    rig.look();
    assert!(!rig.tail.sources[&SourceId(0)].generations[0].is_open(), "b took the only descriptor");
    rig.append("a.log", "two\n");
    rig.rename("a.log", "a.log.1");
    assert_eq!(rig.look(), ["0@4 two\n"]);
}

#[test]
fn fault_020_what_vanishes_unopened_is_told() {
    let mut rig = Rig::new(&["*.log"]);
    rig.tail.descriptors.limit = 1;
    rig.append("a.log", &"x".repeat(2 * BUFFER_SIZE));
    rig.append("b.log", "never read\n");
    rig.share = Bytes(10);
    rig.poll();
    fs::remove_file(rig.path("b.log")).unwrap();
    rig.share = Bytes(1 << 20);
    let mut told = rig.look();
    told.retain(|told| !told.starts_with('0'));
    assert_eq!(told, ["vanished 1 b.log 0+11", "end 1"]);
}

#[test]
fn a_share_is_never_exceeded() {
    let mut rig = Rig::new(&["*.log"]);
    for name in ["a.log", "b.log", "c.log"] {
        rig.append(name, &"0123456789\n".repeat(1_000));
    }
    let mut total = Bytes(0);
    rig.share = Bytes(777);
    loop {
        rig.poll();
        assert!(rig.last.read <= rig.share);
        total += rig.last.read;
        if !rig.last.more {
            break;
        }
    }
    assert_eq!((total, rig.tail.backlog()), (Bytes(33_000), Bytes(0)));
}

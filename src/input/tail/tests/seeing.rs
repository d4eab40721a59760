//! Which files are found, under which names, and how soon.

use super::*;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::sync::mpsc::{Receiver, sync_channel};

#[test]
fn new_files_in_new_directories_are_found() {
    let mut rig = Rig::new(&["pods/*/*.log"]);
    assert_eq!(rig.poll(), NONE);
    fs::create_dir_all(rig.path("pods/a")).unwrap();
    rig.append("pods/a/0.log", "one\n");
    assert_eq!(rig.look(), ["open 0 pods/a/0.log", "0@0 one\n"]);
}

#[test]
fn fault_007_a_tiny_file_is_read_at_once() {
    let mut rig = Rig::new(&["*.log"]);
    rig.append("empty.log", "");
    rig.append("x.log", "tiny\n");
    assert_eq!(rig.poll(), ["open 0 empty.log", "open 1 x.log", "1@0 tiny\n"]);
}

#[test]
fn fault_006_equal_heads_are_different_files() {
    let mut rig = Rig::new(&["*.log"]);
    let head = "the same banner\n".repeat(300);
    for number in 0..200 {
        rig.append(&format!("{number:03}.log"), &head);
    }
    let told = rig.after(SOON);
    assert_eq!(told.len(), 400);
    assert_eq!(told.iter().filter(|told| told.ends_with(&head)).count(), 200);
    assert_eq!(rig.tail.files_open(), 200);
}

#[test]
fn fault_015_a_link_is_followed_to_where_it_leads() {
    let mut rig = Rig::new(&["containers/*.log"]);
    for directory in ["containers", "pods", "docker"] {
        fs::create_dir(rig.path(directory)).unwrap();
    }
    rig.append("docker/a-json.log", "one\n");
    symlink(rig.path("docker/a-json.log"), rig.path("pods/0.log")).unwrap();
    symlink(rig.path("pods/0.log"), rig.path("containers/x.log")).unwrap();
    assert_eq!(rig.poll(), ["open 0 containers/x.log", "0@0 one\n"]);
    // Rotation takes place where the link leads to, twice between two looks.
    for text in ["two\n", "three\n"] {
        rig.append("docker/a-json.log", text);
        rig.rotate("docker/a-json.log", 3);
    }
    rig.append("docker/a-json.log", "four\n");
    assert_eq!(rig.look(), ["0@4 two\n", "end 0", "0@0 three\n"]);
    assert_eq!(rig.after(GRACE), ["end 0", "0@0 four\n"]);
    // The link leads elsewhere now: the container was started anew.
    rig.append("docker/b-json.log", "five\n");
    symlink(rig.path("docker/b-json.log"), rig.path("pods/1.log")).unwrap();
    fs::remove_file(rig.path("containers/x.log")).unwrap();
    symlink(rig.path("pods/1.log"), rig.path("containers/x.log")).unwrap();
    rig.append("docker/a-json.log", "last\n");
    assert_eq!(rig.look(), ["0@5 last\n"]);
    assert_eq!(rig.after(GRACE), ["end 0", "0@0 five\n"]);
}

#[test]
fn fault_016_one_reader_however_many_names() {
    let mut rig = Rig::new(&["*.log", "x*", "sub/*"]);
    fs::create_dir(rig.path("sub")).unwrap();
    rig.append("x.log", "one\n");
    fs::hard_link(rig.path("x.log"), rig.path("sub/hard")).unwrap();
    symlink(rig.path("x.log"), rig.path("sub/soft")).unwrap();
    symlink(rig.path("sub"), rig.path("way")).unwrap();
    let told = rig.poll();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].ends_with("@0 one\n"));
    assert_eq!(rig.tail.files_open(), 1);
    rig.append("x.log", "two\n");
    assert_eq!(rig.look(), ["0@4 two\n"]);
    // A rotation splits the names: the hard link stays with the old file, the symbolic one goes with the new.
    rig.rename("x.log", "x.log.1");
    rig.append("x.log", "new\n");
    let mut told = rig.look();
    told.extend(rig.after(GRACE));
    told.extend(rig.after(GRACE));
    assert_eq!(told.iter().filter(|told| told.ends_with("new\n")).count(), 1, "{told:?}");
    assert_eq!(told.iter().filter(|told| told.contains('@')).count(), 1, "{told:?}");
}

#[test]
fn fault_016_a_link_made_later_joins_the_source_of_its_target() {
    let mut rig = Rig::new(&["*/*.log"]);
    fs::create_dir(rig.path("pods")).unwrap();
    fs::create_dir(rig.path("containers")).unwrap();
    rig.append("pods/0.log", "one\n");
    assert_eq!(rig.poll(), ["open 0 pods/0.log", "0@0 one\n"]);
    symlink(rig.path("pods/0.log"), rig.path("containers/x.log")).unwrap();
    assert_eq!(rig.look(), NONE);
    rig.rotate("pods/0.log", 3);
    rig.append("pods/0.log", "two\n");
    assert_eq!(rig.look(), NONE);
    assert_eq!(rig.after(GRACE), ["end 0", "0@0 two\n"]);
}

#[test]
fn fault_016_a_rename_to_another_covered_name_is_no_new_file() {
    let mut rig = Rig::new(&["*.log"]);
    rig.append("a.log", "one\n");
    rig.poll();
    rig.rename("a.log", "b.log");
    rig.append("b.log", "two\n");
    assert_eq!(rig.look(), ["0@4 two\n"]);
    rig.append("a.log", "new\n");
    let mut told = rig.look();
    told.extend(rig.after(GRACE));
    assert_eq!(told, ["end 0", "0@0 new\n"]);
    rig.append("b.log", "three\n");
    assert_eq!(rig.look(), ["open 1 b.log", "1@8 three\n"]);
}

#[test]
fn fault_022_names_need_not_be_utf8() {
    let mut rig = Rig::new(&["*.log", "d*/?.txt"]);
    let name = |bytes: &[u8]| rig.room.path().join(OsStr::from_bytes(bytes));
    fs::write(name(b"\xff.log"), "one\n").unwrap();
    fs::create_dir(name(b"d\xfe")).unwrap();
    fs::write(name(b"d\xfe/\xfd.txt"), "two\n").unwrap();
    let told = rig.poll();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told.contains(&"0@0 two\n".to_owned()) && told.contains(&"1@0 one\n".to_owned()), "{told:?}");
}

#[test]
fn excluded_files_are_left_out_under_every_name() {
    let options = Options { exclude: vec!["*.1".into(), "debug*".into()], ..Options::default() };
    let mut rig = Rig::with(&["*.log*"], options);
    rig.append("x.log.1", "old\n");
    rig.append("x.log", "one\n");
    rig.append("debug.log", "no\n");
    assert_eq!(rig.poll(), ["open 0 x.log", "0@0 one\n"]);
}

#[test]
fn from_end_skips_what_is_there_and_nothing_else() {
    let mut rig = Rig::with(&["*.log"], Options { from: From::End, ..Options::default() });
    rig.append("x.log", "old\n");
    assert_eq!(rig.poll(), ["open 0 x.log"]);
    rig.append("x.log", "new\n");
    rig.append("y.log", "all\n");
    assert_eq!(rig.look(), ["open 1 y.log", "1@0 all\n", "0@4 new\n"]);
}

#[test]
fn until_eof_reads_what_was_there_oldest_first_and_is_done() {
    let mut rig = Rig::with(&["x.log", "y.log"], Options { until_eof: true, ..Options::default() });
    for (name, text) in [("x.log.2", "2\n"), ("x.log.1", "1\n"), ("x.log", "0"), ("y.log", "")] {
        rig.append(name, text);
    }
    rig.append("x.log.3.gz", "packed");
    rig.share = Bytes(2);
    assert_eq!(rig.poll(), ["open 0 x.log", "open 1 y.log", "0@0 2\n"]);
    assert!(!rig.last.done);
    rig.append("x.log", "too late\n");
    rig.append("z.log", "too late\n");
    rig.rotate("x.log", 5);
    let told = rig.look();
    assert_eq!(told, ["end 1", "end 0", "0@0 1\n", "end 0", "0@0 0", "end 0"]);
    assert!(rig.last.done);
    assert_eq!(rig.tail.files_open(), 0);
}

#[test]
fn until_eof_with_nothing_to_read_is_done_at_once() {
    let mut rig = Rig::with(&["*.log"], Options { until_eof: true, ..Options::default() });
    assert_eq!(rig.poll(), NONE);
    assert!(rig.last.done);
}

#[test]
fn fault_017_an_overflow_makes_us_look_at_everything() {
    let mut rig = Rig::hearing(&["*.log"], Options::default(), || {});
    rig.append("x.log", "one\n");
    rig.poll();
    // Let the look that follows a new watch go by, and with it what the kernel may have told.
    rig.after(SOON);
    rig.tail.watch.break_down();
    rig.append("x.log", "two\n");
    rig.append("y.log", "new\n");
    rig.tail.watch.overflow();
    assert!(rig.tail.next_look() <= rig.now.arrival + POLL_EVERY);
    // Which of the two is looked at first is the kernel's choice: its own hint may come before ours.
    let mut told = rig.after(Duration::from_millis(20));
    told.sort();
    assert_eq!(told, ["0@4 two\n", "1@0 new\n", "open 1 y.log"]);
}

#[test]
fn fault_018_without_hints_we_poll() {
    let mut rig = Rig::new(&["*.log"]);
    assert_eq!(rig.tail.watch_mode(), WatchMode::Poll);
    rig.append("x.log", "one\n");
    rig.poll();
    rig.append("x.log", "two\n");
    let wait = rig.tail.next_look().since(rig.now.arrival);
    assert!(wait <= POLL_EVERY);
    assert_eq!(rig.after(wait), ["0@4 two\n"]);
}

/// Polls whenever the kernel's hints wake us, until `want` was told, earlier than the scan each second would.
#[track_caller]
fn hear(rig: &mut Rig, woken: &Receiver<()>, want: &str) {
    let backstop = rig.tail.scanned.unwrap() + SCAN_EVERY;
    while rig.now.arrival < backstop {
        woken.recv_timeout(Duration::from_secs(10)).expect("nobody woke us");
        if rig.after(Duration::from_millis(15)).iter().any(|told| told == want) {
            return;
        }
    }
    panic!("{want} was not told in time");
}

#[test]
fn the_kernel_wakes_us_for_writes_new_files_and_new_directories() {
    let (wake, woken) = sync_channel(1024);
    let mut rig = Rig::hearing(&["*/*.log"], Options::default(), move || {
        // A full channel means that we have been woken often enough.
        let _ = wake.try_send(());
    });
    fs::create_dir(rig.path("a")).unwrap();
    rig.append("a/x.log", "one\n");
    assert_eq!(rig.poll(), ["open 0 a/x.log", "0@0 one\n"]);
    assert_eq!(rig.tail.watch_mode(), WatchMode::Inotify);
    rig.after(SOON);
    rig.append("a/x.log", "two\n");
    hear(&mut rig, &woken, "0@4 two\n");
    rig.append("a/y.log", "new\n");
    hear(&mut rig, &woken, "1@0 new\n");
    // The directory is made under another name first: only one event can tell of it.
    fs::create_dir(rig.path("a/b")).unwrap();
    rig.append("a/b/z.log", "moved\n");
    rig.rename("a/b", "b");
    hear(&mut rig, &woken, "2@0 moved\n");
    // A directory that is replaced is watched anew.
    rig.append("b/z.log", "more\n");
    hear(&mut rig, &woken, "2@6 more\n");
}

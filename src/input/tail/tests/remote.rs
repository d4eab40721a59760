//! Files on file systems whose sizes may be stale. Here a stale size is a file that is short for a while and then as
//! before; `tests/daemon/remote.rs` has a file system that truly lies.

use super::*;

use super::super::remote::tests::{BELIEVED, PRETENDED};

/// A rig on a remote file system that has read `x.log`.
fn rig(text: &str) -> Rig {
    PRETENDED.set(true);
    let mut rig = Rig::new(&["x.log*"]);
    rig.append("x.log", text);
    assert_eq!(rig.poll(), ["open 0 x.log".to_owned(), format!("0@0 {text}")]);
    rig
}

fn shrink(rig: &Rig, name: &str, size: u64) {
    OpenOptions::new().write(true).open(rig.path(name)).unwrap().set_len(size).unwrap();
}

#[test]
fn fault_019_a_stale_size_is_no_truncation() {
    let mut rig = rig("one\ntwo\n");
    for round in 0..3 {
        shrink(&rig, "x.log", 4);
        assert_eq!(rig.look(), NONE, "{round}");
        assert_eq!(rig.after(SOON), NONE, "{round}");
        rig.append("x.log", "two\n");
        assert_eq!(rig.look(), NONE, "{round}");
    }
    shrink(&rig, "x.log", 0);
    assert_eq!(rig.look(), NONE);
    rig.append("x.log", "one\ntwo\nthree\n");
    assert_eq!(rig.look(), ["0@8 three\n"], "and the size that comes back brings what was written meanwhile");
}

#[test]
fn fault_019_a_file_that_stays_short_was_emptied() {
    let mut rig = rig("one\ntwo\n");
    shrink(&rig, "x.log", 0);
    rig.append("x.log", "new\n");
    assert_eq!(rig.look(), NONE);
    assert_eq!(rig.after(BELIEVED), ["truncated 0 x.log 8+0", "0@0 new\n"]);
}

#[test]
fn fault_019_other_content_is_believed_at_once() {
    let mut rig = rig("one\n");
    shrink(&rig, "x.log", 0);
    rig.append("x.log", "another and longer\n");
    assert_eq!(rig.look(), ["truncated 0 x.log 4+0", "0@0 another and longer\n"]);
}

#[test]
fn fault_019_a_stale_size_at_the_start_reads_nothing_again() {
    #[track_caller]
    fn check(unfinished: &str) {
        let mut rig = rig(&format!("one\ntwo\n{unfinished}"));
        let mut positions = Vec::new();
        rig.tail.positions(|_| Some(8), &mut |moved| match moved {
            Moved::To(position) => positions.push(position),
            Moved::Gone(file) => panic!("{file:?} is there"),
        });
        // Shorter than what was read; behind where reading goes on, and before it.
        for size in [8, 3] {
            shrink(&rig, "x.log", size);
            rig.tail = Tail::new(rig.tail.options.clone(), || {}).unwrap();
            rig.tail.watch.break_down();
            assert_eq!(rig.tail.resume(positions.clone()), []);
            let told = rig.poll();
            assert!(told.iter().all(|told| told == "open 0 x.log"), "{size}: {told:?}");
            assert_eq!(rig.look(), NONE, "{size}");
            fs::write(rig.path("x.log"), format!("one\ntwo\n{unfinished}three\n")).unwrap();
            let mut told = rig.look();
            told.retain(|told| told != "open 0 x.log");
            assert_eq!(told, [format!("0@8 {unfinished}three\n")], "{size}");
        }
    }
    check("");
    check("th");
}

#[test]
fn fault_019_an_elder_with_a_stale_size_is_not_read_again() {
    let mut rig = rig("one\ntwo\n");
    rig.rotate("x.log", 3);
    rig.append("x.log", "three\n");
    let mut told = rig.look();
    told.extend(rig.after(GRACE));
    assert_eq!(told, ["end 0", "0@0 three\n"]);
    shrink(&rig, "x.log.1", 4);
    assert_eq!(rig.look(), NONE);
    rig.append("x.log.1", "two\n");
    assert_eq!(rig.look(), NONE);
    shrink(&rig, "x.log.1", 4);
    assert_eq!(rig.look(), NONE);
    assert_eq!(rig.after(BELIEVED), ["open 1 x.log.1", "1@0 one\n"], "what stays short is another content");
}

#[test]
fn fault_019_a_remote_directory_is_polled_for_ever() {
    PRETENDED.set(true);
    let mut rig = Rig::hearing(&["*.log"], Options::default(), || {});
    rig.append("x.log", "one\n");
    for round in 0..3 {
        rig.look();
        assert_eq!(rig.tail.watch_mode(), WatchMode::Poll, "{round}");
    }
}

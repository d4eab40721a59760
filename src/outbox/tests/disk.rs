//! Disks that fail: errors injected into system calls by `strace`, and a small file system that is filled and freed.
//! Both are skipped out loud where they cannot be had.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use super::{KAFKA, Model, minting, options, step};
use crate::outbox::{Durability, Epoch, Options, Recovered, Store, StoreError};
use crate::units::Bytes;

/// The environment variable that tells the child its directory.
const DIR: &str = "SQUALL_TEST_DIR";
const EPOCHS: u64 = 40;

fn skip(why: &str) {
    // Past the test harness, which would keep it to itself.
    let _ = writeln!(std::io::stderr(), "\nskipped: {why}");
}

fn on_disk(dir: &Path) -> Options {
    Options { durability: Durability::Disk, size_max: Bytes(256 << 20), ..options(dir) }
}

/// What went wrong on the way through [`commit_all`].
#[derive(Debug, Default)]
struct Failures {
    open: u32,
    full: u32,
    io: u32,
}

/// Opens, however often it takes.
fn open_at_last(dir: &Path, failures: &mut Failures) -> (Store, Recovered) {
    for _ in 0..100 {
        match Store::open(&on_disk(dir), KAFKA, &mut minting()) {
            Ok(opened) => return opened,
            Err(_) => failures.open += 1,
        }
    }
    panic!("it never opens: {failures:?}");
}

/// Commits epochs as the daemon would: again when there was no room, opened again when the disk failed.
fn commit_all(dir: &Path) -> Failures {
    let mut failures = Failures::default();
    let (mut store, recovered) = open_at_last(dir, &mut failures);
    assert_eq!(recovered.mishaps, []);
    let mut model = Model::new();
    for seed in 1..=EPOCHS {
        let mut next = step(seed, 4, 20_000);
        model.number(&mut next, store.lane());
        let acked = model.next_seq().saturating_sub(20);
        for attempt in 0.. {
            assert!(attempt < 100, "it never fits: {failures:?}");
            let epoch = Epoch { positions: &next.positions, acked, ..Epoch::new(&next.batch, &next.changes) };
            match store.commit(&epoch) {
                Ok(()) => break,
                Err(StoreError::DiskFull { .. }) => failures.full += 1,
                Err(error) if error.needs_reopen() => {
                    failures.io += 1;
                    let mut found = None;
                    for _ in 0..100 {
                        found = store.reopen(&mut minting()).ok();
                        if found.is_some() {
                            break;
                        }
                        failures.open += 1;
                    }
                    let found = found.expect("it opens at last");
                    assert_eq!(found.mishaps, []);
                    if found.next_seq == next.changes.totals.next_seq {
                        break; // it is there after all
                    }
                    model.check_recovered(&found);
                }
                Err(error) => panic!("{error}"),
            }
        }
        model.apply(&next, acked);
    }
    model.check_unsent(&mut store);
    drop(store);
    let (mut store, recovered) = open_at_last(dir, &mut failures);
    assert_eq!(recovered.mishaps, []);
    model.check_recovered(&recovered);
    model.check_unsent(&mut store);
    failures
}

#[test]
#[ignore = "run by its neighbours, under strace"]
fn child() {
    let dir = std::env::var_os(DIR).expect("a directory");
    let failures = commit_all(Path::new(&dir));
    println!("FAILED {} {} {}", failures.open, failures.full, failures.io);
}

/// Runs [`child`] with an injection, and says how often opening, room and disk failed.
fn inject(injection: &str) -> Option<[u32; 3]> {
    if Command::new("strace")
        .args(["-qq", "-e", "trace=none", "true"])
        .status()
        .is_ok_and(|done| done.success())
    {
        let room = tempfile::tempdir().expect("a directory");
        let output = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("inject={injection}")])
            .arg(std::env::current_exe().expect("this program"))
            .args(["--ignored", "--exact", "--nocapture", "outbox::tests::disk::child"])
            .env(DIR, room.path().join("state"))
            .output()
            .expect("strace starts");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{injection}: {said}{}", String::from_utf8_lossy(&output.stderr));
        // The test harness prints the test's name before, on the same line.
        let (_, line) = said.split_once("FAILED ").expect("the child's words");
        let mut numbers = line.split_whitespace().map(|number| number.parse().expect("a number"));
        return Some(std::array::from_fn(|_| numbers.next().expect("three numbers")));
    }
    skip("strace cannot be run here, so no errors are injected");
    None
}

#[test]
fn fault_058_a_failed_sync_is_never_passed_over() {
    // While the store is made, and (from the sixteenth on) in commits: each failure is noticed, and once.
    for when in (4..8).chain(16..22) {
        let Some([open, full, io]) = inject(&format!("fsync,fdatasync:error=EIO:when={when}")) else {
            return;
        };
        let want = if when < 16 { (1, 0, 0) } else { (0, 0, 1) };
        // One of the first syncs is SQLite's of the directory, which it passes over; ours comes after it.
        let passed_over = when < 16 && (open, full, io) == (0, 0, 0);
        assert!(passed_over || (open, full, io) == want, "the sync number {when}: {open} {full} {io}");
    }
    // Again and again, opening again included (which needs six syncs): in the end all is there.
    let Some([open, _, io]) = inject("fsync,fdatasync:error=EIO:when=16+8") else { return };
    assert!(io > 5, "{open} {io}");
}

#[test]
fn fault_059_writes_without_room_change_nothing() {
    // While the store is made, and later in commits.
    for when in [40, 41, 45, 100, 101, 102, 103, 104] {
        let Some(failed) = inject(&format!("pwrite64:error=ENOSPC:when={when}")) else { return };
        let want = if when < 60 { [1, 0, 0] } else { [0, 1, 0] };
        assert_eq!(failed, want, "the write number {when}");
    }
    let Some([open, full, io]) = inject("pwrite64:error=ENOSPC:when=100..120") else { return };
    assert!(open == 0 && full > 5 && io == 0, "{open} {full} {io}");
}

/// A mounted file system, gone with this.
struct Mounted {
    room: tempfile::TempDir,
}

impl Mounted {
    /// An ext4 of 64 MiB in a file; `None` where that is not allowed.
    fn new() -> Option<Mounted> {
        let room = tempfile::tempdir().expect("a directory");
        let (image, at) = (room.path().join("image"), room.path().join("disk"));
        fs::create_dir(&at).expect("a directory");
        fs::File::create(&image).and_then(|file| file.set_len(64 << 20)).expect("a sparse file");
        let run = |command: &mut Command| {
            command.stderr(std::process::Stdio::null()).status().is_ok_and(|done| done.success())
        };
        let made = run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image))
            && run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at));
        made.then_some(Mounted { room })
    }

    fn path(&self) -> std::path::PathBuf {
        self.room.path().join("disk")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // If this fails, the directory cannot be removed either, and stays for whoever looks.
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

#[test]
fn fault_059_a_full_disk_ends_by_itself() {
    let Some(mounted) = Mounted::new() else {
        return skip("no file system can be mounted here (root only), so no disk is filled");
    };
    let dir = mounted.path().join("state");
    let filler = mounted.path().join("filler");
    let (mut store, _) = Store::open(&on_disk(&dir), KAFKA, &mut minting()).expect("it opens");
    let mut model = Model::new();
    let mut seed = 0;
    for round in 0..3 {
        // Somebody else takes what is left, to the last byte.
        let mut file = fs::File::create(&filler).expect("a file");
        while file.write_all(&[7; 4096]).is_ok() {}
        let refused = (0..2000).find_map(|_| {
            seed += 1;
            super::commit(&mut store, &mut model, step(seed, 5, 20_000), 0).err()
        });
        assert!(matches!(refused, Some(StoreError::DiskFull { .. })), "round {round}: {refused:?}");
        // What was committed is there, and what was not is not.
        model.check_unsent(&mut store);
        drop(file);
        fs::remove_file(&filler).expect("it is ours");
        for _ in 0..5 {
            seed += 1;
            super::commit(&mut store, &mut model, step(seed, 5, 20_000), 0).expect("there is room again");
        }
    }
    store.close().expect("it closes");
    let (mut store, recovered) = Store::open(&on_disk(&dir), KAFKA, &mut minting()).expect("it opens");
    assert_eq!(recovered.mishaps, []);
    model.check_recovered(&recovered);
    model.check_unsent(&mut store);
}

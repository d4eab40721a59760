//! The real program when the disk under its state directory is bad: full, failing, damaged, emptied.
//!
//! Records go to a file on a healthy disk. What may be lost differs: a full or failing disk costs nothing, so everything
//! must be exact; what damage takes away must be told.

use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::lives::{Form, World};
use crate::support::disk::{Mounted, skip, with_injection};
use crate::support::process::{Ended, Running};

const NO_DISK: &str = "no file system can be mounted here (root only), so no disk is filled under squall";
const NO_STRACE: &str = "strace cannot be run here, so no sync fails under squall";

/// How often something was said.
fn times(said: &str, part: &str) -> usize {
    said.lines().filter(|line| line.contains(part)).count()
}

/// Writes so many lines, and waits until they have been shipped.
#[track_caller]
fn write_and_wait(world: &mut World, lines: u64, running: &mut Running) {
    world.write(lines);
    running.wait_until("the newest line", |_| world.has_newest());
}

/// For so long it must do next to nothing and keep quiet; that is what is tried, so it is waited for.
#[track_caller]
fn expect_calm(running: &Running) {
    const LONG: Duration = Duration::from_secs(3);
    let (cpu, said) = (running.cpu(), running.stderr().lines().count());
    std::thread::sleep(LONG);
    let (cpu, said) = (running.cpu() - cpu, running.stderr().lines().count() - said);
    eprintln!("in {LONG:?}: {cpu:?} of CPU time, {said} lines of log");
    assert!(cpu < LONG / 4, "{cpu:?} of CPU time in {LONG:?}:\n{}", running.stderr());
    assert!(said <= 4, "{said} lines of log in {LONG:?}:\n{}", running.stderr());
}

const NO_SPACE: &str = "no space is left on the disk of state: reading waits until it can be written";

const MENDS: &str = "the outbox is closed, checked and opened again";

/// Writes until squall has met the end of the disk.
#[track_caller]
fn write_until_full(world: &mut World, running: &mut Running) {
    for _ in 0..200 {
        world.write(500);
        running.wait_until("the newest line, or no space", |running| {
            world.has_newest() || running.stderr().contains(NO_SPACE)
        });
        if running.stderr().contains(NO_SPACE) {
            return;
        }
    }
    panic!("the disk is never full");
}

#[test]
fn fault_059_the_disk_fills_up_and_is_freed() {
    let mut world = World::new(Form::Plain);
    let Some(disk) = Mounted::new(&world.path(""), "state") else {
        return skip(NO_DISK);
    };
    let mut running = Running::start(&mut world.squall(&[]));
    for round in 1..=2 {
        write_and_wait(&mut world, 2_000, &mut running);
        disk.fill();
        if round == 1 {
            write_until_full(&mut world, &mut running);
        } else {
            world.write(20_000);
            running.wait_until("no space", |running| times(&running.stderr(), NO_SPACE) == round);
        }
        world.write(20_000);
        expect_calm(&running);
        assert!(running.is_running() && !world.has_newest());
        assert_eq!(times(&running.stderr(), NO_SPACE), round, "{}", running.stderr());
        disk.free();
        running.wait_until("the newest line", |_| world.has_newest());
        assert_eq!(times(&running.stderr(), "the outbox takes records again"), round, "{}", running.stderr());
    }
    running.signal(Signal::TERM);
    running.end().expect_code(0);
    world.audit();
    world.finish();
}

/// Asked to end while there is no room, and killed: what was not committed is read again.
#[test]
fn fault_059_a_life_that_ends_on_a_full_disk() {
    #[track_caller]
    fn check(end: impl Fn(Running)) -> bool {
        let mut world = World::new(Form::Plain);
        let Some(disk) = Mounted::new(&world.path(""), "state") else { return false };
        let mut running = Running::start(&mut world.squall(&["--shutdown-timeout", "1s"]));
        write_and_wait(&mut world, 2_000, &mut running);
        disk.fill();
        write_until_full(&mut world, &mut running);
        end(running);
        // The next one finds a full disk, says so, and leaves everything as it is.
        for _ in 0..2 {
            let ended = Running::start(&mut world.squall(&[])).end();
            ended.expect_code(1).expect_said("error: cannot use the state directory state");
            ended.expect_said("database or disk is full");
        }
        disk.free();
        world.audit();
        world.write(500);
        world.finish();
        true
    }
    let asked = check(|running| {
        running.signal(Signal::TERM);
        running.end().expect_code(1).expect_said("what they tell is read again at the next start");
    });
    let ran = asked && check(drop);
    if !ran {
        skip(NO_DISK);
    }
}

/// A disk that is full before there is any state.
#[test]
fn fault_059_a_first_start_on_a_full_disk() {
    let mut world = World::new(Form::Plain);
    let Some(disk) = Mounted::new(&world.path(""), "state") else {
        return skip(NO_DISK);
    };
    disk.fill();
    world.write(500);
    let ended = Running::start(&mut world.squall(&[])).end();
    ended.expect_code(1).expect_said("error: cannot use the state directory state");
    disk.free();
    world.finish();
}

/// Two lives of a log that grows, the first with failing syncs. Returns what it said, and whether it ended by itself.
#[track_caller]
fn fail_syncs(when: &str) -> Option<(String, bool)> {
    let mut world = World::new(Form::Plain);
    let injection = format!("fsync,fdatasync:error=EIO:when={when}");
    let mut traced = with_injection(&world.squall(&[]), &injection)?;
    let mut running = Running::start(&mut traced);
    let mut ended = false;
    for _ in 0..24 {
        world.write(300);
        for _ in 0..12_000 {
            ended = !running.is_running();
            if ended || world.has_newest() {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        if ended {
            break;
        }
        assert!(world.has_newest(), "when={when}: it hangs:\n{}", running.stderr());
    }
    if !ended {
        running.signal(Signal::TERM);
    }
    let life = running.end();
    life.expect_code(i32::from(ended));
    if world.path("state/outbox.db").metadata().is_ok_and(|file| file.len() > 0) {
        world.audit();
    }
    world.write(300);
    world.finish();
    Some((life.stderr, ended))
}

/// Each thread counts its own syncs. Opening the outbox takes about twelve.
#[test]
fn fault_058_a_sync_fails_at_the_start() {
    for when in ["1", "3", "5", "9", "12"] {
        let Some((said, ended)) = fail_syncs(when) else { return skip(NO_STRACE) };
        let refused = times(&said, "error: cannot use the state directory state");
        assert_eq!(refused, usize::from(ended), "when={when}: {said}");
    }
}

#[test]
fn fault_058_a_sync_fails_while_squall_runs() {
    for when in ["16", "20", "16+9", "16..18"] {
        let Some((said, ended)) = fail_syncs(when) else { return skip(NO_STRACE) };
        eprintln!("when={when}:\n{said}");
        assert!(!ended, "when={when}: {said}");
        assert!((1..=6).contains(&times(&said, MENDS)), "when={when}: {said}");
        let goes_on = ["the outbox is whole, and open again", "the outbox takes records again"];
        assert!(goes_on.iter().any(|text| said.contains(text)), "when={when}: {said}");
    }
}

/// It never works again: reading waits, nothing spins, and the next process goes on.
#[test]
fn fault_058_every_sync_fails_from_now_on() {
    let mut world = World::new(Form::Plain);
    let Some(mut traced) =
        with_injection(&world.squall(&["--shutdown-timeout", "1s"]), "fsync,fdatasync:error=EIO:when=16+")
    else {
        return skip(NO_STRACE);
    };
    let mut running = Running::start(&mut traced);
    let failed = "reading waits until it can be written";
    for _ in 0..50 {
        world.write(300);
        running.wait_until("the newest line, or a failure", |running| {
            world.has_newest() || running.stderr().contains(failed)
        });
        if running.stderr().contains(failed) {
            break;
        }
    }
    expect_calm(&running);
    assert!(times(&running.stderr(), failed) <= 4, "{}", running.stderr());
    running.signal(Signal::TERM);
    running.end().expect_code(1).expect_said("what they tell is read again at the next start");
    world.audit();
    world.finish();
}

/// Lines that were read in several lives, and none of whose records has left.
#[track_caller]
fn undelivered() -> World {
    let mut world = World::new(Form::Plain);
    // Written like a file, and always full.
    symlink("/dev/full", world.path("out")).expect("a link");
    for _ in 0..4 {
        world.write(500);
        Running::start(world.squall(&[]).arg("--until-eof")).end().expect_code(1);
        world.audit();
    }
    fs::remove_file(world.path("out")).expect("our own link");
    world
}

/// Lines of which all records have left, and a state directory as `kill -9` leaves it.
#[track_caller]
fn killed() -> World {
    let mut world = World::new(Form::Plain);
    let mut running = Running::start(&mut world.squall(&[]));
    for _ in 0..4 {
        write_and_wait(&mut world, 500, &mut running);
    }
    drop(running);
    world
}

/// What arrived, without what came twice under the same id.
#[derive(Debug, Default)]
struct Told {
    /// Lines that came word for word or were counted.
    lines: u64,
    /// Lines that notices name as lost.
    lost: u64,
    notices: Vec<Value>,
}

impl Told {
    fn read(world: &World) -> Told {
        let mut told = Told::default();
        let mut seen = HashSet::new();
        let out = fs::read_to_string(world.path("out")).expect("records");
        // A kill may have cut the last record off; the next life takes that half away.
        for line in out.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let record: Value = serde_json::from_str(line).expect("JSON");
            let squall = &record["squall"];
            if !seen.insert(squall["id"].to_string()) {
                continue;
            }
            told.lines += squall["count"].as_u64().unwrap_or(u64::from(squall["kind"] == "line"));
            told.lost += squall["lost_lines"].as_u64().unwrap_or(0);
            if squall["kind"] == "notice" {
                told.notices.push(record);
            }
        }
        told
    }

    fn has_notice(&self, reason: &str, text: &str) -> bool {
        let is_it = |notice: &Value| {
            notice["squall"]["reason"] == reason
                && notice["message"].as_str().is_some_and(|said| said.contains(text))
        };
        self.notices.iter().any(is_it)
    }
}

/// The life after the damage: follows the log on, and ends in order.
#[track_caller]
fn live_on(world: &mut World) -> (Ended, Told) {
    let mut running = Running::start(&mut world.squall(&[]));
    write_and_wait(world, 500, &mut running);
    running.signal(Signal::TERM);
    let ended = running.end();
    ended.expect_code(0);
    world.audit();
    (ended, Told::read(world))
}

/// The same, and one more life where lines are missing without a word: what is found while squall is asked to end is told
/// by the next one. The end is that of the first life.
#[track_caller]
fn live_on_until_told(world: &mut World) -> (Ended, Told) {
    let (ended, mut told) = live_on(world);
    if told.notices.is_empty() && told.lines < world.truth.total() {
        (_, told) = live_on(world);
    }
    (ended, told)
}

fn database(world: &World) -> PathBuf {
    world.path("state/outbox.db")
}

fn log(world: &World) -> PathBuf {
    world.path("state/outbox.db-wal")
}

/// The same with one epoch that cannot be read.
#[track_caller]
fn undelivered_and_damaged() -> World {
    let world = undelivered();
    let store = rusqlite::Connection::open(database(&world)).expect("a database");
    let sql = "UPDATE epoch SET blob = x'00' WHERE first_seq = (SELECT min(first_seq) FROM epoch WHERE first_seq > 1)";
    assert_eq!(store.execute(sql, []).expect("it can be changed"), 1);
    store.close().expect("it closes");
    world
}

/// Damage to what waits to be sent costs just that, and a notice says how much it was.
#[test]
fn fault_062_damaged_records_are_counted_as_lost() {
    let mut world = undelivered_and_damaged();
    let (_, told) = live_on_until_told(&mut world);
    assert!(
        told.has_notice("store_damaged", "were damaged in the outbox before they were delivered"),
        "{told:?}"
    );
    assert!(told.lost > 0);
    assert_eq!(told.lines + told.lost, world.truth.total(), "{told:?}");
}

/// Killed at some time between the first record of the outbox and a while after the notice: what is lost is told all the
/// same, by this life or by the next one.
#[test]
fn fault_062_killed_before_the_notice_is_committed() {
    const KILLS: u64 = 24;
    let mut told_by_the_first = 0;
    for kill in 0..KILLS {
        let mut world = undelivered_and_damaged();
        let mut running = Running::start(&mut world.squall(&[]));
        running.wait_until("the first record", |_| {
            world.path("out").metadata().is_ok_and(|file| file.len() > 0)
        });
        // Not to wait for something: the kill is to hit every step of what follows.
        std::thread::sleep(Duration::from_millis(8 * kill));
        drop(running);
        told_by_the_first += u64::from(!Told::read(&world).notices.is_empty());
        let (_, told) = live_on_until_told(&mut world);
        assert_eq!(told.lines + told.lost, world.truth.total(), "kill {kill}: {told:?}");
        assert!(told.lost > 0, "kill {kill}: {told:?}");
        let notices = told.notices.iter().filter(|notice| notice["squall"]["lost_lines"].as_u64() > Some(0));
        assert_eq!(notices.count(), 1, "kill {kill}: {told:?}");
    }
    eprintln!("{told_by_the_first} of {KILLS} notices had left before the kill");
}

/// One byte anywhere: no panic, nothing silent, and the next lines arrive.
#[test]
fn fault_062_a_flipped_byte_under_squall() {
    // The header, the schema, and places all over the file, in heads of pages and inside of them.
    for place in [0.0, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 0.95] {
        let mut world = undelivered();
        let file = fs::File::options().read(true).write(true).open(database(&world)).expect("a database");
        let pages = file.metadata().expect("its size").len() / 4096;
        let at = (pages as f64 * place) as u64 * 4096 + 5;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("a byte");
        file.write_all_at(&[byte[0] ^ 0x5a], at).expect("room");
        let (ended, told) = live_on_until_told(&mut world);
        let quarantined = ended.stderr.contains("the outbox was damaged");
        eprintln!(
            "byte {at} of {pages} pages: quarantined {quarantined}, {} of {} lines told, {} lost",
            told.lines,
            world.truth.total(),
            told.lost
        );
        assert_eq!(quarantined, world.path("state/outbox.bad").exists(), "{}", ended.stderr);
        assert_eq!(quarantined, told.has_notice("store_damaged", "the outbox was damaged"), "{told:?}");
        let silent = told.notices.is_empty() && told.lost == 0;
        assert!(told.lines + told.lost >= world.truth.total() || !silent, "byte {at}: {told:?}");
        if silent {
            world.finish();
        }
    }
}

/// An epoch that a crash cut off was never sent, and is as if it had not been.
#[test]
fn fault_061_half_an_epoch_in_the_log() {
    let mut world = killed();
    let whole = fs::read(log(&world)).expect("a log");
    let mut file = fs::File::options().append(true).open(log(&world)).expect("a log");
    file.write_all(&whole[32..32 + 2_000]).expect("room");
    let (ended, told) = live_on(&mut world);
    assert!(told.notices.is_empty(), "{told:?}\n{}", ended.stderr);
    world.finish();
}

/// Files of the store are gone: nothing is missing, and what is known of it is told.
#[test]
fn fault_063_files_of_the_store_are_gone() {
    #[track_caller]
    fn check(world: &mut World, missing: &[PathBuf], want: Option<(&str, &str)>) -> Ended {
        missing.iter().for_each(|path| fs::remove_file(path).expect("a file of the store"));
        let (ended, told) = live_on(world);
        // Lines may come again, under new ids; none is missing.
        assert!(told.lines >= world.truth.total(), "{told:?}");
        if let Some((reason, text)) = want {
            assert!(told.has_notice(reason, text), "{told:?}");
            ended.expect_said(text);
        }
        ended
    }
    // Closed in order, with records that wait: they are read and sent once more, exactly.
    let mut world = undelivered();
    let missing = [database(&world)];
    check(&mut world, &missing, None);
    world.finish();

    let mut world = killed();
    let missing = [log(&world)];
    let lost = "the end of the store's log is missing or damaged";
    check(&mut world, &missing, Some(("lane_new", lost)));

    let mut world = killed();
    let missing = [database(&world)];
    check(&mut world, &missing, Some(("store_new", "the outbox is gone, only its log was left")));
    assert!(world.path("state/outbox.bad-wal").exists());

    let mut world = killed();
    let missing = [database(&world), log(&world)];
    check(&mut world, &missing, None);

    let mut world = killed();
    let missing = [world.path("state/outbox.db-shm")];
    check(&mut world, &missing, None);
    world.finish();
}

/// The store is damaged while squall runs, which is found when a sync fails and it is opened again: squall ends rather than
/// go on, and the next one repairs the store and tells.
#[test]
fn fault_062_damage_under_a_running_squall() {
    let mut world = World::new(Form::Plain);
    let Some(mut traced) = with_injection(&world.squall(&[]), "fsync,fdatasync:error=EIO:when=15") else {
        return skip(NO_STRACE);
    };
    let mut running = Running::start(&mut traced);
    write_and_wait(&mut world, 500, &mut running);
    let file = fs::File::options().write(true).open(database(&world)).expect("a database");
    // Behind the schema; pages that have not changed since the start are read from here.
    let size = file.metadata().expect("its size").len() - 4096;
    file.write_all_at(&vec![0x5a; usize::try_from(size).expect("a small file")], 4096).expect("room");
    for _ in 0..30 {
        world.write(300);
        running.wait_until("the newest line, or a failure", |running| {
            world.has_newest() || running.stderr().contains(MENDS)
        });
        if running.stderr().contains(MENDS) {
            break;
        }
    }
    let first = running.end();
    first.expect_code(1).expect_said("the next start sets it aside and goes on with what is whole");
    assert!(!world.path("state/outbox.bad").exists(), "{}", first.stderr);
    let (ended, told) = live_on(&mut world);
    assert!(world.path("state/outbox.bad").exists(), "{}", ended.stderr);
    assert!(told.has_notice("store_damaged", "the outbox was damaged"), "{told:?}");
    assert!(told.lines >= world.truth.total(), "{told:?}");
}

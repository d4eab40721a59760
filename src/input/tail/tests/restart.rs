//! Stopped, and started again with the positions of before.

use super::*;

use std::collections::HashMap;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use crate::engine::state::{FileId, Position};

/// What a store does with positions.
#[derive(Default)]
struct Store(HashMap<FileId, Position>);

impl Store {
    fn take(&mut self, moved: Moved) {
        match moved {
            Moved::To(position) => {
                self.0.insert(position.file, position);
            }
            Moved::Gone(file) => {
                self.0.remove(&file);
            }
        }
    }

    fn all(&self) -> Vec<Position> {
        self.0.values().cloned().collect()
    }
}

impl Rig {
    /// What the tail would have kept, with lines that are all whole.
    fn keep(&mut self) -> Store {
        let mut store = Store::default();
        self.keep_in(&mut store);
        store
    }

    fn keep_in(&mut self, store: &mut Store) {
        self.tail.positions(|_| None, &mut |moved| store.take(moved));
    }

    /// Ends the tail and starts one that goes on from `positions`.
    fn restart(&mut self, positions: Vec<Position>) {
        self.tail = Tail::new(self.tail.options.clone(), || {}).unwrap();
        self.tail.watch.break_down();
        assert_eq!(self.tail.resume(positions), []);
    }

    fn pack(&self, from: &str, to: &str) {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&fs::read(self.path(from)).unwrap()).unwrap();
        fs::write(self.path(to), encoder.finish().unwrap()).unwrap();
        fs::remove_file(self.path(from)).unwrap();
    }
}

/// A rig whose `x.log` was read up to `read` and then stopped; the rest was never seen.
fn stopped(include: &str, read: &str, rest: &str) -> (Rig, Store) {
    let mut rig = Rig::new(&[include]);
    rig.append("x.log", read);
    assert_eq!(rig.poll(), ["open 0 x.log".to_owned(), format!("0@0 {read}")]);
    let store = rig.keep();
    rig.append("x.log", rest);
    (rig, store)
}

#[test]
fn reading_goes_on_where_it_was() {
    let (mut rig, store) = stopped("x.log", "one\n", "two\n");
    rig.restart(store.all());
    assert_eq!(rig.poll(), ["open 0 x.log", "0@4 two\n"]);
    assert_eq!(rig.look(), NONE);
}

#[test]
fn a_saved_position_wins_over_from() {
    for from in [From::Start, From::End, From::Checkpoint] {
        let (mut rig, store) = stopped("*.log", "one\n", "two\n");
        rig.append("y.log", "other\n");
        rig.tail.options.from = from;
        rig.restart(store.all());
        let told = rig.poll();
        assert!(told.contains(&"0@4 two\n".to_owned()), "{from:?} {told:?}");
        assert_eq!(told.contains(&"1@0 other\n".to_owned()), from != From::End, "{told:?}");
    }
}

#[test]
fn an_unfinished_line_is_read_again_from_its_start() {
    let (mut rig, _) = stopped("x.log", "one\ntw", "o\n");
    rig.tail.moved.extend(rig.tail.known.keys());
    let mut store = Store::default();
    rig.tail.positions(|source| (source == SourceId(0)).then_some(4), &mut |moved| store.take(moved));
    let position = &store.all()[0];
    assert_eq!((position.resume, position.read), (4, 6));
    rig.restart(store.all());
    assert_eq!(rig.poll(), ["open 0 x.log", "0@4 two\n"]);
    assert_eq!(rig.keep().all()[0].read, 8);
}

#[test]
fn only_what_changed_is_told() {
    let mut rig = Rig::new(&["*.log"]);
    for name in ["a.log", "b.log", "c.log"] {
        rig.append(name, "one\n");
    }
    rig.poll();
    assert_eq!(rig.keep().0.len(), 3);
    assert_eq!(rig.keep().0.len(), 0);
    rig.append("b.log", "two\n");
    rig.look();
    let store = rig.keep();
    assert_eq!((store.0.len(), store.all()[0].path.clone()), (1, rig.path("b.log")));
    rig.rename("b.log", "b.log.1");
    rig.look();
    assert_eq!(rig.keep().all()[0].path, rig.path("b.log.1"));
}

#[test]
fn positions_of_others_are_handed_back() {
    let (mut rig, store) = stopped("x.log", "one\n", "");
    let mut other =
        Tail::new(Options { include: vec!["/elsewhere/*".into()], ..Options::default() }, || {}).unwrap();
    let handed_back = other.resume(store.all());
    assert_eq!(handed_back, store.all());
    rig.restart(handed_back);
    assert_eq!(rig.poll(), ["open 0 x.log"]);
}

#[test]
fn a_file_at_rest_is_not_read() {
    let (mut rig, store) = stopped("x.log", "one\n", "");
    rig.restart(store.all());
    assert_eq!(rig.poll(), ["open 0 x.log"]);
    assert_eq!(rig.look(), NONE);
    rig.append("x.log", "two\n");
    assert_eq!(rig.look(), ["0@4 two\n"]);
}

#[test]
fn fault_001_rotated_while_down_the_old_one_comes_first() {
    let (mut rig, store) = stopped("x.log", "one\n", "two\n");
    rig.rotate("x.log", 5);
    rig.append("x.log", "three\n");
    rig.rotate("x.log", 5);
    rig.append("x.log", "four\n");
    rig.restart(store.all());
    let mut told = rig.poll();
    told.extend(rig.after(GRACE));
    assert_eq!(told, ["open 0 x.log", "0@4 two\n", "end 0", "0@0 three\n", "end 0", "0@0 four\n"]);
    // The elders were read, and are not read again after one more restart.
    let store = rig.keep();
    rig.restart(store.all());
    rig.append("x.log", "five\n");
    rig.poll();
    rig.append("x.log", "six\n");
    assert_eq!(rig.after(GRACE), ["0@10 six\n"]);
}

#[test]
fn fault_002_copied_and_emptied_while_down() {
    let (mut rig, store) = stopped("x.log", "one\n", "two\n");
    fs::copy(rig.path("x.log"), rig.path("x.log.1")).unwrap();
    File::create(rig.path("x.log")).unwrap();
    rig.append("x.log", "three\n");
    // And once more: the first copy is older now, the second one was never looked at.
    rig.rename("x.log.1", "x.log.2");
    fs::copy(rig.path("x.log"), rig.path("x.log.1")).unwrap();
    File::create(rig.path("x.log")).unwrap();
    rig.append("x.log", "4\n");
    rig.restart(store.all());
    let told = rig.look();
    assert_eq!(told, ["open 0 x.log", "0@4 two\n", "end 0", "0@0 three\n", "end 0", "0@0 4\n"]);
    let store = rig.keep();
    rig.restart(store.all());
    assert_eq!(rig.look(), ["open 0 x.log"]);
}

#[test]
fn fault_002_copied_and_emptied_while_reading() {
    let mut rig = Rig::new(&["x.log"]);
    rig.append("x.log", "0123456789\n");
    rig.share = Bytes(4);
    rig.poll();
    rig.append("x.log", "more\n");
    fs::copy(rig.path("x.log"), rig.path("x.log.1")).unwrap();
    File::create(rig.path("x.log")).unwrap();
    rig.append("x.log", "new\n");
    rig.share = Bytes(1 << 20);
    assert_eq!(rig.look(), ["0@4 456789\nmore\n", "end 0", "0@0 new\n"]);
    // Without a copy, what is known to be missing is told.
    rig.append("x.log", "0123456789\n");
    rig.share = Bytes(1);
    rig.advance(SOON);
    assert_eq!(rig.poll(), ["0@4 0"]);
    File::create(rig.path("x.log")).unwrap();
    rig.share = Bytes(1 << 20);
    assert_eq!(rig.look(), ["truncated 0 x.log 5+10"]);
}

#[test]
fn fault_002_and_006_a_copy_that_the_globs_cover_is_not_read_twice() {
    let mut rig = Rig::new(&["x.log*"]);
    let text = "0123456789\n".repeat(300);
    rig.append("x.log", &text);
    rig.poll();
    // A copy in the making is not read, whatever there is of it.
    for size in [0, 500, 2_000, 3_300] {
        fs::write(rig.path("x.log.1"), &text[..size]).unwrap();
        assert_eq!(rig.look(), NONE);
    }
    File::create(rig.path("x.log")).unwrap();
    assert_eq!(rig.look(), ["end 0"]);
    rig.append("x.log", "new\n");
    assert_eq!(rig.look(), ["0@0 new\n"]);
    let store = rig.keep();
    rig.restart(store.all());
    assert_eq!(rig.look(), ["open 0 x.log"]);
    // What begins like our file, and no more, is a file of its own.
    rig.append("x.log", &text);
    rig.look();
    rig.append("x.log.2", &format!("new\n{}", &text[..2_000]));
    let mut told = rig.look();
    told.extend(rig.look());
    assert_eq!(told.concat(), format!("open 1 x.log.21@0 new\n{}", &text[..2_000]));
    rig.append("x.log.3", "new\n");
    let mut told = rig.look();
    told.extend(rig.look());
    assert_eq!(told, ["open 2 x.log.3", "2@0 new\n"]);
}

#[test]
fn fault_004_emptied_and_grown_past_the_old_offset() {
    let mut rig = Rig::new(&["x.log"]);
    rig.append("x.log", "one\n");
    rig.poll();
    fs::write(rig.path("x.log"), "other and longer\n").unwrap();
    assert_eq!(rig.look(), ["truncated 0 x.log 4+0", "0@0 other and longer\n"]);
    // To the very same length: only the time of the last change tells.
    fs::write(rig.path("x.log"), "equal length 16!\n").unwrap();
    assert_eq!(rig.look(), ["truncated 0 x.log 17+0", "0@0 equal length 16!\n"]);
    // While the descriptor was closed.
    let generation = &mut rig.tail.sources.get_mut(&SourceId(0)).unwrap().generations[0];
    generation.close();
    rig.tail.descriptors.closed();
    fs::write(rig.path("x.log"), "while it was closed\n").unwrap();
    assert_eq!(rig.look(), ["truncated 0 x.log 17+0", "0@0 while it was closed\n"]);
    // While we were down.
    let store = rig.keep();
    fs::write(rig.path("x.log"), "while we were down, longer\n").unwrap();
    rig.restart(store.all());
    assert_eq!(rig.look(), ["open 0 x.log", "truncated 0 x.log 20+0", "0@0 while we were down, longer\n"]);
}

#[test]
fn fault_040_a_position_behind_the_end() {
    let (mut rig, store) = stopped("x.log", "one\ntwo\n", "");
    fs::write(rig.path("x.log"), "1\n").unwrap();
    rig.restart(store.all());
    assert_eq!(rig.poll(), ["open 0 x.log", "truncated 0 x.log 8+0", "0@0 1\n"]);
    let store = rig.keep();
    assert_eq!(store.all()[0].read, 2, "kept at once, so that it does not happen at every start");
    rig.restart(store.all());
    assert_eq!(rig.look(), ["open 0 x.log"]);
}

#[test]
fn fault_005_the_number_of_a_file_given_to_another() {
    // Where a file system tells no time of birth, the new file looks like the old one.
    let (mut rig, store) = stopped("x.log", "one\n", "");
    fs::remove_file(rig.path("x.log")).unwrap();
    rig.append("x.log", "another file\n");
    let mut positions = store.all();
    positions[0].file = identity::status_of(&rig.path("x.log")).unwrap().identity;
    rig.restart(positions);
    assert_eq!(rig.poll(), ["open 0 x.log", "truncated 0 x.log 4+0", "0@0 another file\n"]);
}

#[test]
fn fault_005_another_device_number_after_a_reboot() {
    let (mut rig, mut store) = stopped("x.log", "one\n", "two\n");
    rig.rotate("x.log", 2);
    rig.append("x.log", "three\n");
    rig.look();
    rig.after(GRACE);
    rig.keep_in(&mut store);
    rig.append("x.log", "four\n");
    let mut positions = store.all();
    positions.iter_mut().for_each(|position| position.file.device += 1);
    let old: Vec<FileId> = positions.iter().map(|position| position.file).collect();
    rig.restart(positions);
    assert_eq!(rig.look(), ["open 0 x.log", "0@6 four\n"]);
    let mut gone = Vec::new();
    rig.tail.positions(|_| None, &mut |moved| gone.extend(matches!(moved, Moved::Gone(_)).then_some(moved)));
    assert_eq!(gone.len(), old.len(), "under the old number it does not exist any more");
}

#[test]
fn fault_009_rotated_and_deleted_while_down() {
    let (mut rig, store) = stopped("x.log", "one\n", "two, never seen\n");
    let file = store.all()[0].file;
    for round in 0..5 {
        rig.rotate("x.log", 3);
        rig.append("x.log", &format!("{round}\n"));
    }
    rig.restart(store.all());
    let mut named = Vec::new();
    rig.tail.poll(rig.now, rig.share, &mut |event| {
        if let Event::Lost { path, file, read, lost, why, .. } = event {
            named.push((path.to_owned(), file, read, lost, why));
        }
    });
    assert_eq!(named, [(rig.path("x.log"), file, 4, Bytes(0), Loss::NotFound)]);
    let store = rig.keep();
    assert!(!store.0.contains_key(&file));
    rig.restart(store.all());
    rig.append("x.log", "5\n");
    let mut told = rig.look();
    told.extend(rig.after(GRACE));
    assert!(told.last().is_some_and(|told| told.ends_with("4\n5\n") || told.ends_with("@2 5\n")), "{told:?}");
    assert!(!told.iter().any(|told| told.starts_with("notfound")), "told once: {told:?}");
}

#[test]
fn fault_009_all_that_is_left_of_many_rotations_is_read() {
    let (mut rig, store) = stopped("x.log", "one\n", "");
    for round in 0..5 {
        rig.rotate("x.log", 3);
        rig.append("x.log", &format!("{round}\n"));
    }
    rig.restart(store.all());
    let mut told = rig.look();
    told.extend(rig.after(GRACE));
    let want = ["open 0 x.log", "notfound 0 x.log 4+0", "end 0", "0@0 1\n", "end 0", "0@0 2\n", "end 0"];
    assert_eq!(told[..7], want);
    assert_eq!(told[7..], ["0@0 3\n", "end 0", "0@0 4\n"]);
}

#[test]
fn fault_010_unlinked_while_down() {
    let (mut rig, store) = stopped("x.log", "one\n", "never seen\n");
    fs::remove_file(rig.path("x.log")).unwrap();
    rig.restart(store.all());
    assert_eq!(rig.poll(), ["open 0 x.log", "notfound 0 x.log 4+0", "end 0"]);
    rig.append("x.log", "new\n");
    assert_eq!(rig.look(), ["0@0 new\n"]);
}

#[test]
fn fault_011_compressed_while_down() {
    let text: String = (0..5_000).map(|number| format!("{number} what was said\n")).collect();
    let (read, rest) = text.split_at(40_000);
    let (mut rig, store) = stopped("x.log", read, rest);
    rig.rotate("x.log", 5);
    rig.append("x.log", "new\n");
    rig.pack("x.log.1", "x.log.1.gz");
    rig.restart(store.all());
    let mut told = rig.look();
    let got: String = told
        .iter()
        .filter_map(|told| told.split_once(' '))
        .filter(|told| told.0.starts_with("0@"))
        .map(|told| told.1)
        .collect();
    assert_eq!(got, format!("{rest}new\n"));
    told.retain(|told| !told.contains('@'));
    assert_eq!(told, ["open 0 x.log", "end 0"]);
    assert_eq!(rig.tail.files_open(), 1);
    let store = rig.keep();
    rig.restart(store.all());
    assert_eq!(rig.look(), ["open 0 x.log"], "and it is not unpacked again");
}

#[test]
fn fault_012_renamed_back_while_down() {
    let mut rig = Rig::new(&["0.log*"]);
    rig.append("0.log", "1\n");
    rig.poll();
    rig.rename("0.log", "0.log.20260206-101112");
    rig.look();
    let store = rig.keep();
    rig.rename("0.log.20260206-101112", "0.log");
    rig.append("0.log", "2\n");
    fs::write(rig.path("0.log.20260101-101112.gz.tmp"), "half an archive").unwrap();
    rig.restart(store.all());
    assert_eq!(rig.poll(), ["open 0 0.log", "0@2 2\n"]);
}

#[test]
fn fault_020_more_positions_than_descriptors() {
    let mut rig = Rig::new(&["*.log"]);
    for number in 0..100 {
        rig.append(&format!("{number:03}.log"), "one\n");
    }
    rig.poll();
    let store = rig.keep();
    rig.restart(store.all());
    rig.tail.descriptors.limit = 8;
    for number in 0..100 {
        rig.append(&format!("{number:03}.log"), "two\n");
    }
    let mut told = rig.poll();
    for _ in 0..20 {
        told.extend(rig.after(SOON));
        assert!(rig.tail.files_open() <= 8);
    }
    assert_eq!(told.iter().filter(|told| told.ends_with("@4 two\n")).count(), 100);
    assert_eq!(told.len(), 200, "one announcement and one read each");
}

#[test]
fn fault_023_archives_that_are_cut_or_others() {
    let text: String = (0..20_000).map(|number| format!("{number} what was said\n")).collect();
    let (read, rest) = text.split_at(1_000);
    let (mut rig, store) = stopped("x.log", read, rest);
    rig.rotate("x.log", 5);
    rig.pack("x.log.1", "x.log.2.gz");
    // An archive of what was written and packed while we were down; ours is still being written.
    rig.append("other", "something else\n");
    rig.pack("other", "x.log.1.gz");
    let whole = fs::read(rig.path("x.log.2.gz")).unwrap();
    fs::write(rig.path("x.log.2.gz"), &whole[..whole.len() / 2]).unwrap();
    rig.append("x.log", "new\n");
    rig.restart(store.all());
    let texts = |told: &[String]| -> String {
        let data =
            told.iter().filter_map(|told| told.split_once(' ')).filter(|told| told.0.starts_with("0@"));
        data.map(|told| told.1).collect()
    };
    let mut told = rig.look();
    let half = texts(&told);
    assert!(!half.is_empty() && rest.starts_with(&half), "{half:?}");
    told.extend(rig.after(Duration::from_secs(3)));
    assert_eq!(texts(&told), half, "it is waited for");
    fs::write(rig.path("x.log.2.gz"), &whole).unwrap();
    told.extend(rig.after(Duration::from_secs(3)));
    assert_eq!(texts(&told), format!("{rest}something else\nnew\n"));
    told.retain(|told| !told.contains('@'));
    assert_eq!(told, ["open 0 x.log", "end 0", "end 0"]);
}

#[test]
fn fault_023_an_archive_that_stays_cut_is_told() {
    let text: String = (0..20_000).map(|number| format!("{number} what was said\n")).collect();
    let (mut rig, store) = stopped("x.log", &text[..1_000], &text[1_000..]);
    rig.rotate("x.log", 5);
    rig.pack("x.log.1", "x.log.1.gz");
    let whole = fs::read(rig.path("x.log.1.gz")).unwrap();
    fs::write(rig.path("x.log.1.gz"), &whole[..whole.len() / 2]).unwrap();
    rig.append("x.log", "new\n");
    rig.restart(store.all());
    let mut told = rig.look();
    for _ in 0..15 {
        told.extend(rig.look());
    }
    told.retain(|told| !told.contains(" what was said"));
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told[1].starts_with("damaged 0 x.log.1.gz "), "{told:?}");
    assert_eq!(told[2..], ["end 0", "0@0 new\n"]);
}

#[test]
fn fault_023_archives_are_never_read_for_their_own_sake() {
    let mut rig = Rig::new(&["x.log*"]);
    rig.append("old", "archived\n");
    rig.pack("old", "x.log.1.gz");
    rig.append("x.log", "one\n");
    assert_eq!(rig.look(), ["open 0 x.log", "0@0 one\n"]);
    let store = rig.keep();
    rig.restart(store.all());
    assert_eq!(rig.look(), ["open 0 x.log"]);
}

#[test]
fn elders_of_before_our_time_stay_unread_after_a_restart() {
    let mut rig = Rig::new(&["x.log"]);
    rig.append("x.log.1", "before our time\n");
    rig.append("x.log", "one\n");
    rig.poll();
    let store = rig.keep();
    fs::remove_file(rig.path("x.log")).unwrap();
    rig.restart(store.all());
    assert_eq!(rig.poll(), ["open 0 x.log", "notfound 0 x.log 4+0", "end 0"]);
    rig.append("x.log", "new\n");
    assert_eq!(rig.look(), ["0@0 new\n"]);
}

#[test]
fn set_apart_stays_apart() {
    let mut rig = Rig::new(&["x.log"]);
    let mut old = rig.open("x.log");
    old.write_all(b"1\n").unwrap();
    rig.poll();
    rig.rename("x.log", "x.log.1");
    rig.append("x.log", "a\n");
    rig.look();
    rig.after(GRACE);
    old.write_all(b"2\n").unwrap();
    assert_eq!(rig.look(), ["open 1 x.log.1", "1@2 2\n"]);
    let store = rig.keep();
    rig.restart(store.all());
    old.write_all(b"3\n").unwrap();
    let told = rig.look();
    assert!(told.iter().any(|told| told.ends_with("@4 3\n")), "{told:?}");
    assert!(
        told.contains(&"open 0 x.log".to_owned()) && told.contains(&"open 1 x.log.1".to_owned()),
        "{told:?}"
    );
    assert_eq!(told.len(), 3, "{told:?}");
}

#[test]
fn until_eof_goes_on_from_positions_too() {
    let mut rig = Rig::new(&["x.log"]);
    rig.append("x.log", "one\n");
    rig.poll();
    let store = rig.keep();
    rig.append("x.log", "two\n");
    rig.rotate("x.log", 2);
    rig.append("x.log", "three\n");
    rig.tail.options.until_eof = true;
    rig.restart(store.all());
    assert_eq!(rig.look(), ["open 0 x.log", "0@4 two\n", "end 0", "0@0 three\n", "end 0"]);
    assert!(rig.last.done);
}

#[test]
fn fault_011_what_until_eof_had_read_grew_and_was_compressed() {
    let text: String = (0..5_000).map(|number| format!("{number} what was said\n")).collect();
    let (read, rest) = text.split_at(40_000);
    for until_eof in [true, false] {
        let mut rig = Rig::new(&["x.log"]);
        rig.tail.options.until_eof = true;
        rig.append("x.log", read);
        rig.restart(Vec::new());
        assert_eq!(rig.look(), ["open 0 x.log".to_owned(), format!("0@0 {read}"), "end 0".to_owned()]);
        let store = rig.keep();
        rig.append("x.log", rest);
        rig.rotate("x.log", 5);
        rig.append("x.log", "new\n");
        rig.pack("x.log.1", "x.log.1.gz");
        rig.tail.options.until_eof = until_eof;
        rig.restart(store.all());
        let told = rig.look().concat();
        assert!(told.ends_with(&format!(
            "{}end 00@0 new\n{}",
            &rest[rest.len() - 90..],
            if until_eof { "end 0" } else { "" }
        )));
        assert_eq!(told.matches("what was said").count(), rest.matches("what was said").count());
        // Once is enough, and what is gone altogether is told as for a file that was followed.
        let store = rig.keep();
        rig.restart(store.all());
        assert!(!rig.look().concat().contains("what was said"));
        fs::remove_file(rig.path("x.log")).unwrap();
        let store = rig.keep();
        rig.restart(store.all());
        assert_eq!(rig.look(), ["open 0 x.log", "notfound 0 x.log 4+0", "end 0"]);
    }
}

/// Rotates `x.log` with its plain and its packed elders.
fn rotate_all(rig: &Rig) {
    for age in (1..99).rev() {
        if rig.path(&format!("x.log.{age}.gz")).exists() {
            rig.rename(&format!("x.log.{age}.gz"), &format!("x.log.{}.gz", age + 1));
        }
    }
    rig.rotate("x.log", 99);
    rig.append("x.log", "");
}

/// Packs the oldest plain elder, but never the youngest one, as dockerd and the kubelet do.
fn pack_oldest(rig: &Rig) {
    if let Some(age) = (2..99).rev().find(|age| rig.path(&format!("x.log.{age}")).exists()) {
        rig.pack(&format!("x.log.{age}"), &format!("x.log.{age}.gz"));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write,
    /// Half a line; the next write is its other half.
    Start,
    Rotate,
    Pack,
    Look {
        millis: u64,
    },
    /// An epoch is committed: what was told so far counts, and positions are kept.
    Commit,
    /// `kill -9`: what was told since the last commit never happened. While we are down, so many lines are written, each
    /// to a file that is rotated away then, and maybe packed.
    Kill {
        files: usize,
        packs: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => Just(Step::Write),
        1 => Just(Step::Start),
        2 => Just(Step::Rotate),
        1 => Just(Step::Pack),
        4 => prop_oneof![Just(1u64), Just(300), Just(1_000), Just(1_600)].prop_map(|millis| Step::Look { millis }),
        3 => Just(Step::Commit),
        2 => (0usize..4, any::<bool>()).prop_map(|(files, packs)| Step::Kill { files, packs }),
    ]
}

/// What an engine makes of the events: lines, and of each source the line that is not finished.
#[derive(Clone, Default)]
struct Lines {
    whole: Vec<String>,
    unfinished: HashMap<SourceId, (u64, String)>,
    lost: usize,
}

impl Lines {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Data { source, offset, bytes } => {
                let (begin, line) = self.unfinished.entry(source).or_insert((offset, String::new()));
                let mut at = offset;
                for piece in std::str::from_utf8(bytes).unwrap().split_inclusive('\n') {
                    if line.is_empty() {
                        *begin = at;
                    }
                    *line += piece;
                    at += piece.len() as u64;
                    if line.ends_with('\n') {
                        self.whole.push(std::mem::take(line));
                    }
                }
            }
            Event::GenerationEnded { source } => {
                let (_, line) = self.unfinished.remove(&source).unwrap_or_default();
                self.whole.extend((!line.is_empty()).then_some(line));
            }
            Event::Lost { .. } => self.lost += 1,
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    /// However writes, rotations, compression, commits and kills fall together: every line counts exactly once, whole and
    /// in order; or a loss is told, and still none counts twice.
    #[test]
    fn every_line_counts_once_across_kills(
        steps in proptest::collection::vec(step(), 1..60),
        descriptors in 1usize..6,
        share in 3u64..400,
    ) {
        let mut rig = Rig::new(&["x.log"]);
        rig.tail.descriptors.limit = descriptors;
        rig.share = Bytes(share);
        let (mut lines, mut store) = (Lines::default(), Store::default());
        let mut committed = lines.clone();
        let (mut sent, mut is_half) = (String::new(), false);
        rig.append("x.log", "first\n");
        sent += "first\n";
        let look = |rig: &mut Rig, lines: &mut Lines, millis: u64| {
            rig.advance(Duration::from_millis(millis));
            for _ in 0..100 {
                rig.last = rig.tail.poll(rig.now, rig.share, &mut |event| lines.take(event));
                if !rig.last.more {
                    break;
                }
            }
        };
        let commit = |rig: &mut Rig, lines: &Lines, store: &mut Store| {
            let unfinished = |source| {
                let (begin, line) = lines.unfinished.get(&source)?;
                (!line.is_empty()).then_some(*begin)
            };
            rig.tail.positions(unfinished, &mut |moved| store.take(moved));
            Lines { unfinished: HashMap::new(), ..lines.clone() }
        };
        // A tail that never committed knows of no file, and takes elders for those from before its time.
        look(&mut rig, &mut lines, 0);
        committed.clone_from(&commit(&mut rig, &lines, &mut store));
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Write | Step::Start => {
                    let text = if is_half { "half\n".to_owned() } else { format!("{number} a line") };
                    let end = if matches!(step, Step::Write) && !is_half { "\n" } else { "" };
                    is_half = !is_half && end.is_empty();
                    let text = text + end;
                    rig.append("x.log", &text);
                    sent += &text;
                }
                // A line is whole in its file here: cut in two by a rotation it would be two, by our own rules.
                Step::Rotate if is_half => {}
                Step::Rotate => rotate_all(&rig),
                Step::Pack => {
                    // A file that is written, rotated and packed between two looks cannot be had.
                    look(&mut rig, &mut lines, 1_000);
                    pack_oldest(&rig);
                }
                Step::Look { millis } => look(&mut rig, &mut lines, millis),
                Step::Commit => committed.clone_from(&commit(&mut rig, &lines, &mut store)),
                Step::Kill { files, packs } => {
                    lines.clone_from(&committed);
                    for file in 0..if is_half { 0 } else { files } {
                        let text = format!("{number}.{file} while down\n");
                        rig.append("x.log", &text);
                        sent += &text;
                        rotate_all(&rig);
                        if packs {
                            pack_oldest(&rig);
                        }
                    }
                    rig.restart(store.all());
                    rig.tail.descriptors.limit = descriptors;
                }
            }
        }
        for _ in 0..60 {
            look(&mut rig, &mut lines, 1_600);
        }
        let rest: String = lines.unfinished.values().map(|(_, line)| line.as_str()).collect();
        let got = lines.whole.concat() + &rest;
        if lines.lost == 0 {
            prop_assert_eq!(got, sent);
        } else {
            // Nobody had read of a file before it was packed, so that nothing says which archive it is.
            let mut all = sent.lines();
            prop_assert!(got.lines().all(|line| all.any(|sent| sent == line)), "{:?} of {:?}", got, sent);
        }
    }
}

fn position() -> impl Strategy<Value = Position> {
    let names = prop_oneof![Just("x.log"), Just("x.log.1"), Just("x.log.1.gz"), Just(""), Just("gone/x.log")];
    (any::<[u64; 6]>(), any::<u16>(), any::<bool>(), names.clone(), names, 0u64..40).prop_map(
        |([device, inode, head, marker, size, resume], head_length, ended, path, source, read)| Position {
            file: FileId { device, inode, born: 0 },
            path: path.into(),
            source: source.into(),
            resume: if ended { resume } else { resume % 50 },
            read,
            size,
            head_length,
            head,
            marker,
            ended,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]
    /// Row 39: whatever stands in a damaged store, nothing panics, and files are read that it does not speak of.
    #[test]
    fn fault_039_positions_of_nonsense(positions in proptest::collection::vec(position(), 0..8), real in any::<bool>()) {
        let mut rig = Rig::new(&["*.log", "gone/*"]);
        rig.append("x.log", "one\n");
        rig.append("y.log", "other\n");
        rig.append("x.log.1.gz", "no archive");
        let mut positions = positions;
        for position in &mut positions {
            position.path = rig.path(&position.path.to_string_lossy());
            position.source = rig.path(&position.source.to_string_lossy());
            if real {
                position.file = identity::status_of(&rig.path("x.log")).unwrap().identity;
            }
        }
        let _ = rig.tail.resume(positions);
        let mut told = rig.poll();
        for _ in 0..15 {
            told.extend(rig.look());
        }
        prop_assert!(told.iter().any(|told| told.ends_with("@0 other\n")), "{:?}", told);
        rig.keep();
    }
}

//! Renamed, deleted, emptied.

use super::*;

use proptest::prelude::*;

#[test]
fn appended_bytes_come_once_and_in_order() {
    let mut rig = Rig::new(&["*.log"]);
    assert_eq!(rig.poll(), NONE);
    rig.append("x.log", "one\n");
    assert_eq!(rig.look(), ["open 0 x.log", "0@0 one\n"]);
    assert_eq!(rig.look(), NONE);
    rig.append("x.log", "two\n");
    assert_eq!(rig.after(SOON), ["0@4 two\n"]);
}

#[test]
fn fault_001_rename_and_create_with_late_writes() {
    let mut rig = Rig::new(&["x.log"]);
    let mut old = rig.open("x.log");
    old.write_all(b"1\n").unwrap();
    assert_eq!(rig.poll(), ["open 0 x.log", "0@0 1\n"]);
    rig.rename("x.log", "x.log.1");
    old.write_all(b"2\n").unwrap();
    assert_eq!(rig.look(), ["0@2 2\n"], "renamed, and nobody took the old name");
    rig.append("x.log", "a\n");
    assert_eq!(rig.look(), NONE, "the new one waits for the old one's grace");
    old.write_all(b"3").unwrap();
    assert_eq!(rig.after(HANDOVER), ["0@4 3"], "a late write, in front of the new file");
    assert_eq!(rig.after(HANDOVER / 2), NONE, "which begins the grace anew");
    assert_eq!(rig.after(HANDOVER), ["end 0", "0@0 a\n"]);
    assert_eq!(rig.tail.files_open(), 1);
}

#[test]
fn fault_001_what_comes_after_the_grace_is_not_lost() {
    let mut rig = Rig::new(&["x.log"]);
    let mut old = rig.open("x.log");
    old.write_all(b"1\n").unwrap();
    rig.poll();
    rig.rename("x.log", "x.log.1");
    rig.append("x.log", "a\n");
    rig.look();
    assert_eq!(rig.after(GRACE), ["end 0", "0@0 a\n"]);
    old.write_all(b"2\n").unwrap();
    assert_eq!(
        rig.look(),
        ["open 1 x.log.1", "1@2 2\n"],
        "as a source of its own, so that nothing interleaves"
    );
    old.write_all(b"3\n").unwrap();
    assert_eq!(rig.look(), ["1@4 3\n"]);
    rig.append("x.log", "b\n");
    assert_eq!(rig.look(), ["0@2 b\n"]);
}

#[test]
fn fault_001_a_thousand_rotations_lose_nothing() {
    let mut rig = Rig::new(&["x.log"]);
    let (mut sent, mut got) = (String::new(), String::new());
    for round in 0..1_000 {
        // Two to five writes a file, some cut inside a line; a look after some of them only.
        let mut file = rig.open("x.log");
        for write in 0..2 + round % 4 {
            let text = format!("{round}.{write}{}", if write % 3 == 2 { "" } else { "\n" });
            file.write_all(text.as_bytes()).unwrap();
            sent += &text;
        }
        for told in if round % 3 == 0 { rig.after(SOON) } else { Vec::new() } {
            got.extend(told.split_once(' ').filter(|(place, _)| place.contains('@')).map(|(_, text)| text));
        }
        rig.rotate("x.log", 3);
    }
    for _ in 0..3 {
        for told in rig.after(GRACE) {
            got.extend(told.split_once(' ').filter(|(place, _)| place.contains('@')).map(|(_, text)| text));
        }
    }
    assert_eq!(got, sent);
    assert_eq!(rig.tail.sources.len(), 1);
    assert!(rig.tail.known.len() <= 4, "what is gone is forgotten: {}", rig.tail.known.len());
}

#[test]
fn fault_002_truncation_is_told_and_followed() {
    let mut rig = Rig::new(&["x.log"]);
    rig.append("x.log", "12345678\n");
    rig.poll();
    rig.append("x.log", "not read\n");
    rig.share = Bytes(1);
    assert_eq!(rig.after(SOON).concat(), "0@9 n0@10 o0@11 t0@12  0@13 r0@14 e0@15 a0@16 d0@17 \n");
    rig.append("x.log", "gone!");
    rig.advance(SOON);
    assert_eq!(rig.poll(), ["0@18 g"]);
    rig.share = Bytes(100);
    File::create(rig.path("x.log")).unwrap();
    assert_eq!(rig.after(SOON), ["truncated 0 x.log 19+4"]);
    rig.append("x.log", "new\n");
    assert_eq!(rig.after(SOON), ["0@0 new\n"]);
}

#[test]
fn fault_002_the_copy_of_copytruncate_is_not_read() {
    let mut rig = Rig::new(&["x.log"]);
    rig.append("x.log", "one\n");
    rig.poll();
    fs::copy(rig.path("x.log"), rig.path("x.log.1")).unwrap();
    assert_eq!(rig.look(), NONE);
    File::create(rig.path("x.log")).unwrap();
    assert_eq!(rig.look(), ["end 0"], "the copy was looked for our rest, and there was none");
    rig.append("x.log", "two\n");
    assert_eq!(rig.look(), ["0@0 two\n"]);
    assert_eq!(rig.after(GRACE), NONE);
}

#[test]
fn fault_008_a_deleted_file_is_read_to_its_end_and_let_go() {
    let mut rig = Rig::new(&["x.log"]);
    let mut file = rig.open("x.log");
    rig.poll();
    file.write_all(b"one\ntw").unwrap();
    fs::remove_file(rig.path("x.log")).unwrap();
    file.write_all(b"o").unwrap();
    assert_eq!(rig.look(), ["0@0 one\ntwo"]);
    file.write_all(b", late\n").unwrap();
    assert_eq!(rig.look(), ["0@7 , late\n"]);
    assert_eq!(rig.tail.files_open(), 1);
    rig.look();
    assert_eq!(rig.after(GRACE), ["end 0"]);
    assert_eq!((rig.tail.files_open(), rig.tail.known.len()), (0, 0));
}

#[test]
fn fault_005_an_inode_used_again_is_another_file() {
    let mut rig = Rig::new(&["x.log"]);
    rig.append("x.log", "one\n");
    rig.poll();
    for round in 0..5 {
        fs::remove_file(rig.path("x.log")).unwrap();
        rig.append("x.log", &format!("{round}\n"));
        assert_eq!(rig.look(), ["end 0".to_owned(), format!("0@0 {round}\n")]);
    }
    fs::remove_file(rig.path("x.log")).unwrap();
    rig.look();
    assert_eq!(rig.after(GRACE), ["end 0"]);
    rig.append("x.log", "back\n");
    assert_eq!(rig.look(), ["0@0 back\n"], "its partial lines and storms go on");
}

#[test]
fn a_source_is_forgotten_when_its_files_are_long_gone() {
    let mut rig = Rig::new(&["*.log"]);
    rig.append("x.log", "one\n");
    rig.poll();
    fs::remove_file(rig.path("x.log")).unwrap();
    rig.look();
    assert_eq!(rig.after(GRACE), ["end 0"]);
    assert_eq!(rig.after(SOURCE_KEPT), ["closed 0"]);
    assert_eq!((rig.tail.sources.len(), rig.tail.by_key.len(), rig.tail.known.len()), (0, 0, 0));
    rig.append("x.log", "two\n");
    assert_eq!(rig.look(), ["open 1 x.log", "1@0 two\n"]);
}

#[test]
fn fault_012_renamed_back_is_not_read_again() {
    let mut rig = Rig::new(&["0.log"]);
    let mut file = rig.open("0.log");
    file.write_all(b"1\n").unwrap();
    rig.poll();
    rig.rename("0.log", "0.log.20260206-101112");
    assert_eq!(rig.look(), NONE);
    rig.rename("0.log.20260206-101112", "0.log");
    file.write_all(b"2\n").unwrap();
    assert_eq!(rig.look(), ["0@2 2\n"]);
    // And after it had been given up for a new one.
    rig.rename("0.log", "0.log.20260206-101113");
    rig.append("0.log", "a\n");
    rig.look();
    assert_eq!(rig.after(GRACE), ["end 0", "0@0 a\n"]);
    fs::remove_file(rig.path("0.log")).unwrap();
    rig.rename("0.log.20260206-101113", "0.log");
    file.write_all(b"3\n").unwrap();
    assert_eq!(rig.look(), ["end 0", "0@4 3\n"]);
}

#[test]
fn fault_014_rotations_between_two_looks_are_caught_up_with() {
    let mut rig = Rig::new(&["x-json.log"]);
    rig.append("x-json.log", "0\n");
    assert_eq!(rig.poll(), ["open 0 x-json.log", "0@0 0\n"]);
    for round in 1..=3 {
        rig.append("x-json.log", &format!("{round} "));
        rig.rotate("x-json.log", 3);
    }
    rig.append("x-json.log", "4 ");
    let told = rig.look();
    assert_eq!(told, ["0@2 1 ", "end 0", "0@0 2 ", "end 0", "0@0 3 "], "all but the last pair without grace");
    assert_eq!(rig.after(GRACE), ["end 0", "0@0 4 "]);
    assert_eq!(rig.look(), NONE);
}

#[test]
fn fault_014_a_gap_without_the_newest_name_reads_nothing_twice() {
    let mut rig = Rig::new(&["x.log"]);
    rig.append("x.log", "0\n");
    rig.poll();
    rig.rotate("x.log", 3);
    rig.append("x.log", "1\n");
    rig.look();
    assert_eq!(rig.after(GRACE), ["end 0", "0@0 1\n"]);
    rig.rotate("x.log", 3);
    assert_eq!(rig.look(), NONE);
    fs::remove_file(rig.path("x.log.1")).unwrap();
    rig.look();
    assert_eq!(rig.after(GRACE), ["end 0"]);
    rig.append("x.log", "2\n");
    assert_eq!(
        rig.look(),
        ["0@0 2\n"],
        "the oldest is known, although nothing covered was there for a while"
    );
}

#[test]
fn fault_014_rotation_is_seen_while_reading_without_a_scan() {
    let mut rig = Rig::new(&["x.log"]);
    rig.append("x.log", "0 ");
    rig.poll();
    let scans = rig.tail.scans;
    let mut told = Vec::new();
    // Seven rotations within a second, each of them deleting what is older than two.
    for round in 1..=7 {
        rig.append("x.log", &format!("{round} "));
        rig.rotate("x.log", 2);
        rig.append("x.log", "");
        told.extend(rig.after(Duration::from_millis(125)).into_iter().filter(|told| told.contains('@')));
        rig.tail.polled = Monotonic(0);
    }
    assert_eq!(rig.tail.scans, scans);
    assert_eq!(told, ["0@2 1 ", "0@0 2 ", "0@0 3 ", "0@0 4 ", "0@0 5 ", "0@0 6 ", "0@0 7 "]);
}

#[test]
fn elders_from_before_our_time_are_read_only_if_covered() {
    #[track_caller]
    fn check(include: &str, want: &[&str]) {
        let mut rig = Rig::new(&[include]);
        rig.append("x.log.2", "2\n");
        rig.append("x.log.1", "1\n");
        rig.append("x.log.3.gz", "packed");
        rig.append("x.log", "0\n");
        let mut told = rig.poll();
        told.extend(rig.after(GRACE));
        assert_eq!(told, want);
        // And a rotation takes none of them for new.
        rig.rotate("x.log", 3);
        rig.append("x.log", "new\n");
        rig.look();
        assert_eq!(rig.after(GRACE), ["end 0", "0@0 new\n"]);
    }
    check("x.log", &["open 0 x.log", "0@0 0\n"]);
    check("x.log*", &["open 0 x.log", "0@0 2\n", "end 0", "0@0 1\n", "end 0", "0@0 0\n"]);
}

#[test]
fn a_covered_elder_that_appears_later_is_a_source_of_its_own() {
    let mut rig = Rig::new(&["gc.log*"]);
    rig.append("gc.log.0", "0\n");
    assert_eq!(rig.poll(), ["open 0 gc.log", "0@0 0\n"]);
    rig.append("gc.log.1", "1\n");
    assert_eq!(rig.look(), ["open 1 gc.log.1", "1@0 1\n"]);
    rig.append("gc.log.0", "0\n");
    rig.append("gc.log.1", "1\n");
    assert_eq!(rig.look(), ["0@2 0\n", "1@2 1\n"]);
}

#[test]
fn fault_025_an_unfinished_line_ends_with_its_file_only() {
    let mut rig = Rig::new(&["x.log"]);
    rig.append("x.log", "one\ntw");
    assert_eq!(rig.poll(), ["open 0 x.log", "0@0 one\ntw"]);
    for _ in 0..60 {
        assert_eq!(rig.look(), NONE);
    }
    rig.append("x.log", "o\nthree");
    assert_eq!(rig.look(), ["0@6 o\nthree"]);
    rig.rename("x.log", "x.log.1");
    rig.append("x.log", "four");
    assert_eq!(rig.look(), NONE);
    assert_eq!(rig.after(GRACE), ["end 0", "0@0 four"]);
}

#[derive(Clone, Debug)]
enum Step {
    /// The newest writer writes, or an earlier one.
    Write {
        age: usize,
    },
    Rotate,
    /// Time goes by.
    Look {
        millis: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0usize..3).prop_map(|age| Step::Write { age }),
        2 => Just(Step::Rotate),
        3 => prop_oneof![Just(1u64), Just(300), Just(1_000), Just(1_600)].prop_map(|millis| Step::Look { millis }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    /// However writes, late writes, rotations and looks fall together, and however few descriptors there are: every
    /// line comes exactly once, whole, and behind those that were written to its file before.
    #[test]
    fn every_line_comes_once(steps in proptest::collection::vec(step(), 1..60), descriptors in 1usize..6, share in 3u64..40) {
        let mut rig = Rig::new(&["x.log"]);
        rig.tail.descriptors.limit = descriptors;
        rig.share = Bytes(share);
        // A tail that sees a file only after it was rotated cannot know that it was one of its own.
        let mut writers = vec![rig.open("x.log")];
        let mut told = rig.poll();
        let mut sent = 0;
        for step in steps {
            match step {
                Step::Write { age } => {
                    let writer = writers.len().saturating_sub(1 + age);
                    writeln!(writers[writer], "{writer}.{sent}").unwrap();
                    sent += 1;
                }
                Step::Rotate => {
                    rig.rotate("x.log", 100);
                    writers.push(rig.open("x.log"));
                }
                Step::Look { millis } => told.extend(rig.after(Duration::from_millis(millis))),
            }
        }
        for _ in 0..80 {
            told.extend(rig.after(GRACE));
        }
        let mut texts: BTreeMap<String, String> = BTreeMap::new();
        for told in &told {
            let Some((place, text)) = told.split_once(' ').filter(|(place, _)| place.contains('@')) else { continue };
            *texts.entry(place.split('@').next().unwrap_or_default().to_owned()).or_default() += text;
        }
        let lines: Vec<(usize, usize)> = texts
            .values()
            .flat_map(|text| text.lines())
            .map(|line| line.split_once('.').map(|(writer, number)| (writer.parse().unwrap(), number.parse().unwrap())))
            .collect::<Option<_>>()
            .expect("a whole line");
        let mut numbers: Vec<usize> = lines.iter().map(|line| line.1).collect();
        numbers.sort_unstable();
        prop_assert_eq!(numbers, (0..sent).collect::<Vec<_>>(), "{:?}", told);
        for writer in 0..writers.len() {
            let own: Vec<usize> = lines.iter().filter(|line| line.0 == writer).map(|line| line.1).collect();
            prop_assert!(own.is_sorted(), "{:?}", told);
        }
    }
}

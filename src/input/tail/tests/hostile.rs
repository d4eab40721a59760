//! Files that should not be read, or not as they are: links of others, our own output, holes.

use super::*;

use std::os::unix::fs::{FileExt, MetadataExt, symlink};

#[test]
fn fault_003_a_hole_left_by_truncation_is_skipped() {
    const HOLE: u64 = 1 << 30;
    let mut rig = Rig::new(&["x.log"]);
    let writer = File::create(rig.path("x.log")).unwrap();
    writer.write_all_at(b"old\n", 0).unwrap();
    rig.poll();
    // The writer has no O_APPEND: it goes on where it was, a gigabyte into a file that is empty now.
    writer.set_len(0).unwrap();
    writer.write_all_at(b"new\n", HOLE).unwrap();
    assert!(writer.metadata().unwrap().blocks() * 512 < 1 << 20, "the file system has holes");
    let told = rig.look();
    assert_eq!(told[..2], ["truncated 0 x.log 4+0".to_owned(), format!("0@0 skipped {HOLE}")]);
    assert_eq!(told[2..], [format!("0@{HOLE} new\n")]);
    assert!(rig.last.read <= Bytes(8), "the hole is not read");
    writer.write_all_at(b"more\n", HOLE + 4).unwrap();
    assert_eq!(rig.look(), [format!("0@{} more\n", HOLE + 4)]);
}

#[test]
fn fault_003_nuls_on_disk_are_skipped_in_pieces() {
    #[track_caller]
    fn check(nuls: usize, text: &str, share: u64) {
        let mut rig = Rig::new(&["x.log"]);
        fs::write(rig.path("x.log"), [&vec![0; nuls][..], text.as_bytes()].concat()).unwrap();
        rig.share = Bytes(share);
        let mut told = rig.after(SOON);
        assert_eq!(told.remove(0), "open 0 x.log");
        let got: String = told.iter().filter_map(|told| told.split_once(' ')).map(|told| told.1).collect();
        let want = if text.is_empty() { String::new() } else { format!("skipped {nuls}{text}") };
        assert_eq!(got, want, "{nuls} {share}");
    }
    for nuls in [1, 255, 1_023, 1_024, 1_025, 100_000, 200_000] {
        for share in [64, 1_000, 1 << 20] {
            check(nuls, "a line\n", share);
        }
        check(nuls, "", 1 << 20);
    }
}

#[test]
fn fault_003_nuls_inside_a_file_are_bytes_like_others() {
    let mut rig = Rig::new(&["x.log"]);
    rig.append("x.log", "one\n\0\0two\n");
    assert_eq!(rig.poll(), ["open 0 x.log", "0@0 one\n\0\0two\n"]);
}

#[test]
fn fault_003_a_hole_at_the_end_is_told_with_its_file() {
    let mut rig = Rig::new(&["x.log"]);
    File::create(rig.path("x.log")).unwrap().set_len(1 << 30).unwrap();
    assert_eq!(rig.poll(), ["open 0 x.log"]);
    let mut position = None;
    rig.tail.positions(|_| None, &mut |moved| position = Some(moved));
    let Some(Moved::To(position)) = position else { panic!("{position:?}") };
    assert_eq!((position.read, position.resume), (0, 0), "a restart skips and tells it whole");
    rig.rename("x.log", "x.log.1");
    rig.append("x.log", "new\n");
    let mut told = rig.look();
    told.extend(rig.after(GRACE));
    assert_eq!(told, [format!("0@0 skipped {}", 1u64 << 30), "end 0".into(), "0@0 new\n".into()]);
}

#[test]
fn fault_024_our_own_output_is_refused() {
    let mut rig = Rig::new(&["*.log"]);
    let own = vec![rig.path("out.log"), rig.path("link to out")];
    rig.tail = Tail::new(Options { own, ..rig.tail.options.clone() }, || {}).unwrap();
    rig.tail.watch.break_down();
    symlink(rig.path("errors.log"), rig.path("link to out")).unwrap();
    rig.append("x.log", "one\n");
    rig.append("out.log", "a record\n");
    let mut told = rig.poll();
    told.sort();
    assert_eq!(told, ["0@0 one\n", "open 0 x.log", "refused out.log: is written by this program itself"]);
    rig.append("errors.log", "made later\n");
    rig.append("out.log", "another record\n");
    assert_eq!(rig.look(), ["refused errors.log: is written by this program itself"]);
    assert_eq!(rig.look(), NONE);
}

#[test]
fn fault_080_planted_links_ship_nothing() {
    let mut rig = Rig::new(&["logs/*"]);
    fs::create_dir(rig.path("logs")).unwrap();
    rig.append("secret", "root:x:0:0\n");
    rig.tail =
        Tail::new(Options { roots: vec![rig.path("logs")], ..rig.tail.options.clone() }, || {}).unwrap();
    rig.tail.watch.break_down();
    rustix::fs::mkfifoat(rustix::fs::CWD, rig.path("pipe"), rustix::fs::Mode::RWXU).unwrap();
    for (target, link) in [
        (rig.path("secret"), "logs/shadow"),
        (rig.path("pipe"), "logs/pipe"),
        ("/proc/self/environ".into(), "logs/environ"),
        ("/dev/zero".into(), "logs/zero"),
        (rig.path("logs"), "logs/round"),
    ] {
        symlink(target, rig.path(link)).unwrap();
    }
    rig.append("logs/honest", "one\n");
    symlink(rig.path("logs/honest"), rig.path("logs/honest too")).unwrap();
    let mut told = rig.poll();
    let refused = told.iter().filter(|told| told.starts_with("refused")).count();
    assert_eq!(refused, 5, "{told:?}");
    assert_eq!(told.iter().filter(|told| told.contains("outside the allowed roots")).count(), 4, "{told:?}");
    told.retain(|told| !told.starts_with("refused"));
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[1], "0@0 one\n");
}

#[test]
fn fault_080_a_link_of_another_user_is_refused() {
    let mut rig = Rig::new(&["*.log"]);
    rig.append("secret", "root:x:0:0\n");
    symlink(rig.path("secret"), rig.path("x.log")).unwrap();
    if std::os::unix::fs::lchown(rig.path("x.log"), Some(12_345), None).is_err() {
        // Past the test harness, which would keep it to itself.
        let _ = writeln!(std::io::stderr(), "\nskipped: only root may give files away");
        return;
    }
    let told = rig.poll();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("belongs to user 12345"), "{told:?}");
    // Nor when a directory on the way is such a link.
    fs::create_dir(rig.path("real")).unwrap();
    rig.append("real/y.log", "one\n");
    symlink(rig.path("real"), rig.path("way")).unwrap();
    std::os::unix::fs::lchown(rig.path("way"), Some(12_345), None).unwrap();
    let include = vec![format!("{}/way/*.log", rig.room.path().display())];
    rig.tail = Tail::new(Options { include, ..Options::default() }, || {}).unwrap();
    let told = rig.poll();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("refused way/y.log: cannot open: the symbolic link"), "{told:?}");
}

//! A followed file on a file system whose sizes are stale at times, as those of NFS are.

use std::fs;
use std::io::Write as _;

use super::tail::{Rig, expect_numbers, numbered};
use crate::support::fuse::{NAME, Remote};

#[test]
fn fault_019_a_stale_size_on_a_remote_file_system() {
    let room = tempfile::tempdir().expect("a folder");
    let remote = match Remote::mount(room.path()) {
        Ok(remote) => remote,
        Err(error) => {
            // Past the test harness, which would keep it to itself.
            let _ =
                writeln!(std::io::stderr(), "\nskipped: a FUSE file system cannot be mounted here: {error}");
            return;
        }
    };
    let file = remote.folder().join(NAME);
    let mut rig = Rig::start(file.to_str().expect("a name in letters"));
    let mut written = 0;
    let mut append = |count: usize| {
        remote.append(&numbered(written..written + count));
        written += count;
        written
    };
    let count = append(100);
    rig.wait_for(count);
    // One look finds the file short, at its beginning or somewhere in what was read; the next one does not.
    for size in [0, 1, 100, 1_000, 2_000, 3_000, 0, 50, 500, 1_500] {
        remote.tell_stale(size, 1);
        rig.sidecar.wait_until("the stale size was told", |_| remote.is_fresh());
        let count = append(1);
        rig.wait_for(count);
    }
    // And a file that was truly emptied stays short.
    remote.replace(&numbered(written..written + 5));
    rig.wait_for(written + 5 + 1);
    let records = rig.stop();
    let notices = records.all.iter().filter(|record| record["squall"]["kind"] == "notice");
    let truncated: Vec<_> = notices.map(|notice| notice["squall"]["reason"].clone()).collect();
    assert_eq!(truncated, ["truncated"], "one truncation, which was one");
    expect_numbers(&records, written + 5);
    drop(remote);
    assert!(fs::read_dir(room.path()).expect("a folder").next().is_none(), "it is unmounted");
}

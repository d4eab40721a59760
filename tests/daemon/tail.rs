//! Followed files that are rotated, truncated and created while the program reads them.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::process::{Ended, Running, squall};
use crate::support::records::{Records, split_ledger};

/// A sidecar that follows `*.log` in a folder and writes every line to a file of records.
pub(super) struct Rig {
    folder: TempDir,
    pub(super) sidecar: Running,
}

impl Rig {
    pub(super) fn start(include: &str) -> Rig {
        let folder = tempfile::tempdir().expect("a folder");
        let args = [
            "run",
            "--tail",
            include,
            "--format",
            "plain",
            "--collapse",
            "never",
            "--to",
            "file:out",
            "--json",
        ];
        let sidecar = Running::start(&mut squall(folder.path(), args));
        Rig { folder, sidecar }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.path(name)).expect("a log");
        file.write_all(text.as_bytes()).expect("room");
    }

    /// Waits until so many records stand in the file.
    #[track_caller]
    pub(super) fn wait_for(&mut self, records: usize) {
        let out = self.path("out");
        self.sidecar.wait_until(&format!("{records} records"), |_| delivered(&out) >= records);
    }

    /// Ends it in order. What it printed and what it delivered must fit together.
    #[track_caller]
    pub(super) fn stop(self) -> Records {
        self.sidecar.signal(Signal::TERM);
        let ended: Ended = self.sidecar.end();
        ended.expect_code(0);
        let (_, ledger) = split_ledger(&ended.stdout);
        let records = Records::read(&fs::read_to_string(self.folder.path().join("out")).expect("records"));
        assert_eq!(ledger["lines_in"], records.lines(), "{ledger}");
        assert_eq!(ledger["records_delivered"], records.all.len(), "{ledger}");
        assert_eq!(ledger["conservation_error"], 0, "{ledger}");
        records
    }
}

fn delivered(out: &Path) -> usize {
    fs::read(out).map_or(0, |bytes| memchr::memchr_iter(b'\n', &bytes).count())
}

pub(super) fn numbered(numbers: std::ops::Range<usize>) -> String {
    numbers.map(|n| format!("seq={n} what the application had to say\n")).collect()
}

#[track_caller]
pub(super) fn expect_numbers(records: &Records, end: usize) {
    let wanted = numbered(0..end);
    let came = records.texts();
    let differs = came.iter().zip(wanted.lines()).position(|(came, wanted)| *came != wanted);
    assert_eq!((came.len(), differs), (end, None), "every line once, in order");
}

/// dockerd with `max-size`, `max-file: 3`, scaled down: renames, then creates, while it is read.
#[test]
fn fault_001_rotation_by_rename_loses_nothing() {
    const BURST: usize = 200;
    let mut rig = Rig::start("app.log");
    let mut written = 0;
    for _file in 0..5 {
        for _burst in 0..4 {
            rig.append("app.log", &numbered(written..written + BURST));
            written += BURST;
        }
        // The reader may be behind by one file, as two are kept; it must have seen the first.
        rig.wait_for(written.saturating_sub(4 * BURST).max(1));
        if rig.path("app.log.1").exists() {
            fs::rename(rig.path("app.log.1"), rig.path("app.log.2")).expect("our own files");
        }
        fs::rename(rig.path("app.log"), rig.path("app.log.1")).expect("our own files");
        File::create(rig.path("app.log")).expect("the next file");
    }
    rig.append("app.log", &numbered(written..written + 1));
    written += 1;
    rig.wait_for(written);
    expect_numbers(&rig.stop(), written);
}

#[test]
fn fault_002_a_truncated_file_is_read_from_its_start() {
    let mut rig = Rig::start("app.log");
    rig.append("app.log", &numbered(0..500));
    rig.wait_for(500);
    let log = OpenOptions::new().write(true).open(rig.path("app.log")).expect("a log");
    log.set_len(0).expect("our own file");
    rig.append("app.log", &numbered(500..600));
    rig.wait_for(600);
    expect_numbers(&rig.stop(), 600);
}

#[test]
fn new_files_are_found() {
    let mut rig = Rig::start("*.log");
    rig.append("a.log", &numbered(0..10));
    rig.wait_for(10);
    rig.append("b.log", &numbered(10..20));
    rig.append("not-a-log.txt", "nobody reads this\n");
    rig.wait_for(20);
    fs::remove_file(rig.path("a.log")).expect("our own file");
    rig.append("a.log", &numbered(20..30));
    rig.wait_for(30);
    expect_numbers(&rig.stop(), 30);
}

#[test]
fn fault_025_a_line_that_pauses_in_the_middle_comes_once() {
    let mut rig = Rig::start("*.log");
    rig.append("a.log", "the first line\nthe sec");
    rig.wait_for(1);
    // When a later file has been read, the pause was seen.
    rig.append("b.log", "meanwhile\n");
    rig.wait_for(2);
    rig.append("a.log", "ond line\n");
    rig.wait_for(3);
    let records = rig.stop();
    assert_eq!(records.texts(), ["the first line", "meanwhile", "the second line"]);
    assert!(records.all.iter().all(|record| record["squall"]["complete"].is_null()));
}

//! Stack traces of a program that is logged while squall is killed, stopped and rotated under.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::process::{Running, feed, run, squall};
use crate::support::records::split_ledger;

/// A trace is held for longer than any life here, so that a slow machine cannot be what ends it.
const CONFIG: &str = "\
inputs:
  app:
    type: tail
    include: [app.log]
    format: plain
    collapse: never
    multiline: {language: auto, wait: 60s}
outputs:
  file: {path: out}
";
const ARGS: [&str; 4] = ["run", "--config", "squall.yaml", "--json"];

/// A log, a state directory, and what was written.
struct World {
    folder: TempDir,
    /// What must come: each text with its physical lines.
    truth: Vec<(String, u64)>,
    calm: u32,
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("squall.yaml"), CONFIG).expect("a config");
        File::create(folder.path().join("app.log")).expect("a log");
        World { folder, truth: Vec::new(), calm: 0 }
    }

    fn append(&self, text: &str) {
        let mut log =
            OpenOptions::new().append(true).open(self.folder.path().join("app.log")).expect("a log");
        log.write_all(text.as_bytes()).expect("room");
    }

    fn calm(&mut self) {
        self.calm += 1;
        let text = format!("order {} is placed", self.calm);
        self.append(&format!("{text}\n"));
        self.truth.push((text, 1));
    }

    /// A trace of `depth` frames, and where `meanwhile` happens in it: after so many bytes.
    fn trace(&mut self, depth: u64, cut: usize, meanwhile: impl FnOnce(&World)) {
        let frames: String =
            (0..depth).map(|at| format!("\n\tat com.acme.Shop{at}.place(Shop.java:{at})")).collect();
        let text = format!(
            "java.lang.IllegalStateException: no stock, {}{frames}\nCaused by: x.Y: z\n\t... 9 more",
            self.calm
        );
        let (head, tail) = text.split_at(cut.min(text.len()));
        self.append(head);
        meanwhile(self);
        self.append(&format!("{tail}\n"));
        self.truth.push((text, depth + 3));
    }

    /// squall lives until it has shipped the newest calm line, and is killed.
    fn kill(&self) {
        let newest = format!("\"order {} is placed\"", self.calm);
        let mut sidecar = Running::start(&mut squall(self.folder.path(), ARGS));
        sidecar.wait_until("the newest calm line", |_| self.out().contains(&newest));
        drop(sidecar);
        run(self.folder.path(), ["audit", "state", "--json"]).expect_code(0);
    }

    fn rotate(&self) {
        let log = self.folder.path().join("app.log");
        for age in (1..8).rev() {
            let old = self.folder.path().join(format!("app.log.{age}"));
            if old.exists() {
                fs::rename(&old, self.folder.path().join(format!("app.log.{}", age + 1)))
                    .expect("our own file");
            }
        }
        fs::rename(&log, self.folder.path().join("app.log.1")).expect("our own file");
        File::create(&log).expect("our own file");
    }

    fn out(&self) -> String {
        fs::read_to_string(self.folder.path().join("out")).unwrap_or_default()
    }

    /// Lets squall finish, and holds everything against the truth.
    fn finish(self) {
        let ended = Running::start(squall(self.folder.path(), ARGS).arg("--until-eof")).end();
        let (_, ledger) = split_ledger(&ended.expect_code(0).stdout);
        // A record may come twice, but then it is the same one.
        let mut records = BTreeMap::new();
        for line in self.out().lines() {
            let record: Value = serde_json::from_str(line).expect("JSON");
            let id = record["squall"]["id"].to_string();
            let before = records.insert(id, record.clone());
            assert!(before.is_none_or(|before| before == record), "{record}");
        }
        let mut told: Vec<(String, u64)> = records
            .values()
            .map(|record| {
                let text = record["message"].as_str().expect("a text").to_owned();
                (text, record["squall"]["lines"].as_u64().unwrap_or(1))
            })
            .collect();
        let mut truth = self.truth;
        told.sort_unstable();
        truth.sort_unstable();
        assert_eq!(told, truth);
        let books = ["lines_in", "lines_partial", "conservation_error"].map(|name| ledger[name].as_u64());
        assert_eq!(books, [truth.len() as u64, 0, 0].map(Some), "{ledger}");
    }
}

#[test]
fn fault_037_traces_are_cut_by_kills() {
    let mut world = World::new();
    // In the first line, behind it, in a frame, behind all frames, behind the last line.
    for cut in [10, 46, 60, 400, 10_000] {
        world.calm();
        world.trace(8, cut, World::kill);
    }
    world.finish();
}

#[test]
fn fault_001_traces_are_cut_by_kills_and_rotations() {
    let mut world = World::new();
    let behind_a_line = "java.lang.IllegalStateException: no stock, 1".len();
    world.calm();
    world.trace(8, behind_a_line, |world| {
        world.kill();
        // The program ends the line it is in before it goes on in another file.
        world.append("");
    });
    for rotate_first in [true, false] {
        world.calm();
        let first =
            "java.lang.IllegalStateException: no stock, 2\n\tat com.acme.Shop0.place(Shop.java:0)\n".len();
        world.trace(8, first, |world| {
            if rotate_first {
                world.rotate();
                world.kill();
            } else {
                world.kill();
                world.rotate();
            }
        });
        world.calm();
    }
    world.finish();
}

#[test]
fn a_flag_joins_traces_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = b"Traceback (most recent call last):\n  File \"/app/a.py\", line 1, in f\n    g()\nKeyError: 'sku'\nbye\n";
    for (flag, want) in [("auto", 2), ("python", 2), ("go", 5), ("off", 5)] {
        let args = ["run", "--stdin", "--until-eof", "--to", "console", "--json", "--multiline", flag];
        let ended = feed(folder.path(), args, log);
        let (_, ledger) = split_ledger(&ended.expect_code(0).stdout);
        assert_eq!(ledger["lines_in"], want, "{flag}");
    }
}

//! Real files, a made-up clock. The kernel's hints are off unless a test is about them, so that a test decides when
//! the tail looks. `fault_0NN` are the rows of the fault table.

mod hostile;
mod limits;
mod remote;
mod restart;
mod rotation;
mod seeing;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::units::Timestamp;

use super::*;

/// A directory with log files, and a tail that follows them.
struct Rig {
    room: TempDir,
    tail: Tail,
    now: Now,
    last: Progress,
    share: Bytes,
}

impl Rig {
    /// Follows `include` (under the rig's directory) with `options`.
    fn with(include: &[&str], options: Options) -> Rig {
        let mut rig = Rig::hearing(include, options, || {});
        rig.tail.watch.break_down();
        rig
    }

    fn new(include: &[&str]) -> Rig {
        Rig::with(include, Options::default())
    }

    /// As `with`, but with the kernel's hints.
    fn hearing(include: &[&str], options: Options, wake: impl Fn() + Send + Sync + 'static) -> Rig {
        let room = tempfile::tempdir().unwrap();
        let include = include.iter().map(|glob| format!("{}/{glob}", room.path().display())).collect();
        let tail = Tail::new(Options { include, ..options }, wake).unwrap();
        let now = Now { arrival: Monotonic(7), wall: Timestamp(0) };
        Rig { room, tail, now, last: Progress::default(), share: Bytes(1 << 20) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.room.path().join(name)
    }

    fn open(&self, name: &str) -> File {
        OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap()
    }

    fn append(&self, name: &str, text: &str) {
        self.open(name).write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// What dockerd and logrotate do: `name.1` → `name.2` …, `name` → `name.1`, with `kept` elders at most.
    fn rotate(&self, name: &str, kept: usize) {
        for age in (0..kept).rev() {
            let from = if age == 0 { self.path(name) } else { self.path(&format!("{name}.{age}")) };
            if from.exists() {
                fs::rename(from, self.path(&format!("{name}.{}", age + 1))).unwrap();
            }
        }
    }

    fn advance(&mut self, wait: Duration) {
        self.now.arrival = self.now.arrival + wait;
    }

    /// Polls once, without moving the clock, and tells what the tail told.
    fn poll(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        let room = self.room.path().to_owned();
        self.last = self.tail.poll(self.now, self.share, &mut |event| told.push(tell(&event, &room)));
        let descriptors = self.tail.sources.values().flat_map(|source| &source.generations);
        assert_eq!(self.tail.files_open(), descriptors.filter(|generation| generation.is_open()).count());
        told
    }

    /// Lets `wait` go by and polls until there is nothing more to read.
    fn after(&mut self, wait: Duration) -> Vec<String> {
        self.advance(wait);
        let mut told = self.poll();
        for _ in 0..10_000 {
            if !self.last.more {
                return told;
            }
            told.extend(self.poll());
        }
        panic!("there is always more: {told:?}");
    }

    /// What the tail tells after the second in which it looks at everything.
    fn look(&mut self) -> Vec<String> {
        self.after(SCAN_EVERY)
    }
}

/// An event as a short text: `open 0 x.log`, `0@12 text`, `end 0`.
fn tell(event: &Event<'_>, room: &Path) -> String {
    let short = |path: &Path| path.strip_prefix(room).unwrap_or(path).display().to_string();
    match event {
        Event::Opened { source, path } => format!("open {} {}", source.0, short(path)),
        Event::Data { source, offset, bytes } => {
            format!("{}@{offset} {}", source.0, String::from_utf8_lossy(bytes))
        }
        Event::GenerationEnded { source } => format!("end {}", source.0),
        Event::Lost { source, why, path, read, lost, .. } => {
            format!("{} {} {} {read}+{lost}", format!("{why:?}").to_lowercase(), source.0, short(path))
        }
        Event::Skipped { source, offset, nuls } => format!("{}@{offset} skipped {nuls}", source.0),
        Event::Closed { source } => format!("closed {}", source.0),
        Event::Refused { path, reason } => format!("refused {}: {reason}", short(path)),
    }
}

const NONE: [&str; 0] = [];
const SOON: Duration = Duration::from_millis(300);
const GRACE: Duration = source::GRACE;
const HANDOVER: Duration = source::HANDOVER;

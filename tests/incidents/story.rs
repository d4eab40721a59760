//! One incident as it is lived through: its log, which grows, the program that reads it, and who is told.
//!
//! What has not happened is known, not waited for: a story pauses with a line that is like no other, and when its record
//! has arrived, every line before it was judged, and every turn that this made is among the records before it.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use rustix::process::Signal;
use squall::engine::frame::IoStream;
use squall::units::Timestamp;
use tempfile::TempDir;

use super::aftermath::{Aftermath, Turn, turns};
use crate::support::incident::Wrap;
use crate::support::process::{Running, run, squall};
use crate::support::receiver::{Answer, Receiver};

/// When each story begins: 2026-02-06T00:00:00Z.
pub(super) const START: Timestamp = Timestamp(1_770_336_000_000_000_000);

/// Silence passes for squall while a story pauses, so what depends on the lines of some minutes may be so many seconds late.
/// On a machine that is not busy it is none.
pub(super) const PAUSE_MAX: f64 = 60.0;

/// What else happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Days {
    /// Nothing.
    Good,
    /// `kill -9` wherever the story pauses.
    Bad,
}

/// A line of the log.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) time: Timestamp,
    pub(super) stream: IoStream,
    pub(super) text: String,
}

/// A line on standard output, so many seconds after the start.
pub(super) fn line(seconds: f64, text: impl Into<String>) -> Line {
    let millis = (seconds * 1e3).round() as i64;
    Line { time: Timestamp(START.0 + millis * 1_000_000), stream: IoStream::Stdout, text: text.into() }
}

/// Seconds from the start, to the millisecond.
pub(super) fn seconds(time: Timestamp) -> f64 {
    ((time.0 - START.0) / 1_000_000) as f64 / 1e3
}

/// When the lines were written that hold `part`.
pub(super) fn times(log: &[Line], part: &str) -> Vec<f64> {
    log.iter().filter(|line| line.text.contains(part)).map(|line| seconds(line.time)).collect()
}

/// See the module's documentation.
pub(super) struct Story {
    folder: TempDir,
    hook: Receiver,
    /// `None` only between two lives.
    running: Option<Running>,
    days: Days,
    wrap: Wrap,
    log: Vec<Line>,
    /// So many lines of the log are in the file.
    written: usize,
    pauses: u64,
}

impl Story {
    /// Squall runs, and nothing has been written yet.
    #[track_caller]
    pub(super) fn begin(presets: &[&str], wrap: Wrap, days: Days, mut log: Vec<Line>) -> Story {
        log.sort_by_key(|line| line.time);
        let (folder, hook) = (tempfile::tempdir().expect("a folder"), Receiver::start(Answer::Status(200)));
        let path = |preset| format!("'{}/config/presets/{preset}.yaml'", env!("CARGO_MANIFEST_DIR"));
        let files: Vec<String> = presets.iter().map(path).collect();
        let config = format!(
            "alerts: {{ files: [{}] }}\n\
             notify: {{ group_wait: 0s, group_interval: 0s, per_minute: 600, webhook: {{ url: '{}' }} }}\n",
            files.join(", "),
            hook.url("/hook")
        );
        fs::write(folder.path().join("squall.yaml"), config).expect("a config");
        fs::write(folder.path().join("app.log"), "").expect("a log");
        let running = Some(start(folder.path()));
        Story { folder, hook, running, days, wrap, log, written: 0, pauses: 0 }
    }

    /// Writes what belongs before this second.
    pub(super) fn write_until(&mut self, second: f64) {
        let upto = self.log.partition_point(|line| seconds(line.time) < second);
        self.write(upto);
    }

    /// Writes everything before the `nth` line of the log that holds `part`.
    #[track_caller]
    pub(super) fn write_until_nth(&mut self, part: &str, nth: usize) {
        let mut found = self.log.iter().enumerate().filter(|(_, line)| line.text.contains(part));
        let (upto, _) = found.nth(nth - 1).expect("there are so many");
        self.write(upto);
    }

    /// Writes one line more.
    pub(super) fn write_one(&mut self) {
        self.write(self.written + 1);
    }

    /// Writes the rest.
    pub(super) fn write_all(&mut self) {
        self.write(self.log.len());
    }

    fn write(&mut self, upto: usize) {
        let mut bytes = Vec::new();
        for Line { time, stream, text } in &self.log[self.written..upto] {
            self.wrap.append(&mut bytes, &mut text.clone().into_bytes(), *stream, *time);
        }
        self.written = upto;
        self.append(&bytes);
    }

    fn append(&self, bytes: &[u8]) {
        let log = OpenOptions::new().append(true).open(self.folder.path().join("app.log"));
        log.and_then(|mut log| log.write_all(bytes)).expect("room");
    }

    /// Fails unless exactly this was told so far, each turn once: `"UpstreamTimeouts firing"`.
    #[track_caller]
    pub(super) fn look(&mut self, want: &[&str]) {
        self.await_mark();
        let turns = turns(self.folder.path());
        let names: Vec<String> = turns.iter().map(Turn::name).collect();
        assert_eq!(names, want, "after {} lines", self.written);
        let Story { running, hook, .. } = self;
        let running = running.as_mut().expect("it runs");
        running.wait_until("all notifications", |_| hook.told().len() >= want.len());
        assert_told_once(hook, &turns);
    }

    /// The same, and on bad days squall is killed then, and lives on.
    #[track_caller]
    pub(super) fn pause(&mut self, want: &[&str]) {
        self.look(want);
        if self.days == Days::Bad {
            let mut running = self.running.take().expect("it runs");
            // What was on its way might rightly come twice, which is another test's affair.
            let store = self.folder.path().join("state/outbox.db");
            running.wait_until("nothing on its way", |_| waiting(&store) == Some(0));
            drop(running);
            self.running = Some(start(self.folder.path()));
        }
    }

    /// Waits until everything that is written has been read and told.
    #[track_caller]
    fn await_mark(&mut self) {
        self.pauses += 1;
        let mark = format!("page {} of the story is read", self.pauses);
        let time = self.log[..self.written].last().map_or(START, |line| line.time);
        let mut bytes = Vec::new();
        self.wrap.append(&mut bytes, &mut mark.clone().into_bytes(), IoStream::Stdout, time);
        self.append(&bytes);
        let out = self.folder.path().join("out");
        let running = self.running.as_mut().expect("it runs");
        running.wait_until("the mark", |_| end_of(&out).contains(&mark));
    }

    /// The story is over: everything is delivered, nothing was told twice, and the books hold. `silent` are turns that
    /// would come with a silence longer than this test's: `squall replay`, whose clock is the log's, knows them already.
    #[track_caller]
    pub(super) fn end(mut self, silent: &[&str]) -> Aftermath {
        let mut running = self.running.take().expect("it runs");
        // Our signal must find it waiting for signals, not starting.
        running.wait_until("its threads", |running| running.threads() >= 3);
        running.signal(Signal::TERM);
        running.end().expect_code(0);
        let path = self.folder.path();
        assert_told_once(&self.hook, &turns(path));
        run(path, ["audit", "state", "--json"]).expect_code(0);
        let aftermath = Aftermath::of(path, &self.hook);
        assert_eq!(aftermath.records.lines(), self.written as u64 + self.pauses, "each line is told");
        aftermath.expect_of_replay(path, silent);
        aftermath
    }
}

/// Follows `app.log` in `folder`.
#[track_caller]
fn start(folder: &Path) -> Running {
    Running::start(&mut squall(folder, ["run", "-c", "squall.yaml", "--tail", "app.log", "--to", "file:out"]))
}

/// Each turn was told, none twice, and nothing else was.
#[track_caller]
fn assert_told_once(hook: &Receiver, turns: &[Turn]) {
    let mut told = hook.told();
    let mut want: Vec<String> = turns.iter().map(|turn| turn.id.clone()).collect();
    told.sort();
    want.sort();
    assert_eq!(told, want);
}

/// The turns that the receiver has not been told, as far as the outbox knows; `None` while it cannot be read.
fn waiting(store: &Path) -> Option<i64> {
    let store = Connection::open_with_flags(store, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    let sql = "SELECT count(*) FROM notification AS turn WHERE NOT EXISTS \
               (SELECT 1 FROM notified WHERE episode = turn.episode AND state = turn.state)";
    store.query_row(sql, [], |row| row.get(0)).ok()
}

/// The last records of a file, of which the first may be cut.
fn end_of(out: &Path) -> String {
    const BYTES: u64 = 64 << 10;
    let read = || {
        let mut file = File::open(out)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(BYTES)))?;
        let mut bytes = Vec::new();
        file.take(BYTES).read_to_end(&mut bytes)?;
        std::io::Result::Ok(bytes)
    };
    // There is none before the first record.
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

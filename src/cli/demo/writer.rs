//! The gateway of the demo: writes the incident as dockerd would, at a pace that the reader keeps up with.
//!
//! Docker keeps 3 files of 10 MB. Whoever writes more than that ahead of the reader deletes what it has not read;
//! that is a loss of rotation, not what the demo is about, so the writer waits for the reader instead.

use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;
use xxhash_rust::xxh3::xxh3_64;

use super::rotate::{Limits, RotatingLog};
use crate::corpus::incident::{Incident, Kind, Truth};
use crate::corpus::json_file;
use crate::daemon::BytesRead;
use crate::daemon::clock;
use crate::units::{Bytes, Timestamp};

/// How fast to write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How many lines.
    pub(super) lines: u64,
    /// Over how long a time, evenly; zero is as fast as the reader follows.
    pub(super) over: Duration,
}

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// What the lines were.
    pub(super) truth: Truth,
    /// Bytes of json-file.
    pub(super) bytes: Bytes,
    /// The hash of each calm line.
    pub(super) calm: Vec<u64>,
    /// How often the file was rotated.
    pub(super) rotations: u64,
    /// When the first line was written, by the log's clock.
    pub(super) first: Timestamp,
    /// When the last one was.
    pub(super) last: Timestamp,
}

/// The thread that writes.
#[derive(Debug)]
pub(super) struct Writer {
    thread: JoinHandle<anyhow::Result<Written>>,
}

/// 2026-02-06T00:10:00Z: the night of the incident.
const START: Timestamp = Timestamp(1_770_336_600 * Timestamp::SECOND);
/// Lines that are written at a time.
const BURST: u64 = 500;
/// How far the writer may be ahead of the reader: half of a file, far below the three that Docker keeps.
const AHEAD_MAX: Bytes = Bytes(5_000_000);
/// The longest wait for a reader that does not move.
const PATIENCE: Duration = Duration::from_secs(60);

impl Writer {
    pub(super) fn start(path: PathBuf, seed: u64, pace: Pace, read: BytesRead) -> Writer {
        Writer { thread: thread::spawn(move || write(path, seed, pace, &read)) }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    pub(super) fn finish(self) -> anyhow::Result<Written> {
        // A panic has ended the whole process already.
        self.thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the writer of the demo failed")))
    }
}

fn write(path: PathBuf, seed: u64, pace: Pace, read: &BytesRead) -> anyhow::Result<Written> {
    let mut log = RotatingLog::open(path, Limits::default())?;
    let mut incident = Incident::new(seed, pace.lines, START);
    let mut written = Written { first: START, ..Written::default() };
    let (mut text, mut burst) = (Vec::new(), Vec::new());
    let started = clock::now().arrival;
    loop {
        let mut more = true;
        burst.clear();
        for _ in 0..BURST {
            let Some(event) = incident.next_into(&mut text) else {
                more = false;
                break;
            };
            if event.kind == Kind::Calm {
                written.calm.push(xxh3_64(&text));
            }
            written.last = event.time;
            json_file::append(&mut burst, &text, event.stream, event.time);
        }
        log.write(&burst)?;
        written.bytes += Bytes(burst.len() as u64);
        if !more {
            break;
        }
        wait_for_reader(written.bytes, read)?;
        let due = pace.over.mul_f64(incident.truth().lines.0 as f64 / pace.lines as f64);
        thread::sleep(due.saturating_sub(clock::now().arrival.since(started)));
    }
    written.truth = incident.truth();
    written.rotations = log.rotations();
    Ok(written)
}

fn wait_for_reader(written: Bytes, read: &BytesRead) -> anyhow::Result<()> {
    let mut waited = Duration::ZERO;
    while written > read.get() + AHEAD_MAX {
        let nap = Duration::from_millis(2);
        thread::sleep(nap);
        waited += nap;
        if waited > PATIENCE {
            return Err(anyhow::anyhow!("nothing reads what is written"))
                .context("the sidecar has stopped reading");
        }
    }
    Ok(())
}

//! Writes the incident as dockerd does, into a json-file that is rotated, at a pace, and knows the truth.
//!
//! Its mix is the incident's: 97 % are the two lines of the storm in turn, 3 % are calm, each line with its mark. Every
//! now and then a calm line is so long that dockerd cuts it into pieces. It writes from a thread of its own, and never
//! waits for the reader unless told how far ahead it may be: by default so many files are kept that none is deleted.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use squall::cli::demo::rotate::{Limits, RotatingLog};
use squall::corpus::incident::{self, Incident};
use squall::corpus::json_file;
use squall::daemon::clock;
use squall::engine::frame::IoStream;
use squall::units::{Bytes, Timestamp};
use xxhash_rust::xxh3::xxh3_64;

use super::line::{KINDS, Kind, Mark, word};

/// What to write, and how fast.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Bytes a second.
    pub(crate) rate: u64,
    /// When a file is rotated.
    pub(crate) max_size: u64,
    /// How many files are kept.
    pub(crate) max_file: u32,
    /// How many lines it may be ahead of [`Generator::has_arrived`]; unlimited where absent.
    pub(crate) ahead_max: Option<u64>,
}

impl Default for Plan {
    fn default() -> Self {
        Plan { seed: 1, rate: 2_000_000, max_size: 2_000_000, max_file: 500, ahead_max: None }
    }
}

/// What was written.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// Lines of each [`Kind`].
    pub(crate) lines: [u64; KINDS],
    /// The calm ones, in the order of writing.
    pub(crate) calm: Vec<Calm>,
    pub(crate) bytes: u64,
    pub(crate) rotations: u64,
}

/// One calm line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Calm {
    pub(crate) seq: u64,
    /// Of its text.
    pub(crate) hash: u64,
    /// Where it begins in the file that it was written to.
    pub(crate) offset: u64,
}

impl Truth {
    pub(crate) fn total(&self) -> u64 {
        self.lines.iter().sum()
    }

    /// The next line of a made-up program, numbered from 1, which is true from now on; it begins at `offset`.
    pub(crate) fn next_line(&mut self, kind: Kind, offset: u64) -> Vec<u8> {
        let seq = self.total() + 1;
        let mut text = match kind {
            Kind::Calm => format!("job {} is done", word(seq)).into_bytes(),
            Kind::Timeout => b"connection timeout".to_vec(),
            Kind::Failed => b"reconnect failed".to_vec(),
        };
        Mark { src: 1, seq, kind }.append_to(&mut text);
        self.lines[kind as usize] += 1;
        if kind == Kind::Calm {
            self.calm.push(Calm { seq, hash: xxh3_64(&text), offset });
        }
        text
    }
}

/// The thread that writes. It ends when this is dropped.
pub(crate) struct Generator {
    control: Arc<Control>,
    thread: Option<JoinHandle<Truth>>,
}

#[derive(Default)]
struct Control {
    stop: AtomicBool,
    pause: AtomicBool,
    /// The last line that was written.
    seq: AtomicU64,
    /// The last calm line that was written.
    calm_seq: AtomicU64,
    arrived: AtomicU64,
    /// It stands still because of a pause.
    paused: AtomicBool,
}

impl Generator {
    pub(crate) fn start(path: PathBuf, plan: Plan) -> Generator {
        let control = Arc::new(Control::default());
        let theirs = Arc::clone(&control);
        let thread = thread::spawn(move || Writer::new(path, plan, theirs).run());
        Generator { control, thread: Some(thread) }
    }

    /// The last line written so far.
    pub(crate) fn seq(&self) -> u64 {
        self.control.seq.load(Ordering::Acquire)
    }

    /// Everything up to this line has arrived, so that more may be written where there is a limit.
    pub(crate) fn has_arrived(&self, seq: u64) {
        self.control.arrived.fetch_max(seq, Ordering::AcqRel);
    }

    /// Stops writing for a while, and returns the last line. It is a calm one, which arrives word for word and at once:
    /// when it is there, all before it have been read.
    pub(crate) fn pause(&self) -> u64 {
        self.control.pause.store(true, Ordering::Release);
        self.wait_until_paused_is(true);
        self.control.calm_seq.load(Ordering::Acquire)
    }

    pub(crate) fn resume(&self) {
        self.control.pause.store(false, Ordering::Release);
        self.wait_until_paused_is(false);
    }

    fn wait_until_paused_is(&self, paused: bool) {
        while self.control.paused.load(Ordering::Acquire) != paused {
            assert!(!self.has_ended(), "the generator ended");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends it where it stands, paused or not, and tells the truth.
    pub(crate) fn end(mut self) -> Truth {
        self.control.stop.store(true, Ordering::Release);
        let thread = self.thread.take().expect("it is joined once");
        thread.join().expect("the generator does not fail")
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        // Not joined: a test that fails need not wait for it.
        self.control.stop.store(true, Ordering::Release);
    }
}

struct Writer {
    plan: Plan,
    control: Arc<Control>,
    log: RotatingLog,
    incident: Incident,
    truth: Truth,
    seq: u64,
    /// The size of the live file.
    offset: u64,
    text: Vec<u8>,
    burst: Vec<u8>,
    /// When the newest line was written, by the incident's own clock.
    time: Timestamp,
}

impl Writer {
    fn new(path: PathBuf, plan: Plan, control: Arc<Control>) -> Writer {
        let limits = Limits { max_size: Bytes(plan.max_size), max_file: plan.max_file };
        Writer {
            plan,
            control,
            log: RotatingLog::open(path, limits).expect("the log"),
            // As long as nobody says stop.
            incident: Incident::new(plan.seed, u64::MAX >> 8, START),
            truth: Truth::default(),
            seq: 0,
            offset: 0,
            text: Vec::new(),
            burst: Vec::new(),
            time: START,
        }
    }

    fn run(mut self) -> Truth {
        let mut due = clock::now().arrival;
        while !self.control.stop.load(Ordering::Acquire) {
            if self.control.pause.load(Ordering::Acquire) {
                self.stand_still();
                due = clock::now().arrival;
                continue;
            }
            if self.is_too_far_ahead() {
                thread::sleep(Duration::from_millis(1));
                due = clock::now().arrival;
                continue;
            }
            for _ in 0..BURST {
                self.next_line();
            }
            let written = self.burst.len() as u64;
            self.write();
            due = due + Duration::from_nanos(written * 1_000_000_000 / self.plan.rate.max(1));
            thread::sleep(due.since(clock::now().arrival));
        }
        self.truth.rotations = self.log.rotations();
        self.truth
    }

    fn stand_still(&mut self) {
        self.calm_line();
        self.write();
        self.control.paused.store(true, Ordering::Release);
        while self.control.pause.load(Ordering::Acquire) && !self.control.stop.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(1));
        }
        self.control.paused.store(false, Ordering::Release);
    }

    fn is_too_far_ahead(&self) -> bool {
        let ahead = self.seq.saturating_sub(self.control.arrived.load(Ordering::Acquire));
        self.plan.ahead_max.is_some_and(|max| ahead > max)
    }

    fn next_line(&mut self) {
        let event = self.incident.next_into(&mut self.text).expect("an incident without end");
        self.time = event.time;
        let kind = match event.kind {
            incident::Kind::Calm => Kind::Calm,
            incident::Kind::Storm if self.text.starts_with(TIMEOUT) => Kind::Timeout,
            incident::Kind::Storm => Kind::Failed,
        };
        if kind == Kind::Calm && self.truth.calm.len() % LONG_EVERY == 1 {
            self.text.resize(LONG, b'x');
        }
        self.push(kind, event.stream);
    }

    /// A calm line at the time of the one before.
    fn calm_line(&mut self) {
        self.text.clear();
        self.text.extend_from_slice(b"the writer pauses");
        self.push(Kind::Calm, IoStream::Stdout);
    }

    fn push(&mut self, kind: Kind, stream: IoStream) {
        self.seq += 1;
        Mark { src: self.plan.seed, seq: self.seq, kind }.append_to(&mut self.text);
        if kind == Kind::Calm {
            // Where it begins in the burst; `write` knows where the burst begins.
            let (seq, hash) = (self.seq, xxh3_64(&self.text));
            self.truth.calm.push(Calm { seq, hash, offset: self.burst.len() as u64 });
            self.control.calm_seq.store(seq, Ordering::Release);
        }
        self.truth.lines[kind as usize] += 1;
        json_file::append(&mut self.burst, &self.text, stream, self.time);
    }

    /// A burst stays together in one file.
    fn write(&mut self) {
        let rotations = self.log.rotations();
        self.log.write(&self.burst).expect("the disk takes it");
        if self.log.rotations() > rotations {
            self.offset = 0;
        }
        // Those of this burst are the last ones whose lines are new.
        let before = self.control.seq.load(Ordering::Acquire);
        for calm in self.truth.calm.iter_mut().rev().take_while(|calm| calm.seq > before) {
            calm.offset += self.offset;
        }
        self.offset += self.burst.len() as u64;
        self.truth.bytes += self.burst.len() as u64;
        self.burst.clear();
        self.control.seq.store(self.seq, Ordering::Release);
    }
}

/// 2026-02-06T00:10:00Z: the night of the incident.
const START: Timestamp = Timestamp(1_770_336_600 * Timestamp::SECOND);
/// Lines that are written at a time: about 12 KB, half a millisecond at 20 MB/s.
const BURST: u64 = 100;
/// How the first of the storm's lines begins.
const TIMEOUT: &[u8] = b"WebSocket connection timeout";
/// One calm line of so many is long.
const LONG_EVERY: usize = 100;
/// Longer than two of dockerd's pieces.
const LONG: usize = 40_000;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What lies on the disk is what the truth says.
    #[test]
    fn the_truth_is_on_the_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x-json.log");
        let plan = Plan { rate: u64::MAX, max_size: 100_000, ahead_max: Some(20_000), ..Plan::default() };
        let generator = Generator::start(path.clone(), plan);
        while generator.seq() < 20_000 {
            thread::sleep(Duration::from_millis(1));
        }
        let pause = generator.pause();
        assert!(pause > 20_000 && generator.seq() == pause, "{pause}");
        generator.resume();
        let truth = generator.end();

        let mut found = Truth { rotations: truth.rotations, ..Truth::default() };
        let mut seq = 0;
        for age in (0..=truth.rotations).rev() {
            let name = if age == 0 { path.clone() } else { format!("{}.{age}", path.display()).into() };
            let file = fs::read_to_string(name).expect("a file");
            found.bytes += file.len() as u64;
            let (mut offset, mut text, mut begins) = (0, String::new(), 0);
            for entry in file.split_inclusive('\n') {
                if text.is_empty() {
                    begins = offset;
                }
                offset += entry.len() as u64;
                let json: serde_json::Value = serde_json::from_str(entry).expect("JSON");
                text += json["log"].as_str().expect("text");
                let Some(line) = text.strip_suffix('\n') else { continue };
                let mark = Mark::read(line).unwrap_or_else(|| panic!("no mark: {line}"));
                seq += 1;
                assert_eq!((mark.src, mark.seq), (plan.seed, seq));
                found.lines[mark.kind as usize] += 1;
                if mark.kind == Kind::Calm {
                    found.calm.push(Calm { seq, hash: xxh3_64(line.as_bytes()), offset: begins });
                }
                text.clear();
            }
        }
        assert_eq!((found.lines, found.bytes), (truth.lines, truth.bytes));
        assert_eq!(found.calm, truth.calm);
        assert!(truth.rotations > 10 && truth.calm.len() > 500, "{} rotations", truth.rotations);
    }
}

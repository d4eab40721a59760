//! One log that is written, one state directory, one topic, one verifier.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use squall::daemon::clock;
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

use super::sidecar::{Ended, Sidecar};
use crate::rig::generator::{Calm, Generator, Plan, Truth};
use crate::rig::line::{FRESH, Kind, Mark};
use crate::rig::topic::Topic;
use crate::rig::verifier::{Report, Verifier};
use crate::support::broker::Broker;

pub(super) struct Stage {
    folder: TempDir,
    /// Where the verifier reads: always the plain listener.
    address: String,
    topic: String,
    generator: Generator,
    reader: Topic,
    verifier: Verifier,
    /// The fresh lines.
    fresh: Truth,
}

/// How it all ended.
pub(super) struct Outcome {
    /// Still there, for whoever wants to look into the state directory.
    pub(super) folder: TempDir,
    pub(super) ended: Ended,
    pub(super) truth: Truth,
    pub(super) report: Report,
}

impl Stage {
    /// Makes the topic, and begins to write the log.
    pub(super) fn open(broker: &Broker, topic: &str, plan: Plan) -> Stage {
        broker.create_topic(topic, 1, &[]);
        let folder = tempfile::tempdir().expect("a folder");
        let reader = Topic::open(broker.address(), topic);
        let generator = Generator::start(folder.path().join(LOG), plan);
        let address = broker.address().to_owned();
        let (verifier, fresh) = (Verifier::default(), Truth::default());
        Stage { folder, address, topic: topic.to_owned(), generator, reader, verifier, fresh }
    }

    /// squall, from where it was, to the broker's plain listener.
    pub(super) fn start(&self, more: &[&str]) -> Sidecar {
        self.start_to(&self.address, more)
    }

    /// squall, from where it was, to this address.
    pub(super) fn start_to(&self, address: &str, more: &[&str]) -> Sidecar {
        let (log, state) = (self.log().display().to_string(), self.path("state").display().to_string());
        let to = format!("kafka://{address}/{}", self.topic);
        let mut args = vec!["run", "--json", "--tail", &log, "--state", &state, "--to", &to];
        args.extend(more);
        Sidecar::start(&args)
    }

    /// The live log. The rotated ones have its name with something behind it.
    pub(super) fn log(&self) -> PathBuf {
        self.path(LOG)
    }

    /// Something in the stage's folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn generator(&self) -> &Generator {
        &self.generator
    }

    pub(super) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The file of the fresh lines, for `--tail`.
    pub(super) fn fresh_log(&self) -> PathBuf {
        self.path("fresh.log")
    }

    /// Writes a line of which there was none like it before.
    pub(super) fn write_fresh(&mut self) {
        let number = self.fresh.calm.len() as u64;
        // Letters that are no hexadecimal digits.
        let word: String =
            (0..6).map(|place| char::from(b'g' + (number / 20u64.pow(place) % 20) as u8)).collect();
        let mut line = format!("the {word} has never been seen").into_bytes();
        let seq = FRESH + number;
        Mark { src: 2, seq, kind: Kind::Calm }.append_to(&mut line);
        let mut log =
            OpenOptions::new().append(true).create(true).open(self.fresh_log()).expect("the fresh log");
        let offset = log.metadata().expect("the fresh log").len();
        self.fresh.calm.push(Calm { seq, hash: xxh3_64(&line), offset });
        self.fresh.lines[Kind::Calm as usize] += 1;
        line.push(b'\n');
        log.write_all(&line).expect("room");
    }

    /// Detail may be lost from now on, but no count.
    pub(super) fn expect_only_counts(&mut self) {
        self.verifier.expect_only_counts();
    }

    /// Reads the topic until a line has come word for word that was written after this.
    #[track_caller]
    pub(super) fn wait_for_newer_line(&mut self, sidecar: &Sidecar) {
        let now = self.generator.seq();
        self.wait_until("a newer line", sidecar, |verifier| verifier.newest_line() > now);
    }

    /// Reads the topic for so long.
    pub(super) fn watch(&mut self, time: Duration) {
        let until = clock::now().arrival + time;
        loop {
            let left = until.since(clock::now().arrival);
            if left.is_zero() {
                break;
            }
            self.poll(left.min(LOOK));
        }
    }

    /// Reads the topic until records have come that had not been there.
    #[track_caller]
    pub(super) fn wait_for_lines(&mut self, more: u64, sidecar: &Sidecar) {
        let want = self.verifier.lines() + more;
        self.wait_until("more lines", sidecar, |verifier| verifier.lines() >= want);
    }

    /// Stops the writer until [`Generator::resume`], and waits until everything written has been read and all records of
    /// it have arrived. Lines that are folded are still in their windows.
    #[track_caller]
    pub(super) fn settle(&mut self, sidecar: &Sidecar) {
        let last = self.generator.pause();
        self.wait_for_line(last, sidecar);
    }

    #[track_caller]
    fn wait_for_line(&mut self, line: u64, sidecar: &Sidecar) {
        self.wait_until(&format!("line {line}"), sidecar, |verifier| verifier.newest_line() >= line);
    }

    #[track_caller]
    fn wait_until(&mut self, what: &str, sidecar: &Sidecar, is_so: impl Fn(&Verifier) -> bool) {
        let (mut lines, mut since) = (self.verifier.lines(), clock::now().arrival);
        while !is_so(&self.verifier) {
            self.poll(LOOK);
            let now = clock::now().arrival;
            if self.verifier.lines() > lines {
                (lines, since) = (self.verifier.lines(), now);
            }
            if now.since(since) >= QUIET_MAX {
                let (standing, messages) = (self.reader.standing(), sidecar.messages().join("\n"));
                panic!("waited for {what}, after {lines} lines; {standing}:\n{messages}");
            }
        }
    }

    fn poll(&mut self, wait: Duration) {
        let verifier = &mut self.verifier;
        if self.reader.poll(wait, &mut |record| verifier.take(record)) {
            // What is at hand, without a look at the clock for each.
            for _ in 0..1_000 {
                if !self.reader.poll(Duration::ZERO, &mut |record| verifier.take(record)) {
                    break;
                }
            }
            self.generator.has_arrived(self.verifier.newest_line());
        }
    }

    /// Reads all that stands in the topic now.
    #[track_caller]
    pub(super) fn drain(&mut self) {
        let verifier = &mut self.verifier;
        self.reader.drain(&mut |record| verifier.take(record));
    }

    /// Reads from now on a topic that has been deleted and made again under the same name. What had come stays known.
    pub(super) fn open_topic_again(&mut self) {
        self.reader = Topic::open(&self.address, &self.topic);
    }

    /// Ends the log, waits until all of it has arrived, asks squall to end, and holds everything against the truth.
    #[track_caller]
    pub(super) fn finish(mut self, sidecar: Sidecar) -> Outcome {
        let last = self.generator.pause();
        self.wait_for_line(last, &sidecar);
        sidecar.terminate();
        let ended = sidecar.end();
        self.drain();
        let mut truth = self.generator.end();
        truth.calm.append(&mut self.fresh.calm);
        truth.lines[Kind::Calm as usize] += self.fresh.lines[Kind::Calm as usize];
        let report = self.verifier.finish(&truth);
        Outcome { folder: self.folder, ended, truth, report }
    }
}

impl Outcome {
    /// Nothing missing, nothing twice, the books balance over all lives of squall, and everything has left.
    #[track_caller]
    pub(super) fn expect_exact(&self) -> &Outcome {
        self.report.expect_exact();
        assert_eq!(self.ended.code, Some(0), "{:#?}", self.ended);
        let names = ["conservation_error", "lines_in", "lines_open", "lines_partial", "records_undelivered"];
        let ledger = names.map(|name| self.ended.number(name));
        assert_eq!(ledger, [0, self.truth.total(), 0, 0, 0], "{names:?}: {:#?}", self.ended.ledger());
        self
    }
}

const LOG: &str = "x-json.log";
const LOOK: Duration = Duration::from_millis(20);
/// How long nothing new may arrive while something is waited for: longer than any back-off.
const QUIET_MAX: Duration = Duration::from_secs(60);

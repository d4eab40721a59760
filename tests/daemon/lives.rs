//! Several lives of the real program over one state directory, and what happens to the log in between.
//!
//! Every line says who it is. After each life the state directory must hold (`squall audit`), and after the last one
//! every line must have come exactly once: word for word, or counted in a summary or notice.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::process::Signal;
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

use crate::rig::generator::{Calm, Truth};
use crate::rig::line::{Kind, Mark};
use crate::rig::verifier::Verifier;
use crate::support::process::{Running, run, squall};
use crate::support::records::split_ledger;

/// How lines are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Plain,
    Cri,
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    /// So many lines are appended; every twentieth is a calm one, and the last.
    Write(u64),
    /// The beginning of a line, as a piece of its own where the form has pieces.
    Begin,
    /// The rest of it.
    Finish,
    /// The clock that stamps the lines jumps by so many seconds.
    Clock(i64),
    /// Renamed, and created anew; older ones move up.
    Rotate,
    /// Copied to `.1`, and emptied.
    CopyTruncate,
    /// Deleted, and created anew.
    Recreate,
    /// Emptied.
    Empty,
    /// The rotated file `.1` is compressed.
    Gzip,
    /// squall reads to the end of the files.
    Eof(&'a [&'a str]),
    /// squall follows, has shipped the newest calm line, and is asked to end.
    Term(&'a [&'a str]),
    /// The same, but killed.
    Kill(&'a [&'a str]),
    /// squall is killed as soon as it has shipped anything new.
    KillEarly(&'a [&'a str]),
}

impl Step<'_> {
    /// A life that reads all there is.
    fn is_whole(self) -> bool {
        matches!(self, Eof(_) | Term(_) | Kill(_))
    }
}

/// A log, a state directory, and the truth.
pub(super) struct World {
    folder: TempDir,
    form: Form,
    pub(super) truth: Truth,
    seq: u64,
    /// Milliseconds since the epoch, for the next line.
    clock: i64,
    /// The line of which only the beginning was written: its text, how much of it, and where it began.
    begun: Option<(Vec<u8>, usize, u64)>,
}

impl World {
    pub(super) fn new(form: Form) -> World {
        let folder = tempfile::tempdir().expect("a folder");
        File::create(folder.path().join(LOG)).expect("a log");
        World { folder, form, truth: Truth::default(), seq: 0, clock: 1_770_336_600_000, begun: None }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    #[track_caller]
    fn step(&mut self, step: Step<'_>) {
        let old = |age: u32| self.path(&format!("{LOG}.{age}"));
        let exact = "our own files";
        match step {
            Step::Write(lines) => self.write(lines),
            Step::Begin => self.begin(),
            Step::Finish => self.finish_line(),
            Step::Clock(seconds) => self.clock += seconds * 1000,
            Step::Rotate => {
                for age in (1..5).rev().filter(|age| old(*age).exists()) {
                    fs::rename(old(age), old(age + 1)).expect(exact);
                }
                fs::rename(self.path(LOG), old(1)).expect(exact);
                File::create(self.path(LOG)).expect(exact);
            }
            Step::CopyTruncate => {
                fs::copy(self.path(LOG), old(1)).expect(exact);
                self.step(Step::Empty);
            }
            Step::Recreate => {
                fs::remove_file(self.path(LOG)).expect(exact);
                File::create(self.path(LOG)).expect(exact);
            }
            Step::Empty => {
                let log = OpenOptions::new().write(true).open(self.path(LOG)).expect(exact);
                log.set_len(0).expect(exact);
            }
            Step::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(&fs::read(old(1)).expect(exact)).expect("memory");
                fs::write(self.path(&format!("{LOG}.1.gz")), encoder.finish().expect("memory")).expect(exact);
                fs::remove_file(old(1)).expect(exact);
            }
            Step::Eof(more) => {
                run(self.folder.path(), args(self.form, more).into_iter().chain(["--until-eof"]))
                    .expect_code(0);
                self.audit();
            }
            Step::Term(more) => {
                let sidecar = self.start(more, false);
                sidecar.signal(Signal::TERM);
                sidecar.end().expect_code(0);
                self.audit();
            }
            Step::Kill(more) => {
                drop(self.start(more, false));
                self.audit();
            }
            Step::KillEarly(more) => {
                drop(self.start(more, true));
                self.audit();
            }
        }
    }

    /// squall, once it has shipped the newest calm line, or anything at all.
    #[track_caller]
    fn start(&self, more: &[&str], early: bool) -> Running {
        let size = || self.outs().iter().map(Vec::len).sum::<usize>();
        let before = size();
        let mut sidecar = Running::start(&mut self.squall(more));
        // Our signal must find it waiting for signals, not starting.
        sidecar.wait_until("records", |sidecar| {
            sidecar.threads() >= 3 && (early && size() > before || self.has_newest())
        });
        sidecar
    }

    /// The program that follows the log.
    pub(super) fn squall(&self, more: &[&str]) -> Command {
        squall(self.folder.path(), args(self.form, more))
    }

    fn outs(&self) -> [Vec<u8>; 2] {
        ["out", "other"].map(|name| fs::read(self.path(name)).unwrap_or_default())
    }

    /// Whether the newest calm line has been shipped.
    pub(super) fn has_newest(&self) -> bool {
        let newest = self.truth.calm.last().map_or(0, |calm| calm.seq);
        let mark = format!(" seq={newest} t=c ");
        newest == 0 || self.outs().iter().any(|out| memchr::memmem::find(out, mark.as_bytes()).is_some())
    }

    #[track_caller]
    pub(super) fn audit(&self) {
        let audit = run(self.folder.path(), ["audit", "state", "--json"]);
        assert!(audit.stdout.contains("\"holds\":true"), "{}{}", audit.stdout, audit.stderr);
        audit.expect_code(0);
    }

    pub(super) fn write(&mut self, lines: u64) {
        for line in 1..=lines {
            let kind = match line {
                _ if line % 20 == 0 || line == lines => Kind::Calm,
                _ if line % 2 == 0 => Kind::Timeout,
                _ => Kind::Failed,
            };
            let text = self.next_text(kind);
            self.push(&text, b"F", b"\n");
        }
    }

    fn begin(&mut self) {
        let text = self.next_text(Kind::Calm);
        // Its place is known when it has begun, its end counts when it is written.
        let calm = self.truth.calm.pop().expect("it is calm");
        let at = text.len() / 2;
        let newline: &[u8] = if self.form == Form::Cri { b"\n" } else { b"" };
        self.push(&text[..at], b"P", newline);
        self.begun = Some((text, at, calm.offset));
    }

    fn finish_line(&mut self) {
        let (text, at, offset) = self.begun.take().expect("a line has begun");
        let seq = self.seq;
        match self.form {
            Form::Plain => self.append(&[&text[at..], b"\n"].concat()),
            Form::Cri => self.push(&text[at..], b"F", b"\n"),
        }
        self.truth.calm.push(Calm { seq, hash: xxh3_64(&text), offset });
    }

    /// The next line, which is true from now on.
    fn next_text(&mut self, kind: Kind) -> Vec<u8> {
        self.seq += 1;
        self.clock += 1;
        let mut text = match (kind, self.form) {
            // A template of its own: letters that are no hexadecimal digits.
            (Kind::Calm, _) => format!("job {} is done", letters(self.seq)).into_bytes(),
            (Kind::Timeout, _) => b"connection timeout".to_vec(),
            (Kind::Failed, _) => b"reconnect failed".to_vec(),
        };
        if self.form == Form::Plain {
            text.splice(0..0, format!("{} ", self.time()).into_bytes());
        }
        Mark { src: 1, seq: self.seq, kind }.append_to(&mut text);
        self.truth.lines[kind as usize] += 1;
        if kind == Kind::Calm {
            let offset = fs::metadata(self.path(LOG)).expect("the log").len();
            self.truth.calm.push(Calm { seq: self.seq, hash: xxh3_64(&text), offset });
        }
        text
    }

    fn time(&self) -> String {
        jiff::Timestamp::from_millisecond(self.clock).expect("a time").to_string()
    }

    /// Lets squall finish, and holds everything against the truth.
    #[track_caller]
    pub(super) fn finish(&self) {
        let ended = Running::start(self.squall(&[]).arg("--until-eof")).end();
        let (_, ledger) = split_ledger(&ended.expect_code(0).stdout);
        self.audit();
        let mut verifier = Verifier::default();
        for out in self.outs() {
            let lines = out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            lines.for_each(|record| verifier.take(record));
        }
        verifier.finish(&self.truth).expect_exact();
        let names = ["lines_in", "lines_open", "lines_partial", "conservation_error", "records_undelivered"];
        let books = names.map(|name| ledger[name].as_u64());
        assert_eq!(books, [self.truth.total(), 0, 0, 0, 0].map(Some), "{names:?}");
    }

    fn push(&self, text: &[u8], flag: &[u8], newline: &[u8]) {
        let prefix = match self.form {
            Form::Plain => Vec::new(),
            Form::Cri => [self.time().as_bytes(), b" stdout ", flag, b" "].concat(),
        };
        self.append(&[&prefix, text, newline].concat());
    }

    fn append(&self, bytes: &[u8]) {
        let mut log = OpenOptions::new().append(true).open(self.path(LOG)).expect("the log");
        log.write_all(bytes).expect("room");
    }
}

fn args<'a>(form: Form, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["run", "--tail", LOG, "--json"];
    args.extend(["--format", if form == Form::Cri { "cri" } else { "plain" }]);
    if !more.contains(&"--to") {
        args.extend(["--to", "file:out"]);
    }
    args.extend(more);
    args
}

/// A number as a word that only it has.
fn letters(number: u64) -> String {
    (0..5).map(|place| char::from(b'g' + (number / 20u64.pow(place) % 20) as u8)).collect()
}

/// Goes through the steps, and then lets squall finish.
#[track_caller]
fn check(form: Form, steps: &[Step<'_>]) {
    let mut world = World::new(form);
    eprintln!("{steps:?}");
    steps.iter().for_each(|step| world.step(*step));
    world.finish();
}

const LOG: &str = "app.log";
/// A window that no life is long enough to close.
const LONG: &[&str] = &["--set", "storm.summary_every=1h", "--set", "storm.summary_every_max=1h"];

use Step::*;

#[test]
fn fault_036_lives_end_in_every_way() {
    check(Form::Plain, &[Write(500), Kill(&[]), Write(500), Term(&[]), Write(500), Eof(&[])]);
    check(Form::Plain, &[Write(20_000), KillEarly(&[]), KillEarly(&[]), Write(9), KillEarly(&[]), Term(&[])]);
    check(Form::Cri, &[Write(20_000), KillEarly(&[]), Write(500), Kill(&[]), Kill(&[]), Eof(&[]), Eof(&[])]);
}

#[test]
fn fault_037_a_window_stays_open_over_every_end() {
    let steps =
        [Write(700), Kill(LONG), Write(300), Term(LONG), Write(300), Kill(LONG), Write(300), Eof(LONG)];
    check(Form::Plain, &steps);
    check(Form::Cri, &steps);
}

/// Each way to end a life, followed by each.
fn ends() -> impl Iterator<Item = [End; 2]> {
    let all: [End; 4] = [Kill, Term, Eof, KillEarly];
    all.into_iter().flat_map(move |first| all.map(|then| [first, then]))
}

type End = fn(&'static [&'static str]) -> Step<'static>;

#[test]
fn fault_001_lives_and_rotations() {
    for [end, then] in ends() {
        check(Form::Plain, &[Write(400), end(&[]), Write(50), Rotate, Write(300), then(&[]), Write(40)]);
        let twice =
            [Write(400), end(&[]), Write(50), Rotate, Write(60), Rotate, Write(70), then(&[]), Rotate];
        check(Form::Plain, &twice);
        check(
            Form::Cri,
            &[Write(2_000), KillEarly(&[]), Rotate, Rotate, Write(9), end(&[]), Rotate, Write(9)],
        );
    }
}

#[test]
fn fault_002_lives_and_files_that_are_emptied() {
    for [end, then] in ends() {
        // What an early kill has not read is lost with the file.
        let kept = if end(&[]).is_whole() { 400 } else { 0 };
        check(Form::Plain, &[Write(400), end(&[]), Write(90), CopyTruncate, Write(60), then(&[]), Write(40)]);
        check(
            Form::Plain,
            &[Write(kept), end(&[]), Empty, Write(60), Term(&[]), Empty, then(&[]), Write(500)],
        );
        check(Form::Plain, &[Write(kept / 8), end(&[]), Empty, Write(400), then(&[]), Write(10)]);
    }
}

#[test]
fn fault_010_lives_and_a_file_made_anew() {
    for [end, then] in ends().filter(|ends| ends[0](&[]).is_whole()) {
        check(Form::Plain, &[Write(400), end(&[]), Recreate, Write(60), then(&[]), Write(500)]);
        check(
            Form::Plain,
            &[Write(400), then(&[]), Eof(&[]), Recreate, Write(60), end(&[]), Recreate, Write(9)],
        );
    }
}

#[test]
fn fault_011_lives_and_compression() {
    for [end, then] in ends() {
        let steps = [Write(3_000), end(&[]), Write(90), Rotate, Gzip, Write(60), then(&[]), Write(40)];
        check(Form::Plain, &steps);
        check(Form::Cri, &steps);
        // Nothing was written in between.
        check(Form::Plain, &[Write(900), end(&[]), Eof(&[]), Rotate, Gzip, Write(60), then(&[]), Write(40)]);
    }
}

#[test]
fn lives_with_other_settings() {
    let all = ["never", "repeats", "storms", "always"];
    for (first, then) in all.iter().flat_map(|first| all.map(|then| (*first, then))) {
        let [first, then] = [first, then].map(|collapse| ["--collapse", collapse]);
        let steps = [Write(400), Kill(&first), Write(300), Term(&then), Write(200), Eof(&first), Write(40)];
        check(Form::Plain, &steps);
    }
    // A saved position wins.
    let from_end = ["--from", "end"];
    check(Form::Plain, &[Write(400), Kill(&[]), Write(300), Term(&from_end), Write(50), Eof(&from_end)]);
}

#[test]
fn lives_with_other_destinations() {
    let other = ["--to", "file:other"];
    check(Form::Plain, &[Write(9_000), KillEarly(&[]), Write(300), Term(&other), Write(50), Kill(&[])]);
    check(Form::Plain, &[Write(9_000), Kill(LONG), Write(300), KillEarly(&other), Kill(&other), Eof(LONG)]);
}

#[test]
fn fault_035_lives_and_a_clock_that_jumps() {
    for seconds in [-7_200, -5, 5, 7_200] {
        let clock = Clock(seconds);
        check(
            Form::Plain,
            &[Write(400), Kill(LONG), clock, Write(300), Term(&[]), clock, Write(300), Kill(&[])],
        );
        check(
            Form::Cri,
            &[Write(400), clock, Write(400), Kill(LONG), Write(300), clock, Write(90), Eof(&[])],
        );
    }
}

#[test]
fn fault_025_lives_in_the_middle_of_a_line() {
    for end in [Kill, Term] {
        check(
            Form::Plain,
            &[Write(40), Begin, end(&[]), Finish, Write(9), end(&[]), Begin, end(&[]), Finish],
        );
        check(Form::Plain, &[Write(40), end(&[]), Begin, end(&[]), end(&[]), Finish, end(&[]), Write(9)]);
    }
}

#[test]
fn fault_013_lives_between_the_pieces_of_a_line() {
    for end in [Kill, Term] {
        check(Form::Cri, &[Write(40), Begin, end(&[]), Finish, Write(9), end(&[]), Begin, end(&[]), Finish]);
        check(Form::Cri, &[Write(40), Begin, end(&[]), Rotate, Finish, Write(9), end(&[]), Write(9)]);
        check(Form::Cri, &[Write(40), end(&[]), Begin, Rotate, Finish, Write(9), end(&[]), Write(9)]);
        check(Form::Cri, &[Write(40), Begin, end(&[]), Rotate, end(&[]), Finish, Write(9), Rotate, end(&[])]);
    }
}

//! Real logs with labels (LogHub 2k): does one template id stand for one event?
//!
//! The data set is not ours to vendor; the test reads it beside the repository, or where `SQUALL_TEST_LOGHUB` says,
//! and says loudly when it is not there.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use squall::engine::chunk::Chunk;
use squall::engine::frame::Format;
use squall::engine::storm::window::ClosedBy;
use squall::engine::{Engine, Options, Source};
use squall::units::{Monotonic, Now, Timestamp};

use crate::support::process::run;

const SETS: [&str; 10] =
    ["Android", "Apache", "BGL", "HDFS", "Hadoop", "HealthApp", "OpenSSH", "Spark", "Windows", "Zookeeper"];

/// Lines of a group that pass before it is folded.
const FIRST: usize = 5;

#[derive(Debug, Default)]
struct Quality {
    lines: usize,
    /// Events of which no line at all is shown.
    lost: usize,
    /// Events whose first line falls into a group that was there before.
    hidden: usize,
    /// Lines in groups that hold one event only.
    pure: usize,
    /// Lines and summaries that would be sent.
    emitted: usize,
    /// Lines whose group holds all lines of one event and no others (GA), and the same for groups (FGA).
    grouped: f64,
    grouped_f1: f64,
}

/// What the ten sets together come to.
#[derive(Debug, Default)]
struct Sum {
    purity: f64,
    emitted: usize,
    grouped: f64,
    grouped_f1: f64,
}

impl Sum {
    fn add(&mut self, found: &Quality) {
        let sets = SETS.len() as f64;
        self.purity += found.pure as f64 / found.lines as f64 / sets;
        self.emitted += found.emitted;
        self.grouped += found.grouped / sets;
        self.grouped_f1 += found.grouped_f1 / sets;
    }
}

/// Where the sets are; says it when they are nowhere.
fn sets() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/loghub-2k");
    let sets = std::env::var_os("SQUALL_TEST_LOGHUB").map_or(beside, PathBuf::from);
    if !sets.is_dir() {
        // Past the test harness, which would keep it to itself.
        let _ = writeln!(
            std::io::stderr(),
            "\nskipped: no LogHub 2k in {}; name it with SQUALL_TEST_LOGHUB",
            sets.display()
        );
        return None;
    }
    Some(sets)
}

#[test]
fn one_template_is_one_event() {
    let Some(sets) = sets() else { return };
    let (mut templates, mut families) = (Sum::default(), Sum::default());
    let (mut sent, mut sent_alone) = (0, 0);
    for name in SETS {
        let log = sets.join(format!("{name}_2k.log"));
        let log = log.to_str().expect("a plain path");
        let ended = run(&sets, ["templates", "--assign=families", "--format", "plain", log]);
        let ids: Vec<(&str, &str)> =
            ended.expect_code(0).stdout.lines().filter_map(|line| line.split_once(' ')).collect();
        let labels = fs::read_to_string(sets.join(format!("{name}_2k.log_structured.csv"))).expect("labels");
        let events = column(&labels, "EventId");
        let found = quality(&events, ids.iter().map(|(template, _)| *template));
        eprintln!("{name}: {found:?}");
        assert_eq!((found.lines, found.lost, found.hidden), (2_000, 0, 0), "{name}: {found:?}");
        templates.add(&found);
        let with_families = quality(&events, ids.iter().map(|(_, family)| *family));
        eprintln!("{name} with families: {with_families:?}");
        families.add(&with_families);
        sent += sent_by_the_engine(log, name, &events, "storm.families=true");
        sent_alone += sent_by_the_engine(log, name, &events, "storm.families=false");
    }
    eprintln!("templates: {templates:?}\nfamilies: {families:?}");
    eprintln!("the engine sends {sent} records, and {sent_alone} without families");
    assert!(templates.purity >= 0.999 && families.purity >= 0.995, "{templates:?} {families:?}");
    assert!(templates.emitted <= 2_600, "{templates:?}");
    assert!(families.emitted <= 2_300, "{families:?}");
    // It sends more than the tool counts: new values of enum-like variables too.
    assert!(sent <= 2_700 && sent < sent_alone, "{sent}, {sent_alone} without families");
}

/// What the running engine sends of a set when it folds all it may. The lines are given times of their own, 1 ms apart, so
/// that each template has one episode: what is measured is the grouping, not the pace of the log.
///
/// The first line of each event must be among it: a family never takes the first line of a template.
fn sent_by_the_engine(log: &str, name: &str, events: &[String], setting: &str) -> usize {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = fs::read(log).expect("the log");
    let (mut wrapped, mut offsets) = (String::new(), Vec::new());
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        offsets.push(wrapped.len() as u64);
        let line = serde_json::Value::from(String::from_utf8_lossy(line));
        let (second, millisecond) = (number / 1000, number % 1000);
        wrapped += &format!(
            "{{\"log\":{line},\"stream\":\"stdout\",\"time\":\"2026-02-06T00:00:{second:02}.{millisecond:03}Z\"}}\n"
        );
    }
    fs::write(folder.path().join("set.log"), wrapped).expect("a log");
    let args = ["run", "--tail", "set.log", "--format", "docker", "--collapse", "always", "--until-eof"];
    run(
        folder.path(),
        args.into_iter().chain(["--to", "file:out.json", "--state", "state", "--set", setting]),
    )
    .expect_code(0);
    let records = fs::read_to_string(folder.path().join("out.json")).expect("records");
    let records: Vec<serde_json::Value> =
        records.lines().map(|line| serde_json::from_str(line).expect("a record")).collect();
    let lines = records.iter().filter(|record| record["squall"]["kind"] == "line");
    let sent: HashSet<u64> = lines.filter_map(|record| record["log"]["offset"].as_u64()).collect();
    let mut seen = HashSet::new();
    for (event, offset) in events.iter().zip(&offsets) {
        let is_first = seen.insert(event);
        assert!(!is_first || sent.contains(offset), "{name}: the first line of {event} was not sent");
    }
    records.len()
}

/// Loops that are told of the ten sets. Hadoop's are true ones: `LeaseRenewer` cannot reach its server and says every
/// second that it will retry shortly, and the IPC client is `Retrying connect to server` every two. The others hold none.
#[test]
fn loops_are_told_where_there_are_some() {
    const TRUE_ONES: [(&str, usize); 1] = [("Hadoop", 2)];
    let Some(sets) = sets() else { return };
    for name in SETS {
        let log = sets.join(format!("{name}_2k.log"));
        let mut engine = Engine::new(Options::default());
        let origin =
            engine.open(Source { name: name.to_owned(), format: Format::Plain, ..Source::default() });
        let now = Now { arrival: Monotonic(0), wall: Timestamp(1_770_336_600 * Timestamp::SECOND) };
        let text = fs::read(log).expect("a log");
        engine.push(Chunk { origin, offset: 0, bytes: &text }, now);
        engine.finish(ClosedBy::End, now);
        let records = engine.batch().iter().map(|(_, record)| record);
        let records = records.map(|record| serde_json::from_slice::<Value>(record).expect("JSON"));
        let loops: Vec<Value> = records.filter(|record| record["squall"]["kind"] == "loop").collect();
        for told in loops.iter().filter(|told| told["squall"]["state"] == "closed") {
            eprintln!("{name}: {} {}", told["message"], told["squall"]["intervals"]);
        }
        let want = TRUE_ONES.iter().find(|(set, _)| *set == name).map_or(0, |(_, loops)| *loops);
        assert_eq!(engine.ledger().loops, want as u64, "{name}: {loops:#?}");
    }
}

fn quality<'a>(events: &[String], ids: impl Iterator<Item = &'a str>) -> Quality {
    let ids: Vec<&str> = ids.collect();
    assert_eq!(events.len(), ids.len(), "one id a line");
    let mut whole: HashMap<&str, usize> = HashMap::new();
    events.iter().for_each(|event| *whole.entry(event).or_default() += 1);
    let mut groups: HashMap<&str, (usize, HashSet<&str>)> = HashMap::new();
    let (mut seen, mut shown) = (HashSet::new(), HashSet::new());
    let mut found = Quality { lines: ids.len(), ..Quality::default() };
    for (event, id) in events.iter().zip(ids) {
        let is_new = seen.insert(event.as_str());
        found.hidden += usize::from(is_new && groups.contains_key(id));
        let (size, kinds) = groups.entry(id).or_default();
        *size += 1;
        kinds.insert(event);
        if *size <= FIRST {
            shown.insert(event.as_str());
        }
    }
    found.lost = seen.len() - shown.len();
    let mut right = 0.0;
    for (size, kinds) in groups.values() {
        found.emitted += (*size).min(FIRST) + usize::from(*size > FIRST);
        if kinds.len() > 1 {
            continue;
        }
        found.pure += *size;
        if kinds.iter().all(|event| whole[event] == *size) {
            right += 1.0;
            found.grouped += *size as f64 / events.len() as f64;
        }
    }
    found.grouped_f1 = 2.0 * right / (groups.len() + seen.len()) as f64;
    found
}

/// One column of a CSV file, found by its heading. Quoted fields may hold commas, quotes and newlines.
fn column(csv: &str, heading: &str) -> Vec<String> {
    let mut rows = vec![vec![String::new()]];
    let mut is_quoted = false;
    let mut chars = csv.chars().peekable();
    while let Some(letter) = chars.next() {
        let row = rows.last_mut().expect("at least one");
        match letter {
            '"' if is_quoted && chars.peek() == Some(&'"') => {
                chars.next();
                row.last_mut().expect("at least one").push('"');
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => row.push(String::new()),
            '\n' if !is_quoted => rows.push(vec![String::new()]),
            '\r' if !is_quoted => {}
            other => row.last_mut().expect("at least one").push(other),
        }
    }
    let at = rows[0].iter().position(|name| name == heading).expect("the heading is there");
    rows.iter().skip(1).filter_map(|row| row.get(at)).cloned().collect()
}

#[test]
fn columns_of_a_csv() {
    let csv = "a,EventId,c\r\n1,E1,\"x, \"\"y\"\"\n z\"\n2,E2,\n";
    assert_eq!(column(csv, "EventId"), ["E1", "E2"]);
    assert_eq!(column(csv, "c"), ["x, \"y\"\n z", ""]);
}

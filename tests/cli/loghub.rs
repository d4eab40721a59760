//! Real logs with labels (LogHub 2k): does one template id stand for one event?
//!
//! The data set is not ours to vendor; the test reads it beside the repository, or where `SQUALL_TEST_LOGHUB` says,
//! and says loudly when it is not there.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

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
}

#[test]
fn one_template_is_one_event() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/loghub-2k");
    let sets = std::env::var_os("SQUALL_TEST_LOGHUB").map_or(beside, PathBuf::from);
    if !sets.is_dir() {
        // Past the test harness, which would keep it to itself.
        let _ = writeln!(
            std::io::stderr(),
            "\nskipped: no LogHub 2k in {}; name it with SQUALL_TEST_LOGHUB",
            sets.display()
        );
        return;
    }
    let (mut purity, mut emitted) = (0.0, 0);
    for name in SETS {
        let log = sets.join(format!("{name}_2k.log"));
        let ended =
            run(&sets, ["templates", "--assign", "--format", "plain", log.to_str().expect("a plain path")]);
        let ids: Vec<&str> = ended.expect_code(0).stdout.lines().collect();
        let labels = fs::read_to_string(sets.join(format!("{name}_2k.log_structured.csv"))).expect("labels");
        let events = column(&labels, "EventId");
        let found = quality(&events, &ids);
        eprintln!("{name}: {found:?}");
        assert_eq!((found.lines, found.lost, found.hidden), (2_000, 0, 0), "{name}: {found:?}");
        purity += found.pure as f64 / found.lines as f64 / SETS.len() as f64;
        emitted += found.emitted;
    }
    assert!(purity >= 0.999, "pure on average: {purity}");
    assert!(emitted <= 2_600, "emitted in all ten: {emitted}");
}

fn quality(events: &[String], ids: &[&str]) -> Quality {
    assert_eq!(events.len(), ids.len(), "one id a line");
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
    for (size, kinds) in groups.values() {
        found.pure += if kinds.len() == 1 { *size } else { 0 };
        found.emitted += (*size).min(FIRST) + usize::from(*size > FIRST);
    }
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

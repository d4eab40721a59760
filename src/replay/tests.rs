//! Files, plain and packed, rotated and side by side.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::*;
use crate::engine::alert::rule::{By, Compare, Filter, Limit, Measure, Rule, Text, When};
use crate::engine::storm::Collapse;
use crate::report::draft::Draft;
use crate::report::html::Html;
use crate::report::markdown::Markdown;
use crate::report::text::Text as Terminal;

/// The present, as far as these tests are concerned.
const NOW: Timestamp = Timestamp(1_795_258_800 * Timestamp::SECOND);

struct Room(TempDir);

impl Room {
    fn new() -> Room {
        Room(tempfile::tempdir().expect("a folder"))
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("room");
        path
    }

    fn pack(&self, name: &str, text: &str) -> PathBuf {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(text.as_bytes()).expect("memory");
        let path = self.0.path().join(name);
        fs::write(&path, packed.finish().expect("memory")).expect("room");
        path
    }
}

fn source(path: &Path) -> Source {
    Source { name: path.display().to_string(), stays: true, ..Source::default() }
}

/// What comes out: the messages of line records in their order, and all errors.
fn replay(paths: &[PathBuf]) -> (Replay, Vec<String>, Vec<ReplayError>) {
    let unfolded = |path: &Path| Source { folding: Collapse::Never.into(), ..source(path) };
    let mut replay = Replay::open(paths, unfolded, Options::default(), NOW).expect("they can be opened");
    let (mut messages, mut errors) = (Vec::new(), Vec::new());
    let mut sink = |batch: &Batch| {
        for (_, bytes) in batch.iter() {
            let record: serde_json::Value = serde_json::from_slice(bytes)?;
            messages.push(record["message"].as_str().unwrap_or_default().to_owned());
        }
        Ok(())
    };
    loop {
        match replay.step(&mut sink) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => errors.push(error),
        }
        assert!(errors.len() < 10, "a failure ends the file");
    }
    replay.finish(&mut sink).expect("memory");
    assert_eq!(replay.ledger().conservation_error, 0);
    assert_eq!(replay.ledger().lines_in.0, messages.len() as u64);
    (replay, messages, errors)
}

#[track_caller]
fn check(paths: &[PathBuf], want: &[&str]) {
    let (_, got, errors) = replay(paths);
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(got, want);
}

#[test]
fn one_file() {
    let room = Room::new();
    check(&[room.write("empty", "")], &[]);
    check(&[room.write("a", "one\n\ntwo")], &["one", "", "two"]);
    check(&[room.pack("whatever", "one\ntwo\n")], &["one", "two"]);
}

#[test]
fn a_rotated_set_is_one_log_in_order() {
    let room = Room::new();
    let line = |minute: u32, text: &str| format!("2026-02-06T10:{minute:02}:00Z {text}\n");
    let new = room.write("app.log", &line(30, "newest"));
    let old = room.write("app.log.1", &line(20, "older"));
    let oldest = room.pack("app.log.2.gz", &line(10, "oldest"));
    let want = ["2026-02-06T10:10:00Z oldest", "2026-02-06T10:20:00Z older", "2026-02-06T10:30:00Z newest"];
    check(&[new.clone(), oldest.clone(), old.clone()], &want);
    assert_eq!(replay(&[new, oldest, old]).0.sets.len(), 1);
    // Names decide where lines have no times.
    let files = [room.write("b.log", "3\n"), room.write("b.log.1", "2\n"), room.write("b.log.2", "1\n")];
    check(&files, &["1", "2", "3"]);
}

#[test]
fn logs_are_merged_by_time() {
    let room = Room::new();
    let lines = |from: u32, step: u32| -> String {
        (0..20_000u32)
            .map(|n| {
                let second = from + n * step;
                format!("2026-02-06T{:02}:{:02}:{:02}Z x {n}\n", second / 3600, second / 60 % 60, second % 60)
            })
            .collect()
    };
    let (early, late) = (room.write("early.log", &lines(0, 2)), room.write("late.log", &lines(20_000, 1)));
    let (replay, messages, errors) = replay(&[late, early]);
    assert!(errors.is_empty());
    assert_eq!(messages.len(), 40_000);
    let story = replay.story();
    assert_eq!(crate::report::date_time(story.first), "2026-02-06 00:00:00");
    // A piece holds some thousand lines; within that the order is right.
    let minutes: Vec<u32> = messages
        .iter()
        .map(|message| {
            let number = |at: usize| message[at..at + 2].parse::<u32>().expect("digits");
            number(11) * 60 + number(14)
        })
        .collect();
    let backwards = minutes.windows(2).map(|pair| pair[0].saturating_sub(pair[1])).max();
    assert!(backwards.is_some_and(|backwards| backwards < 200), "{backwards:?} minutes");
    assert_eq!(story.volume.counts.iter().sum::<u64>(), 40_000);
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_read() {
    let room = Room::new();
    let text: String = (0..5_000).map(|n| format!("line {n} {}\n", n * 7919)).collect();
    let cut = room.pack("cut.gz", &text);
    let size = fs::metadata(&cut).expect("it is there").len();
    File::options().write(true).open(&cut).and_then(|file| file.set_len(size / 2)).expect("it can be cut");
    let good = room.write("good.log", "fine\n");
    let (_, messages, errors) = replay(&[cut.clone(), good.clone()]);
    assert!(messages.contains(&"fine".to_owned()) && messages.len() > 100);
    let [ReplayError::Io { path, .. }] = errors.as_slice() else { panic!("{errors:?}") };
    assert_eq!(*path, cut);

    let open = |paths: &[PathBuf]| Replay::open(paths, source, Options::default(), NOW).err();
    let folder = room.0.path().to_owned();
    let missing = folder.join("missing");
    assert!(matches!(open(&[good.clone(), missing]), Some(ReplayError::Io { action: "open", .. })));
    assert!(matches!(open(std::slice::from_ref(&folder)), Some(ReplayError::Io { action: "read", .. })));
    assert!(matches!(open(&[good.clone(), folder.join("./good.log")]), Some(ReplayError::Twice { .. })));
}

#[test]
fn the_clock_is_the_logs_own() {
    let room = Room::new();
    // Ten lines a second for a minute, then silence, then one line: one episode, quiet 30 s after its last line.
    let mut text: String = (0..600)
        .map(|n| format!("2026-02-06T10:00:{:02}.{}00Z ERROR connection refused\n", n / 10, n % 10))
        .collect();
    text += "2026-02-06T12:00:00Z all is well\n";
    let path = room.write("a.log", &text);
    let written = SystemTime::UNIX_EPOCH + Duration::from_secs(1_770_400_000);
    File::options().write(true).open(&path).and_then(|file| file.set_modified(written)).expect("ours");
    let mut replay = Replay::open(&[path], source, Options::default(), NOW).expect("it can be opened");
    let mut closed = Vec::new();
    let mut sink = |batch: &Batch| {
        for (_, bytes) in batch.iter() {
            let record: serde_json::Value = serde_json::from_slice(bytes)?;
            if record["squall"]["kind"] == "summary" && record["squall"]["state"] == "closed" {
                closed.push(record);
            }
        }
        Ok(())
    };
    while replay.step(&mut sink).expect("it can be read") {}
    replay.finish(&mut sink).expect("memory");
    let [summary] = closed.as_slice() else { panic!("{closed:?}") };
    // The twentieth line makes it a storm, and is the first of the episode.
    assert_eq!(
        (&summary["squall"]["closed_by"], &summary["squall"]["total"]),
        (&"quiet".into(), &581.into())
    );
    let story = replay.story();
    assert_eq!(story.storms.len(), 1);
    assert_eq!(story.phases.recovery.map(crate::report::date_time).as_deref(), Some("2026-02-06 10:00:59"));
}

#[test]
fn the_rules_of_a_config_say_when_they_would_have_fired() {
    let count = |text: &str| When::Measured {
        measure: Measure::Count(Filter::Message(Text::Contains(Box::from(text.as_bytes())))),
        compare: Compare::AtLeast,
        limit: Limit::Value(3.0),
        within: Duration::from_secs(60),
        by: By::All,
    };
    let rule = |name: &str, when| Rule {
        name: name.into(),
        group: "test".into(),
        when,
        text: "count(…) >= 3 within 1m".into(),
        hold: Duration::ZERO,
        keep_firing_for: Duration::ZERO,
        labels: [("severity".into(), "P2".into())].into(),
        annotations: Box::default(),
    };
    let mut log = String::new();
    for second in 0..300 {
        let what = if (100..104).contains(&second) { "timeout" } else { "all is well" };
        log.push_str(&format!("2026-02-06T00:{:02}:{:02}Z {what}\n", second / 60, second % 60));
    }
    let room = Room::new();
    let rules = [rule("TimeOuts<b>", count("timeout")), rule("Resets", count("reset"))];
    let options = Options { alerts: rules.into(), ..Options::default() };
    let mut replay = Replay::open(&[room.write("log", &log)], source, options, NOW).expect("a file");
    while replay.step(&mut |_| Ok(())).expect("it can be read") {}
    replay.finish(&mut |_| Ok(())).expect("memory");
    let story = replay.story();
    let alerts = story.alerts.as_ref().expect("there are rules");
    let [episode] = &alerts.fired[..] else { panic!("{:?}", alerts.fired) };
    // 2026-02-06T00:01:42Z, and when the second of the four has left.
    assert_eq!(episode.view.at.seconds(), 1_770_336_000 + 102);
    assert_eq!(episode.resolved.map(Timestamp::seconds), Some(1_770_336_000 + 161));
    assert_eq!((episode.peak, &alerts.silent[..]), (4.0, &["Resets".into()][..]));
    assert_eq!(replay.ledger().alerts, 1);

    let draft = Draft::of(&story);
    assert!(
        draft.timeline.iter().any(|event| event.what.contains("TimeOuts<b> firing")),
        "{:?}",
        draft.timeline
    );
    let text = Terminal { story: &story, draft: &draft, width: 80, colour: false }.to_string();
    let wanted =
        "fired 2026-02-06 00:01:42, resolved 2026-02-06 00:02:41 (after 59 s), at worst 4, threshold 3 in 1m";
    assert!(text.contains(wanted), "{text}");
    assert!(text.contains("1 of 2 rules did not fire: Resets"), "{text}");
    let page = Html { story: &story, draft: &draft, sources: &[] }.to_string();
    assert!(page.contains("TimeOuts&lt;b&gt;") && !page.contains("TimeOuts<b>"), "{page}");
    let markdown = Markdown { story: &story, draft: &draft, sources: &[] }.to_string();
    assert!(markdown.contains("## Alerts") && markdown.contains("TimeOuts\\<b\\>"), "{markdown}");
}

//! `kill -9` and what comes after it: an engine is rebuilt from what was committed, and no line is lost or told twice.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;

use super::super::chunk::{Chunk, OriginId};
use super::super::frame::Format;
use super::super::record::Meta;
use super::super::record::envelope::Place;
use super::super::record::{Lost, Reason};
use super::super::state::{AlertKey, AlertState, Changes, EpisodeKey, EpisodeState, StreamState, Totals};
use super::super::storm::window::ClosedBy;
use super::super::storm::{Collapse, Limits, Pressure};
use super::super::{Engine, Options, Source, line};
use crate::units::{Bytes, Lines, Monotonic, Now, Timestamp};

const START: i64 = 1_770_336_000 * Timestamp::SECOND;

/// What the outbox would hold, in memory.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) streams: HashMap<String, StreamState>,
    episodes: HashMap<EpisodeKey, EpisodeState>,
    alerts: HashMap<AlertKey, AlertState>,
    totals: Totals,
    /// Every record that was ever committed.
    pub(super) records: Vec<Value>,
    /// The Kafka topic of each of them, where it has one.
    topics: Vec<Option<String>>,
    /// Where reading goes on.
    resume: usize,
}

impl Disk {
    fn commit(&mut self, changes: &Changes) {
        let Changes { streams, streams_gone, episodes, episodes_gone, alerts, alerts_gone, totals } = changes;
        for key in streams_gone {
            assert!(self.streams.remove(key).is_some(), "{key} was never here");
        }
        for key in episodes_gone {
            assert!(self.episodes.remove(key).is_some(), "{key:?} was never here");
        }
        let written: HashSet<&String> = streams.iter().map(|stream| &stream.key).collect();
        assert!(written.len() == streams.len() && streams_gone.iter().all(|gone| !written.contains(gone)));
        let written: HashSet<&EpisodeKey> = episodes.iter().map(|episode| &episode.key).collect();
        assert!(written.len() == episodes.len() && episodes_gone.iter().all(|gone| !written.contains(gone)));
        self.streams.extend(streams.iter().map(|stream| (stream.key.clone(), stream.clone())));
        self.episodes.extend(episodes.iter().map(|episode| (episode.key.clone(), episode.clone())));
        for key in alerts_gone {
            assert!(self.alerts.remove(key).is_some(), "{key:?} was never here");
        }
        self.alerts.extend(alerts.iter().map(|alert| (alert.key.clone(), alert.clone())));
        self.totals = *totals;
        self.audit();
    }

    /// What `squall audit` checks: the columns balance by themselves.
    fn audit(&self) {
        for (key, stream) in &self.streams {
            let episodes = self.episodes.values().filter(|episode| episode.key.stream == *key);
            let open: Lines = episodes.map(|episode| episode.count).sum();
            assert_eq!(stream.account.error(open + stream.held_back), 0, "{key}");
        }
        assert!(self.episodes.keys().all(|key| self.streams.contains_key(&key.stream)));
        assert_eq!(self.totals.past.error(Lines(0)), 0);
        assert_eq!(self.totals.next_seq, self.records.len() as u64 + 1);
    }

    /// Everything, as it comes back.
    pub(super) fn changes(&self) -> Changes {
        Changes {
            streams: self.streams.values().cloned().collect(),
            episodes: self.episodes.values().cloned().collect(),
            alerts: self.alerts.values().cloned().collect(),
            totals: self.totals,
            ..Changes::default()
        }
    }
}

/// One file, a process that reads it, and its outbox.
pub(super) struct World {
    pub(super) options: Options,
    pub(super) source: Source,
    pub(super) engine: Engine,
    origin: OriginId,
    pub(super) file: Vec<u8>,
    read: usize,
    pub(super) now: Now,
    pub(super) disk: Disk,
    changes: Changes,
}

impl World {
    pub(super) fn new(options: Options, source: Source, file: Vec<u8>) -> World {
        let mut engine = Engine::new(options.clone());
        let origin = engine.open(source.clone());
        let now = Now { arrival: Monotonic(3_600_000_000_000), wall: Timestamp(START) };
        let (disk, changes) = (Disk::default(), Changes::default());
        World { options, source, engine, origin, file, read: 0, now, disk, changes }
    }

    fn docker() -> World {
        let source = Source { name: "web".into(), format: Format::Auto, stays: true, ..Source::default() };
        World::new(Options::default(), source, Vec::new())
    }

    /// Appends a json-file line that is written `second` seconds after the start.
    pub(super) fn write(&mut self, second: f64, text: &str) {
        let time = Timestamp(START + (second * 1e9) as i64);
        let time = jiff::Timestamp::from_nanosecond(i128::from(time.0)).expect("in range");
        let text = serde_json::to_string(&format!("{text}\n")).expect("a string");
        let line = format!("{{\"log\":{text},\"stream\":\"stderr\",\"time\":\"{time}\"}}\n");
        self.file.extend_from_slice(line.as_bytes());
    }

    /// Reads `most` bytes.
    pub(super) fn read(&mut self, most: usize) {
        let end = self.file.len().min(self.read + most);
        let bytes = &self.file[self.read..end];
        self.engine.push(Chunk { origin: self.origin, offset: self.read as u64, bytes }, self.now);
        self.read = end;
        self.check();
    }

    pub(super) fn read_all(&mut self) {
        self.read(usize::MAX - self.read);
    }

    /// The file was rotated away; a new one stands in its place.
    pub(super) fn rotate(&mut self) {
        self.engine.end_generation(self.origin, self.now);
        self.file.clear();
        self.read = 0;
    }

    pub(super) fn wait(&mut self, seconds: u64) {
        self.now.arrival = self.now.arrival + Duration::from_secs(seconds);
        self.now.wall = self.now.wall + Duration::from_secs(seconds);
        while self.engine.deadline().is_some_and(|deadline| deadline <= self.now.arrival) {
            self.engine.on_deadline(self.now);
        }
        self.check();
    }

    pub(super) fn commit(&mut self) {
        let batch = self.engine.take_batch(Default::default());
        let records = batch.iter().map(|(_, record)| serde_json::from_slice(record).expect("JSON"));
        self.disk.records.extend(records);
        let topic = |meta: &Meta| batch.keys[meta.key as usize].topic.as_deref().map(str::to_owned);
        self.disk.topics.extend(batch.metas.iter().map(topic));
        self.engine.checkpoint(self.now, &mut self.changes);
        self.disk.commit(&self.changes);
        self.disk.resume = self.read - self.engine.unfinished(self.origin).0 as usize;
        self.check();
    }

    /// `kill -9`, and a new process `seconds` later, which has not seen its source yet.
    pub(super) fn kill(&mut self, seconds: u64) {
        self.now.arrival = self.now.arrival + Duration::from_secs(seconds);
        self.now.wall = self.now.wall + Duration::from_secs(seconds);
        // Another process has another seed.
        self.options.seed += 1;
        let (engine, complaints) = Engine::restore(self.options.clone(), self.disk.changes(), self.now);
        assert_eq!(complaints, [""; 0]);
        self.engine = engine;
        self.check();
    }

    fn open(&mut self) {
        self.origin = self.engine.open(self.source.clone());
        self.read = self.disk.resume;
        self.check();
    }

    pub(super) fn restart(&mut self, seconds: u64) {
        self.kill(seconds);
        self.open();
    }

    pub(super) fn finish(&mut self) {
        self.engine.finish(ClosedBy::End, self.now);
        self.commit();
        let ledger = self.engine.ledger();
        assert_eq!((ledger.lines_open, ledger.lines_partial), (Lines(0), Lines(0)), "{ledger:?}");
        assert!(self.disk.episodes.is_empty());
    }

    #[track_caller]
    fn check(&self) {
        let ledger = self.engine.ledger();
        assert_eq!(ledger.conservation_error, 0, "{ledger:?}");
    }

    pub(super) fn of(&self, kind: &str) -> Vec<&Value> {
        self.disk.records.iter().map(|record| &record["squall"]).filter(|told| told["kind"] == kind).collect()
    }

    pub(super) fn counted(&self) -> u64 {
        self.disk.records.iter().filter_map(|record| record["squall"]["count"].as_u64()).sum()
    }

    pub(super) fn messages(&self) -> Vec<&str> {
        self.disk.records.iter().filter_map(|record| record["message"].as_str()).collect()
    }
}

/// Reads 50 lines of a storm, `after` of them before a commit and a kill, and returns the world when it has read all.
fn storm_with_a_kill(after: u32, seconds: u64) -> World {
    let mut world = World::docker();
    for tick in 0..50 {
        world.write(f64::from(tick) * 0.01, &format!("connection timeout after {} ms", 1000 + tick));
        if tick == after {
            world.read_all();
            world.commit();
            world.restart(seconds);
        }
    }
    world.read_all();
    world.commit();
    world
}

#[test]
fn fault_037_window_survives_a_kill() {
    for after in [19, 25, 48] {
        let mut world = storm_with_a_kill(after, 1);
        assert_eq!(world.of("line").len(), 19, "no second first lines");
        world.finish();
        let summaries = world.of("summary");
        assert_eq!(summaries.len(), 1, "one window, one summary");
        assert_eq!((summaries[0]["count"].as_u64(), world.counted()), (Some(31), 31));
        assert_eq!(summaries[0]["window"], format!("{:032x}-w1", 0));
        let values = &summaries[0]["values"][0];
        let extremes = (values["min"].as_f64(), values["max"].as_f64());
        assert_eq!(extremes, (Some(1019.0), Some(1049.0)), "exact over the restart");
        assert_eq!(summaries[0]["examples"].as_array().map(Vec::len), Some(3));
    }
}

/// 50 lines of a source at this place, a commit, a kill, and 4 s later a process that has not seen the source yet.
fn storm_of_a_source_that_is_gone(place: Place) -> World {
    let World { options, source, .. } = World::docker();
    let mut world = World::new(options, Source { place, ..source }, Vec::new());
    for tick in 0..50 {
        world.write(f64::from(tick) * 0.01, "connection timeout");
    }
    world.read_all();
    world.commit();
    world.kill(4);
    world
}

#[test]
fn a_topic_of_its_own_survives_a_kill() {
    let mut world =
        storm_of_a_source_that_is_gone(Place { topic: Some("orders".into()), ..Place::default() });
    world.wait(30);
    world.commit();
    assert!(!world.of("summary").is_empty());
    assert!(world.disk.topics.iter().all(|topic| topic.as_deref() == Some("orders")));
    // Its source comes back without one.
    world.source.place.topic = None;
    world.open();
    world.write(60.0, "another line");
    world.read_all();
    world.commit();
    assert_eq!((world.messages().last(), world.disk.topics.last()), (Some(&"another line"), Some(&None)));
}

#[test]
fn fault_037_a_window_whose_source_is_gone_closes_all_the_same() {
    let mut world =
        storm_of_a_source_that_is_gone(Place { path: Some("/var/log/web.log".into()), ..Place::default() });
    let due = |world: &World| world.engine.deadline().map(|due| due.since(world.now.arrival).as_secs());
    assert_eq!(due(&world), Some(6), "the stop counts");
    world.wait(6);
    world.commit();
    let is_summary = |record: &&Value| record["squall"]["kind"] == "summary";
    let told = world.disk.records.iter().rfind(is_summary).expect("a summary");
    assert_eq!(told["squall"]["closed_by"], "interval");
    assert_eq!(told["log"]["iostream"], "stderr");
    assert_eq!(told["log"]["file"]["path"], "/var/log/web.log");
    world.wait(20);
    world.commit();
    assert_eq!(world.of("summary").last().map(|told| &told["state"]), Some(&Value::from("closed")));
    assert_eq!((world.counted(), world.disk.episodes.len(), world.disk.streams.len()), (45, 0, 1));
    world.wait(3_600);
    world.commit();
    assert_eq!((world.disk.streams.len(), world.engine.deadline()), (0, None), "given up");
    assert_eq!(world.engine.ledger().lines_in, Lines(50));
}

#[test]
fn fault_037_deadlines_count_the_stop() {
    #[track_caller]
    fn check(seconds: u64, want: &[(&str, u64)]) {
        let mut world = World::docker();
        for tick in 0..50 {
            world.write(f64::from(tick) * 0.01, "connection timeout");
        }
        world.read_all();
        world.wait(2);
        world.commit();
        world.restart(seconds);
        world.wait(0);
        world.commit();
        let summaries = world.of("summary");
        let told: Vec<_> = summaries
            .iter()
            .filter_map(|told| Some((told["closed_by"].as_str()?, told["count"].as_u64()?)))
            .collect();
        assert_eq!(told, want, "after {seconds} s");
    }
    check(0, &[]);
    check(7, &[]);
    check(8, &[("interval", 45)]);
    check(27, &[("interval", 45)]);
    check(28, &[("quiet", 45)]);
    check(1_000_000, &[("quiet", 45)]);
}

#[test]
fn fault_078_a_window_outlives_rotation_and_restart() {
    let mut world = World::docker();
    for tick in 0..60 {
        world.write(f64::from(tick) * 0.01, "connection timeout");
        if tick % 20 == 19 {
            world.read_all();
            world.rotate();
            world.commit();
            world.restart(0);
        }
    }
    world.finish();
    let windows: Vec<_> = world.of("summary").iter().map(|told| told["count"].as_u64()).collect();
    assert_eq!((world.of("line").len(), windows), (5, vec![Some(55)]));
}

#[test]
fn fault_078_numbers_go_on() {
    let mut world = storm_with_a_kill(30, 1);
    world.wait(60);
    world.commit();
    world.restart(1);
    world.write(60.0, "cache warmed");
    for _ in 0..30 {
        world.write(60.0, "disk full: write failed");
    }
    world.read_all();
    world.finish();
    let marks: Vec<_> = world
        .of("summary")
        .iter()
        .map(|told| (told["episode"].as_str().unwrap_or("-").to_owned(), told["window"].clone()))
        .collect();
    let mark = |letter: char, number: u32| format!("{:032x}-{letter}{number}", 0);
    let want = [1, 2].map(|number| (mark('e', number), Value::from(mark('w', number))));
    assert_eq!(marks, want);
    let ledger = world.engine.ledger();
    assert_eq!((ledger.summaries, ledger.records_out), (2, world.disk.records.len() as u64));
    let templates = 3;
    assert_eq!((ledger.templates, ledger.lines_in), (templates, Lines(81)));
}

#[test]
fn fault_013_partial_across_generations_and_a_restart() {
    let source = Source { name: "pod".into(), stays: true, ..Source::default() };
    let mut world = World::new(Options::default(), source, Vec::new());
    let cri = |stream: &str, tag: &str, text: &str| format!("2026-02-06T00:00:00Z {stream} {tag} {text}\n");
    world.file.extend(cri("stdout", "P", "one ").into_bytes());
    world.file.extend(cri("stderr", "F", "between").into_bytes());
    world.read_all();
    world.rotate();
    world.commit();
    assert_eq!(world.disk.streams["pod/stdout"].partial, Lines(1));
    world.restart(5);
    assert_eq!(world.engine.ledger().lines_partial, Lines(1));
    // Nobody could tell from this line alone that the runtime wrote it, if it were plain text.
    world.file.extend(cri("stdout", "P", "two ").into_bytes());
    world.read_all();
    world.commit();
    world.restart(5);
    world.file.extend(cri("stdout", "F", "three").into_bytes());
    world.read_all();
    world.finish();
    assert_eq!(world.messages(), ["between", "one two three"]);
    assert_eq!(world.disk.streams["pod/stdout"].partial, Lines(0));
}

#[test]
fn fault_013_pieces_whose_end_never_comes_are_told() {
    #[track_caller]
    fn check(end: impl FnOnce(&mut World)) {
        let source = Source { name: "pod".into(), stays: true, ..Source::default() };
        let mut world = World::new(Options::default(), source, Vec::new());
        world.file.extend(b"2026-02-06T00:00:00Z stdout P half of it\n");
        world.read_all();
        world.commit();
        world.kill(0);
        end(&mut world);
        world.commit();
        assert_eq!(world.messages(), ["half of it"]);
        assert_eq!(world.of("line")[0]["complete"], false);
    }
    check(|world| world.engine.finish(ClosedBy::End, world.now));
    check(|world| world.wait(3_600));
    check(|world| {
        world.open();
        world.engine.close(world.origin, world.now);
    });
    let mut world = World::new(Options::default(), Source { stays: true, ..Source::default() }, Vec::new());
    world.file.extend(b"2026-02-06T00:00:00Z stdout P half of it\n");
    world.read_all();
    world.commit();
    world.kill(0);
    world.engine.finish(ClosedBy::Shutdown, world.now);
    world.commit();
    assert_eq!(
        (world.messages().len(), world.disk.streams["/stdout"].partial),
        (0, Lines(1)),
        "it may come yet"
    );
}

#[test]
fn a_format_once_found_out_is_known_for_good() {
    let mut world = World::docker();
    world.write(0.0, "first");
    world.read_all();
    world.commit();
    world.restart(0);
    world.file.extend_from_slice(b"plain as it can be\n");
    world.write(0.1, "last");
    world.read_all();
    world.finish();
    assert_eq!(world.messages(), ["first", "plain as it can be", "last"]);
    let errors: Vec<bool> = world.of("line").iter().map(|told| told["parse_error"].is_string()).collect();
    assert_eq!(errors, [false, true, false], "it is still Docker's file");
}

#[test]
fn fault_025_half_a_line_is_read_again() {
    let mut world = World::docker();
    world.write(0.0, "whole");
    world.write(0.0, "half");
    for most in [1, 40, 60, 10] {
        world.read(most);
        world.commit();
        world.restart(0);
    }
    world.read_all();
    world.finish();
    assert_eq!(world.messages(), ["whole", "half"]);
    assert_eq!(world.engine.bytes_in(), Bytes(world.file.len() as u64), "no byte is counted twice");
}

#[test]
fn broken_envelopes_keep_their_episode() {
    let mut world = World::docker();
    world.write(0.0, "first");
    world.file.extend("garbage\n".repeat(30).into_bytes());
    world.read_all();
    world.commit();
    world.restart(0);
    world.file.extend("garbage\n".repeat(30).into_bytes());
    world.read_all();
    world.finish();
    let summaries = world.of("summary");
    // The first one after the restart is known by its template only, so it is no repeat.
    assert_eq!((summaries.len(), summaries[0]["count"].as_u64()), (1, Some(54)));
    assert_eq!(summaries[0]["parse_error"], "not a JSON object");
}

#[test]
fn floods_survive() {
    let storm = Limits { novelty_per_second: 1, ..Limits::default() };
    let options = Options { storm, ..Options::default() };
    let source = Source { name: "x".into(), format: Format::Docker, stays: true, ..Source::default() };
    let mut world = World::new(options, source, Vec::new());
    for word in ["alpha", "beta x y q", "beta x y w", "beta x y e"] {
        world.write(0.0, word);
    }
    world.read_all();
    world.commit();
    world.restart(0);
    assert_eq!(world.engine.ledger().lines_open, Lines(2));
    world.wait(10);
    world.commit();
    let notices = world.of("notice");
    assert_eq!(notices.len(), 1);
    assert_eq!((&notices[0]["reason"], &notices[0]["count"]), (&"novelty_flood".into(), &2.into()));
    assert_eq!(notices[0]["examples"].as_array().map(Vec::len), Some(2));
}

#[test]
fn details_that_cannot_be_read_cost_no_count() {
    #[track_caller]
    fn check(damage: impl Fn(&mut Disk), complaints: usize, notices: usize) {
        let storm = Limits { novelty_per_second: 2, ..Limits::default() };
        let options = Options { storm, ..Options::default() };
        let source = Source { name: "x".into(), format: Format::Docker, stays: true, ..Source::default() };
        let mut world = World::new(options, source, Vec::new());
        (0..50).for_each(|_| world.write(0.0, "connection timeout"));
        for word in ["alpha", "beta x y q", "beta x y w", "beta x y e"] {
            world.write(0.0, word);
        }
        world.file.extend(br#"{"log":"a piece","stream":"stderr","time":"2026-02-06T00:00:00Z"}"#);
        world.file.push(b'\n');
        world.read_all();
        world.commit();
        damage(&mut world.disk);
        let (engine, said) = Engine::restore(world.options.clone(), world.disk.changes(), world.now);
        assert_eq!(said.len(), complaints, "{said:?}");
        world.engine = engine;
        world.check();
        world.open();
        world.finish();
        let told = world.of("line").len() as u64 + world.counted();
        // A piece without its text is nothing that could be sent.
        assert!((54..=55).contains(&told), "{told}");
        assert_eq!(world.of("notice").len(), notices);
    }
    let spoil = |detail: &mut Vec<u8>| detail.iter_mut().for_each(|byte| *byte ^= 0x55);
    check(|_| {}, 0, 1);
    check(|disk| disk.episodes.values_mut().for_each(|episode| spoil(&mut episode.detail)), 1, 1);
    check(|disk| disk.episodes.values_mut().for_each(|episode| episode.detail.clear()), 1, 1);
    check(|disk| disk.streams.values_mut().for_each(|stream| spoil(&mut stream.detail)), 1, 1);
    check(|disk| disk.streams.values_mut().for_each(|stream| stream.detail.truncate(9)), 1, 1);
}

#[test]
fn a_lost_row_is_noticed() {
    let mut world = World::docker();
    (0..50).for_each(|_| world.write(0.0, "connection timeout"));
    world.read_all();
    world.commit();
    let mut changes = world.disk.changes();
    changes.streams.clear();
    let (mut engine, complaints) = Engine::restore(world.options.clone(), changes, world.now);
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    assert_eq!((engine.ledger().lines_open, engine.ledger().conservation_error), (Lines(45), 0));
    engine.finish(ClosedBy::End, world.now);
    assert_eq!(engine.ledger().lines_summarised, Lines(45));

    let mut changes = world.disk.changes();
    changes.episodes.clear();
    let (engine, complaints) = Engine::restore(world.options.clone(), changes, world.now);
    assert_eq!((complaints.len(), engine.ledger().conservation_error), (1, 45), "{complaints:?}");
}

#[test]
fn fewer_entries_than_come_back_close_the_others() {
    let mut world = World::docker();
    for word in ["alpha", "beta", "gamma"] {
        (0..10).for_each(|_| world.write(0.0, word));
    }
    world.read_all();
    world.commit();
    world.options.storm.templates_max = 1;
    world.kill(0);
    let batch = world.engine.batch();
    assert_eq!(batch.metas.len(), 2);
    assert_eq!(world.engine.ledger().lines_open, Lines(5));
}

#[test]
fn sources_of_one_name_keep_their_books_apart() {
    let mut world = World::docker();
    let other = world.engine.open(world.source.clone());
    world.write(0.0, "hello");
    world.read_all();
    let bytes = world.file.clone();
    world.engine.push(Chunk { origin: other, offset: 0, bytes: &bytes }, world.now);
    world.commit();
    let mut keys: Vec<&String> = world.disk.streams.keys().collect();
    keys.sort();
    assert_eq!(keys, ["web#2/stderr", "web/stderr"]);
    world.engine.close(other, world.now);
    world.commit();
    assert_eq!((world.disk.streams.len(), world.disk.totals.past.received), (1, Lines(1)));
    let third = world.engine.open(world.source.clone());
    assert_ne!(third, other, "the name is free again, the number is not");
}

#[test]
fn a_notice_says_what_was_lost() {
    let mut world = World::docker();
    world.options.identity.node = "node-1".into();
    world.engine = Engine::new(world.options.clone());
    world.origin = world.engine.open(world.source.clone());
    world.write(0.0, "hello");
    world.read_all();
    let lost = Lost { bytes: Some(Bytes(7)), lines: Some(Lines(3)), records: Some(2) };
    world.engine.notice(None, Reason::StoreDamaged, "two records are gone".into(), lost, world.now);
    world.engine.notice(Some("web/stderr"), Reason::DeadLetter, "refused".into(), Lost::default(), world.now);
    world.engine.notice(Some("gone"), Reason::DeadLetter, "refused".into(), Lost::default(), world.now);
    world.commit();
    let notices = world.of("notice");
    let streams: Vec<_> = notices.iter().map(|told| told["stream"].as_str().unwrap_or_default()).collect();
    assert_eq!(streams, ["node-1/squall", "web/stderr", "gone"]);
    let told = notices[0];
    assert_eq!((&told["reason"], &told["count"]), (&"store_damaged".into(), &0.into()));
    let lost = ["lost_bytes", "lost_lines", "lost_records"].map(|name| told[name].as_u64());
    assert_eq!(lost, [Some(7), Some(3), Some(2)]);
    assert_eq!((&notices[1]["reason"], &notices[1]["lost_bytes"]), (&"dead_letter".into(), &Value::Null));
}

/// What may happen between two bytes.
#[derive(Clone, Debug)]
enum Step {
    Read(usize),
    Commit,
    Kill { seconds: u64, reboot: bool },
    Wait { seconds: u64 },
    Press(Pressure),
}

fn step() -> impl Strategy<Value = Step> {
    let pressure = prop::sample::select(vec![Pressure::None, Pressure::Few, Pressure::Count, Pressure::Shed]);
    prop_oneof![
        6 => (0usize..600).prop_map(Step::Read),
        3 => Just(Step::Commit),
        2 => (0u64..40, any::<bool>()).prop_map(|(seconds, reboot)| Step::Kill { seconds, reboot }),
        1 => (0u64..40).prop_map(|seconds| Step::Wait { seconds }),
        1 => pressure.prop_map(Step::Press),
    ]
}

/// A file of one format, with whole, broken, long, cut and repeated lines.
fn file() -> impl Strategy<Value = Vec<u8>> {
    let text = prop_oneof![
        4 => Just("connection timeout".to_owned()),
        3 => (0u32..40).prop_map(|number| format!("connection timeout after {number} ms")),
        2 => (0u32..40).prop_map(|number| format!("GET /orders/{number} 200")),
        1 => "[a-z]{1,3} unseen [a-z]{0,2}",
        1 => "[a-z]{30,90}",
        1 => Just(String::new()),
    ];
    let line = (text, any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.05));
    (0usize..3, prop::collection::vec(line, 1..150)).prop_map(|(format, lines)| {
        let mut file = Vec::new();
        for (tick, (text, to_stderr, partial, broken)) in lines.into_iter().enumerate() {
            let time = format!("2026-02-06T00:{:02}:{:02}Z", tick / 60, tick % 60);
            let stream = if to_stderr { "stderr" } else { "stdout" };
            let line = match format {
                _ if broken => "{\"log\":\"bro".to_owned(),
                0 => text,
                1 => format!("{time} {stream} {} {text}", if partial { "P" } else { "F" }),
                _ => {
                    let end = if partial { "" } else { "\\n" };
                    format!(r#"{{"log":"{text}{end}","stream":"{stream}","time":"{time}"}}"#)
                }
            };
            file.extend_from_slice(line.as_bytes());
            file.push(b'\n');
        }
        // The last line may lack its end.
        file.truncate(file.len() - file.len() % 2);
        file
    })
}

/// A number as a damaged row may hold it.
fn number() -> BoxedStrategy<u64> {
    prop_oneof![0u64..5, any::<u64>(), Just(u64::MAX)].boxed()
}

fn any_collapse() -> impl Strategy<Value = Collapse> {
    prop::sample::select(vec![Collapse::Never, Collapse::Repeats, Collapse::Storms, Collapse::Always])
}

/// The lines of a file, as one process sees them that is never stopped and folds nothing.
fn lines_of(source: &Source, file: &[u8]) -> HashMap<(u64, String), u32> {
    let source = Source { folding: Collapse::Never.into(), ..source.clone() };
    let mut world = World::new(Options::default(), source, file.to_vec());
    world.read_all();
    world.finish();
    let mut lines = HashMap::new();
    let is_line = |record: &&Value| record["squall"]["kind"] == "line";
    world
        .disk
        .records
        .iter()
        .filter(is_line)
        .for_each(|record| *lines.entry(place(record)).or_default() += 1);
    lines
}

fn place(record: &Value) -> (u64, String) {
    let stream = record["squall"]["stream"].as_str().unwrap_or_default().to_owned();
    (record["log"]["offset"].as_u64().unwrap_or_default(), stream)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Wherever the chunks are cut, and whenever it is killed: each line is told verbatim or counted, once.
    #[test]
    fn fault_037_nothing_is_lost_or_told_twice(
        file in file(),
        steps in prop::collection::vec(step(), 0..60),
        collapse in any_collapse(),
        templates_max in 1usize..8,
        novelty_per_second in 0u32..4,
        memory_max in prop_oneof![Just(1u64), Just(1 << 24)],
    ) {
        let storm = Limits { templates_max, novelty_per_second, enter: 10, enter_failing: 6, ..Limits::default() };
        let options = Options { storm, memory_max: Bytes(memory_max), ..Options::default() };
        let line = line::Limits { length_max: 60, ..line::Limits::default() };
        let source = Source { name: "x".into(), folding: collapse.into(), stays: true, line, ..Source::default() };
        let lines = lines_of(&source, &file);
        let mut world = World::new(options, source, file);
        for step in steps {
            match step {
                Step::Read(most) => world.read(most),
                Step::Commit => world.commit(),
                Step::Kill { seconds, reboot } => {
                    world.now.arrival = if reboot { Monotonic(0) } else { world.now.arrival };
                    world.restart(seconds);
                }
                Step::Wait { seconds } => world.wait(seconds),
                Step::Press(pressure) => world.engine.set_pressure(pressure),
            }
            world.engine.core.relieve();
        }
        world.read_all();
        world.finish();
        let verbatim: Vec<_> = world.disk.records.iter()
            .filter(|record| record["squall"]["kind"] == "line").map(place).collect();
        let total: u32 = lines.values().sum();
        prop_assert_eq!(verbatim.len() as u64 + world.counted(), u64::from(total));
        let mut told: HashMap<_, u32> = HashMap::new();
        for line in verbatim {
            let count = told.entry(line.clone()).or_default();
            *count += 1;
            prop_assert!(lines.get(&line).is_some_and(|most| *count <= *most), "{:?} twice", line);
        }
        for (index, record) in world.disk.records.iter().enumerate() {
            prop_assert_eq!(&record["squall"]["id"], &Value::from(format!("{:032x}-{}", 0, index + 1)));
        }
        let ledger = world.engine.ledger();
        prop_assert_eq!(ledger.lines_in, Lines(u64::from(total)));
        prop_assert_eq!(ledger.bytes_in, Bytes(world.file.len() as u64));
        prop_assert_eq!(ledger.records_out, world.disk.records.len() as u64);
    }

    /// Whatever the outbox gives back: no panic, and the engine works.
    #[test]
    fn any_state_may_come_back(
        streams in prop::collection::vec(("[ab](/stderr)?", [(); 6].map(|()| number()), prop::collection::vec(any::<u8>(), 0..20)), 0..4),
        episodes in prop::collection::vec(("[ab](/stderr)?", 0u8..3, [(); 4].map(|()| number()), any::<[i64; 2]>()), 0..6),
        totals in [(); 12].map(|()| number()),
    ) {
        let streams = streams.into_iter().map(|(key, numbers, detail)| {
            let [received, verbatim, summarised, noticed, held_back, partial] =
                numbers.map(Lines);
            let account = super::super::ledger::Account { received, verbatim, summarised, noticed };
            StreamState { key, account, held_back, partial, detail }
        });
        let episodes = episodes.into_iter().map(|(stream, template, numbers, [first, last])| {
            let [episode, window, count, total] = numbers;
            let template = super::super::template::mask::TemplateId(u128::from(template));
            EpisodeState {
                key: EpisodeKey { stream, template, parse_error: episode % 2 == 0 },
                episode, window, count: Lines(count), total: Lines(total),
                first: Timestamp(first), last: Timestamp(last), detail: Vec::new(),
            }
        });
        let [received, verbatim, summarised, noticed, rest @ ..] = totals;
        let [bytes_in, bytes_out, summaries, notices, templates, next_episode, next_window, next_seq] = rest;
        let (loops, alerts) = (templates, notices);
        let [received, verbatim, summarised, noticed] = [received, verbatim, summarised, noticed].map(Lines);
        let past = super::super::ledger::Account { received, verbatim, summarised, noticed };
        let totals = Totals {
            past, bytes_in, bytes_out, summaries, notices, templates, loops, alerts,
            next_episode, next_window, next_seq, ..Totals::default()
        };
        let (streams, episodes) = (streams.collect(), episodes.collect());
        let changes = Changes { streams, episodes, totals, ..Changes::default() };
        let now = Now { arrival: Monotonic(5), wall: Timestamp(START) };
        let (mut engine, _) = Engine::restore(Options::default(), changes, now);
        let origin = engine.open(Source { name: "a".into(), format: Format::Plain, ..Source::default() });
        engine.push(Chunk { origin, offset: 0, bytes: b"connection timeout\n" }, now);
        engine.checkpoint(now, &mut Changes::default());
        engine.finish(ClosedBy::End, now);
        prop_assert_eq!(engine.ledger().lines_open, Lines(0));
    }
}

/// The records of loops: state and iterations of each.
fn loops(world: &World) -> Vec<(&str, u64)> {
    let row = |told: &&Value| told["iterations"].as_u64().expect("a number");
    world.of("loop").iter().map(|told| (told["state"].as_str().expect("a word"), row(told))).collect()
}

/// One iteration of a loop that backs off: it is seen by its words alone.
fn try_again(world: &mut World, second: f64) {
    world.write(second, "connection to db.example.com:5432 refused");
    world.write(second + 0.001, "retrying");
    world.read_all();
}

#[test]
fn an_open_loop_survives_a_kill() {
    let mut world = World::docker();
    let mut second = 0.0;
    for attempt in 0..8 {
        try_again(&mut world, second);
        second += f64::from(1 << attempt);
    }
    world.commit();
    let before = loops(&world);
    assert_eq!((world.engine.ledger().loops, world.engine.loops().count()), (1, 1));
    assert_eq!(before.first(), Some(&("open", 7)));

    // These were read, but not committed: they are read again.
    try_again(&mut world, second);
    world.restart(1);
    assert_eq!((world.engine.ledger().loops, world.engine.loops().count()), (1, 1));
    world.read_all();
    world.commit();
    let (_, open) =
        world.engine.loops().next().map(|(key, view)| (key.to_owned(), view)).expect("still open");
    assert_eq!((open.iterations, open.judgement.verdict.as_str()), (9, "exponential"));
    assert_eq!(open.endpoint.as_deref(), Some("db.example.com:5432"));

    // Without another line it closes by the clock, once, and stays closed over the next kill.
    world.wait(3_000);
    world.commit();
    world.restart(1);
    world.finish();
    let after = loops(&world);
    assert_eq!(after.last(), Some(&("closed", 9)));
    assert_eq!(after.iter().filter(|(state, _)| *state == "closed").count(), 1, "{after:?}");
    assert_eq!(world.engine.ledger().loops, 1, "it was not opened again");
}

#[test]
fn a_loop_whose_beginning_a_restart_has_cut_off_is_unknown() {
    #[track_caller]
    fn check(killed: bool, want: &str) {
        let mut world = World::docker();
        world.write(0.0, "hello");
        world.read_all();
        world.commit();
        if killed {
            world.restart(1);
        }
        for attempt in 0..12 {
            try_again(&mut world, 60.0 + f64::from(attempt) * 5.0);
        }
        world.finish();
        let told = world.of("loop");
        assert_eq!(told[told.len() - 1]["verdict"], want);
    }
    check(false, "constant");
    check(true, "unknown");
}

//! 220,314 lines: what squall is for.

use std::fs::{self, File};
use std::thread;

use squall::cli::demo::rotate::{Limits, RotatingLog};
use squall::corpus::incident::LINES;
use squall::units::Bytes;

use super::sidecar::{Ended, Sidecar};
use super::told::{Told, wait_for_record};
use super::written::Written;
use crate::support::broker::Broker;

/// What the incident may take up at most, on the wire and in the topic.
const WIRE_MAX: u64 = 500_000;

#[track_caller]
fn check(broker: &Broker, topic: &str, written: &Written, ended: &Ended) {
    let told = Told::read(broker, topic);
    told.check(written);
    told.check_ledger(ended);
    let (stored, wire) = (broker.stored_bytes(topic), ended.number("bytes_wire"));
    println!("{topic}: {stored} bytes in the topic, {wire} on the wire, {} records", told.records.len());
    assert!(stored <= WIRE_MAX && wire <= WIRE_MAX, "{stored} bytes in the topic, {wire} on the wire");
    assert!(wire > stored, "the wire carries {wire} bytes, {stored} of which the topic keeps");
    assert_eq!(ended.messages_with("ERROR"), [""; 0]);
}

#[test]
#[ignore = "needs a broker"]
fn a_followed_file() {
    let (broker, topic) = (Broker::shared(), "incident.tail");
    broker.create_topic(topic, 1, &[]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x-json.log");
    let written = Written::incident(1, LINES);
    fs::write(&file, written.json()).expect("a log");

    let to = format!("kafka://{}/{topic}", broker.address());
    let glob = folder.path().join("*-json.log").display().to_string();
    let ended = Sidecar::start(&["run", "--tail", &glob, "--until-eof", "--json", "--to", &to]).end();

    check(&broker, topic, &written, &ended);
    assert_eq!(ended.number("bytes_in"), written.json().len() as u64);
}

#[test]
#[ignore = "needs a broker"]
fn a_pipe() {
    let (broker, topic) = (Broker::shared(), "incident.stdin");
    broker.create_topic(topic, 1, &[]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("lines");
    let written = Written::incident(2, LINES);
    fs::write(&file, written.json()).expect("a log");
    let to = format!("kafka://{}/{topic}", broker.address());
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let copying = thread::spawn(move || {
        std::io::copy(&mut File::open(file).expect("the log"), &mut writer).expect("squall reads")
    });

    let ended = Sidecar::start_reading(&["run", "--stdin", "--json", "--to", &to], reader).end();

    assert_eq!(copying.join().expect("it copies"), written.json().len() as u64);
    check(&broker, topic, &written, &ended);
}

/// The log is rotated while squall reads it; the writer is never further ahead than what rotation keeps.
#[test]
#[ignore = "needs a broker"]
fn three_rotations() {
    const SIZE: u64 = 5_000_000;
    let (broker, topic) = (Broker::shared(), "incident.rotated");
    broker.create_topic(topic, 1, &[]);
    let folder = tempfile::tempdir().expect("a folder");
    let limits = Limits { max_size: Bytes(SIZE), max_file: 3 };
    let mut log = RotatingLog::open(folder.path().join("x-json.log"), limits).expect("a log");
    let written = Written::incident(3, LINES);

    let to = format!("kafka://{}/{topic}", broker.address());
    let glob = folder.path().join("*-json.log").display().to_string();
    let sidecar = Sidecar::start(&["run", "--tail", &glob, "--json", "--to", &to]);
    let mut bytes = 0;
    for start in (0..written.lines().len()).step_by(1_000) {
        let burst = written.json_of(start..written.lines().len().min(start + 1_000));
        log.write(burst).expect("a burst");
        bytes += burst.len() as u64;
        // It also reads what is no log, but never as much as two files.
        sidecar.wait_for_bytes_read(bytes.saturating_sub(SIZE / 2));
    }
    assert!(log.rotations() >= 3, "{} rotations", log.rotations());
    wait_for_record(&broker, topic, written.last_text());
    sidecar.terminate();
    let ended = sidecar.end();

    check(&broker, topic, &written, &ended);
    assert_eq!(ended.number("bytes_in"), written.json().len() as u64);
}

#[test]
#[ignore = "needs a broker"]
fn the_demo() {
    let (broker, topic) = (Broker::shared(), "incident.demo");
    broker.create_topic(topic, 1, &[]);
    let to = format!("kafka://{}/{topic}", broker.address());

    let ended = Sidecar::start(&["demo", "--to", &to, "--json", "--seconds", "0", "--seed", "1"]).end();

    // The same seed, so the same lines.
    check(&broker, topic, &Written::incident(1, LINES), &ended);
    let [incident, read_back, _ledger] = &*ended.output else { panic!("{ended:#?}") };
    assert_eq!(incident["incident"]["lines"], LINES);
    assert!(incident["incident"]["rotations"].as_u64() >= Some(2), "{incident}");
    let read_back = &read_back["read_back"];
    let told = ["lines_verbatim", "lines_summarised", "lines_noticed"].map(|name| read_back[name].as_u64());
    assert_eq!(told.into_iter().sum::<Option<u64>>(), Some(LINES), "{read_back}");
    assert_eq!(read_back["records"], ended.number("records_delivered"));
    assert_eq!(read_back["calm_missing"], 0);
}

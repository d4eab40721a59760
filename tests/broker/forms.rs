//! Every form in which records can travel.

use std::collections::{BTreeSet, HashSet};
use std::fs;

use super::sidecar::Sidecar;
use super::told::Told;
use super::written::Written;
use crate::support::broker::Broker;

const LINES: u64 = 20_000;

/// Ships an incident through a config file that chooses the form.
#[track_caller]
fn ship(topic: &str, form: &str) -> (Told, BTreeSet<&'static str>) {
    let broker = Broker::shared();
    broker.create_topic(topic, 1, &[]);
    let folder = tempfile::tempdir().expect("a folder");
    let (log, config) = (folder.path().join("x-json.log"), folder.path().join("squall.yaml"));
    let written = Written::incident(7, LINES);
    fs::write(&log, written.json()).expect("a log");
    // Repeats only, so that there are thousands of records as well as summaries.
    let text = format!(
        "inputs: {{ x: {{ type: tail, include: ['{}'], collapse: repeats }} }}\n\
         outputs: {{ kafka: {{ brokers: ['{}'], topic: {topic}, {form} }} }}\n",
        log.display(),
        broker.address()
    );
    fs::write(&config, text).expect("a config");

    let config = config.display().to_string();
    let ended = Sidecar::start(&["run", "--config", &config, "--until-eof", "--json"]).end();

    let told = Told::read(&broker, topic);
    told.check(&written);
    told.check_ledger(&ended);
    assert!(told.records.len() > 5_000 && told.lines_in("summary") > 5_000, "{} records", told.records.len());
    let codecs = broker.stored_batches(topic).iter().map(|batch| batch.codec).collect();
    (told, codecs)
}

#[test]
#[ignore = "needs a broker"]
fn every_compression() {
    #[track_caller]
    fn check(codec: &'static str) {
        let (told, codecs) = ship(&format!("compression.{codec}"), &format!("compression: {codec}"));
        assert_eq!(codecs, BTreeSet::from([codec]));
        assert_eq!(told.messages, told.records.len());
    }
    check("none");
    check("gzip");
    check("snappy");
    check("lz4");
    check("zstd");
}

#[test]
#[ignore = "needs a broker"]
fn every_packing() {
    #[track_caller]
    fn check(batch: &str, codec: &'static str, messages: impl Fn(usize) -> usize) {
        let (told, codecs) = ship(&format!("packing.{batch}"), &format!("batch: {batch}, compression: zstd"));
        assert_eq!(codecs, BTreeSet::from([codec]));
        assert!(told.messages <= messages(told.records.len()), "{} messages", told.messages);
    }
    check("records", "zstd", |records| records);
    // Packed messages are compressed already.
    check("gzip-ndjson", "none", |records| records / 100);
    check("zstd-ndjson", "none", |records| records / 100);
}

/// A packed message does not wait for more lines than come.
#[test]
#[ignore = "needs a broker"]
fn a_packed_line_leaves_by_itself() {
    let (broker, topic) = (Broker::shared(), "packing.idle");
    broker.create_topic(topic, 1, &[]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x-json.log");
    let written = Written::mixed(8, 3);
    fs::write(&file, written.json()).expect("a log");

    let (log, to) = (file.display().to_string(), format!("kafka://{}/{topic}", broker.address()));
    let config = folder.path().join("squall.yaml");
    let text = "outputs: { kafka: { brokers: [unused:1], topic: unused, batch: zstd-ndjson } }";
    fs::write(&config, text).expect("a config");
    let config = config.display().to_string();
    let sidecar = Sidecar::start(&["run", "--config", &config, "--tail", &log, "--json", "--to", &to]);
    sidecar.wait_until("the message", || broker.message_count(topic) == 1);
    sidecar.terminate();
    let ended = sidecar.end();

    let told = Told::read(&broker, topic);
    told.check(&written);
    told.check_ledger(&ended);
    assert_eq!(told.messages, 1);
}

/// Order is kept per stream, whatever stands between its records.
#[test]
#[ignore = "needs a broker"]
fn many_streams_over_several_partitions() {
    const FILES: usize = 5;
    let (broker, topic) = (Broker::shared(), "streams");
    broker.create_topic(topic, 3, &[]);
    let folder = tempfile::tempdir().expect("a folder");
    let all: Vec<(String, Written)> =
        (0..FILES).map(|n| (format!("{n}-json.log"), Written::incident(n as u64, 2_000))).collect();
    for (name, written) in &all {
        fs::write(folder.path().join(name), written.json()).expect("a log");
    }

    let to = format!("kafka://{}/{topic}", broker.address());
    let glob = folder.path().join("*-json.log").display().to_string();
    let ended = Sidecar::start(&["run", "--tail", &glob, "--until-eof", "--json", "--to", &to]).end();

    let told = Told::read(&broker, topic);
    told.check_ledger(&ended);
    for (name, written) in &all {
        told.of_file(name).check(written);
    }
    let streams: HashSet<&str> = told.records.iter().map(|record| record.stream.as_str()).collect();
    assert_eq!(streams.len(), 2 * FILES, "{streams:?}");
}

//! `squall consume`: what a user would run to read a topic back.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

use super::sidecar::Sidecar;
use super::written::Written;
use crate::support::broker::Broker;
use crate::support::process::{self, Ended, Running};

/// Reads a topic until nothing comes for a while.
#[track_caller]
pub(super) fn consume(address: &str, topic: &str, more: &[&str]) -> Ended {
    let from = format!("kafka://{address}/{topic}");
    let mut args = vec!["consume", "--from", &from, "--until-idle", "1s"];
    args.extend(more);
    process::run(Path::new("/"), args)
}

fn send_again(address: &str, topic: &str, records: &[&str]) {
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", address).create().expect("a producer");
    for record in records {
        let sent = producer.send(BaseRecord::to(topic).key("again").payload(*record));
        sent.map_err(|(error, _)| error).expect("room in the queue");
    }
    producer.flush(std::time::Duration::from_secs(30)).expect("all delivered");
}

/// Every form of message, several lanes, several partitions, records that come again, and something that is no record.
#[test]
#[ignore = "needs a broker"]
fn a_topic_is_read_back_once() {
    let (broker, topic) = (Broker::shared(), "recipe");
    broker.create_topic(topic, 3, &[]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x-json.log");
    fs::write(&file, Written::incident(21, 2_000).json()).expect("a log");
    let (log, to) = (file.display().to_string(), format!("kafka://{}/{topic}", broker.address()));
    let mut records = 0;
    for form in ["records", "gzip-ndjson", "zstd-ndjson"] {
        let state = folder.path().join(form).display().to_string();
        let form = format!("outputs.kafka.batch={form}");
        let args = ["run", "--tail", &log, "--state", &state, "--until-eof", "--json", "--to", &to, "--set"];
        let ended = Sidecar::start(&[&args[..], &[&form]].concat()).end();
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        records += ended.number("records_out");
    }

    let all = consume(broker.address(), topic, &["--json"]);
    let first: Vec<&str> = all.expect_code(0).stdout.lines().collect();
    assert_eq!(first.len() as u64, records);
    send_again(broker.address(), topic, &[&first[..100], &["not a record"]].concat());

    let once = consume(broker.address(), topic, &["--json", "--dedup"]);
    let mut lines: Vec<&str> = once.expect_code(0).stdout.lines().collect();
    let mut want = first.clone();
    // Partitions have no order among each other.
    lines.sort_unstable();
    want.sort_unstable();
    assert_eq!(lines, want);
    once.expect_said("100 left out because they had come before");
    once.expect_said("1 messages left out because they are not squall's");
    let twice = consume(broker.address(), topic, &[]);
    assert_eq!(twice.expect_code(0).stdout.lines().count() as u64, records + 100);
}

/// What cannot be read is an error that says so.
#[test]
#[ignore = "needs a broker"]
fn a_topic_that_is_not_there() {
    let broker = Broker::shared();
    consume(broker.address(), "recipe.never", &[]).expect_code(1).expect_said("does not exist");
    process::run(Path::new("/"), ["consume", "--from", "console"]).expect_code(2);
}

/// Who waits is told for what, long before it is given up. Needs no broker: there is none.
#[test]
fn nobody_there_is_told_soon() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
    let address = free.expect("a port that is free again").to_string();
    let from = format!("kafka://{address}/logs");
    let mut waiting = Running::start(&mut process::squall(Path::new("/"), ["consume", "--from", &from]));
    let told = format!("cannot reach Kafka so far: {address}: connection refused; trying for 30s\n");
    waiting.wait_until("why it waits", |waiting| waiting.stderr() == told);
    assert!(waiting.is_running());
}

//! What a topic does not take: batches and records that are too large for it, times that are too old. The output
//! alone, driven as the shipper drives it, because librdkafka's mock cluster knows no such limits.

use std::time::Duration;

use serde_json::Value;
use squall::daemon::clock;
use squall::engine::record::shrink::shrink;
use squall::engine::record::{Batch, Encoding, Key, Kind, LaneId, Meta};
use squall::output::kafka::{self, Compression, Kafka, Options, Packing};
use squall::output::{Output, OutputError, RefusalCause, Stamp};
use squall::units::{Lines, Now, Timestamp};

use crate::support::broker::{Broker, Message};

/// No wait is longer: 600 × 100 ms.
const WAITS: usize = 600;
const WAIT: Duration = Duration::from_millis(100);

/// Records of these sizes, numbered from 1, each standing for one line.
fn batch(sizes: &[usize], time: Timestamp) -> Batch {
    let mut batch = Batch { lane: LaneId(0xabc), keys: vec![Key::of("api")], ..Batch::default() };
    for (seq, size) in (1..).zip(sizes) {
        let id = format!("{}-{seq}", batch.lane);
        let text = "0123456789abcdef".repeat(size / 16);
        let record = serde_json::json!({"message": text, "squall": {"kind": "line", "id": id}});
        batch.bytes.extend_from_slice(record.to_string().as_bytes());
        let end = batch.bytes.len();
        batch.metas.push(Meta { end, seq, records: 1, kind: Kind::Line, lines: Lines(1), key: 0, time });
    }
    batch
}

/// What it took to deliver a batch.
#[derive(Debug, Default)]
struct Effort {
    producers: u32,
    replaced: Vec<u64>,
    again: u32,
}

/// Delivers everything as the shipper does: opens new producers, replaces what is refused.
fn deliver(output: &mut Output, batch: &Batch, seqs: u64) -> Effort {
    let mut effort = Effort::default();
    let mut from = 0;
    for _ in 0..WAITS {
        let now = clock::now();
        match output.offer(batch, from, now) {
            Ok(taken) => from += taken,
            Err(OutputError::Broken { .. }) => {
                output.reopen().expect("a new producer");
                (effort.producers, from) = (effort.producers + 1, 0);
            }
            Err(error) => panic!("{error}"),
        }
        for refusal in output.take_refusals() {
            effort.again += u32::from(refusal.again);
            effort.replaced.push(refusal.seq);
            answer(output, batch, refusal.seq, refusal.cause, now);
        }
        if output.standing().acked_upto == seqs {
            return effort;
        }
        output.wait(WAIT);
    }
    panic!("{effort:?}: {:?}", output.standing());
}

fn answer(output: &mut Output, batch: &Batch, seq: u64, cause: RefusalCause, now: Now) {
    let index = batch.metas.iter().position(|meta| meta.seq == seq).expect("a message begins with it");
    let mut records = kafka::unpack(batch, index).expect("it unpacks");
    let RefusalCause::TooLarge { limit } = cause else { return output.resend(&records, Stamp::Now, now) };
    let limit = usize::try_from(limit.0).expect("small");
    if batch.encoding != Encoding::Record && records.metas.len() > 1 {
        output.pack(&mut records).expect("it packs");
        return output.resend(&records, Stamp::Own, now);
    }
    let small = shrink(&records.bytes, limit).expect("it can be cut");
    (records.metas[0].end, records.bytes) = (small.len(), small);
    output.pack(&mut records).expect("it packs");
    output.resend(&records, Stamp::Own, now);
}

fn open(broker: &Broker, topic: &str, packing: Packing) -> Output {
    let options = Options {
        brokers: vec![broker.address().to_owned()],
        topic: topic.to_owned(),
        compression: Compression::None, // a broker weighs what it gets
        packing,
        ..Options::default()
    };
    Output::Kafka(Kafka::open(&options).expect("a producer"))
}

fn told(messages: &[Message]) -> Vec<Value> {
    messages.iter().map(|message| serde_json::from_slice(&message.value).expect("JSON")).collect()
}

#[test]
#[ignore = "needs a broker"]
fn fault_051_a_topic_that_takes_little_gets_everything() {
    let (broker, topic) = (Broker::shared(), "limits.size");
    broker.create_topic(topic, 1, &[("max.message.bytes", "2000")]);
    let sizes: Vec<usize> = (0..500).map(|n| if n % 100 == 99 { 50_000 } else { 300 }).collect();
    let batch = batch(&sizes, clock::now().wall);
    let mut output = open(&broker, topic, Packing::Records);
    let effort = deliver(&mut output, &batch, 500);
    // The topic was asked once, and its answer was enough: one new producer, and only the large ones were cut, once.
    assert_eq!((effort.producers, effort.again), (1, 0), "{effort:?}");
    assert_eq!(effort.replaced, [100, 200, 300, 400, 500]);
    let standing = output.standing();
    assert_eq!((standing.acked_records, standing.refused.records), (500, 0));
    let messages = broker.consume_all_with_console(topic);
    let mut whole = 0;
    for record in told(&messages) {
        if record["squall"]["rev"] == 1 {
            assert_eq!(record["squall"]["length"], 50_000 / 16 * 16);
            assert!(record["message"].as_str().expect("a text").len() > 1_000, "{record}");
        } else {
            whole += 1;
        }
    }
    // What was in flight when the first producer went may be there twice.
    assert!(whole >= 495 && messages.len() >= 500, "{whole} of {}", messages.len());
}

#[test]
#[ignore = "needs a broker"]
fn fault_051_packed_messages_are_packed_smaller() {
    let (broker, topic) = (Broker::shared(), "limits.packed");
    broker.create_topic(topic, 1, &[("max.message.bytes", "1200")]);
    let mut batch = batch(&[160; 2_000], clock::now().wall);
    let mut output = open(&broker, topic, Packing::GzipNdjson);
    output.pack(&mut batch).expect("it packs");
    assert!(batch.metas.len() < 10);
    deliver(&mut output, &batch, 2_000);
    let standing = output.standing();
    assert_eq!((standing.acked_upto, standing.refused.records), (2_000, 0));
}

#[test]
#[ignore = "needs a broker"]
fn fault_035_a_topic_with_a_narrow_window_of_time() {
    let (broker, topic) = (Broker::shared(), "limits.time");
    broker.create_topic(topic, 1, &[("message.timestamp.before.max.ms", "60000")]);
    let now = clock::now().wall;
    let old = Timestamp(now.0 - 600 * Timestamp::SECOND);
    let batch = batch(&[100; 20], old);
    let mut output = open(&broker, topic, Packing::Records);
    let effort = deliver(&mut output, &batch, 20);
    assert!(!effort.replaced.is_empty() && effort.again == 0, "{effort:?}");
    let mut ids: Vec<String> = told(&broker.consume_all_with_console(topic))
        .iter()
        .map(|record| record["squall"]["id"].as_str().expect("an id").to_owned())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20);
}

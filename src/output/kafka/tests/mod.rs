//! The producer against librdkafka's own mock cluster: real sockets on the loopback, real delivery reports.
//!
//! Here: what the tests share, and ordinary days. `bad_days` has the rows of `faults.md`.

mod bad_days;

use std::collections::BTreeMap;
use std::io::Read as _;

use rdkafka::Message as _;
use rdkafka::Timestamp as KafkaTime;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Headers as _, OwnedMessage};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::*;
use crate::engine::record::Kind;
use crate::output::testing;
use crate::units::{Lines, Monotonic, Timestamp};

const TOPIC: &str = "logs";
/// No wait in these tests is longer: 300 × 100 ms.
const WAITS: usize = 300;
const WAIT: Duration = Duration::from_millis(100);
/// When the records of `testing::batch` were written.
const NOW: Now = Now { arrival: Monotonic(0), wall: Timestamp(1_770_336_600 * Timestamp::SECOND) };

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn cluster(topics: &[&str]) -> Cluster {
    let cluster = MockCluster::new(1).expect("a mock cluster");
    for topic in topics {
        cluster.create_topic(topic, 1, 1).expect("a topic");
    }
    cluster
}

fn options(cluster: &Cluster) -> Options {
    // The mock's clients come back at once, so that the tests do.
    let extra =
        vec![("reconnect.backoff.ms".into(), "10".into()), ("reconnect.backoff.max.ms".into(), "50".into())];
    Options { brokers: vec![cluster.bootstrap_servers()], topic: TOPIC.into(), extra, ..Options::default() }
}

/// Waits until the standing satisfies; the failing line is the caller's.
#[track_caller]
fn until(kafka: &mut Kafka, what: &str, good: impl Fn(&Standing) -> bool) -> Standing {
    for _ in 0..WAITS {
        let standing = kafka.standing();
        if good(&standing) {
            return standing;
        }
        kafka.wait(WAIT);
    }
    panic!("{what} did not come: {:?}", kafka.standing());
}

/// Packs the batch as the shipper does before it commits, and offers it until all is taken.
#[track_caller]
fn offer_all(kafka: &mut Kafka, batch: &Batch) -> Batch {
    let mut batch = batch.clone();
    kafka.pack(&mut batch).expect("it packs");
    let mut from = 0;
    for _ in 0..WAITS {
        from += kafka.offer(&batch, from, NOW).expect("the producer works");
        if from == batch.metas.len() {
            return batch;
        }
        kafka.wait(WAIT);
    }
    panic!("only {from} were taken: {:?}", kafka.standing());
}

/// Reads messages from the beginning until they hold `records` records.
#[track_caller]
fn consume(cluster: &Cluster, records: usize) -> Vec<OwnedMessage> {
    let mut seen = 0;
    consume_until(cluster, records, |message| {
        seen += headers(message).get("squall-records").map_or(1, |count| count.parse().expect("a number"));
        seen >= records
    })
}

/// Reads messages from the beginning until one is the last that is wanted; there may be `most` of them.
#[track_caller]
fn consume_until(
    cluster: &Cluster,
    most: usize,
    mut is_last: impl FnMut(&OwnedMessage) -> bool,
) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "test")
        .create()
        .expect("a consumer");
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(TOPIC, 0, Offset::Beginning).expect("a partition");
    consumer.assign(&partitions).expect("assigned");
    let mut messages = Vec::new();
    for _ in 0..WAITS + most {
        if let Some(Ok(message)) = consumer.poll(WAIT) {
            let message = message.detach();
            let is_last = is_last(&message);
            messages.push(message);
            if is_last {
                return messages;
            }
        }
    }
    panic!("the last one did not arrive, but {} messages", messages.len());
}

fn headers(message: &OwnedMessage) -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    message
        .headers()
        .into_iter()
        .flat_map(|headers| headers.iter())
        .map(|header| (header.key.to_owned(), text(header.value.expect("a value"))))
        .collect()
}

/// The records of a message.
fn records(message: &OwnedMessage) -> Vec<String> {
    let payload = message.payload().expect("a payload");
    let mut reader: Box<dyn std::io::Read> =
        match headers(message).get("content-encoding").map(String::as_str) {
            Some("gzip") => Box::new(flate2::read::GzDecoder::new(payload)),
            Some("zstd") => Box::new(zstd::stream::read::Decoder::new(payload).expect("zstd")),
            _ => return vec![String::from_utf8(payload.to_vec()).expect("text")],
        };
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("the lines");
    text.lines().map(str::to_owned).collect()
}

/// `count` records of three streams.
fn many(count: usize) -> Batch {
    let texts: Vec<String> =
        (0..count).map(|n| format!(r#"{{"message":"record {n} é {}"}}"#, "abc ".repeat(n % 40))).collect();
    let streams = ["api", "db", "web"];
    let records: Vec<_> = texts.iter().enumerate().map(|(n, text)| (streams[n % 7 % 3], &**text)).collect();
    testing::batch(1, &records)
}

/// What each stream should say.
fn by_stream<'a>(records: impl Iterator<Item = (&'a str, String)>) -> BTreeMap<String, Vec<String>> {
    let mut streams: BTreeMap<String, Vec<String>> = BTreeMap::new();
    records.for_each(|(stream, record)| streams.entry(stream.to_owned()).or_default().push(record));
    streams
}

#[test]
fn ten_thousand_records_arrive_as_they_were() {
    #[track_caller]
    fn check(packing: Packing, compression: Compression) {
        let cluster = cluster(&[TOPIC]);
        let mut kafka =
            Kafka::open(&Options { packing, compression, ..options(&cluster) }).expect("a producer");
        let batch = many(10_000);
        let packed = offer_all(&mut kafka, &batch);
        let standing = until(&mut kafka, "the last report", |standing| standing.acked_upto == 10_000);
        assert_eq!((standing.acked_records, standing.in_flight_records), (10_000, 0));
        assert_eq!((standing.in_flight_bytes, standing.in_flight_lines), (Bytes(0), Lines(0)));
        assert_eq!(standing.bytes_out, Bytes(packed.bytes.len() as u64));
        assert_eq!((standing.trouble, standing.refused.records), (None, 0));
        let messages = consume(&cluster, 10_000);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        let sent = by_stream(
            batch.iter().map(|(meta, record)| (&*batch.keys[meta.key as usize].stream, text(record))),
        );
        let got = by_stream(messages.iter().flat_map(|message| {
            let stream = std::str::from_utf8(message.key().expect("a key")).expect("text");
            records(message).into_iter().map(move |record| (stream, record))
        }));
        assert!(sent == got, "{packing:?} {compression:?} changed the records");
        let wire = until(&mut kafka, "statistics", |standing| standing.bytes_wire > Some(Bytes(10_000)));
        if packing != Packing::Records || compression != Compression::None {
            let raw = Bytes(batch.bytes.len() as u64);
            assert!(wire.bytes_wire < Some(raw), "{packing:?} {compression:?} did not compress");
        }
    }
    for compression in
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
    {
        check(Packing::Records, compression);
    }
    check(Packing::GzipNdjson, Compression::None);
    check(Packing::ZstdNdjson, Compression::Zstd); // which is then not compressed twice
}

#[test]
fn messages_say_what_they_hold() {
    #[track_caller]
    fn check(packing: Packing, wanted: HeaderSet, want: &[(&str, &[(&str, &str)])]) {
        let cluster = cluster(&[TOPIC]);
        let options = Options { packing, headers: wanted, ..options(&cluster) };
        let mut kafka = Kafka::open(&options).expect("a producer");
        let mut batch = testing::batch(7, &[("a", "{}"), ("b", "{}"), ("a", "{}")]);
        batch.metas[1].kind = Kind::Summary;
        batch.metas[1].time = Timestamp(0); // far from now
        offer_all(&mut kafka, &batch);
        until(&mut kafka, "the last report", |standing| standing.acked_upto == 9);
        let messages = consume(&cluster, 3);
        assert_eq!(messages.len(), want.len());
        for (message, (key, want)) in messages.iter().zip(want) {
            assert_eq!(message.key(), Some(key.as_bytes()));
            assert_eq!(message.timestamp(), KafkaTime::CreateTime(1_770_336_600_000));
            let want =
                want.iter().map(|(name, value)| ((*name).to_owned(), value.replace('L', LANE))).collect();
            assert_eq!(headers(message), want);
        }
    }
    const LANE: &str = "00000000000000000000000000000abc";
    const JSON: (&str, &str) = ("content-type", "application/json");
    check(
        Packing::Records,
        HeaderSet::All,
        &[
            ("a", &[("squall-id", "L-7"), ("squall-kind", "line"), JSON]),
            ("b", &[("squall-id", "L-8"), ("squall-kind", "summary"), JSON]),
            ("a", &[("squall-id", "L-9"), ("squall-kind", "line"), JSON]),
        ],
    );
    let ids = [("a", "L-7"), ("b", "L-8"), ("a", "L-9")].map(|(key, id)| (key, [("squall-id", id)]));
    check(Packing::Records, HeaderSet::Id, &ids.each_ref().map(|(key, id)| (*key, &id[..])));
    check(Packing::Records, HeaderSet::None, &[("a", &[]), ("b", &[]), ("a", &[])]);
    let ndjson = ("content-type", "application/x-ndjson");
    // Consumers could not unpack them without.
    for (packing, wanted, encoding) in
        [(Packing::GzipNdjson, HeaderSet::All, "gzip"), (Packing::ZstdNdjson, HeaderSet::None, "zstd")]
    {
        let encoding = ("content-encoding", encoding);
        check(
            packing,
            wanted,
            &[
                (
                    "a",
                    &[
                        ("squall-id", "L-7"),
                        ("squall-id-last", "L-9"),
                        ("squall-kind", "batch"),
                        ("squall-records", "2"),
                        ndjson,
                        encoding,
                    ],
                ),
                (
                    "b",
                    &[
                        ("squall-id", "L-8"),
                        ("squall-id-last", "L-8"),
                        ("squall-kind", "batch"),
                        ("squall-records", "1"),
                        ndjson,
                        encoding,
                    ],
                ),
            ],
        );
    }
}

#[test]
fn no_broker_at_all_is_told() {
    // A port that was free a moment ago, on which nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("a port")
        .port();
    let broker = format!("127.0.0.1:{port}");
    let options = Options { brokers: vec![broker.clone()], topic: TOPIC.into(), ..Options::default() };
    let mut kafka = Kafka::open(&options).expect("a producer");
    assert_eq!(kafka.offer(&testing::batch(1, &[("s", "{}")]), 0, NOW).expect("no error"), 0);
    let standing = until(&mut kafka, "the trouble", |standing| standing.trouble.is_some());
    let want = format!("cannot reach any broker of {broker}: connection refused");
    assert_eq!(standing.trouble, Some(want));
    kafka.close(Duration::ZERO);
}

#[test]
fn a_plaintext_port_is_told() {
    let cluster = cluster(&[TOPIC]);
    let mut kafka =
        Kafka::open(&Options { tls: Some(Tls::default()), ..options(&cluster) }).expect("a producer");
    let standing = until(&mut kafka, "the trouble", |standing| standing.trouble.is_some());
    let trouble = standing.trouble.unwrap_or_default();
    assert!(trouble.ends_with(": connecting to a PLAINTEXT broker listener?"), "{trouble}");
}

#[test]
fn fault_054_slow_answers_are_waited_for() {
    let cluster = cluster(&[TOPIC]);
    // Longer than the first look-up may take.
    cluster.broker_round_trip_time(1, Duration::from_millis(700)).expect("a slow broker");
    let mut kafka = Kafka::open(&options(&cluster)).expect("a producer");
    offer_all(&mut kafka, &testing::batch(1, &[("s", "{}")]));
    let standing = until(&mut kafka, "the report", |standing| standing.acked_upto == 1);
    assert_eq!(standing.trouble, None);
}

#[test]
fn a_missing_topic_is_told_and_awaited() {
    let cluster = cluster(&["other"]);
    let mut kafka = Kafka::open(&options(&cluster)).expect("a producer");
    let batch = testing::batch(1, &[("s", "{}")]);
    assert_eq!(kafka.offer(&batch, 0, NOW).expect("no error"), 0);
    let standing = until(&mut kafka, "the trouble", |standing| standing.trouble.is_some());
    let want = format!("topic \"logs\" does not exist on {}", cluster.bootstrap_servers());
    assert_eq!(standing.trouble, Some(want));
    cluster.create_topic(TOPIC, 1, 1).expect("a topic");
    offer_all(&mut kafka, &batch);
    let standing = until(&mut kafka, "the report", |standing| standing.acked_upto == 1);
    assert_eq!(standing.trouble, None);
}

#[test]
fn closing_waits_for_reports_but_not_for_ever() {
    let cluster = cluster(&[TOPIC]);
    let mut kafka =
        Kafka::open(&Options { packing: Packing::GzipNdjson, ..options(&cluster) }).expect("a producer");
    offer_all(&mut kafka, &testing::batch(1, &[("s", "{}")]));
    let shared = Arc::clone(&kafka.running.shared.0);
    assert_eq!(kafka.close(Duration::from_secs(30)).acked_upto, 1);
    assert!(shared.wait_until(Duration::from_secs(30), |state| state.stopped), "the producer is torn down");

    let mut kafka = Kafka::open(&options(&cluster)).expect("a producer");
    offer_all(&mut kafka, &testing::batch(1, &[("s", "{}")]));
    until(&mut kafka, "the report", |standing| standing.acked_upto == 1);
    cluster.broker_down(-1).expect("the broker goes");
    offer_all(&mut kafka, &testing::batch(2, &[("s", "{}")]));
    let standing = kafka.close(Duration::from_millis(50));
    assert_eq!((standing.acked_upto, standing.in_flight_records), (1, 1));
}

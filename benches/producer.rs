//! What librdkafka alone costs: the lower bound for everything that sends one message a record through it.
//!
//! `SQUALL_BENCH_KAFKA=HOST:PORT/TOPIC cargo bench --bench producer`, with a broker that is there already and a topic that
//! is good for nothing else: it gets two gigabytes. Prints microseconds of the process's CPU time a message, callbacks
//! and librdkafka's threads included. The messages are what the engine makes of the mixed corpus; making them is not counted.

mod common;

use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rustix::time::{ClockId, clock_gettime};
use squall::engine::record::Batch;

use common::records;

/// Sent in each round, in as many turns as it takes.
const MESSAGES: usize = 400_000;
/// As the shipper has it: above this it waits.
const IN_FLIGHT: i32 = 8_000;

fn main() {
    let Ok(place) = std::env::var("SQUALL_BENCH_KAFKA") else {
        println!("skipped: SQUALL_BENCH_KAFKA=HOST:PORT/TOPIC names no broker");
        return;
    };
    let (brokers, topic) = place.split_once('/').expect("HOST:PORT/TOPIC");
    let batch = records(20 << 20);
    let size = batch.bytes.len() / batch.metas.len();
    println!("{} different messages of {size} bytes, {MESSAGES} sent in each round", batch.metas.len());
    for (codec, headers) in
        [("zstd", true), ("zstd", false), ("lz4", true), ("lz4", false), ("none", true), ("none", false)]
    {
        let micros = (0..3).map(|_| round(brokers, topic, &batch, codec, headers)).fold(f64::MAX, f64::min);
        let headers = if headers { "3 headers" } else { "no header" };
        println!("{codec:5} {headers}: {micros:.2} µs of CPU a message");
    }
}

struct Context;

impl ClientContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        assert!(result.is_ok(), "{result:?}");
    }
}

/// CPU microseconds a message.
fn round(brokers: &str, topic: &str, batch: &Batch, codec: &str, headers: bool) -> f64 {
    let config = [
        ("bootstrap.servers", brokers),
        ("enable.idempotence", "true"),
        ("linger.ms", "50"),
        ("compression.type", codec),
        ("compression.level", if codec == "zstd" { "1" } else { "-1" }),
    ];
    let config: ClientConfig =
        config.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let before = clock_gettime(ClockId::ProcessCPUTime);
    let producer: BaseProducer<Context> = config.create_with_context(Context).expect("a producer");
    for index in 0..MESSAGES {
        let (meta, payload) = batch.get(index % batch.metas.len()).expect("a message");
        let key = &*batch.keys[meta.key as usize].stream;
        let mut record = BaseRecord::to(topic).key(key).payload(payload).timestamp(1);
        if headers {
            let id = format!("{}-{}", batch.lane, meta.seq);
            let header = |key, value| Header { key, value: Some(value) };
            record.headers = Some(
                OwnedHeaders::new_with_capacity(3)
                    .insert(header("squall-id", &*id))
                    .insert(header("squall-kind", meta.kind.as_str()))
                    .insert(header("content-type", "application/json")),
            );
        }
        producer.send(record).map_err(|(error, _)| error).expect("librdkafka takes it");
        while producer.in_flight_count() > IN_FLIGHT {
            producer.poll(Duration::from_millis(1));
        }
    }
    producer.flush(Duration::from_secs(60)).expect("it arrives");
    let spent = clock_gettime(ClockId::ProcessCPUTime) - before;
    (spent.tv_sec as f64 * 1e6 + spent.tv_nsec as f64 / 1e3) / MESSAGES as f64
}

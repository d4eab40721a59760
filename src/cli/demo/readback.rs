//! Reads a topic back and counts what the records say: the other end of the promise, seen by a plain consumer.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use crate::daemon::clock;
use crate::units::{Bytes, Lines};

/// Where a topic ended at some moment.
#[derive(Clone, Debug)]
pub struct Position {
    brokers: String,
    topic: String,
    /// Partition and the offset of the next record there.
    partitions: Vec<(i32, i64)>,
}

/// What was read.
#[derive(Debug, Default)]
pub struct Readback {
    /// Records.
    pub records: u64,
    /// Lines that came word for word.
    pub verbatim: Lines,
    /// Lines counted in summaries.
    pub summarised: Lines,
    /// Lines counted in notices.
    pub noticed: Lines,
    /// Bytes of all records.
    pub bytes: Bytes,
    /// The first records, for showing.
    pub first: Vec<Value>,
    /// The first summaries.
    pub summaries: Vec<Value>,
    /// The newest record about a loop.
    pub told_loop: Option<Value>,
    /// The first alerts that fired.
    pub alerts: Vec<Value>,
    /// How often each text came, by its hash.
    texts: HashMap<u64, u32>,
}

/// Records that are kept for showing, of each kind.
const SHOWN: usize = 200;

impl Readback {
    /// All lines that the records stand for.
    pub fn lines(&self) -> Lines {
        self.verbatim + self.summarised + self.noticed
    }

    /// How many of these texts, by their hash, did not come word for word.
    pub fn missing(&self, wanted: &[u64]) -> usize {
        let mut left = self.texts.clone();
        let mut came =
            |hash: &u64| left.get_mut(hash).and_then(|count| count.checked_sub(1).map(|less| *count = less));
        wanted.iter().filter(|hash| came(hash).is_none()).count()
    }

    fn count(&mut self, payload: &[u8]) -> anyhow::Result<()> {
        let record: Value = serde_json::from_slice(payload).context("a record is no JSON")?;
        self.records += 1;
        self.bytes += Bytes(payload.len() as u64);
        let squall = &record["squall"];
        let count = Lines(squall["count"].as_u64().unwrap_or(0));
        match squall["kind"].as_str() {
            Some("line") => {
                self.verbatim += Lines(1);
                let text = record["message"].as_str().unwrap_or_default();
                *self.texts.entry(xxh3_64(text.as_bytes())).or_default() += 1;
            }
            Some("summary") => {
                self.summarised += count;
                if self.summaries.len() < SHOWN {
                    self.summaries.push(record.clone());
                }
            }
            Some("notice") => self.noticed += count,
            // It says something about lines that are all told elsewhere.
            Some("loop") => {
                self.told_loop = Some(record);
                return Ok(());
            }
            Some("alert") => {
                if squall["state"] == "firing" && self.alerts.len() < SHOWN {
                    self.alerts.push(record);
                }
                return Ok(());
            }
            other => bail!("a record of an unknown kind: {other:?}"),
        }
        if self.first.len() < SHOWN {
            self.first.push(record);
        }
        Ok(())
    }
}

impl Position {
    /// Where `topic` ends now.
    pub fn now(brokers: &[String], topic: &str, at_most: Duration) -> anyhow::Result<Position> {
        let brokers = brokers.join(",");
        let consumer = consumer(&brokers)?;
        let metadata = consumer
            .fetch_metadata(Some(topic), at_most.min(Duration::from_secs(10)))
            .with_context(|| format!("cannot reach Kafka at {brokers}"))?;
        let known = metadata.topics().iter().find(|known| known.name() == topic && known.error().is_none());
        let Some(known) = known else { bail!("topic {topic:?} does not exist on {brokers}") };
        let mut partitions = Vec::new();
        for partition in known.partitions() {
            let (_, end) = consumer.fetch_watermarks(topic, partition.id(), at_most)?;
            partitions.push((partition.id(), end));
        }
        Ok(Position { brokers, topic: topic.to_owned(), partitions })
    }
}

/// Reads `records` records behind `from`.
pub fn read_back(from: &Position, records: u64, at_most: Duration) -> anyhow::Result<Readback> {
    let consumer = consumer(&from.brokers)?;
    let mut list = TopicPartitionList::new();
    for (partition, offset) in &from.partitions {
        list.add_partition_offset(&from.topic, *partition, Offset::Offset(*offset))?;
    }
    consumer.assign(&list).context("cannot read the topic back")?;
    let deadline = clock::now().arrival + at_most;
    let mut back = Readback::default();
    while back.records < records {
        if clock::now().arrival > deadline {
            bail!("only {} of {records} records came back within {at_most:?}", back.records);
        }
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => back.count(message.payload().unwrap_or_default())?,
            Some(Err(error)) => bail!("cannot read the topic back: {error}"),
            None => {}
        }
    }
    Ok(back)
}

fn consumer(brokers: &str) -> anyhow::Result<BaseConsumer> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("group.id", "squall-readback")
        .set("enable.auto.commit", "false");
    config.create().context("cannot make a Kafka consumer")
}

//! Reads a topic, as far as it goes, and goes on from there the next time.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

/// Where reading a topic stands.
pub(crate) struct Topic {
    consumer: BaseConsumer,
    name: String,
    /// The next offset of each partition.
    next: Vec<i64>,
}

impl Topic {
    /// From its beginning, all partitions.
    pub(crate) fn open(address: &str, name: &str) -> Topic {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", address)
            .set("group.id", "rig")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "20")
            .set("queued.max.messages.kbytes", "16384")
            .set("reconnect.backoff.max.ms", "500")
            .create()
            .expect("a consumer");
        let metadata = consumer.fetch_metadata(Some(name), ANSWER_MAX).expect("the broker answers");
        let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        assert!(partitions > 0, "topic {name} does not exist");
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            let partition = i32::try_from(partition).expect("few partitions");
            list.add_partition_offset(name, partition, Offset::Beginning).expect("an offset");
        }
        consumer.assign(&list).expect("partitions");
        Topic { consumer, name: name.to_owned(), next: vec![0; partitions] }
    }

    /// Hands on everything that stands in the topic now.
    #[track_caller]
    pub(crate) fn drain(&mut self, sink: &mut impl FnMut(&[u8])) {
        let ends: Vec<i64> = (0..self.next.len())
            .map(|partition| {
                let partition = i32::try_from(partition).expect("few partitions");
                let marks = self.consumer.fetch_watermarks(&self.name, partition, ANSWER_MAX);
                marks.expect("the broker answers").1
            })
            .collect();
        let mut quiet = Duration::ZERO;
        while self.next.iter().zip(&ends).any(|(next, end)| next < end) {
            if self.poll(LOOK, sink) {
                quiet = Duration::ZERO;
            } else {
                quiet += LOOK;
                assert!(quiet < ANSWER_MAX, "{:?} of {ends:?} in {} can be read", self.next, self.name);
            }
        }
    }

    /// How far reading is behind what stands in the topic: whether it is the writer or the reader that stands still.
    pub(crate) fn standing(&self) -> String {
        let end = |partition: usize| {
            let partition = i32::try_from(partition).ok()?;
            Some(self.consumer.fetch_watermarks(&self.name, partition, ANSWER_MAX).ok()?.1)
        };
        let ends: Vec<Option<i64>> = (0..self.next.len()).map(end).collect();
        format!("read up to {:?} of {ends:?}", self.next)
    }

    /// Hands on what comes next, if something comes within `wait`. A broker that is away is no reason to fail.
    pub(crate) fn poll(&mut self, wait: Duration, sink: &mut impl FnMut(&[u8])) -> bool {
        match self.consumer.poll(wait) {
            Some(Ok(message)) => {
                self.next[usize::try_from(message.partition()).expect("a partition")] = message.offset() + 1;
                unpack(&message, sink);
                true
            }
            Some(Err(_)) | None => false,
        }
    }
}

/// The records in a message.
fn unpack(message: &BorrowedMessage<'_>, sink: &mut impl FnMut(&[u8])) {
    let payload = message.payload().unwrap_or_default();
    let encoding = message.headers().and_then(|headers| {
        headers.iter().find(|header| header.key == "content-encoding").and_then(|header| header.value)
    });
    let mut text = Vec::new();
    match encoding {
        None => return sink(payload),
        Some(b"gzip") => std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(payload), &mut text),
        Some(b"zstd") => zstd::stream::copy_decode(payload, &mut text).map(|()| 0),
        Some(other) => panic!("content-encoding {:?}", String::from_utf8_lossy(other)),
    }
    .expect("a message can be unpacked");
    text.split(|byte| *byte == b'\n').filter(|record| !record.is_empty()).for_each(sink);
}

const ANSWER_MAX: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);

//! What a broker holds, read without a client of ours: by Kafka's own console consumer, and from its disk.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::server::finish;
use super::{Broker, DATA};

/// A message as Kafka's console consumer printed it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) partition: u32,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) key: Option<String>,
    pub(crate) value: Vec<u8>,
}

/// A batch of messages as it stands on the broker's disk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StoredBatch {
    pub(crate) bytes: u64,
    pub(crate) messages: u32,
    /// `none`, `gzip`, `snappy`, `lz4` or `zstd`.
    pub(crate) codec: &'static str,
}

impl Broker {
    /// How many messages stand in a topic, on the broker's disk.
    pub(crate) fn message_count(&self, topic: &str) -> u64 {
        self.stored_batches(topic).iter().map(|batch| u64::from(batch.messages)).sum()
    }

    /// The bytes that a topic takes up on the broker's disk: record batches as the producer sent them, compressed.
    pub(crate) fn stored_bytes(&self, topic: &str) -> u64 {
        self.stored_batches(topic).iter().map(|batch| batch.bytes).sum()
    }

    /// A topic's record batches, read from the broker's disk: nobody's client stands between.
    pub(crate) fn stored_batches(&self, topic: &str) -> Vec<StoredBatch> {
        let files =
            |folder: &Path| fs::read_dir(folder).expect("folder is there").map(|entry| entry.unwrap());
        let of_topic = |name: &str| name.rsplit_once('-').is_some_and(|(stem, _partition)| stem == topic);
        files(&self.folder.path().join(DATA))
            .filter(|entry| of_topic(&entry.file_name().to_string_lossy()))
            .flat_map(|partition| files(&partition.path()))
            .filter(|file| file.path().extension().is_some_and(|kind| kind == "log"))
            .flat_map(|segment| parse_batches(&fs::read(segment.path()).expect("segment is there")))
            .collect()
    }

    /// Reads a topic from its beginning with Kafka's own console consumer, all that stands in it now.
    pub(crate) fn consume_all_with_console(&self, topic: &str) -> Vec<Message> {
        self.consume_with_console(topic, self.message_count(topic))
    }

    /// Reads a topic from its beginning with Kafka's own console consumer, waits until `expected` messages have
    /// come, and fails when there are fewer or more. The order is that of each partition.
    pub(crate) fn consume_with_console(&self, topic: &str, expected: u64) -> Vec<Message> {
        let mut messages = Vec::new();
        if expected > 0 {
            let mut tool = self.tool("org.apache.kafka.tools.consumer.ConsoleConsumer");
            tool.args(["--topic", topic, "--from-beginning", "--max-messages", &expected.to_string()]);
            tool.args(["--timeout-ms", &CONSUMER_IDLE_MAX.as_millis().to_string()]);
            for shown in ["partition", "headers", "key", "value"] {
                tool.args(["--formatter-property", &format!("print.{shown}=true")]);
            }
            let separators = [("key", FIELD_END), ("headers", HEADER_END), ("line", MESSAGE_END)];
            for (name, separator) in separators {
                tool.args(["--formatter-property", &format!("{name}.separator={separator}")]);
            }
            tool.args(["--formatter-property", &format!("null.literal={NULL}")]);
            messages = parse_messages(&finish(&mut tool).stdout);
        }
        assert_eq!(messages.len() as u64, expected, "messages that the console consumer found in {topic}");
        assert_eq!(self.message_count(topic), expected, "messages in {topic} after those were read");
        messages
    }
}

/// Reads what the console consumer printed: `Partition:0`, headers, key, value, each ended by its separator.
fn parse_messages(printed: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut rest = printed;
    while let Some(end) = memchr::memmem::find(rest, MESSAGE_END.as_bytes()) {
        let mut fields = rest[..end].splitn(4, |byte| *byte == FIELD_END.as_bytes()[0]);
        let mut text = || str::from_utf8(fields.next().expect("four fields")).expect("text");
        let (partition, headers, key) = (text(), text(), text());
        messages.push(Message {
            partition: partition.trim_start_matches("Partition:").parse().expect("a partition"),
            headers: parse_headers(headers),
            key: (key != NULL).then(|| key.to_owned()),
            value: fields.next().expect("four fields").to_vec(),
        });
        rest = &rest[end + MESSAGE_END.len()..];
    }
    assert!(rest.is_empty(), "half a message: {:?}", String::from_utf8_lossy(rest));
    messages
}

/// Reads the heads of the record batches of a segment (Kafka's message format 2).
fn parse_batches(segment: &[u8]) -> Vec<StoredBatch> {
    let number = |at: usize| u32::from_be_bytes(segment[at..at + 4].try_into().expect("four bytes"));
    let mut batches = Vec::new();
    let mut start = 0;
    // Base offset (8), length behind it (4), leader epoch (4), magic (1), checksum (4), attributes (2), …,
    // count at 57. A batch that is being written while we look has no end yet.
    while start + 61 <= segment.len() && start + 12 + number(start + 8) as usize <= segment.len() {
        assert_eq!(segment[start + 16], 2, "the message format");
        let codec = ["none", "gzip", "snappy", "lz4", "zstd"][usize::from(segment[start + 22] & 7)];
        let bytes = 12 + u64::from(number(start + 8));
        batches.push(StoredBatch { bytes, messages: number(start + 57), codec });
        start += bytes as usize;
    }
    batches
}

fn parse_headers(printed: &str) -> Vec<(String, String)> {
    if printed == "NO_HEADERS" {
        return Vec::new();
    }
    let one = |header: &str| header.split_once(':').map(|(name, value)| (name.to_owned(), value.to_owned()));
    printed.split(HEADER_END).map(|header| one(header).expect("name:value")).collect()
}

/// How long the console consumer waits for the next message.
const CONSUMER_IDLE_MAX: Duration = Duration::from_secs(20);

/// Separators that no key or header of ours holds; values may hold anything but the whole of the last.
const FIELD_END: &str = "\u{1f}";
const HEADER_END: &str = "\u{1e}";
const MESSAGE_END: &str = "\u{1d}end-of-message-5d1c\u{1d}\n";
const NULL: &str = "\u{18}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn console_output_is_parsed_back() {
        #[track_caller]
        fn check(printed: &str, want: &[(u32, usize, Option<&str>, &str)]) {
            let printed = printed.replace('|', "\u{1f}").replace('~', "\u{1e}").replace('$', MESSAGE_END);
            let messages = parse_messages(printed.replace('0', NULL).as_bytes());
            let got: Vec<_> = messages
                .iter()
                .map(|m| (m.partition, m.headers.len(), m.key.as_deref(), str::from_utf8(&m.value).unwrap()))
                .collect();
            assert_eq!(got, want, "{printed:?}");
        }
        check("", &[]);
        check("Partition:1|NO_HEADERS|k|v$", &[(1, 0, Some("k"), "v")]);
        check("Partition:1|a:b~c:d:e|0|a|b\n$", &[(1, 2, None, "a\u{1f}b\n")]);
        check("Partition:1|a:b|k|$Partition:2|a:b|k|v$", &[(1, 1, Some("k"), ""), (2, 1, Some("k"), "v")]);
    }
}

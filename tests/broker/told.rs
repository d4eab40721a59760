//! What a topic says, and the checks that every topic must pass.

use std::collections::{HashMap, HashSet};
use std::thread;
use std::time::Duration;

use flate2::read::GzDecoder;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;
use squall::engine::frame::IoStream;

use super::sidecar::Ended;
use super::written::Written;
use crate::support::broker::{Broker, Message};

/// The records of a topic, in the order of each partition.
pub(super) struct Told {
    pub(super) records: Vec<Record>,
    /// Kafka messages; fewer than records when they are packed.
    pub(super) messages: usize,
}

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    pub(super) seq: u64,
    pub(super) kind: String,
    /// The stream, which is also the Kafka key.
    pub(super) stream: String,
    pub(super) message: String,
    /// The lines that it stands for.
    pub(super) count: u64,
    pub(super) json: Value,
}

impl Told {
    /// Reads a topic that one run of squall wrote, with Kafka's own console consumer.
    #[track_caller]
    pub(super) fn read(broker: &Broker, topic: &str) -> Told {
        Told::of(&broker.consume_all_with_console(topic))
    }

    /// What these messages say. Fails when a header does not fit its record, a number is missing or comes
    /// twice, or a stream is out of order.
    #[track_caller]
    fn of(messages: &[Message]) -> Told {
        let records: Vec<Record> = messages.iter().flat_map(unwrap).collect();
        let lanes: HashSet<&str> = records.iter().map(Record::lane).collect();
        assert!(lanes.len() <= 1, "one run is one lane: {lanes:?}");
        let mut seqs: Vec<u64> = records.iter().map(|record| record.seq).collect();
        seqs.sort_unstable();
        assert!(seqs.iter().copied().eq(1..=seqs.len() as u64), "gaps or duplicates in {seqs:?}");
        let mut last = HashMap::new();
        for record in &records {
            let before = last.insert(&record.stream, record.seq);
            assert!(before < Some(record.seq), "{:?} comes before {before:?}", record.seq);
        }
        Told { messages: messages.len(), records }
    }

    /// The lines that records of this kind stand for.
    pub(super) fn lines_in(&self, kind: &str) -> u64 {
        self.of_kind(kind).map(|record| record.count).sum()
    }

    pub(super) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| record.kind == kind)
    }

    /// The records about one file.
    pub(super) fn of_file(&self, name: &str) -> Told {
        let is_of = |record: &&Record| {
            record.json["log"]["file"]["path"].as_str().is_some_and(|path| path.ends_with(name))
        };
        Told { records: self.records.iter().filter(is_of).cloned().collect(), messages: 0 }
    }

    /// The promise: every line is here word for word or counted once; every calm line is here word for word;
    /// nothing is here that was not written; what is here word for word stands in the order of writing.
    #[track_caller]
    pub(super) fn check(&self, written: &Written) {
        let lines = ["line", "summary", "notice"].map(|kind| self.lines_in(kind));
        assert_eq!(lines.iter().sum::<u64>(), written.lines().len() as u64, "{lines:?}");
        for record in self.of_kind("line") {
            let squall = &record.json["squall"];
            let whole = squall["parse_error"].is_null() && squall["complete"].is_null();
            assert!(
                whole && record.json["log"]["iostream"].is_string(),
                "not word for word: {}",
                record.json
            );
        }
        for (stream, name) in [(IoStream::Stdout, "stdout"), (IoStream::Stderr, "stderr")] {
            let mut come =
                self.of_kind("line").filter(|record| record.json["log"]["iostream"] == name).peekable();
            for line in written.lines().iter().filter(|line| line.stream == stream) {
                let comes = come.next_if(|record| record.message == line.text).is_some();
                assert!(comes || !line.calm, "{:?} is not here; next is {:?}", line.text, come.peek());
            }
            assert_eq!(come.next(), None, "this was not written, or not so often, or earlier");
        }
    }

    /// A run that went well, and whose ledger says what the topic says.
    #[track_caller]
    pub(super) fn check_ledger(&self, ended: &Ended) {
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        let records = self.records.len() as u64;
        let lines = ["line", "summary", "notice"].map(|kind| self.lines_in(kind));
        let want = [
            ("conservation_error", 0),
            ("lines_in", lines.iter().sum::<u64>() + ended.number("lines_partial")),
            ("lines_verbatim", lines[0]),
            ("lines_summarised", lines[1]),
            ("lines_noticed", lines[2]),
            ("lines_open", 0),
            ("records_out", records),
            ("records_delivered", records),
            ("records_undelivered", 0),
            ("lines_undelivered", 0),
            ("summaries", self.of_kind("summary").count() as u64),
            ("notices", self.of_kind("notice").count() as u64),
        ];
        for (name, want) in want {
            assert_eq!(ended.number(name), want, "{name}: {ended:#?}");
        }
    }
}

impl Record {
    fn parse(text: &str) -> Record {
        let json: Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("no JSON: {text}"));
        let squall = &json["squall"];
        let word = |value: &Value| {
            value.as_str().unwrap_or_else(|| panic!("something is missing: {text}")).to_owned()
        };
        let (id, kind) = (word(&squall["id"]), word(&squall["kind"]));
        assert_eq!(squall["v"], 1, "{text}");
        let count = match kind.as_str() {
            "line" => Some(1),
            // They say something about lines that are told elsewhere.
            "loop" | "alert" => Some(0),
            _ => squall["count"].as_u64(),
        };
        Record {
            seq: id
                .rsplit('-')
                .next()
                .and_then(|seq| seq.parse().ok())
                .unwrap_or_else(|| panic!("no number: {id}")),
            kind,
            stream: word(&squall["stream"]),
            message: word(&json["message"]),
            count: count.unwrap_or_else(|| panic!("no count: {text}")),
            json,
        }
    }

    pub(super) fn id(&self) -> &str {
        self.json["squall"]["id"].as_str().unwrap_or_default()
    }

    fn lane(&self) -> &str {
        self.id().rsplit_once('-').map_or("", |(lane, _)| lane)
    }
}

/// The records in a message, whose headers must fit them.
#[track_caller]
fn unwrap(message: &Message) -> Vec<Record> {
    let header = |name: &str| {
        let mut found = message.headers.iter().filter(|(header, _)| header == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} comes twice: {:?}", message.headers);
        value
    };
    let text = match header("content-encoding") {
        None => message.value.clone(),
        Some("gzip") => decoded(GzDecoder::new(&*message.value)),
        Some("zstd") => decoded(zstd::Decoder::new(&*message.value).expect("a decoder")),
        Some(other) => panic!("unknown content-encoding {other}"),
    };
    let text = String::from_utf8(text).expect("records are text");
    let records: Vec<Record> = text.split_terminator('\n').map(Record::parse).collect();
    let (first, last) = (records.first().expect("a record"), records.last().expect("a record"));
    assert_eq!(header("squall-id"), Some(first.id()));
    if header("content-encoding").is_some() {
        assert!(text.ends_with('\n'), "the last record ends with a newline too");
        assert_eq!(header("content-type"), Some("application/x-ndjson"));
        assert_eq!(header("squall-kind"), Some("batch"));
        assert_eq!(header("squall-id-last"), Some(last.id()));
        assert_eq!(header("squall-records"), Some(records.len().to_string().as_str()));
    } else {
        assert_eq!(records.len(), 1, "{text}");
        assert_eq!(header("content-type"), Some("application/json"));
        assert_eq!(header("squall-kind"), Some(first.kind.as_str()));
    }
    for record in &records {
        assert_eq!(message.key.as_deref(), Some(record.stream.as_str()), "{:?}", record.json);
    }
    records
}

fn decoded(mut decoder: impl std::io::Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    decoder.read_to_end(&mut bytes).expect("what was compressed");
    bytes
}

/// Waits until a record that holds `text` stands in the topic. Only to know when to go on: what counts is
/// read later, by Kafka's own consumer.
#[track_caller]
pub(super) fn wait_for_record(broker: &Broker, topic: &str, text: &str) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.address())
        .set("group.id", "watch")
        .create()
        .expect("a consumer");
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, 0, Offset::Beginning).expect("an offset");
    consumer.assign(&partitions).expect("a partition");
    // Each record is a message; a quiet half second is a try.
    for _ in 0..TRIES {
        while let Some(message) = consumer.poll(QUIET) {
            let message = match message {
                // A broker that stood still a moment ago: librdkafka says so, and connects again by itself.
                Err(error) if is_away(&error) => break,
                other => other.expect("the topic can be read"),
            };
            let payload = message.payload().unwrap_or_default();
            if memchr::memmem::find(payload, text.as_bytes()).is_some() {
                return;
            }
        }
        thread::yield_now();
    }
    panic!("{text:?} never came");
}

fn is_away(error: &KafkaError) -> bool {
    use rdkafka::error::RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, OperationTimedOut};
    matches!(error.rdkafka_error_code(), Some(AllBrokersDown | BrokerTransportFailure | OperationTimedOut))
}

const TRIES: usize = 120;
const QUIET: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    /// The checks find what they are there for: each row is one lie.
    #[test]
    fn lies_are_found() {
        let written = Written::incident(1, 200);
        let message = |seq: usize, text: &str, stream: IoStream, squall: &str| {
            let iostream = if stream == IoStream::Stdout { "stdout" } else { "stderr" };
            let text = text.replace('"', "\\\"");
            let kind = if squall.is_empty() { "line" } else { "summary" };
            let value = format!(
                "{{\"message\":\"{text}\",\"log\":{{\"iostream\":\"{iostream}\"}},\"squall\":\
                 {{\"v\":1,\"kind\":\"{kind}\",\"id\":\"a-{seq}\",\"stream\":\"{iostream}\"{squall}}}}}"
            );
            let id = format!("a-{seq}");
            let headers = [("squall-id", &*id), ("squall-kind", kind), ("content-type", "application/json")];
            let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
            Message { partition: 0, headers, key: Some(iostream.to_owned()), value: value.into_bytes() }
        };
        // The first 20 lines as they are, of the others what is calm, and the rest in one summary.
        let honest = || {
            let mut seq = 0;
            let mut messages = Vec::new();
            let mut folded = 0;
            for (index, line) in written.lines().iter().enumerate() {
                if index < 20 || line.calm {
                    seq += 1;
                    messages.push(message(seq, &line.text, line.stream, ""));
                } else {
                    folded += 1;
                }
            }
            let count = format!(",\"count\":{folded}");
            messages.push(message(seq + 1, "many", IoStream::Stderr, &count));
            messages
        };
        let check = |change: &dyn Fn(&mut Vec<Message>)| {
            let mut messages = honest();
            change(&mut messages);
            std::panic::catch_unwind(|| Told::of(&messages).check(&written)).is_ok()
        };
        let first_calm = written.lines().iter().position(|line| line.calm).expect("a calm line");
        assert!(check(&|_| {}));
        assert!(!check(&|messages| drop(messages.remove(3))), "a gap");
        assert!(!check(&|messages| drop(messages.pop())), "the summary is missing");
        assert!(
            !check(&|messages| messages.push(message(messages.len() + 1, "more", IoStream::Stdout, ""))),
            "invented"
        );
        assert!(!check(&|messages| messages.extend(honest().pop())), "twice the same number");
        assert!(!check(&|messages| messages.swap(2, 4)), "out of order");
        assert!(!check(&|messages| messages[5].headers[0].1.push('0')), "a wrong header");
        assert!(!check(&|messages| messages[5].headers.clear()), "no headers");
        assert!(!check(&|messages| messages[5].key = None), "no key");
        assert!(!check(&|messages| messages[5].value.truncate(9)), "half a record");
        let changed = |text: &str| message(first_calm + 1, text, written.lines()[first_calm].stream, "");
        assert!(check(&|messages| messages[first_calm] = changed(&written.lines()[first_calm].text)));
        assert!(!check(&|messages| messages[first_calm] = changed("almost the same")), "a changed text");
    }
}

//! Topics that streams have for themselves: one that is there, one that is not, one that comes late and goes again. The
//! output alone, driven as the shipper drives it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use squall::daemon::clock;
use squall::engine::record::{Batch, Key, Kind, LaneId, Meta};
use squall::output::kafka::{Kafka, Options, Packing};
use squall::output::{Detour, Output};
use squall::units::{Lines, Now};

use crate::support::broker::Broker;

/// No wait is longer: 600 × 100 ms.
const WAITS: usize = 600;
const WAIT: Duration = Duration::from_millis(100);
const TOPIC: &str = "topics.all";

/// An output whose time can be put forward.
struct Rig {
    output: Output,
    ahead: Duration,
    next: u64,
    detours: Vec<Detour>,
}

impl Rig {
    fn open(broker: &Broker, packing: Packing) -> Rig {
        let options = Options {
            brokers: vec![broker.address().to_owned()],
            topic: TOPIC.to_owned(),
            packing,
            ..Options::default()
        };
        let output = Output::Kafka(Kafka::open(&options).expect("a producer"));
        Rig { output, ahead: Duration::ZERO, next: 1, detours: Vec::new() }
    }

    fn now(&self) -> Now {
        let now = clock::now();
        Now { arrival: now.arrival + self.ahead, ..now }
    }

    /// Sends a record for each of these topics, as `text`, and waits until all of them have arrived somewhere.
    #[track_caller]
    fn send(&mut self, text: &str, topics: &[Option<&str>]) {
        let mut batch = Batch { lane: LaneId(7), ..Batch::default() };
        for topic in topics {
            let stream = topic.unwrap_or("common");
            batch.keys.push(Key { topic: topic.map(Into::into), ..Key::of(stream) });
            let record = json!({"message": text, "squall": {"kind": "line", "stream": stream}});
            batch.bytes.extend_from_slice(record.to_string().as_bytes());
            batch.metas.push(Meta {
                end: batch.bytes.len(),
                seq: self.next,
                records: 1,
                kind: Kind::Line,
                lines: Lines(1),
                key: batch.keys.len() as u32 - 1,
                time: clock::now().wall,
            });
            self.next += 1;
        }
        self.output.pack(&mut batch).expect("it packs");
        let mut from = 0;
        for _ in 0..WAITS {
            let now = self.now();
            from += self.output.offer(&batch, from, now).expect("no new producer is needed");
            self.output.tend(now);
            self.detours.extend(self.output.take_detours());
            if self.output.standing().acked_upto == self.next - 1 {
                return;
            }
            self.output.wait(WAIT);
        }
        panic!("{:?}", self.output.standing());
    }
}

/// What each stream has in a topic.
fn content(broker: &Broker, topic: &str) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::<String, Vec<String>>::new();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    for message in broker.consume_all_with_console(topic) {
        let record: Value = serde_json::from_slice(&message.value).expect("JSON");
        all.entry(text(&record["squall"]["stream"])).or_default().push(text(&record["message"]));
    }
    all
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
#[ignore = "needs a broker"]
fn each_stream_gets_its_topic_or_the_one_of_all() {
    let broker = Broker::start();
    broker.create_topic(TOPIC, 1, &[]);
    broker.create_topic("topics.own", 3, &[]);
    let (own, late) = (Some("topics.own"), Some("topics.late"));
    let mut rig = Rig::open(&broker, Packing::Records);
    rig.send("1", &[own, late, None, Some(TOPIC)]);
    let missing = |detour: &Detour| {
        assert_eq!(&*detour.topic, "topics.late");
        assert!(detour.reason.starts_with("it does not exist"), "{detour:?}");
    };
    rig.detours.iter().for_each(missing);
    assert_eq!(rig.detours.len(), 1);

    // It is made, and found a minute later. What came before stays where it is.
    broker.create_topic("topics.late", 1, &[]);
    rig.send("2", &[late, own]);
    rig.ahead = Duration::from_secs(61);
    rig.send("3", &[late]); // asks for it
    let mut number = 4;
    let arrived = |broker: &Broker| broker.message_count("topics.late");
    while arrived(&broker) == 0 {
        rig.send(&number.to_string(), &[late]);
        number += 1;
        assert!(number < 1_000, "it is not found");
    }
    assert_eq!(rig.detours.len(), 1);
    let common = content(&broker, TOPIC);
    assert_eq!(common["topics.late"][..2], texts(&["1", "2"]));
    assert_eq!((&common["common"], &common[TOPIC]), (&texts(&["1"]), &texts(&["1"])));
    assert_eq!(common.get("topics.own"), None);
    assert_eq!(content(&broker, "topics.own"), [("topics.own".to_owned(), texts(&["1", "2"]))].into());

    // It goes. Nobody else is held up by that, and what was for it arrives all the same.
    broker.delete_topic("topics.late");
    rig.send("after", &[late, own, None]);
    let common = content(&broker, TOPIC);
    assert_eq!(common["topics.late"].last().map(String::as_str), Some("after"));
    assert_eq!(rig.detours.len(), 2, "{:?}", rig.detours);
    assert_eq!(rig.output.standing().trouble, None);
}

#[test]
#[ignore = "needs a broker"]
fn packed_messages_do_not_mix_topics() {
    let broker = Broker::start();
    broker.create_topic(TOPIC, 1, &[]);
    broker.create_topic("topics.packed", 1, &[]);
    let mut rig = Rig::open(&broker, Packing::GzipNdjson);
    rig.send("1", &[Some("topics.packed"), None, Some("topics.none")]);
    assert_eq!((broker.message_count(TOPIC), broker.message_count("topics.packed")), (2, 1));
}

//! A message as Kafka gets it: key, headers, time.
//!
//! Invariant: nothing in a message depends on when it is sent, except Kafka's own timestamp; so a batch that is sent
//! twice is sent with the same bytes.

use std::io::Write as _;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rdkafka::message::{Header, Headers as _, OwnedHeaders};

use super::acks::Load;
use super::limit::Size;
use super::options::HeaderSet;
use crate::engine::record::{Batch, Encoding, Key, LaneId, Meta, json};
use crate::units::Timestamp;

/// A message that we hold ourselves: it came back, or takes the place of one that was refused.
#[derive(Debug)]
pub(super) struct Message {
    /// Where it goes; `None` for the topic of all.
    pub(super) topic: Option<Arc<str>>,
    pub(super) key: Vec<u8>,
    pub(super) payload: Vec<u8>,
    pub(super) headers: Option<OwnedHeaders>,
    /// Milliseconds since the epoch.
    pub(super) timestamp: i64,
}

impl Message {
    pub(super) fn size(&self) -> Size {
        let headers: usize = self
            .headers
            .iter()
            .flat_map(|headers| headers.iter())
            .map(|header| header.key.len() + header.value.map_or(0, <[u8]>::len) + HEADER_FRAME)
            .sum();
        Size { payload: self.payload.len(), around: self.key.len() + headers + FRAME }
    }
}

/// A message of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing<'a> {
    pub(super) meta: &'a Meta,
    pub(super) payload: &'a [u8],
    /// The numbers of its records, ascending, never empty.
    pub(super) members: &'a [u64],
    /// The stream, and the topic that it asks for.
    pub(super) key: &'a Key,
    lane: LanePrefix,
    encoding: Encoding,
}

/// A lane as it begins the ids of its records: `<32 digits>-`. Written once a batch, for each message has one.
#[derive(Clone, Copy, Debug)]
struct LanePrefix([u8; 33]);

impl LanePrefix {
    fn of(lane: LaneId) -> LanePrefix {
        let mut text = [b'-'; 33];
        // Writing what just fits cannot fail.
        let _ = write!(&mut text[..], "{lane}");
        LanePrefix(text)
    }

    fn id(&self, seq: u64) -> Vec<u8> {
        let mut id = Vec::with_capacity(ID_SIZE);
        id.extend_from_slice(&self.0);
        json::number(&mut id, seq);
        id
    }
}

/// The messages of a batch, in order.
pub(super) fn messages(batch: &Batch) -> impl Iterator<Item = Outgoing<'_>> {
    static NOBODY: LazyLock<Key> = LazyLock::new(Key::default);
    let lane = LanePrefix::of(batch.lane);
    batch.messages().map(move |(meta, payload, members)| {
        let key = batch.keys.get(meta.key as usize).unwrap_or(&NOBODY);
        Outgoing { meta, payload, members, key, lane, encoding: batch.encoding }
    })
}

impl Outgoing<'_> {
    /// Its records above `newest`: those that are not on their way or settled already.
    pub(super) fn above(&self, newest: u64) -> &[u64] {
        &self.members[self.members.partition_point(|seq| *seq <= newest)..]
    }

    /// What consumers read before they look into it.
    pub(super) fn headers(&self, wanted: HeaderSet) -> Option<OwnedHeaders> {
        let encoding = match self.encoding {
            Encoding::Record if wanted == HeaderSet::None => return None,
            Encoding::Record => {
                let id = self.lane.id(self.meta.seq);
                let headers = OwnedHeaders::new_with_capacity(3).insert(header("squall-id", &id));
                if wanted == HeaderSet::Id {
                    return Some(headers);
                }
                let headers = headers.insert(header("squall-kind", self.meta.kind.as_str()));
                return Some(headers.insert(header("content-type", "application/json")));
            }
            Encoding::GzipNdjson => "gzip",
            Encoding::ZstdNdjson => "zstd",
        };
        let last = self.members.last().copied().unwrap_or(self.meta.seq);
        let headers = OwnedHeaders::new_with_capacity(6)
            .insert(header("squall-id", &self.lane.id(self.meta.seq)))
            .insert(header("squall-id-last", &self.lane.id(last)))
            // Its records are of several kinds. Every message has this header, so that a consumer may rely on it.
            .insert(header("squall-kind", "batch"))
            .insert(header("squall-records", &self.members.len().to_string()))
            .insert(header("content-type", "application/x-ndjson"))
            .insert(header("content-encoding", encoding));
        Some(headers)
    }

    /// What the ack window keeps of it.
    pub(super) fn load(&self, millis: i64) -> Load {
        let bytes = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        Load { lines: self.meta.lines, bytes, millis }
    }

    /// A copy of our own, for this topic.
    pub(super) fn to_message(self, topic: Option<Arc<str>>, timestamp: i64, wanted: HeaderSet) -> Message {
        Message {
            topic,
            key: self.key.stream.as_bytes().to_vec(),
            payload: self.payload.to_vec(),
            headers: self.headers(wanted),
            timestamp,
        }
    }
}

/// How far a record's time may be from now to be a message's time: brokers refuse or misfile what is far off. The
/// usual limit of Kafka 4 for the future is the same hour.
pub(super) const TIME_OFF_MAX: Duration = Duration::from_secs(3600);

/// Turns records' times into messages' times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamper {
    pub(super) wall: Timestamp,
    /// How far from that a time may be.
    pub(super) off_max: Duration,
}

impl Stamper {
    /// The milliseconds that Kafka files a message under: the record's time unless that is too far from now.
    pub(super) fn millis(self, time: Timestamp) -> i64 {
        let off = time.since(self.wall).max(self.wall.since(time));
        let time = if off > self.off_max { self.wall } else { time };
        time.0.div_euclid(1_000_000)
    }
}

fn header<'a>(key: &'a str, value: &'a (impl AsRef<[u8]> + ?Sized)) -> Header<'a, &'a [u8]> {
    Header { key, value: Some(value.as_ref()) }
}

/// The frame of a batch (61 bytes), and of a record in it.
const FRAME: usize = 100;
/// Two lengths.
const HEADER_FRAME: usize = 6;
/// 32 digits, a hyphen, 20 digits.
const ID_SIZE: usize = 53;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::testing;

    #[test]
    fn times_far_from_now_are_not_believed() {
        #[track_caller]
        fn check(time: i64, off_max: u64, want: i64) {
            let second = Timestamp::SECOND;
            let stamper =
                Stamper { wall: Timestamp(100_000 * second), off_max: Duration::from_secs(off_max) };
            assert_eq!(stamper.millis(Timestamp(time * second)), want * 1000);
        }
        check(100_000, 3600, 100_000);
        check(100_000 - 3600, 3600, 100_000 - 3600);
        check(100_000 + 3600, 3600, 100_000 + 3600);
        check(100_000 - 3601, 3600, 100_000);
        check(100_000 + 3601, 3600, 100_000);
        check(-5, 3600, 100_000);
        check(100_001, 0, 100_000);
    }

    #[test]
    fn batches_come_apart_into_messages() {
        let mut batch = testing::batch(7, &[("a", "{}"), ("b", "[]"), ("a", "{}")]);
        let members = |batch: &Batch| {
            messages(batch)
                .map(|message| (message.key.stream.to_string(), message.members.to_vec()))
                .collect::<Vec<_>>()
        };
        assert_eq!(members(&batch), [("a".into(), vec![7]), ("b".into(), vec![8]), ("a".into(), vec![9])]);
        batch.encoding = Encoding::GzipNdjson;
        batch.members = vec![7, 10, 8];
        batch.metas[0].records = 2;
        batch.metas[1].key = 5; // no such stream
        // Nobody says what the last one holds.
        assert_eq!(members(&batch), [("a".into(), vec![7, 10]), ("".into(), vec![8]), ("a".into(), vec![9])]);
        let first = messages(&batch).next().expect("a message");
        assert_eq!((first.above(6), first.above(7), first.above(10)), (&[7, 10][..], &[10][..], &[][..]));
    }
}

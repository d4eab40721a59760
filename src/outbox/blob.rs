//! An epoch's records as bytes: what goes into the column `blob`.
//!
//! ```text
//! u32 length of the table as it is · u32 length of the table compressed · table · messages
//! ```
//! The table is postcard, compressed. Topics stand behind it, and only where there are any, so that a version of this
//! program that knows none reads the rest. The messages are compressed when they are single records; where each is a packet
//! that is compressed already (`batch: zstd-ndjson`), they are stored as Kafka gets them.
//! Invariant: what comes out equals what went in, byte for byte; a record's id must never stand for other bytes.
//! Limit: what is decoded was checked against its checksum before; still, lengths are bounded and nothing panics.

use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zstd::bulk::{Compressor, Decompressor};

use crate::engine::record::{Batch, Encoding, Key, Kind, LaneId, Meta};
use crate::units::{Lines, Timestamp};

/// 1.3 ms of CPU for a MB of records, an eighth of their size. Faster levels (-1 … -5) save a quarter of that, and cost it
/// again in pages that are written.
const LEVEL: i32 = 1;
/// No batch is larger than this; a length beyond it is damage.
const LENGTH_MAX: usize = 1 << 30;

/// How the messages of a stored epoch are made (column `form`).
pub(super) fn form(encoding: Encoding) -> i64 {
    match encoding {
        Encoding::Record => 0,
        Encoding::GzipNdjson => 1,
        Encoding::ZstdNdjson => 2,
    }
}

fn encoding(form: i64) -> Option<Encoding> {
    [Encoding::Record, Encoding::GzipNdjson, Encoding::ZstdNdjson]
        .into_iter()
        .find(|&one| self::form(one) == form)
}

fn code(kind: Kind) -> u8 {
    match kind {
        Kind::Line => 0,
        Kind::Summary => 1,
        Kind::Notice => 2,
        Kind::Loop => 3,
        Kind::Alert => 4,
    }
}

fn kind(code: u8) -> Option<Kind> {
    let kinds = [Kind::Line, Kind::Summary, Kind::Notice, Kind::Loop, Kind::Alert];
    kinds.into_iter().find(|&kind| self::code(kind) == code)
}

/// What stands beside the messages.
#[derive(Serialize, Deserialize)]
struct Table<'a> {
    messages: Vec<Message>,
    #[serde(borrow)]
    keys: Vec<&'a str>,
    members: Vec<u64>,
}

/// The topics of those keys that have one: `(index, topic)`.
type Topics<'a> = Vec<(u32, &'a str)>;

#[derive(Serialize, Deserialize)]
struct Message {
    length: u32,
    seq: u64,
    records: u32,
    kind: u8,
    lines: u64,
    key: u32,
    time: i64,
}

/// Encodes and decodes, and keeps contexts and buffers between calls.
pub(super) struct Coder {
    compressor: Compressor<'static>,
    decompressor: Decompressor<'static>,
    table: Vec<u8>,
    blob: Vec<u8>,
}

impl Coder {
    /// # Errors
    /// Only when there is no memory.
    pub(super) fn new() -> io::Result<Coder> {
        Ok(Coder {
            compressor: Compressor::new(LEVEL)?,
            decompressor: Decompressor::new()?,
            table: Vec::new(),
            blob: Vec::new(),
        })
    }

    /// What the last [`Coder::encode`] made.
    pub(super) fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// Makes the blob of `batch`.
    pub(super) fn encode(&mut self, batch: &Batch) -> io::Result<()> {
        let message = |(meta, bytes): (&Meta, &[u8])| Message {
            length: bytes.len() as u32, // below LENGTH_MAX
            seq: meta.seq,
            records: meta.records,
            kind: code(meta.kind),
            lines: meta.lines.0,
            key: meta.key,
            time: meta.time.0,
        };
        let table = Table {
            messages: batch.iter().map(message).collect(),
            keys: batch.keys.iter().map(|key| &*key.stream).collect(),
            members: batch.members.clone(),
        };
        self.table.clear();
        self.table =
            postcard::to_extend(&table, std::mem::take(&mut self.table)).map_err(io::Error::other)?;
        let topics = (0..).zip(&batch.keys).filter_map(|(index, key)| Some((index, key.topic.as_deref()?)));
        let topics: Topics<'_> = topics.collect();
        if !topics.is_empty() {
            self.table =
                postcard::to_extend(&topics, std::mem::take(&mut self.table)).map_err(io::Error::other)?;
        }
        self.blob.clear();
        self.blob.extend_from_slice(&(self.table.len() as u32).to_le_bytes());
        self.blob.extend_from_slice(&[0; 4]);
        compress(&mut self.compressor, &self.table, &mut self.blob)?;
        let packed = (self.blob.len() - HEAD) as u32;
        self.blob[4..HEAD].copy_from_slice(&packed.to_le_bytes());
        match batch.encoding {
            Encoding::Record => compress(&mut self.compressor, &batch.bytes, &mut self.blob),
            Encoding::GzipNdjson | Encoding::ZstdNdjson => {
                self.blob.extend_from_slice(&batch.bytes);
                Ok(())
            }
        }
    }

    /// The batch behind a blob; `None` when it is not one of ours.
    pub(super) fn decode(&mut self, lane: LaneId, form: i64, blob: &[u8]) -> Option<Batch> {
        let encoding = encoding(form)?;
        let (head, rest) = blob.split_at_checked(HEAD)?;
        let length = |bytes: &[u8]| Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize);
        let (table, packed) = (length(&head[..4])?, length(&head[4..])?);
        let (packed, messages) = rest.split_at_checked(packed)?;
        self.decompress(packed, table)?;
        let (table, rest): (Table<'_>, _) = postcard::take_from_bytes(&self.table).ok()?;
        let topics: Topics<'_> =
            if rest.is_empty() { Vec::new() } else { postcard::from_bytes(rest).ok()? };
        let mut batch = Batch { lane, encoding, members: table.members, ..Batch::default() };
        batch.keys.extend(table.keys.into_iter().map(Key::of));
        for (index, topic) in topics {
            batch.keys.get_mut(index as usize)?.topic = Some(Arc::from(topic));
        }
        for message in table.messages {
            let end = batch.metas.last().map_or(0, |meta| meta.end).checked_add(message.length as usize)?;
            batch.metas.push(Meta {
                end,
                seq: message.seq,
                records: message.records,
                kind: kind(message.kind)?,
                lines: Lines(message.lines),
                key: message.key,
                time: Timestamp(message.time),
            });
        }
        let length = batch.metas.last().map_or(0, |meta| meta.end);
        batch.bytes = match encoding {
            Encoding::Record if length <= LENGTH_MAX => {
                self.decompressor.decompress(messages, length).ok()?
            }
            Encoding::Record => return None,
            Encoding::GzipNdjson | Encoding::ZstdNdjson => messages.to_vec(),
        };
        let keys = batch.keys.len();
        let consistent =
            batch.bytes.len() == length && batch.metas.iter().all(|meta| (meta.key as usize) < keys);
        consistent.then_some(batch)
    }

    fn decompress(&mut self, packed: &[u8], length: usize) -> Option<()> {
        if length > LENGTH_MAX {
            return None;
        }
        self.table = self.decompressor.decompress(packed, length).ok()?;
        (self.table.len() == length).then_some(())
    }
}

/// The two lengths at the front.
const HEAD: usize = 8;

/// Compresses `from` to the end of `into`.
fn compress(compressor: &mut Compressor<'_>, from: &[u8], into: &mut Vec<u8>) -> io::Result<()> {
    let start = into.len();
    into.resize(start + zstd::zstd_safe::compress_bound(from.len()), 0);
    let length = compressor.compress_to_buffer(from, &mut into[start..])?;
    into.truncate(start + length);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use crate::outbox::tests::any_batch;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(batch in any_batch(1)) {
            let mut coder = Coder::new().expect("memory");
            coder.encode(&batch).expect("it can be compressed");
            let blob = coder.blob().to_vec();
            prop_assert_eq!(coder.decode(batch.lane, form(batch.encoding), &blob), Some(batch));
        }

        #[test]
        fn odd_bytes_are_refused_and_never_panic(
            batch in any_batch(1), at in any::<prop::sample::Index>(), bit in 0..8, cut in any::<prop::sample::Index>(),
            noise in prop::collection::vec(any::<u8>(), 0..64), form in -1i64..4,
        ) {
            let mut coder = Coder::new().expect("memory");
            coder.encode(&batch).expect("it can be compressed");
            let mut blob = coder.blob().to_vec();
            let at = at.index(blob.len());
            blob[at] ^= 1u8 << bit;
            coder.decode(batch.lane, form, &blob);
            coder.decode(batch.lane, form, &blob[..cut.index(blob.len())]);
            prop_assert_eq!(coder.decode(batch.lane, form, &noise), None);
        }
    }
}

//! Newline-delimited JSON: many records of one stream in one compressed message, and back.
//!
//! In: a batch of records, before it is committed. Out: the same batch as messages, one stream each, every record on
//! a line. What is committed is the very message that Kafka gets, so that sending it twice sends the same bytes.
//! Invariant: decompressing a message gives its records back, byte for byte, in order.
//! Limit: a message closes before it outgrows [`RAW_MAX`], or less where the topic takes less; a longer record
//! travels alone. Unpacked, a message is at most [`UNPACKED_MAX`]. No message reaches over a multiple of
//! [`TOGETHER_MAX`] records of its batch, so that a batch of any size can leave piece by piece.

use std::io::{self, Read, Write};
use std::ops::Range;

use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::Value;

use super::message::{Outgoing, messages};
use crate::engine::record::{Batch, Encoding, Kind, Meta};
use crate::units::{Lines, Timestamp};

/// How much a message holds before compression. On made-up lines of services, zstd level 1: 8.9 times smaller with
/// 128 KiB, 11.6 times with 512 KiB, 12.6 times with 2 MiB, which brokers take only where it compresses.
pub(super) const RAW_MAX: usize = 512 * 1024;
/// Messages of several streams hold each other's neighbours and can only leave together. So many records at most do, which
/// is a quarter of what consumers tell apart; an epoch of ordinary lines has a tenth of that.
pub(super) const TOGETHER_MAX: usize = 16_384;
/// Far above the longest record, so that only damage ends here.
const UNPACKED_MAX: u64 = 64 << 20;
/// Buffers that are kept for the next batch: one a stream would be too much where there are thousands.
const SPARE_MAX: usize = 2;

/// How messages are compressed, with what is worth keeping between them.
pub(super) enum Codec {
    /// gzip, level 3: 6.04 times at 188 MB/s on made-up request lines, where level 2 made 5.97 times at 240
    /// MB/s and level 6 made 6.17 times at 123 MB/s.
    Gzip,
    /// Zstandard, level 1, its context used again.
    Zstd(Box<zstd::bulk::Compressor<'static>>),
}

impl Codec {
    pub(super) fn zstd() -> io::Result<Codec> {
        Ok(Codec::Zstd(Box::new(zstd::bulk::Compressor::new(1)?)))
    }

    fn encoding(&self) -> Encoding {
        match self {
            Codec::Gzip => Encoding::GzipNdjson,
            Codec::Zstd(_) => Encoding::ZstdNdjson,
        }
    }

    /// Makes `out` what `raw` compresses to.
    fn compress(&mut self, raw: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        out.clear();
        match self {
            Codec::Gzip => {
                let mut encoder = GzEncoder::new(out, flate2::Compression::new(3));
                encoder.write_all(raw)?;
                encoder.finish().map(drop)
            }
            Codec::Zstd(compressor) => {
                out.reserve(zstd::zstd_safe::compress_bound(raw.len()));
                compressor.compress_to_buffer(raw, out).map(drop)
            }
        }
    }
}

/// Packs batches, with the memory of the ones before: a buffer that is made anew for each message costs more in page
/// faults than its compression.
pub(super) struct Packer {
    codec: Codec,
    /// Empty buffers for the lines of a message.
    spare: Vec<Vec<u8>>,
    /// What one message compressed to.
    packed: Vec<u8>,
}

/// One message while it is filled.
struct Open {
    /// What the record that began it says of itself.
    first: Meta,
    /// The lines.
    raw: Vec<u8>,
    seqs: Vec<u64>,
    lines: Lines,
}

/// The messages that are closed.
#[derive(Default)]
struct Closed {
    /// What they compressed to, end to end.
    bytes: Vec<u8>,
    /// Each with its place in `bytes`.
    messages: Vec<(Meta, Range<usize>, Vec<u64>)>,
}

impl Packer {
    pub(super) fn new(codec: Codec) -> Packer {
        Packer { codec, spare: Vec::new(), packed: Vec::new() }
    }

    /// Turns a batch of records into one of messages. A batch that is packed stays as it is.
    ///
    /// # Errors
    /// Only what a compressor has against its input or its memory; the batch is then as it was.
    pub(super) fn pack(&mut self, batch: &mut Batch, raw_max: usize) -> io::Result<()> {
        if batch.encoding != Encoding::Record {
            return Ok(());
        }
        // One open message for each stream.
        let mut open: Vec<Option<Open>> = Vec::new();
        open.resize_with(batch.keys.len(), || None);
        let mut closed = Closed::default();
        for (index, (meta, record)) in batch.iter().enumerate() {
            if index % TOGETHER_MAX == 0 {
                self.close_all(&mut open, &mut closed)?;
            }
            let Some(slot) = open.get_mut(meta.key as usize) else {
                return Err(io::Error::other("a record without a stream"));
            };
            if let Some(full) = slot.take_if(|message| message.raw.len() + record.len() >= raw_max) {
                self.close(full, &mut closed)?;
            }
            slot.get_or_insert_with(|| self.open(meta)).add(meta, record);
        }
        self.close_all(&mut open, &mut closed)?;
        closed.replace(batch, self.codec.encoding());
        Ok(())
    }

    fn open(&mut self, first: &Meta) -> Open {
        Open { first: *first, raw: self.spare.pop().unwrap_or_default(), seqs: Vec::new(), lines: Lines(0) }
    }

    fn close_all(&mut self, open: &mut [Option<Open>], closed: &mut Closed) -> io::Result<()> {
        open.iter_mut().filter_map(Option::take).try_for_each(|message| self.close(message, closed))
    }

    fn close(&mut self, mut message: Open, closed: &mut Closed) -> io::Result<()> {
        self.codec.compress(&message.raw, &mut self.packed)?;
        let start = closed.bytes.len();
        closed.bytes.extend_from_slice(&self.packed);
        let records = u32::try_from(message.seqs.len()).unwrap_or(u32::MAX); // each takes bytes, and there are few of those
        let meta = Meta { records, lines: message.lines, ..message.first };
        closed.messages.push((meta, start..closed.bytes.len(), message.seqs));
        // A record that travels alone may be large; its buffer is not kept.
        if self.spare.len() < SPARE_MAX && message.raw.capacity() <= 2 * RAW_MAX {
            message.raw.clear();
            self.spare.push(message.raw);
        }
        Ok(())
    }
}

impl Open {
    fn add(&mut self, meta: &Meta, record: &[u8]) {
        self.raw.extend_from_slice(record);
        self.raw.push(b'\n');
        self.seqs.push(meta.seq);
        self.lines += meta.lines;
    }
}

impl Closed {
    /// Puts the messages into the place of the records, in the order of their first ones.
    fn replace(mut self, batch: &mut Batch, encoding: Encoding) {
        self.messages.sort_unstable_by_key(|(meta, ..)| meta.seq);
        batch.encoding = encoding;
        batch.bytes.clear();
        batch.metas.clear();
        batch.members.clear();
        for (meta, place, seqs) in self.messages {
            batch.bytes.extend_from_slice(&self.bytes[place]);
            batch.members.extend_from_slice(&seqs);
            batch.metas.push(Meta { end: batch.bytes.len(), ..meta });
        }
    }
}

/// The records of the message at `index`, each a message of its own.
///
/// # Errors
/// When the message cannot be decompressed, or does not hold as many records as it says.
pub(super) fn unpack(batch: &Batch, index: usize) -> io::Result<Batch> {
    let missing = || io::Error::new(io::ErrorKind::InvalidInput, "there is no such message");
    let message = messages(batch).nth(index).ok_or_else(missing)?;
    let mut records = Batch { lane: batch.lane, keys: vec![message.key.clone()], ..Batch::default() };
    if batch.encoding == Encoding::Record {
        records.bytes = message.payload.to_vec();
        records.metas = vec![Meta { end: records.bytes.len(), key: 0, ..*message.meta }];
        return Ok(records);
    }
    let raw = decompress(batch.encoding, message.payload)?;
    let lines: Vec<&[u8]> =
        raw.strip_suffix(b"\n").map(|raw| raw.split(|byte| *byte == b'\n').collect()).unwrap_or_default();
    if lines.len() != message.members.len() {
        let what = format!("{} records where {} should be", lines.len(), message.members.len());
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    for (record, &seq) in lines.into_iter().zip(message.members) {
        records.bytes.extend_from_slice(record);
        let end = records.bytes.len();
        records.metas.push(Meta { end, seq, records: 1, key: 0, ..read_meta(record, &message) });
    }
    Ok(records)
}

/// One packed message of all these records.
///
/// # Errors
/// As [`Packer::pack`].
pub(super) fn repack(encoding: Encoding, records: &Batch) -> io::Result<Vec<u8>> {
    let mut codec = match encoding {
        Encoding::Record | Encoding::GzipNdjson => Codec::Gzip,
        Encoding::ZstdNdjson => Codec::zstd()?,
    };
    let (mut raw, mut packed) = (Vec::new(), Vec::new());
    for (_, record) in records.iter() {
        raw.extend_from_slice(record);
        raw.push(b'\n');
    }
    codec.compress(&raw, &mut packed)?;
    Ok(packed)
}

fn decompress(encoding: Encoding, payload: &[u8]) -> io::Result<Vec<u8>> {
    let reader: Box<dyn Read + '_> = match encoding {
        Encoding::GzipNdjson => Box::new(GzDecoder::new(payload)),
        Encoding::ZstdNdjson => Box::new(zstd::stream::read::Decoder::new(payload)?),
        Encoding::Record => Box::new(payload),
    };
    let mut raw = Vec::new();
    reader.take(UNPACKED_MAX).read_to_end(&mut raw)?;
    Ok(raw)
}

/// What a record says of itself; in doubt, what its message says.
fn read_meta(record: &[u8], message: &Outgoing<'_>) -> Meta {
    let json: Value = serde_json::from_slice(record).unwrap_or_default();
    let kind = match json.pointer("/squall/kind").and_then(Value::as_str) {
        Some("summary") => Kind::Summary,
        Some("notice") => Kind::Notice,
        Some("loop") => Kind::Loop,
        Some("alert") => Kind::Alert,
        _ => Kind::Line,
    };
    let count = json.pointer("/squall/count").and_then(Value::as_u64);
    let time: Option<jiff::Timestamp> =
        json.get("@timestamp").and_then(Value::as_str).and_then(|time| time.parse().ok());
    let time = time.and_then(|time| i64::try_from(time.as_nanosecond()).ok()).map(Timestamp);
    let lines = if kind == Kind::Line { Lines(1) } else { Lines(count.unwrap_or(0)) };
    Meta { kind, lines, time: time.unwrap_or(message.meta.time), ..*message.meta }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::testing;
    use proptest::prelude::*;

    fn codec(gzip: bool) -> Codec {
        if gzip { Codec::Gzip } else { Codec::zstd().expect("a context") }
    }

    #[test]
    fn streams_and_size_part_messages() {
        #[track_caller]
        fn check(raw_max: usize, records: &[(&str, &str)], want: &[&[u64]]) {
            let mut batch = testing::batch(7, records);
            Packer::new(Codec::Gzip).pack(&mut batch, raw_max).expect("it packs");
            let members: Vec<_> = messages(&batch).map(|message| message.members).collect();
            assert_eq!(members, want);
            assert_eq!(batch.encoding, Encoding::GzipNdjson);
            assert_eq!(batch.metas.iter().map(|meta| meta.lines.0).sum::<u64>(), records.len() as u64);
        }
        check(RAW_MAX, &[], &[]);
        check(RAW_MAX, &[("a", "{}"), ("b", "{}"), ("a", "{}")], &[&[7, 9], &[8]]);
        let records = [("a", "{}"), ("b", "{}"), ("a", "{}"), ("a", "{}"), ("b", "{}")];
        check(6, &records, &[&[7, 9], &[8, 11], &[10]]); // two records and their newlines
        check(5, &records, &[&[7], &[8], &[9], &[10], &[11]]);
        check(1, &[("a", "{}")], &[&[7]]); // a longer record travels alone
    }

    #[test]
    fn a_batch_of_very_many_records_can_leave_in_pieces() {
        let streams = ["a", "b", "c"];
        let records: Vec<_> = (0..2 * TOGETHER_MAX + 10).map(|n| (streams[n % 3], "{}")).collect();
        let mut batch = testing::batch(1, &records);
        Packer::new(Codec::Gzip).pack(&mut batch, RAW_MAX).expect("it packs");
        let pieces = |message: &Outgoing<'_>| {
            let piece = |seq: &u64| (seq - 1) / TOGETHER_MAX as u64;
            let (first, last) =
                (message.members.iter().map(piece).min(), message.members.iter().map(piece).max());
            assert_eq!(first, last, "no message is in two pieces");
            first
        };
        let mut pieces: Vec<_> = messages(&batch).map(|message| pieces(&message)).collect();
        assert!(pieces.is_sorted());
        pieces.dedup();
        assert_eq!(pieces, [Some(0), Some(1), Some(2)]);
    }

    #[test]
    fn a_packed_batch_stays_as_it_is() {
        let mut batch = testing::batch(1, &[("a", "{}"), ("a", "[]")]);
        Packer::new(Codec::Gzip).pack(&mut batch, RAW_MAX).expect("it packs");
        let once = batch.clone();
        Packer::new(codec(false)).pack(&mut batch, RAW_MAX).expect("nothing to do");
        assert_eq!(batch, once);
    }

    #[test]
    fn records_tell_what_they_are() {
        let line = r#"{"@timestamp":"2026-02-06T00:10:01Z","squall":{"kind":"line"}}"#;
        let summary = r#"{"@timestamp":"2026-02-06T00:10:02Z","squall":{"kind":"summary","count":1204}}"#;
        let mut batch = testing::batch(1, &[("a", line), ("b", "{}"), ("a", summary)]);
        batch.metas[0].time = Timestamp(1_770_336_601 * Timestamp::SECOND);
        batch.metas[2].time = Timestamp(1_770_336_602 * Timestamp::SECOND);
        (batch.metas[2].kind, batch.metas[2].lines) = (Kind::Summary, Lines(1204));
        let before = batch.clone();
        Packer::new(Codec::Gzip).pack(&mut batch, RAW_MAX).expect("it packs");
        assert_eq!((batch.metas[0].lines, batch.metas[0].records), (Lines(1205), 2));
        let records = unpack(&batch, 0).expect("it unpacks");
        let told = |batch: &Batch, index: usize| {
            let (meta, record) = batch.get(index).expect("a record");
            (Meta { end: 0, ..*meta }, record.to_vec())
        };
        assert_eq!(told(&records, 0), told(&before, 0));
        assert_eq!(told(&records, 1), told(&before, 2));
        assert_eq!(&*records.keys[0].stream, "a");
        assert!(unpack(&batch, 2).is_err());
        batch.bytes[20] ^= 0xff;
        assert!(unpack(&batch, 0).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..Default::default() })]

        #[test]
        fn what_goes_in_comes_out(
            gzip in any::<bool>(),
            raw_max in 1usize..200_000,
            records in prop::collection::vec((0u8..3, "[ -~é]{0,40}", 1usize..3000), 1..40),
        ) {
            let records: Vec<_> =
                records.iter().map(|(stream, text, times)| (stream.to_string(), text.repeat(*times))).collect();
            let pairs: Vec<_> = records.iter().map(|(stream, text)| (&**stream, &**text)).collect();
            let before = testing::batch(1, &pairs);
            let (mut batch, mut again) = (before.clone(), before.clone());
            let mut packer = Packer::new(codec(gzip));
            packer.pack(&mut batch, raw_max).expect("it packs");
            packer.pack(&mut again, raw_max).expect("it packs");
            prop_assert_eq!(&batch, &again);
            let mut seen = 0;
            for index in 0..batch.metas.len() {
                let unpacked = unpack(&batch, index).expect("it unpacks");
                for (meta, record) in unpacked.iter() {
                    let (stream, text) = &records[usize::try_from(meta.seq - 1).expect("small")];
                    prop_assert_eq!(&*unpacked.keys[0].stream, &**stream);
                    prop_assert_eq!(record, text.as_bytes());
                    seen += 1;
                }
                let raw: usize = unpacked.iter().map(|(_, record)| record.len() + 1).sum();
                prop_assert!(raw <= raw_max || unpacked.metas.len() == 1);
            }
            prop_assert_eq!(seen, records.len());
        }
    }
}

//! Records → JSON, straight into the batch that leaves.
//!
//! Text from a log goes into `message` and `squall.examples` and can set nothing else (`faults.md` 82).
//! Limit: a record is at most `record_max` bytes; longer text is cut, and the record says so.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::envelope::Envelope;
use super::json::{self, Clockface};
use super::{Batch, Kind, LaneId, Lost, Meta, Notice};
use crate::engine::frame::Truncated;
use crate::engine::line::Line;
use crate::engine::line::level::Level;
use crate::engine::storm::window::{SlotValues, Summary, shortened};
use crate::engine::template::family::Family;
use crate::engine::template::mask::TemplateId;
use crate::units::{Bytes, Lines, Timestamp};

/// Numbers records and writes them into the current batch.
#[derive(Debug)]
pub struct Encoder {
    pub(super) batch: Batch,
    next_seq: u64,
    /// `<lane>-`, as it stands in every id.
    lane_text: Vec<u8>,
    record_max: usize,
    face: Clockface,
    /// All bytes ever encoded.
    bytes_out: Bytes,
}

/// What the catalog knows of the line's template.
#[derive(Clone, Copy, Debug)]
pub struct Label {
    /// The template's id; of a family's summary the family's.
    pub template: TemplateId,
    /// The id of the family that a line is counted with.
    pub family: Option<TemplateId>,
    /// The level of the line, or of the first one that a summary stands for.
    pub level: Option<Level>,
    /// Why the envelopes of its lines could not be understood.
    pub parse_error: Option<&'static str>,
}

impl Encoder {
    /// An encoder for `lane` whose first record will be `next_seq`.
    pub fn new(lane: LaneId, next_seq: u64, record_max: Bytes) -> Encoder {
        let record_max = usize::try_from(record_max.0).unwrap_or(usize::MAX).max(RECORD_MAX_SMALLEST);
        Encoder {
            batch: Batch { lane, ..Batch::default() },
            next_seq,
            lane_text: format!("{lane}-").into_bytes(),
            record_max,
            face: Clockface::default(),
            bytes_out: Bytes(0),
        }
    }

    /// The batch that is being filled.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Exchanges the filled batch for `empty`, whose memory is reused.
    pub fn take(&mut self, mut empty: Batch) -> Batch {
        empty.clear();
        empty.lane = self.batch.lane;
        std::mem::replace(&mut self.batch, empty)
    }

    /// Counts on from the records of earlier processes, whose bytes these are.
    pub fn carry_in(&mut self, bytes_out: Bytes) {
        self.bytes_out += bytes_out;
    }

    /// The number that the next record gets.
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// How many bytes all records took.
    pub fn bytes_out(&self) -> Bytes {
        self.bytes_out
    }

    /// How many records were written.
    pub fn records_out(&self) -> u64 {
        self.next_seq - 1
    }

    /// One line, verbatim. `label` is absent for a line that no template was kept for.
    pub fn line(&mut self, envelope: &Envelope, line: &Line<'_>, label: Option<Label>) {
        let start = self.begin(line.time);
        let room = self.record_max - FIXED_MAX.min(self.record_max / 2);
        let extra = if line.extra.len() <= EXTRA_MAX { line.extra } else { b"" };
        let message = self.message(line.text, room.saturating_sub(extra.len() + envelope.size()));
        self.log(envelope, label.and_then(|label| label.level), line.offset);
        if !extra.is_empty() {
            self.raw(b"\"docker\":");
            self.raw(extra);
            self.raw(b",");
        }
        self.identity(envelope, Kind::Line);
        self.template(",\"template\":\"", label.map(|label| label.template));
        self.template(",\"family\":\"", label.and_then(|label| label.family));
        self.raw(&envelope.instance);
        self.oddities(line, message, extra.len() != line.extra.len());
        self.end(start, envelope, Kind::Line, Lines(1), line.time);
    }

    /// One closed window, of a family if there is one.
    pub fn summary(
        &mut self,
        envelope: &Envelope,
        summary: &Summary<'_>,
        label: Label,
        family: Option<&Family>,
    ) {
        let start = self.begin(summary.last);
        self.message(summary.text, EXAMPLE_ROOM);
        self.log(envelope, label.level, summary.first_offset);
        self.identity(envelope, Kind::Summary);
        self.template(",\"template\":\"", Some(label.template));
        if let Some(family) = family {
            self.raw(b",\"pattern\":");
            json::string(&mut self.batch.bytes, shortened(&family.shown()));
            self.field(",\"members\":", family.members);
        }
        self.raw(&envelope.instance);
        self.mark(",\"episode\":\"", b'e', summary.episode);
        if let Some(window) = summary.window {
            self.mark(",\"window\":\"", b'w', window);
        }
        self.field(",\"count\":", summary.count.0);
        if summary.limited > Lines(0) {
            self.field(",\"limited\":", summary.limited.0);
        }
        self.field(",\"total\":", summary.total.0);
        self.time(",\"first\":\"", summary.first);
        self.time(",\"last\":\"", summary.last);
        self.field(",\"last_offset\":", summary.last_offset);
        self.raw(b",\"per_second\":");
        json::float(&mut self.batch.bytes, rounded(summary.per_second));
        if let Some(baseline) = summary.baseline_per_second {
            self.raw(b",\"baseline_per_second\":");
            json::float(&mut self.batch.bytes, rounded(baseline));
        }
        if let Some(storm) = summary.storm {
            self.word(",\"storm\":\"", storm.as_str());
        }
        self.word(",\"state\":\"", if summary.open { "open" } else { "closed" });
        self.word(",\"closed_by\":\"", summary.closed_by.as_str());
        self.raw(if envelope.exact { b",\"exact\":true" } else { b",\"exact\":false" });
        self.parse_error(label.parse_error);
        self.values(&summary.values);
        self.examples(summary.examples);
        self.end(start, envelope, Kind::Summary, summary.count, summary.last);
    }

    /// Something that happened to lines which are not here.
    pub fn notice(&mut self, envelope: &Envelope, notice: &Notice<'_>) {
        let start = self.begin(notice.time);
        self.message(notice.message.as_bytes(), EXAMPLE_ROOM);
        self.log(envelope, None, notice.offset);
        self.identity(envelope, Kind::Notice);
        self.raw(&envelope.instance);
        self.word(",\"reason\":\"", notice.reason.as_str());
        self.field(",\"count\":", notice.count.0);
        let Lost { bytes, lines, records } = notice.lost;
        let bytes = bytes.map(|bytes| (",\"lost_bytes\":", bytes.0));
        let lines = lines.map(|lines| (",\"lost_lines\":", lines.0));
        let records = records.map(|records| (",\"lost_records\":", records));
        for (name, lost) in [bytes, lines, records].into_iter().flatten() {
            self.field(name, lost);
        }
        if !notice.families.is_empty() {
            self.raw(b",\"families\":[");
            for (index, family) in notice.families.iter().enumerate() {
                self.raw(if index == 0 { b"{\"pattern\":" } else { b",{\"pattern\":" });
                json::string(&mut self.batch.bytes, &family.pattern);
                self.field(",\"count\":", family.count.0);
                self.raw(b"}");
            }
            self.raw(b"]");
        }
        self.examples(notice.examples);
        self.end(start, envelope, Kind::Notice, notice.count, notice.time);
    }

    pub(super) fn begin(&mut self, time: Timestamp) -> usize {
        let start = self.batch.bytes.len();
        self.raw(b"{\"@timestamp\":\"");
        self.face.write(&mut self.batch.bytes, time);
        start
    }

    /// Writes `message` and says how the text suffered.
    pub(super) fn message<'t>(&mut self, text: &'t [u8], room: usize) -> Message<'t> {
        self.raw(b"\",\"message\":\"");
        // Bytes that are not UTF-8 cost up to 7.4 times their size: a six-byte escape here, base64 beside it.
        let text_room =
            if text.len() > room / 8 && std::str::from_utf8(text).is_err() { room / 8 } else { text.len() };
        let taken = json::text(&mut self.batch.bytes, &text[..text_room], room);
        self.raw(b"\",\"log\":{");
        Message { kept: &text[..taken], whole: text }
    }

    pub(super) fn log(&mut self, envelope: &Envelope, level: Option<Level>, offset: u64) {
        if let Some(level) = level {
            self.word("\"level\":\"", level.as_str());
            self.raw(b",");
        }
        self.raw(&envelope.log);
        json::number(&mut self.batch.bytes, offset);
        self.raw(&envelope.origin);
    }

    pub(super) fn identity(&mut self, envelope: &Envelope, kind: Kind) {
        self.raw(b"\"squall\":{\"v\":1,\"kind\":\"");
        self.raw(kind.as_str().as_bytes());
        self.raw(b"\",\"id\":\"");
        self.batch.bytes.extend_from_slice(&self.lane_text);
        json::number(&mut self.batch.bytes, self.next_seq);
        self.raw(&envelope.stream);
    }

    fn template(&mut self, name: &str, template: Option<TemplateId>) {
        let Some(template) = template else { return };
        self.hex(name, template.0);
    }

    /// A name of 128 bits.
    pub(super) fn hex(&mut self, name: &str, number: u128) {
        self.raw(name.as_bytes());
        let mut hex = [0u8; 32];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(number.to_be_bytes()) {
            pair.copy_from_slice(&HEX_PAIRS[usize::from(byte)]);
        }
        self.raw(&hex);
        self.raw(b"\"");
    }

    /// What is not usual about a line: joined, cut, incomplete, unparsable, not UTF-8.
    fn oddities(&mut self, line: &Line<'_>, message: Message<'_>, extra_dropped: bool) {
        if line.lines > 1 {
            self.field(",\"lines\":", u64::from(line.lines));
        }
        let cut = message.kept.len() < message.whole.len();
        if let Some(truncated) = line.truncated.or_else(|| cut.then(|| measured(message.whole))) {
            self.raw(b",\"truncated\":true");
            self.field(",\"length\":", truncated.length);
            self.word(",\"xxh3\":\"", &format!("{:016x}", truncated.xxh3));
        }
        if !line.complete {
            self.raw(b",\"complete\":false");
        }
        self.parse_error(line.parse_error);
        if extra_dropped {
            self.field(",\"extra_dropped_bytes\":", line.extra.len() as u64);
        }
        // The cheap test first: nearly every text is UTF-8, and most of that is ASCII.
        if !message.kept.is_ascii() && std::str::from_utf8(message.kept).is_err() {
            self.word(",\"raw_b64\":\"", &BASE64.encode(message.kept));
        }
    }

    fn parse_error(&mut self, error: Option<&'static str>) {
        let Some(error) = error else { return };
        self.raw(b",\"parse_error\":");
        json::string(&mut self.batch.bytes, error.as_bytes());
    }

    fn values(&mut self, values: &[SlotValues]) {
        if values.is_empty() {
            return;
        }
        for (index, value) in values.iter().enumerate() {
            self.raw(if index == 0 { b",\"values\":[{\"slot\":" } else { b",{\"slot\":" });
            json::number(&mut self.batch.bytes, u64::from(value.slot));
            match &value.numbers {
                Some(numbers) => {
                    self.raw(b",\"kind\":\"number\"");
                    let parts = [numbers.min, numbers.p50, numbers.p95, numbers.max];
                    for (name, part) in ["min", "p50", "p95", "max"].into_iter().zip(parts) {
                        self.raw(b",\"");
                        self.raw(name.as_bytes());
                        self.raw(b"\":");
                        json::float(&mut self.batch.bytes, part);
                    }
                    if !numbers.unit.is_empty() {
                        self.raw(b",\"unit\":");
                        json::string(&mut self.batch.bytes, numbers.unit.as_bytes());
                    }
                }
                None => self.raw(b",\"kind\":\"text\""),
            }
            self.field(",\"distinct\":", value.distinct);
            self.raw(b"}");
        }
        self.raw(b"]");
    }

    fn examples(&mut self, examples: &[Box<[u8]>]) {
        if examples.is_empty() {
            return;
        }
        self.raw(b",\"examples\":[");
        for (index, example) in examples.iter().enumerate() {
            if index > 0 {
                self.raw(b",");
            }
            json::string(&mut self.batch.bytes, example);
        }
        self.raw(b"]");
    }

    pub(super) fn end(
        &mut self,
        start: usize,
        envelope: &Envelope,
        kind: Kind,
        lines: Lines,
        time: Timestamp,
    ) {
        self.raw(b"}}");
        let end = self.batch.bytes.len();
        debug_assert!(end - start <= self.record_max, "a record of {} bytes", end - start);
        self.bytes_out += Bytes((end - start) as u64);
        let key = self.batch.key(&envelope.key, envelope.topic.as_ref());
        self.batch.metas.push(Meta { end, seq: self.next_seq, records: 1, kind, lines, key, time });
        self.next_seq += 1;
    }

    /// What a list of texts may take beside a message and the envelope.
    pub(super) fn texts_max(&self) -> usize {
        self.record_max.saturating_sub(EXAMPLE_ROOM) / 4
    }

    pub(super) fn raw(&mut self, piece: &[u8]) {
        self.batch.bytes.extend_from_slice(piece);
    }

    pub(super) fn field(&mut self, name: &str, value: u64) {
        self.raw(name.as_bytes());
        json::number(&mut self.batch.bytes, value);
    }

    /// A word of ours, which needs no escaping.
    pub(super) fn word(&mut self, name: &str, word: &str) {
        self.raw(name.as_bytes());
        self.raw(word.as_bytes());
        self.raw(b"\"");
    }

    pub(super) fn time(&mut self, name: &str, time: Timestamp) {
        self.raw(name.as_bytes());
        self.face.write(&mut self.batch.bytes, time);
        self.raw(b"\"");
    }

    /// The id of an episode, window or alert: the lane, a letter that keeps it apart from record ids, and its number.
    pub(super) fn mark(&mut self, name: &str, letter: u8, mark: u64) {
        self.raw(name.as_bytes());
        self.batch.bytes.extend_from_slice(&self.lane_text);
        self.batch.bytes.push(letter);
        json::number(&mut self.batch.bytes, mark);
        self.raw(b"\"");
    }
}

#[derive(Clone, Copy)]
pub(super) struct Message<'t> {
    kept: &'t [u8],
    whole: &'t [u8],
}

fn measured(text: &[u8]) -> Truncated {
    Truncated { length: text.len() as u64, xxh3: xxhash_rust::xxh3::xxh3_64(text) }
}

/// Three digits after the point are enough for a rate that people read.
fn rounded(rate: f64) -> f64 {
    (rate * 1000.0).round() / 1000.0
}

/// No record limit below this: the constant parts of a record must fit.
const RECORD_MAX_SMALLEST: usize = 16 * 1024;
/// Room kept for everything in a line's record that is not its text, its envelope or the runtime's extras.
const FIXED_MAX: usize = 2 * 1024;
/// The runtime's extra attributes are kept up to this size; dockerd's are far below.
const EXTRA_MAX: usize = 16 * 1024;
/// Room for the message of a summary or notice; examples are capped where they are taken.
pub(super) const EXAMPLE_ROOM: usize = 8 * 1024;

const HEX_PAIRS: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0u8; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
};

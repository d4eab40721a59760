//! The truth against what arrived.
//!
//! Takes records in the order of the topic, duplicates included, and holds them against what is promised: equal ids
//! have equal bytes; the consumer's window lets each id through once; every calm line is there once and word for word;
//! for each kind of line, those that came word for word and those that were counted are all that were written.
//! It remembers every id, so it does not believe the window, it checks it.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde_json::Value;
use squall::dedup::{RecordId, Seen};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::generator::Truth;
use super::line::{FRESH, KINDS, Kind, Mark};

/// What has arrived so far.
#[derive(Default)]
pub(crate) struct Verifier {
    seen: Seen,
    /// The bytes of each id, as their hash.
    bytes: HashMap<RecordId, u128>,
    verbatim: Vec<Verbatim>,
    /// Where lines began of whose text only the beginning came.
    shrunk: HashSet<u64>,
    newest_line: u64,
    summarised: [u64; KINDS],
    noticed: u64,
    /// Lines in summaries that do not say of which kind.
    unmarked: u64,
    streams: Vec<String>,
    /// The number of the newest record of each stream.
    newest: Vec<u64>,
    /// Detail may be lost: calm lines may be counted instead, except fresh ones.
    only_counts: bool,
    report: Report,
}

/// A line that came word for word.
struct Verbatim {
    stream: usize,
    id: RecordId,
    mark: Mark,
    hash: u64,
    offset: u64,
}

/// What the comparison found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Records, each counted once.
    pub(crate) records: u64,
    pub(crate) summaries: u64,
    /// The most lines that one summary stands for.
    pub(crate) largest_window: u64,
    /// Records that came again, under the same id and with the same bytes.
    pub(crate) duplicates: u64,
    /// Records that came after one of their stream with a higher number.
    pub(crate) out_of_order: u64,
    pub(crate) lanes: usize,
    /// Lines that were told word for word or counted.
    pub(crate) lines: u64,
    /// Lines that were counted in notices.
    pub(crate) noticed: u64,
    /// Lines of which only the beginning came, because Kafka refused the whole.
    pub(crate) shrunk: u64,
    /// Calm lines that did not come.
    pub(crate) missing: u64,
    /// What notices say is lost, outside the count of lines.
    pub(crate) lost: u64,
    /// Everything that breaks the promise: how much of it, and the first of it in words.
    pub(crate) faults: u64,
    pub(crate) told: Vec<String>,
}

impl Report {
    fn fault(&mut self, what: impl FnOnce() -> String) {
        self.faults += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(what());
        }
    }

    /// Fails unless everything is exact and nothing is lost.
    #[track_caller]
    pub(crate) fn expect_exact(&self) -> &Report {
        assert!(self.faults == 0 && self.lost == 0, "{self}\n{}", self.told.join("\n"));
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            records,
            summaries,
            duplicates,
            out_of_order,
            lanes,
            lines,
            noticed,
            missing,
            lost,
            faults,
            ..
        } = self;
        write!(
            f,
            "{lines} lines ({noticed} in notices) in {records} records ({summaries} summaries) of {lanes} lanes; \
             missing {missing}, lost {lost}, \
             duplicates {duplicates}, out of order {out_of_order}, faults {faults}"
        )
    }
}

impl Verifier {
    /// Takes the next record of the topic.
    pub(crate) fn take(&mut self, record: &[u8]) {
        let json: Option<Value> = serde_json::from_slice(record).ok();
        let id =
            json.as_ref().and_then(|json| json.pointer("/squall/id")?.as_str()?.parse::<RecordId>().ok());
        let (Some(json), Some(id)) = (json, id) else {
            return self.report.fault(|| format!("no record: {}", String::from_utf8_lossy(record)));
        };
        let hash = xxh3_128(record);
        let before = self.bytes.insert(id, hash);
        if self.seen.is_new(id) != before.is_none() {
            self.report.fault(|| format!("the window is wrong about {id}"));
        }
        match before {
            Some(before) if before == hash => self.report.duplicates += 1,
            Some(_) => self.report.fault(|| format!("{id} came again with other bytes")),
            None => self.count(id, &json),
        }
    }

    /// From now on a calm line need not come word for word, but must be counted.
    pub(crate) fn expect_only_counts(&mut self) {
        self.only_counts = true;
    }

    /// The last line that came word for word, fresh ones apart.
    pub(crate) fn newest_line(&self) -> u64 {
        self.newest_line
    }

    /// Lines that have come word for word or were counted.
    pub(crate) fn lines(&self) -> u64 {
        let counted = self.summarised.iter().sum::<u64>() + self.noticed + self.unmarked;
        self.verbatim.len() as u64 + self.report.shrunk + counted
    }

    fn count(&mut self, id: RecordId, json: &Value) {
        let squall = &json["squall"];
        let text = json["message"].as_str().unwrap_or_default();
        let stream = self.stream(squall["stream"].as_str().unwrap_or_default());
        self.report.records += 1;
        if id.seq < self.newest[stream] {
            self.report.out_of_order += 1;
        }
        self.newest[stream] = id.seq.max(self.newest[stream]);
        let count = squall["count"].as_u64();
        match (squall["kind"].as_str(), count, Mark::read(text)) {
            (Some("line"), None, Some(mark)) => {
                if mark.seq < FRESH {
                    self.newest_line = self.newest_line.max(mark.seq);
                }
                let hash = xxh3_64(text.as_bytes());
                let offset = json["log"]["offset"].as_u64().unwrap_or(u64::MAX);
                self.verbatim.push(Verbatim { stream, id, mark, hash, offset });
            }
            // The mark stands at the end of a line, so only its place tells which one it was.
            (Some("line"), None, None) if squall["truncated"] == true && squall["length"].is_u64() => {
                self.shrunk.insert(json["log"]["offset"].as_u64().unwrap_or(u64::MAX));
                self.report.shrunk += 1;
            }
            (Some("summary"), Some(count), Some(mark)) => {
                self.report.summaries += 1;
                self.report.largest_window = self.report.largest_window.max(count);
                self.summarised[mark.kind as usize] += count;
            }
            // A long line was counted, and its mark is not in the part of it that a summary shows.
            (Some("summary"), Some(count), None) if self.only_counts => {
                self.report.summaries += 1;
                self.unmarked += count;
            }
            (Some("notice"), Some(count), _) => {
                self.noticed += count;
                let lost = ["lost_lines", "lost_records", "lost_bytes"];
                self.report.lost += lost.iter().filter_map(|name| squall[*name].as_u64()).sum::<u64>();
            }
            // They stand for no lines: all of them are told elsewhere.
            (Some("loop" | "alert"), None, _) => {}
            _ => self.report.fault(|| format!("a record that nobody wrote, or a changed text: {json}")),
        }
    }

    fn stream(&mut self, name: &str) -> usize {
        self.streams.iter().position(|known| known == name).unwrap_or_else(|| {
            self.streams.push(name.to_owned());
            self.newest.push(0);
            self.streams.len() - 1
        })
    }

    /// Holds everything against what was written.
    pub(crate) fn finish(mut self, truth: &Truth) -> Report {
        self.report.lanes = self.seen.lanes();
        self.report.lines = self.lines();
        self.report.noticed = self.noticed;
        self.check_counts(truth);
        self.check_order();
        self.check_calm(truth);
        self.report
    }

    /// For each kind: word for word + counted = written. Lines in notices, and without their end, have no kind.
    fn check_counts(&mut self, truth: &Truth) {
        let mut told = self.summarised;
        self.verbatim.iter().for_each(|line| told[line.mark.kind as usize] += 1);
        let written = truth.lines;
        let short: u64 = written.iter().zip(&told).map(|(written, told)| written.saturating_sub(*told)).sum();
        let over: u64 = told.iter().zip(&written).map(|(told, written)| told.saturating_sub(*written)).sum();
        let noticed = self.noticed + self.unmarked + self.report.shrunk;
        if over > 0 || short != noticed {
            self.report.fault(|| {
                format!("written {written:?}, told {told:?} (timeout, failed, calm), {noticed} of any kind")
            });
        }
    }

    /// Within a lane and in the order of their numbers, the lines of a stream stand in the order of writing, and none twice.
    fn check_order(&mut self) {
        self.verbatim.sort_unstable_by_key(|line| (line.stream, line.id.lane.0, line.id.seq));
        let (verbatim, report) = (&self.verbatim, &mut self.report);
        for pair in verbatim.windows(2) {
            let [before, after] = pair else { continue };
            let same = (before.stream, before.id.lane) == (after.stream, after.id.lane);
            if same && before.mark.seq >= after.mark.seq {
                report.fault(|| format!("line {} stands before line {}", before.mark.seq, after.mark.seq));
            }
        }
        let mut lines = HashSet::new();
        for line in verbatim {
            if !lines.insert(line.mark.seq) {
                report.fault(|| format!("line {} came under two ids", line.mark.seq));
            }
        }
    }

    /// Every calm line once, word for word, from where it stood in its file.
    fn check_calm(&mut self, truth: &Truth) {
        let calm = self.verbatim.iter().filter(|line| line.mark.kind == Kind::Calm);
        let came: HashMap<u64, &Verbatim> = calm.map(|line| (line.mark.seq, line)).collect();
        for line in &truth.calm {
            match came.get(&line.seq) {
                None if self.shrunk.contains(&line.offset) => {}
                None if self.only_counts && line.seq < FRESH => {}
                None => {
                    self.report.missing += 1;
                    self.report.fault(|| format!("calm line {} did not come", line.seq));
                }
                Some(found) if (found.hash, found.offset) != (line.hash, line.offset) => {
                    self.report.fault(|| {
                        let (seq, offset, at) = (line.seq, line.offset, found.offset);
                        format!("calm line {seq} of offset {offset} came changed, or as of offset {at}")
                    });
                }
                Some(_) => {}
            }
        }
    }
}

const TOLD_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::generator::Calm;

    /// Three lines as they were written.
    fn written() -> (Truth, [String; 3]) {
        let mut truth = Truth { lines: [1, 1, 1], ..Truth::default() };
        let kinds = [Kind::Timeout, Kind::Failed, Kind::Calm];
        let texts = [1, 2, 3].map(|seq| {
            let mut text = b"text".to_vec();
            Mark { src: 1, seq, kind: kinds[seq as usize - 1] }.append_to(&mut text);
            String::from_utf8(text).expect("text")
        });
        truth.calm.push(Calm { seq: 3, hash: xxh3_64(texts[2].as_bytes()), offset: 30 });
        (truth, texts)
    }

    fn record(seq: u64, text: &str, more: &str) -> String {
        let lane = "0".repeat(32);
        format!(
            r#"{{"message":"{text}","log":{{"offset":{seq}0}},"squall":{{"id":"{lane}-{seq}","stream":"s",{more}}}}}"#
        )
    }

    fn line(seq: u64, text: &str) -> String {
        record(seq, text, r#""kind":"line""#)
    }

    fn told(records: &[String]) -> Report {
        let mut verifier = Verifier::default();
        records.iter().for_each(|record| verifier.take(record.as_bytes()));
        verifier.finish(&written().0)
    }

    /// The judge is judged: each row is one lie.
    #[test]
    fn lies_are_found() {
        let (_, [a, b, c]) = written();
        #[track_caller]
        fn check(records: &[String], want: Option<&str>) {
            let report = told(records);
            match want {
                None => assert_eq!((report.faults, report.told.len()), (0, 0), "{:?}", report.told),
                Some(want) => {
                    assert!(report.told.iter().any(|fault| fault.contains(want)), "{:?}", report.told);
                }
            }
        }
        let honest = [line(1, &a), line(2, &b), line(3, &c)];
        let [one, two, three] = honest.clone();
        let counted =
            |text: &str, count: u64| record(1, text, &format!(r#""kind":"summary","count":{count}"#));
        check(&honest, None);
        check(&[one.clone(), one.clone(), two.clone(), three.clone(), two.clone()], None); // sent again
        check(&[counted(&a, 1), two.clone(), three.clone()], None);
        check(&[two.clone(), one.clone(), three.clone()], None); // out of order, but the numbers tell
        check(&[one.clone(), two.clone()], Some("calm line 3 did not come"));
        check(&[two.clone(), three.clone()], Some("written [1, 1, 1], told [0, 1, 1]"));
        check(&[counted(&a, 2), two.clone(), three.clone()], Some("told [2, 1, 1]"));
        check(&[counted(&b, 1), two.clone(), three.clone()], Some("told [0, 2, 1]"));
        check(&[one.clone(), line(1, &b), three.clone()], Some("came again with other bytes"));
        check(&[one.clone(), two.clone(), three.clone(), line(4, &c)], Some("came under two ids"));
        check(&[line(1, &b), line(2, &a), three.clone()], Some("line 2 stands before line 1"));
        check(&[one.clone(), two.clone(), three.replace("text", "test")], Some("a changed text"));
        check(
            &[one.clone(), two.clone(), three.replace("\"offset\":30", "\"offset\":31")],
            Some("offset 31"),
        );
        check(&[one.clone(), two.clone(), three.clone(), "{}".to_owned()], Some("no record"));
        let shrunk = |offset: u64| {
            let cut = record(3, "te", r#""kind":"line","truncated":true,"length":999"#);
            cut.replace("\"offset\":30", &format!("\"offset\":{offset}"))
        };
        check(&[one.clone(), two.clone(), shrunk(30)], None); // its place says which line it was
        check(&[one.clone(), two.clone(), shrunk(31)], Some("calm line 3 did not come"));
        let notice = record(4, "gone", r#""kind":"notice","count":1"#);
        check(&[one.clone(), three.clone(), notice.clone()], None); // told as not kept
        check(&[one, two, three, notice], Some("1 of any kind"));
    }

    #[test]
    fn what_is_counted() {
        let (_, [a, b, c]) = written();
        let report = told(&[line(2, &b), line(1, &a), line(2, &b), line(3, &c)]);
        assert_eq!((report.records, report.duplicates, report.out_of_order), (3, 1, 1));
        assert_eq!((report.lines, report.missing, report.lanes, report.lost), (3, 0, 1, 0));
        report.expect_exact();
        let lost = record(4, "gone", r#""kind":"notice","count":0,"lost_bytes":9"#);
        let report = told(&[line(1, &a), line(2, &b), line(3, &c), lost]);
        assert_eq!((report.lost, report.faults), (9, 0));
    }
}

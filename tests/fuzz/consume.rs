//! `squall consume`: what is in the topic comes out as it is or is counted, once, and acts on nobody's terminal.

use std::io::Write as _;

use squall::cli::consume::{Counts, Printer};
use squall::dedup::Seen;
use squall::terminal::is_harmful;

/// `bytes` as a message, as it is and packed.
pub fn consume(bytes: &[u8]) {
    // What claims to be packed is refused or unpacked, and nothing worse.
    for encoding in [&b"gzip"[..], b"zstd", b""] {
        print(true, false, &[(bytes, Some(encoding))]);
    }
    let zstd = zstd::bulk::compress(bytes, 1).expect("it packs");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let gzip = gzip.write_all(bytes).and_then(|()| gzip.finish()).expect("it packs");
    let [zstd, gzip] = [(&zstd[..], Some(&b"zstd"[..])), (&gzip[..], Some(&b"gzip"[..]))];

    // What does not claim it is one record, and one record is one line.
    let (out, counts) = print(true, false, &[(bytes, None)]);
    assert_eq!((lines(&out), counts.printed + counts.foreign), (counts.printed, 1));

    let records: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let unpacked: Vec<_> = records.iter().map(|record| (*record, None)).collect();
    let (out, counts) = print(true, false, &unpacked);
    assert_eq!(counts.printed + counts.foreign, records.len() as u64);
    let mut rest = records.iter();
    for line in out.split_inclusive(|byte| *byte == b'\n') {
        let same = |record: &&[u8]| line.strip_suffix(b"\n") == Some(*record);
        assert!(rest.by_ref().any(same), "not as it came: {}", line.escape_ascii());
    }
    assert_eq!(print(true, false, &[zstd]), (out.clone(), counts), "packed by zstd");
    assert_eq!(print(true, false, &[gzip]), (out, counts), "packed by gzip");

    let (_, once) = print(true, true, &[zstd]);
    let (_, twice) = print(true, true, &[zstd, gzip]);
    assert_eq!(twice.printed, once.printed, "what came again is left out");
    assert_eq!(twice.printed + twice.skipped + twice.foreign, 2 * records.len() as u64);

    let (people, _) = print(false, false, &[zstd]);
    let people = String::from_utf8(people).expect("text for people");
    assert_eq!(people.lines().count() as u64, counts.printed);
    assert!(!people.contains(|letter| letter != '\n' && is_harmful(letter)), "{people:?}");
}

fn lines(out: &[u8]) -> u64 {
    out.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// What is printed of these messages, and what is counted.
fn print(json: bool, dedup: bool, messages: &[(&[u8], Option<&[u8]>)]) -> (Vec<u8>, Counts) {
    let seen = dedup.then(Seen::default);
    let mut printer = Printer { out: Vec::new(), json, seen, counts: Counts::default() };
    for (payload, encoding) in messages {
        printer.payload(payload, *encoding).expect("a vector takes everything");
    }
    (printer.out, printer.counts)
}

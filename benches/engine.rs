//! The stages behind the framer, and the whole engine, on the incident and on the mixed corpus; and what is new.
//!
//! `cargo bench --bench engine`. Throughput counts the bytes of the json-file; once warm, the storm allocates only
//! where a window opens or keeps an example.

use divan::counter::{BytesCount, ItemsCount};
use squall::corpus::{incident, incident_file, mixed_file};
use squall::engine::chunk::Chunk;
use squall::engine::frame::{Format, Framer, IoStream};
use squall::engine::line::{self, Line, multiline};
use squall::engine::record::encode::{Encoder, Label};
use squall::engine::record::envelope::{Envelope, Place};
use squall::engine::record::identity::Identity;
use squall::engine::record::{Batch, LaneId};
use squall::engine::storm::Collapse;
use squall::engine::template::catalog::{Catalog, Query};
use squall::engine::template::mask::TemplateId;
use squall::engine::{Engine, Options, Source};
use squall::units::{Bytes, Monotonic, Now, Timestamp};

#[global_allocator]
static ALLOC: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

/// 2026-02-06T00:10:00Z.
const START: Timestamp = Timestamp(1_770_336_600 * Timestamp::SECOND);
/// As the data thread cuts them.
const PIECE: usize = 16 * 1024;

fn storm() -> Vec<u8> {
    incident_file(1, incident::LINES / 4, START)
}

fn mixed() -> Vec<u8> {
    mixed_file(1, Bytes(8_000_000))
}

/// The texts of a json-file.
fn texts(file: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    Framer::new(Format::Docker, 1 << 20).push(file, 0, &mut |frame| all.push(frame.text.to_vec()));
    all
}

/// Everything behind the input: bytes to encoded records.
fn whole(bencher: divan::Bencher, file: &[u8], collapse: Collapse) {
    whole_with(bencher, file, collapse, line::Limits::default());
}

fn whole_with(bencher: divan::Bencher, file: &[u8], collapse: Collapse, line: line::Limits) {
    bencher.counter(BytesCount::of_slice(file)).bench_local(|| {
        let mut engine = Engine::new(Options::default());
        let (name, format) = ("bench".to_owned(), Format::Docker);
        let source =
            Source { name, format, folding: collapse.into(), line: line.clone(), ..Source::default() };
        let origin = engine.open(source);
        let now = Now { arrival: Monotonic(0), wall: START };
        let (mut offset, mut spare) = (0, Batch::default());
        for bytes in file.chunks(PIECE) {
            engine.push(Chunk { origin, offset, bytes }, now);
            offset += bytes.len() as u64;
            if engine.batch().bytes.len() >= 256 * 1024 {
                spare = engine.take_batch(spare);
            }
        }
        divan::black_box(engine.ledger())
    });
}

#[divan::bench]
fn engine_storm(bencher: divan::Bencher) {
    whole(bencher, &storm(), Collapse::Storms);
}

/// The same with every line looked at for the beginning of a stack trace.
#[divan::bench]
fn engine_storm_multiline(bencher: divan::Bencher) {
    let multiline = Some(multiline::Options::new(multiline::Kind::Auto));
    whole_with(bencher, &storm(), Collapse::Storms, line::Limits { multiline, ..line::Limits::default() });
}

#[divan::bench]
fn engine_mixed_never(bencher: divan::Bencher) {
    whole(bencher, &mixed(), Collapse::Never);
}

#[divan::bench]
fn engine_mixed_storms(bencher: divan::Bencher) {
    whole(bencher, &mixed(), Collapse::Storms);
}

/// The catalog: both tiers and the table.
fn table(bencher: divan::Bencher, texts: &[Vec<u8>], foldable: bool) {
    let mut catalog = Catalog::new(10_000, 1);
    bencher.counter(ItemsCount::new(texts.len())).bench_local(|| {
        for text in texts {
            let query = Query { stream: 0, text, salt: 0, parse_error: None, foldable };
            if catalog.find(query).is_none() {
                catalog.insert(query);
            }
        }
    });
}

#[divan::bench]
fn table_storm(bencher: divan::Bencher) {
    table(bencher, &texts(&storm()), true);
}

#[divan::bench]
fn table_mixed(bencher: divan::Bencher) {
    table(bencher, &texts(&mixed()), false);
}

/// A new template each line, which is looked at for kin or not.
#[divan::bench(args = [false, true])]
fn new_templates(bencher: divan::Bencher, families: bool) {
    let word = |number: u32| -> String {
        (0..4).map(|at| char::from(b'a' + (number / 26u32.pow(at) % 26) as u8)).collect()
    };
    // Half of them are one family, the others are alike in nothing.
    let text = |number: u32| match number % 2 {
        0 => format!("2026-02-06T00:10:00Z WARN sshd[77]: Invalid user {} came from 10.0.0.1", word(number)),
        _ => format!("{0} with {0} and {0} does some work on behalf of {0} at 10:30", word(number)),
    };
    let texts: Vec<String> = (0..4096).map(text).collect();
    bencher.counter(ItemsCount::new(texts.len())).bench_local(|| {
        let mut catalog = Catalog::new(10_000, 1);
        for text in &texts {
            let text = text.as_bytes();
            let query = Query { stream: 0, text, salt: 0, parse_error: None, foldable: true };
            if catalog.find(query).is_some() {
                continue;
            }
            let entry = catalog.insert(query);
            let founding = if families { catalog.relate(entry) } else { None };
            divan::black_box(founding.and_then(|founding| catalog.found(founding)));
        }
    });
}

#[divan::bench]
fn encode_mixed(bencher: divan::Bencher) {
    let texts = texts(&mixed());
    let envelope = Envelope::new("bench/stderr", IoStream::Stderr, &Place::default(), &Identity::default());
    let label = Label { template: TemplateId(7), family: None, level: None, parse_error: None };
    let mut encoder = Encoder::new(LaneId(1), 1, Bytes(900_000));
    let mut spare = Batch::default();
    bencher.counter(ItemsCount::new(texts.len())).bench_local(|| {
        for text in &texts {
            let line = Line {
                text,
                time: START,
                log_time: START,
                stream: IoStream::Stderr,
                complete: true,
                extra: b"",
                parse_error: None,
                truncated: None,
                offset: 0,
                lines: 1,
            };
            encoder.line(&envelope, &line, Some(label));
            if encoder.batch().bytes.len() >= 256 * 1024 {
                spare = encoder.take(std::mem::take(&mut spare));
            }
        }
    });
}

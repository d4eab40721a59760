//! What it costs to hand out what an epoch commits: ten thousand open episodes, quiet and busy, and all of them back.
//!
//! `cargo bench --bench checkpoint`. A checkpoint is made ten times a second, so a quiet one must be next to nothing.

use squall::engine::chunk::{Chunk, OriginId};
use squall::engine::frame::Format;
use squall::engine::state::Changes;
use squall::engine::storm::window::ClosedBy;
use squall::engine::storm::{Collapse, Limits};
use squall::engine::{Engine, Options, Source};
use squall::units::{Monotonic, Now, Timestamp};

#[global_allocator]
static ALLOC: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

const ENTRIES: u32 = 10_000;
const NOW: Now = Now { arrival: Monotonic(0), wall: Timestamp(1_770_336_600 * Timestamp::SECOND) };

fn options() -> Options {
    Options { storm: Limits { novelty_per_second: 1_000_000, ..Limits::default() }, ..Options::default() }
}

/// One line of each entry, with a variable.
fn lines() -> Vec<u8> {
    let word = |entry: u32| -> String {
        (0..4).map(|at| (b'a' + (entry / 26u32.pow(at) % 26) as u8) as char).collect()
    };
    (0..ENTRIES)
        .flat_map(|entry| format!("unit {} took 12{} ms\n", word(entry), entry % 8).into_bytes())
        .collect()
}

fn push(engine: &mut Engine, origin: OriginId, lines: &[u8]) {
    engine.push(Chunk { origin, offset: 0, bytes: lines }, NOW);
    engine.take_batch(Default::default());
}

/// An engine in which each entry is in an episode.
fn crowd() -> (Engine, OriginId, Vec<u8>) {
    let mut engine = Engine::new(options());
    let source = Source {
        name: "bench".into(),
        format: Format::Plain,
        folding: Collapse::Always.into(),
        ..Source::default()
    };
    let origin = engine.open(source);
    let lines = lines();
    (0..10).for_each(|_| push(&mut engine, origin, &lines));
    (engine, origin, lines)
}

#[divan::bench]
fn quiet(bencher: divan::Bencher) {
    let (mut engine, _, _) = crowd();
    let mut changes = Changes::default();
    engine.checkpoint(NOW, &mut changes);
    assert_eq!(changes.episodes.len(), ENTRIES as usize);
    bencher.bench_local(|| engine.checkpoint(NOW, &mut changes));
}

#[divan::bench]
fn busy(bencher: divan::Bencher) {
    let (mut engine, origin, lines) = crowd();
    let (mut changes, mut spare) = (Changes::default(), Changes::default());
    engine.checkpoint(NOW, &mut changes);
    bencher.counter(divan::counter::ItemsCount::new(ENTRIES)).bench_local(|| {
        // Every entry has had a line, so there is nothing that need not be written.
        push(&mut engine, origin, &lines);
        std::mem::swap(&mut changes, &mut spare);
        engine.checkpoint(NOW, &mut changes);
    });
}

/// The part of `busy` that is not the checkpoint.
#[divan::bench]
fn busy_without(bencher: divan::Bencher) {
    let (mut engine, origin, lines) = crowd();
    bencher.bench_local(|| push(&mut engine, origin, &lines));
}

#[divan::bench]
fn restore(bencher: divan::Bencher) {
    let (mut engine, _, _) = crowd();
    let mut changes = Changes::default();
    engine.checkpoint(NOW, &mut changes);
    bencher
        .with_inputs(|| changes.clone())
        .bench_local_values(|changes| Engine::restore(options(), changes, NOW));
}

#[divan::bench]
fn finish(bencher: divan::Bencher) {
    bencher.with_inputs(crowd).bench_local_values(|(mut engine, _, _)| {
        while !engine.finish_some(ClosedBy::Shutdown, NOW) {
            engine.take_batch(Default::default());
        }
        engine
    });
}

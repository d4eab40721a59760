//! Loops: what a line of a storm costs the detector, in a loop and out of one.
//!
//! `cargo bench --bench cycle`. The goal is 10 ns a line (`issues` 4); the items a second are lines.

use divan::counter::ItemsCount;
use squall::engine::cycle::lexicon::{Lexicon, Tags};
use squall::engine::cycle::{Cycle, Limits, Loops, Seen};
use squall::engine::storm;
use squall::engine::template::catalog::EntryId;
use squall::engine::template::mask::TemplateId;
use squall::units::{Monotonic, Timestamp};

fn main() {
    divan::main();
}

const LINES: usize = 100_000;
/// 2026-02-06T00:10:00Z.
const START: i64 = 1_770_336_600 * Timestamp::SECOND;
/// Words that no two of are worded alike.
const TEXTS: [&str; 16] = [
    "alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet", "kilo",
    "lima", "mike", "november", "oscar", "papa",
];

/// Lines of the entries in `order`, over and over, 15 a second.
fn observe(bencher: divan::Bencher, order: &[usize], tags: Tags, prefix: &[&str]) {
    let mut loops = Loops::new(Limits::default(), storm::Limits::default().pace());
    let mut cycle = Cycle::default();
    each(bencher, order, tags, prefix, |seen| {
        cycle.observe(seen, &mut loops);
        if loops.has_news() {
            divan::black_box(loops.take_news("bench"));
        }
    });
}

/// What is done with each of these lines.
fn each(
    bencher: divan::Bencher,
    order: &[usize],
    tags: Tags,
    prefix: &[&str],
    mut line: impl FnMut(&Seen<'_>),
) {
    // Worked out before, and small: what is measured takes as long as a cache miss.
    let texts: Vec<(usize, String)> = (0..TEXTS.len() * prefix.len())
        .map(|at| (at / prefix.len(), format!("{}{}", prefix[at % prefix.len()], TEXTS[at / prefix.len()])))
        .collect();
    let lines: Vec<u8> = (0..LINES)
        .map(|line| line % (order.len() * prefix.len()))
        .map(|at| (order[at / prefix.len()] * prefix.len() + at % prefix.len()) as u8) // at most 48
        .collect();
    let mut time = START;
    bencher.counter(ItemsCount::new(LINES)).bench_local(|| {
        for &at in &lines {
            let (entry, ref text) = texts[usize::from(at)];
            time += Timestamp::SECOND / 15;
            line(&Seen {
                entry: EntryId(entry as u32),
                template: TemplateId(entry as u128),
                tags,
                text: text.as_bytes(),
                time: Timestamp(time),
                arrival: Monotonic((time - START) as u64),
                is_failing: true,
                is_first: false,
            });
        }
    });
}

/// What the other figures hold besides the detector.
#[divan::bench]
fn lines_alone(bencher: divan::Bencher) {
    each(bencher, &[0, 1], Tags::RETRY, &[""], |seen| {
        divan::black_box(seen);
    });
}

#[divan::bench]
fn loop_of_two(bencher: divan::Bencher) {
    observe(bencher, &[0, 1], Tags::RETRY, &[""]);
}

#[divan::bench]
fn loop_of_eight_with_repeats(bencher: divan::Bencher) {
    observe(bencher, &[0, 0, 0, 1, 2, 3, 3, 4, 5, 6, 7], Tags::RETRY, &[""]);
}

#[divan::bench]
fn loop_of_one(bencher: divan::Bencher) {
    observe(bencher, &[0], Tags::RETRY, &[""]);
}

#[divan::bench]
fn loop_of_two_in_three_containers(bencher: divan::Bencher) {
    observe(bencher, &[0, 1], Tags::RETRY, &["gateway-1  | ", "gateway-2  | ", "gateway-3  | "]);
}

/// Sixteen busy templates without a rule, which is looked for again and again.
#[divan::bench]
fn no_loop_among_sixteen(bencher: divan::Bencher) {
    let mut state = 7u64;
    let order: Vec<usize> = (0..4_099)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 60) as usize
        })
        .collect();
    observe(bencher, &order, Tags::default(), &[""]);
}

/// What each new template costs once.
#[divan::bench]
fn lexicon(bencher: divan::Bencher) {
    let lexicon = Lexicon::new(&[], &[]);
    let text = b"GET /api/v1/orders?limit=20&page=7 200 in 12 ms, request 5f3a, user 991, from 10.1.2.3";
    bencher
        .counter(ItemsCount::new(1u32))
        .bench_local(|| divan::black_box(&lexicon).tags(divan::black_box(text)));
}

//! What a line's fingerprint costs: bytes per second, and no allocations.

use divan::counter::{BytesCount, ItemsCount};
use squall::engine::template::mask::{Mask, Slots, template_id};

#[global_allocator]
static ALLOC: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

/// Kinds of lines, each with an unlike mix of constant text and variables.
#[derive(Clone, Copy, Debug)]
enum Lines {
    /// A timeout with time, port, request id, duration and attempt: 159 bytes.
    Storm,
    /// Hardly anything but variables.
    AccessLog,
    /// Long words, few variables.
    Java,
    /// One body, again and again.
    Constant,
    /// Lines around the cut.
    Long,
}

const KINDS: [Lines; 5] = [Lines::Storm, Lines::AccessLog, Lines::Java, Lines::Constant, Lines::Long];

/// Many lines, so that the processor cannot learn them by heart.
fn lines(kind: Lines) -> Vec<String> {
    let mut state = 1_u64;
    let mut random = |limit: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit
    };
    let mut line = || match kind {
        Lines::Storm => format!(
            "2026-11-21T10:{:02}:{:02}.{:03}Z WARN broker WebSocket connection timeout: \
             wss://api.example-broker.com:{}/stream?req={:08x} after {} ms (attempt {}), will retry",
            random(60),
            random(60),
            random(1000),
            10_000 + random(50_000),
            random(1 << 31),
            random(50_000),
            random(7),
        ),
        Lines::AccessLog => format!(
            "10.0.{}.{} - - [21/Nov/2026:10:{:02}:{:02} +0000] \"GET /api/v1/orders/{} HTTP/1.1\" {} {} \"-\" \"curl/8.5.0\"",
            random(256),
            random(256),
            random(60),
            random(60),
            random(1 << 20),
            200 + random(5),
            random(1 << 16),
        ),
        Lines::Java => format!(
            "2026-11-21 10:{:02}:{:02},{:03} INFO [main] org.apache.hadoop.mapreduce.v2.app.rm.RMContainerAllocator: \
             Before Scheduling: PendingReds:{} ScheduledMaps:{} ScheduledReds:0 AssignedMaps:{} CompletedMaps:{}",
            random(60),
            random(60),
            random(1000),
            random(10),
            random(100),
            random(100),
            random(1000),
        ),
        Lines::Constant => "WebSocket connection timeout, reconnecting to the broker".to_owned(),
        Lines::Long => {
            format!("payload {} {}", random(1 << 31), "lorem ipsum x1 ".repeat(250 + random(100) as usize))
        }
    };
    (0..4096).map(|_| line()).collect()
}

fn run(bencher: divan::Bencher<'_, '_>, mask: &Mask, kind: Lines) {
    let lines = lines(kind);
    let mut slots = Slots::default();
    bencher
        .counter(BytesCount::new(lines.iter().map(String::len).sum::<usize>()))
        .counter(ItemsCount::new(lines.len()))
        .bench_local(|| {
            lines.iter().fold(0, |mix, line| mix ^ mask.fingerprint(line.as_bytes(), &mut slots).0)
        });
}

#[divan::bench(args = KINDS)]
fn fastest(bencher: divan::Bencher<'_, '_>, kind: Lines) {
    run(bencher, &Mask::new(1), kind);
}

#[divan::bench(args = KINDS)]
fn portable(bencher: divan::Bencher<'_, '_>, kind: Lines) {
    run(bencher, &Mask::portable(1), kind);
}

/// The cold path, once for each new fingerprint.
#[divan::bench(args = KINDS)]
fn template(bencher: divan::Bencher<'_, '_>, kind: Lines) {
    let lines = lines(kind);
    let mut canonical = Vec::new();
    bencher
        .counter(BytesCount::new(lines.iter().map(String::len).sum::<usize>()))
        .counter(ItemsCount::new(lines.len()))
        .bench_local(|| {
            lines.iter().fold(0, |mix, line| mix ^ template_id(line.as_bytes(), &mut canonical).0)
        });
}

//! How fast bytes become frames, and that nothing is allocated once warm.

use std::fmt::Write;

use divan::counter::BytesCount;
use squall::engine::frame::{Format, Frame, Framer};

#[global_allocator]
static ALLOC: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

/// What the daemon reads at once.
const CHUNK: usize = 256 << 10;

#[divan::bench]
fn docker_storm(bencher: divan::Bencher) {
    bench(bencher, Format::Docker, |number, time| {
        let text = ["WebSocket connection timeout", "Reconnecting to upstream gateway in 500 ms"][number % 2];
        format!(r#"{{"log":"{text}\n","stream":"stderr","time":"{time}"}}"#)
    });
}

#[divan::bench]
fn docker_attrs(bencher: divan::Bencher) {
    bench(bencher, Format::Docker, |number, time| {
        let attrs = r#"{"com.docker.compose.project":"shop","com.docker.compose.service":"gateway"}"#;
        format!(r#"{{"log":"GET /orders/{number} 200\n","stream":"stdout","attrs":{attrs},"time":"{time}"}}"#)
    });
}

#[divan::bench]
fn docker_json_in_json(bencher: divan::Bencher) {
    bench(bencher, Format::Docker, |number, time| {
        let text = format!(
            r#"{{\"level\":\"info\",\"ts\":{number},\"msg\":\"request served\",\"path\":\"/orders\",\"status\":200}}"#
        );
        format!(r#"{{"log":"{text}\n","stream":"stdout","time":"{time}"}}"#)
    });
}

#[divan::bench]
fn docker_odd_order(bencher: divan::Bencher) {
    bench(bencher, Format::Docker, |number, time| {
        format!(r#"{{"time":"{time}","stream":"stdout","log":"GET /orders/{number} 200\n"}}"#)
    });
}

#[divan::bench]
fn cri(bencher: divan::Bencher) {
    bench(bencher, Format::Cri, |number, time| {
        format!("{time} stdout F GET /orders/{number} 200 in 12 ms from 10.0.0.7 by gateway-7f9c")
    });
}

#[divan::bench]
fn plain(bencher: divan::Bencher) {
    bench(bencher, Format::Plain, |number, time| {
        format!(
            "{time} INFO gateway: GET /orders/{number} 200 in 12 ms from 10.0.0.7 by gateway-7f9c for customer 9"
        )
    });
}

fn bench(bencher: divan::Bencher, format: Format, line: impl Fn(usize, &str) -> String) {
    let chunk = chunk(line);
    let mut framer = Framer::new(format, 1 << 20);
    let mut offset = 0;
    // Once before the clock runs, so that the buffers have their size.
    framer.push(&chunk, offset, &mut use_frame);
    bencher.counter(BytesCount::of_slice(&chunk)).bench_local(|| {
        offset += chunk.len() as u64;
        framer.push(divan::black_box(&chunk), offset, &mut use_frame);
    });
}

fn use_frame(frame: Frame<'_>) {
    divan::black_box(&frame);
}

/// Whole lines, 15 a second as in the storms that were measured.
fn chunk(line: impl Fn(usize, &str) -> String) -> Vec<u8> {
    let mut chunk = String::new();
    for number in 0.. {
        let nanoseconds = 1_770_336_600_123_456_789 + number as i128 * 66_666_667;
        let time = jiff::Timestamp::from_nanosecond(nanoseconds).expect("a time of this century");
        let line = line(number, &time.to_string());
        if chunk.len() + line.len() + 1 > CHUNK {
            break;
        }
        writeln!(chunk, "{line}").expect("a string takes all that is written");
    }
    chunk.into_bytes()
}

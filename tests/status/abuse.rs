//! Clients that hang, shout, or never stop: `/health` goes on answering, memory stays flat, and no line waits.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use squall::daemon::clock;

use super::served::Served;
use crate::support::http::{ask, connect, get};

/// Each of the ways to hang has so many connections.
const HANGING: usize = 1_000;
/// What answering them may have cost once it is over: buffers of a hundred connections, and the allocator's gaps.
const GROWTH_MAX_KIB: u64 = 12 << 10;

/// A thousand sockets need more descriptors than some shells allow.
fn allow_many_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(8_192);
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum })
        .expect("up to the hard limit");
}

/// Asks for `/health` twenty times; each must come. Returns the longest time.
#[track_caller]
fn longest_health(served: &Served) -> Duration {
    let once = |_| {
        let asked = clock::now().arrival;
        assert_eq!(get(&served.address, "/health").status, 200);
        clock::now().arrival.since(asked)
    };
    (0..20).map(once).max().unwrap_or_default()
}

#[test]
fn fault_084_a_thousand_hang_and_a_probe_is_answered() {
    allow_many_descriptors();
    let mut served = Served::start(&"connection timeout\n".repeat(1_000), &[]);
    served.wait_for_lines(1_000);
    let quiet = longest_health(&served);
    let before = served.resident_kib();
    let ways: [(&str, &[u8]); 4] = [
        ("say nothing", b""),
        ("stop within the head", b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: "),
        (
            "stop within the body",
            b"POST /api/v1/limits HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n{",
        ),
        ("do not read the answer", b"GET /api/v1/status HTTP/1.1\r\nHost: x\r\n\r\n"),
    ];
    for (way, bytes) in ways {
        let open: Vec<TcpStream> = (0..HANGING)
            .map(|_| {
                let mut stream = connect(&served.address);
                // It may have been closed already to make room for others.
                let _ = stream.write_all(bytes);
                stream
            })
            .collect();
        let longest = longest_health(&served);
        let descriptors =
            std::fs::read_dir(format!("/proc/{}/fd", served.running.id())).expect("it runs").count();
        println!(
            "{} clients {way}: /health within {longest:?} (quiet: {quiet:?}), {descriptors} descriptors",
            open.len()
        );
        assert!(descriptors < 200, "{descriptors} descriptors");
    }
    let after = served.resident_kib();
    println!("memory: {before} KiB before, {after} KiB after");
    assert!(after < before + GROWTH_MAX_KIB, "{before} KiB before, {after} KiB after");
    // The pipeline has not waited.
    assert_eq!(served.metrics()["squall_conservation_error_lines"], 0.0);
    served.running.signal(Signal::TERM);
    served.running.end().expect_code(0);
}

#[test]
fn fault_084_heads_and_bodies_have_limits() {
    let served = Served::start("", &[]);
    let before = served.resident_kib();
    // A gigabyte of one header, as far as it is taken.
    let mut stream = connect(&served.address);
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Large: ").expect("it listens");
    let block = vec![b'a'; 1 << 20];
    let taken = (0..1_024).take_while(|_| stream.write_all(&block).is_ok()).count();
    assert!(taken < 64, "{taken} MiB of a header were taken");
    let many: String = (0..1_000).map(|n| format!("X-{n}: 1\r\n")).collect();
    let answer = ask(&served.address, &format!("GET /health HTTP/1.1\r\nHost: x\r\n{many}\r\n"));
    assert_eq!(answer.status, 431, "{answer:?}");
    let long = "a".repeat(70_000);
    let mut stream = connect(&served.address);
    // Refused before it is read to its end, so writing may fail.
    let _ = stream.write_all(format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    let mut answer = Vec::new();
    // Some are reset before they have read the answer.
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{:?}", String::from_utf8_lossy(&answer));
    for garbage in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(),
        b"\0\0\0\0\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
    ] {
        let mut stream = connect(&served.address);
        let _ = stream.write_all(garbage);
    }
    assert_eq!(get(&served.address, "/health").status, 200);
    let after = served.resident_kib();
    assert!(after < before + GROWTH_MAX_KIB, "{before} KiB before, {after} KiB after");
}

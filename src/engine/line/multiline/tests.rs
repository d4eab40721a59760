//! Traces as real programs print them, and the laws of joining.

use std::time::Duration;

use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::engine::frame::Truncated;

const NOW: Now = Now { arrival: Monotonic(0), wall: Timestamp(1_795_258_800 * Timestamp::SECOND) };

/// Spring's own words, then the exception with its causes.
pub(super) const SPRING: &str = "\
2026-02-06T09:03:11.482+09:00 ERROR 1 --- [nio-8080-exec-7] o.a.c.c.C.[.[.[/].[dispatcherServlet]    : Servlet.service() for servlet [dispatcherServlet] threw exception [Request processing failed: java.lang.IllegalStateException: no stock] with root cause

java.lang.IllegalStateException: no stock
\tat com.acme.shop.Orders.place(Orders.java:42) ~[app.jar!/:1.4.2]
\tat com.acme.shop.Orders$$SpringCGLIB$$0.place(<generated>) ~[app.jar!/:1.4.2]
\tat java.base/jdk.internal.reflect.DirectMethodHandleAccessor.invoke(DirectMethodHandleAccessor.java:103) ~[na:na]
\tSuppressed: java.io.IOException: close failed
\t\tat com.acme.shop.Stock.close(Stock.java:9)
\t\t... 5 common frames omitted
Caused by: org.postgresql.util.PSQLException: Connection to 127.0.0.1:5432 refused.
\tat org.postgresql.core.v3.ConnectionFactoryImpl.openConnectionImpl(ConnectionFactoryImpl.java:352)
\t... 23 more
Caused by: java.net.ConnectException: Connection refused
\t... 31 more";

pub(super) const JAVA: &str = "\
Exception in thread \"main\" java.lang.ExceptionInInitializerError
\tat com.acme.Main.main(Main.java:7)
Caused by: java.lang.NullPointerException: Cannot invoke \"String.length()\" because \"name\" is null
\tat com.acme.Config.<clinit>(Config.java:11)
\t... 1 more";

pub(super) const PYTHON: &str = "\
Traceback (most recent call last):
  File \"/app/db.py\", line 12, in connect
    sock.connect(address)
    ~~~~~~~~~~~~^^^^^^^^^
ConnectionRefusedError: [Errno 111] Connection refused

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File \"/app/main.py\", line 40, in <module>
    main()
  [Previous line repeated 996 more times]
  File \"/app/db.py\", line 15, in connect
    raise Unavailable(address) from None
shop.errors.Unavailable: ('127.0.0.1', 5432)";

const PYTHON_CAUSE: &str = "\
Traceback (most recent call last):
  File \"/app/a.py\", line 1, in f
    g()
KeyError: 'sku'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File \"/app/a.py\", line 3, in <module>
    f()
psycopg.OperationalError: connection failed: Connection refused
\tIs the server running on that host and accepting TCP/IP connections?";

const PYTHON_GROUP: &str = "\
  + Exception Group Traceback (most recent call last):
  |   File \"/app/group.py\", line 9, in <module>
  |     raise ExceptionGroup(\"many\", errors)
  | ExceptionGroup: many (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | ValueError: a
    +---------------- 2 ----------------
    | TypeError: b
    +------------------------------------";

const SQLALCHEMY: &str = "\
Traceback (most recent call last):
  File \"/app/q.py\", line 5, in q
    cursor.execute(statement)
sqlalchemy.exc.ProgrammingError: (psycopg.errors.UndefinedTable) relation \"orders\" does not exist
[SQL: SELECT 1 FROM orders]
(Background on this error at: https://sqlalche.me/e/20/f405)";

pub(super) const GO: &str = "\
panic: runtime error: invalid memory address or nil pointer dereference [recovered]
\tpanic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x48f2bc]

goroutine 34 [running]:
testing.tRunner.func1.2({0x4b2f20, 0x5a3c50})
\t/usr/local/go/src/testing/testing.go:1545 +0x238
panic({0x4b2f20?, 0x5a3c50?})
\t/usr/local/go/src/runtime/panic.go:914 +0x21f
main.(*Orders).Place(0x0, {0x4c1d33, 0x7})
\t/app/orders.go:42 +0x1d
created by main.main in goroutine 1
\t/app/main.go:9 +0x65

goroutine 18 [chan receive, 3 minutes]:
main.worker(...)
\t/app/worker.go:11
...additional frames elided...
created by main.start
\t/app/worker.go:5 +0x3f
exit status 2";

const GO_HTTP: &str = "\
2026/02/06 09:03:11 http: panic serving 127.0.0.1:51515: boom
goroutine 7 [running]:
net/http.(*conn).serve.func1()
\t/usr/local/go/src/net/http/server.go:1868 +0xb0
main.handler({0x7f2a3c, 0xc0001c0000}, 0x0)
\t/app/main.go:14 +0x45";

pub(super) const NODE: &str = "\
Error: connect ECONNREFUSED 127.0.0.1:18765
    at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1611:16) {
  errno: -111,
  code: 'ECONNREFUSED',
  syscall: 'connect',
  address: '127.0.0.1',
  port: 18765
}";

const NODE_UNHANDLED: &str = "\
node:internal/process/promises:288
            triggerUncaughtException(err, true /* fromPromise */);
            ^

Error: orders are gone
    at place (/app/orders.js:12:9)
    at process.processTicksAndRejections (node:internal/process/task_queues:95:5) {
  [cause]: Error: connect ECONNREFUSED 127.0.0.1:5432
      at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1611:16) {
    errno: -111,
    code: 'ECONNREFUSED'
  }
}

Node.js v20.11.0";

const NODE_MODULE: &str = "\
/app/server.js:3
const x = require('nowhere');
          ^

Error: Cannot find module 'nowhere'
Require stack:
- /app/server.js
    at Module._resolveFilename (node:internal/modules/cjs/loader:1145:15)";

/// The program that made the capture `tests/captures/ioredis.log` says this.
const IOREDIS: &str = "\
[ioredis] Unhandled error event: Error: connect ECONNREFUSED 127.0.0.1:16379
    at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1611:16)";

/// A line that outlives its stage.
#[derive(Clone, Debug, PartialEq)]
struct Left {
    text: String,
    stream: IoStream,
    lines: u32,
    offset: u64,
}

/// A line on standard error.
fn line(text: &str, offset: u64) -> Line<'_> {
    Line {
        text: text.as_bytes(),
        time: NOW.wall,
        log_time: NOW.wall,
        stream: IoStream::Stderr,
        complete: true,
        extra: b"",
        parse_error: None,
        truncated: None,
        offset,
        lines: 1,
    }
}

fn keep(into: &mut Vec<Left>) -> impl FnMut(&Line<'_>) {
    |line| {
        let text = String::from_utf8_lossy(line.text).into_owned();
        into.push(Left { text, stream: line.stream, lines: line.lines, offset: line.offset });
    }
}

/// What comes out of these physical lines in the end.
fn joined(kind: Kind, lines: &[&str]) -> Vec<String> {
    let mut stage = Traces::new(Options::new(kind), 1 << 20);
    let mut left = Vec::new();
    let mut offset = 0;
    for text in lines {
        stage.push(&line(text, offset), NOW, &mut keep(&mut left));
        offset += text.len() as u64 + 1;
    }
    stage.flush(&mut keep(&mut left));
    let physical: u32 = left.iter().map(|line| line.lines).sum();
    assert_eq!(physical as usize, lines.len(), "every physical line is in one line");
    left.into_iter().map(|line| line.text).collect()
}

fn auto(lines: &[&str]) -> Vec<String> {
    joined(Kind::Auto, lines)
}

#[test]
fn real_traces_are_one_line_each() {
    #[track_caller]
    fn check(language: Language, trace: &str) {
        let calm = "GET /orders/1 200 in 12 ms";
        let lines: Vec<&str> = [calm].into_iter().chain(trace.split('\n')).chain([calm]).collect();
        for kind in [Kind::Auto, Kind::Language(language)] {
            assert_eq!(joined(kind.clone(), &lines), [calm, trace, calm], "{kind:?}");
        }
        // As Windows ends its lines.
        let lines: Vec<String> = lines.iter().map(|line| format!("{line}\r")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(auto(&lines).len(), 3);
        // The same trace twice is two.
        let twice: Vec<&str> = trace.split('\n').chain(trace.split('\n')).collect();
        assert_eq!(auto(&twice), [trace, trace]);
    }
    check(Language::Java, SPRING);
    check(Language::Java, JAVA);
    check(Language::Python, PYTHON);
    check(Language::Python, PYTHON_CAUSE);
    check(Language::Python, PYTHON_GROUP);
    check(Language::Python, SQLALCHEMY);
    check(Language::Go, GO);
    check(Language::Go, GO_HTTP);
    check(Language::Node, NODE);
    check(Language::Node, NODE_UNHANDLED);
    check(Language::Node, NODE_MODULE);
    check(Language::Node, IOREDIS);
}

#[test]
fn what_is_no_trace_stays_apart() {
    #[track_caller]
    fn check(lines: &[&str]) {
        assert_eq!(auto(lines), lines);
    }
    check(&["WebSocket connection timeout", "Reconnection failed after 5 attempts"]);
    check(&["java.io.IOException: closed", "java.io.IOException: closed", "java.io.IOException: closed"]);
    check(&["TypeError: a", "TypeError: a", "TypeError: a"]);
    check(&["ERROR x.y.FooException: a", "ERROR x.y.FooException: a"]);
    check(&["a", "    indented", "", "b"]);
    check(&["Traceback (most recent call last):", "2026-02-06 it was another program"]);
    check(&["panic: boom", "main.f(1) said so too"]);
    check(&["/app/server.js:12"]);
    check(&["Error: x", "{", "}"]);
    check(&["", "", ""]);
}

#[test]
fn a_language_knows_only_its_own_traces() {
    let lines: Vec<&str> = PYTHON.split('\n').collect();
    assert_eq!(joined(Kind::Language(Language::Go), &lines), lines);
    let lines: Vec<&str> = GO.split('\n').collect();
    assert_eq!(joined(Kind::Language(Language::Python), &lines), lines);
}

#[test]
fn the_rest_of_a_trace_is_joined_too() {
    let rest: Vec<&str> = JAVA.split('\n').skip(1).collect();
    assert_eq!(auto(&rest), [rest.join("\n")]);
}

#[test]
fn ones_own_pattern() {
    let kind = Kind::Start(Pattern::new(r"^\[\d+\]").expect("a pattern"));
    let got = joined(kind, &["before", "[1] SELECT", "  *", "FROM t", "[2] COMMIT", "[3] x", ""]);
    assert_eq!(got, ["before", "[1] SELECT\n  *\nFROM t", "[2] COMMIT", "[3] x\n"]);
    assert!(Pattern::new("(").is_err() && Pattern::new("(a{1000}){1000}").is_err());
}

#[test]
fn two_streams_never_meet() {
    let mut stage = Traces::new(Options::new(Kind::Auto), 1 << 20);
    let mut left = Vec::new();
    let java: Vec<&str> = JAVA.split('\n').collect();
    let python: Vec<&str> = PYTHON.split('\n').collect();
    for index in 0..java.len().max(python.len()) {
        if let Some(text) = java.get(index) {
            stage.push(&line(text, index as u64), NOW, &mut keep(&mut left));
        }
        if let Some(text) = python.get(index) {
            let out = Line { stream: IoStream::Stdout, ..line(text, index as u64) };
            stage.push(&out, NOW, &mut keep(&mut left));
        }
    }
    assert_eq!((stage.held_lines(), stage.holds(IoStream::Unknown)), (Lines(2), false));
    stage.flush(&mut keep(&mut left));
    let got: Vec<_> = left.iter().map(|line| (line.stream, line.text.as_str(), line.offset)).collect();
    assert_eq!(got, [(IoStream::Stdout, PYTHON, 0), (IoStream::Stderr, JAVA, 0)]);
}

#[test]
fn a_trace_is_held_no_longer_than_it_may_be() {
    let mut stage = Traces::new(Options::new(Kind::Auto), 1 << 20);
    let mut left = Vec::new();
    assert_eq!(stage.deadline(), None);
    let later = |millis| Monotonic(Duration::from_millis(millis).as_nanos() as u64);
    stage.push(&line("java.io.IOException: x", 0), NOW, &mut keep(&mut left));
    let now = Now { arrival: later(900), ..NOW };
    stage.push(&line("\tat a.B.c(B.java:1)", 23), now, &mut keep(&mut left));
    assert_eq!(stage.deadline(), Some(later(1_000)), "of its first line");
    stage.on_deadline(later(999), &mut keep(&mut left));
    assert_eq!(left, []);
    stage.on_deadline(later(1_000), &mut keep(&mut left));
    assert_eq!((left.len(), left[0].lines, stage.deadline()), (1, 2, None));
    assert_eq!(stage.held_lines(), Lines(0));
}

#[test]
fn a_long_trace_begins_anew() {
    let frames: Vec<String> = (0..7).map(|frame| format!("\tat a.B.c(B.java:{frame})")).collect();
    let mut stage = Traces::new(Options { lines_max: 4, ..Options::new(Kind::Auto) }, 1 << 20);
    let mut left = Vec::new();
    stage.push(&line("java.io.IOException: x", 0), NOW, &mut keep(&mut left));
    for frame in &frames {
        stage.push(&line(frame, 1), NOW, &mut keep(&mut left));
    }
    stage.flush(&mut keep(&mut left));
    assert_eq!(left.iter().map(|line| line.lines).collect::<Vec<_>>(), [4, 4]);
}

#[test]
fn fault_026_an_endless_trace_takes_bounded_memory() {
    let options = Options { lines_max: 10_000, ..Options::new(Kind::Auto) };
    let mut stage = Traces::new(options, 1_000);
    let frame = format!("\tat a.B.{}(B.java:1)", "c".repeat(50));
    let whole = std::iter::once("x.Error: y").chain(std::iter::repeat_n(frame.as_str(), 5_000));
    let mut seen = Vec::new();
    for text in whole.clone() {
        stage.push(&line(text, 0), NOW, &mut |_| panic!("it goes on"));
        assert!(stage.size() <= Bytes(2_500), "{:?}", stage.size());
    }
    stage.flush(&mut |line| seen.push((line.text.len(), line.truncated)));
    let whole = whole.collect::<Vec<_>>().join("\n");
    let cut = Truncated { length: whole.len() as u64, xxh3: xxh3_64(whole.as_bytes()) };
    assert_eq!(seen, [(1_000, Some(cut))]);
}

#[test]
fn a_line_that_was_not_understood_is_alone() {
    let mut stage = Traces::new(Options::new(Kind::Auto), 1 << 20);
    let mut left = Vec::new();
    stage.push(&line("x.Error: y", 0), NOW, &mut keep(&mut left));
    let broken = Line { parse_error: Some("broken"), ..line("\tat a.B.c(B.java:1)", 1) };
    stage.push(&broken, NOW, &mut keep(&mut left));
    stage.push(&broken, NOW, &mut keep(&mut left));
    assert_eq!(left.iter().map(|line| line.lines).collect::<Vec<_>>(), [1, 1, 1]);
}

#[test]
fn memory_is_used_again_but_not_kept_for_ever() {
    let mut stage = Traces::new(Options::new(Kind::Auto), 1 << 20);
    let long = format!("x.Error: {}", "y".repeat(100_000));
    stage.push(&line(&long, 0), NOW, &mut |_| {});
    assert!(stage.size() > Bytes(100_000));
    stage.flush(&mut |_| {});
    assert!(stage.size() < Bytes(20_000), "{:?}", stage.size());
}

/// What decides the template of a text.
fn decides(text: &str) -> String {
    let mut out = vec![1, 2, 3];
    decisive(text.as_bytes(), &mut out);
    String::from_utf8(out).expect("of UTF-8 at these places")
}

#[test]
fn what_decides_a_template() {
    assert_eq!(
        decides(JAVA),
        "Exception in thread \"main\" java.lang.ExceptionInInitializerError\n\
         at com.acme.Main.main(Main.java:7)\n\
         Caused by: java.lang.NullPointerException: Cannot invoke \"String.length()\" because \"name\" is null\n\
         at com.acme.Config.<clinit>(Config.java:11)"
    );
    assert_eq!(
        decides(PYTHON),
        "Traceback (most recent call last):\n\
         File \"/app/db.py\", line 12, in connect\n\
         ConnectionRefusedError: [Errno 111] Connection refused\n\
         During handling of the above exception, another exception occurred:\n\
         Traceback (most recent call last):\n\
         File \"/app/db.py\", line 15, in connect\n\
         shop.errors.Unavailable: ('127.0.0.1', 5432)"
    );
    assert_eq!(
        decides(GO),
        "panic: runtime error: invalid memory address or nil pointer dereference [recovered]\n\
         panic: runtime error: invalid memory address or nil pointer dereference\n\
         [signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x48f2bc]\n\
         main.(*Orders).Place"
    );
    assert!(decides(NODE).ends_with("syscall: 'connect',\naddress: '127.0.0.1',\nport: 18765\n}"));
    assert_eq!(decides("SELECT *\nFROM orders\nWHERE id = 1"), "SELECT *\nFROM orders\nWHERE id = 1");
    assert_eq!(decides(&"a".repeat(9_000)).len(), 1024);
    assert_eq!(decides(&"a\n".repeat(9_000)).len(), 4096);
}

#[test]
fn depth_does_not_decide_but_the_cause_does() {
    let trace = |depth: usize, place: &str, cause: &str| {
        let frames: String =
            (0..depth).map(|at| format!("\tat org.spring.Proxy{at}.go(P.java:1)\n")).collect();
        let more = depth + 2;
        decides(&format!(
            "x.OrderException: no\n\tat {place}(A.java:1)\n{frames}Caused by: {cause}\n\tat y.Z(Z.java:2)\n\t... {more} more"
        ))
    };
    let usual = trace(3, "a.B.c", "y.Refused: 1");
    assert_eq!(usual, trace(90, "a.B.c", "y.Refused: 1"));
    assert_ne!(usual, trace(3, "a.B.d", "y.Refused: 1"), "thrown elsewhere");
    assert_ne!(usual, trace(3, "a.B.c", "y.Timeout: 1"), "another cause");
}

/// Pieces of traces of all languages, in any order.
const PIECES: [&str; 22] = [
    "",
    " ",
    "calm",
    "\tat a.B.c(B.java:1)",
    "    at f (/app/a.js:1:2) {",
    "java.io.IOException: closed",
    "ERROR x.y.FooException: a",
    "Caused by: z.W: no",
    "\t... 23 more",
    "Traceback (most recent call last):",
    "  File \"/app/a.py\", line 1, in f",
    "    g()",
    "KeyError: 'sku'",
    "During handling of the above exception, another exception occurred:",
    "panic: boom",
    "goroutine 1 [running]:",
    "main.f(0x1)",
    "\t/app/main.go:1 +0x1",
    "Error: x {",
    "  code: 'E',",
    "}",
    "/app/server.js:12",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is written, by whom and when, all of it comes out, in the order of its stream.
    #[test]
    fn nothing_is_lost_or_turned_around(
        lines in prop::collection::vec((0usize..PIECES.len(), 0usize..3, 0u64..400), 0..60),
        lines_max in 2u32..8,
        own in any::<bool>(),
    ) {
        let kind = if own { Kind::Start(Pattern::new("^[A-Z]").expect("a pattern")) } else { Kind::Auto };
        let mut stage = Traces::new(Options { lines_max, ..Options::new(kind) }, 1 << 20);
        let mut left = Vec::new();
        let mut now = NOW;
        for (piece, stream, wait) in &lines {
            now.arrival = now.arrival + Duration::from_millis(*wait);
            stage.on_deadline(now.arrival, &mut keep(&mut left));
            let stream = IoStream::ALL[*stream];
            stage.push(&Line { stream, ..line(PIECES[*piece], 0) }, now, &mut keep(&mut left));
            prop_assert!(stage.deadline().is_none_or(|due| due <= now.arrival + Duration::from_secs(1)));
        }
        stage.flush(&mut keep(&mut left));
        for stream in IoStream::ALL {
            let want: Vec<&str> =
                lines.iter().filter(|line| IoStream::ALL[line.1] == stream).map(|line| PIECES[line.0]).collect();
            let got: Vec<&Left> = left.iter().filter(|line| line.stream == stream).collect();
            let texts: Vec<&str> = got.iter().flat_map(|line| line.text.split('\n')).collect();
            prop_assert_eq!(texts, want);
            prop_assert!(got.iter().all(|line| line.lines <= lines_max && line.lines as usize == line.text.split('\n').count()));
        }
    }

    #[test]
    fn any_bytes_decide_something(text in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut out = Vec::new();
        decisive(&text, &mut out);
        prop_assert!(out.len() <= 4096);
        prop_assert!(out.starts_with(text.split(|byte| *byte == b'\n').next().unwrap_or_default()));
    }
}

//! Bad days: nobody there, no topic, a broker that stands still, a stop in the middle of it all.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::thread;
use std::time::Duration;

use squall::daemon::clock;

use super::sidecar::{Sidecar, Watch};
use super::told::{Record, Told, wait_for_record};
use super::written::Written;
use crate::support::broker::Broker;

/// The only one that needs no broker: there is none.
#[test]
fn nobody_listens() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
    let address = free.expect("a port that is free again").to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x-json.log");
    let written = Written::incident(11, 2_000);
    fs::write(&file, written.json()).expect("a log");

    let to = format!("kafka://{address}/logs");
    let args =
        ["run", "--tail", &file.display().to_string(), "--shutdown-timeout", "300ms", "--json", "--to", &to];
    let sidecar = Sidecar::start(&args);
    let trouble = format!("cannot reach any broker of {address}: connection refused");
    sidecar.wait_for_message(&trouble);
    sidecar.wait_for_bytes_read(written.json().len() as u64);
    sidecar.terminate();
    let ended = sidecar.end();

    // Nothing is lost: the next start sends it.
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let (records, lines) = (ended.number("records_out"), ended.number("lines_in"));
    assert!(lines > 0 && records > 0, "{ended:#?}");
    let counts =
        ["records_undelivered", "lines_undelivered", "records_delivered"].map(|name| ended.number(name));
    assert_eq!(counts, [records, lines, 0], "{ended:#?}");
    // Said when it is met, and at the end with what it cost; not with every try.
    let [met, cost] = ended.messages_with(&trouble)[..] else { panic!("{ended:#?}") };
    assert!(met.contains(&format!("kafka waits: {trouble}")), "{met}");
    let want = format!("{records} records ({lines} lines) were not delivered: {trouble}");
    assert!(cost.contains(&want), "{cost}");
}

#[test]
#[ignore = "needs a broker"]
fn the_topic_comes_later() {
    let (broker, topic) = (Broker::shared(), "trouble.later");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x-json.log");
    let written = Written::incident(12, 5_000);
    fs::write(&file, written.json_of(0..2_500)).expect("a log");

    let to = format!("kafka://{}/{topic}", broker.address());
    let started = clock::now().arrival;
    let sidecar = Sidecar::start(&["run", "--tail", &file.display().to_string(), "--json", "--to", &to]);
    let trouble = format!("kafka waits: topic \"{topic}\" does not exist on {}", broker.address());
    sidecar.wait_for_message(&trouble);
    let told_after = clock::now().arrival.since(started);
    assert!(told_after < Duration::from_secs(10), "told only after {told_after:?}");
    File::options()
        .append(true)
        .open(&file)
        .and_then(|mut file| file.write_all(written.json_of(2_500..5_000)))
        .expect("more lines");
    sidecar.wait_for_bytes_read(written.json().len() as u64);
    broker.create_topic(topic, 1, &[]);
    wait_for_record(&broker, topic, written.last_text());
    sidecar.terminate();
    let ended = sidecar.end();

    let told = Told::read(&broker, topic);
    told.check(&written);
    told.check_ledger(&ended);
    assert_eq!(ended.messages_with(&trouble).len(), 1, "{ended:#?}");
    assert_eq!(ended.messages_with("kafka is well again").len(), 1, "{ended:#?}");
}

/// Whose input has an end is waited for by somebody, so squall does not wait for the topic for ever.
#[test]
#[ignore = "needs a broker"]
fn the_topic_never_comes() {
    let broker = Broker::shared();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x-json.log");
    let written = Written::incident(15, 500);
    fs::write(&file, written.json()).expect("a log");

    let (log, to) = (file.display().to_string(), format!("kafka://{}/never", broker.address()));
    let args = ["run", "--tail", &log, "--until-eof", "--shutdown-timeout", "2s", "--json", "--to", &to];
    let ended = Sidecar::start(&args).end();

    assert_eq!(ended.code, Some(1), "{ended:#?}");
    let counts = ["lines_in", "lines_undelivered", "records_delivered"].map(|name| ended.number(name));
    assert_eq!(counts, [500, 500, 0], "{ended:#?}");
    let trouble = format!("topic \"never\" does not exist on {}", broker.address());
    let [met, cost] = ended.messages_with(&trouble)[..] else { panic!("{ended:#?}") };
    assert!(met.contains("kafka waits: "), "{met}");
    assert!(cost.contains("(500 lines) were not delivered: "), "{cost}");
}

/// A broker whose process stands still keeps its connections and answers nothing. More is written meanwhile
/// than may be in flight; squall reads it all the same, into the outbox, and memory stays what it is.
#[test]
#[ignore = "needs a broker"]
fn the_broker_stands_still() {
    const MEMORY_MAX: u64 = 48 << 20; // the promise; a debug build keeps it too
    let (broker, topic) = (Broker::start(), "trouble.still");
    broker.create_topic(topic, 1, &[]);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("x-json.log");
    let mut file = File::create(&path).expect("a log");
    let written = Written::mixed(13, 50_000);
    let (first, rest) = (written.json_of(0..1), written.json_of(1..50_000));
    file.write_all(first).expect("a line");

    let to = format!("kafka://{}/{topic}", broker.address());
    let log = path.display().to_string();
    let sidecar = Sidecar::start(&["run", "--tail", &log, "--collapse", "never", "--json", "--to", &to]);
    wait_for_record(&broker, topic, &written.lines()[0].text);
    broker.pause();
    file.write_all(rest).expect("many lines");
    let trouble = format!("{} does not confirm what was sent", broker.address());
    sidecar.wait_for_message(&trouble);
    sidecar.wait_for_bytes_read((first.len() + rest.len()) as u64);
    let memory = sidecar.memory_peak();
    broker.resume();
    wait_for_record(&broker, topic, written.last_text());
    let memory = memory.max(sidecar.memory_peak());
    sidecar.terminate();
    let ended = sidecar.end();

    let told = Told::read(&broker, topic);
    told.check(&written);
    told.check_ledger(&ended);
    println!("{topic}: {memory} bytes of memory at most, {} bytes read meanwhile", rest.len());
    assert!(memory <= MEMORY_MAX, "{memory} bytes of memory");
    assert_eq!(ended.messages_with(&trouble).len(), 1, "{ended:#?}");
}

/// The log is written on and on, and squall is told to stop in the middle of it.
#[test]
#[ignore = "needs a broker"]
fn a_stop_under_load() {
    #[track_caller]
    fn check(collapse: &str, windows: Range<usize>) {
        let (broker, topic) = (Broker::shared(), format!("trouble.stop.{collapse}"));
        broker.create_topic(&topic, 1, &[]);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x-json.log");
        let mut file = File::create(&path).expect("a log");
        let mut written = Written::incident(14, 220_000);

        let (log, to) = (path.display().to_string(), format!("kafka://{}/{topic}", broker.address()));
        // Time to deliver all of it, for what has been written is read before it ends.
        let args = ["run", "--tail", &log, "--collapse", collapse, "--json", "--to", &to];
        let sidecar = Sidecar::start(&[&args[..], &["--shutdown-timeout", "60s"]].concat());
        let watch = sidecar.watch();
        let whole = written.json().len() as u64;
        let ended = thread::scope(|scope| {
            let bytes = written.json();
            scope.spawn(move || write_ahead(&mut file, bytes, watch));
            sidecar.wait_for_bytes_read(3_000_000);
            let there = fs::metadata(&path).expect("the log").len();
            assert!(there < whole, "all was written before the stop: the load was too light");
            sidecar.terminate();
            sidecar.end()
        });

        let told = Told::read(&broker, &topic);
        // The line in the middle of which it stopped is not a line yet: its file still has all of it.
        let partial = ended.number("lines_partial");
        assert!(partial <= 1, "{ended:#?}");
        written.cut(usize::try_from(ended.number("lines_in") - partial).expect("few lines"));
        told.check(&written);
        told.check_ledger(&ended);
        let at_the_end = |record: &&Record| record.json["squall"]["closed_by"] == "shutdown";
        let closed = told.of_kind("summary").filter(at_the_end).count();
        assert!(windows.contains(&closed), "{closed} windows were closed by the stop");
        assert_eq!(ended.messages_with("ERROR"), [""; 0]);
    }
    check("storms", 1..100);
    // Many records: the output is what squall waits for, and all its queues are full when the stop comes.
    check("never", 0..1);
}

/// Writes lines until the reader has ended, always some ahead of it. A burst may end within a line.
fn write_ahead(file: &mut File, bytes: &[u8], reader: Watch) {
    const AHEAD: u64 = 1_000_000;
    let mut written = 0;
    for burst in bytes.chunks(50_000) {
        loop {
            let Some(read) = reader.bytes_read() else { return };
            if written < read + AHEAD {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        file.write_all(burst).expect("a burst");
        written += burst.len() as u64;
    }
}

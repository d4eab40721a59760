//! Brokers that want to know who comes, and that show who they are: rows 52 and 53 of faults.md.
//!
//! Each trouble is one plain sentence, no secret is ever said, nothing is lost, and what becomes right is noticed.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::recipe::consume;
use super::stage::Stage;
use crate::rig::generator::Plan;
use crate::support::broker::{Broker, Setup};
use crate::support::certificates::{Authority, Wish};

/// A broker with a listener for each kind of guard, shared by the tests of this file.
struct Guarded {
    broker: Broker,
    authority: Authority,
}

const USER: &str = "squall";
const PASSWORD: &str = "correct-horse-battery";
const WRONG: &str = "tr0ub4dor-and-3";
const PACE: Plan = Plan { seed: 52, rate: 500_000, max_size: 2_000_000, max_file: 500, ahead_max: None };

impl Guarded {
    fn shared() -> Arc<Guarded> {
        static RUNNING: Mutex<Weak<Guarded>> = Mutex::new(Weak::new());
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.upgrade().unwrap_or_else(|| {
            let guarded = Arc::new(Guarded::start());
            *running = Arc::downgrade(&guarded);
            guarded
        })
    }

    fn start() -> Guarded {
        let (authority, stranger) = (Authority::new("squall tests"), Authority::new("somebody else"));
        let here = Wish { host: "127.0.0.1", days: (-1, 1) };
        let setup = Setup::default()
            .user(USER, PASSWORD)
            .acls()
            .sasl("SASL", None)
            .sasl("SASLTLS", Some(authority.sign(here)))
            .tls("TLS", authority.sign(here))
            .tls("EXPIRED", authority.sign(Wish { days: (-9, -2), ..here }))
            .tls("EARLY", authority.sign(Wish { days: (1, 2), ..here }))
            .tls("ELSEWHERE", authority.sign(Wish { host: "elsewhere.example", ..here }))
            .tls("UNTRUSTED", stranger.sign(here));
        Guarded { broker: Broker::start_as(&setup), authority }
    }

    fn address_of(&self, listener: &str) -> &str {
        self.broker.address_of(listener)
    }
}

/// `--set` for SASL with the password in the stage's folder.
fn sasl(stage: &Stage, mechanism: &str, password: &str) -> String {
    let file = stage.path("password");
    fs::write(&file, format!("{password}\n")).expect("the password");
    let file = file.display();
    format!("outputs.kafka.sasl={{mechanism: {mechanism}, username: {USER}, password_file: '{file}'}}")
}

/// `--set` for TLS with the authority in this folder.
fn tls(folder: &Path, authority: &Authority) -> String {
    let file = folder.join("ca.pem");
    authority.write_to(&file);
    format!("outputs.kafka.tls={{ca_file: '{}'}}", file.display())
}

#[track_caller]
fn expect_no_secret(messages: &[String]) {
    let told = messages.iter().find(|line| line.contains(PASSWORD) || line.contains(WRONG));
    assert_eq!(told, None);
}

/// The password is wrong until somebody corrects the file; squall notices by itself.
#[test]
#[ignore = "needs a broker"]
fn fault_052_the_password_is_corrected() {
    let guarded = Guarded::shared();
    let mut stage = Stage::open(&guarded.broker, "guarded.password", PACE);
    guarded.broker.allow_writing(USER, "guarded.password");
    let set = sasl(&stage, "PLAIN", WRONG);
    let address = guarded.address_of("SASL");
    let sidecar = stage.start_to(address, &["--set", &set]);
    sidecar.wait_for_message(&format!("SASL authentication failed for user \"{USER}\" (broker {address})"));
    sidecar.wait_for_bytes_read(sidecar.bytes_read() + 500_000);
    sasl(&stage, "PLAIN", PASSWORD);
    stage.wait_for_lines(1, &sidecar);
    let outcome = stage.finish(sidecar);
    println!("052 password: {}", outcome.report);
    outcome.expect_exact();
    expect_no_secret(&outcome.ended.messages);
}

/// The right to write is missing until somebody gives it.
#[test]
#[ignore = "needs a broker"]
fn fault_052_the_right_to_write_is_given() {
    let (guarded, topic) = (Guarded::shared(), "guarded.right");
    let mut stage = Stage::open(&guarded.broker, topic, PACE);
    let set = sasl(&stage, "SCRAM-SHA-256", PASSWORD);
    let sidecar = stage.start_to(guarded.address_of("SASL"), &["--set", &set]);
    sidecar.wait_for_message(&format!("topic \"{topic}\" on "));
    sidecar.wait_for_bytes_read(sidecar.bytes_read() + 500_000);
    guarded.broker.allow_writing(USER, topic);
    stage.wait_for_lines(1, &sidecar);
    let outcome = stage.finish(sidecar);
    println!("052 right: {}", outcome.report);
    outcome.expect_exact();
    let told = outcome.ended.messages_with(&format!("topic \"{topic}\" on "));
    assert!(told.iter().any(|line| line.to_lowercase().contains("authoriz")), "{told:#?}");
    expect_no_secret(&outcome.ended.messages);
}

/// Four brokers that are not who they should be, and one that speaks no TLS at all; then the right one.
#[test]
#[ignore = "needs a broker"]
fn fault_053_bad_certificates_and_a_good_one() {
    let guarded = Guarded::shared();
    let stage = Stage::open(&guarded.broker, "guarded.tls", PACE);
    let set = tls(&stage.path(""), &guarded.authority);
    let check = |listener: &str, want: &str| {
        let address = guarded.address_of(listener);
        let sidecar = stage.start_to(address, &["--set", &set, "--shutdown-timeout", "300ms"]);
        sidecar.wait_for_message(want);
        sidecar.terminate();
        let ended = sidecar.end();
        let told = ended.messages_with("kafka waits: ");
        assert!(told.iter().any(|line| line.contains(address)), "nobody says which broker: {told:#?}");
        println!("053 {listener}: {}", told.first().map_or("", |line| line));
    };
    // librdkafka does not say what is wrong with a certificate, so all four sound alike.
    for listener in ["EXPIRED", "EARLY", "ELSEWHERE", "UNTRUSTED"] {
        check(listener, "TLS: certificate verify failed: ");
    }
    check("CLIENT", "PLAINTEXT broker listener");
    // As nothing was lost by all that, everything is here in the end.
    let sidecar = stage.start_to(guarded.address_of("TLS"), &["--set", &set]);
    let outcome = stage.finish(sidecar);
    println!("053: {}", outcome.report);
    outcome.expect_exact();
    // The way back through the same door.
    let set = tls(outcome.folder.path(), &guarded.authority);
    let read = consume(guarded.address_of("TLS"), "guarded.tls", &["--json", "--dedup", "--set", &set]);
    assert_eq!(read.expect_code(0).stdout.lines().count() as u64, outcome.report.records);
}

/// TLS and SASL together, with either mechanism.
#[test]
#[ignore = "needs a broker"]
fn tls_and_sasl_deliver() {
    #[track_caller]
    fn check(mechanism: &str) {
        let (guarded, topic) = (Guarded::shared(), format!("guarded.{}", mechanism.to_lowercase()));
        let mut stage = Stage::open(&guarded.broker, &topic, PACE);
        guarded.broker.allow_writing(USER, &topic);
        let (sasl, tls) = (sasl(&stage, mechanism, PASSWORD), tls(&stage.path(""), &guarded.authority));
        let sidecar = stage.start_to(guarded.address_of("SASLTLS"), &["--set", &sasl, "--set", &tls]);
        stage.wait_for_lines(100, &sidecar);
        let outcome = stage.finish(sidecar);
        outcome.expect_exact();
        assert!(outcome.ended.messages_with("kafka waits").is_empty(), "{:#?}", outcome.ended.messages);
    }
    check("PLAIN");
    check("SCRAM-SHA-256");
}

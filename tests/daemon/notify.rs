//! People are told of alerts: through the real program, with receivers that answer, hang, refuse and lead astray.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::certificates::{Authority, Wish};
use crate::support::disk::skip;
use crate::support::http;
use crate::support::process::{Running, run, squall};
use crate::support::receiver::{Answer, Receiver, get};

/// A log, a config, and where records go.
struct World {
    folder: TempDir,
}

/// Ten lines in a second fire; two quiet seconds end it.
const RULES: &str = "\
alerts:
  groups:
  - name: websocket
    rules:
    - alert: Timeouts
      when: count(\"timeout\") >= 10 within 2s
      labels: { severity: P1 }
      annotations: { summary: \"{{ value }} time-outs: {{ message }}\" }
";

impl World {
    fn new(notify: &str, rules: &str) -> World {
        let world = World { folder: tempfile::tempdir().expect("a folder") };
        world.configure(notify, rules);
        fs::write(world.path().join("app.log"), "").expect("a log");
        world
    }

    fn configure(&self, notify: &str, rules: &str) {
        fs::write(self.path().join("squall.yaml"), format!("notify:\n{notify}\n{rules}")).expect("a config");
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn start(&self) -> Running {
        let args = ["run", "-c", "squall.yaml", "--tail", "app.log", "--to", "file:out"];
        Running::start(&mut squall(self.path(), args))
    }

    /// The same with its status served, and where.
    fn start_served(&self) -> (Running, String) {
        let args = ["run", "-c", "squall.yaml", "--tail", "app.log", "--to", "file:out"];
        let args = args.into_iter().chain(["--listen", "127.0.0.1:0"]);
        let mut running = Running::start(&mut squall(self.path(), args));
        running.wait_until("an address", |running| http::served_at(&running.stderr()).is_some());
        let address = http::served_at(&running.stderr()).expect("it was there");
        (running, address)
    }

    fn append(&self, lines: &str) {
        let mut log = OpenOptions::new().append(true).open(self.path().join("app.log")).expect("the log");
        log.write_all(lines.as_bytes()).expect("room");
    }

    /// Lines that fire the alert, and try to call everybody.
    fn fail(&self) {
        self.append(&"connection timeout <!channel> @here\n".repeat(50));
    }

    /// The alerts that were recorded, in order: the id under which people are told, with the state. A record may come twice
    /// after a kill.
    fn alerts(&self) -> Vec<String> {
        let out = fs::read_to_string(self.path().join("out")).unwrap_or_default();
        // The last one may be half written.
        let whole = out.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let records = whole.lines().map(|line| serde_json::from_str::<Value>(line).expect("a record"));
        let alerts = records.filter(|record| record["squall"]["kind"] == "alert");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let id = |squall: &Value| format!("{}-{}", text(&squall["episode"]), text(&squall["state"]));
        once(alerts.map(|record| id(&record["squall"])).collect())
    }
}

/// Each id where it came first.
fn once(mut ids: Vec<String>) -> Vec<String> {
    let mut known = HashSet::new();
    ids.retain(|id| known.insert(id.clone()));
    ids
}

/// The `notify` section of a webhook that is told at once.
fn webhook(receiver: &Receiver) -> String {
    format!("  group_wait: 0s\n  group_interval: 0s\n  webhook: {{ url: '{}' }}", receiver.url("/hook"))
}

fn end(mut sidecar: Running) {
    // Our signal must find it waiting for signals, not starting.
    sidecar.wait_until("its threads", |sidecar| sidecar.threads() >= 3);
    sidecar.signal(Signal::TERM);
    sidecar.end().expect_code(0);
}

/// How often each id was told.
fn times(told: &[String]) -> BTreeMap<&str, usize> {
    told.iter().fold(BTreeMap::new(), |mut times, id| {
        *times.entry(id.as_str()).or_default() += 1;
        times
    })
}

#[test]
fn everybody_is_told_once_that_it_fires_and_once_that_it_has_resolved() {
    let [slack, hook, am_0, am_1] = [(); 4].map(|()| Receiver::start(Answer::Status(200)));
    let mut notify = webhook(&hook).replace(" }", ", secret_file: secret, token_file: token }");
    notify.push_str("\n  http_hosts: ['127.0.0.1']\n  slack: { url_file: slack }\n");
    notify.push_str(&format!("  alertmanager: {{ urls: ['{}', '{}'] }}\n", am_0.url(""), am_1.url("/am/")));
    let world = World::new(&notify, RULES);
    for (file, text) in
        [("slack", slack.url("/services/hunter2")), ("secret", "key".into()), ("token", "t0k\n".into())]
    {
        fs::write(world.path().join(file), text).expect("a secret");
    }
    let mut sidecar = world.start();
    world.fail();
    sidecar.wait_until("the end", |_| hook.told().len() == 2 && slack.requests().len() == 2);
    sidecar.wait_until("the end", |_| am_0.told().len() >= 2 && am_1.told().len() >= 2);
    assert!(!sidecar.stderr().contains("hunter2"), "{}", sidecar.stderr());
    assert!(sidecar.stderr().contains("alert fires") && sidecar.stderr().contains("alert resolved"));
    end(sidecar);

    let want = world.alerts();
    assert_eq!(want.len(), 2, "{want:?}");
    assert_eq!((hook.told(), am_0.told(), am_1.told()), (want.clone(), want.clone(), want.clone()));
    let paths = [&slack, &hook, &am_0, &am_1].map(|receiver| receiver.requests()[0].line.clone());
    assert_eq!(
        paths,
        ["/services/hunter2", "/hook", "/api/v2/alerts", "/am/api/v2/alerts"]
            .map(|path| format!("POST {path} HTTP/1.1"))
    );

    let request = &hook.requests()[0];
    let mut signer =
        Signer::new(MessageDigest::sha256(), &PKey::hmac(b"key").expect("a key")).expect("a signer");
    signer.update(request.body.as_bytes()).expect("memory");
    let digits: String =
        signer.sign_to_vec().expect("a signature").iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(request.header("squall-signature"), Some(&*format!("sha256={digits}")));
    assert_eq!(request.header("authorization"), Some("Bearer t0k"));
    let body = request.json();
    assert_eq!((&body["version"], &body["status"]), (&Value::from("4"), &Value::from("firing")));
    assert_eq!(body["alerts"][0]["labels"]["alertname"], "Timeouts");

    let text = slack.requests()[0].body.clone();
    assert!(
        text.contains("[P1] Timeouts") && text.contains("&lt;!channel&gt;") && !text.contains("<!channel>"),
        "{text}"
    );
    assert!(slack.requests()[1].body.contains("resolved"));
    let posted = am_0.requests()[0].json();
    assert_eq!(posted[0]["labels"]["severity"], "P1");
    assert!(posted[0]["labels"].get("value").is_none() && posted[0]["annotations"]["value"].is_string());
}

/// Killed while it is pending, while it fires, and while its end is on its way.
#[test]
fn fault_079_a_kill_repeats_what_was_on_its_way_and_forgets_nothing() {
    let hook = Receiver::start(Answer::Status(200));
    let rules = RULES.replace("within 2s", "within 2s\n      for: 3s");
    let world = World::new(&webhook(&hook), &rules);
    let out = world.path().join("out");
    let mut sidecar = world.start();
    world.fail();
    sidecar.wait_until("records", |_| fs::read(&out).is_ok_and(|out| !out.is_empty()));
    drop(sidecar); // pending
    let mut sidecar = world.start();
    sidecar.wait_until("a firing", |_| {
        // The lines go on coming, so that it stays true.
        world.fail();
        hook.told().len() == 1
    });
    drop(sidecar); // it fires, and somebody knows
    hook.set(Answer::Hang);
    let mut sidecar = world.start();
    sidecar.wait_until("a message on its way", |_| hook.told().len() > 1);
    drop(sidecar); // nobody knows whether it arrived
    hook.set(Answer::Status(200));
    let before = hook.told().len();
    let mut sidecar = world.start();
    let ended = |told: &[String]| told.last().is_some_and(|id| id.ends_with("resolved"));
    sidecar.wait_until("the end", |_| ended(&hook.told()[before..]));
    end(sidecar);

    // Nothing is left to tell.
    let told = hook.told();
    live_once(&world);
    assert_eq!(hook.told(), told);
    let want = world.alerts();
    assert_eq!(want.len(), 2, "{want:?}");
    let times = times(&told);
    assert_eq!(
        times.keys().copied().collect::<Vec<_>>(),
        want.iter().map(String::as_str).collect::<Vec<_>>()
    );
    // Two kills came while the one or the other was on its way.
    assert!(told.len() >= 3 && told.len() <= 2 + 2, "{told:?}");
    run(world.path(), ["audit", "state", "--json"]).expect_code(0);
}

/// A life in which nothing happens.
fn live_once(world: &World) {
    let mut sidecar = world.start();
    world.append("the last line\n");
    let out = world.path().join("out");
    sidecar.wait_until("it", |_| fs::read_to_string(&out).is_ok_and(|out| out.contains("the last line")));
    end(sidecar);
}

/// Killed at any moment, again and again: both turns of each alert arrive.
#[test]
fn fault_079_kills_at_any_moment() {
    const LIVES: usize = 8;
    let hook = Receiver::start(Answer::Status(200));
    let world = World::new(&webhook(&hook), RULES);
    for life in 0..LIVES {
        let mut sidecar = world.start();
        sidecar.wait_until("its threads", |sidecar| sidecar.threads() >= 3);
        world.fail();
        // Not for a certain time, but until something has happened that is different in each life.
        let (told, known) = (hook.told().len(), world.alerts().len());
        match life % 4 {
            0 => sidecar.wait_until("a message", |_| hook.told().len() > told),
            1 => sidecar.wait_until("a record", |_| world.alerts().len() > known),
            2 => sidecar
                .wait_until("an end", |_| hook.told().last().is_some_and(|id| id.ends_with("resolved"))),
            _ => {}
        }
        drop(sidecar);
    }
    let mut sidecar = world.start();
    sidecar.wait_until("all ends", |_| {
        let (told, want) = (hook.told(), world.alerts());
        want.last().is_some_and(|last| last.ends_with("resolved")) && want.iter().all(|id| told.contains(id))
    });
    end(sidecar);
    let (told, want) = (hook.told(), world.alerts());
    let times = times(&told);
    eprintln!("told after {LIVES} kills: {times:?}");
    assert_eq!(times.len(), want.len(), "{want:?}");
    // Each kill may repeat what was on its way, and nothing else.
    assert!(told.len() <= want.len() + LIVES, "{times:?}");
    assert!(want.len() >= 2, "{want:?}");
}

#[test]
fn fault_079_a_receiver_that_hangs_holds_nothing_up_and_is_told_later() {
    let hook = Receiver::start(Answer::Hang);
    let world = World::new(&webhook(&hook), RULES);
    let mut sidecar = world.start();
    world.fail();
    sidecar.wait_until("a request", |_| hook.requests().len() == 1);
    // It hangs now, and lines go on as if nothing were.
    world.append(&(0..20_000).map(|n| format!("line {n} is fine\n")).collect::<String>());
    world.append("the last line\n");
    let out = world.path().join("out");
    let arrived = || fs::read_to_string(&out).is_ok_and(|out| out.contains("the last line"));
    sidecar.wait_until("the last line", |_| arrived());
    assert_eq!(hook.requests().len(), 1, "the first request still waits for its answer");
    end(sidecar);

    hook.set(Answer::Status(200));
    let before = hook.requests().len();
    let mut sidecar = world.start();
    sidecar.wait_until("both turns", |_| hook.told().len() >= before + 2);
    end(sidecar);
    let (told, want) = (hook.told(), world.alerts());
    assert_eq!(told[before..], want, "in order, after the restart");
    assert!(told[..before].iter().all(|id| *id == want[0]));
}

#[test]
fn fault_079_a_receiver_that_is_away_is_told_when_it_is_back() {
    let hook = Receiver::start(Answer::Status(503));
    let world = World::new(&webhook(&hook), RULES);
    let mut sidecar = world.start();
    world.fail();
    sidecar.wait_until("a refusal", |sidecar| sidecar.stderr().contains("answers 503: ok"));
    hook.set(Answer::Header(429, "retry-after: 1".to_owned()));
    sidecar.wait_until("patience", |sidecar| sidecar.stderr().contains("answers 429"));
    hook.set(Answer::Status(200));
    sidecar.wait_until("arrival", |sidecar| sidecar.stderr().contains("notifications arrive again"));
    let last = |_: &Running| hook.told().last().is_some_and(|id| id.ends_with("resolved"));
    sidecar.wait_until("the end", last);
    // What the receiver itself does not want is not told for ever.
    hook.set(Answer::Status(400));
    world.fail();
    sidecar.wait_until("an end", |sidecar| sidecar.stderr().matches("not told: ").count() == 2);
    end(sidecar);
    let told = hook.told().len();
    hook.set(Answer::Status(200));
    live_once(&world);
    assert_eq!(hook.told().len(), told, "given up is given up");
}

/// Each turn is counted once for each receiver, whatever became of it, and `/metrics` says the same as the status.
#[test]
fn what_became_of_notifications_is_counted() {
    let [hook, alertmanager] = [Answer::Status(503), Answer::Status(200)].map(Receiver::start);
    let urls = format!("\n  alertmanager: {{ urls: ['{}'] }}", alertmanager.url(""));
    let world = World::new(&(webhook(&hook) + &urls), RULES);
    let (mut sidecar, address) = world.start_served();
    let of = |receiver: &str| {
        let status = http::get(&address, "/api/v1/status").json();
        let all = status["notifications"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|one| one["receiver"] == receiver).unwrap_or_default()
    };
    let number = |of: &Value, name: &str| of[name].as_u64().unwrap_or_default();
    world.fail();
    sidecar.wait_until("an open circuit", |_| {
        let (hook, other) = (of("webhook"), of("alertmanager"));
        hook["circuit"] == "open" && number(&hook, "waiting") > 0 && number(&other, "sent") > 0
    });
    assert_eq!((number(&of("webhook"), "sent"), number(&of("alertmanager"), "failed")), (0, 0));
    hook.set(Answer::Status(400)); // it is back, and does not want this one
    sidecar.wait_until("a refusal", |_| number(&of("webhook"), "failed") > 0);
    assert_eq!(of("webhook")["circuit"], "closed");
    hook.set(Answer::Status(200));
    sidecar.wait_until("calm", |_| world.alerts().last().is_some_and(|last| last.ends_with("resolved")));
    world.fail();
    sidecar.wait_until("both ends", |_| world.alerts().len() == 4 && number(&of("webhook"), "sent") >= 2);
    sidecar.wait_until("rest", |_| {
        ["webhook", "alertmanager"].map(of).iter().all(|one| number(one, "waiting") == 0)
    });
    let [webhook, other] = ["webhook", "alertmanager"].map(of);
    assert_eq!(number(&webhook, "sent") + number(&webhook, "failed"), 4, "{webhook}");
    assert_eq!(number(&other, "sent") + number(&other, "superseded"), 4, "{other}");
    let metrics = http::get(&address, "/metrics").body;
    for one in [&webhook, &other] {
        let receiver = one["receiver"].as_str().expect("a name");
        for result in ["sent", "failed", "superseded", "dropped"] {
            let labels = format!("receiver=\"{receiver}\",result=\"{result}\"");
            let want = format!("\nsquall_notifications_total{{{labels}}} {}\n", number(one, result));
            assert!(metrics.contains(&want), "{want}{metrics}");
        }
        let closed = format!("\nsquall_notifications_circuit_open{{receiver=\"{receiver}\"}} 0\n");
        assert!(metrics.contains(&closed), "{metrics}");
    }
    end(sidecar);
}

#[test]
fn fault_085_a_redirect_is_not_followed() {
    let (hook, other) = (Receiver::start(Answer::Status(200)), Receiver::start(Answer::Status(200)));
    let world = World::new(&webhook(&hook), RULES);
    let mut sidecar = world.start();
    for (status, to) in
        [(302, other.url("/")), (307, other.url("/")), (308, "http://169.254.169.254/latest/".to_owned())]
    {
        hook.set(Answer::Header(status, format!("location: {to}")));
        world.fail();
        sidecar.wait_until("a complaint", |sidecar| sidecar.stderr().contains(&format!("answers {status}")));
    }
    hook.set(Answer::Status(200));
    sidecar.wait_until("arrival", |sidecar| sidecar.stderr().contains("notifications arrive again"));
    end(sidecar);
    assert!(other.requests().is_empty());
}

#[test]
fn fault_085_metadata_is_never_asked() {
    let world = World::new("  webhook: { url: 'http://169.254.169.254/latest/hunter2' }", RULES);
    let ended = run(world.path(), ["validate", "squall.yaml"]);
    ended.expect_code(78).expect_said("squall.yaml:2:19");
    ended.expect_said("it names a link-local or metadata address, and those are never asked");
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    // From a file it is seen when it is read, and a host that the config does not name must be https.
    world.configure("  group_wait: 0s\n  slack: { url_file: slack }", RULES);
    fs::write(world.path().join("slack"), "http://[::ffff:169.254.169.254]/hunter2").expect("a secret");
    let ended = run(world.path(), ["validate", "squall.yaml"]);
    assert_eq!(ended.expect_code(0).stdout, "the config is fine; alert rules: 1; told of alerts: slack\n");
    let mut sidecar = world.start();
    world.fail();
    sidecar.wait_until("a complaint", |sidecar| sidecar.stderr().contains("those are never asked"));
    fs::write(world.path().join("slack"), "http://localhost/hunter2").expect("a secret");
    sidecar
        .wait_until("another", |sidecar| sidecar.stderr().contains("its host is not in notify.http_hosts"));
    assert!(!sidecar.stderr().contains("hunter2"), "{}", sidecar.stderr());
    end(sidecar);
}

#[test]
fn an_authority_of_our_own_is_trusted_and_no_other() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let wish = Wish { host: "127.0.0.1", days: (-1, 2) };
    let hook = Receiver::start_tls(Answer::Status(200), &ours.sign(wish));
    let notify = webhook(&hook).replace("http://", "https://") + "\n  ca_file: ca.pem";
    let world = World::new(&notify, RULES);
    other.write_to(&world.path().join("ca.pem"));
    let mut sidecar = world.start();
    world.fail();
    sidecar
        .wait_until("a complaint", |sidecar| sidecar.stderr().contains("cannot notify: https://127.0.0.1"));
    end(sidecar);
    assert!(hook.requests().is_empty());
    ours.write_to(&world.path().join("ca.pem"));
    let mut sidecar = world.start();
    sidecar.wait_until("both turns", |_| hook.told().len() >= 2);
    end(sidecar);
    assert_eq!(hook.told(), world.alerts());
}

/// A thousand rules in fifty groups, all true at once.
#[test]
fn fault_079_a_storm_of_alerts_does_not_flood_the_receivers() {
    let [slack, hook, am] = [(); 3].map(|()| Receiver::start(Answer::Status(200)));
    let mut rules = "alerts:\n  groups:\n".to_owned();
    for group in 0..50 {
        rules.push_str(&format!("  - name: group {group}\n    rules:\n"));
        for rule in 0..20 {
            rules.push_str(&format!(
                "    - {{ alert: Boom{rule}, when: 'count(\"boom\") >= 1 within 2s' }}\n"
            ));
        }
    }
    let notify = format!(
        "  group_wait: 500ms\n  http_hosts: ['127.0.0.1']\n  slack: {{ url_file: slack }}\n  webhook: {{ url: '{}' }}\n  alertmanager: {{ urls: ['{}'] }}\n",
        hook.url("/"),
        am.url("")
    );
    let world = World::new(&notify, &rules);
    fs::write(world.path().join("slack"), slack.url("/")).expect("a secret");
    let mut sidecar = world.start();
    sidecar.wait_until("its threads", |sidecar| sidecar.threads() >= 3);
    world.append("boom\n");
    sidecar
        .wait_until("all alerts", |_| times(&hook.told()).len() >= 1_000 && times(&am.told()).len() >= 1_000);
    // The ends keep their distance, unless squall ends.
    sidecar.wait_until("all ends", |_| world.alerts().len() == 2_000 && times(&am.told()).len() == 2_000);
    end(sidecar);
    let (told, posted) = (hook.told(), am.told());
    assert!(times(&told).values().chain(times(&posted).values()).all(|times| *times == 1));
    assert_eq!((times(&told).len(), times(&posted).len()), (2_000, 2_000));
    let messages = [&slack, &hook, &am].map(|receiver| receiver.requests().len());
    eprintln!("messages of 1,000 alerts and their ends: slack, webhook, alertmanager: {messages:?}");
    assert!(messages[0] <= 10 && messages[1] <= 10 && messages[2] <= 30, "{messages:?}");
    assert!(slack.requests()[0].body.contains(" more · squall"), "{}", slack.requests()[0].body);
}

/// What runs is Debian's; see `tests/run`.
const ALERTMANAGER: &str = "prometheus-alertmanager";

/// Alertmanager on a port of its own, ended with this.
struct Alertmanager {
    child: Child,
    address: String,
}

impl Alertmanager {
    /// `None` where it is not installed.
    fn start(folder: &Path) -> Option<Alertmanager> {
        // Free a moment ago, and nobody else binds ports without being asked to.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound port").to_string();
        drop(listener);
        let config = "route: { receiver: nobody }\nreceivers: [{ name: nobody }]\n";
        fs::write(folder.join("alertmanager.yml"), config).expect("a config");
        let mut command = Command::new(ALERTMANAGER);
        command.current_dir(folder).args(["--config.file=alertmanager.yml", "--storage.path=alertmanager"]);
        command.args([&format!("--web.listen-address={address}"), "--cluster.listen-address="]);
        let log = fs::File::create(folder.join("alertmanager.log")).expect("a log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Some(Alertmanager { child: command.spawn().ok()?, address })
    }

    /// The alerts that are active now; `None` while it does not answer.
    fn active(&self) -> Option<Vec<Value>> {
        serde_json::from_str(&get(&self.address, "/api/v2/alerts")?).ok()
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        // Both fail only when it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_real_alertmanager_knows_what_fires_and_what_has_resolved() {
    let hook = Receiver::start(Answer::Status(200));
    let world = World::new("", "");
    let Some(alertmanager) = Alertmanager::start(world.path()) else {
        return skip("prometheus-alertmanager is not installed, so no real one is told");
    };
    let urls = format!("\n  alertmanager: {{ urls: ['http://{}'] }}", alertmanager.address);
    // A rule that is given up while it fires, and one that recovers by itself.
    let rules = RULES.replace("within 2s", "within 2s\n      keep_firing_for: 3s");
    world.configure(&(webhook(&hook) + &urls), &rules);
    let mut sidecar = world.start();
    sidecar.wait_until("Alertmanager", |_| alertmanager.active().is_some());
    world.fail();
    let active = || alertmanager.active().unwrap_or_default();
    sidecar.wait_until("the alert", |_| active().len() == 1);
    let alert = active().remove(0);
    assert_eq!(alert["labels"]["alertname"], "Timeouts");
    assert_eq!(alert["labels"]["alertgroup"], "websocket");
    assert_eq!(alert["status"]["state"], "active");
    assert!(
        alert["annotations"]["summary"].as_str().is_some_and(|text| text.contains("time-outs")),
        "{alert}"
    );
    sidecar.wait_until("a message", |_| !hook.requests().is_empty());
    let body = hook.requests()[0].json();
    assert_eq!(body["alerts"][0]["fingerprint"], alert["fingerprint"], "ours is theirs");
    // A restart changes nothing.
    drop(sidecar);
    let mut sidecar = world.start();
    sidecar.wait_until("recovery", |_| active().is_empty());
    end(sidecar);
    assert_eq!(once(hook.told()), world.alerts());

    // It fires again, and then the rule is gone: nobody would ever hear of its end.
    let mut sidecar = world.start();
    sidecar.wait_until("the alert", |_| {
        world.fail();
        active().len() == 1
    });
    drop(sidecar);
    world.configure(&(webhook(&hook) + &urls), "");
    let mut sidecar = world.start();
    sidecar.wait_until("its end", |_| active().is_empty() && once(hook.told()).len() == 4);
    end(sidecar);
    let told = once(hook.told());
    assert_eq!(told[3], told[2].replace("firing", "resolved"));
}

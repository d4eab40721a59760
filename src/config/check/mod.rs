//! The tree → a checked [`Config`]. Every fault is noted; none stops the rest from being checked.

mod alerts;
pub(super) mod container;
mod identity;
mod input;
mod kafka;
mod keys;
mod later;
mod loops;
mod multiline;
mod notify;
mod output;
mod pushgateway;
mod redact;
pub(super) mod resources;
mod secret;
mod status;

use std::time::Duration;

use self::keys::Keys;
use self::later::{Later, later};
use super::faults::Findings;
use super::interpolate::Environment;
use super::tree::Node;
use super::{Config, Durability, LineConfig, Outbox, WhenFull};
use crate::engine::storm;
use crate::outbox::SIZE_MIN;
use crate::units::Bytes;

/// The keys at the top of a config.
pub(super) const KNOWN: [&str; 15] = [
    "inputs",
    "line",
    "storm",
    "budget",
    "outputs",
    "outbox",
    "instance",
    "shutdown_timeout",
    "driver",
    "loops",
    "alerts",
    "resources",
    "retention",
    "status",
    "notify",
];

const LATER: [Later; 2] = [
    later("driver", "{ enabled: false, socket: /run/docker/plugins/squall.sock }"),
    later("retention", "{}"),
];
const BUDGET_LATER: [Later; 2] = [later("bytes_per_second", "null"), later("lines_per_second", "null")];

const STORM_KNOWN: [&str; 11] = [
    "first",
    "enter",
    "enter_failing",
    "burst",
    "quiet",
    "summary_every",
    "summary_every_max",
    "templates_max",
    "novelty_per_second",
    "examples",
    "families",
];

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Checks the whole tree.
pub(super) fn check(root: &Node, environment: &Environment, findings: &mut Findings) -> Config {
    let keys = Keys::root(root, &KNOWN, findings);
    later::check(&keys, &LATER, findings);
    let mut config = Config::default();
    if let Some(entry) = keys.some("inputs") {
        config.inputs = input::check(entry, findings);
    }
    if let Some(entry) = keys.some("outputs") {
        config.outputs = output::check(entry, findings);
    }
    config.line = check_line(&keys, findings);
    config.storm = check_storm(&keys, findings);
    config.loops = loops::check(&keys, findings);
    config.alerts = alerts::check(&keys, environment, findings);
    config.resources = resources::check(&keys, findings);
    resources::warn(&keys, &config.resources, &config.alerts, &config.inputs, findings);
    (config.notify, config.pushgateway) = notify::check(&keys, findings);
    config.memory_max = check_budget(&keys, config.memory_max, findings);
    config.status = status::check(&keys, findings);
    config.outbox = check_outbox(&keys, findings);
    config.identity = identity::check(keys.some("instance"), environment, findings);
    let timeout = config.shutdown_timeout;
    config.shutdown_timeout = keys.time("shutdown_timeout", Duration::ZERO..=HOUR, timeout, findings);
    config
}

fn check_line(keys: &Keys<'_>, findings: &mut Findings) -> LineConfig {
    let default = LineConfig::default();
    let Some(entry) = keys.some("line") else { return default };
    let keys = Keys::open(entry, "line", &["length_max", "redact"], findings);
    // A longer line than 16 MiB would not leave room for others in the engine's share of memory.
    let range = Bytes(KIB)..=Bytes(16 * MIB);
    LineConfig {
        length_max: keys.size("length_max", range, default.length_max, findings),
        redact: redact::check(&keys, findings),
    }
}

fn check_storm(keys: &Keys<'_>, findings: &mut Findings) -> storm::Limits {
    let mut storm = storm::Limits::default();
    let Some(entry) = keys.some("storm") else { return storm };
    let keys = Keys::open(entry, "storm", &STORM_KNOWN, findings);
    // At least one, because the first line of an entry is always sent.
    storm.first = keys.number("first", 1..=1_000, storm.first, findings);
    storm.enter = keys.number("enter", 1..=1_000_000, storm.enter, findings);
    storm.enter_failing = keys.number("enter_failing", 1..=1_000_000, storm.enter_failing, findings);
    storm.burst = keys.number("burst", 0..=1_000, storm.burst, findings);
    storm.quiet = keys.time("quiet", SECOND..=HOUR, storm.quiet, findings);
    storm.summary_every = keys.time("summary_every", super::SUMMARY_EVERY, storm.summary_every, findings);
    storm.summary_every_max = keys.time("summary_every_max", SECOND..=DAY, storm.summary_every_max, findings);
    storm.templates_max = keys.number("templates_max", 100..=1_000_000, storm.templates_max, findings);
    storm.novelty_per_second =
        keys.number("novelty_per_second", 1..=1_000_000, storm.novelty_per_second, findings);
    storm.examples = keys.number("examples", 0..=16, storm.examples, findings);
    storm.families = keys.truth("families", storm.families, findings);
    let entry = keys.some("summary_every_max").or(keys.some("summary_every"));
    if let Some(entry) = entry
        && storm.summary_every > storm.summary_every_max
    {
        let message = "`storm.summary_every` is longer than `storm.summary_every_max`";
        findings.fault(entry.node.place.clone(), message).note(format!(
            "summary_every: {}, summary_every_max: {}",
            super::quantity::show_time(storm.summary_every),
            super::quantity::show_time(storm.summary_every_max)
        ));
    }
    storm
}

fn check_budget(keys: &Keys<'_>, default: Bytes, findings: &mut Findings) -> Bytes {
    let Some(entry) = keys.some("budget") else { return default };
    let known = ["memory_max", "bytes_per_second", "lines_per_second"];
    let keys = Keys::open(entry, "budget", &known, findings);
    later::check(&keys, &BUDGET_LATER, findings);
    keys.size("memory_max", Bytes(16 * MIB)..=Bytes(64 * GIB), default, findings)
}

fn check_outbox(keys: &Keys<'_>, findings: &mut Findings) -> Outbox {
    let mut outbox = Outbox::default();
    let Some(entry) = keys.some("outbox") else { return outbox };
    let known = ["dir", "size_max", "durability", "when_full"];
    let keys = Keys::open(entry, "outbox", &known, findings);
    outbox.dir = keys.path("dir", findings);
    outbox.size_max = keys.size("size_max", SIZE_MIN..=Bytes(TIB), outbox.size_max, findings);
    let durability = [("disk", Durability::Disk), ("process", Durability::Process)];
    outbox.durability = keys.word("durability", &durability, outbox.durability, findings);
    let when_full = [("block", WhenFull::Block), ("degrade", WhenFull::Degrade)];
    outbox.when_full = keys.word("when_full", &when_full, outbox.when_full, findings);
    outbox
}

#[cfg(test)]
mod tests {
    use crate::config::tests::load_text;
    use crate::config::{Durability, Output, Sources, WhenFull, load};
    use crate::units::Bytes;

    /// What is said about `text`, all of it.
    #[track_caller]
    fn said(text: &str) -> String {
        match load_text(text) {
            Ok((_, warnings)) => panic!("no fault in {text:?}, but {warnings:?}"),
            Err(faults) => faults.to_string(),
        }
    }

    /// The message of each fault and where it points.
    fn brief(text: &str) -> Vec<String> {
        let Err(faults) = load_text(text) else { return Vec::new() };
        let line = |fault: &crate::config::faults::Fault| {
            let (line, column) = fault.place().position().unwrap_or_default();
            format!("{line}:{column} {}", fault.message())
        };
        faults.iter().map(line).collect()
    }

    #[test]
    fn a_fault_looks_like_this() {
        let text = "\n".repeat(10) + "storm:\n    summery_every: 10s\n";
        let want = "\
error: unknown key `summery_every`, did you mean `summary_every`?
  --> squall.yaml:12:5
   |
12 |     summery_every: 10s
   |     ^^^^^^^^^^^^^
   = known keys: first, enter, enter_failing, burst, quiet, summary_every, summary_every_max, templates_max, novelty_per_second, examples, families
";
        assert_eq!(said(&text), want);
    }

    #[test]
    fn three_mistakes_are_three_faults() {
        let text = "\
storm:
  first: 0
  quiet: fast
outputs:
  kafka: { brokers: [kafka], topic: logs }
";
        let want = "\
error: `storm.first` must be from 1 to 1,000, not 0
 --> squall.yaml:2:10
  |
2 |   first: 0
  |          ^

error: `storm.quiet` must be a time, not the text `fast`
 --> squall.yaml:3:10
  |
3 |   quiet: fast
  |          ^^^^
  = write for example 10s, 1m30s or 250ms

error: `kafka` is not a broker
 --> squall.yaml:5:22
  |
5 |   kafka: { brokers: [kafka], topic: logs }
  |                      ^^^^^
  = write host:port, for example kafka-1:9092 or [::1]:9092
";
        assert_eq!(said(text), want);
    }

    #[test]
    fn variables_and_flags_are_named() {
        let sources = Sources {
            env: vec![("SQUALL_STORM__FIRST".to_owned(), "many".to_owned())],
            sets: vec!["storm.quiet=5".to_owned(), "storm".to_owned(), "outbox.dri=/x".to_owned()],
            ..Sources::default()
        };
        let want = "\
error: `storm.first` must be a whole number, not `many`
  --> environment variable SQUALL_STORM__FIRST

error: unknown key `dri`, did you mean `dir`?
  --> flag --set outbox.dri
   = known keys: dir, size_max, durability, when_full

error: a value is missing
  --> flag --set storm
   = write --set storm.first=3

error: `storm.quiet` must be a time, not `5`
  --> flag --set storm.quiet
   = write for example 10s, 1m30s or 250ms
";
        assert_eq!(load(&sources).expect_err("four faults").to_string(), want);
    }

    #[test]
    fn a_secret_is_refused_and_not_shown() {
        let text = "outputs: {kafka: {topic: t, brokers: [a:1], sasl: {mechanism: PLAIN, username: u, password: hunter2}}}";
        let said = said(text);
        assert!(!said.contains("hunter2"), "{said}");
        let want = ["1:83 `outputs.kafka.sasl.password` is read from a file only"];
        assert_eq!(brief(text), want);
    }

    #[test]
    fn values() {
        #[track_caller]
        fn check(text: &str, want: &[&str]) {
            assert_eq!(brief(text), want, "{text}");
        }
        check("storm: {first: 1_000}", &[]);
        check("storm: {first: 1001}", &["1:16 `storm.first` must be from 1 to 1,000, not 1001"]);
        check("storm: {first: -1}", &["1:16 `storm.first` must be from 1 to 1,000, not -1"]);
        check(
            "storm: {first: 99999999999999999999}",
            &["1:16 `storm.first` must be from 1 to 1,000, not 99999999999999999999"],
        );
        check("storm: {first: 1.5}", &["1:16 `storm.first` must be a whole number, not the number 1.5"]);
        check("storm: {first: '1'}", &["1:16 `storm.first` must be a whole number, not the text `1`"]);
        check("storm: {first: [1]}", &["1:16 `storm.first` must be a whole number, not a list"]);
        check("storm: {first: true}", &["1:16 `storm.first` must be a whole number, not `true`"]);
        check("storm: {quiet: 10}", &["1:16 `storm.quiet` must be a time, not the number 10"]);
        check("storm: {quiet: 500ms}", &["1:16 `storm.quiet` must be from 1s to 1h, not 500ms"]);
        check(
            "storm: {summary_every: 10m}",
            &["1:24 `storm.summary_every` is longer than `storm.summary_every_max`"],
        );
        check("storm: 5", &["1:8 `storm` must be a mapping, not the number 5"]);
        check("line: {length_max: 10m}", &["1:20 `line.length_max` must be a size, not the text `10m`"]);
        check("line: {length_max: 1GB}", &["1:20 `line.length_max` must be from 1KiB to 16MiB, not 1GB"]);
        check("budget: {memory_max: 1}", &["1:22 `budget.memory_max` must be from 16MiB to 64GiB, not 1"]);
        check("shutdown_timeout: 2h", &["1:19 `shutdown_timeout` must be from 0s to 1h, not 2h"]);
        check("outbox: {size_max: 8MB}", &["1:20 `outbox.size_max` must be from 8MiB to 1TiB, not 8MB"]);
        check(
            "outbox: {durability: dsk}",
            &["1:22 `outbox.durability` cannot be the text `dsk`, did you mean `disk`?"],
        );
        check("instance: {name: 5}", &["1:18 `instance.name` must be a text, not the number 5"]);
        check("instance: {name: \"\\e[2J\"}", &["1:18 `instance.name` holds a control character"]);
        check("instance: {name: ''}", &["1:18 `instance.name` must not be empty"]);
        check("instance: {name: \"${A}\"}", &["1:19 the environment variable A is not set"]);
        check("- 1", &["1:1 a config must be a mapping (`key: value`), not a list"]);
    }

    #[test]
    fn inputs() {
        #[track_caller]
        fn check(input: &str, want: &[&str]) {
            assert_eq!(brief(&format!("inputs:\n  a: {{{input}}}")), want, "{input}");
        }
        check("type: stdin", &[]);
        check("type: tail, include: [/x]", &[]);
        check("", &["2:3 `inputs.a.type` is missing", "2:3 `inputs.a.include` is missing"]);
        check("type: tail", &["2:3 `inputs.a.include` is missing"]);
        check("type: tail, include: []", &["2:3 `inputs.a.include` is missing"]);
        check("type: tail, include: /x", &["2:28 `inputs.a.include` must be a list, not the text `/x`"]);
        check(
            "type: tall, include: [/x]",
            &["2:13 `inputs.a.type` cannot be the text `tall`, did you mean `tail`?"],
        );
        check("type: stdin, include: [/x]", &["2:20 `inputs.a.include` is for inputs of type tail"]);
        check("type: stdin, format: json", &["2:28 `inputs.a.format` cannot be the text `json`"]);
        check(
            "type: tail, include: [/a, '/[']",
            &["2:33 `/[` is not a glob: invalid range pattern (character 2)"],
        );
        check(
            "type: stdin, timezone: Europe/Brelin",
            &["2:30 `inputs.a.timezone` cannot be `Europe/Brelin`, did you mean `Europe/Berlin`?"],
        );
        check("type: stdin, labels: {version: 1.10, country: no, on: true}", &[]);
        check("type: stdin, labels: {x: [1]}", &["2:32 `inputs.a.labels.x` must be a text, not a list"]);
        check("type: stdin, multiline: null", &[]);
        check("type: stdin, multiline: {}, x: 1", &["2:35 unknown key `x`"]);
        check("type: stdin, multiline: off", &[]);
        check("type: stdin, multiline: auto", &[]);
        check("type: stdin, multiline: {language: java, wait: 250ms}", &[]);
        check("type: stdin, multiline: {start: '^\\d{4}-', lines_max: 50, wait: 3s}", &[]);
        check(
            "type: stdin, multiline: jave",
            &["2:31 `inputs.a.multiline` cannot be the text `jave`, did you mean `java`?"],
        );
        check(
            "type: stdin, multiline: {start: '(', wait: 1h}",
            &[
                "2:39 `inputs.a.multiline.start` is not a regular expression: unclosed group",
                "2:50 `inputs.a.multiline.wait` must be from 10ms to 1m, not 1h",
            ],
        );
        check(
            "type: stdin, multiline: {start: x, language: go}",
            &["2:42 `inputs.a.multiline.language` and `start` rule each other out"],
        );
        check("type: stdin, multiline: {wait: 1s}", &["2:20 `inputs.a.multiline.start` is missing"]);
        check(
            "type: stdin, multiline: {start: x, lines_max: 1}",
            &["2:53 `inputs.a.multiline.lines_max` must be from 2 to 10,000, not 1"],
        );
        assert_eq!(brief("inputs: {a b: {type: stdin}}"), ["1:10 `a b` cannot be the name of an input"]);
    }

    #[test]
    fn kafka() {
        #[track_caller]
        fn check(more: &str, want: &[&str]) {
            let text = format!("outputs: {{kafka: {{topic: t, brokers: ['a:1'],\n{more}}}}}");
            assert_eq!(brief(&text), want, "{more}");
        }
        check("", &[]);
        check("tls: {}, sasl: {}", &[]);
        check("key: container", &["2:6 `outputs.kafka.key` cannot be the text `container`"]);
        check("tls: {key_file: a}", &["2:1 `outputs.kafka.tls.cert_file` is missing"]);
        check("tls: {key_password: a}", &["2:7 `outputs.kafka.tls.key_password` is read from a file only"]);
        check(
            "sasl: {mechanism: GSSAPI, username: u}",
            &[
                "2:1 `outputs.kafka.sasl.password_file` is missing",
                "2:19 `outputs.kafka.sasl.mechanism` cannot be the text `GSSAPI`",
            ],
        );
        check("options: {linger.ms: 5, socket.nagle.disable: true, client.rack: null}", &[]);
        check("options: {acks: 0}", &["2:11 the option `acks` cannot be set here"]);
        check("options: {Acks: 0}", &["2:11 `Acks` is not an option of librdkafka"]);
        check(
            "options: {plugin.library.paths: /x}",
            &["2:11 the option `plugin.library.paths` cannot be set here"],
        );
        check("options: {a: []}", &["2:14 `outputs.kafka.options.a` must be a text or a number, not a list"]);
        check(
            "schema: otel",
            &[
                "2:1 `outputs.kafka.schema` is not part of this version yet; remove it or set it to its default",
            ],
        );
        check("schema: x", &["2:9 `outputs.kafka.schema` cannot be the text `x`"]);
    }

    #[test]
    fn brokers_and_topics() {
        #[track_caller]
        fn check(broker: &str, topic: &str, faults: usize) {
            let text = format!("outputs: {{kafka: {{topic: '{topic}', brokers: ['{broker}']}}}}");
            assert_eq!(brief(&text).len(), faults, "{text}");
        }
        check("localhost:9092", "logs", 0);
        check("[::1]:9092", "a.b_c-D9", 0);
        check("10.0.0.1:65535", &"t".repeat(249), 0);
        for bad in [
            "",
            "a",
            "a:",
            ":1",
            "a:0",
            "a:65536",
            "a:+1",
            "kafka://a:1",
            "a b:1",
            "::1:9092",
            "[x]:1",
            "a:1,b:2",
        ] {
            check(bad, "t", 1);
        }
        for bad in ["", ".", "..", "a/b", "ä", "a b", &"t".repeat(250)] {
            check("a:1", bad, 1);
        }
    }

    #[test]
    fn parts_that_are_not_built_yet() {
        #[track_caller]
        fn check(text: &str, faults: usize, warnings: usize) {
            let found = match load_text(text) {
                Ok((_, warnings)) => (0, warnings.len()),
                Err(faults) => (faults.iter().count(), faults.warnings().len()),
            };
            assert_eq!(found, (faults, warnings), "{text}");
        }
        for super::Later { name, default } in &super::LATER {
            check(&format!("{name}:"), 0, 0);
            check(&format!("{name}: {{}}"), 0, 0);
            check(&format!("{name}: []"), 0, 0);
            check(&format!("{name}: false"), 0, 0);
            check(&format!("{name}: {{something: 1}}"), 1, 0);
            let stands_for_off = ["driver", "retention"].contains(name);
            check(&format!("{name}: {default}"), 0, usize::from(!stands_for_off));
        }
        check("driver: {enabled: true}", 1, 0);
        check("driver: {enabled: false, socket: /elsewhere}", 0, 0);
        check("alerts: {groups: [{name: x}]}", 1, 0);
        check("line: {redact: []}", 0, 0);
        check("line: {redact: [x]}", 1, 0);
        check("line: {redact: [email, {pattern: 'id=(\\d+)', replace: '*'}]}", 0, 0);
        check("budget: {bytes_per_second: null, lines_per_second: 5}", 1, 0);
        check("outputs: {file: {path: /x, max_size: 10m, max_file: 3, compress: true, max_age: 7d}}", 0, 4);
        check("outputs: {file: {path: /x, max_size: 10000000, compress: false}}", 0, 1);
        check("outputs: {file: {path: /x, max_size: 10MiB}}", 1, 0);
        check("outputs: {file: {path: /x, max_size: large}}", 2, 0);
        check("outputs: {kafka: {topic: t, brokers: ['a:1'], alerts_topic: pages}}", 0, 0);
        check("outputs: {kafka: {topic: t, brokers: ['a:1'], alerts_topic: 'p q'}}", 1, 0);
        check("outbox: {dir: /x, size_max: 8MiB, durability: process, when_full: degrade}", 0, 0);
    }

    #[test]
    fn what_is_set_arrives() {
        let text = "\
outputs:
  kafka:
    brokers: [a:1]
    topic: t
    compression: none
    batch: gzip-ndjson
    headers: id
    tls: { ca_file: /ca }
    sasl: { mechanism: PLAIN, username: u, password_file: /p }
    options: { linger.ms: 5, client.rack: r1 }
  console: { json: true }
  blackhole:
budget: { memory_max: 64MiB }
storm: { quiet: 1m30s }
outbox: { dir: /x, size_max: 1GiB, durability: process, when_full: degrade }
";
        let (config, warnings) = load_text(text).unwrap_or_else(|faults| panic!("{faults}"));
        let [Output::Kafka(kafka), Output::Console { json: true }] = config.outputs.as_slice() else {
            panic!("{:?}", config.outputs)
        };
        assert_eq!(kafka.tls.as_ref().and_then(|tls| tls.ca_file.clone()), Some("/ca".into()));
        assert_eq!(kafka.headers, crate::output::kafka::HeaderSet::Id);
        assert_eq!(kafka.sasl.as_ref().map(|sasl| sasl.password_file.clone()), Some("/p".into()));
        assert_eq!(kafka.extra, crate::config::tests::pairs(&[("linger.ms", "5"), ("client.rack", "r1")]));
        assert_eq!((config.memory_max, config.storm.quiet.as_secs()), (Bytes(64 << 20), 90));
        let outbox = config.outbox.options("/elsewhere".into());
        assert_eq!((outbox.dir.to_str(), outbox.size_max), (Some("/x"), Bytes(1 << 30)));
        assert_eq!((outbox.durability, config.outbox.when_full), (Durability::Process, WhenFull::Degrade));
        assert_eq!(warnings.len(), 1, "an empty output is told: {warnings:?}");
    }
}

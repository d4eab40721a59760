//! `outputs.kafka`: brokers, topic, security, and librdkafka's own options.

use super::keys::{Keys, Text, scalar};
use super::output::check_schema;
use super::secret;
use crate::config::faults::Findings;
use crate::config::source::shown;
use crate::config::tree::{Entry, Kind};
use crate::output::kafka::{self, Compression, HeaderSet, Options, Packing, Sasl, Tls};

const KNOWN: [&str; 11] = [
    "brokers",
    "topic",
    "key",
    "compression",
    "batch",
    "headers",
    "tls",
    "sasl",
    "options",
    "schema",
    "alerts_topic",
];
const TLS_KNOWN: [&str; 6] =
    ["enabled", "ca_file", "cert_file", "key_file", "key_password_file", "dangerously_skip_verification"];
const SASL_KNOWN: [&str; 3] = ["mechanism", "username", "password_file"];

const COMPRESSION: [(&str, Compression); 5] = [
    ("zstd", Compression::Zstd),
    ("lz4", Compression::Lz4),
    ("snappy", Compression::Snappy),
    ("gzip", Compression::Gzip),
    ("none", Compression::None),
];
const PACKING: [(&str, Packing); 3] = [
    ("records", Packing::Records),
    ("gzip-ndjson", Packing::GzipNdjson),
    ("zstd-ndjson", Packing::ZstdNdjson),
];
const HEADERS: [(&str, HeaderSet); 3] =
    [("all", HeaderSet::All), ("id", HeaderSet::Id), ("none", HeaderSet::None)];
const MECHANISMS: [(&str, &str); 3] =
    [("PLAIN", "PLAIN"), ("SCRAM-SHA-256", "SCRAM-SHA-256"), ("SCRAM-SHA-512", "SCRAM-SHA-512")];

const RUNS_CODE: &str = "it runs a command or loads code, and a config file must not be able to do that";
const IN_FILES: &str =
    "secrets are read from files only: use tls.key_file, tls.key_password_file, sasl.password_file";
const PROMISE: &str = "the promise that no record is lost or reordered rests on it, so squall sets it itself";
const NO_TIMEOUT: &str =
    "librdkafka would give up records by it; squall holds them until Kafka has confirmed them";
const MEMORY: &str = "it is derived from budget.memory_max";

/// librdkafka options that are not passed through, with why.
const REFUSED: [(&str, &str); 42] = [
    ("sasl.kerberos.kinit.cmd", RUNS_CODE),
    ("plugin.library.paths", RUNS_CODE),
    ("ssl.engine.location", RUNS_CODE),
    ("ssl.engine.id", RUNS_CODE),
    ("ssl.providers", RUNS_CODE),
    ("enable.idempotence", PROMISE),
    ("acks", PROMISE),
    ("request.required.acks", PROMISE),
    ("max.in.flight", PROMISE),
    ("max.in.flight.requests.per.connection", PROMISE),
    ("transactional.id", PROMISE),
    ("delivery.report.only.error", PROMISE),
    ("dr_cb", PROMISE),
    ("dr_msg_cb", PROMISE),
    ("partitioner", "the order of each stream rests on its key"),
    ("enable.gapless.guarantee", NO_TIMEOUT),
    ("message.timeout.ms", NO_TIMEOUT),
    ("delivery.timeout.ms", NO_TIMEOUT),
    ("message.send.max.retries", NO_TIMEOUT),
    ("retries", NO_TIMEOUT),
    ("queue.buffering.max.messages", MEMORY),
    ("queue.buffering.max.kbytes", MEMORY),
    ("bootstrap.servers", "use outputs.kafka.brokers"),
    ("metadata.broker.list", "use outputs.kafka.brokers"),
    ("compression.type", "use outputs.kafka.compression"),
    ("compression.codec", "use outputs.kafka.compression"),
    ("security.protocol", "it follows from outputs.kafka.tls and outputs.kafka.sasl"),
    ("ssl.ca.location", "use outputs.kafka.tls.ca_file"),
    ("ssl.certificate.location", "use outputs.kafka.tls.cert_file"),
    ("ssl.key.location", "use outputs.kafka.tls.key_file"),
    ("enable.ssl.certificate.verification", "use outputs.kafka.tls.dangerously_skip_verification"),
    ("sasl.mechanism", "use outputs.kafka.sasl.mechanism"),
    ("sasl.mechanisms", "use outputs.kafka.sasl.mechanism"),
    ("sasl.username", "use outputs.kafka.sasl.username"),
    ("sasl.password", IN_FILES),
    ("ssl.key.password", IN_FILES),
    ("ssl.key.pem", IN_FILES),
    ("ssl.keystore.password", IN_FILES),
    ("sasl.oauthbearer.client.secret", IN_FILES),
    ("sasl.oauthbearer.config", IN_FILES),
    ("sasl.oauthbearer.assertion.private.key.passphrase", IN_FILES),
    ("sasl.oauthbearer.assertion.private.key.pem", IN_FILES),
];

/// Checks `outputs.kafka`.
pub(super) fn check(entry: &Entry, path: &str, findings: &mut Findings) -> Options {
    let keys = Keys::open(entry, path, &KNOWN, findings);
    check_schema(&keys, findings);
    let mut options = Options::default();
    options.brokers.extend(check_brokers(&keys, findings));
    if keys.some("topic").is_none() {
        keys.missing("topic", "write for example topic: logs", findings);
    }
    options.topic = check_topic(&keys, "topic", findings).unwrap_or(options.topic);
    options.alerts_topic = check_topic(&keys, "alerts_topic", findings);
    keys.word("key", &[("stream", ())], (), findings);
    options.compression = keys.word("compression", &COMPRESSION, options.compression, findings);
    options.packing = keys.word("batch", &PACKING, options.packing, findings);
    options.headers = keys.word("headers", &HEADERS, options.headers, findings);
    options.tls = keys.some("tls").and_then(|entry| check_tls(entry, &keys.full("tls"), findings));
    options.sasl = keys.some("sasl").and_then(|entry| check_sasl(entry, &keys.full("sasl"), findings));
    options.extra = check_options(&keys, findings);
    if let (Some(sasl), None, Some(entry)) = (&options.sasl, &options.tls, keys.some("sasl"))
        && sasl.mechanism == "PLAIN"
    {
        let message = "PLAIN without TLS sends the password over the network as it is";
        findings.warn(entry.place.clone(), message).note("write tls: { enabled: true }");
    }
    options
}

fn check_brokers(keys: &Keys<'_>, findings: &mut Findings) -> Vec<String> {
    let faults_before = findings.faults.len();
    let mut brokers = Vec::new();
    for Text { text, place } in keys.texts("brokers", findings) {
        if is_broker(text) {
            brokers.push(text.to_owned());
        } else {
            findings
                .fault(place, format!("`{}` is not a broker", shown(text)))
                .note("write host:port, for example kafka-1:9092 or [::1]:9092");
        }
    }
    if brokers.is_empty() && findings.faults.len() == faults_before {
        keys.missing("brokers", "write for example brokers: [localhost:9092]", findings);
    }
    brokers
}

fn is_broker(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host_fits = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)),
    };
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    !host.is_empty() && host_fits && digits && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// The name of a topic.
pub(super) fn check_topic(keys: &Keys<'_>, name: &str, findings: &mut Findings) -> Option<String> {
    let Text { text, place } = keys.text(name, findings)?;
    if kafka::is_topic(text) {
        return Some(text.to_owned());
    }
    let message = format!("`{}` cannot be the name of a topic", shown(text));
    findings.fault(place, message).note(format!("allowed: {}", kafka::TOPIC_NAMES));
    None
}

/// An empty mapping is "off", as the documented default says; any key switches TLS on unless `enabled` is false.
fn check_tls(entry: &Entry, path: &str, findings: &mut Findings) -> Option<Tls> {
    let keys = Keys::open(entry, path, &TLS_KNOWN, findings);
    let given = TLS_KNOWN.iter().any(|name| keys.some(name).is_some());
    let enabled = keys.truth("enabled", given, findings);
    let tls = Tls {
        ca_file: keys.path("ca_file", findings),
        cert_file: keys.path("cert_file", findings),
        key_file: secret::path(&keys, "key_file", findings),
        key_password_file: secret::path(&keys, "key_password_file", findings),
        dangerously_skip_verification: keys.truth("dangerously_skip_verification", false, findings),
    };
    if keys.some("cert_file").is_some() != keys.some("key_file").is_some() {
        let absent = if tls.cert_file.is_some() { "key_file" } else { "cert_file" };
        keys.missing(absent, "cert_file and key_file go together", findings);
    }
    if enabled && tls.dangerously_skip_verification {
        findings.warn(keys.place.clone(), "any broker is trusted: certificates are not verified");
    }
    enabled.then_some(tls)
}

/// An empty mapping is "off"; otherwise all three keys are needed.
fn check_sasl(entry: &Entry, path: &str, findings: &mut Findings) -> Option<Sasl> {
    let keys = Keys::open(entry, path, &SASL_KNOWN, findings);
    if keys.entries().is_empty() {
        return None;
    }
    let notes = [
        ("mechanism", "allowed: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
        ("username", "write for example username: squall"),
        ("password_file", "write for example password_file: /run/secrets/kafka-password"),
    ];
    for (name, note) in notes {
        // Who wrote `password` was told already to use a file.
        if keys.some(name).is_none() && keys.entry(name.trim_end_matches("_file")).is_none() {
            keys.missing(name, note, findings);
        }
    }
    Some(Sasl {
        mechanism: keys.word("mechanism", &MECHANISMS, "", findings).to_owned(),
        username: keys.text("username", findings).map_or_else(String::new, |name| name.text.to_owned()),
        password_file: secret::path(&keys, "password_file", findings).unwrap_or_default(),
    })
}

fn check_options(keys: &Keys<'_>, findings: &mut Findings) -> Vec<(String, String)> {
    let Some(entry) = keys.some("options") else { return Vec::new() };
    let options = Keys::open_any(entry, &keys.full("options"), findings);
    let mut extra = Vec::new();
    for option in options.entries() {
        let name = option.key.as_str();
        let proper = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._".contains(&byte));
        if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
            let message = format!("the option `{}` cannot be set here", shown(name));
            findings.fault(option.place.clone(), message).note(*why);
        } else if !proper {
            let message = format!("`{}` is not an option of librdkafka", shown(name));
            findings.fault(option.place.clone(), message).note("they are written like linger.ms");
        } else if let Some(value) =
            scalar(&option.node, &[Kind::Bool, Kind::Integer, Kind::Float, Kind::Text, Kind::Untyped])
        {
            extra.push((name.to_owned(), value.to_owned()));
        } else if !option.node.is_null() {
            let message =
                format!("`{}` must be a text or a number, not {}", options.full(name), option.node.what());
            findings.fault(option.node.place.clone(), message);
        }
    }
    extra
}

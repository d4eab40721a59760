//! What the user may choose, and the librdkafka settings that follow from it (delivery.md §7).
//!
//! Invariant: a secret is read from its file here and goes nowhere but into librdkafka. Never print a
//! `ClientConfig`.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;

use crate::output::OutputError;

/// How records become Kafka messages (`outputs.kafka.batch`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// One message a record, compressed by Kafka's own record batches.
    #[default]
    Records,
    /// One message for many records of a stream: newline-delimited JSON, gzip.
    GzipNdjson,
    /// The same, zstd.
    ZstdNdjson,
}

/// Kafka's own compression of record batches (`outputs.kafka.compression`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// As is.
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard, level 1 unless an option says otherwise.
    #[default]
    Zstd,
}

/// Which headers the message of one record has (`outputs.kafka.headers`). All that they say is in the record too, and the
/// three cost 0.8 µs of CPU a message of the 5 that shipping a record takes. Packed messages have all of theirs: consumers
/// need them to unpack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderSet {
    /// `squall-id`, `squall-kind` and `content-type`.
    #[default]
    All,
    /// `squall-id`: enough to leave out what was sent again, unparsed.
    Id,
    /// None.
    None,
}

/// TLS to the brokers (`outputs.kafka.tls`). `Some` switches it on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The authorities to trust, PEM; the system's when absent.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, PEM.
    pub cert_file: Option<PathBuf>,
    /// Our private key, PEM.
    pub key_file: Option<PathBuf>,
    /// A file that holds the key's password.
    pub key_password_file: Option<PathBuf>,
    /// Accept any broker. Named so that nobody does it by accident.
    pub dangerously_skip_verification: bool,
}

/// Who we are to the brokers (`outputs.kafka.sasl`). `Some` switches it on.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Sasl {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    /// The user.
    pub username: String,
    /// A file that holds the password; a newline at its end is not part of it.
    pub password_file: PathBuf,
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sasl").field("mechanism", &self.mechanism).finish_non_exhaustive()
    }
}

/// Where and how to send (`outputs.kafka`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `host:port` of some brokers.
    pub brokers: Vec<String>,
    /// The topic for everything that has none of its own.
    pub topic: String,
    /// The topic that gets a copy of each alert.
    pub alerts_topic: Option<String>,
    /// Kafka's own compression.
    pub compression: Compression,
    /// Records or batches.
    pub packing: Packing,
    /// What stands beside a record.
    pub headers: HeaderSet,
    /// TLS, when wanted.
    pub tls: Option<Tls>,
    /// SASL, when wanted.
    pub sasl: Option<Sasl>,
    /// librdkafka options passed through as they are, except those that could run a command or load code.
    pub extra: Vec<(String, String)>,
}

/// What Kafka takes as the name of a topic, for people.
pub const TOPIC_NAMES: &str = "1 to 249 of a-z A-Z 0-9 . _ -, but not . and ..";

/// Whether Kafka takes this as the name of a topic: [`TOPIC_NAMES`].
pub fn is_topic(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=TOPIC_MAX).contains(&name.len()) && name.bytes().all(allowed) && name != "." && name != ".."
}

/// Kafka's own limit, in bytes.
const TOPIC_MAX: usize = 249;

impl Options {
    /// The settings for librdkafka; reads the secrets from their files.
    pub(super) fn client_config(&self) -> Result<ClientConfig, OutputError> {
        let mut config = ClientConfig::new();
        // librdkafka's log becomes our debug log; what it says that matters comes through the callbacks.
        config.set_log_level(RDKafkaLogLevel::Info);
        for (name, value) in SETTINGS {
            config.set(*name, *value);
        }
        if self.packing != Packing::Records {
            config.set("linger.ms", LINGER_PACKED);
        }
        config.set("bootstrap.servers", self.brokers.join(","));
        self.set_compression(&mut config);
        self.set_security(&mut config)?;
        self.set_extra(&mut config)?;
        Ok(config)
    }

    pub(super) fn set_extra(&self, config: &mut ClientConfig) -> Result<(), OutputError> {
        for (name, value) in &self.extra {
            let plain = name.trim();
            if FORBIDDEN.iter().any(|forbidden| forbidden.eq_ignore_ascii_case(plain)) {
                return Err(OutputError::OptionForbidden { name: plain.to_owned() });
            }
            config.set(plain, value);
        }
        Ok(())
    }

    fn set_compression(&self, config: &mut ClientConfig) {
        let codec = match (self.packing, self.compression) {
            // Packed messages are compressed already.
            (Packing::GzipNdjson | Packing::ZstdNdjson, _) | (Packing::Records, Compression::None) => "none",
            (Packing::Records, Compression::Gzip) => "gzip",
            (Packing::Records, Compression::Snappy) => "snappy",
            (Packing::Records, Compression::Lz4) => "lz4",
            (Packing::Records, Compression::Zstd) => {
                config.set("compression.level", "1");
                "zstd"
            }
        };
        config.set("compression.type", codec);
    }

    pub(super) fn set_security(&self, config: &mut ClientConfig) -> Result<(), OutputError> {
        let protocol = match (&self.tls, &self.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        config.set("security.protocol", protocol);
        if let Some(tls) = &self.tls {
            // OpenSSL is linked in and does not know where this system keeps its authorities, so librdkafka
            // looks.
            config
                .set("ssl.ca.location", tls.ca_file.as_deref().map_or("probe".into(), Path::to_string_lossy));
            for (name, file) in
                [("ssl.certificate.location", &tls.cert_file), ("ssl.key.location", &tls.key_file)]
            {
                if let Some(file) = file {
                    config.set(name, file.to_string_lossy());
                }
            }
            if let Some(file) = &tls.key_password_file {
                config.set("ssl.key.password", secret(file)?);
            }
            if tls.dangerously_skip_verification {
                config.set("enable.ssl.certificate.verification", "false");
                config.set("ssl.endpoint.identification.algorithm", "none");
            }
        }
        if let Some(sasl) = &self.sasl {
            config.set("sasl.mechanism", &sasl.mechanism);
            config.set("sasl.username", &sasl.username);
            config.set("sasl.password", secret(&sasl.password_file)?);
        }
        Ok(())
    }
}

/// What is set unless `extra` says otherwise.
const SETTINGS: &[(&str, &str)] = &[
    ("client.id", "squall"),
    // Implies acks=all, and keeps the order per partition through retries.
    ("enable.idempotence", "true"),
    // Never: we hold the records, and an outage is no reason to drop one.
    ("message.timeout.ms", "0"),
    // A missing topic is told, not made: its partitions and retention are the operator's to choose.
    ("allow.auto.create.topics", "false"),
    ("queue.buffering.max.kbytes", "8192"),
    ("queue.buffering.max.messages", "50000"),
    ("linger.ms", "50"),
    // As large as `message.max.bytes` lets a batch be. That limit stays: it counts before compression, and a
    // larger batch of what does not compress would be refused whole by a broker with the usual limit of 1
    // MiB.
    ("batch.size", "1000000"),
    ("batch.num.messages", "10000"),
    ("socket.keepalive.enable", "true"),
    ("socket.timeout.ms", "30000"),
    ("reconnect.backoff.max.ms", "10000"),
    // Short, so that the bytes on the wire are known soon after the last record: two rounds are waited for at the end.
    // Idle, the whole program takes 0.3 % of a core with 100 and with 250.
    ("statistics.interval.ms", "100"),
];

/// Packed messages have lingered already, and a window full of them is too small to fill a batch: each window would
/// wait for librdkafka's whole linger. 500 MB took 13 s with 50 ms and 3 to 5 s with 5; with 0 they took a fifth more
/// CPU time.
const LINGER_PACKED: &str = "5";

/// Options that could run a command or load code.
const FORBIDDEN: &[&str] =
    &["sasl.kerberos.kinit.cmd", "plugin.library.paths", "ssl.engine.location", "ssl.providers"];

/// What is wrong with a configuration, without any secret in it.
pub(super) fn creation_error(error: KafkaError) -> OutputError {
    match error {
        // The fourth field is the value. The description may quote it too, so secrets get none.
        KafkaError::ClientConfig(_, description, name, _) => {
            let secret = ["password", "secret", "token", "key.pem", "sasl.jaas"]
                .iter()
                .any(|word| name.contains(word));
            let reason = if secret { "librdkafka does not accept its value".to_owned() } else { description };
            OutputError::OptionInvalid { name, reason }
        }
        KafkaError::ClientCreation(reason) => OutputError::Create { reason },
        other => OutputError::Create { reason: other.to_string() },
    }
}

/// The secret in a file, without the newline that editors put at its end.
fn secret(path: &Path) -> Result<String, OutputError> {
    let text = fs::read_to_string(path).map_err(|source| OutputError::File {
        action: "read the secret in",
        path: path.to_path_buf(),
        source,
    })?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_reach_librdkafka() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let password_file = dir.path().join("password");
        fs::write(&password_file, "hunter2\n").expect("the secret");
        let sasl = Sasl {
            mechanism: "SCRAM-SHA-512".into(),
            username: "squall".into(),
            password_file: password_file.clone(),
        };
        let tls = Tls {
            ca_file: Some("/ca.pem".into()),
            cert_file: Some("/cert.pem".into()),
            key_file: Some("/key.pem".into()),
            key_password_file: Some(password_file),
            ..Tls::default()
        };
        #[track_caller]
        fn check(options: &Options, want: &[(&str, &str)]) {
            let config = options.client_config().expect("good options");
            for (name, value) in want {
                assert_eq!(config.get(name), Some(*value), "{name}");
            }
        }
        let plain = Options { brokers: vec!["a:1".into(), "b:2".into()], ..Options::default() };
        check(&plain, SETTINGS);
        check(
            &plain,
            &[
                ("bootstrap.servers", "a:1,b:2"),
                ("compression.type", "zstd"),
                ("security.protocol", "plaintext"),
            ],
        );
        let packed = Options { packing: Packing::GzipNdjson, ..Options::default() };
        check(&packed, &[("compression.type", "none"), ("linger.ms", "5")]);
        check(
            &Options { tls: Some(tls), sasl: Some(sasl.clone()), ..Options::default() },
            &[
                ("security.protocol", "sasl_ssl"),
                ("ssl.ca.location", "/ca.pem"),
                ("ssl.certificate.location", "/cert.pem"),
                ("ssl.key.location", "/key.pem"),
                ("ssl.key.password", "hunter2"),
                ("sasl.mechanism", "SCRAM-SHA-512"),
                ("sasl.username", "squall"),
                ("sasl.password", "hunter2"),
            ],
        );
        check(
            &Options { sasl: Some(sasl), ..Options::default() },
            &[("security.protocol", "sasl_plaintext")],
        );
        check(
            &Options {
                tls: Some(Tls { dangerously_skip_verification: true, ..Tls::default() }),
                ..Options::default()
            },
            &[("ssl.ca.location", "probe"), ("enable.ssl.certificate.verification", "false")],
        );
        check(
            &Options { extra: vec![("linger.ms".into(), "7".into())], ..Options::default() },
            &[("linger.ms", "7")],
        );
    }

    #[test]
    fn every_setting_is_known_to_librdkafka() {
        for compression in
            [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
        {
            let config = Options { compression, ..Options::default() }.client_config().expect("good options");
            assert!(config.create_native_config().is_ok(), "{compression:?}");
        }
    }

    #[test]
    fn bad_options_are_errors_without_secrets() {
        #[track_caller]
        fn check(name: &str, value: &str, want: &str) {
            let options = Options { extra: vec![(name.into(), value.into())], ..Options::default() };
            let error = options
                .client_config()
                .and_then(|config| config.create_native_config().map_err(creation_error))
                .err()
                .map(|error| error.to_string());
            assert_eq!(error.as_deref(), Some(want));
        }
        let forbidden = "is not allowed: it could run a command or load code";
        for name in FORBIDDEN {
            check(name, "x", &format!("the Kafka option {name} {forbidden}"));
        }
        check(" Plugin.Library.Paths", "x", &format!("the Kafka option Plugin.Library.Paths {forbidden}"));
        check(
            "no.such",
            "s3cret",
            "cannot set the Kafka option no.such: No such configuration property: \"no.such\"",
        );
        let missing = Sasl { password_file: "/nonexistent/password".into(), ..Sasl::default() };
        let error =
            Options { sasl: Some(missing), ..Options::default() }.client_config().expect_err("no such file");
        assert_eq!(error.to_string(), "cannot read the secret in /nonexistent/password");
    }
}

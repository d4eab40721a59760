//! Records to Apache Kafka through librdkafka.

use std::fmt;
use std::path::PathBuf;

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
    /// The topic for everything.
    pub topic: String,
    /// Kafka's own compression.
    pub compression: Compression,
    /// Records or batches.
    pub packing: Packing,
    /// TLS, when wanted.
    pub tls: Option<Tls>,
    /// SASL, when wanted.
    pub sasl: Option<Sasl>,
    /// librdkafka options passed through as they are, except those that could run a command or load code.
    pub extra: Vec<(String, String)>,
}

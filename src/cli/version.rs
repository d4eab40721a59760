//! `--version`: ours, and those of the libraries whose faults would be ours.

use std::sync::LazyLock;

static LONG: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{} (librdkafka {}, {}, zstd {})",
        short(),
        rdkafka::util::get_rdkafka_version().1,
        openssl::version::version(),
        zstd::zstd_safe::version_string(),
    )
});

/// The version with its libraries.
pub fn long() -> &'static str {
    &LONG
}

/// The version alone.
pub fn short() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

//! The settings for reading a topic back: the same brokers, certificates and secrets, none of the producer's.
//!
//! Not here: the consumer itself (`cli::consume`).

use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;

use super::options::Options;
use super::trouble::Detail;
use crate::output::OutputError;

impl Options {
    /// The settings for a consumer that reads whole partitions from their start, keeps no offsets and joins no group;
    /// reads the secrets from their files. Never print what comes out of here: it holds the password.
    ///
    /// # Errors
    /// When an option is not allowed, or a secret cannot be read.
    pub fn consumer_config(&self) -> Result<ClientConfig, OutputError> {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Info);
        for (name, value) in SETTINGS {
            config.set(*name, *value);
        }
        config.set("bootstrap.servers", self.brokers.join(","));
        self.set_security(&mut config)?;
        // An option of producers only is ignored by librdkafka, with a word in its log.
        self.set_extra(&mut config)?;
        Ok(config)
    }
}

/// Remembers why a connection failed: a consumer's errors say no more than that one did.
#[derive(Debug, Default)]
pub struct Listener(Mutex<Option<Detail>>);

impl Listener {
    /// What the last failed connection met, as `broker: reason`; `None` while all is well.
    pub fn last_failure(&self) -> Option<String> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.as_ref().map(|Detail { broker, text }| format!("{broker}: {text}"))
    }
}

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", ?level, facility, message);
        if facility == "FAIL" {
            // The thread comes first: `[thrd:localhost:1/bootstrap]: localhost:1/bootstrap: Connect to …`.
            let message = message.split_once("]: ").map_or(message, |(_, message)| message);
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Detail::parse(message));
        }
    }
}

impl ConsumerContext for Listener {}

/// What is set unless the user's options say otherwise.
const SETTINGS: &[(&str, &str)] = &[
    ("client.id", "squall"),
    // librdkafka wants a name even where no group is joined; none is, for partitions are assigned by hand.
    ("group.id", "squall-consume"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "earliest"),
    ("allow.auto.create.topics", "false"),
    ("enable.partition.eof", "false"),
    // librdkafka's default is to hold 64 MiB a partition; 8 MiB keep the network busy just as well.
    ("queued.max.messages.kbytes", "8192"),
    ("socket.keepalive.enable", "true"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_connection_is_remembered() {
        let listener = Listener::default();
        let hear = |facility: &str, message: &str| listener.log(RDKafkaLogLevel::Error, facility, message);
        hear("CONFWARN", "[thrd:app]: Configuration property x is deprecated");
        assert_eq!(listener.last_failure(), None);
        hear(
            "FAIL",
            "[thrd:k:1/bootstrap]: k:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)",
        );
        assert_eq!(listener.last_failure().as_deref(), Some("k:1: connection refused"));
    }

    #[test]
    fn settings_reach_librdkafka() {
        #[track_caller]
        fn check(options: &Options, want: &[(&str, &str)]) {
            let config = options.consumer_config().expect("good options");
            for (name, value) in want {
                assert_eq!(config.get(name), Some(*value), "{name}");
            }
            assert!(config.create_native_config().is_ok());
        }
        let plain = Options { brokers: vec!["a:1".into(), "b:2".into()], ..Options::default() };
        check(&plain, SETTINGS);
        check(&plain, &[("bootstrap.servers", "a:1,b:2"), ("security.protocol", "plaintext")]);
        let tls = Options { tls: Some(super::super::Tls::default()), ..Options::default() };
        check(&tls, &[("security.protocol", "ssl")]);
        let extra = vec![("fetch.wait.max.ms".to_owned(), "7".to_owned())];
        check(&Options { extra, ..Options::default() }, &[("fetch.wait.max.ms", "7")]);
        let extra = vec![("plugin.library.paths".to_owned(), "x".to_owned())];
        assert!(Options { extra, ..Options::default() }.consumer_config().is_err());
    }
}

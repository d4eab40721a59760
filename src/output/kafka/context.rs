//! What librdkafka tells us: delivery reports, errors, statistics, its log. All of it on the polling thread.

use std::sync::Arc;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Message as _, OwnedHeaders};
use rdkafka::producer::ProducerContext;

use super::poll::BACK_OFF;
use super::state::{Message, Shared};
use super::trouble::{Detail, Trouble};
use crate::units::Bytes;

/// Whom we talk to, for sentences.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) brokers: String,
    pub(super) topic: String,
    pub(super) user: Option<String>,
}

/// The callbacks.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) shared: Arc<Shared>,
    pub(super) place: Arc<Place>,
}

/// What an error means for the message that it befell (delivery.md §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is there already.
    Delivered,
    /// An outage: kept, and sent again.
    Kept,
    /// It will never be taken.
    Refused,
    /// The producer is broken; the message is kept for the next one.
    Broken,
}

/// The fate that goes with an error code. What is not known to be final is an outage: nothing is dropped on a
/// guess.
pub(super) fn fate(code: Code) -> Fate {
    match code {
        Code::DuplicateSequenceNumber => Fate::Delivered,
        Code::MessageSizeTooLarge
        | Code::InvalidMessageSize
        | Code::InvalidRecord
        | Code::InvalidTimestamp => Fate::Refused,
        Code::Fatal | Code::Fenced => Fate::Broken,
        _ => Fate::Kept,
    }
}

/// Whether an error says that the topic has to be looked up anew.
pub(super) fn doubts_topic(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition | Code::UnknownTopicId
    )
}

impl Context {
    fn failed(&self, error: &KafkaError, message: &BorrowedMessage<'_>, first: u64) {
        let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
        self.shared.update(|state| match fate(code) {
            Fate::Delivered => state.delivered(first),
            Fate::Refused => state.refuse(first, &code.to_string()),
            Fate::Kept | Fate::Broken => {
                state.keep(first, keep(message), BACK_OFF);
                if fate(code) == Fate::Broken {
                    state.break_down(&code.to_string());
                } else if doubts_topic(code) {
                    state.topic_known = false;
                } else if !matches!(code, Code::PurgeQueue | Code::PurgeInflight) {
                    // Purging is our own doing, or the end of a producer that has told its trouble.
                    state.report(Trouble::write(&self.place, &code.to_string()));
                }
            }
        });
    }
}

/// Copies a message out of librdkafka, which forgets it after the report.
fn keep(message: &BorrowedMessage<'_>) -> Message {
    Message {
        key: message.key().unwrap_or_default().to_vec(),
        payload: message.payload().unwrap_or_default().to_vec(),
        headers: message.headers().map_or_else(OwnedHeaders::new, |headers| headers.detach()),
        timestamp: message.timestamp().to_millis().unwrap_or_default(),
    }
}

impl ProducerContext for Context {
    /// The number of the message's first record.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, first: usize) {
        match result {
            Ok(_) => self.shared.update(|state| state.delivered(first as u64)),
            Err((error, message)) => self.failed(error, message, first as u64),
        }
    }
}

impl ClientContext for Context {
    /// rdkafka reports each error twice, so nothing here counts.
    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
        tracing::debug!(target: "librdkafka", %code, reason, "error");
        self.shared.update(|state| match code {
            Code::BrokerTransportFailure | Code::Resolve | Code::OperationTimedOut => {
                // One broker of several is no trouble until something waits for it.
                state.last_failure = Some(Detail::parse(reason));
            }
            Code::AllBrokersDown => {
                let trouble = Trouble::unreachable(&self.place, state.last_failure.as_ref());
                state.report(trouble);
            }
            Code::SSL => state.report(Trouble::tls(&Detail::parse(reason))),
            Code::Authentication | Code::SaslAuthenticationFailed => {
                state.report(Trouble::sasl(&self.place, &Detail::parse(reason)));
            }
            Code::Fatal => state.break_down(reason),
            // librdkafka says it again with every message that it befalls.
            _ => {}
        });
    }

    fn stats_raw(&self, statistics: &[u8]) {
        if let Some(bytes) = bytes_sent(statistics) {
            self.shared.update(|state| {
                state.bytes_wire = Some(bytes);
                state.statistics += 1;
                state.ring();
            });
        }
    }

    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", facility, "{message}");
    }
}

/// The bytes sent to all brokers. The total stands near the end of the statistics, behind kilobytes that
/// nobody needs; names in them cannot hold the quotes of this key unescaped.
fn bytes_sent(statistics: &[u8]) -> Option<Bytes> {
    const KEY: &[u8] = b"\"tx_bytes\":";
    let start = memchr::memmem::rfind(statistics, KEY)? + KEY.len();
    let digits = statistics[start..].trim_ascii_start();
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok().map(Bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fates() {
        #[track_caller]
        fn check(code: Code, want: Fate) {
            assert_eq!(fate(code), want, "{code:?}");
        }
        check(Code::DuplicateSequenceNumber, Fate::Delivered);
        check(Code::MessageSizeTooLarge, Fate::Refused);
        check(Code::InvalidRecord, Fate::Refused);
        check(Code::InvalidTimestamp, Fate::Refused);
        check(Code::Fatal, Fate::Broken);
        check(Code::MessageTimedOut, Fate::Kept);
        check(Code::BrokerTransportFailure, Fate::Kept);
        check(Code::PurgeQueue, Fate::Kept);
        check(Code::PurgeInflight, Fate::Kept);
        check(Code::NotEnoughReplicas, Fate::Kept);
        check(Code::UnknownTopic, Fate::Kept);
        check(Code::TopicAuthorizationFailed, Fate::Kept);
        check(Code::InvalidDifferentRecord, Fate::Kept); // only its neighbour was bad
        check(Code::Unknown, Fate::Kept);
    }

    #[test]
    fn bytes_in_statistics() {
        #[track_caller]
        fn check(statistics: &str, want: Option<u64>) {
            assert_eq!(bytes_sent(statistics.as_bytes()), want.map(Bytes));
        }
        check(r#"{"brokers":{"b":{"txbytes":7}},"tx":3,"tx_bytes":1204,"rx":2}"#, Some(1204));
        check(r#"{"topics":{"\"tx_bytes\":9":{}},"tx_bytes": 5}"#, Some(5));
        check(r#"{"tx_bytes":"#, None);
        check(r#"{"tx":1}"#, None);
        check("", None);
    }
}

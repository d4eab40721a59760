//! What librdkafka tells us: delivery reports, errors, statistics, its log. All of it on the polling thread.

use std::sync::Arc;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, DeliveryResult, Message as _};
use rdkafka::producer::ProducerContext;

use super::message::Message;
use super::shared::Shared;
use super::state::State;
use super::trouble::{Detail, Trouble};
use crate::output::RefusalCause;
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
    /// Purging is our own doing, or the end of a producer that has told its trouble.
    Purged,
    /// It, or the batch in which it travelled, is larger than the topic takes.
    TooLarge,
    /// The topic does not take its time.
    Timestamp,
    /// The topic does not take it. It may be for its time too: of several bad records in a batch librdkafka knows no
    /// more than this.
    Invalid,
    /// The producer is broken; the message is kept for the next one.
    Broken,
}

/// The fate that goes with an error code. What is not known to be final is an outage: nothing is dropped on a
/// guess.
pub(super) fn fate(code: Code) -> Fate {
    match code {
        Code::DuplicateSequenceNumber => Fate::Delivered,
        Code::MessageSizeTooLarge => Fate::TooLarge,
        Code::InvalidTimestamp => Fate::Timestamp,
        Code::InvalidRecord | Code::InvalidMessageSize => Fate::Invalid,
        Code::PurgeQueue | Code::PurgeInflight => Fate::Purged,
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

/// Whether an error is about one topic, and others may do well.
fn is_about_topic(code: Code) -> bool {
    let is_refused =
        matches!(code, Code::TopicAuthorizationFailed | Code::InvalidTopic | Code::PolicyViolation);
    is_refused || doubts_topic(code)
}

impl Context {
    fn failed(&self, error: &KafkaError, message: &BorrowedMessage<'_>, first: u64) {
        let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
        let topic = message.topic();
        let topic = (topic != self.place.topic).then(|| Arc::from(topic));
        let (mut message, says) = (keep(message, topic), code.to_string());
        self.shared.update(|state| {
            message.timestamp = state.acks.millis(first).unwrap_or_default();
            self.decide(state, code, first, message, &says);
        });
    }

    fn decide(&self, state: &mut State, code: Code, first: u64, message: Message, says: &str) {
        match fate(code) {
            Fate::Delivered => state.delivered(first),
            Fate::TooLarge => state.batch_too_large(first, message, says),
            Fate::Timestamp => {
                state.distrust_times(&message);
                state.refuse(first, RefusalCause::Timestamp, says);
            }
            Fate::Invalid => state.refuse(first, RefusalCause::Invalid, says),
            Fate::Purged => state.keep(first, message),
            Fate::Broken => {
                state.keep(first, message);
                state.break_down(says);
            }
            Fate::Kept if message.topic.is_some() && is_about_topic(code) => {
                state.detour(first, message, says);
            }
            Fate::Kept => {
                state.keep_for_later(first, message);
                if doubts_topic(code) {
                    state.topic_known = false;
                } else {
                    state.report(Trouble::write(&self.place, says));
                }
            }
        }
    }
}

/// Copies a message out of librdkafka, which forgets it after the report. Its time is missing: librdkafka does not
/// tell it with an error.
fn keep(message: &BorrowedMessage<'_>, topic: Option<Arc<str>>) -> Message {
    Message {
        topic,
        key: message.key().unwrap_or_default().to_vec(),
        payload: message.payload().unwrap_or_default().to_vec(),
        headers: message.headers().map(BorrowedHeaders::detach),
        timestamp: 0,
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
            self.shared.update(|state| state.take_statistics(bytes));
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
        check(Code::MessageSizeTooLarge, Fate::TooLarge);
        check(Code::InvalidRecord, Fate::Invalid);
        check(Code::InvalidTimestamp, Fate::Timestamp);
        check(Code::Fatal, Fate::Broken);
        check(Code::PurgeQueue, Fate::Purged);
        check(Code::PurgeInflight, Fate::Purged);
        for held in [
            Code::MessageTimedOut,
            Code::BrokerTransportFailure,
            Code::AllBrokersDown,
            Code::OperationTimedOut,
            Code::RequestTimedOut,
            Code::NotEnoughReplicas,
            Code::NotEnoughReplicasAfterAppend,
            Code::NotLeaderForPartition,
            Code::LeaderNotAvailable,
            Code::UnknownTopic,
            Code::UnknownTopicOrPartition,
            Code::UnknownPartition,
            Code::UnknownTopicId,
            Code::TopicAuthorizationFailed,
            Code::ClusterAuthorizationFailed,
            Code::SaslAuthenticationFailed,
            Code::Authentication,
            Code::SSL,
            Code::PolicyViolation,
            Code::ThrottlingQuotaExceeded,
            Code::KafkaStorageError,
            // These come with a fatal error, or librdkafka gets over them with a new epoch.
            Code::OutOfOrderSequenceNumber,
            Code::UnknownProducerId,
            Code::InvalidProducerEpoch,
        ] {
            check(held, Fate::Kept);
        }
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

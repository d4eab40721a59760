//! How large a batch, and a record in it, may be: what the topic says, or what refusals teach.
//!
//! A broker weighs the batch, not the record: one that is too large comes back whole, and most of its records are
//! innocent. A message that is larger than librdkafka's limit for a batch travelled alone, so its refusal is its own;
//! after any other refusal the batches have to become smaller, which takes a new producer.
//! The topic's limit is asked for when a batch is refused for the first time, and not before: hardly any topic takes
//! less than our 1 MB, and the question costs a connection and a right (`DescribeConfigs`) that a writer rarely has.
//! Without an answer the batches are halved.
//!
//! Limit: one question at a time, each answered within [`ASK`].

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;

use super::options::Options;
use super::shared::Shared;
use crate::units::Bytes;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchLimit {
    /// librdkafka's `batch.size`: what is larger travels alone.
    batch_max: usize,
    /// librdkafka's `message.max.bytes`: what is larger it does not even take.
    client_max: usize,
    /// The topic's `max.message.bytes`, once it is known.
    topic_max: Option<usize>,
    doubt: Doubt,
}

/// Whether a batch was refused that the limits allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    Never,
    Now,
    /// The topic is being asked.
    Asking,
    /// It was asked. It is not asked again: what it did not say once it does not say at all.
    Asked,
    /// Another batch was refused since.
    AskedAndNow,
}

/// Whose refusal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The message's. Its record may have `limit` at most.
    Message { limit: Bytes },
    /// The batch's.
    Batch,
}

/// What a message weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) payload: usize,
    /// Key, headers, and Kafka's own frame.
    pub(super) around: usize,
}

impl BatchLimit {
    /// The limits that a configuration sets.
    pub(super) fn of(config: &ClientConfig) -> BatchLimit {
        let number = |name: &str| config.get(name).and_then(|value| value.parse().ok());
        let client_max = number("message.max.bytes").unwrap_or(MESSAGE_MAX);
        let batch_max = number("batch.size").unwrap_or(MESSAGE_MAX).min(client_max);
        BatchLimit { batch_max, client_max, topic_max: None, doubt: Doubt::Never }
    }

    /// Sets what the next producer needs.
    pub(super) fn set(&self, config: &mut ClientConfig) {
        config.set("batch.size", self.batch_max.to_string());
    }

    /// What a packed message may hold: as much as its maker likes while no refusal has taught us better.
    pub(super) fn raw_max(&self) -> usize {
        let learned = if self.doubt == Doubt::Never { usize::MAX } else { self.batch_max };
        self.topic_max.map_or(learned, |topic_max| with_margin(topic_max.min(self.client_max)))
    }

    /// Judges the refusal of a message by a broker.
    pub(super) fn judge(&mut self, size: Size) -> Verdict {
        if size.payload + size.around > self.batch_max || self.batch_max <= BATCH_MIN {
            return Verdict::Message { limit: self.after_broker(size) };
        }
        self.doubt = match self.doubt {
            Doubt::Never => Doubt::Now,
            Doubt::Asked => Doubt::AskedAndNow,
            other => other,
        };
        Verdict::Batch
    }

    /// What a record may have that librdkafka itself did not take.
    pub(super) fn after_client(&self, size: Size) -> Bytes {
        let most = self.topic_max.map_or(self.client_max, |topic_max| topic_max.min(self.client_max));
        room(most, size)
    }

    fn after_broker(&self, size: Size) -> Bytes {
        let known = self.topic_max.map(|topic_max| room(topic_max.min(self.client_max), size));
        // What nobody tells has to be tried: half of what was too much.
        known
            .filter(|room| room.0 < size.payload as u64)
            .unwrap_or(Bytes(self.batch_max.min(size.payload / 2) as u64))
    }

    /// Whether nothing may be sent until [`lower`](Self::lower).
    pub(super) fn is_in_doubt(&self) -> bool {
        matches!(self.doubt, Doubt::Now | Doubt::Asking | Doubt::AskedAndNow)
    }

    /// Whether the topic has to be asked now; it is then being asked.
    pub(super) fn wants_to_ask(&mut self) -> bool {
        let wants = self.doubt == Doubt::Now;
        if wants {
            self.doubt = Doubt::Asking;
        }
        wants
    }

    /// Whether the batches have to become smaller without asking.
    pub(super) fn is_to_be_halved(&self) -> bool {
        self.doubt == Doubt::AskedAndNow
    }

    /// Makes the next producer's batches smaller: as small as the topic says, or half as large.
    pub(super) fn lower(&mut self, topic_max: Option<usize>) {
        self.topic_max = topic_max.or(self.topic_max);
        let half = (self.batch_max / 2).max(BATCH_MIN);
        let told = self.topic_max.map(with_margin).filter(|told| *told < self.batch_max);
        self.batch_max = told.unwrap_or(half);
        self.doubt = Doubt::Asked;
    }
}

/// Asks the topic, and lowers the limits whatever it says. The client for such questions has connections and threads
/// of its own, and letting go of it may take a while, so all of that happens on a thread that nobody waits for.
pub(super) fn ask(options: &Options, shared: &Arc<Shared>) {
    let (options, theirs) = (options.clone(), Arc::clone(shared));
    let asking = thread::Builder::new().name("squall-limit".to_owned()).spawn(move || {
        let answer = question(&options);
        tracing::debug!(?answer, "the topic's max.message.bytes");
        theirs.update(|state| state.lower_batches(answer));
    });
    if asking.is_err() {
        shared.update(|state| state.lower_batches(None));
    }
}

/// The topic's `max.message.bytes`, when the brokers tell.
fn question(options: &Options) -> Option<usize> {
    let mut config = options.client_config().ok()?;
    // This client sends no records.
    config.set("enable.idempotence", "false").set("statistics.interval.ms", "0");
    let client: AdminClient<Quiet> = config.create_with_context(Quiet).ok()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().ok()?;
    let limits = AdminOptions::new().request_timeout(Some(ASK));
    let topic = ResourceSpecifier::Topic(&options.topic);
    let answer = runtime.block_on(client.describe_configs([&topic], &limits)).ok()?;
    let topic = answer.into_iter().next()?.ok()?;
    topic.get("max.message.bytes")?.value.as_ref()?.parse().ok()
}

/// What goes wrong here is no trouble: the answer is then missing.
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason, "error");
    }
}

/// What fits beside key and headers; never more than 0.9 of all.
fn room(most: usize, size: Size) -> Bytes {
    Bytes(with_margin(most).min(most.saturating_sub(size.around)) as u64)
}

/// Kafka's frames, and what we do not know of.
fn with_margin(limit: usize) -> usize {
    limit / 10 * 9
}

/// librdkafka's own limit for a message, and what `options` sets for a batch.
const MESSAGE_MAX: usize = 1_000_000;
/// Batches are never made smaller: below this each record travels alone anyway.
const BATCH_MIN: usize = 1024;
/// How long the brokers have for an answer.
const ASK: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn of(payload: usize) -> Size {
        Size { payload, around: 200 }
    }

    fn limit() -> BatchLimit {
        BatchLimit::of(&Options::default().client_config().expect("good options"))
    }

    #[test]
    fn what_travels_alone_is_refused_itself() {
        #[track_caller]
        fn check(payload: usize, want: Verdict) {
            assert_eq!(limit().judge(of(payload)), want);
        }
        check(300, Verdict::Batch);
        check(999_800, Verdict::Batch);
        check(999_801, Verdict::Message { limit: Bytes(499_900) });
    }

    #[test]
    fn an_answer_sets_the_limits() {
        let mut limit = limit();
        assert_eq!((limit.raw_max(), limit.after_client(of(1_000_000))), (usize::MAX, Bytes(900_000)));
        assert_eq!(limit.judge(of(300)), Verdict::Batch);
        assert!(limit.is_in_doubt() && limit.wants_to_ask() && !limit.wants_to_ask());
        limit.lower(Some(2000));
        assert!(!limit.is_in_doubt());
        assert_eq!((limit.batch_max, limit.raw_max()), (1800, 1800));
        assert_eq!(limit.judge(of(2500)), Verdict::Message { limit: Bytes(1800) });
        let heavy = Size { payload: 2500, around: 700 };
        assert_eq!(limit.judge(heavy), Verdict::Message { limit: Bytes(1300) });
        assert_eq!(limit.after_client(of(1_000_000)), Bytes(1800));
        // It fits and is refused all the same.
        assert_eq!(limit.judge(of(1700)), Verdict::Message { limit: Bytes(850) });
        // The operator has made it smaller since.
        assert_eq!(limit.judge(of(500)), Verdict::Batch);
        assert!(limit.is_in_doubt() && !limit.wants_to_ask() && limit.is_to_be_halved());
        limit.lower(None);
        assert_eq!(limit.batch_max, BATCH_MIN);
    }

    #[test]
    fn without_an_answer_batches_are_halved_to_the_end() {
        let mut limit = limit();
        let mut producers = 0;
        while limit.judge(of(1500)) == Verdict::Batch {
            assert!(limit.wants_to_ask() || limit.is_to_be_halved());
            limit.lower(None);
            producers += 1;
        }
        assert_eq!((producers, limit.batch_max), (10, BATCH_MIN));
        assert_eq!(limit.judge(of(1)), Verdict::Message { limit: Bytes(0) });
    }
}

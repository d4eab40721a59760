//! Kafka's bad days: rows of `faults.md`, each test named after its row.

use std::collections::BTreeSet;

use rdkafka::producer::{Producer as _, PurgeConfig};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use serde_json::Value;

use super::*;
use crate::engine::record::shrink::shrink;
use crate::output::RefusalCause;

use RDKafkaRespErr::{
    RD_KAFKA_RESP_ERR_INVALID_RECORD as INVALID_RECORD,
    RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP as INVALID_TIMESTAMP,
    RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE as TOO_LARGE, RD_KAFKA_RESP_ERR_NO_ERROR as NO_ERROR,
    RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER as OUT_OF_ORDER,
    RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED as NOT_ALLOWED,
    RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART as UNKNOWN_TOPIC,
};

fn open(cluster: &Cluster) -> Kafka {
    Kafka::open(&options(cluster)).expect("a producer")
}

/// With more librdkafka options.
fn open_with(cluster: &Cluster, more: &[(&str, &str)]) -> Kafka {
    let mut options = options(cluster);
    options.extra.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    Kafka::open(&options).expect("a producer")
}

/// Waits for one refusal.
#[track_caller]
fn refusal(kafka: &mut Kafka) -> Refusal {
    for _ in 0..WAITS {
        let mut refusals = kafka.take_refusals();
        if let Some(refusal) = refusals.pop() {
            assert_eq!(refusals, [], "one at a time");
            return refusal;
        }
        kafka.wait(WAIT);
    }
    panic!("nothing was refused: {:?}", kafka.standing());
}

/// The numbers of the messages in the topic, in its order.
#[track_caller]
fn seqs(cluster: &Cluster, records: usize) -> Vec<u64> {
    consume(cluster, records).iter().map(seq).collect()
}

/// The number of a message's first record.
fn seq(message: &OwnedMessage) -> u64 {
    headers(message)["squall-id"].rsplit_once('-').expect("an id").1.parse().expect("a number")
}

/// `count` small records from `first` on.
fn small(first: u64, count: usize) -> Batch {
    testing::batch(first, &vec![("s", "{\"message\":\"m\"}"); count])
}

#[test]
fn fault_035_a_refused_time_is_replaced_by_the_present() {
    let cluster = cluster(&[TOPIC]);
    let mut kafka = open(&cluster);
    let mut batch = small(1, 2);
    let minute_ago = Timestamp(NOW.wall.0 - 60 * Timestamp::SECOND);
    batch.metas.iter_mut().for_each(|meta| meta.time = minute_ago);
    cluster.request_errors(RDKafkaApiKey::Produce, &[INVALID_TIMESTAMP]);
    let first = testing::batch(1, &[("s", "{\"message\":\"m\"}")]);
    let first = Batch { metas: vec![batch.metas[0]], ..first };
    offer_all(&mut kafka, &first);
    let refused = refusal(&mut kafka);
    assert_eq!((refused.seq, refused.cause, refused.again), (1, RefusalCause::Timestamp, false));
    assert_eq!(kafka.standing().acked_upto, 0);
    kafka.resend(&first, Stamp::Now, NOW);
    until(&mut kafka, "the report", |standing| standing.acked_upto == 1);
    // A topic that refuses a minute gets no minute any more.
    offer_all(&mut kafka, &batch);
    until(&mut kafka, "the report", |standing| standing.acked_upto == 2);
    for message in consume(&cluster, 2) {
        let KafkaTime::CreateTime(time) = message.timestamp() else { panic!("no time") };
        // The polling thread carries the wall clock on.
        assert!((1_770_336_600_000..1_770_336_660_000).contains(&time), "{time}");
        assert_eq!(message.payload(), Some(&b"{\"message\":\"m\"}"[..]));
    }
}

#[test]
fn fault_045_what_times_out_is_sent_again() {
    #[track_caller]
    fn check(packing: Packing) {
        let cluster = cluster(&[TOPIC]);
        let mut options = Options { packing, ..options(&cluster) };
        options.extra.push(("message.timeout.ms".into(), "1000".into()));
        options.extra.push(("linger.ms".into(), "500".into())); // so that the broker goes before it has them
        let mut kafka = Kafka::open(&options).expect("a producer");
        offer_all(&mut kafka, &small(1, 1));
        until(&mut kafka, "the first report", |standing| standing.acked_upto == 1);
        offer_all(&mut kafka, &small(2, 2_000));
        cluster.broker_down(-1).expect("the broker goes");
        let given_up =
            |standing: &Standing| standing.trouble.as_ref().is_some_and(|text| text.contains("timed out"));
        let standing = until(&mut kafka, "a time-out", given_up);
        assert_eq!((standing.acked_upto, standing.in_flight_records), (1, 2_000));
        assert!(standing.trouble_since.is_some());
        assert_eq!(kafka.offer(&small(2_002, 1), 0, NOW).expect("no error"), 0); // the circuit is open
        cluster.broker_up(-1).expect("the broker comes back");
        let standing = until(&mut kafka, "the last report", |standing| standing.acked_upto == 2_001);
        assert_eq!((standing.trouble, standing.trouble_since, standing.in_flight_records), (None, None, 0));
        if packing == Packing::Records {
            // One partition, so what was never there is in order; a probe that timed out on its way may be there twice.
            let mut seqs = seqs(&cluster, 2_001);
            seqs.dedup();
            assert!(seqs.is_sorted(), "{seqs:?}");
        }
    }
    check(Packing::Records);
    check(Packing::ZstdNdjson);
}

#[test]
fn fault_046_queued_is_not_delivered() {
    let cluster = cluster(&[TOPIC]);
    let mut kafka = open(&cluster);
    offer_all(&mut kafka, &small(1, 1));
    until(&mut kafka, "the first report", |standing| standing.acked_upto == 1);
    // It takes the records, and is silent: the network is slow for two seconds in each direction.
    cluster.broker_round_trip_time(1, Duration::from_secs(2)).expect("a slow broker");
    offer_all(&mut kafka, &small(2, 100));
    for _ in 0..5 {
        let standing = kafka.standing();
        assert_eq!((standing.acked_upto, standing.in_flight_records), (1, 100));
        kafka.wait(WAIT);
    }
    until(&mut kafka, "the reports", |standing| standing.acked_upto == 101);
}

#[test]
fn fault_047_no_more_is_in_flight_than_the_window_holds() {
    #[track_caller]
    fn check(packing: Packing, size: usize, want: impl Fn(&Standing) -> bool) {
        let cluster = cluster(&[TOPIC]);
        let mut kafka = Kafka::open(&Options { packing, ..options(&cluster) }).expect("a producer");
        offer_all(&mut kafka, &small(1, 1));
        until(&mut kafka, "the first report", |standing| standing.acked_upto == 1);
        // Noise, so that packing makes it no smaller than the window.
        let mut noise = 1u64;
        let mut record = || {
            let next = |_| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                char::from(b' ' + 3 + (noise >> 33) as u8 % 80).to_string()
            };
            format!("\"{}\"", (0..size).map(next).collect::<String>().replace('\\', "/"))
        };
        cluster.broker_round_trip_time(1, Duration::from_secs(60)).expect("a very slow broker");
        let mut seq = 2;
        let full = (0..200).any(|_| {
            let texts: Vec<String> = (0..1_000).map(|_| record()).collect();
            let records: Vec<_> = texts.iter().map(|text| ("s", &**text)).collect();
            let mut batch = testing::batch(seq, &records);
            kafka.pack(&mut batch).expect("it packs");
            seq += 1_000;
            kafka.offer(&batch, 0, NOW).expect("an outage is no error") < batch.metas.len()
        });
        let standing = kafka.standing();
        assert!(full && want(&standing), "{standing:?}");
        assert!(standing.in_flight_records <= 50_000 && standing.in_flight_bytes <= Bytes(5 << 20));
        kafka.close(Duration::ZERO);
    }
    let nearly = Bytes(3 << 20);
    check(Packing::Records, 2_000, |standing| standing.in_flight_bytes > nearly);
    check(Packing::Records, 10, |standing| standing.in_flight_records == 50_000);
    check(Packing::ZstdNdjson, 2_000, |standing| standing.in_flight_bytes > nearly);
}

/// An epoch of empty lines may hold more records than consumers tell apart.
#[test]
fn fault_047_no_epoch_is_too_large_for_the_window() {
    let cluster = cluster(&[TOPIC]);
    let options = Options { packing: Packing::ZstdNdjson, ..options(&cluster) };
    let mut kafka = Kafka::open(&options).expect("a producer");
    let records: Vec<_> = (0..120_000).map(|n| (["a", "b", "c"][n % 3], "{}")).collect();
    let mut batch = testing::batch(1, &records);
    kafka.pack(&mut batch).expect("it packs");
    let (mut from, mut most) = (0, 0);
    for _ in 0..WAITS {
        from += kafka.offer(&batch, from, NOW).expect("the producer works");
        most = most.max(kafka.standing().in_flight_records);
        if from == batch.metas.len() {
            break;
        }
        kafka.wait(WAIT);
    }
    assert!((1..=50_000).contains(&most), "{most} records in flight at once");
    let standing = until(&mut kafka, "the last report", |standing| standing.acked_upto == 120_000);
    assert_eq!((standing.acked_records, standing.in_flight_records), (120_000, 0));
}

#[test]
fn fault_049_a_broken_producer_makes_room_for_a_new_one() {
    let cluster = cluster(&[TOPIC]);
    let mut kafka = open(&cluster);
    let batch = small(1, 10);
    let first = Batch { metas: batch.metas[..4].to_vec(), ..batch.clone() };
    offer_all(&mut kafka, &first);
    let before = until(&mut kafka, "the first reports", |standing| standing.acked_upto == 4);
    cluster.request_errors(RDKafkaApiKey::Produce, &[OUT_OF_ORDER]);
    offer_all(&mut kafka, &batch);
    let standing = until(&mut kafka, "the end", |standing| standing.needs_reopening);
    assert!(standing.trouble.is_some_and(|text| text.starts_with("the Kafka producer is broken: ")));
    let error = kafka.offer(&batch, 4, NOW).expect_err("it can do no more");
    assert!(matches!(error, OutputError::Broken { .. }), "{error}");
    kafka.reopen().expect("a new producer");
    let standing = kafka.standing();
    assert_eq!((standing.acked_upto, standing.in_flight_records, standing.needs_reopening), (4, 0, false));
    assert!(standing.trouble.is_some() && standing.trouble_since.is_some()); // until something goes well
    assert_eq!(standing.acked_records, before.acked_records);
    offer_all(&mut kafka, &batch); // from the beginning: what is confirmed is passed over
    let standing = until(&mut kafka, "the last report", |standing| standing.acked_upto == 10);
    assert_eq!((standing.acked_records, standing.trouble, standing.trouble_since), (10, None, None));
    assert_eq!(seqs(&cluster, 10), (1..=10).collect::<Vec<_>>());
    let wire = until(&mut kafka, "statistics", |standing| standing.bytes_wire > before.bytes_wire);
    assert!(wire.bytes_wire.is_some());
}

#[test]
fn fault_050_a_topic_that_is_gone_is_awaited() {
    #[track_caller]
    fn check(error: RDKafkaRespErr, says: &str) {
        let cluster = cluster(&[TOPIC]);
        let mut kafka = open(&cluster);
        offer_all(&mut kafka, &small(1, 1));
        until(&mut kafka, "the first report", |standing| standing.acked_upto == 1);
        cluster.topic_error(TOPIC, error).expect("a topic with an error");
        cluster.request_errors(RDKafkaApiKey::Produce, &[NOT_ALLOWED]);
        offer_all(&mut kafka, &small(2, 1));
        let standing = until(&mut kafka, says, |standing| {
            standing.trouble.as_ref().is_some_and(|text| text.contains(says))
        });
        assert_eq!((standing.acked_upto, standing.in_flight_records), (1, 1));
        assert!(!standing.needs_reopening);
        cluster.topic_error(TOPIC, NO_ERROR).expect("a topic without one");
        let standing = until(&mut kafka, "the report", |standing| standing.acked_upto == 2);
        assert_eq!((standing.trouble, standing.refused.records), (None, 0));
    }
    check(UNKNOWN_TOPIC, "topic \"logs\" does not exist on 127.0.0.1");
    check(NOT_ALLOWED, "cannot be used"); // row 52: an access right taken away
}

#[test]
fn fault_051_a_batch_too_large_is_sent_in_smaller_ones() {
    let cluster = cluster(&[TOPIC]);
    cluster.request_errors(RDKafkaApiKey::Produce, &[TOO_LARGE]);
    let mut kafka = open(&cluster);
    let batch = many(3_000);
    offer_all(&mut kafka, &batch);
    let standing = until(&mut kafka, "smaller batches", |standing| standing.needs_reopening);
    assert_eq!((standing.acked_upto, standing.trouble), (0, None)); // nothing that anybody must look at
    kafka.reopen().expect("a new producer");
    assert!(kafka.running.shared.lock().batch_limit.raw_max() <= 500_000);
    offer_all(&mut kafka, &batch);
    let standing = until(&mut kafka, "the last report", |standing| standing.acked_upto == 3_000);
    assert_eq!(standing.refused.records, 0);
    assert_eq!(kafka.take_refusals(), []);
}

#[test]
fn fault_051_a_record_too_large_is_cut_and_keeps_its_id() {
    let cluster = cluster(&[TOPIC]);
    // So that each message travels alone.
    let mut kafka = open_with(&cluster, &[("batch.size", "1")]);
    let text = "x".repeat(2_000);
    let record = format!(r#"{{"message":"{text}","squall":{{"kind":"summary","id":"a-1","count":1204}}}}"#);
    let mut batch = testing::batch(1, &[("s", &record), ("s", "{}")]);
    batch.metas[0].lines = Lines(1204);
    cluster.request_errors(RDKafkaApiKey::Produce, &[TOO_LARGE]);
    let head = Batch { metas: vec![batch.metas[0]], ..batch.clone() };
    offer_all(&mut kafka, &head);
    let refused = refusal(&mut kafka);
    let RefusalCause::TooLarge { limit } = refused.cause else { panic!("{refused:?}") };
    assert_eq!((refused.seq, refused.again), (1, false));
    offer_all(&mut kafka, &batch); // it holds nobody up
    let standing = until(&mut kafka, "the second record", |standing| standing.acked_records == 1);
    assert_eq!((standing.acked_upto, standing.in_flight_lines), (0, Lines(1204)));
    let limit = usize::try_from(limit.0).expect("small").max(300);
    let small = shrink(&record.into_bytes(), limit).expect("it can be cut");
    let mut answer = testing::batch(1, &[("s", std::str::from_utf8(&small).expect("text"))]);
    answer.metas[0].lines = Lines(1204);
    // Once more: told as the second time.
    cluster.request_errors(RDKafkaApiKey::Produce, &[TOO_LARGE]);
    kafka.resend(&answer, Stamp::Own, NOW);
    let refused = refusal(&mut kafka);
    assert_eq!((refused.seq, refused.again), (1, true));
    kafka.resend(&answer, Stamp::Own, NOW);
    let standing = until(&mut kafka, "the last report", |standing| standing.acked_upto == 2);
    assert_eq!((standing.refused.records, standing.in_flight_lines), (0, Lines(0)));
    let messages = consume(&cluster, 2);
    let told: Value = serde_json::from_slice(messages[1].payload().expect("a payload")).expect("JSON");
    assert_eq!((&told["squall"]["count"], &told["squall"]["rev"]), (&1204.into(), &1.into()));
    assert!(headers(&messages[1])["squall-id"].ends_with("abc-1"));
}

#[test]
fn fault_051_what_librdkafka_does_not_take_is_refused_too() {
    let cluster = cluster(&[TOPIC]);
    let mut kafka = open(&cluster);
    let huge = format!("\"{}\"", "x".repeat(2_000_000));
    let mut batch = testing::batch(1, &[("s", "{}"), ("s", &huge), ("s", "{}")]);
    batch.metas[1].lines = Lines(1204);
    offer_all(&mut kafka, &batch);
    let refused = refusal(&mut kafka);
    assert_eq!((refused.seq, refused.cause), (2, RefusalCause::TooLarge { limit: Bytes(900_000) }));
    let standing = until(&mut kafka, "the others", |standing| standing.acked_records == 2);
    assert_eq!((standing.acked_upto, standing.in_flight_records), (1, 1));
    kafka.settle(2); // it lies in the dead-letter file
    let standing = kafka.standing();
    assert_eq!((standing.acked_upto, standing.in_flight_records), (3, 0));
    assert_eq!((standing.refused.records, standing.refused.lines), (1, Lines(1204)));
    assert!(standing.refused.reason.is_some_and(|reason| reason.contains("message.max.bytes")));
    kafka.settle(2); // twice is once
    assert_eq!(kafka.standing().refused.records, 1);
}

#[test]
fn fault_051_a_packed_message_too_large_is_packed_smaller() {
    let cluster = cluster(&[TOPIC]);
    let mut options = Options { packing: Packing::ZstdNdjson, ..options(&cluster) };
    options.extra.push(("batch.size".into(), "1".into()));
    let mut kafka = Kafka::open(&options).expect("a producer");
    cluster.request_errors(RDKafkaApiKey::Produce, &[TOO_LARGE]);
    let packed = offer_all(&mut kafka, &testing::batch(1, &[("a", "{}"), ("b", "[]"), ("a", "{\"n\":3}")]));
    let refused = refusal(&mut kafka);
    assert_eq!(refused.seq, 1);
    let records = unpack(&packed, 0).expect("it unpacks");
    assert_eq!(records.metas.iter().map(|meta| meta.seq).collect::<Vec<_>>(), [1, 3]);
    let mut smaller = records;
    Packer::new(Codec::zstd().expect("a context")).pack(&mut smaller, 1).expect("it packs");
    kafka.resend(&smaller, Stamp::Own, NOW);
    let standing = until(&mut kafka, "the last report", |standing| standing.acked_upto == 3);
    assert_eq!((standing.acked_records, standing.refused.records), (3, 0));
    let got = by_stream(consume(&cluster, 3).iter().flat_map(|message| {
        let stream = std::str::from_utf8(message.key().expect("a key")).expect("text");
        records_of(message, stream)
    }));
    assert_eq!(
        (&got["a"], &got["b"]),
        (&vec!["{}".to_owned(), "{\"n\":3}".to_owned()], &vec!["[]".to_owned()])
    );
}

fn records_of<'a>(message: &OwnedMessage, stream: &'a str) -> Vec<(&'a str, String)> {
    records(message).into_iter().map(|record| (stream, record)).collect()
}

#[test]
fn fault_052_what_is_not_allowed_now_is_held() {
    let cluster = cluster(&[TOPIC]);
    let mut kafka = open(&cluster);
    cluster.request_errors(RDKafkaApiKey::Produce, &[NOT_ALLOWED; 2]);
    offer_all(&mut kafka, &testing::batch(1, &[("s", "{\"n\":1}"), ("t", "{\"n\":2}")]));
    let standing = until(&mut kafka, "the trouble", |standing| standing.trouble.is_some());
    let trouble = standing.trouble.unwrap_or_default();
    assert!(trouble.contains("does not take records for topic \"logs\" now"), "{trouble}");
    assert_eq!((standing.in_flight_records, standing.refused.records), (2, 0));
    let standing = until(&mut kafka, "the last report", |standing| standing.acked_upto == 2);
    assert_eq!((standing.acked_records, standing.trouble), (2, None));
    let messages = consume(&cluster, 2);
    let ids: Vec<_> = messages.iter().map(|message| headers(message)["squall-id"].clone()).collect();
    assert!(ids[0].ends_with("abc-1") && ids[1].ends_with("abc-2"), "{ids:?}");
    assert_eq!((messages[0].payload(), messages[0].key()), (Some(&b"{\"n\":1}"[..]), Some(&b"s"[..])));
}

#[test]
fn fault_052_a_new_password_makes_a_new_producer() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let password_file = folder.path().join("password");
    std::fs::write(&password_file, "wrong\n").expect("a secret");
    let cluster = cluster(&[TOPIC]);
    let sasl =
        Sasl { mechanism: "PLAIN".into(), username: "squall".into(), password_file: password_file.clone() };
    let mut kafka = Kafka::open(&Options { sasl: Some(sasl), ..options(&cluster) }).expect("a producer");
    assert!(!kafka.credentials_changed());
    std::fs::remove_file(&password_file).expect("removed");
    assert!(kafka.credentials_changed());
    let error = kafka.reopen().expect_err("there is no password");
    assert!(error.to_string().starts_with("cannot read the secret in "), "{error}");
    assert!(kafka.credentials_changed()); // the old producer stays, and so does the wish
    std::fs::write(&password_file, "right\n").expect("a secret");
    kafka.reopen().expect("a new producer");
    assert!(!kafka.credentials_changed());
}

/// A report needs no broker here: it says that the record was purged.
#[test]
fn fault_054_reports_come_while_the_brokers_are_asked() {
    let cluster = cluster(&[TOPIC]);
    let options = options(&cluster);
    let config = options.client_config().expect("good options");
    let shared = Arc::new(Shared::new(State::new(BatchLimit::of(&config), 7), Bell::default()));
    let place = Arc::new(Place { brokers: cluster.bootstrap_servers(), topic: TOPIC.into(), user: None });
    let context = Context { shared: Arc::clone(&shared), place: Arc::clone(&place) };
    let producer: BaseProducer<Context> = config.create_with_context(context).expect("a producer");
    let producer = Arc::new(producer);
    let poller = Poller {
        producer: Arc::clone(&producer),
        shared: Arc::clone(&shared),
        place: Arc::clone(&place),
        options,
    };
    poller.ask("logs", Duration::from_secs(30)).expect("an answer");
    cluster.broker_round_trip_time(1, Duration::from_secs(60)).expect("a very slow broker");
    let batch = small(1, 1);
    let message = messages(&batch).next().expect("a message");
    {
        let mut state = shared.lock();
        state.acks.reach(1, 1);
        state.acks.open(&[1], message.load(0));
    }
    assert!(poll::send(&producer, &place, 1, message.to_message(None, 0, HeaderSet::All)).is_ok());
    let asking = thread::spawn(move || poller.ask("logs", Duration::from_secs(3)).is_err());
    producer.purge(PurgeConfig::default().queue().inflight());
    let mut reported = false;
    while !asking.is_finished() {
        reported |= shared.lock().returned.contains_key(&1);
        shared.wait_for_bell(Duration::from_millis(10));
    }
    assert!(asking.join().expect("no panic"), "it answered");
    assert!(reported, "the report waited for the answer");
}

#[test]
fn fault_055_what_is_sent_twice_is_the_same_twice() {
    #[track_caller]
    fn check(packing: Packing) {
        let cluster = cluster(&[TOPIC]);
        let mut kafka = Kafka::open(&Options { packing, ..options(&cluster) }).expect("a producer");
        let batch = offer_all(&mut kafka, &many(300));
        until(&mut kafka, "the reports", |standing| standing.acked_upto == 300);
        // As after a crash: nobody remembers the reports, and it is later.
        let mut again = Kafka::open(&Options { packing, ..options(&cluster) }).expect("a producer");
        let later = Now { wall: NOW.wall + Duration::from_secs(7), ..NOW };
        let mut from = 0;
        for _ in 0..WAITS {
            from += again.offer(&batch, from, later).expect("it works");
            if from == batch.metas.len() {
                break;
            }
            again.wait(WAIT);
        }
        until(&mut again, "the reports", |standing| standing.acked_upto == 300);
        let mut seen: BTreeMap<String, Vec<OwnedMessage>> = BTreeMap::new();
        for message in consume(&cluster, 600) {
            seen.entry(headers(&message)["squall-id"].clone()).or_default().push(message);
        }
        assert_eq!(seen.len(), batch.metas.len());
        for (id, twice) in seen {
            let [one, two] = &twice[..] else { panic!("{id} came {} times", twice.len()) };
            assert_eq!((one.key(), one.payload(), headers(one)), (two.key(), two.payload(), headers(two)));
            assert_eq!(one.timestamp(), two.timestamp());
        }
    }
    check(Packing::Records);
    check(Packing::GzipNdjson);
}

#[test]
fn fault_056_a_new_producer_loses_nothing_of_the_old_one() {
    let cluster = cluster(&[TOPIC]);
    let mut kafka = open(&cluster);
    let batch = many(5_000);
    for _ in 0..5 {
        // Some of it is with librdkafka, some on the wire, some confirmed.
        let from = usize::try_from(kafka.standing().acked_upto).expect("small");
        for _ in 0..WAITS {
            if kafka.offer(&batch, from, NOW).expect("it works") > 0 || from == 5_000 {
                break;
            }
            kafka.wait(WAIT);
        }
        kafka.wait(Duration::from_millis(30));
        kafka.reopen().expect("a new producer");
    }
    offer_all(&mut kafka, &batch);
    until(&mut kafka, "the last report", |standing| standing.acked_upto == 5_000);
    // Each of the six producers may have sent all of it.
    let mut missing: BTreeSet<u64> = (1..=5_000).collect();
    consume_until(&cluster, 6 * 5_000, |message| {
        missing.remove(&seq(message));
        missing.is_empty()
    });
}

#[test]
fn fault_057_poison_does_not_block_and_order_is_kept() {
    let cluster = cluster(&[TOPIC]);
    let mut kafka = open(&cluster);
    offer_all(&mut kafka, &small(1, 6));
    until(&mut kafka, "the first six", |standing| standing.acked_upto == 6);
    cluster.request_errors(RDKafkaApiKey::Produce, &[INVALID_RECORD]);
    offer_all(&mut kafka, &small(7, 1));
    let refused = refusal(&mut kafka);
    assert_eq!((refused.seq, refused.cause), (7, RefusalCause::Invalid));
    cluster.request_errors(RDKafkaApiKey::Produce, &[NOT_ALLOWED]);
    offer_all(&mut kafka, &small(8, 2));
    until(&mut kafka, "8 to come back", |standing| standing.trouble.is_some());
    let standing = until(&mut kafka, "8 and 9", |standing| standing.acked_records == 8);
    assert_eq!((standing.acked_upto, standing.in_flight_records), (6, 1)); // 7 is nowhere yet
    assert_eq!(standing.trouble, None);
    kafka.resend(&small(7, 1), Stamp::Own, NOW);
    let standing = until(&mut kafka, "7", |standing| standing.acked_upto == 9);
    assert_eq!((standing.acked_records, standing.refused.records), (9, 0));
    assert_eq!(seqs(&cluster, 9), [1, 2, 3, 4, 5, 6, 8, 9, 7]); // why consumers keep a window

    // And one that nobody can help.
    cluster.request_errors(RDKafkaApiKey::Produce, &[INVALID_RECORD]);
    offer_all(&mut kafka, &small(10, 1));
    assert_eq!(refusal(&mut kafka).seq, 10);
    offer_all(&mut kafka, &small(11, 1));
    until(&mut kafka, "11", |standing| standing.acked_records == 10);
    kafka.settle(10);
    let standing = kafka.standing();
    assert_eq!((standing.acked_upto, standing.refused.records), (11, 1));
}

#[test]
fn another_lane_begins_when_the_last_one_is_settled() {
    let cluster = cluster(&[TOPIC]);
    let mut kafka = open(&cluster);
    offer_all(&mut kafka, &small(500, 3));
    let other = Batch { lane: crate::engine::record::LaneId(0xdef), ..small(1, 2) };
    offer_all(&mut kafka, &other);
    let standing = until(&mut kafka, "the other lane", |standing| standing.acked_upto == 2);
    assert_eq!((standing.acked_records, standing.in_flight_records), (5, 0));
}

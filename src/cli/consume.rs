//! `squall consume`: reads a topic as a consumer should, and prints its records.
//!
//! With `--dedup` it is the recipe that `crate::dedup` describes, ready to be run: every record once, however often
//! squall was killed. All partitions are read from their start; no group is joined, so nothing is changed in Kafka.
//! Bad input is data: a message that is no record of squall is counted and left out.

use std::fmt;
use std::io::{BufWriter, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::metadata::Metadata;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::Value;

use super::destination::Destination;
use super::run::place;
use super::stdio::complain;
use super::validate::environment;
use super::{Exit, log, usage};
use crate::config::{self, Config, KafkaListener, Output, Sources};
use crate::daemon::clock;
use crate::dedup::{RecordId, Seen};
use crate::terminal::visible;
use crate::units::grouped;

/// Read a topic that squall has written, and print its records.
///
/// Needs no consumer group and changes nothing in Kafka: all partitions are read from their start.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The topic: kafka://HOST:PORT[,HOST:PORT…]/TOPIC
    #[arg(long, value_name = "TOPIC")]
    from: Destination,
    /// Leave out what was sent again after a crash: every record once
    #[arg(long)]
    dedup: bool,
    /// End when nothing has come for so long; without it, wait for more for ever
    #[arg(long, value_name = "TIME", value_parser = config::parse_time)]
    until_idle: Option<Duration>,
    /// Print the records as they are, a JSON object a line
    #[arg(long)]
    json: bool,
    /// A configuration file whose outputs.kafka says how to reach Kafka (TLS, SASL)
    #[arg(short, long = "config", value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Set one key of the config, as in --set outputs.kafka.tls.ca_file=/etc/ca.pem
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// How long to wait for the brokers before the first record.
const CONNECT_MAX: Duration = Duration::from_secs(30);
/// After how long without an answer that is told.
const CONNECT_LONG: Duration = Duration::from_secs(1);
/// How long one look waits for the next message.
const LOOK: Duration = Duration::from_millis(100);
/// The most that one message may unpack to: sixteen times what squall packs, against bombs.
const UNPACKED_MAX: u64 = 16 << 20;

/// Reads and prints until told to stop.
pub fn main(args: &Args) -> anyhow::Result<Exit> {
    // librdkafka's own words come as errors of the consumer where they matter.
    log::begin("warn,librdkafka=off,rdkafka=off");
    let Destination::Kafka { topic, .. } = &args.from else {
        return Ok(usage("--from takes kafka://HOST:PORT/TOPIC"));
    };
    let sources = Sources {
        files: args.config.clone(),
        env: environment(),
        sets: args.set.iter().cloned().chain(place(&args.from)).collect(),
        ..Sources::default()
    };
    let consumer = match config::load(&sources) {
        Ok((config, _)) => consumer(&config)?,
        Err(faults) => {
            complain(faults);
            return Ok(Exit::Config);
        }
    };
    assign(&consumer, topic)?;
    let mut printer = Printer {
        out: BufWriter::with_capacity(256 * 1024, std::io::stdout().lock()),
        json: args.json,
        seen: args.dedup.then(Seen::default),
        counts: Counts::default(),
    };
    let read = read(&consumer, args.until_idle, &mut printer);
    // What was read is told even when reading ended with an error.
    complain(format_args!("{}\n", printer.counts));
    read?;
    Ok(Exit::Fine)
}

fn consumer(config: &Config) -> anyhow::Result<BaseConsumer<KafkaListener>> {
    let kafka = config.outputs.iter().find_map(|output| match output {
        Output::Kafka(options) => Some(options),
        _ => None,
    });
    // `place` has set its brokers, so it is there.
    let kafka = kafka.context("the config has no outputs.kafka")?;
    kafka
        .consumer_config()?
        .create_with_context(KafkaListener::default())
        .context("cannot make a Kafka consumer")
}

/// All partitions that the topic has now, from their start.
fn assign(consumer: &BaseConsumer<KafkaListener>, topic: &str) -> anyhow::Result<()> {
    let metadata = look_up(consumer, topic)?;
    let known = metadata.topics().iter().find(|known| known.name() == topic);
    let mut list = TopicPartitionList::new();
    let error = known.and_then(|known| known.error()).map(RDKafkaErrorCode::from);
    match (error, known.map_or(&[][..], |known| known.partitions())) {
        (None | Some(RDKafkaErrorCode::UnknownTopicOrPartition), []) => {
            bail!("topic {topic:?} does not exist")
        }
        (Some(error), _) => bail!("topic {topic:?} cannot be read: {error}"),
        (None, partitions) => {
            for partition in partitions {
                list.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
            }
        }
    }
    consumer.assign(&list).context("cannot read the topic")
}

/// What the brokers know of the topic. Who waits for them is told why.
fn look_up(consumer: &BaseConsumer<KafkaListener>, topic: &str) -> anyhow::Result<Metadata> {
    let ask = |at_most| {
        consumer.fetch_metadata(Some(topic), at_most).map_err(|error| {
            // What a connection met (a wrong password, a bad certificate) waits in the queue and says more than "timed out".
            let met = std::iter::from_fn(|| consumer.poll(Duration::ZERO)).find_map(Result::err);
            let error = met.unwrap_or(error);
            let timed_out = error.rdkafka_error_code() == Some(RDKafkaErrorCode::OperationTimedOut);
            let why = consumer.context().last_failure().unwrap_or_else(|| "no answer".to_owned());
            if timed_out || is_passing(&error) { Unreached::Yet(why) } else { Unreached::Ever(error, why) }
        })
    };
    let answer = match ask(CONNECT_LONG) {
        Err(Unreached::Yet(why)) => {
            complain(format_args!("cannot reach Kafka so far: {why}; trying for {CONNECT_MAX:?}\n"));
            ask(CONNECT_MAX - CONNECT_LONG)
        }
        answer => answer,
    };
    answer.map_err(|unreached| match unreached {
        Unreached::Yet(why) => anyhow!("cannot reach Kafka: {why}"),
        Unreached::Ever(error, why) => anyhow::Error::new(error).context(why).context("cannot reach Kafka"),
    })
}

/// Why there is no answer, and whether waiting may help.
enum Unreached {
    Yet(String),
    Ever(KafkaError, String),
}

/// Prints what comes until nothing has come for `until_idle`.
fn read(
    consumer: &BaseConsumer<KafkaListener>,
    until_idle: Option<Duration>,
    printer: &mut Printer<impl Write>,
) -> anyhow::Result<()> {
    let (mut last, mut at_hand) = (clock::now().arrival, false);
    loop {
        match consumer.poll(if at_hand { Duration::ZERO } else { LOOK }) {
            Some(Err(error)) if is_passing(&error) => at_hand = false,
            Some(message) => {
                printer.message(&message.context("cannot read the topic")?)?;
                (last, at_hand) = (clock::now().arrival, true);
            }
            None if at_hand => {
                // Whoever reads our output gets what there is before we wait.
                printer.out.flush().context("cannot write to standard output")?;
                at_hand = false;
            }
            None => {}
        }
        if !at_hand && until_idle.is_some_and(|idle| clock::now().arrival.since(last) >= idle) {
            return printer.out.flush().context("cannot write to standard output");
        }
    }
}

/// Brokers come and go, and librdkafka connects again by itself; a password does not become right.
fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown)
    )
}

/// What was read, for the last word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that were printed.
    pub printed: u64,
    /// Records that had come before.
    pub skipped: u64,
    /// Messages, or lines of packed ones, that are no records of squall.
    pub foreign: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records", grouped(self.printed))?;
        if self.skipped > 0 {
            write!(f, ", {} left out because they had come before", grouped(self.skipped))?;
        }
        if self.foreign > 0 {
            write!(f, ", {} messages left out because they are not squall's", grouped(self.foreign))?;
        }
        Ok(())
    }
}

/// Unpacks messages, leaves out what has been seen, prints the rest.
pub struct Printer<W: Write> {
    /// Where to.
    pub out: W,
    /// As they are, instead of as people read them.
    pub json: bool,
    /// Absent where everything is to be printed.
    pub seen: Option<Seen>,
    /// What came of it.
    pub counts: Counts,
}

impl<W: Write> Printer<W> {
    fn message(&mut self, message: &BorrowedMessage<'_>) -> anyhow::Result<()> {
        let headers = message.headers();
        let encoding = headers
            .and_then(|headers| headers.iter().find(|header| header.key == "content-encoding"))
            .and_then(|header| header.value);
        self.payload(message.payload().unwrap_or_default(), encoding)
    }

    /// Prints the records of one message, packed as its header `content-encoding` says.
    ///
    /// # Errors
    /// When they cannot be written. What cannot be understood is counted.
    pub fn payload(&mut self, payload: &[u8], encoding: Option<&[u8]>) -> anyhow::Result<()> {
        let unpacked = match encoding {
            None => return self.record(payload),
            Some(b"gzip") => unpack(flate2::read::MultiGzDecoder::new(payload)),
            Some(b"zstd") => zstd::Decoder::new(payload).ok().and_then(unpack),
            Some(_) => None,
        };
        let Some(unpacked) = unpacked else {
            self.counts.foreign += 1;
            return Ok(());
        };
        unpacked
            .split(|byte| *byte == b'\n')
            .filter(|record| !record.is_empty())
            .try_for_each(|record| self.record(record))
    }

    fn record(&mut self, record: &[u8]) -> anyhow::Result<()> {
        // One record is one line. JSON may have newlines between its parts, squall's has none: printed, what stands
        // behind one would pass for a record of its own.
        let is_line = memchr::memchr(b'\n', record).is_none();
        let json: Option<Value> = is_line.then(|| serde_json::from_slice(record).ok()).flatten();
        let id =
            json.as_ref().and_then(|json| json.pointer("/squall/id")?.as_str()?.parse::<RecordId>().ok());
        let (Some(json), Some(id)) = (json, id) else {
            self.counts.foreign += 1;
            return Ok(());
        };
        if self.seen.as_mut().is_some_and(|seen| !seen.is_new(id)) {
            self.counts.skipped += 1;
            return Ok(());
        }
        self.counts.printed += 1;
        let written = if self.json {
            self.out.write_all(record).and_then(|()| self.out.write_all(b"\n"))
        } else {
            writeln!(self.out, "{}", human(&json))
        };
        written.context("cannot write to standard output")
    }
}

/// Everything that a decoder gives, up to a limit; `None` for what is broken or larger.
fn unpack(decoder: impl Read) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    decoder.take(UNPACKED_MAX + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= UNPACKED_MAX).then_some(bytes)
}

/// `time  stream  ×count  text`: a record as a person reads it.
fn human(json: &Value) -> String {
    let text = |pointer: &str| visible(json.pointer(pointer).and_then(Value::as_str).unwrap_or_default());
    let count = json.pointer("/squall/count").and_then(Value::as_u64);
    let count = count.map(|count| format!("×{}  ", grouped(count))).unwrap_or_default();
    format!("{}  {}  {count}{}", text("/@timestamp"), text("/squall/stream"), text("/message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANE: &str = "000000000000000000000000000000ab";

    fn record(seq: u64, more: &str) -> String {
        format!(
            r#"{{"@timestamp":"t","message":"m\u001b[31m","squall":{{"id":"{LANE}-{seq}","stream":"s"{more}}}}}"#
        )
    }

    fn printer(dedup: bool, json: bool) -> Printer<Vec<u8>> {
        Printer { out: Vec::new(), json, seen: dedup.then(Seen::default), counts: Counts::default() }
    }

    #[test]
    fn records_come_out_as_they_went_in() {
        #[track_caller]
        fn check(dedup: bool, seqs: &[u64], want: &[u64]) {
            let mut printer = printer(dedup, true);
            for seq in seqs {
                printer.payload(record(*seq, "").as_bytes(), None).expect("a vector takes it");
            }
            let want: String = want.iter().map(|seq| record(*seq, "") + "\n").collect();
            assert_eq!(String::from_utf8_lossy(&printer.out), want, "{seqs:?}");
            assert_eq!(printer.counts.printed + printer.counts.skipped, seqs.len() as u64);
        }
        check(false, &[1, 2, 2, 1], &[1, 2, 2, 1]);
        check(true, &[1, 2, 2, 1, 4, 3, 4], &[1, 2, 4, 3]);
    }

    #[test]
    fn packed_messages_are_unpacked() {
        let lines = record(1, "") + "\n" + &record(2, "") + "\n";
        let gzip = {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(lines.as_bytes()).and_then(|()| encoder.finish()).expect("it packs")
        };
        let zstd = zstd::bulk::compress(lines.as_bytes(), 1).expect("it packs");
        #[track_caller]
        fn check(payload: &[u8], encoding: &str, want: &str, foreign: u64) {
            let mut printer = printer(true, true);
            printer.payload(payload, Some(encoding.as_bytes())).expect("a vector takes it");
            assert_eq!((&*String::from_utf8_lossy(&printer.out), printer.counts.foreign), (want, foreign));
        }
        check(&gzip, "gzip", &lines, 0);
        check(&zstd, "zstd", &lines, 0);
        check(&gzip, "br", "", 1);
        check(&gzip[..gzip.len() - 9], "gzip", "", 1);
        check(&zstd[..zstd.len() - 1], "zstd", "", 1);
        check(b"", "zstd", "", 1);
        let bomb = zstd::bulk::compress(&vec![b' '; UNPACKED_MAX as usize + 1], 1).expect("it packs");
        check(&bomb, "zstd", "", 1);
    }

    #[test]
    fn what_is_not_squalls_is_counted() {
        #[track_caller]
        fn check(payload: &[u8]) {
            let mut printer = printer(true, true);
            printer.payload(payload, None).expect("a vector takes it");
            assert_eq!((printer.out.len(), printer.counts), (0, Counts { foreign: 1, ..Counts::default() }));
        }
        check(b"");
        check(b"no json");
        check(b"{\"squall\":{\"id\":7}}");
        check(b"{\"squall\":{\"id\":\"abc-1\"}}");
        check(b"[1]");
        check(&[0xff, 0xfe]);
        // Found by fuzzing: a forged record on a line of its own.
        check(record(1, "").replacen('{', &format!("{{\"x\":\n{}\n,", record(2, "")), 1).as_bytes());
        assert_eq!(
            Counts { printed: 1_000, skipped: 2, foreign: 3 }.to_string(),
            "1,000 records, 2 left out because they had come before, 3 messages left out because they are not squall's"
        );
    }

    #[test]
    fn people_see_harmless_text() {
        let mut printer = printer(false, false);
        printer.payload(record(1, r#","count":1204"#).as_bytes(), None).expect("a vector takes it");
        assert_eq!(String::from_utf8_lossy(&printer.out), "t  s  ×1,204  m\\u{1b}[31m\n");
    }
}

//! A real Apache Kafka for tests: one node in KRaft mode, in a temporary folder, on free loopback ports.
//!
//! The jars come from `tests/run`, through Maven (`tests/pom.xml`). A test that uses them is marked
//! `#[ignore = "needs a broker"]`; run without them it fails, it never passes by doing nothing.
//! Reading back is done by Kafka's own console consumer, so that no client of ours vouches for itself.
//! Limits: every wait is for something observed (a log line, the end of a process) and has an end of its own.
//! Not here: brokers with TLS or SASL yet; they are further entries of `listeners` in [`Broker::configure`].

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A broker. It is killed, and its folder removed, when this is dropped.
pub(crate) struct Broker {
    address: String,
    server: Option<Server>, // before `folder`: the server must be dead before its folder goes
    folder: TempDir,
}

/// A message as Kafka's console consumer printed it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) partition: u32,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) key: Option<String>,
    pub(crate) value: Vec<u8>,
}

/// A batch of messages as it stands on the broker's disk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StoredBatch {
    pub(crate) bytes: u64,
    pub(crate) messages: u32,
    /// `none`, `gzip`, `snappy`, `lz4` or `zstd`.
    pub(crate) codec: &'static str,
}

impl Broker {
    /// A broker that no other test sees, for tests that stop or kill it.
    pub(crate) fn start() -> Broker {
        for _ in 0..PORT_TRIES {
            let mut broker = Broker::configure();
            match Server::start(broker.folder.path()) {
                Ok(server) => {
                    broker.server = Some(server);
                    return broker;
                }
                // Somebody took the port between our look and Kafka's bind.
                Err(log) if log.contains("Address already in use") => {}
                Err(log) => panic!("the broker did not start:\n{log}"),
            }
        }
        panic!("found no free ports in {PORT_TRIES} tries");
    }

    /// The broker that all tests share while at least one of them holds it. Each takes topics of its own.
    pub(crate) fn shared() -> Arc<Broker> {
        static RUNNING: Mutex<Weak<Broker>> = Mutex::new(Weak::new());
        // A test that panicked while it started the broker leaves nothing half-done behind the lock.
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.upgrade().unwrap_or_else(|| {
            let broker = Arc::new(Broker::start());
            *running = Arc::downgrade(&broker);
            broker
        })
    }

    /// `host:port` for clients.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Makes a topic with one replica. Topics are never made by themselves, so that a wrong name is an error.
    ///
    /// Through librdkafka, because Kafka's own tool takes two seconds and this proves nothing to anybody.
    pub(crate) fn create_topic(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", self.address()).create().expect("an admin client");
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let topic = configs.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        let options = AdminOptions::new().operation_timeout(Some(TOPIC_MAX)).request_timeout(Some(TOPIC_MAX));
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let made = runtime.block_on(admin.create_topics([&topic], &options)).expect("the broker answers");
        assert_eq!(made, [Ok(name.to_owned())]);
    }

    /// How many messages stand in a topic, on the broker's disk.
    pub(crate) fn message_count(&self, topic: &str) -> u64 {
        self.stored_batches(topic).iter().map(|batch| u64::from(batch.messages)).sum()
    }

    /// The bytes that a topic takes up on the broker's disk: record batches as the producer sent them, compressed.
    pub(crate) fn stored_bytes(&self, topic: &str) -> u64 {
        self.stored_batches(topic).iter().map(|batch| batch.bytes).sum()
    }

    /// A topic's record batches, read from the broker's disk: nobody's client stands between.
    pub(crate) fn stored_batches(&self, topic: &str) -> Vec<StoredBatch> {
        let files =
            |folder: &Path| fs::read_dir(folder).expect("folder is there").map(|entry| entry.unwrap());
        let of_topic = |name: &str| name.rsplit_once('-').is_some_and(|(stem, _partition)| stem == topic);
        files(&self.folder.path().join(DATA))
            .filter(|entry| of_topic(&entry.file_name().to_string_lossy()))
            .flat_map(|partition| files(&partition.path()))
            .filter(|file| file.path().extension().is_some_and(|kind| kind == "log"))
            .flat_map(|segment| parse_batches(&fs::read(segment.path()).expect("segment is there")))
            .collect()
    }

    /// Reads a topic from its beginning with Kafka's own console consumer, all that stands in it now.
    pub(crate) fn consume_all_with_console(&self, topic: &str) -> Vec<Message> {
        self.consume_with_console(topic, self.message_count(topic))
    }

    /// Reads a topic from its beginning with Kafka's own console consumer, waits until `expected` messages have
    /// come, and fails when there are fewer or more. The order is that of each partition.
    pub(crate) fn consume_with_console(&self, topic: &str, expected: u64) -> Vec<Message> {
        let mut messages = Vec::new();
        if expected > 0 {
            let mut tool = self.tool("org.apache.kafka.tools.consumer.ConsoleConsumer");
            tool.args(["--topic", topic, "--from-beginning", "--max-messages", &expected.to_string()]);
            tool.args(["--timeout-ms", &CONSUMER_IDLE_MAX.as_millis().to_string()]);
            for shown in ["partition", "headers", "key", "value"] {
                tool.args(["--formatter-property", &format!("print.{shown}=true")]);
            }
            let separators = [("key", FIELD_END), ("headers", HEADER_END), ("line", MESSAGE_END)];
            for (name, separator) in separators {
                tool.args(["--formatter-property", &format!("{name}.separator={separator}")]);
            }
            tool.args(["--formatter-property", &format!("null.literal={NULL}")]);
            messages = parse_messages(&finish(&mut tool).stdout);
        }
        assert_eq!(messages.len() as u64, expected, "messages that the console consumer found in {topic}");
        assert_eq!(self.message_count(topic), expected, "messages in {topic} after those were read");
        messages
    }

    /// Asks the broker to end and waits for it, as an operator would.
    pub(crate) fn stop(&mut self) {
        let server = self.server.take().expect("the broker runs");
        server.stop();
    }

    /// Kills the broker without a word, as the kernel would when memory runs out.
    pub(crate) fn kill(&mut self) {
        drop(self.server.take().expect("the broker runs"));
    }

    /// Stops the broker's process where it stands: connections stay up, nothing answers.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`pause`](Self::pause).
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let server = self.server.as_ref().expect("the broker runs");
        kill_process(Pid::from_child(&server.java), signal).expect("the broker runs");
    }

    /// Starts it again after [`stop`](Self::stop) or [`kill`](Self::kill), with its old data, at its old address.
    pub(crate) fn start_again(&mut self) {
        assert!(self.server.is_none(), "the broker still runs");
        let started = Server::start(self.folder.path());
        self.server = Some(started.unwrap_or_else(|log| panic!("the broker did not come back:\n{log}")));
    }

    /// A folder with a config and formatted storage, but nothing that runs yet.
    fn configure() -> Broker {
        let folder = tempfile::Builder::new().prefix("squall-broker-").tempdir().expect("a temporary folder");
        let [client, controller] = free_ports();
        let address = format!("127.0.0.1:{client}");
        let data = folder.path().join(DATA);
        fs::create_dir(&data).expect("the data folder");
        // The session is short because a killed broker may register again only when its old session has ended.
        // A listener with TLS or SASL is one more name in `listeners`, `advertised.listeners` and the protocol map.
        let config = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\n\
             listeners=CLIENT://{address},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=CLIENT://{address}\n\
             listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             inter.broker.listener.name=CLIENT\n\
             log.dirs={data}\n\
             broker.heartbeat.interval.ms=500\n\
             broker.session.timeout.ms=4000\n\
             auto.create.topics.enable=false\n\
             offsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n",
            data = data.display(),
        );
        let file = folder.path().join(CONFIG);
        fs::write(&file, config).expect("the broker's config");
        finish(
            java_tool("kafka.tools.StorageTool")
                .args(["format", "--cluster-id", CLUSTER, "--config"])
                .arg(file),
        );
        Broker { address, server: None, folder }
    }

    /// One of Kafka's command line tools, pointed at this broker.
    fn tool(&self, class: &str) -> Command {
        let mut tool = java_tool(class);
        tool.args(["--bootstrap-server", self.address()]);
        tool
    }
}

/// The running Java process, and what makes sure that it does not outlive the tests.
struct Server {
    java: Child,
    watchdog: Child,
    /// Says that the server has started, and hangs up when it has ended. (The lock is there because tests on several
    /// threads share a broker, which a receiver alone does not allow.)
    log: Mutex<Receiver<()>>,
}

impl Server {
    /// Starts Kafka in `folder` and waits until it says that it serves. `Err` is the end of its log.
    fn start(folder: &Path) -> Result<Server, String> {
        let file = folder.join("server.log");
        let log = File::options().create(true).append(true).open(&file).expect("the server's log");
        let mut java = Command::new("java");
        java.args(["-Xmx384m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=info"]);
        java.args(JAVA_QUICK).arg("-cp").arg(classpath()).arg("kafka.Kafka").arg(folder.join(CONFIG));
        java.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut java = java.spawn().expect("java runs");
        let stderr = java.stderr.take().expect("stderr is piped");
        let log = follow(stderr, log);
        let watchdog = watch_over(&java);
        let started = log.recv_timeout(START_MAX);
        let server = Server { java, watchdog, log: Mutex::new(log) };
        match started {
            Ok(()) => Ok(server),
            Err(why) => {
                drop(server);
                let log = fs::read_to_string(&file).unwrap_or_default();
                let tail = log.lines().count().saturating_sub(30);
                let end: Vec<&str> = log.lines().skip(tail).collect();
                Err(format!("{why}; the end of its log:\n{}", end.join("\n")))
            }
        }
    }

    /// SIGTERM, then waits for the end. What does not end in time is killed by the drop.
    fn stop(self) {
        kill_process(Pid::from_child(&self.java), Signal::TERM).expect("the broker runs");
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(log.recv_timeout(STOP_MAX), Err(RecvTimeoutError::Disconnected), "the broker ends");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The watchdog first: it must not shoot at a process id that is free again. Both calls fail only when the
        // process has already ended, which is what is wanted.
        for child in [&mut self.watchdog, &mut self.java] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Kills the server when this process ends in whatever way: the pipe to the watchdog breaks then.
fn watch_over(java: &Child) -> Child {
    Command::new("sh")
        .args(["-c", "read -r _; kill -KILL \"$1\"", "watchdog", &java.id().to_string()])
        .stdin(Stdio::piped())
        .spawn()
        .expect("sh runs")
}

/// Copies the server's words into its log. Says once that it has started; hangs up when it has ended.
fn follow(stderr: ChildStderr, mut log: File) -> Receiver<()> {
    let (started, receiver) = sync_channel(1);
    thread::spawn(move || {
        for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
            // A log that cannot be written only makes a later failure harder to explain.
            let _ = log.write_all(&[&line[..], b"\n"].concat());
            if line.ends_with(b"Kafka Server started") {
                // Nobody listens when the start took too long.
                let _ = started.try_send(());
            }
        }
    });
    receiver
}

/// A Java tool that ends by itself, or is ended.
fn java_tool(class: &str) -> Command {
    let mut tool = Command::new("timeout");
    tool.args([
        "--kill-after=5s",
        TOOL_MAX,
        "java",
        "-Xmx256m",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    ]);
    tool.args(JAVA_QUICK).arg("-cp").arg(classpath()).arg(class).stdin(Stdio::null());
    tool
}

#[track_caller]
fn finish(tool: &mut Command) -> Output {
    let output = tool.output().expect("timeout and java run");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool:?}: {}\n{told}", output.status);
    output
}

/// Where the jars are, as Java's class path.
fn classpath() -> OsString {
    if let Some(given) = std::env::var_os("SQUALL_TEST_KAFKA_CLASSPATH") {
        return given;
    }
    let cache = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/.cache/kafka"));
    assert!(cache.join(".complete").exists(), "no Apache Kafka in {}: run tests/run once", cache.display());
    cache.join("*").into()
}

/// Ports that nobody listens on now. They are held together until all are known, so that they differ.
fn free_ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
    held.map(|listener| listener.local_addr().expect("a bound port").port())
}

/// Reads what the console consumer printed: `Partition:0`, headers, key, value, each ended by its separator.
fn parse_messages(printed: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    let mut rest = printed;
    while let Some(end) = memchr::memmem::find(rest, MESSAGE_END.as_bytes()) {
        let mut fields = rest[..end].splitn(4, |byte| *byte == FIELD_END.as_bytes()[0]);
        let mut text = || str::from_utf8(fields.next().expect("four fields")).expect("text");
        let (partition, headers, key) = (text(), text(), text());
        messages.push(Message {
            partition: partition.trim_start_matches("Partition:").parse().expect("a partition"),
            headers: parse_headers(headers),
            key: (key != NULL).then(|| key.to_owned()),
            value: fields.next().expect("four fields").to_vec(),
        });
        rest = &rest[end + MESSAGE_END.len()..];
    }
    assert!(rest.is_empty(), "half a message: {:?}", String::from_utf8_lossy(rest));
    messages
}

/// Reads the heads of the record batches of a segment (Kafka's message format 2).
fn parse_batches(segment: &[u8]) -> Vec<StoredBatch> {
    let number = |at: usize| u32::from_be_bytes(segment[at..at + 4].try_into().expect("four bytes"));
    let mut batches = Vec::new();
    let mut start = 0;
    // Base offset (8), length behind it (4), leader epoch (4), magic (1), checksum (4), attributes (2), …,
    // count at 57. A batch that is being written while we look has no end yet.
    while start + 61 <= segment.len() && start + 12 + number(start + 8) as usize <= segment.len() {
        assert_eq!(segment[start + 16], 2, "the message format");
        let codec = ["none", "gzip", "snappy", "lz4", "zstd"][usize::from(segment[start + 22] & 7)];
        let bytes = 12 + u64::from(number(start + 8));
        batches.push(StoredBatch { bytes, messages: number(start + 57), codec });
        start += bytes as usize;
    }
    batches
}

fn parse_headers(printed: &str) -> Vec<(String, String)> {
    if printed == "NO_HEADERS" {
        return Vec::new();
    }
    let one = |header: &str| header.split_once(':').map(|(name, value)| (name.to_owned(), value.to_owned()));
    printed.split(HEADER_END).map(|header| one(header).expect("name:value")).collect()
}

/// A cold start takes 2 s on two idle cores; the rest is for a machine that builds at the same time.
const START_MAX: Duration = Duration::from_secs(90);
const STOP_MAX: Duration = Duration::from_secs(60);
const TOPIC_MAX: Duration = Duration::from_secs(30);
/// How long the console consumer waits for the next message.
const CONSUMER_IDLE_MAX: Duration = Duration::from_secs(20);
/// How long any of Kafka's tools may run, as `timeout` takes it.
const TOOL_MAX: &str = "180s";
const PORT_TRIES: usize = 5;
/// Short runs: no time for optimising compilers and parallel collectors.
const JAVA_QUICK: [&str; 2] = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

const CONFIG: &str = "server.properties";
const DATA: &str = "data";
/// Any 16 bytes in URL-safe base64.
const CLUSTER: &str = "c3F1YWxsLXRlc3Qta3JhZg";

/// Separators that no key or header of ours holds; values may hold anything but the whole of the last.
const FIELD_END: &str = "\u{1f}";
const HEADER_END: &str = "\u{1e}";
const MESSAGE_END: &str = "\u{1d}end-of-message-5d1c\u{1d}\n";
const NULL: &str = "\u{18}";

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::message::{Header, OwnedHeaders};
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

    /// Sends messages with all acknowledgements and waits for them.
    fn produce(broker: &Broker, topic: &str, values: impl Iterator<Item = String>) {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", broker.address())
            .set("acks", "all")
            .set("message.timeout.ms", "30000")
            .create()
            .expect("a producer");
        for value in values {
            let headers = OwnedHeaders::new().insert(Header { key: "n", value: Some(&value) });
            let record = BaseRecord::to(topic).key("stream,a:b").payload(&value).headers(headers);
            producer.send(record).map_err(|(error, _)| error).expect("room in the queue");
        }
        producer.flush(Duration::from_secs(30)).expect("all delivered");
    }

    #[test]
    #[ignore = "needs a broker"]
    fn broker_round_trip() {
        let broker = Broker::shared();
        let topic = "support.round-trip";
        broker.create_topic(topic, 2, &[("max.message.bytes", "2000000")]);
        // A tab and a newline in each: what separates messages must not be what is in them.
        let values = || (0..1_000).map(|n| format!("line {n}\twith\nbreaks"));
        produce(&broker, topic, values());

        let messages = broker.consume_with_console(topic, 1_000);

        // One key, so one partition and the order in which they were sent.
        let partition = messages[0].partition;
        for (message, value) in messages.iter().zip(values()) {
            let headers = vec![("n".to_owned(), value.clone())];
            let key = Some("stream,a:b".to_owned());
            assert_eq!(message, &Message { partition, headers, key, value: value.into_bytes() });
        }
        let batches = broker.stored_batches(topic);
        assert!(batches.iter().all(|batch| batch.codec == "none"), "{batches:?}");
        assert!(broker.stored_bytes(topic) > 1_000 * "line 0\twith\nbreaks".len() as u64);
    }

    #[test]
    #[ignore = "needs a broker"]
    fn broker_comes_back_with_its_data() {
        let mut broker = Broker::start();
        broker.create_topic("back", 1, &[]);
        produce(&broker, "back", (0..10).map(|n| n.to_string()));
        broker.kill();
        broker.start_again();
        produce(&broker, "back", (10..20).map(|n| n.to_string()));
        broker.stop();
        broker.start_again();
        let values: Vec<Vec<u8>> =
            broker.consume_with_console("back", 20).into_iter().map(|message| message.value).collect();
        assert_eq!(values, (0..20).map(|n| n.to_string().into_bytes()).collect::<Vec<_>>());
    }

    #[test]
    fn console_output_is_parsed_back() {
        #[track_caller]
        fn check(printed: &str, want: &[(u32, usize, Option<&str>, &str)]) {
            let printed = printed.replace('|', "\u{1f}").replace('~', "\u{1e}").replace('$', MESSAGE_END);
            let messages = parse_messages(printed.replace('0', NULL).as_bytes());
            let got: Vec<_> = messages
                .iter()
                .map(|m| (m.partition, m.headers.len(), m.key.as_deref(), str::from_utf8(&m.value).unwrap()))
                .collect();
            assert_eq!(got, want, "{printed:?}");
        }
        check("", &[]);
        check("Partition:1|NO_HEADERS|k|v$", &[(1, 0, Some("k"), "v")]);
        check("Partition:1|a:b~c:d:e|0|a|b\n$", &[(1, 2, None, "a\u{1f}b\n")]);
        check("Partition:1|a:b|k|$Partition:2|a:b|k|v$", &[(1, 1, Some("k"), ""), (2, 1, Some("k"), "v")]);
    }
}

//! A real Apache Kafka for tests: one node in KRaft mode, in a temporary folder, on free loopback ports.
//!
//! The jars come from `tests/run`, through Maven (`tests/pom.xml`). A test that uses them is marked
//! `#[ignore = "needs a broker"]`; run without them it fails, it never passes by doing nothing.
//! Reading back is done by Kafka's own console consumer, so that no client of ours vouches for itself.
//! Limits: every wait is for something observed (a log line, the end of a process) and has an end of its own.
//!
//! | file | what is there |
//! |---|---|
//! | `setup` | listeners: plain, behind a proxy, with TLS, with SASL; users and their rights |
//! | `server` | the Java process and Kafka's tools |
//! | `operator` | topics, their settings, who may write |
//! | `content` | what a topic holds, read by Kafka's console consumer or from the disk |

mod content;
mod operator;
mod server;
mod setup;

use std::fs;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::process::Signal;
use tempfile::TempDir;

pub(crate) use self::content::Message;
pub(crate) use self::setup::Setup;

use self::server::{CONFIG, Server, finish, java_tool};

/// A broker. It is killed, and its folder removed, when this is dropped.
pub(crate) struct Broker {
    /// The name and the address of each listener, the plain one first.
    addresses: Vec<(&'static str, String)>,
    server: Option<Server>, // before `folder`: the server must be dead before its folder goes
    folder: TempDir,
}

impl Broker {
    /// A broker that no other test sees, for tests that stop or kill it.
    pub(crate) fn start() -> Broker {
        Broker::start_as(&Setup::default())
    }

    /// A broker with more listeners than the plain one.
    pub(crate) fn start_as(setup: &Setup) -> Broker {
        for _ in 0..PORT_TRIES {
            let mut broker = Broker::configure(setup);
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
        &self.addresses[0].1
    }

    /// `host:port` of a listener of its [`Setup`].
    pub(crate) fn address_of(&self, listener: &str) -> &str {
        let found = self.addresses.iter().find(|(name, _)| *name == listener);
        &found.expect("a listener of this name").1
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
        self.server.as_ref().expect("the broker runs").signal(signal);
    }

    /// Starts it again after [`stop`](Self::stop) or [`kill`](Self::kill), with its old data, at its old address.
    pub(crate) fn start_again(&mut self) {
        assert!(self.server.is_none(), "the broker still runs");
        let started = Server::start(self.folder.path());
        self.server = Some(started.unwrap_or_else(|log| panic!("the broker did not come back:\n{log}")));
    }

    /// A folder with a config and formatted storage, but nothing that runs yet.
    fn configure(setup: &Setup) -> Broker {
        let folder = tempfile::Builder::new().prefix("squall-broker-").tempdir().expect("a temporary folder");
        let data = folder.path().join(DATA);
        fs::create_dir(&data).expect("the data folder");
        let (config, addresses) = setup.config(folder.path(), &data);
        let file = folder.path().join(CONFIG);
        fs::write(&file, config).expect("the broker's config");
        let mut format = java_tool("kafka.tools.StorageTool");
        format.args(["format", "--cluster-id", CLUSTER, "--config"]).arg(file).args(setup.scram());
        finish(&mut format);
        Broker { addresses, server: None, folder }
    }

    /// One of Kafka's command line tools, pointed at this broker.
    fn tool(&self, class: &str) -> Command {
        let mut tool = java_tool(class);
        tool.args(["--bootstrap-server", self.address()]);
        tool
    }
}

const PORT_TRIES: usize = 5;
const DATA: &str = "data";
/// Any 16 bytes in URL-safe base64.
const CLUSTER: &str = "c3F1YWxsLXRlc3Qta3JhZg";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use rdkafka::ClientConfig;
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
}

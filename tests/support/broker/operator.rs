//! What an operator does to a running broker: topics, their settings, who may write.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;

use super::Broker;
use super::server::finish;

impl Broker {
    /// Makes a topic with one replica. Topics are never made by themselves, so that a wrong name is an error.
    ///
    /// Through librdkafka, because Kafka's own tool takes two seconds and this proves nothing to anybody.
    pub(crate) fn create_topic(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let topic = configs.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        let (admin, options) = self.admin();
        let made = wait(admin.create_topics([&topic], &options)).expect("the broker answers");
        assert_eq!(made, [Ok(name.to_owned())]);
    }

    /// Deletes a topic with all that is in it.
    pub(crate) fn delete_topic(&self, name: &str) {
        let (admin, options) = self.admin();
        let deleted = wait(admin.delete_topics(&[name], &options)).expect("the broker answers");
        assert_eq!(deleted, [Ok(name.to_owned())]);
    }

    /// Sets one of a topic's own settings; all others of its own go back to the broker's.
    pub(crate) fn configure_topic(&self, name: &str, key: &str, value: &str) {
        let (admin, options) = self.admin();
        let change = AlterConfig::new(ResourceSpecifier::Topic(name)).set(key, value);
        let altered = wait(admin.alter_configs([&change], &options)).expect("the broker answers");
        assert!(matches!(altered[..], [Ok(_)]), "{altered:?}");
    }

    /// Allows one who logs in to write to a topic.
    pub(crate) fn allow_writing(&self, user: &str, topic: &str) {
        let mut tool = self.tool("org.apache.kafka.tools.AclCommand");
        tool.args(["--add", "--allow-principal", &format!("User:{user}"), "--producer", "--topic", topic]);
        finish(&mut tool);
    }

    fn admin(&self) -> (AdminClient<DefaultClientContext>, AdminOptions) {
        let admin = ClientConfig::new().set("bootstrap.servers", self.address()).create();
        let options = AdminOptions::new().operation_timeout(Some(TOPIC_MAX)).request_timeout(Some(TOPIC_MAX));
        (admin.expect("an admin client"), options)
    }
}

fn wait<T>(answer: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(answer)
}

const TOPIC_MAX: Duration = Duration::from_secs(30);

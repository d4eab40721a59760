//! What all containers of one driver share, held against what one of them asks for.
//!
//! There is one way out, and one config; a few things a container may have for itself. An option that would be ignored is
//! refused with a text that `docker run` shows: what was asked for, what the driver has, and where that is set.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::OFlags;

use crate::config::{self, Config, Container, Output};
use crate::input::docker_driver::options::LogOpts;
use crate::output::kafka;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    /// Where to; `None` unless that is Kafka.
    kafka: Option<Kafka>,
    /// The files that the driver has its config from.
    files: Vec<PathBuf>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Kafka {
    brokers: Vec<String>,
    topic: String,
    compression: String,
}

/// One option as the driver has it.
struct Own {
    /// The key of the config behind it.
    key: &'static str,
    /// As it stands there; `None` where there is no such thing.
    value: Option<String>,
    /// Whether the container asks for the same.
    is_same: bool,
}

impl Shared {
    /// What a driver with this config has. `files` are those that it was read from.
    pub fn new(config: &Config, files: &[PathBuf]) -> Shared {
        let kafka = match config.outputs.as_slice() {
            [Output::Kafka(kafka)] => Some(Kafka {
                brokers: kafka.brokers.clone(),
                topic: kafka.topic.clone(),
                compression: format!("{:?}", kafka.compression).to_lowercase(),
            }),
            _ => None,
        };
        Shared { kafka, files: files.to_vec() }
    }

    /// Reads the options about the driver's own config: takes in what a container may have for itself, and refuses what
    /// would be ignored.
    ///
    /// # Errors
    /// All that differs from what the driver has, or makes no sense, in one line.
    pub fn read(&self, options: &mut LogOpts) -> Result<(), String> {
        let (mut told, mut own) = (Vec::new(), None);
        for (name, asked) in &options.of_driver {
            let read = match *name {
                "squall-first" => first(asked).map(|first| options.first = Some(first)),
                "squall-summary-every" => every(asked).map(|every| options.summary_every = Some(every)),
                "squall-kafka-topic" if self.kafka.is_some() => {
                    topic(asked).map(|topic| options.topic = Some(topic))
                }
                "squall-config" if self.is_own_file(asked) => Ok(()),
                "squall-config" => container(asked).map(|(text, container)| {
                    options.config = Some(text);
                    own.get_or_insert(container);
                }),
                _ => self.refusal(name, asked).map_or(Ok(()), Err),
            };
            told.extend(read.err().map(|fault| format!("log-opt {name}: {fault}")));
        }
        // An option of its own says more than one of several in a text.
        if let Some(Container { first, summary_every, topic, input: _ }) = own {
            if topic.is_some() && self.kafka.is_none() {
                told.push(format!("log-opt squall-config: `kafka_topic`, but {NO_KAFKA}"));
            }
            options.first = options.first.or(first);
            options.summary_every = options.summary_every.or(summary_every);
            options.topic = options.topic.take().or(topic);
        }
        if told.is_empty() { Ok(()) } else { Err(told.join("; ")) }
    }

    /// Whether this is the file that the driver has its config from.
    fn is_own_file(&self, asked: &str) -> bool {
        matches!(&self.files[..], [file] if file.as_os_str() == asked)
    }

    /// Why a container cannot have this; `None` when it has it anyway.
    fn refusal(&self, name: &str, asked: &str) -> Option<String> {
        let Own { key, value, is_same } = self.own(name, asked);
        if is_same {
            return None;
        }
        let has = match value {
            Some(value) => format!("all containers of this driver share `{key}: {value}`"),
            None => NO_KAFKA.to_owned(),
        };
        let destination = match name {
            "squall-kafka-brokers" => "one driver ships to one cluster (another takes another plugin), and ",
            _ => "",
        };
        Some(format!(
            "`{asked}` is asked for, but {destination}{has}. Leave the option out, or change {key} for all of them: {}",
            self.places(key)
        ))
    }

    fn own(&self, name: &str, asked: &str) -> Own {
        let of_kafka = |key, value: fn(&Kafka) -> String, is_same: &dyn Fn(&Kafka) -> bool| Own {
            key,
            value: self.kafka.as_ref().map(value),
            is_same: self.kafka.as_ref().is_some_and(is_same),
        };
        match name {
            "squall-kafka-brokers" => of_kafka(
                "outputs.kafka.brokers",
                |kafka| format!("[{}]", kafka.brokers.join(", ")),
                &|kafka| sorted(asked.split(',')) == sorted(kafka.brokers.iter().map(String::as_str)),
            ),
            // Where there is Kafka, a container may have any.
            "squall-kafka-topic" => {
                of_kafka("outputs.kafka.topic", |kafka| kafka.topic.clone(), &|kafka| kafka.topic == asked)
            }
            // `squall-kafka-compression`.
            _ => of_kafka("outputs.kafka.compression", |kafka| kafka.compression.clone(), &|kafka| {
                kafka.compression == asked
            }),
        }
    }

    /// Where a key can be set.
    fn places(&self, key: &str) -> String {
        let flag = match key {
            "outputs.kafka.brokers" | "outputs.kafka.topic" => "--to kafka://HOST:PORT/TOPIC".to_owned(),
            _ => format!("--set {key}=…"),
        };
        let variable = format!("SQUALL_{}", key.replace('.', "__").to_uppercase());
        let file = self.files().unwrap_or_else(|| "a file named with --config".to_owned());
        format!("{flag} among the driver's arguments, {variable} in its environment, or {file}")
    }

    fn files(&self) -> Option<String> {
        let files: Vec<String> = self.files.iter().map(|file| file.display().to_string()).collect();
        (!files.is_empty()).then(|| files.join(", "))
    }
}

/// Lines that come word for word.
fn first(asked: &str) -> Result<u32, String> {
    asked.parse().map_err(|_| format!("`{asked}` is no number from 0 to {}", u32::MAX))
}

const NO_KAFKA: &str = "this driver does not ship to Kafka";

/// A config of the container's own: YAML, or the path of a file with that, which the driver must see.
fn container(asked: &str) -> Result<(String, Container), String> {
    if !asked.starts_with('/') {
        return Ok((asked.to_owned(), Container::parse("squall-config", asked)?));
    }
    let text = read(asked).map_err(|error| {
        format!("squall cannot read {asked}: {error} (it is looked for where squall runs, in the plugin)")
    })?;
    let container = Container::parse(asked, &text)?;
    Ok((text, container))
}

/// Reads a file that somebody names who is not us: nothing that blocks, and nothing without end.
fn read(path: &str) -> io::Result<String> {
    let file = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut text = String::new();
    file.take(FILE_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// More than a config of a container may have, so that one that is too large is told as such.
const FILE_MAX: u64 = 1 << 20;

/// A topic. That it is there cannot be known now: Kafka may be away.
fn topic(asked: &str) -> Result<String, String> {
    if kafka::is_topic(asked) {
        return Ok(asked.to_owned());
    }
    Err(format!("`{asked}` cannot be the name of a topic: {}", kafka::TOPIC_NAMES))
}

/// A summary interval.
fn every(asked: &str) -> Result<Duration, String> {
    let every = config::parse_time(asked)?;
    let (least, most) = (config::SUMMARY_EVERY.start(), config::SUMMARY_EVERY.end());
    if config::SUMMARY_EVERY.contains(&every) {
        Ok(every)
    } else {
        Err(format!(
            "`{asked}` is not between {} and {}",
            config::show_time(*least),
            config::show_time(*most)
        ))
    }
}

/// In any order, and with any space, brokers are the same.
fn sorted<'a>(brokers: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut brokers: Vec<&str> = brokers.map(str::trim).collect();
    brokers.sort_unstable();
    brokers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(shared: &Shared, name: &str, asked: &str, want: &[&str]) {
        let options = [(name.to_owned(), asked.to_owned())].into();
        let mut options = LogOpts::parse(&options).expect("it is known");
        let told = shared.read(&mut options).err().unwrap_or_default();
        assert_eq!(told.is_empty(), want.is_empty(), "{told}");
        assert!(want.iter().all(|part| told.contains(part)), "{told}");
        assert!(told.is_empty() || told.starts_with(&format!("log-opt {name}: ")), "{told}");
    }

    #[test]
    fn what_the_driver_has_anyway_may_be_asked_for() {
        let options = kafka::Options {
            brokers: vec!["a:1".to_owned(), "b:2".to_owned()],
            topic: "logs".to_owned(),
            ..kafka::Options::default()
        };
        let config = Config { outputs: vec![Output::Kafka(options)], ..Config::default() };
        let shared = Shared::new(&config, &["/etc/squall/driver.yaml".into()]);
        check(&shared, "squall-kafka-brokers", "b:2, a:1", &[]);
        check(&shared, "squall-kafka-topic", "logs", &[]);
        check(&shared, "squall-kafka-compression", "zstd", &[]);
        check(&shared, "squall-config", "/etc/squall/driver.yaml", &[]);
        check(&shared, "squall-first", "0", &[]);
        check(&shared, "squall-first", "many", &["`many` is no number from 0"]);
        check(&shared, "squall-summary-every", "90s", &[]);
        check(&shared, "squall-summary-every", "10", &["10"]);
        check(&shared, "squall-summary-every", "2h", &["`2h` is not between 1s and 1h"]);
        let compression = [
            "`lz4` is asked for, but all containers of this driver share `outputs.kafka.compression: zstd`. Leave the option out",
            "--set outputs.kafka.compression=… among the driver's arguments, SQUALL_OUTPUTS__KAFKA__COMPRESSION in its environment, or /etc/squall/driver.yaml",
        ];
        check(&shared, "squall-kafka-compression", "lz4", &compression);
        check(&shared, "squall-kafka-topic", "other", &[]);
        check(&shared, "squall-kafka-topic", "o/ther", &["`o/ther` cannot be the name of a topic"]);
        let brokers =
            ["one driver ships to one cluster", "`outputs.kafka.brokers: [a:1, b:2]`", "--to kafka://"];
        check(&shared, "squall-kafka-brokers", "a:1", &brokers);
        check(&shared, "squall-config", "{collapse: never, kafka_topic: orders}", &[]);
        check(
            &shared,
            "squall-config",
            "storm: {}",
            &["squall-config:1:1: ", "`storm`", "known keys: collapse"],
        );
    }

    #[test]
    fn a_driver_without_kafka_and_without_files() {
        let shared = Shared::new(&Config { outputs: vec![Output::Blackhole], ..Config::default() }, &[]);
        check(
            &shared,
            "squall-kafka-topic",
            "logs",
            &["does not ship to Kafka", "a file named with --config"],
        );
        check(&shared, "squall-config", "/no/such/file", &["cannot read /no/such/file", "in the plugin"]);
        check(&shared, "squall-config", "/dev/zero", &["it is no file"]);
        check(&shared, "squall-config", "kafka_topic: x", &["`kafka_topic`, but this driver does not ship"]);
    }

    #[test]
    fn a_config_of_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("own.yaml");
        std::fs::write(&path, "collapse: never\nfirst: 9\nsummary_every: 30s\n").expect("disk");
        let shared = Shared::new(&Config::default(), &[]);
        let read = |config: &str, first: Option<&str>| {
            let mut options = [("squall-config".to_owned(), config.to_owned())].to_vec();
            options.extend(first.map(|first| ("squall-first".to_owned(), first.to_owned())));
            let mut options = LogOpts::parse(&options.into_iter().collect()).expect("they are known");
            shared.read(&mut options).expect("all is good");
            options
        };
        let found = read(&path.display().to_string(), None);
        assert_eq!(found.config.as_deref(), Some("collapse: never\nfirst: 9\nsummary_every: 30s\n"));
        assert_eq!((found.first, found.summary_every), (Some(9), Some(Duration::from_secs(30))));
        // An option by itself says more.
        assert_eq!(read("first: 9", Some("3")).first, Some(3));
    }

    #[test]
    fn all_that_differs_is_told() {
        let shared = Shared::new(&Config::default(), &[]);
        let asked = [("squall-config", "a: 1"), ("squall-kafka-topic", "x")];
        let asked = asked.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mut asked = LogOpts::parse(&asked).expect("they are known");
        let told = shared.read(&mut asked).expect_err("both differ");
        assert!(
            told.contains("log-opt squall-config: ") && told.contains("; log-opt squall-kafka-topic: "),
            "{told}"
        );
    }
}

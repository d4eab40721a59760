//! What all containers of one driver share, held against what one of them asks for.
//!
//! There is one way out. An option that would be ignored is refused with a text that
//! `docker run` shows: what was asked for, what the driver has, and where that is set.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::{self, Config, Output};
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
    /// The key of the config behind it; `None` where that is the config as a whole.
    key: Option<&'static str>,
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
        let mut told = Vec::new();
        for (name, asked) in &options.of_driver {
            let read = match *name {
                "squall-first" => first(asked).map(|first| options.first = Some(first)),
                "squall-summary-every" => every(asked).map(|every| options.summary_every = Some(every)),
                "squall-kafka-topic" if self.kafka.is_some() => {
                    topic(asked).map(|topic| options.topic = Some(topic))
                }
                _ => self.refusal(name, asked).map_or(Ok(()), Err),
            };
            told.extend(read.err().map(|fault| format!("log-opt {name}: {fault}")));
        }
        if told.is_empty() { Ok(()) } else { Err(told.join("; ")) }
    }

    /// Why a container cannot have this; `None` when it has it anyway.
    fn refusal(&self, name: &str, asked: &str) -> Option<String> {
        let Own { key, value, is_same } = self.own(name, asked);
        if is_same {
            return None;
        }
        let Some(key) = key else {
            return Some(format!(
                "a container cannot have a config of its own; what it can have are squall-first, squall-summary-every and \
                 squall-kafka-topic. All containers of this driver share {}",
                self.files().unwrap_or_else(|| "one that is made of flags and environment".to_owned())
            ));
        };
        let has = match value {
            Some(value) => format!("all containers of this driver share `{key}: {value}`"),
            None => "this driver does not ship to Kafka".to_owned(),
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
            key: Some(key),
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
            "squall-kafka-compression" => {
                of_kafka("outputs.kafka.compression", |kafka| kafka.compression.clone(), &|kafka| {
                    kafka.compression == asked
                })
            }
            // `squall-config`: inline, or a path.
            _ => Own {
                key: None,
                value: None,
                is_same: matches!(&self.files[..], [file] if file.as_os_str() == asked),
            },
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

/// A topic. That it is there cannot be known now: Kafka may be away.
fn topic(asked: &str) -> Result<String, String> {
    if kafka::is_topic(asked) {
        return Ok(asked.to_owned());
    }
    Err(format!("`{asked}` cannot be the name of a topic: 1 to 249 of a-z A-Z 0-9 . _ -, but not . and .."))
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
        check(
            &shared,
            "squall-config",
            "storm: {}",
            &["config of its own; ", "share /etc/squall/driver.yaml"],
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
        check(&shared, "squall-config", "/x", &["one that is made of flags and environment"]);
    }

    #[test]
    fn all_that_differs_is_told() {
        let shared = Shared::new(&Config::default(), &[]);
        let asked = [("squall-config", "/x"), ("squall-kafka-topic", "x")];
        let asked = asked.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mut asked = LogOpts::parse(&asked).expect("they are known");
        let told = shared.read(&mut asked).expect_err("both differ");
        assert!(
            told.contains("log-opt squall-config: ") && told.contains("; log-opt squall-kafka-topic: "),
            "{told}"
        );
    }
}

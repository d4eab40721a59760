//! What dockerd says of a container when its logging starts, and what is kept of it.
//!
//! Secrets stand in the environment and in log-opts, so an [`Info`] is never printed or saved as it came: only what the
//! user asked for by name survives in a [`Described`].

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::options::{LogOpts, Pick};

/// `Info` of `StartLogging`. What Docker does not send is empty; `null` is how Go sends what is empty.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct Info {
    /// The log-opts.
    #[serde(rename = "Config", deserialize_with = "nullable")]
    pub config: BTreeMap<String, String>,
    /// 64 hex digits.
    #[serde(rename = "ContainerID", deserialize_with = "nullable")]
    pub container_id: String,
    /// The name with a slash before it.
    #[serde(rename = "ContainerName", deserialize_with = "nullable")]
    pub container_name: String,
    /// The program that runs.
    #[serde(rename = "ContainerEntrypoint", deserialize_with = "nullable_program")]
    pub entrypoint: Vec<String>,
    /// Its arguments.
    #[serde(rename = "ContainerArgs", deserialize_with = "nullable")]
    pub args: Vec<String>,
    /// `sha256:` and 64 hex digits.
    #[serde(rename = "ContainerImageID", deserialize_with = "nullable")]
    pub image_id: String,
    /// As it was given to `docker run`.
    #[serde(rename = "ContainerImageName", deserialize_with = "nullable")]
    pub image_name: String,
    /// `NAME=value`, each.
    #[serde(rename = "ContainerEnv", deserialize_with = "nullable")]
    pub env: Vec<String>,
    /// The labels of the container and its image.
    #[serde(rename = "ContainerLabels", deserialize_with = "nullable")]
    pub labels: BTreeMap<String, String>,
    /// The daemon.
    #[serde(rename = "DaemonName", deserialize_with = "nullable")]
    pub daemon_name: String,
}

impl Info {
    /// The container's name as people know it.
    pub fn name(&self) -> &str {
        self.container_name.trim_start_matches('/')
    }

    /// The program with its arguments.
    pub fn command(&self) -> String {
        let words: Vec<&str> = self.entrypoint.iter().chain(&self.args).map(String::as_str).collect();
        words.join(" ")
    }
}

fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(input: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(input)?.unwrap_or_default())
}

/// Docker sends the entrypoint as one word.
fn nullable_program<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Program {
        Word(String),
        Words(Vec<String>),
    }
    Ok(match Option::<Program>::deserialize(input)? {
        Some(Program::Word(word)) => vec![word],
        Some(Program::Words(words)) => words,
        None => Vec::new(),
    })
}

/// What is known of a container's logging, and is kept over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Described {
    /// The container's full id.
    pub container: String,
    /// Its name.
    pub name: String,
    /// The name of its image.
    pub image: String,
    /// What its records carry.
    pub labels: Vec<(String, String)>,
    /// dockerd may drop lines without a word (`mode=non-blocking`), so counts are only what came.
    pub lossy: bool,
    /// Lines of an episode that come word for word, where the container has a number of its own.
    #[serde(default)]
    pub first: Option<u32>,
    /// How often a summary comes, where the container has a time of its own.
    #[serde(default)]
    pub summary_every: Option<Duration>,
    /// The Kafka topic of its records, where the container has one of its own.
    #[serde(default)]
    pub topic: Option<String>,
    /// What the container has for itself besides, as YAML.
    #[serde(default)]
    pub config: Option<String>,
}

/// Labels that Compose and Swarm put on containers, and what they are called on records.
const KNOWN_LABELS: [(&str, &str); 4] = [
    ("com.docker.compose.project", "compose_project"),
    ("com.docker.compose.service", "compose_service"),
    ("com.docker.stack.namespace", "swarm_stack"),
    ("com.docker.swarm.service.name", "swarm_service"),
];

impl Described {
    /// What the options keep of what dockerd says. Of two labels with one name the later wins: those of Compose and Swarm,
    /// the container's, its environment, the tag.
    pub fn new(info: &Info, options: &LogOpts) -> Described {
        let mut labels = BTreeMap::new();
        for (name, short) in KNOWN_LABELS {
            if let Some(value) = info.labels.get(name) {
                labels.insert(short.to_owned(), value.clone());
            }
        }
        let own = info.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        labels.extend(picked(own, &options.labels));
        let env = info.env.iter().filter_map(|pair| pair.split_once('='));
        labels.extend(picked(env, &options.env));
        labels.extend(options.tag.as_ref().map(|tag| ("tag".to_owned(), tag.of(info))));
        Described {
            container: info.container_id.clone(),
            name: info.name().to_owned(),
            image: info.image_name.clone(),
            labels: labels.into_iter().collect(),
            lossy: options.lossy,
            first: options.first,
            summary_every: options.summary_every,
            topic: options.topic.clone(),
            config: options.config.clone(),
        }
    }
}

fn picked<'a>(
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
    pick: &Pick,
) -> impl Iterator<Item = (String, String)> {
    pairs.filter(|(name, _)| pick.takes(name)).map(|(name, value)| (name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept() {
        #[track_caller]
        fn check(options: &[(&str, &str)], want: &[(&str, &str)]) {
            let text = r#"{"ContainerID":"ab","ContainerName":"/api","ContainerImageName":"acme/api","ContainerEntrypoint":"sh",
                "ContainerArgs":null,"ContainerEnv":["REGION=eu","PASSWORD=secret","odd"],"ContainerCreated":"2026-02-06T00:00:00Z",
                "ContainerLabels":{"team":"pay","region":"us","com.docker.compose.service":"api"},"LogPath":"","Config":null}"#;
            let info: Info = serde_json::from_str(text).expect("as Docker sends it");
            let options =
                options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let kept = Described::new(&info, &LogOpts::parse(&options).expect("they are good"));
            let labels: Vec<_> =
                kept.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(labels, want);
            assert_eq!((kept.name.as_str(), kept.image.as_str()), ("api", "acme/api"));
            assert!(!serde_json::to_string(&kept).expect("plain data").contains("secret"));
        }
        let compose = ("compose_service", "api");
        check(&[], &[compose]);
        check(&[("labels", "team, no-such")], &[compose, ("team", "pay")]);
        check(&[("labels-regex", "^(te|re)")], &[compose, ("region", "us"), ("team", "pay")]);
        check(&[("env", "REGION"), ("tag", "{{.Name}}")], &[("REGION", "eu"), compose, ("tag", "api")]);
        check(&[("env-regex", "^REG")], &[("REGION", "eu"), compose]);
    }

    #[test]
    fn an_empty_info_is_one() {
        assert!(serde_json::from_str::<Info>("{}").is_ok());
        assert!(
            serde_json::from_str::<Info>(r#"{"ContainerLabels":null,"ContainerEntrypoint":["a","b"]}"#)
                .is_ok()
        );
        assert!(serde_json::from_str::<Info>(r#"{"ContainerID":5}"#).is_err());
    }
}

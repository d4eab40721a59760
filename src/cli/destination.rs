//! `--to`: where records go, in one word.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A destination as it is written on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// `kafka://HOST:PORT[,HOST:PORT…]/TOPIC`
    Kafka {
        /// Some of the brokers.
        brokers: Vec<String>,
        /// The topic.
        topic: String,
    },
    /// `console`
    Console,
    /// `file:PATH`
    File(PathBuf),
    /// `blackhole`
    Blackhole,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Kafka { brokers, topic } => write!(f, "kafka://{}/{topic}", brokers.join(",")),
            Destination::Console => f.write_str("console"),
            Destination::File(path) => write!(f, "file:{}", path.display()),
            Destination::Blackhole => f.write_str("blackhole"),
        }
    }
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Destination, String> {
        if let Some(rest) = text.strip_prefix("kafka://") {
            return kafka(rest);
        }
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Destination::File(PathBuf::from(path))),
            None if text == "console" => Ok(Destination::Console),
            None if text == "blackhole" => Ok(Destination::Blackhole),
            _ => Err(format!("`{text}` is none of {FORMS}")),
        }
    }
}

fn kafka(rest: &str) -> Result<Destination, String> {
    let Some((brokers, topic)) = rest.split_once('/') else {
        return Err("the topic is missing: kafka://HOST:PORT/TOPIC".to_owned());
    };
    let brokers: Vec<String> = brokers.split(',').map(str::to_owned).collect();
    if let Some(odd) = brokers.iter().find(|broker| !is_address(broker)) {
        return Err(format!("`{odd}` is not HOST:PORT"));
    }
    let is_topic_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if topic.is_empty() || topic.len() > 249 || !topic.bytes().all(is_topic_byte) {
        return Err(format!("`{topic}` is not a topic: 1 to 249 letters, digits, `.`, `_` and `-`"));
    }
    Ok(Destination::Kafka { brokers, topic: topic.to_owned() })
}

fn is_address(broker: &str) -> bool {
    let Some((host, port)) = broker.rsplit_once(':') else { return false };
    !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// What can be written, for messages.
const FORMS: &str = "kafka://HOST:PORT[,HOST:PORT…]/TOPIC, console, file:PATH, blackhole";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        #[track_caller]
        fn check(text: &str, want: Result<Destination, &str>) {
            match (text.parse::<Destination>(), want) {
                (Ok(found), Ok(want)) => assert_eq!((&found, found.to_string().as_str()), (&want, text)),
                (Err(found), Err(want)) => assert!(found.contains(want), "{found}"),
                (found, want) => panic!("{text}: {found:?}, not {want:?}"),
            }
        }
        let kafka = |brokers: &[&str], topic: &str| Destination::Kafka {
            brokers: brokers.iter().map(|broker| (*broker).to_owned()).collect(),
            topic: topic.to_owned(),
        };
        check("kafka://localhost:9092/logs", Ok(kafka(&["localhost:9092"], "logs")));
        check("kafka://a:1,[::1]:2/x.y_z-1", Ok(kafka(&["a:1", "[::1]:2"], "x.y_z-1")));
        check("kafka://localhost:9092", Err("topic is missing"));
        check("kafka://localhost/logs", Err("not HOST:PORT"));
        check("kafka://localhost:0/logs", Err("not HOST:PORT"));
        check("kafka://localhost:9092/no spaces", Err("not a topic"));
        check("kafka://localhost:9092/", Err("not a topic"));
        check("console", Ok(Destination::Console));
        check("blackhole", Ok(Destination::Blackhole));
        check("file:/tmp/a:b", Ok(Destination::File("/tmp/a:b".into())));
        check("file:", Err("none of"));
        check("kafak://x", Err("none of"));
        check("", Err("none of"));
    }
}

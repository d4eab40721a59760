//! Log-opts: what a user may say of one container's logging. Nobody but the plugin looks at them, so an option that is
//! not known, or a value that makes no sense, is an error with all that is wrong, which `docker run` shows.

use std::collections::BTreeMap;
use std::time::Duration;

use regex::{Regex, RegexBuilder};

use super::tag::Tag;

/// What was said, checked.
#[derive(Clone, Debug, Default)]
pub struct LogOpts {
    /// `tag`.
    pub tag: Option<Tag>,
    /// `labels`, `labels-regex`.
    pub labels: Pick,
    /// `env`, `env-regex`.
    pub env: Pick,
    /// `mode=non-blocking`: dockerd drops lines without a word when it cannot write them.
    pub lossy: bool,
    /// Options that the whole driver has and one container cannot change, with what was asked for.
    pub of_driver: Vec<(&'static str, String)>,
}

/// Which names are taken.
#[derive(Clone, Debug, Default)]
pub struct Pick {
    names: Vec<String>,
    pattern: Option<Regex>,
}

impl Pick {
    /// Whether this name is.
    pub fn takes(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
            || self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(name))
    }
}

/// What an option may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tag,
    Names,
    Pattern,
    Mode,
    /// Docker's size, which may be decimal.
    Size,
    Number,
    Switch,
    /// One that all containers share.
    OfDriver,
}

/// All options. Those about size and rotation are for the copy that dockerd keeps for `docker logs`, and are its own to act on.
const KNOWN: [(&str, Kind); 20] = [
    ("tag", Kind::Tag),
    ("labels", Kind::Names),
    ("labels-regex", Kind::Pattern),
    ("env", Kind::Names),
    ("env-regex", Kind::Pattern),
    ("mode", Kind::Mode),
    ("max-buffer-size", Kind::Size),
    ("max-size", Kind::Size),
    ("max-file", Kind::Number),
    ("compress", Kind::Switch),
    ("cache-disabled", Kind::Switch),
    ("cache-max-size", Kind::Size),
    ("cache-max-file", Kind::Number),
    ("cache-compress", Kind::Switch),
    ("squall-config", Kind::OfDriver),
    ("squall-kafka-brokers", Kind::OfDriver),
    ("squall-kafka-topic", Kind::OfDriver),
    ("squall-kafka-compression", Kind::OfDriver),
    ("squall-first", Kind::OfDriver),
    ("squall-summary-every", Kind::OfDriver),
];

/// The most memory that a pattern may take once it is compiled, in bytes (`faults.md` 83).
const PATTERN_MAX: usize = 1 << 20;

impl LogOpts {
    /// Reads the options of one container.
    ///
    /// # Errors
    /// All that is wrong, in one line.
    pub fn parse(options: &BTreeMap<String, String>) -> Result<LogOpts, String> {
        let mut parsed = LogOpts::default();
        let mut faults = Vec::new();
        for (name, value) in options {
            let read = match KNOWN.iter().find(|(known, _)| known == name) {
                Some((known, kind)) => parsed.read(known, *kind, value),
                None => Err(format!("is not known; there are {}", KNOWN.map(|(known, _)| known).join(", "))),
            };
            if let Err(fault) = read {
                faults.push(format!("log-opt {name}: {fault}"));
            }
        }
        if faults.is_empty() { Ok(parsed) } else { Err(faults.join("; ")) }
    }

    fn read(&mut self, name: &'static str, kind: Kind, value: &str) -> Result<(), String> {
        let pick = if name.starts_with("env") { &mut self.env } else { &mut self.labels };
        match kind {
            Kind::Tag => self.tag = Some(Tag::parse(value)?),
            Kind::Names => {
                let names = value.split(',').map(|name| name.trim().to_owned());
                pick.names = names.filter(|name| !name.is_empty()).collect();
            }
            Kind::Pattern => {
                let pattern = RegexBuilder::new(value).size_limit(PATTERN_MAX).build();
                pick.pattern = Some(pattern.map_err(|error| one_line(&error.to_string()))?);
            }
            Kind::Mode => {
                self.lossy = match value {
                    "blocking" | "" => false,
                    "non-blocking" => true,
                    other => return Err(format!("`{other}` is neither blocking nor non-blocking")),
                }
            }
            Kind::Size => drop(size(value)?),
            Kind::Number => match value.parse::<u32>() {
                Ok(1..) => {}
                _ => return Err(format!("`{value}` is no number from 1 up")),
            },
            Kind::Switch => match value {
                "1" | "t" | "T" | "true" | "TRUE" | "True" | "0" | "f" | "F" | "false" | "FALSE"
                | "False" => {}
                other => return Err(format!("`{other}` is neither true nor false")),
            },
            Kind::OfDriver => self.of_driver.push((name, value.to_owned())),
        }
        Ok(())
    }
}

/// What all containers of this driver share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shared {
    /// Where to; empty unless that is Kafka.
    pub brokers: Vec<String>,
    /// The topic.
    pub topic: String,
    /// How records are compressed.
    pub compression: String,
    /// How many lines of a storm come word for word.
    pub first: u64,
    /// How often a summary comes.
    pub summary_every: Duration,
}

impl Shared {
    /// Refuses what would be ignored. A container has no settings of its own in this version: what it asks for must be what
    /// the driver does anyway.
    ///
    /// # Errors
    /// What differs.
    pub fn agrees(&self, options: &LogOpts) -> Result<(), String> {
        for (name, value) in &options.of_driver {
            let own = match *name {
                "squall-kafka-brokers" => self.brokers.join(","),
                "squall-kafka-topic" => self.topic.clone(),
                "squall-kafka-compression" => self.compression.clone(),
                "squall-first" => self.first.to_string(),
                "squall-summary-every" => format!("{}s", self.summary_every.as_secs_f64()),
                _ => String::new(),
            };
            if own != *value {
                let own = if own.is_empty() { "nothing".to_owned() } else { format!("`{own}`") };
                return Err(format!(
                    "log-opt {name}: all containers of this driver share one config, which says {own}: change it there"
                ));
            }
        }
        Ok(())
    }
}

/// A size as Docker's users write it, in bytes: `10m` is decimal, `10MiB` binary, -1 without a limit.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic()).trim_end();
    let unit = text[digits.len()..].trim().to_ascii_lowercase();
    let decimal = |power: u32| 1000_u64.pow(power);
    let factor = match unit.as_str() {
        "" | "b" => 1,
        "k" | "kb" => decimal(1),
        "m" | "mb" => decimal(2),
        "g" | "gb" => decimal(3),
        "t" | "tb" => decimal(4),
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => 0,
    };
    let number: f64 = digits.parse().unwrap_or(f64::NAN);
    if digits == "-1" && unit.is_empty() {
        return Ok(u64::MAX);
    }
    if factor == 0 || !number.is_finite() || number < 0.0 {
        return Err(format!("`{text}` is no size; write 10m (10,000,000 bytes) or 10MiB"));
    }
    Ok((number * factor as f64) as u64) // too large is the largest
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Result<LogOpts, String> {
        LogOpts::parse(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn options_are_checked() {
        #[track_caller]
        fn check(name: &str, value: &str, want: Result<(), &str>) {
            match (options(&[(name, value)]), want) {
                (Ok(_), Ok(())) => {}
                (Err(found), Err(want)) => {
                    assert!(found.contains(want), "{found}");
                    assert!(found.starts_with(&format!("log-opt {name}: ")), "{found}");
                    assert!(!found.contains('\n'), "{found}");
                }
                (found, want) => panic!("{name}={value}: {found:?}, not {want:?}"),
            }
        }
        check("tag", "{{.Name}}", Ok(()));
        check("tag", "{{.Nope}}", Err("not known"));
        check("labels", "a,b", Ok(()));
        check("labels-regex", "^a", Ok(()));
        check("labels-regex", "(", Err("unclosed group"));
        check("env-regex", "((a{1000}){1000}){1000}", Err("size limit"));
        check("mode", "non-blocking", Ok(()));
        check("mode", "nonblocking", Err("neither blocking nor non-blocking"));
        check("max-size", "10m", Ok(()));
        check("max-size", "ten", Err("`ten` is no size"));
        check("max-size", "-5m", Err("is no size"));
        check("max-file", "3", Ok(()));
        check("max-file", "0", Err("is no number from 1 up"));
        check("compress", "true", Ok(()));
        check("compress", "yes", Err("neither true nor false"));
        check("cache-disabled", "1", Ok(()));
        check("kafka-brokers", "x:1", Err("is not known; there are tag, labels, "));
        check("kafka-brokers", "x:1", Err("squall-kafka-brokers"));
    }

    #[test]
    fn all_faults_are_told() {
        let told = options(&[("mode", "x"), ("nope", ""), ("tag", "ok")]).expect_err("two are wrong");
        assert!(told.contains("log-opt mode: ") && told.contains("; log-opt nope: "), "{told}");
    }

    #[test]
    fn sizes_are_dockers() {
        #[track_caller]
        fn check(text: &str, want: u64) {
            assert_eq!(size(text), Ok(want), "{text}");
        }
        check("10", 10);
        check("10m", 10_000_000);
        check("10MB", 10_000_000);
        check("1.5k", 1_500);
        check("10MiB", 10 << 20);
        check("2 g", 2_000_000_000);
        check("-1", u64::MAX);
    }

    #[test]
    fn what_the_driver_decides_must_agree() {
        let shared = Shared {
            brokers: vec!["a:1".to_owned(), "b:2".to_owned()],
            topic: "logs".to_owned(),
            compression: "zstd".to_owned(),
            first: 5,
            summary_every: Duration::from_secs(10),
        };
        #[track_caller]
        fn check(shared: &Shared, pairs: &[(&str, &str)], want: Option<&str>) {
            let told = shared.agrees(&options(pairs).expect("they are known")).err().unwrap_or_default();
            assert_eq!(told.is_empty(), want.is_none(), "{told}");
            assert!(told.contains(want.unwrap_or_default()), "{told}");
        }
        check(&shared, &[("squall-kafka-brokers", "a:1,b:2"), ("squall-kafka-topic", "logs")], None);
        check(&shared, &[("squall-first", "5"), ("squall-summary-every", "10s")], None);
        check(&shared, &[("squall-kafka-compression", "lz4")], Some("which says `zstd`"));
        check(&shared, &[("squall-config", "storm: {}")], Some("which says nothing"));
    }
}

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
    /// `squall-first`: lines of an episode that come word for word.
    pub first: Option<u32>,
    /// `squall-summary-every`.
    pub summary_every: Option<Duration>,
    /// `squall-kafka-topic`, where it is not the driver's.
    pub topic: Option<String>,
    /// `squall-config`, where it is the container's own: YAML.
    pub config: Option<String>,
    /// Options about the driver's own config, with what was asked for: who has that config reads them.
    pub of_driver: Vec<(&'static str, String)>,
    /// Options that Docker's documentation has and dockerd does not act on.
    pub idle: Vec<&'static str>,
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
    Size,
    Number,
    Switch,
    /// One that does nothing, of this kind otherwise.
    Idle,
    /// One about the driver's own config.
    OfDriver,
}

/// All options. Those about size and rotation are for the copy that dockerd keeps for `docker logs`, and are its own to act
/// on; but it looks at them only after the driver has said yes, and then leaves the FIFO behind. So they are checked here
/// by dockerd's rules.
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
    ("cache-max-size", Kind::Idle),
    ("cache-max-file", Kind::Idle),
    ("cache-compress", Kind::Idle),
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
        faults.extend(uncompressible(options));
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
            Kind::Size => size(value)?,
            Kind::Number => match value.parse::<u32>() {
                Ok(1..) => {}
                _ => return Err(format!("`{value}` is no number from 1 up")),
            },
            Kind::Switch => drop(switch(value)?),
            Kind::Idle => self.idle.push(name),
            Kind::OfDriver => self.of_driver.push((name, value.to_owned())),
        }
        Ok(())
    }
}

/// dockerd compresses what was rotated, and refuses to where there is only one file. It does so unless told otherwise.
fn uncompressible(options: &BTreeMap<String, String>) -> Option<String> {
    let is = |name: &str, default: bool| options.get(name).map_or(Ok(default), |value| switch(value));
    // A value that is none has been told already.
    let compresses = is("compress", true).ok()? && !is("cache-disabled", false).ok()?;
    let is_alone = options.get("max-file").is_some_and(|files| files.parse() == Ok(1_u32));
    (compresses && is_alone)
        .then(|| "log-opt max-file: 1 needs compress=false with it, says dockerd".to_owned())
}

/// Checks a size as dockerd does: `10m`, `1.5 GB`, `20KiB`. In `max-size` all of these are decimal, in `max-buffer-size` all are
/// binary, an `i` or none. -1 is refused by dockerd, too: without an option there is dockerd's own limit.
fn size(text: &str) -> Result<(), String> {
    let lower = text.to_ascii_lowercase();
    let number = lower.strip_suffix('b').unwrap_or(&lower);
    let number = number.strip_suffix('i').unwrap_or(number);
    let number = number.strip_suffix(['k', 'm', 'g', 't', 'p']).unwrap_or(number);
    let number = number.strip_suffix(' ').unwrap_or(number);
    let is_plain = number.starts_with(|letter: char| letter.is_ascii_digit())
        && number.ends_with(|letter: char| letter.is_ascii_digit())
        && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    match number.parse::<f64>() {
        Ok(number) if is_plain && number > 0.0 => Ok(()),
        _ => Err(format!("`{text}` is no size; write it as 10m, 500k or 1g")),
    }
}

/// What Go takes for true and for false.
fn switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(format!("`{other}` is neither true nor false")),
    }
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
        fn check(texts: &[&str], want: bool) {
            for text in texts {
                assert_eq!(size(text).is_ok(), want, "{text:?}");
            }
        }
        check(&["10", "10m", "10M", "10MB", "1.5k", "10MiB", "2 g", "1tb", "3p", "7b", "10i"], true);
        check(
            &[
                "",
                " ",
                "m",
                "-1",
                "-5m",
                "0",
                "0m",
                "10 apples",
                "1e9",
                ".5k",
                "1.",
                "1.2.3",
                "10  m",
                "10bb",
                "٣m",
            ],
            false,
        );
    }

    #[test]
    fn one_file_is_not_compressed() {
        #[track_caller]
        fn check(pairs: &[(&str, &str)], want: bool) {
            let told = options(pairs).err().unwrap_or_default();
            assert_eq!(told.is_empty(), want, "{told}");
            assert!(want || told.contains("max-file: 1 needs compress=false"), "{told}");
        }
        check(&[("max-file", "1")], false);
        check(&[("max-file", "1"), ("compress", "true")], false);
        check(&[("max-file", "1"), ("compress", "false")], true);
        check(&[("max-file", "1"), ("cache-disabled", "true")], true);
        check(&[("max-file", "2")], true);
    }

    #[test]
    fn options_that_do_nothing_are_known() {
        let found = options(&[("cache-max-size", "10m"), ("max-size", "10m")]).expect("they are known");
        assert_eq!(found.idle, ["cache-max-size"]);
    }
}

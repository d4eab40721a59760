//! Text → checked config, or every fault with file, line and column.
//!
//! In: [`Sources`], the files and whatever else may set a key. Out: a [`Config`] whose every value is inside its
//! limits, or [`Faults`]: all that is wrong, not only the first of it.
//! The way: `tree` reads YAML and keeps places, `interpolate` puts variables in, `merge` lays the sources over
//! each other, `check` turns keys into types. Nothing here reads the environment or a clock: they are handed in.
//! Limit: a file may have 1 MiB; deeper limits stand in `tree`.
//! Not here: the options themselves. Each part defines its own; this module only fills them in.

mod check;
pub mod faults;
mod inside;
mod interpolate;
mod merge;
mod quantity;
mod source;
mod tree;

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;

pub use self::faults::{Faults, Warning};
use self::faults::{Findings, Place, Source};
use self::tree::Node;
use crate::engine::alert::rule::Rule;
use crate::engine::cycle;
use crate::engine::frame::Format;
use crate::engine::line;
use crate::engine::line::multiline;
use crate::engine::line::redact::Redactor;
use crate::engine::record::identity::Identity;
use crate::engine::storm::{self, Collapse};
use crate::input::tail;
pub use crate::input::tail::{From as TailFrom, Options as TailOptions};
use crate::outbox;
pub use crate::outbox::{Durability, WhenFull};
pub use crate::output::file::Options as FileOptions;
pub use crate::output::kafka::Listener as KafkaListener;
use crate::output::{file, kafka, notify};
use crate::resources;
use crate::status;
pub use crate::status::Listen;
use crate::units::Bytes;

/// Reads a time as the config and the flags write it: `10s`, `1m30s`, `250ms`.
///
/// # Errors
/// What to write instead.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    quantity::time(text)
}

/// What `storm.summary_every` may be, and what a container may ask for.
pub const SUMMARY_EVERY: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// A time as the config writes it, in the largest unit that is exact.
pub fn show_time(time: Duration) -> String {
    quantity::show_time(time)
}

/// The largest file that is read, in bytes. A thousand inputs with every key set need a fifth of it.
const FILE_MAX: u64 = 1 << 20;

/// What squall runs on: checked, complete, every value inside its limits.
///
/// The default has no inputs and no outputs: flags alone may give them.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where bytes come from, in the order of the file (`inputs`).
    pub inputs: Vec<Input>,
    /// The limits of lines (`line`).
    pub line: LineConfig,
    /// The limits of folding (`storm`).
    pub storm: storm::Limits,
    /// The limits of loops (`loops`).
    pub loops: cycle::Limits,
    /// Rules that are evaluated on every line (`alerts`), those of files among them.
    pub alerts: Arc<[Rule]>,
    /// Where CPU and memory of containers are read (`resources`).
    pub resources: resources::Options,
    /// Who is told of alerts (`notify`).
    pub notify: notify::Options,
    /// Where metrics are pushed (`notify.pushgateway`).
    pub pushgateway: Option<status::push::Options>,
    /// Memory of the whole process (`budget.memory_max`).
    pub memory_max: Bytes,
    /// Where records go, in the order of the file (`outputs`).
    pub outputs: Vec<Output>,
    /// What must survive the process (`outbox`).
    pub outbox: Outbox,
    /// What may be asked while it runs, and where (`status`).
    pub status: status::Options,
    /// Who sends (`instance`).
    pub identity: Identity,
    /// How long stopping may take before what is undelivered is given up and named (`shutdown_timeout`).
    pub shutdown_timeout: Duration,
    /// Somebody waits for the inputs to end (`--until-eof`; not a key of the file).
    pub until_eof: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            inputs: Vec::new(),
            line: LineConfig::default(),
            storm: storm::Limits::default(),
            loops: cycle::Limits::default(),
            alerts: Arc::default(),
            resources: resources::Options::default(),
            notify: notify::Options::default(),
            pushgateway: None,
            memory_max: Bytes(48 << 20),
            outputs: Vec::new(),
            outbox: Outbox::default(),
            status: status::Options::default(),
            identity: Identity::default(),
            // Two seconds less than the ten that Docker waits between SIGTERM and SIGKILL.
            shutdown_timeout: Duration::from_secs(8),
            until_eof: false,
        }
    }
}

impl Config {
    /// Whether a rule asks for what containers use.
    pub fn asks_for_resources(&self) -> bool {
        check::resources::are_asked_for(&self.alerts)
    }

    /// The limits of lines of one input.
    pub fn line_limits(&self, input: &Input) -> line::Limits {
        let length_max = usize::try_from(self.line.length_max.0).unwrap_or(usize::MAX);
        line::Limits {
            length_max,
            timezone: input.timezone.clone(),
            multiline: input.multiline.clone(),
            redact: self.line.redact.clone(),
        }
    }
}

/// The limits of lines that all inputs share (`line`).
#[derive(Clone, Debug, PartialEq)]
pub struct LineConfig {
    /// The longest text that is kept whole (`line.length_max`).
    pub length_max: Bytes,
    /// What is replaced before anything else sees a line (`line.redact`).
    pub redact: Option<Arc<Redactor>>,
}

impl Default for LineConfig {
    fn default() -> Self {
        LineConfig { length_max: Bytes(line::Limits::default().length_max as u64), redact: None }
    }
}

/// One input (`inputs.<name>`).
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// The name that the user gave it.
    pub name: String,
    /// Files or a pipe (`type`).
    pub kind: InputKind,
    /// How lines are wrapped (`format`).
    pub format: Format,
    /// How far folding goes (`collapse`).
    pub collapse: Collapse,
    /// Labels for its records, in the order of the file (`labels`).
    pub labels: Vec<(String, String)>,
    /// The zone of times that name none (`timezone`).
    pub timezone: TimeZone,
    /// Which lines are joined to one (`multiline`).
    pub multiline: Option<multiline::Options>,
}

impl Input {
    /// An input with every other key at its default.
    pub fn new(name: &str, kind: InputKind) -> Input {
        Input {
            name: name.to_owned(),
            kind,
            format: Format::default(),
            collapse: Collapse::default(),
            labels: Vec::new(),
            timezone: TimeZone::UTC,
            multiline: None,
        }
    }
}

/// What one container of Docker's may have for itself (`--log-opt squall-config`).
#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    /// What becomes of its lines: `collapse`, `labels`, `timezone`, `multiline`.
    pub input: Input,
    /// Lines of an episode that come word for word (`first`).
    pub first: Option<u32>,
    /// How often a summary comes (`summary_every`).
    pub summary_every: Option<Duration>,
    /// The Kafka topic of its records (`kafka_topic`).
    pub topic: Option<String>,
}

impl Default for Container {
    fn default() -> Self {
        let input = Input::new("docker", InputKind::Stdin);
        Container { input, first: None, summary_every: None, topic: None }
    }
}

impl Container {
    /// Reads one from YAML. `name` is what to call it in messages.
    ///
    /// # Errors
    /// All that is wrong, each with line and column, in one line: dockerd shows no more.
    pub fn parse(name: &str, text: &str) -> Result<Container, String> {
        check::container::check(name, text)
    }
}

/// Where the bytes of an input come from (`inputs.<name>.type`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// Followed files.
    Tail(tail::Options),
    /// Standard input.
    Stdin,
}

/// One output (`outputs.<kind>`).
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "there are at most four of them, read once at start")]
pub enum Output {
    /// Apache Kafka.
    Kafka(kafka::Options),
    /// Standard output.
    Console {
        /// One JSON object a line instead of text for people.
        json: bool,
    },
    /// A file, one JSON object a line.
    File(file::Options),
    /// Encoded, counted and thrown away: for measuring.
    Blackhole,
}

/// What must survive the process (`outbox`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outbox {
    /// The state directory; [`outbox::default_dir`] when absent.
    pub dir: Option<PathBuf>,
    /// The most disk it may take.
    pub size_max: Bytes,
    /// What it survives.
    pub durability: Durability,
    /// What happens when it is full.
    pub when_full: WhenFull,
}

impl Default for Outbox {
    fn default() -> Self {
        Outbox {
            dir: None,
            size_max: Bytes(256 << 20),
            durability: Durability::default(),
            when_full: WhenFull::default(),
        }
    }
}

impl Outbox {
    /// What the store is opened with; `default_dir` is where it is when no directory was named.
    pub fn options(&self, default_dir: PathBuf) -> outbox::Options {
        let dir = self.dir.clone().unwrap_or(default_dir);
        outbox::Options { dir, size_max: self.size_max, durability: self.durability }
    }
}

/// Everything that may set a key. Later ones win: files, then `dir`, then `inline`, then `env`, then `sets`.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Files, in the order of their flags.
    pub files: Vec<PathBuf>,
    /// A directory; its `*.yaml` and `*.yml` are read in the order of their names.
    pub dir: Option<PathBuf>,
    /// Configs that are at hand as text, each with what to call it in messages.
    pub inline: Vec<(String, String)>,
    /// The environment. `HOSTNAME` is often not exported by shells: whoever fills this in may add it.
    pub env: Vec<(String, String)>,
    /// `key.path=value`, as given to `--set`.
    pub sets: Vec<String>,
}

/// Reads, merges and checks all sources.
///
/// # Errors
///
/// All faults together: unreadable files, broken YAML, unknown keys, values outside their limits.
pub fn load(sources: &Sources) -> Result<(Config, Vec<Warning>), Faults> {
    let mut findings = Findings::default();
    let texts = read_all(sources, &mut findings);
    let mut root = Node::untyped("", Place::Path(PathBuf::from("config")));
    let mut readable = findings.faults.is_empty();
    for text in &texts {
        let Some(mut tree) = tree::parse(text, &mut findings) else {
            readable = false;
            continue;
        };
        interpolate::interpolate(&mut tree, &sources.env, &mut findings);
        // An empty file, or one with comments only, takes nothing away from the ones before it.
        if !tree.is_null() {
            merge::merge(&mut root, tree);
        }
    }
    if !readable {
        // With a part of the keys not even read, everything else that could be said would mislead.
        return findings.settle(Config::default());
    }
    merge::merge_environment(&mut root, &sources.env, &check::KNOWN, &mut findings);
    merge::merge_sets(&mut root, &sources.sets, &mut findings);
    let config = check::check(&root, &sources.env, &mut findings);
    findings.settle(config)
}

fn read_all(sources: &Sources, findings: &mut Findings) -> Vec<Arc<Source>> {
    let mut texts = Vec::new();
    for path in sources.files.iter().cloned().chain(list_dir(sources.dir.as_deref(), findings)) {
        match read(&path) {
            Ok(bytes) => texts.extend(decode(&path.to_string_lossy(), bytes, findings)),
            Err(error) => {
                findings.fault(Place::Path(path), format!("cannot read this file: {error}"));
            }
        }
    }
    texts.extend(sources.inline.iter().map(|(name, text)| Source::new(name.as_str(), text)));
    texts
}

fn list_dir(dir: Option<&Path>, findings: &mut Findings) -> Vec<PathBuf> {
    let Some(dir) = dir else { return Vec::new() };
    let list = || -> io::Result<Vec<PathBuf>> {
        let paths: io::Result<Vec<PathBuf>> = dir.read_dir()?.map(|entry| Ok(entry?.path())).collect();
        let is_config = |path: &PathBuf| path.extension().is_some_and(|end| end == "yaml" || end == "yml");
        let mut paths: Vec<PathBuf> = paths?.into_iter().filter(is_config).collect();
        paths.sort();
        Ok(paths)
    };
    list().unwrap_or_else(|error| {
        findings.fault(Place::Path(dir.to_owned()), format!("cannot read this directory: {error}"));
        Vec::new()
    })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(bytes)
}

fn decode(name: &str, bytes: Vec<u8>, findings: &mut Findings) -> Option<Arc<Source>> {
    match String::from_utf8(bytes) {
        Ok(text) => Some(Source::new(name, &text)),
        Err(error) => {
            let start = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes());
            let source = Source::new(name, &text);
            // The text before the bad byte is as it was, so its place is the same in both.
            let place = Place::in_text(&source, source.clamp(start..start + '\u{fffd}'.len_utf8()));
            findings.fault(place, "this byte is not UTF-8");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    const DOCUMENTED: &str = include_str!("../../config/squall.yaml");

    pub(super) fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    pub(super) fn load_text(text: &str) -> Result<(Config, Vec<Warning>), Faults> {
        load(&Sources { inline: vec![("squall.yaml".to_owned(), text.to_owned())], ..Sources::default() })
    }

    #[track_caller]
    fn loaded(text: &str) -> (Config, Vec<String>) {
        match load_text(text) {
            Ok((config, warnings)) => {
                (config, warnings.iter().map(|warning| warning.message().to_owned()).collect())
            }
            Err(faults) => panic!("{faults}"),
        }
    }

    /// Takes the `#` from lines where a key follows it at once.
    fn switched_on(text: &str) -> String {
        let switch = |line: &str| match line.split_once('#') {
            Some((indent, key))
                if indent.trim().is_empty() && key.starts_with(|c: char| c.is_ascii_lowercase()) =>
            {
                format!("{indent}{key}\n")
            }
            _ => format!("{line}\n"),
        };
        text.lines().map(switch).collect()
    }

    #[test]
    fn what_the_documented_config_sets_is_the_default() {
        let (config, warnings) = loaded(DOCUMENTED);
        assert_eq!(config, Config::default());
        assert_eq!(warnings, [""; 0]);
    }

    #[test]
    fn what_the_documented_config_could_set_is_the_default() {
        let (config, warnings) = loaded(&switched_on(DOCUMENTED));
        let tailing = tail::Options { include: vec!["/var/log/app/*.log".to_owned()], ..Default::default() };
        let to_kafka = kafka::Options {
            brokers: vec!["localhost:9092".to_owned()],
            topic: "logs".to_owned(),
            ..Default::default()
        };
        let mut want =
            Config { inputs: vec![Input::new("app", InputKind::Tail(tailing))], ..Config::default() };
        want.outputs = vec![
            Output::Kafka(to_kafka),
            Output::Console { json: false },
            Output::File(file::Options { path: "/var/log/squall.json".into() }),
            Output::Blackhole,
        ];
        assert_eq!(config, want);
        assert_eq!(warnings, [""; 0]);
    }

    #[test]
    fn every_known_key_is_documented() {
        for key in check::KNOWN {
            assert!(switched_on(DOCUMENTED).contains(&format!("\n{key}:")), "{key}");
        }
    }

    #[test]
    fn examples_load() {
        #[track_caller]
        fn check(text: &str, want: &str) {
            let (config, warnings) = loaded(text);
            let [Output::Kafka(options)] = config.outputs.as_slice() else { panic!("{:?}", config.outputs) };
            assert_eq!((config.inputs.len(), options.topic.as_str()), (1, want));
            assert_eq!(warnings, [""; 0]);
        }
        check(include_str!("../../config/examples/sidecar.yaml"), "logs");
        check(include_str!("../../config/examples/docker-host.yaml"), "docker-logs");
        check(include_str!("../../config/examples/kubernetes.yaml"), "pod-logs");
    }

    #[test]
    fn files_and_directories() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            fs::write(&path, bytes).expect("a file in it");
            path
        };
        let main = file("main.conf", b"storm: { first: 1, enter: 1, examples: 1 }");
        file("20.yml", b"storm: { enter: 3, examples: 3 }");
        file("10.yaml", b"storm: { enter: 2 }");
        file("30.yaml.bak", b"storm: { enter: 4 }");
        let sources = Sources { files: vec![main], dir: Some(dir.path().to_owned()), ..Sources::default() };
        let (config, _) = load(&sources).expect("a good config");
        assert_eq!((config.storm.first, config.storm.enter, config.storm.examples), (1, 3, 3));

        let bad = vec![
            file("latin1", b"# a\n# gr\xfc\xdfe\n"),
            file("large", &vec![b'#'; (1 << 20) + 1]),
            dir.path().join("absent"),
        ];
        let faults = load(&Sources { files: bad, ..Sources::default() }).expect_err("three bad files");
        let found: Vec<_> = faults.iter().map(|fault| (fault.message(), fault.place().position())).collect();
        assert_eq!(found[0], ("this byte is not UTF-8", Some((2, 5))));
        assert_eq!(found[1].0, "cannot read this file: it is larger than 1 MiB");
        assert!(found[2].0.starts_with("cannot read this file: No such file"), "{}", found[2].0);
        let absent = Sources { dir: Some(dir.path().join("absent")), ..Sources::default() };
        assert!(load(&absent).expect_err("no directory").to_string().contains("cannot read this directory"));
    }

    #[test]
    fn line_limits_follow_the_input() {
        let (config, _) = loaded("line: {length_max: 2KiB}\ninputs: {a: {type: stdin, timezone: +02:00}}");
        let limits = config.line_limits(&config.inputs[0]);
        assert_eq!(limits.length_max, 2048);
        assert_eq!(limits.timezone, TimeZone::fixed(jiff::tz::offset(2)));
    }

    /// Loading must end, and what it says must be printable.
    fn survives(text: &str, env: &[(&str, &str)], set: &str) {
        let inline = vec![("t".to_owned(), text.to_owned())];
        let found =
            load(&Sources { inline, env: pairs(env), sets: vec![set.to_owned()], ..Sources::default() });
        if let Err(faults) = found {
            let printed = faults.to_string();
            assert!(!printed.contains(|c: char| c.is_control() && c != '\n'), "{printed:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn arbitrary_text_never_panics(text in any::<String>(), soup in "[ab:{}\\[\\] \n\t\"'&*!|>$%?#,-]{0,80}") {
            survives(&text, &[("SQUALL_STORM", &soup), ("A", &text)], &soup);
            survives(&soup, &[("SQUALL_INPUTS__A__TYPE", &text)], &format!("outputs={soup}"));
            survives(&format!("outputs:\n  kafka:\n    topic: {soup}"), &[], &text);
        }

        #[test]
        fn damaged_configs_never_panic(at in 0..DOCUMENTED.len(), cut in 0usize..40, put in "\\PC{0,8}") {
            let text = switched_on(DOCUMENTED);
            let start = text.floor_char_boundary(at);
            let end = text.floor_char_boundary((start + cut).min(text.len())).max(start);
            survives(&format!("{}{put}{}", &text[..start], &text[end..]), &[], "storm.first=1");
        }
    }
}

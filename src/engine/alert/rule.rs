//! A rule, read and checked: what is measured, of which lines, against which limit, and who is told.
//!
//! Made by `parse` from the text of `when`, and by the config from the rest. A rule that exists can be
//! evaluated: its patterns are compiled, its units agree, its windows are within bounds.

use std::time::Duration;

use regex::bytes::Regex;
use serde::{Deserialize, Serialize};

use super::template::Template;
use crate::engine::line::level::Level;

/// One rule of the config.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name (`alert:`); unique within its group.
    pub name: Box<str>,
    /// The group that it stands in.
    pub group: Box<str>,
    /// What makes it true.
    pub when: When,
    /// `when` as it was written, for records and for people.
    pub text: Box<str>,
    /// How long it must be true before it fires (`for`).
    pub hold: Duration,
    /// How long it goes on firing when it is not true any more.
    pub keep_firing_for: Duration,
    /// Its identity together with the name: sorted by name. Values are texts without templates.
    pub labels: Box<[(Box<str>, Box<str>)]>,
    /// What people are told, in the order of the config.
    pub annotations: Box<[(Box<str>, Template)]>,
}

/// Two rules are the same when they were written the same: `when` follows from its text, and compiled patterns cannot be
/// compared.
impl PartialEq for Rule {
    fn eq(&self, other: &Rule) -> bool {
        (&self.name, &self.group, &self.text) == (&other.name, &other.group, &other.text)
            && (self.hold, self.keep_firing_for) == (other.hold, other.keep_firing_for)
            && self.labels == other.labels
            && self.annotations == other.annotations
    }
}

/// What makes a rule true.
#[derive(Clone, Debug)]
pub enum When {
    /// `MEASURE COMPARE LIMIT within T`: something is measured over a sliding window.
    Measured {
        /// What is measured.
        measure: Measure,
        /// How it is compared.
        compare: Compare,
        /// With what.
        limit: Limit,
        /// The length of the window.
        within: Duration,
        /// Whether each source is judged by itself.
        by: By,
    },
    /// `new_template(FILTER)`: a template that was never seen, in a line that the filter lets through.
    NewTemplate {
        /// Which lines.
        filter: Filter,
    },
    /// `loop(verdict = "none", period < 1s, iterations >= 10)`: a loop is open and all of this is so.
    Loop {
        /// What must be so; empty for any loop.
        conditions: Box<[LoopCondition]>,
    },
    /// `absent(FILTER) for T`: no such line for so long. It counts from the start, too.
    Absent {
        /// Which lines.
        filter: Filter,
        /// For how long.
        during: Duration,
        /// Whether each source is judged by itself (a source is judged from its first line on).
        by: By,
    },
    /// `resource(cpu > 50%)`, `resource(memory > 2GB, container = "api-gateway")`: each container is judged by itself.
    Resource {
        /// Which one.
        resource: Resource,
        /// How it is compared.
        compare: Compare,
        /// With what: a share of one core (1.0 is a whole one), or bytes.
        limit: f64,
        /// Of which containers; `None` for all.
        container: Option<NameTest>,
    },
}

/// What is measured over a window.
#[derive(Clone, Debug)]
pub enum Measure {
    /// `count(FILTER)`: lines.
    Count(Filter),
    /// `rate(FILTER)`: lines per second, over the whole window.
    Rate(Filter),
    /// `ratio(PART, WHOLE)`: a share from 0 to 1. Lines of `part` count only where `whole` lets them through, too.
    Ratio {
        /// What is counted.
        part: Filter,
        /// Among what.
        whole: Filter,
        /// With fewer lines than this in `whole` the share says nothing (`least 20`).
        least: u64,
    },
    /// `mean(FIELD where FILTER)`, and `min`, `max`, `p50`, `p95`, `p99`.
    Number {
        /// What is made of the values.
        statistic: Statistic,
        /// Where the values come from.
        field: Field,
        /// Of which lines.
        filter: Filter,
        /// With fewer values in the window the number says nothing.
        least: u64,
    },
}

/// What is made of many values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Statistic {
    /// The arithmetic mean.
    Mean,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// The value that so many per cent are not above: 50, 95 or 99.
    Percentile(u8),
}

/// A number in a line.
#[derive(Clone, Debug)]
pub enum Field {
    /// A field of JSON, logfmt or `key=value`, nested names joined with dots.
    Named(Box<str>),
    /// The group `name` of a pattern: `mean(/took (?<ms>\d+) ms/.ms)`.
    Group {
        /// The pattern.
        pattern: Regex,
        /// Index of the group.
        group: usize,
        /// Its name.
        name: Box<str>,
    },
}

/// What a measured value is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// A number; times in seconds, sizes in bytes, shares from 0 to 1, rates per second.
    Value(f64),
    /// So many times the rule's own past (`3 x baseline`).
    TimesBaseline(f64),
}

/// How two numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `=` (also `==`)
    Equal,
    /// `!=`
    Unequal,
}

impl Compare {
    /// Whether `value` is so compared with `limit`.
    #[inline]
    pub fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Compare::Above => value > limit,
            Compare::AtLeast => value >= limit,
            Compare::Below => value < limit,
            Compare::AtMost => value <= limit,
            Compare::Equal => value == limit,
            Compare::Unequal => value != limit,
        }
    }
}

/// Who is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// All lines together.
    #[default]
    All,
    /// Each stream by itself (`by stream`): the alert gets a label `stream`.
    Stream,
}

/// Which lines are meant.
#[derive(Clone, Debug)]
pub enum Filter {
    /// All.
    All,
    /// `message =~ "…"`, `message contains "…"`, `message = "…"`, or just `"…"` (contains).
    Message(Text),
    /// `stream = "…"`: the name of the stream, which is the Kafka key.
    Stream(Text),
    /// `level >= error`.
    Level(Compare, Level),
    /// `field(status) = "timeout"` on the text of a field.
    FieldText(Box<str>, Text),
    /// `status >= 500` on the number in a field.
    FieldNumber(Box<str>, Compare, f64),
    /// All of these.
    And(Box<[Filter]>),
    /// Any of these.
    Or(Box<[Filter]>),
    /// Not this.
    Not(Box<Filter>),
}

/// How a text is matched.
#[derive(Clone, Debug)]
pub enum Text {
    /// `= "…"`.
    Is(Box<[u8]>),
    /// `contains "…"`.
    Contains(Box<[u8]>),
    /// `=~ "…"`: the pattern is found anywhere (anchors are the writer's). Boxed: a compiled pattern is large.
    Matches(Box<Regex>),
}

impl Text {
    /// Whether a name matches.
    pub fn is_true_of(&self, name: &str) -> bool {
        let name = name.as_bytes();
        match self {
            Text::Is(text) => name == &**text,
            Text::Contains(text) => memchr::memmem::find(name, text).is_some(),
            Text::Matches(pattern) => pattern.is_match(name),
        }
    }
}

/// Which names are meant.
#[derive(Clone, Debug)]
pub struct NameTest {
    /// What is looked for.
    pub text: Text,
    /// Those that do not match are meant (`!=`, `!~`).
    pub is_not: bool,
}

/// What must be so of a loop.
#[derive(Clone, Debug, PartialEq)]
pub enum LoopCondition {
    /// `verdict = "none"`, one of the words on the wire, or several (`verdict in ("none", "constant")`).
    Verdict(Box<[Box<str>]>),
    /// `endpoint contains "…"`.
    Endpoint(Box<str>),
    /// `iterations >= 10`.
    Iterations(Compare, u64),
    /// `period < 1s`, of the median in seconds.
    Period(Compare, f64),
}

/// A resource of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Share of one core.
    Cpu,
    /// Bytes.
    Memory,
}

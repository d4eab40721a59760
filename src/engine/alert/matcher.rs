//! Which rules a line concerns.
//!
//! In: the text of a line and its stream. Out: a [`Hit`] for each rule that counts it, with the number that it brings.
//! The patterns of all rules are searched for in one pass; what else a filter asks (level, fields) is found out only where
//! its pattern was there. The answer depends on text and stream alone, so it is remembered by their hash: in a storm of
//! repeats a line costs that hash and one comparison, however many rules there are.
//! Limits: [`SLOTS`] answers of up to [`HITS_KEPT`] hits are remembered. A hash of 64 bits, seeded by the process, stands for
//! a text, as in `template::body_cache`.

use std::collections::HashMap;

use regex::bytes::{Regex, RegexSet, RegexSetBuilder};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::rule::{Compare, Field, Filter, Measure, Rule, Text, When};
use crate::engine::line::fields::{Fields, quantity};
use crate::engine::line::level::{self, Level};

/// A rule counts the line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Hit {
    /// The rule's place.
    pub(super) rule: u32,
    /// The number that the line brings; of a ratio 1 where the line is in the part, else 0.
    pub(super) value: f64,
    /// What the number counts.
    pub(super) unit: Unit,
}

/// The unit of a number, as people want to see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Unit {
    /// As it is.
    #[default]
    None,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A share from 0 to 1.
    Share,
    /// Per second.
    PerSecond,
}

/// The line that is asked about.
#[derive(Clone, Copy)]
struct Asked<'a> {
    text: &'a [u8],
    stream: &'a [u8],
}

/// Finds the rules that a line concerns.
#[derive(Debug)]
pub(super) struct Matcher {
    uses: Vec<Use>,
    /// `None` without patterns, or where they are too large together: then each is tried by itself.
    set: Option<RegexSet>,
    patterns: Vec<Text>,
    /// For each pattern, the uses that need it.
    needs: Vec<Vec<u32>>,
    /// The uses that need none.
    always: Vec<u32>,
    /// Names of fields that are asked for.
    names: HashMap<Box<[u8]>, u32>,
    scratch: Scratch,
    answers: Box<[Answer]>,
    seed: u64,
}

/// What is known of the line that is asked about.
#[derive(Debug, Default)]
struct Scratch {
    fields: Fields,
    /// Whether each pattern is there, and those that are.
    found: Vec<bool>,
    there: Vec<usize>,
    level: Option<Option<Level>>,
    /// Where the values of the fields that are asked for stand in the text, once they were looked for.
    values: Option<Vec<Option<Box<[u8]>>>>,
    hits: Vec<Hit>,
}

/// What a rule wants of a line.
#[derive(Debug)]
struct Use {
    rule: u32,
    filter: Node,
    want: Want,
}

#[derive(Debug)]
enum Want {
    Line,
    /// Whether it is in the part, too.
    Part(Node),
    Named(u32),
    Group(Regex, usize),
}

/// A [`Filter`] whose patterns and names are numbers.
#[derive(Debug)]
enum Node {
    All,
    Pattern(u32),
    Message(Text),
    Stream(Text),
    Level(Compare, Level),
    FieldText(u32, Text),
    FieldNumber(u32, Compare, f64),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
}

#[derive(Clone, Debug, Default)]
struct Answer {
    /// 0 where nothing is remembered.
    hash: u64,
    hits: Vec<Hit>,
}

impl Matcher {
    pub(super) fn new(rules: &[Rule], seed: u64) -> Matcher {
        let mut builder = Builder::default();
        for (index, rule) in rules.iter().enumerate() {
            builder.rule(index as u32, rule); // rules of a config: far below 2^32
        }
        let Builder { uses, patterns, names, .. } = builder;
        let mut needs = vec![Vec::new(); patterns.len()];
        let mut always = Vec::new();
        for (index, each) in uses.iter().enumerate() {
            match each.filter.needed() {
                Some(pattern) => needs[pattern as usize].push(index as u32),
                None => always.push(index as u32),
            }
        }
        Matcher {
            set: set_of(&patterns),
            scratch: Scratch { found: vec![false; patterns.len()], ..Scratch::default() },
            answers: vec![Answer::default(); if uses.is_empty() { 0 } else { SLOTS }].into_boxed_slice(),
            uses,
            patterns,
            needs,
            always,
            names,
            seed,
        }
    }

    /// The rules that count this line.
    #[inline]
    pub(super) fn hits(&mut self, text: &[u8], stream: &str, stream_hash: u64) -> &[Hit] {
        if self.answers.is_empty() {
            return &[];
        }
        let hash = xxh3_64_with_seed(text, self.seed ^ stream_hash).max(1);
        let slot = (hash >> 48) as usize % SLOTS;
        if self.answers[slot].hash == hash {
            return &self.answers[slot].hits;
        }
        self.ask(Asked { text, stream: stream.as_bytes() }, slot, hash)
    }

    #[cold]
    fn ask(&mut self, asked: Asked<'_>, slot: usize, hash: u64) -> &[Hit] {
        let Matcher { uses, set, patterns, needs, always, names, scratch, .. } = self;
        scratch.begin();
        match set {
            Some(set) => scratch.there.extend(set.matches(asked.text).iter()),
            None => {
                let there = patterns.iter().enumerate().filter(|(_, pattern)| pattern.is_in(asked.text));
                scratch.there.extend(there.map(|(index, _)| index));
            }
        }
        for index in 0..scratch.there.len() {
            let pattern = scratch.there[index];
            scratch.found[pattern] = true;
        }
        let there = std::mem::take(&mut scratch.there);
        let needing = there.iter().flat_map(|&pattern| &needs[pattern]);
        for &index in needing.chain(&*always) {
            if let Some(hit) = uses[index as usize].hit(asked, names, scratch) {
                scratch.hits.push(hit);
            }
        }
        scratch.there = there;
        let scratch = &self.scratch;
        let answer = &mut self.answers[slot];
        if scratch.hits.len() > HITS_KEPT {
            return &scratch.hits;
        }
        answer.hash = hash;
        answer.hits.clear();
        answer.hits.extend_from_slice(&scratch.hits);
        &answer.hits
    }

    pub(super) fn size(&self) -> usize {
        let hits: usize = self.answers.iter().map(|answer| answer.hits.capacity() * size_of::<Hit>()).sum();
        let uses = self.uses.len() * size_of::<Use>() + self.patterns.len() * PATTERN_SIZE;
        size_of_val(&*self.answers) + hits + uses
    }
}

/// Remembered answers.
const SLOTS: usize = 1024;
/// Hits of an answer that is remembered.
const HITS_KEPT: usize = 64;
/// About what a pattern takes in the set.
const PATTERN_SIZE: usize = 2048;
/// The most that the automaton of all patterns may take, compiled and while it searches.
const SET_MAX: usize = 8 << 20;
const SEARCH_MAX: usize = 2 << 20;

fn set_of(patterns: &[Text]) -> Option<RegexSet> {
    if patterns.is_empty() {
        return None;
    }
    let sources = patterns.iter().map(|pattern| match pattern {
        Text::Is(text) => format!(r"\A(?:{})\z", escaped(text)),
        Text::Contains(text) => escaped(text),
        Text::Matches(pattern) => pattern.as_str().to_owned(),
    });
    RegexSetBuilder::new(sources).size_limit(SET_MAX).dfa_size_limit(SEARCH_MAX).build().ok()
}

/// A pattern for these very bytes.
fn escaped(text: &[u8]) -> String {
    match std::str::from_utf8(text) {
        Ok(text) => regex::escape(text),
        Err(_) => {
            let bytes = text.iter().map(|byte| format!(r"\x{byte:02x}")).collect::<String>();
            format!("(?-u:{bytes})")
        }
    }
}

impl Text {
    /// Whether `text` is what is looked for, or has it in it.
    pub(super) fn is_in(&self, text: &[u8]) -> bool {
        match self {
            Text::Is(wanted) => **wanted == *text,
            Text::Contains(wanted) => memchr::memmem::find(text, wanted).is_some(),
            Text::Matches(pattern) => pattern.is_match(text),
        }
    }
}

impl Scratch {
    fn begin(&mut self) {
        for pattern in self.there.drain(..) {
            self.found[pattern] = false;
        }
        self.level = None;
        self.values = None;
        self.hits.clear();
    }

    /// The text of a field. All that are asked for are read at once, and only when one is.
    fn field(&mut self, names: &HashMap<Box<[u8]>, u32>, text: &[u8], name: u32) -> Option<&[u8]> {
        let fields = &mut self.fields;
        let values = self.values.get_or_insert_with(|| {
            let mut values = vec![None; names.len()];
            fields.read(text, &mut |name, value| {
                let place = names.get(name).and_then(|place| values.get_mut(*place as usize));
                // The first one of a name is meant.
                if let Some(empty @ None) = place {
                    *empty = Some(Box::from(value.bytes));
                }
            });
            values
        });
        values.get(name as usize)?.as_deref()
    }
}

impl Use {
    fn hit(&self, asked: Asked<'_>, names: &HashMap<Box<[u8]>, u32>, scratch: &mut Scratch) -> Option<Hit> {
        if !self.filter.lets(asked, names, scratch) {
            return None;
        }
        let (value, unit) = match &self.want {
            Want::Line => (1.0, Unit::None),
            Want::Part(part) => (f64::from(u8::from(part.lets(asked, names, scratch))), Unit::Share),
            Want::Named(name) => number(scratch.field(names, asked.text, *name)?)?,
            Want::Group(pattern, group) => number(pattern.captures(asked.text)?.get(*group)?.as_bytes())?,
        };
        Some(Hit { rule: self.rule, value, unit })
    }
}

/// The number that a text is, in seconds, bytes or as a share where it says so.
fn number(text: &[u8]) -> Option<(f64, Unit)> {
    let base = quantity(text.trim_ascii())?.in_base_unit();
    Some(match base.unit {
        "s" => (base.number, Unit::Seconds),
        "B" => (base.number, Unit::Bytes),
        "%" => (base.number / 100.0, Unit::Share),
        _ => (base.number, Unit::None),
    })
}

impl Node {
    /// A pattern without which no line is let through.
    fn needed(&self) -> Option<u32> {
        match self {
            Node::Pattern(pattern) => Some(*pattern),
            Node::And(parts) => parts.iter().find_map(Node::needed),
            _ => None,
        }
    }

    fn lets(&self, asked: Asked<'_>, names: &HashMap<Box<[u8]>, u32>, scratch: &mut Scratch) -> bool {
        match self {
            Node::All => true,
            Node::Pattern(pattern) => scratch.found[*pattern as usize],
            Node::Message(text) => text.is_in(asked.text),
            Node::Stream(text) => text.is_in(asked.stream),
            Node::Level(compare, wanted) => {
                let level = *scratch.level.get_or_insert_with(|| level::detect(asked.text));
                level.is_some_and(|level| compare.holds(f64::from(level as u8), f64::from(*wanted as u8)))
            }
            Node::FieldText(name, text) => {
                scratch.field(names, asked.text, *name).is_some_and(|value| text.is_in(value))
            }
            Node::FieldNumber(name, compare, limit) => {
                let value = scratch.field(names, asked.text, *name).and_then(number);
                value.is_some_and(|(value, _)| compare.holds(value, *limit))
            }
            Node::And(parts) => parts.iter().all(|part| part.lets(asked, names, scratch)),
            Node::Or(parts) => parts.iter().any(|part| part.lets(asked, names, scratch)),
            Node::Not(part) => !part.lets(asked, names, scratch),
        }
    }
}

#[derive(Default)]
struct Builder {
    uses: Vec<Use>,
    patterns: Vec<Text>,
    /// The places of the patterns, by what they look for.
    known: HashMap<(u8, Box<[u8]>), u32>,
    names: HashMap<Box<[u8]>, u32>,
}

impl Builder {
    fn rule(&mut self, index: u32, rule: &Rule) {
        let (filter, want) = match &rule.when {
            When::Measured { measure: Measure::Count(filter) | Measure::Rate(filter), .. }
            | When::NewTemplate { filter }
            | When::Absent { filter, .. } => (self.node(filter), Want::Line),
            When::Measured { measure: Measure::Ratio { part, whole, .. }, .. } => {
                (self.node(whole), Want::Part(self.node(part)))
            }
            When::Measured { measure: Measure::Number { field, filter, .. }, .. } => match field {
                Field::Named(name) => (self.node(filter), Want::Named(self.name(name))),
                Field::Group { pattern, group, .. } => {
                    let there = self.pattern(&Text::Matches(Box::new(pattern.clone())));
                    let both = Node::And(vec![there, self.node(filter)]);
                    (both, Want::Group(pattern.clone(), *group))
                }
            },
            When::Loop { .. } | When::Resource { .. } => return,
        };
        self.uses.push(Use { rule: index, filter, want });
    }

    fn node(&mut self, filter: &Filter) -> Node {
        match filter {
            Filter::All => Node::All,
            // Cheaper than a place in the automaton, which would have to know the whole text.
            Filter::Message(text @ Text::Is(_)) => Node::Message(text.clone()),
            Filter::Message(text) => self.pattern(text),
            Filter::Stream(text) => Node::Stream(text.clone()),
            Filter::Level(compare, level) => Node::Level(*compare, *level),
            Filter::FieldText(name, text) => Node::FieldText(self.name(name), text.clone()),
            Filter::FieldNumber(name, compare, limit) => Node::FieldNumber(self.name(name), *compare, *limit),
            Filter::And(parts) => Node::And(parts.iter().map(|part| self.node(part)).collect()),
            Filter::Or(parts) => Node::Or(parts.iter().map(|part| self.node(part)).collect()),
            Filter::Not(part) => Node::Not(Box::new(self.node(part))),
        }
    }

    /// The same pattern of several rules is looked for once.
    fn pattern(&mut self, text: &Text) -> Node {
        let key = match text {
            Text::Is(text) => (0, text.clone()),
            Text::Contains(text) => (1, text.clone()),
            Text::Matches(pattern) => (2, Box::from(pattern.as_str().as_bytes())),
        };
        let patterns = &mut self.patterns;
        Node::Pattern(*self.known.entry(key).or_insert_with(|| {
            patterns.push(text.clone());
            patterns.len() as u32 - 1 // patterns of a config: far below 2^32
        }))
    }

    fn name(&mut self, name: &str) -> u32 {
        let next = self.names.len() as u32;
        *self.names.entry(Box::from(name.as_bytes())).or_insert(next)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{contains, count, matches, rule};
    use super::*;

    fn numbers_of(rules: &[Rule], text: &str) -> Vec<(u32, f64)> {
        let mut matcher = Matcher::new(rules, 7);
        let first = matcher.hits(text.as_bytes(), "gateway/stderr", 1).to_vec();
        let again = matcher.hits(text.as_bytes(), "gateway/stderr", 1).to_vec();
        assert_eq!(first, again, "what is remembered is what was found");
        let mut hits: Vec<_> = first.iter().map(|hit| (hit.rule, hit.value)).collect();
        hits.sort_by_key(|hit| hit.0);
        hits
    }

    #[test]
    fn filters() {
        #[track_caller]
        fn check(filter: Filter, text: &str, want: bool) {
            let rules = [rule("R", count(filter, 1.0, 60))];
            assert_eq!(!numbers_of(&rules, text).is_empty(), want, "{text}");
        }
        let not = |filter| Filter::Not(Box::new(filter));
        let number = |name: &str, compare, limit| Filter::FieldNumber(name.into(), compare, limit);
        check(Filter::All, "", true);
        check(contains("timeout"), "WebSocket timeout", true);
        check(contains("timeout"), "WebSocket Timeout", false);
        check(contains("a+b"), "aab", false);
        check(matches("time-?out"), "a time-out", true);
        check(matches("^time"), "a time-out", false);
        check(Filter::Message(Text::Is(Box::from(*b"up"))), "up", true);
        check(Filter::Message(Text::Is(Box::from(*b"up"))), "up again", false);
        check(Filter::Message(Text::Contains(Box::from(*b"\xff"))), "up", false);
        check(Filter::Stream(Text::Contains(Box::from(*b"stderr"))), "x", true);
        check(Filter::Stream(Text::Is(Box::from(*b"stderr"))), "x", false);
        check(Filter::Level(Compare::AtLeast, Level::Warn), "ERROR: no", true);
        check(Filter::Level(Compare::AtLeast, Level::Warn), "INFO: no", false);
        check(Filter::Level(Compare::AtLeast, Level::Warn), "nothing said", false);
        check(number("status", Compare::AtLeast, 500.0), r#"{"status":503}"#, true);
        check(number("status", Compare::AtLeast, 500.0), r#"{"status":"503"}"#, true);
        check(number("status", Compare::AtLeast, 500.0), "status=404 took=5ms", false);
        check(number("took", Compare::Above, 0.2), "GET / took=281ms", true);
        check(number("cpu", Compare::Above, 0.5), "cpu=87%", true);
        check(Filter::FieldText("a.b".into(), Text::Is(Box::from(*b"x"))), r#"{"a":{"b":"x"}}"#, true);
        check(Filter::And([contains("a"), not(contains("b"))].into()), "a", true);
        check(Filter::And([contains("a"), not(contains("b"))].into()), "ab", false);
        check(Filter::Or([contains("a"), Filter::Level(Compare::Equal, Level::Error)].into()), "ERROR", true);
    }

    #[test]
    fn one_line_may_concern_many_rules() {
        let rules: Vec<Rule> =
            (0..100).map(|at| rule("R", count(contains(&format!("word{at}")), 1.0, 60))).collect();
        assert_eq!(numbers_of(&rules, "word7"), [(7, 1.0)]);
        assert_eq!(numbers_of(&rules, "word12 word5"), [(1, 1.0), (5, 1.0), (12, 1.0)]);
        let same: Vec<Rule> = (0..100).map(|_| rule("R", count(contains("word"), 1.0, 60))).collect();
        assert_eq!(numbers_of(&same, "word").len(), 100, "more than are remembered");
    }

    #[test]
    fn an_answer_is_of_one_stream() {
        let stderr = Filter::Stream(Text::Contains(Box::from(*b"stderr")));
        let mut matcher = Matcher::new(&[rule("R", count(stderr, 1.0, 60))], 7);
        assert_eq!(matcher.hits(b"x", "a/stderr", 1).len(), 1);
        assert_eq!(matcher.hits(b"x", "a/stdout", 2).len(), 0);
    }
}

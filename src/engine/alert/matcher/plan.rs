//! The filters of all rules, made ready: what is asked of lines, each thing once, and when it must be asked at all.
//!
//! In: the rules. Out: a [`Plan`]: for each rule that is about lines a [`Use`], and for each needle the uses that can
//! only hold where it is.
//! Not here: the answers (`look`).

use std::collections::HashMap;

use regex::bytes::{Regex, RegexSet, RegexSetBuilder};

use super::needle::{Needle, Needles};
use super::sieve::Sieve;
use crate::engine::alert::rule::{Compare, Field, Filter, Measure, Rule, Text, When};
use crate::engine::line::level::Level;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) uses: Vec<Use>,
    pub(super) sieve: Sieve,
    /// How many needles there are.
    pub(super) needles: usize,
    /// For each needle, the uses that need it, or another one that they have in its place.
    pub(super) needs: Vec<Vec<u32>>,
    /// The uses that need none.
    pub(super) always: Vec<u32>,
    pub(super) tests: Vec<Test>,
    /// Patterns that needles do not decide.
    pub(super) patterns: Vec<Regex>,
    /// All of them together; `None` where there are none, or they are too large.
    pub(super) set: Option<RegexSet>,
    /// Names of fields that are asked for.
    pub(super) names: Names,
}

/// The numbers of names. Each name in a line is looked up; the rules' names are the operator's own, so nobody aims at it.
pub(super) type Names = HashMap<Box<[u8]>, u32, foldhash::fast::RandomState>;

/// What a rule wants of a line.
#[derive(Debug)]
pub(super) struct Use {
    /// The rule's place.
    pub(super) rule: u32,
    pub(super) filter: Node,
    pub(super) want: Want,
}

#[derive(Debug)]
pub(super) enum Want {
    Line,
    /// Whether it is in the part, too.
    Part(Node),
    Named(u32),
    Group(Regex, usize),
}

/// A [`Filter`] whose tests and names are numbers.
#[derive(Debug)]
pub(super) enum Node {
    All,
    Test(u32),
    Message(Text),
    Stream(Text),
    Level(Compare, Level),
    FieldText(u32, Text),
    FieldNumber(u32, Compare, f64),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
}

/// A test of the text that several rules may have.
#[derive(Debug)]
pub(super) enum Test {
    /// One of these needles is there.
    AnyOf(Vec<u32>),
    /// The pattern of this number is.
    Pattern(u32),
}

impl Plan {
    pub(super) fn of(rules: &[Rule]) -> Plan {
        let mut builder = Builder::default();
        for (index, rule) in rules.iter().enumerate() {
            builder.rule(index as u32, rule); // rules of a config: far below 2^32
        }
        let Builder { uses, needles, needed, tests, patterns, names, .. } = builder;
        let mut needs = vec![Vec::new(); needles.len()];
        let mut always = Vec::new();
        for (index, needed) in needed.into_iter().enumerate() {
            let index = index as u32;
            match needed {
                Some(needed) => needed.iter().for_each(|needle| needs[*needle as usize].push(index)),
                None => always.push(index),
            }
        }
        let set = set_of(&patterns);
        let sieve = Sieve::new(needles);
        Plan { needles: needs.len(), uses, sieve, needs, always, tests, patterns, set, names }
    }

    pub(super) fn size(&self) -> usize {
        self.uses.len() * size_of::<Use>() + self.patterns.len() * PATTERN_SIZE + self.sieve.size()
    }
}

/// About what a pattern takes, alone and in the set.
const PATTERN_SIZE: usize = 2048;
/// The most that the automaton of all patterns may take, compiled and while it searches.
const SET_MAX: usize = 8 << 20;
const SEARCH_MAX: usize = 2 << 20;

fn set_of(patterns: &[Regex]) -> Option<RegexSet> {
    if patterns.is_empty() {
        return None;
    }
    let sources = patterns.iter().map(Regex::as_str);
    RegexSetBuilder::new(sources).size_limit(SET_MAX).dfa_size_limit(SEARCH_MAX).build().ok()
}

#[derive(Default)]
struct Builder {
    uses: Vec<Use>,
    /// For each use the needles of which it needs one, if it does.
    needed: Vec<Option<Vec<u32>>>,
    needles: Vec<Needle>,
    tests: Vec<Test>,
    patterns: Vec<Regex>,
    /// The places of needles and tests, by what they look for.
    known_needles: HashMap<Needle, u32>,
    known_tests: HashMap<(bool, Box<[u8]>), u32>,
    names: Names,
}

impl Builder {
    fn rule(&mut self, index: u32, rule: &Rule) {
        let (filter, needles, want) = match &rule.when {
            When::Measured { measure: Measure::Count(filter) | Measure::Rate(filter), .. }
            | When::NewTemplate { filter }
            | When::Absent { filter, .. } => (self.node(filter), needles_of(filter), Want::Line),
            When::Measured { measure: Measure::Ratio { part, whole, .. }, .. } => {
                (self.node(whole), needles_of(whole), Want::Part(self.node(part)))
            }
            When::Measured { measure: Measure::Number { field, filter, .. }, .. } => {
                self.number(field, filter)
            }
            When::Loop { .. } | When::Resource { .. } => return,
        };
        let needed = needles.map(|needles| self.needles(needles.any_of));
        self.needed.push(needed);
        self.uses.push(Use { rule: index, filter, want });
    }

    /// A rule about a number in its lines: where there is none, the line is not meant.
    fn number(&mut self, field: &Field, filter: &Filter) -> (Node, Option<Needles>, Want) {
        let (own, want) = match field {
            Field::Named(name) => (Needles::of_field(name), Want::Named(self.name(name))),
            Field::Group { pattern, group, .. } => {
                (Needles::of(&Text::Matches(Box::new(pattern.clone()))), Want::Group(pattern.clone(), *group))
            }
        };
        let needles = Needles::best([own, needles_of(filter)].into_iter());
        (self.node(filter), needles, want)
    }

    fn node(&mut self, filter: &Filter) -> Node {
        match filter {
            Filter::All => Node::All,
            // Cheaper than to look for it.
            Filter::Message(text @ Text::Is(_)) => Node::Message(text.clone()),
            Filter::Message(Text::Contains(text)) if text.is_empty() => Node::All,
            Filter::Message(text) => self.test(text),
            Filter::Stream(text) => Node::Stream(text.clone()),
            Filter::Level(compare, level) => Node::Level(*compare, *level),
            Filter::FieldText(name, text) => Node::FieldText(self.name(name), text.clone()),
            Filter::FieldNumber(name, compare, limit) => Node::FieldNumber(self.name(name), *compare, *limit),
            Filter::And(parts) => Node::And(parts.iter().map(|part| self.node(part)).collect()),
            Filter::Or(parts) => Node::Or(parts.iter().map(|part| self.node(part)).collect()),
            Filter::Not(part) => Node::Not(Box::new(self.node(part))),
        }
    }

    /// The same test of several rules is made once.
    fn test(&mut self, text: &Text) -> Node {
        let key = match text {
            Text::Is(text) | Text::Contains(text) => (false, text.clone()),
            Text::Matches(pattern) => (true, Box::from(pattern.as_str().as_bytes())),
        };
        if let Some(known) = self.known_tests.get(&key) {
            return Node::Test(*known);
        }
        let test = match (Needles::of(text), text) {
            (Some(Needles { any_of, is_all: true }), _) => Test::AnyOf(self.needles(any_of)),
            (_, Text::Matches(pattern)) => {
                self.patterns.push((**pattern).clone());
                Test::Pattern(self.patterns.len() as u32 - 1) // patterns of a config
            }
            (_, text) => return Node::Message(text.clone()),
        };
        let number = self.tests.len() as u32; // tests of a config
        self.tests.push(test);
        self.known_tests.insert(key, number);
        Node::Test(number)
    }

    fn needles(&mut self, any_of: Vec<Needle>) -> Vec<u32> {
        let place = |needle: Needle| {
            *self.known_needles.entry(needle).or_insert_with_key(|needle| {
                self.needles.push(needle.clone());
                self.needles.len() as u32 - 1 // needles of a config
            })
        };
        any_of.into_iter().map(place).collect()
    }

    fn name(&mut self, name: &str) -> u32 {
        let next = self.names.len() as u32;
        *self.names.entry(Box::from(name.as_bytes())).or_insert(next)
    }
}

/// Needles without which no line is let through.
fn needles_of(filter: &Filter) -> Option<Needles> {
    match filter {
        Filter::Message(text) => Needles::of(text),
        Filter::FieldText(name, text) => {
            // What is in the value of a field is in the text.
            Needles::best([Needles::of_field(name), Needles::of(text)].into_iter())
        }
        Filter::FieldNumber(name, ..) => Needles::of_field(name),
        Filter::And(parts) => Needles::best(parts.iter().map(needles_of)),
        Filter::Or(parts) => Needles::any(parts.iter().map(needles_of)),
        Filter::All | Filter::Stream(_) | Filter::Level(..) | Filter::Not(_) => None,
    }
}

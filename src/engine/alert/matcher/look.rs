//! A look at one line: what is known of it, found out when it is asked for and not before.
//!
//! In: a [`Plan`] and a line. Out: a [`Hit`] for each rule that counts it, in the order of the rules.
//! Its needles are looked for first, in one go. They say which rules can be meant at all; only these are asked further:
//! patterns, level and fields. Patterns are tried one by one while they are few, and all together otherwise.

use std::ops::Range;

use super::plan::{Names, Node, Plan, Test, Use, Want};
use super::{Asked, Hit, Unit};
use crate::engine::line::fields::{Fields, quantity};
use crate::engine::line::level::{self, Level};

/// What is known of the line that is asked about. Kept for its memory.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Whether each needle is there, and those that are.
    has_needle: Vec<bool>,
    there: Vec<u32>,
    /// The uses that are asked.
    uses: Vec<u32>,
    knowledge: Knowledge,
    pub(super) hits: Vec<Hit>,
}

#[derive(Debug, Default)]
struct Knowledge {
    /// Whether each pattern matches, and those of which that is known.
    matches: Vec<Option<bool>>,
    tried: Vec<u32>,
    level: Option<Option<Level>>,
    fields: Fields,
    /// Where in `bytes` the values of the fields that are asked for stand, once they were looked for.
    values: Vec<Option<Range<usize>>>,
    bytes: Vec<u8>,
    has_values: bool,
    /// The bytes that patterns were searched in: tests hold the work to its limit.
    #[cfg(test)]
    searched: usize,
}

/// Patterns of a line that are tried one by one: with one more, a search for all of them costs less.
const TRIES_MAX: usize = 8;
/// Patterns that may be tried alone. Each keeps what its searches have learnt, up to
/// [`PATTERN_SEARCH_MAX`](crate::engine::alert::parse::PATTERN_SEARCH_MAX): together 8 MiB.
const ALONE_MAX: u32 = 128;

impl Look {
    pub(super) fn new(plan: &Plan) -> Look {
        Look {
            has_needle: vec![false; plan.needles],
            knowledge: Knowledge { matches: vec![None; plan.patterns.len()], ..Knowledge::default() },
            ..Look::default()
        }
    }

    /// The bytes that patterns were ever searched in.
    #[cfg(test)]
    pub(super) fn searched(&self) -> usize {
        self.knowledge.searched
    }

    /// Finds the rules that count the line.
    pub(super) fn find(&mut self, plan: &Plan, asked: Asked<'_>) -> &[Hit] {
        let Look { has_needle, there, uses, knowledge, hits } = self;
        hits.clear();
        plan.sieve.search(asked.text, &mut |needle| {
            if !std::mem::replace(&mut has_needle[needle as usize], true) {
                there.push(needle);
            }
        });
        uses.extend_from_slice(&plan.always);
        if !there.is_empty() {
            uses.extend(there.iter().flat_map(|needle| &plan.needs[*needle as usize]));
            uses.sort_unstable();
            uses.dedup();
        }
        let mut line = Line { plan, asked, has_needle, knowledge };
        hits.extend(uses.drain(..).filter_map(|index| line.hit(&plan.uses[index as usize])));
        knowledge.forget();
        there.drain(..).for_each(|needle| has_needle[needle as usize] = false);
        hits
    }
}

impl Knowledge {
    fn forget(&mut self) {
        self.tried.drain(..).for_each(|pattern| self.matches[pattern as usize] = None);
        self.level = None;
        self.has_values = false;
    }

    /// The text of a field. All that are asked for are read at once, and only when one is.
    fn field(&mut self, names: &Names, text: &[u8], name: u32) -> Option<&[u8]> {
        let Knowledge { fields, values, bytes, has_values, .. } = self;
        if !std::mem::replace(has_values, true) {
            bytes.clear();
            values.clear();
            values.resize(names.len(), None);
            fields.read(text, &mut |name, value| {
                let place = names.get(name).and_then(|place| values.get_mut(*place as usize));
                // The first one of a name is meant.
                if let Some(empty @ None) = place {
                    let start = bytes.len();
                    bytes.extend_from_slice(value.bytes);
                    *empty = Some(start..bytes.len());
                }
            });
        }
        let place = values.get(name as usize)?.clone()?;
        bytes.get(place)
    }
}

/// A line, and what is known of it so far.
struct Line<'a> {
    plan: &'a Plan,
    asked: Asked<'a>,
    has_needle: &'a [bool],
    knowledge: &'a mut Knowledge,
}

impl Line<'_> {
    fn hit(&mut self, asks: &Use) -> Option<Hit> {
        if !self.passes(&asks.filter) {
            return None;
        }
        let (value, unit) = match &asks.want {
            Want::Line => (1.0, Unit::None),
            Want::Part(part) => (f64::from(u8::from(self.passes(part))), Unit::Share),
            Want::Named(name) => number(self.field(*name)?)?,
            Want::Group(pattern, group) => {
                number(pattern.captures(self.asked.text)?.get(*group)?.as_bytes())?
            }
        };
        Some(Hit { rule: asks.rule, value, unit })
    }

    fn passes(&mut self, node: &Node) -> bool {
        match node {
            Node::All => true,
            Node::Test(test) => match &self.plan.tests[*test as usize] {
                Test::AnyOf(needles) => needles.iter().any(|needle| self.has_needle[*needle as usize]),
                Test::Pattern(pattern) => self.matches(*pattern),
            },
            Node::Message(text) => text.is_in(self.asked.text),
            Node::Stream(text) => text.is_in(self.asked.stream),
            Node::Level(compare, wanted) => {
                let level = *self.knowledge.level.get_or_insert_with(|| level::detect(self.asked.text));
                level.is_some_and(|level| compare.holds(f64::from(level as u8), f64::from(*wanted as u8)))
            }
            Node::FieldText(name, text) => self.field(*name).is_some_and(|value| text.is_in(value)),
            Node::FieldNumber(name, compare, limit) => {
                let value = self.field(*name).and_then(number);
                value.is_some_and(|(value, _)| compare.holds(value, *limit))
            }
            Node::And(parts) => parts.iter().all(|part| self.passes(part)),
            Node::Or(parts) => parts.iter().any(|part| self.passes(part)),
            Node::Not(part) => !self.passes(part),
        }
    }

    fn field(&mut self, name: u32) -> Option<&[u8]> {
        self.knowledge.field(&self.plan.names, self.asked.text, name)
    }

    fn matches(&mut self, pattern: u32) -> bool {
        let knowledge = &mut *self.knowledge;
        if let Some(known) = knowledge.matches[pattern as usize] {
            return known;
        }
        #[cfg(test)]
        (knowledge.searched += self.asked.text.len());
        let Knowledge { matches, tried, .. } = knowledge;
        match &self.plan.set {
            Some(set) if tried.len() >= TRIES_MAX || pattern >= ALONE_MAX => {
                matches.fill(Some(false));
                for matching in &set.matches(self.asked.text) {
                    matches[matching] = Some(true);
                }
                tried.clear();
                tried.extend(0..matches.len() as u32); // patterns of a config
            }
            _ => {
                tried.push(pattern);
                matches[pattern as usize] =
                    Some(self.plan.patterns[pattern as usize].is_match(self.asked.text));
            }
        }
        matches[pattern as usize] == Some(true)
    }
}

/// The number that a text is, in seconds, bytes or as a share where it says so.
pub(super) fn number(text: &[u8]) -> Option<(f64, Unit)> {
    let base = quantity(text.trim_ascii())?.in_base_unit();
    Some(match base.unit {
        "s" => (base.number, Unit::Seconds),
        "B" => (base.number, Unit::Bytes),
        "%" => (base.number / 100.0, Unit::Share),
        _ => (base.number, Unit::None),
    })
}

//! [`When`] → text, such that the text is read as the same again.

use std::fmt::{self, Display, Formatter};

use super::quantity::show_window;
use crate::engine::alert::rule::{
    By, Compare, Field, Filter, Limit, LoopCondition, Measure, NameTest, Resource, Statistic, Text, When,
};

impl Compare {
    /// As it is written.
    pub fn sign(self) -> &'static str {
        match self {
            Compare::Above => ">",
            Compare::AtLeast => ">=",
            Compare::Below => "<",
            Compare::AtMost => "<=",
            Compare::Equal => "=",
            Compare::Unequal => "!=",
        }
    }
}

impl Display for When {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            When::Measured { measure, compare, limit, within, by } => {
                write!(f, "{measure} {} ", compare.sign())?;
                match limit {
                    Limit::TimesBaseline(times) => write!(f, "{times} x baseline")?,
                    Limit::Value(value) if matches!(measure, Measure::Rate(_)) => write!(f, "{value}/s")?,
                    Limit::Value(value) => write!(f, "{value}")?,
                }
                write!(f, " within {}{}", show_window(*within), behind(*by))?;
                match measure {
                    Measure::Ratio { least, .. } | Measure::Number { least, .. } => {
                        write!(f, " least {least}")
                    }
                    Measure::Count(_) | Measure::Rate(_) => Ok(()),
                }
            }
            When::NewTemplate { filter } => write!(f, "new_template({filter})"),
            When::Loop { conditions } => write!(f, "loop({})", Joined(conditions, ", ")),
            When::Absent { filter, during, by } => {
                write!(f, "absent({filter}) for {}{}", show_window(*during), behind(*by))
            }
            When::Resource { resource, compare, limit, container } => {
                match resource {
                    Resource::Cpu => write!(f, "resource(cpu {} {limit}", compare.sign())?,
                    Resource::Memory => write!(f, "resource(memory {} {limit}B", compare.sign())?,
                }
                match container {
                    None => f.write_str(")"),
                    Some(name) => write!(f, ", container {name})"),
                }
            }
        }
    }
}

fn behind(by: By) -> &'static str {
    match by {
        By::All => "",
        By::Stream => " by stream",
    }
}

impl Display for Measure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Measure::Count(filter) => write!(f, "count({filter})"),
            Measure::Rate(filter) => write!(f, "rate({filter})"),
            Measure::Ratio { part, whole, .. } => write!(f, "ratio({part}, {whole})"),
            Measure::Number { statistic, field, filter: Filter::All, .. } => {
                write!(f, "{statistic}({field})")
            }
            Measure::Number { statistic, field, filter, .. } => {
                write!(f, "{statistic}({field} where {filter})")
            }
        }
    }
}

impl Display for Statistic {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Statistic::Mean => f.write_str("mean"),
            Statistic::Min => f.write_str("min"),
            Statistic::Max => f.write_str("max"),
            Statistic::Percentile(share) => write!(f, "p{share}"),
        }
    }
}

impl Display for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Field::Named(name) => write!(f, "field({})", Quoted(name)),
            Field::Group { pattern, name, .. } => {
                write!(f, "/{}/.{name}", pattern.as_str().replace('/', "\\/"))
            }
        }
    }
}

impl Display for Filter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Filter::All => f.write_str("all"),
            Filter::Message(text) => write!(f, "message {text}"),
            Filter::Stream(text) => write!(f, "stream {text}"),
            Filter::Level(compare, level) => write!(f, "level {} {}", compare.sign(), level.as_str()),
            Filter::FieldText(name, text) => write!(f, "field({}) {text}", Quoted(name)),
            Filter::FieldNumber(name, compare, number) => {
                write!(f, "field({}) {} {number}", Quoted(name), compare.sign())
            }
            Filter::And(parts) => write!(f, "{}", Joined(&inner(parts, Binds::Not), " and ")),
            Filter::Or(parts) => write!(f, "{}", Joined(&inner(parts, Binds::And), " or ")),
            Filter::Not(filter) => write!(f, "not {}", Inner(filter, Binds::Not)),
        }
    }
}

/// How tightly what stands around a filter holds it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Binds {
    /// Parts of an `or`: an `and` needs no parentheses there.
    And,
    /// Parts of an `and`, and what is negated.
    Not,
}

/// A filter inside another: in parentheses where it would fall apart, and only there, so that what is printed stands
/// no deeper than what was written.
struct Inner<'a>(&'a Filter, Binds);

fn inner(parts: &[Filter], binds: Binds) -> Vec<Inner<'_>> {
    parts.iter().map(|part| Inner(part, binds)).collect()
}

impl Display for Inner<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (Filter::Or(_), _) | (Filter::And(_), Binds::Not) => write!(f, "({})", self.0),
            _ => write!(f, "{}", self.0),
        }
    }
}

impl Display for Text {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Text::Is(text) => write!(f, "= {}", Quoted(&String::from_utf8_lossy(text))),
            Text::Contains(text) => write!(f, "contains {}", Quoted(&String::from_utf8_lossy(text))),
            // The parser has taken the backslash from every escaped quote, so none is escaped twice.
            Text::Matches(pattern) => write!(f, "=~ \"{}\"", pattern.as_str().replace('"', "\\\"")),
        }
    }
}

impl Display for NameTest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (&self.text, self.is_not) {
            (Text::Is(text), true) => write!(f, "!= {}", Quoted(&String::from_utf8_lossy(text))),
            (Text::Matches(pattern), true) => {
                write!(f, "!~ \"{}\"", pattern.as_str().replace('"', "\\\""))
            }
            // There is no sign for "contains not".
            (text, _) => write!(f, "{text}"),
        }
    }
}

impl Display for LoopCondition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            LoopCondition::Verdict(words) => match &**words {
                [word] => write!(f, "verdict = \"{word}\""),
                words => write!(f, "verdict in ({})", Joined(words, ", ")),
            },
            LoopCondition::Endpoint(text) => write!(f, "endpoint contains {}", Quoted(text)),
            LoopCondition::Iterations(compare, number) => write!(f, "iterations {} {number}", compare.sign()),
            LoopCondition::Period(compare, seconds) => write!(f, "period {} {seconds}s", compare.sign()),
        }
    }
}

/// Things with something between them.
struct Joined<'a, T>(&'a [T], &'static str);

impl<T: Display> Display for Joined<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.iter().enumerate() {
            write!(f, "{}{part}", if at > 0 { self.1 } else { "" })?;
        }
        Ok(())
    }
}

/// A text in `"…"`.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

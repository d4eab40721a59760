//! The forms of `when`: what is measured, and against which limit.

use std::ops::{Range, RangeInclusive};

use super::LEAST_OF_RATIO;
use super::clauses::{Clause, Clauses};
use super::cursor::{At, Cursor, Parsed, whole};
use super::error::ParseError;
use super::filter::{self, TextTest};
use super::lex::Token;
use super::quantity::{Amount, Unit};
use super::words::{FORMS, VERDICTS, shown, suggestion};
use crate::engine::alert::rule::{
    Compare, Filter, Limit, LoopCondition, Measure, NameTest, Resource, Statistic, When,
};

/// A whole expression.
pub(super) fn when(cursor: &mut Cursor<'_>) -> Parsed<When> {
    let Token::Word(form) = cursor.peek() else {
        return cursor.expected("what is measured, as in count(\"timeout\") >= 10 within 1m");
    };
    if !FORMS.contains(&form) {
        let error = ParseError::new(cursor.span(), format!("nothing is measured by `{}`", shown(form)));
        return Err(match suggestion(form, &FORMS) {
            Some(hint) => error.note(hint),
            None => error.note(format!("known: {}", FORMS.join(", "))),
        });
    }
    cursor.take();
    cursor.open(form)?;
    match form {
        "new_template" => new_template(cursor),
        "loop" => in_loop(cursor),
        "absent" => absent(cursor),
        "resource" => resource(cursor),
        _ => measured(cursor, form),
    }
}

fn measured(cursor: &mut Cursor<'_>, form: &str) -> Parsed<When> {
    let mut measure = measure(cursor, form)?;
    cursor.close()?;
    let compare = cursor.compare()?;
    let limit = limit(cursor, &measure, form, &compare)?;
    let clauses = Clauses::read(cursor)?;
    let (Measure::Ratio { .. } | Measure::Number { .. }) = measure else {
        clauses.allow(form, &[Clause::Within, Clause::By])?;
        return finished(cursor, measure, compare.is, limit, &clauses);
    };
    clauses.allow(form, &[Clause::Within, Clause::By, Clause::Least])?;
    if let (Some(At { is, .. }), Measure::Ratio { least, .. } | Measure::Number { least, .. }) =
        (&clauses.least, &mut measure)
    {
        *least = *is;
    }
    finished(cursor, measure, compare.is, limit, &clauses)
}

fn finished(
    cursor: &Cursor<'_>,
    measure: Measure,
    compare: Compare,
    limit: Limit,
    clauses: &Clauses,
) -> Parsed<When> {
    match &clauses.within {
        Some(within) => Ok(When::Measured { measure, compare, limit, within: within.is, by: clauses.by() }),
        None => Err(cursor
            .unexpected("`within` and a time: over how long it is measured")
            .note("as in within 1m; from 1s to 24h")),
    }
}

fn measure(cursor: &mut Cursor<'_>, form: &str) -> Parsed<Measure> {
    let statistic = match form {
        "count" => return Ok(Measure::Count(filter::maybe(cursor)?)),
        "rate" => return Ok(Measure::Rate(filter::maybe(cursor)?)),
        "ratio" => {
            let part = filter::filter(cursor)?;
            if !cursor.took(Token::Comma) {
                return Err(cursor
                    .unexpected("`,` and among which lines the share is taken")
                    .note("as in ratio(status >= 500, all)"));
            }
            return Ok(Measure::Ratio { part, whole: filter::filter(cursor)?, least: LEAST_OF_RATIO });
        }
        "mean" => Statistic::Mean,
        "min" => Statistic::Min,
        "max" => Statistic::Max,
        "p50" => Statistic::Percentile(50),
        "p95" => Statistic::Percentile(95),
        _ => Statistic::Percentile(99),
    };
    let field = filter::number_field(cursor)?;
    let filter = if cursor.took(Token::Word("where")) { filter::filter(cursor)? } else { Filter::All };
    Ok(Measure::Number { statistic, field, filter, least: least_of(statistic) })
}

/// The fewest values of which a statistic says something, unless `least` gives another number: one slow answer is no
/// slow service, and a percentile of fewer is only another word for the largest.
pub(super) fn least_of(statistic: Statistic) -> u64 {
    match statistic {
        Statistic::Min | Statistic::Max => 1,
        Statistic::Mean => 10,
        Statistic::Percentile(share) => 100 / u64::from(100u8.saturating_sub(share).max(1)).min(10),
    }
}

/// The limit, in the unit of what is measured.
fn limit(cursor: &mut Cursor<'_>, measure: &Measure, form: &str, compare: &At<Compare>) -> Parsed<Limit> {
    let (what, range) = match measure {
        Measure::Count(_) => ("a whole number, as in 10", 0.0..=f64::INFINITY),
        Measure::Rate(_) => ("a rate with its unit, as in 20/s or 300/m", 0.0..=f64::INFINITY),
        Measure::Ratio { .. } => ("a share, as in 1% or 0.01", 0.0..=1.0),
        Measure::Number { .. } => {
            ("a number, as in 200, 250ms, 2GiB or 80%", f64::NEG_INFINITY..=f64::INFINITY)
        }
    };
    let At { is: amount, mut span } = cursor.amount(what)?;
    let apart = amount.unit == Unit::Times || cursor.peek() == Token::Word("baseline");
    if apart {
        span.end = cursor.span().end;
        return baseline(cursor, amount, span);
    }
    match value(measure, amount) {
        Some(value) => {
            possible(compare, value, &range, form, span)?;
            Ok(Limit::Value(value))
        }
        None => {
            let error =
                ParseError::new(span, format!("`{form}` is compared with {what}, not {}", said(amount)));
            Err(match (measure, amount.unit) {
                (Measure::Count(_), Unit::Rate) => error.note("write rate(…) for lines per second"),
                (Measure::Count(_), Unit::Share) => error.note("write ratio(…, …) for a share of lines"),
                _ => error,
            })
        }
    }
}

fn said(amount: Amount) -> String {
    match amount.unit {
        Unit::Plain => format!("the number {}", amount.value),
        unit => unit.noun().to_owned(),
    }
}

/// The number, where its unit is that of the measure.
fn value(measure: &Measure, amount: Amount) -> Option<f64> {
    let fits = match (measure, amount.unit) {
        (Measure::Count(_), Unit::Plain) => whole(amount.value).is_some(),
        (Measure::Rate(_), Unit::Rate) => amount.value >= 0.0,
        (Measure::Ratio { .. }, Unit::Plain | Unit::Share) => (0.0..=1.0).contains(&amount.value),
        (Measure::Number { .. }, Unit::Plain | Unit::Share | Unit::Time | Unit::Size) => true,
        _ => false,
    };
    fits.then_some(amount.value)
}

fn baseline(cursor: &mut Cursor<'_>, amount: Amount, span: Range<usize>) -> Parsed<Limit> {
    if !matches!(amount.unit, Unit::Times) {
        return Err(ParseError::new(span, "`x` is missing: write 3 x baseline"));
    }
    if !cursor.took(Token::Word("baseline")) {
        let hint = match cursor.peek() {
            Token::Word(word) => suggestion(word, &["baseline"]),
            _ => None,
        };
        let what = "`baseline`: so many times the usual, as in 3 x baseline";
        return Err(cursor.unexpected(what).note_maybe(hint));
    }
    if amount.value > 0.0 {
        return Ok(Limit::TimesBaseline(amount.value));
    }
    Err(ParseError::new(span, "a multiple of the baseline is above 0"))
}

/// Refuses what is true or false whatever is measured: such a rule is a slip of the pen.
fn possible(
    compare: &At<Compare>,
    limit: f64,
    range: &RangeInclusive<f64>,
    form: &str,
    span: Range<usize>,
) -> Parsed<()> {
    let (low, high) = (*range.start(), *range.end());
    let always = match compare.is {
        Compare::AtLeast => limit <= low,
        Compare::AtMost => limit >= high,
        Compare::Above | Compare::Below | Compare::Equal | Compare::Unequal => false,
    };
    let never = match compare.is {
        Compare::Above => limit >= high,
        Compare::Below => limit <= low,
        Compare::AtLeast | Compare::AtMost | Compare::Equal | Compare::Unequal => false,
    };
    let whole = compare.span.start..span.end;
    if always {
        return Err(ParseError::new(
            whole,
            format!("this is true of every `{form}`: the rule would always fire"),
        ));
    }
    if never {
        return Err(ParseError::new(
            whole,
            format!("this is true of no `{form}`: the rule would never fire"),
        ));
    }
    Ok(())
}

fn new_template(cursor: &mut Cursor<'_>) -> Parsed<When> {
    let filter = filter::maybe(cursor)?;
    cursor.close()?;
    Clauses::read(cursor)?.allow("new_template", &[])?;
    Ok(When::NewTemplate { filter })
}

fn absent(cursor: &mut Cursor<'_>) -> Parsed<When> {
    let filter = filter::maybe(cursor)?;
    cursor.close()?;
    let clauses = Clauses::read(cursor)?;
    clauses.allow("absent", &[Clause::For, Clause::By])?;
    match &clauses.during {
        Some(during) => Ok(When::Absent { filter, during: during.is, by: clauses.by() }),
        None => Err(cursor
            .unexpected("`for` and a time: for how long there is no such line")
            .note("as in for 10m; from 1s to 24h")),
    }
}

/// `cpu > 50%)`, or `cpu) > 50%`.
fn resource(cursor: &mut Cursor<'_>) -> Parsed<When> {
    let what = "`cpu` or `memory`";
    let resource = match cursor.peek() {
        Token::Word("cpu") => Resource::Cpu,
        Token::Word("memory") => Resource::Memory,
        Token::Word(word) => {
            return Err(cursor.unexpected(what).note_maybe(suggestion(word, &["cpu", "memory"])));
        }
        _ => return cursor.expected(what),
    };
    cursor.take();
    let is_inside = matches!(cursor.peek(), Token::Compare(_));
    let inside = if is_inside { Some(resource_limit(cursor, resource)?) } else { None };
    let container = if cursor.took(Token::Comma) { Some(container(cursor)?) } else { None };
    cursor.close()?;
    let (compare, limit) = match inside {
        Some(inside) => inside,
        None => resource_limit(cursor, resource)?,
    };
    Clauses::read(cursor)?.allow("resource", &[])?;
    Ok(When::Resource { resource, compare, limit, container })
}

fn resource_limit(cursor: &mut Cursor<'_>, resource: Resource) -> Parsed<(Compare, f64)> {
    let compare = cursor.compare()?;
    let unit = match resource {
        Resource::Cpu => "a share of one core, as in 50% or 1.5",
        Resource::Memory => "a size, as in 2GB",
    };
    let At { is: amount, span } = cursor.amount(unit)?;
    let fits = match resource {
        Resource::Cpu => matches!(amount.unit, Unit::Share | Unit::Plain),
        Resource::Memory => amount.unit == Unit::Size,
    };
    if !fits || amount.value < 0.0 {
        return Err(ParseError::new(span, format!("expected {unit}, not {}", said(amount))));
    }
    possible(&compare, amount.value, &(0.0..=f64::INFINITY), "resource", span)?;
    Ok((compare.is, amount.value))
}

/// `container = "api-gateway"`.
fn container(cursor: &mut Cursor<'_>) -> Parsed<NameTest> {
    let what = "`container`, as in container = \"api-gateway\"";
    match cursor.peek() {
        Token::Word("container") => cursor.take(),
        Token::Word(word) => {
            return Err(cursor.unexpected(what).note_maybe(suggestion(word, &["container"])));
        }
        _ => return cursor.expected(what),
    };
    match filter::text_test(cursor)? {
        Some(TextTest { text, not }) => Ok(NameTest { text, is_not: not }),
        None => cursor.expected("=, contains, =~, != or !~ and a name in quotes"),
    }
}

fn in_loop(cursor: &mut Cursor<'_>) -> Parsed<When> {
    let mut conditions = Vec::new();
    while cursor.peek() != Token::Close {
        conditions.push(condition(cursor)?);
        if !cursor.took(Token::Comma) && !cursor.took(Token::Word("and")) && cursor.peek() != Token::Close {
            return cursor.expected("`,` or `)`");
        }
    }
    cursor.close()?;
    Clauses::read(cursor)?.allow("loop", &[])?;
    Ok(When::Loop { conditions: conditions.into() })
}

fn condition(cursor: &mut Cursor<'_>) -> Parsed<LoopCondition> {
    let what = "`verdict`, `endpoint`, `iterations` or `period`";
    match cursor.peek() {
        Token::Word("verdict") => {
            cursor.take();
            verdicts(cursor)
        }
        Token::Word("endpoint") => {
            cursor.take();
            if !cursor.took(Token::Word("contains")) {
                return cursor.expected("`contains`, as in endpoint contains \"example.com\"");
            }
            Ok(LoopCondition::Endpoint(cursor.part()?.is.into()))
        }
        Token::Word("iterations") => {
            cursor.take();
            let compare = cursor.compare()?.is;
            Ok(LoopCondition::Iterations(compare, cursor.whole("a whole number, as in 10")?.is))
        }
        Token::Word("period") => {
            cursor.take();
            let compare = cursor.compare()?.is;
            Ok(LoopCondition::Period(compare, cursor.amount_of(Unit::Time, "a time, as in 1s")?.is))
        }
        Token::Word(word) => {
            let known = ["verdict", "endpoint", "iterations", "period"];
            Err(cursor.unexpected(what).note_maybe(suggestion(word, &known)))
        }
        _ => cursor.expected(what),
    }
}

/// `= "none"` or `in ("none", "constant")`.
fn verdicts(cursor: &mut Cursor<'_>) -> Parsed<LoopCondition> {
    let mut words = Vec::new();
    if cursor.took(Token::Compare(Compare::Equal)) {
        words.push(verdict(cursor)?);
    } else if cursor.took(Token::Word("in")) {
        cursor.open("in")?;
        words.push(verdict(cursor)?);
        while cursor.took(Token::Comma) {
            words.push(verdict(cursor)?);
        }
        cursor.close()?;
    } else {
        return cursor
            .expected("`=` or `in`, as in verdict = \"none\" or verdict in (\"none\", \"constant\")");
    }
    Ok(LoopCondition::Verdict(words.into()))
}

fn verdict(cursor: &mut Cursor<'_>) -> Parsed<Box<str>> {
    let known = VERDICTS.map(|verdict| verdict.as_str());
    let (Token::Word(word) | Token::Text(word, _)) = cursor.peek() else {
        return cursor.expected("a verdict in quotes, as in \"none\"");
    };
    if known.contains(&word) {
        cursor.take();
        return Ok(word.into());
    }
    let error = ParseError::new(cursor.span(), format!("no loop has the verdict `{}`", shown(word)));
    Err(match suggestion(word, &known) {
        Some(hint) => error.note(hint),
        None => error.note(format!("known: {}", known.join(", "))),
    })
}

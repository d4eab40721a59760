//! Lines and the rules that count them, and that the fast way says what the plain one says.

use super::super::tests::{contains, count, matches, rule};
use super::look::number;
use super::*;
use crate::engine::alert::rule::{By, Compare, Field, Filter, Limit, Measure, Statistic, When};
use crate::engine::line::fields::Fields;
use crate::engine::line::level::{self, Level};
use proptest::prelude::*;
use std::time::Duration;

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

/// What a filter says of a line when it is asked by itself, as it is written.
fn passes(filter: &Filter, asked: Asked<'_>) -> bool {
    match filter {
        Filter::All => true,
        Filter::Message(text) => text.is_in(asked.text),
        Filter::Stream(text) => text.is_in(asked.stream),
        Filter::Level(compare, wanted) => level::detect(asked.text)
            .is_some_and(|level| compare.holds(f64::from(level as u8), f64::from(*wanted as u8))),
        Filter::FieldText(name, text) => field(asked.text, name).is_some_and(|value| text.is_in(&value)),
        Filter::FieldNumber(name, compare, limit) => field(asked.text, name)
            .and_then(|value| number(&value))
            .is_some_and(|(value, _)| compare.holds(value, *limit)),
        Filter::And(parts) => parts.iter().all(|part| passes(part, asked)),
        Filter::Or(parts) => parts.iter().any(|part| passes(part, asked)),
        Filter::Not(part) => !passes(part, asked),
    }
}

fn field(text: &[u8], wanted: &str) -> Option<Vec<u8>> {
    let mut first = None;
    Fields::default().read(text, &mut |name, value| {
        if name == wanted.as_bytes() && first.is_none() {
            first = Some(value.bytes.to_vec());
        }
    });
    first
}

/// What a rule counts of a line when it is asked by itself.
fn plain(rule: &Rule, asked: Asked<'_>) -> Option<(f64, Unit)> {
    let When::Measured { measure, .. } = &rule.when else { return None };
    match measure {
        Measure::Count(filter) | Measure::Rate(filter) => passes(filter, asked).then_some((1.0, Unit::None)),
        Measure::Ratio { part, whole, .. } => {
            let value = if passes(part, asked) { 1.0 } else { 0.0 };
            passes(whole, asked).then_some((value, Unit::Share))
        }
        Measure::Number { field: of, filter, .. } => {
            let value = match of {
                Field::Named(name) => field(asked.text, name)?,
                Field::Group { pattern, group, .. } => {
                    pattern.captures(asked.text)?.get(*group)?.as_bytes().to_vec()
                }
            };
            passes(filter, asked).then(|| number(&value))?
        }
    }
}

/// Parts of which texts and patterns are made, so that many are found.
const WORDS: [&str; 22] = [
    "timeout",
    "Timeout",
    "TIMEOUT",
    "time",
    "out",
    "connection reset",
    "reset",
    "503",
    "50",
    "x",
    "ERROR",
    "WARN ",
    "level=error",
    "status=503",
    "status=200",
    "took=5ms",
    "askask",
    "\u{17f}\u{212a}",
    " ",
    "\n",
    "{\"status\":404,\"http\":{\"status\":503}}",
    "\u{e4}\u{f6}",
];
const PATTERNS: [&str; 22] = [
    "timeout",
    "time-?out",
    "(?i)timeout",
    "(?i)ask",
    "(?i-u)ask",
    "^timeout$",
    r"\btime\b",
    r"\d+",
    r"took=\d+ms",
    "reset|503|timeout",
    "(?i)reset|ERROR",
    "(?:out)+x",
    "(?:out)*",
    "a?b?c?",
    "[tT]ime",
    ".*x.*",
    "(?s)reset.50",
    "x{2}",
    "(?m)^503",
    "time(?:out| out)",
    "\u{e4}(?i)\u{f6}",
    r"(?-u)\xff|out",
];

fn text() -> impl Strategy<Value = Text> {
    let word = || prop::sample::select(&WORDS[..]);
    let bytes = |text: String| text.into_bytes().into_boxed_slice();
    prop_oneof![
        word().prop_map(move |text| Text::Is(bytes(text.to_owned()))),
        (word(), word()).prop_map(move |(one, other)| Text::Contains(bytes(format!("{one}{other}")))),
        word().prop_map(move |text| Text::Contains(bytes(text.to_owned()))),
        "[a-z0-9=]{0,3}".prop_map(move |text| Text::Contains(bytes(text))),
        prop::sample::select(&PATTERNS[..]).prop_map(|text| Text::Matches(pattern(text))),
    ]
}

fn pattern(text: &str) -> Box<regex::bytes::Regex> {
    Box::new(regex::bytes::Regex::new(text).expect("a pattern"))
}

fn filter() -> impl Strategy<Value = Filter> {
    let name = || prop::sample::select(&["status", "http.status", "level", "took", "a.b", "x"][..]);
    let compare = || prop::sample::select(&[Compare::AtLeast, Compare::Below, Compare::Equal][..]);
    let level = prop::sample::select(&[Level::Info, Level::Warn, Level::Error][..]);
    let leaf = prop_oneof![
        1 => Just(Filter::All),
        6 => text().prop_map(Filter::Message),
        1 => prop::sample::select(&["gate", "gateway/stderr", "stdout"][..])
            .prop_map(|text| Filter::Stream(Text::Contains(text.as_bytes().into()))),
        1 => (compare(), level).prop_map(|(compare, level)| Filter::Level(compare, level)),
        1 => (name(), text()).prop_map(|(name, text)| Filter::FieldText(name.into(), text)),
        1 => (name(), compare(), prop::sample::select(&[0.005, 500.0, 503.0][..]))
            .prop_map(|(name, compare, limit)| Filter::FieldNumber(name.into(), compare, limit)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| Filter::And(parts.into())),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| Filter::Or(parts.into())),
            inner.prop_map(|part| Filter::Not(Box::new(part))),
        ]
    })
}

fn measure() -> impl Strategy<Value = Measure> {
    let numbers =
        |field: Field, filter| Measure::Number { statistic: Statistic::Max, field, filter, least: 0 };
    let group = |filter| {
        let (pattern, name) = (*pattern(r"took=(?<ms>\d+)"), "ms".into());
        Measure::Number {
            statistic: Statistic::Mean,
            field: Field::Group { pattern, group: 1, name },
            filter,
            least: 0,
        }
    };
    prop_oneof![
        4 => filter().prop_map(Measure::Count),
        1 => filter().prop_map(Measure::Rate),
        1 => (filter(), filter()).prop_map(|(part, whole)| Measure::Ratio { part, whole, least: 0 }),
        1 => filter().prop_map(move |filter| numbers(Field::Named("status".into()), filter)),
        1 => filter().prop_map(group),
    ]
}

fn lines() -> impl Strategy<Value = Vec<(Vec<u8>, bool)>> {
    let part = prop_oneof![
        4 => prop::sample::select(&WORDS[..]).prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..3),
    ];
    let line = prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat());
    prop::collection::vec((line, any::<bool>()), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn the_fast_way_says_what_the_plain_one_says(
        measures in prop::collection::vec(measure(), 1..30),
        lines in lines(),
    ) {
        let rule = |measure| {
            let (compare, limit, within) = (Compare::AtLeast, Limit::Value(1.0), Duration::from_secs(60));
            rule("R", When::Measured { measure, compare, limit, within, by: By::All })
        };
        let rules: Vec<Rule> = measures.into_iter().map(rule).collect();
        let mut matcher = Matcher::new(&rules, 7);
        // Twice, so that the second answers are remembered ones.
        for (text, is_error) in lines.iter().chain(&lines) {
            let (stream, hash) = if *is_error { ("gateway/stderr", 1) } else { ("gateway/stdout", 2) };
            let asked = Asked { text, stream: stream.as_bytes() };
            let want: Vec<(usize, (f64, Unit))> =
                rules.iter().enumerate().filter_map(|(at, rule)| Some((at, plain(rule, asked)?))).collect();
            let hits = matcher.hits(text, stream, hash).iter();
            let found: Vec<_> = hits.map(|hit| (hit.rule as usize, (hit.value, hit.unit))).collect();
            prop_assert_eq!(found, want, "{:?}", String::from_utf8_lossy(text));
        }
    }
}

#[test]
fn many_patterns_in_a_line_are_tried_together() {
    let of = |at: u32| matches(&format!("error [a-z]+ {at}"));
    let rules: Vec<Rule> = (0..300).map(|at| rule("R", count(of(at), 1.0, 60))).collect();
    let found: Vec<u32> = numbers_of(&rules, "error code 299").into_iter().map(|(rule, _)| rule).collect();
    assert_eq!(found, [2, 29, 299]);
    assert_eq!(numbers_of(&rules, "no such thing"), []);
}

/// The longest line that there can be, and as many patterns as a config has, none of which can be ruled out by its needles: it
/// is searched a few times and not once for each, and not at all when it comes again.
#[test]
fn fault_083_many_patterns_search_a_long_line_a_few_times() {
    const LINE: usize = 1 << 20;
    let of = |at: u8| matches(&format!("[a-f]+x*{}{}$", char::from(b'g' + at / 10), at % 10));
    let rules: Vec<Rule> = (0..200).map(|at| rule("R", count(of(at), 1.0, 60))).collect();
    let mut matcher = Matcher::new(&rules, 7);
    assert_eq!(matcher.plan.always.len(), rules.len(), "each is asked of each line");
    let line = "abcdefxx 0123456".repeat(LINE / 16);
    assert_eq!(matcher.hits(line.as_bytes(), "gateway/stderr", 1), []);
    assert!(matcher.look.searched() <= 9 * LINE, "{}", matcher.look.searched());
    let searched = matcher.look.searched();
    matcher.hits(line.as_bytes(), "gateway/stderr", 1);
    assert_eq!(matcher.look.searched(), searched);
}

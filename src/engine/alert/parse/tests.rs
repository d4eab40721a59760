//! The language like a compiler: sources and what becomes of them, and two laws.

use proptest::prelude::*;

use super::{DEPTH_MAX, TEXT_MAX, parse};

#[track_caller]
fn reads(source: &str, want: &str) {
    let when = match parse(source) {
        Ok(when) => when,
        Err(error) => panic!("{source}: {error} at {:?}", &source[error.span.clone()]),
    };
    assert_eq!(when.to_string(), want, "{source}");
    assert_same(source, want);
}

/// Both are read as the same.
#[track_caller]
fn assert_same(a: &str, b: &str) {
    // Compiled patterns cannot be compared; what they print can.
    let read = |source| parse(source).map(|when| format!("{when:?}"));
    assert_eq!(read(a), read(b), "{a}");
}

/// The source, with the marked bytes between « and », is refused with a message that has `want` in it.
#[track_caller]
fn fails(marked: &str, want: &str) {
    let start = marked.find('«').expect("« marks the start");
    let end = marked.find('»').expect("» marks the end") - '«'.len_utf8();
    let source = marked.replace(['«', '»'], "");
    let error = parse(&source).expect_err(&source);
    let said = format!("{} · {}", error.message, error.note.unwrap_or_default());
    assert_eq!(error.span, start..end, "{marked}: {said} at {:?}", &source[error.span.clone()]);
    assert!(said.contains(want), "{marked}: {said}");
}

#[test]
fn counts_and_rates() {
    let timeout = "count(message =~ \"WebSocket connection timeout\") >= 10 within 1m";
    reads(timeout, timeout);
    reads("count() > 5 within 90s", "count(all) > 5 within 90s");
    reads("count(all) > 1_000 within 1m30s by stream", "count(all) > 1000 within 90s by stream");
    reads(
        "count('a')\n  < 3 by stream within 5 minutes",
        "count(message contains \"a\") < 3 within 5m by stream",
    );
    reads("rate(status = 503) > 20/s within 5m", "rate(field(\"status\") = 503) > 20/s within 5m");
    reads("rate() >= 90/m within 1h", "rate(all) >= 1.5/s within 1h");
    reads(
        "count(\"x\") > 3 x baseline within 10m",
        "count(message contains \"x\") > 3 x baseline within 10m",
    );
    reads("rate(all) >= 2.5x baseline within 10m", "rate(all) >= 2.5 x baseline within 10m");
}

#[test]
fn ratios_and_numbers() {
    reads(
        "ratio(status >= 500, \"HTTP\") > 1% within 5m",
        "ratio(field(\"status\") >= 500, message contains \"HTTP\") > 0.01 within 5m least 20",
    );
    reads(
        "ratio(level >= error, all) >= 0.5 within 1m least 7",
        "ratio(level >= error, all) >= 0.5 within 1m least 7",
    );
    reads("mean(responseTime) >= 200ms within 1m", "mean(field(\"responseTime\")) >= 0.2 within 1m least 10");
    reads(
        "p95(t where status < 500) > 1s within 1m",
        "p95(field(\"t\") where field(\"status\") < 500) > 1 within 1m least 20",
    );
    reads("p99(t) > 1 within 1m", "p99(field(\"t\")) > 1 within 1m least 100");
    reads("p50(t) > 1 within 1m", "p50(field(\"t\")) > 1 within 1m least 10");
    reads(
        "max(/active (?<n>\\d+)\\/\\d+/.n) > 180 within 1m",
        "max(/active (?<n>\\d+)\\/\\d+/.n) > 180 within 1m least 1",
    );
    reads("min(/(?<n>\\d+) free/) < 5 within 1m", "min(/(?<n>\\d+) free/.n) < 5 within 1m least 1");
    reads("mean(used) > 80% within 1m least 3", "mean(field(\"used\")) > 0.8 within 1m least 3");
}

#[test]
fn filters() {
    #[track_caller]
    fn check(filter: &str, want: &str) {
        reads(&format!("new_template({filter})"), &format!("new_template({want})"));
    }
    check("", "all");
    check("\"a b\"", "message contains \"a b\"");
    check("'a \"b\" \\'", "message contains \"a \\\"b\\\" \\\\\"");
    check("\"a\\nb\"", "message contains \"a\nb\"");
    check("/a\\/b \\d+/", "message =~ \"a/b \\d+\"");
    check("message =~ \"a \\\"b\\\" \\\\\"", "message =~ \"a \\\"b\\\" \\\\\"");
    check("message = \"\"", "message = \"\"");
    check("message != 'x' ", "not message = \"x\"");
    check("message !~ \"x\"", "not message =~ \"x\"");
    check("stream contains \"gateway\"", "stream contains \"gateway\"");
    check("level >= error", "level >= error");
    check("level = \"WARNING\"", "level = warn");
    check("http.status >= 500", "field(\"http.status\") >= 500");
    check("duration > 250ms", "field(\"duration\") > 0.25");
    check("size > 10 MiB", "field(\"size\") > 10485760");
    check("temperature < -5", "field(\"temperature\") < -5");
    check("field(\"odd name\") = \"x\"", "field(\"odd name\") = \"x\"");
    check("field(level) != 'x'", "not field(\"level\") = \"x\"");
    check("field(status) != 200", "field(\"status\") != 200");
    check("field = 1", "field(\"field\") = 1");
    check("code =~ /^E\\d/", "field(\"code\") =~ \"^E\\d\"");
    check(
        "'a' and not 'b' or level>=warn",
        "message contains \"a\" and not message contains \"b\" or level >= warn",
    );
    check(
        "'a' and (not ('b' or 'c'))",
        "message contains \"a\" and not (message contains \"b\" or message contains \"c\")",
    );
    check(
        "('a' and 'b') and 'c'",
        "(message contains \"a\" and message contains \"b\") and message contains \"c\"",
    );
}

#[test]
fn the_other_forms() {
    reads("loop()", "loop()");
    reads("loop(verdict = none)", "loop(verdict = \"none\")");
    let all = "loop(verdict in (none, constant), endpoint contains \"x\", iterations >= 10, period < 1s)";
    reads(all, all);
    reads("loop(period < 250ms and iterations > 3,)", "loop(period < 0.25s, iterations > 3)");
    reads("absent() for 10m", "absent(all) for 10m");
    reads(
        "absent(\"heartbeat\") by stream for 90s",
        "absent(message contains \"heartbeat\") for 90s by stream",
    );
    reads("resource(cpu > 50%)", "resource(cpu > 0.5)");
    reads("resource(memory > 2GB)", "resource(memory > 2000000000B)");
    reads("resource(cpu) > 1.5", "resource(cpu > 1.5)");
    reads("resource(memory) >= 2GiB", "resource(memory >= 2147483648B)");
    reads("resource(cpu < 1%, container = 'a\"b')", "resource(cpu < 0.01, container = \"a\\\"b\")");
    reads("resource(cpu, container != 'a') > 50%", "resource(cpu > 0.5, container != \"a\")");
    reads("resource(cpu > 50%, container =~ /^g\\d/)", "resource(cpu > 0.5, container =~ \"^g\\d\")");
    reads("resource(cpu > 50%, container !~ \"x\")", "resource(cpu > 0.5, container !~ \"x\")");
    reads("resource(cpu > 50%, container contains 'g')", "resource(cpu > 0.5, container contains \"g\")");
}

#[test]
fn what_is_no_form() {
    fails("«»", "expected what is measured");
    fails("«(»count)", "expected what is measured");
    fails("«cuont»(\"x\") > 1 within 1m", "did you mean `count`?");
    fails("«avg»(x) > 1 within 1m", "did you mean `mean`?");
    fails("«p90»(x) > 1 within 1m", "did you mean `p95`?");
    fails("«histogram»(x) > 1 within 1m", "known: count, rate");
    fails("count «>» 1 within 1m", "expected `(` behind `count`, not `>`");
    fails("rate(http_requests_total«{»code=\"503\"}[5m]) > 20", "PromQL");
    fails("count(\"x\"«»", "expected `)`, not the end");
    fails("count() > 1 within 1m «or» count() > 2", "expected the end, not `or`");
    fails("count() > 1 within 1m «withn» 2m", "did you mean `within`?");
}

#[test]
fn limits_that_do_not_fit() {
    fails("count() «within» 1m", "expected a comparison");
    fails("count() > «\"10\"» within 1m", "expected a whole number");
    fails("count() > «10.5» within 1m", "not the number 10.5");
    fails("count() > «-1» within 1m", "compared with a whole number");
    fails("count() > «20/s» within 1m", "write rate(…)");
    fails("count() > «1%» within 1m", "write ratio(…, …)");
    fails("count() > «10s» within 1m", "not a time");
    fails("count() «>= 0» within 1m", "true of every `count`");
    fails("count() «< 0» within 1m", "true of no `count`");
    fails("rate() > «20» within 1m", "a rate with its unit, as in 20/s");
    fails("rate() > «20/week» within 1m", "a rate is written 20/s");
    fails("ratio(\"a\", all) > «5» within 1m", "a share, as in 1% or 0.01");
    fails("ratio(\"a\", all) > «200%» within 1m", "not a share");
    fails("ratio(\"a\", all) «> 100%» within 1m", "true of no `ratio`");
    fails("mean(x) > «20/s» within 1m", "not a rate");
    fails("mean(x) > «2G» within 1m", "write 2GB (decimal) or 2GiB (binary)");
    fails("mean(x) > «5parsecs» within 1m", "unit is unknown");
    fails("count() > 3 x «basline» within 1m", "did you mean `baseline`?");
    fails("count() > «3 baseline» within 1m", "write 3 x baseline");
    fails("count() > «0 x baseline» within 1m", "above 0");
    fails("resource(«disk») > 5", "expected `cpu` or `memory`");
    fails("resource(memory) > «50%»", "expected a size, as in 2GB, not a share");
    fails("resource(cpu) > «2GB»", "a share of one core");
    fails("resource(«disk» > 5)", "expected `cpu` or `memory`");
    fails("resource(«cpus» > 50%)", "did you mean `cpu`?");
    fails("resource(memory > «50%»)", "expected a size, as in 2GB, not a share");
    fails("resource(memory > «2000»)", "expected a size, as in 2GB, not the number 2000");
    fails("resource(cpu > «2GB»)", "a share of one core");
    fails("resource(cpu > «-1%»)", "a share of one core");
    fails("resource(cpu «>= 0»)", "true of every `resource`");
    fails("resource(cpu «50%»)", "expected `)`, not `50%`");
    fails("resource(cpu > 50%«»", "expected `)`, not the end");
    fails("resource(cpu)«»", "expected a comparison");
    fails("resource(cpu > 50%) «>» 2", "expected the end");
    fails("resource(cpu > 50%, «contaner» = 'a')", "did you mean `container`?");
    fails("resource(cpu > 50%, container «>» 'a')", "a name in quotes");
    fails("resource(cpu > 50%, container = «gateway»)", "write \"gateway\"");
}

#[test]
fn clauses_that_do_not_fit() {
    fails("count() > 1«»", "expected `within`");
    fails("count() > 1 within «soon»", "a time, as in within 1m");
    fails("count() > 1 within «60»", "not a number without unit");
    fails("count() > 1 within «0s»", "from 1s to 24h");
    fails("count() > 1 within «25h»", "from 1s to 24h");
    fails("count() > 1 within 1m «within» 2m", "twice");
    fails("count() > 1 within 1m «for» 2m", "`for:` beside `when:`");
    fails("count() > 1 within 1m «least» 5", "`count` has no `least`");
    fails("count() > 1 within 1m by «steam»", "did you mean `stream`?");
    fails("mean(x) > 1 within 1m least «0»", "from 1 on");
    fails("mean(x) > 1 within 1m least «1.5»", "whole number");
    fails("absent()«»", "expected `for`");
    fails("absent() «within» 5m", "write absent(…) for 10m");
    fails("new_template() «within» 5m", "`new_template` has no `within`");
    fails("loop() «by» stream", "`loop` has no `by`");
    fails("resource(cpu > 50%) «within» 1m", "`resource` has no `within`");
    fails("resource(cpu > 50%) «for» 1m", "`for:` beside `when:`");
}

#[test]
fn filters_that_do_not_fit() {
    #[track_caller]
    fn check(filter: &str, want: &str) {
        fails(&format!("new_template({filter})"), want);
    }
    fails("new_template(message«)»", "expected =~, contains");
    check("message «>» 5", "`message` is a text");
    check("«timeout»", "field `timeout` is compared with nothing");
    check("status = «timeout»", "write \"timeout\"");
    check("status «>» \"a\"", "compares numbers, not texts");
    check("status > «high»", "a number, as in 500 or 250ms");
    check("status contains «5»", "expected a text in quotes");
    check("status > «5/s»", "not a rate");
    check("«mesage» =~ \"x\"", "did you mean `message`?");
    check("«streams» = \"x\"", "field(\"streams\")");
    check("level >= «eror_»", "expected a level");
    check("level >= «warm»", "did you mean `warn`?");
    check("level «contains» \"x\"", "expected a comparison");
    check("«within» = 5", "field(\"within\")");
    check("message =~ «\"(\"»", "not a regular expression: unclosed group");
    check("message =~ «\"\"»", "found in every line");
    check("message contains «\"\"»", "in every line");
    check("message =~ «\"(\\w{100}){100}\"»", "too large");
    check("message = «/x/»", "write =~ in front");
    check("message = \"a«\\d»\"", "escape is unknown");
    check("message = «\"»a", "never closed");
    check("'a' «&&» 'b'", "write `and`");
    check("«!» 'b'", "write `not`");
    check("'a' «'b'»", "expected `)`, not a text");
    fails("new_template('a' and «)»", "which lines are meant");
    fails("mean(«\"took\"») > 1 within 1m", "write field(\"took\")");
    fails("mean(«message») > 1 within 1m", "field(\"message\")");
    fails("mean(«/took \\d+/») > 1 within 1m", "no named group");
    fails("mean(/(?<ms>\\d+)/.«mss») > 1 within 1m", "did you mean `ms`?");
    fails("mean(/(?<a>\\d+) (?<b>\\d+)/«») > 1 within 1m", "write .a behind it");
    fails("ratio(\"a\"«)» > 1% within 1m", "among which lines");
    fails("loop(verdict = «\"nine\"»)", "did you mean `none`?");
    fails("loop(verdict «!=» \"none\")", "expected `=` or `in`");
    fails("loop(«iteration» > 3)", "did you mean `iterations`?");
    fails("loop(period < «3»)", "a time, as in 1s, not a number without unit");
    fails("loop(endpoint «=» \"x\")", "expected `contains`");
    fails("loop(iterations > 3 «period» < 1s)", "expected `,` or `)`");
}

#[test]
fn depth_and_length_are_limited() {
    let deep = |depth: usize| format!("new_template({}\"a\"{})", "(".repeat(depth), ")".repeat(depth));
    assert!(parse(&deep(DEPTH_MAX)).is_ok());
    let error = parse(&deep(DEPTH_MAX + 1)).expect_err("too deep");
    assert_eq!(
        (error.span.start, error.message.contains("32 deep")),
        ("new_template(".len() + DEPTH_MAX, true)
    );
    assert!(parse(&"(".repeat(TEXT_MAX)).is_err());
    assert!(parse(&format!("new_template({})", "not ".repeat(2_000))).is_err());
    let long = format!("new_template(\"{}\")", "ä".repeat(TEXT_MAX));
    assert_eq!(parse(&long).expect_err("too long").message, "an expression may have 8,192 bytes");
}

/// Words and signs of the language, some of which are no part of it.
fn piece() -> impl Strategy<Value = String> {
    let words = "count rate ratio mean min max p95 new_template loop absent resource message level stream field status \
                 contains in within by least for where all and or not x baseline verdict endpoint iterations period \
                 error none cpu memory container ( ( ( ) ) ) , . > >= < <= = != =~ !~ 10 0.5 1% 20/s 1m 250ms 2GiB -3 /a(?<n>.)/ \
                 \"a\\\"\\\\\" 'b' \"((\" ! ä \" /";
    let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    prop_oneof![9 => prop::sample::select(words), 1 => "\\PC{0,3}"]
}

/// Filters as they may be written, deeper and deeper.
fn filter() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("all".to_owned()),
        "[a-z\"\\\\ ]{1,6}".prop_map(|text| format!("message contains {}", quoted(&text))),
        "[a-z\"/. ]{1,6}".prop_map(|text| format!("message !~ \"{}\"", text.replace('"', "\\\""))),
        ("[a-z ]{1,6}", -999i32..999)
            .prop_map(|(name, number)| format!("field({}) >= {number}.5", quoted(&name))),
        "[a-z]{1,4}".prop_map(|name| format!("f_{name} != 'x' and level < warn")),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| format!("not ({inner})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} or {b}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) and {b}")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("({a} or {b})")),
        ]
    })
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// What is printed is read as the same; what is wrong stands inside the text.
fn hold_the_laws(source: &str) -> Result<(), TestCaseError> {
    match parse(source) {
        Ok(when) => {
            let printed = when.to_string();
            let again = parse(&printed).map(|when| format!("{when:?}"));
            prop_assert_eq!(again, Ok(format!("{when:?}")), "{} → {}", source, printed);
        }
        Err(error) => {
            prop_assert!(source.get(error.span.clone()).is_some(), "{}: {:?}", source, error);
            prop_assert!(!error.message.is_empty() && !error.message.contains(char::is_control));
        }
    }
    Ok(())
}

/// What would take more memory than a pattern may have is refused when it is read, at its place.
#[test]
fn fault_083_a_pattern_that_explodes_is_refused() {
    fails(r#"count(message =~ «"(a{1000}){1000}"») >= 1 within 1m"#, "pattern");
    fails(r"mean(«/(?<n>(\w{900}){900})/».n) > 1 within 1m", "pattern");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn no_text_panics(text in any::<String>(), pieces in prop::collection::vec(piece(), 0..24)) {
        hold_the_laws(&text)?;
        hold_the_laws(&pieces.join(" "))?;
        hold_the_laws(&format!("new_template({})", pieces.join(" ")))?;
    }

    #[test]
    fn what_is_printed_is_read_again(
        filter in filter(), number in 1u32..100_000, window in 1u32..86_400, least in 1u32..9, stream in any::<bool>(),
    ) {
        let by = if stream { "by stream" } else { "" };
        let sources = [
            format!("count({filter}) >= {number} within {window}s {by}"),
            format!("rate({filter}) < {number}/m {by} within {window}s"),
            format!("ratio({filter}, {filter}) > 0.{number} within {window}s least {least}"),
            format!("p95(t where {filter}) > {number}ms {by} within {window}s"),
            format!("absent({filter}) for {window}s {by}"),
            format!("mean(/{number}(?<n>.)/) != {number} x baseline within {window}s"),
            format!("resource(cpu > {number}%, container !~ '{window}')"),
            format!("resource(memory <= {number}MiB)"),
        ];
        for source in sources {
            prop_assert!(parse(&source).is_ok(), "{}: {:?}", source, parse(&source));
            hold_the_laws(&source)?;
        }
    }
}

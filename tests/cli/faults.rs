//! Rows of the fault table that can be tried on a whole run: `fault_0NN` is row NN of `faults.md`.

use std::fs;

use base64::Engine as _;
use proptest::prelude::*;
use serde_json::Value;
use squall::corpus::{cri, json_file};
use squall::engine::frame::IoStream;
use squall::units::Timestamp;

use crate::support::process::{feed, run};
use crate::support::records::Records;

/// The records of a run over `input`, of which nothing is folded unless `flags` say otherwise. Each line must be
/// told exactly once.
#[track_caller]
fn records_of(format: &str, flags: &[&str], input: &[u8], lines: u64) -> Records {
    let folder = tempfile::tempdir().expect("a folder");
    let mut args = vec!["run", "--stdin", "--to", "console", "--json", "--format", format];
    args.extend(flags);
    let ended = feed(folder.path(), args, input);
    ended.expect_code(0);
    let (records, ledger) = Records::with_ledger(&ended);
    assert_eq!(records.lines(), lines, "{ledger}");
    assert_eq!(ledger["bytes_in"], input.len(), "{ledger}");
    records
}

/// The bytes of a line as they were before JSON: `raw_b64` where they are not UTF-8.
fn bytes_of(record: &Value) -> Vec<u8> {
    match record["squall"]["raw_b64"].as_str() {
        Some(raw) => base64::engine::general_purpose::STANDARD.decode(raw).expect("base64"),
        None => record["message"].as_str().expect("a message").as_bytes().to_vec(),
    }
}

const TIME: Timestamp = Timestamp(1_770_336_600_000_000_000);

#[test]
fn fault_025_last_line_without_newline() {
    let records = records_of("plain", &[], b"whole\nhalf", 2);
    assert_eq!(records.texts(), ["whole", "half"]);
    assert_eq!(records.all[0]["squall"]["complete"], Value::Null);
    assert_eq!(records.all[1]["squall"]["complete"], false);
}

#[test]
fn fault_026_a_very_long_line() {
    let mut input = vec![b'a'; 30_000_000];
    input.extend_from_slice(b"\nthe next line\n");
    let folder = tempfile::tempdir().expect("a folder");
    let ended = feed(folder.path(), ["run", "--stdin", "--to", "console", "--json"], &input);
    ended.expect_code(0);
    let (records, _) = Records::with_ledger(&ended);
    assert_eq!(records.lines(), 2);
    let long = &records.all[0]["squall"];
    assert_eq!((&long["truncated"], &long["length"]), (&true.into(), &30_000_000.into()));
    assert!(long["xxh3"].is_string());
    let kept = records.all[0]["message"].as_str().expect("text");
    assert!(kept.len() >= 500_000 && kept.bytes().all(|byte| byte == b'a'), "{}", kept.len());
    assert_eq!(records.texts()[1], "the next line");
    assert!(
        (1..64 * 1024).contains(&ended.peak_kib),
        "a line of 30 MB does not cost 30 MB: {} KiB",
        ended.peak_kib
    );
}

#[test]
fn fault_027_docker_partials() {
    let long: Vec<u8> = (0..100_000u32).map(|n| b'a' + (n % 26) as u8).collect();
    let mut input = Vec::new();
    // Both streams at once: the pieces of each go together.
    let pieces = |text: &[u8], stream| {
        let mut file = Vec::new();
        json_file::append(&mut file, text, stream, TIME);
        file.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>()
    };
    let other = long.to_ascii_uppercase();
    for (out, err) in pieces(&long, IoStream::Stdout).iter().zip(pieces(&other, IoStream::Stderr)) {
        input.extend_from_slice(out);
        input.extend_from_slice(&err);
    }
    json_file::append(&mut input, b"short", IoStream::Stdout, TIME);
    let records = records_of("docker", &[], &input, 3);
    let texts: Vec<Vec<u8>> = records.all.iter().map(bytes_of).collect();
    assert!(texts == [long, other, b"short".to_vec()], "joined per stream");
    assert_eq!(records.all[1]["log"]["iostream"], "stderr");
}

#[test]
fn fault_028_cri_partials_interleaved() {
    let input = "2026-02-06T00:10:00Z stdout P one \n2026-02-06T00:10:00Z stderr F err\n\
                 2026-02-06T00:10:00Z stdout F line\n2026-02-06T00:10:01Z stdout P never ended\n";
    let records = records_of("cri", &[], input.as_bytes(), 3);
    let mut texts = records.texts();
    texts.sort_unstable();
    assert_eq!(texts, ["err", "never ended", "one line"]);
    let unfinished =
        records.all.iter().find(|record| record["message"] == "never ended").expect("it is there");
    assert_eq!(unfinished["squall"]["complete"], false);
}

#[test]
fn fault_029_a_character_cut_by_the_runtime() {
    let text = format!("{}方", "a".repeat(16_383));
    let mut input = Vec::new();
    cri::append(&mut input, text.as_bytes(), IoStream::Stdout, TIME);
    assert_eq!(input.iter().filter(|byte| **byte == b'\n').count(), 2, "the runtime cut it");
    let records = records_of("cri", &[], &input, 1);
    assert_eq!(records.all[0]["message"], text);
    assert_eq!(records.all[0]["squall"]["raw_b64"], Value::Null, "whole again, so it is UTF-8");
}

#[test]
fn fault_030_and_031_any_bytes_come_back() {
    // Every byte but the newline, in every position of a pair.
    let lines: Vec<Vec<u8>> = (0..=255u8)
        .filter(|first| *first != b'\n')
        .map(|first| (0..=255u8).filter(|byte| *byte != b'\n').flat_map(|second| [first, second]).collect())
        .collect();
    let input: Vec<u8> = lines.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect();
    for format in ["plain", "cri"] {
        let wrapped = match format {
            "plain" => input.clone(),
            _ => lines
                .iter()
                .flat_map(|line| [b"2026-02-06T00:10:00Z stdout F ", &line[..], b"\n"].concat())
                .collect(),
        };
        let records = records_of(format, &["--collapse", "never"], &wrapped, lines.len() as u64);
        let came: Vec<Vec<u8>> = records.all.iter().map(bytes_of).collect();
        assert!(came == lines, "{format}: not the same bytes");
    }
}

#[test]
fn fault_032_broken_json_in_the_middle() {
    let good = "{\"log\":\"good\\n\",\"stream\":\"stdout\",\"time\":\"2026-02-06T00:10:00Z\"}\n";
    let cut = "{\"log\":\"cut by a full di";
    let input = [good, cut, good, cut, "\n", "\0\0\0not json\n", good].concat();
    let folder = tempfile::tempdir().expect("a folder");
    let args = ["run", "--stdin", "--to", "console", "--json", "--format", "docker"];
    let ended = feed(folder.path(), args, input.as_bytes());
    ended.expect_code(0);
    let (records, _) = Records::with_ledger(&ended);
    let texts = records.texts();
    assert_eq!(
        texts.iter().filter(|text| **text == "good").count(),
        3,
        "the object behind the cut one: {texts:?}"
    );
    let broken: Vec<&Value> =
        records.of("line").filter(|record| record["squall"]["parse_error"].is_string()).collect();
    assert_eq!(broken.len(), 3, "{texts:?}");
    assert!(broken.iter().all(|record| !record["message"].as_str().expect("text").is_empty()));
    assert_eq!(records.missing([cut, cut, "\0\0\0not json"]), [""; 0], "raw, as they were");
}

#[test]
fn fault_033_attributes_and_unknown_keys() {
    let input = "{\"log\":\"a\\n\",\"stream\":\"stdout\",\"attrs\":{\"tag\":\"x\",\"n\":{\"deep\":[1,2]}},\
                 \"new_key\":17,\"time\":\"2026-02-06T00:10:00Z\"}\n";
    let records = records_of("docker", &[], input.as_bytes(), 1);
    let record = &records.all[0];
    assert_eq!(record["message"], "a");
    assert_eq!(record["docker"]["attrs"]["tag"], "x", "{record}");
    assert_eq!(record["docker"]["attrs"]["n"]["deep"][1], 2, "{record}");
    assert_eq!(record["docker"]["new_key"], 17, "{record}");
}

#[test]
fn fault_034_empty_lines_and_carriage_returns() {
    let records = records_of("plain", &[], b"a\r\n\r\n\n  \t\nb\n", 5);
    assert_eq!(records.texts(), ["a\r", "\r", "", "  \t", "b"]);
    let same = records.all[1]["squall"]["template"] == records.all[2]["squall"]["template"];
    assert!(same, "a carriage return makes no other template");
    // One line in ten is empty: the books balance all the same.
    let input: String =
        (0..5_000).map(|n| if n % 10 == 0 { "\n".to_owned() } else { format!("n {n}\r\n") }).collect();
    records_of("plain", &[], input.as_bytes(), 5_000);
    records_of("plain", &["--collapse", "always"], input.as_bytes(), 5_000);
}

#[test]
fn fault_035_clocks_that_jump() {
    let day = 86_400_000_000_000;
    let mut input = Vec::new();
    for n in 0..2_000i64 {
        let jump = [0, -day, day, 365 * day][(n / 100 % 4) as usize];
        json_file::append(
            &mut input,
            b"tick failed",
            IoStream::Stdout,
            Timestamp(TIME.0 + n * 1_000_000 + jump),
        );
    }
    for collapse in ["never", "storms", "always"] {
        let records = records_of("docker", &["--collapse", collapse], &input, 2_000);
        for summary in records.of("summary") {
            let told = &summary["squall"];
            assert!(told["per_second"].as_f64().is_some_and(f64::is_finite), "{summary}");
        }
        assert_eq!(records.all[0]["@timestamp"], "2026-02-06T00:10:00.000000000Z", "as it was written");
    }
}

#[test]
fn fault_077_templates_without_end() {
    // Random words of letters are no variable, so each line is a template of its own.
    let word = |mut n: u64| {
        let mut text = String::new();
        for _ in 0..8 {
            text.push(char::from(b'a' + (n % 26) as u8));
            n = n / 26 + n.wrapping_mul(0x9e37_79b9) % 1_000_003;
        }
        text
    };
    let lines = 50_000;
    let input: String = (0..lines).map(|n| format!("{} {}\n", word(n * 7 + 1), word(n * n + 3))).collect();
    let records = records_of("plain", &["--set", "storm.templates_max=1000"], input.as_bytes(), lines);
    let floods = records.of("notice").filter(|notice| notice["squall"]["reason"] == "novelty_flood").count();
    assert!(floods > 0 && records.noticed > 0, "more than 1,000 new templates a second are a flood");
    assert!(records.verbatim >= 1_000, "the first thousand pass: {}", records.verbatim);
}

#[test]
fn fault_081_nothing_acts_on_a_terminal() {
    let attack = "\u{1b}]0;owned\u{7} \u{1b}[2J a\rb \u{202e}abc \u{9b}31m\n";
    let folder = tempfile::tempdir().expect("a folder");
    let ended = feed(folder.path(), ["run", "--stdin", "--to", "console"], attack.as_bytes());
    ended.expect_code(0);
    assert!(ended.stdout.contains("\\u{1b}]0;owned\\u{7}"), "{}", ended.stdout);
    let harmful = |text: &str| {
        text.chars().find(|letter| (letter.is_control() && *letter != '\n') || *letter == '\u{202e}')
    };
    assert_eq!(harmful(&ended.stdout), None, "{:?}", ended.stdout);
    assert_eq!(harmful(&ended.stderr), None, "{:?}", ended.stderr);
    assert_eq!(ended.stdout.lines().count(), 1, "one line in, one line out: {}", ended.stdout);
}

#[test]
fn fault_081_nor_does_a_name_or_a_config() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("a\u{1b}]0;owned\u{7}.log")).expect("an evil name");
    fs::write(folder.path().join("evil.yaml"), "storm: { \"fi\u{202e}rst\": 1 }\n").expect("a config");
    for args in [
        &["run", "--until-eof", "--tail", "*.log", "--to", "console"][..],
        &["validate", "evil.yaml"],
        &["validate", "missing\u{1b}[2J.yaml"],
        &["templates", "missing\u{1b}[2J.log"],
    ] {
        let ended = run(folder.path(), args.iter().copied());
        assert!(!ended.stderr.is_empty(), "{args:?}");
        let harmful = ended.stderr.find(['\u{1b}', '\u{7}', '\u{202e}']);
        assert_eq!(harmful, None, "{args:?}: {:?}", ended.stderr);
    }
}

proptest! {
    // A few runs of many lines each: starting a process is what takes the time.
    #![proptest_config(ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn fault_082_no_line_sets_metadata(
        lines in proptest::collection::vec("[{}\\[\\]\":,\\\\a-z0-9 \u{0}-\u{9}\u{b}-\u{1f}\u{202e}é]{0,60}", 500),
        template in "[{\":,a-z ]{0,40}",
    ) {
        let keys = ["squall", "host", "id", "kind", "count", "@timestamp", "message"];
        let lies = keys.iter().map(|key| format!("{{\"{key}\":\"{template}\",\"{key}\":{{\"name\":1}}}}"));
        let lines: Vec<String> = lines.iter().cloned().chain(lies).collect();
        let input = lines.join("\n") + "\n";
        let records = records_of("plain", &["--collapse", "never"], input.as_bytes(), lines.len() as u64);
        prop_assert_eq!(records.texts(), lines.iter().map(String::as_str).collect::<Vec<_>>());
        for record in &records.all {
            let names: Vec<&str> = record.as_object().expect("an object").keys().map(String::as_str).collect();
            prop_assert_eq!(names, ["@timestamp", "message", "log", "host", "labels", "squall"]);
            prop_assert_eq!(&record["squall"]["stream"], "testhost/stdin");
            prop_assert_eq!(&record["host"], &serde_json::json!({"name": "testhost"}));
        }
    }
}

#[test]
fn fault_082_a_line_cannot_set_metadata() {
    let lie = "{\"container_id\":\"x\",\"id\":\"0-1\",\"count\":99,\"squall\":{\"kind\":\"summary\",\"count\":99},\
               \"host\":{\"name\":\"other\"},\"@timestamp\":\"1999-01-01T00:00:00Z\"}";
    let closing = "\",\"squall\":{\"kind\":\"notice\"},\"x\":\"";
    let input = [lie, "\n", closing, "\n"].concat();
    let records = records_of("plain", &[], input.as_bytes(), 2);
    assert_eq!(records.texts(), [lie, closing]);
    for record in &records.all {
        assert_eq!(record["squall"]["kind"], "line", "{record}");
        assert_eq!(record["host"]["name"], "testhost", "{record}");
        assert_eq!(record["container"], Value::Null, "{record}");
    }
    // The runtime's own envelope may bring unknown keys; they stay in a place of their own.
    let envelope = "{\"log\":\"a\\n\",\"stream\":\"stdout\",\"time\":\"2026-02-06T00:10:00Z\",\
                    \"squall\":{\"kind\":\"notice\"},\"host\":{\"name\":\"other\"},\"message\":\"b\"}\n";
    let records = records_of("docker", &[], envelope.as_bytes(), 1);
    let record = &records.all[0];
    assert_eq!((&record["message"], &record["host"]["name"]), (&"a".into(), &"testhost".into()), "{record}");
    assert_eq!(record["squall"]["kind"], "line", "{record}");
}

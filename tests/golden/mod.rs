//! Whole runs against what is expected of them: `tests/golden/<case>/{args,input,expected}`.
//!
//! `args` has one flag a line for `squall run --until-eof --tail input --to console --json`; `expected` is what it
//! printed, without what differs from run to run. `UPDATE=1` writes it anew: read the difference before you commit it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::process::run;
use crate::support::records::{Records, split_ledger};

#[test]
fn runs_print_what_is_expected() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut names: Vec<_> = fs::read_dir(&cases)
        .expect("the cases")
        .map(|entry| entry.expect("a case").path())
        .filter(|path| path.is_dir())
        .collect();
    names.sort();
    assert!(!names.is_empty(), "no cases in {}", cases.display());
    let wrong: Vec<String> = names.iter().filter_map(|case| difference(case)).collect();
    assert!(wrong.is_empty(), "{}\n(UPDATE=1 writes them anew)", wrong.join("\n"));
}

/// What is not as expected in one case.
fn difference(case: &Path) -> Option<String> {
    let folder = tempfile::tempdir().expect("a folder");
    fs::copy(case.join("input"), folder.path().join("input")).expect("the case has an input");
    let args = fs::read_to_string(case.join("args")).expect("the case has args");
    let fixed = ["run", "--until-eof", "--tail", "input", "--to", "console", "--json"];
    let ended = run(folder.path(), fixed.into_iter().chain(args.split_whitespace()));
    ended.expect_code(0);
    Records::with_ledger(&ended);
    let found = normalised(&ended.stdout);
    let file = case.join("expected");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, &found).expect("a writable case");
        return None;
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    let differs = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    match differs {
        Some((found, expected)) => {
            Some(format!("{}:\nexpected {expected}\nfound    {found}", case.display()))
        }
        None if found != expected => Some(format!("{}: not as many lines as expected", case.display())),
        None => None,
    }
}

/// Without lane, clock and duration.
fn normalised(printed: &str) -> String {
    let (text, mut ledger) = split_ledger(printed);
    let id = text
        .lines()
        .next()
        .map(|line| serde_json::from_str::<Value>(line).expect(line)["squall"]["id"].take());
    let lane =
        id.as_ref().and_then(Value::as_str).and_then(|id| id.rsplit_once('-')).map_or("-", |(lane, _)| lane);
    let mut out = String::new();
    for line in text.replace(lane, "LANE").lines() {
        let mut record: Value = serde_json::from_str(line).expect(line);
        for pointer in ["/@timestamp", "/squall/first", "/squall/last"] {
            // The inputs were written on this day; another one is that of the run.
            if let Some(Value::String(time)) = record.pointer_mut(pointer)
                && !time.starts_with("2026-02-06T")
            {
                *time = "ARRIVAL".to_owned();
            }
        }
        out += &format!("{record}\n");
    }
    let ledger_of_run = ledger.as_object_mut().expect("an object");
    for differs in ["seconds", "bytes_out"] {
        ledger_of_run.shift_remove(differs).expect("the ledger has it");
    }
    out + &format!("{ledger}\n")
}

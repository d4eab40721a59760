//! `squall templates`: the same ids in every run and on every machine, one a line.

use std::fs;

use crate::support::process::{feed, run};

const LOG: &str = "user alice logged in from 10.0.0.1\nuser bob logged in from 10.0.0.2\ndisk full\n";

#[test]
fn a_missing_file_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let ended = run(folder.path(), ["templates", "missing.log"]);
    ended.expect_code(1).expect_said("cannot open missing.log: No such file");
    assert_eq!(ended.stdout, "");
}

#[test]
fn ids_are_the_same_in_every_process() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("app.log"), LOG).expect("a log");
    let ids = |args: &[&str], input: &str| {
        let ended = feed(folder.path(), args.iter().copied(), input.as_bytes());
        ended.expect_code(0);
        ended.stdout
    };
    let from_file = ids(&["templates", "--assign", "app.log"], "");
    assert_eq!(from_file.lines().count(), 3);
    assert!(from_file.lines().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())));
    assert_eq!(from_file, ids(&["templates", "--assign", "app.log"], ""), "another process");
    assert_eq!(from_file, ids(&["templates", "--assign", "-"], LOG), "from a pipe");
    assert_eq!(from_file, ids(&["templates", "--assign", "-"], &LOG.replace('\n', "\r\n")), "CRLF");
    let twice = ids(&["templates", "--assign", "app.log", "app.log"], "");
    assert_eq!(twice, from_file.repeat(2));
}

/// An id that changes is a break for everybody who stored one: this makes it a decision.
#[test]
fn an_id_is_for_ever() {
    let folder = tempfile::tempdir().expect("a folder");
    let ended = feed(folder.path(), ["templates", "--assign", "-"], b"disk full\n");
    assert_eq!(ended.expect_code(0).stdout, "98576338a15d34e5df386f3562af4164\n");
}

#[test]
fn templates_are_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = "GET /a 1\nGET /a 2\nGET /a 3\nERROR \u{1b}[31m disk full\n";
    let ended = feed(folder.path(), ["templates", "--json", "-"], log.as_bytes());
    ended.expect_code(0);
    let rows: Vec<serde_json::Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let told: Vec<_> = rows.iter().map(|row| (row["count"].as_u64(), row["pattern"].as_str())).collect();
    assert_eq!(told, [(Some(3), Some("GET /a <*>")), (Some(1), Some("ERROR \u{1b}[<*> disk full"))]);
    assert_eq!(rows[1]["level"], "error");

    let ended = feed(folder.path(), ["templates", "-"], log.as_bytes());
    ended.expect_code(0);
    assert!(ended.stdout.ends_with("4 lines, 2 templates\n"), "{}", ended.stdout);
    assert!(!ended.stdout.contains('\u{1b}'), "nothing from a log acts on a terminal: {}", ended.stdout);
}

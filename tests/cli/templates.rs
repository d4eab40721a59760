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

/// Nine users who log in, and a disk.
fn log_of_users() -> String {
    let names = ["alice", "bob", "carol", "dave", "eve", "frank", "grace", "heidi", "ivan"];
    let line = |(second, name): (usize, &str)| {
        format!("2026-02-06T00:10:0{second}Z INFO user {name} logged in from 10.0.0.{second}\n")
    };
    let users: String = names.into_iter().enumerate().map(line).collect();
    users + "2026-02-06T00:10:09Z ERROR disk full\n2026-02-06T00:10:07Z ERROR disk full\n"
}

fn rows(args: &[&str], log: &str) -> Vec<serde_json::Value> {
    let folder = tempfile::tempdir().expect("a folder");
    let ended = feed(
        folder.path(),
        ["templates", "--json"].iter().chain(args).chain(&["-"]).copied(),
        log.as_bytes(),
    );
    let rows = ended.expect_code(0).stdout.lines().map(|line| serde_json::from_str(line).expect(line));
    rows.collect()
}

#[test]
fn families_are_told_of_all_their_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let ended = feed(folder.path(), ["templates", "--assign=families", "-"], log_of_users().as_bytes());
    let told: Vec<(&str, &str)> =
        ended.expect_code(0).stdout.lines().filter_map(|line| line.split_once(' ')).collect();
    assert_eq!(told.len(), 11);
    let (users, disk) = told.split_at(9);
    // The first users came before there was a family, and belong to it all the same.
    assert!(users.iter().all(|(id, family)| *family == users[0].1 && id != family), "{told:?}");
    assert!(disk.iter().all(|(id, family)| id == family), "{told:?}");
    let alone = feed(folder.path(), ["templates", "--assign", "-"], log_of_users().as_bytes());
    let ids: Vec<&str> = alone.expect_code(0).stdout.lines().collect();
    assert_eq!(ids, told.iter().map(|(id, _)| *id).collect::<Vec<_>>());
}

#[test]
fn a_row_says_how_many_when_and_what() {
    let all = rows(&["--families", "--examples", "3"], &log_of_users());
    assert_eq!(all.len(), 10);
    let disk = &all[0];
    assert_eq!((disk["count"].as_u64(), disk["share"].as_f64()), (Some(2), Some(0.1818)));
    assert_eq!(
        (&disk["first"], &disk["last"]),
        (&"2026-02-06T00:10:07Z".into(), &"2026-02-06T00:10:09Z".into())
    );
    assert_eq!((&disk["level"], &disk["pattern"]), (&"error".into(), &"<*> ERROR disk full".into()));
    assert_eq!(
        disk["examples"].as_array().map(Vec::len),
        Some(2),
        "lines that differ, in their times at least"
    );
    assert!(disk["family"].is_null());
    let alice = &all[1];
    assert_eq!(alice["pattern"], "<*> INFO user alice logged in from <*>");
    assert_eq!(alice["family"]["pattern"], "<*> INFO user <*> logged in from <*>");
    assert_eq!(alice["family"]["members"], 9);
    assert_eq!(
        rows(&["--top", "1"], &log_of_users()),
        [{
            let mut only = disk.clone();
            only.as_object_mut().expect("an object").shift_remove("family");
            only["examples"].as_array_mut().expect("a list").truncate(1);
            only
        }]
    );
    assert_eq!(
        rows(&["--examples", "0"], "a line\n")[0]["first"],
        serde_json::Value::Null,
        "no time, none told"
    );
}

#[test]
fn the_table_is_for_people() {
    let folder = tempfile::tempdir().expect("a folder");
    let table = |args: &[&str], log: &str| {
        let ended =
            feed(folder.path(), ["templates"].iter().chain(args).chain(&["-"]).copied(), log.as_bytes());
        ended.expect_code(0).stdout.clone()
    };
    let printed = table(&["--top", "2", "--families", "--examples", "1"], &log_of_users());
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines.len(), 6, "{printed}");
    let column = lines[0].find("PATTERN").expect("a heading");
    assert_eq!(lines[1].find("<*> ERROR disk full"), Some(column), "{printed}");
    assert_eq!(lines[3].find("<*> INFO user alice"), Some(column), "{printed}");
    assert!(lines[2].ends_with("| 2026-02-06T00:10:09Z ERROR disk full"), "{printed}");
    assert_eq!(lines[5], "11 lines, 10 templates, 2 of them shown");
    assert!(printed.lines().all(|line| line.trim_end() == line), "{printed}");

    let printed = table(&["--examples", "2"], "tail \u{1b}]0;x\u{7} here\n");
    assert!(printed.contains("\\u{1b}") && !printed.contains('\u{1b}'), "{printed}");
    assert!(!printed.contains("FIRST"), "no times, no columns for them: {printed}");
    assert_eq!(table(&[], ""), "0 lines, 0 templates\n");
}

#[test]
fn the_message_of_json_decides() {
    let log = r#"{"level":"info","time":1,"msg":"served","status":200,"took":5}
{"status":200,"msg":"served","level":"info","trace":"abc"}
{"level":"info","msg":"served","status":503}
level=info msg="served" status=200
"#;
    let told: Vec<_> =
        rows(&[], log).iter().map(|row| (row["count"].as_u64(), row["pattern"].clone())).collect();
    let pattern = |status| serde_json::Value::from(format!("level=info\tserved\tstatus={status}"));
    assert_eq!(told, [(Some(3), pattern(200)), (Some(1), pattern(503))]);
}

#[test]
fn what_makes_no_sense_together_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    for args in [["--assign", "--json"], ["--assign=families", "--families"], ["--assign=x", "--json"]] {
        feed(folder.path(), ["templates"].iter().chain(&args).chain(&["-"]).copied(), b"").expect_code(2);
    }
}

//! `squall audit`: on a store that holds, one that does not, and what is none.

use std::fs;
use std::path::Path;

use crate::support::process::run;

/// A copy of a golden store: six epochs of three records, acknowledged up to 6 and one replaced.
fn store(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outbox/golden").join(name);
    for entry in fs::read_dir(golden).expect("the golden store") {
        let path = entry.expect("a file").path();
        fs::copy(&path, folder.path().join(path.file_name().expect("a name"))).expect("a copy");
    }
    folder
}

#[test]
fn a_store_that_holds() {
    for name in ["1-closed", "1-killed"] {
        let folder = store(name);
        let before = fs::read(folder.path().join("outbox.db")).expect("a file");
        let ended = run(folder.path(), ["audit", "."]);
        ended.expect_code(0);
        assert!(ended.stdout.ends_with("everything holds\n"), "{}", ended.stdout);
        assert!(ended.stdout.contains("waiting: 12 records for 24 lines"), "{}", ended.stdout);
        assert!(ended.stdout.contains("/var/log/1.log: read 9 of 15 bytes"), "{}", ended.stdout);
        let ended = run(folder.path(), ["audit", ".", "--json"]);
        let object: serde_json::Value = serde_json::from_str(&ended.expect_code(0).stdout).expect("JSON");
        let audit = &object["audit"];
        assert_eq!((&audit["holds"], &audit["problems"]), (&true.into(), &serde_json::json!([])));
        let lane = &audit["destinations"][0];
        assert_eq!((lane["next_seq"].as_u64(), lane["acked"].as_u64()), (Some(19), Some(6)));
        assert_eq!(lane["oldest"], "2026-02-06T00:10:00Z");
        assert_eq!(audit["streams"][0]["stream"], "app/stdout");
        assert_eq!(audit["positions"].as_array().map(Vec::len), Some(5));
        assert_eq!(fs::read(folder.path().join("outbox.db")).expect("a file"), before, "it was only read");
    }
}

#[test]
fn a_store_that_does_not_hold() {
    #[track_caller]
    fn check(sql: &str, said: &str) {
        let folder = store("1-closed");
        let database = rusqlite::Connection::open(folder.path().join("outbox.db")).expect("a database");
        database.execute_batch(sql).expect("it can be changed");
        database.close().expect("it closes");
        let ended = run(folder.path(), ["audit", "."]);
        ended.expect_code(1);
        assert!(ended.stdout.contains(&format!("PROBLEM  {said}\n")), "{}", ended.stdout);
        let ended = run(folder.path(), ["audit", "--json", "."]);
        assert!(ended.expect_code(1).stdout.contains(said), "{}", ended.stdout);
    }
    let to = "kafka://localhost:9092/logs";
    check("UPDATE stream SET received = received + 1", "streams and episodes: a row of stream is damaged");
    check("DELETE FROM epoch WHERE first_seq = 10", &format!("{to}: records 10 to 12 are missing"));
    check("UPDATE epoch SET blob = x'00' WHERE first_seq = 7", &format!("{to}: records 7 to 9 are damaged"));
    check("DELETE FROM episode WHERE count = 4", "stream app/stdout: 4 lines of its books do not add up");
    check("DELETE FROM stream", "stream app/stdout: 11 lines in open windows, and no books");
}

#[test]
fn what_is_no_state_directory() {
    let folder = tempfile::tempdir().expect("a folder");
    let no_store = run(folder.path(), ["audit", "."]);
    no_store
        .expect_code(2)
        .expect_said("error: . is no state directory of squall: there is no outbox.db in it");
    assert!(fs::read_dir(folder.path()).expect("the folder").next().is_none(), "nothing was made");
    fs::write(folder.path().join("outbox.db"), "hello").expect("a file");
    run(folder.path(), ["audit", "."]).expect_code(2).expect_said("is not a store of squall");
}

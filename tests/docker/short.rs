//! Containers that live for a moment: their last words.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::thread;

use serde_json::{Value, json};

use super::driver::Driver;
use super::engine::{Engine, IMAGE};
use crate::support::process::setting;

/// Environment: `SQUALL_CONTAINERS` is how many.
#[test]
#[ignore = "needs dockerd"]
fn fault_070_last_words_of_short_lives_arrive() {
    let mut driver = Driver::to_file();
    let engine = Engine::start(&[]);
    let lives = setting("SQUALL_CONTAINERS", 60);
    let id_file = engine.path("id").display().to_string();
    let live = |number: u64| {
        let (name, words) = (format!("c{number}"), format!("first of c{number}\\nlast word of c{number}"));
        let mut args = vec!["--rm", "--name", &name, "--log-driver", driver.name()];
        if number == 0 {
            args.extend(["--cidfile", &id_file, "--label", "team=pay", "--label", "rank=9"]);
            args.extend(["--env", "REGION=eu", "--env", "PASSWORD=hunter2", "--log-opt", "labels=team"]);
            args.extend(["--log-opt", "env=REGION", "--log-opt", "tag={{.Name}} of {{.ImageName}}"]);
        }
        engine.run(&args, &["printf", &words]);
    };
    // Two at a time, for two processors.
    thread::scope(|scope| {
        for half in 0..2 {
            let live = &live;
            scope.spawn(move || (half..lives).step_by(2).for_each(live));
        }
    });
    driver.await_drained();
    let said = driver.stop();

    let mut seen = BTreeSet::new();
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in driver.out().lines() {
        let record: Value = serde_json::from_str(line).expect("a record");
        // A worker that was ended sends what was not confirmed once more, and that has the same id.
        if !seen.insert(record["squall"]["id"].as_str().expect("an id").to_owned()) {
            continue;
        }
        let name = record["container"]["name"].as_str().unwrap_or_default().to_owned();
        found.entry(name).or_default().push(record);
    }
    let names: BTreeSet<String> = (0..lives).map(|number| format!("c{number}")).collect();
    assert_eq!(found.keys().cloned().collect::<BTreeSet<_>>(), names);
    for (name, records) in &found {
        let texts: Vec<_> = records.iter().map(|record| record["message"].as_str().expect("text")).collect();
        let want = [format!("first of {name}"), format!("last word of {name}")];
        assert_eq!(texts, want, "{records:?}\n{said}");
        let complete = [&records[0], &records[1]].map(|record| record["squall"]["complete"] != false);
        assert_eq!(complete, [true, false], "{records:?}");
    }
    let id = fs::read_to_string(id_file).expect("Docker has written it");
    let first = &found["c0"][0];
    assert_eq!(first["container"], json!({ "id": id, "name": "c0", "image": { "name": IMAGE } }));
    let labels = json!({ "team": "pay", "REGION": "eu", "tag": format!("c0 of {IMAGE}") });
    assert_eq!(first["labels"], labels);
    assert!(!driver.out().contains("hunter2"));
    println!("{lives} containers, and the last words of all of them");
}

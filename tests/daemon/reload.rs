//! The config changes under the running program: counts, windows and positions go on, and what is bad changes nothing.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::process::{Ended, Running, squall};

/// Windows are long, so that only what is meant to close them does.
const STORM: &str = "storm: { first: 5, summary_every: 1h, summary_every_max: 1h, quiet: 1h }\n";

struct World {
    folder: TempDir,
    running: Option<Running>,
}

impl World {
    /// Follows `app.log` with this config.
    fn start(config: &str, more: &[&str]) -> World {
        let mut world = World { folder: tempfile::tempdir().expect("a folder"), running: None };
        world.configure(config);
        world.append("");
        let args = ["run", "-c", "squall.yaml", "--state", "state"].into_iter().chain(more.iter().copied());
        world.running = Some(Running::start(&mut squall(world.folder.path(), args)));
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, config: &str) {
        // As editors do it: the file is never half there.
        fs::write(self.path("new"), config).expect("disk");
        fs::rename(self.path("new"), self.path("squall.yaml")).expect("disk");
    }

    fn append(&self, text: &str) {
        let log = OpenOptions::new().create(true).append(true).open(self.path("app.log"));
        log.and_then(|mut log| log.write_all(text.as_bytes())).expect("disk");
    }

    /// Storm lines, and behind them one that is like no other, which is waited for in `out`.
    #[track_caller]
    fn storm(&mut self, lines: usize, mark: &str, out: &str) {
        self.append(&format!("{}{mark} is over\n", "connection timeout\n".repeat(lines)));
        let path = self.path(out);
        self.running().wait_until("the mark", |_| {
            fs::read_to_string(&path).is_ok_and(|out| out.contains(&format!("{mark} is over")))
        });
    }

    fn running(&mut self) -> &mut Running {
        self.running.as_mut().expect("it runs")
    }

    /// Asks for a look at the config, and waits until this is said once more.
    #[track_caller]
    fn reload(&mut self, said: &str) {
        let count = |running: &Running| running.stderr().matches(said).count();
        let before = count(self.running());
        self.running().signal(Signal::HUP);
        self.running().wait_until(said, |running| count(running) > before);
    }

    #[track_caller]
    fn stop(&mut self) -> Ended {
        let running = self.running.take().expect("it runs");
        running.signal(Signal::TERM);
        let ended = running.end();
        ended.expect_code(0);
        ended
    }

    fn records(&self, out: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path(out)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
    }
}

fn config(labels: &str, out: &str) -> String {
    format!(
        "{STORM}inputs: {{ app: {{ type: tail, include: [app.log], labels: {labels} }} }}\noutputs: {{ file: {{ path: {out} }} }}\n"
    )
}

/// (storm lines word for word, storm lines counted)
fn storm_lines(records: &[Value]) -> (usize, u64) {
    let storm = records.iter().filter(|record| record["message"] == "connection timeout");
    let (lines, summaries): (Vec<_>, Vec<_>) = storm.partition(|record| record["squall"]["kind"] == "line");
    (lines.len(), summaries.iter().filter_map(|record| record["squall"]["count"].as_u64()).sum())
}

#[test]
fn counts_and_positions_go_on() {
    let mut world = World::start(&config("{}", "out"), &[]);
    world.storm(1_000, "first", "out");
    world.configure(&config("{ team: edge }", "out"));
    world.reload("the config is exchanged");
    world.storm(1_000, "second", "out");
    world.reload("the config is as it was");
    let ended = world.stop();
    assert!(ended.stdout.contains("2,002"), "lines in, of both lives: {}", ended.stdout);
    let records = world.records("out");
    // The window stayed open: no second first lines, and one count for both.
    assert_eq!(storm_lines(&records), (5, 1_995));
    let marks = ["first is over", "second is over"];
    let labels = marks.map(|mark| {
        let mut found = records.iter().filter(|record| record["message"] == mark);
        let mark = found.next().expect("it is there");
        assert!(found.next().is_none(), "once");
        mark["labels"]["team"].clone()
    });
    assert_eq!(labels, [Value::Null, Value::from("edge")]);
}

#[test]
fn outputs_are_exchanged_without_loss() {
    let mut world = World::start(&config("{}", "one"), &[]);
    world.storm(500, "first", "one");
    world.configure(&config("{}", "two"));
    world.reload("the config is exchanged");
    world.storm(500, "second", "two");
    world.stop();
    let records = [world.records("one"), world.records("two")];
    let told = records.each_ref().map(|records| storm_lines(records));
    assert_eq!((told[0], told[1]), ((5, 0), (0, 995)), "the window closes where records go now");
    assert!(records[1].iter().all(|record| record["message"] != "first is over"));
}

#[test]
fn a_bad_config_changes_nothing() {
    let mut world = World::start(&config("{}", "out"), &[]);
    world.storm(500, "first", "out");
    world.configure(&config("{}", "out").replace("storm: {", "storm: { fisrt: 3,"));
    world.reload("the config stays as it was");
    let said = world.running().stderr();
    for part in ["squall.yaml:1:10: unknown key `fisrt`", "did you mean `first`?"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    world.configure("outputs: {}");
    world.reload("the new one needs inputs, and exactly one output");
    // A place that cannot be used is found out only by using it.
    world.configure(&config("{}", "no/such/folder/out"));
    world.reload("the config is as it was, for the new one cannot be used");
    world.storm(500, "second", "out");
    world.stop();
    assert_eq!(storm_lines(&world.records("out")), (5, 995));
}

#[test]
fn a_changed_file_is_seen_without_a_signal() {
    let mut world = World::start(&config("{}", "out"), &["--watch-config"]);
    world.storm(500, "first", "out");
    world.configure(&config("{ team: edge }", "out"));
    world.running().wait_until("an exchange", |running| running.stderr().contains("the config is exchanged"));
    world.storm(500, "second", "out");
    world.stop();
    assert_eq!(storm_lines(&world.records("out")), (5, 995));
}

#[test]
fn what_cannot_go_on_is_not_exchanged() {
    let console = config("{}", "out").replace("file: { path: out }", "console: { json: true }");
    let mut world = World { folder: tempfile::tempdir().expect("a folder"), running: None };
    world.configure(&console);
    world.append("hello\n");
    let mut running = Running::start(&mut squall(
        world.folder.path(),
        ["run", "-c", "squall.yaml", "--to", "console", "--json"],
    ));
    running.wait_until("a record", |running| running.stdout().contains("hello"));
    world.running = Some(running);
    world.configure(&console.replace("labels: {}", "labels: { a: b }"));
    world.reload("there is no state directory");
    world.stop();
}

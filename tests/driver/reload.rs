//! A driver whose config changes while containers print.

use std::fs;

use rustix::process::{Signal, test_kill_process};
use serde_json::{Value, json};

use super::{CONFIG, World};

impl World {
    /// Another config, of which the driver is told, and what it answers.
    #[track_caller]
    fn change(&mut self, text: &str, answer: &str) {
        fs::write(self.folder.path().join(CONFIG), text).expect("there is room");
        let before = self.driver().stderr().matches(answer).count();
        self.driver().signal(Signal::HUP);
        self.driver().wait_until(answer, |driver| driver.stderr().matches(answer).count() > before);
    }

    /// The newest record of a line has this label.
    #[track_caller]
    fn expect_label(&self, want: &Value) {
        let records = self.records();
        let newest = records.iter().rfind(|record| record["squall"]["kind"] == "line").expect("a line");
        assert_eq!(&newest["labels"]["team"], want);
    }
}

#[test]
fn another_config_is_taken_over_while_containers_print() {
    let mut world = World::with_config("instance: {labels: {team: one}}");
    let socket = world.socket();
    let mut app = world.container("app");
    world.write(&mut app, 2_000);
    world.await_newest();
    world.expect_label(&json!("one"));

    // What waits in the FIFO meanwhile is the next worker's.
    let worker = world.worker();
    world.change("instance: {labels: {team: two}}", "another worker goes on with the new config");
    assert!(test_kill_process(worker).is_err(), "the worker before has ended");
    world.write(&mut app, 2_000);
    world.await_newest();
    world.expect_label(&json!("two"));

    // One with a fault changes nothing, nor does the same again.
    let worker = world.worker();
    world.change("instance: {labels: {team: [three]}}", "the config stays as it was: squall.yaml:1:27");
    world.change("instance: {labels: {team: two}}", "the config is as it was");
    assert_eq!(world.worker(), worker);
    world.write(&mut app, 1_000);
    world.await_newest();
    world.expect_label(&json!("two"));

    app.stop(&socket);
    world.await_drained();
    world.finish();
}

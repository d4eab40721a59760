//! The logging driver under a real Docker engine.
//!
//! All tests are marked `#[ignore = "needs dockerd"]`; run without an engine they fail, they never pass by doing nothing.

mod engine;

use self::engine::{Engine, IMAGE};

/// The engine itself works here: without this, nothing below says anything.
#[test]
#[ignore = "needs dockerd"]
fn an_engine_runs_containers() {
    let engine = Engine::start(&[]);
    let said = engine.docker(&["run", "--rm", "--network", "none", IMAGE, "/bin/sh", "-c", "echo hello"]);
    assert_eq!(said, "hello");
}

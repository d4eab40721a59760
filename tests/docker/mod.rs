//! The logging driver under a real Docker engine.
//!
//! All tests are marked `#[ignore = "needs dockerd"]`; run without an engine they fail, they never pass by doing nothing.
//!
//! | module | what it tests |
//! |---|---|
//! | `short` | the last words of many short lives, and what records say of their container (faults.md 70) |
//! | `load` | storms into Kafka, counted; killed workers and supervisors (68) |
//! | `daily` | log-opts, `docker logs`, `stop` and `restart`, odd output (67, 75) |
//! | `image` | the `Dockerfile`: it builds, and what it builds does the main job |
//! | `engines` | the engine is stopped, or killed, and comes back (73) |
//! | `plugin` | the managed plugin (68, 76) |
//! | `engine` | an engine of the test's own |
//! | `driver` | the driver as a process beside it, and the judge of what arrives |
//! | `feed` | what a container prints |

mod daily;
mod driver;
mod engine;
mod engines;
mod feed;
mod image;
mod load;
mod plugin;
mod short;

use self::engine::Engine;

/// The engine itself works here: without this, nothing below says anything.
#[test]
#[ignore = "needs dockerd"]
fn an_engine_runs_containers() {
    let engine = Engine::start(&[]);
    let said = engine.run(&["--rm"], &["echo", "hello"]);
    assert_eq!(said, "hello");
}

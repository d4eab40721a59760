//! The managed plugin, made from a folder as `config/docker-plugin/build` leaves it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::driver::Judges;
use super::engine::Engine;
use super::feed::Feed;
use crate::support::process::program;

/// How long anything may take: generous, because a busy machine is not a fault.
const LOOKS_MAX: u32 = 1_200;
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..LOOKS_MAX {
        if is_so() {
            return;
        }
        thread::sleep(LOOK_EVERY);
    }
    panic!("no {what}");
}

/// Processes of the plugin: the worker, or the supervisor. Only those that share our network, and so are of this engine.
fn processes(is_worker: bool) -> Vec<Pid> {
    let ours = fs::read_link("/proc/self/ns/net").expect("Linux");
    let is_one = |pid: i32| {
        let path = Path::new("/proc").join(pid.to_string());
        let args = fs::read_to_string(path.join("cmdline")).unwrap_or_default();
        let is_ours = fs::read_link(path.join("ns/net")).is_ok_and(|theirs| theirs == ours);
        is_ours
            && args.contains("\0/run/docker/plugins/squall.sock\0")
            && args.contains("\0--worker") == is_worker
    };
    let all = fs::read_dir("/proc").expect("Linux");
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is_one(*pid)).filter_map(Pid::from_raw).collect()
}

/// Kills that process of the plugin and waits until another one is there.
#[track_caller]
fn kill(is_worker: bool) {
    wait_until("process", || !processes(is_worker).is_empty());
    let before = processes(is_worker)[0];
    kill_process(before, Signal::KILL).expect("it runs");
    wait_until("successor", || processes(is_worker).iter().any(|pid| *pid != before));
}

#[test]
#[ignore = "needs dockerd"]
fn fault_068_the_managed_plugin_is_killed_disabled_and_enabled() {
    let engine = Engine::start(&[]);
    let (folder, state) = (engine.path("plugin"), engine.path("state"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/docker-plugin/build");
    let built = Command::new(script).arg(program()).arg(&folder).output().expect("a shell");
    assert!(built.status.success(), "{built:?}");
    fs::create_dir(&state).expect("a folder");
    engine.docker(&["plugin", "create", "squall", &folder.display().to_string()]);
    let source = format!("state.source={}", state.display());
    engine.docker(&["plugin", "set", "squall", &source, "args=--to file:/var/lib/squall/out"]);
    engine.docker(&["plugin", "enable", "squall"]);

    let mut feed = Feed::new(engine.path("feed"));
    engine.print("app", &feed, &["--log-driver", "squall", "--log-opt", "tag={{.Name}}"]);
    for _ in 0..5 {
        feed.write(30_000);
        kill(true);
    }
    feed.write(10_000);
    // Twice within a second, and dockerd would give it up; once it starts it again.
    kill(false);
    feed.write(10_000);
    let still = feed.longest;
    engine.docker(&["plugin", "disable", "--force", "squall"]);
    assert_eq!(processes(false), []);
    // It waits in pipes.
    feed.write(200);
    engine.docker(&["plugin", "enable", "squall"]);
    feed.write(10_000);
    println!("longest still: {still:?} under kills, {:?} disabled and enabled", feed.longest);
    let truth = feed.end();
    engine.docker(&["wait", "app"]);
    // `docker logs` of a container that has stopped starts our logging once more.
    let lines = engine.docker(&["logs", "app"]).lines().count() as u64;
    assert_eq!(lines, truth.total());
    wait_until("empty registry", || fs::read_dir(state.join("fifos")).is_ok_and(|files| files.count() == 0));
    engine.docker(&["rm", "app"]);
    engine.docker(&["plugin", "disable", "--force", "squall"]);
    let out = fs::read_to_string(state.join("out")).expect("it has shipped something");
    let mut judges = Judges::default();
    out.lines().for_each(|record| judges.take(record.as_bytes()));
    judges.finish(&[("app", &truth)]);
}

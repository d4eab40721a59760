//! The managed plugin, made by `config/docker-plugin/create`, or from a folder as `build` beside it leaves it.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::driver::Judges;
use super::engine::Engine;
use super::feed::Feed;
use crate::rig::generator::Truth;
use crate::support::process::{Running, program};

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

/// Processes of this engine's plugin: the worker, or the supervisor. Other engines have theirs at the same time, in the same
/// network; what tells them apart is where `state` lies.
fn processes(engine: &Engine, is_worker: bool) -> Vec<Pid> {
    let is_one = |pid: i32| {
        let path = Path::new("/proc").join(pid.to_string());
        let args = fs::read_to_string(path.join("cmdline")).unwrap_or_default();
        args.contains("\0/run/docker/plugins/squall.sock\0")
            && args.contains("\0--worker") == is_worker
            && fs::read_to_string(path.join("mountinfo")).is_ok_and(|mounts| mounts.contains(&engine.name()))
    };
    let all = fs::read_dir("/proc").expect("Linux");
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is_one(*pid)).filter_map(Pid::from_raw).collect()
}

/// Kills that process of the plugin and waits until another one is there.
#[track_caller]
fn kill(engine: &Engine, is_worker: bool) {
    let found = || processes(engine, is_worker);
    wait_until("process", || !found().is_empty());
    let before = found()[0];
    kill_process(before, Signal::KILL).expect("it runs");
    wait_until("successor", || found().iter().any(|pid| *pid != before));
}

/// Makes the folder of the plugin.
#[track_caller]
fn make(folder: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/docker-plugin/build");
    let built = Command::new(script).arg(program()).arg(folder).output().expect("a shell");
    assert!(built.status.success(), "{built:?}");
}

/// Ends the plugin once all is shipped, and holds that against what the container `app` has printed.
#[track_caller]
fn finish(engine: &Engine, state: &Path, truth: &Truth) {
    wait_until("empty registry", || fs::read_dir(state.join("fifos")).is_ok_and(|files| files.count() == 0));
    engine.docker(&["rm", "app"]);
    engine.docker(&["plugin", "disable", "--force", "squall"]);
    let out = fs::read_to_string(state.join("out")).expect("it has shipped something");
    let mut judges = Judges::default();
    out.lines().for_each(|record| judges.take(record.as_bytes()));
    judges.finish(&[("app", truth)]);
}

#[test]
#[ignore = "needs dockerd"]
fn fault_068_the_managed_plugin_is_killed_disabled_and_enabled() {
    let engine = Engine::start(&[]);
    let state = engine.path("state");
    fs::create_dir(&state).expect("a folder");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/docker-plugin/create");
    let made = engine.with_host(Command::new(script).args(["squall"]).arg(program())).output();
    let made = made.expect("a shell");
    assert!(made.status.success(), "{made:?}");
    let source = format!("state.source={}", state.display());
    engine.docker(&["plugin", "set", "squall", &source, "args=--to file:/var/lib/squall/out"]);
    engine.docker(&["plugin", "enable", "squall"]);

    let mut feed = Feed::new(engine.path("feed"));
    engine.print("app", &feed, &["--log-driver", "squall", "--log-opt", "tag={{.Name}}"]);
    for _ in 0..5 {
        feed.write(30_000);
        kill(&engine, true);
    }
    feed.write(10_000);
    // Twice within a second, and dockerd would give it up; once it starts it again.
    kill(&engine, false);
    feed.write(10_000);
    let still = feed.longest;
    engine.docker(&["plugin", "disable", "--force", "squall"]);
    assert_eq!(processes(&engine, false), []);
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
    finish(&engine, &state, &truth);
}

/// A registry (Debian's `docker-registry`) on loopback. Returns its address with it.
#[track_caller]
fn registry(folder: &Path) -> (Running, String) {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("loopback");
    let config = folder.join("registry.yml");
    let storage = format!("{{filesystem: {{rootdirectory: {}}}}}", folder.join("registry").display());
    fs::write(&config, format!("version: 0.1\nstorage: {storage}\nhttp: {{addr: {address}}}\n"))
        .expect("disk");
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut registry = Running::start(&mut command);
    registry.wait_until("a registry", |_| TcpStream::connect(address).is_ok());
    (registry, address.to_string())
}

#[test]
#[ignore = "needs dockerd"]
fn fault_076_an_upgrade_of_the_plugin_loses_nothing() {
    let engine = Engine::start(&[]);
    let (_registry, address) = registry(&engine.path(""));
    let version = |number: u32| format!("{address}/squall:{number}");
    for number in [1, 2] {
        let folder = engine.path(&format!("plugin{number}"));
        make(&folder);
        let config = folder.join("config.json");
        let text = fs::read_to_string(&config).expect("it was made");
        fs::write(&config, text.replace("squall: folds", &format!("squall {number}: folds"))).expect("disk");
        engine.docker(&["plugin", "create", &version(number), &folder.display().to_string()]);
        engine.docker(&["plugin", "push", &version(number)]);
        engine.docker(&["plugin", "rm", "--force", &version(number)]);
    }
    let state = engine.path("state");
    fs::create_dir(&state).expect("a folder");
    let source = format!("state.source={}", state.display());
    let install = ["plugin", "install", "--grant-all-permissions", "--alias", "squall"];
    engine.docker(&[&install[..], &[&version(1), &source, "args=--to file:/var/lib/squall/out"]].concat());

    let mut feed = Feed::new(engine.path("feed"));
    engine.print("app", &feed, &["--log-driver", "squall"]);
    feed.write(30_000);
    engine.docker(&["plugin", "disable", "--force", "squall"]);
    feed.write(200); // it waits in pipes
    let upgrade = ["plugin", "upgrade", "--grant-all-permissions", "--skip-remote-check", "squall"];
    engine.docker(&[&upgrade[..], &[&version(2)]].concat());
    let told = engine.docker(&[
        "plugin",
        "inspect",
        "--format",
        "{{.Config.Description}} {{.Settings.Args}}",
        "squall",
    ]);
    assert!(told.starts_with("squall 2: folds") && told.contains("file:/var/lib/squall/out"), "{told}");
    // The arguments are kept; where a mount comes from is not (dockerd 20.10).
    engine.docker(&["plugin", "set", "squall", &source]);
    engine.docker(&["plugin", "enable", "squall"]);
    feed.write(30_000);
    println!("longest still: {:?}", feed.longest);
    let truth = feed.end();
    engine.docker(&["wait", "app"]);
    finish(&engine, &state, &truth);
}

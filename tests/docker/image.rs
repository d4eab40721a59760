//! The `Dockerfile`: built as it stands, and what comes of it does the main job without root and with nothing but a volume
//! to write to.
//!
//! Its base images come from a registry, which tests do not ask. Images of the same names stand in for them: a Debian that
//! `tests/run` makes with debootstrap, and the same with the Rust of this machine and the crates that it has fetched.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::engine::Engine;
use crate::support::disk::skip;

const LOOKS_MAX: u32 = 1_200;
const LOOK_EVERY: Duration = Duration::from_millis(50);
const LINES: u64 = 5_000;

/// What a user mounts.
const CONFIG: &str = "
inputs: {logs: {type: tail, include: [/logs/*.log]}}
outputs: {file: {path: /var/lib/squall/out.ndjson}}
storm: {summary_every: 1s}
";

/// The names behind `FROM`: where it is built, and where it runs.
fn bases() -> [String; 2] {
    let text = fs::read_to_string(project().join("Dockerfile")).expect("the Dockerfile");
    let mut names = text.lines().filter_map(|line| line.strip_prefix("FROM "));
    let mut next = || names.next().and_then(|name| name.split(' ').next()).expect("two stages").to_owned();
    [next(), next()]
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn said(command: &mut Command) -> String {
    let done = command.output().expect("it can be started");
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

/// The Rust of this machine, without its manuals, and what cargo has fetched for it, as the image of Rust has them.
fn write_rust(folder: &Path, debian: &str) {
    let root = PathBuf::from(said(Command::new("rustc").args(["--print", "sysroot"])));
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let home = home.expect("cargo has a home");
    fs::create_dir_all(folder.join("local/bin")).expect("a folder");
    fs::create_dir_all(folder.join("cargo/registry")).expect("a folder");
    let parts = [
        (root.join("bin/cargo"), "local/bin"),
        (root.join("bin/rustc"), "local/bin"),
        (root.join("lib"), "local"),
        (home.join("registry/index"), "cargo/registry"),
        (home.join("registry/cache"), "cargo/registry"),
    ];
    for (from, to) in parts {
        said(Command::new("cp").arg("--recursive").arg(from).arg(folder.join(to)));
    }
    let text = format!(
        "FROM {debian}\nCOPY local /usr/local\nCOPY cargo /cargo\nENV CARGO_HOME=/cargo CARGO_NET_OFFLINE=true\n"
    );
    fs::write(folder.join("Dockerfile"), text).expect("there is room");
}

/// Builds the image, from stand-ins. Only a build may take so long, and it must not hang for ever either.
fn build(engine: &Engine, debian_tar: &Path) {
    let [rust, debian] = bases();
    let tar = File::open(debian_tar).expect("it is there");
    let mut import = engine.command(&["import", "-", &debian]);
    said(import.stdin(Stdio::from(tar)));
    let folder = engine.path("rust");
    write_rust(&folder, &debian);
    engine.docker(&["build", "--network", "none", "--quiet", "--tag", &rust, &folder.display().to_string()]);
    fs::remove_dir_all(&folder).expect("it is ours");
    let project = project().display().to_string();
    engine.docker(&["build", "--network", "none", "--tag", "squall", &project]);
}

/// For how many lines the records in the container's file stand, and for how many word for word.
fn told(engine: &Engine, container: &str) -> [u64; 2] {
    let copied = engine.path("records");
    let from = format!("{container}:/var/lib/squall/out.ndjson");
    if !engine.try_docker(&["cp", &from, &copied.display().to_string()]).status.success() {
        return [0; 2];
    }
    let text = fs::read_to_string(copied).expect("it was copied");
    let records = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    records.fold([0; 2], |[all, verbatim], record| match record["squall"]["kind"].as_str() {
        Some("line") => [all + 1, verbatim + 1],
        Some("summary") => [all + record["squall"]["count"].as_u64().expect("a count"), verbatim],
        _ => [all, verbatim],
    })
}

/// Waits until the records stand for so many lines, none of them twice.
#[track_caller]
fn await_told(engine: &Engine, container: &str, all: u64) {
    for _ in 0..LOOKS_MAX {
        let [found, _] = told(engine, container);
        assert!(found <= all, "{found} of {all}: some were counted twice");
        if found == all {
            return;
        }
        thread::sleep(LOOK_EVERY);
    }
    panic!("{:?} of {all}: {}", told(engine, container), engine.docker(&["logs", container]));
}

fn lines(from: u64) -> String {
    (from..from + LINES).map(|n| format!("ERROR connection timeout after {n} ms\n")).collect()
}

#[test]
#[ignore = "needs dockerd"]
fn the_dockerfile_builds_what_ships_logs_without_root() {
    let debian = project().join("tests/.cache/debian.tar");
    if !debian.exists() {
        return skip("there is no Debian for stand-ins of the base images: tests/run makes it");
    }
    let engine = Engine::start(&[]);
    build(&engine, &debian);

    let logs = engine.path("logs");
    fs::create_dir(&logs).expect("a folder");
    let config = engine.path("squall.yaml");
    fs::write(&config, CONFIG).expect("there is room");
    let mounts = [
        format!("--volume={}:/etc/squall/squall.yaml:ro", config.display()),
        "--volume=state:/var/lib/squall".to_owned(),
        format!("--volume={}:/logs:ro", logs.display()),
    ];
    let mut file = File::options().create(true).append(true).open(logs.join("a.log")).expect("a file");
    // The second one goes on where the volume says.
    for (round, name) in [(0, "first"), (1, "second")] {
        file.write_all(lines(round * LINES).as_bytes()).expect("there is room");
        let args = ["run", "--detach", "--read-only", "--network", "none", "--name", name];
        engine.docker(&[&args[..], &mounts.each_ref().map(String::as_str), &["squall"]].concat());
        let seen = engine.docker(&["top", name, "-o", "pid,uid,args"]);
        assert!(seen.contains("10001") && seen.contains("squall run -c /etc/squall/squall.yaml"), "{seen}");
        await_told(&engine, name, (round + 1) * LINES);
        engine.docker(&["stop", "--time", "30", name]);
        let ended = engine.docker(&["inspect", "--format", "{{.State.ExitCode}}", name]);
        assert_eq!(ended, "0", "{}", engine.docker(&["logs", name]));
    }
    let [all, verbatim] = told(&engine, "second");
    assert_eq!(all, 2 * LINES, "an orderly end tells nothing twice");
    assert!(verbatim < LINES / 10, "{verbatim} lines are word for word: no storm was seen");
}

//! What containers use: alerts and metrics of the real program, from a made cgroup tree and from real cgroups.
//!
//! No test measures time: what must be busy is so busy, or so idle, that it does not matter how long anything takes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::status::prometheus::expect_promtool_is_content;
use crate::support::disk::skip;
use crate::support::http;
use crate::support::process::{Running, run, squall};

/// A container's log as dockerd writes it, and a config with rules about it.
struct World {
    folder: TempDir,
    id: String,
}

const RULES: &str = "\
alerts:
  groups:
  - name: resources
    rules:
    - { alert: Busy, when: resource(cpu > 2%), annotations: { summary: \"{{ container }}: {{ value }}\" } }
    - { alert: Large, when: resource(memory > 8MB), annotations: { summary: \"{{ value }}\" } }
";

impl World {
    /// The cgroup tree at `cgroup`.
    fn new(id: &str, cgroup: &Path) -> World {
        let world = World { folder: tempfile::tempdir().expect("a folder"), id: id.to_owned() };
        let config = format!("resources: {{ cgroup: {}, every: 1s }}\n{RULES}", cgroup.display());
        fs::write(world.path("squall.yaml"), config).expect("a config");
        let logs = world.path("containers").join(id);
        fs::create_dir_all(&logs).expect("a folder");
        let line = "{\"log\":\"up\\n\",\"stream\":\"stdout\",\"time\":\"2026-02-06T00:10:00Z\"}\n";
        fs::write(logs.join(format!("{id}-json.log")), line).expect("a log");
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self) -> Running {
        let args = ["run", "-c", "squall.yaml", "--tail", "containers/*/*-json.log", "--to", "file:out"];
        let args = args.into_iter().chain(["--listen", "127.0.0.1:0"]);
        Running::start(&mut squall(self.folder.path(), args))
    }

    /// The alerts that were recorded; one that came twice, once.
    fn alerts(&self) -> Vec<Value> {
        let out = fs::read_to_string(self.path("out")).unwrap_or_default();
        // The last one may be half written.
        let whole = out.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut alerts: Vec<Value> = Vec::new();
        for line in whole.lines() {
            let record: Value = serde_json::from_str(line).expect("a record");
            let is_new = !alerts.iter().any(|known| known["squall"]["id"] == record["squall"]["id"]);
            if is_new && record["squall"]["kind"] == "alert" {
                alerts.push(record);
            }
        }
        alerts
    }

    /// Each turn of `rule`: its state, with the number of the firing.
    fn turns(&self, rule: &str) -> Vec<String> {
        let alerts = self.alerts();
        let own = alerts.iter().filter(|record| record["squall"]["alert"] == rule);
        let word = |value: &Value| value.as_str().expect("a text").to_owned();
        let turn = |record: &Value| {
            let episode = word(&record["squall"]["episode"]);
            let (_, number) = episode.rsplit_once('-').expect("a lane and a number");
            format!("{number} {}", word(&record["squall"]["state"]))
        };
        own.map(turn).collect()
    }
}

fn end(sidecar: Running) {
    sidecar.signal(Signal::TERM);
    sidecar.end().expect_code(0);
}

/// A made tree of v2 with one container.
struct Tree {
    room: TempDir,
    container: PathBuf,
    hours: u64,
}

impl Tree {
    fn new(id: &str) -> Tree {
        let room = tempfile::tempdir().expect("a folder");
        fs::write(room.path().join("cgroup.controllers"), "cpu memory\n").expect("a file");
        let container = room.path().join("system.slice").join(format!("docker-{id}.scope"));
        fs::create_dir_all(&container).expect("a folder");
        let tree = Tree { room, container, hours: 1 };
        tree.set("memory.current", "30000000\n");
        tree.set("memory.stat", "anon 9\ninactive_file 20000000\nactive_file 3\n");
        tree.set("memory.max", "2000000000\n");
        tree.rest();
        tree
    }

    /// The kernel's files are never half there.
    fn set(&self, name: &str, text: &str) {
        let new = self.room.path().join("new");
        fs::write(&new, text).expect("a file");
        fs::rename(new, self.container.join(name)).expect("a file");
    }

    fn rest(&self) {
        self.set("cpu.stat", &format!("usage_usec {}\n", self.hours * 3_600_000_000));
    }

    /// An hour of CPU time since the last call: whenever it is looked at, it is busy.
    fn work(&mut self) {
        self.hours += 1;
        self.rest();
    }
}

fn id(last: u32) -> String {
    format!("{last:064x}")
}

#[test]
fn a_container_that_takes_too_much_fires_and_resolves() {
    let id = id(0xbeef);
    let mut tree = Tree::new(&id);
    let world = World::new(&id, tree.room.path());
    let mut sidecar = world.start();
    sidecar.wait_until("both alerts", |_| {
        tree.work();
        !world.turns("Busy").is_empty() && !world.turns("Large").is_empty()
    });
    sidecar.wait_until("rest", |_| world.turns("Busy").len() == 2);
    let address = http::served_at(&sidecar.stderr()).expect("an address");
    tree.set("memory.current", "20000001\n");
    sidecar.wait_until("room", |_| world.turns("Large").len() == 2);
    let metrics = http::get(&address, "/metrics").body;
    expect_promtool_is_content(&metrics);
    let labels = format!("{{container_id=\"{id}\",container=\"\"}}");
    let seconds = tree.hours * 3_600;
    for sample in [
        "squall_containers 1".to_owned(),
        "squall_containers_measured 1".to_owned(),
        format!("squall_container_cpu_seconds_total{labels} {seconds}"),
        format!("squall_container_cpu_ratio{labels} 0"),
        format!("squall_container_memory_working_set_bytes{labels} 1"),
        format!("squall_container_memory_max_bytes{labels} 2000000000"),
    ] {
        assert!(metrics.lines().any(|line| line == sample), "no {sample} in {metrics}");
    }
    // A container that is gone uses nothing.
    tree.set("memory.current", "30000000\n");
    sidecar.wait_until("more memory again", |_| world.turns("Large").len() == 3);
    fs::remove_dir_all(&tree.container).expect("it was there");
    sidecar.wait_until("the end of the container", |_| world.turns("Large").len() == 4);
    end(sidecar);
    assert_eq!(world.turns("Busy").iter().map(|turn| &turn[3..]).collect::<Vec<_>>(), ["firing", "resolved"]);
    check_record(&world);
}

/// What the records say of the container.
fn check_record(world: &World) {
    let stream = format!("testhost/{}", world.id);
    for record in world.alerts() {
        assert_eq!(record["container"]["id"], *world.id, "{record}");
        let squall = &record["squall"];
        assert_eq!(
            (&squall["stream"], &squall["labels"]["stream"]),
            (&stream.clone().into(), &stream.clone().into())
        );
        let summary = squall["annotations"]["summary"].as_str().expect("a text");
        match (squall["alert"].as_str(), squall["state"].as_str()) {
            (Some("Busy"), Some("firing")) => {
                assert_eq!(squall["threshold"], 0.02);
                assert!(squall["value"].as_f64() > Some(0.02), "{record}");
                assert!(summary.starts_with("000000000000: ") && summary.ends_with(" %"), "{summary}");
            }
            (Some("Large"), Some("firing")) => {
                assert_eq!(squall["value"].as_f64(), Some(10_000_000.0));
                assert_eq!(squall["threshold"].as_f64(), Some(8_000_000.0));
                assert_eq!(summary, "9.54 MiB");
            }
            _ => {}
        }
    }
}

#[test]
fn an_alert_goes_on_over_a_kill() {
    let id = id(0xdead);
    let mut tree = Tree::new(&id);
    let world = World::new(&id, tree.room.path());
    let mut sidecar = world.start();
    sidecar.wait_until("the alert", |_| {
        tree.work();
        !world.turns("Busy").is_empty()
    });
    sidecar.signal(Signal::KILL);
    drop(sidecar);
    let mut sidecar = world.start();
    let shares = |sidecar: &Running| {
        let address = http::served_at(&sidecar.stderr())?;
        http::get(&address, "/metrics")
            .body
            .lines()
            .any(|line| line.starts_with("squall_container_cpu_ratio{"))
            .then_some(())
    };
    sidecar.wait_until("a look that rules see", |sidecar| {
        tree.work();
        shares(sidecar).is_some()
    });
    sidecar.wait_until("rest", |_| world.turns("Busy").len() == 2);
    end(sidecar);
    let turns = world.turns("Busy");
    // The other rule may have fired before, so its number is any.
    let (firing, number) = (&turns[0], turns[0].trim_end_matches(" firing"));
    assert_eq!(turns, [firing.clone(), format!("{number} resolved")]);
}

#[test]
fn who_cannot_see_the_tree_is_warned() {
    let world = World::new(&id(1), Path::new("/nowhere"));
    let ended = run(world.folder.path(), ["validate", "squall.yaml"]);
    ended.expect_code(0).expect_said("rules about `resource(…)` cannot fire: /nowhere cannot be read");
    let ended = run(world.folder.path(), ["replay", "-c", "squall.yaml", "squall.yaml"]);
    ended.expect_code(0).expect_said("rules about `resource(…)` do not fire here");
}

/// Real cgroups of one container, and a process in them that takes both CPU and memory. They are removed when this is
/// dropped.
struct Group {
    folders: Vec<PathBuf>,
    process: Option<Child>,
}

impl Group {
    /// In these hierarchies; `None` where they cannot be made.
    fn new(hierarchies: &[PathBuf], id: &str) -> Option<Group> {
        let mut group = Group { folders: Vec::new(), process: None };
        for hierarchy in hierarchies {
            let parent = hierarchy.join(format!("squall-test-{}", std::process::id()));
            for folder in [parent.clone(), parent.join(id)] {
                if !folder.is_dir() {
                    fs::create_dir(&folder).ok()?;
                }
                group.folders.push(folder);
            }
        }
        let procs = group.folders.iter().filter(|folder| folder.ends_with(id));
        let enter: String =
            procs.map(|folder| format!("echo $$ > {}/cgroup.procs && ", folder.display())).collect();
        let work = "x=$(head -c 16777216 /dev/zero | tr '\\0' x) && while :; do :; done";
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{enter}{work}")]).stdin(Stdio::null());
        group.process = Some(command.spawn().ok()?);
        Some(group)
    }

    /// Whether the process has got into its cgroups.
    fn is_entered(&self) -> bool {
        let procs = |folder: &PathBuf| fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        self.folders.iter().skip(1).step_by(2).all(|folder| !procs(folder).is_empty())
    }

    fn tells(&self, file: &str) -> bool {
        self.folders.iter().any(|folder| folder.join(file).is_file())
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Both fail only when it has ended, which is what is wanted.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.stop();
        for folder in self.folders.iter().rev() {
            // One that another test still uses is removed by that one.
            let _ = fs::remove_dir(folder);
        }
    }
}

/// `root` is a cgroup tree of the machine's, with these hierarchies in it.
#[track_caller]
fn check_real(root: &str, hierarchies: &[&str], last: u32) {
    let hierarchies: Vec<PathBuf> = hierarchies.iter().map(|name| Path::new(root).join(name)).collect();
    let id = id(last);
    let is_there = hierarchies.iter().all(|folder| folder.join("cgroup.procs").is_file());
    let Some(mut group) = is_there.then(|| Group::new(&hierarchies, &id)).flatten() else {
        return skip(&format!("no cgroups can be made in {hierarchies:?}"));
    };
    let world = World::new(&id, Path::new(root));
    let mut sidecar = world.start();
    sidecar.wait_until("the process in its cgroups", |_| group.is_entered());
    let tells_memory = group.tells("memory.usage_in_bytes") || group.tells("memory.current");
    let turns = |rule: &str| world.turns(rule).len();
    sidecar.wait_until("the alerts", |_| turns("Busy") >= 1 && (!tells_memory || turns("Large") >= 1));
    assert_eq!(world.turns("Busy").len(), 1, "it goes on: {:?}", world.turns("Busy"));
    group.stop();
    sidecar.wait_until("rest", |_| turns("Busy") == 2 && (!tells_memory || turns("Large") == 2));
    end(sidecar);
    check_stream(&world);
}

#[track_caller]
fn check_stream(world: &World) {
    for record in world.alerts() {
        assert_eq!(record["squall"]["labels"]["stream"], format!("testhost/{}", world.id), "{record}");
    }
}

#[test]
fn real_cgroups_of_v1() {
    let cpu =
        ["cpuacct", "cpu,cpuacct"].into_iter().find(|name| Path::new("/sys/fs/cgroup").join(name).is_dir());
    check_real("/sys/fs/cgroup", &[cpu.unwrap_or("cpuacct"), "memory"], 0xc1);
}

#[test]
fn real_cgroups_of_v2() {
    // A machine that has both has v2 beside the hierarchies of v1.
    let beside = Path::new("/sys/fs/cgroup/unified/cgroup.controllers").is_file();
    check_real(if beside { "/sys/fs/cgroup/unified" } else { "/sys/fs/cgroup" }, &[""], 0xc2);
}

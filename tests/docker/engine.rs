//! A real Docker engine of the test's own: its data, its sockets and its network belong to nobody else.
//!
//! The whole test binary must run in a network and a mount namespace of its own, with an empty `/run` (`tests/run` sees to
//! that): with `--bridge=none` an engine deletes the bridge of another one that it shares a network with, and Docker keeps
//! the sockets and FIFOs of drivers at fixed places in `/run/docker`. Its containers have no network.
//! The only image is made here, of Debian's static busybox.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::feed::Feed;

/// The name of the image: `sh` and all that busybox has.
pub(super) const IMAGE: &str = "squall-test:1";
/// An engine is up within seconds; a busy machine gets more.
const LOOKS_MAX: u32 = 1_200;
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A running engine. Its containers are removed, and it is ended, when this is dropped.
pub(super) struct Engine {
    process: Option<Child>,
    args: Vec<String>,
    folder: TempDir,
}

impl Engine {
    /// Starts an engine with more arguments than it needs (`--live-restore`, say).
    pub(super) fn start(args: &[&str]) -> Engine {
        require_own_network();
        require_own_run();
        let folder = tempfile::Builder::new().prefix("sq-").tempdir().expect("a folder");
        let mut engine =
            Engine { process: None, args: args.iter().map(|arg| (*arg).to_owned()).collect(), folder };
        engine.up();
        engine.make_image();
        engine
    }

    /// Starts it (again) and waits until it answers.
    pub(super) fn up(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let path = |name: &str| self.path(name);
        let log = File::options().create(true).append(true).open(path("log")).expect("a log");
        let mut command = Command::new("dockerd");
        command.arg("--data-root").arg(path("data")).arg("--exec-root").arg(path("exec"));
        command.arg("--pidfile").arg(path("pid")).arg("--host").arg(self.host());
        command
            .args(["--log-level=warn", "--bridge=none", "--iptables=false", "--ip6tables=false"])
            .args(&self.args);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        self.process = Some(command.spawn().expect("dockerd is installed: tests/run does that"));
        for _ in 0..LOOKS_MAX {
            if self.try_docker(&["version"]).status.success() {
                return;
            }
            let ended = self.process.as_mut().expect("just started").try_wait().expect("a child");
            assert!(ended.is_none(), "dockerd ended: {ended:?}\n{}", self.log());
            thread::sleep(LOOK_EVERY);
        }
        panic!("dockerd does not answer:\n{}", self.log());
    }

    /// Something in the engine's folder, for containers to mount.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The name of that folder, which no other engine's has.
    pub(super) fn name(&self) -> String {
        let name = self.folder.path().file_name().expect("a temporary folder has a name");
        name.to_string_lossy().into_owned()
    }

    /// `docker run` without a network: what it is to be, and the busybox command. Returns what `docker run` prints.
    #[track_caller]
    pub(super) fn run(&self, args: &[&str], command: &[&str]) -> String {
        self.docker(&run_args(args, command))
    }

    /// The same, however it ends.
    pub(super) fn try_run(&self, args: &[&str], command: &[&str]) -> Output {
        self.try_docker(&run_args(args, command))
    }

    /// A container of this name that prints what is fed, once it runs.
    #[track_caller]
    pub(super) fn print(&self, name: &str, feed: &Feed, args: &[&str]) {
        let mount = format!("{}:/feed", feed.path().display());
        let args = [&["--detach", "--name", name, "--volume", &mount], args].concat();
        self.run(&args, &["cat", "/feed"]);
    }

    fn host(&self) -> String {
        format!("unix://{}", self.folder.path().join("docker.sock").display())
    }

    /// The end of what it has said.
    pub(super) fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// `docker` with these arguments, however it ends.
    pub(super) fn try_docker(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("docker is installed: tests/run does that")
    }

    /// `docker` with these arguments, not yet started.
    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        self.with_host(command.env_clear()).args(args).stdin(Stdio::null());
        command
    }

    /// Whatever runs `docker`, so that it finds this engine.
    pub(super) fn with_host<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.folder.path()).env("DOCKER_HOST", self.host())
    }

    /// `docker` with these arguments, which must end well. Returns its standard output, trimmed.
    #[track_caller]
    pub(super) fn docker(&self, args: &[&str]) -> String {
        let done = self.try_docker(args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        assert!(
            done.status.success(),
            "docker {args:?}: {}\n{}\n{}",
            done.status,
            text(&done.stderr),
            self.log()
        );
        text(&done.stdout)
    }

    /// Sends it a signal and waits for its end.
    pub(super) fn end(&mut self, signal: Signal) {
        let Some(mut process) = self.process.take() else { return };
        let _ = kill_process(Pid::from_child(&process), signal);
        for _ in 0..LOOKS_MAX {
            if process.try_wait().expect("a child").is_some() {
                // Its containerd dies with it; where nobody waits for the dead, the next engine takes it for alive.
                let _ = fs::remove_file(self.path("exec/containerd/containerd.pid"));
                return;
            }
            thread::sleep(LOOK_EVERY);
        }
        let _ = process.kill();
        let _ = process.wait();
        panic!("dockerd did not end within a minute after {signal:?}:\n{}", self.log());
    }

    /// Kills whatever a killed engine has left: processes that name our folder.
    fn sweep(&self) {
        let folder = self.folder.path().display().to_string();
        let all = fs::read_dir("/proc").expect("Linux");
        let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let is_left = |pid: &i32| {
            let args = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            args.contains("containerd") && args.contains(&folder)
        };
        for pid in pids.filter(is_left).filter_map(Pid::from_raw) {
            // It may have ended by now.
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// An image with busybox and its links, from the file that Debian's package brings.
    fn make_image(&self) {
        let bin = self.folder.path().join("root/bin");
        fs::create_dir_all(&bin).expect("a folder");
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from);
        let busybox = busybox.iter().find(|path| path.exists()).expect("tests/run installs busybox-static");
        for name in ["busybox", "sh"] {
            fs::copy(busybox, bin.join(name)).expect("it can be copied");
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
        let root = self.folder.path().join("root");
        let tar = Command::new("tar").arg("-C").arg(&root).args(["-c", "."]).output().expect("tar runs");
        assert!(tar.status.success(), "{tar:?}");
        let mut import = self.command(&["import", "-", IMAGE]);
        let mut import =
            import.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("docker is installed");
        import.stdin.take().expect("piped").write_all(&tar.stdout).expect("docker takes the image");
        assert!(import.wait().expect("a child").success(), "{}", self.log());
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.process.is_none() {
            return self.sweep();
        }
        if thread::panicking() {
            eprintln!("dockerd said:\n{}", self.log());
        }
        let host = self.host();
        // A container that stands still cannot be removed, and must not hold up the other tests.
        let script = "ids=$(docker ps --all --quiet) && [ -z \"$ids\" ] || docker rm --force $ids";
        let mut remove = Command::new("timeout");
        remove.args(["60", "sh", "-c", script]).env("DOCKER_HOST", host).env("HOME", self.folder.path());
        let _ = remove.stdin(Stdio::null()).output();
        let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.end(Signal::TERM)));
        self.sweep();
        // A second panic would end the process before other tests could tell theirs.
        if let (Err(panic), false) = (end, thread::panicking()) {
            std::panic::resume_unwind(panic);
        }
    }
}

fn run_args<'a>(args: &[&'a str], command: &[&'a str]) -> Vec<&'a str> {
    [&["run", "--network", "none"], args, &[IMAGE, "/bin/busybox"], command].concat()
}

/// See the top. `tests/run` gives the mount its name.
fn require_own_run() {
    let all = fs::read_to_string("/proc/self/mounts").expect("Linux");
    let mut mounts = all.lines().filter_map(|line| line.split_once(' '));
    let at_run = mounts.rfind(|(_, rest)| rest.starts_with("/run "));
    let is_own = at_run.is_some_and(|(source, _)| source == "squall-tests");
    assert!(is_own, "run this through tests/run, which gives it a /run of its own; here it is {at_run:?}");
}

/// See the top.
fn require_own_network() {
    let all = fs::read_to_string("/proc/self/net/dev").expect("Linux");
    let names: Vec<&str> = all.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    let is_own = names.iter().all(|name| matches!(*name, "lo" | "ifb0" | "ifb1" | "sit0" | "tunl0"));
    assert!(is_own, "run this through tests/run, which gives it a network of its own; here are {names:?}");
}

//! A real Docker engine of the test's own: its data, its sockets and its network belong to nobody else.
//!
//! The whole test binary must run in a network namespace of its own (`tests/run` sees to that): with `--bridge=none` an
//! engine deletes the bridge of another one that it shares a network with. Its containers have no network.
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
        let path = |name: &str| self.folder.path().join(name);
        let log = File::options().create(true).append(true).open(path("log")).expect("a log");
        let mut command = Command::new("dockerd");
        command.arg("--data-root").arg(path("data")).arg("--exec-root").arg(path("exec"));
        command.arg("--pidfile").arg(path("pid")).arg("--host").arg(self.host());
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false"]).args(&self.args);
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
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.folder.path()).args(["--host", &self.host()]).args(args);
        command.stdin(Stdio::null());
        command
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
                return;
            }
            thread::sleep(LOOK_EVERY);
        }
        let _ = process.kill();
        let _ = process.wait();
        panic!("dockerd did not end within a minute after {signal:?}:\n{}", self.log());
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
            return;
        }
        let all = self.try_docker(&["ps", "--all", "--quiet"]);
        let all = String::from_utf8_lossy(&all.stdout).into_owned();
        let ids: Vec<&str> = all.split_whitespace().collect();
        if !ids.is_empty() {
            self.try_docker(&[&["rm", "--force"], &ids[..]].concat());
        }
        if thread::panicking() {
            eprintln!("dockerd said:\n{}", self.log());
            // A second panic would end the process before other tests could tell theirs.
            let Some(mut process) = self.process.take() else { return };
            let _ = kill_process(Pid::from_child(&process), Signal::TERM);
            let _ = process.wait();
            return;
        }
        self.end(Signal::TERM);
    }
}

/// See the top.
fn require_own_network() {
    let all = fs::read_to_string("/proc/self/net/dev").expect("Linux");
    let names: Vec<&str> = all.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    let is_own = names.iter().all(|name| matches!(*name, "lo" | "ifb0" | "ifb1" | "sit0" | "tunl0"));
    assert!(is_own, "run this through tests/run, which gives it a network of its own; here are {names:?}");
}

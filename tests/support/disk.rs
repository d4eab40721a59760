//! Disks that fail: a small file system of our own that can be filled, and errors injected into system calls by `strace`.
//! Who cannot have them says so with [`skip`].

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Says why a test was not run, past the test harness, which would keep it to itself.
pub(crate) fn skip(why: &str) {
    // Nobody is there to hear it when this fails.
    let _ = writeln!(std::io::stderr(), "\nskipped: {why}");
}

/// A mounted file system, gone with this.
pub(crate) struct Mounted {
    at: PathBuf,
}

impl Mounted {
    /// An ext4 of 64 MiB, mounted as `name` in `folder`; `None` where that is not allowed.
    pub(crate) fn new(folder: &Path, name: &str) -> Option<Mounted> {
        let (image, at) = (folder.join(format!("{name}.image")), folder.join(name));
        fs::create_dir(&at).expect("a directory");
        File::create(&image).and_then(|file| file.set_len(64 << 20)).expect("a sparse file");
        let made = succeeds(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image))
            && succeeds(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at));
        made.then_some(Mounted { at })
    }

    /// Takes what is left, to the last byte.
    pub(crate) fn fill(&self) {
        let mut filler = File::create(self.filler()).expect("a file");
        while filler.write_all(&[7; 4096]).is_ok() {}
        while filler.write_all(&[7]).is_ok() {}
    }

    /// Gives it back.
    pub(crate) fn free(&self) {
        fs::remove_file(self.filler()).expect("it is ours");
    }

    fn filler(&self) -> PathBuf {
        self.at.join("filler")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // If this fails, the directory cannot be removed either, and stays for whoever looks.
        let _ = Command::new("umount").arg(&self.at).status();
    }
}

/// `command` with failing system calls, as in `fsync:error=EIO:when=3`, which counts in each thread for itself; `None`
/// where that is not allowed. The process is the program itself: `strace` stands beside it.
pub(crate) fn with_injection(command: &Command, injection: &str) -> Option<Command> {
    if !succeeds(Command::new("strace").args(["-qq", "-e", "trace=none", "true"])) {
        return None;
    }
    let (calls, _) = injection.split_once(':').expect("calls, and what happens to them");
    let mut traced = Command::new("strace");
    traced.args(["-D", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null"]);
    traced.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={injection}")]);
    traced.arg(command.get_program()).args(command.get_args()).env_clear();
    traced.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    traced.current_dir(command.get_current_dir().expect("a folder"));
    traced.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(traced)
}

fn succeeds(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|done| done.success())
}

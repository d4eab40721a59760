//! Units of systemd's, as they lie in `config`, and what systemd says of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::program;

/// A file in `config`.
#[track_caller]
pub(crate) fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// systemd has nothing to say of these units: each its name and its text. Says "skipped" where there is no systemd.
#[track_caller]
pub(crate) fn verify(units: &[(&str, String)]) {
    let folder = tempfile::tempdir().expect("a folder");
    // It looks whether the program is there.
    let program = PathBuf::from(program()).display().to_string();
    let mut command = Command::new("systemd-analyze");
    command.arg("verify");
    for (name, text) in units {
        let path = folder.path().join(name);
        fs::write(&path, text.replace("/usr/local/bin/squall", &program)).expect("a unit");
        command.arg(path);
    }
    let Ok(verified) = command.output() else {
        println!("skipped: there is no systemd-analyze");
        return;
    };
    let told = String::from_utf8_lossy(&verified.stderr).into_owned();
    // Of units that this machine has, it may say anything.
    let is_ours = |line: &&str| units.iter().any(|(name, _)| line.contains(name));
    let ours: Vec<&str> = told.lines().filter(is_ours).collect();
    assert!(ours.is_empty(), "{told}");
}

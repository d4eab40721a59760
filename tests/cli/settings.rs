//! Where settings come from, and which of them wins: flags, environment, file, default.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::disk::skip;
use crate::support::process::{Running, run, squall};
use crate::support::records::Records;

/// How many of twenty equal lines come word for word: `storm.first`, told by what the program does.
#[track_caller]
fn first_of(args: &[&str], environment: Option<&str>) -> u64 {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("app.log"), "no route to host\n".repeat(20)).expect("a log");
    let config = "storm: { first: 2 }\ninputs: { app: { type: tail, include: [app.log] } }\n\
                  outputs: { console: { json: true } }\n";
    fs::write(folder.path().join("squall.yaml"), config).expect("a config");
    fs::write(folder.path().join("more.yaml"), "storm: { first: 3 }\n").expect("a config");
    let fixed = ["run", "--until-eof", "--json"];
    let mut command = squall(folder.path(), fixed.into_iter().chain(args.iter().copied()));
    if let Some(first) = environment {
        command.env("SQUALL_STORM__FIRST", first);
    }
    let ended = Running::start(&mut command).end();
    ended.expect_code(0);
    let (records, _) = Records::with_ledger(&ended);
    assert_eq!(records.lines(), 20);
    records.verbatim
}

#[test]
fn what_comes_later_wins() {
    const FLAGS: [&str; 4] = ["--tail", "app.log", "--to", "console"];
    assert_eq!(first_of(&FLAGS, None), 5, "the default, with flags alone");
    assert_eq!(first_of(&["--config", "squall.yaml"], None), 2, "a file alone");
    assert_eq!(first_of(&["-c", "squall.yaml", "-c", "more.yaml"], None), 3, "the later file");
    assert_eq!(first_of(&["-c", "squall.yaml"], Some("4")), 4, "the environment");
    assert_eq!(first_of(&["-c", "squall.yaml", "--set", "storm.first=6"], Some("4")), 6, "a flag");
    let both = [&["-c", "squall.yaml"][..], &FLAGS].concat();
    assert_eq!(first_of(&both, None), 2, "flags for one thing, the file for another");
}

/// What others on the machine may read is told by `validate` and, once, by `run`; not where it was mounted for us alone, as
/// Kubernetes does it.
#[test]
fn a_secret_that_others_may_read_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    let may =
        |file: &Path, mode| fs::set_permissions(file, fs::Permissions::from_mode(mode)).expect("it is ours");
    may(path, 0o755);
    fs::write(path.join("app.log"), "a line\n").expect("a log");
    let config = |secret: &str| {
        let secret = path.join(secret);
        let text = format!("status: {{ token_file: '{}' }}\n", secret.display());
        fs::write(path.join("squall.yaml"), text).expect("a config");
        fs::write(&secret, "correct horse battery").expect("a secret");
        secret
    };
    let secret = config("token");
    may(&secret, 0o644);
    let want = format!("{} has the mode 0644", secret.display());
    let told = run(path, ["validate", "squall.yaml"]);
    told.expect_code(0).expect_said(&want).expect_said("squall.yaml:1:23");
    let args = ["run", "-c", "squall.yaml", "--tail", "app.log", "--until-eof", "--to", "blackhole"];
    let told = run(path, args);
    told.expect_code(0);
    assert_eq!(told.stderr.matches(&want).count(), 1, "{}", told.stderr);
    assert!(!told.stderr.contains("correct horse"), "{}", told.stderr);
    may(&secret, 0o640);
    let told = run(path, ["validate", "squall.yaml"]);
    assert_eq!(told.expect_code(0).stderr, "");

    let mounted = path.join("mounted");
    fs::create_dir(&mounted).expect("room");
    let mount = |options: &str| {
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", options, "squall-test"])
            .arg(&mounted)
            .output()
            .is_ok_and(|done| done.status.success())
    };
    if !mount("mode=755,size=64k") {
        return skip("nothing can be mounted here, so no secret is handed over in memory");
    }
    may(&config("mounted/token"), 0o644);
    let writable = run(path, ["validate", "squall.yaml"]);
    let is_read_only = mount("remount,ro");
    let read_only = run(path, ["validate", "squall.yaml"]);
    let unmounted = Command::new("umount").arg(&mounted).status();
    assert!(unmounted.is_ok_and(|status| status.success()) && is_read_only);
    writable.expect_code(0).expect_said("has the mode 0644"); // as /run and /tmp are
    assert_eq!(read_only.expect_code(0).stderr, "");
}

//! Bad input: one clear message, the right exit code, nothing on standard output.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::process::{Running, feed, run, squall};
use crate::support::records::split_ledger;

/// A folder with one good log.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("app.log"), "one\ntwo\nthree\n").expect("a log");
    folder
}

#[test]
fn a_senseless_command_line_is_refused() {
    #[track_caller]
    fn check(args: &[&str], message: &str) {
        let ended = run(folder().path(), args.iter().copied());
        ended.expect_code(2).expect_said(message);
        assert_eq!(ended.stdout, "", "{args:?}");
        let errors = ended.stderr.lines().filter(|line| line.to_lowercase().contains("error")).count();
        assert_eq!(errors, 1, "one message: {}", ended.stderr);
    }
    check(&["run", "--nope"], "unexpected argument '--nope'");
    check(&["sprint"], "unrecognized subcommand 'sprint'");
    check(&["run", "--stdin", "--to", "nonsense"], "`nonsense` is none of kafka://");
    check(&["run", "--stdin", "--to", "kafka://localhost:9092"], "the topic is missing");
    check(&["run", "--stdin", "--to", "console", "--collapse", "some"], "invalid value 'some'");
    check(&["run", "--stdin", "--to", "console", "--shutdown-timeout", "soon"], "--shutdown-timeout");
    check(&["run", "--to", "console"], "there is nothing to read");
    check(&["run", "--stdin"], "output");
    check(&["validate"], "required");
    check(&["completions", "tcsh-9"], "invalid value");
    check(&["demo", "--lines", "0"], "invalid value '0'");
}

#[test]
fn a_bare_command_shows_the_help() {
    let ended = run(folder().path(), []);
    ended.expect_code(2).expect_said("Usage: squall");
    assert_eq!(ended.stdout, "");
}

#[test]
fn a_config_with_three_mistakes_shows_three_carets() {
    let folder = folder();
    let config = "storm:\n  frist: 3\n  enter: many\nline: { length_max: 1TiB }\n";
    fs::write(folder.path().join("bad.yaml"), config).expect("a config");
    let all = |args: &[&str]| {
        let ended = run(folder.path(), args.iter().copied());
        ended.expect_code(78);
        assert_eq!(ended.stdout, "", "{args:?}");
        let carets =
            ended.stderr.lines().filter(|line| line.trim_start_matches([' ', '|']).starts_with('^')).count();
        assert_eq!(carets, 3, "{}", ended.stderr);
        ended.expect_said("did you mean `first`").expect_said("bad.yaml:2:3").expect_said("bad.yaml:3:");
        ended.expect_said("bad.yaml:4:");
    };
    all(&["validate", "bad.yaml"]);
    all(&["run", "--config", "bad.yaml", "--stdin", "--to", "console"]);
}

#[test]
fn other_faults_of_configs() {
    #[track_caller]
    fn check(args: &[&str], message: &str) {
        let folder = folder();
        fs::write(folder.path().join("text.yaml"), "storm: [\n").expect("a config");
        let ended = run(folder.path(), args.iter().copied());
        ended.expect_code(78).expect_said(message);
        assert_eq!(ended.stdout, "", "{args:?}");
    }
    check(&["run", "--stdin", "--to", "console", "--set", "storm.frist=3"], "did you mean `first`");
    check(&["run", "--stdin", "--to", "console", "--set", "storm.first"], "storm.first");
    check(&["validate", "missing.yaml"], "missing.yaml");
    check(&["validate", "."], ".");
    check(&["validate", "text.yaml"], "text.yaml:");
}

#[test]
fn a_good_config_is_fine() {
    let folder = folder();
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/config/squall.yaml");
    let ended = run(folder.path(), ["validate", shipped]);
    ended.expect_code(0);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("the config is fine\n", ""));
}

#[test]
fn presets_are_fine_and_counted() {
    let folder = folder();
    let preset = concat!(env!("CARGO_MANIFEST_DIR"), "/config/presets/retry-loop.yaml");
    std::fs::write(folder.path().join("alerts.yaml"), format!("alerts: {{ files: ['{preset}'] }}")).unwrap();
    let ended = run(folder.path(), ["validate", "alerts.yaml"]);
    ended.expect_code(0);
    assert_eq!(ended.stdout, "the config is fine; alert rules: 2\n");
}

#[test]
fn nothing_to_read_is_a_failure_when_it_should_end() {
    #[track_caller]
    fn check(pattern: &str, message: &str) {
        let folder = folder();
        fs::create_dir(folder.path().join("dir")).expect("a folder");
        std::os::unix::fs::symlink("nowhere", folder.path().join("dangling")).expect("a link");
        let args = ["run", "--until-eof", "--tail", pattern, "--to", "console", "--json"];
        let ended = run(folder.path(), args);
        ended.expect_code(1).expect_said(message);
        let (rest, ledger) = split_ledger(&ended.stdout);
        assert_eq!((rest, &ledger["lines_in"]), ("", &0.into()));
    }
    check("missing.log", "missing.log");
    check("*.nothing", "*.nothing");
    check("dir", "is a directory");
    check("dangling", "dangling");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = folder();
    let secret = folder.path().join("secret.log");
    fs::write(&secret, "a line\n").expect("a log");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).expect("our own file");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("our own folder");
    let args = ["run", "--until-eof", "--tail", "secret.log", "--to", "blackhole", "--json"];
    let mut command = squall(folder.path(), args);
    if fs::read(&secret).is_ok() {
        // We are root, who may read everything: become nobody, with a program that nobody may run.
        command = as_nobody(folder.path(), &command);
    }
    let ended = Running::start(&mut command).end();
    ended.expect_code(1).expect_said("secret.log").expect_said("ermission denied");
}

/// The same command run by the user who owns nothing.
fn as_nobody(folder: &Path, command: &Command) -> Command {
    let program = folder.join("squall");
    // The build folder may be closed to others; a link costs nothing where a copy takes 100 MB.
    fs::hard_link(env!("CARGO_BIN_EXE_squall"), &program)
        .or_else(|_| fs::copy(env!("CARGO_BIN_EXE_squall"), &program).map(drop))
        .expect("a program in the folder");
    let mut other = Command::new(program);
    other.current_dir(folder).args(command.get_args()).env_clear().uid(NOBODY).gid(NOBODY);
    other.stdout(Stdio::piped()).stderr(Stdio::piped());
    other
}

const NOBODY: u32 = 65_534;

#[test]
fn an_empty_pipe_is_fine_and_one_that_cannot_be_read_is_not() {
    #[track_caller]
    fn check(stdin: Stdio, code: i32) {
        let folder = folder();
        let args = ["run", "--stdin", "--until-eof", "--to", "blackhole", "--json"];
        let ended = Running::start(squall(folder.path(), args).stdin(stdin)).end();
        ended.expect_code(code);
        assert_eq!(split_ledger(&ended.stdout).1["lines_in"], 0);
    }
    check(Stdio::null(), 0);
    check(fs::File::open(std::env::temp_dir()).expect("a directory opens").into(), 1);
}

#[test]
fn an_output_that_cannot_be_opened_is_named() {
    #[track_caller]
    fn check(path: &str, message: &str) {
        let ended = feed(folder().path(), ["run", "--stdin", "--to", &format!("file:{path}")], b"a line\n");
        ended.expect_code(1).expect_said(path).expect_said(message);
        assert_eq!(ended.stdout, "");
    }
    check("no/such/dir/out", "No such file");
    check(".", "directory");
}

#[test]
fn a_full_disk_ends_the_run_with_the_counts() {
    let ended = feed(folder().path(), ["run", "--stdin", "--to", "file:/dev/full", "--json"], b"a\nb\nc\n");
    ended.expect_code(1).expect_said("No space left").expect_said("3 records (3 lines) were not delivered");
    assert_eq!(split_ledger(&ended.stdout).1["lines_undelivered"], 3);
}

#[test]
fn a_broker_that_refuses_is_named_with_what_was_not_delivered() {
    let folder = folder();
    // The client's end of a connection holds its port, so nobody else gets it, and nobody listens there.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let held = TcpStream::connect(listener.local_addr().expect("bound")).expect("our own listener");
    let address = held.local_addr().expect("connected").to_string();
    let to = format!("kafka://{address}/logs");
    let args = ["run", "--until-eof", "--tail", "app.log", "--to", &to, "--shutdown-timeout", "1s", "--json"];
    let ended = run(folder.path(), args);
    ended.expect_code(1).expect_said(&address).expect_said("3 records (3 lines) were not delivered");
    ended.expect_said("refused");
    assert_eq!(split_ledger(&ended.stdout).1["lines_undelivered"], 3);
    let seconds = split_ledger(&ended.stdout).1["seconds"].as_f64().expect("seconds");
    assert!(seconds < 10.0, "one second was allowed, it took {seconds}");
}

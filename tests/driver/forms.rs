//! The forms in which the driver is installed: the files in `config/docker-driver` and `config/docker-plugin` say what the
//! program takes, and a supervisor lives at a socket that somebody else keeps.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::dockerd::{Logging, ask};
use crate::support::process::{Running, run, squall};
use crate::support::units::{file, verify};

/// Every flag of a command line is one of `squall driver`.
#[track_caller]
fn expect_flags(words: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let help = run(folder.path(), ["driver", "--help"]);
    help.expect_code(0);
    assert!(words.contains(&"driver"), "{words:?}");
    for flag in words.iter().filter(|word| word.starts_with('-')) {
        assert!(help.stdout.split([' ', ',']).any(|word| word == *flag), "{flag}: {}", help.stdout);
    }
}

/// `key=value` pairs of a unit file, in order, with their sections.
fn unit(path: &str) -> Vec<(String, String, String)> {
    let mut section = String::new();
    let mut pairs = Vec::new();
    for line in file(path).lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{path}: {line}"));
        pairs.push((section.clone(), key.to_owned(), value.to_owned()));
    }
    pairs
}

#[track_caller]
fn expect_keys(unit: &[(String, String, String)], wanted: &[(&str, &str, &str)]) {
    for &(section, key, value) in wanted {
        let found: Vec<_> =
            unit.iter().filter(|(s, k, _)| (s.as_str(), k.as_str()) == (section, key)).collect();
        assert!(found.iter().any(|(_, _, v)| v == value), "[{section}] {key}={value}: {found:?}");
    }
}

#[test]
fn the_config_beside_the_forms_is_valid() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("driver.yaml"), file("docker-driver/driver.yaml")).expect("a config");
    run(folder.path(), ["validate", "driver.yaml"]).expect_code(0);
}

#[test]
fn the_compose_file_says_what_the_driver_needs() {
    let compose: Value = serde_saphyr::from_str(&file("docker-driver/compose.yaml")).expect("YAML");
    let service = &compose["services"]["squall"];
    let words: Vec<&str> =
        service["command"].as_array().expect("words").iter().filter_map(Value::as_str).collect();
    expect_flags(&words);
    let volumes: Vec<&str> =
        service["volumes"].as_array().expect("volumes").iter().filter_map(Value::as_str).collect();
    for path in [
        "/run/docker/plugins:/run/docker/plugins",
        "/run/docker/logging:/run/docker/logging",
        "/sys/fs/cgroup:/host/cgroup:ro",
    ] {
        assert!(volumes.contains(&path), "{path}: {volumes:?}");
    }
    let state =
        words.iter().position(|word| *word == "--state").map(|at| words[at + 1]).expect("a state directory");
    assert!(volumes.contains(&format!("squall-state:{state}").as_str()), "{volumes:?}");
    assert!(compose["volumes"].get("squall-state").is_some(), "{compose}");
    assert_eq!((&service["restart"], &service["user"]), (&json!("always"), &json!("0:0")));
    assert_eq!(service["environment"]["SQUALL_RESOURCES__CGROUP"], "/host/cgroup");
    // Its own log must not come to itself.
    assert_ne!(service["logging"]["driver"], "squall");
    assert!(service["logging"]["driver"].is_string(), "{service}");
}

#[test]
fn the_units_say_what_the_driver_needs() {
    let socket = unit("docker-driver/squall-driver.socket");
    expect_keys(
        &socket,
        &[
            ("Socket", "ListenStream", "/run/docker/plugins/squall.sock"),
            ("Socket", "SocketMode", "0600"),
            ("Unit", "Before", "docker.service"),
            ("Install", "WantedBy", "sockets.target"),
        ],
    );
    let service = unit("docker-driver/squall-driver.service");
    expect_keys(
        &service,
        &[
            ("Unit", "Requires", "squall-driver.socket"),
            ("Unit", "Before", "docker.service"),
            ("Unit", "StartLimitIntervalSec", "0"),
            ("Service", "StandardInput", "socket"),
            ("Service", "Restart", "always"),
            ("Service", "KillMode", "mixed"),
            ("Service", "NoNewPrivileges", "yes"),
            ("Service", "ProtectSystem", "strict"),
            ("Service", "StateDirectory", "squall"),
            ("Service", "ReadWritePaths", "/var/lib/squall"),
        ],
    );
    let start = service.iter().find(|(_, key, _)| key == "ExecStart").expect("it starts something");
    let words: Vec<&str> = start.2.split(' ').collect();
    assert!(words[0].ends_with("/squall") && start.2.contains("--state /var/lib/squall"), "{start:?}");
    expect_flags(&words);
}

#[test]
fn systemd_understands_the_units() {
    let names = ["squall-driver.service", "squall-driver.socket"];
    verify(&names.map(|name| (name, file(&format!("docker-driver/{name}")))));
}

#[test]
fn the_plugin_says_what_the_driver_needs() {
    let plugin: Value = serde_json::from_str(&file("docker-plugin/config.json")).expect("JSON");
    let words: Vec<&str> =
        plugin["entrypoint"].as_array().expect("words").iter().filter_map(Value::as_str).collect();
    expect_flags(&words);
    assert_eq!(plugin["interface"]["socket"], "squall.sock");
    assert!(words.contains(&"/run/docker/plugins/squall.sock"), "{words:?}");
    assert_eq!(plugin["propagatedMount"], "/run/docker/logging");
    assert_eq!(plugin["network"]["type"], "host");
    assert_eq!(plugin["mounts"][0]["destination"], "/var/lib/squall");
}

/// As systemd does: the listening socket is standard input, and is kept while the supervisor is away.
#[test]
fn fault_068_dockerd_waits_at_a_socket_that_outlives_the_supervisor() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kept.sock");
    let kept = OwnedFd::from(UnixListener::bind(&path).expect("a socket"));
    fs::create_dir(folder.path().join("fifos")).expect("a folder");
    let start = || {
        let args = ["driver", "--socket", "other.sock", "--state", "state", "--to", "file:out"];
        let mut command = squall(folder.path(), args);
        command.stdin(kept.try_clone().expect("descriptors"));
        Running::start(&mut command)
    };
    let driver = start();
    let (mut logging, answer) = Logging::try_start(&path, &folder.path().join("fifos"), "f1", "c", json!({}));
    assert_eq!(answer, json!({ "Err": "" }));
    logging.line("stdout", b"before");
    driver.signal(Signal::KILL);
    driver.end();
    assert!(path.exists() && !folder.path().join("other.sock").exists());
    // Nobody is there, and dockerd is not refused.
    logging.line("stdout", b"while it is away");
    let mut driver = std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask(&path, "/LogDriver.Capabilities", ""));
        let driver = start();
        assert_eq!(asking.join().expect("an answer")["Err"], "");
        driver
    });
    logging.line("stdout", b"after");
    let out = folder.path().join("out");
    driver.wait_until("the last line", |_| {
        fs::read_to_string(&out).unwrap_or_default().contains("\"message\":\"after\"")
    });
    let text = fs::read_to_string(&out).expect("records");
    for line in ["before", "while it is away", "after"] {
        assert_eq!(text.matches(&format!("\"message\":\"{line}\"")).count(), 1, "{line}: {text}");
    }
    logging.stop(&path);
    driver.signal(Signal::TERM);
    driver.end().expect_code(0);
    assert!(path.exists(), "it is not ours to remove");
}

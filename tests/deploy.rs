//! The files in `config` that people deploy: each says what the program takes, and what it may ask of its surroundings.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::disk::skip;
use crate::support::process::run;
use crate::support::units::{file, verify};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

/// The documents of a YAML file.
fn documents(name: &str) -> Vec<Value> {
    let text = file(name);
    let parts = text.split("\n---\n");
    parts.map(|part| serde_saphyr::from_str(part).unwrap_or_else(|error| panic!("{name}: {error}"))).collect()
}

fn of_kind<'a>(documents: &'a [Value], kind: &str) -> &'a Value {
    documents.iter().find(|document| document["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

/// `squall validate` has nothing to say about it.
#[track_caller]
fn expect_valid(config: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("squall.yaml"), config).expect("a config");
    let ended = run(folder.path(), ["validate", "squall.yaml"]);
    ended.expect_code(0);
    assert!(!ended.stderr.contains("warning"), "{}", ended.stderr);
}

fn words(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().map(|word| word.as_str().expect("a text")).collect()
}

/// A container of a pod, held against what squall needs and what it must not have.
#[track_caller]
fn check_container(container: &Value, volumes: &Value) {
    assert_eq!(words(&container["args"]), ["run", "--config", "/etc/squall/squall.yaml"]);
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(words(&container["securityContext"]["capabilities"]["drop"]), ["ALL"]);
    assert_eq!(container["resources"]["limits"]["cpu"], "500m");
    assert_eq!(container["resources"]["limits"]["memory"], "64Mi");
    for probe in ["startupProbe", "livenessProbe"] {
        assert_eq!(container[probe]["httpGet"]["path"], "/health", "{probe} must not depend on Kafka");
        assert_eq!(container[probe]["httpGet"]["port"], container["ports"][0]["name"]);
    }
    let env: BTreeSet<&str> =
        container["env"].as_array().expect("a list").iter().filter_map(|one| one["name"].as_str()).collect();
    assert!(["POD_NAME", "POD_NAMESPACE", "NODE_NAME"].iter().all(|name| env.contains(name)), "{env:?}");
    let known: BTreeSet<&str> =
        volumes.as_array().expect("a list").iter().filter_map(|one| one["name"].as_str()).collect();
    let mounts = container["volumeMounts"].as_array().expect("a list");
    for mount in mounts {
        let name = mount["name"].as_str().expect("a name");
        assert!(known.contains(name), "{name} is no volume");
        // The state is the only place that it writes to.
        assert_eq!(mount["readOnly"] != true, mount["mountPath"] == "/var/lib/squall", "{mount}");
    }
    assert!(mounts.iter().any(|mount| mount["mountPath"] == "/var/lib/squall"), "{mounts:?}");
}

#[test]
fn the_sidecar_of_kubernetes() {
    let documents = documents("kubernetes/sidecar.yaml");
    let config = of_kind(&documents, "ConfigMap")["data"]["squall.yaml"].as_str().expect("a config");
    expect_valid(config);
    let pod = &of_kind(&documents, "Deployment")["spec"]["template"]["spec"];
    let sidecar = &pod["initContainers"][0];
    assert_eq!(sidecar["restartPolicy"], "Always", "else the pod would wait for its end");
    assert!(sidecar.get("readinessProbe").is_none(), "the gateway must serve while Kafka is away");
    check_container(sidecar, &pod["volumes"]);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    // The outbox has to fit into its volume, with its log.
    assert!(config.contains("size_max: 192MiB"), "{config}");
    let state = pod["volumes"].as_array().expect("a list").iter().find(|one| one["name"] == "squall-state");
    assert_eq!(state.expect("it is there")["emptyDir"]["sizeLimit"], "256Mi");
    let policy = &of_kind(&documents, "NetworkPolicy")["spec"];
    assert_eq!(policy["ingress"][0]["ports"][0]["port"], sidecar["ports"][0]["containerPort"]);
}

#[test]
fn the_daemon_set_of_kubernetes() {
    let documents = documents("kubernetes/daemonset.yaml");
    let config = of_kind(&documents, "ConfigMap")["data"]["squall.yaml"].as_str().expect("a config");
    expect_valid(config);
    let pod = &of_kind(&documents, "DaemonSet")["spec"]["template"]["spec"];
    check_container(&pod["containers"][0], &pod["volumes"]);
    assert_eq!(pod["containers"][0]["readinessProbe"]["httpGet"]["path"], "/ready");
    let mounts = pod["containers"][0]["volumeMounts"].as_array().expect("a list");
    let tree = mounts.iter().find(|mount| mount["name"] == "cgroup").expect("the host's tree");
    assert!(config.contains(&format!("cgroup: {}", tree["mountPath"].as_str().expect("a path"))), "{config}");
    assert_eq!(pod["automountServiceAccountToken"], false);
}

/// By the schema of the API itself, strictly: a key that it does not have is a fault.
#[test]
fn kubernetes_takes_the_manifests() {
    let checker =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.cache/kubernetes/bin/kubernetes-validate");
    if !checker.exists() {
        return skip("there is no kubernetes-validate: tests/run installs it");
    }
    let check = |file: &Path| Command::new(&checker).arg("--strict").arg(file).output().expect("it starts");
    for name in ["sidecar.yaml", "daemonset.yaml"] {
        let done = check(&path("kubernetes").join(name));
        assert!(done.status.success(), "{name}: {}", String::from_utf8_lossy(&done.stderr));
    }
    // It would notice.
    let folder = tempfile::tempdir().expect("a folder");
    let wrong = folder.path().join("wrong.yaml");
    let text = file("kubernetes/sidecar.yaml");
    fs::write(&wrong, text.replacen("volumeMounts:", "volumeMount:", 1)).expect("there is room");
    assert!(!check(&wrong).status.success(), "a wrong key passes");
}

#[test]
fn the_sidecar_of_compose() {
    let compose = &documents("compose/sidecar.yaml")[0];
    let squall = &compose["services"]["squall"];
    assert_eq!(words(&squall["command"]), ["run", "--config", "/etc/squall/squall.yaml"]);
    assert_eq!((&squall["read_only"], &squall["mem_limit"]), (&true.into(), &"64m".into()));
    let volumes = words(&squall["volumes"]);
    assert!(volumes.contains(&"logs:/var/log/app:ro") && volumes.contains(&"state:/var/lib/squall"));
    let config = volumes.iter().find_map(|volume| volume.strip_suffix(":/etc/squall/squall.yaml:ro"));
    let config = path("compose").join(config.expect("a config"));
    expect_valid(&fs::read_to_string(config).expect("it is there"));
    let gateway = words(&compose["services"]["api-gateway"]["volumes"]);
    assert!(gateway.contains(&"logs:/var/log/app"), "{gateway:?}");
}

#[test]
fn systemd_understands_the_service() {
    let unit = file("systemd/squall.service");
    for line in
        ["NoNewPrivileges=yes", "ProtectSystem=strict", "StateDirectory=squall", "CapabilityBoundingSet="]
    {
        assert!(unit.lines().any(|own| own == line), "{line}");
    }
    // It looks whether the user is there.
    verify(&[("squall.service", unit.replace("User=squall", "User=root"))]);
}

#[test]
fn prometheus_understands_the_rules() {
    let rules = path("prometheus/rules.yaml");
    let Ok(checked) = Command::new("promtool").args(["check", "rules"]).arg(&rules).output() else {
        println!("skipped: there is no promtool");
        return;
    };
    assert!(checked.status.success(), "{checked:?}");
}

/// Names of metrics in the rules and on the dashboard, for a test that scrapes.
pub(crate) fn metrics_in_use() -> BTreeSet<String> {
    let dashboard: Value = serde_json::from_str(&file("grafana/squall.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let rules = &documents("prometheus/rules.yaml")[0]["groups"][0]["rules"];
    let rules = rules.as_array().expect("rules");
    let texts = targets.chain(rules).map(|one| one["expr"].as_str().expect("an expression").to_owned());
    let word = |letter: char| !(letter.is_ascii_alphanumeric() || letter == '_');
    let mut names = BTreeSet::new();
    for text in texts {
        let ours =
            text.split(word).filter(|name| name.starts_with("squall_") || name.starts_with("process_"));
        names.extend(ours.map(str::to_owned));
    }
    assert!(names.len() > 10, "{names:?}");
    names
}

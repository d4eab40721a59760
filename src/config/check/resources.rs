//! `resources`: where CPU and memory of containers are read, and how often.
//!
//! Where a rule asks for them and none can be read, that is a warning: the tree may be mounted later, and the other rules
//! are fine.

use std::time::Duration;

use super::keys::Keys;
use crate::config::faults::{Findings, Place};
use crate::config::{Input, InputKind};
use crate::engine::alert::rule::{Rule, When};
use crate::resources::{Options, tree};

const KNOWN: [&str; 2] = ["cgroup", "every"];

/// Checks the mapping, if there is one.
pub(super) fn check(keys: &Keys<'_>, findings: &mut Findings) -> Options {
    let mut options = Options::default();
    let Some(entry) = keys.some("resources") else { return options };
    let keys = Keys::open(entry, "resources", &KNOWN, findings);
    options.cgroup = keys.path("cgroup", findings).unwrap_or(options.cgroup);
    let range = Duration::from_secs(1)..=Duration::from_secs(300);
    options.every = keys.time("every", range, options.every, findings);
    options
}

/// Whether a rule asks for what containers use.
pub(crate) fn are_asked_for(rules: &[Rule]) -> bool {
    rules.iter().any(|rule| matches!(rule.when, When::Resource { .. }))
}

/// Warns where rules ask for what cannot be known.
pub(super) fn warn(
    keys: &Keys<'_>,
    options: &Options,
    rules: &[Rule],
    inputs: &[Input],
    findings: &mut Findings,
) {
    if !are_asked_for(rules) {
        return;
    }
    let place = |key: &str| -> Place {
        let entry = keys.some(key).or(keys.some("alerts"));
        entry.map_or_else(|| keys.place.clone(), |entry| entry.place.clone())
    };
    if let Err(blind) = tree::look(&options.cgroup) {
        let message = format!("rules about `resource(…)` cannot fire: {}", blind.explained());
        findings
            .warn(place("resources"), message)
            .note("mount the host's /sys/fs/cgroup read-only, and name that place in resources.cgroup");
    }
    // Docker's logging driver has no inputs, and knows its containers.
    if !inputs.is_empty() && !inputs.iter().any(may_tell_container) {
        findings
            .warn(place("inputs"), "rules about `resource(…)` cannot fire: no input tells whose lines it reads")
            .note("known are the containers of /var/lib/docker/containers/*/*-json.log, /var/log/containers/*.log and /var/log/pods/*/*/*.log");
    }
}

/// Whether the names of its files may hold the ids of containers.
fn may_tell_container(input: &Input) -> bool {
    match &input.kind {
        InputKind::Tail(options) => {
            let tells =
                |glob: &String| ["containers", "-json.log", "/pods/"].iter().any(|part| glob.contains(part));
            options.include.iter().any(tells)
        }
        InputKind::Stdin => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::tests::load_text;

    #[test]
    fn what_is_set_arrives() {
        #[track_caller]
        fn check(text: &str, cgroup: &str, seconds: u64) {
            let (config, warnings) = load_text(text).unwrap_or_else(|faults| panic!("{faults}"));
            let want = Options { cgroup: cgroup.into(), every: Duration::from_secs(seconds) };
            assert_eq!((config.resources, warnings.len()), (want, 0));
        }
        check("resources:", "/sys/fs/cgroup", 15);
        check("resources: { cgroup: null }", "/sys/fs/cgroup", 15);
        check("resources: { cgroup: /host/cgroup, every: 1m }", "/host/cgroup", 60);
    }

    #[test]
    fn faults() {
        #[track_caller]
        fn check(inside: &str, want: &str) {
            let faults = load_text(&format!("resources: {{ {inside} }}")).expect_err(inside);
            let faults: Vec<&str> = faults.iter().map(|fault| fault.message()).collect();
            assert_eq!(faults, [want]);
        }
        check("every: 500ms", "`resources.every` must be from 1s to 5m, not 500ms");
        check("every: 10m", "`resources.every` must be from 1s to 5m, not 10m");
        check("cgroup: [a]", "`resources.cgroup` must be a text, not a list");
        check("docker: /run/docker.sock", "unknown key `docker`");
    }

    /// The warnings for a config with a rule, each with its line.
    #[track_caller]
    fn warned(config: &str) -> Vec<String> {
        let rule = "alerts: { groups: [{ name: g, rules: [{ alert: A, when: resource(cpu > 50%) }] }] }";
        let (_, warnings) =
            load_text(&format!("{config}\n{rule}")).unwrap_or_else(|faults| panic!("{faults}"));
        let told = |warning: &crate::config::Warning| {
            let (line, _) = warning.place().position().unwrap_or_default();
            format!("{line} {}", warning.message())
        };
        warnings.iter().map(told).collect()
    }

    #[test]
    fn who_asks_for_what_cannot_be_known_is_warned() {
        let room = tempfile::tempdir().expect("a folder");
        fs::write(room.path().join("cgroup.controllers"), "").expect("a file");
        let tree = format!("resources: {{ cgroup: {} }}", room.path().display());
        assert_eq!(warned(&tree), [""; 0]);
        assert_eq!(
            warned("resources: { cgroup: /nowhere }"),
            [
                "1 rules about `resource(…)` cannot fire: /nowhere cannot be read: No such file or directory (os error 2)"
            ]
        );
        let input =
            |include: &str| format!("inputs: {{ a: {{ type: tail, include: ['{include}'] }} }}\n{tree}");
        assert_eq!(warned(&input("/var/lib/docker/containers/*/*-json.log")), [""; 0]);
        assert_eq!(warned(&input("/var/log/containers/*.log")), [""; 0]);
        assert_eq!(warned(&input("/var/log/pods/*/*/*.log")), [""; 0]);
        assert_eq!(
            warned(&input("/var/log/app/*.log")),
            ["1 rules about `resource(…)` cannot fire: no input tells whose lines it reads"]
        );
        // Nobody asks.
        let (_, warnings) = load_text("resources: { cgroup: /nowhere }").expect("a good config");
        assert!(warnings.is_empty(), "{warnings:?}");
    }
}

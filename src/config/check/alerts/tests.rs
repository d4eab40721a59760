//! What a config says of alerts, and what is said about it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::config::tests::load_text;
use crate::config::{Sources, load};

const RULE: &str = "{alert: A, when: 'count(\"x\") >= 1 within 1m'}";

/// A config with one group of these rules.
fn group(rules: &str) -> String {
    format!("alerts: {{groups: [{{name: g, rules: [{rules}]}}]}}")
}

#[track_caller]
fn check(text: &str, want: &[&str]) {
    let Err(faults) = load_text(text) else { panic!("no fault in {text}") };
    let line = |fault: &crate::config::faults::Fault| {
        let (line, column) = fault.place().position().unwrap_or_default();
        format!("{line}:{column} {}", fault.message())
    };
    assert_eq!(faults.iter().map(line).collect::<Vec<_>>(), want, "{text}");
}

#[test]
fn what_is_set_arrives() {
    let text = r#"
alerts:
  groups:
  - name: websocket
    labels: { team: gateway, severity: P4 }
    rules:
    - alert: WebSocketRetryLoop
      when: >
        count(message =~ "WebSocket connection timeout") >= 10
        within 1m
      for: 2m
      keep_firing_for: 5m
      labels: { severity: P1 }
      annotations: { summary: "{{ value }} for {{ labels.team }}", runbook_url: x }
    - { alert: Second, when: new_template() }
"#;
    let (config, warnings) = load_text(text).unwrap_or_else(|faults| panic!("{faults}"));
    assert!(warnings.is_empty());
    let [first, second] = &*config.alerts else { panic!("{:?}", config.alerts) };
    assert_eq!((&*first.name, &*first.group, &*second.name), ("WebSocketRetryLoop", "websocket", "Second"));
    assert_eq!(first.when.to_string(), "count(message =~ \"WebSocket connection timeout\") >= 10 within 1m");
    assert_eq!((first.hold, first.keep_firing_for), (Duration::from_secs(120), Duration::from_secs(300)));
    let labels: Vec<_> = first.labels.iter().map(|(name, text)| (&**name, &**text)).collect();
    assert_eq!(labels, [("severity", "P1"), ("team", "gateway")]);
    let names: Vec<_> = first.annotations.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["summary", "runbook_url"]);
    assert_eq!(second.labels.len(), 2);
}

#[test]
fn a_fault_in_when_looks_like_this() {
    let text = "alerts:\n  groups:\n  - name: g\n    rules:\n    - alert: A\n      when: 'cuont(''x'') > 1 within 1m'\n";
    let want = "\
error: nothing is measured by `cuont`
 --> squall.yaml:6:14
  |
6 |       when: 'cuont(''x'') > 1 within 1m'
  |              ^^^^^
  = did you mean `count`?
";
    assert_eq!(load_text(text).expect_err("a fault").to_string(), want);
}

#[test]
fn faults() {
    check("alerts: {groups: {}}", &["1:18 `alerts.groups` must be a list, not a mapping"]);
    check("alerts: {gruops: []}", &["1:10 unknown key `gruops`, did you mean `groups`?"]);
    check(
        "alerts: {groups: [x]}",
        &[
            "1:19 here must be a mapping (`key: value`), not the text `x`",
            "1:19 `name` is missing",
            "1:19 `rules` is missing",
        ],
    );
    check("alerts: {groups: [{name: g, interval: 1m, rules: []}]}", &["1:29 unknown key `interval`"]);
    check(&group("{alert: A}"), &["1:37 `when` is missing"]);
    check(&group("{when: 'new_template()'}"), &["1:37 `alert` is missing"]);
    check(&group("{alert: A, when: [1]}"), &["1:54 `when` must be a text, not a list"]);
    check(&group("{alert: A, expr: up == 0}"), &["1:48 rules have `when` in place of `expr`"]);
    check(&group("{record: a, when: new_template(), alert: A}"), &["1:38 there are no recording rules"]);
    check(&group(&format!("{RULE}, {RULE}")), &["1:92 the group `g` has two rules named `A`"]);
    check(
        &group("{alert: A, when: 'resource(cpu > 50%)', labels: {stream: x}}"),
        &["1:37 a rule about `resource(…)` gets the label `stream` by itself"],
    );
    check(
        &group("{alert: A, when: 'resource(cpu > 2GB)'}"),
        &["1:70 expected a share of one core, as in 50% or 1.5, not a size"],
    );
    check(
        &group("{alert: A, when: 'count() > 1 within 1m', annotations: {summary: '{{ container }}'}}"),
        &["1:37 `container` is known only in rules about `resource(…)`"],
    );
    check(
        &group("{alert: A, when: new_template(), for: 2x}"),
        &["1:75 `for` must be a time, not the text `2x`"],
    );
    check(
        &group("{alert: A, when: 'count() > 1.5 within 1m'}"),
        &["1:65 `count` is compared with a whole number, as in 10, not the number 1.5"],
    );
    check(
        &group("{alert: A, when: new_template(), labels: {a-b: x, alertname: y, c: '{{ value }}'}}"),
        &[
            "1:79 `a-b` cannot be the name of a label",
            "1:87 `alertname` cannot be the name of a label",
            "1:104 a label holds no places",
        ],
    );
    check(
        &group("{alert: A, when: new_template(), annotations: {a: '{{ labels.x }}', b: 'ä {{ valeu }}'}}"),
        &["1:87 the rule has no label `x`", "1:114 nothing can be filled in here, did you mean `value`?"],
    );
    check(
        &group("{alert: A, when: 'count() > 1 within 1m by stream', labels: {stream: x}}"),
        &["1:37 a rule that is judged `by stream` gets the label `stream` by itself"],
    );
}

#[test]
fn there_may_be_2000_rules() {
    let rules = |count: usize| {
        let rule = |number| format!("{{alert: A{number}, when: new_template()}}");
        group(&(0..count).map(rule).collect::<Vec<_>>().join(", "))
    };
    assert_eq!(load_text(&rules(2_000)).map(|(config, _)| config.alerts.len()).ok(), Some(2_000));
    check(&rules(2_001), &["1:1 there are 2001 rules"]);
}

#[test]
fn files_of_rules_are_found_beside_the_config() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder");
        fs::write(&path, text).expect("a file in it");
        path
    };
    let rules = |name: &str| format!("groups: [{{name: {name}, rules: [{RULE}]}}]");
    file("rules/a.yaml", &rules("a"));
    file("rules/b.yaml", &rules("b"));
    file("bad/x.yaml", "groups:\n- name: x\n  rules:\n  - alert: A\n    when: new_template(\n");
    file("bad/y.yaml", "alerts: {}\n");
    let loaded = |text: &str| {
        let main = file("squall.yaml", text);
        load(&Sources { files: vec![main], ..Sources::default() })
    };
    let (config, warnings) =
        loaded("alerts: {files: [rules/*.yaml, rules/a.yaml, none/*.yaml]}").expect("two rules");
    assert_eq!(config.alerts.iter().map(|rule| &*rule.group).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].message(), "no file matches `none/*.yaml`, so there are no rules from it");

    let faults = loaded("alerts: {files: [bad/*.yaml, absent.yaml]}").expect_err("bad files");
    let said: Vec<_> = faults.iter().map(|fault| (fault.message(), fault.place().position())).collect();
    assert_eq!(
        said[0],
        (
            "expected which lines are meant, as in message contains \"…\" or status >= 500, not the end",
            Some((5, 24))
        )
    );
    assert_eq!(said[1], ("unknown key `alerts`", Some((1, 1))));
    assert_eq!(said[2], ("a file of rules has `groups:` at its top", Some((1, 1))));
    assert!(said[3].0.starts_with("cannot read the rules in `absent.yaml`: No such file"), "{}", said[3].0);
}

#[test]
fn every_preset_is_fine() {
    let presets = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/presets/*.yaml");
    let inline = vec![("t".to_owned(), format!("alerts: {{files: ['{}']}}", presets.display()))];
    let (config, warnings) =
        load(&Sources { inline, ..Sources::default() }).unwrap_or_else(|faults| panic!("{faults}"));
    assert!(warnings.is_empty());
    for group in [
        "retry-loop",
        "503-spike",
        "slow-without-errors",
        "exhausted-pools",
        "not-found-share",
        "error-share",
        "connection-reset",
    ] {
        assert!(config.alerts.iter().any(|rule| &*rule.group == group), "{group}");
    }
}

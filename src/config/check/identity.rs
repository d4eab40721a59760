//! `instance`: who sends. What the config does not say comes from the environment that Kubernetes and OpenTelemetry
//! set up.

use super::keys::Keys;
use crate::config::faults::{Findings, Place};
use crate::config::interpolate::{Environment, variable};
use crate::config::tree::Entry;
use crate::engine::record::identity::Identity;

const KNOWN: [&str; 4] = ["name", "node", "service", "labels"];
/// Attributes in `OTEL_RESOURCE_ATTRIBUTES` that are looked at.
const ATTRIBUTES_MAX: usize = 64;

/// The identity: config first, then the environment.
///
/// | field | from, the first that is set |
/// |---|---|
/// | instance | `instance.name`, `POD_NAME`, `HOSTNAME`, `service.instance.id` |
/// | node | `instance.node`, `NODE_NAME`, `host.name`, `HOSTNAME` |
/// | service | `instance.service`, `OTEL_SERVICE_NAME`, `service.name` |
/// | labels | `instance.labels`, other attributes, `POD_NAMESPACE` as `k8s.namespace.name` |
///
/// The dotted names without `instance` stand in `OTEL_RESOURCE_ATTRIBUTES`.
pub(super) fn check(entry: Option<&Entry>, environment: &Environment, findings: &mut Findings) -> Identity {
    let attributes = attributes(environment, findings);
    let attribute =
        |name: &str| attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let set = |name: &str| variable(environment, name).filter(|value| !value.is_empty());
    let first =
        |choices: [Option<&str>; 3]| choices.into_iter().flatten().next().unwrap_or_default().to_owned();

    let mut identity = Identity {
        instance: first([set("POD_NAME"), set("HOSTNAME"), attribute("service.instance.id")]),
        node: first([set("NODE_NAME"), attribute("host.name"), set("HOSTNAME")]),
        service: first([set("OTEL_SERVICE_NAME"), attribute("service.name"), None]),
        labels: Vec::new(),
    };
    if let Some(entry) = entry {
        let keys = Keys::open(entry, "instance", &KNOWN, findings);
        let overwrite = |name: &str, field: &mut String, findings: &mut Findings| {
            if let Some(text) = keys.text(name, findings) {
                text.text.clone_into(field);
            }
        };
        overwrite("name", &mut identity.instance, findings);
        overwrite("node", &mut identity.node, findings);
        overwrite("service", &mut identity.service, findings);
        identity.labels = keys.labels("labels", findings);
    }
    let namespace = set("POD_NAMESPACE").map(|value| ("k8s.namespace.name".to_owned(), value.to_owned()));
    let own = ["service.name", "service.instance.id", "host.name"];
    let others = attributes.iter().filter(|(key, _)| !own.contains(&key.as_str())).cloned();
    for (key, value) in others.chain(namespace) {
        if !identity.labels.iter().any(|(known, _)| *known == key) {
            identity.labels.push((key, value));
        }
    }
    identity
}

/// `a=1,b=2`, percent-encoded. As OpenTelemetry wants it, one bad part makes the whole value void; that is told.
fn attributes(environment: &Environment, findings: &mut Findings) -> Vec<(String, String)> {
    const NAME: &str = "OTEL_RESOURCE_ATTRIBUTES";
    let Some(text) = variable(environment, NAME) else { return Vec::new() };
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let read = |part: &str| {
        let (key, value) = part.split_once('=')?;
        let (key, value) = (percent_decode(key.trim())?, percent_decode(value.trim())?);
        (!key.is_empty()).then_some((key, value))
    };
    match parts.take(ATTRIBUTES_MAX).map(read).collect() {
        Some(attributes) => attributes,
        None => {
            let place = Place::Variable(NAME.into());
            findings
                .warn(place, "not used: it is not a list of key=value")
                .note("write service.name=shop,team=web");
            Vec::new()
        }
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn from_the_environment() {
        #[track_caller]
        fn check(pairs: &[(&str, &str)], instance: &str, node: &str, service: &str, labels: &[(&str, &str)]) {
            let mut findings = Findings::default();
            let found = super::check(None, &environment(pairs), &mut findings);
            assert_eq!((&*found.instance, &*found.node, &*found.service), (instance, node, service));
            assert_eq!(found.labels, environment(labels));
            assert!(findings.warnings.is_empty());
        }
        check(&[], "", "", "", &[]);
        check(&[("HOSTNAME", "h")], "h", "h", "", &[]);
        check(&[("HOSTNAME", "h"), ("POD_NAME", "p"), ("NODE_NAME", "n")], "p", "n", "", &[]);
        check(&[("POD_NAME", ""), ("HOSTNAME", "h")], "h", "h", "", &[]);
        check(&[("POD_NAMESPACE", "shop")], "", "", "", &[("k8s.namespace.name", "shop")]);
        let otel = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a%20b, host.name=n ,team=w=b,");
        check(&[otel], "", "n", "a b", &[("team", "w=b")]);
        check(&[otel, ("OTEL_SERVICE_NAME", "s")], "", "n", "s", &[("team", "w=b")]);
    }

    #[test]
    fn odd_attributes_are_told() {
        for odd in ["a", "a=%", "a=%zz", "a=%ff", "=b", "a=1,b", "a=%+1"] {
            let mut findings = Findings::default();
            let found = check(None, &environment(&[("OTEL_RESOURCE_ATTRIBUTES", odd)]), &mut findings);
            assert_eq!(found, Identity::default(), "{odd}");
            assert_eq!(findings.warnings.len(), 1, "{odd}");
        }
    }
}

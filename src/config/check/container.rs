//! What one container may have for itself (`--log-opt squall-config`).

use super::keys::Keys;
use super::{input, kafka};
use crate::config::faults::Findings;
use crate::config::source::Source;
use crate::config::{Container, SUMMARY_EVERY, tree};
use crate::engine::storm;

const KNOWN: [&str; 7] =
    ["collapse", "labels", "timezone", "multiline", "first", "summary_every", "kafka_topic"];
/// Bytes of a config of this kind: it is kept with the container and read again by each worker.
const TEXT_MAX: usize = 64 << 10;

/// Reads it. `name` is what to call it in messages.
///
/// # Errors
/// All that is wrong, each with line and column, in one line: dockerd shows no more.
pub(in crate::config) fn check(name: &str, text: &str) -> Result<Container, String> {
    if text.len() > TEXT_MAX {
        return Err(format!("{name} is larger than {} KiB", TEXT_MAX >> 10));
    }
    let mut findings = Findings::default();
    let mut container = Container::default();
    if let Some(root) = tree::parse(&Source::new(name, text), &mut findings) {
        let keys = Keys::of(&root, "", &mut findings);
        keys.refuse_unknown(&KNOWN, &mut findings);
        container = read(&keys, &mut findings);
    }
    match findings.settle(container) {
        Ok((container, _)) => Ok(container),
        Err(faults) => Err(faults.iter().map(|fault| fault.line()).collect::<Vec<_>>().join("; ")),
    }
}

fn read(keys: &Keys<'_>, findings: &mut Findings) -> Container {
    let mut container = Container::default();
    input::check_lines(keys, &mut container.input, findings);
    let storm = storm::Limits::default();
    let first = keys.number("first", 0..=u64::from(u32::MAX), storm.first, findings);
    let summary_every = keys.time("summary_every", SUMMARY_EVERY, storm.summary_every, findings);
    let is_given = |name| keys.some(name).is_some();
    container.first = is_given("first").then_some(first);
    container.summary_every = is_given("summary_every").then_some(summary_every);
    container.topic = kafka::check_topic(keys, "kafka_topic", findings);
    container
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::storm::Collapse;

    #[test]
    fn what_a_container_may_have() {
        let text =
            "{collapse: never, labels: {team: pay}, first: 9, summary_every: 30s, kafka_topic: orders}";
        let found = check("squall-config", text).expect("all is good");
        assert_eq!((found.input.collapse, found.first), (Collapse::Never, Some(9)));
        assert_eq!(found.input.labels, [("team".to_owned(), "pay".to_owned())]);
        assert_eq!(
            (found.summary_every, found.topic.as_deref()),
            (Some(Duration::from_secs(30)), Some("orders"))
        );
        assert_eq!(check("squall-config", "").expect("nothing is asked for"), Container::default());
        let multiline = check("squall-config", "multiline: java\ntimezone: Europe/Berlin").expect("good");
        assert!(multiline.input.multiline.is_some());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        #[track_caller]
        fn refused(text: &str, want: &[&str]) {
            let told = check("squall-config", text).expect_err("it is wrong");
            assert!(want.iter().all(|part| told.contains(part)) && !told.contains('\n'), "{told}");
        }
        refused("{colapse: never}", &["squall-config:1:2: ", "`colapse`", "did you mean `collapse`?"]);
        refused("first: many", &["squall-config:1:8: `first`"]);
        refused("a: [", &["squall-config:"]);
        refused("just text", &["must be a mapping"]);
        refused("summary_every: 2h\nkafka_topic: a b", &[":1:16: ", "; squall-config:2:14: `a b` cannot be"]);
        refused("storm: {first: 3}", &["`storm`", "known keys: collapse, labels"]);
        refused(&" ".repeat(TEXT_MAX + 1), &["larger than 64 KiB"]);
    }
}

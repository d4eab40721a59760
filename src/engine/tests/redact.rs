//! Redaction through the whole engine: what a rule finds is in nothing that leaves, however the line came.

use std::sync::Arc;

use proptest::prelude::*;

use super::START;
use crate::engine::chunk::Chunk;
use crate::engine::frame::Format;
use crate::engine::line::redact::{READY_MADE, Redactor, Rule};
use crate::engine::line::{self, multiline};
use crate::engine::state::Changes;
use crate::engine::storm::Collapse;
use crate::engine::storm::window::ClosedBy;
use crate::engine::{Engine, Options, Source};
use crate::units::{Monotonic, Now, Timestamp};

const SECRETS: [&str; 4] = [
    "4111 1111 1111 1111",
    "ann.lee@example.org",
    "AKIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.s5yq",
];

/// A line as dockerd writes it, in pieces that are cut at these places.
fn docker(text: &str, cuts: &[usize]) -> Vec<u8> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
    places.sort_unstable();
    places.push(text.len());
    let (mut start, mut out) = (0, Vec::new());
    for (index, &end) in places.iter().enumerate() {
        let newline = if index + 1 == places.len() { "\n" } else { "" };
        let piece = serde_json::to_string(&format!("{}{newline}", &text[start..end])).expect("a string");
        let line = format!("{{\"log\":{piece},\"stream\":\"stderr\",\"time\":\"2026-02-06T00:00:00Z\"}}\n");
        out.extend_from_slice(line.as_bytes());
        start = end;
    }
    out
}

fn source(collapse: Collapse, multiline: bool) -> Source {
    let rules = READY_MADE.iter().flat_map(|name| Rule::ready_made(name).expect("it is known")).collect();
    let redact = Redactor::new(rules).expect("they are small").map(Arc::new);
    let multiline = multiline.then(|| multiline::Options::new(multiline::Kind::Auto));
    let line = line::Limits { redact, multiline, ..line::Limits::default() };
    Source { name: "x".into(), format: Format::Docker, folding: collapse.into(), line, ..Source::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_secret_leaves(
        lines in prop::collection::vec((0usize..4, "[a-z ]{0,12}", prop::collection::vec(0usize..200, 0..4)), 1..40),
        collapse in prop::sample::select(vec![Collapse::Never, Collapse::Storms, Collapse::Always]),
        multiline: bool,
    ) {
        let mut engine = Engine::new(Options::default());
        let origin = engine.open(source(collapse, multiline));
        let now = Now { arrival: Monotonic(0), wall: Timestamp(START) };
        let mut file = Vec::new();
        for (secret, word, cuts) in &lines {
            file.extend(docker(&format!("ERROR {word} {} failed", SECRETS[*secret]), cuts));
        }
        engine.push(Chunk { origin, offset: 0, bytes: &file }, now);
        // Windows as a new process would find them.
        let mut changes = Changes::default();
        engine.checkpoint(now, &mut changes);
        engine.finish(ClosedBy::End, now);
        let batch = engine.take_batch(Default::default());
        let episodes = changes.episodes.iter().flat_map(|episode| &episode.detail);
        let seen: Vec<u8> = batch.bytes.iter().chain(episodes).copied().collect();
        let seen = String::from_utf8_lossy(&seen);
        for secret in SECRETS {
            prop_assert!(!seen.contains(secret), "{secret} in {seen}");
        }
        prop_assert_eq!(engine.ledger().conservation_error, 0);
        prop_assert!(["[card]", "[email]", "[secret]"].iter().any(|found| seen.contains(found)));
    }
}

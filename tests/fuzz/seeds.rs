//! The laws on their seeds, and on what a little damage makes of those: what `cargo test` does of the fuzzing.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::{config, consume, frame, outbox, rule, template};

/// A law, and the folders that hold its seeds; `tests/run --fuzz` gives the same ones to its target.
type Law = (fn(&[u8]), &'static [&'static str]);

const LAWS: [Law; 8] = [
    (frame::json_file_line, &["tests/fuzz/seeds/json_file_line"]),
    (frame::cri_line, &["tests/fuzz/seeds/cri_line"]),
    (frame::fifo_frames, &["tests/fuzz/seeds/fifo_frames"]),
    (config::config, &["tests/fuzz/seeds/config", "config", "config/examples"]),
    (rule::rule, &["tests/fuzz/seeds/rule"]),
    (template::template, &["tests/fuzz/seeds/template"]),
    (outbox::outbox_row, &["tests/fuzz/seeds/outbox_row"]),
    (consume::consume, &["tests/fuzz/seeds/consume"]),
];

fn seeds(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries =
        fs::read_dir(&folder).expect("a folder of seeds").map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no seeds in {}", folder.display());
    paths.iter().map(|path| fs::read(path).expect("a seed")).collect()
}

#[test]
fn laws_hold_of_their_seeds() {
    for (law, folders) in LAWS {
        folders.iter().flat_map(|folder| seeds(folder)).for_each(|seed| law(&seed));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn laws_hold_of_damaged_seeds(
        (law, folders) in proptest::sample::select(LAWS.to_vec()),
        seed in any::<prop::sample::Index>(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), 0..3, any::<u8>()), 0..12),
    ) {
        let seeds: Vec<Vec<u8>> = folders.iter().flat_map(|folder| seeds(folder)).collect();
        let mut bytes = seed.get(&seeds).clone();
        for (at, what, byte) in damage {
            let at = at.index(bytes.len() + 1);
            match what {
                0 if at < bytes.len() => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.drain(at..bytes.len().min(at + usize::from(byte)))),
            }
        }
        law(&bytes);
    }
}

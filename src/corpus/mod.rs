//! Corpora: logs made from seeds, for the demo, the tests and the benches.
//!
//! [`incident`] is the storm that this program exists for, with its truth counted; [`mixed`] is a fleet of programs
//! whose lines never repeat. [`json_file`] and [`cri`] wrap their lines as container runtimes do.
//! Invariant: a seed gives the same bytes on every machine. Pure: no I/O, no clock; nothing is allocated per line.
//! Not here: writing and rotating files (`cli::demo`).

pub mod cri;
pub mod incident;
pub mod json_file;
pub mod mixed;

mod random;
mod template;
mod words;

use crate::engine::frame::IoStream;
use crate::units::{Bytes, Timestamp};

/// A whole incident as one json-file.
pub fn incident_file(seed: u64, lines: u64, start: Timestamp) -> Vec<u8> {
    let mut incident = incident::Incident::new(seed, lines, start);
    let (mut file, mut text) = (Vec::new(), Vec::new());
    while let Some(event) = incident.next_into(&mut text) {
        json_file::append(&mut file, &text, event.stream, event.time);
    }
    file
}

/// Mixed lines as one json-file of at least `size`, ending with a whole line.
pub fn mixed_file(seed: u64, size: Bytes) -> Vec<u8> {
    let mut mixed = mixed::Mixed::new(seed);
    let (mut file, mut text) = (Vec::new(), Vec::new());
    while (file.len() as u64) < size.0 {
        let time = mixed.next_into(&mut text);
        json_file::append(&mut file, &text, IoStream::Stdout, time);
    }
    file
}

fn civil(time: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_nanosecond(i128::from(time.0))
        .expect("64 bits of nanoseconds (1677 to 2262) are within jiff's years -9999 to 9999")
}

/// Go's RFC3339Nano in UTC: as many digits of the second as are needed.
fn push_time(out: &mut Vec<u8>, time: Timestamp) {
    // It fails only where its writer does, and a Vec never does.
    let _ = jiff::fmt::temporal::DateTimePrinter::new().print_timestamp(&civil(time), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a corpus changes, figures measured on the old one are void; this makes it a decision.
    #[test]
    fn corpora_stay_as_they_are() {
        let hash = |file: &[u8]| xxhash_rust::xxh3::xxh3_64(file);
        assert_eq!(
            hash(&incident_file(1, 5_000, Timestamp(0))),
            18_379_853_545_958_667_569,
            "the incident changed"
        );
        assert_eq!(
            hash(&mixed_file(1, Bytes(200_000))),
            1_596_975_145_365_595_713,
            "the mixed corpus changed"
        );
    }
}

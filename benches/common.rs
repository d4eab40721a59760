//! What several benches measure with.

use squall::corpus::mixed_file;
use squall::engine::chunk::Chunk;
use squall::engine::frame::Format;
use squall::engine::record::Batch;
use squall::engine::storm::Collapse;
use squall::engine::{Engine, Options, Source};
use squall::units::{Bytes, Monotonic, Now, Timestamp};

/// Records as they come from the mixed corpus with `collapse: never`, until they take `bytes`.
pub(crate) fn records(bytes: usize) -> Batch {
    let mut engine = Engine::new(Options::default());
    let source = Source {
        name: "bench".into(),
        format: Format::Docker,
        folding: Collapse::Never.into(),
        ..Source::default()
    };
    let origin = engine.open(source);
    let now = Now { arrival: Monotonic(0), wall: Timestamp(1_770_336_600 * Timestamp::SECOND) };
    let mut offset = 0;
    // A record takes more than its line.
    for chunk in mixed_file(1, Bytes(bytes as u64)).chunks(16 * 1024) {
        engine.push(Chunk { origin, offset, bytes: chunk }, now);
        offset += chunk.len() as u64;
        if engine.batch().bytes.len() >= bytes {
            break;
        }
    }
    engine.take_batch(Batch::default())
}

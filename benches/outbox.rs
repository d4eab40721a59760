//! What the outbox costs: one epoch of 1 MiB of records, 50 episodes and a position; reading it back; acknowledging.
//!
//! `cargo bench --bench outbox`. Throughput counts the records' bytes before compression. The CPU's time, which is what
//! the shipper pays, is printed first: time on the wall is mostly the disk's.

mod common;

use divan::counter::BytesCount;
use rustix::time::{ClockId, clock_gettime};
use squall::engine::record::{Batch, LaneId};
use squall::engine::state::{Changes, EpisodeKey, EpisodeState, FileId, Position};
use squall::engine::template::mask::TemplateId;
use squall::outbox::{self, Durability, Epoch, Store};
use squall::units::{Bytes, Lines};

use common::records;

fn main() {
    for durability in [Durability::Disk, Durability::Process] {
        print_cpu(durability);
    }
    divan::main();
}

/// A store, and what is put into it again and again.
struct Rig {
    _room: tempfile::TempDir,
    store: Store,
    batch: Batch,
    changes: Changes,
    position: Position,
}

impl Rig {
    fn new(durability: Durability) -> Rig {
        // Not the directory for temporary files, which may be in memory.
        let room = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let options =
            outbox::Options { dir: room.path().join("state"), size_max: Bytes(256 << 20), durability };
        let (store, _) = Store::open(&options, "bench", &mut || LaneId(1)).expect("it opens");
        let mut changes = Changes::default();
        for template in 0..50 {
            let stream = "k8s/api-gateway-5d8f9c7b6-x2x4z/stderr".to_owned();
            changes.episodes.push(EpisodeState {
                key: EpisodeKey { stream, template: TemplateId(template << 90), parse_error: false },
                count: Lines(1),
                detail: vec![b'x'; 600],
                ..EpisodeState::default()
            });
        }
        let position = Position {
            file: FileId { device: 1, inode: 2, born: 3 },
            path: "/var/log/containers/api-gateway.log".into(),
            source: "/var/log/containers/api-gateway.log".into(),
            ..Position::default()
        };
        Rig { _room: room, store, batch: records(1 << 20), changes, position }
    }

    /// Commits the records once more under their next numbers; what is more than `keep` records old is acknowledged.
    fn commit(&mut self, keep: u64) {
        let next = self.store.next_seq();
        for (seq, meta) in (next..).zip(&mut self.batch.metas) {
            meta.seq = seq;
        }
        self.changes.totals.next_seq = next + self.batch.metas.len() as u64;
        self.position.read += 1;
        let positions = [self.position.clone()];
        let epoch = Epoch {
            positions: &positions,
            acked: (next - 1).saturating_sub(keep),
            ..Epoch::new(&self.batch, &self.changes)
        };
        self.store.commit(&epoch).expect("there is room");
    }
}

/// CPU time of this process, system calls included, in seconds.
fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn print_cpu(durability: Durability) {
    const EPOCHS: u32 = 300;
    let mut rig = Rig::new(durability);
    let keep = 4 * rig.batch.metas.len() as u64;
    for _ in 0..20 {
        rig.commit(keep);
    }
    let started = cpu();
    for _ in 0..EPOCHS {
        rig.commit(keep);
    }
    let spent = (cpu() - started) * 1e3;
    let megabytes = f64::from(EPOCHS) * rig.batch.bytes.len() as f64 / 1e6;
    let mut compressor = zstd::bulk::Compressor::new(1).expect("memory");
    let started = cpu();
    let mut packed = 0;
    for _ in 0..EPOCHS {
        packed = compressor.compress(&rig.batch.bytes).expect("it fits").len();
    }
    let zstd = (cpu() - started) * 1e3;
    println!(
        "{durability:?}: commit and acknowledge {:.2} ms of CPU per MB of records, of which zstd {:.2}; 1:{:.1}",
        spent / megabytes,
        zstd / megabytes,
        rig.batch.bytes.len() as f64 / packed as f64,
    );
}

#[divan::bench(args = [Durability::Disk, Durability::Process], sample_count = 200)]
fn commit(bencher: divan::Bencher, durability: Durability) {
    let mut rig = Rig::new(durability);
    let keep = 4 * rig.batch.metas.len() as u64;
    bencher.counter(BytesCount::of_slice(&rig.batch.bytes.clone())).bench_local(|| rig.commit(keep));
}

#[divan::bench(sample_count = 200)]
fn commit_counts_only(bencher: divan::Bencher) {
    let mut rig = Rig::new(Durability::Disk);
    rig.batch.clear();
    bencher.bench_local(|| rig.commit(0));
}

#[divan::bench(sample_count = 200)]
fn unsent(bencher: divan::Bencher) {
    let mut rig = Rig::new(Durability::Process);
    rig.commit(u64::MAX);
    bencher
        .counter(BytesCount::of_slice(&rig.batch.bytes.clone()))
        .bench_local(|| rig.store.unsent(1).expect("it can be read"));
}

#[divan::bench(sample_count = 100)]
fn acknowledge(bencher: divan::Bencher) {
    let mut rig = Rig::new(Durability::Disk);
    bencher.bench_local(|| {
        rig.commit(u64::MAX);
        let last = rig.store.next_seq() - 1;
        rig.store.acknowledge(last).expect("it can be written");
    });
}

/// Opening after a kill, with a full store: the check of every page.
#[divan::bench(args = [32, 200], sample_count = 3, sample_size = 1)]
fn open_after_a_kill(bencher: divan::Bencher, mib: usize) {
    let room = tempfile::tempdir().expect("a directory");
    let options = outbox::Options {
        dir: room.path().join("state"),
        size_max: Bytes(256 << 20),
        durability: Durability::Process,
    };
    let (mut store, _) = Store::open(&options, "bench", &mut || LaneId(1)).expect("it opens");
    let mut batch = records(1 << 20);
    batch.encoding = squall::engine::record::Encoding::ZstdNdjson; // stored as it is: the file grows by what it says
    let mut changes = Changes::default();
    for _ in 0..mib {
        let next = store.next_seq();
        for (seq, meta) in (next..).zip(&mut batch.metas) {
            meta.seq = seq;
        }
        changes.totals.next_seq = next + batch.metas.len() as u64;
        let epoch = Epoch::new(&batch, &changes);
        store.commit(&epoch).expect("there is room");
    }
    drop(store);
    bencher.counter(BytesCount::new(mib << 20)).bench_local(|| {
        let (store, _) = Store::open(&options, "bench", &mut || LaneId(1)).expect("it opens");
        drop(store);
    });
}

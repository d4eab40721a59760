//! The cap: how much of `size_max` each part of the store may take, and what one transaction may cost at most.
//!
//! ```text
//! size_max = database (payload · reserve) + write-ahead log + its index
//! ```
//! The database is held by SQLite itself (`max_page_count`). The log is held here: before a transaction it is known how
//! many frames there are and how many the transaction can add at most; where that would be too many, the log is emptied
//! into the database first, so that it begins anew.
//! Records may not take the reserve: counts, positions and notices must have room where records have none.

use crate::units::Bytes;

use super::Epoch;

/// The smallest cap: room for a few MB of compressed records beside the log and the reserve.
pub const SIZE_MIN: Bytes = Bytes(8 << 20);

pub(super) const PAGE: u64 = 4096;
const FRAME: u64 = PAGE + 24;
const LOG_HEADER: u64 = 32;
/// SQLite's index of the log grows by this for each 4,096 frames, the first time for 4,062.
const INDEX_BLOCK: u64 = 32 << 10;
/// How many deleted epochs one transaction may carry: it bounds its pages and its time.
pub(super) const DELETED_MAX: u64 = 64;

/// The parts of `size_max`, in bytes and pages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shares {
    size_max: u64,
    /// With so many frames the log is emptied into the database. More often costs syncs, less often room: 4 MiB.
    pub(super) frames: u64,
    /// The most pages the database may have.
    pub(super) pages: u64,
    /// The most of them that may hold something when records are added.
    pub(super) payload_pages: u64,
}

/// What one transaction costs at most, in pages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// Pages that it writes.
    pub(super) written: u64,
    /// Pages by which what is stored may grow.
    pub(super) growth: u64,
    /// It adds records, which may not take the reserve.
    pub(super) records: bool,
}

/// What is taken now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// Pages of the database, free ones included.
    pub(super) pages: u64,
    /// Free ones among them.
    pub(super) free: u64,
    /// Frames in the log that stay when the next transaction comes.
    pub(super) frames: u64,
    /// The length of the log's file, which does not shrink by itself.
    pub(super) log: u64,
    /// A reader keeps the log from beginning anew.
    pub(super) held: bool,
}

impl Shares {
    pub(super) fn new(size_max: Bytes) -> Shares {
        let size_max = size_max.0;
        let frames = (size_max / 4).min(4 << 20) / FRAME;
        let pages = (size_max - LOG_HEADER - frames * FRAME - index(frames)) / PAGE;
        let reserve = (size_max / 8).min(4 << 20) / PAGE;
        Shares { size_max, frames, pages, payload_pages: pages - reserve }
    }

    /// The length of the log up to which it is left as it is.
    pub(super) fn log(&self) -> u64 {
        LOG_HEADER + self.frames * FRAME
    }

    /// Whether the transaction fits: else how many pages hold something now, and how many may.
    pub(super) fn fits(&self, cost: Cost, taken: Taken) -> Result<(), (u64, u64)> {
        let used = taken.pages - taken.free;
        let limit = if cost.records { self.payload_pages } else { self.pages };
        let frames = taken.frames + cost.written;
        let log = taken.log.max(LOG_HEADER + frames * FRAME);
        let pages = taken.pages + cost.growth.saturating_sub(taken.free);
        let total = pages * PAGE + log + index(log / FRAME);
        if cost.growth == 0 && log <= self.log() {
            // Deleting must work in a store that is too full, even one whose cap was lowered below what it holds.
            return Ok(());
        }
        if used + cost.growth > limit || total > self.size_max { Err((used, limit)) } else { Ok(()) }
    }
}

impl Cost {
    /// The cost of committing `epoch`, whose records take `blob` bytes, into a database of `pages` pages.
    pub(super) fn of(epoch: &Epoch<'_>, blob: usize, pages: u64) -> Cost {
        let changes = epoch.changes;
        let rows = changes.streams.len() + changes.episodes.len() + changes.alerts.len();
        let rows = rows + epoch.positions.len() + epoch.blocks.len() + epoch.told.len();
        let rows = rows + epoch.notifications.len();
        let gone = changes.streams_gone.len() + changes.episodes_gone.len() + changes.alerts_gone.len();
        let gone = gone + epoch.positions_gone.len() + epoch.blocks_gone.len();
        let streams = changes.streams.iter().map(|stream| stream.key.len() + stream.detail.len());
        let episodes = changes.episodes.iter().map(|episode| episode.key.stream.len() + episode.detail.len());
        let alerts = changes.alerts.iter().map(|alert| {
            let key = &alert.key;
            key.group.len() + key.rule.len() + key.stream.len() + alert.detail.len()
        });
        let paths = |position: &crate::engine::state::Position| {
            position.path.as_os_str().len() + position.source.as_os_str().len()
        };
        // In JSON, a control character takes six bytes; there are none in it but for a few line breaks.
        let notifications = epoch.notifications.iter().map(|told| 2 * told.size() + NOTIFICATION);
        let texts = streams.chain(episodes).chain(alerts).chain(notifications);
        let texts = texts.chain(epoch.positions.iter().map(paths)).sum::<usize>() as u64;
        let (rows, gone) = (rows as u64, gone as u64);
        // A leaf of a tree is at least half full. A long text has pages of its own, the last of them partly filled.
        let state = 2 * (texts + rows * ROW) / PAGE + u64::from(rows > 0) * TREES;
        let records = !epoch.batch.is_empty();
        let payload = if records { blob as u64 / (PAGE - 4) + 2 } else { 0 };
        // A row that is written touches its leaf, a neighbour and their parent; all rows together no more than there is.
        let touched = (3 * (rows + gone)).min(pages + state);
        let deleted = DELETED_MAX * 2;
        Cost { written: touched + state + payload + deleted + TREES, growth: payload + state, records }
    }

    /// The cost of deleting some epochs.
    pub(super) fn deleting() -> Cost {
        Cost { written: DELETED_MAX * 2 + TREES, growth: 0, records: false }
    }

    /// The cost of so many rows with so many bytes of text, and of deleting others.
    pub(super) fn rows(rows: usize, texts: usize, gone: usize) -> Cost {
        let (rows, texts, gone) = (rows as u64, texts as u64, gone as u64);
        let growth = if rows > 0 { 2 * (texts + rows * ROW) / PAGE + TREES } else { 0 };
        // Two tables, and in each a leaf, a neighbour and their parent.
        Cost { written: growth + 3 * (rows + 2 * gone) + TREES, growth, records: false }
    }

    /// The cost of one row with a text of so many bytes.
    pub(super) fn row(bytes: usize) -> Cost {
        let growth = bytes as u64 / (PAGE - 4) + 2;
        Cost { written: growth + TREES, growth, records: false }
    }
}

/// The longest row without its texts, in bytes.
const ROW: u64 = 160;
/// A notification's names of fields and numbers, in bytes.
const NOTIFICATION: usize = 400;
/// Pages of the trees' upper levels, the free list and the small tables.
const TREES: u64 = 24;

/// The length of the log's index, in bytes.
fn index(frames: u64) -> u64 {
    ((frames + 34) / 4096 + 1) * INDEX_BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_fit_into_the_whole() {
        #[track_caller]
        fn check(mib: u64, payload_mib_min: u64) {
            let shares = Shares::new(Bytes(mib << 20));
            let whole = shares.pages * PAGE + shares.log() + index(shares.frames);
            assert!(whole <= mib << 20 && whole > (mib << 20) - 2 * PAGE, "{shares:?}");
            assert!(shares.payload_pages * PAGE >= payload_mib_min << 20, "{shares:?}");
        }
        check(8, 4);
        check(16, 9);
        check(256, 247);
        check(1 << 20, (1 << 20) - 9);
    }

    #[test]
    fn records_leave_the_reserve_to_counts() {
        let shares = Shares::new(Bytes(256 << 20));
        let taken = Taken { pages: shares.payload_pages, free: 0, frames: 0, log: shares.log(), held: false };
        let cost = |records| Cost { written: 30, growth: 10, records };
        let used = shares.payload_pages;
        assert_eq!(shares.fits(cost(true), taken), Err((used, shares.payload_pages)));
        assert_eq!(shares.fits(cost(false), taken), Ok(()));
        let freed = Taken { free: 10, ..taken };
        assert_eq!(shares.fits(cost(true), freed), Ok(()));
        let long_log =
            Taken { log: shares.log() + (4 << 20) + (1 << 17), pages: shares.pages - 10, free: 0, ..taken };
        assert_eq!(shares.fits(cost(false), long_log), Err((shares.pages - 10, shares.pages)));
    }
}

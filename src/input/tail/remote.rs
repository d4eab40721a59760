//! File systems whose files live elsewhere (network, FUSE): others write there without our kernel's knowing, and the size
//! that it tells may be of a moment ago.
//!
//! So those are polled (`watch`), and a size below what was read is not believed at once: a file that seems to have
//! shrunk would be taken for one that was emptied, and all of it would be read and sent again. Only a file that stays
//! short is believed ([`Doubt`]).

use std::path::Path;
use std::time::Duration;

use crate::units::Monotonic;

use super::discover::parent;

/// Whether others may write to what `path` leads to without our kernel's knowing.
pub(super) fn is_remote(path: &Path) -> bool {
    #[cfg(test)]
    if tests::PRETENDED.get() {
        return true;
    }
    let found = rustix::fs::statfs(path).or_else(|_| rustix::fs::statfs(parent(path)));
    // The width and the sign of the field differ between architectures; the numbers fit all of them.
    found.is_ok_and(|found| REMOTE.contains(&(found.f_type as u32)))
}

/// What is thought of a file's size when it is smaller than it was.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Doubt {
    /// Since when every look has found it too small.
    since: Option<Monotonic>,
}

impl Doubt {
    /// Whether `size` is not to be believed yet, although `read` bytes of the file have been read.
    pub(super) fn is_cast_on(&mut self, size: u64, read: u64, path: &Path, now: Monotonic) -> bool {
        if size >= read || !is_remote(path) {
            self.since = None;
            return false;
        }
        // The first look never suffices, however late it comes.
        let since = *self.since.get_or_insert(now);
        now.since(since) < STALE_MAX
    }
}

/// NFS, SMB (three of them), FUSE, 9P, Ceph, AFS, as in `statfs(2)`.
const REMOTE: [u32; 8] =
    [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x6573_5546, 0x0102_1997, 0x00c3_6400, 0x5346_414f];
/// How long a size may be stale. NFS keeps what it knows of a file for 3 s (`acregmin`); two looks that are further apart
/// are two answers of the server.
const STALE_MAX: Duration = Duration::from_secs(4);

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// Every file system counts as remote in this thread.
        pub(in crate::input::tail) static PRETENDED: Cell<bool> = const { Cell::new(false) };
    }

    /// A moment after any stale size is believed.
    pub(in crate::input::tail) const BELIEVED: Duration = STALE_MAX;

    #[test]
    fn fault_019_a_short_size_is_believed_when_it_stays() {
        #[track_caller]
        fn check(looks: &[(u64, u64, bool)]) {
            let mut doubt = Doubt::default();
            for (at, size, want) in looks {
                let now = Monotonic::default() + Duration::from_secs(*at);
                assert_eq!(doubt.is_cast_on(*size, 10, Path::new("/"), now), *want, "{size} at {at} s");
            }
        }
        check(&[(0, 9, false), (1, 0, false)]); // nothing is stale on a local disk
        PRETENDED.set(true);
        check(&[(0, 10, false), (1, 11, false)]);
        check(&[(0, 9, true), (3, 9, true), (4, 9, false), (5, 0, false)]);
        check(&[(0, 9, true), (3, 10, false), (4, 9, true), (7, 9, true), (8, 9, false)]); // not twice in a row
        check(&[(3600, 0, true), (7200, 0, false)]); // two looks, however far apart
    }
}

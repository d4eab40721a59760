//! Is this the file that we have read? Its beginning and the bytes before our offset tell, where names, inodes and
//! sizes do not: a file may be emptied and filled again between two looks, or its inode given to another.
//!
//! A [`Trace`] is kept from the very bytes that were handed out, not read again later: by then, they may be others. Its
//! hashes, a [`Fingerprint`], are what a position keeps over a restart.
//! A fingerprint only confirms what the file's number says, or finds a file's rest under an elder's name. Two files
//! that live under names of their own are never taken for one, however equal they begin (row 6).
//! Limit: a file costs up to 1,280 bytes while it is shorter than that, then 256.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use xxhash_rust::xxh3::xxh3_64;

use crate::engine::state::Position;

/// What the content of a file was, in hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    /// How far the file had been read.
    pub(super) read: u64,
    /// How many bytes from its beginning `head` is of.
    pub(super) head_length: u16,
    pub(super) head: u64,
    /// Of the (up to 256) bytes before `read`. The hash of nothing fits every file.
    pub(super) marker: u64,
}

impl Fingerprint {
    /// Of a file whose content nobody has looked at.
    pub(super) fn unknown(read: u64) -> Fingerprint {
        Fingerprint { read, head_length: 0, head: xxh3_64(b""), marker: xxh3_64(b"") }
    }

    /// What a position kept.
    pub(super) fn of_position(position: &Position) -> Fingerprint {
        let Position { read, head_length, head, marker, .. } = *position;
        // A longer head is none that we ever wrote; what cannot be true then fits no file.
        Fingerprint { read, head_length: head_length.min(HEAD_MAX as u16), head, marker }
    }

    /// Whether `file` holds what was read, where it was read.
    pub(super) fn fits(&self, file: &File) -> io::Result<bool> {
        if !self.fits_head(file)? {
            return Ok(false);
        }
        let mut bytes = [0; LAST_MAX];
        let last = &mut bytes[..last_length(self.read)];
        let last_at = self.read - last.len() as u64;
        Ok(fill(file, last, last_at)? && self.fits_last(last))
    }

    /// Whether as much is known of the beginning as ever will be.
    pub(super) fn is_full(&self) -> bool {
        usize::from(self.head_length) == HEAD_MAX
    }

    /// Whether `file` begins with what was read there.
    pub(super) fn fits_head(&self, file: &File) -> io::Result<bool> {
        let mut bytes = [0; HEAD_MAX];
        let head = &mut bytes[..usize::from(self.head_length)];
        Ok(fill(file, head, 0)? && xxh3_64(head) == self.head)
    }

    /// Whether `last` are the bytes before `read`.
    pub(super) fn fits_last(&self, last: &[u8]) -> bool {
        self.marker == xxh3_64(b"") || self.marker == xxh3_64(last)
    }
}

/// What is remembered of a file while it is read.
#[derive(Debug)]
pub(super) struct Trace {
    head: Head,
    last: Vec<u8>,
}

#[derive(Debug)]
enum Head {
    /// All bytes so far, or as many as count.
    Growing(Vec<u8>),
    Full(u64),
}

impl Trace {
    /// Of a file of which nothing was read.
    pub(super) fn new() -> Trace {
        Trace { head: Head::Growing(Vec::new()), last: Vec::new() }
    }

    /// Of a file that is read from its middle, so that what comes before must be looked up once. `None`: the file ends
    /// before `offset`.
    pub(super) fn load(file: &File, offset: u64) -> io::Result<Option<Trace>> {
        let mut head = vec![0; usize::try_from(offset).map_or(HEAD_MAX, |offset| offset.min(HEAD_MAX))];
        let mut last = vec![0; last_length(offset)];
        let last_at = offset - last.len() as u64;
        let is_whole = fill(file, &mut head, 0)? && fill(file, &mut last, last_at)?;
        Ok(is_whole.then(|| Trace { head: Head::Growing(head).settled(), last }))
    }

    /// The (up to 256) bytes before the offset.
    pub(super) fn last(&self) -> &[u8] {
        &self.last
    }

    /// Whether all that was read were NULs.
    pub(super) fn is_nul(&self) -> bool {
        let nuls = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
        nuls(&self.last)
            && match &self.head {
                Head::Growing(head) => nuls(head),
                Head::Full(hash) => *hash == xxh3_64(&[0; HEAD_MAX]),
            }
    }

    /// More was read.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        if let Head::Growing(head) = &mut self.head {
            head.extend_from_slice(&bytes[..bytes.len().min(HEAD_MAX - head.len())]);
        }
        self.head.settle();
        if bytes.len() >= LAST_MAX {
            self.last.clear();
        } else if self.last.len() + bytes.len() > LAST_MAX {
            self.last.drain(..self.last.len() + bytes.len() - LAST_MAX);
        }
        self.last.extend_from_slice(&bytes[bytes.len() - bytes.len().min(LAST_MAX)..]);
    }

    /// The hashes, for a file that was read up to `read`.
    pub(super) fn fingerprint(&self, read: u64) -> Fingerprint {
        let (head_length, head) = match &self.head {
            Head::Growing(head) => (head.len() as u16, xxh3_64(head)),
            Head::Full(hash) => (HEAD_MAX as u16, *hash),
        };
        Fingerprint { read, head_length, head, marker: xxh3_64(&self.last) }
    }
}

impl Head {
    fn settled(mut self) -> Head {
        self.settle();
        self
    }

    /// Lets go of the bytes once they are all there.
    fn settle(&mut self) {
        if let Head::Growing(head) = self
            && head.len() == HEAD_MAX
        {
            *self = Head::Full(xxh3_64(head));
        }
    }
}

/// Fills `bytes` from `offset` on. False: the file ends before.
pub(super) fn fill(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<bool> {
    match file.read_exact_at(bytes, offset) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn last_length(offset: u64) -> usize {
    usize::try_from(offset).map_or(LAST_MAX, |offset| offset.min(LAST_MAX))
}

/// As in OpenTelemetry's and Filebeat's fingerprints: banners are shorter, and it is read anyway.
pub(super) const HEAD_MAX: usize = 1_024;
/// Enough that two logs with times in their lines do not agree by chance.
pub(super) const LAST_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn what_fits() {
        #[track_caller]
        fn check(read: &[u8], now: &[u8], want: bool) {
            let mut trace = Trace::new();
            trace.extend(read);
            assert_eq!(trace.fingerprint(read.len() as u64).fits(&file(now)).unwrap(), want);
        }
        let long = b"0123456789abcdef".repeat(200);
        let with = |at: usize| {
            let mut other = long.clone();
            other[at] = b'!';
            other
        };
        check(b"", b"", true);
        check(b"", b"anything", true);
        check(b"one\n", b"one\ntwo\n", true);
        check(b"one\n", b"one", false);
        check(b"one\n", b"two\nand more\n", false);
        check(&long, &long, true);
        check(&long, &with(0), false);
        check(&long, &with(HEAD_MAX - 1), false);
        check(&long, &with(HEAD_MAX), true); // in between, nothing is compared
        check(&long, &with(long.len() - LAST_MAX), false);
        check(&long, &with(long.len() - 1), false);
    }

    #[test]
    fn what_was_never_looked_at_fits_everything() {
        assert!(Fingerprint::unknown(3).fits(&file(b"abc")).unwrap());
        assert!(!Fingerprint::unknown(4).fits(&file(b"abc")).unwrap());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        /// However the bytes were cut, and whether they were read or looked up: the fingerprint is the same.
        #[test]
        fn cuts_do_not_matter(cuts in proptest::collection::vec(0usize..700, 0..8)) {
            let bytes: Vec<u8> = (0..cuts.iter().sum::<usize>()).map(|at| (at * 7 % 251) as u8).collect();
            let (mut trace, mut rest) = (Trace::new(), &bytes[..]);
            for cut in cuts {
                let (piece, after) = rest.split_at(cut);
                trace.extend(piece);
                rest = after;
            }
            let loaded = Trace::load(&file(&bytes), bytes.len() as u64).unwrap().unwrap();
            prop_assert_eq!(loaded.last(), trace.last());
            let print = trace.fingerprint(bytes.len() as u64);
            prop_assert_eq!(loaded.fingerprint(bytes.len() as u64), print);
            prop_assert!(print.fits(&file(&bytes)).unwrap());
        }
    }
}

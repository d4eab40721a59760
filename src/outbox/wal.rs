//! What SQLite does not say about its write-ahead log: whether commits lie behind the place where reading it ends.
//!
//! After a crash SQLite takes the log's frames up to the first one whose checksum is wrong, and forgets the rest without
//! a word. That is right for a transaction that was being written. It is silent loss when a byte in the middle went bad:
//! epochs behind it were committed, perhaps sent, and their numbers would be given out a second time.
//! The format: <https://sqlite.org/fileformat2.html#the_write_ahead_log>.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The magic number of logs whose checksums read words with the least significant byte first; one more: with the most.
const MAGIC: u32 = 0x377f_0682;

/// Whether the log at `path` holds a committed transaction behind a frame that is damaged. No log, an empty one and one
/// that ends in the middle of its last transaction are in order.
///
/// The very last frame is given the benefit of the doubt: damaged and not written to its end look the same. And the other
/// way round: after a power loss the last transaction, which was never reported as done, may look damaged.
/// Both cost nothing but a wrong word: the store goes on from the epoch before.
pub(super) fn is_cut(path: &Path) -> io::Result<bool> {
    let mut file = match File::open(path) {
        Ok(file) => BufReader::with_capacity(1 << 16, file),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut header = [0; HEADER];
    if !fill(&mut file, &mut header)? {
        return Ok(false);
    }
    let big_endian = word(&header, 0) == MAGIC | 1;
    let mut sum = Checksum { big_endian, words: [0; 2] };
    sum.add(&header[..24]);
    let page_size = word(&header, 8) as usize;
    let known = word(&header, 0) & !1 == MAGIC && page_size.is_power_of_two() && page_size <= 1 << 16;
    if !known || sum.words != [word(&header, 24), word(&header, 28)] {
        // SQLite ignores such a log. It is written before the first frame, so frames behind it are lost ones.
        return fill(&mut file, &mut [0; FRAME_HEADER]);
    }
    let mut frame = vec![0; FRAME_HEADER + page_size];
    let mut damaged = false;
    while fill(&mut file, &mut frame)? {
        // Frames of the log's earlier rounds lie behind those of this one, and have other salts.
        let of_this_round = frame[8..16] == header[16..24];
        if damaged {
            let commits = word(&frame, 4) != 0;
            if of_this_round && commits {
                return Ok(true);
            }
            continue;
        }
        sum.add(&frame[..8]);
        sum.add(&frame[FRAME_HEADER..]);
        damaged = !of_this_round || sum.words != [word(&frame, 16), word(&frame, 20)];
    }
    Ok(false)
}

/// The log's running checksum.
struct Checksum {
    big_endian: bool,
    words: [u32; 2],
}

impl Checksum {
    /// Takes in a multiple of eight bytes.
    fn add(&mut self, bytes: &[u8]) {
        let [mut first, mut second] = self.words;
        for pair in bytes.chunks_exact(8) {
            let read = |at: usize| {
                let bytes = [pair[at], pair[at + 1], pair[at + 2], pair[at + 3]];
                if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
            };
            first = first.wrapping_add(read(0)).wrapping_add(second);
            second = second.wrapping_add(read(4)).wrapping_add(first);
        }
        self.words = [first, second];
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// False when the file ends before the buffer is full.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use rusqlite::Connection;

    /// A log of `commits` transactions, and where each frame of it begins.
    fn log(commits: usize) -> (tempfile::TempDir, Vec<u8>) {
        let room = tempfile::tempdir().expect("a directory");
        let database = Connection::open(room.path().join("x.db")).expect("a database");
        database
            .execute_batch("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t (b);")
            .expect("a table");
        for _ in 1..commits {
            database.execute("INSERT INTO t VALUES (randomblob(9000))", []).expect("a row");
        }
        let bytes = fs::read(room.path().join("x.db-wal")).expect("a log");
        (room, bytes)
    }

    #[test]
    fn only_commits_behind_damage_count() {
        let (room, whole) = log(4);
        let path = room.path().join("copy-wal");
        let frame = FRAME_HEADER + 4096;
        let frames = (whole.len() - HEADER) / frame;
        assert!(frames > 8, "{frames} frames");
        let check = |bytes: &[u8], want: bool, what: &str| {
            fs::write(&path, bytes).expect("a copy");
            assert_eq!(is_cut(&path).expect("it can be read"), want, "{what}");
        };
        check(&whole, false, "in order");
        check(&[], false, "empty");
        for length in (0..whole.len()).step_by(1021) {
            check(&whole[..length], false, &format!("torn at {length}"));
        }
        let flipped = |at: usize| {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            bytes
        };
        for at in [0, 5, 17, 25] {
            check(&flipped(at), true, "damaged header");
        }
        for index in 0..frames {
            let at = HEADER + index * frame;
            let last = index + 1 == frames;
            check(&flipped(at + FRAME_HEADER + 77), !last, &format!("a page of frame {index}"));
            check(&flipped(at + 9), !last, &format!("a salt of frame {index}"));
        }
        assert!(!is_cut(&room.path().join("none")).expect("no log is no fault"));
    }
}

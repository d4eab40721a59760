//! How details of the engine are written into the outbox: a version, a checksum, and the data.
//!
//! Bytes of another version or with another checksum are not looked at, so that what is read is what this program
//! wrote; its invariants hold without being proved again.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// Goes up whenever a kept type changes.
const VERSION: u8 = 2;
const HEAD: usize = 1 + size_of::<u64>();

/// Writes `data` into `out`, whose memory is used again.
pub(super) fn write(data: &impl Serialize, out: &mut Vec<u8>) {
    let mut bytes = std::mem::take(out);
    bytes.clear();
    bytes.resize(HEAD, VERSION);
    // Plain data in memory cannot fail to be written. If it did, nothing would be there to be read, which is handled.
    let mut bytes = postcard::to_extend(data, bytes).unwrap_or_default();
    if let Some((head, data)) = bytes.split_at_mut_checked(HEAD) {
        head[1..].copy_from_slice(&xxh3_64(data).to_le_bytes());
    }
    *out = bytes;
}

/// Reads what [`write`] has written. `None` for all other bytes.
#[cfg(test)]
pub(super) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    postcard::from_bytes(data(bytes)?).ok()
}

/// Reads a pair of which earlier versions of this program have written the first part alone.
pub(super) fn read_extended<'a, T: Deserialize<'a>, U: Deserialize<'a>>(
    bytes: &'a [u8],
) -> Option<(T, Option<U>)> {
    let (first, second, _) = read_parts::<T, U, ()>(bytes)?;
    Some((first, second))
}

/// Reads a tuple of which earlier versions of this program have written the first part alone, or the first two.
pub(super) fn read_parts<'a, T: Deserialize<'a>, U: Deserialize<'a>, V: Deserialize<'a>>(
    bytes: &'a [u8],
) -> Option<(T, Option<U>, Option<V>)> {
    let (first, rest) = postcard::take_from_bytes(data(bytes)?).ok()?;
    let Ok((second, rest)) = postcard::take_from_bytes(rest) else { return Some((first, None, None)) };
    Some((first, Some(second), postcard::from_bytes(rest).ok()))
}

fn data(bytes: &[u8]) -> Option<&[u8]> {
    let (head, data) = bytes.split_at_checked(HEAD)?;
    (head[0] == VERSION && head[1..] == xxh3_64(data).to_le_bytes()).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Data<'a> = (&'a str, u64);

    #[test]
    fn only_what_was_written_is_read() {
        let mut bytes = vec![1, 2, 3];
        write(&("text", 7u64), &mut bytes);
        assert_eq!(read::<Data<'_>>(&bytes), Some(("text", 7)));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert_eq!(read::<Data<'_>>(&damaged), None, "byte {at}");
            assert_eq!(read::<Data<'_>>(&bytes[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn what_was_written_before_there_were_more_parts_is_read() {
        type Parts<'a> = Option<(Data<'a>, Option<Option<u8>>, Option<&'a str>)>;
        #[track_caller]
        fn check(data: &impl Serialize, want: Parts<'_>) {
            let mut bytes = Vec::new();
            write(data, &mut bytes);
            assert_eq!(read_parts::<Data<'_>, Option<u8>, &str>(&bytes), want);
            let want = want.map(|(first, second, _)| (first, second));
            assert_eq!(read_extended::<Data<'_>, Option<u8>>(&bytes), want);
            assert_eq!(read::<Data<'_>>(&bytes), Some(("text", 7)), "and the other way round");
        }
        let first = ("text", 7u64);
        check(&first, Some((first, None, None)));
        check(&(first, Some(3u8)), Some((first, Some(Some(3)), None)));
        check(&(first, Some(3u8), "more"), Some((first, Some(Some(3)), Some("more"))));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_may_come(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(read::<Data<'_>>(&bytes), None);
        }
    }
}

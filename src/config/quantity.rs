//! Sizes, times and numbers: text → quantity, and quantity → text.

use std::time::Duration;

use bytesize::ByteSize;
use jiff::SignedDuration;

use crate::units::Bytes;
use crate::units::grouped;

/// Reads `10MiB` (binary), `10MB` (decimal), `10485760`. A letter alone is refused: in `10m` one reader sees 10 MB,
/// another 10 MiB, and the next key takes it for minutes.
pub(super) fn size(text: &str) -> Result<Bytes, String> {
    let letters = text.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.').trim();
    if let [letter @ (b'k' | b'K' | b'm' | b'M' | b'g' | b'G' | b't' | b'T')] = letters.as_bytes() {
        let number = text[..text.len() - letters.len()].trim();
        let unit = char::from(letter.to_ascii_uppercase());
        return Err(format!("write {number}{unit}B (decimal) or {number}{unit}iB (binary)"));
    }
    docker_size(text)
}

/// Reads what Docker users write: `10m` and `20k` are decimal there (10,000,000 and 20,000), `10MiB` is binary.
pub(super) fn docker_size(text: &str) -> Result<Bytes, String> {
    match text.parse::<ByteSize>() {
        Ok(size) => Ok(Bytes(size.as_u64())),
        Err(_) => Err("write for example 10MiB, 10MB or 10485760".to_owned()),
    }
}

/// Reads `10s`, `1m30s`, `250ms`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let example = || "write for example 10s, 1m30s or 250ms".to_owned();
    let time: SignedDuration = text.parse().map_err(|_| example())?;
    Duration::try_from(time).map_err(|_| example())
}

/// `1048576` → `1MiB`: the largest unit that is exact.
pub(super) fn show_size(size: Bytes) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let exact = |&&(shift, _): &&(u32, &str)| size.0 >> shift > 0 && size.0.trailing_zeros() >= shift;
    match units.iter().find(exact) {
        Some((shift, unit)) => format!("{}{unit}", size.0 >> shift),
        None => format!("{} bytes", grouped(size.0)),
    }
}

/// `90s` → `90s`, `300s` → `5m`: the largest unit that is exact.
pub(super) fn show_time(time: Duration) -> String {
    let millis = time.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    match units.iter().find(|(unit, _)| millis >= *unit && millis.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", millis / unit),
        None if millis == 0 => "0s".to_owned(),
        None => format!("{millis}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        #[track_caller]
        fn check(text: &str, plain: Option<u64>, docker: Option<u64>) {
            assert_eq!(size(text).ok(), plain.map(Bytes), "{text:?}");
            assert_eq!(docker_size(text).ok(), docker.map(Bytes), "{text:?} as Docker means it");
        }
        check("10MiB", Some(10_485_760), Some(10_485_760));
        check("10MB", Some(10_000_000), Some(10_000_000));
        check("10485760", Some(10_485_760), Some(10_485_760));
        check("1.5 KiB", Some(1536), Some(1536));
        check("7B", Some(7), Some(7));
        check("10m", None, Some(10_000_000));
        check("20k", None, Some(20_000));
        check("10 G", None, Some(10_000_000_000));
        for bad in ["", "m", "-1", "10 apples", "1e9", "..", "10MiBB", "٣MB", "NaN"] {
            check(bad, None, None);
        }
        check("99999999999999999999TiB", Some(u64::MAX), Some(u64::MAX)); // the range of the key refuses it
    }

    #[test]
    fn times() {
        #[track_caller]
        fn check(text: &str, want: Option<u64>) {
            assert_eq!(time(text).ok(), want.map(Duration::from_millis), "{text:?}");
        }
        check("10s", Some(10_000));
        check("1m30s", Some(90_000));
        check("250ms", Some(250));
        check("1 hour", Some(3_600_000));
        for bad in ["", "10", "-5s", "10 apples", "5s ago", "s", "1e400s"] {
            check(bad, None);
        }
    }

    #[test]
    fn shown_again() {
        assert_eq!(show_size(Bytes(1 << 20)), "1MiB");
        assert_eq!(show_size(Bytes(1000)), "1,000 bytes");
        assert_eq!(show_size(Bytes(0)), "0 bytes");
        assert_eq!(show_time(Duration::from_secs(300)), "5m");
        assert_eq!(show_time(Duration::from_secs(90)), "90s");
        assert_eq!(show_time(Duration::from_millis(250)), "250ms");
        assert_eq!(show_time(Duration::ZERO), "0s");
    }
}

//! Newtypes for quantities, so that the compiler refuses bytes where lines are meant.
//!
//! Everybody may use these; they use nobody.

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

/// A number of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Lines(pub u64);

macro_rules! count {
    ($unit:ident) => {
        impl Add for $unit {
            type Output = $unit;
            fn add(self, more: $unit) -> $unit {
                $unit(self.0 + more.0)
            }
        }
        impl AddAssign for $unit {
            fn add_assign(&mut self, more: $unit) {
                self.0 += more.0;
            }
        }
        impl Sub for $unit {
            type Output = $unit;
            fn sub(self, less: $unit) -> $unit {
                $unit(self.0 - less.0)
            }
        }
        impl SubAssign for $unit {
            fn sub_assign(&mut self, less: $unit) {
                self.0 -= less.0;
            }
        }
        impl std::iter::Sum for $unit {
            fn sum<I: Iterator<Item = $unit>>(parts: I) -> $unit {
                $unit(parts.map(|part| part.0).sum())
            }
        }
        impl fmt::Display for $unit {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}
count!(Bytes);
count!(Lines);

/// A point in wall time: nanoseconds since the Unix epoch (1677 to 2262). Log time is always this; it is data,
/// never a deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Nanoseconds in a second.
    pub const SECOND: i64 = 1_000_000_000;

    /// The whole seconds since the epoch, rounded down.
    #[inline]
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(Self::SECOND)
    }

    /// The time from `earlier` to here, or zero when `earlier` is later.
    #[inline]
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;
    #[inline]
    fn add(self, wait: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX)))
    }
}

/// A point on the arrival clock: nanoseconds on a clock that never runs backwards. Deadlines are this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// The time from `earlier` to here, or zero when `earlier` is later.
    #[inline]
    pub fn since(self, earlier: Monotonic) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Monotonic {
    type Output = Monotonic;
    #[inline]
    fn add(self, wait: Duration) -> Monotonic {
        Monotonic(self.0.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// One reading of both clocks, taken by the daemon once per chunk and handed down as an argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The arrival clock: for deadlines.
    pub arrival: Monotonic,
    /// The wall clock: for lines that carry no time of their own.
    pub wall: Timestamp,
}

/// `1234567` → `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_three() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(220_314), "220,314");
        assert_eq!(grouped(1_000_000), "1,000,000");
    }

    #[test]
    fn time_never_runs_backwards() {
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
        assert_eq!(Timestamp(-1).seconds(), -1);
        assert_eq!(Timestamp(i64::MAX) + Duration::from_secs(1), Timestamp(i64::MAX));
        assert_eq!(Monotonic(5).since(Monotonic(9)), Duration::ZERO);
    }
}

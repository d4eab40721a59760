//! The only place where a clock is read.

use std::time::SystemTime;

use rustix::time::{ClockId, clock_gettime};

use crate::units::{Monotonic, Now, Timestamp};

/// Both clocks, now. The arrival clock is `CLOCK_BOOTTIME`: it goes on while the machine sleeps and never jumps.
#[expect(clippy::disallowed_methods, reason = "this is the place where the clock is read")]
pub fn now() -> Now {
    let since_boot = clock_gettime(ClockId::Boottime);
    let arrival = since_boot.tv_sec.unsigned_abs() * 1_000_000_000 + since_boot.tv_nsec.unsigned_abs();
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Now { arrival: Monotonic(arrival), wall: Timestamp(i64::try_from(wall.as_nanos()).unwrap_or(i64::MAX)) }
}

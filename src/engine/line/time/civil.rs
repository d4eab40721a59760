//! Calendar arithmetic: from what a clock face showed to nanoseconds since the epoch.
//!
//! Own arithmetic for UTC and written offsets, because it runs for every line; the time zone database is asked only
//! for times without an offset, and once a minute of log time.
//! Limit: times outside of 1970 to 2261 are not times of log lines, and are refused.

use jiff::tz::{Offset, TimeZone};

use crate::engine::frame::rfc3339::{days_in, days_since_epoch};
use crate::units::Timestamp;

/// What a clock face showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Civil {
    /// `None` when the format leaves the year out.
    pub(super) year: Option<i32>,
    /// 1 to 12.
    pub(super) month: u32,
    /// 1 to 31.
    pub(super) day: u32,
    /// Seconds since midnight.
    pub(super) second: u32,
    pub(super) nanosecond: u32,
    /// Seconds east of Greenwich. `None` when the format leaves the zone out.
    pub(super) offset: Option<i32>,
}

impl Civil {
    /// The point in time that this is, or `None` if the calendar has no such day. A missing year becomes the one
    /// that brings the time nearest to `now`.
    #[inline]
    pub(super) fn resolve(self, zone: &mut Zone, now: Timestamp) -> Option<Timestamp> {
        let local = match self.year {
            Some(year) => self.seconds_in(year)?,
            None => self.seconds_nearest(now)?,
        };
        let offset = match self.offset {
            Some(offset) => i64::from(offset),
            None => zone.offset_at(local)?,
        };
        let nanoseconds = (local - offset).checked_mul(Timestamp::SECOND)?;
        Some(Timestamp(nanoseconds.checked_add(i64::from(self.nanosecond))?))
    }

    /// Seconds from the epoch to this clock face in `year`.
    #[inline]
    fn seconds_in(self, year: i32) -> Option<i64> {
        let exists = (1970..=2261).contains(&year)
            && (1..=12).contains(&self.month)
            && (1..=days_in(i64::from(year), i64::from(self.month))).contains(&i64::from(self.day));
        exists.then(|| {
            days_since_epoch(i64::from(year), i64::from(self.month), i64::from(self.day)) * 86_400
                + i64::from(self.second)
        })
    }

    fn seconds_nearest(self, now: Timestamp) -> Option<i64> {
        let now = now.seconds();
        let this_year = i32::from(Offset::UTC.to_datetime(jiff::Timestamp::from_second(now).ok()?).year());
        // The nearest 29 February can be four years away, any other day is within one.
        let reach = if (self.month, self.day) == (2, 29) { 4 } else { 1 };
        (this_year - reach..=this_year + reach)
            .filter_map(|year| self.seconds_in(year))
            .min_by_key(|local| local.abs_diff(now))
    }
}

/// The zone of times that do not name one.
#[derive(Debug)]
pub(super) struct Zone {
    timezone: TimeZone,
    /// The offset of a zone that has only one, in seconds.
    fixed: Option<i64>,
    /// The minute on the local clock for which `offset` holds. Zones change only between minutes.
    minute: i64,
    offset: i64,
}

impl Zone {
    pub(super) fn new(timezone: TimeZone) -> Zone {
        let fixed = timezone.to_fixed_offset().ok().map(|offset| i64::from(offset.seconds()));
        Zone { timezone, fixed, minute: i64::MIN, offset: 0 }
    }

    /// The offset at `local` seconds on the local clock. Of an hour that comes twice the first one is meant, and an
    /// hour that the clock skipped is read with the offset before it, as RFC 5545 has it.
    #[inline]
    fn offset_at(&mut self, local: i64) -> Option<i64> {
        if let Some(fixed) = self.fixed {
            return Some(fixed);
        }
        let minute = local.div_euclid(60);
        if minute != self.minute {
            let start = minute * 60;
            let clock_face = Offset::UTC.to_datetime(jiff::Timestamp::from_second(start).ok()?);
            let meant = self.timezone.to_ambiguous_timestamp(clock_face).compatible().ok()?;
            self.offset = start - meant.as_second();
            self.minute = minute;
        }
        Some(self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil;

    #[test]
    fn every_day_is_where_jiff_has_it() {
        let mut day = civil::date(1970, 1, 1);
        for days in 0..106_000 {
            let (year, month) = (i32::from(day.year()), u32::try_from(day.month()).unwrap());
            assert_eq!(
                days_since_epoch(i64::from(year), i64::from(month), i64::from(day.day())),
                days,
                "{day}"
            );
            assert_eq!(days_in(i64::from(year), i64::from(month)), i64::from(day.days_in_month()), "{day}");
            day = day.tomorrow().unwrap();
        }
    }

    #[test]
    fn a_missing_year_is_the_nearest() {
        #[track_caller]
        fn check(now: &str, month: u32, day: u32, want: Option<&str>) {
            let clock_face = Civil { year: None, month, day, second: 0, nanosecond: 0, offset: Some(0) };
            let now = Timestamp(now.parse::<jiff::Timestamp>().unwrap().as_second() * Timestamp::SECOND);
            let got = clock_face.resolve(&mut Zone::new(TimeZone::UTC), now);
            let want =
                want.map(|want| want.parse::<jiff::Timestamp>().unwrap().as_second() * Timestamp::SECOND);
            assert_eq!(got.map(|time| time.0), want);
        }
        check("2026-11-21T00:00:00Z", 11, 20, Some("2026-11-20T00:00:00Z"));
        check("2026-11-21T00:00:00Z", 1, 1, Some("2027-01-01T00:00:00Z"));
        check("2027-01-01T00:00:01Z", 12, 31, Some("2026-12-31T00:00:00Z"));
        check("2026-12-31T23:59:59Z", 1, 1, Some("2027-01-01T00:00:00Z"));
        check("2026-11-21T00:00:00Z", 2, 29, Some("2028-02-29T00:00:00Z"));
        check("2026-11-21T00:00:00Z", 2, 30, None);
        check("2026-11-21T00:00:00Z", 13, 1, None);
        check("2026-11-21T00:00:00Z", 0, 1, None);
    }

    #[test]
    fn the_zone_is_asked_once_a_minute_and_is_right_around_its_changes() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let mut zone = Zone::new(berlin.clone());
        // 2026-10-25 03:00 becomes 02:00, 2026-03-29 02:00 becomes 03:00.
        for start in [civil::date(2026, 10, 25).at(0, 0, 0, 0), civil::date(2026, 3, 29).at(0, 0, 0, 0)] {
            for second in (0..6 * 3600).step_by(7) {
                let clock_face = start + jiff::Span::new().seconds(second);
                let local = Offset::UTC.to_timestamp(clock_face).unwrap().as_second();
                let want = berlin.to_ambiguous_timestamp(clock_face).compatible().unwrap().as_second();
                assert_eq!(zone.offset_at(local).map(|offset| local - offset), Some(want), "{clock_face}");
            }
        }
        assert_eq!(Zone::new(TimeZone::UTC).fixed, Some(0));
        assert_eq!(Zone::new(TimeZone::fixed(jiff::tz::offset(-5))).offset_at(0), Some(-5 * 3600));
    }
}

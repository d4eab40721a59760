//! The emergency limit: a token bucket on lines that would be sent word for word, for a time, and a gradual return.
//!
//! In: a limit that somebody has set, and a question for each line that storm control would send. Out: whether it passes.
//! Invariant: what does not pass is folded into its entry's window, so nothing is lost but detail.
//! A line of a new template or with a new value always passes, and takes a token where there is one; lines of streams that
//! are never folded are not asked about.
//! The return: when the time is over, or the limit is lifted, twice as many lines may pass, and twice as many every
//! [`STEP`], until in a whole step none was held back.

use std::time::Duration;

use crate::units::{Lines, Monotonic, Now, Timestamp};

/// How long each step of the return takes.
pub const STEP: Duration = Duration::from_secs(10);

/// A limit that somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitOrder {
    /// Lines a second, at least 1.
    pub per_second: u32,
    /// Lines that may come at once, at least 1.
    pub burst: u32,
    /// For how long, before the return begins.
    pub span: Duration,
}

/// A limit at work.
#[derive(Clone, Debug)]
pub struct Throttle {
    order: LimitOrder,
    /// Lines a second that may pass now; the order's own, doubled with each step of the return.
    rate: f64,
    tokens: f64,
    refilled: Monotonic,
    /// When the return begins, or its next step.
    next: Monotonic,
    is_returning: bool,
    /// Some line did not pass in this step.
    binds: bool,
    /// Lines that did not pass.
    held: Lines,
}

/// What happens to a limit when its time comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is not time yet, or one more step of the return was taken.
    Goes,
    /// The return begins.
    Returns,
    /// It is over: nothing was held back any more.
    Ends,
}

/// A limit as it is kept over a restart; all zero where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptLimit {
    /// Lines a second, as ordered.
    pub per_second: u64,
    /// Lines at once, as ordered.
    pub burst: u64,
    /// Lines a second that may pass now.
    pub rate: u64,
    /// When the return begins, or its next step: nanoseconds of wall time.
    pub next: u64,
    /// 1 while it returns.
    pub returning: u64,
}

impl Throttle {
    /// Sets a limit.
    pub fn new(order: LimitOrder, now: Monotonic) -> Throttle {
        Throttle {
            rate: f64::from(order.per_second),
            tokens: f64::from(order.burst),
            refilled: now,
            next: now + order.span,
            is_returning: false,
            binds: false,
            held: Lines(0),
            order,
        }
    }

    /// Whether a line that came at `now` passes. Counts it where it does not.
    pub fn admits(&mut self, now: Monotonic) -> bool {
        let passes = self.take(now);
        if !passes {
            self.binds = true;
            self.held += Lines(1);
        }
        passes
    }

    /// Takes a token, where there is one.
    pub fn take(&mut self, now: Monotonic) -> bool {
        let grown = self.rate / f64::from(self.order.per_second);
        let most = f64::from(self.order.burst) * grown;
        self.tokens = (self.tokens + self.rate * now.since(self.refilled).as_secs_f64()).min(most);
        self.refilled = self.refilled.max(now);
        let passes = self.tokens >= 1.0;
        if passes {
            self.tokens -= 1.0;
        }
        passes
    }

    /// When [`Throttle::turn`] wants to be called.
    pub fn deadline(&self) -> Monotonic {
        self.next
    }

    /// Does what is due at `now`.
    pub fn turn(&mut self, now: Monotonic) -> Turn {
        if self.next > now {
            return Turn::Goes;
        }
        self.lift(now)
    }

    /// Begins the return, or takes its next step, whatever the time.
    pub fn lift(&mut self, now: Monotonic) -> Turn {
        if self.is_returning && (!self.binds || self.rate >= RATE_MAX) {
            return Turn::Ends;
        }
        self.rate *= 2.0;
        self.binds = false;
        // From now on and not from when it was due: in a step that nobody saw no line could be held back.
        self.next = now + STEP;
        if std::mem::replace(&mut self.is_returning, true) { Turn::Goes } else { Turn::Returns }
    }

    /// What was ordered.
    pub fn order(&self) -> LimitOrder {
        self.order
    }

    /// Lines a second that may pass now.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Whether the return has begun.
    pub fn is_returning(&self) -> bool {
        self.is_returning
    }

    /// Lines that did not pass, in this process.
    pub fn held(&self) -> Lines {
        self.held
    }

    /// The limit, to be written down.
    pub fn kept(&self, now: Now) -> KeptLimit {
        let next = now.wall + self.next.since(now.arrival);
        KeptLimit {
            per_second: self.order.per_second.into(),
            burst: self.order.burst.into(),
            rate: self.rate as u64,
            next: next.0.max(0).unsigned_abs(),
            returning: self.is_returning.into(),
        }
    }

    /// Takes a limit back. What passed of its time is gone from it. `None` where there is none.
    pub fn take_back(kept: KeptLimit, now: Now) -> Option<Throttle> {
        let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let next = Timestamp(i64::try_from(kept.next).unwrap_or(i64::MAX));
        // No longer than anybody can ask for: a clock that was put back must not prolong it by years.
        let left = next.since(now.wall).min(SPAN_MAX);
        let order =
            LimitOrder { per_second: number(kept.per_second), burst: number(kept.burst).max(1), span: left };
        let throttle = Throttle::new(order, now.arrival);
        (order.per_second > 0).then(|| Throttle {
            rate: (kept.rate as f64).clamp(throttle.rate, RATE_MAX),
            is_returning: kept.returning != 0,
            // Whether it would have bound is not known.
            binds: true,
            ..throttle
        })
    }
}

/// Whether the emergency limit holds back a line that would be sent. A new one passes in any case, and where there is
/// room it takes some.
#[inline]
pub(super) fn holds_back(throttle: &mut Option<Box<Throttle>>, new: bool, arrival: Monotonic) -> bool {
    let Some(throttle) = throttle else { return false };
    if new {
        throttle.take(arrival);
        return false;
    }
    !throttle.admits(arrival)
}

/// The longest time of a limit.
pub const SPAN_MAX: Duration = Duration::from_secs(24 * 3600);
/// So many lines a second come from nowhere: the return is over.
const RATE_MAX: f64 = 1e9;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tenths: u64) -> Monotonic {
        Monotonic(tenths * 100_000_000)
    }

    /// How many of ten lines in each tenth of a second from `from` to `to` pass.
    fn passing(throttle: &mut Throttle, from: u64, to: u64) -> usize {
        (from..to).flat_map(|tenth| [at(tenth); 10]).filter(|now| throttle.admits(*now)).count()
    }

    #[test]
    fn it_limits_and_returns_until_it_does_not_bind() {
        let order = LimitOrder { per_second: 10, burst: 5, span: Duration::from_secs(60) };
        let mut throttle = Throttle::new(order, at(0));
        assert_eq!(passing(&mut throttle, 0, 1), 5, "the burst");
        assert_eq!(passing(&mut throttle, 1, 601), 600, "ten a second, for a minute");
        assert_eq!(throttle.turn(at(599)), Turn::Goes);
        assert_eq!((throttle.turn(at(601)), throttle.rate()), (Turn::Returns, 20.0));
        assert_eq!(passing(&mut throttle, 601, 701), 200);
        assert_eq!((throttle.turn(at(701)), throttle.rate()), (Turn::Goes, 40.0));
        assert_eq!(passing(&mut throttle, 701, 801), 400);
        assert_eq!((throttle.turn(at(801)), throttle.rate()), (Turn::Goes, 80.0));
        assert_eq!(passing(&mut throttle, 801, 901), 800);
        assert_eq!((throttle.turn(at(901)), throttle.rate()), (Turn::Goes, 160.0));
        assert_eq!(passing(&mut throttle, 901, 1_001), 1_000, "all that come");
        assert_eq!(throttle.turn(at(1_001)), Turn::Ends);
        assert_eq!(throttle.held(), Lines(5 + 5_400 + 800 + 600 + 200));
    }

    #[test]
    fn it_comes_back_with_the_time_that_is_left() {
        let now = |seconds: u64| Now {
            arrival: at(seconds * 10),
            wall: Timestamp(seconds as i64 * Timestamp::SECOND),
        };
        let order = LimitOrder { per_second: 10, burst: 5, span: Duration::from_secs(60) };
        let throttle = Throttle::new(order, now(100).arrival);
        let back = Throttle::take_back(throttle.kept(now(130)), now(140)).expect("there is one");
        assert_eq!((back.order().per_second, back.deadline()), (10, now(160).arrival));
        let mut late = Throttle::take_back(throttle.kept(now(130)), now(500)).expect("there is one");
        assert_eq!((late.turn(now(500).arrival), late.rate()), (Turn::Returns, 20.0));
        let back = Throttle::take_back(late.kept(now(501)), now(502)).expect("there is one");
        assert_eq!((back.is_returning(), back.rate(), back.deadline()), (true, 20.0, now(510).arrival));
        assert!(Throttle::take_back(KeptLimit::default(), now(1)).is_none());
    }
}

//! The emergency limit: set, lifted, and told when it begins and ends.

use std::time::Duration;

use super::Core;
use crate::engine::record::{Lost, Notice, Reason};
use crate::engine::storm::throttle::{LimitOrder, Throttle, Turn};
use crate::units::{Lines, Monotonic, Now};

/// A limit as people see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LimitView {
    /// What was ordered.
    pub order: LimitOrder,
    /// Lines a second that may pass now.
    pub per_second: f64,
    /// Whether its time is over, and it returns.
    pub is_returning: bool,
    /// Until the return begins, or its next step.
    pub left: Duration,
    /// Lines that it has held back in this process.
    pub held: Lines,
}

impl Core {
    /// Lets no more lines pass than this, from now on; in place of a limit that is set already.
    pub fn set_limit(&mut self, order: LimitOrder, now: Now) {
        let LimitOrder { per_second, burst, span } = order;
        self.forget_limit();
        self.storms.throttle = Some(Box::new(Throttle::new(order, now.arrival)));
        let seconds = span.as_secs();
        let message = format!(
            "an emergency limit is set: {per_second} lines a second, {burst} at once, for {seconds} s; what is held back is counted in summaries"
        );
        self.tell_limit(message, now);
    }

    /// Begins the return of the limit before its time; ends it at once where it returns already. False where there is none.
    pub fn lift_limit(&mut self, now: Now) -> bool {
        let Some(throttle) = &mut self.storms.throttle else { return false };
        if throttle.is_returning() {
            self.end_limit(now);
        } else {
            throttle.lift(now.arrival);
            self.tell_return(now);
        }
        true
    }

    /// Does what the limit's time asks for.
    #[cold]
    pub(super) fn turn_limit(&mut self, now: Now) {
        let turn = self.storms.throttle.as_mut().map(|throttle| throttle.turn(now.arrival));
        match turn {
            Some(Turn::Returns) => self.tell_return(now),
            Some(Turn::Ends) => self.end_limit(now),
            Some(Turn::Goes) | None => {}
        }
    }

    /// When the limit's time comes.
    pub(super) fn limit_deadline(&self) -> Option<Monotonic> {
        self.storms.throttle.as_ref().map(|throttle| throttle.deadline())
    }

    /// The limit, where there is one.
    pub fn limit_view(&self, now: Now) -> Option<LimitView> {
        let throttle = self.storms.throttle.as_ref()?;
        Some(LimitView {
            order: throttle.order(),
            per_second: throttle.rate(),
            is_returning: throttle.is_returning(),
            left: throttle.deadline().since(now.arrival),
            held: throttle.held(),
        })
    }

    /// Lines that limits have ever held back. They are in summaries, or in windows that are open.
    pub(super) fn lines_limited(&self) -> Lines {
        self.limited + self.storms.throttle.as_ref().map_or(Lines(0), |throttle| throttle.held())
    }

    fn tell_return(&mut self, now: Now) {
        self.tell_limit(
            "the emergency limit is over; it doubles every 10 s until it holds nothing back".to_owned(),
            now,
        );
    }

    fn end_limit(&mut self, now: Now) {
        let held = self.forget_limit();
        self.tell_limit(format!("the emergency limit has ended; it held back {held} lines"), now);
    }

    fn forget_limit(&mut self) -> Lines {
        let held = self.storms.throttle.take().map_or(Lines(0), |throttle| throttle.held());
        self.limited += held;
        held
    }

    fn tell_limit(&mut self, message: String, now: Now) {
        self.notice(None, &Notice::of_loss(Reason::Limit, message, Lost::default(), now.wall));
    }
}

//! Is it alive, and may traffic come? Two questions, decided from what is on the board.
//!
//! **Health** says that the process works, and nothing about its surroundings: restarting squall does not bring Kafka back.
//! **Readiness** of a sidecar takes its pod out of the service, so it is given up only when something is really wrong: while
//! starting, from the moment of a stop, when a thread is stuck, and when the destination is away *and* the outbox is about
//! to be full, so that lines will soon wait or lose detail. A destination that is merely away is a note.

use std::time::Duration;

use super::board::{Board, Stage};
use crate::units::Monotonic;

/// A thread that does not move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// Which.
    pub thread: &'static str,
    /// For how long.
    pub span: Duration,
}

/// The thread that is stuck, if there is one. Two loads, no lock.
pub fn stuck(board: &Board, now: Monotonic) -> Option<Stuck> {
    let threads = [("data", &board.data), ("output", &board.output)];
    threads.into_iter().find_map(|(thread, pulse)| Some(Stuck { thread, span: pulse.stuck_for(now)? }))
}

/// Something that is said of readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// One word for scripts.
    pub code: &'static str,
    /// One sentence for people.
    pub text: String,
}

/// The answer to `/ready`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Why it is not ready; it is, where this is empty.
    pub reasons: Vec<Remark>,
    /// What is worth knowing and no reason.
    pub notes: Vec<Remark>,
}

/// Whether traffic may come at `now`.
pub fn readiness(board: &Board, now: Monotonic) -> Readiness {
    let mut readiness = Readiness::default();
    let mut reason = |code, text: String| readiness.reasons.push(Remark { code, text });
    match board.stage() {
        Stage::Starting => reason("starting", "the outbox and the inputs are being opened".to_owned()),
        Stage::Running => {}
        Stage::Stopping => reason("stopping", "squall is stopping: what is left is delivered".to_owned()),
    }
    if let Some(Stuck { thread, span }) = stuck(board, now) {
        reason("stuck", format!("the {thread} thread has not moved for {} s", span.as_secs()));
    }
    let delivery = board.delivery();
    if let Some((span, trouble)) = delivery.troubled_for(now).zip(delivery.trouble.as_ref()) {
        let fill = delivery.outbox.map_or(0.0, |outbox| outbox.fill());
        let percent = (fill * 100.0) as u64;
        let text = format!("for {} s: {trouble}; the outbox is {percent} % full", span.as_secs());
        if fill >= NEARLY_FULL {
            reason("output_blocked", text);
        } else {
            readiness.notes.push(Remark { code: "output_trouble", text });
        }
    }
    readiness
}

/// The share of the outbox from which on lines will soon wait (`when_full: block`) or are only counted (`degrade`).
const NEARLY_FULL: f64 = 0.92;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::board::About;
    use crate::status::view::{DeliveryView, OutboxView};
    use crate::units::Bytes;

    #[test]
    fn readiness_has_reasons() {
        #[track_caller]
        fn check(board: &Board, reasons: &[&str], notes: &[&str]) {
            let found = readiness(board, Monotonic(100_000_000_000));
            let codes = |remarks: &[Remark]| remarks.iter().map(|remark| remark.code).collect::<Vec<_>>();
            assert_eq!((codes(&found.reasons), codes(&found.notes)), (reasons.to_vec(), notes.to_vec()));
        }
        let board = Board::new(About::default(), || ());
        check(&board, &["starting"], &[]);
        board.reach(Stage::Running);
        check(&board, &[], &[]);
        let away = |used| DeliveryView {
            trouble: Some("no broker answers".to_owned()),
            trouble_since: Some(Monotonic(25_000_000_000)),
            outbox: Some(OutboxView { used: Bytes(used), most: Bytes(100), ..OutboxView::default() }),
            ..DeliveryView::default()
        };
        board.publish_delivery(away(12));
        check(&board, &[], &["output_trouble"]);
        let said = readiness(&board, Monotonic(100_000_000_000)).notes[0].text.clone();
        assert_eq!(said, "for 75 s: no broker answers; the outbox is 12 % full");
        board.publish_delivery(away(93));
        check(&board, &["output_blocked"], &[]);
        board.publish_delivery(DeliveryView { trouble: None, ..away(93) });
        check(&board, &[], &[]);
        board.data.beat(Monotonic(1));
        check(&board, &["stuck"], &[]);
        board.data.rest();
        board.reach(Stage::Stopping);
        check(&board, &["stopping"], &[]);
    }
}

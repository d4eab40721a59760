//! What helps when the disk of the outbox fails: closing it, checking it and opening it again, at a pace.
//!
//! What a failed sync leaves behind cannot be known (faults.md 58), so nothing goes on before it was looked at. In the
//! middle of a run it must be as it was left: what is damaged is repaired, and told, by the next start.

use std::ops::Range;
use std::time::Duration;

use super::retry::Retry;
use super::ship::explain;
use super::start::lanes;
use crate::outbox::{OpenError, Store, StoreError};
use crate::units::Monotonic;

/// The least time between two attempts: each reads the whole store.
const MEND_EVERY: Duration = Duration::from_secs(1);

/// Why an epoch is not committed.
#[derive(Debug)]
pub enum Refusal {
    /// Not now: the outbox is as large as it may be, until something is delivered. The same epoch may be tried again.
    Full(String),
    /// Not now: its disk has no room, or the disk failed and the outbox was opened again. The same epoch may be tried again.
    Later(String),
    /// Never: the outbox is damaged, numbers its records otherwise by now, or cannot hold the epoch. A new process goes on
    /// from what is committed.
    Never(String),
}

/// The attempts to open it again, since something was last stored.
#[derive(Debug)]
pub(super) struct Mend {
    attempts: Retry,
}

impl Mend {
    /// Nothing has failed so far.
    pub(super) fn new() -> Mend {
        Mend { attempts: Retry::new(MEND_EVERY) }
    }

    /// Something was stored.
    pub(super) fn succeeded(&mut self) {
        self.attempts.succeeded();
    }

    /// What a commit that failed with `error` comes to: `Ok` where the epoch with these records was stored after all.
    pub(super) fn make_sure(
        &mut self,
        store: &mut Store,
        error: &StoreError,
        epoch: Range<u64>,
        now: Monotonic,
    ) -> Result<(), Refusal> {
        if !error.needs_reopen() {
            let reason = explain(error);
            return Err(match error {
                StoreError::Full { .. } => Refusal::Full(reason),
                StoreError::TooLarge { .. } | StoreError::Numbering { .. } => Refusal::Never(reason),
                _ => Refusal::Later(reason),
            });
        }
        let reason = self.open_again(store, error, now)?;
        match store.next_seq() {
            stored if stored == epoch.end && !epoch.is_empty() => Ok(()),
            stored if stored == epoch.start => Err(Refusal::Later(reason)),
            _ => Err(lost_records(&reason)),
        }
    }

    /// Opens it again after something failed that was no commit: it must hold the records before `next`, and no others.
    pub(super) fn reopen(
        &mut self,
        store: &mut Store,
        error: &StoreError,
        next: u64,
        now: Monotonic,
    ) -> Result<(), Refusal> {
        let reason = self.open_again(store, error, now)?;
        if store.next_seq() == next { Ok(()) } else { Err(lost_records(&reason)) }
    }

    /// Returns why that was necessary.
    fn open_again(
        &mut self,
        store: &mut Store,
        error: &StoreError,
        now: Monotonic,
    ) -> Result<String, Refusal> {
        let reason = explain(error);
        if !self.attempts.is_due(now) {
            // In the words of the last attempt: there is no news.
            return Err(Refusal::Later(self.attempts.trouble().unwrap_or(&reason).to_owned()));
        }
        let is_news = self.attempts.trouble().is_none();
        if is_news {
            tracing::error!("{reason}: the outbox is closed, checked and opened again");
        }
        self.attempts.failed(&reason, now);
        let lane = store.lane();
        let mut mint = lanes().map_err(|error| Refusal::Later(explain(&error)))?;
        if let Err(error) = store.reopen(&mut mint) {
            let reason = format!("the outbox cannot be opened again: {}", explain(&error));
            self.attempts.failed(&reason, now);
            return Err(match error {
                OpenError::Damaged { .. } | OpenError::Newer { .. } => Refusal::Never(reason),
                _ => Refusal::Later(reason),
            });
        }
        // What is numbered here has the old lane's id, whose numbers may have been used already.
        if store.lane() != lane {
            return Err(lost_records(&reason));
        }
        if is_news {
            tracing::info!("the outbox is whole, and open again");
        }
        Ok(reason)
    }
}

fn lost_records(reason: &str) -> Refusal {
    Refusal::Never(format!("{reason}; the outbox lost committed records"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::record::LaneId;
    use crate::outbox::{Durability, Options};
    use crate::units::Bytes;

    #[test]
    fn fault_058_it_is_opened_again_at_a_pace_and_only_if_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options {
            dir: folder.path().to_owned(),
            size_max: Bytes(8 << 20),
            durability: Durability::Process,
        };
        let (mut store, _) = Store::open(&options, "kafka:logs", &mut || LaneId(7)).expect("a store");
        let mut mend = Mend::new();
        let second = |seconds: u64| Monotonic(seconds * 1_000_000_000);
        let error = StoreError::Distrusted { reason: "the disk failed".to_owned() };
        mend.reopen(&mut store, &error, 1, second(5)).expect("it is as it was");
        let later =
            |result| matches!(result, Err(Refusal::Later(reason)) if reason.contains("the disk failed"));
        assert!(later(mend.reopen(&mut store, &error, 1, second(5))), "not so soon");
        // An epoch is stored, or is not, or something else is.
        assert!(later(mend.make_sure(&mut store, &error, 1..4, second(6))), "it is tried again");
        assert!(later(mend.make_sure(&mut store, &error, 1..1, second(7))), "an empty one, too");
        let lost =
            |result| matches!(result, Err(Refusal::Never(reason)) if reason.contains("lost committed"));
        assert!(lost(mend.make_sure(&mut store, &error, 3..4, second(8))));
        assert!(lost(mend.reopen(&mut store, &error, 3, second(9))));
        // What needs no opening again has no pace either.
        assert!(matches!(
            mend.make_sure(&mut store, &StoreError::Busy, 1..4, second(9)),
            Err(Refusal::Later(_))
        ));
        std::fs::remove_file(folder.path().join("outbox.db")).expect("a database");
        let damaged = mend.make_sure(&mut store, &error, 1..4, second(10));
        assert!(
            matches!(&damaged, Err(Refusal::Never(reason)) if reason.contains("is damaged")),
            "{damaged:?}"
        );
    }
}

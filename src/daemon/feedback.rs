//! What the output thread has to say to the data thread: losses that a notice must name, and how much detail there is
//! room for.

use std::sync::Arc;

use super::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use super::sync::{Mutex, PoisonError};
use super::wake::Wake;
use crate::engine::record::{Lost, Reason};
use crate::engine::storm::Pressure;
use crate::outbox::{Loss, Mishap};
use crate::units::Lines;

/// Something that happened to records, to be told in a notice.
#[derive(Clone, Debug)]
pub struct Tell {
    /// Why.
    pub reason: Reason,
    /// One sentence for people.
    pub message: String,
    /// Of which stream; `None` for this instance.
    pub stream: Option<String>,
    /// Accepted lines of the stream that are counted nowhere any more and that the notice stands for.
    pub uncounted: Lines,
    /// What is lost besides.
    pub lost: Lost,
    /// The loss that the outbox must not tell again.
    pub loss: Option<Loss>,
}

impl Tell {
    /// One about this instance, which stands for no accepted lines.
    pub fn about_us(reason: Reason, message: String, lost: Lost) -> Tell {
        Tell { reason, message, stream: None, uncounted: Lines(0), lost, loss: None }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Feedback {
    tells: Mutex<Vec<Tell>>,
    pressure: AtomicU8,
    /// How many epochs were committed.
    commits: AtomicU64,
    /// The data thread waits for each of them.
    awaited: AtomicBool,
    wake: Arc<Wake>,
}

impl Feedback {
    /// Nothing to say yet. `wake` wakes the data thread.
    pub fn new(wake: Arc<Wake>) -> Feedback {
        Feedback {
            tells: Mutex::default(),
            pressure: AtomicU8::new(0),
            commits: AtomicU64::new(0),
            awaited: AtomicBool::new(false),
            wake,
        }
    }

    /// Says that commits are waited for.
    pub fn await_commits(&self) {
        self.awaited.store(true, Ordering::Release);
    }

    /// Says that an epoch is committed.
    pub fn committed(&self) {
        self.commits.fetch_add(1, Ordering::AcqRel);
        if self.awaited.load(Ordering::Acquire) {
            self.wake.raise();
        }
    }

    /// How many epochs were committed.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Acquire)
    }

    /// Asks for a notice.
    pub fn tell(&self, tell: Tell) {
        self.tells.lock().unwrap_or_else(PoisonError::into_inner).push(tell);
        self.wake.raise();
    }

    /// The notices that were asked for since the last call.
    pub fn take(&self) -> Vec<Tell> {
        std::mem::take(&mut *self.tells.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says how much detail there is room for.
    pub fn set_pressure(&self, pressure: Pressure) {
        self.pressure.store(pressure as u8, Ordering::Release);
    }

    /// How much detail there is room for.
    pub fn pressure(&self) -> Pressure {
        const LEVELS: [Pressure; 4] = [Pressure::None, Pressure::Few, Pressure::Count, Pressure::Shed];
        LEVELS[usize::from(self.pressure.load(Ordering::Acquire))]
    }
}

impl From<&Mishap> for Tell {
    fn from(mishap: &Mishap) -> Tell {
        let (reason, stream, uncounted) = match mishap {
            Mishap::Quarantined { .. } => (Reason::StoreDamaged, None, Lines(0)),
            Mishap::Leftover { .. } => (Reason::StoreNew, None, Lines(0)),
            Mishap::LaneRenewed { .. } => (Reason::LaneNew, None, Lines(0)),
            Mishap::Uncounted { stream, lines } => (Reason::StoreDamaged, Some(stream.clone()), *lines),
        };
        Tell { reason, message: mishap.to_string(), stream, uncounted, lost: Lost::default(), loss: None }
    }
}

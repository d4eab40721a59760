//! The board between the daemon's threads and the server: each thread pins up how it stands, whoever asks reads it.
//!
//! Invariant: nobody who writes here waits for somebody who reads, and reading `/health` takes no lock.
//! What is costly to make (the lists) is made only when it is asked for.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::view::{ContainersView, DeliveryView, Details, EngineView, Order};
use crate::units::{Monotonic, Now};

/// Who runs, and since when: what does not change.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The program's version.
    pub version: &'static str,
    /// This instance's name.
    pub instance: String,
    /// The machine.
    pub node: String,
    /// The service that logs; empty when unknown.
    pub service: String,
    /// When the process began its work.
    pub started: Now,
}

/// See the module.
pub struct Board {
    about: About,
    stage: AtomicU8,
    engine: watch::Sender<Arc<EngineView>>,
    delivery: watch::Sender<Arc<DeliveryView>>,
    containers: watch::Sender<Arc<ContainersView>>,
    /// Somebody wants new lists.
    asked: AtomicBool,
    /// What is to be done about the limit, with its number; a newer order takes the place of one that nobody has seen.
    order: Mutex<(u64, Option<Order>)>,
    /// Wakes the data thread.
    wake: Box<dyn Fn() + Send + Sync>,
    /// The data thread's.
    pub data: Pulse,
    /// The output thread's.
    pub output: Pulse,
}

/// How far the process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It opens its outbox and its inputs.
    Starting,
    /// It works.
    Running,
    /// It was told to stop, or its inputs have ended: what is left is delivered.
    Stopping,
}

impl Board {
    /// A board with nothing on it. `wake` wakes the data thread.
    pub fn new(about: About, wake: impl Fn() + Send + Sync + 'static) -> Board {
        Board {
            about,
            stage: AtomicU8::new(Stage::Starting as u8),
            engine: watch::Sender::default(),
            delivery: watch::Sender::default(),
            containers: watch::Sender::default(),
            asked: AtomicBool::new(false),
            order: Mutex::default(),
            wake: Box::new(wake),
            data: Pulse::default(),
            output: Pulse::default(),
        }
    }

    /// Who runs.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Says how far the process has come. It never goes back.
    pub fn reach(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::AcqRel);
    }

    /// How far the process has come.
    pub fn stage(&self) -> Stage {
        const STAGES: [Stage; 3] = [Stage::Starting, Stage::Running, Stage::Stopping];
        STAGES[usize::from(self.stage.load(Ordering::Acquire))]
    }

    /// Pins up how the engine stands.
    pub fn publish_engine(&self, view: EngineView) {
        self.engine.send_replace(Arc::new(view));
    }

    /// Pins up how delivery stands.
    pub fn publish_delivery(&self, view: DeliveryView) {
        self.delivery.send_replace(Arc::new(view));
    }

    /// Pins up what containers use.
    pub fn publish_containers(&self, view: ContainersView) {
        self.containers.send_replace(Arc::new(view));
    }

    /// How the engine stood last.
    pub fn engine(&self) -> Arc<EngineView> {
        Arc::clone(&self.engine.borrow())
    }

    /// How delivery stood last.
    pub fn delivery(&self) -> Arc<DeliveryView> {
        Arc::clone(&self.delivery.borrow())
    }

    /// What containers used last.
    pub fn containers(&self) -> Arc<ContainersView> {
        Arc::clone(&self.containers.borrow())
    }

    /// Whether somebody waits for new lists, or has an order.
    pub fn has_ask(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// The order that is to be carried out, and its number, which the next [`publish_engine`](Self::publish_engine) is to
    /// give back.
    pub fn take_order(&self) -> (u64, Option<Order>) {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        (order.0, order.1.take())
    }

    /// Has an order carried out. The view in which it is, or `None` where the data thread is too busy: it will be later.
    pub async fn order(&self, order: Order) -> Option<Arc<EngineView>> {
        let number = {
            let mut place = self.order.lock().unwrap_or_else(PoisonError::into_inner);
            *place = (place.0 + 1, Some(order));
            place.0
        };
        self.asked.store(true, Ordering::Release);
        (self.wake)();
        let mut views = self.engine.subscribe();
        let done = views.wait_for(|view| view.orders >= number);
        let view = tokio::time::timeout(ORDER_WAIT_MAX, done).await.ok()?.ok()?;
        Some(Arc::clone(&view))
    }

    /// The same, answered with the next [`publish_engine`](Self::publish_engine).
    pub fn take_ask(&self) -> bool {
        self.asked.swap(false, Ordering::AcqRel)
    }

    /// The engine's view with lists that are younger than a second, or the last one where the data thread is
    /// too busy to make them.
    pub async fn detailed(&self, now: Now) -> Arc<EngineView> {
        let is_fresh = |details: &Details| {
            details.at != Now::default() && now.arrival.since(details.at.arrival) < DETAILS_AGE_MAX
        };
        let mut views = self.engine.subscribe();
        if !is_fresh(&views.borrow_and_update().details) {
            self.asked.store(true, Ordering::Release);
            (self.wake)();
            let fresh = views.wait_for(|view| is_fresh(&view.details));
            // Too late means that the old ones are shown, with their age.
            let _ = tokio::time::timeout(DETAILS_WAIT_MAX, fresh).await.is_ok();
        }
        self.engine()
    }
}

/// Lists are not made more often than this, however many ask.
const DETAILS_AGE_MAX: Duration = Duration::from_secs(1);
/// How long new lists are waited for.
const DETAILS_WAIT_MAX: Duration = Duration::from_millis(500);

/// How long an order is waited for.
const ORDER_WAIT_MAX: Duration = Duration::from_secs(2);

/// The sign of life of a thread: since when it has been busy with the same thing.
#[derive(Debug, Default)]
pub struct Pulse {
    /// The arrival clock, or 0 while it has nothing to do, or waits for somebody else.
    busy_since: AtomicU64,
}

impl Pulse {
    /// It goes on with its work.
    pub fn beat(&self, now: Monotonic) {
        self.busy_since.store(now.0.max(1), Ordering::Relaxed);
    }

    /// It waits: for time to pass, for input, for another thread.
    pub fn rest(&self) {
        self.busy_since.store(0, Ordering::Relaxed);
    }

    /// For how long it has done the same thing, where that is longer than [`STUCK_AFTER`].
    pub fn stuck_for(&self, now: Monotonic) -> Option<Duration> {
        let since = self.busy_since.load(Ordering::Relaxed);
        let busy = now.since(Monotonic(since));
        (since != 0 && busy >= STUCK_AFTER).then_some(busy)
    }
}

/// A thread that has been busy with one thing for so long does not work: the longest that should happen is a sync of a
/// slow disk, a few seconds.
pub const STUCK_AFTER: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_stuck_only_with_something_to_do() {
        let second = |second: u64| Monotonic(second * 1_000_000_000);
        let pulse = Pulse::default();
        assert_eq!(pulse.stuck_for(second(1_000)), None, "not begun");
        pulse.beat(second(10));
        assert_eq!(pulse.stuck_for(second(39)), None);
        assert_eq!(pulse.stuck_for(second(40)), Some(Duration::from_secs(30)));
        pulse.rest();
        assert_eq!(pulse.stuck_for(second(1_000)), None, "it waits");
        pulse.beat(Monotonic(0));
        assert!(pulse.stuck_for(second(31)).is_some(), "the clock's zero is a time too");
    }

    #[test]
    fn a_process_does_not_go_back() {
        let board = Board::new(About::default(), || ());
        assert_eq!(board.stage(), Stage::Starting);
        board.reach(Stage::Stopping);
        board.reach(Stage::Running);
        assert_eq!(board.stage(), Stage::Stopping);
    }
}

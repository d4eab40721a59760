//! The thread that looks at a pace, and its hand-off to the data thread.
//!
//! A thread of its own, because the kernel adds up what a busy machine has counted while its files are read: a look at
//! many containers takes milliseconds, and a walk through a large tree more.
//! Invariant: nobody who asks here waits for the kernel. Of the looks that nobody has taken, only the newest is kept.
//! The first look is not handed over: it knows no CPU time, and not all logs may be found yet, so that a container would
//! seem to be gone.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::sampler::{Sampler, Watched};
use super::{Look, Options};
use crate::units::Now;

/// What the numbers are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Rules wait for them, those of containers that are gone meanwhile among them.
    ByRules,
    /// They are shown: there is nothing to do before there is a container.
    ToShow,
}

/// A thread at work. It ends when this is dropped.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// In the order in which they came.
    watched: BTreeMap<u64, Watched>,
    /// The number of each, by its stream, and how many logs of it are open.
    open: HashMap<Arc<str>, (u64, u32)>,
    next: u64,
    /// What nobody has taken yet.
    look: Option<Look>,
    ends: bool,
}

impl Watch {
    /// Starts it. `show` gets every look; `wake` wakes whoever takes them ([`Watch::take`]).
    ///
    /// # Errors
    /// When there are no threads left.
    pub fn start(
        options: &Options,
        asked: Asked,
        clock: fn() -> Now,
        show: impl FnMut(&Look) + Send + 'static,
        wake: impl Fn() + Send + 'static,
    ) -> io::Result<Watch> {
        let shared = Arc::new(Shared::default());
        let sampler = Sampler::new(&options.cgroup, clock);
        let work =
            Work { shared: Arc::clone(&shared), sampler, every: options.every, asked, clock, show, wake };
        thread::Builder::new().name("squall-resource".to_owned()).spawn(move || work.run())?;
        Ok(Watch { shared })
    }

    /// A log of this container is read from now on.
    pub fn open(&self, watched: Watched) {
        let mut state = self.shared.lock();
        let State { watched: all, open, next, .. } = &mut *state;
        if let Some((_, logs)) = open.get_mut(&watched.stream) {
            *logs += 1;
            return;
        }
        open.insert(Arc::clone(&watched.stream), (*next, 1));
        all.insert(*next, watched);
        *next += 1;
        self.shared.changed.notify_all();
    }

    /// And not any more.
    pub fn close(&self, stream: &str) {
        let mut state = self.shared.lock();
        let Some((number, logs)) = state.open.get_mut(stream) else { return };
        *logs -= 1;
        if *logs == 0 {
            let number = *number;
            state.open.remove(stream);
            state.watched.remove(&number);
        }
    }

    /// The newest look, where nobody has taken it.
    pub fn take(&self) -> Option<Look> {
        self.shared.lock().look.take()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.lock().ends = true;
        // It is not waited for: it may be in the kernel, and has nothing to finish.
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Work<S, W> {
    shared: Arc<Shared>,
    sampler: Sampler,
    every: Duration,
    asked: Asked,
    clock: fn() -> Now,
    show: S,
    wake: W,
}

impl<S: FnMut(&Look), W: Fn()> Work<S, W> {
    fn run(mut self) {
        if !self.is_begun() {
            return;
        }
        let mut is_first = true;
        let mut was_blind = false;
        loop {
            let began = (self.clock)();
            let watched: Vec<Watched> = self.shared.lock().watched.values().cloned().collect();
            let look = self.sampler.look(&watched);
            let is_blind = look.is_err();
            let look = look.unwrap_or_else(|blind| {
                if !was_blind && self.asked == Asked::ByRules {
                    tracing::warn!("no container's CPU and memory can be read: {}", blind.explained());
                }
                Look { at: began, samples: Vec::new(), watched: watched.len() }
            });
            was_blind = is_blind;
            (self.show)(&look);
            if !std::mem::take(&mut is_first) && self.asked == Asked::ByRules {
                self.shared.lock().look = Some(look);
                (self.wake)();
            }
            if self.ends_within(self.every.saturating_sub((self.clock)().arrival.since(began.arrival))) {
                return;
            }
        }
    }

    /// Waits until there is something to do. False where that never comes.
    fn is_begun(&self) -> bool {
        let asked = self.asked;
        let waits = |state: &mut State| !state.ends && asked == Asked::ToShow && state.watched.is_empty();
        let state = self.shared.changed.wait_while(self.shared.lock(), waits);
        !state.unwrap_or_else(PoisonError::into_inner).ends
    }

    /// Waits so long. True where it is to end.
    fn ends_within(&self, wait: Duration) -> bool {
        let state = self.shared.changed.wait_timeout_while(self.shared.lock(), wait, |state| !state.ends);
        state.unwrap_or_else(PoisonError::into_inner).0.ends
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc::{Receiver, sync_channel};

    use super::*;
    use crate::engine::alert::container::Container;

    fn watched(id: &str) -> Watched {
        let container = Container { id: id.into(), name: Box::default() };
        Watched { stream: id.into(), container: Some(Arc::new(container)), pod_log: None }
    }

    /// A watch of a tree in `room`, and how many containers each look had.
    fn watch(room: &std::path::Path, asked: Asked) -> (Watch, Receiver<(usize, usize)>) {
        let options = Options { cgroup: room.to_owned(), every: Duration::from_millis(1) };
        let (shown, looks) = sync_channel(0);
        // A test that has seen enough hangs up.
        let show = move |look: &Look| {
            let _ = shown.send((look.watched, look.samples.len()));
        };
        let watch = Watch::start(&options, asked, Now::default, show, || ()).expect("a thread");
        (watch, looks)
    }

    fn tree(ids: &[&str]) -> tempfile::TempDir {
        let room = tempfile::tempdir().expect("a folder");
        fs::write(room.path().join("cgroup.controllers"), "").expect("a file");
        for id in ids {
            fs::create_dir(room.path().join(id)).expect("a folder");
        }
        room
    }

    #[test]
    fn containers_come_and_go() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let room = tree(&[&a, &b]);
        let (watch, looks) = watch(room.path(), Asked::ToShow);
        assert!(looks.try_recv().is_err(), "there is nothing to look at");
        watch.open(watched(&a));
        watch.open(watched(&a));
        assert_eq!(looks.recv(), Ok((1, 1)));
        watch.open(watched(&b));
        assert!(looks.iter().any(|look| look == (2, 2)));
        watch.close(&a);
        watch.close("unknown");
        assert!(looks.iter().take(2).all(|look| look == (2, 2)), "one of two logs is left");
        watch.close(&a);
        watch.close(&b);
        assert!(looks.iter().any(|look| look == (0, 0)), "rules must hear that all are gone");
        assert_eq!(watch.take(), None, "no rule asks");
        drop(watch);
        assert!(looks.iter().count() <= 1, "it ends");
    }

    #[test]
    fn rules_hear_of_nothing_too() {
        let room = tempfile::tempdir().expect("a folder");
        let (watch, looks) = watch(room.path(), Asked::ByRules);
        assert_eq!(looks.recv(), Ok((0, 0)));
        assert_eq!(watch.take(), None, "the first look is not handed over");
        // The third is shown when the second was handed over.
        assert_eq!([looks.recv(), looks.recv()], [Ok((0, 0)); 2]);
        assert!(watch.take().is_some_and(|look| look.watched == 0));
        watch.open(watched(&"a".repeat(64)));
        // Where no tree can be seen, a container is watched and not found.
        assert!(looks.iter().any(|look| look == (1, 0)));
    }
}

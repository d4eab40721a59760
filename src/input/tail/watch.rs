//! Hears of changes early. A hint, never the truth: whatever the kernel does not tell us, the scan each second finds.
//!
//! Directories are watched, not files: one watch serves all files of a directory and also tells of new ones.
//! `notify` calls us on its own thread. There we note what changed and wake the data thread; nothing else.
//! Limits: `CHANGED_MAX` noted paths, beyond which everything counts as changed; where the kernel has no instance or
//! no watch left, or the files lie on another machine, [`WatchMode::Poll`].
//!
//! Pacing. A program that writes 100,000 lines a second makes as many events, and without a brake the thread that
//! takes them costs 17 % of a core (measured, 20 MB/s). Two equal events in a row mean that we read faster than the
//! program writes, because the kernel merges them while they queue: then the thread rests for `REST`. With several
//! programs writing in turn nothing merges, and it rests after `STALE_MAX` events that told nothing new; if the queue
//! overflows over that, a rescan follows, which is cheap. The whole tail, reading included, is then at 1.4 % of a core
//! with one such file and at 3.4 % with eight that share the 20 MB/s.
//! `watch` waits for that same thread, so the thread does not rest while somebody asks.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use notify::event::{Event, EventKind, ModifyKind};
use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::engine::state::FileId;

use super::WatchMode;
use super::discover::parent;
use super::identity::status_of;
use super::remote::is_remote;

/// The watched directories, and what was heard of them.
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    hints: Arc<Hints>,
    /// By the path that the walk uses. A directory that was replaced has another identity and is watched anew.
    directories: HashMap<PathBuf, Watched>,
    refused: bool,
}

struct Watched {
    identity: FileId,
    /// Under this path the events come; two walks' paths may lead to the same directory.
    real: PathBuf,
    /// Others may write there without our hearing of it.
    is_remote: bool,
}

/// What changed since the last time that somebody asked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Names came or went, or nobody knows: look at everything.
    pub(super) rescan: bool,
    /// Files that grew or shrank, under the real paths of their directories.
    pub(super) written: HashSet<PathBuf>,
    /// Files whose permissions or links changed.
    pub(super) altered: HashSet<PathBuf>,
}

struct Hints {
    changes: Mutex<Changes>,
    asked: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Watch {
    pub(super) fn new(wake: impl Fn() + Send + Sync + 'static) -> Watch {
        let hints = Arc::new(Hints {
            changes: Mutex::default(),
            asked: AtomicBool::new(false),
            wake: Box::new(wake),
        });
        let mut hearer = Hearer { hints: Arc::clone(&hints), last: PathBuf::new(), stale: 0 };
        // An error means that the kernel has no instance left; the caller sees it in the mode.
        let watcher = notify::recommended_watcher(move |heard| hearer.hear(heard)).ok();
        Watch { watcher, hints, directories: HashMap::new(), refused: false }
    }

    pub(super) fn mode(&self) -> WatchMode {
        if self.watcher.is_some() && !self.refused { WatchMode::Inotify } else { WatchMode::Poll }
    }

    /// What changed since the last call.
    pub(super) fn take(&self) -> Changes {
        std::mem::take(&mut *self.hints.lock())
    }

    /// Watches exactly the directories in `wanted`. True: one was added, so look again for what came before the watch.
    pub(super) fn follow(&mut self, wanted: &BTreeSet<PathBuf>) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        self.hints.asked.store(true, Ordering::Release);
        self.refused = false;
        let mut added = false;
        let mut gone: Vec<PathBuf> = Vec::new();
        self.directories.retain(|path, watched| {
            let same = status_of(path).is_ok_and(|status| status.identity == watched.identity);
            let keep = same && wanted.contains(path);
            if !keep {
                gone.push(watched.real.clone());
            }
            keep
        });
        let kept: HashSet<PathBuf> = self.directories.values().map(|watched| watched.real.clone()).collect();
        for real in gone.iter().filter(|real| !kept.contains(*real)) {
            // A directory that was deleted has lost its watch already, which is the usual error here.
            let _ = watcher.unwatch(real);
        }
        for path in wanted {
            if self.directories.contains_key(path) {
                continue;
            }
            // What vanished since the walk is found missing by the next walk.
            let (Ok(status), Ok(real)) = (status_of(path), path.canonicalize()) else { continue };
            match watcher.watch(&real, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    // The watch is kept all the same: what this machine writes there is told.
                    let is_remote = is_remote(&real);
                    let watched = Watched { identity: status.identity, real, is_remote };
                    self.directories.insert(path.clone(), watched);
                    added = true;
                }
                Err(error) => self.refused |= !matches!(error.kind, ErrorKind::PathNotFound),
            }
        }
        self.refused |= self.directories.values().any(|watched| watched.is_remote);
        self.hints.asked.store(false, Ordering::Release);
        added
    }

    /// The path under which changes of `path` are told.
    pub(super) fn real(&self, path: &Path) -> Option<PathBuf> {
        Some(self.directories.get(parent(path))?.real.join(path.file_name()?))
    }

    /// As if the kernel had said that its queue ran over.
    #[cfg(test)]
    pub(super) fn overflow(&self) {
        self.hints.note(|changes| changes.rescan = true);
    }

    /// As if the kernel had no instance left.
    #[cfg(test)]
    pub(super) fn break_down(&mut self) {
        self.watcher = None;
        self.directories.clear();
    }
}

impl Hints {
    fn lock(&self) -> MutexGuard<'_, Changes> {
        // Nobody panics with the lock in hand, and a half-noted change would only be a missing hint.
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a change; the first one since the last look wakes the data thread.
    fn note(&self, note: impl FnOnce(&mut Changes)) {
        let mut changes = self.lock();
        let was_calm = changes.is_empty();
        note(&mut changes);
        if changes.written.len() + changes.altered.len() > CHANGED_MAX {
            *changes = Changes { rescan: true, ..Changes::default() };
        }
        let is_news = was_calm && !changes.is_empty();
        drop(changes);
        if is_news {
            (self.wake)();
        }
    }
}

impl Changes {
    fn is_empty(&self) -> bool {
        !self.rescan && self.written.is_empty() && self.altered.is_empty()
    }
}

/// The part that lives on the thread of `notify`.
struct Hearer {
    hints: Arc<Hints>,
    last: PathBuf,
    stale: u32,
}

impl Hearer {
    fn hear(&mut self, heard: notify::Result<Event>) {
        let Ok(event) = heard else {
            return self.hints.note(|changes| changes.rescan = true);
        };
        match (event.kind, event.paths.into_iter().next()) {
            // Our own opening of files comes back to us as such events.
            (EventKind::Access(_), _) => {}
            (EventKind::Modify(ModifyKind::Data(_)), Some(path)) => self.hear_write(path),
            (EventKind::Modify(ModifyKind::Metadata(_)), Some(path)) => self.hints.note(|changes| {
                changes.rescan = true;
                changes.altered.insert(path);
            }),
            _ => self.hints.note(|changes| changes.rescan = true),
        }
    }

    fn hear_write(&mut self, path: PathBuf) {
        let caught_up = path == self.last;
        if !caught_up {
            self.last.clone_from(&path);
        }
        let mut is_news = false;
        self.hints.note(|changes| is_news = changes.written.insert(path));
        self.stale += u32::from(!is_news);
        if (caught_up || self.stale >= STALE_MAX) && !self.hints.asked.load(Ordering::Acquire) {
            self.stale = 0;
            std::thread::sleep(REST);
        }
    }
}

/// How many changed files are told apart.
const CHANGED_MAX: usize = 4_096;
/// The pace at which the data thread takes hints anyway.
const REST: Duration = Duration::from_millis(5);
const STALE_MAX: u32 = 32;

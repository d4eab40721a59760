//! All FIFOs of the worker: which have something, in which order they are read, and what may be taken out of them.
//!
//! One container's FIFOs follow each other: dockerd makes a new one at each start, and the next is read when the one
//! before has ended. A block that is taken stays in its FIFO until [`Follow::settle`] says that it is committed; until
//! then nothing more is taken. What one look takes is bounded, and FIFOs take turns.
//! A FIFO that is empty costs nothing: a thread waits for it, and tells once.
//! Not here: what the bytes mean (`engine::frame::docker_entry`).

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event as Polled, EventData, EventFlags};
use rustix::io::Errno;

use super::fifo::{Fifo, Glass, Head};
use super::info::Described;
use super::link::{self, Message};
use super::registry::Registry;
use crate::engine::frame::docker_entry;
use crate::engine::state::Block;
use crate::units::{Bytes, Lines, Monotonic, Now};

/// How long FIFOs may fill up between two looks while much comes: a pipe of 1 MiB holds 300 MB/s of that.
const BUSY_WAIT: Duration = Duration::from_millis(3);
/// The same while little comes: each look costs a commit.
const CALM_WAIT: Duration = Duration::from_millis(20);
/// So many bytes are awaited in between: a quarter of what one FIFO holds, so that a writer is never held up by what it wrote
/// while the looks before brought little.
const AWAITED: u64 = 256 << 10;
/// What one look takes, but for the FIFO that reaches it.
const SHARE: u64 = 1 << 20;
/// How long a container without a FIFO is remembered: dockerd may be starting again (`faults.md` 73).
const LINGER: Duration = Duration::from_secs(60);
/// How often the supervisor hears that we go on.
const ALIVE_EVERY: Duration = Duration::from_millis(500);

/// A container whose lines go into one source.
pub type SourceId = u32;

/// What comes of the FIFOs.
#[derive(Debug)]
pub enum Event<'a> {
    /// A container says its first word.
    Opened {
        /// Its number from now on.
        source: SourceId,
        /// Who it is.
        described: &'a Described,
    },
    /// Whole frames.
    Data {
        /// Of which container.
        source: SourceId,
        /// How many bytes of its FIFO came before these.
        offset: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// A FIFO has ended.
    Ended {
        /// Of which container.
        source: SourceId,
    },
    /// The container will not say any more.
    Closed {
        /// Which.
        source: SourceId,
    },
    /// A FIFO was gone when we started again, and whatever was still in it.
    Vanished {
        /// Whose it was.
        described: &'a Described,
    },
    /// Frames were taken out and only counted, because there was no room for anything else.
    Uncounted {
        /// Their lines.
        lines: Lines,
        /// Their bytes.
        bytes: Bytes,
    },
}

/// What happens to what is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It stays in the FIFO until it is committed.
    Exact,
    /// It is read out at once: nothing can be committed now, and the writer must not wait.
    Memory,
    /// It is read out, and only its lines are counted: there is no memory for more.
    Count,
}

/// What one look brought.
#[derive(Clone, Copy, Debug, Default)]
pub struct Looked {
    /// When to look again although nobody tells.
    pub next_look: Option<Monotonic>,
}

/// See the module.
#[derive(Debug)]
pub struct Follow {
    link: Arc<OwnedFd>,
    waiting: Arc<OwnedFd>,
    orders: Arc<Mutex<Vec<Order>>>,
    registry: Registry,
    glass: Glass,
    /// What the last process took out of each FIFO.
    committed: HashMap<String, Block>,
    /// By their number; `None` where one has ended.
    fifos: Vec<Option<Slot>>,
    /// Those that may have something, in the order of their turns.
    ready: VecDeque<usize>,
    containers: HashMap<String, Container>,
    sources: SourceId,
    /// Ended since the last epoch, and those whose end an epoch tells that is not committed yet.
    ended: Vec<String>,
    ending: Vec<String>,
    uncounted: (Lines, Bytes),
    looked_at: Monotonic,
    not_before: Monotonic,
    alive_at: Monotonic,
}

#[derive(Debug)]
struct Slot {
    fifo: Fifo,
    container: String,
    stopped: bool,
    /// The outbox does not know yet how far it was read.
    news: bool,
}

#[derive(Debug, Default)]
struct Container {
    described: Described,
    source: Option<SourceId>,
    /// Its FIFOs, the one that is read first.
    fifos: VecDeque<usize>,
    /// When the last of them ended without a word.
    left_at: Option<Monotonic>,
}

/// What the waiting thread has to say.
#[derive(Debug)]
enum Order {
    Ready(usize),
    /// Without a descriptor where the FIFO is gone.
    Attach(String, Option<OwnedFd>),
    Stopped(String),
}

/// How long FIFOs may fill up now: as long as it takes to bring [`AWAITED`] at the pace of what came in the time before.
fn pause(taken: u64, within: Duration) -> Duration {
    let pause = within.as_nanos() * u128::from(AWAITED) / u128::from(taken.max(1));
    Duration::from_nanos(u64::try_from(pause).unwrap_or(u64::MAX)).clamp(BUSY_WAIT, CALM_WAIT)
}

/// The number under which the thread waits for the supervisor.
const LINK: u64 = u64::MAX;

impl Follow {
    /// Takes orders over `link`. `wake` is called when there is something to do, `orphaned` when the supervisor is gone; both
    /// from another thread.
    ///
    /// # Errors
    /// When there are no descriptors or threads left.
    pub fn new(
        link: OwnedFd,
        registry: Registry,
        committed: Vec<Block>,
        wake: impl Fn() + Send + 'static,
        orphaned: impl FnOnce() + Send + 'static,
    ) -> io::Result<Follow> {
        let glass = Glass::new()?;
        let waiting = Arc::new(epoll::create(CreateFlags::CLOEXEC)?);
        let link = Arc::new(link);
        epoll::add(&*waiting, &*link, EventData::new_u64(LINK), EventFlags::IN)?;
        let orders = Arc::new(Mutex::new(Vec::new()));
        let watch =
            Watch { waiting: Arc::clone(&waiting), link: Arc::clone(&link), orders: Arc::clone(&orders) };
        let work = move || {
            // Whatever it was: without orders there is nothing to go on with.
            let _ = watch.run(wake);
            orphaned();
        };
        thread::Builder::new().name("squall-fifos".to_owned()).spawn(work)?;
        Ok(Follow {
            link,
            waiting,
            orders,
            registry,
            glass,
            committed: committed.into_iter().map(|block| (block.fifo.clone(), block)).collect(),
            fifos: Vec::new(),
            ready: VecDeque::new(),
            containers: HashMap::new(),
            sources: 0,
            ended: Vec::new(),
            ending: Vec::new(),
            uncounted: (Lines(0), Bytes(0)),
            looked_at: Monotonic::default(),
            not_before: Monotonic::default(),
            alive_at: Monotonic::default(),
        })
    }

    /// Whether something is taken that is not committed yet.
    pub fn is_taken(&self) -> bool {
        self.fifos.iter().flatten().any(|slot| slot.fifo.is_taken())
    }

    /// Whether the outbox is to hear something soon.
    pub fn has_news(&self) -> bool {
        !self.ended.is_empty() || self.fifos.iter().flatten().any(|slot| slot.news)
    }

    /// Tells what an epoch must say of the FIFOs.
    pub fn tell(&mut self, blocks: &mut Vec<Block>, gone: &mut Vec<String>) {
        for slot in self.fifos.iter_mut().flatten().filter(|slot| slot.news) {
            slot.news = false;
            blocks.push(slot.fifo.block());
        }
        gone.extend(self.ended.iter().cloned());
        self.ending.append(&mut self.ended);
    }

    /// Everything that was told is committed: reads it out of the FIFOs. What was taken after that stays: it is in no epoch
    /// yet, and a kill would lose it.
    pub fn settle(&mut self) {
        self.consume(|slot| !slot.news);
        for name in self.ending.drain(..) {
            self.committed.remove(&name);
            // Else the supervisor hands it over again one day, and it ends again.
            let _ = link::send(&*self.link, &Message::Done(name), None);
        }
    }

    /// Reads what is taken out of the FIFOs, committed or not.
    pub fn release(&mut self) {
        self.consume(|_| true);
    }

    fn consume(&mut self, which: impl Fn(&Slot) -> bool) {
        let taken = self.fifos.iter_mut().flatten().filter(|slot| slot.fifo.is_taken());
        for slot in taken.filter(|slot| which(slot)) {
            match slot.fifo.consume(&mut self.glass) {
                Ok(true) => {}
                Ok(false) => tracing::error!(fifo = slot.fifo.name(), "somebody else reads this FIFO"),
                Err(error) => tracing::error!(fifo = slot.fifo.name(), "cannot read a FIFO: {error}"),
            }
        }
    }

    /// Takes a share of what has come.
    pub fn poll(&mut self, now: Now, mode: Mode, sink: &mut dyn FnMut(Event<'_>)) -> Looked {
        self.say_alive(now.arrival);
        self.obey(now.arrival, sink);
        self.forget(now.arrival, sink);
        if mode != Mode::Count && self.uncounted.0 > Lines(0) {
            let (lines, bytes) = std::mem::take(&mut self.uncounted);
            sink(Event::Uncounted { lines, bytes });
        }
        if self.ready.is_empty() || self.is_taken() {
            return Looked::default();
        }
        if self.not_before > now.arrival {
            return Looked { next_look: Some(self.not_before) };
        }
        let mut taken = 0;
        for _ in 0..self.ready.len() {
            if taken >= SHARE {
                break;
            }
            let Some(index) = self.ready.pop_front() else { break };
            taken += self.look(index, now.arrival, mode, sink);
        }
        self.not_before = now.arrival + pause(taken, now.arrival.since(self.looked_at));
        self.looked_at = now.arrival;
        Looked { next_look: (!self.ready.is_empty()).then_some(self.not_before) }
    }

    /// Looks at one FIFO; returns how many bytes it gave.
    fn look(&mut self, index: usize, now: Monotonic, mode: Mode, sink: &mut dyn FnMut(Event<'_>)) -> u64 {
        let Some(slot) = &mut self.fifos[index] else { return 0 };
        let Some(container) = self.containers.get_mut(&slot.container) else { return 0 };
        // It is not its turn, or it stood in the queue twice.
        if container.fifos.front() != Some(&index) || slot.fifo.is_taken() {
            return 0;
        }
        let head = slot.fifo.head(&mut self.glass).unwrap_or_else(|error| {
            tracing::error!(fifo = slot.fifo.name(), "cannot read a FIFO: {error}");
            Head::End
        });
        let (offset, bytes) = match head {
            Head::Block(offset, bytes) | Head::Oversize(offset, bytes) => (offset, bytes),
            // Docker may leave one behind that has no writer and no end; a newer one says that it is over.
            Head::Nothing(false) if container.fifos.len() == 1 => {
                let data = EventData::new_u64(index as u64);
                let when = EventFlags::IN | EventFlags::ONESHOT;
                if let Err(error) = epoll::modify(&*self.waiting, slot.fifo.descriptor(), data, when) {
                    tracing::error!(fifo = slot.fifo.name(), "cannot wait for a FIFO: {error}");
                }
                return 0;
            }
            Head::Nothing(true) => {
                self.ready.push_back(index);
                return 0;
            }
            Head::Nothing(false) | Head::End => {
                self.end(index, now, sink);
                return 0;
            }
        };
        let length = bytes.len() as u64;
        if mode == Mode::Count {
            self.uncounted.0 += Lines(docker_entry::lines(bytes));
            self.uncounted.1 += Bytes(length);
        } else {
            let source = *container.source.get_or_insert_with(|| {
                self.sources += 1;
                sink(Event::Opened { source: self.sources, described: &container.described });
                self.sources
            });
            sink(Event::Data { source, offset, bytes });
        }
        slot.news = true;
        self.ready.push_back(index);
        if mode != Mode::Exact {
            self.release();
        }
        length
    }

    /// A FIFO has ended: the next of its container is read.
    fn end(&mut self, index: usize, now: Monotonic, sink: &mut dyn FnMut(Event<'_>)) {
        let Some(slot) = self.fifos[index].take() else { return };
        // It leaves with its descriptor anyway.
        let _ = epoll::delete(&*self.waiting, slot.fifo.descriptor());
        self.ended.push(slot.fifo.name().to_owned());
        let Some(container) = self.containers.get_mut(&slot.container) else { return };
        container.fifos.retain(|other| *other != index);
        if let Some(source) = container.source {
            sink(Event::Ended { source });
        }
        match container.fifos.front() {
            Some(next) => self.ready.push_back(*next),
            None => container.left_at = Some(if slot.stopped { Monotonic::default() } else { now }),
        }
        self.forget(now, sink);
    }

    /// Closes containers that have left.
    fn forget(&mut self, now: Monotonic, sink: &mut dyn FnMut(Event<'_>)) {
        self.containers.retain(|_, container| {
            let has_left =
                container.left_at.is_some_and(|left| left + LINGER <= now || left == Monotonic::default());
            if let Some(source) = container.source.filter(|_| has_left) {
                sink(Event::Closed { source });
            }
            !has_left
        });
    }

    /// Does what the supervisor says.
    fn obey(&mut self, now: Monotonic, sink: &mut dyn FnMut(Event<'_>)) {
        let orders = std::mem::take(&mut *self.orders.lock().unwrap_or_else(PoisonError::into_inner));
        for order in orders {
            match order {
                Order::Ready(index) => self.ready.push_back(index),
                Order::Attach(name, Some(descriptor)) => self.attach(name, descriptor, now),
                Order::Attach(name, None) => {
                    if let Ok(entry) = self.registry.load(&name) {
                        sink(Event::Vanished { described: &entry.described });
                    }
                    self.ended.push(name);
                }
                Order::Stopped(name) => {
                    let slots = self.fifos.iter_mut().flatten();
                    slots.filter(|slot| slot.fifo.name() == name).for_each(|slot| slot.stopped = true);
                }
            }
        }
    }

    fn attach(&mut self, name: String, descriptor: OwnedFd, now: Monotonic) {
        let entry = self.registry.load(&name).unwrap_or_else(|error| {
            tracing::error!(fifo = name, "nobody knows whose FIFO this is: {error}");
            Default::default()
        });
        let container = match entry.described.container.as_str() {
            "" => name.clone(),
            id => id.to_owned(),
        };
        // A place is used again; a word that still comes for the one before costs a look.
        let free = self.fifos.iter().position(Option::is_none);
        let index = free.unwrap_or(self.fifos.len());
        let fifo = Fifo::new(descriptor, name.clone(), self.committed.get(&name), &mut self.glass);
        let waits = fifo.and_then(|fifo| {
            // Nothing is waited for yet: only who was found empty is.
            epoll::add(
                &*self.waiting,
                fifo.descriptor(),
                EventData::new_u64(index as u64),
                EventFlags::ONESHOT,
            )?;
            Ok(fifo)
        });
        let fifo = match waits {
            Ok(fifo) => fifo,
            Err(error) => return tracing::error!(fifo = name, "cannot read a FIFO: {error}"),
        };
        let slot = Slot { fifo, container: container.clone(), stopped: entry.stopped, news: false };
        match free {
            Some(index) => self.fifos[index] = Some(slot),
            None => self.fifos.push(Some(slot)),
        }
        let container = self.containers.entry(container).or_default();
        if container.source.is_none() {
            container.described = entry.described;
        }
        container.left_at = None;
        container.fifos.push_back(index);
        let first = container.fifos[0];
        self.ready.push_back(first);
        self.not_before = now;
    }

    fn say_alive(&mut self, now: Monotonic) {
        if self.alive_at <= now {
            self.alive_at = now + ALIVE_EVERY;
            // A supervisor that does not listen has not read the last one either.
            let _ = link::send(&*self.link, &Message::Alive, None);
        }
    }
}

/// The thread that waits.
struct Watch {
    waiting: Arc<OwnedFd>,
    link: Arc<OwnedFd>,
    orders: Arc<Mutex<Vec<Order>>>,
}

impl Watch {
    /// Waits until the supervisor is gone.
    fn run(&self, wake: impl Fn()) -> io::Result<()> {
        let mut events: Vec<Polled> = Vec::with_capacity(256);
        loop {
            events.clear();
            match epoll::wait(&*self.waiting, rustix::buffer::spare_capacity(&mut events), None) {
                Err(Errno::INTR) => continue,
                result => result?,
            };
            let mut orders = Vec::new();
            let mut is_over = false;
            for event in &events {
                match event.data.u64() {
                    LINK => is_over |= self.receive(&mut orders)?,
                    index => orders.push(Order::Ready(index as usize)),
                }
            }
            self.orders.lock().unwrap_or_else(PoisonError::into_inner).append(&mut orders);
            wake();
            if is_over {
                return Ok(());
            }
        }
    }

    /// All orders that have come. True when the supervisor is gone.
    fn receive(&self, orders: &mut Vec<Order>) -> io::Result<bool> {
        loop {
            match link::receive(&*self.link) {
                Ok(None) => return Ok(true),
                Ok(Some((Message::Attach(name), descriptor))) => orders.push(Order::Attach(name, descriptor)),
                Ok(Some((Message::Stopped(name), _))) => orders.push(Order::Stopped(name)),
                Ok(Some(_)) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::mpsc;

    use super::*;
    use crate::input::docker_driver::registry::Entry;

    #[test]
    fn the_more_comes_the_sooner_is_looked_again() {
        let check = |taken, within, want| {
            assert_eq!(pause(taken, Duration::from_millis(within)), Duration::from_millis(want));
        };
        check(0, 0, 3); // nobody knows yet
        check(0, 20, 20);
        check(100, 20, 20); // 5 kB/s
        check(256 << 10, 10, 10); // 26 MB/s
        check(64 << 10, 1, 4); // as much as that in a millisecond, behind a look that found little
        check(1 << 20, 8, 3);
        check(0, u64::MAX, 20);
    }

    /// An epoch may be on its way that says nothing of what was taken after it was cut.
    #[test]
    fn fault_068_what_was_not_told_stays_in_its_fifo() {
        let room = tempfile::tempdir().expect("a folder");
        let registry = Registry::open(room.path().to_owned()).expect("a folder");
        registry.save("f", &Entry::default()).expect("there is room");
        let (ours, theirs) = link::pair().expect("sockets");
        let (wake, woken) = mpsc::sync_channel(1);
        let wake = move || wake.try_send(()).unwrap_or_default();
        let mut follow = Follow::new(theirs, registry, Vec::new(), wake, || {}).expect("a thread");
        let (reader, mut writer) = io::pipe().expect("a pipe");
        let frame = b"\0\0\0\x0f\x0a\x06stdout\x10\x01\x1a\x03one";
        writer.write_all(frame).expect("there is room");
        let reader = OwnedFd::from(reader);
        link::send(&ours, &Message::Attach("f".to_owned()), Some(&reader)).expect("it listens");
        woken.recv().expect("it listens");

        let mut taken = Vec::new();
        follow.poll(Now::default(), Mode::Exact, &mut |event| {
            if let Event::Data { bytes, .. } = event {
                taken.extend_from_slice(bytes);
            }
        });
        assert_eq!(taken, frame);
        let left = || rustix::io::ioctl_fionread(&reader).expect("a pipe");
        follow.settle();
        assert_eq!((left(), follow.is_taken()), (frame.len() as u64, true));
        let (mut blocks, mut gone) = (Vec::new(), Vec::new());
        follow.tell(&mut blocks, &mut gone);
        assert_eq!((blocks.len(), blocks[0].length), (1, frame.len() as u64));
        follow.settle();
        assert_eq!((left(), follow.is_taken()), (0, false));
    }
}

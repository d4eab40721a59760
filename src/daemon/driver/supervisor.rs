//! The supervisor: answers dockerd, remembers and holds the FIFOs, keeps a worker alive.
//!
//! One thread; nothing here waits for Kafka or for the outbox. The socket is bound before anything else is looked at.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::Interest;
use tokio::net::{UnixDatagram, UnixListener};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{Listening, Options, Settings, Shared};
use crate::daemon::clock;
use crate::input::docker_driver::api::{self, Plugin};
use crate::input::docker_driver::fifo::CAPACITY;
use crate::input::docker_driver::info::{Described, Info};
use crate::input::docker_driver::link::{self, Message};
use crate::input::docker_driver::options::LogOpts;
use crate::input::docker_driver::registry::{Entry, Known, Registry};

/// How long a worker may say nothing (`faults.md` 71).
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How long it may say nothing when it starts: an outbox of 4 GiB is checked in 5 s.
const START_MAX: Duration = Duration::from_secs(60);
/// The first pause before another worker is started; each death within [`CALM`] doubles it.
const PAUSE: Duration = Duration::from_millis(20);
/// The longest pause: no container may stand still for longer than 2 s, and a busy machine takes its time with a start.
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// How long a worker may take to make room for another one with a new config: what it waits for the output, and the end of its
/// threads. Containers wait meanwhile, once their FIFOs are full.
const RENEW_MAX: Duration = Duration::from_millis(1_500);
/// A worker that lived so long begins anew.
const CALM: Duration = Duration::from_secs(1);

/// What it knows.
struct Fifos {
    registry: Registry,
    shared: Shared,
    held: BTreeMap<String, Held>,
    numbers: u64,
    /// What the worker has not been told yet.
    outgoing: VecDeque<Message>,
    news: Rc<Notify>,
}

/// A FIFO that has not ended.
struct Held {
    /// `None`: it is gone, and the worker has to tell that.
    descriptor: Option<OwnedFd>,
    entry: Entry,
}

impl Plugin for Fifos {
    fn start(&mut self, file: &str, info: &Info) -> Result<(), String> {
        let mut options = LogOpts::parse(&info.config)?;
        self.shared.read(&mut options)?;
        let name =
            Registry::name(Path::new(file)).ok_or_else(|| format!("squall cannot use the FIFO {file}"))?;
        if self.held.contains_key(&name) {
            return Ok(()); // dockerd asks again when an answer came late
        }
        for option in &options.idle {
            let container = info.name();
            tracing::warn!(
                container,
                option,
                "dockerd does not act on this option; max-size, max-file and compress are what it has"
            );
        }
        let described = Described::new(info, &options);
        let entry = Entry { file: file.into(), described, number: self.numbers, stopped: false };
        let descriptor = open(&entry.file).map_err(|error| format!("squall cannot open {file}: {error}"))?;
        self.registry
            .save(&name, &entry)
            .map_err(|error| format!("squall cannot remember {file}: {error}"))?;
        self.numbers += 1;
        self.hold(name, Held { descriptor: Some(descriptor), entry });
        Ok(())
    }

    fn stop(&mut self, file: &str) {
        let Some(name) = Registry::name(Path::new(file)) else { return };
        // Whoever is not known has ended.
        let Some(held) = self.held.get_mut(&name) else { return };
        held.entry.stopped = true;
        if let Err(error) = self.registry.save(&name, &held.entry) {
            tracing::warn!(fifo = name, "cannot remember that a FIFO was stopped: {error}");
        }
        self.outgoing.push_back(Message::Stopped(name));
        self.news.notify_one();
    }
}

impl Fifos {
    fn open(options: &Options, news: Rc<Notify>) -> io::Result<Fifos> {
        let registry = Registry::open(options.registry.clone())?;
        let Known { entries, broken } = registry.all()?;
        for path in broken {
            tracing::error!(path = %path.display(), "what was known of a FIFO cannot be read; it is set aside");
        }
        let numbers = entries.last().map_or(0, |(_, entry)| entry.number + 1);
        let shared = options.settings.shared.clone();
        let mut fifos =
            Fifos { registry, shared, held: BTreeMap::new(), numbers, outgoing: VecDeque::new(), news };
        for (name, entry) in entries {
            let descriptor = open(&entry.file);
            if let Err(error) = &descriptor {
                tracing::error!(container = entry.described.name, "a FIFO cannot be opened again: {error}");
            }
            fifos.hold(name, Held { descriptor: descriptor.ok(), entry });
        }
        Ok(fifos)
    }

    fn hold(&mut self, name: String, held: Held) {
        self.held.insert(name.clone(), held);
        self.outgoing.push_back(Message::Attach(name));
        self.news.notify_one();
    }

    fn forget(&mut self, name: &str) {
        self.held.remove(name);
        if let Err(error) = self.registry.remove(name) {
            tracing::warn!(fifo = name, "cannot forget a FIFO: {error}");
        }
    }

    /// A new worker knows nothing.
    fn tell_everything(&mut self) {
        let mut names: Vec<_> =
            self.held.iter().map(|(name, held)| (held.entry.number, name.clone())).collect();
        names.sort_unstable();
        self.outgoing = names.into_iter().map(|(_, name)| Message::Attach(name)).collect();
    }

    /// Sends all that the worker has not been told; `WouldBlock` where it cannot take all of it now.
    fn send(&mut self, link: &UnixDatagram) -> io::Result<()> {
        while let Some(message) = self.outgoing.front() {
            // Of one that has ended meanwhile there is nothing to say.
            if let Message::Attach(name) | Message::Stopped(name) = message
                && let Some(held) = self.held.get(name)
            {
                link::send(link, message, held.descriptor.as_ref())?;
            }
            self.outgoing.pop_front();
        }
        Ok(())
    }
}

/// Opens the reading end, which must not be the end that keeps the FIFO alive: its end must be seen.
fn open(file: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let descriptor = rustix::fs::open(file, flags, Mode::empty())?;
    if !rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&descriptor)?.st_mode).is_fifo() {
        return Err(io::Error::other("it is no FIFO"));
    }
    // A smaller one works, too.
    let _ = rustix::pipe::fcntl_setpipe_size(&descriptor, CAPACITY);
    Ok(descriptor)
}

/// Runs until it is told to stop.
///
/// # Errors
/// When the socket cannot be bound, or the registry not be read.
pub fn run(options: Options) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, supervise(options))
}

async fn supervise(mut options: Options) -> io::Result<()> {
    let listener = match &options.socket {
        Listening::At(socket) => bind(socket)?,
        Listening::Inherited(socket) => take_over(socket)?,
    };
    let mut stops = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
    let news = Rc::new(Notify::new());
    let fifos = Rc::new(RefCell::new(Fifos::open(&options, Rc::clone(&news))?));
    tokio::task::spawn_local(listen(listener, Rc::clone(&fifos)));
    match &options.socket {
        Listening::At(socket) => tracing::info!(socket = %socket.display(), "dockerd may come"),
        Listening::Inherited(_) => tracing::info!("dockerd may come to the socket that is standard input"),
    }
    let mut hangup = signal(SignalKind::hangup())?;
    let mut pause = PAUSE;
    loop {
        let started = clock::now().arrival;
        fifos.borrow_mut().tell_everything();
        let [terminate, interrupt] = &mut stops;
        match start(&options.worker) {
            Ok((mut worker, link)) => {
                let ended = tokio::select! {
                    ended = attend(&mut worker, &link, &fifos, &news) => ended,
                    settings = another(&mut options, &mut hangup) => {
                        fifos.borrow_mut().shared = settings.shared.clone();
                        options.settings = settings;
                        end(worker, Signal::HUP, RENEW_MAX).await?;
                        tracing::info!("another worker goes on with the new config");
                        continue;
                    }
                    _ = terminate.recv() => return stop(worker, &options).await,
                    _ = interrupt.recv() => return stop(worker, &options).await,
                };
                match ended {
                    Ok(status) => tracing::error!("the worker has ended ({status}); another one goes on"),
                    Err(error) => {
                        tracing::error!("the worker cannot be attended ({error}); another one goes on");
                        // Two that read the same FIFOs would each take half.
                        worker.kill().await?;
                    }
                }
            }
            // Too many processes or files on this machine, say. That passes, and a supervisor that ends is worse.
            Err(error) => tracing::error!("no worker can be started: {error}"),
        }
        pause = if clock::now().arrival.since(started) >= CALM { PAUSE } else { (pause * 2).min(PAUSE_MAX) };
        let [terminate, interrupt] = &mut stops;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
}

/// A socket left behind by the last life is replaced: two plugins cannot have one name.
fn bind(socket: &Path) -> io::Result<UnixListener> {
    if let Some(dir) = socket.parent() {
        fs::create_dir_all(dir)?;
    }
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// The file of an inherited socket belongs to whoever made it: it is neither bound nor removed.
fn take_over(socket: &OwnedFd) -> io::Result<UnixListener> {
    let socket = std::os::unix::net::UnixListener::from(socket.try_clone()?);
    socket.set_nonblocking(true)?;
    UnixListener::from_std(socket)
}

async fn listen(listener: UnixListener, fifos: Rc<RefCell<Fifos>>) {
    loop {
        match listener.accept().await {
            Ok((connection, _)) => drop(tokio::task::spawn_local(api::serve(connection, Rc::clone(&fifos)))),
            Err(error) => {
                tracing::error!("dockerd cannot be heard: {error}");
                // There are no descriptors left, say; without a pause it would be said a million times.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Waits for another config.
async fn another(options: &mut Options, hangup: &mut tokio::signal::unix::Signal) -> Settings {
    loop {
        let asked = match options.watch {
            Some(every) => timeout(every, hangup.recv()).await.is_ok(),
            None => hangup.recv().await.is_some(),
        };
        if let Some(settings) = (options.reread)(asked) {
            return settings;
        }
    }
}

fn start(args: &[OsString]) -> io::Result<(Child, UnixDatagram)> {
    let (ours, theirs) = link::pair()?;
    // Not of datagrams, but tokio need not know that: it only waits.
    let link = UnixDatagram::from_std(ours.into())?;
    let mut command = Command::new("/proc/self/exe");
    let worker = command.args(args).stdin(Stdio::from(theirs)).kill_on_drop(true).spawn()?;
    Ok((worker, link))
}

/// Serves a worker until it ends, and ends it when it hangs.
async fn attend(
    worker: &mut Child,
    link: &UnixDatagram,
    fifos: &RefCell<Fifos>,
    news: &Notify,
) -> io::Result<ExitStatus> {
    let mut heard_at = clock::now().arrival;
    let mut patience = START_MAX;
    let (mut has_sent, mut is_gone) = (false, false);
    loop {
        let silent = clock::now().arrival.since(heard_at);
        // It may have been us who stood still: what the worker has said meanwhile counts.
        if silent >= patience && !is_gone && hear(link, fifos)? == Heard::Words {
            (heard_at, patience) = (clock::now().arrival, SILENCE_MAX);
            continue;
        }
        if silent >= patience {
            tracing::error!("the worker has said nothing for {} s and is ended", silent.as_secs());
            worker.start_kill()?;
            return worker.wait().await;
        }
        tokio::select! {
            status = worker.wait() => return status,
            ready = link.readable(), if !is_gone => {
                ready?;
                let mut heard = Ok(Heard::Nothing);
                // It reads until nothing is left, and that is what tokio has to know.
                let _ = link.try_io(Interest::READABLE, || {
                    heard = hear(link, fifos);
                    Err::<(), _>(io::ErrorKind::WouldBlock.into())
                });
                is_gone = heard? == Heard::End;
                (heard_at, patience) = (clock::now().arrival, SILENCE_MAX);
            }
            ready = link.writable(), if !has_sent => {
                ready?;
                let sent = link.try_io(Interest::WRITABLE, || fifos.borrow_mut().send(link));
                // A worker that is gone is seen by its end.
                has_sent = !sent.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
            }
            () = news.notified() => has_sent = false,
            () = tokio::time::sleep(patience.saturating_sub(silent)) => {}
        }
    }
}

/// What there was to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    Words,
    /// There will be no more.
    End,
}

/// Hears all that the worker has said.
fn hear(link: &UnixDatagram, fifos: &RefCell<Fifos>) -> io::Result<Heard> {
    let mut heard = Heard::Nothing;
    loop {
        match link::receive(link) {
            Ok(Some((message, _))) => {
                heard = Heard::Words;
                if let Message::Done(name) = message {
                    fifos.borrow_mut().forget(&name);
                }
            }
            Ok(None) => return Ok(Heard::End),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(heard),
            Err(error) => return Err(error),
        }
    }
}

/// Lets the worker end in order.
async fn stop(worker: Child, options: &Options) -> io::Result<()> {
    tracing::info!("stopping");
    end(worker, Signal::TERM, options.settings.shutdown_timeout + Duration::from_secs(1)).await
}

/// Asks a worker to end, and waits for it; not longer than `grace`.
async fn end(mut worker: Child, by: Signal, grace: Duration) -> io::Result<()> {
    if let Some(pid) = worker.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
        // It may have ended already.
        let _ = kill_process(pid, by);
    }
    match timeout(grace, worker.wait()).await {
        Ok(status) => tracing::info!("the worker has ended ({})", status?),
        Err(_) => {
            tracing::error!("the worker did not end in time");
            worker.kill().await?;
        }
    }
    Ok(())
}

//! Reading in turn: each source gets one buffer, then the next, so that a flood starves nobody.
//!
//! A source without anything to read leaves the round; a hint, a scan or its own deadline brings it back.

use std::io;
use std::time::Duration;

use rustix::io::Errno;

use crate::units::{Bytes, Monotonic};

use super::follow::{Generation, Standing, Took};
use super::refusals::Trouble;
use super::rest::Remains;
use super::scan::Role;
use super::source::{Finish, Source};
use super::{BUFFER_SIZE, Event, Loss, SourceId, Tail};

/// What a turn came to.
pub(super) enum Turned {
    Read(Bytes),
    /// So many bytes were looked at, and none handed out.
    Worked(Bytes),
    /// The state changed; there may be something to read.
    Again,
    /// Nothing to do until something is heard.
    Idle,
    /// Nothing to do until then.
    Until(Monotonic),
}

impl Tail {
    /// Reads until the share is used up or there is nothing left to read.
    pub(super) fn read_in_turn(
        &mut self,
        now: Monotonic,
        share: Bytes,
        sink: &mut dyn FnMut(Event<'_>),
    ) -> Bytes {
        let (mut read, mut worked) = (Bytes(0), Bytes(0));
        while read + worked < share {
            let Some(id) = self.ready.pop_front() else { break };
            let Some(source) = self.sources.get_mut(&id) else { continue };
            (source.ready, source.look_at) = (false, None);
            match self.turn(id, now, share - read - worked, sink) {
                Turned::Read(bytes) => {
                    read += bytes;
                    self.rouse(id);
                }
                Turned::Worked(bytes) => {
                    worked += bytes;
                    self.rouse(id);
                }
                Turned::Again => self.rouse(id),
                Turned::Idle => {}
                Turned::Until(at) => self.look_at(id, at),
            }
        }
        read
    }

    fn turn(&mut self, id: SourceId, now: Monotonic, left: Bytes, sink: &mut dyn FnMut(Event<'_>)) -> Turned {
        let Some(source) = self.sources.get_mut(&id) else { return Turned::Idle };
        let Some(front) = source.generations.front_mut() else { return Turned::Idle };
        if let Some(trouble) = front.trouble.filter(|trouble| now < trouble.retry_at) {
            return Turned::Until(trouble.retry_at);
        }
        match front.look(now) {
            Ok(Standing::Unread) => self.read(id, now, left, sink),
            Ok(Standing::AtEnd) => self.at_end(id, now, sink),
            Ok(Standing::Touched) => self.confirm(id, now, sink),
            Ok(Standing::Doubtful) => Turned::Until(now + RETRY),
            Ok(Standing::Replaced) if front.rest.is_some() => {
                self.give_up_rest(id, now, sink);
                Turned::Again
            }
            Ok(Standing::Replaced) => {
                let remains = front.begin_anew();
                self.moved.insert(front.identity);
                self.finish_elsewhere(id, remains, now, sink);
                Turned::Again
            }
            Ok(Standing::Astray) => {
                self.rescan = true;
                Turned::Until(now + RETRY)
            }
            Ok(Standing::Vanished) => {
                let remains = front.remains(Loss::Vanished, front.size);
                self.drop_front(id, now);
                self.finish_elsewhere(id, remains, now, sink);
                Turned::Again
            }
            Err(error) => self.fail(id, "look at", &error, now, sink),
        }
    }

    fn read(&mut self, id: SourceId, now: Monotonic, left: Bytes, sink: &mut dyn FnMut(Event<'_>)) -> Turned {
        if let Some(turned) = self.open_front(id, now, sink) {
            return turned;
        }
        let Some(source) = self.sources.get_mut(&id) else { return Turned::Idle };
        source.announce(sink);
        let Some(front) = source.generations.front_mut() else { return Turned::Idle };
        let room = usize::try_from(left.0).map_or(BUFFER_SIZE, |left| left.min(BUFFER_SIZE));
        let offset = front.offset;
        let took = front.read(&mut self.buffer, room);
        if took.is_ok() && front.trouble.take().is_some() {
            self.refusals.clear(&front.path);
        }
        match took {
            Ok(Took::Bytes(bytes)) => {
                (front.active, front.at_end_since) = (now, None);
                self.moved.insert(front.identity);
                sink(Event::Data { source: id, offset, bytes });
                Turned::Read(Bytes(bytes.len() as u64))
            }
            Ok(Took::Confirmed) => {
                self.queue_younger_archives(id, now);
                Turned::Again
            }
            Ok(Took::Passed(bytes)) => Turned::Worked(Bytes(bytes as u64)),
            Ok(Took::Nuls(nuls)) => {
                self.moved.insert(front.identity);
                sink(Event::Skipped { source: id, offset, nuls: Bytes(nuls) });
                Turned::Again
            }
            // The size promises bytes that are not there: emptied this moment, or a file system with stale sizes.
            Ok(Took::Nothing) => Turned::Until(now + RETRY),
            Ok(Took::Replaced) if front.rest.is_some() => {
                self.give_up_rest(id, now, sink);
                Turned::Again
            }
            // The next look says so, too.
            Ok(Took::Replaced) => Turned::Again,
            Ok(Took::Broken { is_cut }) => self.archive_broke(id, is_cut, now, sink),
            Err(error) => self.fail(id, "read", &error, now, sink),
        }
    }

    /// Somebody wrote to the front generation, and it did not grow: is it the content that we read?
    fn confirm(&mut self, id: SourceId, now: Monotonic, sink: &mut dyn FnMut(Event<'_>)) -> Turned {
        if let Some(turned) = self.open_front(id, now, sink) {
            return turned;
        }
        let front = self.sources.get_mut(&id).and_then(|source| source.generations.front_mut());
        match front.map(|front| front.confirm(now)) {
            Some(Err(error)) => self.fail(id, "read", &error, now, sink),
            _ => Turned::Again,
        }
    }

    /// Makes sure that the front generation is open; else says what became of the turn.
    fn open_front(
        &mut self,
        id: SourceId,
        now: Monotonic,
        sink: &mut dyn FnMut(Event<'_>),
    ) -> Option<Turned> {
        if self.sources.get(&id)?.generations.front()?.is_open() {
            return None;
        }
        if !self.descriptors.has_room_to_read(&mut self.sources) {
            return Some(Turned::Until(now + RETRY));
        }
        let open_archives = || {
            let fronts = self.sources.values().filter_map(|source| source.generations.front());
            fronts.filter(|front| front.is_open_archive()).count()
        };
        if self.sources.get(&id)?.generations.front()?.is_packed() && open_archives() >= ARCHIVES_MAX {
            return Some(Turned::Until(now + RETRY));
        }
        let front = self.sources.get_mut(&id)?.generations.front_mut()?;
        match front.open(&self.trust, now) {
            Ok(true) => {
                self.descriptors.opened();
                None
            }
            Ok(false) => {
                self.rescan = true;
                Some(Turned::Until(now + RETRY))
            }
            Err(error) => Some(self.fail(id, "open", &error, now, sink)),
        }
    }

    /// The front generation was read to its end.
    fn at_end(&mut self, id: SourceId, now: Monotonic, sink: &mut dyn FnMut(Event<'_>)) -> Turned {
        let Some(source) = self.sources.get_mut(&id) else { return Turned::Idle };
        if let Some(front) = source.generations.front_mut() {
            front.at_end_since.get_or_insert(now);
        }
        let finish = source.finish(now);
        if finish == Finish::Now {
            self.end_generation(id, now, sink);
            return Turned::Again;
        }
        // Who writes fast rotates often: do not wait for a hint to follow. A scan at this very time has just looked.
        if self.scanned != Some(now) && self.look_after_rotation(id, now, sink) {
            return Turned::Again;
        }
        match finish {
            Finish::At(at) => Turned::Until(at),
            _ => Turned::Idle,
        }
    }

    /// The front generation is over: what it held as an unfinished line is final.
    pub(super) fn end_generation(&mut self, id: SourceId, now: Monotonic, sink: &mut dyn FnMut(Event<'_>)) {
        let Some(mut front) = self.pop_front(id, now) else { return };
        if front.is_open() {
            front.close();
            self.descriptors.closed();
        }
        let (offset, nuls) = (front.offset, front.take_nuls());
        self.moved.insert(front.identity);
        // An archive is nobody's generation: it was wanted once.
        if front.deleted || front.vanished || front.is_packed() {
            self.known.remove(&front.identity);
        } else if let Some(known) = self.known.get_mut(&front.identity) {
            known.role = Role::Ended { print: front.fingerprint() };
        }
        if self.sources.get(&id).is_none_or(|source| !source.announced) {
            return;
        }
        if nuls > 0 {
            sink(Event::Skipped { source: id, offset, nuls: Bytes(nuls) });
        }
        if let Some(rest) = front.rest.filter(|rest| rest.of.size > front.offset) {
            // The copy or archive is shorter than what it was made of.
            self.lose(id, &Remains { offset: front.offset, ..rest.of }, sink);
        }
        sink(Event::GenerationEnded { source: id });
    }

    /// The front generation cannot be read. It keeps its position and is tried again with growing waits.
    fn fail(
        &mut self,
        id: SourceId,
        action: &str,
        error: &io::Error,
        now: Monotonic,
        sink: &mut dyn FnMut(Event<'_>),
    ) -> Turned {
        let Some(source) = self.sources.get_mut(&id) else { return Turned::Idle };
        let (announced, has_newer) = (source.announced, source.generations.len() > 1);
        let Some(front) = source.generations.front_mut() else { return Turned::Idle };
        let trouble = Trouble::after(front.trouble, now);
        front.trouble = Some(trouble);
        self.refusals.say(&front.path, format!("cannot {action}: {error}"), now, sink);
        if is_shortage(error) {
            // Not this file's fault, so it keeps its place.
            Turned::Until(now + RETRY)
        } else if self.options.until_eof {
            self.end_generation(id, now, sink);
            Turned::Again
        } else if has_newer {
            let Some(front) = self.pop_front(id, now) else { return Turned::Idle };
            if announced && front.offset > 0 {
                sink(Event::GenerationEnded { source: id });
            }
            self.set_apart(front, now, sink);
            Turned::Again
        } else {
            Turned::Until(trouble.retry_at)
        }
    }

    pub(super) fn pop_front(&mut self, id: SourceId, now: Monotonic) -> Option<Generation> {
        let source = self.sources.get_mut(&id)?;
        let front = source.generations.pop_front();
        if source.generations.is_empty() {
            source.empty_since = Some(now);
        }
        front
    }

    /// Gives a source a place in the round.
    pub(super) fn rouse(&mut self, id: SourceId) {
        let Some(source) = self.sources.get_mut(&id) else { return };
        if !source.ready && !source.generations.is_empty() {
            source.ready = true;
            self.ready.push_back(id);
        }
    }

    /// Gives every source a place in the round: the next `poll` looks at all files that are known, whatever was heard of
    /// them.
    pub fn rouse_all(&mut self) {
        for source in
            self.sources.values_mut().filter(|source| !source.ready && !source.generations.is_empty())
        {
            source.ready = true;
            self.ready.push_back(source.id);
        }
    }

    /// Gives those sources a place in the round whose time has come.
    pub(super) fn rouse_due(&mut self, now: Monotonic) {
        if self.look_at.is_none_or(|at| now < at) {
            return;
        }
        self.look_at = None;
        for source in self.sources.values_mut() {
            match source.look_at {
                Some(at) if at <= now && !source.ready => {
                    source.ready = true;
                    self.ready.push_back(source.id);
                }
                Some(at) if at > now => self.look_at = Some(self.look_at.map_or(at, |first| first.min(at))),
                _ => {}
            }
        }
    }

    fn look_at(&mut self, id: SourceId, at: Monotonic) {
        let Some(source) = self.sources.get_mut(&id) else { return };
        source.look_at = Some(at);
        self.look_at = Some(self.look_at.map_or(at, |first| first.min(at)));
    }
}

impl Source {
    /// Tells the sink of the source, unless it knows.
    pub(super) fn announce(&mut self, sink: &mut dyn FnMut(Event<'_>)) {
        if !std::mem::replace(&mut self.announced, true) {
            sink(Event::Opened { source: self.id, path: &self.key });
        }
    }
}

/// The process or the system has no descriptor or memory left.
fn is_shortage(error: &io::Error) -> bool {
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    error.raw_os_error().is_some_and(|code| shortages.contains(&Errno::from_raw_os_error(code)))
}

/// The wait when something else must happen first: a scan that finds a renamed file, a descriptor that comes free.
const RETRY: Duration = Duration::from_millis(250);
/// Unpacking takes 80 KiB; after a restart of a machine with a thousand containers it is done a few at a time.
const ARCHIVES_MAX: usize = 4;

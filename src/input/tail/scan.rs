//! The look at the file system: which files are new to us, and to which source do they belong?
//!
//! A family's members are walked newest first. Until the first one that we know, all are new generations, however
//! often the file was rotated since the last look; they are appended oldest first. Unknown files *behind* a known one
//! are not: they are copies (logrotate's `copytruncate`), or were there before us. If a glob covers such a file, and it
//! does not hold what we read, it is a source of its own: nothing that was asked for may stay unread.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::engine::state::FileId;
use crate::units::Monotonic;

use super::discover::{Fault, is_absence};
use super::family::{Families, Family, Member};
use super::fingerprint::Fingerprint;
use super::follow::Generation;
use super::identity::status_of;
use super::remote::Doubt;
use super::rest::Copy;
use super::rotation::{Age, split};
use super::source::Source;
use super::{Event, From, SOURCE_KEPT, SourceId, Tail};

/// What we know about a file that we have seen.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) source: SourceId,
    pub(super) role: Role,
    /// A name that led to it.
    pub(super) path: PathBuf,
    /// The scan that saw it last.
    pub(super) seen: u64,
    /// Of a file that was read to its end: whether a size below that may be stale.
    pub(super) doubt: Doubt,
}

/// What we do with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It is a generation of its source.
    Followed,
    /// It was read to its end, and its descriptor was given back.
    Ended { print: Fingerprint },
    /// It is an elder from before our time; or it came later, behind a file that we knew, and is a copy.
    PassedOver { is_copy: bool },
}

impl Tail {
    /// Looks at everything.
    pub(super) fn scan(&mut self, now: Monotonic, sink: &mut dyn FnMut(Event<'_>)) {
        self.scans += 1;
        let mut walk = self.globs.walk();
        let mut families = Families::of(&mut walk, &self.globs, &self.trust);
        families.merge_twins(|key| self.by_key.contains_key(key) || self.saved.has_source(key));
        self.restore(&families, now, sink);
        for (family, members) in families.list {
            self.adopt(family, members, &mut walk.faults, now, sink);
        }
        self.find_the_unseen(now, sink);
        for fault in walk.faults {
            self.refusals.say(&fault.path, fault.reason, now, sink);
        }
        for path in families.archives {
            let reason = "is compressed; only plain files are followed".to_owned();
            self.refusals.say(&path, reason, now, sink);
        }
        // A file may have come between the walk and the watch.
        self.rescan = self.watch.follow(&walk.directories);
        self.index_paths();
        self.forget(now, sink);
        self.rouse_all();
        self.scanned = Some(now);
    }

    /// Looks at the family of one source, whose newest name was seen to lead to an unknown file. True: there is more
    /// to read.
    pub(super) fn look_after_rotation(
        &mut self,
        id: SourceId,
        now: Monotonic,
        sink: &mut dyn FnMut(Event<'_>),
    ) -> bool {
        let Some(source) = self.sources.get(&id) else { return false };
        let (Some(family), Some(newest)) = (&source.family, source.generations.back()) else { return false };
        let newest = newest.identity;
        if family.newest().is_none_or(|found| found == newest || self.known.contains_key(&found)) {
            return false;
        }
        let family = family.clone();
        let mut faults = Vec::new();
        let members = family.members_after_rotation(&self.globs, &self.trust, &mut faults);
        self.sort_in(family, members, now, sink);
        for Fault { path, reason } in faults {
            self.refusals.say(&path, reason, now, sink);
        }
        self.sources
            .get(&id)
            .is_some_and(|source| source.generations.back().is_some_and(|g| g.identity != newest))
    }

    fn adopt(
        &mut self,
        family: Family,
        mut members: Vec<Member>,
        faults: &mut Vec<Fault>,
        now: Monotonic,
        sink: &mut dyn FnMut(Event<'_>),
    ) {
        let is_followed = self.by_key.contains_key(&family.key);
        let newest_is_new =
            members.first().is_some_and(|member| !self.known.contains_key(&member.status.identity));
        if is_followed && newest_is_new {
            // The walk's listing is some time old, and a rotation is under way: only a fresh look misses nothing.
            members = family.members_after_rotation(&self.globs, &self.trust, faults);
        }
        self.sort_in(family, members, now, sink);
    }

    fn sort_in(
        &mut self,
        family: Family,
        members: Vec<Member>,
        now: Monotonic,
        sink: &mut dyn FnMut(Event<'_>),
    ) {
        let source = self.by_key.get(&family.key).copied();
        let (mut fresh, mut passed_over) = (Vec::new(), Vec::new());
        let mut met = false;
        for member in members {
            if let Some(known) = self.known.get(&member.status.identity) {
                met |= Some(known.source) == source;
                self.meet_again(&member, source, now, sink);
            } else if self.options.until_eof && self.scans > 1 {
                // It came after the start.
            } else if self.own.has(member.status.identity) {
                let reason = "is written by this program itself".to_owned();
                self.refusals.say(&member.path, reason, now, sink);
            } else if met || (source.is_none() && !member.covered && !self.options.until_eof) {
                passed_over.push(member);
            } else {
                self.refusals.clear(&member.path);
                fresh.push(member);
            }
        }
        let id = match source {
            Some(id) => id,
            None if fresh.is_empty() => return,
            None => self.begin(family.key.clone()),
        };
        for member in fresh.iter().rev() {
            let generation = self.first_look(member, source.is_some(), now);
            self.append(id, generation, now, sink);
        }
        for member in passed_over {
            self.pass_over(id, &member, met, now, sink);
        }
        if let Some(source) = self.sources.get_mut(&id) {
            source.family = Some(family);
        }
    }

    /// Where reading begins in a file without a position. What a source with a position got while we were down is new.
    fn first_look(&self, member: &Member, is_continued: bool, now: Monotonic) -> Generation {
        let skips = self.options.from == From::End && self.scans == 1 && !is_continued;
        let begin = if skips { member.status.size } else { 0 };
        let mut generation = Generation::new(member, Fingerprint::unknown(begin), now);
        generation.limit = self.options.until_eof.then_some(member.status.size);
        generation
    }

    /// A file behind one that we know: its bytes are no part of the source's order any more.
    fn pass_over(
        &mut self,
        source: SourceId,
        member: &Member,
        met: bool,
        now: Monotonic,
        sink: &mut dyn FnMut(Event<'_>),
    ) {
        if met && member.covered {
            match self.is_copy(source, member) {
                Copy::Yes => {}
                Copy::Maybe => return,
                Copy::No => {
                    let generation = self.first_look(member, false, now);
                    return self.set_apart(generation, now, sink);
                }
            }
        }
        let role = Role::PassedOver { is_copy: met };
        let path = member.path.clone();
        let known = Known { source, role, path, seen: self.scans, doubt: Doubt::default() };
        self.known.insert(member.status.identity, known);
        self.moved.insert(member.status.identity);
    }

    /// A file that we know was seen, maybe under another name, maybe grown although we were through with it.
    fn meet_again(
        &mut self,
        member: &Member,
        family: Option<SourceId>,
        now: Monotonic,
        sink: &mut dyn FnMut(Event<'_>),
    ) {
        let identity = member.status.identity;
        let Some(known) = self.known.get_mut(&identity) else { return };
        known.seen = self.scans;
        if known.path != member.path {
            known.path.clone_from(&member.path);
        }
        let source = known.source;
        match known.role {
            Role::PassedOver { .. } => {}
            Role::Followed => {
                let generation =
                    self.sources.get_mut(&source).and_then(|source| source.generation_mut(identity));
                if let Some(generation) = generation {
                    if generation.path != member.path {
                        generation.path.clone_from(&member.path);
                        self.moved.insert(identity);
                    }
                    generation.reachable = true;
                }
            }
            Role::Ended { mut print } => {
                if known.doubt.is_cast_on(member.status.size, print.read, &member.path, now) {
                    return;
                }
                if member.status.size < print.read {
                    // It was emptied, and all that it holds is new.
                    print = Fingerprint::unknown(0);
                    known.role = Role::Ended { print };
                    self.moved.insert(identity);
                }
                if member.status.size == print.read || self.options.until_eof {
                    return;
                }
                let generation = Generation::new(member, print, now);
                if member.age == Age::Current && family == Some(source) {
                    // Renamed back, as the kubelet does when the runtime does not reopen: it is the newest again.
                    self.append(source, generation, now, sink);
                } else {
                    self.set_apart(generation, now, sink);
                }
            }
        }
    }

    /// Files that we know and the walk did not come by: moved elsewhere, not covered any more, or gone.
    fn find_the_unseen(&mut self, now: Monotonic, sink: &mut dyn FnMut(Event<'_>)) {
        // Where the newest name is missing, between rename and create, the walk sees none of the elders.
        let lost_sight: BTreeSet<SourceId> = self
            .unseen(now, sink)
            .iter()
            .filter_map(|identity| Some(self.known.get(identity)?.source))
            .collect();
        for id in &lost_sight {
            let Some(family) = self.sources.get(id).and_then(|source| source.family.clone()) else {
                continue;
            };
            // What cannot be looked at was said by the walk, or will be when its turn comes.
            let members = family.members_after_rotation(&self.globs, &self.trust, &mut Vec::new());
            self.sort_in(family, members, now, sink);
        }
        if !lost_sight.is_empty() {
            for identity in self.unseen(now, sink) {
                self.miss(identity);
            }
        }
    }

    /// Files that this scan has not seen, and that are not to be seen under their last name either.
    fn unseen(&mut self, now: Monotonic, sink: &mut dyn FnMut(Event<'_>)) -> Vec<FileId> {
        let scan = self.scans;
        let unseen = self.known.iter().filter(|(_, known)| known.seen != scan);
        let mut unseen: Vec<(FileId, PathBuf)> =
            unseen.map(|(identity, known)| (*identity, known.path.clone())).collect();
        unseen.retain(|(identity, path)| match status_of(path) {
            Ok(status) if status.identity == *identity => {
                let age = path.file_name().map_or(Age::Current, |name| split(name).age);
                let member = Member { age, path: path.clone(), covered: false, status };
                self.meet_again(&member, None, now, sink);
                false
            }
            Ok(_) => true,
            // Another error means that we may not look there now, which says nothing about the file.
            Err(error) => is_absence(&error),
        });
        unseen.into_iter().map(|(identity, _)| identity).collect()
    }

    /// No name that we know leads to the file.
    fn miss(&mut self, identity: FileId) {
        let Some(known) = self.known.get(&identity) else { return };
        let source = (known.role == Role::Followed).then_some(known.source);
        let generation = source
            .and_then(|source| self.sources.get_mut(&source))
            .and_then(|source| source.generation_mut(identity));
        match generation {
            // The descriptor keeps it for us.
            Some(generation) if generation.is_open() => generation.reachable = false,
            Some(generation) => generation.vanished = true,
            None => {
                self.known.remove(&identity);
                self.moved.insert(identity);
            }
        }
    }

    /// A new source under `key`.
    pub(super) fn begin(&mut self, key: PathBuf) -> SourceId {
        let id = SourceId(self.sources_begun);
        self.sources_begun += 1;
        self.sources.insert(id, Source::new(id, key.clone(), None));
        self.by_key.entry(key).or_insert(id);
        id
    }

    /// The newest generation of a source so far. It is opened at once, so that a deletion cannot take it from us.
    pub(super) fn append(
        &mut self,
        id: SourceId,
        mut generation: Generation,
        now: Monotonic,
        sink: &mut dyn FnMut(Event<'_>),
    ) {
        let path = generation.path.clone();
        let known =
            Known { source: id, role: Role::Followed, path, seen: self.scans, doubt: Doubt::default() };
        self.known.insert(generation.identity, known);
        self.moved.insert(generation.identity);
        let mut refused = false;
        if !generation.is_open() && self.descriptors.has_room_to_wait(&mut self.sources) {
            match generation.open(&self.trust, now) {
                Ok(true) => self.descriptors.opened(),
                Ok(false) => self.rescan = true,
                // The generation's turn tries again and tells.
                Err(_) => refused = true,
            }
        }
        generation.active = now;
        let Some(source) = self.sources.get_mut(&id) else { return };
        if let Some(last) = source.generations.back_mut() {
            // Its grace begins now: before, its writer had nowhere else to go.
            last.at_end_since = None;
        }
        source.generations.push_back(generation);
        source.empty_since = None;
        if !refused {
            source.announce(sink);
        }
        self.rouse(id);
    }

    /// Goes on with a generation as a source of its own, because its place in the order of its family has passed:
    /// somebody still writes to an elder, or an elder cannot be read and must not hold up the others.
    pub(super) fn set_apart(
        &mut self,
        generation: Generation,
        now: Monotonic,
        sink: &mut dyn FnMut(Event<'_>),
    ) {
        let taken = self.by_key.get(&generation.path).copied();
        let is_apart = |id: &SourceId| self.sources.get(id).is_some_and(|source| source.family.is_none());
        let id = taken.filter(is_apart).unwrap_or_else(|| self.begin(generation.path.clone()));
        self.append(id, generation, now, sink);
    }

    /// By which path a change of which source is told.
    fn index_paths(&mut self) {
        self.by_path.clear();
        for source in self.sources.values() {
            for generation in &source.generations {
                if let Some(path) = self.watch.real(&generation.path) {
                    self.by_path.insert(path, source.id);
                }
            }
        }
    }

    /// Lets go of sources whose files have been gone for long, so that short-lived containers do not add up.
    fn forget(&mut self, now: Monotonic, sink: &mut dyn FnMut(Event<'_>)) {
        self.refusals.prune(now);
        let is_over =
            |source: &Source| source.empty_since.is_some_and(|since| now.since(since) >= SOURCE_KEPT);
        let over: Vec<SourceId> = self.sources.values().filter(|s| is_over(s)).map(|s| s.id).collect();
        for id in &over {
            if self.sources.remove(id).is_some_and(|source| source.announced) {
                sink(Event::Closed { source: *id });
            }
        }
        if !over.is_empty() {
            self.by_key.retain(|_, id| self.sources.contains_key(id));
        }
    }
}

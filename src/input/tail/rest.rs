//! Where is the rest? A file that was not read to its end can be emptied after somebody copied it (logrotate's
//! `copytruncate`), or compressed and deleted. What it held is then in an elder under another number, known only by
//! its content; and if it is not, the loss is told.
//!
//! A file that was emptied may have been copied to a plain elder, and more than once since; copies that are newer than
//! the one with our rest are read whole. A file that is gone can only have become an archive: its plain elders are
//! generations of their own (row 6).
//! Limit: `CANDIDATES_MAX` files are looked at; an archive that ends too early is waited for as long as `CUT_WAIT`.

use std::path::PathBuf;
use std::time::Duration;

use crate::engine::state::FileId;
use crate::units::{Bytes, Monotonic};

use super::family::{Family, Member, is_gzip};
use super::fingerprint::Fingerprint;
use super::follow::Generation;
use super::remote::Doubt;
use super::scan::{Known, Role};
use super::turn::Turned;
use super::{Event, Loss, SourceId, Tail, identity};

/// What was not read of a file's content when it could not be had there any more.
#[derive(Clone, Debug)]
pub(super) struct Remains {
    pub(super) why: Loss,
    /// The last name that led to the file.
    pub(super) path: PathBuf,
    pub(super) file: FileId,
    pub(super) fingerprint: Fingerprint,
    /// Where reading goes on.
    pub(super) offset: u64,
    /// How long the content was when it was last seen.
    pub(super) size: u64,
    /// Archives, and copies, that were found not to hold it. They were tried newest first.
    pub(super) tried: Vec<Member>,
}

/// Whether a file is a copy of what a source reads.
pub(super) enum Copy {
    Yes,
    /// It may be in the making: look again at the next scan.
    Maybe,
    No,
}

impl Remains {
    /// Of a copy that is read whole.
    fn nothing(member: &Member) -> Remains {
        Remains {
            why: Loss::Truncated,
            path: member.path.clone(),
            file: member.status.identity,
            fingerprint: Fingerprint::unknown(0),
            offset: 0,
            size: 0,
            tried: Vec::new(),
        }
    }

    /// The bytes that are known to have been there.
    fn lost(&self) -> Bytes {
        Bytes(self.size.max(self.fingerprint.read).saturating_sub(self.offset))
    }
}

impl Tail {
    /// Goes on with what `remains` of a file in another file, in front of all that the source has; or tells of the
    /// loss.
    pub(super) fn finish_elsewhere(
        &mut self,
        id: SourceId,
        remains: Remains,
        now: Monotonic,
        sink: &mut dyn FnMut(Event<'_>),
    ) {
        // Content of which nothing is known would be found in every file.
        let found = remains.fingerprint.head_length > 0 && self.find_rest(id, &remains, now);
        if !found {
            self.lose(id, &remains, sink);
            if remains.why != Loss::Truncated {
                self.say(id, Event::GenerationEnded { source: id }, sink);
            }
        }
        self.rouse(id);
    }

    /// Tells of a loss.
    pub(super) fn lose(&mut self, id: SourceId, remains: &Remains, sink: &mut dyn FnMut(Event<'_>)) {
        let Remains { why, file, offset, .. } = *remains;
        let event =
            Event::Lost { source: id, why, path: &remains.path, file, read: offset, lost: remains.lost() };
        self.say(id, event, sink);
    }

    /// The front generation was to hold the rest of another, and does not: the next candidate, please.
    pub(super) fn give_up_rest(&mut self, id: SourceId, now: Monotonic, sink: &mut dyn FnMut(Event<'_>)) {
        let Some(front) = self.drop_front(id, now) else { return };
        let (offset, fingerprint) = (front.offset, front.fingerprint());
        let member = front.member();
        let Some(rest) = front.rest else { return };
        let mut remains = Remains { offset, fingerprint, ..rest.of };
        remains.tried.extend(member);
        self.finish_elsewhere(id, remains, now, sink);
    }

    /// The archive in front holds the rest. So those that were tried before are younger, and were written and packed
    /// while we were down: they are next, oldest first. Beside a source that was set apart they prove nothing.
    pub(super) fn queue_younger_archives(&mut self, id: SourceId, now: Monotonic) {
        let Some(source) = self.sources.get_mut(&id).filter(|source| source.family.is_some()) else { return };
        let Some(front) = source.generations.front_mut() else { return };
        let age = front.member().map(|member| member.age);
        let Some(rest) = &mut front.rest else { return };
        let mut younger = std::mem::take(&mut rest.of.tried);
        younger.retain(|member| is_gzip(&member.path) && age.as_ref().is_some_and(|age| member.age < *age));
        if younger.is_empty() {
            return;
        }
        let Some(front) = source.generations.pop_front() else { return };
        for member in younger {
            let whole = Generation::rest(&member, Remains::nothing(&member), true, now);
            self.put_in_front(id, whole);
        }
        if let Some(source) = self.sources.get_mut(&id) {
            source.generations.push_front(front);
        }
    }

    /// The archive in front ends too early or is damaged.
    pub(super) fn archive_broke(
        &mut self,
        id: SourceId,
        is_cut: bool,
        now: Monotonic,
        sink: &mut dyn FnMut(Event<'_>),
    ) -> Turned {
        let front = self.sources.get_mut(&id).and_then(|source| source.generations.front_mut());
        let Some(front) = front else { return Turned::Idle };
        front.close();
        self.descriptors.closed();
        let Some(rest) = &mut front.rest else { return Turned::Idle };
        if is_cut && now < *rest.cut_since.get_or_insert(now) + CUT_WAIT {
            return Turned::Until(now + CUT_RETRY);
        }
        if front.offset == rest.of.offset {
            self.give_up_rest(id, now, sink);
        } else {
            // Told here, so that the end of the generation does not tell it again.
            let size = std::mem::take(&mut rest.of.size);
            let remains = front.remains(Loss::Damaged, size);
            self.lose(id, &remains, sink);
            self.end_generation(id, now, sink);
        }
        Turned::Again
    }

    /// Takes the front generation away without a word. The file is not known any more.
    pub(super) fn drop_front(&mut self, id: SourceId, now: Monotonic) -> Option<Generation> {
        let mut front = self.pop_front(id, now)?;
        if front.is_open() {
            front.close();
            self.descriptors.closed();
        }
        self.known.remove(&front.identity);
        self.moved.insert(front.identity);
        Some(front)
    }

    fn find_rest(&mut self, id: SourceId, remains: &Remains, now: Monotonic) -> bool {
        let mut newer = Vec::new();
        for (member, is_packed) in self.candidates(id, remains) {
            let mut rest = Generation::rest(&member, remains.clone(), is_packed, now);
            if is_packed {
                // Whether it fits shows when it is unpacked.
                self.put_in_front(id, rest);
                return true;
            }
            if remains.why != Loss::Truncated {
                continue;
            }
            // What cannot be opened is no candidate; the loss will be told.
            let fits = rest.open(&self.trust, now).unwrap_or(false) && !rest.is_replaced();
            rest.close();
            if fits {
                for member in newer {
                    let whole = Generation::rest(&member, Remains::nothing(&member), false, now);
                    self.put_in_front(id, whole);
                }
                self.put_in_front(id, rest);
                return true;
            }
            newer.push(member);
        }
        false
    }

    /// The files that may hold the rest, newest first. Archives come last: a plain file can be had at once.
    fn candidates(&self, id: SourceId, remains: &Remains) -> Vec<(Member, bool)> {
        let Some(source) = self.sources.get(&id) else { return Vec::new() };
        let mut family = source.family.clone().unwrap_or_else(|| Family::new(source.key.clone()));
        family.add_place(&remains.path);
        let is_free = |member: &Member| {
            let role = self.known.get(&member.status.identity).map(|known| known.role);
            !remains.tried.iter().any(|tried| tried.status.identity == member.status.identity)
                && matches!(role, None | Some(Role::PassedOver { .. }))
        };
        let (plain, packed) = family.elders(&self.globs);
        let plain = plain.into_iter().filter(|member| {
            // Elders from before our time are older than what we read.
            let role = self.known.get(&member.status.identity).map(|known| known.role);
            role != Some(Role::PassedOver { is_copy: false }) && is_free(member)
        });
        let plain = plain.map(|member| (member, false));
        let packed = packed.into_iter().filter(is_free).map(|member| (member, true));
        plain.chain(packed).take(CANDIDATES_MAX).collect()
    }

    /// Whether a file that the globs cover, and that appeared behind a source we know, is only a copy of what the source
    /// reads. A copy that is being made is longer at the next scan. Less than a full head proves nothing: two files may
    /// well begin with the same banner, and a short copy that is read twice is the lesser evil.
    pub(super) fn is_copy(&mut self, id: SourceId, member: &Member) -> Copy {
        let file = member.status.identity;
        let front = self.sources.get(&id).and_then(|source| source.generations.front());
        let Some(print) = front.map(Generation::fingerprint).filter(Fingerprint::is_full) else {
            return Copy::No;
        };
        let Ok(Some(opened)) = identity::open(&member.path, file, &self.trust) else { return Copy::No };
        if print.fits(&opened).unwrap_or(false) {
            self.undecided.remove(&file);
            return Copy::Yes;
        }
        let is_shorter = member.status.size < print.read;
        let may_become_one = is_shorter
            && (member.status.size < u64::from(print.head_length)
                || print.fits_head(&opened).unwrap_or(false));
        let grew =
            self.undecided.insert(file, member.status.size).is_none_or(|size| size < member.status.size);
        if may_become_one && grew {
            return Copy::Maybe;
        }
        self.undecided.remove(&file);
        Copy::No
    }

    /// Puts a generation in front of all others of its source.
    fn put_in_front(&mut self, id: SourceId, mut generation: Generation) {
        let Some(source) = self.sources.get_mut(&id) else { return };
        // What `until_eof` reads was there before the start, or is the rest of it.
        generation.limit = None;
        let (file, path) = (generation.identity, generation.path.clone());
        source.generations.push_front(generation);
        source.empty_since = None;
        let (role, seen, doubt) = (Role::Followed, self.scans, Doubt::default());
        self.known.insert(file, Known { source: id, role, path, seen, doubt });
        self.moved.insert(file);
    }

    fn say(&mut self, id: SourceId, event: Event<'_>, sink: &mut dyn FnMut(Event<'_>)) {
        if let Some(source) = self.sources.get_mut(&id) {
            source.announce(sink);
        }
        sink(event);
    }
}

/// More elders than any rotation keeps beside one file.
const CANDIDATES_MAX: usize = 64;
/// How long an archive that ends too early is waited for: gzip writes some 30 MB of log a second on a slow machine.
pub(super) const CUT_WAIT: Duration = Duration::from_secs(10);
const CUT_RETRY: Duration = Duration::from_secs(1);

//! Positions: out of a running tail, and back into a new one.
//!
//! [`Tail::positions`] tells what changed since it was last asked, which costs nothing for files at rest.
//! [`Tail::resume`] takes all of it back before the first look. Then the first scan finds each file again: by its number
//! at its old name, under any name that the walk came by, or under any name in its directory; by inode and content when
//! only the device has another number, as after some reboots. Whether the content is still the one that was read shows
//! when the file is opened. A file that is not found may be in an archive (`rest`), or the loss is told.
//! Files that were not read to their end come before newer ones of their source, oldest first.
//! A file that was passed over is kept as `ended` with `read` below `size`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

use crate::engine::state::{FileId, Position};
use crate::units::Monotonic;

use super::discover::{Globs, parent};
use super::family::{Families, Family, Member, is_gzip};
use super::fingerprint::Fingerprint;
use super::follow::Generation;
use super::identity::{open, status_of};
use super::remote::Doubt;
use super::rest::Remains;
use super::rotation::{Age, split};
use super::scan::{Known, Role};
use super::{Event, Loss, SourceId, Tail};

/// What became of a file's position.
#[derive(Clone, Debug, PartialEq)]
pub enum Moved {
    /// It is another one now.
    To(Position),
    /// The file is gone for good, and nothing of it is to be read any more: forget it.
    Gone(FileId),
}

/// Positions of before the start.
#[derive(Default)]
pub(super) struct Saved {
    positions: Vec<Position>,
    sources: HashSet<PathBuf>,
}

impl Saved {
    pub(super) fn has_source(&self, key: &Path) -> bool {
        self.sources.contains(key)
    }
}

impl Tail {
    /// Goes on where a tail before this one was. To be called before the first `poll`. Hands back the positions that
    /// none of the globs covers any more: they may be another tail's.
    pub fn resume(&mut self, positions: Vec<Position>) -> Vec<Position> {
        let (own, others) =
            positions.into_iter().partition(|position| is_covered(&self.globs, &position.source));
        self.saved.positions = own;
        self.saved.sources = self.saved.positions.iter().map(|position| position.source.clone()).collect();
        others
    }

    /// Tells every position that changed since the last call. `unfinished` says where in the source's present file the
    /// first line begins of which only a part was read, if there is one; after a restart, reading goes on there.
    pub fn positions(
        &mut self,
        mut unfinished: impl FnMut(SourceId) -> Option<u64>,
        sink: &mut dyn FnMut(Moved),
    ) {
        for file in self.moved.drain() {
            let Some(known) = self.known.get(&file) else {
                sink(Moved::Gone(file));
                continue;
            };
            // A source that was forgotten has no files any more that could be read.
            let Some(source) = self.sources.get(&known.source) else { continue };
            let position = match known.role {
                Role::Followed => {
                    let at = source.generations.iter().position(|generation| generation.identity == file);
                    let Some(at) = at else { continue };
                    let unfinished = if at == 0 { unfinished(known.source) } else { None };
                    source.generations[at].position(&source.key, unfinished)
                }
                Role::Ended { print } => ended(file, known, &source.key, print, print.read),
                // At least 1, so that an empty one can be told from one that was read to its end.
                Role::PassedOver { .. } => ended(file, known, &source.key, Fingerprint::unknown(0), 1),
            };
            sink(Moved::To(position));
        }
    }

    /// Finds the files of before the start again. Only the first scan has any.
    pub(super) fn restore(&mut self, families: &Families, now: Monotonic, sink: &mut dyn FnMut(Event<'_>)) {
        let positions = std::mem::take(&mut self.saved.positions);
        let mut search = Search::new(families);
        let mut sources: BTreeMap<PathBuf, (Vec<Generation>, Vec<Position>)> = BTreeMap::new();
        for position in positions {
            let source = sources.entry(position.source.clone()).or_default();
            let found = search.find(&position, self);
            if found.as_ref().is_none_or(|member| member.status.identity != position.file) {
                self.moved.insert(position.file);
            }
            match found {
                None if position.ended && !was_live(&position) => {}
                None => source.1.push(position),
                Some(member) if position.ended && !self.goes_on(&position, &member) => {
                    self.recall(&position, &member, now);
                }
                Some(member) => source.0.push(self.resumed(&member, &position, now)),
            }
        }
        for (key, (mut found, mut missing)) in sources {
            let id = self.source_of(&key, now);
            found.sort_by_key(|generation| Reverse(age_of(&generation.path)));
            // Each goes in front of what is there, so that the oldest has to be the last one.
            missing.sort_by_key(|position| age_of(&position.path));
            for generation in found {
                self.append(id, generation, now, sink);
            }
            for position in missing {
                let remains = Remains {
                    why: Loss::NotFound,
                    path: position.path.clone(),
                    file: position.file,
                    fingerprint: Fingerprint::of_position(&position),
                    offset: position.resume.min(position.read),
                    size: position.size,
                    tried: Vec::new(),
                };
                self.finish_elsewhere(id, remains, now, sink);
            }
        }
        self.saved.sources.clear();
    }

    /// Whether a file that was read to its end is to be read on. One that was still written to may have grown, or been
    /// emptied, since. Of others only a run with `until_eof` asks here: it is the only one to look, else a scan sees to
    /// what was written since.
    fn goes_on(&self, position: &Position, member: &Member) -> bool {
        let was_read = position.read >= position.size;
        was_live(position) || self.options.until_eof && was_read && member.status.size != position.read
    }

    /// A file that is not to be read again.
    fn recall(&mut self, position: &Position, member: &Member, now: Monotonic) {
        let source = self.source_of(&position.source, now);
        let role = match position.read < position.size {
            true => Role::PassedOver { is_copy: false },
            false => Role::Ended { print: Fingerprint::of_position(position) },
        };
        let path = member.path.clone();
        self.known
            .insert(member.status.identity, Known { source, role, path, seen: 0, doubt: Doubt::default() });
    }

    fn resumed(&self, member: &Member, position: &Position, now: Monotonic) -> Generation {
        if is_gzip(&member.path) && split_name(&member.path).is_some_and(|(_, compressed)| compressed) {
            let remains = Remains {
                why: Loss::NotFound,
                path: position.path.clone(),
                file: position.file,
                fingerprint: Fingerprint::of_position(position),
                offset: position.resume.min(position.read),
                size: 0,
                tried: Vec::new(),
            };
            return Generation::rest(member, remains, true, now);
        }
        let mut generation = Generation::resumed(member, position, now);
        generation.limit = self.options.until_eof.then_some(member.status.size);
        generation
    }

    /// The source of that name, begun if need be. It has a family if its name is one that we look for; otherwise it
    /// was set apart.
    fn source_of(&mut self, key: &Path, now: Monotonic) -> SourceId {
        if let Some(id) = self.by_key.get(key) {
            return *id;
        }
        let id = self.begin(key.to_owned());
        let has_family = age_of(key) == Age::Current && self.globs.cover(key);
        if let Some(source) = self.sources.get_mut(&id) {
            source.empty_since = Some(now);
            source.family = has_family.then(|| Family::new(key.to_owned()));
        }
        id
    }
}

/// Whether a file that was read to its end had its source's own name then: only a run with `until_eof` ends such a file,
/// and it may have grown before it was rotated, packed or deleted.
fn was_live(position: &Position) -> bool {
    position.read >= position.size && age_of(&position.path) == Age::Current
}

fn ended(file: FileId, known: &Known, source: &Path, print: Fingerprint, size: u64) -> Position {
    Position {
        file,
        path: known.path.clone(),
        source: source.to_owned(),
        resume: print.read,
        read: print.read,
        size,
        head_length: print.head_length,
        head: print.head,
        marker: print.marker,
        ended: true,
    }
}

/// Whether a source is one of those that the globs name, or was set apart from one.
fn is_covered(globs: &Globs, source: &Path) -> bool {
    let base = source.file_name().map(|name| source.with_file_name(split(name).base));
    globs.cover(source) || base.is_some_and(|base| globs.cover(&base))
}

fn split_name(path: &Path) -> Option<(Age, bool)> {
    path.file_name().map(|name| split(name)).map(|rotated| (rotated.age, rotated.compressed))
}

fn age_of(path: &Path) -> Age {
    split_name(path).map_or(Age::Current, |(age, _)| age)
}

/// Where files are looked for. Each directory is listed once.
struct Search {
    /// What the walk came by.
    members: HashMap<FileId, Member>,
    /// The same, by inode.
    inodes: HashMap<u64, Vec<FileId>>,
    directories: HashMap<PathBuf, HashMap<u64, PathBuf>>,
}

impl Search {
    fn new(families: &Families) -> Search {
        let members = families.list.iter().flat_map(|(_, members)| members);
        let members: HashMap<FileId, Member> =
            members.map(|member| (member.status.identity, member.clone())).collect();
        let mut inodes: HashMap<u64, Vec<FileId>> = HashMap::new();
        for file in members.keys() {
            inodes.entry(file.inode).or_default().push(*file);
        }
        Search { members, inodes, directories: HashMap::new() }
    }

    /// The file of a position, whatever it is called now.
    fn find(&mut self, position: &Position, tail: &Tail) -> Option<Member> {
        if let Some(member) = self.members.get(&position.file) {
            return Some(member.clone());
        }
        let renamed = self.named(&position.path, position.file.inode);
        let candidates = [Some(position.path.clone()), renamed];
        let mut candidates: Vec<Member> = candidates.into_iter().flatten().filter_map(member_at).collect();
        if let Some(at) = candidates.iter().position(|member| member.status.identity == position.file) {
            return Some(candidates.swap_remove(at));
        }
        let same_inode = self.inodes.get(&position.file.inode).into_iter().flatten();
        candidates.extend(same_inode.filter_map(|file| self.members.get(file)).cloned());
        candidates.into_iter().find(|member| moved_device(member, position, tail).unwrap_or(false))
    }

    /// The name beside `path` that leads to `inode`.
    fn named(&mut self, path: &Path, inode: u64) -> Option<PathBuf> {
        let directory = parent(path);
        let names = match self.directories.get(directory) {
            Some(names) => names,
            // A directory that cannot be read holds nothing that could be found.
            None => {
                let names = inodes_in(directory).unwrap_or_default();
                self.directories.entry(directory.to_owned()).or_insert(names)
            }
        };
        names.get(&inode).cloned()
    }
}

/// Whether it is the file of `position` on a device that has another number now.
fn moved_device(member: &Member, position: &Position, tail: &Tail) -> io::Result<bool> {
    let (now, then) = (member.status.identity, position.file);
    if now.inode != then.inode || now.born != then.born || now.device == then.device {
        return Ok(false);
    }
    if position.ended && position.head_length == 0 {
        return Ok(now.born != 0);
    }
    let file = open(&member.path, now, &tail.trust)?;
    file.map_or(Ok(false), |file| Fingerprint::of_position(position).fits(&file))
}

fn member_at(path: PathBuf) -> Option<Member> {
    // What cannot be looked at was said by the walk, if it is one of ours.
    let status = status_of(&path).ok().filter(|status| status.refusal().is_none())?;
    Some(Member { age: age_of(&path), path, covered: false, status })
}

fn inodes_in(directory: &Path) -> io::Result<HashMap<u64, PathBuf>> {
    let mut names = HashMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        names.insert(entry.ino(), entry.path());
    }
    Ok(names)
}

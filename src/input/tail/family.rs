//! Which files belong together: a file that is being written and its rotated elders.
//!
//! In: the paths of a walk. Out: [`Family`]s, each with the names of its members, newest first; then, on request, what
//! those names lead to ([`Member`]).
//! Rotation renames while we look. Every file moves to an *older* name, so looking at the newest name first sees each
//! file at least once; [`Family::members_after_rotation`] looks again when the newest name changed hands meanwhile.
//! Not here: which members are new to us (`scan`).

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::engine::state::FileId;

use super::discover::{Fault, Globs, Listing, Walk, is_absence, list, parent};
use super::identity::{Status, status_of};
use super::rotation::{Age, Rotated, split};
use super::trust::Trust;

/// A file under its own name, and where its elders are to be found.
#[derive(Clone, Debug)]
pub(super) struct Family {
    /// The path of the newest member: the key of the source.
    pub(super) key: PathBuf,
    /// Directory and base name of the elders: beside the key, and beside what it leads to if it is a symbolic link.
    places: Vec<(PathBuf, OsString)>,
}

/// One file of a family, as it was when we looked.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) age: Age,
    /// The path without symbolic links in its last component.
    pub(super) path: PathBuf,
    /// Whether the globs cover the file, rather than its being the elder of one that they cover.
    pub(super) covered: bool,
    pub(super) status: Status,
}

/// The families that a walk found.
#[derive(Default)]
pub(super) struct Families {
    /// Each with its members, newest first.
    pub(super) list: Vec<(Family, Vec<Member>)>,
    /// Compressed files that the globs cover and that are nobody's elders.
    pub(super) archives: Vec<PathBuf>,
}

/// A name that a member may have.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    age: Age,
    path: PathBuf,
    covered: bool,
}

/// The names of one directory, by what they were called before rotation.
type Named = HashMap<OsString, Vec<(Age, OsString)>>;

impl Families {
    /// Sorts the paths of `walk` into families and looks at every member.
    pub(super) fn of(walk: &mut Walk, globs: &Globs, trust: &Trust) -> Families {
        let mut families: BTreeMap<PathBuf, (Family, Vec<Name>)> = BTreeMap::new();
        let mut archives = Vec::new();
        for path in std::mem::take(&mut walk.matches) {
            let Some(name) = path.file_name() else { continue };
            let rotated = split(name);
            let key = path.with_file_name(rotated.base);
            if rotated.compressed {
                archives.push((key, path));
                continue;
            }
            let age = rotated.age;
            let Some(real) = resolve(&path, trust, &mut walk.faults) else { continue };
            let (family, names) =
                families.entry(key.clone()).or_insert_with(|| (Family::new(key), Vec::new()));
            family.add_place(&path);
            family.add_place(&real);
            names.push(Name { age, path: real, covered: true });
        }
        archives.retain(|(key, _)| !families.contains_key(key));
        let mut directories: HashMap<PathBuf, Named> = HashMap::new();
        let mut list = Vec::with_capacity(families.len());
        for (family, mut names) in families.into_values() {
            for (directory, base) in &family.places {
                let named =
                    directories.entry(directory.clone()).or_insert_with(|| by_base(&walk.list(directory)));
                names.extend(elders(directory, named.get(base), globs));
            }
            let members = look_at(names, &mut walk.faults);
            list.push((family, members));
        }
        Families { list, archives: archives.into_iter().map(|(_, path)| path).collect() }
    }

    /// Makes one family of those whose newest member is the same file: a symbolic link and its target, or hard links.
    /// The family that already has a source (`has_source`) takes the others in.
    pub(super) fn merge_twins(&mut self, has_source: impl Fn(&Path) -> bool) {
        let mut owners: HashMap<FileId, usize> = HashMap::new();
        for this in 0..self.list.len() {
            let newest = self.list[this].1.first().filter(|member| member.age == Age::Current);
            let Some(identity) = newest.map(|member| member.status.identity) else { continue };
            let Some(owner) = owners.insert(identity, this) else { continue };
            let (taker, taken) =
                match has_source(&self.list[owner].0.key) || !has_source(&self.list[this].0.key) {
                    true => (owner, this),
                    false => (this, owner),
                };
            owners.insert(identity, taker);
            let members = std::mem::take(&mut self.list[taken].1);
            let places = self.list[taken].0.places.clone();
            let (family, all) = &mut self.list[taker];
            family.places.extend(places);
            all.extend(members);
            sort_out(all);
        }
        self.list.retain(|(_, members)| !members.is_empty());
    }
}

impl Family {
    /// The family of which nothing but the newest name is known.
    pub(super) fn new(key: PathBuf) -> Family {
        Family { key, places: Vec::new() }
    }

    /// Elders are also beside `path`.
    pub(super) fn add_place(&mut self, path: &Path) {
        let Some(name) = path.file_name() else { return };
        let place = (parent(path).to_owned(), split(name).base.to_owned());
        if !self.places.contains(&place) {
            self.places.push(place);
        }
    }

    /// What the newest name leads to now.
    pub(super) fn newest(&self) -> Option<FileId> {
        status_of(&self.key).ok().map(|status| status.identity)
    }

    /// Looks at the directories anew, until a whole look fits between two rotations.
    pub(super) fn members_after_rotation(
        &self,
        globs: &Globs,
        trust: &Trust,
        faults: &mut Vec<Fault>,
    ) -> Vec<Member> {
        let mut members = Vec::new();
        for _ in 0..LOOKS_MAX {
            let before = self.newest();
            let mut names = Vec::new();
            if let Some(real) = resolve(&self.key, trust, faults).filter(|_| globs.cover(&self.key)) {
                names.push(Name { age: Age::Current, path: real, covered: true });
            }
            for (directory, base) in &self.places {
                // A directory that cannot be listed was said by the walk, which looks at it every second.
                let Ok(listing) = list(directory) else { continue };
                names.extend(elders(directory, by_base(&listing).get(base), globs));
            }
            members = look_at(names, faults);
            if self.newest() == before {
                break;
            }
        }
        members
    }

    /// The elders that lie about now, newest first: plain ones and gzipped ones.
    pub(super) fn elders(&self, globs: &Globs) -> (Vec<Member>, Vec<Member>) {
        let (mut plain, mut packed) = (Vec::new(), Vec::new());
        for (directory, base) in &self.places {
            // A directory that cannot be listed holds nothing for us.
            let Ok(listing) = list(directory) else { continue };
            for (name, _) in listing.iter() {
                let Rotated { base: own, age, compressed } = split(name);
                let path = sibling(directory, name);
                if own != base || (age == Age::Current && !compressed) || globs.exclude(&path) && !compressed
                {
                    continue;
                }
                let name = Name { age, path, covered: false };
                match compressed {
                    false => plain.push(name),
                    true if is_gzip(&name.path) => packed.push(name),
                    true => {}
                }
            }
        }
        (look_at(plain, &mut Vec::new()), look_at(packed, &mut Vec::new()))
    }
}

/// Whether the name says that the file was compressed by gzip.
pub(super) fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

/// The path behind the last component's symbolic links. `None`: it leads nowhere, which is told.
fn resolve(path: &Path, trust: &Trust, faults: &mut Vec<Fault>) -> Option<PathBuf> {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_symlink() => match trust.resolve(path) {
            Ok(real) => Some(real),
            Err(error) => {
                faults.push(Fault::new(path, "follow the symbolic link", &error));
                None
            }
        },
        _ => Some(path.to_owned()),
    }
}

fn by_base(listing: &Listing) -> Named {
    let mut named = Named::new();
    for (name, _) in listing.iter() {
        let rotated = split(name);
        if !rotated.compressed && rotated.age != Age::Current {
            named.entry(rotated.base.to_owned()).or_default().push((rotated.age, name.clone()));
        }
    }
    named
}

fn elders(directory: &Path, named: Option<&Vec<(Age, OsString)>>, globs: &Globs) -> Vec<Name> {
    let named = named.map(Vec::as_slice).unwrap_or_default();
    let paths = named.iter().map(|(age, name)| (age.clone(), sibling(directory, name)));
    let wanted = paths.filter(|(_, path)| !globs.exclude(path));
    wanted.map(|(age, path)| Name { age, covered: globs.cover(&path), path }).collect()
}

/// `directory/name`, written as the walk writes it: without a leading `./`.
fn sibling(directory: &Path, name: &OsString) -> PathBuf {
    if directory == Path::new(".") { PathBuf::from(name) } else { directory.join(name) }
}

fn look_at(mut names: Vec<Name>, faults: &mut Vec<Fault>) -> Vec<Member> {
    names.sort();
    let mut members = Vec::with_capacity(names.len());
    for Name { age, path, covered } in names {
        match status_of(&path) {
            Ok(status) => match status.refusal() {
                None => members.push(Member { age, path, covered, status }),
                Some(reason) if covered => faults.push(Fault { path, reason: reason.to_owned() }),
                Some(_) => {}
            },
            Err(error) if covered && !is_absence(&error) => faults.push(Fault::new(&path, "look at", &error)),
            Err(_) => {}
        }
    }
    sort_out(&mut members);
    members
}

/// Newest first, each file once. Covered once is covered.
fn sort_out(members: &mut Vec<Member>) {
    members.sort_by(|one, other| one.age.cmp(&other.age));
    let mut first: HashMap<FileId, usize> = HashMap::new();
    let mut kept: Vec<Member> = Vec::with_capacity(members.len());
    for member in members.drain(..) {
        match first.get(&member.status.identity) {
            Some(at) => kept[*at].covered |= member.covered,
            None => {
                first.insert(member.status.identity, kept.len());
                kept.push(member);
            }
        }
    }
    *members = kept;
}

/// Looks in a row, before a scan a second later has to do.
const LOOKS_MAX: usize = 4;

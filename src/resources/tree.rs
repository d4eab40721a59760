//! The cgroup tree: which hierarchies there are, and where in them a container is.
//!
//! A container's directory has its id, 64 hexadecimal digits, in its name: `docker/<id>`, `docker-<id>.scope`,
//! `cri-containerd-<id>.scope`, `crio-<id>.scope`, `libpod-<id>.scope`, at any depth. The nearest to the root counts:
//! what stands below a container is a part of it. A container's monitor (`crio-conmon-<id>.scope`) is not the container.
//! Limits: [`DIRECTORIES_MAX`] directories, so many levels (`DEPTH_MAX`). Links are not followed, but for a hierarchy's own name.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::files::Version;

/// Directories that one walk looks into: ten times those of a busy node.
pub const DIRECTORIES_MAX: usize = 50_000;
/// Kubernetes in a container of Kubernetes' has containers at the tenth level.
const DEPTH_MAX: usize = 16;
/// The length of a container's id.
const ID: usize = 64;

/// Why nothing can be read of any container.
#[derive(Debug, thiserror::Error)]
pub enum Blind {
    /// The directory is not there, or may not be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory is something else.
    #[error("{} is no cgroup tree", path.display())]
    NoTree {
        /// The directory.
        path: PathBuf,
    },
    /// A part of a tree: what a container sees that was given no more.
    #[error("{} shows the cgroup of this container only", path.display())]
    OnlyOurs {
        /// The directory.
        path: PathBuf,
    },
}

impl Blind {
    /// With its cause, for people.
    pub fn explained(&self) -> String {
        match self {
            Blind::Unreadable { source, .. } => format!("{self}: {source}"),
            Blind::NoTree { .. } | Blind::OnlyOurs { .. } => self.to_string(),
        }
    }
}

/// One tree of directories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    pub(super) root: PathBuf,
    pub(super) version: Version,
    pub(super) tells_cpu: bool,
    pub(super) tells_memory: bool,
}

/// The hierarchies at `root`: one with v2; in v1 one for CPU time and one for memory, for each of which the v2 tree beside
/// them stands in.
///
/// # Errors
/// When there is none.
pub(super) fn hierarchies(root: &Path) -> Result<Vec<Hierarchy>, Blind> {
    let path = || root.to_owned();
    fs::read_dir(root).map_err(|source| Blind::Unreadable { path: path(), source })?;
    let v2 = |root: &Path, tells_cpu, tells_memory| {
        let is_there = root.join("cgroup.controllers").is_file();
        is_there.then(|| Hierarchy { root: root.to_owned(), version: Version::V2, tells_cpu, tells_memory })
    };
    if let Some(whole) = v2(root, true, true) {
        return Ok(vec![whole]);
    }
    let v1 = |names: &[&str], file: &str| {
        let mut roots = names.iter().map(|name| root.join(name));
        let root = roots.find(|root| root.join(file).is_file())?;
        let tells_cpu = file.starts_with("cpu");
        Some(Hierarchy { root, version: Version::V1, tells_cpu, tells_memory: !tells_cpu })
    };
    let cpu = v1(&["cpuacct", "cpu,cpuacct", "cpuacct,cpu"], "cpuacct.usage");
    let memory = v1(&["memory"], "memory.usage_in_bytes");
    let beside = v2(&root.join("unified"), cpu.is_none(), memory.is_none());
    let beside = beside.filter(|beside| beside.tells_cpu || beside.tells_memory);
    let all: Vec<Hierarchy> = cpu.into_iter().chain(memory).chain(beside).collect();
    if all.is_empty() { Err(Blind::NoTree { path: path() }) } else { Ok(all) }
}

/// Whether containers can be seen at `root`, once there are some.
///
/// # Errors
/// Why not.
pub fn look(root: &Path) -> Result<(), Blind> {
    let all = hierarchies(root)?;
    let shows = |hierarchy: &Hierarchy| is_whole(hierarchy) || !hierarchy.walk(|_| true, 1).is_empty();
    if all.iter().all(shows) { Ok(()) } else { Err(Blind::OnlyOurs { path: root.to_owned() }) }
}

/// Whether this is the root of the machine's tree, by the files that only a root has, or has not.
fn is_whole(hierarchy: &Hierarchy) -> bool {
    match hierarchy.version {
        Version::V1 => hierarchy.root.join("release_agent").exists(),
        Version::V2 => !hierarchy.root.join("cgroup.type").exists(),
    }
}

impl Hierarchy {
    /// The places of these containers, as far as they are in the tree.
    pub(super) fn find(&self, wanted: &HashSet<&str>) -> HashMap<String, PathBuf> {
        self.walk(|id| wanted.contains(id), wanted.len())
    }

    /// The places of `most` of the containers that are `wanted`, level by level.
    fn walk(&self, wanted: impl Fn(&str) -> bool, most: usize) -> HashMap<String, PathBuf> {
        let mut found = HashMap::new();
        let mut waiting = VecDeque::from([(self.root.clone(), 0)]);
        let mut looked_into = 0;
        while let Some((folder, depth)) = waiting.pop_front() {
            looked_into += 1;
            // A directory that is gone when its turn comes held nothing any more.
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
            for entry in entries.flatten().filter(is_folder) {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                if let Some(id) = container_id(&name).filter(|id| wanted(id)) {
                    found.entry(id.to_owned()).or_insert_with(|| entry.path());
                    if found.len() == most {
                        return found;
                    }
                }
                if depth + 1 < DEPTH_MAX && looked_into + waiting.len() < DIRECTORIES_MAX {
                    waiting.push_back((entry.path(), depth + 1));
                }
            }
        }
        found
    }
}

/// The id of the container whose cgroup has this name.
pub(super) fn container_id(name: &str) -> Option<&str> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let cut = name.len().checked_sub(ID)?;
    let (before, id) = (name.get(..cut)?, name.get(cut..)?);
    let is_id = id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let stands_alone = before.is_empty() || before.ends_with(['-', ':']);
    let is_monitor = before.ends_with("conmon-");
    (is_id && stands_alone && !is_monitor).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(letter: char) -> String {
        letter.to_string().repeat(ID)
    }

    #[test]
    fn names_of_containers() {
        #[track_caller]
        fn check(name: &str, is_container: bool) {
            assert_eq!(container_id(name), is_container.then_some(&*id('a')), "{name}");
        }
        let id = id('a');
        check(&id, true);
        for prefix in ["docker-", "cri-containerd-", "crio-", "libpod-", "nerdctl-"] {
            check(&format!("{prefix}{id}.scope"), true);
        }
        check(&format!("kubepods-besteffort-pod1.slice:cri-containerd:{id}"), true);
        check(&format!("crio-conmon-{id}.scope"), false);
        check(&format!("libpod-conmon-{id}.scope"), false);
        check(&format!("a{id}"), false);
        check(&id[1..], false);
        check(&format!("ä{}", &id[1..]), false);
        check(&"g".repeat(64), false);
        check("system.slice", false);
        check("", false);
    }

    fn v2(root: &Path) -> Hierarchy {
        fs::create_dir_all(root).expect("a folder");
        fs::write(root.join("cgroup.controllers"), "cpu memory\n").expect("a file");
        hierarchies(root).expect("a tree").remove(0)
    }

    #[test]
    fn wherever_a_container_is() {
        let room = tempfile::tempdir().expect("a folder");
        let root = room.path();
        let tree = v2(root);
        let places = [
            format!("docker/{}", id('a')),
            format!("system.slice/docker-{}.scope", id('b')),
            format!(
                "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-{}.scope",
                id('c')
            ),
            format!("kubepods/besteffort/pod1-2/{}", id('d')),
            format!("machine.slice/libpod-{}.scope/container", id('e')),
        ];
        for place in &places {
            fs::create_dir_all(root.join(place)).expect("a folder");
        }
        fs::create_dir_all(root.join(format!("machine.slice/libpod-conmon-{}.scope", id('e'))))
            .expect("a folder");
        // One that has a folder of its own name inside is where its own begins.
        fs::create_dir_all(root.join(&places[0]).join(format!("docker-{}.scope", id('a'))))
            .expect("a folder");
        std::os::unix::fs::symlink(root, root.join("round")).expect("a link");
        let ids: Vec<String> = "abcdef".chars().map(id).collect();
        let found = tree.find(&ids.iter().map(String::as_str).collect());
        let want = places
            .iter()
            .zip(&ids)
            .map(|(place, id)| (id.clone(), root.join(place.strip_suffix("/container").unwrap_or(place))));
        assert_eq!(found, want.collect());
    }

    #[test]
    fn depth_is_limited() {
        let room = tempfile::tempdir().expect("a folder");
        let tree = v2(room.path());
        let at = |depth: usize, letter: char| {
            let place = room.path().join("x/".repeat(depth - 1)).join(id(letter));
            fs::create_dir_all(place).expect("a folder");
        };
        at(DEPTH_MAX, 'a');
        at(DEPTH_MAX + 1, 'b');
        let (a, b) = (id('a'), id('b'));
        let found = tree.find(&HashSet::from([&*a, &*b]));
        assert_eq!(found.keys().collect::<Vec<_>>(), [&a]);
    }

    #[test]
    fn kinds_of_trees() {
        let room = tempfile::tempdir().expect("a folder");
        let root = room.path();
        let touch = |name: &str| {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
            fs::write(path, "").expect("a file");
        };
        let said = |root: &Path| look(root).map_err(|blind| blind.to_string());
        let own = root.display();
        assert_eq!(said(&root.join("absent")), Err(format!("{own}/absent cannot be read")));
        assert_eq!(said(root), Err(format!("{own} is no cgroup tree")));
        // As a container of Docker's sees v1.
        touch("cpu,cpuacct/cpuacct.usage");
        touch("memory/memory.usage_in_bytes");
        assert_eq!(said(root), Err(format!("{own} shows the cgroup of this container only")));
        touch("cpu,cpuacct/release_agent");
        touch("memory/release_agent");
        assert_eq!(said(root), Ok(()));
        let tells = |root: &Path| -> Vec<(String, Version, bool, bool)> {
            let all = hierarchies(root).expect("a tree");
            let name = |root: &Path| root.file_name().map(|name| name.to_string_lossy().into_owned());
            all.iter()
                .map(|one| {
                    (name(&one.root).unwrap_or_default(), one.version, one.tells_cpu, one.tells_memory)
                })
                .collect()
        };
        touch("unified/cgroup.controllers");
        let cpu = ("cpu,cpuacct".to_owned(), Version::V1, true, false);
        let memory = ("memory".to_owned(), Version::V1, false, true);
        assert_eq!(tells(root), [cpu.clone(), memory]);
        fs::remove_dir_all(root.join("memory")).expect("it was there");
        assert_eq!(tells(root), [cpu, ("unified".to_owned(), Version::V2, false, true)]);
        // v2, and as a container sees it that has a part.
        touch("v2/cgroup.controllers");
        assert_eq!(tells(&root.join("v2")), [("v2".to_owned(), Version::V2, true, true)]);
        assert_eq!(said(&root.join("v2")), Ok(()));
        touch("v2/cgroup.type");
        assert_eq!(said(&root.join("v2")), Err(format!("{own}/v2 shows the cgroup of this container only")));
        fs::create_dir_all(root.join("v2/docker").join(id('a'))).expect("a folder");
        assert_eq!(said(&root.join("v2")), Ok(()));
    }
}

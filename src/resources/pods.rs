//! The container of a log below `/var/log/pods`, whose path does not tell its id.
//!
//! The kubelet keeps links to the logs of the newest containers beside that folder, and their names tell it:
//! `containers/<pod>_<namespace>_<container>-<id>.log` → `pods/<namespace>_<pod>_<uid>/<container>/<restarts>.log`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::tree::container_id;
use crate::engine::alert::container::Container;

/// A log of a container in a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodLog {
    /// The folder of links.
    links: PathBuf,
    /// How the name of its link begins.
    prefix: String,
    /// How the place ends that the link leads to.
    target: PathBuf,
    name: Box<str>,
}

impl PodLog {
    /// `None` where the path is none of the kubelet's.
    pub fn at(path: &Path) -> Option<PodLog> {
        let folder = path.parent()?;
        let (pod_folder, file) = (folder.parent()?, path.file_name()?);
        let pods = pod_folder.parent().filter(|pods| pods.file_name() == Some(OsStr::new("pods")))?;
        let (name, pod) = (folder.file_name()?.to_str()?, pod_folder.file_name()?.to_str()?);
        let mut parts = pod.splitn(3, '_');
        let (namespace, pod_name, _) = (parts.next()?, parts.next()?, parts.next()?);
        Some(PodLog {
            links: pods.parent()?.join("containers"),
            prefix: format!("{pod_name}_{namespace}_{name}-"),
            target: Path::new(pod).join(name).join(file),
            name: name.into(),
        })
    }

    /// The container, where a link leads to this log now.
    pub fn container(&self) -> Option<Container> {
        fs::read_dir(&self.links).ok()?.flatten().find_map(|link| {
            let name = link.file_name();
            let id = name.to_str()?.strip_prefix(&self.prefix)?.strip_suffix(".log")?;
            let id = container_id(id).filter(|whole| *whole == id)?;
            let leads_here = fs::read_link(link.path()).is_ok_and(|target| target.ends_with(&self.target));
            leads_here.then(|| Container { id: id.into(), name: self.name.clone() })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_link_of_the_newest_container_tells_its_id() {
        let room = tempfile::tempdir().expect("a folder");
        let log = |restarts: u32, container: &str| {
            room.path().join(format!("pods/shop_gw-5d_1-2-3/{container}/{restarts}.log"))
        };
        let (old, new, other) = ("a".repeat(64), "b".repeat(64), "c".repeat(64));
        fs::create_dir(room.path().join("containers")).expect("a folder");
        let link = |id: &str, container: &str, target: PathBuf| {
            let name = format!("containers/gw-5d_shop_{container}-{id}.log");
            symlink(target, room.path().join(name)).expect("a link");
        };
        let found = |path: PathBuf| {
            let container = PodLog::at(&path).expect("a pod's log").container()?;
            Some((container.id.to_string(), container.name.to_string()))
        };
        assert_eq!(found(log(0, "api")), None);
        link(&other, "api-debug", log(0, "api-debug"));
        link(&old, "api", log(0, "api"));
        assert_eq!(found(log(0, "api")), Some((old.clone(), "api".to_owned())));
        assert_eq!(found(log(0, "api-debug")), Some((other, "api-debug".to_owned())));
        // The container was started again; its first life is over.
        fs::remove_file(room.path().join(format!("containers/gw-5d_shop_api-{old}.log")))
            .expect("it was there");
        link(&new, "api", log(1, "api"));
        assert_eq!(found(log(0, "api")), None);
        assert_eq!(found(log(1, "api")), Some((new, "api".to_owned())));
        fs::remove_dir_all(room.path().join("containers")).expect("it was there");
        assert_eq!(found(log(1, "api")), None);
    }

    #[test]
    fn other_paths_are_none() {
        for path in [
            "",
            "/",
            "/var/log/app/0.log",
            "/var/log/pods/0.log",
            "/var/log/pods/a_b/c/0.log",
            "/pods/x/0.log",
        ] {
            assert_eq!(PodLog::at(Path::new(path)), None, "{path}");
        }
        assert!(PodLog::at(Path::new("/var/log/pods/a_b_c/d/0.log")).is_some());
    }
}

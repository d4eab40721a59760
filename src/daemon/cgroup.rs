//! How much memory the container lets us have (cgroup v2).

use std::fs;
use std::path::Path;

use crate::units::Bytes;

/// The memory to plan with: what the config allows, or three quarters of the cgroup's limit where that is less. The
/// last quarter is for what nobody counts (stacks, the page tables, the allocator's gaps); an OOM kill loses more
/// than windows that close early.
pub fn memory_max(configured: Bytes) -> Bytes {
    let Some(limit) = limit(Path::new("/sys/fs/cgroup"), Path::new("/proc/self/cgroup")) else {
        return configured;
    };
    let share = Bytes(limit.0 / 4 * 3);
    if share < configured {
        tracing::info!(limit = limit.0, using = share.0, "the container's memory limit is below memory_max");
    }
    configured.min(share)
}

/// The limit of our cgroup. In a container its own group is the root of what is mounted.
fn limit(mount: &Path, membership: &Path) -> Option<Bytes> {
    let own = fs::read_to_string(membership).ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let files = [mount.join(own).join("memory.max"), mount.join("memory.max")];
    let text = files.iter().find_map(|file| fs::read_to_string(file).ok())?;
    // `max` is no number and means that there is no limit.
    text.trim().parse().ok().map(Bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        #[track_caller]
        fn check(max: &str, want: Option<u64>) {
            let room = tempfile::tempdir().unwrap();
            fs::create_dir(room.path().join("pod")).unwrap();
            fs::write(room.path().join("pod/memory.max"), max).unwrap();
            fs::write(room.path().join("self"), "0::/pod\n").unwrap();
            assert_eq!(limit(room.path(), &room.path().join("self")), want.map(Bytes));
        }
        check("67108864\n", Some(64 << 20));
        check("max\n", None);
        assert_eq!(limit(Path::new("/nowhere"), Path::new("/nowhere/self")), None);
    }
}

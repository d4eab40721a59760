//! What the kernel writes into the files of a cgroup, and which files those are.
//!
//! Bad input is "not known": a file may be empty, cut or gone at any moment.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use crate::units::Bytes;

/// The two ways in which the kernel tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// The CPU time of a cgroup, with all below it.
pub(super) fn cpu_time(version: Version, folder: &Path) -> Option<Duration> {
    match version {
        Version::V1 => Some(Duration::from_nanos(number(&read(&folder.join("cpuacct.usage"))?)?)),
        Version::V2 => Some(Duration::from_micros(field(&read(&folder.join("cpu.stat"))?, "usage_usec")?)),
    }
}

/// The working set of a cgroup, with all below it.
pub(super) fn memory(version: Version, folder: &Path) -> Option<Bytes> {
    let (used, cache) = match version {
        Version::V1 => ("memory.usage_in_bytes", "total_inactive_file"),
        Version::V2 => ("memory.current", "inactive_file"),
    };
    let used = number(&read(&folder.join(used))?)?;
    let cache = read(&folder.join("memory.stat")).and_then(|text| field(&text, cache));
    // The two files are read one after the other, so the cache may be the larger one.
    Some(Bytes(used.saturating_sub(cache.unwrap_or_default())))
}

/// The memory that a cgroup may use; `None` where there is no limit.
pub(super) fn memory_max(version: Version, folder: &Path) -> Option<Bytes> {
    let name = match version {
        Version::V1 => "memory.limit_in_bytes",
        Version::V2 => "memory.max",
    };
    // `max` is no number. In v1 no limit is the largest number, cut to whole pages.
    number(&read(&folder.join(name))?).filter(|limit| *limit < NO_LIMIT).map(Bytes)
}

const NO_LIMIT: u64 = 1 << 62;
/// The largest file that the kernel writes here, `memory.stat`, has 2 KiB.
const FILE_MAX: u64 = 64 << 10;

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(FILE_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The number behind `name` in lines of names and numbers.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    number(line)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    type Found = (Option<Duration>, Option<Bytes>, Option<Bytes>);

    #[track_caller]
    fn check(version: Version, files: &[(&str, &str)], want: Found) {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("a file");
        }
        let folder = folder.path();
        let found = (cpu_time(version, folder), memory(version, folder), memory_max(version, folder));
        assert_eq!(found, want, "{files:?}");
    }

    #[test]
    fn as_linux_6_writes_them_in_v2() {
        let cpu = "usage_usec 229726\nuser_usec 219737\nsystem_usec 9988\nnice_usec 0\ncore_sched.force_idle_usec 0\n\
                   nr_periods 0\nnr_throttled 0\nthrottled_usec 0\nnr_bursts 0\nburst_usec 0\n";
        let memory = "anon 4096000\nfile 8192000\nkernel 1048576\ninactive_anon 0\nactive_anon 4096000\n\
                      inactive_file 5242880\nactive_file 2949120\nunevictable 0\nworkingset_refault_file 7\n";
        let all = [
            ("cpu.stat", cpu),
            ("memory.current", "20971520\n"),
            ("memory.stat", memory),
            ("memory.max", "67108864\n"),
        ];
        let cpu_time = Some(Duration::from_micros(229_726));
        check(Version::V2, &all, (cpu_time, Some(Bytes(15 << 20)), Some(Bytes(64 << 20))));
        check(Version::V2, &all[..1], (cpu_time, None, None));
        check(
            Version::V2,
            &[("memory.current", "5\n"), ("memory.max", "max\n")],
            (None, Some(Bytes(5)), None),
        );
        check(
            Version::V2,
            &[("memory.current", "5\n"), ("memory.stat", memory)],
            (None, Some(Bytes(0)), None),
        );
        check(Version::V1, &all, (None, None, None));
    }

    #[test]
    fn as_linux_6_writes_them_in_v1() {
        let memory = "cache 8192000\nrss 4096000\ninactive_file 1\nhierarchical_memory_limit 9223372036854771712\n\
                      total_cache 8192000\ntotal_inactive_file 5242880\ntotal_active_file 2949120\n";
        let all = [
            ("cpuacct.usage", "281678906\n"),
            ("memory.usage_in_bytes", "20971520\n"),
            ("memory.stat", memory),
            ("memory.limit_in_bytes", "67108864\n"),
        ];
        let cpu_time = Some(Duration::from_nanos(281_678_906));
        check(Version::V1, &all, (cpu_time, Some(Bytes(15 << 20)), Some(Bytes(64 << 20))));
        check(Version::V1, &[("memory.limit_in_bytes", "9223372036854771712\n")], (None, None, None));
        check(Version::V2, &all, (None, None, None));
    }

    #[test]
    fn what_is_no_number_is_not_known() {
        for text in [
            "",
            "\n",
            "-1",
            "x",
            "usage_usec",
            "usage_usec ",
            "usage_usecs 5",
            "\u{0}",
            "99999999999999999999",
        ] {
            check(Version::V2, &[("cpu.stat", text), ("memory.current", text)], (None, None, None));
            check(Version::V1, &[("cpuacct.usage", text)], (None, None, None));
        }
    }
}

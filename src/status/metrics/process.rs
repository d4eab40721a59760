//! The process itself, under the names that all Prometheus clients use, read from `/proc`.

use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

use super::text::Page;
use crate::status::board::About;

/// Writes what can be read; a number that cannot is left out.
pub(super) fn write(page: &mut Page, about: &About) {
    let About { version, instance, node, service, started } = about;
    page.info("squall_build_info", "The program.", &[("version", version)]);
    let help = "Who this is, as in each record; join it by the labels of the scrape.";
    let labels = [("name", instance.as_str()), ("node", node), ("service", service)];
    page.info("squall_instance_info", help, &labels);
    let started = started.wall.0 as f64 / 1e9;
    page.gauge("process_start_time_seconds", "When the process began its work, since the epoch.", started);
    if let Some(seconds) = cpu_seconds() {
        page.counter("process_cpu_seconds_total", "User and system time of all threads.", seconds);
    }
    if let Some(bytes) = resident_bytes() {
        page.gauge("process_resident_memory_bytes", "Memory in use.", bytes);
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        // One of them is the folder that is being read.
        page.gauge("process_open_fds", "Open file descriptors.", entries.count().saturating_sub(1));
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        page.gauge("process_max_fds", "The most file descriptors that may be open.", most);
    }
    if let Some(threads) = threads() {
        page.gauge("process_threads", "Threads.", threads);
    }
}

fn cpu_seconds() -> Option<f64> {
    let ticks: u64 = stat(&[11, 12])?.iter().sum();
    Some(ticks as f64 / clock_ticks_per_second() as f64)
}

fn threads() -> Option<u64> {
    stat(&[17])?.first().copied()
}

/// Fields of `/proc/self/stat`, counted from behind the program's name, which stands in parentheses and may hold anything.
fn stat(fields: &[usize]) -> Option<Vec<u64>> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, behind_name) = text.rsplit_once(") ")?;
    let all: Vec<&str> = behind_name.split(' ').collect();
    fields.iter().map(|field| all.get(*field)?.parse().ok()).collect()
}

fn resident_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_measured() {
        assert!(cpu_seconds().is_some_and(|seconds| seconds < 1e6));
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1 << 20));
        assert!(threads().is_some_and(|threads| threads >= 1));
    }
}

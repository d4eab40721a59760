//! squall with its status served on a free port.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::http::{self, Answer};
use crate::support::process::{Running, squall};

pub(super) struct Served {
    pub(super) running: Running,
    pub(super) address: String,
    folder: TempDir,
}

impl Served {
    /// Follows `app.log`, which holds this, into a blackhole.
    #[track_caller]
    pub(super) fn start(log: &str, more: &[&str]) -> Served {
        Served::start_to("blackhole", log, more)
    }

    #[track_caller]
    pub(super) fn start_to(to: &str, log: &str, more: &[&str]) -> Served {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("app.log"), log).expect("a log");
        let args = ["run", "--tail", "app.log", "--to", to, "--state", "state"];
        let listen: &[&str] = if more.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
        let more = more.iter().chain(listen);
        let mut running = Running::start(&mut squall(folder.path(), args.into_iter().chain(more.copied())));
        running.wait_until("an address", |running| http::served_at(&running.stderr()).is_some());
        let address = http::served_at(&running.stderr()).expect("it was there");
        Served { running, address, folder }
    }

    /// The process, and the folder that it works in.
    pub(super) fn into_parts(self) -> (TempDir, Running) {
        (self.folder, self.running)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    #[track_caller]
    pub(super) fn get(&self, path: &str) -> Answer {
        http::get(&self.address, path)
    }

    /// All metrics of one scrape, by name with labels.
    #[track_caller]
    pub(super) fn metrics(&self) -> BTreeMap<String, f64> {
        parse(&self.get("/metrics").body)
    }

    /// Waits until so many lines have been read.
    #[track_caller]
    pub(super) fn wait_for_lines(&mut self, lines: u64) {
        let address = self.address.clone();
        self.running.wait_until("the lines", |_| {
            let metrics = parse(&http::get(&address, "/metrics").body);
            metrics["squall_lines_received_total"] >= lines as f64
        });
    }

    /// Its resident memory, in KiB.
    pub(super) fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.running.id())).expect("squall runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

/// The samples of a page of metrics.
pub(super) fn parse(text: &str) -> BTreeMap<String, f64> {
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect()
}

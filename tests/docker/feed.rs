//! What a container prints: lines that say who they are, through a FIFO that the container copies to its output.
//!
//! So the test knows every line, writes as fast as the container takes them, and feels it when the container stands still.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::io::Errno;
use rustix::pipe::fcntl_setpipe_size;
use squall::daemon::clock;

use crate::rig::generator::Truth;
use crate::rig::line::Kind;

/// A container that stands still for longer has been wedged.
const PATIENCE: Duration = Duration::from_secs(60);
/// The FIFO is small, so that the container's standing still is soon ours.
const FIFO: usize = 4096;
/// Lines that are written at a time.
const BURST: u64 = 40;
/// One line of so many is like no other, and has to arrive word for word; so few that they are no storm of new lines.
const CALM_EVERY: u64 = 1_000;

/// The writing end, and the truth.
pub(super) struct Feed {
    path: PathBuf,
    fifo: OwnedFd,
    /// Where the next frame begins in dockerd's FIFO.
    offset: u64,
    truth: Truth,
    progress: Arc<AtomicU64>,
    /// The longest time for which the container took nothing.
    pub(super) longest: Duration,
}

impl Feed {
    /// Makes the FIFO. A container is to copy it to its output, from its beginning to its end.
    pub(super) fn new(path: PathBuf) -> Feed {
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
        // Reading, too, so that opening it waits for nobody.
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fifo = open(&path, flags, Mode::empty()).expect("a FIFO");
        fcntl_setpipe_size(&fifo, FIFO).expect("a size");
        let (truth, progress) = (Truth::default(), Arc::default());
        Feed { path, fifo, offset: 0, truth, progress, longest: Duration::ZERO }
    }

    /// Where it lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Counts the lines that the container has taken, for whoever watches.
    pub(super) fn progress(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.progress)
    }

    /// Writes so many lines, the last of which is calm.
    #[track_caller]
    pub(super) fn write(&mut self, lines: u64) {
        let mut burst = Vec::new();
        for line in 1..=lines {
            let kind = match self.truth.total() + 1 {
                _ if line == lines => Kind::Calm,
                seq if seq % CALM_EVERY == 0 => Kind::Calm,
                seq if seq % 2 == 0 => Kind::Timeout,
                _ => Kind::Failed,
            };
            self.push(kind, &mut burst);
            if line % BURST == 0 || line == lines {
                self.send(&burst);
                self.progress.store(self.truth.total(), Ordering::Release);
                burst.clear();
            }
        }
    }

    /// From now on the container's lines come through a new FIFO of dockerd's.
    pub(super) fn has_new_fifo(&mut self) {
        self.offset = 0;
    }

    /// The newest line, which is calm.
    pub(super) fn newest(&self) -> u64 {
        self.truth.total()
    }

    /// Ends what the container copies.
    pub(super) fn end(self) -> Truth {
        self.truth
    }

    /// The next line, which is true from now on.
    fn push(&mut self, kind: Kind, burst: &mut Vec<u8>) {
        let text = self.truth.next_line(kind, self.offset);
        // The length; the stream's name; the time, of nine bytes until 2262; the text with its length.
        let of_length = if text.len() < 128 { 2 } else { 3 };
        self.offset += 4 + 8 + 10 + of_length + text.len() as u64;
        burst.extend_from_slice(&text);
        burst.push(b'\n');
    }

    #[track_caller]
    fn send(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match rustix::io::write(&self.fifo, bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(Errno::AGAIN) => {
                    let began = clock::now().arrival;
                    let mut waiting = [PollFd::from_borrowed_fd(self.fifo.as_fd(), PollFlags::OUT)];
                    let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
                    assert_eq!(poll(&mut waiting, Some(&patience)), Ok(1), "the container stands still");
                    self.longest = self.longest.max(clock::now().arrival.since(began));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

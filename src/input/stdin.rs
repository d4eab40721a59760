//! Reads a pipe, such as standard input.
//!
//! A pipe cannot be read without waiting, so a thread of its own waits. It hands over whole buffers and takes them back
//! when they are empty: when all are full it stops reading, the pipe fills up, and the writer waits. Nothing is dropped.
//! Limit: `BUFFERS` buffers of 256 KiB.
//! Not here: lines (`engine::frame`).

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::{self, JoinHandle};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use rustix::io::Errno;

use crate::units::Bytes;

use super::Progress;

/// What a [`Stdin`] has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Bytes, in the order in which they were written, cut anywhere.
    Data {
        /// How many bytes came before these.
        offset: u64,
        /// At least one byte, at most 256 KiB.
        bytes: &'a [u8],
    },
    /// It cannot be read any more, although its end was not reached. Nothing follows.
    Failed {
        /// Why, in words.
        reason: String,
    },
}

/// Reads one pipe to its end.
pub struct Stdin {
    filled: Receiver<Filled>,
    /// `None` once we stop: the thread sees that nobody gives buffers back.
    empty: Option<SyncSender<Buffer>>,
    /// The buffer that is being handed out, and which part of it is still to come.
    current: Option<(Buffer, Range<usize>)>,
    offset: u64,
    done: bool,
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

type Buffer = Box<[u8]>;

enum Filled {
    /// So many bytes at the beginning of the buffer.
    Bytes(Buffer, usize),
    Failed(io::Error),
    Ended,
}

impl Stdin {
    /// Starts to read `pipe`. `wake` is called, from another thread, when `poll` has something to do; it must be quick.
    pub fn new(
        pipe: impl AsFd + Send + 'static,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Stdin> {
        let stop = eventfd(0, EventfdFlags::CLOEXEC)?;
        let stopped = stop.try_clone()?;
        // One place more than there are buffers, for the message that it is over: sending never waits.
        let (send_filled, filled) = sync_channel(BUFFERS + 1);
        let (empty, take_empty) = sync_channel(BUFFERS);
        for _ in 0..BUFFERS {
            // There is room for all of them, and the other end is still here.
            let _ = empty.try_send(vec![0; BUFFER_SIZE].into_boxed_slice());
        }
        let tell = move |what: Filled| {
            let heard = send_filled.send(what).is_ok();
            wake();
            heard
        };
        let work = move || {
            while let Ok(mut buffer) = take_empty.recv() {
                let filled = match fill(pipe.as_fd(), stopped.as_fd(), &mut buffer) {
                    Ok(Some(0)) => Filled::Ended,
                    Ok(Some(read)) => Filled::Bytes(buffer, read),
                    Ok(None) => return,
                    Err(error) => Filled::Failed(error),
                };
                let is_last = !matches!(filled, Filled::Bytes(..));
                if !tell(filled) || is_last {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("stdin".to_owned()).spawn(work)?;
        Ok(Stdin {
            filled,
            empty: Some(empty),
            current: None,
            offset: 0,
            done: false,
            stop,
            thread: Some(thread),
        })
    }

    /// Hands out at most `share` bytes of what has come.
    pub fn poll(&mut self, share: Bytes, sink: &mut dyn FnMut(Event<'_>)) -> Progress {
        let mut left = share.0;
        while left > 0 && self.next_buffer(sink) {
            let Some((buffer, rest)) = &mut self.current else { break };
            let given = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
            sink(Event::Data { offset: self.offset, bytes: &buffer[rest.start..rest.start + given] });
            rest.start += given;
            self.offset += given as u64;
            left -= given as u64;
        }
        let more = !self.done && left == 0;
        Progress { more, done: self.done, read: Bytes(share.0 - left) }
    }

    /// Makes sure that `current` has something to give. False: nothing has come.
    fn next_buffer(&mut self, sink: &mut dyn FnMut(Event<'_>)) -> bool {
        match self.current.take() {
            Some((buffer, rest)) if !rest.is_empty() => {
                self.current = Some((buffer, rest));
                return true;
            }
            Some((buffer, _)) => {
                // There is room for all buffers; that the thread is gone is seen below.
                let _ = self.empty.as_ref().map(|empty| empty.try_send(buffer));
            }
            None => {}
        }
        match self.filled.try_recv() {
            Ok(Filled::Bytes(buffer, length)) => {
                self.current = Some((buffer, 0..length));
                return true;
            }
            Err(TryRecvError::Empty) => {}
            Ok(Filled::Failed(error)) => {
                self.done = true;
                sink(Event::Failed { reason: format!("cannot read the pipe: {error}") });
            }
            Ok(Filled::Ended) | Err(TryRecvError::Disconnected) => self.done = true,
        }
        false
    }
}

impl Drop for Stdin {
    fn drop(&mut self) {
        self.empty = None;
        // Cannot fail: the counter is far from full. If it did, the thread would only live on until the pipe ends.
        if rustix::io::write(&self.stop, &1u64.to_ne_bytes()).is_ok()
            && let Some(thread) = self.thread.take()
        {
            // A panic of the thread has been printed; there is nobody to hand it to.
            let _ = thread.join();
        }
    }
}

/// Waits for bytes and reads some. `Some(0)` is the end; `None`: we were told to stop.
fn fill(pipe: BorrowedFd<'_>, stop: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        let mut waiting =
            [PollFd::from_borrowed_fd(pipe, PollFlags::IN), PollFd::from_borrowed_fd(stop, PollFlags::IN)];
        match rustix::event::poll(&mut waiting, None) {
            Err(Errno::INTR) => continue,
            result => result?,
        };
        if !waiting[1].revents().is_empty() {
            return Ok(None);
        }
        match rustix::io::read(pipe, &mut *buffer) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            result => return Ok(Some(result?)),
        }
    }
}

const BUFFER_SIZE: usize = 256 * 1024;
/// One is read into while one is handed out, and one lies between them.
const BUFFERS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;
    use std::sync::mpsc::RecvTimeoutError;
    use std::time::Duration;

    /// A pipe that is being read, and a writer for it.
    struct Rig {
        stdin: Stdin,
        woken: Receiver<()>,
        writer: Option<io::PipeWriter>,
        got: Vec<u8>,
        largest: usize,
    }

    fn poke(wake: &SyncSender<()>) {
        // A full channel means that we have been woken often enough.
        let _ = wake.try_send(());
    }

    impl Rig {
        fn new() -> Rig {
            let (reader, writer) = io::pipe().unwrap();
            let (wake, woken) = sync_channel(1024);
            let stdin = Stdin::new(reader, move || poke(&wake)).unwrap();
            Rig { stdin, woken, writer: Some(writer), got: Vec::new(), largest: 0 }
        }

        fn poll(&mut self, share: u64) -> Progress {
            let (got, largest) = (&mut self.got, &mut self.largest);
            self.stdin.poll(Bytes(share), &mut |event| match event {
                Event::Data { offset, bytes } => {
                    assert_eq!(offset, got.len() as u64);
                    got.extend_from_slice(bytes);
                    *largest = bytes.len().max(*largest);
                }
                Event::Failed { reason } => panic!("{reason}"),
            })
        }

        /// Polls when woken, until `enough` says so.
        fn run(&mut self, share: u64, enough: impl Fn(&Rig, Progress) -> bool) {
            loop {
                let progress = self.poll(share);
                assert!(progress.read.0 <= share);
                if enough(self, progress) {
                    return;
                }
                if !progress.more {
                    self.woken.recv_timeout(Duration::from_secs(10)).expect("nobody woke us");
                }
            }
        }
    }

    #[test]
    fn bytes_come_in_order_and_the_end_is_told() {
        let mut rig = Rig::new();
        rig.writer.as_mut().unwrap().write_all(b"one\ntw").unwrap();
        rig.run(1 << 20, |rig, _| rig.got == b"one\ntw");
        assert!(!rig.poll(1 << 20).done);
        rig.writer.as_mut().unwrap().write_all(b"o").unwrap();
        rig.writer = None;
        rig.run(1 << 20, |_, progress| progress.done);
        assert_eq!(rig.got, b"one\ntwo");
        assert_eq!(rig.poll(1 << 20), Progress { done: true, ..Progress::default() });
    }

    #[test]
    fn any_share_gives_the_same_bytes() {
        #[track_caller]
        fn check(share: u64) {
            let mut rig = Rig::new();
            let sent: Vec<u8> = (0..300_000u32).map(|n| n as u8).collect();
            let (mut writer, text) = (rig.writer.take().unwrap(), sent.clone());
            let writing = thread::spawn(move || writer.write_all(&text).unwrap());
            rig.run(share, |_, progress| progress.done);
            writing.join().unwrap();
            assert!(rig.got == sent);
            assert!(rig.largest <= BUFFER_SIZE);
        }
        check(1_000);
        check(BUFFER_SIZE as u64);
        check(u64::MAX);
    }

    #[test]
    fn a_writer_waits_when_nobody_polls() {
        let mut rig = Rig::new();
        let mut writer = rig.writer.take().unwrap();
        let (wrote, written) = sync_channel(1);
        let text = vec![b'x'; 4 << 20];
        let writing = thread::spawn(move || {
            writer.write_all(&text).unwrap();
            wrote.send(()).unwrap();
        });
        // All buffers come back full; then the pipe fills up and the writer stands still.
        for _ in 0..BUFFERS {
            rig.woken.recv_timeout(Duration::from_secs(10)).expect("nobody woke us");
        }
        assert_eq!(written.recv_timeout(Duration::from_millis(50)), Err(RecvTimeoutError::Timeout));
        rig.run(1 << 20, |_, progress| progress.done);
        assert_eq!(rig.got.len(), 4 << 20);
        writing.join().unwrap();
    }

    #[test]
    fn a_file_is_read_too_and_an_unreadable_one_is_told() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"text").unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        #[track_caller]
        fn check(file: File, want: &str) {
            let (wake, woken) = sync_channel(16);
            let mut stdin = Stdin::new(file, move || poke(&wake)).unwrap();
            let mut told = String::new();
            while !stdin.poll(Bytes(100), &mut |event| told += &format!("{event:?}")).done {
                woken.recv_timeout(Duration::from_secs(10)).expect("nobody woke us");
            }
            assert!(told.contains(want), "{told}");
        }
        check(file, "offset: 0, bytes: [116, 101, 120, 116]");
        check(File::open("/").unwrap(), "cannot read the pipe: ");
    }

    #[test]
    fn dropping_does_not_wait_for_the_writer() {
        let mut rig = Rig::new();
        let writer = rig.writer.take();
        drop(rig);
        drop(writer);
    }
}

//! One FIFO, read so that a `kill -9` at any moment loses no line and doubles none (`docker-driver.md` 5).
//!
//! What is in the FIFO is looked at with `tee(2)`, which takes nothing out of it; whole frames of that go into an epoch;
//! once the epoch is committed with the block's length and hash, the same bytes are read out. Whoever comes after a kill
//! finds either the block still there, and reads it out without looking, or not.
//! Identity rests on content that differs: Docker stamps each frame with nanoseconds.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, tee};
use xxhash_rust::xxh3::xxh3_128;

use crate::engine::frame::docker_entry;
use crate::engine::state::Block;

/// What a FIFO, and the private pipe, may hold, in bytes: as much as the system gives without privileges.
pub const CAPACITY: usize = 1 << 20;

/// The pipe into which FIFOs are looked at, one after the other, and the buffer behind it.
#[derive(Debug)]
pub struct Glass {
    reader: OwnedFd,
    writer: OwnedFd,
    buffer: Vec<u8>,
}

impl Glass {
    /// Makes them: once, before any FIFO is enlarged, because new pipes are tiny where many large ones are.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn new() -> io::Result<Glass> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Smaller is slower, and no more than that.
        let _ = fcntl_setpipe_size(&writer, CAPACITY);
        Ok(Glass { reader, writer, buffer: vec![0; CAPACITY] })
    }

    /// Copies what is at the head of `fifo`. `None`: it has ended.
    fn look(&mut self, fifo: &OwnedFd) -> io::Result<Option<usize>> {
        let found = loop {
            match tee(fifo, &self.writer, CAPACITY, SpliceFlags::NONBLOCK) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Some(0)),
                found => break found?,
            }
        };
        if found == 0 {
            return Ok(None);
        }
        read_whole(&self.reader, &mut self.buffer[..found])?;
        Ok(Some(found))
    }
}

/// What stands at the head of a FIFO.
#[derive(Debug, PartialEq, Eq)]
pub enum Head<'a> {
    /// Nothing that can be taken now; `true`: a frame has begun.
    Nothing(bool),
    /// Whole frames, and where they stand. They are taken into an epoch, and still there.
    Block(u64, &'a [u8]),
    /// A frame that a FIFO might not hold whole; it is not there any more.
    Oversize(u64, &'a [u8]),
    /// Nothing will ever come again.
    End,
}

/// See the module.
#[derive(Debug)]
pub struct Fifo {
    descriptor: OwnedFd,
    name: String,
    /// How many bytes have been read out since it was made.
    offset: u64,
    /// What is taken into an epoch, and still in the FIFO.
    taken: Option<(usize, u128)>,
    /// The beginning of a frame that is too large to stay in the FIFO until it is whole.
    oversize: Vec<u8>,
}

impl Fifo {
    /// Goes on behind what was committed before, if it is one that was read before.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn new(
        descriptor: OwnedFd,
        name: String,
        committed: Option<&Block>,
        glass: &mut Glass,
    ) -> io::Result<Fifo> {
        let mut fifo = Fifo { descriptor, name, offset: 0, taken: None, oversize: Vec::new() };
        if let Some(block) = committed {
            fifo.offset = block.offset;
            fifo.recover(block, glass)?;
        }
        Ok(fifo)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The descriptor, to wait for.
    pub fn descriptor(&self) -> &OwnedFd {
        &self.descriptor
    }

    /// Reads out the committed block where it is still there.
    fn recover(&mut self, block: &Block, glass: &mut Glass) -> io::Result<()> {
        let length = usize::try_from(block.length).unwrap_or(usize::MAX);
        let there = rustix::io::ioctl_fionread(&self.descriptor)?;
        // A block was looked at through a pipe of this size, so it is no longer.
        if length > 0
            && there >= block.length
            && glass.look(&self.descriptor)?.is_some_and(|found| found >= length)
        {
            if xxh3_128(&glass.buffer[..length]) != block.hash {
                self.offset += block.length;
                return Ok(());
            }
            read_whole(&self.descriptor, &mut glass.buffer[..length])?;
        }
        self.offset += block.length;
        Ok(())
    }

    /// Looks at its head. Nothing may be taken that was not [consumed](Fifo::consume).
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn head<'g>(&mut self, glass: &'g mut Glass) -> io::Result<Head<'g>> {
        debug_assert!(self.taken.is_none(), "a block is still in the FIFO");
        if !self.oversize.is_empty() {
            return self.rest_of_oversize(glass);
        }
        // Before looking: what is found then is all there will ever be.
        let is_over = self.has_no_writer()?;
        let Some(found) = glass.look(&self.descriptor)? else { return Ok(Head::End) };
        let mut whole = docker_entry::whole(&glass.buffer[..found]);
        if whole == 0 && is_over {
            whole = found;
        }
        if whole > 0 {
            self.taken = Some((whole, xxh3_128(&glass.buffer[..whole])));
            return Ok(Head::Block(self.offset, &glass.buffer[..whole]));
        }
        // Pages of a pipe may be half empty.
        if docker_entry::begun(&glass.buffer[..found]) > fcntl_getpipe_size(&self.descriptor)? / 2 {
            read_whole(&self.descriptor, &mut glass.buffer[..found])?;
            self.oversize.extend_from_slice(&glass.buffer[..found]);
        }
        Ok(Head::Nothing(found > 0))
    }

    /// Reads on in a frame that is being collected in memory. A kill in the middle of it tears it, and its rest is skipped,
    /// which is told: better than a writer that waits for ever.
    fn rest_of_oversize<'g>(&mut self, glass: &'g mut Glass) -> io::Result<Head<'g>> {
        let wanted = docker_entry::begun(&self.oversize).saturating_sub(self.oversize.len()).min(CAPACITY);
        let read = match rustix::io::read(&self.descriptor, &mut glass.buffer[..wanted]) {
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Head::Nothing(true)),
            read => read?,
        };
        self.oversize.extend_from_slice(&glass.buffer[..read]);
        if read > 0 && read < wanted {
            return Ok(Head::Nothing(true));
        }
        glass.buffer.clear();
        glass.buffer.append(&mut self.oversize);
        self.oversize = Vec::new();
        let length = glass.buffer.len();
        glass.buffer.resize(length.max(CAPACITY), 0);
        let offset = self.offset;
        self.offset += length as u64;
        Ok(Head::Oversize(offset, &glass.buffer[..length]))
    }

    /// Reads out what was taken: it is committed. False: it was something else, and nobody knows what was lost.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn consume(&mut self, glass: &mut Glass) -> io::Result<bool> {
        let Some((length, hash)) = self.taken.take() else { return Ok(true) };
        read_whole(&self.descriptor, &mut glass.buffer[..length])?;
        self.offset += length as u64;
        Ok(xxh3_128(&glass.buffer[..length]) == hash)
    }

    /// Whether something is taken that is still in the FIFO.
    pub fn is_taken(&self) -> bool {
        self.taken.is_some()
    }

    /// What an epoch says of it.
    pub fn block(&self) -> Block {
        let (length, hash) = self.taken.unwrap_or_default();
        Block { fifo: self.name.clone(), offset: self.offset, length: length as u64, hash }
    }

    fn has_no_writer(&self) -> io::Result<bool> {
        let mut waiting = [PollFd::from_borrowed_fd(self.descriptor.as_fd(), PollFlags::IN)];
        poll(&mut waiting, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
        Ok(waiting[0].revents().contains(PollFlags::HUP))
    }
}

/// Reads what is known to be there.
fn read_whole(pipe: &OwnedFd, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        match rustix::io::read(pipe, &mut *buffer) {
            Err(Errno::INTR) => {}
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => buffer = buffer.split_at_mut(read?).1,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// A frame of a line, stamped so that no two are the same.
    fn frame(time: u8, line: &[u8]) -> Vec<u8> {
        let mut body = b"\x0a\x06stdout\x10".to_vec();
        body.push(time);
        body.push(0x1a);
        let mut length = line.len();
        while length >= 0x80 {
            body.push(length as u8 | 0x80);
            length >>= 7;
        }
        body.push(length as u8);
        body.extend_from_slice(line);
        [&(body.len() as u32).to_be_bytes()[..], &body].concat()
    }

    struct Rig {
        glass: Glass,
        reader: OwnedFd,
        writer: Option<io::PipeWriter>,
    }

    impl Rig {
        fn new() -> Rig {
            let (reader, writer) = io::pipe().expect("a pipe");
            rustix::io::ioctl_fionbio(&reader, true).expect("a pipe");
            Rig { glass: Glass::new().expect("a pipe"), reader: reader.into(), writer: Some(writer) }
        }

        fn write(&mut self, bytes: &[u8]) {
            self.writer.as_mut().expect("it is open").write_all(bytes).expect("there is room");
        }

        /// The FIFO as a new process finds it.
        fn fifo(&mut self, committed: Option<&Block>) -> Fifo {
            let reader = self.reader.try_clone().expect("a descriptor");
            Fifo::new(reader, "f".to_owned(), committed, &mut self.glass).expect("a pipe")
        }

        #[track_caller]
        fn expect(&mut self, fifo: &mut Fifo, want: Head<'_>) {
            assert_eq!(fifo.head(&mut self.glass).expect("a pipe"), want);
        }
    }

    #[test]
    fn blocks_stay_until_they_are_consumed() {
        let mut rig = Rig::new();
        let mut fifo = rig.fifo(None);
        rig.expect(&mut fifo, Head::Nothing(false));
        let (first, second) = (frame(1, b"one"), frame(2, b"two"));
        rig.write(&[&first[..], &second[..9]].concat());
        rig.expect(&mut fifo, Head::Block(0, &first));
        assert_eq!(fifo.block().length, first.len() as u64);
        assert!(fifo.consume(&mut rig.glass).expect("it is there"));
        rig.expect(&mut fifo, Head::Nothing(true));
        rig.write(&second[9..]);
        rig.expect(&mut fifo, Head::Block(first.len() as u64, &second));
        assert!(fifo.consume(&mut rig.glass).expect("it is there"));
        rig.writer = None;
        rig.expect(&mut fifo, Head::End);
    }

    #[test]
    fn fault_068_a_kill_at_any_moment_loses_and_doubles_nothing() {
        let (first, second) = (frame(1, b"one"), frame(2, b"two"));
        let mut rig = Rig::new();
        rig.write(&first);
        let mut fifo = rig.fifo(None);
        rig.expect(&mut fifo, Head::Block(0, &first));
        let block = fifo.block();
        // Before the commit: it is taken again, with what came after it.
        rig.write(&second);
        let mut fifo = rig.fifo(None);
        rig.expect(&mut fifo, Head::Block(0, &[&first[..], &second].concat()));
        // Between the commit and the reading: it is passed over.
        let mut fifo = rig.fifo(Some(&block));
        rig.expect(&mut fifo, Head::Block(first.len() as u64, &second));
        // After the reading: the block is not there any more, whatever is.
        let mut fifo = rig.fifo(Some(&block));
        rig.expect(&mut fifo, Head::Block(first.len() as u64, &second));
        let block = fifo.block();
        assert!(fifo.consume(&mut rig.glass).expect("it is there"));
        let mut fifo = rig.fifo(Some(&block));
        rig.expect(&mut fifo, Head::Nothing(false));
        rig.write(&first);
        rig.expect(&mut fifo, Head::Block((first.len() + second.len()) as u64, &first));
        // Nothing was left to recognise.
        let mut fifo = rig.fifo(Some(&Block { fifo: "f".to_owned(), offset: 99, ..Block::default() }));
        rig.expect(&mut fifo, Head::Block(99, &first));
    }

    #[test]
    fn fault_069_a_frame_that_never_ends_ends_with_the_fifo() {
        let mut rig = Rig::new();
        let first = frame(1, b"one");
        rig.write(&[&first[..], &first[..9]].concat());
        rig.writer = None;
        let mut fifo = rig.fifo(None);
        rig.expect(&mut fifo, Head::Block(0, &first));
        assert!(fifo.consume(&mut rig.glass).expect("it is there"));
        rig.expect(&mut fifo, Head::Block(first.len() as u64, &first[..9]));
        assert!(fifo.consume(&mut rig.glass).expect("it is there"));
        rig.expect(&mut fifo, Head::End);
    }

    #[test]
    fn frames_up_to_the_cap_pass_through_a_small_pipe() {
        let mut rig = Rig::new();
        let large = frame(1, &vec![b'x'; (1 << 20) - 20]);
        let sent = large.clone();
        let mut writer = rig.writer.take().expect("it is open");
        let writing = std::thread::spawn(move || writer.write_all(&sent).expect("somebody reads"));
        let mut fifo = rig.fifo(None);
        loop {
            let mut waiting = [PollFd::new(&rig.reader, PollFlags::IN)];
            poll(&mut waiting, None).expect("a pipe");
            match fifo.head(&mut rig.glass).expect("a pipe") {
                Head::Nothing(_) => {}
                head => break assert!(head == Head::Oversize(0, &large)),
            }
        }
        writing.join().expect("it has written");
        assert_eq!((fifo.block().offset, fifo.block().length), (large.len() as u64, 0));
        rig.expect(&mut fifo, Head::End);
    }
}

//! What dockerd writes to a logging driver: frames with a protobuf message each, one a line or a piece of one.
//!
//! Docker cuts lines at 16 KiB and marks every piece, the last one too, as partial; which one it is stands beside it (id,
//! ordinal, last). Pieces are told from one another by that and never by time.
//! Invariant: where the bytes are cut changes neither the lines nor the number of bytes that were skipped.
//! Limit: a frame of 1 MiB and its head. What is no frame is skipped up to the next one, and counted.
//! Not here: reading a FIFO (`input::docker_driver`).

mod entry;

use xxhash_rust::xxh3::xxh3_64;

use self::entry::{Entry, Next, Piece, garbage, next};
use super::{Frame, IoStream, Truncated};
use crate::units::{Bytes, Timestamp};

/// The longest frame, in bytes.
pub const FRAME_MAX: usize = entry::HEAD + entry::BODY_MAX;

/// The memory that is kept for frames that come in parts, in bytes: Docker's are no longer.
const KEPT_MAX: usize = 32 << 10;

/// How many bytes at the start of `bytes` are frames, or no part of any: what may be taken without cutting a frame.
/// `bytes` must begin where a frame or something that is none begins.
pub fn whole(bytes: &[u8]) -> usize {
    let mut taken = 0;
    loop {
        match next(&bytes[taken..]) {
            Next::Frame(_, length) | Next::Garbage(length) if length > 0 => taken += length,
            _ => return taken,
        }
    }
}

/// How long the frame is that begins at the start of `bytes`, as far as can be told; 0 where none does.
pub fn begun(bytes: &[u8]) -> usize {
    match (next(bytes), bytes.first_chunk::<{ entry::HEAD }>()) {
        (Next::Frame(_, length), _) => length,
        (Next::Unfinished, Some(head)) => entry::HEAD + u32::from_be_bytes(*head) as usize,
        _ => 0,
    }
}

/// How many lines end in `bytes`: for whoever can only count them.
pub fn lines(bytes: &[u8]) -> u64 {
    let (mut taken, mut lines) = (0, 0);
    loop {
        match next(&bytes[taken..]) {
            Next::Frame(Entry { partial, piece, .. }, length) => {
                lines += u64::from(!partial || piece.is_some_and(|piece| piece.last));
                taken += length;
            }
            Next::Garbage(length) if length > 0 => taken += length,
            _ => return lines,
        }
    }
}

/// Turns the bytes of one FIFO into frames.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// The beginning of a frame whose end has not come yet.
    begun: Vec<u8>,
    /// Where the first byte of `begun` stands in the FIFO.
    begun_at: u64,
    /// The line of which pieces have come, on standard output and standard error.
    open: [Option<Open>; 2],
    /// Bytes that were no part of any frame, since somebody asked.
    skipped: Bytes,
}

/// A line of which pieces have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    /// Of this id (its hash); the next piece has this ordinal.
    Named(u64, u64),
    /// Docker did not say: before version 18.
    Nameless,
    /// From before a restart.
    Inherited,
}

impl Entries {
    /// Takes more bytes; `offset` is where the first of them stands.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        offset: u64,
        length_max: usize,
        sink: &mut dyn FnMut(Frame<'_>),
    ) {
        if self.begun.is_empty() {
            self.begun_at = offset;
            let taken = self.frames(bytes, offset, length_max, sink);
            self.begun_at += taken as u64;
            self.begun.extend_from_slice(&bytes[taken..]);
            return;
        }
        let mut begun = std::mem::take(&mut self.begun);
        begun.extend_from_slice(bytes);
        let taken = self.frames(&begun, self.begun_at, length_max, sink);
        self.begun_at += taken as u64;
        begun.drain(..taken);
        begun.shrink_to(KEPT_MAX);
        self.begun = begun;
    }

    /// Ends the FIFO: a frame that has begun will never be whole, and neither will a line of which pieces have come. Whole
    /// frames may stand behind its beginning, where dockerd was killed in the middle of it and came back.
    pub(super) fn end(&mut self, length_max: usize, sink: &mut dyn FnMut(Frame<'_>)) {
        let begun = std::mem::take(&mut self.begun);
        let mut rest = &begun[..];
        while !rest.is_empty() {
            let skipped = garbage(rest);
            self.skipped += Bytes(skipped as u64);
            self.begun_at += skipped as u64;
            let taken = self.frames(&rest[skipped..], self.begun_at, length_max, sink);
            self.begun_at += taken as u64;
            rest = &rest[skipped + taken..];
        }
        for stream in [IoStream::Stdout, IoStream::Stderr] {
            self.end_line(stream, self.begun_at, sink);
        }
    }

    /// Pieces of a line of this stream are held from before a restart.
    pub(super) fn inherit(&mut self, stream: IoStream) {
        *self.open(stream) = Some(Open::Inherited);
    }

    /// Bytes that were no part of any frame, since the last call.
    pub(super) fn take_skipped(&mut self) -> Bytes {
        std::mem::take(&mut self.skipped)
    }

    /// How many bytes of a frame whose end has not come are held.
    pub(super) fn held(&self) -> usize {
        self.begun.len()
    }

    /// Hands out the frames in `bytes`. Returns how many bytes they take, with what stands between them.
    fn frames(
        &mut self,
        bytes: &[u8],
        offset: u64,
        length_max: usize,
        sink: &mut dyn FnMut(Frame<'_>),
    ) -> usize {
        let mut taken = 0;
        while taken < bytes.len() {
            match next(&bytes[taken..]) {
                Next::Frame(entry, length) => {
                    self.frame(entry, offset + taken as u64, length_max, sink);
                    taken += length;
                }
                Next::Garbage(length) => {
                    self.skipped += Bytes(length as u64);
                    taken += length;
                }
                Next::Unfinished => break,
            }
        }
        taken
    }

    fn frame(&mut self, entry: Entry<'_>, offset: u64, length_max: usize, sink: &mut dyn FnMut(Frame<'_>)) {
        let Entry { stream, time, line, partial, piece } = entry;
        let piece = piece.filter(|_| partial);
        let id = piece.map_or(0, |piece| xxh3_64(piece.id));
        // A piece whose predecessors are missing has lost its beginning.
        let mut complete = piece.is_none_or(|piece| piece.ordinal <= 1);
        match *self.open(stream) {
            Some(open) if !continues(open, id, partial, piece) => self.end_line(stream, offset, sink),
            Some(_) => complete = true,
            None => {}
        }
        let goes_on = partial && piece.is_none_or(|piece| !piece.last);
        *self.open(stream) = goes_on.then(|| match piece {
            Some(piece) => Open::Named(id, piece.ordinal.saturating_add(1)),
            None => Open::Nameless,
        });
        let is_long = line.len() > length_max;
        sink(Frame {
            text: &line[..line.len().min(length_max)],
            time: (time != 0).then_some(Timestamp(time)),
            stream,
            partial: goes_on,
            complete,
            extra: &[],
            parse_error: None,
            truncated: is_long.then(|| Truncated { length: line.len() as u64, xxh3: xxh3_64(line) }),
            offset,
        });
    }

    /// Ends a line whose last piece will not come.
    fn end_line(&mut self, stream: IoStream, offset: u64, sink: &mut dyn FnMut(Frame<'_>)) {
        if self.open(stream).take().is_some() {
            sink(Frame {
                text: &[],
                time: None,
                stream,
                partial: false,
                complete: false,
                extra: &[],
                parse_error: None,
                truncated: None,
                offset,
            });
        }
    }

    fn open(&mut self, stream: IoStream) -> &mut Option<Open> {
        &mut self.open[usize::from(stream == IoStream::Stderr)]
    }
}

/// Whether an entry goes on with the line that is open.
fn continues(open: Open, id: u64, partial: bool, piece: Option<Piece<'_>>) -> bool {
    match (open, piece) {
        (Open::Named(of, ordinal), Some(piece)) => of == id && piece.ordinal == ordinal,
        (Open::Nameless, None) => true,
        (Open::Inherited, Some(piece)) => piece.ordinal != 1,
        (Open::Inherited, None) => partial,
        (Open::Named(..), None) | (Open::Nameless, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests;

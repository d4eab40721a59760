//! One generation: one physical file, from its first byte until it is read to its end and nobody writes to it.
//!
//! Invariant: `offset` only grows, by exactly the bytes that were handed out or told as skipped, and goes back to 0 only
//! when the content is another one. Closing the descriptor, errors and renames leave it alone.
//! Each read begins with the bytes before the offset. They are compared with what was read then: so a file that was
//! emptied and has grown beyond our offset since is found out for the price of copying 256 bytes.
//! Not here: when a generation is over (`source`), who is told (`turn`).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::engine::state::{FileId, Position};
use crate::units::{Bytes, Monotonic};

use super::Loss;
use super::archive::{Archive, Step};
use super::discover::is_absence;
use super::family::Member;
use super::fingerprint::{Fingerprint, Trace};
use super::identity::{self, status_of, status_of_open};
use super::refusals::Trouble;
use super::remote::Doubt;
use super::rest::Remains;
use super::rotation::split;
use super::trust::Trust;

/// One physical file and how far we have read it.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) identity: FileId,
    /// The last name that we saw lead to the file.
    pub(super) path: PathBuf,
    content: Option<Content>,
    /// Everything before this was handed out or told as skipped.
    pub(super) offset: u64,
    /// The size when we last looked.
    pub(super) size: u64,
    /// The size at the look before: of what we read, when the last look turns out to have seen other content.
    size_before: u64,
    /// When the content changed last, as of the last look.
    modified: i128,
    /// The same, when the bytes before the offset were last found to be ours.
    confirmed: Option<i128>,
    /// What was read. Looked up when the file is opened, if reading begins in its middle.
    trace: Option<Trace>,
    /// What the content must be, as long as there is no trace: of a restart, or of a file that took a rest over.
    expected: Fingerprint,
    /// The content is not the one that was read.
    replaced: bool,
    /// Whether a size below what was read may be stale.
    doubt: Doubt,
    /// All bytes from `offset` to here are NULs, and it is not known yet what follows.
    nuls_end: u64,
    /// This file holds the rest of another one.
    pub(super) rest: Option<Box<Rest>>,
    /// With `until_eof`: reading ends here.
    pub(super) limit: Option<u64>,
    /// No name leads to the file any more.
    pub(super) deleted: bool,
    /// `path` led to the file at the last scan.
    pub(super) reachable: bool,
    /// Since when there has been nothing to read.
    pub(super) at_end_since: Option<Monotonic>,
    /// When bytes were read last.
    pub(super) active: Monotonic,
    pub(super) trouble: Option<Trouble>,
    /// The file was not open and no name leads to it any more: what was not read is lost.
    pub(super) vanished: bool,
}

/// An open file.
#[derive(Debug)]
enum Content {
    Plain(File),
    Packed(Box<Archive>),
}

/// What a file is that holds the rest of another: a copy, or an archive.
#[derive(Debug)]
pub(super) struct Rest {
    pub(super) of: Remains,
    pub(super) is_packed: bool,
    /// An archive was read to its end.
    is_over: bool,
    /// Since when the archive has ended too early.
    pub(super) cut_since: Option<Monotonic>,
}

/// How a file stands to what we have read of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// There are bytes to read.
    Unread,
    /// Everything was read.
    AtEnd,
    /// As `AtEnd`, but somebody wrote to it: it may be other content of the same length.
    Touched,
    /// It is said to be shorter than what we read of it, which may be stale: look again.
    Doubtful,
    /// Its content is not the one that we read.
    Replaced,
    /// It is not open, and its last known name leads elsewhere. A scan will find it or find it gone.
    Astray,
    /// It is gone, and with it what was not read.
    Vanished,
}

/// What a read came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Took<'a> {
    Bytes(&'a [u8]),
    /// So many bytes were looked at that are nobody's business.
    Passed(usize),
    /// It is the archive that was looked for.
    Confirmed,
    /// A run of so many NULs at the beginning is over.
    Nuls(u64),
    /// The size promised bytes that are not there.
    Nothing,
    /// The content is not the one that we read.
    Replaced,
    /// An archive is broken; `Cut`: it ends too early, which may change.
    Broken {
        is_cut: bool,
    },
}

impl Generation {
    /// A file as a scan found it, not open yet.
    pub(super) fn new(member: &Member, expected: Fingerprint, now: Monotonic) -> Generation {
        Generation {
            identity: member.status.identity,
            path: member.path.clone(),
            content: None,
            offset: expected.read,
            size: member.status.size,
            size_before: member.status.size,
            modified: member.status.modified,
            confirmed: None,
            trace: (expected.read == 0).then(Trace::new),
            expected,
            replaced: false,
            doubt: Doubt::default(),
            nuls_end: 0,
            rest: None,
            limit: None,
            deleted: false,
            reachable: true,
            at_end_since: None,
            active: now,
            trouble: None,
            vanished: false,
        }
    }

    /// A file that was being read when we stopped.
    pub(super) fn resumed(member: &Member, position: &Position, now: Monotonic) -> Generation {
        let mut generation = Generation::new(member, Fingerprint::of_position(position), now);
        generation.offset = position.resume.min(position.read);
        generation.size_before = position.size.max(position.read);
        generation
    }

    /// A file that holds what `of` left unread.
    pub(super) fn rest(member: &Member, of: Remains, is_packed: bool, now: Monotonic) -> Generation {
        let mut generation = Generation::new(member, of.fingerprint, now);
        generation.offset = of.offset;
        generation.rest = Some(Box::new(Rest { of, is_packed, is_over: false, cut_since: None }));
        generation
    }

    /// Whether it is an archive.
    pub(super) fn is_packed(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.is_packed)
    }

    /// The file as the scan sees it, if it can be looked at.
    pub(super) fn member(&self) -> Option<Member> {
        let status = status_of(&self.path).ok().filter(|status| status.identity == self.identity)?;
        let age = split(self.path.file_name()?).age;
        Some(Member { age, path: self.path.clone(), covered: false, status })
    }

    /// Where reading ends for now.
    fn end(&self) -> u64 {
        self.limit.map_or(self.size, |limit| limit.min(self.size))
    }

    /// The bytes that we know of and have not read. What an archive holds is not known.
    pub(super) fn unread(&self) -> Bytes {
        match &self.rest {
            Some(rest) if rest.is_packed => Bytes(u64::from(!rest.is_over)),
            _ => Bytes(self.end().saturating_sub(self.offset.max(self.nuls_end))),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.content.is_some()
    }

    /// Whether it is an archive, and open.
    pub(super) fn is_open_archive(&self) -> bool {
        matches!(self.content, Some(Content::Packed(_)))
    }

    /// Whether the file is open and could be opened again by its name.
    pub(super) fn can_close(&self) -> bool {
        self.is_open() && self.reachable && !self.deleted
    }

    /// Whether nothing is to be had from the file for now.
    pub(super) fn is_quiet(&self) -> bool {
        self.unread() == Bytes(0) || self.trouble.is_some()
    }

    /// What is known of the content, in hashes.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.trace.as_ref().map_or(self.expected, |trace| trace.fingerprint(self.offset))
    }

    /// Where a restart would have to go on. `unfinished` is where a line begins of which only a part was read.
    pub(super) fn position(&self, source: &Path, unfinished: Option<u64>) -> Position {
        let Fingerprint { read, head_length, head, marker } = self.fingerprint();
        Position {
            file: self.identity,
            path: self.path.clone(),
            source: source.to_owned(),
            resume: unfinished.unwrap_or(self.offset).min(self.offset),
            read,
            size: if self.is_packed() { read } else { self.size.max(read) },
            head_length,
            head,
            marker,
            ended: false,
        }
    }

    /// Opens the file under its last known name. False: that name leads to another file by now, or to one whose size is
    /// not believed yet.
    pub(super) fn open(&mut self, trust: &Trust, now: Monotonic) -> io::Result<bool> {
        match identity::open(&self.path, self.identity, trust) {
            Ok(Some(file)) if self.is_packed() => {
                self.content = Some(Content::Packed(Box::new(Archive::new(file))));
                Ok(true)
            }
            Ok(Some(file)) => self.take(file, now),
            Ok(None) => Ok(false),
            Err(error) if is_absence(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes an open file and makes sure that it holds what was read of it. False: it cannot be said yet.
    fn take(&mut self, file: File, now: Monotonic) -> io::Result<bool> {
        if self.trace.is_none() {
            if self.is_doubtful(status_of_open(&file)?.size, now) {
                return Ok(false);
            }
            let fits = self.expected.fits(&file)?;
            self.trace = if fits { Trace::load(&file, self.offset)? } else { None };
            self.replaced = self.trace.is_none();
            self.confirmed = (!self.replaced).then_some(self.modified);
        }
        self.content = Some(Content::Plain(file));
        Ok(true)
    }

    /// Whether the file is said to be shorter than what was read of it, and that may be stale.
    fn is_doubtful(&mut self, size: u64, now: Monotonic) -> bool {
        // Of a file that was not opened yet since the start, all that was read then must be there.
        let read = if self.trace.is_some() { self.offset } else { self.expected.read.max(self.offset) };
        self.doubt.is_cast_on(size, read, &self.path, now)
    }

    pub(super) fn close(&mut self) {
        if self.is_open_archive() {
            // It is passed over from its beginning when it is opened again, and checked again.
            self.expected = self.fingerprint();
            self.trace = None;
        }
        self.content = None;
    }

    /// Whether the content was found not to be the one that was read.
    pub(super) fn is_replaced(&self) -> bool {
        self.replaced
    }

    /// Puts another file in the place of the open one, to make reading fail.
    #[cfg(test)]
    pub(super) fn replace_file(&mut self, file: File) {
        self.content = Some(Content::Plain(file));
    }

    /// Asks the kernel how the file stands.
    pub(super) fn look(&mut self, now: Monotonic) -> io::Result<Standing> {
        if self.vanished {
            return Ok(Standing::Vanished);
        }
        if self.is_packed() {
            return Ok(if self.unread() == Bytes(0) { Standing::AtEnd } else { Standing::Unread });
        }
        let status = match &self.content {
            Some(Content::Plain(file)) => status_of_open(file)?,
            _ => match status_of(&self.path) {
                Ok(status) if status.identity == self.identity => status,
                Ok(_) => return Ok(Standing::Astray),
                Err(error) if is_absence(&error) => return Ok(Standing::Astray),
                Err(error) => return Err(error),
            },
        };
        if status.links == 0 && !self.deleted {
            self.deleted = true;
            // Its writer may not know yet: the grace begins now.
            self.at_end_since = None;
        }
        if !self.replaced && self.is_doubtful(status.size, now) {
            return Ok(Standing::Doubtful);
        }
        let size_before = std::mem::replace(&mut self.size, status.size);
        self.modified = status.modified;
        if !self.replaced {
            self.size_before = size_before;
        }
        if self.replaced || status.size < self.offset {
            return Ok(Standing::Replaced);
        }
        if status.size < self.nuls_end {
            self.nuls_end = 0;
        }
        let is_confirmed = self.offset == 0 || self.confirmed == Some(status.modified);
        Ok(match self.unread() {
            Bytes(0) if is_confirmed || self.limit.is_some() => Standing::AtEnd,
            Bytes(0) => Standing::Touched,
            _ => Standing::Unread,
        })
    }

    /// Makes sure that the bytes before the offset are those that were read. The file must be open.
    pub(super) fn confirm(&mut self, now: Monotonic) -> io::Result<()> {
        if let (Some(Content::Plain(file)), Some(trace)) = (&self.content, &self.trace) {
            let fits = trace.fingerprint(self.offset).fits(file)?;
            let size = status_of_open(file)?.size;
            // What seems to be missing may be there at the next look.
            if fits || !self.is_doubtful(size, now) {
                self.replaced = !fits;
                self.confirmed = Some(self.modified);
            }
        }
        Ok(())
    }

    /// Begins anew, with the content that the file has now. Says what was left to read of the old one.
    pub(super) fn begin_anew(&mut self) -> Remains {
        let remains = self.remains(Loss::Truncated, self.size_before);
        // What an emptied file holds came after the start, and `until_eof` is about what was there before; unless it was
        // emptied before the start.
        let was_read = self.trace.is_some();
        self.limit = self.limit.map(|limit| if was_read { 0 } else { limit });
        (self.offset, self.nuls_end, self.size_before) = (0, 0, self.size);
        (self.expected, self.trace) = (Fingerprint::unknown(0), Some(Trace::new()));
        (self.replaced, self.confirmed, self.at_end_since) = (false, None, None);
        remains
    }

    /// What is left to read of content that cannot be had any more and was `size` bytes long when it was last seen.
    pub(super) fn remains(&self, why: Loss, size: u64) -> Remains {
        let (path, fingerprint) = (self.path.clone(), self.fingerprint());
        Remains { why, path, file: self.identity, fingerprint, offset: self.offset, size, tried: Vec::new() }
    }

    /// Takes the NULs at the end that nothing has followed: how many.
    pub(super) fn take_nuls(&mut self) -> u64 {
        let nuls = self.nuls_end.saturating_sub(self.offset);
        self.pass_nuls(nuls);
        nuls
    }

    /// Reads what follows, at most `room` bytes and as far as the limit allows. The file must be open, and the buffer
    /// have room for `LAST_MAX` bytes more.
    pub(super) fn read<'a>(&mut self, buffer: &'a mut [u8], room: usize) -> io::Result<Took<'a>> {
        match &self.content {
            None => Ok(Took::Nothing),
            Some(Content::Packed(_)) => self.unpack(&mut buffer[..room]),
            Some(Content::Plain(_)) if self.nuls_end > self.offset => self.skip_nuls(&mut buffer[..room]),
            Some(Content::Plain(file)) => {
                let trace = self.trace.get_or_insert_with(Trace::new);
                let before = trace.last().len();
                let unread =
                    self.limit.map_or(self.size, |limit| limit.min(self.size)).saturating_sub(self.offset);
                let wanted = before + usize::try_from(unread).map_or(room, |unread| unread.min(room));
                let read = read_at(file, &mut buffer[..wanted], self.offset - before as u64)?;
                if read <= before {
                    return Ok(Took::Nothing);
                }
                if buffer[..before] != *trace.last() {
                    self.replaced = true;
                    return Ok(Took::Replaced);
                }
                self.confirmed = Some(self.modified);
                if buffer[before] == 0 && trace.is_nul() {
                    return self.skip_nuls(&mut buffer[..room]);
                }
                let bytes = &buffer[before..read];
                trace.extend(bytes);
                self.offset += bytes.len() as u64;
                Ok(Took::Bytes(bytes))
            }
        }
    }

    /// Looks for the end of the NULs at the beginning: the hole that a writer leaves who goes on at his old offset in a
    /// file that was emptied. The kernel knows where the next data is, so that a hole of gigabytes costs nothing.
    fn skip_nuls(&mut self, buffer: &mut [u8]) -> io::Result<Took<'static>> {
        let Some(Content::Plain(file)) = &self.content else { return Ok(Took::Nothing) };
        let (from, end) = (self.offset.max(self.nuls_end), self.end());
        let data = match rustix::fs::seek(file, SeekFrom::Data(from)) {
            Ok(data) => data.min(end),
            Err(Errno::NXIO) => end,
            // A file system that knows nothing of holes.
            Err(_) => from,
        };
        let wanted =
            usize::try_from(end.saturating_sub(data)).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = read_at(file, &mut buffer[..wanted], data)?;
        match buffer[..read].iter().position(|byte| *byte != 0) {
            Some(text) => {
                let nuls = data + text as u64 - self.offset;
                self.pass_nuls(nuls);
                Ok(Took::Nuls(nuls))
            }
            None => {
                self.nuls_end = data + read as u64;
                Ok(if self.nuls_end > from { Took::Passed(read) } else { Took::Nothing })
            }
        }
    }

    fn pass_nuls(&mut self, nuls: u64) {
        let zeros = [0; super::fingerprint::HEAD_MAX];
        if let Some(trace) = &mut self.trace {
            trace.extend(&zeros[..usize::try_from(nuls).map_or(zeros.len(), |nuls| nuls.min(zeros.len()))]);
        }
        self.offset += nuls;
        self.nuls_end = 0;
    }

    fn unpack<'a>(&mut self, buffer: &'a mut [u8]) -> io::Result<Took<'a>> {
        let (Some(Content::Packed(archive)), Some(rest)) = (&mut self.content, &mut self.rest) else {
            return Ok(Took::Nothing);
        };
        let step = match &self.trace {
            None => archive.seek(&self.expected, self.offset, buffer)?,
            Some(_) => archive.read(buffer)?,
        };
        Ok(match step {
            Step::There => {
                self.trace = Some(archive.take_trace());
                Took::Confirmed
            }
            Step::Took(passed) => match &mut self.trace {
                None => Took::Passed(passed),
                Some(trace) => {
                    let bytes = &buffer[..passed];
                    trace.extend(bytes);
                    self.offset += passed as u64;
                    rest.cut_since = None;
                    Took::Bytes(bytes)
                }
            },
            Step::End => {
                rest.is_over = true;
                Took::Passed(0)
            }
            Step::NotOurs => Took::Replaced,
            Step::Cut => Took::Broken { is_cut: true },
            Step::Damaged => Took::Broken { is_cut: false },
        })
    }
}

/// Reads what is there, once.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

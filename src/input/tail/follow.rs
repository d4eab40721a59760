//! One generation: one physical file, from its first byte until it is read to its end and nobody writes to it.
//!
//! Invariant: `offset` only grows, by exactly the bytes that were handed out, and goes back to 0 only when the file
//! shrank below it. Closing the descriptor, errors and renames leave it alone.
//! Not here: when a generation is over (`source`), who is told (`turn`).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::units::{Bytes, Monotonic};

use super::discover::is_absence;
use super::family::Member;
use super::identity::{self, Identity, status_of, status_of_open};
use super::refusals::Trouble;

/// One physical file and how far we have read it.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) identity: Identity,
    /// The last name that we saw lead to the file.
    pub(super) path: PathBuf,
    file: Option<File>,
    /// Everything before this was handed out.
    pub(super) offset: u64,
    /// The size when we last looked.
    pub(super) size: u64,
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

/// How a file stands to what we have read of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// There are bytes to read.
    Unread,
    /// Everything was read.
    AtEnd,
    /// It shrank below our offset, which is 0 now; of the bytes in between we know that they were there.
    Shrunk { lost: Bytes },
    /// It is not open, and its last known name leads elsewhere. A scan will find it or find it gone.
    Astray,
    /// It is gone, and with it what was not read.
    Vanished { lost: Bytes },
}

impl Generation {
    /// A file as a scan found it, not open yet.
    pub(super) fn new(member: &Member, offset: u64, now: Monotonic) -> Generation {
        Generation {
            identity: member.status.identity,
            path: member.path.clone(),
            file: None,
            offset,
            size: member.status.size,
            limit: None,
            deleted: false,
            reachable: true,
            at_end_since: None,
            active: now,
            trouble: None,
            vanished: false,
        }
    }

    /// Where reading ends for now.
    fn end(&self) -> u64 {
        self.limit.map_or(self.size, |limit| limit.min(self.size))
    }

    /// The bytes that we know of and have not read.
    pub(super) fn unread(&self) -> Bytes {
        Bytes(self.end().saturating_sub(self.offset))
    }

    pub(super) fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Whether the file is open and could be opened again by its name.
    pub(super) fn can_close(&self) -> bool {
        self.is_open() && self.reachable && !self.deleted
    }

    /// Whether nothing is to be had from the file for now.
    pub(super) fn is_quiet(&self) -> bool {
        self.unread() == Bytes(0) || self.trouble.is_some()
    }

    /// Opens the file under its last known name. False: that name leads to another file by now.
    pub(super) fn open(&mut self) -> io::Result<bool> {
        match identity::open(&self.path, self.identity) {
            Ok(file) => {
                self.file = file;
                Ok(self.is_open())
            }
            Err(error) if is_absence(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn close(&mut self) {
        self.file = None;
    }

    /// Puts another file in the place of the open one, to make reading fail.
    #[cfg(test)]
    pub(super) fn replace_file(&mut self, file: File) {
        self.file = Some(file);
    }

    /// Asks the kernel how the file stands.
    pub(super) fn look(&mut self) -> io::Result<Standing> {
        if self.vanished {
            return Ok(Standing::Vanished { lost: self.unread() });
        }
        let status = match &self.file {
            Some(file) => status_of_open(file)?,
            None => match status_of(&self.path) {
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
        if status.size < self.offset {
            let lost = self.unread();
            (self.offset, self.size) = (0, status.size);
            // What an emptied file holds came after the start, and `until_eof` is about what was there before.
            self.limit = self.limit.map(|_| 0);
            return Ok(Standing::Shrunk { lost });
        }
        self.size = status.size;
        Ok(if self.unread() == Bytes(0) { Standing::AtEnd } else { Standing::Unread })
    }

    /// Reads what follows, as much as the buffer takes and the limit allows. The file must be open.
    pub(super) fn read<'a>(&mut self, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        let Some(file) = &self.file else { return Ok(&[]) };
        let wanted = usize::try_from(self.unread().0).map_or(buffer.len(), |unread| unread.min(buffer.len()));
        let read = loop {
            match file.read_at(&mut buffer[..wanted], self.offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.offset += read as u64;
        Ok(&buffer[..read])
    }
}

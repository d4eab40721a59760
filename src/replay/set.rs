//! Rotated sets: which files were one log, and in which order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ReplayError;
use super::file::{Facts, LogFile};
use crate::engine::Source;
use crate::engine::chunk::OriginId;
use crate::input::tail::rotation::{Age, split};
use crate::units::Timestamp;

/// The files of one log, oldest first, of which one is open.
pub(super) struct Set {
    /// What is known of the log.
    pub(super) source: Source,
    /// The engine's number for it.
    pub(super) origin: OriginId,
    /// The time for lines that have none of their own, and the year for those that leave it out: when the log was
    /// written last. One for the whole set, so that its clock never jumps between files.
    pub(super) wall: Timestamp,
    waiting: Vec<PathBuf>,
    open: Option<LogFile>,
    /// Bytes of files that are read and closed.
    read: u64,
}

/// A file before its place is known.
struct Member {
    path: PathBuf,
    age: Age,
    facts: Facts,
}

impl Set {
    /// Sorts files into sets. Every file is opened once, so that what cannot be read is known before anything is.
    pub(super) fn of(
        paths: &[PathBuf],
        source_of: impl Fn(&Path) -> Source,
        now: Timestamp,
    ) -> Result<Vec<Set>, ReplayError> {
        let mut sets: Vec<(PathBuf, Source, Vec<Member>)> = Vec::new();
        let mut seen = BTreeMap::new();
        for path in paths {
            let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            if let Some(first) = seen.insert(real, path.clone()) {
                return Err(ReplayError::Twice { first, second: path.clone() });
            }
            let (base, age) = taken_apart(path);
            let source = source_of(&base);
            let facts = if path.as_os_str() == "-" {
                // Standard input can be read once only: its first bytes may be an hour away, and decide nothing.
                Facts { modified: now, begins: None }
            } else {
                LogFile::open(path)?.facts(source.format, &source.line, now)?
            };
            let member = Member { path: path.clone(), age, facts };
            match sets.iter_mut().find(|(known, ..)| *known == base) {
                Some((.., members)) => members.push(member),
                None => sets.push((base, source, vec![member])),
            }
        }
        Ok(sets.into_iter().map(|(_, source, members)| Set::new(source, members, now)).collect())
    }

    fn new(source: Source, mut members: Vec<Member>, now: Timestamp) -> Set {
        // The name says which is older; but where all tell their time, time is right and names may be reused.
        members.sort_by(|a, b| b.age.cmp(&a.age));
        if members.iter().all(|member| member.facts.begins.is_some()) {
            members.sort_by_key(|member| member.facts.begins);
        }
        let modified = members.iter().map(|member| member.facts.modified).max().unwrap_or(now);
        let begins = members.iter().filter_map(|member| member.facts.begins).max();
        // A file that claims to be older than its own lines was touched: then it is as young as can be.
        let wall = if begins.is_some_and(|begins| begins > modified) { now } else { modified };
        members.reverse();
        Set {
            source,
            origin: OriginId(0),
            wall,
            waiting: members.into_iter().map(|member| member.path).collect(),
            open: None,
            read: 0,
        }
    }

    /// The file that is read now, opened if need be; `None` when all are read.
    pub(super) fn current(&mut self) -> Result<Option<&mut LogFile>, ReplayError> {
        if self.open.is_none() {
            let Some(next) = self.waiting.pop() else { return Ok(None) };
            self.open = Some(LogFile::open(&next)?);
        }
        Ok(self.open.as_mut())
    }

    /// The time of the next line, if it has one; `None` when all is read.
    pub(super) fn next_time(&mut self) -> Result<Option<Option<Timestamp>>, ReplayError> {
        let (format, limits, wall) = (self.source.format, self.source.line.clone(), self.wall);
        self.current()?.map(|file| file.next_time(format, &limits, wall)).transpose()
    }

    /// The file that is open has been read to its end.
    pub(super) fn close_current(&mut self) {
        if let Some(file) = self.open.take() {
            self.read += file.read_so_far();
        }
    }

    /// Bytes read from the files themselves so far.
    pub(super) fn read_so_far(&self) -> u64 {
        self.read + self.open.as_ref().map_or(0, LogFile::read_so_far)
    }
}

/// The path that a file had while it was written, and how old its name says it is.
fn taken_apart(path: &Path) -> (PathBuf, Age) {
    let Some(name) = path.file_name() else { return (path.to_owned(), Age::Current) };
    let rotated = split(name);
    (path.with_file_name(rotated.base), rotated.age)
}

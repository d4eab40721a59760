//! A rotated file that was compressed before we were through with it (`x.log.2.gz`): read only to finish what we had
//! begun, never for its own sake (row 23).
//!
//! Whether it is the file that we want shows only while it is decompressed: its head first, and at our offset the bytes
//! before it. So [`Archive::seek`] passes over what was read, checks, and stops at the offset; it does so a buffer at a
//! time, because an archive may be large and others want their turn.
//! Several members in a row are one file. An archive that ends too early may still be being written; one that contradicts
//! itself is broken. Limit: constant memory, some 80 KiB while open.

use std::fs::File;
use std::io::{self, Read, Seek};

use flate2::read::MultiGzDecoder;

use super::fingerprint::{Fingerprint, Trace};

/// An open archive.
pub(super) struct Archive {
    /// `None` after the file could not be wound back.
    decoder: Option<MultiGzDecoder<File>>,
    /// How many decompressed bytes were taken out.
    position: u64,
    trace: Trace,
    /// The content is the one that was looked for.
    confirmed: bool,
}

/// What a step came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many bytes are at the front of the buffer (when reading) or were passed over (when seeking).
    Took(usize),
    /// The offset is reached: what was before it is in the trace.
    There,
    /// Everything was read, and the checksums agree.
    End,
    /// It is another file's archive.
    NotOurs,
    /// It ends in the middle.
    Cut,
    /// It is damaged, or no archive.
    Damaged,
}

impl Archive {
    pub(super) fn new(file: File) -> Archive {
        Archive {
            decoder: Some(MultiGzDecoder::new(file)),
            position: 0,
            trace: Trace::new(),
            confirmed: false,
        }
    }

    /// Takes one step towards `offset`, in the file that `print` describes. `offset` is at most `print.read`.
    pub(super) fn seek(&mut self, print: &Fingerprint, offset: u64, buffer: &mut [u8]) -> io::Result<Step> {
        let head = u64::from(print.head_length).min(print.read);
        let goal = match self.confirmed {
            true => offset,
            false if self.position < head => head,
            false => print.read,
        };
        let step = if self.position < goal { self.pass(goal, buffer)? } else { Step::Took(0) };
        let Step::Took(passed) = step else {
            return Ok(if step == Step::End { Step::NotOurs } else { step });
        };
        if self.confirmed {
            return Ok(if self.position == offset { Step::There } else { Step::Took(passed) });
        }
        let is_other = (self.position == head && self.trace.fingerprint(head).head != print.head)
            || (self.position == print.read && !print.fits_last(self.trace.last()));
        if is_other {
            return Ok(Step::NotOurs);
        }
        if self.position == print.read {
            self.confirmed = true;
            if offset < self.position {
                self.rewind()?;
            }
        }
        Ok(if self.confirmed && self.position == offset { Step::There } else { Step::Took(passed) })
    }

    /// What was passed over.
    pub(super) fn take_trace(&mut self) -> Trace {
        std::mem::replace(&mut self.trace, Trace::new())
    }

    /// Decompresses the next bytes into `buffer`.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Step> {
        let Some(decoder) = &mut self.decoder else { return Ok(Step::Damaged) };
        loop {
            match decoder.read(buffer) {
                Ok(0) => return Ok(Step::End),
                Ok(taken) => {
                    self.position += taken as u64;
                    return Ok(Step::Took(taken));
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::UnexpectedEof => return Ok(Step::Cut),
                    // So flate2 calls what it cannot decode; the errors of the file itself have a number.
                    _ if error.raw_os_error().is_none() => return Ok(Step::Damaged),
                    _ => return Err(error),
                },
            }
        }
    }

    fn pass(&mut self, goal: u64, buffer: &mut [u8]) -> io::Result<Step> {
        let left = goal - self.position;
        let room = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let step = self.read(&mut buffer[..room])?;
        if let Step::Took(taken) = step {
            self.trace.extend(&buffer[..taken]);
        }
        Ok(step)
    }

    fn rewind(&mut self) -> io::Result<()> {
        let Some(decoder) = self.decoder.take() else { return Ok(()) };
        let mut file = decoder.into_inner();
        file.rewind()?;
        self.decoder = Some(MultiGzDecoder::new(file));
        (self.position, self.trace) = (0, Trace::new());
        Ok(())
    }
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Archive at {}", self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn packed(members: &[&[u8]]) -> Vec<u8> {
        let mut all = Vec::new();
        for member in members {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(member).unwrap();
            all.extend(encoder.finish().unwrap());
        }
        all
    }

    fn archive(bytes: &[u8]) -> Archive {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        Archive::new(file)
    }

    /// What comes from `offset` on, and how it ended.
    fn rest(archive: &mut Archive, print: &Fingerprint, offset: u64) -> (Vec<u8>, Step) {
        let (mut buffer, mut got, mut there) = ([0; 100], Vec::new(), false);
        for _ in 0..10_000 {
            let step = match there {
                false => archive.seek(print, offset, &mut buffer).unwrap(),
                true => archive.read(&mut buffer).unwrap(),
            };
            match step {
                Step::There => there = true,
                Step::Took(taken) if there => got.extend(&buffer[..taken]),
                Step::Took(_) => {}
                end => return (got, end),
            }
        }
        panic!("no end");
    }

    fn print_of(read: &[u8]) -> Fingerprint {
        let mut trace = Trace::new();
        trace.extend(read);
        trace.fingerprint(read.len() as u64)
    }

    #[test]
    fn fault_023_the_rest_of_an_archive() {
        let text: Vec<u8> = (0..600).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
        let whole = packed(&[&text]);
        #[track_caller]
        fn check(packed: &[u8], read: &[u8], offset: usize, want: &[u8], end: Step) {
            let (got, ended) = rest(&mut archive(packed), &print_of(read), offset as u64);
            assert_eq!((String::from_utf8_lossy(&got), ended), (String::from_utf8_lossy(want), end));
        }
        for read in [0, 1, 300, 1_023, 1_024, 1_025, 3_000, text.len()] {
            for offset in [0, read / 2, read] {
                check(&whole, &text[..read], offset, &text[offset..], Step::End);
                let two = packed(&[&text[..700], &text[700..]]);
                check(&two, &text[..read], offset, &text[offset..], Step::End);
            }
        }
        check(&whole, b"line 0\nline 2\n", 0, b"", Step::NotOurs);
        let other_marker = [&text[..2_000], b"something else\n"].concat();
        check(&whole, &other_marker, 2_000, b"", Step::NotOurs);
        let longer = [&text[..], b"more\n"].concat();
        check(&whole, &longer, 0, b"", Step::NotOurs);
        check(b"no archive", &text[..100], 0, b"", Step::Damaged);
        check(b"", &text[..100], 0, b"", Step::Cut);
        let mut damaged = whole.clone();
        let at = damaged.len() - 6;
        damaged[at] ^= 1;
        check(&damaged, &text[..100], 100, &text[100..], Step::Damaged);
        let (got, end) = rest(&mut archive(&whole[..whole.len() / 2]), &print_of(b"line 0\n"), 7);
        assert_eq!(end, Step::Cut);
        assert!(text[7..].starts_with(&got));
    }
}

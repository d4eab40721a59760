//! Frames: wherever the chunks are cut, the same lines come out, and every byte of the file is in one of them.

use squall::engine::frame::{Format, Frame, Framer, IoStream, Truncated, docker_entry};
use squall::units::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

/// The longest text that is kept: short, or longer than any input. One of them for each input, because a law that is
/// three times as quick finds more.
fn length_max(file: &[u8]) -> usize {
    [7, 60, 1 << 20][(xxh3_64(file) >> 8) as usize % 3]
}

/// Docker's json-file.
pub fn json_file_line(file: &[u8]) {
    let length_max = length_max(file);
    let frames = same_frames_however_cut(Format::Docker, length_max, file);
    every_byte_is_in_one_frame(&frames, file, length_max, is_dockers);
    same_frames_however_cut(Format::Auto, length_max, file);
    scan_and_parser_agree(file, length_max);
}

/// The container runtime interface.
pub fn cri_line(file: &[u8]) {
    let length_max = length_max(file);
    let frames = same_frames_however_cut(Format::Cri, length_max, file);
    every_byte_is_in_one_frame(&frames, file, length_max, |text, line| line.ends_with(text));
    assert_eq!(frames.len(), lines(file).count(), "a frame is a line");
    same_frames_however_cut(Format::Auto, length_max, file);
    let plain = same_frames_however_cut(Format::Plain, length_max, file);
    every_byte_is_in_one_frame(&plain, file, length_max, |text, line| line == text);
}

/// What dockerd writes to a logging driver. Frames go forward, and behind the whole ones nothing is remembered.
pub fn fifo_frames(fifo: &[u8]) {
    let frames = same_frames_however_cut(Format::DockerEntry, length_max(fifo), fifo);
    assert!(frames.is_sorted_by_key(|frame| frame.offset), "frames go forward");
    let whole = docker_entry::whole(fifo);
    assert!(whole <= fifo.len() && docker_entry::whole(&fifo[whole..]) == 0, "what is left is no frame");
    let mut framer = Framer::new(Format::DockerEntry, 1);
    let mut lines = 0;
    framer.push(&fifo[..whole], 0, &mut |frame| lines += u64::from(!frame.partial && frame.complete));
    assert!(docker_entry::lines(fifo) >= lines, "who only counts sees no less");
    framer.end_of_file(&mut |_| {});
    assert!(framer.take_skipped().0 <= whole as u64, "no byte is skipped twice");
}

/// A frame that outlives its chunk.
#[derive(Debug, PartialEq)]
struct Kept {
    text: Vec<u8>,
    time: Option<Timestamp>,
    stream: IoStream,
    partial: bool,
    complete: bool,
    extra: Vec<u8>,
    parse_error: Option<&'static str>,
    truncated: Option<Truncated>,
    offset: u64,
}

impl Kept {
    fn new(frame: Frame<'_>) -> Kept {
        Kept {
            text: frame.text.to_vec(),
            time: frame.time,
            stream: frame.stream,
            partial: frame.partial,
            complete: frame.complete,
            extra: frame.extra.to_vec(),
            parse_error: frame.parse_error,
            truncated: frame.truncated,
            offset: frame.offset,
        }
    }

    /// Whether `whole` is the text before it was cut.
    fn is_of(&self, whole: &[u8], length_max: usize) -> bool {
        match self.truncated {
            None => self.text == whole,
            Some(Truncated { length, xxh3 }) => {
                self.text == whole[..length_max.min(whole.len())]
                    && length == whole.len() as u64
                    && xxh3 == xxh3_64(whole)
            }
        }
    }
}

/// The frames of a whole file that is pushed in these pieces.
fn frames<'a>(format: Format, length_max: usize, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Kept> {
    let mut framer = Framer::new(format, length_max);
    let (mut kept, mut offset) = (Vec::new(), 0);
    for piece in pieces {
        framer.push(piece, offset, &mut |frame| kept.push(Kept::new(frame)));
        offset += piece.len() as u64;
    }
    framer.end_of_file(&mut |frame| kept.push(Kept::new(frame)));
    assert!(!framer.holds_line() && framer.held() == 0, "the end of a file leaves nothing behind");
    kept
}

/// Whole, byte by byte, and cut at places that the bytes themselves choose.
fn same_frames_however_cut(format: Format, length_max: usize, file: &[u8]) -> Vec<Kept> {
    let whole = frames(format, length_max, [file].into_iter());
    assert_eq!(frames(format, length_max, file.chunks(1)), whole, "byte by byte");
    let size = 2 + usize::from(xxh3_64(file) as u8 & 63);
    assert_eq!(frames(format, length_max, file.chunks(size)), whole, "{size} bytes at a time");
    whole
}

/// The lines of a file, without their newlines; what stands behind the last one is a line too, if it is anything.
fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ended = file.strip_suffix(b"\n");
    let lines = ended.unwrap_or(file).split(|byte| *byte == b'\n');
    lines.filter(move |_| !file.is_empty())
}

/// Frames stand one behind the other. What was not understood is there as it was, and what was is `unwrapped`, which is
/// asked about a text and the bytes that it came from.
fn every_byte_is_in_one_frame(
    frames: &[Kept],
    file: &[u8],
    length_max: usize,
    unwrapped: impl Fn(&[u8], &[u8]) -> bool,
) {
    let starts = frames.iter().map(|frame| frame.offset as usize);
    let ends = starts.clone().skip(1).chain([file.len()]);
    assert_eq!(starts.clone().next().unwrap_or(file.len()), 0, "the first frame begins where the file does");
    for ((start, end), frame) in starts.zip(ends).zip(frames) {
        let part = &file[start..end];
        let body = part.strip_suffix(b"\n").unwrap_or(part);
        assert!(!body.contains(&b'\n'), "two lines in one frame: {frame:?}");
        assert_eq!(frame.complete, end < file.len() || part.ends_with(b"\n"), "{frame:?}");
        if frame.parse_error.is_some() {
            assert!(frame.is_of(body, length_max), "{frame:?} is not the raw {}", body.escape_ascii());
        } else if let Some(Truncated { length, .. }) = frame.truncated {
            // Docker's texts have another length in the file; the next law knows them.
            let whole = body.len().checked_sub(length as usize).map(|start| &body[start..]);
            assert!(
                whole.is_some_and(|whole| frame.is_of(whole, length_max)) || unwrapped(&frame.text, body),
                "{frame:?}"
            );
        } else {
            assert!(unwrapped(&frame.text, body), "{frame:?} does not come from {}", body.escape_ascii());
        }
        assert!(frame.text.len() <= length_max, "{frame:?}");
    }
}

/// Whether a text may come from a line of Docker's: escaping makes texts longer, never shorter.
fn is_dockers(text: &[u8], line: &[u8]) -> bool {
    let start = line.trim_ascii_start();
    start.starts_with(b"{") && line.trim_ascii_end().ends_with(b"}") && text.len() <= line.len()
}

/// A blank in front of a line is nothing to JSON, and sends the line past the quick scan to the real parser. What that
/// one understands, the scan must have understood in the same way.
fn scan_and_parser_agree(file: &[u8], length_max: usize) {
    let [mut scan, mut parser] = [(); 2].map(|()| Framer::new(Format::Docker, length_max));
    for line in lines(file) {
        let [mut scanned, mut parsed] = [const { Vec::new() }; 2];
        scan.push(&[line, b"\n"].concat(), 0, &mut |frame| scanned.push(Kept::new(frame)));
        parser.push(&[b" ", line, b"\n"].concat(), 0, &mut |frame| parsed.push(Kept::new(frame)));
        if let [parsed] = &parsed[..]
            && parsed.parse_error.is_none()
        {
            assert_eq!(scanned, std::slice::from_ref(parsed), "{}", line.escape_ascii());
        }
    }
}

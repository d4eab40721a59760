//! Which part of a joined text decides its template.
//!
//! The same exception is thrown through stacks of a hundred depths; they must not be a hundred templates. But another
//! exception, another cause or another place where it was thrown is news and must not hide among them. So:
//! - every line decides that is no frame: the first one, messages, causes, properties;
//! - of the frames, the one that threw: the first below a message; with Python, whose stacks are printed the other way
//!   round, the last one above it; with Go the first one below the last `panic` that is not the runtime's own;
//! - how many frames were left out decides nothing.
//!
//! Invariant: a function of the text alone. A text without frames decides as a whole.
//! Limit: [`LENGTH_MAX`] bytes, and [`LINE_MAX`] of each line, so that a long message leaves room for its cause.

/// As much as is masked of any text (`template::mask::TEXT_MAX`).
const LENGTH_MAX: usize = 4096;

/// The part of one line that counts.
const LINE_MAX: usize = 1024;

/// Writes the deciding lines of `text` into `out`, whose memory is used again.
pub fn decisive(text: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut lines = text.split(|byte| *byte == b'\n');
    keep(lines.next().unwrap_or_default(), out);
    let mut reading = Reading::Message;
    for line in lines {
        if out.len() >= LENGTH_MAX {
            break;
        }
        reading = reading.next(line, out);
    }
    if let Reading::Goroutine(Some(call)) = reading {
        keep_next(call, out);
    }
    out.truncate(LENGTH_MAX);
}

/// What the lines so far were about.
#[derive(Clone, Copy, Debug)]
enum Reading<'t> {
    /// A message: the next frame is the one that threw.
    Message,
    /// Frames below the one that threw.
    Frames,
    /// Python's frames, and the last of them.
    Python(&'t [u8]),
    /// Calls of a goroutine, and the one that threw as far as we know.
    Goroutine(Option<&'t [u8]>),
    /// It came: the rest of a Go trace only says what else was going on.
    Rest,
}

impl<'t> Reading<'t> {
    fn next(self, line: &'t [u8], out: &mut Vec<u8>) -> Reading<'t> {
        let text = line.trim_ascii();
        let indented = line.len() > text.len() && matches!(line.first(), Some(b' ' | b'\t'));
        match self {
            Reading::Rest => return self,
            Reading::Goroutine(call) if text.is_empty() => {
                call.into_iter().for_each(|call| keep_next(call, out));
                return Reading::Rest;
            }
            Reading::Goroutine(call) => return Reading::Goroutine(thrower(call, text, indented)),
            _ if text.is_empty() => return self,
            _ => {}
        }
        if let Some(rest) = text.strip_prefix(b"goroutine ")
            && rest.first().is_some_and(u8::is_ascii_digit)
        {
            return Reading::Goroutine(None);
        }
        // Groups of exceptions are drawn as a tree: `  |   File "…"`.
        let inner = undrawn(text);
        if indented && inner.starts_with(b"File \"") {
            return Reading::Python(inner);
        }
        match self {
            // Source text and marks below a frame.
            Reading::Python(_) if indented && inner.len() == text.len() => return self,
            Reading::Python(frame) => keep_next(frame, out),
            _ => {}
        }
        if indented && text.starts_with(b"at ") {
            if matches!(self, Reading::Message) {
                keep_next(text, out);
            }
            return Reading::Frames;
        }
        if text.starts_with(b"... ") {
            return self;
        }
        keep_next(text, out);
        Reading::Message
    }
}

/// The call that threw, without its arguments, after another line of a goroutine: the first one below the last `panic`.
fn thrower<'t>(so_far: Option<&'t [u8]>, text: &'t [u8], indented: bool) -> Option<&'t [u8]> {
    match () {
        () if text.starts_with(b"panic(") => None,
        () if indented || text.starts_with(b"runtime.") || text.starts_with(b"runtime/") => so_far,
        () => so_far.or_else(|| {
            let name = text.iter().rposition(|byte| *byte == b'(').unwrap_or(text.len());
            Some(&text[..name])
        }),
    }
}

fn keep_next(line: &[u8], out: &mut Vec<u8>) {
    out.push(b'\n');
    keep(line, out);
}

fn keep(line: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&line[..line.len().min(LINE_MAX)]);
}

/// The text without the lines of the tree that it is drawn into.
fn undrawn(text: &[u8]) -> &[u8] {
    let drawn = text.iter().take_while(|byte| b" |+-".contains(byte)).count();
    &text[drawn..]
}

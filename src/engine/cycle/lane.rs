//! Lanes: lines of several programs in one stream, each of which loops by itself.
//!
//! `docker compose logs` puts `gateway-1  | ` before each line, `kubectl logs --prefix` puts `[pod/…] `, and programs
//! name their threads, `[worker-3] `. The mask takes such a name for a variable, so the lines of all share a template;
//! together they come three times as often as each does. What comes between two lines, and when, is therefore kept by
//! the first word of the line, where that may be a name.
//! Limit: [`LANES_MAX`] names; words that are never the same (request ids) are names of nothing: then there is one lane.

use serde::{Deserialize, Serialize};

use super::STEPS;

/// Programs that are told apart in one stream.
pub const LANES_MAX: usize = 16;
/// Where nothing but the look of a word says that it is a name.
const LIKELY_MAX: usize = 8;
/// The longest word that is looked at.
const WORD_MAX: usize = 64;

/// What the first word of a line may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// No name.
    #[default]
    None,
    /// A name: something has put it there for that.
    Named,
    /// Letters with a number, as threads and hosts are called, and requests.
    Likely,
}

/// What the first word of `text` is.
pub fn form(text: &[u8]) -> Form {
    let head = &text[..text.len().min(WORD_MAX + 4)];
    let Some(end) = head.iter().position(|byte| matches!(byte, b' ' | b'|' | b'\t')) else {
        return Form::None;
    };
    let word = &head[..end];
    if word.is_empty() {
        return Form::None;
    }
    let behind = text[end..].trim_ascii_start();
    if LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word)) {
        return Form::None;
    }
    if behind.starts_with(b"| ") || word.starts_with(b"[pod/") {
        return Form::Named;
    }
    let name = word.strip_prefix(b"[").or(word.strip_prefix(b"(")).unwrap_or(word);
    let has_digit = name.iter().any(u8::is_ascii_digit);
    let is_odd = name.iter().any(|byte| matches!(byte, b'=' | b'"' | b'{' | b'/' | b'%'));
    let begins = name.first().is_some_and(u8::is_ascii_alphabetic);
    if has_digit && begins && !is_odd { Form::Likely } else { Form::None }
}

/// `ERROR | …` is no program's name.
const LEVELS: &[&[u8]] =
    &[b"trace", b"debug", b"info", b"notice", b"warn", b"warning", b"error", b"err", b"fatal", b"critical"];

/// A number for the first word of `text`, eight bytes at a time. It is kept over restarts, so it has no seed; who makes
/// two words collide mixes up two programs of his own stream.
#[inline]
pub fn word(text: &[u8]) -> u32 {
    let mut rest = &text[..text.len().min(WORD_MAX)];
    let mut hash = 0u64;
    loop {
        let (bytes, behind) = match rest.split_first_chunk::<8>() {
            Some((bytes, behind)) => (u64::from_le_bytes(*bytes), behind),
            None => (rest.iter().rev().fold(0, |bytes, &byte| bytes << 8 | u64::from(byte)), &[][..]),
        };
        // The lowest bit of it is that of the first byte which ends a word.
        let ends = equal_to(bytes, b' ') | equal_to(bytes, b'|') | equal_to(bytes, b'\t');
        let own = if ends == 0 { u64::MAX } else { (ends & ends.wrapping_neg()).wrapping_sub(1) >> 7 };
        if bytes & own != 0 {
            hash = (hash ^ (bytes & own)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash ^= hash >> 32;
        }
        if ends != 0 || behind.is_empty() {
            return hash as u32; // the half that is kept
        }
        rest = behind;
    }
}

/// The highest bit of each byte that is this one, up to the first that is: where bytes are equal, their difference is 0,
/// and only from 0 is a bit borrowed.
#[inline]
fn equal_to(bytes: u64, byte: u8) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let difference = bytes ^ (ONES * u64::from(byte));
    difference.wrapping_sub(ONES) & !difference & (ONES << 7)
}

/// What was seen of each step in one lane.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Lane {
    word: u32,
    /// Steps that were seen at all.
    pub begun: u16,
    /// For each step, which others were seen since it was.
    pub seen: [u16; STEPS],
    /// Lines of the run that each step is in.
    pub run: [u16; STEPS],
    /// When the run began, in nanoseconds of log time.
    pub run_at: [i64; STEPS],
    /// When the last line came, but for repeats within one try.
    pub line_at: [i64; STEPS],
}

impl Lane {
    /// A line of `step`: all others have seen it, and of them it keeps in mind `others`.
    #[inline]
    pub fn see(&mut self, step: usize, others: u16) {
        self.seen.iter_mut().for_each(|seen| *seen |= 1 << step);
        self.seen[step] = others;
    }

    /// Forgets some steps.
    pub fn forget(&mut self, steps: u16) {
        self.begun &= !steps;
        self.seen.iter_mut().for_each(|seen| *seen &= !steps);
    }
}

/// All lanes of a stream. The first is for lines without a name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lanes {
    pub(super) list: Vec<Lane>,
    /// The words were no names.
    is_off: bool,
}

/// Where a line belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Into this lane.
    In(usize),
    /// There are too many words for them to be names: [`Lanes::join`] first, then the first lane.
    TooMany,
}

impl Default for Lanes {
    fn default() -> Lanes {
        Lanes { list: vec![Lane::default()], is_off: false }
    }
}

impl Lanes {
    /// The lane of a line with this text, whose first word has this form.
    pub fn place(&mut self, text: &[u8], form: Form) -> Place {
        self.find(text, form).map_or_else(|| self.begin(word(text), form), Place::In)
    }

    /// The same where it is a known one.
    #[inline]
    pub fn find(&self, text: &[u8], form: Form) -> Option<usize> {
        if form == Form::None || self.is_off {
            return Some(0);
        }
        self.find_named(text)
    }

    #[inline(never)]
    fn find_named(&self, text: &[u8]) -> Option<usize> {
        let word = word(text);
        self.list[1..].iter().position(|lane| lane.word == word).map(|at| at + 1)
    }

    fn begin(&mut self, word: u32, form: Form) -> Place {
        let most = if form == Form::Named { LANES_MAX } else { LIKELY_MAX };
        if self.list.len() > most {
            return Place::TooMany;
        }
        self.list.push(Lane { word, ..Lane::default() });
        Place::In(self.list.len() - 1)
    }

    /// Gives the lanes up. Returns when each step was last begun in each of them, in order: with a word of its own for
    /// each try, that is all there was.
    pub fn join(&mut self) -> Vec<(i64, usize)> {
        let mut times = Vec::new();
        for lane in &self.list {
            let begun = (0..STEPS).filter(|step| lane.begun >> step & 1 == 1);
            times.extend(begun.map(|step| (lane.run_at[step], step)));
        }
        times.sort_unstable();
        *self = Lanes { is_off: true, ..Lanes::default() };
        times
    }

    /// Bytes of memory behind it.
    pub fn size(&self) -> usize {
        self.list.capacity() * size_of::<Lane>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_words() {
        #[track_caller]
        fn check(text: &str, want: Form) {
            assert_eq!(form(text.as_bytes()), want, "{text}");
        }
        check("gateway-1  | WebSocket connection timeout", Form::Named);
        check("gateway | WebSocket connection timeout", Form::Named);
        check("ERROR | WebSocket connection timeout", Form::None);
        check("[pod/gateway-5d9-x/gateway] timeout", Form::Named);
        check("[worker-3] connection refused", Form::Likely);
        check("worker-3: connection refused", Form::Likely);
        check("WebSocket connection timeout", Form::None);
        check("2026-02-06T00:00:00Z gateway-1 timeout", Form::None);
        check("[2026-02-06T00:00:00Z] timeout", Form::None);
        check("time=2026-02-06 msg=timeout", Form::None);
        check("{\"a1\":1} timeout", Form::None);
        check("  timeout", Form::None);
        check("timeout", Form::None);
        check("", Form::None);
    }

    #[test]
    fn first_words_are_told_apart() {
        let mut all = std::collections::HashSet::new();
        for length in 1..=WORD_MAX {
            let name = format!("{}{length}", "x".repeat(length));
            let name = &name.as_bytes()[name.len() - length..];
            assert!(all.insert(word(name)), "{length}");
            for behind in [" timeout", "|", "\ttimeout", " | timeout, and again, and again"] {
                let text = [name, behind.as_bytes()].concat();
                assert_eq!(word(&text), word(name), "{length}{behind}");
            }
            let other = [name, b"y"].concat();
            assert!(length == WORD_MAX || word(&other) != word(name), "{length}");
        }
        assert_eq!(word(b""), word(b" timeout"));
        assert_ne!(word("연결-1 끊김".as_bytes()), word("연결-2 끊김".as_bytes()));
    }

    #[test]
    fn words_that_never_repeat_are_no_names() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.place(b"timeout", Form::None), Place::In(0));
        for id in 0..LIKELY_MAX {
            let text = format!("req-{id} timeout");
            assert_eq!(lanes.place(text.as_bytes(), Form::Likely), Place::In(id + 1));
            assert_eq!(lanes.place(text.as_bytes(), Form::Likely), Place::In(id + 1));
            let lane = &mut lanes.list[id + 1];
            (lane.begun, lane.run_at[0]) = (1, 100 - id as i64);
        }
        assert_eq!(lanes.place(b"req-9 timeout", Form::Likely), Place::TooMany);
        let times = lanes.join();
        assert_eq!((times.len(), times[0], times[7]), (8, (93, 0), (100, 0)));
        assert_eq!(lanes.place(b"req-9 timeout", Form::Likely), Place::In(0));
    }
}

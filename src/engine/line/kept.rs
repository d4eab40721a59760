//! What this stage keeps over a restart: each stream's clock, and the pieces of a line whose end has not come yet.
//!
//! The physical line that the framer holds is not here: its bytes are read again. Pieces cannot be read again, because
//! whole lines of the other standard stream may stand between them.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::clock::Clock;
use super::join::{Held, Joiner, Overflow};
use crate::engine::frame::IoStream;
use crate::units::{Now, Timestamp};

/// A stream's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptClock {
    /// The last log time.
    last: Option<Timestamp>,
    /// See [`Clock`].
    lag: i64,
}

/// The pieces of a line, borrowed from the joiner or from the bytes that were kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptPieces<'a> {
    #[serde(serialize_with = "as_bytes")]
    text: &'a [u8],
    time: Option<Timestamp>,
    offset: u64,
    #[serde(serialize_with = "as_bytes")]
    extra: &'a [u8],
    complete: bool,
    overflow: Option<KeptOverflow>,
}

/// Length and hash of a line that is longer than what is kept of it.
///
/// The state of a running hash cannot be written down, only its result. So the hash goes on from that: after a restart
/// it is not the text's own xxh3 any more, but two different lines still have different ones, and the length is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct KeptOverflow {
    length: u64,
    digest: u64,
    sole: Option<u64>,
}

/// Writes a text as one run of bytes; serde's own way takes them one by one.
pub(crate) fn as_bytes<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}

impl KeptClock {
    fn of(clock: &Clock) -> KeptClock {
        KeptClock { last: clock.last.map(|(time, _)| time), lag: clock.lag }
    }

    /// Time stood still while nobody read: at half speed the clock goes on from `now`.
    fn into_clock(self, now: Now) -> Clock {
        Clock { last: self.last.map(|time| (time, now.arrival)), lag: self.lag }
    }
}

impl Held {
    /// These pieces, to be written down.
    pub fn kept(&self) -> KeptPieces<'_> {
        KeptPieces {
            text: &self.text,
            time: self.time,
            offset: self.offset,
            extra: &self.extra,
            complete: self.complete,
            overflow: self.overflow.as_ref().map(|overflow| KeptOverflow {
                length: overflow.length,
                digest: overflow.hash.digest(),
                sole: overflow.sole,
            }),
        }
    }
}

impl From<KeptPieces<'_>> for Held {
    fn from(kept: KeptPieces<'_>) -> Held {
        Held {
            text: kept.text.to_vec(),
            time: kept.time,
            offset: kept.offset,
            extra: kept.extra.to_vec(),
            complete: kept.complete,
            overflow: kept.overflow.map(|overflow| {
                let mut hash = Xxh3::new();
                hash.update(&overflow.digest.to_le_bytes());
                Overflow { length: overflow.length, hash, sole: overflow.sole }
            }),
            pieces: 1,
        }
    }
}

impl Joiner {
    /// The clock of a standard stream, and the pieces of its unfinished line.
    pub fn kept(&self, name: IoStream) -> (KeptClock, Option<KeptPieces<'_>>) {
        let stream = self.stream(name);
        (KeptClock::of(&stream.clock), stream.held.as_ref().map(|held| held.kept()))
    }

    /// Goes on where the process before this one was. Called before the first frame.
    pub fn take_over(&mut self, name: IoStream, clock: KeptClock, held: Option<Box<Held>>, now: Now) {
        let stream = self.stream_mut(name);
        stream.clock = clock.into_clock(now);
        stream.told = held.as_ref().map(|held| held.extent());
        stream.held = held;
    }

    /// Whether pieces came or went since this was last asked.
    pub fn has_news(&mut self, name: IoStream) -> bool {
        let stream = self.stream_mut(name);
        let extent = stream.held.as_ref().map(|held| held.extent());
        std::mem::replace(&mut stream.told, extent) != extent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::frame::{Frame, Truncated};
    use crate::engine::line::{Limits, Line};
    use crate::units::Lines;
    use xxhash_rust::xxh3::xxh3_64;

    const NOW: Now = Now { arrival: crate::units::Monotonic(7), wall: Timestamp(1_795_258_800_000_000_000) };

    fn piece(text: &[u8], partial: bool) -> Frame<'_> {
        Frame {
            text,
            time: None,
            stream: IoStream::Stdout,
            partial,
            complete: true,
            extra: b"",
            parse_error: None,
            truncated: None,
            offset: 3,
        }
    }

    fn joiner() -> Joiner {
        Joiner::new(Limits { length_max: 8, ..Limits::default() })
    }

    /// A joiner that goes on where the other one was, over bytes as the outbox holds them.
    fn restarted(old: &Joiner) -> Joiner {
        let (clock, pieces) = old.kept(IoStream::Stdout);
        let bytes = postcard::to_stdvec(&(clock, pieces)).expect("plain data");
        let (clock, pieces): (KeptClock, Option<KeptPieces<'_>>) =
            postcard::from_bytes(&bytes).expect("as it was written");
        let mut new = joiner();
        new.take_over(IoStream::Stdout, clock, pieces.map(|pieces| Box::new(pieces.into())), NOW);
        new
    }

    /// What comes out of these pieces, with a restart after each.
    fn joined(texts: &[&str]) -> (Vec<u8>, Option<Truncated>) {
        let mut joiner = joiner();
        let mut out = None;
        for (index, text) in texts.iter().enumerate() {
            let last = index + 1 == texts.len();
            joiner.push(piece(text.as_bytes(), !last), NOW, &mut |line: Line<'_>| {
                assert_eq!((line.offset, line.complete), (3, true));
                out = Some((line.text.to_vec(), line.truncated));
            });
            joiner = restarted(&joiner);
        }
        assert_eq!(joiner.held_lines(), Lines(0));
        out.expect("a line")
    }

    #[test]
    fn pieces_survive() {
        #[track_caller]
        fn check(texts: &[&str], want: &str, length: Option<u64>) {
            let (text, truncated) = joined(texts);
            assert_eq!((text.as_slice(), truncated.map(|cut| cut.length)), (want.as_bytes(), length));
        }
        check(&["a", "b", "c"], "abc", None);
        check(&["", ""], "", None);
        check(&["12345", "678"], "12345678", None);
        check(&["12345", "6789"], "12345678", Some(9));
        check(&["12345", "6789", "", "0"], "12345678", Some(10));
        assert_eq!(joined(&["12345", "6789"]).1.map(|cut| cut.xxh3), Some(xxh3_64(b"123456789")));
        assert_ne!(joined(&["12345", "6789", "a", ""]).1, joined(&["12345", "6789", "b", ""]).1);
        assert_ne!(joined(&["12345", "6789", "a", ""]).1, joined(&["12345", "6780", "a", ""]).1);
    }

    #[test]
    fn the_clock_goes_on() {
        let mut joiner = joiner();
        let ahead = Timestamp(NOW.wall.0 + 100 * Timestamp::SECOND);
        joiner.push(Frame { time: Some(ahead), ..piece(b"a", false) }, NOW, &mut |_| {});
        let mut seen = Vec::new();
        let now = Frame { time: Some(NOW.wall), ..piece(b"b", false) };
        restarted(&joiner).push(now, NOW, &mut |line| seen.push(line.log_time));
        assert_eq!(seen, [ahead], "never backwards");
    }

    #[test]
    fn news_are_told_once() {
        let mut joiner = joiner();
        assert!(!joiner.has_news(IoStream::Stdout));
        joiner.push(piece(b"a", true), NOW, &mut |_| {});
        assert!(joiner.has_news(IoStream::Stdout) && !joiner.has_news(IoStream::Stdout));
        assert!(!restarted(&joiner).has_news(IoStream::Stdout), "they are in the outbox");
        joiner.push(piece(b"", true), NOW, &mut |_| {});
        assert!(joiner.has_news(IoStream::Stdout));
        joiner.push(piece(b"b", false), NOW, &mut |_| {});
        assert!(joiner.has_news(IoStream::Stdout), "they have gone");
    }
}

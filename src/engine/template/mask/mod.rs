//! The mask: which bytes of a text are variable, and a name for everything that is not.
//!
//! In: the text of one line. Out: a [`Fingerprint`] of its constant part and the [`Slots`] where its variables stand
//! (every line), or a [`TemplateId`] and the canonical text behind it (once for each new fingerprint).
//!
//! The rule, over bytes, without looking at any other line:
//! 1. A *word* is a maximal run of `[A-Za-z0-9_-]`. It is variable if it holds a digit, or if it is eight or more
//!    hexadecimal letters (`ffffffff`). Everything else is constant, bytes from 0x80 up included.
//! 2. Variables with one or two joiners (`.`, `,`, `:`, `;`, `/`, `+`, space) and nothing else between them are one
//!    variable. This one rule covers times, addresses, decimals, versions and lists of numbers.
//! 3. Names of months and weekdays (`Jan`, `Mon`) one or two joiners before a variable are part of it.
//! 4. A number of up to three digits that is a status, exit or error code is constant (`code`), so `status=200` and
//!    `status=503` are two templates.
//!
//! The rule would rather split one message into several templates, which costs a few more lines, than merge two
//! messages into one, which hides the second. Text in quotes or after `=` is therefore not masked as such.
//!
//! Invariant: two texts have equal fingerprints if and only if they have equal canonical texts (but for collisions
//! of 64 bits). Both come from one walk (`walk`); only what is done with its parts differs.
//! Limit: [`TEXT_MAX`] bytes of a text are looked at. No allocation, except by `canonical` when it grows.
//! Not here: which template was seen when (`catalog`); what a variable's values say.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod classes;
mod code;
mod hash;
#[cfg(test)]
mod reference;
mod walk;

use std::fmt;

use hash::{Keys, SpanHash};
use walk::{Sink, walk};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// How many bytes of a text are masked. A longer text has the fingerprint and the template of its beginning.
pub const TEXT_MAX: usize = 4096;

/// The version of the rule. It is hashed into every [`TemplateId`], because ids of two rules must never be mixed up.
pub const TOKENISER: &str = "v6.3";

/// The byte that stands for a variable in a canonical text.
pub const SENTINEL: u8 = 0x01;

/// The byte that stands before a constant [`SENTINEL`] or `ESCAPE` in a canonical text. Log texts hold neither, but
/// if one did, it must not pass for a line with a variable in that place.
pub const ESCAPE: u8 = 0x02;

/// A hash of the constant part of a text, for tables in this process. It is seeded, so that nobody can write lines
/// that collide on purpose; for the same reason it never leaves the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub u64);

/// The name of a template: equal on every host that runs the same [`TOKENISER`]. Shown as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateId(pub u128);

impl fmt::Display for TemplateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Where a variable stands in its text, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// Its first byte.
    pub start: u32,
    /// The byte after its last one.
    pub end: u32,
}

impl Slot {
    /// The variable's bytes, or nothing if `text` is not the text that was masked.
    #[inline]
    pub fn of<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// The variables of one text, in order. Meant to be kept and filled again for every line.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    /// One place more than is shown: the variables after the last one shown all go there, which saves a branch.
    places: [Slot; Slots::SHOWN + 1],
    count: usize,
}

impl Slots {
    /// How many variables of a text are kept; the rest is only counted.
    pub const SHOWN: usize = 8;

    /// The first variables of the text, at most [`Slots::SHOWN`].
    #[inline]
    pub fn as_slice(&self) -> &[Slot] {
        &self.places[..self.count.min(Slots::SHOWN)]
    }

    /// How many variables the text has, also those that are not kept.
    #[inline]
    pub fn count(&self) -> usize {
        self.count
    }
}

impl PartialEq for Slots {
    fn eq(&self, other: &Slots) -> bool {
        self.count == other.count && self.as_slice() == other.as_slice()
    }
}

impl Eq for Slots {}

/// How the bytes of a text are told apart: chosen once, when the process starts.
#[derive(Clone, Copy, Debug)]
enum Processor {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
}

/// Makes fingerprints. Two masks agree on the fingerprint of a text if they have the same seed, whatever the
/// processor; slots do not even depend on the seed.
#[derive(Clone, Debug)]
pub struct Mask {
    keys: Keys,
    processor: Processor,
}

impl Mask {
    /// A mask that uses what this processor offers. `seed` should be random, and one for the whole process.
    pub fn new(seed: u64) -> Mask {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = avx2::Avx2::detect() {
            return Mask { keys: Keys::new(seed), processor: Processor::Avx2(avx2) };
        }
        Mask::portable(seed)
    }

    /// A mask that runs on every processor, about half as fast. For tests and comparison.
    pub fn portable(seed: u64) -> Mask {
        Mask { keys: Keys::new(seed), processor: Processor::Portable }
    }

    /// The fingerprint of `text`, and in `slots` its variables. For every line: one pass, no allocation.
    #[inline]
    pub fn fingerprint(&self, text: &[u8], slots: &mut Slots) -> Fingerprint {
        let text = masked_part(text);
        let hashing = Hashing { hash: SpanHash::new(self.keys), places: &mut slots.places, count: 0 };
        let (fingerprint, count) = match self.processor {
            Processor::Portable => hash_portable(text, hashing),
            #[cfg(target_arch = "x86_64")]
            Processor::Avx2(avx2) => avx2.hash(text, hashing),
        };
        slots.count = count;
        fingerprint
    }
}

/// The template of `text`. Fills `canonical` with the text the id is made from: the constant bytes as they are, and a
/// [`SENTINEL`] for each variable. For new fingerprints, not for every line.
pub fn template_id(text: &[u8], canonical: &mut Vec<u8>) -> TemplateId {
    canonical.clear();
    let text = masked_part(text);
    walk(text, classes::Portable, &mut Writing { canonical });
    TemplateId(xxh3_128_with_seed(canonical, TOKENISER_SEED))
}

/// The bytes of [`TOKENISER`], read as a little-endian number.
const TOKENISER_SEED: u64 = {
    let version = TOKENISER.as_bytes();
    assert!(version.len() <= 8, "a longer version would be hashed in only in part");
    let mut seed = 0;
    let mut at = version.len();
    while at > 0 {
        at -= 1;
        seed = seed << 8 | version[at] as u64;
    }
    seed
};

/// The part of a text that counts: without the `\r` of a line that ended in `\r\n`, and not longer than [`TEXT_MAX`].
#[inline(always)]
fn masked_part(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    &text[..text.len().min(TEXT_MAX)]
}

#[inline(never)]
fn hash_portable(text: &[u8], mut hashing: Hashing<'_>) -> (Fingerprint, usize) {
    walk(text, classes::Portable, &mut hashing);
    hashing.finish()
}

/// What a line's walk feeds: the hash and the slots. The count stays here until the end, where it is in a register.
struct Hashing<'s> {
    hash: SpanHash,
    places: &'s mut [Slot; Slots::SHOWN + 1],
    count: usize,
}

impl Hashing<'_> {
    /// The fingerprint and how many variables there were.
    #[inline(always)]
    fn finish(self) -> (Fingerprint, usize) {
        (Fingerprint(self.hash.finish()), self.count)
    }
}

impl Sink for Hashing<'_> {
    #[inline(always)]
    fn constant(&mut self, text: &[u8], start: usize, end: usize) {
        self.hash.constant(text, start, end);
    }

    #[inline(always)]
    fn variable(&mut self, start: usize, end: usize) {
        self.hash.variable();
        // Offsets are at most TEXT_MAX, so they fit.
        self.places[self.count.min(Slots::SHOWN)] = Slot { start: start as u32, end: end as u32 };
        self.count += 1;
    }

    #[inline(always)]
    fn extend(&mut self, end: usize) {
        self.places[self.count.wrapping_sub(1).min(Slots::SHOWN)].end = end as u32;
    }
}

/// What a new template's walk feeds: its canonical text.
struct Writing<'c> {
    canonical: &'c mut Vec<u8>,
}

impl Sink for Writing<'_> {
    fn constant(&mut self, text: &[u8], start: usize, end: usize) {
        for &byte in &text[start..end] {
            if byte == SENTINEL || byte == ESCAPE {
                self.canonical.push(ESCAPE);
            }
            self.canonical.push(byte);
        }
    }

    fn variable(&mut self, _start: usize, _end: usize) {
        self.canonical.push(SENTINEL);
    }

    fn extend(&mut self, _end: usize) {}
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::fmt::Write;

    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    /// The canonical text with `#` for each variable, and bytes that are not ASCII escaped.
    fn shown(text: &[u8]) -> String {
        let mut canonical = Vec::new();
        template_id(text, &mut canonical);
        canonical.escape_ascii().to_string().replace("\\x01", "#")
    }

    #[test]
    fn masks() {
        #[track_caller]
        fn check(text: &str, want: &str) {
            assert_eq!(shown(text.as_bytes()), want, "{text:?}");
        }
        check("", "");
        check("5", "#");
        check("no variable here", "no variable here");
        check("trailing 5", "trailing #");
        check("blk_-6952295868487656571 to user-17_x", "# to #"); // `_` and `-` belong to words
        check("at deadbeef=FFFFFFFF ffffffff", "at #=#"); // hexadecimal without digits
        check("feedbac feedback effaced_ 0x", "feedbac feedback effaced_ #");
        check("2015-07-29 17:41:44,747 - WARN", "# - WARN"); // date and time are one variable
        check("/10.251.73.220:50010 /v6.1.7601", "/#"); // and so are two addresses
        check("a=1 b=2", "a=# b=#"); // more than joiners between them
        check("1, 2  3 .. 4", "# .. #"); // two joiners at most
        check("Sun Dec 04 04:47:44 2005", "#");
        check("Tue, 15 Nov 1994 08:12:31 GMT", "# GMT");
        check("Jul  9 10/Oct/2000:13:55:36", "#");
        check("xJan 5 may 5 Jan-x 5 Jan:  5", "xJan # may # Jan-x # Jan:  #"); // not a name, or too far away
        check("\u{b5}5s and 5\u{b5}s", "\\xc2\\xb5# and #\\xc2\\xb5s"); // bytes from 0x80 up are constant
    }

    #[test]
    fn codes_are_not_masked() {
        #[track_caller]
        fn check(text: &str, want: &str) {
            assert_eq!(shown(text.as_bytes()), want, "{text:?}");
        }
        check("status=200 in 15 ms", "status=200 in # ms");
        check("exit code 137, signal: 9", "exit code 137, signal: 9");
        check(r#"{"status":503,"statusCode": "404"}"#, r#"{\"status\":503,\"statusCode\": \"404\"}"#);
        check(
            "HTTPStatus 500 http.status_code: 500 EXIT-CODE (1)",
            "HTTPStatus 500 http.status_code: 500 EXIT-CODE (1)",
        );
        check("x1_status 7 8", "# 7 #"); // the word before is a variable, and yet it speaks
        check("errno=-110 [Errno 111]", "errno=-110 [Errno 111]");
        check("GET /a HTTP/1.1\" 404 209", "GET /a HTTP/#\\\" 404 #");
        check("HTTP/2 204 HTTP/1.1 204", "HTTP/# 204 HTTP/# 204");
        check("status=2000 status=0x1f status=5s", "status=# status=# status=#"); // not a short number
        check("status 10.0.0.1 exit 0.25 s, code 5.", "status # exit # s, code 5."); // not a whole number
        check("barcode 128 unicode 12 encode: 7", "barcode # unicode # encode: #"); // not a keyword
        check("exited 5 status, 5 status       5", "exited # status, # status       #"); // no short separator
    }

    #[test]
    fn text_is_cut_and_carriage_return_dropped() {
        let long = |len: usize| vec![b'x'; len];
        let with_end = |len: usize, end: &[u8]| [long(len), end.to_vec()].concat();
        assert_eq!(shown(b"status 5\r"), "status 5");
        assert_eq!(shown(b"\r\r"), "\\r"); // one of them belongs to the line
        assert_eq!(shown(&with_end(TEXT_MAX, b"y")), shown(&long(TEXT_MAX)));
        assert_ne!(shown(&with_end(TEXT_MAX - 1, b"y")), shown(&long(TEXT_MAX)));
        assert_eq!(shown(&with_end(TEXT_MAX, b"\r")), shown(&long(TEXT_MAX)));
        // A word that begins before the cut and has its digit behind it is constant.
        assert_eq!(shown(&with_end(TEXT_MAX, b"1")), shown(&long(TEXT_MAX)));
        assert_eq!(shown(&with_end(TEXT_MAX - 1, b"1")), "#");
    }

    #[test]
    fn constant_sentinel_is_no_variable() {
        let mut canonical = Vec::new();
        let ids =
            [&b"a 5"[..], b"a \x01", b"a \x02\x01", b"a \x02"].map(|text| template_id(text, &mut canonical));
        assert_eq!(HashMap::from(ids.map(|id| (id, ()))).len(), ids.len());
    }

    /// Ids leave the process. Who changes one of these must change [`TOKENISER`] too.
    #[test]
    fn ids_stay_the_same() {
        #[track_caller]
        fn check(text: &str, want: &str) {
            assert_eq!(template_id(text.as_bytes(), &mut Vec::new()).to_string(), want, "{text:?}");
        }
        assert_eq!(TOKENISER, "v6.3");
        assert_eq!(TOKENISER_SEED, u64::from_le_bytes(*b"v6.3\0\0\0\0"));
        check("", "21df4abfbc3e932c519660648be5bf87");
        check("Reconnection failed after 5 attempts", "ab47f41d0204b106c7599bb0ca829de3");
        check("2026-11-21T10:00:00Z status=503 from 10.0.0.1:8080", "2e12eb013a29348517658d2798c69778");
    }

    #[test]
    fn slots_hold_the_first_variables() {
        let text = b"a=1 b=22.5 Jan 3 c=x4";
        let mut slots = Slots::default();
        let mask = Mask::new(0);
        mask.fingerprint(text, &mut slots);
        let values: Vec<_> =
            slots.as_slice().iter().map(|slot| slot.of(text).escape_ascii().to_string()).collect();
        assert_eq!((slots.count(), values), (3, vec!["1".into(), "22.5 Jan 3".into(), "x4".into()]));

        let mut many = String::new();
        (0..100).for_each(|n| write!(many, "a={n}").unwrap());
        mask.fingerprint(many.as_bytes(), &mut slots);
        assert_eq!((slots.count(), slots.as_slice().len()), (100, Slots::SHOWN));
        mask.fingerprint(b"", &mut slots);
        assert_eq!((slots.count(), slots.as_slice()), (0, &[][..]));
    }

    /// Pieces of the hash are filled up with zeros, which must not pass for bytes of the text, and a variable between
    /// two full pieces must not be overlooked.
    #[test]
    fn spans_are_not_confused() {
        let zeros = |len: usize| vec![0; len];
        check_names((0..70).flat_map(|len| {
            let letters = vec![b'x'; len];
            let dots = vec![b'.'; len];
            [
                [&letters[..], &zeros(1), b"=y"].concat(),
                [&letters[..], b"=5", b"=y"].concat(),
                [&letters[..], b"=", &zeros(1), b"=y"].concat(),
                [&letters[..], b"=5"].concat(),
                [&letters[..], b"=", &zeros(1)].concat(),
                [&letters[..], b"="].concat(),
                [&dots[..], b"5!!"].concat(),
                [&dots[..], b"!!"].concat(),
                zeros(len),
                [&zeros(len), &b"5"[..]].concat(),
                [b"5", &zeros(len)[..]].concat(),
            ]
        }));
    }

    #[test]
    fn seed_changes_fingerprints() {
        let of = |seed| Mask::new(seed).fingerprint(b"some text", &mut Slots::default());
        assert_ne!(of(1), of(2));
        assert_eq!(of(1), of(1));
    }

    /// Parts of texts that are near the edges of the rule.
    fn fragment() -> impl Strategy<Value = Vec<u8>> {
        let fragments = [
            "a",
            "ab",
            "deadbeef",
            "fffffff",
            "feed",
            "g",
            "x1",
            "_",
            "-",
            "5",
            "42",
            "200",
            "1234",
            "-1",
            "Jan",
            "May",
            "Sun",
            "status",
            "exitCode",
            "Code",
            "errno",
            "STATUS",
            "HTTP/1.1",
            "HTTP/2",
            " ",
            "  ",
            ".",
            ",",
            ":",
            "; ",
            "/",
            "+",
            "=",
            "\"",
            "\\",
            "(",
            "[",
            ">",
            "\t",
            "\u{b5}",
            "\u{1}",
            "\u{0}",
            "\u{2}",
            "\r",
            "{}",
            "some words without number",
        ];
        prop_oneof![
            12 => select(fragments.to_vec()).prop_map(|fragment| fragment.as_bytes().to_vec()),
            1 => proptest::collection::vec(any::<u8>(), 0..4),
            1 => (select(b"a1f .x".to_vec()), 1usize..140).prop_map(|(byte, len)| vec![byte; len]),
        ]
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(fragment(), 0..24).prop_map(|fragments| fragments.concat())
    }

    /// The fingerprint, slots and canonical text of `text`, after every way to them was found to agree.
    #[track_caller]
    fn agreed(text: &[u8]) -> (Fingerprint, Slots, Vec<u8>) {
        let (mut slots, mut portable_slots, mut canonical) = Default::default();
        let fingerprint = Mask::new(7).fingerprint(text, &mut slots);
        assert_eq!(fingerprint, Mask::portable(7).fingerprint(text, &mut portable_slots));
        assert_eq!(slots, portable_slots);
        template_id(text, &mut canonical);

        let text = masked_part(text);
        let variables = reference::variables(text);
        let slots_wanted: Vec<_> =
            variables.iter().map(|&(start, end)| Slot { start: start as u32, end: end as u32 }).collect();
        assert_eq!(canonical, reference::canonical(text, &variables));
        assert_eq!(slots.as_slice(), &slots_wanted[..variables.len().min(Slots::SHOWN)]);
        assert_eq!(slots.count(), variables.len());
        (fingerprint, slots, canonical)
    }

    /// Checks that texts have equal fingerprints if and only if they have equal canonical texts.
    #[track_caller]
    fn check_names(texts: impl IntoIterator<Item = Vec<u8>>) {
        let (mut canonicals, mut fingerprints) = (HashMap::new(), HashMap::new());
        for text in texts {
            let (fingerprint, _, canonical) = agreed(&text);
            assert_eq!(*canonicals.entry(fingerprint).or_insert_with(|| canonical.clone()), canonical);
            assert_eq!(*fingerprints.entry(canonical).or_insert(fingerprint), fingerprint);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn all_ways_agree(text in text()) {
            agreed(&text);
        }

        #[test]
        fn all_ways_agree_on_any_bytes(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            agreed(&text);
        }

        #[test]
        fn all_ways_agree_about_the_cut(text in text(), len in TEXT_MAX - 70..=TEXT_MAX + 1) {
            agreed(&[vec![b'.'; len.saturating_sub(text.len())], text].concat());
        }

        #[test]
        fn equal_fingerprint_is_equal_template(
            texts in proptest::collection::vec(proptest::collection::vec(fragment(), 0..4), 40),
        ) {
            check_names(texts.into_iter().map(|fragments| fragments.concat()));
        }

        #[test]
        fn one_changed_byte_is_noticed(text in text(), at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
            let mut changed = text.clone();
            if !changed.is_empty() {
                let at = at.index(changed.len());
                changed[at] = byte;
            }
            check_names([text, changed]);
        }
    }

    /// Every edge at every place of a block, and every length of span.
    #[test]
    fn borders_of_blocks() {
        let edges = [
            "1",
            "x1",
            "abc123def",
            "deadbeef",
            "feedbac",
            "1.2",
            "Jan 5",
            "Sun Dec 04 5",
            "status=200",
            "5 code: 7",
        ];
        for edge in edges {
            check_names((0..140).flat_map(|before| {
                [0, 1, 15, 16, 17, 63, 64, 65]
                    .map(|after| [&vec![b'.'; before], edge.as_bytes(), &vec![b'!'; after]].concat())
            }));
        }
        check_names([TEXT_MAX - 1, TEXT_MAX, TEXT_MAX + 1].map(|len| vec![b'a'; len]));
        check_names([TEXT_MAX - 1, TEXT_MAX, TEXT_MAX + 1].map(|len| vec![b'y'; len]));
        check_names([TEXT_MAX - 1, TEXT_MAX, TEXT_MAX + 1].map(|len| b"7y".repeat(len)));
    }
}

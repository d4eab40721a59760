//! Sentences with blanks, and what fills them: the hand-written half of a corpus.
//!
//! A blank stands between `<` and `>`, so a template itself cannot hold a `<`; a lone `>` is text.
//!
//! | blank | becomes |
//! |---|---|
//! | `<id>`, `<big>` | a number that no other line of the corpus has, as 16 hex digits or as a decimal |
//! | `<serial>` | the count of lines so far, on top of a large number: as unique as an id |
//! | `<hex:8>` | that many hex digits, at most 16 |
//! | `<1..65535>`, `<000..999>` | a number from that range; the second form keeps its zeros |
//! | `<GET\|POST>` | one of these words |
//! | `<user>` | a word from the list of that name in `words` |
//! | `<ip>` | an IPv4 address |
//! | `<iso>` | the line's time in that style, see `TIME_STYLES` |
//!
//! A blank that is none of these is a mistake in a constant of this crate, and panics when the corpus is opened.

use jiff::fmt::strtime::BrokenDownTime;

use super::random::Random;
use super::{civil, words};
use crate::units::Timestamp;

/// What the blanks of one line are filled from.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) random: Random,
    pub(super) time: Timestamp,
    ids: Random,
    serial: u64,
}

impl Scene {
    pub(super) fn new(seed: u64, start: Timestamp) -> Scene {
        let mut random = Random::new(seed);
        let ids = Random::new(random.next());
        let serial = random.between(100_000, 900_000);
        Scene { random, time: start, ids, serial }
    }
}

/// One template, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(&'static str),
    Id,
    Big,
    Serial,
    Hex(u32),
    Number { low: u64, high: u64, width: usize },
    Choice(Vec<&'static str>),
    Word(&'static [&'static str]),
    Ip,
    Time(&'static str),
}

impl Template {
    pub(super) fn parse(template: &'static str) -> Template {
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some((text, opened)) = rest.split_once('<') {
            let (blank, behind) =
                opened.split_once('>').unwrap_or_else(|| panic!("a blank has no end in {template:?}"));
            parts.extend((!text.is_empty()).then_some(Part::Text(text)));
            parts.push(
                Part::parse(blank).unwrap_or_else(|| panic!("no such blank as <{blank}> in {template:?}")),
            );
            rest = behind;
        }
        parts.extend((!rest.is_empty()).then_some(Part::Text(rest)));
        Template(parts)
    }

    /// Appends the sentence, its blanks filled.
    #[inline]
    pub(super) fn render(&self, out: &mut Vec<u8>, scene: &mut Scene) {
        for part in &self.0 {
            part.render(out, scene);
        }
    }

    /// Whether no two lines of it can be equal.
    #[cfg(test)]
    pub(super) fn is_unique(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Id | Part::Big | Part::Serial))
    }
}

impl Part {
    fn parse(blank: &'static str) -> Option<Part> {
        if blank.contains('|') {
            return Some(Part::Choice(blank.split('|').collect()));
        }
        if let Some((low, high)) = blank.split_once("..") {
            let width = if low.starts_with('0') { low.len() } else { 1 };
            return Some(Part::Number { low: low.parse().ok()?, high: high.parse().ok()?, width });
        }
        if let Some(digits) = blank.strip_prefix("hex:") {
            return digits.parse().ok().filter(|digits| (1..=16).contains(digits)).map(Part::Hex);
        }
        match blank {
            "id" => Some(Part::Id),
            "big" => Some(Part::Big),
            "serial" => Some(Part::Serial),
            "ip" => Some(Part::Ip),
            _ => {
                let style = TIME_STYLES.iter().find(|(name, _)| *name == blank);
                style.map(|(_, style)| Part::Time(style)).or_else(|| words::named(blank).map(Part::Word))
            }
        }
    }

    #[inline]
    fn render(&self, out: &mut Vec<u8>, scene: &mut Scene) {
        match self {
            Part::Text(text) => out.extend_from_slice(text.as_bytes()),
            Part::Id => push_hex(out, scene.ids.next(), 16),
            Part::Big => push_decimal(out, scene.ids.next(), 1),
            Part::Serial => {
                scene.serial += 1;
                push_decimal(out, scene.serial, 1);
            }
            Part::Hex(digits) => push_hex(out, scene.random.next(), *digits),
            Part::Number { low, high, width } => push_decimal(out, scene.random.between(*low, *high), *width),
            Part::Choice(words) => out.extend_from_slice(scene.random.pick(words).as_bytes()),
            Part::Word(words) => out.extend_from_slice(scene.random.pick(words).as_bytes()),
            Part::Ip => push_ip(out, scene.random.next()),
            Part::Time(style) => push_styled(out, scene.time, style),
        }
    }
}

/// Times as programs write them into their lines, in `strftime`'s words.
const TIME_STYLES: [(&str, &str); 13] = [
    ("iso", "%Y-%m-%dT%H:%M:%S.%3fZ"),
    ("java", "%Y-%m-%d %H:%M:%S,%3f"),
    ("spaced", "%Y-%m-%d %H:%M:%S.%3f"),
    ("seconds", "%Y-%m-%d %H:%M:%S"),
    ("slashed", "%Y/%m/%d %H:%M:%S"),
    ("short", "%y/%m/%d %H:%M:%S"),
    ("packed", "%y%m%d %H%M%S"),
    ("syslog", "%b %e %H:%M:%S"),
    ("common", "%d/%b/%Y:%H:%M:%S +0000"),
    ("klog", "%m%d %H:%M:%S.%6f"),
    ("android", "%m-%d %H:%M:%S.%3f"),
    ("dotted", "%Y-%m-%d-%H.%M.%S.%6f"),
    ("epoch", "%s"),
];

fn push_styled(out: &mut Vec<u8>, time: Timestamp, style: &str) {
    let broken_down = BrokenDownTime::from(civil(time));
    broken_down.format(style, out).expect("TIME_STYLES asks only for what every time has");
}

fn push_decimal(out: &mut Vec<u8>, number: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    let mut rest = number;
    while rest > 0 || digits.len() - first < width {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits[first..]);
}

/// The lowest `digits` hex digits of `number`, at most 16.
fn push_hex(out: &mut Vec<u8>, number: u64, digits: u32) {
    let mut text = [0; 16];
    for (index, digit) in text.iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (60 - 4 * index)) as usize & 0xf];
    }
    out.extend_from_slice(&text[text.len() - digits as usize..]);
}

fn push_ip(out: &mut Vec<u8>, number: u64) {
    // 10.0.0.0/8 is nobody's address but our own.
    out.extend_from_slice(b"10");
    for shift in [0, 8, 16] {
        out.push(b'.');
        push_decimal(out, number >> shift & 0xff, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(template: &'static str, seed: u64) -> String {
        let mut out = Vec::new();
        let mut scene = Scene::new(seed, Timestamp(1_770_336_600_123_456_789));
        Template::parse(template).render(&mut out, &mut scene);
        String::from_utf8(out).expect("templates and words are UTF-8")
    }

    #[test]
    fn blanks_are_filled() {
        #[track_caller]
        fn check(template: &'static str, want: &str) {
            let want = regex::Regex::new(&format!("^{want}$")).expect("a regex");
            let distinct: std::collections::HashSet<String> = (0..50)
                .map(|seed| rendered(template, seed))
                .inspect(|line| assert!(want.is_match(line), "{line}"))
                .collect();
            assert_eq!(
                distinct.len() > 1,
                template.contains('<') && !template.contains("iso"),
                "{distinct:?}"
            );
        }
        check("nothing -> to fill", "nothing -> to fill");
        check("a <id>.", "a [0-9a-f]{16}\\.");
        check("<big>", "[0-9]{1,20}");
        check("pid=<serial>", "pid=[1-9][0-9]{5}");
        check("<hex:8><hex:1>", "[0-9a-f]{9}");
        check("[<1..12>]", "\\[([1-9]|1[0-2])\\]");
        check("<0000..12>", "00(0[0-9]|1[0-2])");
        check("<GET|POST|> /", "(GET|POST|) /");
        check("<user>", "[a-z.-]+");
        check("<ip>:80", "10(\\.(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])){3}:80");
        check("<iso>", "2026-02-06T00:10:00\\.123Z");
    }

    #[test]
    fn times_are_written_in_many_styles() {
        let styles: Vec<String> = TIME_STYLES
            .iter()
            .map(|(_, style)| {
                let mut out = Vec::new();
                push_styled(&mut out, Timestamp(1_770_336_600_123_456_789), style);
                String::from_utf8(out).expect("ASCII")
            })
            .collect();
        let want = [
            "2026-02-06T00:10:00.123Z",
            "2026-02-06 00:10:00,123",
            "2026-02-06 00:10:00.123",
            "2026-02-06 00:10:00",
            "2026/02/06 00:10:00",
            "26/02/06 00:10:00",
            "260206 001000",
            "Feb  6 00:10:00",
            "06/Feb/2026:00:10:00 +0000",
            "0206 00:10:00.123456",
            "02-06 00:10:00.123",
            "2026-02-06-00.10.00.123456",
            "1770336600",
        ];
        assert_eq!(styles, want);
    }

    #[test]
    fn mistakes_in_blanks_are_seen() {
        #[track_caller]
        fn check(blank: &'static str) {
            assert_eq!(Part::parse(blank), None);
        }
        check("");
        check("nobody");
        check("1..x");
        check("hex:17");
        check("hex:0");
    }

    #[test]
    fn decimals_keep_their_width() {
        #[track_caller]
        fn check(number: u64, width: usize, want: &str) {
            let mut out = Vec::new();
            push_decimal(&mut out, number, width);
            assert_eq!(String::from_utf8_lossy(&out), want);
        }
        check(0, 1, "0");
        check(0, 3, "000");
        check(42, 1, "42");
        check(42, 3, "042");
        check(u64::MAX, 1, "18446744073709551615");
    }
}

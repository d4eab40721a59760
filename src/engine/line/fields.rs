//! The fields of a line: what a JSON object, logfmt, or `key=value` in prose says by name.
//!
//! In: the text of one line. Out: its fields in the order of the text, names of nested ones joined with dots
//! (`http.response.status`), the elements of an array under the array's name; and [`quantity`], which reads `281ms`.
//! Nothing is copied but the joined names, into a buffer that is used again.
//! Limits: names are joined up to 256 bytes, longer ones are cut; the depth is that of [`json`](super::json).
//! Not here: which of the fields decide about a template (`engine::template::subject`).

pub use super::json::{Kind, Value};
use super::json::{Reader, Step};
use super::pairs::Pairs;

/// How a text writes its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It is a JSON object.
    Json,
    /// It begins like one and is broken; the fields before the break were read.
    BrokenJson,
    /// It begins with `key=value`.
    Logfmt,
    /// It is prose, with pairs in it or none.
    Prose,
}

/// Reads fields. Meant to be kept and used again for every line.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    /// The names of the objects that are open, and of the field, joined with dots.
    name: Vec<u8>,
    /// How long `name` was when each open object began.
    open: Vec<usize>,
}

impl Fields {
    /// Hands each field of `text` to `sink`: its whole name and its value. An object or array is no field itself.
    pub fn read<'t>(&mut self, text: &'t [u8], sink: &mut impl FnMut(&[u8], Value<'t>)) -> Form {
        if let Some(reader) = Reader::of(text) {
            return self.read_object(reader, sink);
        }
        let mut pairs = Pairs::of(text);
        pairs.by_ref().for_each(|(name, value)| sink(name, value));
        if pairs.is_logfmt() { Form::Logfmt } else { Form::Prose }
    }

    fn read_object<'t>(&mut self, mut reader: Reader<'t>, sink: &mut impl FnMut(&[u8], Value<'t>)) -> Form {
        self.name.clear();
        self.open.clear();
        while let Some(step) = reader.next() {
            let before = self.name.len();
            match step {
                // The usual case needs no joining.
                Step::Value(name, value) if before == 0 => sink(name, value),
                Step::Value(name, value) => {
                    self.join(name);
                    sink(&self.name, value);
                    self.name.truncate(before);
                }
                Step::Begin(name) => {
                    self.open.push(before);
                    self.join(name);
                }
                Step::End => self.name.truncate(self.open.pop().unwrap_or_default()),
            }
        }
        if reader.is_whole() { Form::Json } else { Form::BrokenJson }
    }

    /// Joins `name` to those of the open objects. Elements of arrays have none.
    fn join(&mut self, name: &[u8]) {
        if !self.name.is_empty() && !name.is_empty() {
            self.name.push(b'.');
        }
        let room = NAME_MAX.saturating_sub(self.name.len());
        self.name.extend_from_slice(&name[..name.len().min(room)]);
    }
}

/// The longest joined name, in bytes.
const NAME_MAX: usize = 256;

/// A number with a unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantity<'t> {
    /// The number.
    pub number: f64,
    /// The unit as it was written (`ms`, `GiB`, `%`, `MB/s`), or empty. That of a compound (`1m30s`) is `s`.
    pub unit: &'t str,
}

/// Reads `281ms`, `1.5s`, `10.23GiB`, `87%`, `-3`, `1e6`, `1.5 MB/s`, and Go's durations (`1h2m3.5s`).
/// `None` for everything else: `0x1f`, `1.2.3`, `12:30`, words.
pub fn quantity(value: &[u8]) -> Option<Quantity<'_>> {
    let text = std::str::from_utf8(value).ok()?;
    let (number, rest) = split_number(text)?;
    let unit = rest.strip_prefix(' ').unwrap_or(rest);
    if unit.bytes().any(|byte| byte.is_ascii_digit()) {
        return duration(text);
    }
    let fits =
        unit.len() <= UNIT_MAX && unit.chars().all(|letter| letter.is_alphabetic() || "%/°".contains(letter));
    let is_number_with_a_space = unit.is_empty() && !rest.is_empty();
    (fits && !is_number_with_a_space).then_some(Quantity { number, unit })
}

impl Quantity<'_> {
    /// The same quantity in seconds (`s`) or bytes (`B`), so that `281ms` and `1.5s` can be compared. Other units stay.
    /// `KB` and `MB` are powers of 1,000, `KiB` and `MiB` of 1,024; `m` is a minute, as in Go.
    pub fn in_base_unit(self) -> Self {
        let factor = |units: &[(&str, f64)]| {
            units.iter().find(|(unit, _)| *unit == self.unit).map(|(_, factor)| *factor)
        };
        if let Some(factor) = factor(&TIMES) {
            return Quantity { number: self.number * factor, unit: "s" };
        }
        if let Some(factor) = factor(&SIZES) {
            return Quantity { number: self.number * factor, unit: "B" };
        }
        self
    }
}

/// The number at the start of `text`, and what follows it.
fn split_number(text: &str) -> Option<(f64, &str)> {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let sign = usize::from(matches!(bytes.first(), Some(b'-' | b'+')));
    let mut end = sign + digits(sign);
    if end == sign {
        return None;
    }
    if bytes.get(end) == Some(&b'.') && digits(end + 1) > 0 {
        end += 1 + digits(end + 1);
    }
    if let [b'e' | b'E', after, ..] = bytes[end..] {
        let signed = usize::from(matches!(after, b'-' | b'+'));
        let exponent = digits(end + 1 + signed);
        end += if exponent > 0 { 1 + signed + exponent } else { 0 };
    }
    let number: f64 = text[..end].parse().ok()?;
    number.is_finite().then_some((number, &text[end..]))
}

/// A duration of several parts, as Go writes it, in seconds.
fn duration(text: &str) -> Option<Quantity<'static>> {
    let (sign, mut rest) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
    let (mut seconds, mut smallest) = (0.0, f64::INFINITY);
    while !rest.is_empty() {
        let (number, behind) = split_number(rest)?;
        let length = behind.bytes().take_while(|byte| !byte.is_ascii_digit()).count();
        let (unit, behind) = behind.split_at(length);
        let (_, factor) = TIMES.iter().find(|(name, _)| *name == unit)?;
        // The parts of a duration get smaller.
        if *factor >= smallest {
            return None;
        }
        (seconds, smallest, rest) = (seconds + number * factor, *factor, behind);
    }
    Some(Quantity { number: sign * seconds, unit: "s" })
}

/// The longest unit, in bytes: `seconds`, `requests/s`.
const UNIT_MAX: usize = 12;

const TIMES: [(&str, f64); 20] = [
    ("ns", 1e-9),
    ("us", 1e-6),
    ("\u{b5}s", 1e-6),
    ("\u{3bc}s", 1e-6),
    ("ms", 1e-3),
    ("msec", 1e-3),
    ("millis", 1e-3),
    ("s", 1.0),
    ("sec", 1.0),
    ("secs", 1.0),
    ("second", 1.0),
    ("seconds", 1.0),
    ("m", 60.0),
    ("min", 60.0),
    ("mins", 60.0),
    ("minutes", 60.0),
    ("h", 3_600.0),
    ("hours", 3_600.0),
    ("d", 86_400.0),
    ("days", 86_400.0),
];

const SIZES: [(&str, f64); 15] = [
    ("B", 1.0),
    ("b", 1.0),
    ("bytes", 1.0),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("PB", 1e15),
    ("KiB", 1024.0),
    ("kiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
    ("PiB", 1_125_899_906_842_624.0),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &[u8]) -> (Form, Vec<String>) {
        let mut found = Vec::new();
        let form = Fields::default().read(text, &mut |name, Value { bytes, kind }| {
            let letter = &format!("{kind:?}")[..1];
            found.push(format!(
                "{}={letter}:{}",
                String::from_utf8_lossy(name),
                String::from_utf8_lossy(bytes)
            ));
        });
        (form, found)
    }

    #[test]
    fn fields() {
        #[track_caller]
        fn check(text: &str, form: Form, want: &[&str]) {
            let (found_form, found) = read(text.as_bytes());
            assert_eq!(
                (found_form, found),
                (form, want.iter().map(|field| (*field).to_owned()).collect()),
                "{text}"
            );
        }
        check(r#"{"a":1,"b":"x","c":true}"#, Form::Json, &["a=N:1", "b=T:x", "c=B:true"]);
        check(
            r#"{"http":{"response":{"status":503},"method":"GET"},"took":"5ms"}"#,
            Form::Json,
            &["http.response.status=N:503", "http.method=T:GET", "took=T:5ms"],
        );
        check(r#"{"a":[1,{"b":2},[3]],"c":4}"#, Form::Json, &["a=N:1", "a.b=N:2", "a=N:3", "c=N:4"]);
        check(r#"{"log.level":"info","":{"x":1}}"#, Form::Json, &["log.level=T:info", "x=N:1"]);
        check(r#"{"a":1,"b":"cut"#, Form::BrokenJson, &["a=N:1"]);
        check("level=info took=5ms n=3", Form::Logfmt, &["level=T:info", "took=T:5ms", "n=N:3"]);
        check("slow query (took=5ms, rows=3)", Form::Prose, &["took=T:5ms", "rows=N:3"]);
        check("nothing to see", Form::Prose, &[]);
        check("", Form::Prose, &[]);
    }

    #[test]
    fn a_name_is_cut() {
        let long = "n".repeat(200);
        let (_, found) = read(format!(r#"{{"{long}":{{"{long}":1}}}}"#).as_bytes());
        assert_eq!(found[0].len(), NAME_MAX + "=N:1".len());
    }

    #[test]
    fn quantities() {
        #[track_caller]
        fn check(text: &str, want: Option<(f64, &str)>) {
            let found = quantity(text.as_bytes()).map(|Quantity { number, unit }| (number, unit));
            assert_eq!(found, want, "{text}");
        }
        check("281ms", Some((281.0, "ms")));
        check("1.5s", Some((1.5, "s")));
        check("10.23GiB", Some((10.23, "GiB")));
        check("87%", Some((87.0, "%")));
        check("-3", Some((-3.0, "")));
        check("1e6", Some((1e6, "")));
        check("2.5e-3s", Some((0.0025, "s")));
        check("5e", Some((5.0, "e")));
        check("1.5 MB/s", Some((1.5, "MB/s")));
        check("250\u{b5}s", Some((250.0, "\u{b5}s")));
        check("1h2m3.5s", Some((3723.5, "s")));
        check("-1m0s", Some((-60.0, "s")));
        check("1s5m", None);
        check("1m30", None);
        for text in
            ["", "-", "abc", "0x1f", "1.2.3", "12:30", "5.", ".5", "5 ", "10.0.0.1:80", "2026-02-06", "1e999"]
        {
            check(text, None);
        }
        check("12345678901234567890", Some((12_345_678_901_234_567_890.0, "")));
    }

    #[test]
    fn units_can_be_compared() {
        #[track_caller]
        fn check(text: &str, want: (f64, &str)) {
            let base = quantity(text.as_bytes()).expect("a quantity").in_base_unit();
            assert!(
                (base.number - want.0).abs() <= want.0.abs() * 1e-12 && base.unit == want.1,
                "{text}: {base:?}"
            );
        }
        check("281ms", (0.281, "s"));
        check("2m", (120.0, "s"));
        check("1.5KiB", (1536.0, "B"));
        check("2MB", (2e6, "B"));
        check("87%", (87.0, "%"));
        check("5", (5.0, ""));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_may_come(text in proptest::collection::vec(proptest::sample::select(b"{}[]\":,\\=1a. \n\xc2".to_vec()), 0..60)) {
            read(&text);
            quantity(&text);
        }
    }
}

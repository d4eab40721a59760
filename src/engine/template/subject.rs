//! The subject of a text: the part that says which message it is.
//!
//! In: the text of a line. Out: the text that is masked. Of plain text that is all of it. Of a JSON object, or of
//! logfmt, it is what its message and a few other fields say, in a fixed order, so that neither the order of the keys
//! nor times, ids and optional fields make a template of their own:
//! `level=error⇥query failed⇥status=500⇥error=deadline exceeded`.
//!
//! 1. The level. The numbers of pino, bunyan (10 to 60) and GELF (0 to 7) become words, for numbers are variables.
//! 2. The message: the first that is there, and not empty, of `message`, `msg`, `@mt`, `messagetemplate`, `@m`,
//!    `@message`, `renderedmessage`, `short_message`, `body`, `log`, `event`, `text`; only of the outermost object.
//! 3. Codes and words of state, wherever they stand: `status`, `code`, `errno`, `exit`, `signal` and their kin, `state`,
//!    `result`, `outcome`, `action`, `event`, `type`. What the [mask](super::mask) leaves of a number is its affair.
//! 4. Failures, wherever they stand: `error`, `err`, `exception`, `reason`, `cause` and their kin; of one that is an
//!    object its message, type, name and code.
//!
//! Names are compared without regard to case. Parts of one kind are sorted by name and value, and all are kept, so that
//! nothing that matters hides behind another of its name.
//! A text without a message, a broken object, logfmt with words between its pairs, or more than [`PARTS_MAX`] parts:
//! all that is plain text. It would rather split one message than merge two.
//! Limits: [`LENGTH_MAX`] bytes of text; no allocation, but for the buffer while it grows.

use crate::engine::line::json::{Kind, Reader, Step, Value};
use crate::engine::line::level::Level;
use crate::engine::line::pairs::{Pairs, is_logfmt};

/// A longer text is plain text.
pub const LENGTH_MAX: usize = 16 * 1024;
/// A text with more codes and failures is plain text.
pub const PARTS_MAX: usize = 12;

/// The longest message that is looked at, so that a failure behind it is still within what is masked.
const MESSAGE_MAX: usize = 2048;
/// The longest failure that is looked at.
const FAILURE_MAX: usize = 512;
/// The longest code, level or word of state that is looked at.
const CODE_MAX: usize = 64;

/// Finds subjects. Meant to be kept and used again for every line.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    text: Vec<u8>,
    /// Whether the last text was not its own subject.
    is_found: bool,
}

impl Subject {
    /// The subject of `text`: `text` itself, or what stands in this buffer until the next call.
    #[inline]
    pub fn of<'s>(&'s mut self, text: &'s [u8]) -> &'s [u8] {
        // Most lines begin with neither, so they cost this look.
        let may_have = matches!(text.first(), Some(b'{' | b'a'..=b'z'));
        self.is_found = may_have && self.find(text);
        self.last(text)
    }

    /// The same for the text that [`Subject::of`] was asked for last.
    #[inline]
    pub fn last<'s>(&'s self, text: &'s [u8]) -> &'s [u8] {
        if self.is_found { &self.text } else { text }
    }

    #[inline(never)]
    fn find(&mut self, text: &[u8]) -> bool {
        if text.len() > LENGTH_MAX {
            return false;
        }
        let parts = match Reader::of(text) {
            Some(reader) => Parts::of_object(reader),
            None if is_logfmt(text) => Parts::of_pairs(Pairs::of(text)),
            None => None,
        };
        let Some(parts) = parts else { return false };
        parts.write(&mut self.text)
    }
}

/// What a field is to its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    /// The message, with its rank: the lowest wins.
    Message(u8),
    Level,
    Code,
    Failure,
}

/// The fields of one line that matter.
struct Parts<'t> {
    level: Option<Value<'t>>,
    message: Option<(u8, &'t [u8])>,
    /// Codes and failures, each with its name and its value.
    kept: [(Role, &'t [u8], &'t [u8]); PARTS_MAX],
    used: usize,
}

impl<'t> Parts<'t> {
    fn new() -> Parts<'t> {
        Parts { level: None, message: None, kept: [(Role::Code, b"", b""); PARTS_MAX], used: 0 }
    }

    /// `None` where the object is broken or has too many parts.
    fn of_object(mut reader: Reader<'t>) -> Option<Parts<'t>> {
        let mut parts = Parts::new();
        // Of the objects and arrays that are open: a bit for each that belongs to a failure, the innermost lowest,
        // and the same for those called `log`, in which the Elastic Common Schema keeps the level.
        let (mut failing, mut logging) = (0_u64, 0_u64);
        while let Some(step) = reader.next() {
            match step {
                Step::Value(name, value) => {
                    let in_failure = failing & 1 == 1;
                    let role = if in_failure { role_in_failure(name) } else { role(name) };
                    let place = Place { is_outermost: reader.depth() == 1, in_log: logging & 1 == 1 };
                    if let Some(role) = role {
                        parts.take(role, name, value, place)?;
                    }
                }
                Step::Begin(name) => {
                    let is_failure = failing & 1 == 1 || role(name) == Some(Role::Failure);
                    failing = failing << 1 | u64::from(is_failure);
                    logging = logging << 1 | u64::from(name.eq_ignore_ascii_case(b"log"));
                }
                Step::End => (failing, logging) = (failing >> 1, logging >> 1),
            }
        }
        reader.is_whole().then_some(parts)
    }

    /// `None` where something stands between the pairs, or where there are too many parts.
    fn of_pairs(mut pairs: Pairs<'t>) -> Option<Parts<'t>> {
        let mut parts = Parts::new();
        let place = Place { is_outermost: true, in_log: false };
        while let Some((name, value)) = pairs.next_unread() {
            if let Some(role) = role(name) {
                parts.take(role, name, value.read(), place)?;
            }
        }
        (!pairs.has_skipped()).then_some(parts)
    }

    /// Takes one field that has a role. `None` where there is no room for it.
    fn take(&mut self, role: Role, name: &'t [u8], value: Value<'t>, place: Place) -> Option<()> {
        match role {
            Role::Level if place.is_outermost || place.in_log => {
                self.level = self.level.or(Some(value));
            }
            Role::Level => {}
            Role::Message(rank) if place.is_outermost => self.take_message(rank, name, value)?,
            Role::Message(_) => {}
            Role::Code => self.keep(Role::Code, name, value)?,
            Role::Failure => self.keep(Role::Failure, name, value)?,
        }
        Some(())
    }

    fn take_message(&mut self, rank: u8, name: &'t [u8], value: Value<'t>) -> Option<()> {
        if value.kind == Kind::Null || value.bytes.is_empty() {
            return Some(());
        }
        // An event is the message of structlog; beside a message it says what kind of thing happened.
        if rank == EVENT {
            self.keep(Role::Code, name, value)?;
        }
        if self.message.is_none_or(|(known, _)| rank < known) {
            self.message = Some((rank, value.bytes));
        }
        Some(())
    }

    fn keep(&mut self, role: Role, name: &'t [u8], value: Value<'t>) -> Option<()> {
        // `"error":null`, `err=nil`, `"error":false` and no error at all are the same news: none.
        let says_nothing = value.bytes.is_empty() || value.kind == Kind::Null || value.bytes == b"false";
        if says_nothing {
            return Some(());
        }
        let longest = if role == Role::Code { CODE_MAX } else { FAILURE_MAX };
        let bytes = &value.bytes[..value.bytes.len().min(longest)];
        *self.kept.get_mut(self.used)? = (role, name, bytes);
        self.used += 1;
        Some(())
    }

    /// Writes the subject. False where there is no message.
    fn write(mut self, out: &mut Vec<u8>) -> bool {
        let Some((rank, message)) = self.message else { return false };
        out.clear();
        if let Some(level) = self.level {
            let word = match level.kind {
                Kind::Number if level.bytes.len() == 1 => Level::from_priority(level.bytes),
                Kind::Number => Level::from_number(level.bytes),
                _ => None,
            };
            let word = word.map_or(level.bytes, |level| level.as_str().as_bytes());
            out.extend_from_slice(b"level=");
            out.extend_from_slice(&word[..word.len().min(CODE_MAX)]);
            out.push(SEPARATOR);
        }
        out.extend_from_slice(&message[..message.len().min(MESSAGE_MAX)]);
        let kept = &mut self.kept[..self.used];
        if kept.len() > 1 {
            kept.sort_unstable();
        }
        for (_, name, value) in kept {
            // The event that is the message is not said twice.
            if rank == EVENT && std::ptr::eq(value.as_ptr(), message.as_ptr()) {
                continue;
            }
            out.push(SEPARATOR);
            out.extend_from_slice(name);
            out.push(b'=');
            out.extend_from_slice(value);
        }
        true
    }
}

/// Where a field stands.
#[derive(Clone, Copy)]
struct Place {
    is_outermost: bool,
    in_log: bool,
}

/// The role of a field with this name.
#[inline]
fn role(name: &[u8]) -> Option<Role> {
    // Most fields are none of these, and this look tells nearly all of them.
    let first = name.first()? | SMALL;
    if BEGINNINGS.get(name.len())? >> (first & 31) & 1 == 0 {
        return None;
    }
    let (begin, end) = (*BY_LENGTH.get(name.len())?, *BY_LENGTH.get(name.len() + 1)?);
    let same_length = &NAMES[usize::from(begin)..usize::from(end)];
    let is = |known: &[u8]| known[0] | SMALL == first && known.eq_ignore_ascii_case(name);
    same_length.iter().find(|(known, _)| is(known)).map(|(_, role)| *role)
}

/// The role of a field in an object that is a failure. What has no name is an element of an array.
fn role_in_failure(name: &[u8]) -> Option<Role> {
    let is_detail = name.is_empty() || DETAILS.iter().any(|detail| name.eq_ignore_ascii_case(detail));
    if is_detail { Some(Role::Failure) } else { role(name).filter(|role| *role >= Role::Code) }
}

/// Stands between the parts. A tab cannot stand in a JSON string, so no message looks like a message and an error.
const SEPARATOR: u8 = b'\t';

/// The rank of `event` among the messages.
const EVENT: u8 = 10;

/// The longest name with a role.
const NAME_MAX: usize = 25;

/// In lower case, the shortest first.
const NAMES: [(&[u8], Role); 64] = [
    (b"@m", Role::Message(4)),
    (b"@l", Role::Level),
    (b"@x", Role::Failure),
    (b"msg", Role::Message(1)),
    (b"@mt", Role::Message(2)),
    (b"log", Role::Message(9)),
    (b"lvl", Role::Level),
    (b"err", Role::Failure),
    (b"body", Role::Message(8)),
    (b"text", Role::Message(11)),
    (b"code", Role::Code),
    (b"exit", Role::Code),
    (b"type", Role::Code),
    (b"event", Role::Message(EVENT)),
    (b"level", Role::Level),
    (b"errno", Role::Code),
    (b"state", Role::Code),
    (b"error", Role::Failure),
    (b"cause", Role::Failure),
    (b"panic", Role::Failure),
    (b"status", Role::Code),
    (b"signal", Role::Code),
    (b"result", Role::Code),
    (b"action", Role::Code),
    (b"errors", Role::Failure),
    (b"errmsg", Role::Failure),
    (b"reason", Role::Failure),
    (b"message", Role::Message(0)),
    (b"outcome", Role::Code),
    (b"failure", Role::Failure),
    (b"@message", Role::Message(5)),
    (b"severity", Role::Level),
    (b"loglevel", Role::Level),
    (b"exitcode", Role::Code),
    (b"log_level", Role::Level),
    (b"log.level", Role::Level),
    (b"levelname", Role::Level),
    (b"grpc.code", Role::Code),
    (b"exit_code", Role::Code),
    (b"errorcode", Role::Code),
    (b"exception", Role::Failure),
    (b"statuscode", Role::Code),
    (b"exitstatus", Role::Code),
    (b"error_code", Role::Code),
    (b"error.code", Role::Code),
    (b"event_type", Role::Code),
    (b"error.type", Role::Failure),
    (b"status_code", Role::Code),
    (b"http_status", Role::Code),
    (b"exit_status", Role::Code),
    (b"severitytext", Role::Level),
    (b"event.action", Role::Code),
    (b"short_message", Role::Message(7)),
    (b"severity_text", Role::Level),
    (b"response_code", Role::Code),
    (b"event.outcome", Role::Code),
    (b"error.message", Role::Failure),
    (b"error_message", Role::Failure),
    (b"exception.type", Role::Failure),
    (b"messagetemplate", Role::Message(3)),
    (b"renderedmessage", Role::Message(6)),
    (b"http.status_code", Role::Code),
    (b"exception.message", Role::Failure),
    (b"http.response.status_code", Role::Code),
];

/// What says which failure it is, within an object that is one. Not its stack, which has line numbers and addresses.
const DETAILS: [&[u8]; 7] = [b"message", b"msg", b"type", b"kind", b"class", b"name", b"text"];

/// Where in [`NAMES`] those of each length begin; those of one length end where the next begin.
static BY_LENGTH: [u8; NAME_MAX + 2] = {
    let mut begins = [0; NAME_MAX + 2];
    let mut index = 0;
    while index < NAMES.len() {
        let length = NAMES[index].0.len();
        assert!(
            length <= NAME_MAX && (index == 0 || NAMES[index - 1].0.len() <= length),
            "the shortest first"
        );
        let mut longer = length + 1;
        while longer < begins.len() {
            begins[longer] = index as u8 + 1;
            longer += 1;
        }
        index += 1;
    }
    begins
};

/// For each length the letters with which names begin, a bit each: the low five bits of a letter are its place in the
/// alphabet.
static BEGINNINGS: [u32; NAME_MAX + 1] = {
    let mut beginnings = [0; NAME_MAX + 1];
    let mut index = 0;
    while index < NAMES.len() {
        let name = NAMES[index].0;
        beginnings[name.len()] |= 1 << (name[0] & 31);
        index += 1;
    }
    beginnings
};

/// The bit that makes a capital a small letter.
const SMALL: u8 = 0x20;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subject(text: &[u8]) -> String {
        String::from_utf8_lossy(Subject::default().of(text)).replace('\t', " | ")
    }

    #[test]
    fn subjects() {
        #[track_caller]
        fn check(text: &str, want: &str) {
            assert_eq!(subject(text.as_bytes()), want, "{text}");
        }
        // The usual libraries.
        check(
            r#"{"level":"info","ts":17.5,"caller":"a/b.go:7","msg":"request served","status":200,"took_ms":5}"#,
            "level=info | request served | status=200",
        );
        check(
            r#"{"level":50,"time":17,"pid":7,"err":{"type":"Error","message":"connect ECONNREFUSED","stack":"x","code":"ECONNREFUSED"},"msg":"upstream is away"}"#,
            "level=error | upstream is away | code=ECONNREFUSED | message=connect ECONNREFUSED | type=Error",
        );
        check(r#"{"level":30,"res":{"statusCode":302},"msg":"done"}"#, "level=info | done | statusCode=302");
        check(
            r#"{"@timestamp":"x","log.level":"ERROR","message":"m","error.message":"boom","error.type":"E"}"#,
            "level=ERROR | m | error.message=boom | error.type=E",
        );
        check(
            r#"{"log":{"level":"warn"},"message":"m","event":{"outcome":"failure"}}"#,
            "level=warn | m | outcome=failure",
        );
        check(r#"{"event":"user logged in","level":"info","user":"x"}"#, "level=info | user logged in");
        check(
            r#"{"@t":"x","@mt":"User {Name} in","@l":"Warning","Name":"bob","@x":"System.Exception: y"}"#,
            "level=Warning | User {Name} in | @x=System.Exception: y",
        );
        check(r#"{"log":"plain text\n","stream":"stdout"}"#, r"plain text\n");
        check(r#"{"version":"1.1","short_message":"m","level":3}"#, "level=error | m");
        check(r#"{"msg":"m","level":35}"#, "level=35 | m");
        check("time=x level=warn msg=\"a b\" err=\"c d\" n=5", "level=warn | a b | err=c d");
        check("ts=x level=error msg=failed code=ECONNRESET", "level=error | failed | code=ECONNRESET");
        // The order of keys, and what does not matter.
        check(r#"{"status":200,"message":"m","level":"info"}"#, "level=info | m | status=200");
        check(r#"{"level":"info","trace":"abc","message":"m","status":200}"#, "level=info | m | status=200");
        check(r#"{"msg":"m","error":null,"err":"","exception":false}"#, "m");
        check(r#"{"message":"a","event":"b","msg":"c"}"#, "a | event=b");
        check(r#"{"msg":"","message":"","text":"t"}"#, "t");
        // All of a name are kept, in an order of their own.
        check(r#"{"msg":"m","res":{"status":503},"req":{"status":200}}"#, "m | status=200 | status=503");
        check(r#"{"msg":"m","errors":["b","a"]}"#, "m | =a | =b");
        // Plain text.
        for text in [
            "",
            "{",
            "plain",
            r#"{"a":1}"#,
            r#"{"msg":"cut"#,
            r#"{"msg":"m"} tail"#,
            r#"{"msg":{"a":1}}"#,
            "level=info no message",
            "level=info msg=a and words behind",
            "a=1 b=2",
            "msg = x",
        ] {
            check(text, text);
        }
        let many = (0..=PARTS_MAX).map(|number| format!(r#","status":{number}"#)).collect::<String>();
        check(&format!(r#"{{"msg":"m"{many}}}"#), &format!(r#"{{"msg":"m"{many}}}"#));
        let long = format!(r#"{{"msg":"m","x":"{}"}}"#, "y".repeat(LENGTH_MAX));
        check(&long, &long);
    }

    #[test]
    fn a_long_message_does_not_push_out_the_error() {
        let found = subject(format!(r#"{{"msg":"{}","error":"e"}}"#, "m".repeat(9_000)).as_bytes());
        assert_eq!(found.len(), MESSAGE_MAX + " | error=e".len());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// However the keys are ordered, the subject is the same.
        #[test]
        fn order_does_not_matter(
            fields in proptest::sample::subsequence(
                vec![
                    r#""msg":"m 5""#, r#""level":"info""#, r#""status":503"#, r#""error":"x""#, r#""res":{"status":7}"#,
                    r#""err":{"message":"y","stack":"z"}"#, r#""time":17"#, r#""a":[1,{"code":3}]"#, r#""event":"e""#,
                ],
                1..9,
            ).prop_shuffle(),
        ) {
            let mut sorted = fields.clone();
            sorted.sort_unstable();
            // Without a message the text itself is the subject, and its order does matter.
            prop_assume!(fields.iter().any(|field| field.starts_with(r#""msg""#)));
            let text = |fields: &[&str]| format!("{{{}}}", fields.join(","));
            prop_assert_eq!(subject(text(&fields).as_bytes()), subject(text(&sorted).as_bytes()));
        }

        #[test]
        fn any_bytes_may_come(text in proptest::collection::vec(proptest::sample::select(b"{}[]\":,\\=msgerror1 \n\xc2".to_vec()), 0..60)) {
            subject(&text);
            subject(&[b"{\"msg\":\"".as_slice(), &text].concat());
            subject(&[b"msg=".as_slice(), &text].concat());
        }
    }
}

//! The lexicon: words that a client uses when it cannot reach something, and when it tries again.
//!
//! In: the text of a template's first line. Out: its [`Tags`]. Asked once for each new template, never per line.
//! A loop is believed sooner where its lines speak of it, and a loop of one member, or one that backs off so far that
//! it never storms, is believed only then. Matching ignores the case of ASCII letters.
//! Limit: words come from the config too, at most [`WORDS_MAX`] of [`WORD_MAX`] bytes.

use regex::bytes::Regex;

/// Words of one kind that the config may add.
pub const WORDS_MAX: usize = 256;
/// Bytes in one of them.
pub const WORD_MAX: usize = 128;

/// What the lexicon finds in a text: a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tags(pub u8);

impl Tags {
    /// It says that something could not be reached.
    pub const FAILURE: Tags = Tags(1);
    /// It says that something is tried again.
    pub const RETRY: Tags = Tags(2);

    /// Whether it says neither.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Whether it says `other`.
    pub fn has(self, other: Tags) -> bool {
        self.0 & other.0 != 0
    }

    /// What either says.
    pub fn or(self, other: Tags) -> Tags {
        Tags(self.0 | other.0)
    }
}

/// Both lists, compiled.
#[derive(Debug)]
pub struct Lexicon {
    failure: Option<Regex>,
    retry: Option<Regex>,
}

impl Lexicon {
    /// The built-in words and those of the config.
    pub fn new(failure_words: &[String], retry_words: &[String]) -> Lexicon {
        Lexicon {
            failure: compile(FAILURE_PARTS, FAILURE_WORDS, failure_words),
            retry: compile(RETRY_PARTS, RETRY_WORDS, retry_words),
        }
    }

    /// What `text` says.
    pub fn tags(&self, text: &[u8]) -> Tags {
        let text = &text[..text.len().min(TEXT_MAX)];
        let says = |words: &Option<Regex>| {
            words
                .as_ref()
                .is_some_and(|words| words.find_iter(text).any(|word| !is_a_name(&text[word.end()..])))
        };
        let failure = if says(&self.failure) { Tags::FAILURE } else { Tags::default() };
        failure.or(if says(&self.retry) { Tags::RETRY } else { Tags::default() })
    }
}

/// Whether the word before `rest` is the name of a setting or counter, as in `timeout=30`, `timeouts: 0` or
/// `retries=0`. It then says that there is such a thing, not that it happens. `attempt=3` does say so.
fn is_a_name(rest: &[u8]) -> bool {
    let rest = rest.strip_prefix(b"s").unwrap_or(rest);
    let rest = rest.strip_prefix(b"_ms").or(rest.strip_prefix(b"\"")).unwrap_or(rest);
    let Some((b'=' | b':', value)) = rest.split_first() else { return false };
    let value = value.trim_ascii_start();
    is_number(value.strip_prefix(b"\"").unwrap_or(value))
}

/// Whether a number stands here, and not an address: `30`, `2.5s`, but not `10.0.0.1:22`.
fn is_number(text: &[u8]) -> bool {
    let end = text.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let points = number.trim_ascii_end().iter().filter(|byte| **byte == b'.').count();
    end > 0 && points <= 1 && rest.first() != Some(&b':')
}

fn compile(parts: &[&str], words: &[&str], own: &[String]) -> Option<Regex> {
    let own = own.iter().filter(|word| !word.is_empty() && word.len() <= WORD_MAX).take(WORDS_MAX);
    let own: Vec<String> = own.map(|word| regex::escape(word)).collect();
    let parts = parts.join("|") + &own.iter().map(|word| format!("|{word}")).collect::<String>();
    // Our own text, which a test compiles; words of the config are escaped.
    Regex::new(&format!("(?i-u)(?:{parts}|\\b(?:{})\\b)", words.join("|"))).ok()
}

/// A text is looked through up to here, as it is masked.
const TEXT_MAX: usize = 4096;

/// These stand inside of other words, too: `SocketTimeoutException`.
const FAILURE_PARTS: &[&str] = &[
    "time-?out",
    "timed ?out",
    "time out",
    "refused",
    "unreachable",
    "no route to host",
    "broken ?pipe",
    "could not connect",
    "couldn(?:'|’)t connect",
    "cannot connect",
    "can(?:'|’)t connect",
    "unable to connect",
    "failed to connect",
    "connect(?:ion)? failed",
    "connect(?:ion)? to [^ ]{1,80} failed",
    "(?:could ?not|cannot) be (?:established|reached)",
    "no (?:live|healthy|available) (?:upstream|server|backend|host|node)",
    "connection (?:was )?(?:lost|dropped|aborted|broken)",
    "connectionreset",
    "econn(?:refused|reset|aborted)",
    "etimedout",
    "ehostunreach",
    "enetunreach",
    "enotfound",
    "eai_again",
    "host is down",
    "name or service not known",
    "temporary failure in name resolution",
    "연결 ?시간 ?초과",
    "시간 ?초과",
    "타임 ?아웃",
    "연결[^ ]* ?거부",
    "연결[^ ]* ?끊",
    "연결[^ ]* ?실패",
    "연결할 수 없",
    "응답 ?없음",
];
/// These must stand alone: `preset`, `enclosed`.
const FAILURE_WORDS: &[&str] = &["reset", "closed", "disconnected", "no route", "unavailable"];

const RETRY_PARTS: &[&str] = &[
    "re-?connect",
    "back[ -]?off",
    "backing off",
    "재 ?연결",
    "재 ?시도",
    "재 ?접속",
    "다시 ?시도",
    // Not the bare word: a break-in attempt is none of ours.
    "attempts?[ #:(]{1,3}[0-9]",
    "attempt=[0-9]",
    r"[0-9] (?:(?:failed|unsuccessful|connection|re-?connect(?:ion)?|retry|more) )?attempts?\b",
    "(?:next|another|connection|failed) attempts?",
    "attempting (?:to )?(?:re-?)?connect",
];
const RETRY_WORDS: &[&str] =
    &["retry", "retries", "retried", "retrying", "giving up", "gave up", "next try in", "try(?:ing)? again"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_says() {
        #[track_caller]
        fn check(text: &str, failure: bool, retry: bool) {
            let tags = Lexicon::new(&[], &[]).tags(text.as_bytes());
            assert_eq!((tags.has(Tags::FAILURE), tags.has(Tags::RETRY)), (failure, retry), "{text}");
        }
        check("WebSocket connection timeout", true, false);
        check("Reconnection failed after 5 attempts", true, true);
        check("java.net.SocketTimeoutException: Read timed out", true, false);
        check("connect ECONNREFUSED 10.0.0.1:5432", true, false);
        check("connect to 10.0.0.1:1883 failed", true, false);
        check("no live upstreams while connecting to upstream", true, false);
        check("no healthy upstream", true, false);
        check("Connection to node -1 could not be established.", true, false);
        check("ssh: connect to host a port 22: No route to host", true, false);
        check("read: connection reset by peer, retrying in 5 s", true, true);
        check("will back off, next try in 8 s", false, true);
        check("gRPC: Giving up", false, true);
        check("msg=\"cannot connect\" attempt=3", true, true);
        check("연결 시간 초과: 10.0.0.1", true, false);
        check("연결이 거부되었습니다", true, false);
        check("3초 후 재시도", false, true);
        check("재연결 시도 중", false, true);
        // Not these.
        check("GET /api/v1/orders 200 12ms", false, false);
        check("reverse mapping failed - POSSIBLE BREAK-IN ATTEMPT!", false, false);
        check("attempt 3 of 5", false, true);
        check("container_01_000002 taskAttempt attempt_14_m_000", false, false);
        check("2nd attempt", false, false); // too little to go by
        check("giving up after 3 failed attempts", false, true);
        check("preset loaded, enclosed by 3 walls", false, false);
        check("pool stats: timeouts=0 retries=0 size=5", false, false);
        check("connection timeout: 10.0.0.1:5432", true, false);
        check("listening, timeout: 30 s", false, false);
        check("{\"timeout\":30,\"retries\":5}", false, false);
        check("{\"timeout\":30,\"msg\":\"request timeout\"}", true, false);
        check("", false, false);
    }

    #[test]
    fn the_config_adds_words() {
        let lexicon = Lexicon::new(&["kaputt (1)".to_owned()], &["nochmal".to_owned()]);
        assert_eq!(lexicon.tags(b"Leitung KAPUTT (1)"), Tags::FAILURE);
        assert_eq!(lexicon.tags(b"wir versuchen es nochmal"), Tags::RETRY);
        assert_eq!(lexicon.tags(b"connection refused, retry"), Tags::FAILURE.or(Tags::RETRY));
    }
}

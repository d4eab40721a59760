//! Endpoints: what a line says that its program tries to reach.
//!
//! In: the text of a line. Out: a URL or `host:port`, without user info, query and fragment, which may hold secrets.
//! Limits: `LOOK_MAX` bytes of a text are looked at, and an endpoint has at most `ENDPOINT_MAX`.

use std::sync::LazyLock;

use regex::bytes::{Captures, Regex};

/// The longest endpoint that is told, in bytes; a longer one is cut.
pub const ENDPOINT_MAX: usize = 200;
/// How much of a text is looked at.
const LOOK_MAX: usize = 1024;

/// The endpoint that `text` names: `connect to host:port` or a URL, whichever comes first (behind the one, a URL may be
/// anything, such as the manual's), then another `host:port`, then `host … port N` and the like.
pub fn find(text: &[u8]) -> Option<String> {
    let text = &text[..text.len().min(LOOK_MAX)];
    let forms = FORMS.as_ref()?;
    let at = |found: &Captures<'_>| found.get(0).map_or(0, |whole| whole.start());
    let url = forms.url.captures_iter(text).find_map(|found| Some((at(&found), url(&found)?)));
    let aim = forms.aim.captures_iter(text).find_map(|found| Some((at(&found), pair(&found)?)));
    let pair_of = |form: &Regex| form.captures_iter(text).find_map(|found| pair(&found));
    let first = aim.into_iter().chain(url).min_by_key(|(at, _)| *at).map(|(_, endpoint)| endpoint);
    first.or_else(|| [&forms.pair, &forms.bare, &forms.apart, &forms.fields].into_iter().find_map(pair_of))
}

fn url(found: &Captures<'_>) -> Option<String> {
    let scheme = shown(found.name("scheme")?.as_bytes()).to_ascii_lowercase();
    let rest = found.name("rest")?.as_bytes();
    let end = rest.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(rest.len());
    let rest = &rest[..end];
    let slash = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(slash);
    let host = authority.rsplit(|&byte| byte == b'@').next().unwrap_or(authority);
    if host.is_empty() {
        return None;
    }
    // What ends a sentence or closes a bracket is not the URL's.
    let path = path.trim_ascii_end();
    let path = trimmed(path);
    let host = if path.is_empty() { trimmed(host) } else { host };
    Some(cut(format!("{scheme}://{}{}", shown(host), shown(path))))
}

fn pair(found: &Captures<'_>) -> Option<String> {
    let host = found.name("host")?.as_bytes();
    let port: u32 = std::str::from_utf8(found.name("port")?.as_bytes()).ok()?.parse().ok()?;
    let extension = host.rsplit(|&byte| byte == b'.').next().unwrap_or_default();
    // `Foo.java:123` is a place in a program.
    if port == 0 || port > 65_535 || SOURCES.contains(&extension) {
        return None;
    }
    Some(cut(format!("{}:{port}", shown(host))))
}

/// Without the punctuation that follows a URL in a sentence.
fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., b'.' | b',' | b';' | b':' | b')' | b'\'' | b'!'] = text {
        text = rest;
    }
    text
}

fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

fn cut(mut endpoint: String) -> String {
    let mut end = ENDPOINT_MAX.min(endpoint.len());
    while !endpoint.is_char_boundary(end) {
        end -= 1;
    }
    endpoint.truncate(end);
    endpoint
}

struct Forms {
    url: Regex,
    aim: Regex,
    pair: Regex,
    bare: Regex,
    apart: Regex,
    fields: Regex,
}

/// An address, a name with dots, `localhost`; and the port behind it.
const PAIR: &str = concat!(
    r"(?P<host>(?:[0-9]{1,3}\.){3}[0-9]{1,3}|\[[0-9a-f:.]{2,45}\]|localhost",
    r"|[a-z0-9_](?:[a-z0-9_-]{0,62}\.){1,8}[a-z][a-z0-9-]{1,62}):(?P<port>[0-9]{1,5})\b",
);

/// Patterns of our own, which a test compiles.
static FORMS: LazyLock<Option<Forms>> = LazyLock::new(|| {
    let regex = |pattern: &str| Regex::new(&format!("(?i-u){pattern}")).ok();
    Some(Forms {
        url: regex(r#"\b(?P<scheme>[a-z][a-z0-9+.-]{1,20})://(?P<rest>[^\s"'<>`|\\{}]{1,400})"#)?,
        aim: regex(&format!(r"\bconnect(?:ing|ion)? to {PAIR}"))?,
        pair: regex(&format!(r"(?:^|[\s(/#@=,'\x22\[]){PAIR}"))?,
        // A bare name, behind a word that says that it is one.
        bare: regex(concat!(
            r"\b(?:to|at|host|broker|server|upstream|addr|address|endpoint|peer|from|with)[ =:'\x22]{1,3}",
            r"(?P<host>[a-z][a-z0-9_-]{0,62}):(?P<port>[0-9]{2,5})\b",
        ))?,
        // `connect to host a port 22`, `at "localhost" (127.0.0.1), port 5432`.
        apart: regex(concat!(
            r#"\b(?:to|at|host|server|on)(?: host| server)?(?: at)? ["']?"#,
            r#"(?P<host>(?:[0-9]{1,3}\.){3}[0-9]{1,3}|[0-9a-f:]{2,45}:[0-9a-f]{0,4}|[a-z0-9_](?:[a-z0-9_.-]{0,200}[a-z0-9])?)["']?"#,
            r"(?: \([^)]{0,60}\))?,? (?:on )?(?:tcp )?port (?P<port>[0-9]{1,5})\b",
        ))?,
        // `(host='a', port=80)`, `("a", 80)`, `host=a port=80`.
        fields: regex(concat!(
            r#"(?:\bhost=["']?|\(["'])(?P<host>[a-z0-9_](?:[a-z0-9_.-]{0,200}[a-z0-9])?)["']?"#,
            r"(?:,? port=|, )(?P<port>[0-9]{1,5})\b",
        ))?,
    })
});

/// Endings of file names that stand before the number of a line.
const SOURCES: &[&[u8]] = &[
    b"java", b"rs", b"py", b"go", b"js", b"ts", b"mjs", b"c", b"cc", b"cpp", b"h", b"rb", b"php", b"scala",
    b"kt", b"cs", b"ex", b"pl", b"lua", b"swift", b"jsx", b"tsx", b"vue",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        #[track_caller]
        fn check(text: &str, want: &str) {
            assert_eq!(find(text.as_bytes()).unwrap_or_default(), want, "{text}");
        }
        check(
            "WebSocket connection timeout: wss://api.example-broker.com:10000/?req=1f (attempt 3)",
            "wss://api.example-broker.com:10000/",
        );
        check("GET https://user:pw@api.example.com/v1/x?token=1#y failed", "https://api.example.com/v1/x");
        check("cannot reach (http://127.0.0.1:9/).", "http://127.0.0.1:9/");
        check("cannot reach http://db.example.com, retrying", "http://db.example.com");
        check("HTTP://A.B/c", "http://A.B/c");
        check("connect ECONNREFUSED 10.0.0.1:5432", "10.0.0.1:5432");
        check("dial tcp 10.0.0.1:6379: connect: connection refused", "10.0.0.1:6379");
        check("dial tcp [::1]:6379: connect: connection refused", "[::1]:6379");
        check("Could not connect to Redis at 127.0.0.1:6379: Connection refused", "127.0.0.1:6379");
        check("Could not connect to redis:6379", "redis:6379");
        check("rdkafka: Connect to ipv4#127.0.0.1:9092 failed: Connection refused", "127.0.0.1:9092");
        check("broker=kafka-1.example.com:9092 unreachable", "kafka-1.example.com:9092");
        check("ssh: connect to host example port 22: Connection refused", "example:22");
        check("connection to server at \"localhost\" (127.0.0.1), port 5432 failed", "localhost:5432");
        check("curl: (7) Failed to connect to 127.0.0.1 port 9 after 0 ms", "127.0.0.1:9");
        check(
            "cannot connect to 10.0.0.1:514: Connection refused, see https://example.org/e/1",
            "10.0.0.1:514",
        );
        check(
            "cannot connect to redis://:p@10.0.0.1:1/0: Error connecting to 10.0.0.1:1",
            "redis://10.0.0.1:1/0",
        );
        check("Pool(host='10.0.0.1', port=80): Max retries exceeded with url: /x", "10.0.0.1:80");
        check("Connect call failed ('127.0.0.1', 18765)", "127.0.0.1:18765");
        check("cannot reach host=db port=5432", "db:5432");
        // Not these.
        check("2026-02-06 00:10:00 connection timeout", "");
        check("at com.example.Pool.get(Pool.java:123)", "");
        check("errno:104 level:30", "");
        check("timeout after 10:30", "");
        check("to server:99999", "");
        check("", "");
    }

    #[test]
    fn long_ones_are_cut() {
        let text = format!("http://a/{}", "é".repeat(300));
        let found = find(text.as_bytes()).expect("a URL");
        assert!(found.len() <= ENDPOINT_MAX && found.starts_with("http://a/é"));
    }
}

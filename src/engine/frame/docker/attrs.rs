//! The attributes of a container (`"attrs":{…}`), which are the same on each of its lines: parsed once, then compared.

/// The attributes seen last.
#[derive(Default)]
pub(super) struct Cache {
    /// As they stood in the line, with the key: `,"attrs":{…}`.
    raw: Vec<u8>,
    /// As a frame carries them: `{"attrs":{…}}`.
    extra: Vec<u8>,
}

const KEY: &[u8] = br#","attrs":"#;

/// The longest attributes that are remembered, in bytes; longer ones go the slow way each time.
const LENGTH_MAX: usize = 4 << 10;

impl Cache {
    /// Takes the attributes off the start of `rest`; afterwards `extra` holds them.
    #[inline]
    pub(super) fn strip<'a>(&mut self, rest: &'a [u8]) -> Option<&'a [u8]> {
        // What was remembered is a whole object, so whatever begins with it begins with that object and no other.
        if !self.raw.is_empty()
            && let Some(rest) = rest.strip_prefix(self.raw.as_slice())
        {
            return Some(rest);
        }
        self.remember(rest)
    }

    #[cold]
    fn remember<'a>(&mut self, rest: &'a [u8]) -> Option<&'a [u8]> {
        let length = KEY.len() + object_length(rest.strip_prefix(KEY)?)?;
        let (raw, rest) = rest.split_at(length);
        // Through the same parser and writer as in the slow path, so that both give the same bytes.
        let object: serde_json::Value = serde_json::from_slice(&raw[KEY.len()..]).ok()?;
        self.extra = serde_json::json!({ "attrs": object }).to_string().into_bytes();
        self.raw = raw.to_vec();
        Some(rest)
    }

    pub(super) fn extra(&self) -> &[u8] {
        &self.extra
    }
}

/// The length of the JSON object at the start of `bytes`, which is not checked further.
fn object_length(bytes: &[u8]) -> Option<usize> {
    if bytes.first() != Some(&b'{') {
        return None;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, byte) in bytes.iter().take(LENGTH_MAX).enumerate() {
        match byte {
            b'\n' => return None,
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' => depth += 1,
            b'}' if depth == 1 => return Some(at + 1),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes() {
        #[track_caller]
        fn check(rest: &str, want: Option<(&str, &str)>) {
            let mut cache = Cache::default();
            for _ in 0..2 {
                let got = cache.strip(rest.as_bytes());
                assert_eq!(got, want.map(|(_, rest)| rest.as_bytes()), "{rest}");
                let extra = want.map_or("", |(extra, _)| extra);
                assert_eq!(cache.extra(), extra.as_bytes(), "{rest}");
            }
        }
        check(r#","attrs":{"a":"b"},"time""#, Some((r#"{"attrs":{"a":"b"}}"#, r#","time""#)));
        check(r#","attrs":{}}"#, Some((r#"{"attrs":{}}"#, "}")));
        check(r#","attrs":{"}":{"\"}":1}}}"#, Some((r#"{"attrs":{"}":{"\"}":1}}}"#, "}")));
        check(r#","attrs":{"a":"\u003cb\u003e"}"#, Some((r#"{"attrs":{"a":"<b>"}}"#, "")));
        check(r#","attrs":{"a":"b""#, None);
        check(r#","attrs":"a"}"#, None);
        check(r#","attrs":{"a"}"#, None);
        check(r#","tag":{}"#, None);
        check("", None);
    }

    #[test]
    fn other_attributes_replace_the_remembered_ones() {
        let mut cache = Cache::default();
        assert_eq!(cache.strip(br#","attrs":{"a":"1"}-"#), Some(&b"-"[..]));
        assert_eq!(cache.strip(br#","attrs":{"a":"12"}+"#), Some(&b"+"[..]));
        assert_eq!(cache.extra(), br#"{"attrs":{"a":"12"}}"#);
    }
}

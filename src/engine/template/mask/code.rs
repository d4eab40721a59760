//! Codes: numbers of up to three digits that are not a variable of a message but part of what it says.
//!
//! `status=200` and `status=503` are two messages, and the second one must not be hidden in a storm of the first.
//! A number is a code if a keyword stands before it at the end of a word (`status_code: 503`, `"exitCode":137`), or
//! the HTTP version of an access log's request (`"GET / HTTP/1.1" 404`).
//! A wrong guess costs at most a template for each number there is, because all other numbers stay variables.

/// Whether the variable word `start..end` of `text` is a code. Asked for every variable word, so it gives up early.
#[inline(always)]
pub(super) fn is_code(text: &[u8], start: usize, end: usize) -> bool {
    if end - start > NUMBER_LEN_MAX {
        return false;
    }
    let before = &text[..start];
    let Some(&separator) = before.last() else { return false };
    if !is_separator(separator) {
        return false;
    }
    let subject = without_separator(before);
    let promising = match subject.last() {
        Some(&last) if last.is_ascii_digit() => separator == b' ',
        Some(&last) => matches!(last | 0x20, b's' | b'e' | b'o' | b't' | b'l'),
        None => false,
    };
    promising && is_code_of(subject, &text[start..], end - start)
}

/// The text before a number without the separator at its end.
#[inline(always)]
fn without_separator(before: &[u8]) -> &[u8] {
    let mut subject = before;
    for _ in 0..SEPARATOR_LEN_MAX {
        match subject.split_last() {
            Some((&byte, shorter)) if is_separator(byte) => subject = shorter,
            _ => break,
        }
    }
    subject
}

/// What stands between a keyword and its number in the usual ways to write the two: `status=200`, `exit code (1)`,
/// `"status": "200"`, `\"status\":200` (JSON within JSON), `code => 5`, `<status>200`.
#[inline(always)]
fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'=' | b':' | b'"' | b'\'' | b'\\' | b'(' | b'[' | b'>')
}

/// The slow half of [`is_code`]: `subject` stands before the separator, and `rest` begins with the word of `len` bytes.
#[inline(never)]
fn is_code_of(subject: &[u8], rest: &[u8], len: usize) -> bool {
    let (number, behind) = rest.split_at(len);
    let digits = number.strip_prefix(b"-").unwrap_or(number);
    let whole = digits.len() <= DIGITS_MAX && digits.iter().all(u8::is_ascii_digit);
    // The beginning of an address or of a decimal is not a code: `status 10.0.0.1`, `exit 0.25`.
    let goes_on = matches!(behind, [b'.', next, ..] if next.is_ascii_digit());
    whole && !digits.is_empty() && !goes_on && (ends_with_keyword(subject) || ends_with_http_version(subject))
}

/// Whether the last word of `subject` is or ends with a keyword, as in `status`, `exit-code`, `StatusCode`.
fn ends_with_keyword(subject: &[u8]) -> bool {
    KEYWORDS.iter().any(|keyword| {
        let Some(split) = subject.len().checked_sub(keyword.len()) else { return false };
        let (before, found) = subject.split_at(split);
        found.eq_ignore_ascii_case(keyword) && begins_a_word(before, found)
    })
}

/// Whether `found` is not the end of a longer word, as `code` is in `barcode`; after `before` in camel case it is not.
fn begins_a_word(before: &[u8], found: &[u8]) -> bool {
    let capitalised = found[0].is_ascii_uppercase() && found[1].is_ascii_lowercase();
    capitalised || !before.last().is_some_and(u8::is_ascii_alphabetic)
}

/// Whether `subject` ends with `HTTP/1.1` or the like.
fn ends_with_http_version(subject: &[u8]) -> bool {
    let is_version = |subject: &[u8]| {
        matches!(subject, [.., b'H', b'T', b'T', b'P', b'/', major] if major.is_ascii_digit())
    };
    match subject {
        [major @ .., b'.', minor] if minor.is_ascii_digit() => is_version(major),
        _ => is_version(subject),
    }
}

/// Three digits hold every HTTP status, exit code, signal and common errno.
const DIGITS_MAX: usize = 3;

/// A code may be negative: `error code -110`.
const NUMBER_LEN_MAX: usize = DIGITS_MAX + 1;

/// Holds `\": \"`, the longest separator in use.
const SEPARATOR_LEN_MAX: usize = 6;

/// In lower case. All end with one of the letters that [`is_code`] looks for.
const KEYWORDS: [&[u8]; 9] = [
    b"status",
    b"code",
    b"errno",
    b"exit",
    b"signal",
    b"statuscode",
    b"exitcode",
    b"exitstatus",
    b"errorcode",
];

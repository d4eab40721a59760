//! Codes: numbers of up to three digits that are not a variable of a message but part of what it says.
//!
//! `status=200` and `status=503` are two messages, and the second one must not be hidden in a storm of the first.
//! A number is a code if a keyword stands before it at the end of a word (`status_code: 503`, `"exitCode":137`), or
//! the HTTP version of an access log's request (`"GET / HTTP/1.1" 404`).
//! A wrong guess costs at most a template for each number there is, because all other numbers stay variables.

/// Whether the variable word `start..end` of `text` is a code. Asked for most variable words, so it gives up early,
/// and it has few branches: what stands before a variable is as good as random.
#[inline(always)]
pub(super) fn is_code(text: &[u8], start: usize, end: usize) -> bool {
    let [.., fourth, third, second, separator] = text[..start] else { return false };
    let (last_but_one, last) = if is_separator(second) { (fourth, third) } else { (third, second) };
    let promising = may_end_subject(last_but_one, last) | is_separator(last);
    let promising = promising & is_separator(separator) & (end - start <= NUMBER_LEN_MAX);
    promising && is_code_after(&text[..start], &text[start..], end - start)
}

/// As [`is_code`], for a word with one or two joiners between it and the variable that ends at `done`.
#[inline(always)]
pub(super) fn is_joined_code(text: &[u8], done: usize, start: usize, end: usize) -> bool {
    let [.., last_but_one, last] = text[..done] else { return false };
    let promising = may_end_subject(last_but_one, last) & (end - start <= NUMBER_LEN_MAX);
    promising && is_code_after(&text[..start], &text[start..], end - start)
}

#[inline(always)]
fn is_separator(byte: u8) -> bool {
    IS_SEPARATOR[usize::from(byte)]
}

/// Whether a look at two bytes says that they may be the end of a keyword or of an HTTP version.
#[inline(always)]
fn may_end_subject(last_but_one: u8, last: u8) -> bool {
    // The bits fold `.` into `/`, and capitals into small letters. What is no end has a zero, which matches nothing.
    LAST_BUT_ONE[usize::from(last)] == last_but_one | FOLD
}

/// The slow part of [`is_code`]: `before` ends with the separator, and `rest` begins with the word of `len` bytes.
#[inline(never)]
fn is_code_after(before: &[u8], rest: &[u8], len: usize) -> bool {
    let (number, behind) = rest.split_at(len);
    let digits = number.strip_prefix(b"-").unwrap_or(number);
    let whole = digits.len() <= DIGITS_MAX && digits.iter().all(u8::is_ascii_digit);
    // The beginning of an address or of a decimal is not a code: `status 10.0.0.1`, `exit 0.25`.
    let goes_on = matches!(behind, [b'.', next, ..] if next.is_ascii_digit());
    if digits.is_empty() || !whole || goes_on {
        return false;
    }
    let separators = before.iter().rev().take_while(|&&byte| is_separator(byte)).count();
    let subject = &before[..before.len() - separators];
    (1..=SEPARATOR_LEN_MAX).contains(&separators) && is_subject(subject)
}

/// Whether a number after `subject` is a code.
fn is_subject(subject: &[u8]) -> bool {
    match subject.last() {
        Some(last) if last.is_ascii_digit() => ends_with_http_version(subject),
        _ => ends_with_keyword(subject),
    }
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
    let is_version = |subject: &[u8]| matches!(subject, [.., b'H', b'T', b'T', b'P', b'/', major] if major.is_ascii_digit());
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

/// What stands between a keyword and its number in the usual ways to write the two: `status=200`, `exit code (1)`,
/// `"status": "200"`, `\"status\":200` (JSON within JSON), `code => 5`, `<status>200`.
static IS_SEPARATOR: [bool; 256] = {
    let separators = b" \t=:\"'\\([>";
    let mut table = [false; 256];
    let mut index = 0;
    while index < separators.len() {
        table[separators[index] as usize] = true;
        index += 1;
    }
    table
};

/// See [`may_end_subject`].
const FOLD: u8 = 0x21;

/// For the last byte of a subject, the one before it that makes it worth a closer look: the ends of the keywords,
/// and `.` or `/` before a digit for the HTTP versions. One look here spares most variables a search for keywords.
static LAST_BUT_ONE: [u8; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < KEYWORDS.len() {
        let [.., last_but_one, last] = KEYWORDS[index] else { panic!("keywords are longer than one letter") };
        let expected = *last_but_one | FOLD;
        let (small, capital) = (*last as usize, last.to_ascii_uppercase() as usize);
        assert!(
            table[small] == 0 || table[small] == expected,
            "keywords that end alike must end alike twice"
        );
        (table[small], table[capital]) = (expected, expected);
        index += 1;
    }
    let mut digit = b'0';
    while digit <= b'9' {
        table[digit as usize] = b'/' | FOLD;
        digit += 1;
    }
    table
};

/// In lower case.
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

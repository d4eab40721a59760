//! Words that are news: a place in a text that holds one of them is never a variable of a family.
//!
//! `link <up>` and `link <down>`, `disk <ok>` and `disk <failed>` are not two values of one message. The list holds
//! levels, states, outcomes and what else speaks of success or failure. A word too many costs a few families; one too
//! few costs nothing either before eight unlike words have stood in that place.

/// Whether `token` holds a word that is news.
pub(super) fn is_news(token: &[u8]) -> bool {
    token.split(|byte| !byte.is_ascii_alphabetic()).any(word_is_news)
}

/// Whether `token` is a level.
pub(super) fn is_level(token: &[u8]) -> bool {
    let word = token.trim_ascii();
    let start = word.iter().position(u8::is_ascii_alphabetic).unwrap_or(word.len());
    let end = word.iter().rposition(u8::is_ascii_alphabetic).map_or(start, |last| last + 1);
    let mut small = [0; WORD_MAX];
    lowered(&word[start..end], &mut small).is_some_and(|small| LEVELS.contains(&small))
}

fn word_is_news(word: &[u8]) -> bool {
    if word.len() < 2 {
        return false;
    }
    let mut small = [0; WORD_MAX];
    match lowered(word, &mut small) {
        Some(small) if is_listed(small) => true,
        _ => is_class_of_failure(word) || is_error_number(word),
    }
}

/// Whether a word of small letters is one of ours.
fn is_listed(word: &[u8]) -> bool {
    let letter = usize::from(word[0] - b'a');
    let (begin, end) = (usize::from(BY_LETTER[letter]), usize::from(BY_LETTER[letter + 1]));
    WORDS[begin..end].contains(&word)
}

/// `SocketTimeoutException`, `NullPointerError`.
fn is_class_of_failure(word: &[u8]) -> bool {
    CLASSES.iter().any(|end| {
        let Some(split) = word.len().checked_sub(end.len()) else { return false };
        word[split..].eq_ignore_ascii_case(end)
    })
}

/// `ECONNREFUSED`, `ENOSPC`.
fn is_error_number(word: &[u8]) -> bool {
    word.len() >= 4 && word[0] == b'E' && word.iter().all(u8::is_ascii_uppercase)
}

/// `word` in lower case, unless it is longer than any of ours.
fn lowered<'s>(word: &[u8], small: &'s mut [u8; WORD_MAX]) -> Option<&'s [u8]> {
    let small = small.get_mut(..word.len())?;
    small.copy_from_slice(word);
    small.make_ascii_lowercase();
    Some(small)
}

const WORD_MAX: usize = 16;

const CLASSES: [&[u8]; 5] = [b"exception", b"error", b"failure", b"timeout", b"fault"];

const LEVELS: [&[u8]; 25] = [
    b"alert",
    b"crit",
    b"critical",
    b"dbg",
    b"debug",
    b"emerg",
    b"emergency",
    b"err",
    b"error",
    b"fatal",
    b"inf",
    b"info",
    b"information",
    b"notice",
    b"panic",
    b"severe",
    b"trace",
    b"trc",
    b"verbose",
    b"warn",
    b"warning",
    b"wrn",
    b"fine",
    b"finer",
    b"finest",
];

/// The levels and all others, sorted.
const WORDS: [&[u8]; 158] = [
    b"abort",
    b"aborted",
    b"accept",
    b"accepted",
    b"active",
    b"alert",
    b"alive",
    b"allow",
    b"allowed",
    b"approved",
    b"bad",
    b"blocked",
    b"broken",
    b"busy",
    b"cancel",
    b"canceled",
    b"cancelled",
    b"closed",
    b"closing",
    b"complete",
    b"completed",
    b"connect",
    b"connected",
    b"corrupt",
    b"corrupted",
    b"crash",
    b"crashed",
    b"created",
    b"crit",
    b"critical",
    b"dbg",
    b"dead",
    b"debug",
    b"degraded",
    b"deleted",
    b"denied",
    b"deny",
    b"disable",
    b"disabled",
    b"disconnect",
    b"disconnected",
    b"done",
    b"down",
    b"drop",
    b"dropped",
    b"emerg",
    b"emergency",
    b"empty",
    b"enable",
    b"enabled",
    b"err",
    b"error",
    b"exceeded",
    b"exhausted",
    b"exited",
    b"expired",
    b"fail",
    b"failed",
    b"failing",
    b"fails",
    b"failure",
    b"false",
    b"fatal",
    b"fine",
    b"finer",
    b"finest",
    b"finished",
    b"forbidden",
    b"full",
    b"good",
    b"granted",
    b"healthy",
    b"hit",
    b"idle",
    b"inactive",
    b"inf",
    b"info",
    b"information",
    b"invalid",
    b"kill",
    b"killed",
    b"left",
    b"lost",
    b"miss",
    b"missing",
    b"no",
    b"none",
    b"notice",
    b"off",
    b"offline",
    b"ok",
    b"okay",
    b"on",
    b"online",
    b"oom",
    b"open",
    b"opened",
    b"overflow",
    b"panic",
    b"passed",
    b"paused",
    b"pending",
    b"progress",
    b"ready",
    b"recovered",
    b"refused",
    b"reject",
    b"rejected",
    b"released",
    b"removed",
    b"reset",
    b"restart",
    b"restarted",
    b"restarting",
    b"retried",
    b"retry",
    b"retrying",
    b"running",
    b"severe",
    b"shutdown",
    b"skipped",
    b"slow",
    b"stale",
    b"start",
    b"started",
    b"starting",
    b"stop",
    b"stopped",
    b"stopping",
    b"stuck",
    b"succeeded",
    b"success",
    b"successful",
    b"successfully",
    b"suspended",
    b"terminated",
    b"terminating",
    b"throttled",
    b"timedout",
    b"timeout",
    b"trace",
    b"trc",
    b"true",
    b"unable",
    b"unauthorized",
    b"unavailable",
    b"unhealthy",
    b"unknown",
    b"unreachable",
    b"up",
    b"valid",
    b"verbose",
    b"waiting",
    b"warn",
    b"warning",
    b"wrn",
    b"yes",
    b"zombie",
];

/// Where in [`WORDS`] those of each first letter begin; those of one letter end where the next begin. A binary search
/// took three times as long.
static BY_LETTER: [u8; 27] = {
    let mut begins = [0; 27];
    let mut index = 0;
    while index < WORDS.len() {
        let letter = (WORDS[index][0] - b'a') as usize;
        let mut later = letter + 1;
        while later < begins.len() {
            begins[later] = index as u8 + 1;
            later += 1;
        }
        index += 1;
    }
    begins
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news() {
        #[track_caller]
        fn check(token: &str, want: bool) {
            assert_eq!(is_news(token.as_bytes()), want, "{token}");
        }
        for token in [
            "ok",
            "OK,",
            "failed",
            "[Failed]",
            "up",
            "down.",
            "INFO",
            "level:warn",
            "java.net.SocketTimeoutException:",
            "ECONNREFUSED",
            "state-closed",
            "NullPointerError",
            "true",
        ] {
            check(token, true);
        }
        for token in
            ["", "alice", "host-a.example.com", "/home/bob/core", "upload", "oktober", "EVE", "SYSTEM", "a"]
        {
            check(token, false);
        }
    }

    #[test]
    fn levels() {
        for (token, want) in
            [("INFO", true), ("[warn]", true), ("error:", true), ("infos", false), ("", false), ("<>", false)]
        {
            assert_eq!(is_level(token.as_bytes()), want, "{token}");
        }
    }

    #[test]
    fn the_words_are_sorted_and_short() {
        assert!(WORDS.is_sorted() && WORDS.iter().chain(&LEVELS).all(|word| word.len() <= WORD_MAX));
    }
}

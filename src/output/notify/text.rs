//! What the bodies have in common: times, and what is said of an alert beside its rule's annotations.

use std::borrow::Cow;

use crate::engine::record::notification::Notification;
use crate::units::Timestamp;

/// RFC 3339, to the millisecond.
pub(super) fn time(time: Timestamp) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(time.0));
    time.map(|time| format!("{time:.3}")).unwrap_or_default()
}

/// The annotations of the rule, and what was measured where it does not say that itself.
pub(super) fn annotations(told: &Notification) -> Vec<(&str, Cow<'_, str>)> {
    let mut all: Vec<(&str, Cow<'_, str>)> =
        told.annotations.iter().map(|(name, text)| (name.as_str(), Cow::Borrowed(text.as_str()))).collect();
    let measured = [
        ("summary", Some(Cow::Borrowed(told.summary.as_str()))),
        ("value", Some(Cow::Borrowed(told.value.as_str()))),
        ("threshold", told.threshold.as_deref().map(Cow::Borrowed)),
        ("window", told.window.as_deref().map(Cow::Borrowed)),
        // By this a receiver knows what it was told twice.
        ("squall_id", Some(Cow::Owned(told.id()))),
    ];
    for (name, text) in measured {
        if let Some(text) = text
            && !all.iter().any(|(known, _)| *known == name)
        {
            all.push((name, text));
        }
    }
    all
}

/// The beginning of `text`, of at most so many bytes, with a mark where something is cut.
pub(super) fn short(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max {
        return Cow::Borrowed(text);
    }
    let end = (0..=bytes_max.saturating_sub('…'.len_utf8())).rev().find(|end| text.is_char_boundary(*end));
    Cow::Owned(format!("{}…", &text[..end.unwrap_or_default()]))
}

/// Like Alertmanager: of some, all or none the same state.
pub(super) fn state_of(all: &[&Notification]) -> &'static str {
    if all.iter().any(|told| !told.is_resolved) { "firing" } else { "resolved" }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A firing for tests, with what a log may hold.
    pub(in crate::output::notify) fn firing(episode: u64) -> Notification {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Notification {
            firing: format!("abc-a{episode}"),
            episode,
            is_resolved: false,
            alert: "RetryLoop".to_owned(),
            group: "websocket".to_owned(),
            summary: "12 time-outs of <!channel> & \"x\"".to_owned(),
            value: "12".to_owned(),
            threshold: Some("10".to_owned()),
            window: Some("1m".to_owned()),
            since: Timestamp(1_770_336_600_123_000_000),
            at: Timestamp(1_770_336_610_000_000_000),
            labels: vec![
                pair("alertgroup", "websocket"),
                pair("alertname", "RetryLoop"),
                pair("severity", "P1"),
                pair("stream", "gw"),
            ],
            annotations: vec![
                pair("summary", "12 time-outs of <!channel> & \"x\""),
                pair("runbook_url", "https://wiki/retry"),
            ],
        }
    }

    /// Its end, a minute later.
    pub(in crate::output::notify) fn resolved(episode: u64) -> Notification {
        let at = Timestamp(1_770_336_670_000_000_000);
        Notification { is_resolved: true, at, value: "0".to_owned(), ..firing(episode) }
    }

    #[test]
    fn texts_are_cut_at_letters() {
        #[track_caller]
        fn check(text: &str, bytes: usize, want: &str) {
            assert_eq!(short(text, bytes), want);
        }
        check("short", 5, "short");
        check("too long", 5, "to…");
        check("größer", 6, "gr…"); // within the ö
        check("größer", 7, "grö…");
    }

    #[test]
    fn what_a_rule_says_itself_stays() {
        let mut told = firing(7);
        told.annotations.push(("value".to_owned(), "mine".to_owned()));
        let all = annotations(&told);
        let names: Vec<_> = all.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["summary", "runbook_url", "value", "threshold", "window", "squall_id"]);
        assert_eq!((&*all[2].1, &*all[5].1), ("mine", "abc-a7-firing"));
    }
}

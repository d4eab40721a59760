//! Slack's incoming webhooks: a message in blocks, and the same as plain text for notifications on a phone.
//!
//! Text from a log cannot call anybody or show a link: `&`, `<` and `>` are escaped, and Slack is told to look for nothing
//! in what is left (`verbatim`, `parse: none`), so that `@here` is five letters.
//! Limits: [`LISTED_MAX`] alerts are shown, the rest is counted; a section has [`SECTION_MAX`] bytes, which is less than the
//! 3,000 letters that Slack takes.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::text::{short, state_of, time};
use crate::engine::record::notification::Notification;

/// As many alerts are shown in one message.
const LISTED_MAX: usize = 10;
/// The longest section, in bytes.
const SECTION_MAX: usize = 2_900;
/// The longest header, in bytes; Slack takes 150 letters.
const HEADER_MAX: usize = 140;
/// The most bytes of one summary, before they are escaped: at worst each becomes five.
const SUMMARY_MAX: usize = 400;

/// The message that tells of `all`, which are of `group`, or of several groups.
pub(super) fn body(group: Option<&str>, all: &[&Notification]) -> Value {
    let header = header(group, all);
    let mut blocks = vec![
        json!({"type": "header", "text": {"type": "plain_text", "text": short(&header, HEADER_MAX), "emoji": false}}),
    ];
    for told in all.iter().take(LISTED_MAX) {
        blocks.push(json!({"type": "section", "text": mrkdwn(&section(told))}));
    }
    let mut context = match all.len().checked_sub(LISTED_MAX) {
        Some(more) if more > 0 => format!("and {more} more · "),
        _ => String::new(),
    };
    context.push_str(&ids(all));
    blocks.push(json!({"type": "context", "elements": [mrkdwn(&escaped(&context))]}));
    let lines = all.iter().take(LISTED_MAX).map(|told| line(told));
    let mut fallback: String = lines.collect::<Vec<_>>().join("\n");
    if all.len() > LISTED_MAX {
        let _ = write!(fallback, "\nand {} more", all.len() - LISTED_MAX); // a String takes every write
    }
    json!({
        "text": short(&fallback, SECTION_MAX),
        "blocks": blocks,
        "parse": "none",
        "link_names": false,
        "unfurl_links": false,
        "unfurl_media": false,
    })
}

fn mrkdwn(text: &str) -> Value {
    json!({"type": "mrkdwn", "text": short(text, SECTION_MAX), "verbatim": true})
}

/// `websocket: 2 alerts firing, 1 resolved`.
fn header(group: Option<&str>, all: &[&Notification]) -> String {
    let firing = all.iter().filter(|told| !told.is_resolved).count();
    let resolved = all.len() - firing;
    let what = match (firing, resolved) {
        (firing, 0) => format!("{} firing", alerts(firing)),
        (0, resolved) => format!("{} resolved", alerts(resolved)),
        (firing, resolved) => format!("{} firing, {resolved} resolved", alerts(firing)),
    };
    let sign = if state_of(all) == "firing" { '\u{1f525}' } else { '\u{2705}' };
    format!("{sign} {}: {what}", group.unwrap_or("several groups"))
}

fn alerts(number: usize) -> String {
    if number == 1 { "1 alert".to_owned() } else { format!("{number} alerts") }
}

/// An alert for the fallback, in one line.
fn line(told: &Notification) -> String {
    let severity = told.label("severity").map_or_else(String::new, |severity| format!("[{severity}] "));
    escaped(&format!("{severity}{} {}: {}", told.alert, told.state(), short(&told.summary, SUMMARY_MAX)))
}

/// An alert with what is known of it.
fn section(told: &Notification) -> String {
    let severity = told.label("severity").map_or_else(String::new, |severity| format!("[{severity}] "));
    let title = escaped(&short(&format!("{severity}{}", told.alert), 200));
    let mut text = format!("*{title}* {}\n{}\n", told.state(), escaped(&short(&told.summary, SUMMARY_MAX)));
    let mut facts = vec![format!("since {}", time(told.since))];
    if told.is_resolved {
        facts.push(format!("resolved {}", time(told.at)));
    }
    let against =
        told.threshold.as_ref().map_or_else(String::new, |threshold| format!(" against {threshold}"));
    facts.push(format!("value {}{against}", told.value));
    let shown =
        ["stream", "instance", "service"].into_iter().filter_map(|name| Some((name, told.label(name)?)));
    facts.extend(shown.map(|(name, value)| format!("{name} {}", short(value, 100))));
    text.push_str(&escaped(&facts.join(" · ")));
    if let Some(link) = runbook(told) {
        let _ = write!(text, " · <{link}|runbook>"); // a String takes every write
    }
    text
}

/// The runbook's address, where it is one that can stand in a link: a place in it may have been filled from a log.
fn runbook(told: &Notification) -> Option<String> {
    let (_, link) = told.annotations.iter().find(|(name, _)| name == "runbook_url")?;
    let is_plain = |letter: char| letter.is_ascii_graphic() && !"<>|\"'`".contains(letter);
    let is_link = link.starts_with("https://") || link.starts_with("http://");
    (is_link && link.len() <= 300 && link.chars().all(is_plain)).then(|| link.replace('&', "&amp;"))
}

/// The ids of those that are shown.
fn ids(all: &[&Notification]) -> String {
    let ids: Vec<String> = all.iter().take(LISTED_MAX).map(|told| told.id()).collect();
    format!("squall {}", ids.join(" "))
}

/// What Slack reads as letters and nothing else.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::text::tests::{firing, resolved};
    use super::*;

    #[test]
    fn one_alert_looks_like_this() {
        let want = r#"{"text":"[P1] RetryLoop firing: 12 time-outs of &lt;!channel&gt; &amp; \"x\"","blocks":[{"type":"header","text":{"type":"plain_text","text":"🔥 websocket: 1 alert firing","emoji":false}},{"type":"section","text":{"type":"mrkdwn","text":"*[P1] RetryLoop* firing\n12 time-outs of &lt;!channel&gt; &amp; \"x\"\nsince 2026-02-06T00:10:00.123Z · value 12 against 10 · stream gw · <https://wiki/retry|runbook>","verbatim":true}},{"type":"context","elements":[{"type":"mrkdwn","text":"squall abc-a7-firing","verbatim":true}]}],"parse":"none","link_names":false,"unfurl_links":false,"unfurl_media":false}"#;
        assert_eq!(body(Some("websocket"), &[&firing(7)]).to_string(), want);
    }

    #[test]
    fn the_header_counts() {
        #[track_caller]
        fn check(group: Option<&str>, all: &[&Notification], want: &str) {
            assert_eq!(body(group, all)["blocks"][0]["text"]["text"], want);
        }
        check(Some("a"), &[&resolved(1)], "✅ a: 1 alert resolved");
        check(Some("a"), &[&firing(1), &firing(2), &resolved(3)], "🔥 a: 2 alerts firing, 1 resolved");
        check(None, &[&resolved(1), &resolved(2)], "✅ several groups: 2 alerts resolved");
    }

    #[test]
    fn fault_079_many_alerts_are_counted_not_listed() {
        let many: Vec<_> = (1..=1_000).map(firing).collect();
        let body = body(None, &many.iter().collect::<Vec<_>>());
        let blocks = body["blocks"].as_array().expect("blocks");
        assert_eq!(blocks.len(), 12);
        assert!(body["text"].as_str().is_some_and(|text| text.ends_with("\nand 990 more")));
        let context = blocks[11]["elements"][0]["text"].as_str().expect("a text");
        assert!(context.starts_with("and 990 more · squall abc-a1-firing abc-a2-firing"), "{context}");
    }

    #[test]
    fn fault_082_text_from_a_log_calls_nobody_and_links_nowhere() {
        let evil = "<!channel> <@U1> <https://evil|bank> @here & &lt;!here&gt;".repeat(200);
        let mut told = firing(1);
        told.summary = evil.clone();
        told.annotations = vec![("runbook_url".to_owned(), format!("https://x/|{evil}"))];
        told.labels.push(("service".to_owned(), evil));
        let body = body(Some("<!channel>"), &[&told]);
        for block in body["blocks"].as_array().expect("blocks") {
            let texts = [&block["text"]["text"], &block["elements"][0]["text"]];
            for text in texts.into_iter().filter_map(Value::as_str) {
                assert!(text.len() <= SECTION_MAX, "{}", text.len());
                // A header is plain text, in which nothing is looked for.
                assert!(!text.contains('<') || block["type"] == "header", "{text}");
            }
        }
        assert_eq!(body["blocks"][1]["text"]["verbatim"], true);
        assert!(body["text"].as_str().is_some_and(|text| !text.contains('<')));
        assert_eq!((&body["parse"], &body["link_names"]), (&json!("none"), &json!(false)));
    }
}

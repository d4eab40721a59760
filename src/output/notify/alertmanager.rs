//! Alertmanager's API, version 2: the list of alerts as they stand now, told again while they do.
//!
//! Labels are identity and nothing else, so all that was measured stands in annotations. An alert that fires carries an
//! end in the future: should we die, Alertmanager resolves it then by itself.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::text::{annotations, time};
use crate::engine::record::notification::Notification;
use crate::units::Timestamp;

/// How often what fires, or has resolved not long ago, is told again.
pub(super) const RESEND_EVERY: Duration = Duration::from_secs(60);
/// How long what has resolved is told again.
pub(super) const RESOLVED_FOR: Duration = Duration::from_secs(300);
/// When an alert of which nothing more is heard ends: four times are missed then, as with Prometheus.
const FIRES_FOR: Duration = Duration::from_secs(240);

/// What is posted at `now`.
pub(super) fn body(all: &[&Notification], now: Timestamp) -> Value {
    all.iter().map(|told| alert(told, now)).collect()
}

fn alert(told: &Notification, now: Timestamp) -> Value {
    // Log time may be ahead of ours, and an end must not be before its beginning.
    let ends = if told.is_resolved { told.at.min(now) } else { now + FIRES_FOR };
    let starts = told.since.min(now).min(ends);
    let labels: Map<String, Value> =
        told.labels.iter().map(|(name, text)| (name.clone(), Value::from(text.as_str()))).collect();
    let annotations: Map<String, Value> =
        annotations(told).into_iter().map(|(name, text)| (name.to_owned(), Value::from(&*text))).collect();
    json!({"labels": labels, "annotations": annotations, "startsAt": time(starts), "endsAt": time(ends)})
}

#[cfg(test)]
mod tests {
    use super::super::text::tests::{firing, resolved};
    use super::*;

    const NOW: Timestamp = Timestamp(1_770_336_700_000_000_000);

    #[test]
    fn one_alert_looks_like_this() {
        let want = r#"[{"labels":{"alertgroup":"websocket","alertname":"RetryLoop","severity":"P1","stream":"gw"},"annotations":{"summary":"12 time-outs of <!channel> & \"x\"","runbook_url":"https://wiki/retry","value":"12","threshold":"10","window":"1m","squall_id":"abc-a7-firing"},"startsAt":"2026-02-06T00:10:00.123Z","endsAt":"2026-02-06T00:15:40.000Z"}]"#;
        assert_eq!(body(&[&firing(7)], NOW).to_string(), want);
    }

    #[test]
    fn ends_are_never_before_beginnings() {
        #[track_caller]
        fn check(told: &Notification, now: Timestamp, want: [&str; 2]) {
            let body = body(&[told], now);
            assert_eq!([&body[0]["startsAt"], &body[0]["endsAt"]], want.map(Value::from).each_ref());
        }
        check(&resolved(1), NOW, ["2026-02-06T00:10:00.123Z", "2026-02-06T00:11:10.000Z"]);
        let ahead = Timestamp(1_770_336_000_000_000_000); // the log's clock runs ten minutes ahead
        check(&resolved(1), ahead, ["2026-02-06T00:00:00.000Z", "2026-02-06T00:00:00.000Z"]);
        check(&firing(1), ahead, ["2026-02-06T00:00:00.000Z", "2026-02-06T00:04:00.000Z"]);
    }
}

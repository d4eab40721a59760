//! The JSON that Alertmanager sends to webhooks, version 4: whatever understands that understands us.
//!
//! Limit: alerts are listed up to [`LISTED_BYTES`] of text; the rest is counted (`truncatedAlerts`).

use serde_json::{Map, Value, json};

use super::text::{annotations, state_of, time};
use crate::engine::record::notification::{ALERTGROUP, Notification};

/// The most text of alerts in one message, in bytes before JSON's own.
const LISTED_BYTES: usize = 512 << 10;
/// What Alertmanager writes for "not yet".
const NEVER: &str = "0001-01-01T00:00:00Z";

/// The message that tells `receiver` of `all`, which are of `group`, or of several groups.
pub(super) fn body(receiver: &str, group: Option<&str>, all: &[&Notification]) -> Value {
    let mut room = LISTED_BYTES;
    let fits = |told: &&&Notification| {
        let left = room.checked_sub(told.size());
        room = left.unwrap_or_default();
        left.is_some()
    };
    let listed: Vec<&Notification> = all.iter().take_while(fits).copied().collect();
    let labels = listed.iter().map(|told| object(told.labels.iter().map(|(name, text)| (&**name, &**text))));
    let said = listed.iter().map(|told| annotations(told));
    let said = said.map(|all| object(all.iter().map(|(name, text)| (*name, &**text))));
    let group_labels = group.map_or_else(Map::new, |group| object([(ALERTGROUP, group)].into_iter()));
    json!({
        "version": "4",
        "groupKey": group.map_or_else(|| "{}:{}".to_owned(), |group| format!("{{}}:{{{ALERTGROUP}={group:?}}}")),
        "truncatedAlerts": all.len() - listed.len(),
        "status": state_of(all),
        "receiver": receiver,
        "groupLabels": group_labels,
        "commonLabels": common(labels),
        "commonAnnotations": common(said),
        "externalURL": "",
        "alerts": listed.iter().map(|told| alert(told)).collect::<Vec<_>>(),
    })
}

fn alert(told: &Notification) -> Value {
    json!({
        "status": told.state(),
        "labels": object(told.labels.iter().map(|(name, text)| (&**name, &**text))),
        "annotations": object(annotations(told).iter().map(|(name, text)| (*name, &**text))),
        "startsAt": time(told.since),
        "endsAt": if told.is_resolved { time(told.at) } else { NEVER.to_owned() },
        "generatorURL": "",
        "fingerprint": fingerprint(told),
    })
}

fn object<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Map<String, Value> {
    pairs.map(|(name, text)| (name.to_owned(), Value::from(text))).collect()
}

/// What all of them have, with the same value.
fn common(mut all: impl Iterator<Item = Map<String, Value>>) -> Map<String, Value> {
    let mut common = all.next().unwrap_or_default();
    for other in all {
        common.retain(|name, text| other.get(name) == Some(text));
    }
    common
}

/// As Prometheus and Alertmanager compute it: FNV-1a of the labels, sorted by name, each part with a byte behind it that no
/// text holds.
pub(super) fn fingerprint(told: &Notification) -> String {
    let parts = told.labels.iter().flat_map(|(name, text)| [name, text]);
    let bytes = parts.flat_map(|part| part.bytes().chain([0xff]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::super::text::tests::{firing, resolved};
    use super::*;

    #[test]
    fn one_alert_looks_like_this() {
        let want = r#"{"version":"4","groupKey":"{}:{alertgroup=\"websocket\"}","truncatedAlerts":0,"status":"firing","receiver":"webhook","groupLabels":{"alertgroup":"websocket"},"commonLabels":{"alertgroup":"websocket","alertname":"RetryLoop","severity":"P1","stream":"gw"},"commonAnnotations":{"summary":"12 time-outs of <!channel> & \"x\"","runbook_url":"https://wiki/retry","value":"12","threshold":"10","window":"1m","squall_id":"abc-a7-firing"},"externalURL":"","alerts":[{"status":"firing","labels":{"alertgroup":"websocket","alertname":"RetryLoop","severity":"P1","stream":"gw"},"annotations":{"summary":"12 time-outs of <!channel> & \"x\"","runbook_url":"https://wiki/retry","value":"12","threshold":"10","window":"1m","squall_id":"abc-a7-firing"},"startsAt":"2026-02-06T00:10:00.123Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"","fingerprint":"FINGERPRINT"}]}"#;
        let want = want.replace("FINGERPRINT", &fingerprint(&firing(7)));
        assert_eq!(body("webhook", Some("websocket"), &[&firing(7)]).to_string(), want);
    }

    #[test]
    fn what_is_common_is_said_once_more() {
        let mut other = firing(8);
        other.labels[3].1 = "other".to_owned();
        let body = body("webhook", None, &[&resolved(7), &other]);
        assert_eq!(body["status"], "firing");
        assert_eq!(
            body["commonLabels"],
            json!({"alertgroup": "websocket", "alertname": "RetryLoop", "severity": "P1"})
        );
        assert_eq!(body["commonAnnotations"].as_object().map(Map::len), Some(4));
        assert_eq!((&body["groupKey"], &body["groupLabels"]), (&json!("{}:{}"), &json!({})));
        assert_eq!(body["alerts"][0]["endsAt"], "2026-02-06T00:11:10.000Z");
    }

    #[test]
    fn fault_079_what_is_too_much_is_counted() {
        let long = |episode| Notification { summary: "x".repeat(10_000), ..firing(episode) };
        let many: Vec<_> = (0..100).map(long).collect();
        let body = body("webhook", Some("a"), &many.iter().collect::<Vec<_>>());
        let listed = body["alerts"].as_array().map_or(0, Vec::len);
        assert!((40..60).contains(&listed), "{listed}");
        assert_eq!(body["truncatedAlerts"], 100 - listed);
    }

    /// Nothing hashed is FNV's basis. That the rest is as theirs is asked of a real Alertmanager in `tests/daemon/notify.rs`.
    #[test]
    fn fingerprints_are_those_of_prometheus() {
        let of = |labels: &[(&str, &str)]| {
            let labels = labels.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
            fingerprint(&Notification { labels, ..Notification::default() })
        };
        assert_eq!(of(&[]), "cbf29ce484222325");
        assert_ne!(of(&[("a", "bc")]), of(&[("ab", "c")]));
    }
}

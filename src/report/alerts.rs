//! Which rules of the config fired and when, in the words that all forms share.

use super::{date_time, duration};
use crate::engine::alert::{Episode, span};
use crate::engine::chronicle::story::AlertsStory;
use crate::units::grouped;

/// A firing as a row of a table: what, from when, until when, how bad.
pub(super) struct Row {
    /// `[P1] WebSocketRetryLoop`, and the stream where each is judged by itself.
    pub(super) name: String,
    pub(super) fired: String,
    pub(super) resolved: String,
    /// `at worst 240, threshold 10 in 1m`.
    pub(super) how: String,
}

impl Row {
    pub(super) fn of(episode: &Episode) -> Row {
        let view = &episode.view;
        let severity = view.severity.as_ref().map_or_else(String::new, |severity| format!("[{severity}] "));
        let stream = view.stream.as_ref().map_or_else(String::new, |stream| format!(" of {stream}"));
        let resolved = match episode.resolved {
            Some(at) => format!("{} (after {})", date_time(at), duration(at.since(view.at))),
            None => "not in this log".to_owned(),
        };
        let threshold =
            view.threshold.map_or_else(String::new, |limit| format!(", threshold {}", view.shown(limit)));
        let window = view.window.map_or_else(String::new, |window| format!(" in {}", span(window)));
        Row {
            name: format!("{severity}{}{stream}", view.name),
            fired: date_time(view.at),
            resolved,
            how: format!("at worst {}{threshold}{window}", view.shown(episode.peak)),
        }
    }
}

/// One sentence about the rules that did not fire; `None` where all did.
pub(super) fn silent(alerts: &AlertsStory) -> Option<String> {
    if alerts.silent.is_empty() {
        return None;
    }
    let shown = alerts.silent.len().min(NAMES);
    let names: Vec<&str> = alerts.silent[..shown].iter().map(|name| &**name).collect();
    let more = match alerts.silent.len() - shown {
        0 => String::new(),
        more => format!(" and {} more", grouped(more as u64)),
    };
    let all = grouped(alerts.rules as u64);
    Some(format!(
        "{} of {all} rules did not fire: {}{more}",
        grouped(alerts.silent.len() as u64),
        names.join(", ")
    ))
}

/// Firings that are not remembered any more; `None` where all are.
pub(super) fn beyond(alerts: &AlertsStory) -> Option<String> {
    (alerts.beyond > 0).then(|| format!("{} earlier firings are only counted", grouped(alerts.beyond)))
}

/// Names of silent rules that are told.
const NAMES: usize = 50;

//! What is going on now, for people who look: sizes of everything that is open, and the largest storms.

use super::{Core, Stream};
use crate::engine::template::mask::TemplateId;
use crate::units::{Lines, Timestamp};

/// How much of everything there is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Streams whose source is open, or waited for.
    pub streams: u64,
    /// Entries, (stream, template), that are tracked.
    pub templates: u64,
    /// Entries that are storming.
    pub storms: u64,
    /// Entries whose lines are folded, storming or repeating.
    pub episodes: u64,
    /// Loops that are open.
    pub loops: u64,
    /// Alerts that fire.
    pub alerts: u64,
}

/// An open episode as people see it.
#[derive(Clone, Debug, PartialEq)]
pub struct StormView {
    /// The name of its stream.
    pub stream: String,
    /// Its template.
    pub template: TemplateId,
    /// Its number.
    pub episode: u64,
    /// Why it is storming (`rate`, `burst`); `None` where only repeats are folded.
    pub storm: Option<&'static str>,
    /// When the first line was written that was folded.
    pub began: Timestamp,
    /// When the last one was.
    pub last: Timestamp,
    /// All lines since it began, verbatim ones included.
    pub total: Lines,
    /// Lines that are folded and not told yet.
    pub open: Lines,
    /// Lines a second over the last ten.
    pub per_second: f64,
    /// The text of one of its lines, or the pattern of a family; up to 512 bytes.
    pub text: String,
}

impl Core {
    /// Counts what is open. Looks at each stream, at each episode, and at each series of a rule.
    pub fn activity(&self) -> Activity {
        Activity {
            streams: (self.streams.len() - self.vacant.len()) as u64,
            templates: self.catalog.len() as u64,
            storms: self.storms.storming() as u64,
            episodes: self.storms.open().len() as u64,
            loops: self.streams.iter().map(Stream::loops_open).sum(),
            alerts: self.alerts.firing(),
        }
    }

    /// The `most` open episodes with the most lines, storms before repeats.
    pub fn storms(&self, most: usize) -> Vec<StormView> {
        let shown = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        let view = |open: &crate::engine::storm::view::OpenEpisode<'_>| {
            let entry = self.catalog.entry(open.entry);
            let pattern = entry.as_family().map(|family| shown(&family.shown()));
            StormView {
                stream: self.streams[entry.stream as usize].envelope.key.to_string(),
                template: entry.template,
                episode: open.episode,
                storm: open.storm.map(|storm| storm.as_str()),
                began: open.began,
                last: open.last,
                total: open.total,
                open: open.open,
                per_second: open.per_second,
                text: pattern.unwrap_or_else(|| shown(open.text)),
            }
        };
        self.storms.largest(most).iter().map(view).collect()
    }
}

impl Stream {
    fn loops_open(&self) -> u64 {
        self.cycle.open_count() as u64
    }
}

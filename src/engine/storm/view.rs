//! What is folded now, for people who look.

use super::{Storm, Storms};
use crate::engine::template::catalog::EntryId;
use crate::units::{Lines, Timestamp};

/// An episode that is open.
#[derive(Clone, Copy, Debug)]
pub struct OpenEpisode<'a> {
    /// Its entry.
    pub entry: EntryId,
    /// Its number.
    pub episode: u64,
    /// Why the entry is storming, if it is: repeats are folded without a storm.
    pub storm: Option<Storm>,
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
    /// The text of a folded line.
    pub text: &'a [u8],
}

impl Storms {
    /// How many entries are storming.
    pub fn storming(&self) -> usize {
        self.open.iter().filter(|entry| self.is_storming(**entry)).count()
    }

    /// The `most` open episodes that matter most: storms before repeats, those with most lines first.
    pub fn largest(&self, most: usize) -> Vec<OpenEpisode<'_>> {
        let mut all: Vec<OpenEpisode<'_>> = self.open.iter().filter_map(|entry| self.view(*entry)).collect();
        let rank = |episode: &OpenEpisode<'_>| (episode.storm.is_none(), std::cmp::Reverse(episode.total));
        if all.len() > most {
            all.select_nth_unstable_by_key(most, rank);
            all.truncate(most);
        }
        all.sort_by_key(rank);
        all
    }

    fn view(&self, entry: EntryId) -> Option<OpenEpisode<'_>> {
        let state = &self.states[entry.0 as usize];
        let episode = state.episode.as_ref()?;
        Some(OpenEpisode {
            entry,
            episode: episode.id,
            storm: state.storm,
            began: episode.began,
            last: episode.window.last,
            total: episode.total,
            open: episode.window.count,
            per_second: f64::from(state.rate.in_window()) / super::rate::WINDOW as f64,
            text: &episode.window.text,
        })
    }
}

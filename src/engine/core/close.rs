//! The end of windows, episodes and entries.
//!
//! Invariant: whatever closes a window, its summary is written in the same breath.

use super::{Core, SHARE, label};
use crate::engine::state::EpisodeKey;
use crate::engine::storm::window::ClosedBy;
use crate::engine::template::catalog::EntryId;

impl Core {
    /// Closes `SHARE` windows at most. True when none is left.
    pub fn finish_some(&mut self, closed_by: ClosedBy) -> bool {
        if self.leaving.is_empty() {
            // In the order in which the entries were made, so that two runs over the same bytes end alike.
            self.leaving.extend_from_slice(self.storms.open());
            self.leaving.sort_unstable_by(|a, b| b.cmp(a));
        }
        for _ in 0..SHARE {
            let Some(entry) = self.leaving.pop() else { break };
            self.close(entry, closed_by);
        }
        // Lines that came between two shares may have opened others.
        self.leaving.is_empty()
            && self.storms.open().is_empty()
            && self.tell_floods(None)
            && self.end_loops(closed_by)
    }

    pub(super) fn close(&mut self, entry: EntryId, closed_by: ClosedBy) {
        let known = self.catalog.entry(entry);
        let stream = &mut self.streams[known.stream as usize];
        let (encoder, summaries, chronicle) = (&mut self.encoder, &mut self.summaries, &mut self.chronicle);
        let has_gone = self.storms.close(entry, closed_by, |summary| {
            if let Some(chronicle) = chronicle {
                chronicle.window(entry, summary);
            }
            // One that joined in the middle of the window may have put variables into other places.
            if known.as_family().is_some_and(|family| !family.is_aligned) {
                summary.values.clear();
            }
            encoder.summary(&stream.envelope, summary, label(known, summary.text), known.as_family());
            stream.account.summarised += summary.count;
            *summaries += 1;
        });
        if has_gone {
            self.episodes_gone.insert(EpisodeKey {
                stream: stream.envelope.key.to_string(),
                template: known.template,
                parse_error: known.parse_error.is_some(),
            });
        }
    }

    pub(super) fn evict(&mut self, entry: EntryId, closed_by: ClosedBy) {
        self.close(entry, closed_by);
        let stream = self.catalog.entry(entry).stream as usize;
        self.streams[stream].cycle.forget(entry);
        self.catalog.evict(entry);
    }
}

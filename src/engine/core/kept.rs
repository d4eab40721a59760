//! What the engine keeps over a restart: handing it out.
//!
//! Invariant: the columns balance by themselves, whatever the details say.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Core, Stream, StreamId, detail};
use crate::engine::frame::{Format, IoStream};
use crate::engine::ledger::Account;
use crate::engine::line::kept::{KeptClock, KeptPieces};
use crate::engine::line::multiline::kept::KeptTrace;
use crate::engine::record::envelope::Place;
use crate::engine::state::{Changes, Refill, StreamState};
use crate::engine::storm::kept::{KeptFlood, Numbers};
use crate::units::{Lines, Now};

/// What earlier stages know of a stream.
pub struct Parts<'a> {
    /// Its standard stream.
    pub iostream: IoStream,
    /// Where its lines come from.
    pub place: &'a Place,
    /// The format of its source, once it is known: in the middle of a file nobody could tell.
    pub format: Format,
    /// Its clock.
    pub clock: KeptClock,
    /// The pieces of its unfinished line.
    pub pieces: Option<KeptPieces<'a>>,
    /// The trace whose end is not known yet.
    pub trace: Option<KeptTrace<'a>>,
}

/// [`StreamState::detail`].
#[derive(Serialize, Deserialize)]
pub(super) struct StreamDetail<'a> {
    pub(super) iostream: IoStream,
    pub(super) place: Cow<'a, Place>,
    pub(super) format: Format,
    pub(super) clock: KeptClock,
    #[serde(borrow)]
    pub(super) pieces: Option<KeptPieces<'a>>,
    pub(super) trace: Option<KeptTrace<'a>>,
    pub(super) novelty: Option<KeptFlood>,
    pub(super) shed: Option<KeptFlood>,
}

/// What was known of a stream when it was last handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) account: Account,
    pub(super) held_back: Lines,
    /// Changes where loops did without a line.
    pub(super) loops: u64,
}

impl Core {
    /// Whether the books of a stream have changed since they were last handed out.
    pub fn has_news(&self, id: StreamId) -> bool {
        let stream = &self.streams[id.0 as usize];
        stream.told != Some(stream.telling())
    }

    /// Hands out one stream.
    pub fn hand_out(&mut self, id: StreamId, parts: &Parts<'_>, now: Now, state: &mut StreamState) {
        let stream = &mut self.streams[id.0 as usize];
        if stream.told.is_none() {
            self.streams_gone.remove(&*stream.envelope.key);
        }
        stream.hand_out(parts, now, state);
    }

    /// Hands out the streams that wait for their sources.
    pub fn hand_out_unclaimed(&mut self, now: Now, states: &mut Refill<'_, StreamState>) {
        for left in self.unclaimed.streams.values() {
            let stream = &mut self.streams[left.stream.0 as usize];
            if stream.told == Some(stream.telling()) {
                continue;
            }
            let parts = Parts {
                iostream: left.iostream.unwrap_or_default(),
                place: &left.place,
                format: left.format,
                clock: left.clock,
                pieces: left.held.as_ref().map(|held| held.kept()),
                trace: left.trace.as_ref().map(|trace| trace.kept()),
            };
            stream.hand_out(&parts, now, states.next());
        }
    }

    /// Hands out all else: episodes, what is gone, and the totals but for the bytes read.
    pub fn checkpoint(&mut self, now: Now, changes: &mut Changes) {
        let (catalog, streams, gone) = (&self.catalog, &self.streams, &mut self.episodes_gone);
        let mut episodes = Refill::new(&mut changes.episodes);
        self.storms.hand_out(now, |entry, numbers, kept, is_first| {
            let entry = catalog.entry(entry);
            let state = episodes.next();
            state.key.stream.clear();
            state.key.stream.push_str(&streams[entry.stream as usize].envelope.key);
            state.key.template = entry.template;
            state.key.parse_error = entry.parse_error.is_some();
            if is_first {
                gone.remove(&state.key);
            }
            let Numbers { episode, window, count, total, first, last } = numbers;
            (state.episode, state.window, state.count, state.total) = (episode, window, count, total);
            (state.first, state.last) = (first, last);
            // What later versions know comes last, where earlier ones do not look.
            detail::write(&((entry.kept(), kept.0), kept.1), &mut state.detail);
        });
        episodes.finish();
        changes.episodes_gone.clear();
        changes.episodes_gone.extend(self.episodes_gone.drain());
        changes.streams_gone.clear();
        changes.streams_gone.extend(self.streams_gone.drain());
        self.alerts.hand_out(now, &mut changes.alerts, &mut changes.alerts_gone);
        let totals = &mut changes.totals;
        (totals.past, totals.noticed) = (self.past, self.noticed);
        totals.limited = self.lines_limited();
        totals.limit = self.storms.throttle.as_ref().map(|throttle| throttle.kept(now)).unwrap_or_default();
        totals.bytes_out = self.encoder.bytes_out().0;
        totals.next_seq = self.encoder.next_seq();
        (totals.summaries, totals.notices) = (self.summaries, self.notices);
        (totals.templates, totals.loops) = (self.catalog.ever(), self.loops.ever());
        totals.alerts = self.alerts.ever();
        (totals.next_episode, totals.next_window) = self.storms.next_numbers();
    }
}

impl Stream {
    fn telling(&self) -> Told {
        Told { account: self.account, held_back: self.held_back(), loops: self.cycle.revision() }
    }

    fn hand_out(&mut self, parts: &Parts<'_>, now: Now, state: &mut StreamState) {
        self.told = Some(self.telling());
        state.key.clear();
        state.key.push_str(&self.envelope.key);
        state.account = self.account;
        state.held_back = self.held_back();
        state.partial = Lines(u64::from(parts.pieces.is_some() || parts.trace.is_some()));
        let detail = StreamDetail {
            iostream: parts.iostream,
            place: Cow::Borrowed(parts.place),
            format: parts.format,
            clock: parts.clock,
            pieces: parts.pieces,
            trace: parts.trace,
            novelty: self.novelty.kept(now),
            shed: self.shed.kept(now),
        };
        // Behind the rest, where a version of this program that knows of no loops, or no topics, does not look.
        let topic = self.envelope.topic.as_deref();
        detail::write(&(detail, self.cycle.kept(now), topic), &mut state.detail);
    }
}

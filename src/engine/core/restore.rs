//! What the engine keeps over a restart: being rebuilt from it.
//!
//! Invariant: the books balance on both sides. Whatever cannot be read, the numbers in the columns are honoured: lines
//! are told with as much as is known of them, never forgotten.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::kept::{StreamDetail, Told};
use super::unclaimed::Left;
use super::{Core, Options, StreamId, detail};
use crate::engine::cycle::kept::KeptCycle;
use crate::engine::frame::{self, Format};
use crate::engine::ledger::{Account, Noticed};
use crate::engine::line::kept::KeptClock;
use crate::engine::record::encode::Encoder;
use crate::engine::record::{Lost, Notice, Reason};
use crate::engine::state::{Changes, EpisodeKey, EpisodeState, StreamState, Totals};
use crate::engine::storm::Folding;
use crate::engine::storm::kept::{KeptEpisode, KeptMore, Numbers};
use crate::engine::storm::throttle::Throttle;
use crate::engine::storm::window::ClosedBy;
use crate::engine::template::kept::{KeptEntry, Returned};
use crate::units::{Bytes, Lines, Now};

impl Core {
    /// A core that goes on where `changes` were handed out. What could not be understood is told in `complaints`.
    pub fn restore(options: Options, mut changes: Changes, now: Now, complaints: &mut Vec<String>) -> Core {
        tame(&mut changes);
        let Options { lane, record_max, .. } = options;
        let mut core = Core::new(options);
        let totals = changes.totals;
        core.encoder = Encoder::new(lane, totals.next_seq.max(1), record_max);
        core.encoder.carry_in(Bytes(totals.bytes_out));
        (core.past, core.noticed, core.limited) = (totals.past, totals.noticed, totals.limited);
        core.storms.throttle = Throttle::take_back(totals.limit, now).map(Box::new);
        (core.summaries, core.notices) = (totals.summaries, totals.notices);
        core.catalog.carry_in(totals.templates);
        core.loops.carry_in(totals.loops);
        core.alerts.carry_in(totals.alerts);
        core.storms.carry_in(totals.next_episode, totals.next_window);
        core.unclaimed.since = now;
        for state in changes.streams.iter().chain(&missing_streams(&changes)) {
            core.take_back_stream(state, now, complaints);
        }
        for state in &changes.episodes {
            core.take_back_episode(state, now, complaints);
        }
        for state in &changes.alerts {
            if !core.take_back_alert(state, now) {
                complaints.push(format!("what was kept of the alert {} cannot be read", state.key.rule));
            }
        }
        let error = core.ledger().conservation_error;
        if error != 0 {
            complaints.push(format!("{error} lines are missing from what was kept, or there twice"));
        }
        core
    }

    fn take_back_stream(&mut self, state: &StreamState, now: Now, complaints: &mut Vec<String>) {
        let parts =
            detail::read_parts::<StreamDetail<'_>, Option<KeptCycle<'_>>, Option<&str>>(&state.detail);
        let (detail, loops, topic) =
            parts.map_or((None, None, None), |(detail, loops, topic)| (Some(detail), loops, topic.flatten()));
        let mut place = detail.as_ref().map(|detail| detail.place.clone().into_owned()).unwrap_or_default();
        place.topic = topic.map(Arc::from);
        let iostream = detail.as_ref().map(|detail| detail.iostream);
        let id = self.open_stream(&state.key, iostream.unwrap_or_default(), &place, Folding::default());
        let stream = &mut self.streams[id.0 as usize];
        stream.account = state.account;
        stream.cycle.take_back(loops.flatten(), now, &mut self.loops);
        let loops = stream.cycle.revision();
        stream.told = Some(Told { account: state.account, held_back: state.held_back, loops });
        let mut left = Left {
            stream: id,
            iostream,
            place,
            format: Format::Auto,
            clock: KeptClock::default(),
            held: None,
            trace: None,
        };
        match detail {
            Some(detail) => {
                left.format = detail.format;
                left.clock = detail.clock;
                left.held = detail.pieces.map(|pieces| Box::new(pieces.into()));
                left.trace = detail.trace.map(|trace| Box::new(trace.into()));
                self.unclaimed.hold_traces |= left.trace.is_some();
                detail.novelty.into_iter().for_each(|flood| stream.novelty.take_back(flood, now));
                detail.shed.into_iter().for_each(|flood| stream.shed.take_back(flood, now));
                let due = stream.novelty.deadline().into_iter().chain(stream.shed.deadline());
                self.next_flood = due.chain(self.next_flood).min();
            }
            None => {
                complaints.push(format!("what was kept of the stream {} cannot be read", state.key));
                self.tell_unreadable(id, state, now);
            }
        }
        self.unclaimed.streams.insert(state.key.clone(), left);
    }

    /// Says what is lost with the details of a stream: the texts of lines that were held back, and pieces.
    fn tell_unreadable(&mut self, id: StreamId, state: &StreamState, now: Now) {
        if state.held_back == Lines(0) && state.partial == Lines(0) {
            return;
        }
        let stream = &mut self.streams[id.0 as usize];
        let message = format!(
            "{} lines that were held back are known by their number alone; {} unfinished lines are lost",
            state.held_back, state.partial
        );
        let lost = Lost { lines: Some(state.partial), ..Lost::default() };
        let notice = Notice::of_loss(Reason::StoreDamaged, message, lost, now.wall);
        self.encoder.notice(&stream.envelope, &Notice { count: state.held_back, ..notice });
        stream.account.noticed += state.held_back;
        self.noticed.count(Reason::StoreDamaged, state.held_back);
        self.notices += 1;
    }

    fn take_back_episode(&mut self, state: &EpisodeState, now: Now, complaints: &mut Vec<String>) {
        let EpisodeKey { stream, template, parse_error } = &state.key;
        type Kept<'a> = (KeptEntry<'a>, KeptEpisode<'a>);
        let detail = detail::read_extended::<Kept<'_>, KeptMore>(&state.detail);
        if detail.is_none() {
            complaints.push(format!("what was kept of template {template} in {stream} cannot be read"));
        }
        let Some(left) = self.unclaimed.streams.get(stream) else { return };
        let (detail, more) = detail.unzip();
        let (entry, episode) = detail.unzip();
        let entry = entry.unwrap_or_default();
        let returned = Returned {
            stream: left.stream.0,
            template: *template,
            parse_error: parse_error.then(|| frame::parse_error(entry.parse_error.unwrap_or_default())),
        };
        if let Some(victim) = self.catalog.victim() {
            self.evict(victim, ClosedBy::Evicted);
        }
        let Some(entry) = self.catalog.take_back(returned, entry) else { return };
        let EpisodeState { window, count, total, first, last, .. } = *state;
        // No window has the number 0: it stands for an episode that has folded nothing.
        let numbers = Numbers { episode: state.episode, window: window.max(1), count, total, first, last };
        self.storms.take_back(entry, numbers, (episode.as_ref(), more.flatten()), now);
        if episode.is_none() {
            self.evict(entry, ClosedBy::Shutdown);
        }
    }
}

/// Numbers that nobody counted up to, only damage: cut, so that sums of them do not overflow. That the books do not
/// balance then is found out like any other damage.
fn tame(changes: &mut Changes) {
    const MOST: u64 = 1 << 48; // three million lines a second, for three years
    let account = |Account { received, verbatim, summarised, noticed }: &mut Account| {
        [received, verbatim, summarised, noticed].into_iter().for_each(|lines| lines.0 = lines.0.min(MOST));
    };
    for stream in &mut changes.streams {
        account(&mut stream.account);
        stream.held_back.0 = stream.held_back.0.min(MOST);
    }
    for episode in &mut changes.episodes {
        episode.count.0 = episode.count.0.min(MOST);
        episode.total.0 = episode.total.0.min(MOST);
    }
    let Totals {
        past,
        noticed: Noticed { novelty_flood, shed, store_damaged },
        limited,
        limit: _,
        bytes_in,
        bytes_out,
        summaries,
        notices,
        templates,
        loops,
        alerts,
        next_episode,
        next_window,
        next_seq,
    } = &mut changes.totals;
    account(past);
    [novelty_flood, shed, store_damaged, limited].into_iter().for_each(|lines| lines.0 = lines.0.min(MOST));
    let counts = [bytes_in, bytes_out, summaries, notices, templates, loops, alerts];
    for number in counts.into_iter().chain([next_episode, next_window, next_seq]) {
        *number = (*number).min(u64::MAX / 2);
    }
}

/// The streams of episodes whose own row is lost. Of their books only the lines in those episodes are known.
fn missing_streams(changes: &Changes) -> Vec<StreamState> {
    let known: HashSet<&str> = changes.streams.iter().map(|state| state.key.as_str()).collect();
    let mut missing: BTreeMap<&str, Lines> = BTreeMap::new();
    for episode in &changes.episodes {
        if !known.contains(episode.key.stream.as_str()) {
            *missing.entry(&episode.key.stream).or_default() += episode.count;
        }
    }
    let state = |(key, received): (&str, Lines)| StreamState {
        key: key.to_owned(),
        account: Account { received, ..Account::default() },
        ..StreamState::default()
    };
    missing.into_iter().map(state).collect()
}

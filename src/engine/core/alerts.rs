//! Alerts: which lines and loops the rules are asked about, and the records of what they say.

use std::sync::Arc;

use super::{Clock, Core, Options, Stream, StreamId, detail, plain};
use crate::engine::alert::container::Used;
use crate::engine::alert::kept::{KeptRule, KeptSeries, Whose, over};
use crate::engine::alert::{AlertView, Alerts, Episode, Seen};
use crate::engine::chronicle::story::AlertsStory;
use crate::engine::frame::IoStream;
use crate::engine::line::Line;
use crate::engine::record::LaneId;
use crate::engine::record::envelope::{Container, Envelope, Place};
use crate::engine::record::identity::Identity;
use crate::engine::record::notification::Notification;
use crate::engine::state::{AlertKey, AlertState, Refill};
use crate::units::{Monotonic, Now};

/// The rules, if there are any.
#[derive(Debug)]
pub(super) struct Watching {
    /// Boxed, because most have none.
    pub(super) alerts: Option<Box<Alerts>>,
    /// Loops have opened, changed or closed since the rules looked at them.
    loops_changed: bool,
    /// The Kafka topic that gets a copy of each record.
    topic: Option<Arc<str>>,
    /// Firings of earlier processes, where there are no rules now.
    carried: u64,
    /// What was kept of rules that are no more.
    unwanted: Vec<AlertKey>,
    /// What people are to be told; `None` where nobody is.
    notifications: Option<Vec<Notification>>,
    /// Firings that people are not told of, because too many began in one breath.
    unheard: u64,
}

impl Whose<'_> {
    fn write(&self, key: &mut AlertKey) {
        let (group, rule) = self.rule;
        for (text, part) in [(&mut key.group, group), (&mut key.rule, rule), (&mut key.stream, self.stream)] {
            text.clear();
            text.push_str(part);
        }
    }
}

/// What became of a series that was kept.
enum TakenBack {
    GoesOn,
    /// No rule wants it; what is told if it fires.
    Unwanted(Option<Box<AlertView>>),
    Unreadable,
}

/// Episodes that are remembered live, for who asks, and where a report is written.
const TOLD_LIVE: usize = 64;
const TOLD_REPORTED: usize = 1_000;
/// Firings that people are told of between two [`Core::take_notifications`]: more would be remembered by nobody.
const NOTIFICATIONS_MAX: usize = 1_000;

impl Watching {
    pub(super) fn new(options: &Options) -> Watching {
        let Options { alerts: rules, alerts_topic: topic, seed, chronicle: is_reported, .. } = options;
        let told_max = if *is_reported { TOLD_REPORTED } else { TOLD_LIVE };
        let alerts = (!rules.is_empty()).then(|| Box::new(Alerts::new(rules, *seed, told_max)));
        Watching {
            alerts,
            loops_changed: false,
            topic: topic.clone(),
            carried: 0,
            unwanted: Vec::new(),
            notifications: options.notifies.then(Vec::new),
            unheard: 0,
        }
    }

    /// Keeps what `view` says for people. The end of a firing is always kept: there are no more ends than firings.
    fn notify(&mut self, view: &AlertView, lane: LaneId, identity: &Identity) {
        let Some(notifications) = &mut self.notifications else { return };
        if notifications.len() >= NOTIFICATIONS_MAX && !view.is_resolved {
            self.unheard += 1;
            return;
        }
        notifications.push(Notification::new(view, lane, identity));
    }

    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.alerts.is_some()
    }

    pub(super) fn loops_changed(&mut self) {
        self.loops_changed = self.alerts.as_ref().is_some_and(|alerts| alerts.has_loop_rules());
    }

    pub(super) fn carry_in(&mut self, ever: u64) {
        match &mut self.alerts {
            Some(alerts) => alerts.carry_in(ever),
            None => self.carried = ever,
        }
    }

    pub(super) fn ever(&self) -> u64 {
        self.alerts.as_ref().map_or(self.carried, |alerts| alerts.ever())
    }

    pub(super) fn firing(&self) -> u64 {
        self.alerts.as_ref().map_or(0, |alerts| alerts.firing().count() as u64)
    }

    /// Hands out what has changed, and what is gone.
    pub(super) fn hand_out(&mut self, now: Now, states: &mut Vec<AlertState>, gone: &mut Vec<AlertKey>) {
        gone.clear();
        gone.append(&mut self.unwanted);
        let mut states = Refill::new(states);
        if let Some(alerts) = &mut self.alerts {
            alerts.hand_out_gone(|whose| {
                let mut key = AlertKey::default();
                whose.write(&mut key);
                gone.push(key);
            });
            let sink = &mut |whose: Whose<'_>, kept: &KeptSeries<'_>, rule: Option<KeptRule<'_>>| {
                let state = states.next();
                whose.write(&mut state.key);
                detail::write(&(kept, rule), &mut state.detail);
                // What begins anew in the same epoch is only here.
                gone.retain(|gone| *gone != state.key);
            };
            alerts.hand_out(now, sink);
        }
        states.finish();
    }

    /// Takes back what was kept. What no rule wants any more is to be forgotten, and to be told if it fires.
    fn take_back(&mut self, state: &AlertState, now: Now) -> TakenBack {
        let AlertKey { group, rule, stream } = &state.key;
        let whose = Whose { rule: (group, rule), stream };
        let parts = detail::read_extended::<KeptSeries<'_>, Option<KeptRule<'_>>>(&state.detail);
        let Some((kept, rule)) = parts else {
            self.unwanted.push(state.key.clone());
            return TakenBack::Unreadable;
        };
        let over = rule.flatten().and_then(|rule| over(whose, &kept, rule, now.wall));
        if self.alerts.as_mut().is_some_and(|alerts| alerts.take_back(whose, kept, now)) {
            return TakenBack::GoesOn;
        }
        self.unwanted.push(state.key.clone());
        TakenBack::Unwanted(over.map(Box::new))
    }

    /// Whether the rules must be asked by `now` although no line comes.
    pub(super) fn is_due(&self, clock: Clock, now: Monotonic) -> bool {
        self.loops_changed || self.deadline(clock).is_some_and(|due| due <= now)
    }

    /// When the rules want to be asked although no line comes. Before the first line, old files have no time.
    pub(super) fn deadline(&self, clock: Clock) -> Option<Monotonic> {
        self.alerts.as_ref().filter(|alerts| clock == Clock::Arrival || alerts.has_begun())?.deadline()
    }

    pub(super) fn size(&self) -> usize {
        self.alerts.as_ref().map_or(0, |alerts| alerts.size())
    }
}

impl Core {
    /// Asks the rules about a line, whatever becomes of it.
    pub(super) fn judge(&mut self, id: StreamId, line: &Line<'_>, now: Now) {
        let Some(alerts) = &mut self.alerts.alerts else { return };
        let stream = &mut self.streams[id.0 as usize];
        let seen = seen(stream, line, now);
        if stream.began.is_none() {
            alerts.on_stream(&seen);
        }
        alerts.on_line(&seen);
        stream.began.get_or_insert(line.log_time);
        if alerts.has_news() {
            self.tell_alerts();
        }
    }

    /// Asks them about the first line of a template in its stream.
    pub(super) fn judge_new(&mut self, id: StreamId, line: &Line<'_>, now: Now) {
        let Some(alerts) = &mut self.alerts.alerts else { return };
        let stream = &self.streams[id.0 as usize];
        alerts.on_new(&seen(stream, line, now), stream.began.unwrap_or(line.log_time));
        if alerts.has_news() {
            self.tell_alerts();
        }
    }

    /// Asks them about the loops that are open now.
    #[cold]
    pub(super) fn judge_loops(&mut self, now: Now) {
        let Some(alerts) = self.alerts.alerts.as_mut().filter(|alerts| alerts.has_loop_rules()) else {
            return;
        };
        self.alerts.loops_changed = false;
        let loops: Vec<_> = self.streams.iter().flat_map(Stream::loops).collect();
        alerts.on_loops(&loops, now.arrival);
        drop(loops);
        if self.alerts.alerts.as_ref().is_some_and(|alerts| alerts.has_news()) {
            self.tell_alerts();
        }
    }

    /// A stream has ended.
    pub(super) fn judge_end(&mut self, id: StreamId) {
        let Some(alerts) = &mut self.alerts.alerts else { return };
        alerts.on_stream_end(&self.streams[id.0 as usize].envelope.key);
        if alerts.has_news() {
            self.tell_alerts();
        }
    }

    /// Asks them what silence means.
    #[cold]
    pub(super) fn judge_silence(&mut self, now: Now) {
        let Some(alerts) = &mut self.alerts.alerts else { return };
        alerts.on_deadline(now.arrival, now.wall);
        if self.alerts.loops_changed || alerts.wants_loops(now.arrival) {
            self.judge_loops(now);
        }
        if self.alerts.alerts.as_ref().is_some_and(|alerts| alerts.has_news()) {
            self.tell_alerts();
        }
    }

    /// Asks them about what all watched containers use.
    #[cold]
    pub fn on_resources(&mut self, all: &[Used], now: Now) {
        let Some(alerts) = &mut self.alerts.alerts else { return };
        alerts.on_resources(all, now);
        if alerts.has_news() {
            self.tell_alerts();
        }
    }

    /// Writes down what the rules have said.
    #[cold]
    fn tell_alerts(&mut self) {
        let loops: Vec<_> = self.streams.iter().flat_map(Stream::loops).collect();
        let Some(alerts) = &mut self.alerts.alerts else { return };
        for view in alerts.take_news(&loops) {
            self.tell_alert(&view);
        }
    }

    fn tell_alert(&mut self, view: &AlertView) {
        let named = |stream: &&Stream| view.stream.as_deref() == Some(&*stream.envelope.key);
        let own = match self.streams.iter().find(named) {
            Some(stream) => stream.envelope.clone(),
            None if view.container.is_some() => self.envelope_of_container(view),
            None => {
                let instance = format!("{}/squall", self.identity.node);
                let key = view.stream.as_deref().unwrap_or(&instance);
                Envelope::new(key, IoStream::Unknown, &Place::default(), &self.identity)
            }
        };
        self.encoder.alert(&own, view);
        if let Some(topic) = &self.alerts.topic {
            self.encoder.alert(&own.to(topic), view);
        }
        self.alerts.notify(view, self.encoder.batch().lane, &self.identity);
    }

    /// A container is no stream of its own: what is said of it stands beside its standard streams, in their topic.
    fn envelope_of_container(&self, view: &AlertView) -> Envelope {
        let key = view.stream.as_deref().unwrap_or_default();
        let is_its = |stream: &&Stream| {
            stream.envelope.key.strip_prefix(key).is_some_and(|rest| rest.starts_with('/'))
        };
        let container = view.container.as_ref().map(|container| Container {
            id: container.id.to_string(),
            name: container.name.to_string(),
            image: String::new(),
        });
        let topic = self.streams.iter().find(is_its).and_then(|stream| stream.envelope.topic.clone());
        Envelope::new(key, IoStream::Unknown, &Place { container, topic, ..Place::default() }, &self.identity)
    }

    /// Takes back what was kept of a rule. False where it cannot be read.
    pub(super) fn take_back_alert(&mut self, state: &AlertState, now: Now) -> bool {
        match self.alerts.take_back(state, now) {
            TakenBack::GoesOn | TakenBack::Unwanted(None) => true,
            TakenBack::Unwanted(Some(over)) => {
                // In the batch of the epoch in which the row is deleted, so it is told once.
                self.tell_alert(&over);
                true
            }
            TakenBack::Unreadable => false,
        }
    }

    /// Moves what people are to be told since the last call to `into`. Says how many firings they are not told of.
    pub fn take_notifications(&mut self, into: &mut Vec<Notification>) -> u64 {
        into.extend(self.alerts.notifications.iter_mut().flat_map(|all| all.drain(..)));
        std::mem::take(&mut self.alerts.unheard)
    }

    /// The numbers of the firings that are not over.
    pub fn alerts_firing(&self) -> impl Iterator<Item = u64> {
        self.alerts.alerts.iter().flat_map(|alerts| alerts.firing())
    }

    /// The last alerts that have fired, the oldest first.
    pub fn alerts(&self) -> impl Iterator<Item = Episode> {
        self.alerts.alerts.iter().flat_map(|alerts| alerts.episodes())
    }

    /// What the rules have said, for a report.
    pub(super) fn alerts_story(&self) -> Option<AlertsStory> {
        let alerts = self.alerts.alerts.as_ref()?;
        let fired: Vec<Episode> = alerts.episodes().collect();
        let silent = alerts.silent().map(|rule| rule.name.clone()).collect();
        let beyond = alerts.ever().saturating_sub(fired.len() as u64);
        Some(AlertsStory { rules: alerts.rules().count(), fired, beyond, silent })
    }
}

fn seen<'a>(stream: &'a Stream, line: &Line<'a>, now: Now) -> Seen<'a> {
    Seen {
        text: plain(line),
        stream: &stream.envelope.key,
        stream_hash: stream.name_hash,
        time: line.log_time,
        arrival: now.arrival,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::alert::rule::Rule;
    use crate::engine::alert::tests::{contains, count, rule};
    use crate::units::Timestamp;

    /// What one rule that fires has kept, as this program writes it or as earlier ones did, which kept no labels.
    fn kept(is_old: bool) -> AlertState {
        let rules = [rule("R", count(contains("x"), 1.0, 60))];
        let mut alerts = Alerts::new(&rules, 1, 8);
        let stream = Arc::from("web");
        let (text, time, arrival) = (&b"x"[..], Timestamp(7), Monotonic(7));
        alerts.on_line(&Seen { text, stream: &stream, stream_hash: 1, time, arrival });
        let now = Now { arrival, wall: time };
        let mut state = AlertState::default();
        alerts.hand_out(now, &mut |whose: Whose<'_>, kept: &KeptSeries<'_>, rule: Option<KeptRule<'_>>| {
            whose.write(&mut state.key);
            match is_old {
                true => detail::write(kept, &mut state.detail),
                false => detail::write(&(kept, rule), &mut state.detail),
            }
        });
        state
    }

    fn taken_back(rules: Vec<Rule>, state: &AlertState) -> (TakenBack, Watching) {
        let mut watching = Watching::new(&Options { alerts: Arc::from(rules), ..Options::default() });
        let now = Now { arrival: Monotonic(9), wall: Timestamp(9) };
        (watching.take_back(state, now), watching)
    }

    #[test]
    fn what_earlier_programs_have_kept_is_read() {
        for is_old in [false, true] {
            let state = kept(is_old);
            let same = rule("R", count(contains("x"), 1.0, 60));
            assert!(matches!(taken_back(vec![same], &state).0, TakenBack::GoesOn), "{is_old}");
            let (became, watching) = taken_back(Vec::new(), &state);
            let TakenBack::Unwanted(over) = became else { panic!("it can be read") };
            // Without labels nobody knows who was told.
            assert_eq!(over.is_none(), is_old);
            assert_eq!(watching.unwanted, [state.key]);
        }
    }
}

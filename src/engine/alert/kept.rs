//! What this stage keeps over a restart: each series whole, with the rule that it is of.
//!
//! The time during which nobody listened is no silence: a series goes on at the log time at which it was handed out, and
//! the lines of the meantime are read then. So what fires goes on firing, with the number it has, and what is pending stays so.
//! A rule that was changed begins anew: what was kept says whose it is by a hash of all that decides. Of a rule that fires
//! its labels are kept, too: whoever was told is told that it is over, even where the rule is no more ([`over`]).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::matcher::Unit;
use super::meter::Meter;
use super::rule::Rule;
use super::series::{Series, State};
use super::view::{AlertView, labels_of};
use super::watch::{Judged, Watch, terms};
use super::{Alerts, Trigger};
use crate::units::{Now, Timestamp};

/// One series.
#[derive(Debug, Serialize, Deserialize)]
pub struct KeptSeries<'a> {
    /// See [`fingerprint`].
    pub(super) rule: u64,
    pub(super) time: Timestamp,
    /// How long ago that was.
    pub(super) ago: Duration,
    pub(super) is_guess: bool,
    pub(super) meter: Cow<'a, Meter>,
    pub(super) state: State,
    pub(super) due: Option<Timestamp>,
    pub(super) message: Cow<'a, [u8]>,
    pub(super) unit: Unit,
}

/// What is kept of the rule of a series that fires.
#[derive(Debug, Serialize, Deserialize)]
pub struct KeptRule<'a> {
    text: Cow<'a, str>,
    labels: Cow<'a, [(Box<str>, Box<str>)]>,
}

/// Whose series it is.
#[derive(Clone, Copy, Debug)]
pub struct Whose<'a> {
    /// Group and name of the rule.
    pub rule: (&'a str, &'a str),
    /// The stream's name; empty for all lines together.
    pub stream: &'a str,
}

/// What decides about a rule: what is measured, for how long, and who is told.
fn fingerprint(rule: &Rule) -> u64 {
    let Rule { name, group, text, hold, keep_firing_for, labels, .. } = rule;
    // Written out with its lengths, so that texts cannot flow into each other.
    xxh3_64(format!("{name:?} {group:?} {text:?} {hold:?} {keep_firing_for:?} {labels:?}").as_bytes())
}

/// What is told at `at` of a series that fires and that no rule wants any more; `None` where it does not fire.
pub fn over(whose: Whose<'_>, kept: &KeptSeries<'_>, rule: KeptRule<'_>, at: Timestamp) -> Option<AlertView> {
    let State::Firing(firing) = kept.state else { return None };
    let labels = labels_of(&rule.labels, (!whose.stream.is_empty()).then_some(whose.stream));
    let severity = labels.iter().find(|(name, _)| &**name == "severity");
    Some(AlertView {
        name: whose.rule.1.into(),
        group: whose.rule.0.into(),
        text: rule.text.into(),
        severity: severity.map(|(_, severity)| severity.clone()),
        is_resolved: true,
        // Nobody measures it any more.
        value: 0.0,
        peak: firing.peak,
        threshold: None,
        unit: kept.unit,
        window: None,
        since: firing.since,
        at,
        stream: (!whose.stream.is_empty()).then(|| whose.stream.into()),
        container: None,
        labels,
        annotations: vec![("summary".into(), "the rule was changed or removed while it fired".to_owned())],
        episode: firing.episode,
    })
}

impl Alerts {
    /// Says which series were forgotten that had been handed out.
    pub fn hand_out_gone(&mut self, mut gone: impl FnMut(Whose<'_>)) {
        for Watch { rule, dropped, .. } in &mut self.watches {
            for stream in dropped.drain(..) {
                gone(Whose { rule: (&rule.group, &rule.name), stream: &stream });
            }
        }
    }

    /// Hands out the series that have changed since the last call.
    pub fn hand_out(
        &mut self,
        now: Now,
        sink: &mut impl FnMut(Whose<'_>, &KeptSeries<'_>, Option<KeptRule<'_>>),
    ) {
        for Watch { rule, series, .. } in &mut self.watches {
            let name = (&*rule.group, &*rule.name);
            let mut hash = None;
            for Judged { stream, series, told, .. } in series {
                let whose = Whose { rule: name, stream: stream.as_deref().unwrap_or_default() };
                if *told == Some(series.revision) {
                    continue;
                }
                // A stream of which nothing was counted has nothing to lose; it is not worth a row.
                if series.revision == 0 {
                    continue;
                }
                *told = Some(series.revision);
                let hash = *hash.get_or_insert_with(|| fingerprint(rule));
                let fires = matches!(series.state, State::Firing(_));
                let labels = Cow::Borrowed(&*rule.labels);
                let rule = fires.then_some(KeptRule { text: Cow::Borrowed(&rule.text), labels });
                sink(whose, &series.kept(hash, now.arrival), rule);
            }
        }
    }

    /// Takes back a series. False where no rule wants it any more.
    pub fn take_back(&mut self, whose: Whose<'_>, kept: KeptSeries<'_>, now: Now) -> bool {
        let wanted = |watch: &&mut Watch| {
            (&*watch.rule.group, &*watch.rule.name) == whose.rule && fingerprint(&watch.rule) == kept.rule
        };
        let Some(watch) = self.watches.iter_mut().find(wanted) else { return false };
        let stream = (!whose.stream.is_empty())
            .then(|| (Arc::<str>::from(whose.stream), xxh3_64(whose.stream.as_bytes())));
        let is_known = watch
            .series
            .iter()
            .any(|judged| judged.stream.as_deref() == stream.as_ref().map(|(name, _)| &**name));
        if is_known || stream.is_some() != watch.is_by_stream() {
            return false;
        }
        if let State::Firing(firing) = kept.state {
            // Numbers go on even where the totals were lost.
            self.ever = self.ever.max(firing.episode);
        }
        let mut ever = 0;
        let Some(mut series) = Series::take_back(&terms(&watch.rule, &mut ever), kept, now.arrival) else {
            return false;
        };
        if watch.trigger == Trigger::Resource {
            series.skip_to(now.wall);
        }
        watch.take_back(stream, series);
        self.find_deadline(None);
        true
    }
}

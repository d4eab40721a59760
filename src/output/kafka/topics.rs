//! Topics of a stream's own: which of them can be used. Pure.
//!
//! In: the names, with the messages that are for them, and what the brokers say. Out: where a message goes: to its own
//! topic once that is known, to the topic of all while it cannot be used.
//! Invariant: a topic that cannot be used holds the others up no longer than its look-ups take; nothing is dropped for it.
//! Limit: [`TOPICS_MAX`] names; what is for more of them goes to the topic of all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::output::Detour;
use crate::units::Monotonic;

/// How many topics are told apart, beside the one of all.
const TOPICS_MAX: usize = 1_000;
/// How often a topic that cannot be used is looked up again, where messages are for it.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// How soon a look-up that said nothing is repeated: its leaders are being chosen, or the answer took too long.
const LOOK_UP_EVERY: Duration = Duration::from_secs(1);
/// Look-ups that may say nothing before the topic cannot be used. All messages wait meanwhile.
const TRIES: u32 = 5;

/// What is known of all of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Topics {
    known: BTreeMap<Arc<str>, Topic>,
    /// Those that cannot be used, of which nobody has been told yet.
    detours: Vec<Detour>,
}

#[derive(Clone, Debug)]
struct Topic {
    standing: Standing,
    /// Messages are for it, and the brokers are to be asked at this time.
    look_up_at: Option<Monotonic>,
    /// Look-ups in a row that said nothing.
    tries: u32,
    /// When it was found not to be usable.
    since: Monotonic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Unknown,
    Usable,
    Unusable,
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// To its own topic.
    Own,
    /// To the topic of all.
    Common,
    /// The brokers have to be asked first.
    Wait,
}

/// What a look-up said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is there.
    Usable,
    /// It is not there, or not ours to use.
    Unusable(String),
    /// Nothing.
    None,
}

impl Topics {
    /// Where a message for this topic goes now.
    pub(super) fn route(&mut self, name: &Arc<str>, now: Monotonic) -> Route {
        if !self.known.contains_key(name) {
            if self.known.len() >= TOPICS_MAX {
                return Route::Common;
            }
            let topic = Topic { standing: Standing::Unknown, look_up_at: Some(now), tries: 0, since: now };
            self.known.insert(Arc::clone(name), topic);
        }
        let Some(topic) = self.known.get_mut(name) else { return Route::Common };
        match topic.standing {
            Standing::Usable => Route::Own,
            Standing::Unknown => Route::Wait,
            Standing::Unusable => {
                topic.look_up_at.get_or_insert(topic.since + LOOK_AGAIN);
                Route::Common
            }
        }
    }

    /// A topic that the brokers are to be asked for now.
    pub(super) fn wanted(&self, now: Monotonic) -> Option<&Arc<str>> {
        let is_due = |topic: &Topic| topic.look_up_at.is_some_and(|at| at <= now);
        self.known.iter().find(|(_, topic)| is_due(topic)).map(|(name, _)| name)
    }

    /// The brokers were asked for it.
    pub(super) fn told(&mut self, name: &str, answer: Answer, now: Monotonic) {
        let Some(topic) = self.known.get_mut(name) else { return };
        match answer {
            Answer::Usable => {
                if topic.standing == Standing::Unusable {
                    tracing::info!(topic = name, "a container's own topic can be used now");
                }
                *topic = Topic { standing: Standing::Usable, look_up_at: None, tries: 0, since: now };
            }
            Answer::Unusable(reason) => self.refuse(name, &reason, now),
            Answer::None => {
                topic.tries += 1;
                topic.look_up_at = Some(now + LOOK_UP_EVERY);
                if topic.tries >= TRIES {
                    self.refuse(name, "the brokers do not say who leads it", now);
                }
            }
        }
    }

    /// It cannot be used; a look-up said so, or a message that was for it came back.
    pub(super) fn refuse(&mut self, name: &str, reason: &str, now: Monotonic) {
        let Some(topic) = self.known.get_mut(name) else { return };
        if topic.standing != Standing::Unusable {
            self.detours.push(Detour { topic: Arc::from(name), reason: reason.to_owned() });
        }
        *topic = Topic { standing: Standing::Unusable, look_up_at: None, tries: 0, since: now };
    }

    /// Those that cannot be used any more, each told once.
    pub(super) fn take_detours(&mut self) -> Vec<Detour> {
        std::mem::take(&mut self.detours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic(seconds * 1_000_000_000)
    }

    fn wanted(topics: &Topics, seconds: u64) -> Option<String> {
        topics.wanted(at(seconds)).map(|name| name.to_string())
    }

    #[test]
    fn a_topic_is_asked_for_before_it_is_used() {
        let (mut topics, name) = (Topics::default(), Arc::from("orders"));
        assert_eq!(wanted(&topics, 0), None);
        assert_eq!(topics.route(&name, at(0)), Route::Wait);
        assert_eq!(wanted(&topics, 0).as_deref(), Some("orders"));
        topics.told("orders", Answer::None, at(0));
        assert_eq!((wanted(&topics, 0), topics.route(&name, at(0))), (None, Route::Wait));
        assert_eq!(wanted(&topics, 1).as_deref(), Some("orders"));
        topics.told("orders", Answer::Usable, at(1));
        assert_eq!((wanted(&topics, 99), topics.route(&name, at(99))), (None, Route::Own));
        assert_eq!(topics.take_detours(), []);
    }

    #[test]
    fn what_cannot_be_used_is_told_once_and_looked_up_again() {
        let (mut topics, name) = (Topics::default(), Arc::from("orders"));
        let detour = |reason: &str| Detour { topic: Arc::from("orders"), reason: reason.into() };
        topics.route(&name, at(0));
        topics.told("orders", Answer::Unusable("it does not exist".into()), at(0));
        assert_eq!(topics.take_detours(), [detour("it does not exist")]);
        // Nobody asks for what no message is for.
        assert_eq!(wanted(&topics, 100), None);
        assert_eq!(topics.route(&name, at(30)), Route::Common);
        assert_eq!((wanted(&topics, 59), wanted(&topics, 60).as_deref()), (None, Some("orders")));
        topics.told("orders", Answer::Unusable("it does not exist".into()), at(60));
        assert_eq!((topics.take_detours(), topics.route(&name, at(61))), (vec![], Route::Common));
        topics.told("orders", Answer::Usable, at(120));
        assert_eq!(topics.route(&name, at(121)), Route::Own);
        // It is deleted, and messages come back.
        topics.refuse("orders", "gone", at(130));
        topics.refuse("orders", "gone", at(130));
        assert_eq!(
            (topics.take_detours(), topics.route(&name, at(131))),
            (vec![detour("gone")], Route::Common)
        );
    }

    #[test]
    fn silence_is_no_reason_to_wait_for_ever() {
        let (mut topics, name) = (Topics::default(), Arc::from("orders"));
        for second in 0..u64::from(TRIES) {
            assert_eq!(topics.route(&name, at(second)), Route::Wait);
            topics.told("orders", Answer::None, at(second));
        }
        assert_eq!(topics.route(&name, at(9)), Route::Common);
        assert_eq!(topics.take_detours().len(), 1);
    }

    #[test]
    fn names_are_bounded() {
        let mut topics = Topics::default();
        for number in 0..TOPICS_MAX + 10 {
            let route = topics.route(&Arc::from(format!("t{number}")), at(0));
            assert_eq!(route == Route::Wait, number < TOPICS_MAX);
        }
    }
}

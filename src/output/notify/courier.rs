//! One receiver: what it is still to be told, and whether it can be reached.
//!
//! A state machine without a clock: [`Courier::prepare`] says what to send now, its [`Message`] is sent by whoever has a
//! thread, and [`Courier::conclude`] hears how it went. One message is on its way at a time.

use std::sync::Arc;
use std::time::Duration;

use super::backlog::{Backlog, Parcel};
use super::board::Board;
use super::circuit::Circuit;
use super::options::{Kind, Options, Receiver};
use super::post::{Failure, HttpError, Lasts, Post};
use super::{alertmanager, slack, webhook};
use crate::engine::record::notification::Notification;
use crate::units::{Monotonic, Now};

/// See the module.
pub struct Courier {
    receiver: Receiver,
    post: Arc<Post>,
    queue: Queue,
    circuit: Circuit,
    /// Why the last message did not arrive.
    trouble: Option<String>,
    tally: Tally,
}

/// What became of the turns that a receiver was to be told since the start. Each is counted once, when its fate is known; one
/// that is in none of these waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// It has confirmed them.
    pub told: u64,
    /// It did not want them, or could not be reached for too long.
    pub given_up: u64,
    /// It was told how the alert stood later: Alertmanager wants no more than that.
    pub superseded: u64,
    /// The last message did not arrive: its circuit is open, and only now and then one message asks whether it is back.
    pub is_open: bool,
}

impl Tally {
    /// Turns whose fate is known.
    pub fn settled(&self) -> u64 {
        self.told + self.given_up + self.superseded
    }
}

enum Queue {
    Once(Backlog),
    Standing(Board),
}

/// A request, ready to be sent.
pub struct Message {
    receiver: Receiver,
    post: Arc<Post>,
    body: String,
    tells: Tells,
}

enum Tells {
    Once(Parcel),
    Standing(Vec<Arc<Notification>>),
}

/// How a message fared.
pub struct Outcome {
    message: Message,
    result: Result<(), Failure>,
}

/// What became of a notification, as far as one receiver is concerned: it need not be told again.
#[derive(Debug)]
pub struct Settled {
    /// Which.
    pub notification: Arc<Notification>,
    /// Whether it was told.
    pub fate: Fate,
}

/// Whether the receiver was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It has confirmed.
    Told,
    /// It does not want it, or could not be reached for too long.
    GivenUp,
}

impl Outcome {
    /// Whether the receiver took it.
    pub fn has_arrived(&self) -> bool {
        self.result.is_ok()
    }
}

impl Courier {
    /// A receiver that was told nothing yet. `seed` makes its back-off its own.
    ///
    /// # Errors
    /// When the certificates or the proxy cannot be used.
    pub fn new(receiver: Receiver, options: &Options, seed: u64) -> Result<Courier, HttpError> {
        let queue = match receiver.kind {
            Kind::Slack | Kind::Webhook { .. } => Queue::Once(Backlog::new(options.pace)),
            Kind::Alertmanager => Queue::Standing(Board::new(options.pace.give_up_after)),
        };
        let post = Arc::new(Post::new(&options.http)?);
        Ok(Courier {
            receiver,
            post,
            queue,
            circuit: Circuit::new(seed),
            trouble: None,
            tally: Tally::default(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.receiver.name
    }

    /// What became of all that it was to be told.
    pub fn tally(&self) -> Tally {
        Tally { is_open: self.circuit.open_until().is_some(), ..self.tally }
    }

    /// Something it is to be told. Gives back what need not be told any more because of that.
    pub fn push(&mut self, told: Arc<Notification>, now: Now) -> Vec<Settled> {
        match &mut self.queue {
            Queue::Once(backlog) => {
                backlog.push(told, now.arrival);
                Vec::new()
            }
            Queue::Standing(board) => {
                let unheard = board.unheard() + 1;
                let superseded = board.push(told, now);
                self.tally.superseded += unheard - board.unheard();
                settled(superseded, Fate::Told)
            }
        }
    }

    /// What waits is told as soon as it may be: squall ends.
    pub fn hurry(&mut self) {
        match &mut self.queue {
            Queue::Once(backlog) => backlog.hurry(),
            Queue::Standing(board) => board.hurry(),
        }
    }

    /// When there is something to do; `None` where nothing waits.
    pub fn deadline(&self) -> Option<Monotonic> {
        let due = match &self.queue {
            Queue::Once(backlog) => backlog.deadline(),
            Queue::Standing(board) => board.deadline(),
        };
        due.map(|due| due.max(self.circuit.open_until().unwrap_or_default()))
    }

    /// When it should be told what it does not know yet; `None` where there is nothing of the kind.
    pub fn news_deadline(&self) -> Option<Monotonic> {
        let has_news = match &self.queue {
            Queue::Once(_) => true,
            Queue::Standing(board) => board.has_news(),
        };
        self.deadline().filter(|_| has_news)
    }

    /// Gives up what has waited for too long.
    pub fn take_expired(&mut self, now: Monotonic) -> Vec<Settled> {
        let (expired, unheard) = match &mut self.queue {
            Queue::Once(backlog) => {
                let expired = backlog.take_expired(now);
                let unheard = expired.len() as u64;
                (expired, unheard)
            }
            Queue::Standing(board) => {
                let unheard = board.unheard();
                (board.take_expired(now), unheard - board.unheard())
            }
        };
        self.tally.given_up += unheard;
        if !expired.is_empty() {
            let why = self.trouble.as_deref().unwrap_or("there was no time");
            tracing::error!(receiver = self.receiver.name, notifications = expired.len(), "not told: {why}");
        }
        settled(expired, Fate::GivenUp)
    }

    /// What to send now, if anything.
    pub fn prepare(&mut self, now: Now) -> Option<Message> {
        if !self.circuit.lets_through(now.arrival) {
            return None;
        }
        let (tells, body) = match &mut self.queue {
            Queue::Once(backlog) => {
                let parcel = backlog.next(now.arrival)?;
                let all: Vec<&Notification> = parcel.notifications().map(|told| &**told).collect();
                let body = match self.receiver.kind {
                    Kind::Slack => slack::body(parcel.group.as_deref(), &all),
                    _ => webhook::body(&self.receiver.name, parcel.group.as_deref(), &all),
                };
                (Tells::Once(parcel), body)
            }
            Queue::Standing(board) => {
                let all = board.next(now.arrival)?;
                let body = alertmanager::body(&all.iter().map(|told| &**told).collect::<Vec<_>>(), now.wall);
                (Tells::Standing(all), body)
            }
        };
        let (receiver, post) = (self.receiver.clone(), Arc::clone(&self.post));
        Some(Message { receiver, post, body: body.to_string(), tells })
    }

    /// Takes in how a message fared.
    pub fn conclude(&mut self, outcome: Outcome, now: Monotonic) -> Vec<Settled> {
        let Outcome { message: Message { tells, .. }, result } = outcome;
        let failure = match result {
            Ok(()) => {
                self.trouble = None;
                if self.circuit.worked() {
                    tracing::info!(receiver = self.receiver.name, "notifications arrive again");
                }
                let (over, heard) = self.arrived(tells, now);
                self.tally.told += heard;
                return settled(over, Fate::Told);
            }
            Err(failure) => failure,
        };
        match failure.lasts {
            Lasts::ForNow(asked) => {
                if self.trouble.as_ref() != Some(&failure.reason) {
                    tracing::warn!(receiver = self.receiver.name, "cannot notify: {}", failure.reason);
                }
                self.trouble = Some(failure.reason);
                self.circuit.failed(now, asked);
                // What Alertmanager is told stays on the board.
                if let (Tells::Once(parcel), Queue::Once(backlog)) = (tells, &mut self.queue) {
                    backlog.put_back(parcel);
                }
                Vec::new()
            }
            Lasts::ForEver => {
                let notifications = tells.len();
                tracing::error!(receiver = self.receiver.name, notifications, "not told: {}", failure.reason);
                // It answers, so the next message may go out.
                self.circuit.worked();
                let (over, unheard) = self.arrived(tells, now);
                self.tally.given_up += unheard;
                settled(over, Fate::GivenUp)
            }
        }
    }

    /// An answer has come. What need not be told again, and how many turns it was the first answer to.
    fn arrived(&mut self, tells: Tells, now: Monotonic) -> (Vec<Arc<Notification>>, u64) {
        match (tells, &mut self.queue) {
            (Tells::Standing(all), Queue::Standing(board)) => {
                let unheard = board.unheard();
                (board.arrived(&all, now), unheard - board.unheard())
            }
            (Tells::Once(parcel), _) => {
                let all: Vec<_> = parcel.notifications().map(Arc::clone).collect();
                let heard = all.len() as u64;
                (all, heard)
            }
            (Tells::Standing(_), Queue::Once(_)) => (Vec::new(), 0),
        }
    }
}

impl Message {
    /// Sends it and waits for the answer, a few seconds at most.
    pub fn send(self) -> Outcome {
        let (path, secret) = match &self.receiver.kind {
            Kind::Slack => ("", None),
            Kind::Webhook { secret_file } => ("", secret_file.as_deref()),
            Kind::Alertmanager => ("/api/v2/alerts", None),
        };
        let result = self.post.send(&self.receiver, path, secret, &self.body);
        Outcome { message: self, result }
    }
}

impl Tells {
    fn len(&self) -> usize {
        match self {
            Tells::Once(parcel) => parcel.notifications().count(),
            Tells::Standing(all) => all.len(),
        }
    }
}

fn settled(all: Vec<Arc<Notification>>, fate: Fate) -> Vec<Settled> {
    all.into_iter().map(|notification| Settled { notification, fate }).collect()
}

/// The longest time that [`Message::send`] takes, in case somebody waits for it.
pub const SEND_MAX: Duration = Duration::from_secs(6);

#[cfg(test)]
mod tests {
    use super::super::options::Place;
    use super::super::text::tests::{firing, resolved};
    use super::super::url::Url;
    use super::*;
    use crate::units::Timestamp;

    fn at(seconds: u64) -> Now {
        let wall = Timestamp(firing(1).at.0) + Duration::from_secs(seconds);
        Now { arrival: Monotonic(seconds * 1_000_000_000), wall }
    }

    fn courier(kind: Kind) -> Courier {
        let place = Place::Url(Url::parse("https://host/x").expect("an address"));
        let receiver = Receiver { name: "test".to_owned(), kind, place, token_file: None };
        Courier::new(receiver, &Options::default(), 7).expect("a courier")
    }

    /// Lets what is due fare like this: what is settled, and how.
    fn fare(courier: &mut Courier, second: u64, result: Result<(), Lasts>) -> Vec<(String, Fate)> {
        let message = courier.prepare(at(second)).expect("a message is due");
        let result = result.map_err(|lasts| Failure { reason: "it failed".to_owned(), lasts });
        let settled = courier.conclude(Outcome { message, result }, at(second).arrival);
        settled.iter().map(|settled| (settled.notification.id().replace("abc-a", ""), settled.fate)).collect()
    }

    fn now_and_then(asked: u64) -> Result<(), Lasts> {
        Err(Lasts::ForNow(Some(Duration::from_secs(asked))))
    }

    #[test]
    fn what_fails_is_told_later_and_settled_once() {
        let mut courier = courier(Kind::Slack);
        courier.push(Arc::new(firing(1)), at(0));
        assert_eq!(courier.deadline(), Some(at(5).arrival));
        assert_eq!(fare(&mut courier, 5, now_and_then(30)), []);
        assert_eq!(courier.deadline(), Some(at(35).arrival), "as it asks");
        courier.push(Arc::new(firing(2)), at(10));
        assert!(courier.prepare(at(34)).is_none());
        let all = [("1-firing".to_owned(), Fate::Told), ("2-firing".to_owned(), Fate::Told)];
        assert!(courier.tally() == Tally { is_open: true, ..Tally::default() }, "{:?}", courier.tally());
        assert_eq!(fare(&mut courier, 35, Ok(())), all);
        assert_eq!((courier.deadline(), courier.news_deadline()), (None, None));
        assert_eq!(courier.tally(), Tally { told: 2, ..Tally::default() });
    }

    #[test]
    fn what_a_receiver_does_not_want_is_given_up_and_the_next_goes_out() {
        let mut courier = courier(Kind::Webhook { secret_file: None });
        courier.push(Arc::new(firing(1)), at(0));
        assert_eq!(fare(&mut courier, 5, Err(Lasts::ForEver)), [("1-firing".to_owned(), Fate::GivenUp)]);
        courier.push(Arc::new(resolved(1)), at(6));
        assert_eq!(courier.deadline(), Some(at(65).arrival), "the group's distance, and no back-off");
        assert_eq!(fare(&mut courier, 65, Ok(())), [("1-resolved".to_owned(), Fate::Told)]);
        assert_eq!(courier.tally(), Tally { told: 1, given_up: 1, ..Tally::default() });
    }

    #[test]
    fn a_receiver_that_is_away_for_too_long_is_given_up() {
        let mut courier = courier(Kind::Slack);
        courier.push(Arc::new(firing(1)), at(0));
        fare(&mut courier, 5, now_and_then(0));
        assert!(courier.take_expired(at(3_599).arrival).is_empty());
        let expired = courier.take_expired(at(3_600).arrival);
        assert_eq!((expired.len(), expired[0].fate), (1, Fate::GivenUp));
        assert_eq!(courier.deadline(), None);
        assert_eq!(courier.tally(), Tally { given_up: 1, is_open: true, ..Tally::default() });
    }

    #[test]
    fn alertmanager_is_told_what_stands_when_it_is_back() {
        let mut courier = courier(Kind::Alertmanager);
        let other = Notification { labels: Vec::new(), ..firing(2) };
        assert!(courier.push(Arc::new(firing(1)), at(0)).is_empty());
        assert!(courier.push(Arc::new(other), at(0)).is_empty());
        assert_eq!(fare(&mut courier, 0, now_and_then(100)), []);
        courier.push(Arc::new(resolved(1)), at(60));
        assert_eq!(courier.deadline(), Some(at(100).arrival));
        let message = courier.prepare(at(100)).expect("it is due");
        assert!(
            message.body.contains("abc-a1-resolved") && !message.body.contains("abc-a1-firing"),
            "{}",
            message.body
        );
        assert!(courier.conclude(Outcome { message, result: Ok(()) }, at(100).arrival).is_empty());
        assert_eq!(courier.news_deadline(), None, "all is known");
        assert_eq!(courier.deadline(), Some(at(160).arrival), "and told again");
        // The firing of the first was never told by itself; telling both again counts nothing.
        let all = Tally { told: 2, superseded: 1, ..Tally::default() };
        assert_eq!(courier.tally(), all);
        fare(&mut courier, 160, Ok(()));
        assert_eq!((courier.tally(), all.settled()), (all, 3));
    }
}

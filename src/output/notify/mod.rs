//! Alerts to people: Slack, webhooks, Alertmanager.
//!
//! In: [`Notification`](crate::engine::record::notification::Notification)s, one when an alert begins to fire and one when it
//! has resolved. Out: requests, and for each notification whether the receiver has confirmed it ([`Settled`]).
//! Each receiver is a [`Courier`] of its own with its own queue and circuit, so none waits for another.
//! Invariant: a notification is settled once, after an answer that says so or after `give_up_after`; a message that
//! may have arrived is sent again with the same ids.
//! Limits: an answer is awaited 5 s and read up to 64 KiB; `per_minute` messages; queues hold what the daemon puts in.
//! Not here: threads and the clock, what survives a restart, how many alerts there may be (`daemon::notify`).
//!
//! | file | what it knows |
//! |---|---|
//! | `courier` | one receiver, from a notification to "settled" |
//! | `backlog` | groups, distances, so many a minute: for receivers that are told once |
//! | `board` | what fires now, again each minute: for Alertmanager |
//! | `circuit` | when to try again |
//! | `post`, `guard`, `url` | the request, whom it may reach, how addresses are read and shown |
//! | `slack`, `webhook`, `alertmanager`, `text` | bodies |

mod alertmanager;
mod backlog;
mod board;
mod circuit;
mod courier;
mod guard;
mod options;
mod post;
mod slack;
mod text;
mod url;
mod webhook;

pub use self::courier::{Courier, Fate, Message, Outcome, SEND_MAX, Settled, Tally};
pub use self::options::{Http, Kind, Options, Pace, Place, Receiver};
pub use self::post::HttpError;
pub use self::url::{Url, UrlError};

//! Who is told of alerts, and at what pace (`notify`).

use std::path::PathBuf;
use std::time::Duration;

use super::url::Url;

/// `notify`. The default tells nobody but our own log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Who is told, each by itself.
    pub receivers: Vec<Receiver>,
    /// Whether our own log says when alerts fire and have resolved (`log`).
    pub log: bool,
    /// How much of it at once.
    pub pace: Pace,
    /// How they are reached.
    pub http: Http,
}

impl Default for Options {
    fn default() -> Options {
        Options { receivers: Vec::new(), log: true, pace: Pace::default(), http: Http::default() }
    }
}

/// Somebody who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// Its name in messages, and in the outbox: another name is another receiver.
    pub name: String,
    /// What it understands.
    pub kind: Kind,
    /// Where it is.
    pub place: Place,
    /// A file with a token that it wants to see (`token_file`).
    pub token_file: Option<PathBuf>,
}

/// What a receiver understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Slack's incoming webhooks, and what is made like them.
    Slack,
    /// The JSON that Alertmanager sends to webhooks, version 4.
    Webhook {
        /// A file with the secret that signs each message (`secret_file`).
        secret_file: Option<PathBuf>,
    },
    /// Alertmanager itself: its API, version 2.
    Alertmanager,
}

/// Where a receiver is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// As the config says (`url`, `urls`).
    Url(Url),
    /// As a file says that is read for each message (`url_file`).
    File(PathBuf),
}

/// How much a receiver is told at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// The most messages in a minute (`per_minute`). Not for Alertmanager, which is told all in one.
    pub per_minute: u32,
    /// How long the first alert of a group waits for others (`group_wait`).
    pub group_wait: Duration,
    /// The least time between two messages of a group (`group_interval`).
    pub group_interval: Duration,
    /// After so long a receiver is not told any more (`give_up_after`).
    pub give_up_after: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            per_minute: 10,
            group_wait: Duration::from_secs(5),
            group_interval: Duration::from_secs(60),
            give_up_after: Duration::from_secs(3600),
        }
    }
}

/// How receivers are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// Hosts that an address from a file may reach without TLS (`http_hosts`). An address in the config names its host
    /// by itself.
    pub http_hosts: Vec<String>,
    /// A file with the authorities that are trusted in place of the built-in ones (`ca_file`).
    pub ca_file: Option<PathBuf>,
    /// A proxy that everything goes through (`proxy`). The environment's is not used.
    pub proxy: Option<Url>,
}

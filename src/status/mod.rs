//! What people and machines may ask while squall runs: health, readiness, metrics, what goes on, and a page of it.
//!
//! In: what the daemon's threads pin to a [`board::Board`]. Out: HTTP answers, and metrics pushed to a Pushgateway.
//! Invariant: whoever asks, and however, nothing of the pipeline waits for it; `/health` answers while all else stands still.
//! Limits: [`server`] says how many may ask at once, for how long, and how large; text of logs is shown only to this machine
//! ([`guard`]). Nothing shows the config, the environment or a secret.
//! Not here: what the numbers mean (`engine::ledger`), who fills them in (`daemon::publish`).

pub mod board;
pub mod guard;
pub mod health;
mod limits;
pub mod metrics;
mod page;
pub mod push;
mod routes;
pub mod server;
mod show;
pub mod view;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::units::Now;

/// What is served, and where (`status` in the config).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Where it is served (`status.listen`).
    pub listen: Listen,
    /// The file with the token that lets others than this machine see text of logs (`status.token_file`).
    pub token_file: Option<PathBuf>,
}

/// Where it is served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Listen {
    /// At [`DEFAULT`], where that is free.
    #[default]
    Default,
    /// Nowhere.
    Off,
    /// At this address.
    Tcp(SocketAddr),
    /// At this socket, which only its owner and group may use.
    Unix(PathBuf),
}

/// Loopback only: nobody is exposed by not having thought of it.
pub const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9599);

impl Listen {
    /// Reads an address as the config and the flag write it.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str) -> Result<Listen, String> {
        if text == "off" {
            return Ok(Listen::Off);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return match path.is_absolute() {
                true => Ok(Listen::Unix(path)),
                false => Err("a socket's path begins with /, as in unix:/run/squall/status.sock".to_owned()),
            };
        }
        let numeric = text.replacen("localhost:", "127.0.0.1:", 1);
        let example =
            "write for example 127.0.0.1:9599, [::1]:9599, 0.0.0.0:9599, unix:/run/squall.sock or off";
        numeric.parse().map(Listen::Tcp).map_err(|_| example.to_owned())
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Default => DEFAULT.fmt(f),
            Listen::Off => f.write_str("off"),
            Listen::Tcp(address) => address.fmt(f),
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Reads the clock, which only the daemon may.
pub type Clock = fn() -> Now;

/// What the server cannot do by itself.
#[derive(Clone, Copy, Debug)]
pub struct Tools {
    /// Reads the clock.
    pub clock: Clock,
    /// Reads a time as the config writes it, `10m`; or says what to write instead.
    pub parse_time: fn(&str) -> Result<Duration, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        #[track_caller]
        fn check(text: &str, want: &str) {
            assert_eq!(Listen::parse(text).map(|listen| listen.to_string()).as_deref(), Ok(want));
        }
        check("off", "off");
        check("127.0.0.1:9599", "127.0.0.1:9599");
        check("localhost:1", "127.0.0.1:1");
        check("[::1]:80", "[::1]:80");
        check("unix:/run/s.sock", "unix:/run/s.sock");
        for bad in ["", "9599", ":9599", "example.com:80", "127.0.0.1", "unix:s.sock", "127.0.0.1:99999"] {
            assert!(Listen::parse(bad).is_err(), "{bad}");
        }
    }
}

//! Metrics pushed to a Pushgateway: for instances that are gone before anybody scrapes them.
//!
//! In: the board. Out: a `PUT` at an interval, and a last one at the end, which replaces what was pushed under the same
//! job and instance.
//! Invariant: a gateway that is away or slow holds up nothing; its trouble is said once, and once that it is over.
//! Limits: 5 s for a push; at the end one second for all that is left to do.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use ureq::Agent;

use super::Clock;
use super::board::Board;
use super::metrics::{Format, metrics};

/// Where and how often (`notify.pushgateway`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The gateway, without a path of metrics: `http://pushgateway:9091`.
    pub url: String,
    /// The interval.
    pub every: Duration,
    /// The job that the metrics belong to.
    pub job: String,
}

/// A pusher at work. The last push happens when this is dropped.
#[derive(Debug)]
pub struct Pusher {
    /// Dropped to end it.
    end: Option<SyncSender<()>>,
    /// Closed when it has ended.
    done: Receiver<()>,
}

impl Pusher {
    /// Pushes what is on the board, from now on.
    ///
    /// # Errors
    /// When there are no threads left.
    pub fn start(options: &Options, board: &Arc<Board>, clock: Clock) -> io::Result<Pusher> {
        let (end, ended) = sync_channel(0);
        let (doing, done) = sync_channel(0);
        let url = address(options, &board.about().instance);
        let (every, board) = (options.every, Arc::clone(board));
        let push = Push { url, board, clock, is_troubled: false };
        let body = move || {
            push.run(every, &ended);
            drop::<SyncSender<()>>(doing);
        };
        thread::Builder::new().name("squall-push".to_owned()).spawn(body)?;
        Ok(Pusher { end: Some(end), done })
    }
}

impl Drop for Pusher {
    fn drop(&mut self) {
        self.end = None;
        // A push that is under way to a gateway that hangs is left alone: the process ends, and it with it.
        let _ = self.done.recv_timeout(LAST_TIME_MAX);
    }
}

struct Push {
    url: String,
    board: Arc<Board>,
    clock: Clock,
    is_troubled: bool,
}

const TIME_MAX: Duration = Duration::from_secs(5);
/// The end of the process waits for this one.
const LAST_TIME_MAX: Duration = Duration::from_secs(1);

impl Push {
    fn run(mut self, every: Duration, ended: &Receiver<()>) {
        while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
            self.push(TIME_MAX);
        }
        self.push(LAST_TIME_MAX);
    }

    fn push(&mut self, at_most: Duration) {
        let agent: Agent = Agent::config_builder()
            .timeout_global(Some(at_most))
            .max_redirects(0)
            .user_agent("squall")
            .build()
            .into();
        let text = metrics(&self.board, Format::Prometheus, (self.clock)());
        let sent = agent.put(&self.url).content_type(Format::Prometheus.content_type()).send(text);
        let was_troubled = std::mem::replace(&mut self.is_troubled, sent.is_err());
        match sent {
            Err(error) if !was_troubled => {
                tracing::warn!("metrics cannot be pushed to {}: {error}", self.url)
            }
            Ok(_) if was_troubled => tracing::info!("metrics are pushed again"),
            _ => {}
        }
    }
}

/// The address of one group of metrics.
fn address(options: &Options, instance: &str) -> String {
    let base = options.url.trim_end_matches('/');
    format!("{base}/metrics/{}/{}", part("job", &options.job), part("instance", instance))
}

/// A label as a piece of the path. A value with a slash, or none, is written in base64, as the gateway wants it.
fn part(name: &str, value: &str) -> String {
    if value.is_empty() {
        return format!("{name}@base64/=");
    }
    if value.contains('/') {
        use base64::Engine as _;
        let value = base64::engine::general_purpose::URL_SAFE.encode(value);
        return format!("{name}@base64/{value}");
    }
    let mut text = format!("{name}/");
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}"); // a String takes every write
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        #[track_caller]
        fn check(url: &str, instance: &str, want: &str) {
            let options = Options { url: url.to_owned(), every: TIME_MAX, job: "squall".to_owned() };
            assert_eq!(address(&options, instance), want);
        }
        check("http://a:9091", "gw-1", "http://a:9091/metrics/job/squall/instance/gw-1");
        check("http://a/push/", "gw 1", "http://a/push/metrics/job/squall/instance/gw%201");
        check("http://a", "pod/gw", "http://a/metrics/job/squall/instance@base64/cG9kL2d3");
        check("http://a", "", "http://a/metrics/job/squall/instance@base64/=");
        check("http://a", "방", "http://a/metrics/job/squall/instance/%EB%B0%A9");
    }
}

//! `notify`: who is told of alerts, and how; and where metrics are pushed.
//!
//! An address may be a password (Slack's is), so no fault repeats one, and what a fault shows of its line is blotted out.

use std::time::Duration;

use super::keys::{Keys, Text};
use super::{DAY, SECOND, pushgateway, secret};
use crate::config::faults::{Findings, Place as Where};
use crate::config::source::shown;
use crate::config::tree::Entry;
use crate::output::notify::{Http, Kind, Options, Pace, Place, Receiver, Url};
use crate::status::push;

const KNOWN: [&str; 12] = [
    "slack",
    "webhook",
    "alertmanager",
    "log",
    "per_minute",
    "group_wait",
    "group_interval",
    "give_up_after",
    "http_hosts",
    "ca_file",
    "proxy",
    "pushgateway",
];

/// The most Alertmanagers: each has a thread.
const ALERTMANAGERS_MAX: usize = 8;
/// The most hosts that may be reached without TLS.
const HOSTS_MAX: usize = 64;

/// Checks the mapping, if there is one: who is told of alerts, and where metrics are pushed.
pub(super) fn check(keys: &Keys<'_>, findings: &mut Findings) -> (Options, Option<push::Options>) {
    let mut options = Options::default();
    let Some(entry) = keys.some("notify") else { return (options, None) };
    let keys = Keys::open(entry, "notify", &KNOWN, findings);
    options.log = keys.truth("log", options.log, findings);
    options.pace = pace(&keys, findings);
    options.http = http(&keys, findings);
    options.receivers.extend(slack(&keys, findings));
    options.receivers.extend(webhook(&keys, findings));
    options.receivers.extend(alertmanagers(&keys, findings));
    (options, pushgateway::check(&keys, findings))
}

fn pace(keys: &Keys<'_>, findings: &mut Findings) -> Pace {
    let default = Pace::default();
    let short = Duration::ZERO..=Duration::from_secs(600);
    Pace {
        per_minute: keys.number("per_minute", 1..=600, default.per_minute, findings),
        group_wait: keys.time("group_wait", short.clone(), default.group_wait, findings),
        group_interval: keys.time("group_interval", short, default.group_interval, findings),
        give_up_after: keys.time("give_up_after", SECOND..=DAY, default.give_up_after, findings),
    }
}

fn http(keys: &Keys<'_>, findings: &mut Findings) -> Http {
    let hosts = keys.texts("http_hosts", findings);
    if hosts.len() > HOSTS_MAX
        && let Some(entry) = keys.entry("http_hosts")
    {
        findings.fault(entry.place.clone(), format!("`notify.http_hosts` has more than {HOSTS_MAX} hosts"));
    }
    let mut http_hosts = Vec::new();
    for Text { text, place } in hosts {
        // A name, or an address as it stands in one.
        let is_host =
            Url::parse(&format!("http://{text}/")).or_else(|_| Url::parse(&format!("http://[{text}]/")));
        if is_host.is_ok_and(|url| url.host() == text) {
            http_hosts.push(text.to_owned());
        } else {
            let message = format!("`{}` is not the name of a host", shown(text));
            findings.fault(place, message).note("write it without scheme and port, for example alertmanager");
        }
    }
    let proxy = keys.text("proxy", findings).and_then(|text| address(keys, "proxy", text, findings));
    Http { http_hosts, ca_file: keys.path("ca_file", findings), proxy }
}

/// What the mapping of a receiver is called; `None` where there is no such receiver. An empty one is "off".
fn receiver<'a>(
    all: &Keys<'a>,
    name: &str,
    known: &[&str],
    findings: &mut Findings,
) -> Option<(&'a Entry, Keys<'a>)> {
    let entry = all.some(name)?;
    let keys = Keys::open(entry, &all.full(name), known, findings);
    (!keys.entries().is_empty()).then_some((entry, keys))
}

fn slack(all: &Keys<'_>, findings: &mut Findings) -> Option<Receiver> {
    let (_, keys) = receiver(all, "slack", &["url_file"], findings)?;
    // Who wrote `url` was told already to use a file.
    if keys.some("url_file").is_none() && keys.entry("url").is_none() {
        keys.missing("url_file", "write for example url_file: /run/secrets/slack-url", findings);
    }
    let place = Place::File(secret::path(&keys, "url_file", findings)?);
    Some(Receiver { name: "slack".to_owned(), kind: Kind::Slack, place, token_file: None })
}

fn webhook(all: &Keys<'_>, findings: &mut Findings) -> Option<Receiver> {
    let known = ["url", "url_file", "secret_file", "token_file"];
    let (_, keys) = receiver(all, "webhook", &known, findings)?;
    let url = keys.text("url", findings).and_then(|text| address(&keys, "url", text, findings));
    let file = secret::path(&keys, "url_file", findings);
    match (keys.some("url"), keys.some("url_file")) {
        (None, None) => {
            keys.missing("url", "write for example url: https://host/path, or url_file: PATH", findings);
        }
        (Some(_), Some(entry)) => {
            let message = "`notify.webhook.url` and `url_file` rule each other out";
            findings.fault(entry.place.clone(), message);
        }
        _ => {}
    }
    let kind = Kind::Webhook { secret_file: secret::path(&keys, "secret_file", findings) };
    let token_file = secret::path(&keys, "token_file", findings);
    let place = url.map(Place::Url).or(file.map(Place::File))?;
    warn_plain(&keys, &place, token_file.is_some(), findings);
    Some(Receiver { name: "webhook".to_owned(), kind, place, token_file })
}

fn alertmanagers(all: &Keys<'_>, findings: &mut Findings) -> Vec<Receiver> {
    let known = ["urls", "token_file"];
    let Some((_, keys)) = receiver(all, "alertmanager", &known, findings) else { return Vec::new() };
    let before = findings.faults.len();
    let texts = keys.texts("urls", findings);
    if texts.is_empty() && findings.faults.len() == before {
        keys.missing("urls", "write for example urls: [http://alertmanager:9093]", findings);
    }
    if texts.len() > ALERTMANAGERS_MAX
        && let Some(entry) = keys.entry("urls")
    {
        let message = format!("`notify.alertmanager.urls` has more than {ALERTMANAGERS_MAX} addresses");
        findings.fault(entry.place.clone(), message);
    }
    let token_file = secret::path(&keys, "token_file", findings);
    let mut receivers = Vec::new();
    for (text, number) in texts.into_iter().zip(1..) {
        let name = if number == 1 { "alertmanager".to_owned() } else { format!("alertmanager-{number}") };
        let Some(url) = address(&keys, "urls", text, findings) else { continue };
        let place = Place::Url(url);
        warn_plain(&keys, &place, token_file.is_some(), findings);
        receivers.push(Receiver { name, kind: Kind::Alertmanager, place, token_file: token_file.clone() });
    }
    receivers
}

fn address(
    keys: &Keys<'_>,
    name: &str,
    Text { text, place }: Text<'_>,
    findings: &mut Findings,
) -> Option<Url> {
    let parsed = Url::parse(text);
    if let Err(error) = &parsed {
        let message = format!("`{}` cannot be used: {error}", keys.full(name));
        findings.fault(place, message).note("write for example https://host/path");
    }
    parsed.ok()
}

fn warn_plain(keys: &Keys<'_>, place: &Place, has_token: bool, findings: &mut Findings) {
    if has_token && matches!(place, Place::Url(url) if url.is_plain()) {
        let place: Where = keys.place.clone();
        let message = "a token without TLS goes over the network as it is";
        findings.warn(place, message).note("write https://");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::load_text;

    /// The messages of all faults, with their places.
    fn brief(notify: &str) -> Vec<String> {
        let Err(faults) = load_text(&format!("notify:\n  {notify}\n")) else { return Vec::new() };
        let line = |fault: &crate::config::faults::Fault| {
            let (line, column) = fault.place().position().unwrap_or_default();
            format!("{line}:{column} {}", fault.message())
        };
        faults.iter().map(line).collect()
    }

    #[test]
    fn what_is_set_arrives() {
        let text = "\
notify:
  log: false
  per_minute: 3
  group_wait: 0s
  group_interval: 30s
  give_up_after: 10m
  http_hosts: [hooks, '::1']
  ca_file: /ca.pem
  proxy: http://proxy:3128
  slack: { url_file: /run/slack }
  webhook: { url: 'https://hooks/x', secret_file: /run/secret, token_file: /run/token }
  alertmanager: { urls: ['http://am-0:9093', 'http://am-1:9093'] }
";
        let (config, warnings) = load_text(text).unwrap_or_else(|faults| panic!("{faults}"));
        assert!(warnings.is_empty());
        let url = |text| Url::parse(text).expect("an address");
        let receiver =
            |name: &str, kind, place| Receiver { name: name.into(), kind, place, token_file: None };
        let want = Options {
            receivers: vec![
                receiver("slack", Kind::Slack, Place::File("/run/slack".into())),
                Receiver {
                    token_file: Some("/run/token".into()),
                    ..receiver(
                        "webhook",
                        Kind::Webhook { secret_file: Some("/run/secret".into()) },
                        Place::Url(url("https://hooks/x")),
                    )
                },
                receiver("alertmanager", Kind::Alertmanager, Place::Url(url("http://am-0:9093"))),
                receiver("alertmanager-2", Kind::Alertmanager, Place::Url(url("http://am-1:9093"))),
            ],
            log: false,
            pace: Pace {
                per_minute: 3,
                group_wait: Duration::ZERO,
                group_interval: Duration::from_secs(30),
                give_up_after: Duration::from_secs(600),
            },
            http: Http {
                http_hosts: vec!["hooks".into(), "::1".into()],
                ca_file: Some("/ca.pem".into()),
                proxy: Some(url("http://proxy:3128")),
            },
        };
        assert_eq!(config.notify, want);
    }

    #[test]
    fn mistakes_are_named() {
        #[track_caller]
        fn check(notify: &str, want: &[&str]) {
            assert_eq!(brief(notify), want, "{notify}");
        }
        check("slack: null", &[]);
        check("slack: {}", &[]);
        check("slak: {}", &["2:3 unknown key `slak`, did you mean `slack`?"]);
        check("slack: {url: https://x}", &["2:11 `notify.slack.url` is read from a file only"]);
        check("webhook: {secret_file: /x}", &["2:3 `notify.webhook.url` is missing"]);
        check(
            "webhook: {url: https://x, url_file: /x}",
            &["2:29 `notify.webhook.url` and `url_file` rule each other out"],
        );
        check(
            "webhook: {url: ftp://x}",
            &["2:18 `notify.webhook.url` cannot be used: it must begin with https:// or http://"],
        );
        check(
            "webhook: {url: http://169.254.169.254/x}",
            &[
                "2:18 `notify.webhook.url` cannot be used: it names a link-local or metadata address, and those are never asked",
            ],
        );
        check("alertmanager: {token_file: /x}", &["2:3 `notify.alertmanager.urls` is missing"]);
        check(
            "alertmanager: {urls: http://am:9093}",
            &["2:24 `notify.alertmanager.urls` must be a list, not the text `http://am:9093`"],
        );
        check("per_minute: 0", &["2:15 `notify.per_minute` must be from 1 to 600, not 0"]);
        check("group_wait: 1h", &["2:15 `notify.group_wait` must be from 0s to 10m, not 1h"]);
        check("http_hosts: ['x:1']", &["2:16 `x:1` is not the name of a host"]);
    }

    #[test]
    fn an_address_is_a_secret_and_not_shown() {
        #[track_caller]
        fn check(notify: &str) {
            let faults = load_text(&format!("notify:\n  {notify}\n")).expect_err("it is wrong");
            let (plain, debug) = (faults.to_string(), format!("{faults:?}"));
            assert!(!plain.contains("hunter2"), "{plain}");
            // The source is in it, as it is in every finding; it is not printed.
            assert!(!debug.is_empty());
        }
        check("webhook: { url: 'https://user:hunter2@host/' }");
        check("webhook: { url: 'ftp://host/hunter2' }");
        check("webhook: { url: 'https://host/hunter2', per_minute: x }");
        check("alertmanager:\n    urls:\n    - https://host/hunter2 # x\n    - https://user:hunter2@host");
        check("alertmanager: { urls: ['https://host/hunter2', 'https://u:hunter2@host/'] }");
        check("proxy: http://user:hunter2@proxy");
        let (config, _) =
            load_text("notify: { webhook: { url: 'https://host/hunter2' } }").expect("it is fine");
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}

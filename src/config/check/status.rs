//! `status`: where health, metrics and the page are served, and where metrics are pushed.

use std::time::Duration;

use super::keys::{Keys, scalar_text};
use crate::config::faults::Findings;
use crate::config::source::shown;
use crate::config::tree::Entry;
use crate::status::{Listen, Options, push};

const KNOWN: [&str; 3] = ["listen", "token_file", "pushgateway"];
const PUSH_KNOWN: [&str; 3] = ["url", "every", "job"];
const EVERY: Duration = Duration::from_secs(30);

/// Checks the mapping, if there is one.
pub(super) fn check(keys: &Keys<'_>, findings: &mut Findings) -> Options {
    let mut options = Options::default();
    let Some(entry) = keys.some("status") else { return options };
    let keys = Keys::open(entry, "status", &KNOWN, findings);
    if let Some(entry) = keys.some("listen") {
        options.listen = check_listen(entry, findings);
    }
    options.token_file = keys.path("token_file", findings);
    options.pushgateway = keys.some("pushgateway").and_then(|entry| check_push(entry, findings));
    options
}

fn check_listen(entry: &Entry, findings: &mut Findings) -> Listen {
    let listen = scalar_text(&entry.node).map(Listen::parse);
    match listen {
        Some(Ok(listen)) => listen,
        bad => {
            let message = format!("`status.listen` cannot be {}", entry.node.what());
            let fault = findings.fault(entry.node.place.clone(), message);
            if let Some(Err(note)) = bad {
                fault.note(note);
            }
            Listen::default()
        }
    }
}

fn check_push(entry: &Entry, findings: &mut Findings) -> Option<push::Options> {
    let keys = Keys::open(entry, "status.pushgateway", &PUSH_KNOWN, findings);
    let every = keys.time("every", Duration::from_secs(1)..=Duration::from_secs(3600), EVERY, findings);
    let job = keys.text("job", findings).map_or_else(|| "squall".to_owned(), |job| job.text.to_owned());
    if keys.some("url").is_none() {
        keys.missing("url", "write for example url: http://pushgateway:9091", findings);
        return None;
    }
    let url = keys.text("url", findings)?;
    let rest = url.text.strip_prefix("http://");
    let host = rest.map(|rest| rest.split('/').next().unwrap_or_default());
    // A password does not belong into a config.
    if host.is_none_or(|host| host.is_empty() || host.contains('@')) || url.text.contains(['?', '#', ' ']) {
        let message = format!("`{}` is not the address of a Pushgateway", shown(url.text));
        findings.fault(url.place, message).note("write for example http://pushgateway:9091, without a user");
        return None;
    }
    Some(push::Options { url: url.text.to_owned(), every, job })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::load_text;

    #[test]
    fn what_is_set_arrives() {
        let text = "status: { listen: 'unix:/run/s.sock', token_file: /t, pushgateway: { url: 'http://gw:9091', every: 5s } }";
        let (config, warnings) = load_text(text).unwrap_or_else(|faults| panic!("{faults}"));
        let push = push::Options {
            url: "http://gw:9091".to_owned(),
            every: Duration::from_secs(5),
            job: "squall".to_owned(),
        };
        let want = Options {
            listen: Listen::Unix("/run/s.sock".into()),
            token_file: Some("/t".into()),
            pushgateway: Some(push),
        };
        assert_eq!((config.status, warnings.len()), (want, 0));
    }

    #[test]
    fn faults() {
        #[track_caller]
        fn check(inside: &str, want: &[&str]) {
            let found = load_text(&format!("status: {{ {inside} }}"));
            let faults: Vec<String> = match &found {
                Ok(_) => Vec::new(),
                Err(faults) => faults.iter().map(|fault| fault.message().to_owned()).collect(),
            };
            assert_eq!(faults, want, "{inside}");
        }
        check("", &[]);
        check("listen: off", &[]);
        check("listen: null, pushgateway: null", &[]);
        check("listen: 127.0.0.1:9599", &[]);
        check("listen: 0.0.0.0:0", &[]);
        check("listen: 9599", &["`status.listen` cannot be the number 9599"]);
        check("listen: example.com:80", &["`status.listen` cannot be the text `example.com:80`"]);
        check("listen: [a]", &["`status.listen` cannot be a list"]);
        check("token: abc", &["`status.token` is read from a file only"]);
        check("pushgateway: {}", &["`status.pushgateway.url` is missing"]);
        for url in ["gw:9091", "https://gw", "http://", "http://u:p@gw", "http://gw?x"] {
            let want = format!("`{url}` is not the address of a Pushgateway");
            check(&format!("pushgateway: {{ url: '{url}' }}"), &[&want]);
        }
        let want = "`status.pushgateway.every` must be from 1s to 1h, not 0s";
        check("pushgateway: { url: 'http://gw', every: 0s }", &[want]);
    }
}

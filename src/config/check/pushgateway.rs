//! `notify.pushgateway`: where metrics are pushed.

use std::time::Duration;

use super::keys::Keys;
use crate::config::faults::Findings;
use crate::config::source::shown;
use crate::status::push::Options;

const KNOWN: [&str; 3] = ["url", "every", "job"];
const EVERY: Duration = Duration::from_secs(30);

/// Checks the mapping, if there is one.
pub(super) fn check(notify: &Keys<'_>, findings: &mut Findings) -> Option<Options> {
    let entry = notify.some("pushgateway")?;
    let keys = Keys::open(entry, &notify.full("pushgateway"), &KNOWN, findings);
    if keys.entries().is_empty() {
        return None;
    }
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
    Some(Options { url: url.text.to_owned(), every, job })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::load_text;

    #[test]
    fn what_is_set_arrives() {
        let text = "notify: { pushgateway: { url: 'http://gw:9091', every: 5s } }";
        let (config, warnings) = load_text(text).unwrap_or_else(|faults| panic!("{faults}"));
        let (url, job) = ("http://gw:9091".to_owned(), "squall".to_owned());
        let want = Options { url, every: Duration::from_secs(5), job };
        assert_eq!((config.pushgateway, warnings.len()), (Some(want), 0));
    }

    #[test]
    fn faults() {
        #[track_caller]
        fn check(inside: &str, want: &[&str]) {
            let found = load_text(&format!("notify: {{ pushgateway: {inside} }}"));
            let faults: Vec<String> = match &found {
                Ok((config, _)) => {
                    assert_eq!(config.pushgateway, None, "{inside}");
                    Vec::new()
                }
                Err(faults) => faults.iter().map(|fault| fault.message().to_owned()).collect(),
            };
            assert_eq!(faults, want, "{inside}");
        }
        check("null", &[]);
        check("{}", &[]); // off, as for the receivers beside it
        check("{ job: x }", &["`notify.pushgateway.url` is missing"]);
        for url in ["gw:9091", "https://gw", "http://", "http://u:p@gw", "http://gw?x"] {
            let want = format!("`{url}` is not the address of a Pushgateway");
            check(&format!("{{ url: '{url}' }}"), &[&want]);
        }
        let want = "`notify.pushgateway.every` must be from 1s to 1h, not 0s";
        check("{ url: 'http://gw', every: 0s }", &[want]);
    }
}

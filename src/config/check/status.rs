//! `status`: where health, metrics and the page are served.

use super::keys::{Keys, scalar_text};
use super::secret;
use crate::config::faults::Findings;
use crate::config::tree::Entry;
use crate::status::{Listen, Options};

const KNOWN: [&str; 2] = ["listen", "token_file"];

/// Checks the mapping, if there is one.
pub(super) fn check(keys: &Keys<'_>, findings: &mut Findings) -> Options {
    let mut options = Options::default();
    let Some(entry) = keys.some("status") else { return options };
    let keys = Keys::open_any(entry, "status", findings);
    let moved = keys.entry("pushgateway");
    if let Some(entry) = moved {
        let message = "`status.pushgateway` is `notify.pushgateway`: what squall calls out to stands there";
        findings.fault(entry.place.clone(), message);
    }
    let moved = moved.map(|entry| entry.key.as_str());
    keys.refuse_unknown(&KNOWN.into_iter().chain(moved).collect::<Vec<_>>(), findings);
    if let Some(entry) = keys.some("listen") {
        options.listen = check_listen(entry, findings);
    }
    options.token_file = secret::path(&keys, "token_file", findings);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::load_text;

    #[test]
    fn what_is_set_arrives() {
        let text = "status: { listen: 'unix:/run/s.sock', token_file: /t }";
        let (config, warnings) = load_text(text).unwrap_or_else(|faults| panic!("{faults}"));
        let want = Options { listen: Listen::Unix("/run/s.sock".into()), token_file: Some("/t".into()) };
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
        check("listen: null", &[]);
        check("listen: 127.0.0.1:9599", &[]);
        check("listen: 0.0.0.0:0", &[]);
        check("listen: 9599", &["`status.listen` cannot be the number 9599"]);
        check("listen: example.com:80", &["`status.listen` cannot be the text `example.com:80`"]);
        check("listen: [a]", &["`status.listen` cannot be a list"]);
        check("token: abc", &["`status.token` is read from a file only"]);
        let moved = "`status.pushgateway` is `notify.pushgateway`: what squall calls out to stands there";
        check(
            "pushgateway: { url: 'http://gw:9091' }, lisen: off",
            &[moved, "unknown key `lisen`, did you mean `listen`?"],
        );
    }
}

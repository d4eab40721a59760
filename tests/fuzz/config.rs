//! The config: a fault is told where it is, and what has none means the same however often it is said.

use squall::config::faults::{Faults, Finding, Place, Warning};
use squall::config::{self, Config, Sources};

/// The name under which the text is loaded.
const NAME: &str = "squall.yaml";

/// What stands behind a NUL is the value of the variable `X`.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (text, variable) = text.split_once('\0').unwrap_or((text, ""));
    match load(text, variable, 1) {
        Ok((config, warnings)) => {
            warnings.iter().for_each(|warning| is_told_well(warning, &warning.to_string(), text));
            let again = load(text, variable, 1).expect("it was good a moment ago");
            assert_eq!(again.0, config);
            // Lists replace and keys overwrite, so to say a thing twice changes nothing.
            let twice = load(text, variable, 2).expect("it is good when it is said once");
            assert_eq!(twice.0, config);
        }
        Err(faults) => {
            assert!(faults.iter().next().is_some(), "refused without a word");
            faults.iter().for_each(|fault| is_told_well(fault, &fault.to_string(), text));
            let warnings = faults.warnings();
            warnings.iter().for_each(|warning| is_told_well(warning, &warning.to_string(), text));
        }
    }
}

fn load(text: &str, variable: &str, times: usize) -> Result<(Config, Vec<Warning>), Faults> {
    let inline = vec![(NAME.to_owned(), text.to_owned()); times];
    let env = vec![("X".to_owned(), variable.to_owned())];
    config::load(&Sources { inline, env, ..Sources::default() })
}

/// It stands inside of the text, between two letters, and can be shown to people.
fn is_told_well(finding: &Finding, shown: &str, text: &str) {
    assert!(!finding.message().is_empty());
    let harmful = shown.chars().find(|letter| *letter != '\n' && squall::terminal::is_harmful(*letter));
    assert_eq!(harmful, None, "{shown:?}");
    if let Place::Text { source, span } = finding.place() {
        assert_eq!(source.name(), NAME);
        assert!(span.start <= span.end && text.get(span.clone()).is_some(), "{span:?}: {shown}");
        let before = &text[..span.start];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        assert_eq!(finding.place().position(), Some((line, column)), "{shown}");
    }
}

//! Faults and warnings: what is wrong, where, and what would be right.

use std::fmt;

pub use super::source::{Place, Source};

/// How many faults are printed before the rest is only counted: a wrong indentation can cause thousands.
const PRINTED_MAX: usize = 50;

/// Something that must be put right before the config can be used.
#[derive(Clone, Debug)]
pub struct Fault(Finding);

/// Something that works, but perhaps not as the writer thinks.
#[derive(Clone, Debug)]
pub struct Warning(Finding);

/// What a [`Fault`] and a [`Warning`] have in common.
#[derive(Clone, Debug)]
pub struct Finding {
    message: String,
    place: Place,
    notes: Vec<String>,
}

impl Finding {
    /// One sentence without a full stop.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Where it was found.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What helps to put it right: the known keys, an example.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The same in one line, for who shows no more: `squall.yaml:1:10: unknown key (known keys: …)`.
    pub fn line(&self) -> String {
        let place = match self.place.position() {
            Some((line, column)) => format!("{}:{line}:{column}", self.place.name()),
            None => self.place.name().into_owned(),
        };
        let notes: String = self.notes.iter().map(|note| format!(" ({note})")).collect();
        format!("{place}: {}{notes}", self.message).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    pub(super) fn note(&mut self, note: impl Into<String>) -> &mut Finding {
        self.notes.push(note.into());
        self
    }

    /// Prints like rustc does.
    fn draw(&self, f: &mut fmt::Formatter<'_>, severity: &str) -> fmt::Result {
        writeln!(f, "{severity}: {}", self.message)?;
        self.place.draw(f)?;
        for note in &self.notes {
            writeln!(f, "{:pad$} = {note}", "", pad = self.place.gutter())?;
        }
        Ok(())
    }
}

impl std::ops::Deref for Fault {
    type Target = Finding;
    fn deref(&self) -> &Finding {
        &self.0
    }
}

impl std::ops::Deref for Warning {
    type Target = Finding;
    fn deref(&self) -> &Finding {
        &self.0
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.draw(f, "error")
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.draw(f, "warning")
    }
}

/// Everything that is wrong with a config; never empty. The process that meets it ends with exit code 78.
#[derive(Debug)]
pub struct Faults {
    faults: Vec<Fault>,
    warnings: Vec<Warning>,
}

impl Faults {
    /// From top to bottom; what came from the environment and from flags last.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.faults.iter()
    }

    /// What was found beside the faults.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().take(PRINTED_MAX).enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            fault.fmt(f)?;
        }
        match self.faults.len().checked_sub(PRINTED_MAX) {
            Some(more) if more > 0 => writeln!(f, "\nerror: and {more} more"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Faults {}

/// Collects while a config is checked.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) faults: Vec<Fault>,
    pub(super) warnings: Vec<Warning>,
}

impl Findings {
    /// Adds a fault; notes can be put onto what comes back.
    pub(super) fn fault(&mut self, place: Place, message: impl Into<String>) -> &mut Finding {
        let finding = Finding { message: message.into(), place, notes: Vec::new() };
        &mut self.faults.push_mut(Fault(finding)).0
    }

    /// Adds a warning; notes can be put onto what comes back.
    pub(super) fn warn(&mut self, place: Place, message: impl Into<String>) -> &mut Finding {
        let finding = Finding { message: message.into(), place, notes: Vec::new() };
        &mut self.warnings.push_mut(Warning(finding)).0
    }

    /// `value` when nothing was at fault.
    pub(super) fn settle<T>(mut self, value: T) -> Result<(T, Vec<Warning>), Faults> {
        self.warnings.sort_by(|a, b| a.place.rank().cmp(&b.place.rank()));
        if self.faults.is_empty() {
            return Ok((value, self.warnings));
        }
        self.faults.sort_by(|a, b| a.place.rank().cmp(&b.place.rank()));
        Err(Faults { faults: self.faults, warnings: self.warnings })
    }
}

//! What a run leaves behind: the ledger and what became of the records, for people and for scripts.

use std::fmt;

use serde_json::{Value, json};

use super::deliver::DeliverEnd;
use crate::engine::ledger::Ledger;
use crate::units::{Lines, grouped};

/// The end of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The books.
    pub ledger: Ledger,
    /// What became of the records.
    pub delivery: DeliverEnd,
    /// Sources that were ever opened.
    pub sources: usize,
    /// Inputs that could not be read to their end, each with the reason.
    pub broken_inputs: Vec<String>,
    /// What was read and not committed is read again by the next start.
    pub rereads: bool,
    /// How long the run took.
    pub seconds: f64,
}

impl Report {
    /// Whether everything that was read is delivered and the books balance.
    pub fn is_clean(&self) -> bool {
        self.ledger.conservation_error == 0
            && self.delivery.undelivered_records() == 0
            && self.delivery.error.is_none()
            && self.broken_inputs.is_empty()
    }

    /// Whether everything that was read is delivered, or waits for the next start: in the outbox, or where it was read.
    pub fn is_safe(&self) -> bool {
        // A disk that failed, or is full, is nothing that a delivery cures.
        let left = !self.delivery.uncommitted || self.rereads && self.delivery.full;
        let kept = self.delivery.kept.is_some() && left;
        self.ledger.conservation_error == 0
            && (kept || self.delivery.undelivered_records() == 0)
            && self.delivery.error.is_none()
            && self.broken_inputs.is_empty()
    }

    /// The ledger as one JSON object (`interface.md`).
    pub fn to_json(&self) -> Value {
        let mut books = books_as_json(&self.ledger, self.seconds);
        let delivery = &self.delivery;
        books["records_delivered"] = delivery.delivered_records().into();
        books["records_undelivered"] = delivery.undelivered_records().into();
        books["lines_undelivered"] = delivery.undelivered_lines().0.into();
        books["bytes_wire"] = delivery.standing.bytes_wire.map(|bytes| bytes.0).into();
        json!({"ledger": books})
    }

    /// One sentence for each thing that went wrong.
    pub fn complaints(&self) -> Vec<String> {
        let mut all = Vec::new();
        if self.ledger.conservation_error != 0 {
            all.push(format!(
                "the ledger does not balance: {} lines (this is a bug in squall)",
                self.ledger.conservation_error
            ));
        }
        all.extend(self.broken_inputs.iter().cloned());
        if let Some(error) = &self.delivery.error {
            all.push(error.clone());
        }
        let refused = &self.delivery.standing.refused;
        if refused.records > 0 {
            all.push(format!(
                "{} records ({} lines) were refused: {}",
                refused.records,
                refused.lines,
                refused.reason.as_deref().unwrap_or("the destination does not want them")
            ));
        }
        // Without an outbox, what did not get so far is as late as the rest.
        let (untaken, untaken_lines) = match self.delivery.kept {
            Some(_) => (self.delivery.untaken_records, self.delivery.untaken_lines),
            None => (0, Lines(0)),
        };
        let late = self.delivery.undelivered_records() - refused.records - untaken;
        if late > 0 {
            let lines = self.delivery.undelivered_lines() - refused.lines - untaken_lines;
            let why = self.delivery.standing.trouble.as_deref().unwrap_or("the time was over");
            let kept =
                self.delivery.kept.as_ref().map(|kept| {
                    format!("; they wait in {} and are sent at the next start", kept.dir.display())
                });
            let kept = kept.unwrap_or_default();
            all.push(format!("{late} records ({lines} lines) were not delivered: {why}{kept}"));
        }
        if untaken > 0 {
            let then = match self.rereads {
                true => "what they tell is read again at the next start",
                false => "they are lost",
            };
            all.push(format!(
                "{untaken} records ({untaken_lines} lines) did not get into the outbox: {then}"
            ));
        }
        all
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Books(&self.ledger))?;
        row(f, "  delivered", grouped(self.delivery.delivered_records()), "")?;
        if let Some(wire) = self.delivery.standing.bytes_wire {
            row(f, "on the wire", size(wire.0), &times_smaller(self.ledger.bytes_in.0, wire.0))?;
        }
        row(f, "seconds", format!("{:.2}", self.seconds), "")
    }
}

/// The books as a table for people.
#[derive(Clone, Copy, Debug)]
pub struct Books<'a>(pub &'a Ledger);

impl fmt::Display for Books<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ledger = self.0;
        row(f, "lines in", grouped(ledger.lines_in.0), &size(ledger.bytes_in.0))?;
        row(f, "  sent word for word", grouped(ledger.lines_verbatim.0), "")?;
        let summaries = plural(ledger.summaries, "summary", "summaries");
        row(f, "  told by summaries", grouped(ledger.lines_summarised.0), &summaries)?;
        let notices = plural(ledger.notices, "notice", "notices");
        row(f, "  told by notices", grouped(ledger.lines_noticed.0), &notices)?;
        row(f, "  still held", grouped(ledger.lines_open.0 + ledger.lines_partial.0), "")?;
        row(f, "  unaccounted for", grouped(ledger.conservation_error), "must be 0")?;
        row(f, "templates", grouped(ledger.templates), "")?;
        row(f, "loops", grouped(ledger.loops), "")?;
        row(f, "alerts", grouped(ledger.alerts), "")?;
        row(f, "records out", grouped(ledger.records_out), &size(ledger.bytes_out.0))
    }
}

/// The books as an object for scripts, in the order of `interface.md`.
pub fn books_as_json(ledger: &Ledger, seconds: f64) -> Value {
    json!({
        "lines_in": ledger.lines_in.0,
        "bytes_in": ledger.bytes_in.0,
        "lines_verbatim": ledger.lines_verbatim.0,
        "lines_summarised": ledger.lines_summarised.0,
        "lines_noticed": ledger.lines_noticed.0,
        "lines_open": ledger.lines_open.0,
        "lines_partial": ledger.lines_partial.0,
        "records_out": ledger.records_out,
        "bytes_out": ledger.bytes_out.0,
        "summaries": ledger.summaries,
        "notices": ledger.notices,
        "templates": ledger.templates,
        "loops": ledger.loops,
        "alerts": ledger.alerts,
        "conservation_error": ledger.conservation_error,
        "seconds": (seconds * 1000.0).round() / 1000.0,
    })
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, value: String, note: &str) -> fmt::Result {
    writeln!(f, "  {name:<22}{value:>16}  {note}")
}

/// A number of bytes as people read it, decimal.
pub fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().si().to_string()
}

fn plural(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

fn times_smaller(before: u64, after: u64) -> String {
    if after == 0 || after > before {
        return String::new();
    }
    format!("{:.0} times smaller than what came in", before as f64 / after as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_run_is_clean() {
        assert!(Report::default().is_clean());
        assert!(Report::default().complaints().is_empty());
        assert_eq!(Report::default().to_json()["ledger"]["conservation_error"], 0);
    }
}

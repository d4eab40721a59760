//! The ledger: lines in = lines out + lines counted + lines held. Kept per stream, checked continuously, printed at
//! the end.
//!
//! Invariant: [`Ledger::conservation_error`] is 0. Whoever sees another number must say so loudly.
//! The two sides are counted in different places: what came in where lines are made, what left where records are
//! encoded, what is held by adding up the open windows anew.

use crate::units::{Bytes, Lines};

/// The books of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Lines that were accepted.
    pub received: Lines,
    /// Lines that left word for word.
    pub verbatim: Lines,
    /// Lines that left as part of a summary's count.
    pub summarised: Lines,
    /// Lines that left as part of a notice's count.
    pub noticed: Lines,
}

impl Account {
    /// Received lines that are neither gone nor held: 0, or the program has a bug.
    pub fn error(&self, open: Lines) -> i64 {
        let gone = self.verbatim + self.summarised + self.noticed + open;
        self.received.0.wrapping_sub(gone.0) as i64
    }
}

impl std::ops::AddAssign for Account {
    fn add_assign(&mut self, more: Account) {
        self.received += more.received;
        self.verbatim += more.verbatim;
        self.summarised += more.summarised;
        self.noticed += more.noticed;
    }
}

/// The lines that notices stand for, by their reasons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noticed {
    /// More new templates came at once than may pass.
    pub novelty_flood: Lines,
    /// There was no room for more than their number.
    pub shed: Lines,
    /// The outbox was damaged, and their number is all that is known.
    pub store_damaged: Lines,
}

impl Noticed {
    /// All of them.
    pub fn sum(&self) -> Lines {
        self.novelty_flood + self.shed + self.store_damaged
    }
}

/// The books of the whole process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Lines that were accepted, held partials included.
    pub lines_in: Lines,
    /// Bytes read from the inputs.
    pub bytes_in: Bytes,
    /// Lines that left word for word.
    pub lines_verbatim: Lines,
    /// Lines that left as part of a summary's count.
    pub lines_summarised: Lines,
    /// Lines that left as part of a notice's count.
    pub lines_noticed: Lines,
    /// The same by their reasons; less in sum where an earlier version of this program has not kept them.
    pub noticed: Noticed,
    /// Lines that emergency limits have held back. They are among the summarised and the open ones.
    pub lines_limited: Lines,
    /// Folded lines in windows that are still open.
    pub lines_open: Lines,
    /// Begun lines whose end has not come yet.
    pub lines_partial: Lines,
    /// Records written.
    pub records_out: u64,
    /// Their bytes.
    pub bytes_out: Bytes,
    /// Summaries among them.
    pub summaries: u64,
    /// Notices among them.
    pub notices: u64,
    /// Entries, (stream, template), ever made.
    pub templates: u64,
    /// Loops ever opened.
    pub loops: u64,
    /// Alerts that ever fired.
    pub alerts: u64,
    /// Summed over the streams, each without its sign so that two errors cannot hide each other.
    pub conservation_error: u64,
}

impl Ledger {
    /// Takes in a stream's books, `open` being its lines in windows that are still open.
    pub fn add(&mut self, account: Account, open: Lines) {
        self.lines_in += account.received;
        self.lines_verbatim += account.verbatim;
        self.lines_summarised += account.summarised;
        self.lines_noticed += account.noticed;
        self.lines_open += open;
        self.conservation_error += account.error(open).unsigned_abs();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_errors_do_not_hide_each_other() {
        let account = |received, verbatim| Account {
            received: Lines(received),
            verbatim: Lines(verbatim),
            ..Account::default()
        };
        let mut ledger = Ledger::default();
        ledger.add(account(5, 3), Lines(2));
        assert_eq!(ledger.conservation_error, 0);
        ledger.add(account(5, 4), Lines(0));
        ledger.add(account(5, 6), Lines(0));
        assert_eq!(ledger.conservation_error, 2);
    }
}

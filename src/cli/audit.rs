//! `squall audit`: does what lies in a state directory hold?

use std::fmt::{self, Display, Write as _};
use std::path::PathBuf;

use serde_json::{Value, json};

use super::stdio::print;
use super::{Exit, usage};
use crate::engine::ledger::Account;
use crate::outbox::audit::{Audit, AuditError, audit};
use crate::terminal::visible;
use crate::units::Timestamp;
use crate::units::grouped;

/// Check a state directory: do the books balance, is anything missing, what waits.
///
/// Reads only; works while squall runs. Ends with 1 when something does not hold.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The state directory
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Looks and prints.
pub fn main(args: &Args) -> anyhow::Result<Exit> {
    let found = match audit(&args.dir) {
        Ok(found) => found,
        Err(error @ AuditError::Sqlite { .. }) => return Err(error.into()),
        Err(error) => return Ok(usage(error)),
    };
    if args.json {
        print(format_args!("{}\n", to_json(&found)))?;
    } else {
        print(Table(&found))?;
    }
    Ok(if found.problems.is_empty() { Exit::Fine } else { Exit::Failed })
}

fn to_json(found: &Audit) -> Value {
    let lanes = found.lanes.iter().map(|lane| {
        json!({
            "destination": lane.destination, "lane": lane.lane, "next_seq": lane.next_seq, "acked": lane.acked,
            "waiting_records": lane.waiting.records, "waiting_lines": lane.waiting.lines.0,
            "waiting_bytes": lane.waiting.bytes.0, "oldest": lane.oldest.map(time),
        })
    });
    let streams = found.streams.iter().map(|stream| {
        let mut object = books(stream.account);
        object["stream"] = json!(stream.key);
        object["lines_open"] = json!(stream.open.0);
        object["error"] = json!(stream.error);
        object
    });
    let positions = found.positions.iter().map(|position| {
        json!({
            "path": position.path.to_string_lossy(), "resume": position.resume, "read": position.read,
            "size": position.size, "ended": position.ended,
        })
    });
    json!({ "audit": {
        "holds": found.problems.is_empty(),
        "problems": found.problems,
        "destinations": lanes.collect::<Vec<_>>(),
        "streams": streams.collect::<Vec<_>>(),
        "past": books(found.past),
        "positions": positions.collect::<Vec<_>>(),
    }})
}

fn books(account: Account) -> Value {
    json!({
        "lines_in": account.received.0, "lines_verbatim": account.verbatim.0,
        "lines_summarised": account.summarised.0, "lines_noticed": account.noticed.0,
    })
}

fn time(time: Timestamp) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(time.0))
        .map_or_else(|_| time.0.to_string(), |time| time.to_string())
}

/// The same for people.
struct Table<'a>(&'a Audit);

impl Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Audit { problems, lanes, streams, past, positions } = self.0;
        for lane in lanes {
            writeln!(f, "{}", visible(&lane.destination))?;
            writeln!(f, "  lane {}, next record {}", lane.lane, grouped(lane.next_seq))?;
            writeln!(f, "  acknowledged up to {}", grouped(lane.acked))?;
            let waiting = &lane.waiting;
            write!(
                f,
                "  waiting: {} records for {} lines",
                grouped(waiting.records),
                grouped(waiting.lines.0)
            )?;
            write!(f, ", {} bytes stored", grouped(waiting.bytes.0))?;
            writeln!(
                f,
                "{}",
                lane.oldest.map_or(String::new(), |oldest| format!(", oldest {}", time(oldest)))
            )?;
        }
        let mut rows = vec![
            ["received", "verbatim", "summarised", "noticed", "open", "error", "stream"].map(str::to_owned),
        ];
        let numbers = |account: &Account| {
            [account.received, account.verbatim, account.summarised, account.noticed]
                .map(|lines| grouped(lines.0))
        };
        for stream in streams {
            let [received, verbatim, summarised, noticed] = numbers(&stream.account);
            let (open, error) = (grouped(stream.open.0), stream.error.to_string());
            rows.push([
                received,
                verbatim,
                summarised,
                noticed,
                open,
                error,
                visible(&stream.key).into_owned(),
            ]);
        }
        let [received, verbatim, summarised, noticed] = numbers(past);
        let ended = "streams that have ended".to_owned();
        rows.push([
            received,
            verbatim,
            summarised,
            noticed,
            "0".to_owned(),
            past.error(Default::default()).to_string(),
            ended,
        ]);
        writeln!(f, "\n{}", aligned(&rows))?;
        for position in positions {
            let (read, size) = (grouped(position.read), grouped(position.size));
            let ended = if position.ended { ", ended" } else { "" };
            writeln!(f, "{}: read {read} of {size} bytes{ended}", visible(&position.path.to_string_lossy()))?;
        }
        if positions.is_empty() {
            writeln!(f, "no positions")?;
        }
        writeln!(f)?;
        for problem in problems {
            writeln!(f, "PROBLEM  {}", visible(problem))?;
        }
        match problems.len() {
            0 => writeln!(f, "everything holds"),
            count => writeln!(f, "{count} problems"),
        }
    }
}

/// Columns of numbers, right-aligned, and a last one of names.
fn aligned(rows: &[[String; 7]]) -> String {
    let mut text = String::new();
    for row in rows {
        for (index, cell) in row[..6].iter().enumerate() {
            let width = rows.iter().map(|row| row[index].len()).max().unwrap_or(0);
            // Writing to a string cannot fail.
            let _ = write!(text, "{cell:>width$}  ");
        }
        text.push_str(&row[6]);
        text.push('\n');
    }
    text
}

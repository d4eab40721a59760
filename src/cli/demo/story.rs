//! The demo as people see it: what came in, what left, and that nothing is missing.

use std::io::{self, IsTerminal as _, Stdout, Write as _};

use serde_json::{Value, json};

use super::readback::Readback;
use super::writer::Written;
use crate::cli::log::wants_colour;
use crate::corpus::incident::{FAILED, TIMEOUT};
use crate::daemon::Standing;
use crate::daemon::report::{Report, size};
use crate::engine::ledger::Ledger;
use crate::terminal::visible;
use crate::units::grouped;

/// Tells the story on standard output.
pub(super) struct Story {
    out: Stdout,
    json: bool,
    /// A line that is drawn over and over while it goes on; only on a terminal.
    live: bool,
    colour: bool,
}

/// Lines of the topic that are shown.
const FIRST_LINES: usize = 8;
/// Summaries that are shown.
const SUMMARIES: usize = 10;

impl Story {
    /// The beginning.
    pub(super) fn begin(json: bool, lines: u64, place: String) -> io::Result<Story> {
        let out = io::stdout();
        let terminal = out.is_terminal();
        let mut story = Story { out, json, live: terminal && !json, colour: wants_colour(terminal) && !json };
        if !json {
            story.title("A gateway loses its WebSocket and retries at once, for ever")?;
            writeln!(
                story.out,
                "  {} lines of json-file, rotated 10m x 3, followed by squall, shipped to\n  {place}\n",
                grouped(lines)
            )?;
        }
        Ok(story)
    }

    /// How it stands.
    pub(super) fn live(&mut self, ledger: &Ledger, standing: &Standing) {
        if !self.live {
            return;
        }
        let lines = grouped(ledger.lines_in.0);
        let records = grouped(standing.acked_records);
        // Only decoration: whoever closed the terminal does not miss it.
        let _ = write!(self.out, "\r\x1b[2K  {lines} lines in, {records} records delivered")
            .and_then(|()| self.out.flush());
    }

    /// The end. False when something is not as it should be.
    pub(super) fn end(
        &mut self,
        written: &Written,
        report: &Report,
        back: Option<&Readback>,
    ) -> io::Result<bool> {
        if self.live {
            write!(self.out, "\r\x1b[2K")?;
        }
        if self.json {
            writeln!(
                self.out,
                "{}",
                json!({"incident": {
                    "lines": written.truth.lines.0, "storm": written.truth.storm.0, "calm": written.truth.calm.0,
                    "bytes": written.bytes.0, "rotations": written.rotations,
                }})
            )?;
            if let Some(back) = back {
                writeln!(
                    self.out,
                    "{}",
                    json!({"read_back": {
                        "records": back.records, "lines_verbatim": back.verbatim.0, "lines_summarised": back.summarised.0,
                        "lines_noticed": back.noticed.0, "bytes": back.bytes.0,
                        "calm_missing": back.missing(&written.calm),
                    }})
                )?;
            }
            writeln!(self.out, "{}", report.to_json())?;
        } else {
            self.came_in(written)?;
            if let Some(back) = back {
                self.left(back)?;
            }
            self.title("The ledger")?;
            write!(self.out, "{report}")?;
            if let Some(back) = back {
                self.verdict(written, back)?;
            }
        }
        let complaints = report.complaints();
        complaints.iter().for_each(|complaint| tracing::error!("{complaint}"));
        self.out.flush()?;
        Ok(complaints.is_empty())
    }

    fn came_in(&mut self, written: &Written) -> io::Result<()> {
        let truth = written.truth;
        self.title("What came in")?;
        writeln!(self.out, "  {:>10} lines of the retry loop: {TIMEOUT} / {FAILED}", grouped(truth.storm.0))?;
        writeln!(
            self.out,
            "  {:>10} lines of the gateway's ordinary life between them",
            grouped(truth.calm.0)
        )?;
        let hours = written.last.since(written.first).as_secs_f64() / 3600.0;
        writeln!(
            self.out,
            "  {:>10} of json-file in {} files, {hours:.1} hours by the log's own clock\n",
            size(written.bytes.0),
            written.rotations + 1
        )
    }

    fn left(&mut self, back: &Readback) -> io::Result<()> {
        self.title("What a consumer sees: the first lines, at once and word for word")?;
        let storm = back.first.iter().position(is_storm).unwrap_or(0);
        for record in back.first.iter().skip(storm.saturating_sub(2)).take(FIRST_LINES) {
            self.record(record)?;
        }
        writeln!(self.out, "  ...")?;
        self.title("then the storm, told by summaries; each is exact")?;
        for record in back.summaries.iter().take(SUMMARIES) {
            self.record(record)?;
        }
        if back.summaries.len() > SUMMARIES {
            writeln!(self.out, "  ... every 5 minutes while it lasts")?;
        }
        writeln!(self.out)?;
        back.told_loop.as_ref().map_or(Ok(()), |told| self.told_loop(told))?;
        if !back.alerts.is_empty() {
            self.title("and who should know of it can: the rules of config/presets/retry-loop.yaml fired")?;
            back.alerts.iter().try_for_each(|alert| self.record(alert))?;
            writeln!(self.out)?;
        }
        Ok(())
    }

    fn told_loop(&mut self, record: &Value) -> io::Result<()> {
        self.title("and what it is, in records of their own, from the seventh turn on")?;
        let (bold, plain) = self.style("\x1b[1;31m");
        let text = |value: &Value| visible(value.as_str().unwrap_or_default()).into_owned();
        let squall = &record["squall"];
        writeln!(self.out, "  {bold}{}{plain}", text(&record["message"]))?;
        writeln!(self.out, "  towards {}", text(&squall["endpoint"]))?;
        writeln!(self.out, "  better: {}\n", text(&squall["advice"]))
    }

    fn record(&mut self, record: &Value) -> io::Result<()> {
        let time = record["@timestamp"].as_str().and_then(|time| time.get(11..23)).unwrap_or("");
        let message = visible(record["message"].as_str().unwrap_or_default());
        let squall = &record["squall"];
        if squall["kind"] == "summary" {
            let count = grouped(squall["count"].as_u64().unwrap_or(0));
            let rate = squall["per_second"].as_f64().unwrap_or(0.0);
            let (bold, plain) = self.style("\x1b[1;33m");
            writeln!(self.out, "  {time} {bold}{:>8}{plain} {rate:>5.1}/s  {message}", format!("x{count}"))
        } else {
            writeln!(self.out, "  {time}  {message}")
        }
    }

    fn verdict(&mut self, written: &Written, back: &Readback) -> io::Result<()> {
        let missing = back.missing(&written.calm);
        let (good, plain) = self.style(if missing == 0 { "\x1b[1;32m" } else { "\x1b[1;31m" });
        writeln!(
            self.out,
            "\n  {good}{} lines word for word + {} in summaries = {} of {} lines{plain}",
            grouped(back.verbatim.0),
            grouped(back.summarised.0 + back.noticed.0),
            grouped(back.lines().0),
            grouped(written.truth.lines.0)
        )?;
        let calm = written.calm.len();
        writeln!(
            self.out,
            "  {good}{} of {} calm lines arrived word for word{plain}",
            grouped((calm - missing) as u64),
            grouped(calm as u64)
        )
    }

    fn title(&mut self, title: &str) -> io::Result<()> {
        let (bold, plain) = self.style("\x1b[1m");
        writeln!(self.out, "{bold}{title}{plain}")
    }

    fn style(&self, on: &'static str) -> (&'static str, &'static str) {
        if self.colour { (on, "\x1b[0m") } else { ("", "") }
    }
}

fn is_storm(record: &Value) -> bool {
    record["message"].as_str().is_some_and(|message| message.starts_with(TIMEOUT))
}

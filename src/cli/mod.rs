//! The command line: one file per subcommand.
//!
//! Standard output is for data, standard error for messages. Exit codes: [`Exit`].

pub mod audit;
pub mod consume;
pub mod demo;
pub mod destination;
pub mod driver;
mod life;
pub mod log;
pub mod man;
mod reload;
pub mod replay;
pub mod run;
mod stdio;
pub mod templates;
pub mod validate;
pub mod version;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

/// How a command ends. Scripts rely on these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything is well.
    Fine,
    /// Something failed; it was said what.
    Failed,
    /// The command line makes no sense.
    Usage,
    /// Something is in use that must not be used twice; later it may work (EX_TEMPFAIL).
    InUse,
    /// The config has faults (EX_CONFIG).
    Config,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Fine => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::InUse => 75,
            Exit::Config => 78,
        })
    }
}

/// A log-storm-aware log shipper: tails container logs, folds what repeats into exact summaries, ships to Kafka.
#[derive(Debug, Parser)]
#[command(name = "squall", max_term_width = 110, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Follow logs and ship them: the sidecar
    Run(run::Args),
    /// Serve dockerd as a logging driver: the plugin
    Driver(driver::Args),
    /// Show the incident, whole: a storm of 220,314 lines through the real sidecar and back out of Kafka
    Demo(demo::Args),
    /// Read a topic that squall has written, and print its records
    Consume(consume::Args),
    /// Check configuration files and show every fault with its place
    Validate(validate::Args),
    /// Explain log files: the storms, what is new, when it began and when it ended
    Replay(replay::Args),
    /// Show which templates a log file is made of
    Templates(templates::Args),
    /// Check a state directory: do the books balance, is anything missing, what waits
    Audit(audit::Args),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// Reads the arguments, does what they say.
pub fn main() -> ExitCode {
    let command = Cli::command().version(version::long());
    let cli = match command.try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        // `--help` and `--version` come here too, and go to standard output with code 0.
        Err(error) => error.exit(),
    };
    match dispatch(cli.command) {
        Ok(exit) => exit.into(),
        Err(error) if stdio::is_closed_pipe(&error) => Exit::Failed.into(),
        Err(error) => {
            stdio::complain(format_args!("error: {error:#}\n"));
            Exit::Failed.into()
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Run(args) => run::main(&args),
        Command::Driver(args) => driver::main(&args),
        Command::Demo(args) => demo::main(&args),
        Command::Consume(args) => consume::main(&args),
        Command::Validate(args) => validate::main(&args),
        Command::Replay(args) => replay::main(&args),
        Command::Templates(args) => templates::main(&args),
        Command::Audit(args) => audit::main(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "squall", &mut script);
            stdio::print(String::from_utf8_lossy(&script))?;
            Ok(Exit::Fine)
        }
        Command::Man => man::main(&Cli::command().version(version::short())),
    }
}

/// An error that is the user's, with the exit code that says so.
fn usage(message: impl std::fmt::Display) -> Exit {
    stdio::complain(format_args!("error: {message}\n\nFor more information, try '--help'.\n"));
    Exit::Usage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().version(version::long()).debug_assert();
    }
}

//! Writes a corpus as a json-file to disk: the input of `benches/side_by_side`.
//!
//! `cargo bench --no-default-features --bench corpus_file -- incident LINES PATH`, or `mixed BYTES PATH`. It measures
//! nothing and stands among the benches because that is who needs it; without arguments, as a plain `cargo bench`
//! runs it, it does nothing. The file appears under its name only when it is whole.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use squall::corpus::incident::Incident;
use squall::corpus::json_file;
use squall::corpus::mixed::Mixed;
use squall::engine::frame::IoStream;
use squall::units::Timestamp;

const SEED: u64 = 1;
/// 2026-02-06T00:10:00Z.
const START: Timestamp = Timestamp(1_770_336_600 * Timestamp::SECOND);

fn main() -> ExitCode {
    // Cargo adds `--bench` to what the user wrote.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let size = |text: &str| text.parse::<u64>().ok();
    let written = match arguments[..] {
        [] => return ExitCode::SUCCESS,
        ["incident", lines, path] if size(lines).is_some() => {
            write_whole(path, |file| incident(size(lines).unwrap_or_default(), file))
        }
        ["mixed", bytes, path] if size(bytes).is_some() => {
            write_whole(path, |file| mixed(size(bytes).unwrap_or_default(), file))
        }
        _ => {
            eprintln!("usage: corpus_file incident LINES PATH | mixed BYTES PATH");
            return ExitCode::from(2);
        }
    };
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write the corpus: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Lets `fill` write next to `path` and gives the file its name when that went well.
fn write_whole(path: &str, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let unfinished = format!("{path}.part");
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&unfinished)?);
    fill(&mut file)?;
    file.flush()?;
    fs::rename(&unfinished, path)
}

/// As [`squall::corpus::incident_file`], but of any length without holding it in memory.
fn incident(lines: u64, file: &mut impl Write) -> io::Result<()> {
    let mut incident = Incident::new(SEED, lines, START);
    let (mut text, mut entry) = (Vec::new(), Vec::new());
    while let Some(event) = incident.next_into(&mut text) {
        entry.clear();
        json_file::append(&mut entry, &text, event.stream, event.time);
        file.write_all(&entry)?;
    }
    Ok(())
}

/// As [`squall::corpus::mixed_file`], but of any length without holding it in memory.
fn mixed(bytes: u64, file: &mut impl Write) -> io::Result<()> {
    let mut mixed = Mixed::new(SEED);
    let (mut text, mut entry) = (Vec::new(), Vec::new());
    let mut written = 0;
    while written < bytes {
        let time = mixed.next_into(&mut text);
        entry.clear();
        json_file::append(&mut entry, &text, IoStream::Stdout, time);
        file.write_all(&entry)?;
        written += entry.len() as u64;
    }
    Ok(())
}

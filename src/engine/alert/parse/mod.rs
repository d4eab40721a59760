//! Text of `when` → [`When`], or the first thing that is wrong with it, with its place.
//!
//! ```text
//! when      = MEASURE COMPARE limit clause…
//!           | new_template( [filter] ) | loop( [condition , …] ) | absent( [filter] ) for TIME [by stream]
//!           | resource( (cpu | memory) COMPARE NUMBER [, container (= | != | contains | =~ | !~) TEXT] )
//! MEASURE   = count( [filter] ) | rate( [filter] ) | ratio( filter , filter )
//!           | (mean | min | max | p50 | p95 | p99) ( field [where filter] )
//! limit     = NUMBER | NUMBER x baseline
//! clause    = within TIME | by stream | least NUMBER
//! field     = NAME | field("NAME") | /pattern with (?<name>…)/.name
//! filter    = filter or filter | filter and filter | not filter | ( filter ) | all | "part of the line"
//!           | (message | stream | field) (= | != | contains | =~ | !~) TEXT | level COMPARE LEVEL | field COMPARE NUMBER
//! condition = verdict = WORD | verdict in ( WORD , … ) | endpoint contains TEXT | iterations COMPARE NUMBER | period COMPARE TIME
//! COMPARE   = > | >= | < | <= | = | == | !=
//! ```
//!
//! A text stands in `"…"` (`\"`, `\\`, `\n` and `\t` are escapes) or, as it is, in `'…'`; a pattern may also stand in `/…/`.
//! In a pattern a backslash means what it means to the `regex` crate, whatever stands around it.
//! A number has the unit of what it is held against: `count` none, `rate` `/s`, a share `%`, times `ms` to `d`, sizes `KB` or `KiB`.
//! Invariant: what [`When`] prints as is read as the same [`When`] again.
//! Limits: [`TEXT_MAX`] bytes, [`DEPTH_MAX`] levels, [`PATTERN_SIZE_MAX`] for each pattern.

mod clauses;
mod cursor;
mod error;
mod filter;
mod forms;
mod lex;
mod quantity;
mod show;
#[cfg(test)]
mod tests;
mod words;

pub use self::error::ParseError;
use super::rule::When;

/// The longest expression, in bytes.
pub const TEXT_MAX: usize = 8 << 10;
/// How deep `(` and `not` may stand in each other. Parsing and evaluating go as deep.
pub const DEPTH_MAX: usize = 32;
/// The most memory that a compiled pattern may take, in bytes: a hundred times what such patterns need.
pub const PATTERN_SIZE_MAX: usize = 1 << 20;
/// The most memory that the searches for one pattern may keep, in bytes. There may be thousands of patterns.
pub const PATTERN_SEARCH_MAX: usize = 64 << 10;
/// The fewest lines in the whole of a ratio, unless `least` says another number: one of three is no share of anything.
pub const LEAST_OF_RATIO: u64 = 20;

/// Reads an expression.
///
/// # Errors
/// The first thing that is wrong with it. Nothing that can be written makes this panic.
pub fn parse(text: &str) -> Result<When, ParseError> {
    if text.len() > TEXT_MAX {
        let start = text.floor_char_boundary(TEXT_MAX);
        return Err(ParseError::new(start..text.len(), "an expression may have 8,192 bytes"));
    }
    let mut cursor = cursor::Cursor::new(text);
    let when = forms::when(&mut cursor)?;
    cursor.end()?;
    Ok(when)
}

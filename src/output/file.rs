//! Records into a file, one JSON object a line.

use std::path::PathBuf;

/// Where to write (`outputs.file`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The file; it is appended to.
    pub path: PathBuf,
}

//! Follows files: finds them, reads them as they grow, survives rotation and truncation.

/// Where reading begins in a file that has no saved position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum From {
    /// At the saved position; at byte 0 where there is none.
    #[default]
    Checkpoint,
    /// At byte 0.
    Start,
    /// At the size that the file has when it is first seen; files that appear later begin at 0.
    End,
}

/// What to follow, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Globs of the files to follow.
    pub include: Vec<String>,
    /// Globs of files to leave out, although `include` has them.
    pub exclude: Vec<String>,
    /// Where reading begins.
    pub from: From,
    /// Read each file up to the size it has at the start, rotated siblings included, and then be done.
    pub until_eof: bool,
}

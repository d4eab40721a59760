//! Text → checked config, or every fault with file, line and column.

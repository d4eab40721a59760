//! The level of a line and its failure words.

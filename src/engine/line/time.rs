//! Times written in the text of a line.

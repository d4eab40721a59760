//! The `squall` program: arguments in, exit code out.
fn main() {}

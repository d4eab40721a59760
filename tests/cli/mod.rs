//! The program as a script sees it: arguments and files in, records, messages and an exit code out.

mod audit;
mod bad_input;
mod captures;
mod closed_pipes;
mod demo;
mod faults;
mod loghub;
mod presets;
mod replay;
mod settings;
mod templates;
mod until_eof;

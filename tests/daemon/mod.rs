//! The program as a daemon: files that change under it, signals, a clock that goes on, a bound on memory.

mod disk;
mod idle;
mod lives;
mod memory;
mod notify;
mod reload;
mod remote;
mod resources;
mod restart;
mod stdin;
mod stop;
mod tail;
mod traces;

//! The command line: one file per command, each with its arguments and a function that runs it.
//!
//! Results go to standard output and words to standard error; the exit code is 0 when the command
//! did what was asked, 1 when it failed and 2 when it was called wrongly. `verify` has 1 for a
//! history that was changed alone, and 2 when it could not check it. A reader that closes the pipe
//! ends a command quietly, with 0.
//!
//! **Invariant:** what a command prints about recorded events passes through `output` or
//! `visible`, so that no recorded byte acts on a terminal.

mod arguments;
mod audit;
mod config;
mod data;
mod doctor;
mod failure;
mod log;
mod output;
mod run;
mod schema;
mod shell;
mod sql;
mod status;
mod tables;
mod terminal;
mod verify;
mod visible;
mod warnings;

pub use arguments::Arguments;
pub use failure::Failure;

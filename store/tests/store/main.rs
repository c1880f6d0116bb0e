//! Scenarios of the store, seen from outside: a writer, readers, and what happens to the files.

mod copies;
mod damage;
mod evolution;
mod fixture;
mod kill;
mod manifest;
mod model;
mod reopen;
mod sealing;
mod writers;

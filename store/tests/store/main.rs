//! Scenarios of the store, seen from outside: a writer, readers, and what happens to the files.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod compaction;
mod concurrency;
mod copies;
mod damage;
mod disks;
mod evolution;
mod faults;
mod fixture;
mod full_disk;
mod kill;
mod manifest;
mod mixed;
mod model;
mod power;
mod random_damage;
mod reopen;
mod retention;
mod scans;
mod sealing;
mod verify;
mod writers;

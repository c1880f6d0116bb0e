//! End-to-end tests: the program against the running kernel, one module per scenario.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod actions;
mod arguments;
#[cfg(target_os = "linux")]
mod audit;
mod bad_input;
mod books;
mod coexistence;
mod complete;
mod crash;
mod disk_full;
mod doctor;
mod executables;
mod exits;
mod files;
mod filters;
mod lifetimes;
mod machine;
mod markers;
mod peers;
mod running;
mod schema;
mod snapshot;
mod sql;
mod status;
mod storm;
mod tiers;
mod verify;

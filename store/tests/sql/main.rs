//! SQL over a store: scenarios that read what a writer wrote, through a session.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod control;
mod derived;
mod differential;
mod events;
mod fixture;
mod plans;
mod session;
mod states;

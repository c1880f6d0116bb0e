//! SQL over a store: scenarios that read what a writer wrote, through a session.

mod differential;
mod events;
mod fixture;
mod generate;
mod plans;
mod session;
mod states;

//! Bygone: a collector of what happens on a host, kept as history that SQL can question.

pub mod cli;
pub mod config;
pub mod daemon;
pub mod events;
pub mod history;
pub mod host;
pub mod publish;
pub mod tables;

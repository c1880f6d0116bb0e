//! `bygone doctor`: what can be recorded on this host, what cannot, and what would mend it.

mod command;
mod folder;
mod host;
mod losses;

pub(super) use command::{DoctorArguments, run};

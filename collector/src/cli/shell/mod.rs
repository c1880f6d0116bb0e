//! The shell of `bygone sql`: statements over several lines until `;`, history, completion, and
//! commands that begin with a dot or a backslash.

mod command;
mod complete;
mod editor;

pub(super) use command::is_command;
pub(super) use editor::run;

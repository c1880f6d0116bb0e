//! `bygone config`: the configuration in effect, or the reference of all settings.

use std::path::PathBuf;

use clap::Args;

use super::terminal::print;
use crate::config::Config;

/// Print the configuration in effect, as TOML
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  \
    bygone config                                     what bygone run would use\n  \
    bygone config --config new.toml                   check a file before using it\n  \
    bygone config --reference                         every setting, explained, at its default")]
pub(super) struct ConfigArguments {
    /// Configuration [default: /etc/bygone/bygone.toml when it exists]
    #[arg(short, long, value_name = "FILE", conflicts_with = "reference")]
    config: Option<PathBuf>,
    /// Print every setting with its meaning and default instead
    #[arg(long)]
    reference: bool,
}

pub(super) fn run(arguments: &ConfigArguments) -> anyhow::Result<()> {
    let text = if arguments.reference {
        Config::reference()
    } else {
        Config::load(arguments.config.as_deref())?.to_toml()?
    };
    Ok(print(&text)?)
}

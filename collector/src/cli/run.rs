//! `bygone run`: collect until stopped.

use clap::Args;

use super::data::DataArguments;
use super::log;
use crate::daemon;

/// Collect until stopped by SIGINT, SIGTERM or SIGHUP
#[derive(Args, Debug)]
#[command(after_help = "\
Needs no configuration. As root it records processes through eBPF and changes to files; with fewer \
rights it records what it can, and says at start what it cannot see and why (bygone doctor says \
what would mend it). All settings, explained: bygone config --reference.

Examples:
  bygone run
  bygone run --data-dir /srv/bygone --config /etc/bygone/bygone.toml")]
pub(super) struct RunArguments {
    #[command(flatten)]
    data: DataArguments,
}

pub(super) fn run(arguments: &RunArguments) -> anyhow::Result<()> {
    let config = arguments.data.load()?;
    let folder = arguments.data.folder(&config)?;
    log::init(config.log.level);
    daemon::run(&config, &folder)
}

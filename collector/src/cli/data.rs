//! Which configuration and which data folder a command uses.

use std::path::{Path, PathBuf};

use anyhow::Context;
use bygone_store::sql::{Session, SessionOptions, SqlError};
use bygone_store::{ReadError, Reader};
use clap::Args;

use crate::config::{Config, default_data_dir};
use crate::host::boot::boot_id;
use crate::tables;

/// `--data-dir` and `--config`.
#[derive(Args, Clone, Debug)]
pub(super) struct DataArguments {
    /// Folder of the data [default: the configuration's; without one /var/lib/bygone as root,
    /// otherwise bygone in $XDG_STATE_HOME or ~/.local/state]
    #[arg(short, long, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// Configuration [default: /etc/bygone/bygone.toml when it exists]; conf.d/*.toml beside it
    /// are read too
    #[arg(short, long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

impl DataArguments {
    /// The configuration.
    pub(super) fn load(&self) -> anyhow::Result<Config> {
        Ok(Config::load(self.config.as_deref())?)
    }

    /// The folder of the data under `config`.
    pub(super) fn folder(&self, config: &Config) -> anyhow::Result<PathBuf> {
        let named = self.data_dir.clone().or_else(|| config.store.data_dir.clone());
        let named = named.or_else(default_data_dir).context(
            "no place for the data: neither XDG_STATE_HOME nor HOME is set; name one by --data-dir",
        )?;
        // Patterns of paths to leave out have to be absolute, and messages should say where it is.
        std::path::absolute(&named).with_context(|| format!("finding {}", named.display()))
    }

    /// The folder of the data. The configuration is read only when no argument names the folder,
    /// so that a fault in it does not keep anyone from reading.
    pub(super) fn data_dir(&self) -> anyhow::Result<PathBuf> {
        match self.data_dir {
            Some(_) => self.folder(&Config::default()),
            None => self.folder(&self.load()?),
        }
    }

    /// A session on the folder of the data.
    pub(super) fn session(&self) -> anyhow::Result<Session> {
        let session = Session::open(SessionOptions {
            data_dir: self.data_dir()?,
            events: tables::event_schemas(),
            states: tables::state_tables(),
        })?
        .with_extensions(tables::extensions())?;
        Ok(match boot_id() {
            Ok(boot_id) => session.with_boot_id(boot_id),
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(error, "Processes of state tables have no identity");
                session
            }
        })
    }
}

/// Opens the history in `data_dir`; that there is none is said as statements say it.
pub(super) fn open(data_dir: &Path) -> anyhow::Result<Reader> {
    Reader::open(data_dir).map_err(|error| match error {
        ReadError::NotAStore { path } => SqlError::NoStore { path }.into(),
        error => error.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_a_history_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let error = open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("start `bygone run`, or name another folder"), "{error}");
    }
}

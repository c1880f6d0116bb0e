//! The configuration: one TOML file, `conf.d/*.toml` beside it, and a default for every setting.
//!
//! The settings, their defaults and their documentation stand in one place, the macro call in
//! `settings.rs`; the structs, `bygone config --reference` and the list of known keys follow from
//! it.
//!
//! **Invariants:** a key that nothing reads is an error, never ignored, and so is a value that
//! `bygone run` could not use. Every error names the file, the line and the key.

mod bounds;
mod environment;
mod excluded;
mod load;
mod settings;
mod size;
mod suggest;
mod values;
mod watched;

pub use bounds::TableRetentionConfig;
pub(crate) use load::state_home;
pub use load::{DEFAULT_FILE, LoadConfig, default_data_dir};
pub use settings::{
    Config, ExecutableConfig, FileConfig, LogConfig, ProcessConfig, RetentionConfig, StoreConfig,
};
pub(crate) use size::parse_size;
pub use values::{LogLevel, ProcessTier, Sync};

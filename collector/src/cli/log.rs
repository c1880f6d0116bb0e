//! The collector's own messages, on standard error.

use tracing_subscriber::EnvFilter;

use super::terminal::stderr_has_color;
use crate::config::LogLevel;

/// Sends log messages of `level` and above to standard error. The environment variable `RUST_LOG`
/// overrides the level, module by module. A second call changes nothing.
pub(super) fn init(level: LogLevel) {
    let default = tracing::Level::from(level);
    let filter = EnvFilter::builder().with_default_directive(default.into()).from_env_lossy();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(stderr_has_color())
        .with_target(false)
        .with_env_filter(filter)
        .try_init()
        // It fails only when a subscriber is already there.
        .unwrap_or_default();
}

//! Which signals are recorded.

use serde::{Deserialize, Serialize};

/// The choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignalChoice {
    /// None.
    None,
    /// Those that end a process, and those that a process of another user gets.
    #[default]
    Fatal,
    /// All.
    All,
}
